//! What a table of the file may hold.

/// A key of a table.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// One line.
    pub(crate) doc: &'static str,
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Shape {
    Text,
    Folder,
    File,
    Texts,
    Integer,
    Truth,
    /// A table of texts under any names.
    Fields,
    /// Whatever JSON can say.
    Any,
    /// A table of these keys.
    Table(&'static [Entry]),
}

impl Shape {
    /// A word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Folder => "folder",
            Self::File => "file",
            Self::Texts => "list of texts",
            Self::Integer => "whole number",
            Self::Truth => "true or false",
            Self::Fields => "table of texts",
            Self::Any => "any value",
            Self::Table(_) => "table",
        }
    }
}

macro_rules! entries {
    ($($name:literal ($shape:expr) $doc:literal;)*) => {
        &[$($crate::file::key::Entry { name: $name, shape: $shape, doc: $doc },)*]
    };
}
pub(super) use entries;
