//! How a worker is set up: what the program says, and where it says nothing, the environment.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use tempest_broker::{Settings, Tls};
use tempest_protocol::{Lane, Prefix, Queue, limits};

/// Where Redis is if nobody says.
const URL: &str = "redis://127.0.0.1:6379";
/// How long handlers may take to finish when the worker ends, unless set.
const GRACE: Duration = Duration::from_secs(30);

/// Everything a worker needs to know before it starts, and the mistakes found so far.
pub(crate) struct Options {
    pub(crate) queues: Vec<Queue>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) concurrency: usize,
    pub(crate) grace: Duration,
    pub(crate) run_max: Duration,
    pub(crate) url: String,
    pub(crate) tls: Tls,
    pub(crate) prefix: Prefix,
    pub(crate) topic_prefix: String,
    pub(crate) tag: Option<String>,
    /// Where a supervisor keeps leases of workers that rest: Redis and prefix.
    kept_at: Option<(String, Prefix)>,
    pub(crate) mistakes: Vec<String>,
}

impl Options {
    /// Everything from variables: `TEMPEST_REDIS_URL`, `TEMPEST_PREFIX`, `TEMPEST_TOPIC_PREFIX`, `TEMPEST_QUEUE`,
    /// `TEMPEST_LANES`, `TEMPEST_CONCURRENCY`, `TEMPEST_WORKER_TAG`, `TEMPEST_REST`, and those of [`Tls`]. `variable` gives the text of one, if it is set.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut mistakes = Vec::new();
        let variable =
            |name: &'static str| Variable { name, text: variable(name).filter(|text| !text.is_empty()) };
        let url = variable("TEMPEST_REDIS_URL").text.unwrap_or_else(|| URL.to_owned());
        let prefix = variable("TEMPEST_PREFIX").value(Prefix::default(), &mut mistakes);
        let may_rest = variable("TEMPEST_REST").text.is_some_and(|text| text == "1");
        Self {
            kept_at: may_rest.then(|| (url.clone(), prefix.clone())),
            queues: variable("TEMPEST_QUEUE").list("default", &mut mistakes),
            lanes: variable("TEMPEST_LANES").list("normal", &mut mistakes),
            concurrency: variable("TEMPEST_CONCURRENCY").value(1, &mut mistakes),
            grace: GRACE,
            run_max: limits::RUN_MAX,
            url,
            tls: Tls::of(|name| variable(name).text.map(PathBuf::from)),
            prefix,
            topic_prefix: variable("TEMPEST_TOPIC_PREFIX").text.unwrap_or_default(),
            tag: variable("TEMPEST_WORKER_TAG").text,
            mistakes,
        }
    }

    /// Adds a queue, if its name is one.
    pub(crate) fn add_queue(&mut self, name: &str) {
        match name.parse() {
            Ok(queue) => self.queues.push(queue),
            Err(error) => self.mistakes.push(detail(&error)),
        }
    }

    /// The same set up, each queue and lane once and lanes in order of their rank; or all mistakes.
    pub(crate) fn checked(mut self) -> Result<Self, Vec<String>> {
        let mut seen = Vec::new();
        self.queues.retain(|queue| {
            let new = !seen.contains(queue);
            seen.push(queue.clone());
            new
        });
        self.lanes = Lane::ALL.into_iter().filter(|lane| self.lanes.contains(lane)).collect();
        if self.queues.is_empty() && self.mistakes.is_empty() {
            self.mistakes.push("a worker needs a queue".to_owned());
        }
        if self.lanes.is_empty() && self.mistakes.is_empty() {
            self.mistakes.push("a worker needs a lane: high, normal or low".to_owned());
        }
        if self.concurrency == 0 {
            self.mistakes.push("concurrency counts from 1 (TEMPEST_CONCURRENCY)".to_owned());
        }
        if self.mistakes.is_empty() { Ok(self) } else { Err(self.mistakes) }
    }

    /// Whether a supervisor keeps the lease of a worker with these settings while it rests: the program may have named
    /// another Redis.
    pub(crate) fn may_leave_lease(&self, settings: &Settings) -> bool {
        self.kept_at.as_ref().is_some_and(|(url, prefix)| *url == settings.url && *prefix == settings.prefix)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            tls: self.tls.clone(),
            prefix: self.prefix.clone(),
            topic_prefix: self.topic_prefix.clone(),
            ..Settings::new(&self.url, "tempest-worker")
        }
    }
}

struct Variable {
    name: &'static str,
    text: Option<String>,
}

impl Variable {
    fn value<T: FromStr<Err: Display>>(self, default: T, mistakes: &mut Vec<String>) -> T {
        let Some(text) = self.text else { return default };
        text.trim().parse().unwrap_or_else(|error| {
            mistakes.push(format!("{}={text:?}: {error}", self.name));
            default
        })
    }

    /// Names separated by commas.
    fn list<T: FromStr<Err: Display>>(self, default: &str, mistakes: &mut Vec<String>) -> Vec<T> {
        let text = self.text.as_deref().unwrap_or(default);
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let mut values = Vec::new();
        for item in items {
            match item.parse() {
                Ok(value) => values.push(value),
                Err(error) => mistakes.push(format!("{}={text:?}: {error}", self.name)),
            }
        }
        values
    }
}

fn detail(error: &tempest_protocol::Error) -> String {
    error.detail().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Options, Vec<String>> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).to_owned())
        };
        Options::of(variable).checked()
    }

    #[test]
    fn nothing_set_is_one_slot_on_the_default_queue() {
        let options = of(&[]).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert_eq!(options.queues.iter().map(Queue::as_str).collect::<Vec<_>>(), ["default"]);
        assert_eq!((options.lanes.as_slice(), options.concurrency), (&[Lane::Normal][..], 1));
        assert_eq!(options.url, "redis://127.0.0.1:6379");
    }

    #[test]
    fn lists_are_read_once_each_and_lanes_in_order() {
        let variables = [
            ("TEMPEST_QUEUE", "mail, web,mail"),
            ("TEMPEST_LANES", "low,high"),
            ("TEMPEST_CONCURRENCY", " 8 "),
        ];
        let options = of(&variables).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert_eq!(options.queues.iter().map(Queue::as_str).collect::<Vec<_>>(), ["mail", "web"]);
        assert_eq!((options.lanes.as_slice(), options.concurrency), (&[Lane::High, Lane::Low][..], 8));
    }

    #[test]
    fn it_leaves_its_lease_only_to_a_supervisor_that_keeps_it() {
        let options = |text| of(&[("TEMPEST_REST", text)]).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert!(!options("0").may_leave_lease(&options("0").settings()));
        let mut options = options("1");
        assert!(options.may_leave_lease(&options.settings()));
        options.url = "redis://elsewhere".to_owned();
        assert!(!options.may_leave_lease(&options.settings()));
    }

    #[test]
    fn all_mistakes_are_told_with_their_variable() {
        let variables = [
            ("TEMPEST_QUEUE", "a b"),
            ("TEMPEST_LANES", "urgent"),
            ("TEMPEST_CONCURRENCY", "many"),
            ("TEMPEST_PREFIX", "a:b"),
        ];
        let mistakes = of(&variables).err().expect("mistakes");
        for (name, _) in variables {
            assert!(mistakes.iter().any(|mistake| mistake.starts_with(name)), "{name}: {mistakes:?}");
        }
    }
}
