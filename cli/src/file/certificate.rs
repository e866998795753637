//! `[[certificate]]`: certificates besides the one of `[tls]`.

use tempest_front::Certificate;
use toml::de::DeTable;

use super::{
    Reader,
    key::{Entry, Shape, entries},
};

/// Every key of a certificate.
pub(crate) const KEYS: &[Entry] = entries! {
    "certificate" (Shape::File) "The certificate and those it is signed with, a PEM file; relative to the file. Required.";
    "key" (Shape::File) "Its private key, a PEM file; relative to the file. Required.";
};

impl Reader<'_> {
    pub(super) fn certificate(&mut self, at: usize, table: &DeTable<'_>) -> Option<Certificate> {
        let before = self.wrong.len();
        let (folder, mut files) = (self.folder(), Certificate::default());
        for (key, value) in table {
            let path = match key.get_ref().as_ref() {
                "certificate" => &mut files.certificate,
                "key" => &mut files.key,
                _ => {
                    self.unknown(key, "[[certificate]]", KEYS.iter().map(|known| known.name));
                    continue;
                }
            };
            *path = self.text(key.get_ref(), value).map(|path| folder.join(path)).unwrap_or_default();
        }
        for key in KEYS.iter().map(|known| known.name) {
            if !table.keys().any(|given| given.get_ref() == key) {
                self.wrong(at, format!("[[certificate]] needs {key}"));
            }
        }
        (self.wrong.len() == before).then_some(files)
    }
}
