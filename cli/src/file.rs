//! `tempest.toml`: read, and checked as a whole, so that all mistakes are said at once and where they stand.

use std::path::{Path, PathBuf};

use tempest_broker::NamedSchedule;
use tempest_front::{Certificate, Route};
use tempest_supervisor::WorkerSpec;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::setting::{Kind, SETTINGS, Setting};

mod certificate;
mod json;
mod key;
mod route;
mod schedule;
mod worker;

pub(crate) use certificate::KEYS as CERTIFICATE;
pub(crate) use key::{Entry, Shape};
pub(crate) use route::KEYS as ROUTE;
pub(crate) use schedule::KEYS as SCHEDULE;
pub(crate) use worker::KEYS as WORKER;

/// The file that is read when none is named.
pub(crate) const DEFAULT: &str = "tempest.toml";

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Settings, each with `file:line`.
    pub(crate) values: Vec<(&'static Setting, String, String)>,
    pub(crate) routes: Vec<Route>,
    pub(crate) workers: Vec<WorkerSpec>,
    pub(crate) schedules: Vec<NamedSchedule>,
    /// Besides the one of `[tls]`.
    pub(crate) certificates: Vec<Certificate>,
}

/// Reads a file.
///
/// Errors: every mistake, one line each, with `file:line`.
pub(crate) fn read(path: &Path) -> Result<File, Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint =
            if error.kind() == std::io::ErrorKind::NotFound { "; `tempest init` writes one" } else { "" };
        vec![format!("cannot read {}: {error}{hint}", path.display())]
    })?;
    let (table, errors) = DeTable::parse_recoverable(&text);
    let mut reader = Reader { path: path.to_owned(), text: &text, wrong: Vec::new() };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.wrong(at, error.message().lines().next().unwrap_or("it is no TOML"));
    }
    let mut file = File::default();
    if reader.wrong.is_empty() {
        reader.top(table.get_ref(), &mut file);
    }
    match reader.wrong.is_empty() {
        true => Ok(file),
        false => Err(reader.lines()),
    }
}

type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;
type Value<'i> = Spanned<DeValue<'i>>;

/// What a file is read with: where it is, and what was found wrong so far.
struct Reader<'t> {
    path: PathBuf,
    text: &'t str,
    /// Where, in bytes, and what.
    wrong: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn wrong(&mut self, at: usize, what: impl Into<String>) {
        self.wrong.push((at, what.into()));
    }

    /// The mistakes in the order of the file.
    fn lines(mut self) -> Vec<String> {
        self.wrong.sort();
        self.wrong.iter().map(|(at, what)| format!("{}: {what}", self.place(*at))).collect()
    }

    /// `file:line` of a byte.
    fn place(&self, at: usize) -> String {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("{}:{line}", self.path.display())
    }

    /// The folder that relative paths of the file begin at.
    fn folder(&self) -> PathBuf {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::path::absolute(folder.unwrap_or(Path::new("."))).unwrap_or_default()
    }

    fn top(&mut self, table: &DeTable<'_>, file: &mut File) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match name {
                "route" => {
                    for (at, entry) in self.entries(name, value) {
                        file.routes.extend(self.route(at, entry));
                    }
                }
                "worker" => {
                    for (at, entry) in self.entries(name, value) {
                        let worker = self.worker(at, entry, &file.workers);
                        file.workers.extend(worker);
                    }
                }
                "schedule" => {
                    for (at, entry) in self.entries(name, value) {
                        let schedule = self.schedule(at, entry, &file.schedules);
                        file.schedules.extend(schedule);
                    }
                }
                "certificate" => {
                    for (at, entry) in self.entries(name, value) {
                        file.certificates.extend(self.certificate(at, entry));
                    }
                }
                section if is_section(section) => self.section(section, value, file),
                _ => {
                    let known = SETTINGS.iter().map(|setting| setting.section_and_key().0);
                    self.unknown(
                        key,
                        "the file",
                        known.chain(["route", "worker", "schedule", "certificate"]),
                    );
                }
            }
        }
    }

    fn section(&mut self, section: &str, value: &Value<'_>, file: &mut File) {
        let Some(table) = value.get_ref().as_table() else {
            return self.wrong(value.span().start, format!("{section} must be a table: [{section}]"));
        };
        for (key, value) in table {
            let Some(setting) = Setting::find(&format!("{section}.{}", key.get_ref())) else {
                let known = SETTINGS.iter().map(Setting::section_and_key);
                let known = known.filter(|(of, _)| *of == section).map(|(_, key)| key);
                self.unknown(key, &format!("[{section}]"), known);
                continue;
            };
            match self.text_of(setting, value.get_ref()) {
                Err(what) => self.wrong(value.span().start, format!("{} must be {what}", setting.key)),
                Ok(text) => match setting.check(&text) {
                    Err(wrong) => self.wrong(value.span().start, format!("{}: {wrong}", setting.key)),
                    Ok(()) => file.values.push((setting, text, self.place(value.span().start))),
                },
            }
        }
    }

    /// A setting's value as it would stand on the command line; or what it must be.
    fn text_of(&self, setting: &Setting, value: &DeValue<'_>) -> Result<String, &'static str> {
        match setting.kind {
            Kind::Integer { .. } => number(value).map(|number| number.to_string()).ok_or("a whole number"),
            Kind::Share => match value {
                DeValue::Integer(whole) if whole.radix() == 10 => Ok(whole.as_str().to_owned()),
                DeValue::Float(share) => Ok(share.as_str().to_owned()),
                _ => Err("a number"),
            },
            Kind::Addresses | Kind::Networks => {
                let list = value.as_array().and_then(|items| {
                    items.iter().map(|item| item.get_ref().as_str()).collect::<Option<Vec<_>>>()
                });
                let list = list.map(|list| list.join(","));
                value.as_str().map(str::to_owned).or(list).ok_or("a text in quotes, or a list of texts")
            }
            Kind::Fields => {
                let table = value.as_table().and_then(|table| {
                    let field = |(name, value): (&Key<'_>, &Value<'_>)| {
                        Some(format!("{}: {}", name.get_ref(), value.get_ref().as_str()?))
                    };
                    table.iter().map(field).collect::<Option<Vec<_>>>()
                });
                let table = table.map(|fields| fields.join(" | "));
                value.as_str().map(str::to_owned).or(table).ok_or("a table of texts: { name = \"value\" }")
            }
            // As on the command line, empty is none.
            Kind::Path => match value.as_str().ok_or("a text in quotes")? {
                "" => Ok(String::new()),
                path => Ok(self.folder().join(path).display().to_string()),
            },
            _ => value.as_str().map(str::to_owned).ok_or("a text in quotes"),
        }
    }

    /// The tables of `[[name]]`, each with its place.
    fn entries<'v, 'i>(&mut self, name: &str, value: &'v Value<'i>) -> Vec<(usize, &'v DeTable<'i>)> {
        let tables: Option<Vec<_>> = value.get_ref().as_array().and_then(|entries| {
            entries.iter().map(|entry| Some((entry.span().start, entry.get_ref().as_table()?))).collect()
        });
        tables.unwrap_or_else(|| {
            self.wrong(value.span().start, format!("{name} must be a list of tables: [[{name}]]"));
            Vec::new()
        })
    }

    fn unknown<'k>(&mut self, key: &Key<'_>, place: &str, known: impl Iterator<Item = &'k str>) {
        let name = key.get_ref();
        let hint = match nearest(name, known) {
            Some(near) => format!("; did you mean {near}?"),
            None => String::new(),
        };
        self.wrong(key.span().start, format!("{place} has no {name}{hint}"));
    }

    /// A text; else says what is wrong.
    fn text(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(value.span().start, format!("{key} must be a text in quotes"));
        }
        text
    }

    /// A list of texts.
    fn texts(&mut self, key: &str, value: &Value<'_>) -> Option<Vec<String>> {
        let texts = value
            .get_ref()
            .as_array()
            .and_then(|items| items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect());
        if texts.is_none() {
            self.wrong(value.span().start, format!("{key} must be a list of texts: [\"…\"]"));
        }
        texts
    }

    /// A whole number of at most `max`.
    fn integer(&mut self, key: &str, value: &Value<'_>, max: u64) -> Option<u64> {
        let number = number(value.get_ref()).filter(|number| *number <= max);
        if number.is_none() {
            self.wrong(value.span().start, format!("{key} must be a whole number from 0 to {max}"));
        }
        number
    }
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.section_and_key().0 == name)
}

fn number(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The word that was probably meant.
fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|other| (distance(word, other), other))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|it| it.1)
}

/// How many letters must be changed, added or left out.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests;
