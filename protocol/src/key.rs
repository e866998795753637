//! Every key of the bus, a function each (SPEC "Keys"). Literal braces keep a queue in one Cluster slot.

use crate::{Group, JobId, Lane, Mailbox, Prefix, Queue, Tag, Topic, WorkerId};

/// Makes the Redis keys and channels of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    prefix: Prefix,
}

impl Keys {
    /// Keys below this prefix.
    pub fn new(prefix: Prefix) -> Self {
        Self { prefix }
    }

    /// The prefix.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    fn of_queue(&self, queue: &Queue, rest: &str) -> String {
        [self.prefix.as_str(), ":{", queue.as_str(), "}", rest].concat()
    }

    /// LIST: jobs waiting in a lane.
    pub fn lane(&self, queue: &Queue, lane: Lane) -> String {
        match lane {
            Lane::Normal => self.of_queue(queue, ""),
            Lane::High => self.of_queue(queue, ":high"),
            Lane::Low => self.of_queue(queue, ":low"),
        }
    }

    /// LIST: what a slot of a worker has claimed and not acked. `slot` is what follows the last dot.
    pub fn run(&self, queue: &Queue, worker: &WorkerId, slot: usize) -> String {
        self.run_entry(queue, &Self::entry(worker, slot))
    }

    /// LIST: the run list of an entry `<worker>.<slot>` of [`Keys::workers`].
    pub fn run_entry(&self, queue: &Queue, entry: &str) -> String {
        self.of_queue(queue, &format!(":run:{entry}"))
    }

    /// The member that names a worker's slot in [`Keys::workers`]: `<worker>.<slot>`.
    pub fn entry(worker: &WorkerId, slot: usize) -> String {
        format!("{worker}.{slot}")
    }

    /// The worker of an entry `<worker>.<slot>`; none if it has no such form.
    pub fn worker_of(entry: &str) -> Option<WorkerId> {
        let (worker, slot) = entry.rsplit_once('.')?;
        slot.parse::<u32>().ok()?;
        WorkerId::new(worker).ok()
    }

    /// SET of `<worker>.<slot>`: where to look for claimed jobs.
    pub fn workers(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":workers")
    }

    /// STRING with an expiry: the worker lives while it exists.
    pub fn lease(&self, queue: &Queue, worker: &WorkerId) -> String {
        self.of_queue(queue, &format!(":lease:{worker}"))
    }

    /// ZSET: delayed and retried jobs by due time.
    pub fn later(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":later")
    }

    /// ZSET: jobs given up, by time of death.
    pub fn dead(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":dead")
    }

    /// HASH with an expiry: what is known of a background job.
    pub fn record(&self, queue: &Queue, id: &JobId) -> String {
        self.of_queue(queue, &format!(":job:{id}"))
    }

    /// LIST with an expiry: lines that a background job wrote.
    pub fn log(&self, queue: &Queue, id: &JobId) -> String {
        self.of_queue(queue, &format!(":job:{id}:log"))
    }

    /// LIST of one reply, with an expiry: what came out of a background job.
    pub fn result(&self, queue: &Queue, id: &JobId) -> String {
        self.of_queue(queue, &format!(":job:{id}:result"))
    }

    /// STRING with an expiry: which job holds a unique key.
    pub fn unique(&self, queue: &Queue, key: &Tag) -> String {
        self.of_queue(queue, &format!(":unique:{key}"))
    }

    /// HASH: what limits a queue: `paused`, `concurrency`, `rate`, `per`, `per_key`.
    pub fn limits(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":limits")
    }

    /// SET of `<worker>.<slot>`: who was given a job while the queue had a limit of concurrency.
    pub fn running(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":running")
    }

    /// STRING with an expiry: until when what was started uses up the rate, in µs.
    pub fn rate(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":rate")
    }

    /// STRING with an expiry: the places of slots that hold nothing any more were looked for just now.
    pub fn swept(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":swept")
    }

    /// SET of `<worker>.<slot>`: who runs jobs of a key.
    pub fn key(&self, queue: &Queue, key: &Tag) -> String {
        self.of_queue(queue, &format!(":key:{key}"))
    }

    /// LIST: jobs of a key that are set aside.
    pub fn aside(&self, queue: &Queue, key: &Tag) -> String {
        self.of_queue(queue, &format!(":aside:{key}"))
    }

    /// SET: the keys of a queue that have jobs set aside.
    pub fn asides(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":asides")
    }

    /// HASH: the schedules of a queue, by name.
    pub fn schedules(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":schedules")
    }

    /// ZSET: the names of schedules by the time at which they are due.
    pub fn due(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":due")
    }

    /// HASH: when each schedule last fired, and why its job was left out if it was.
    pub fn fired(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":fired")
    }

    /// HASH with an expiry: a group of jobs.
    pub fn group(&self, queue: &Queue, group: &Group) -> String {
        self.of_queue(queue, &format!(":group:{group}"))
    }

    /// SET with an expiry: the ids of those jobs of a group that are not done.
    pub fn pending(&self, queue: &Queue, group: &Group) -> String {
        self.of_queue(queue, &format!(":group:{group}:pending"))
    }

    /// HASH with an expiry: the results of a group's jobs by their ids, in JSON.
    pub fn results(&self, queue: &Queue, group: &Group) -> String {
        self.of_queue(queue, &format!(":group:{group}:results"))
    }

    /// Channel: `cancel <id>`, `kill <id> <ms>`, `drain`, `drain <worker>`.
    pub fn control(&self, queue: &Queue) -> String {
        self.of_queue(queue, ":control")
    }

    /// SET: every queue that was used.
    pub fn queues(&self) -> String {
        format!("{}:queues", self.prefix)
    }

    /// SET: every mailbox that was opened.
    pub fn mailboxes(&self) -> String {
        format!("{}:mailboxes", self.prefix)
    }

    /// STRING with an expiry: who sweeps what no set names, once an hour.
    pub fn sweep(&self) -> String {
        format!("{}:sweep", self.prefix)
    }

    /// ZSET: every supervisor, by the time it last said something, in milliseconds.
    pub fn supervisors(&self) -> String {
        format!("{}:supervisors", self.prefix)
    }

    /// STRING with an expiry: what a supervisor says of its children.
    pub fn supervisor(&self, supervisor: &WorkerId) -> String {
        format!("{}:supervisor:{{{supervisor}}}", self.prefix)
    }

    /// LIST: replies for one process. The full key is what `reply_to` carries.
    pub fn mailbox(&self, mailbox: &Mailbox) -> String {
        format!("{}:mailbox:{{{mailbox}}}", self.prefix)
    }

    /// STRING with an expiry: the mailbox's owner lives.
    pub fn about(&self, mailbox: &Mailbox) -> String {
        format!("{}:about", self.mailbox(mailbox))
    }

    /// The mailbox a `reply_to` names, if it names one of this cluster.
    pub fn mailbox_of(&self, reply_to: &str) -> Option<Mailbox> {
        Mailbox::new(self.in_mailbox_key(reply_to)?).ok()
    }

    /// Whether a `reply_to` names a mailbox of this cluster.
    pub fn is_mailbox(&self, reply_to: &str) -> bool {
        self.in_mailbox_key(reply_to).is_some_and(Mailbox::allows)
    }

    fn in_mailbox_key<'a>(&self, key: &'a str) -> Option<&'a str> {
        let rest = key.strip_prefix(self.prefix.as_str())?.strip_prefix(":mailbox:{")?;
        rest.strip_suffix('}')
    }

    /// Channel on which a process hears its own liveness probe.
    pub fn probe(&self, mailbox: &Mailbox) -> String {
        format!("{}:probe:{{{mailbox}}}", self.prefix)
    }

    /// STREAM: kept events of a topic.
    pub fn topic(&self, topic: &Topic) -> String {
        format!("{}:topic:{{{topic}}}", self.prefix)
    }

    /// Whether browsers may subscribe to a channel of this name at all. Call it after percent-decoding and with the
    /// topic prefix in place.
    pub fn subscribable(&self, channel: &str) -> bool {
        let own = channel.strip_prefix(self.prefix.as_str()).is_some_and(|rest| rest.starts_with(':'));
        !(own
            || channel.starts_with("tempest:")
            || channel.starts_with("__")
            || channel.contains(":mailbox:"))
    }
}
