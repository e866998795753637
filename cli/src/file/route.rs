//! `[[route]]`: which requests, and where they go. What a route means is the front's to say.

use serde_json::{Map, Value as Json};
use tempest_front::Route;
use toml::de::DeTable;

use super::{Reader, Value};

/// What a key of a route must be.
enum Shape {
    Text,
    Folder,
    Texts,
    Integer,
    Truth,
}

/// Every key of a route.
const KEYS: &[(&str, Shape)] = &[
    ("path", Shape::Text),
    ("host", Shape::Text),
    ("methods", Shape::Texts),
    ("queue", Shape::Text),
    ("topic", Shape::Text),
    ("static", Shape::Folder),
    ("lane", Shape::Text),
    ("action", Shape::Text),
    ("timeout_ms", Shape::Integer),
    ("body_bytes_max", Shape::Integer),
    ("encoding", Shape::Text),
    ("idempotency_key", Shape::Truth),
];

impl Reader<'_> {
    pub(super) fn route(&mut self, at: usize, table: &DeTable<'_>) -> Option<Route> {
        let before = self.wrong.len();
        let mut fields = Map::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match KEYS.iter().find(|(known, _)| *known == name) {
                None => self.unknown(key, "[[route]]", KEYS.iter().map(|(known, _)| *known)),
                Some((_, shape)) => {
                    fields.extend(self.field(name, shape, value).map(|value| (name.to_owned(), value)));
                }
            }
        }
        if self.wrong.len() > before {
            return None;
        }
        let route: Result<Route, _> = serde_json::from_value(Json::Object(fields));
        let checked = route.map_err(|error| vec![error.to_string()]).and_then(|route| {
            route.check()?;
            Ok(route)
        });
        checked.map_err(|lines| lines.into_iter().for_each(|line| self.wrong(at, line))).ok()
    }

    fn field(&mut self, name: &str, shape: &Shape, value: &Value<'_>) -> Option<Json> {
        match shape {
            Shape::Text => self.text(name, value).map(Json::from),
            Shape::Folder => {
                let folder = self.text(name, value)?;
                let folder = self.folder().join(folder);
                if folder.is_dir() {
                    return Some(folder.to_string_lossy().into());
                }
                self.wrong(value.span().start, format!("{name}: there is no folder {}", folder.display()));
                None
            }
            Shape::Texts => self.texts(name, value).map(Json::from),
            Shape::Integer => self.integer(name, value, 1 << 40).map(Json::from),
            Shape::Truth => {
                let truth = value.get_ref().as_bool();
                if truth.is_none() {
                    self.wrong(value.span().start, format!("{name} must be true or false"));
                }
                truth.map(Json::from)
            }
        }
    }
}
