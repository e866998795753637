//! `[[schedule]]`: jobs that are pushed again and again.

use tempest_broker::{Definition, NamedSchedule};
use tempest_protocol::{Queue, Schedule as Name};
use toml::de::DeTable;

use super::{
    Reader, Value,
    key::{Entry, Shape, entries},
};

/// Every key of a schedule.
pub(crate) const KEYS: &[Entry] = entries! {
    "name" (Shape::Text) "What it is called, once in a queue; 1 to 50 of `A-Z a-z 0-9 . _ -`. Required.";
    "queue" (Shape::Text) "The queue its jobs go to; absent: `default`.";
    "cron" (Shape::Text) "When it fires: `minute hour day month weekday`, with seconds in front if there are six; or `@hourly` and the like. This or `every_ms`.";
    "every_ms" (Shape::Integer) "When it fires: at multiples of this time, in milliseconds, at least 100.";
    "zone" (Shape::Text) "The time zone of `cron`, like `Europe/Berlin`; absent: `UTC`.";
    "action" (Shape::Text) "The handler its jobs are for. Required.";
    "args" (Shape::Any) "Their arguments; absent: null.";
    "lane" (Shape::Text) "Their lane: `high`, `normal` or `low`; absent: `normal`.";
    "attempts" (Shape::Integer) "How often each is tried; absent: 3.";
    "ttl_ms" (Shape::Integer) "A job that nobody has started this long after its time, in milliseconds, is left out; absent: none is.";
    "keep_ms" (Shape::Integer) "How long the result of each is kept, in milliseconds, at most 30 days; absent: not at all.";
    "missed" (Shape::Text) "What becomes of firings that nobody was there for: `skip`, `once` (the last) or `all` (each, at most the last 1,000); absent: `once`.";
};

/// The largest number.
const NUMBER_MAX: u64 = 1 << 53;

/// What an entry says so far.
struct Draft {
    name: Option<Name>,
    queue: Queue,
    definition: Definition,
    /// Where each key stands.
    places: Vec<(String, usize)>,
}

impl Reader<'_> {
    pub(super) fn schedule(
        &mut self,
        at: usize,
        table: &DeTable<'_>,
        others: &[NamedSchedule],
    ) -> Option<NamedSchedule> {
        let before = self.wrong.len();
        let queue = Queue::new("default").expect("a good name");
        let mut draft = Draft { name: None, queue, definition: Definition::default(), places: Vec::new() };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if KEYS.iter().any(|known| known.name == name) {
                draft.places.push((name.to_owned(), value.span().start));
                self.schedule_key(name, value, &mut draft);
            } else {
                self.unknown(key, "[[schedule]]", KEYS.iter().map(|known| known.name));
            }
        }
        for key in ["name", "action"] {
            if !draft.places.iter().any(|(given, _)| given == key) {
                self.wrong(at, format!("[[schedule]] needs {key}"));
            }
        }
        if self.wrong.len() > before {
            return None;
        }
        let (name, queue) = (draft.name?, draft.queue);
        if others.iter().any(|other| other.name == name && other.queue == queue) {
            self.wrong(at, format!("two schedules of queue {queue} are named {name}"));
        }
        let mistakes = match draft.definition.check() {
            Ok(schedule) => return Some(NamedSchedule { queue, name, schedule }),
            Err(mistakes) => mistakes,
        };
        for mistake in mistakes {
            let key = if mistake.field == "keep" { "keep_ms" } else { mistake.field };
            let place = draft.places.iter().find(|(given, _)| given == key).map_or(at, |(_, place)| *place);
            self.wrong(place, format!("{key}: {}", mistake.what));
        }
        None
    }

    fn schedule_key(&mut self, key: &str, value: &Value<'_>, draft: &mut Draft) {
        let definition = &mut draft.definition;
        match key {
            "name" => draft.name = self.text(key, value).and_then(|text| self.schedule_name(value, &text)),
            "queue" => match self.text(key, value).map(Queue::new) {
                Some(Ok(queue)) => draft.queue = queue,
                Some(Err(error)) => self.wrong(value.span().start, format!("queue: {}", error.detail())),
                None => {}
            },
            "cron" => definition.cron = self.text(key, value),
            "zone" => definition.zone = self.text(key, value),
            "action" => definition.action = self.text(key, value).unwrap_or_default(),
            "lane" => definition.lane = self.text(key, value),
            "missed" => definition.missed = self.text(key, value),
            "every_ms" => definition.every_ms = self.integer(key, value, NUMBER_MAX),
            "attempts" => definition.attempts = self.integer(key, value, NUMBER_MAX),
            "ttl_ms" => definition.ttl_ms = self.integer(key, value, NUMBER_MAX),
            "keep_ms" => definition.keep = self.integer(key, value, NUMBER_MAX),
            _ => {
                let args = self.json(key, value);
                definition.args = args.and_then(|args| serde_json::value::to_raw_value(&args).ok());
            }
        }
    }

    fn schedule_name(&mut self, value: &Value<'_>, text: &str) -> Option<Name> {
        Name::new(text).map_err(|error| self.wrong(value.span().start, error.detail().to_owned())).ok()
    }
}
