//! Accounts that may do what a part of Tempest does, and nothing else: rules of Redis' `ACL`, made from the table of
//! `rights`. Nothing here is asked of Redis but to set an account.

use std::collections::{BTreeMap, BTreeSet};

use redis::{Value, cmd};
use tempest_protocol::{Keys, Queue, limits};

use crate::{
    Error, Settings,
    place::Place,
    rights::{self, On, READ, Right, WRITE, who},
};

/// Who an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `tempest front`, or an application with one inside.
    Front,
    /// A worker of some queues.
    Worker,
    /// Whoever pushes jobs to some queues and reads the replies: `tempest push`, an application.
    Caller,
    /// Whoever publishes to some topics.
    Publisher,
    /// A supervisor without a front: recovers in all queues.
    Supervisor,
    /// `tempest up`: a front, a supervisor, and workers that have no account of their own.
    Up,
    /// Whoever only looks: `tempest queues`, `tempest workers`.
    Inspector,
}

impl Role {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 7] = [
        Self::Front,
        Self::Worker,
        Self::Caller,
        Self::Publisher,
        Self::Supervisor,
        Self::Up,
        Self::Inspector,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Worker => "worker",
            Self::Caller => "caller",
            Self::Publisher => "publisher",
            Self::Supervisor => "supervisor",
            Self::Up => "up",
            Self::Inspector => "inspector",
        }
    }

    /// Whether its rights are those on queues that are named.
    pub fn is_of_queues(self) -> bool {
        matches!(self, Self::Worker | Self::Caller)
    }

    fn bits(self) -> u8 {
        match self {
            Self::Front => who::FRONT,
            Self::Worker => who::WORKER,
            Self::Caller => who::CALLER,
            Self::Publisher => who::PUBLISHER,
            Self::Supervisor => who::SUPERVISOR,
            Self::Up => who::FRONT | who::WORKER | who::SUPERVISOR,
            Self::Inspector => who::INSPECTOR,
        }
    }
}

/// What the rights of an account reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// The queues of a worker or caller. Fronts, supervisors and inspectors have all queues.
    pub queues: &'a [Queue],
    /// Patterns of topics, as Redis understands them, without the topic prefix. Fronts hear these, all if there is
    /// none; workers, callers and publishers publish to these, to none if there is none.
    pub topics: &'a [String],
}

/// The rules of an account, a word or a selector each, as `ACL SETUSER` and a line of an ACL file take them. They take
/// no earlier right away: begin with [`RESET`] where there may be one.
pub fn rules(settings: &Settings, role: Role, scope: &Scope<'_>) -> Vec<String> {
    let mut areas: BTreeMap<Area, Rules> = BTreeMap::new();
    let of_role = |right: &Right| right.who & role.bits() != 0;
    for right in rights::wanted(settings).iter().filter(|right| of_role(right)) {
        let patterns = patterns(settings, role, scope, right);
        if right.on == On::Nothing || !patterns.is_empty() {
            areas.entry(Area::of(right)).or_default().add(right, patterns);
        }
    }
    let root = areas.remove(&Area::Root).unwrap_or_default();
    let mut words: Vec<_> = root.words().collect();
    // Redis sends who has chosen another database there with every connection.
    if database(settings).is_some_and(|database| database != 0) {
        words.push("+select".into());
    }
    words.extend(areas.into_iter().map(|(area, rules)| area.selector(&rules)));
    words
}

/// Takes every right of an account away, but neither its passwords nor that it is there.
pub const RESET: [&str; 4] = ["resetkeys", "resetchannels", "clearselectors", "-@all"];

/// What an account of this role does, as commands on made-up names of the queue, mailbox and topic `doctor`.
pub fn commands(settings: &Settings, role: Role) -> Vec<Vec<String>> {
    let of_role = |right: &Right| right.who & role.bits() != 0;
    rights::wanted(settings)
        .iter()
        .filter(|right| of_role(right))
        .map(|right| right.words().to_vec())
        .collect()
}

/// Commands that share their keys or channels: Redis joins each command of a selector with each pattern of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Area {
    /// Queues, and what touches no key.
    Root,
    Results,
    Sets,
    Supervisors,
    Mailboxes,
    Listen,
    Say,
}

impl Area {
    fn of(right: &Right) -> Self {
        match right.on {
            On::Nothing | On::Queue => Self::Root,
            On::Results => Self::Results,
            On::Queues | On::Mailboxes | On::Sweep => Self::Sets,
            On::Supervisors => Self::Supervisors,
            On::Mailbox | On::About => Self::Mailboxes,
            On::Topic | On::Control | On::Probe if right.name() == "publish" => Self::Say,
            On::Topic | On::Control | On::Probe => Self::Listen,
        }
    }

    /// A server may give every channel to a new selector (`acl-pubsub-default`).
    fn selector(self, rules: &Rules) -> String {
        let words: Vec<_> = rules.words().collect();
        let reset = if matches!(self, Self::Listen | Self::Say) { "resetchannels " } else { "" };
        format!("({reset}{})", words.join(" "))
    }
}

#[derive(Default)]
struct Rules {
    commands: BTreeSet<String>,
    /// Patterns, each with what is done to the keys; 0 is a channel.
    patterns: BTreeMap<String, u8>,
}

impl Rules {
    fn add(&mut self, right: &Right, patterns: Vec<String>) {
        self.commands.insert(right.name());
        for pattern in patterns {
            *self.patterns.entry(pattern).or_default() |= right.access;
        }
    }

    /// Redis takes no channel beside all of them.
    fn is_said_already(&self, pattern: &str, access: u8) -> bool {
        access == 0 && pattern != "*" && self.patterns.get("*") == Some(&0)
    }

    fn words(&self) -> impl Iterator<Item = String> {
        let pattern = |(pattern, access): (&String, &u8)| match *access {
            0 => format!("&{pattern}"),
            READ => format!("%R~{pattern}"),
            WRITE => format!("%W~{pattern}"),
            _ => format!("~{pattern}"),
        };
        let patterns =
            self.patterns.iter().filter(|(pattern, access)| !self.is_said_already(pattern, **access));
        self.commands.iter().map(|name| format!("+{name}")).chain(patterns.map(pattern))
    }
}

fn patterns(settings: &Settings, role: Role, scope: &Scope<'_>, right: &Right) -> Vec<String> {
    let keys = Keys::new(settings.prefix.clone());
    let prefix = keys.prefix();
    match right.on {
        On::Nothing => Vec::new(),
        On::Queue if role.is_of_queues() => {
            let of = |queue: &Queue| [format!("{prefix}:{{{queue}}}"), format!("{prefix}:{{{queue}}}:*")];
            scope.queues.iter().flat_map(of).collect()
        }
        On::Queue => vec![format!("{prefix}:{{*}}"), format!("{prefix}:{{*}}:*")],
        On::Results if role.is_of_queues() => {
            scope.queues.iter().map(|queue| format!("{prefix}:{{{queue}}}:job:*:result")).collect()
        }
        On::Results => vec![format!("{prefix}:{{*}}:job:*:result")],
        On::Queues => vec![keys.queues()],
        On::Mailboxes => vec![keys.mailboxes()],
        On::Sweep => vec![keys.sweep()],
        On::Supervisors => vec![keys.supervisors(), format!("{prefix}:supervisor:{{*}}")],
        On::Mailbox => vec![format!("{prefix}:mailbox:{{*}}")],
        On::About => vec![format!("{prefix}:mailbox:{{*}}:about")],
        On::Control if role.is_of_queues() => scope.queues.iter().map(|queue| keys.control(queue)).collect(),
        On::Control => vec![format!("{prefix}:{{*}}:control")],
        On::Probe => vec![format!("{prefix}:probe:{{*}}")],
        On::Topic => topics(settings, scope, right.who & role.bits() & who::FRONT != 0),
    }
}

fn topics(settings: &Settings, scope: &Scope<'_>, all: bool) -> Vec<String> {
    let everything = [String::from("*")];
    let patterns = if all && scope.topics.is_empty() { &everything[..] } else { scope.topics };
    patterns.iter().map(|pattern| format!("{}{pattern}", settings.topic_prefix)).collect()
}

fn database(settings: &Settings) -> Option<i64> {
    Place::of(settings).ok().map(|place| place.database())
}

/// A connection of somebody who may set accounts.
pub struct Accounts {
    connection: redis::aio::MultiplexedConnection,
}

impl Accounts {
    /// Connects.
    ///
    /// Errors: [`Error::Setup`] with one line that says what to do.
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        let place = Place::of(settings)?;
        let connection = place.dedicated(limits::COMMAND_ANSWER).await;
        Ok(Self { connection: connection.map_err(|error| place.no_redis(&error))? })
    }

    /// Sets an account by the words of its rules. Connections that it has keep working as far as the new rules go.
    ///
    /// Errors: [`Error::Refused`]: this account may not, or Redis is older than 7.0; Redis is away.
    pub async fn set(&mut self, name: &str, words: &[String]) -> Result<(), Error> {
        Ok(cmd("ACL").arg("SETUSER").arg(name).arg(words).exec_async(&mut self.connection).await?)
    }

    /// Writes the accounts to the file that this Redis reads them from. False: it has none, so that they are gone when
    /// it starts again.
    ///
    /// Errors: the file cannot be written; Redis is away.
    pub async fn save(&mut self) -> Result<bool, Error> {
        match cmd("ACL").arg("SAVE").query_async::<Value>(&mut self.connection).await.map_err(Error::from) {
            Ok(_) => Ok(true),
            Err(Error::Refused { detail, .. }) if detail.contains("not configured to use an ACL file") => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(role: Role, queues: &[&str], topics: &[&str]) -> String {
        let queues: Vec<_> = queues.iter().map(|name| Queue::new(name).expect("a name")).collect();
        let topics: Vec<_> = topics.iter().map(|&topic| topic.to_owned()).collect();
        let scope = Scope { queues: &queues, topics: &topics };
        rules(&Settings::new("redis://127.0.0.1", ""), role, &scope).join(" ")
    }

    #[test]
    fn nobody_may_do_everything() {
        for role in Role::ALL {
            let text = of(role, &["mail"], &["news:*"]);
            for word in ["+@", "+flushall", "+keys", "+config", "+debug", "+acl", "~* ", "+script"] {
                assert!(!text.contains(word), "{role:?}: {word} in {text}");
            }
        }
    }

    #[test]
    fn a_worker_has_the_keys_of_its_queues_and_writes_to_mailboxes() {
        let text = of(Role::Worker, &["mail"], &[]);
        assert!(text.contains("~tempest:{mail} ~tempest:{mail}:*"), "{text}");
        assert!(text.contains("(+rpush %W~tempest:mailbox:{*})"), "{text}");
        assert!(text.contains("(+sadd %W~tempest:queues)"), "{text}");
        assert!(text.contains("(resetchannels +subscribe +unsubscribe &tempest:{mail}:control)"), "{text}");
        assert!(!text.contains("publish") && !text.contains("+scan"), "{text}");
        assert!(of(Role::Worker, &["mail"], &["news:*"]).contains("+publish &news:*"));
    }

    #[test]
    fn a_publisher_publishes_and_an_inspector_reads() {
        let text = of(Role::Publisher, &[], &["news:*"]);
        assert_eq!(text, "+info +ping +time (resetchannels +publish &news:*)");
        let text = of(Role::Inspector, &[], &[]);
        assert!(text.contains("%R~tempest:{*}") && !text.contains("%W~") && !text.contains(" ~"), "{text}");
    }

    #[test]
    fn a_front_hears_all_topics_or_those_that_are_named() {
        assert!(of(Role::Front, &[], &[]).contains("(resetchannels +subscribe +unsubscribe &*)"));
        let some = of(Role::Front, &[], &["news.*"]);
        assert!(some.contains("&news.* &tempest:probe:{*})") && !some.contains("&*"), "{some}");
    }

    #[test]
    fn another_database_needs_a_right() {
        let scope = Scope::default();
        let words = |url: &str| rules(&Settings::new(url, ""), Role::Inspector, &scope);
        assert!(words("redis://127.0.0.1/2").contains(&"+select".to_owned()));
        assert!(!words("redis://127.0.0.1/0").contains(&"+select".to_owned()));
    }
}
