//! Every decoder, and what must hold of whatever they accept.

use bytes::Bytes;
use tempest_protocol::{
    Action, Code, Encoding, Envelope, Event, Failure, HttpRequest, Job, Keys, Mailbox, Prefix, Queue, Reply,
    Topic, WorkerId, dead,
};

/// Feeds the bytes to every decoder. The error says which promise they broke.
pub(crate) fn check(input: &[u8]) -> Result<(), String> {
    let frame = Bytes::copy_from_slice(input);
    match Job::decode(frame.clone(), &Keys::default()) {
        Ok(job) => check_job(&job)?,
        Err(error) => check_undecodable(input, error.code())?,
    }
    if let Ok(reply) = Reply::decode(&frame) {
        check_reply(&frame, &reply)?;
    }
    check_event(input)?;
    check_names(input);
    Ok(())
}

fn due(holds: bool, promise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(promise.to_owned()) }
}

fn decode(frame: Bytes) -> Result<Job, String> {
    Job::decode(frame, &Keys::default()).map_err(|error| format!("what was made of a job is none: {error}"))
}

fn check_job(job: &Job) -> Result<(), String> {
    let attempt = job.envelope.attempt % 1000 + 1;
    let again = decode(job.with_attempt(attempt))?;
    due(again.envelope == Envelope { attempt, ..job.envelope.clone() }, "requeue changes only the attempt")?;
    due(again.args() == job.args(), "requeue keeps the args")?;

    let again = decode(job.envelope.encode(job.args()))?;
    due(
        again.envelope == job.envelope && again.args() == job.args(),
        "a job that is written again is the same",
    )?;

    let failure = Failure::new(Code::HandlerError, "it failed");
    let member = dead::dead(job, &failure, 1_700_000_000_000);
    due(dead::failure_of(&member) == Some(failure), "a dead job says why")?;
    let again = decode(member)?;
    due(again.envelope == job.envelope && again.args() == job.args(), "a dead job keeps its fields")?;

    if let Ok(request) = HttpRequest::decode(job.args()) {
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            let again = HttpRequest::decode(&request.encode(encoding)).map_err(|error| error.to_string())?;
            due(regrouped(&again) == regrouped(&request), "a request that is written again is the same")?;
        }
    }
    Ok(())
}

/// Writing puts fields of one name together: compares without regard to the order of names.
fn regrouped(request: &HttpRequest) -> (HttpRequest, Vec<(String, Vec<u8>)>) {
    let mut fields: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    (HttpRequest { headers: Default::default(), ..request.clone() }, fields)
}

fn check_undecodable(input: &[u8], code: Code) -> Result<(), String> {
    let known = [Code::BadFrame, Code::BadJson, Code::BadMsgpack, Code::TooDeep, Code::BadJob];
    due(known.contains(&code), "a job is refused with one of five codes")?;
    let failure = Failure::new(Code::BadJob, "unreadable");
    let member = dead::undecodable(input, &failure, 1_700_000_000_000);
    due(dead::failure_of(&member) == Some(failure), "a dead frame says why")
}

fn check_reply(frame: &Bytes, reply: &Reply) -> Result<(), String> {
    due(Reply::id_of(frame).as_ref() == Some(&reply.id), "the id is found on its own")?;
    let encoding = Encoding::of(frame).map_err(|error| error.to_string())?;
    let written = reply.encode(encoding).map_err(|error| error.to_string())?;
    let again = Reply::decode(&written).map_err(|error| format!("a reply written again is none: {error}"))?;
    let written_again = again.encode(encoding).map_err(|error| error.to_string())?;
    due(written == written_again, "a reply that is written again is the same")
}

fn check_event(payload: &[u8]) -> Result<(), String> {
    let event = Event::of(payload);
    for with_id in [true, false] {
        let mut bytes = Vec::new();
        event.write_sse(with_id, &mut bytes);
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        let lines = text.strip_suffix("\n\n").ok_or("an event ends with a blank line")?;
        let known =
            |line: &str| ["event:", "id:", "retry:", "data:"].iter().any(|name| line.starts_with(name));
        due(lines.split(['\r', '\n']).all(known), "an event has only lines of its own")?;
        due(with_id || !lines.split('\n').any(|line| line.starts_with("id:")), "an id is kept back")?;
    }
    Ok(())
}

/// Only that they do not panic: what they accept is the vectors' business.
fn check_names(input: &[u8]) {
    let name = String::from_utf8_lossy(input);
    let accepted = [
        Queue::new(&name).is_ok(),
        Topic::new(&name).is_ok(),
        Action::new(&name).is_ok(),
        WorkerId::new(&name).is_ok(),
        Mailbox::new(&name).is_ok(),
        Prefix::new(&name).is_ok(),
        Keys::default().mailbox_of(&name).is_some(),
        Keys::worker_of(&name).is_some(),
        Keys::default().subscribable(&name),
    ];
    std::hint::black_box(accepted);
}
