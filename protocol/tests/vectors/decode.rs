//! Frames and payloads as they arrive: job, background, following, http, reply, requeue, event.

use bytes::Bytes;
use serde_json::{Value, json};
use tempest_protocol::{Encoding, Error, Event, HttpRequest, Job, Keys, Prefix, Raw, Reply, following};

use crate::{
    corpus::{Case, bytes, hex, walk},
    value,
};

fn job(case: &Case) -> Result<Job, Error> {
    let prefix =
        case.prefix.as_deref().map_or_else(Prefix::default, |name| Prefix::new(name).expect("a prefix"));
    Job::decode(case.frame().into(), &Keys::new(prefix))
}

#[test]
fn jobs() {
    walk("job", |case| case.expect(job(case).map(|job| value::of_job(&job))));
}

#[test]
fn background_jobs() {
    walk("background", |case| case.expect(job(case).map(|job| value::of_background(&job))));
}

#[test]
fn jobs_that_follow() {
    walk("following", |case| case.expect(next(&case.input, case.out.as_ref())));
}

/// What comes after a job, its frame in the form in which the case writes it.
fn next(input: &Value, due: Option<&Value>) -> Result<Value, Error> {
    let keys = Keys::default();
    let job = Job::decode(bytes(&input["job"]).into(), &keys)?;
    let result = value_of(job.encoding(), &bytes(&input["result"]));
    let now_ms = input["now"].as_u64().expect("a time");
    let Some(next) = following(&job, &result, now_ms, &keys)? else {
        return Ok(json!({"queue": null, "job": null}));
    };
    let frame = next.job.frame();
    let is_text = due.is_some_and(|due| due["job"]["text"].is_string());
    let frame = match std::str::from_utf8(frame) {
        Ok(text) if is_text => json!({ "text": text }),
        _ => json!({ "hex": hex(frame) }),
    };
    Ok(json!({"queue": next.queue.as_ref().map(|queue| queue.as_str()), "job": frame}))
}

/// A value as it stands on the wire.
fn value_of(encoding: Encoding, value: &[u8]) -> Raw {
    let frame = match encoding {
        Encoding::Json => [br#"{"action":"a","args":"#, value, b"}"].concat(),
        Encoding::MsgPack => [b"\x82\xa6action\xa1a\xa4args", value].concat(),
    };
    Job::decode(frame.into(), &Keys::default()).expect("a job around a value").args().clone()
}

#[test]
fn http_jobs() {
    walk("http", |case| {
        let request = job(case).and_then(|job| HttpRequest::decode(job.args()));
        case.expect(request.map(|request| value::of_http(&request)))
    });
}

#[test]
fn replies() {
    walk("reply", |case| {
        let frame = Bytes::from(case.frame());
        let reply = Reply::decode(&frame);
        let encoding = Encoding::of(&frame);
        case.expect(reply.and_then(|reply| Ok(value::of_reply(&reply, encoding?))))
    });
}

#[test]
fn requeue_changes_one_value() {
    walk("requeue", |case| {
        let attempt = case.attempt.ok_or("a case of requeue has an attempt")?;
        let got = job(case).map(|job| job.with_attempt(attempt));
        match (&case.out, got) {
            (Some(out), Ok(frame)) if bytes(out) == frame => {
                let again = Job::decode(frame, &Keys::default()).map_err(|error| error.to_string())?;
                (again.envelope.attempt == attempt)
                    .then_some(())
                    .ok_or("the new frame has another attempt".into())
            }
            (Some(out), Ok(frame)) => Err(format!(
                "due {}\n     got {}",
                hex(&bytes(out)),
                String::from_utf8(frame.to_vec()).unwrap_or_else(|_| hex(&frame))
            )),
            (_, got) => case.expect(got.map(|frame| json!(hex(&frame)))),
        }
    });
}

#[test]
fn events() {
    walk("event", |case| {
        let event = Event::of(&case.frame());
        case.expect(Ok(match event {
            Event::Unsubscribe => json!({"unsubscribe": true}),
            Event::Message { .. } => {
                let mut text = Vec::new();
                event.write_sse(true, &mut text);
                json!({"sse": String::from_utf8(text).map_err(|error| error.to_string())?})
            }
        }))
    });
}
