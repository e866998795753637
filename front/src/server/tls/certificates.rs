//! Certificates from files, found by the name a client asks for (SNI, RFC 6066 section 3).

use std::{collections::HashMap, path::Path, sync::Arc, time::SystemTime};

use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use tracing::warn;
use x509_parser::{extensions::GeneralName, prelude::FromDer, prelude::X509Certificate};

use crate::config::Certificate;

/// Certificates by name.
#[derive(Debug)]
pub(super) struct Certificates {
    first: Arc<CertifiedKey>,
    /// In lower case; `*.example` stands for one label before `.example`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

/// When files were last changed, and how large they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<(SystemTime, u64)>>);

impl Stamp {
    pub(super) fn of(files: &[Certificate]) -> Self {
        let stamp = |path: &Path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        };
        Self(files.iter().flat_map(|files| [stamp(&files.certificate), stamp(&files.key)]).collect())
    }
}

impl Certificates {
    /// Reads all of them.
    ///
    /// Errors: one line for each that cannot be used.
    pub(super) fn read(files: &[Certificate]) -> Result<Self, Vec<String>> {
        let (mut read, mut wrong) = (Vec::new(), Vec::new());
        for files in files {
            match load(files) {
                Ok(certified) => read.push(certified),
                Err(error) => wrong.push(error),
            }
        }
        let mut by_name = HashMap::new();
        for (certified, names) in &read {
            for name in names {
                by_name.entry(name.clone()).or_insert_with(|| certified.clone());
            }
        }
        match read.into_iter().next() {
            Some((first, _)) if wrong.is_empty() => Ok(Self { first, by_name }),
            None if wrong.is_empty() => Err(vec!["TLS needs a certificate and its key".into()]),
            _ => Err(wrong),
        }
    }

    /// The one for a name: for just this name, for all of its domain, or else the first.
    pub(super) fn of(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let find = |name: &str| {
            let name = name.to_ascii_lowercase();
            let of_domain = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(&name).or_else(of_domain)
        };
        name.and_then(find).unwrap_or(&self.first).clone()
    }
}

/// What is said of a certificate that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The host names it is for, in lower case.
    pub names: Vec<String>,
    /// Whole days until it ends; negative: since.
    pub days_left: i64,
    /// Whether it is valid at this moment.
    pub is_valid: bool,
}

impl Certificate {
    /// Reads both files as a front does, and looks how long they will do. Blocks.
    ///
    /// Errors: one line that says which file cannot be used and why.
    pub fn check(&self) -> Result<Validity, String> {
        read(self).map(|(_, validity)| validity)
    }
}

/// A certificate that can be used, and the names it is for. An end that is over is said in the log.
fn load(files: &Certificate) -> Result<(Arc<CertifiedKey>, Vec<String>), String> {
    let (certified, validity) = read(files)?;
    if !validity.is_valid {
        let days = -validity.days_left;
        warn!(certificate = %files.certificate.display(), days, "the certificate has expired or is not yet valid");
    }
    Ok((certified, validity.names))
}

fn read(files: &Certificate) -> Result<(Arc<CertifiedKey>, Validity), String> {
    let Certificate { certificate, key } = files;
    let cannot = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| cannot(certificate, &error))?;
    let first = chain.first().ok_or_else(|| cannot(certificate, &"there is no certificate in it"))?;
    let validity = about(first).map_err(|error| cannot(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| cannot(key, &error))?;
    let certified = CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| {
        format!("{}: it does not go with {}: {error}", key.display(), certificate.display())
    })?;
    Ok((Arc::new(certified), validity))
}

fn about(certificate: &CertificateDer<'_>) -> Result<Validity, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let alternatives = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = alternatives.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let now = x509_parser::time::ASN1Time::now();
    let days_left = (parsed.validity().not_after.timestamp() - now.timestamp()).div_euclid(86_400);
    Ok(Validity { names: names.collect(), days_left, is_valid: parsed.validity().is_valid() })
}
