//! What a job says that nobody waits for (SPEC "Background jobs"). Most jobs say none of it.

use bytes::Bytes;

use crate::{
    Code, Encoding, Error, Group, Job, Keys, Queue, Raw, Tag, frame,
    writer::{MapWriter, put_integer, put_text},
};

/// How long a job holds its unique key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Holds {
    /// Until a worker starts it.
    Queued,
    /// Until it ends: done or dead.
    #[default]
    Running,
    /// For a time, whatever becomes of it.
    Time,
}

impl Holds {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Running, Self::Time];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Time => "time",
        }
    }
}

impl std::str::FromStr for Holds {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|holds| holds.as_str() == word).ok_or_else(|| {
            Error::new(Code::BadName, format!("unique_while is queued, running or time, not {word:?}"))
        })
    }
}

/// The fields of an envelope that only background jobs have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Background {
    /// How long its record and its result are kept after its end, in milliseconds; 0: not at all.
    pub keep_ms: u64,
    /// While it holds this key of its queue, no other job with the same one is pushed.
    pub unique: Option<Tag>,
    /// How long it does.
    pub unique_while: Holds,
    /// Of the jobs of a queue with the same key only so many run at a time as the queue's limits say, one if they say
    /// nothing.
    pub key: Option<Tag>,
    /// The group it belongs to, and the queue that group lies in.
    pub group: Option<(Queue, Group)>,
    /// Jobs that come one after the other when this one is done: a list of maps, in the encoding of the job.
    pub then: Option<Raw>,
    /// What came out of the job before it in such a list, or of the jobs of a group.
    pub input: Option<Raw>,
}

impl Background {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The jobs of `then`, each as it stands there.
    ///
    /// Errors: `bad_job` if it is no list of maps.
    pub fn following(&self) -> Result<Vec<Bytes>, Error> {
        let Some(then) = &self.then else { return Ok(Vec::new()) };
        frame::items(then)
    }
}

impl Background {
    /// Writes the fields that say something, in the order of the SPEC. Out of the way of all the jobs that have none.
    #[cold]
    #[inline(never)]
    pub(crate) fn write(&self, map: &mut MapWriter<'_>) {
        map.integer_if("keep", (self.keep_ms != 0).then_some(self.keep_ms));
        map.text_if("unique", self.unique.as_ref().map(Tag::as_str));
        map.text_if(
            "unique_while",
            (self.unique_while != Holds::default()).then(|| self.unique_while.as_str()),
        );
        map.text_if("key", self.key.as_ref().map(Tag::as_str));
        map.text_if("group", self.group.as_ref().map(|(queue, group)| format!("{queue}:{group}")).as_deref());
        for (name, value) in [("then", &self.then), ("input", &self.input)] {
            if let Some(value) = value {
                map.raw(name, value);
            }
        }
    }
}

/// Jobs as the `then` of another: each goes to its queue.
pub fn chain<'a>(encoding: Encoding, jobs: impl IntoIterator<Item = (&'a Queue, &'a Bytes)>) -> Raw {
    let link = |(queue, frame): (&Queue, &Bytes)| {
        let mut name = Vec::with_capacity(queue.as_str().len() + 2);
        put_text(&mut name, encoding, queue.as_str());
        frame::remake(frame, encoding, &[("queue", &name)], &[])
    };
    Raw::new(encoding, list(encoding, &jobs.into_iter().map(link).collect::<Vec<_>>()).into())
}

/// The job that comes next when a job with `then` is done.
#[derive(Clone, Debug)]
pub struct Following {
    /// Where it goes; none: to the queue of the job before it.
    pub queue: Option<Queue>,
    /// The job: as it stands in the list, with what is left of the list, and with what came out of the one before.
    pub job: Job,
}

/// What comes after a job that is done with a result in the job's own encoding; none: nothing does.
///
/// Errors: `bad_job` or another code of decoding: what comes next is no job.
pub fn following(job: &Job, result: &Raw, now_ms: u64, keys: &Keys) -> Result<Option<Following>, Error> {
    let Some(background) = &job.envelope.background else { return Ok(None) };
    let jobs = background.following()?;
    let Some((first, rest)) = jobs.split_first() else { return Ok(None) };
    let encoding = job.encoding();
    let (then, mut now) = (list(encoding, rest), Vec::with_capacity(16));
    put_integer(&mut now, encoding, now_ms);
    let mut front: Vec<(&str, &[u8])> = vec![("input", result.bytes()), ("queued_at", &now)];
    if !rest.is_empty() {
        front.push(("then", &then));
    }
    let queue = frame::fields(first, frame::ExtIn::Any)?.into_iter().rev().find(|(name, _)| name == "queue");
    let queue = queue.filter(|(_, queue)| !queue.is_null()).map(|(_, queue)| queue.parse::<String>());
    let queue = queue.transpose().map_err(|detail| Error::new(Code::BadJob, format!("queue: {detail}")))?;
    let job = Job::decode(frame::remake(first, encoding, &front, &["queue", "then"]), keys)?;
    Ok(Some(Following { queue: queue.map(Queue::new).transpose()?, job }))
}

/// The result of a job as its group keeps it: in JSON.
///
/// Errors: `bad_job`: JSON cannot hold it; `too_deep`: the job that ends the group cannot.
pub fn for_group(result: &Raw) -> Result<Raw, Error> {
    let result = result.to_encoding(Encoding::Json)?;
    let input =
        [&b"{\"input\":"[..], &list(Encoding::Json, std::slice::from_ref(result.bytes())), b"}"].concat();
    frame::fields(&input, frame::ExtIn::Any)?;
    Ok(result)
}

/// The job that ends a group, with the results of its jobs in their order as `input`: JSON texts, null where there is none.
///
/// Errors: those of decoding: it is no job.
pub fn completing(frame: &Bytes, results: &[Option<Bytes>], now_ms: u64, keys: &Keys) -> Result<Job, Error> {
    let job = Job::decode(frame.clone(), keys)?;
    let null = Bytes::from_static(b"null");
    let results: Vec<_> =
        results.iter().map(|result| result.clone().unwrap_or_else(|| null.clone())).collect();
    let input =
        Raw::new(Encoding::Json, list(Encoding::Json, &results).into()).to_encoding(job.encoding())?;
    let mut now = Vec::with_capacity(16);
    put_integer(&mut now, job.encoding(), now_ms);
    Job::decode(
        frame::remake(frame, job.encoding(), &[("input", input.bytes()), ("queued_at", &now)], &[]),
        keys,
    )
}

/// A list of values that are written already.
fn list(encoding: Encoding, values: &[Bytes]) -> Vec<u8> {
    match encoding {
        Encoding::Json => [&b"["[..], &values.join(&b","[..]), b"]"].concat(),
        Encoding::MsgPack => {
            let mut out = Vec::new();
            let length = u32::try_from(values.len()).unwrap_or(u32::MAX);
            rmp::encode::write_array_len(&mut out, length).expect("a Vec takes every byte");
            out.extend(values.concat());
            out
        }
    }
}

/// The text of a `group` field.
pub(crate) fn group_of(text: &str) -> Result<(Queue, Group), Error> {
    let (queue, group) = text
        .split_once(':')
        .ok_or_else(|| Error::new(Code::BadName, format!("group is <queue>:<group>, not {text:?}")))?;
    Ok((Queue::new(queue)?, Group::new(group)?))
}

/// A list of maps.
pub(crate) fn list_of_maps(encoding: Encoding, bytes: Bytes) -> Result<Raw, Error> {
    let list = Raw::new(encoding, bytes);
    frame::items(&list)?;
    Ok(list)
}
