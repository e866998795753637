//! What encoders write: job, http, reply. Encode, decode again, compare; and the promised order of fields.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use tempest_protocol::{
    Action, Content, Encoding, Envelope, Failure, Headers, HttpRequest, Job, JobId, Keys, Lane, Reply, Timing,
};

use crate::{
    corpus::{Case, same, unhex, walk},
    value,
};

const JOB_ORDER: [&str; 18] = [
    "id",
    "reply_to",
    "action",
    "attempt",
    "attempts",
    "deadline",
    "lane",
    "queued_at",
    "traceparent",
    "session",
    "keep",
    "unique",
    "unique_while",
    "key",
    "group",
    "then",
    "input",
    "args",
];
const REPLY_ORDER: [&str; 12] = [
    "id",
    "attempt",
    "more",
    "seq",
    "claimed_at",
    "work_us",
    "status",
    "headers",
    "body",
    "body_base64",
    "result",
    "error",
];

type Outcome<T> = Result<T, String>;

#[test]
fn jobs() {
    walk("encode_job", |case| {
        each_encoding(case, |encoding| {
            let frame = envelope(&case.input, encoding).encode(&value::to_raw(&case.input["args"], encoding));
            let names = names(encoding, &frame)?;
            in_order(&names, &JOB_ORDER)?;
            lists(case, &names)?;
            let job = Job::decode(frame, &Keys::default()).map_err(|error| error.to_string())?;
            let mut again = value::of_job(&job);
            if case.input.get("keep").is_some() {
                let said = value::of_background(&job);
                again.as_object_mut().expect("a map").extend(said.as_object().expect("a map").clone());
            }
            equal(case, again, encoding)
        })
    });
}

#[test]
fn http_jobs() {
    walk("encode_http", |case| {
        each_encoding(case, |encoding| {
            let request = http(&case.input);
            let frame = Envelope::new(Action::new("url").expect("a name")).encode(&request.encode(encoding));
            let job = Job::decode(frame, &Keys::default()).map_err(|error| error.to_string())?;
            lists(case, &names(encoding, job.args().bytes())?)?;
            let again = HttpRequest::decode(job.args()).map_err(|error| error.to_string())?;
            let again = value::of_http(&again);
            same(&case.input, &again)
                .then_some(())
                .ok_or(format!("{}: decoded again {again}", encoding.as_str()))
        })
    });
}

#[test]
fn replies() {
    walk("encode_reply", |case| {
        each_encoding(case, |encoding| {
            let frame = reply(&case.input, encoding).encode(encoding).map_err(|error| error.to_string())?;
            let names = names(encoding, &frame)?;
            in_order(&names, &REPLY_ORDER)?;
            lists(case, &names)?;
            let again = Reply::decode(&frame).map_err(|error| error.to_string())?;
            equal(case, value::of_reply(&again, encoding), encoding)
        })
    });
}

fn each_encoding(case: &Case, check: impl Fn(Encoding) -> Outcome<()>) -> Outcome<()> {
    let both = ["json".to_owned(), "msgpack".to_owned()];
    let words = case.encodings.as_deref().unwrap_or(&both);
    words.iter().try_for_each(|word| check(word.parse().map_err(|error| format!("{error}"))?))
}

/// Compares with `in`, which names no encoding.
fn equal(case: &Case, mut again: Value, encoding: Encoding) -> Outcome<()> {
    let written = again.as_object_mut().and_then(|fields| fields.remove("encoding"));
    if written != Some(encoding.as_str().into()) {
        return Err(format!("written as {written:?}, not as {}", encoding.as_str()));
    }
    same(&case.input, &again).then_some(()).ok_or(format!("{}: decoded again {again}", encoding.as_str()))
}

fn lists(case: &Case, names: &[String]) -> Outcome<()> {
    let missing: Vec<_> = case.must_contain.iter().filter(|name| !names.contains(name)).collect();
    let needless: Vec<_> = case.must_not_contain.iter().filter(|name| names.contains(name)).collect();
    (missing.is_empty() && needless.is_empty())
        .then_some(())
        .ok_or(format!("fields {names:?}: missing {missing:?}, needless {needless:?}"))
}

fn in_order(names: &[String], order: &[&str]) -> Outcome<()> {
    let places: Option<Vec<_>> =
        names.iter().map(|name| order.iter().position(|known| known == name)).collect();
    let places = places.ok_or(format!("a field nobody promised: {names:?}"))?;
    places.is_sorted_by(|a, b| a < b).then_some(()).ok_or(format!("not in the promised order: {names:?}"))
}

/// The names of a map in the order they stand there.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

fn names(encoding: Encoding, map: &[u8]) -> Outcome<Vec<String>> {
    let names: Names = match encoding {
        Encoding::Json => serde_json::from_slice(map).map_err(|error| error.to_string())?,
        Encoding::MsgPack => rmp_serde::from_slice(map).map_err(|error| error.to_string())?,
    };
    Ok(names.0)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn envelope(input: &Value, encoding: Encoding) -> Envelope {
    let mut envelope =
        Envelope::new(Action::new(text(&input["action"]).expect("an action")).expect("a name"));
    envelope.id = text(&input["id"]).map(|id| JobId::new(id).expect("an id"));
    envelope.reply_to = text(&input["reply_to"]);
    envelope.deadline_ms = input["deadline"].as_u64().expect("a deadline");
    envelope.attempt = input["attempt"].as_u64().expect("an attempt");
    envelope.attempts = input["attempts"].as_u64().filter(|attempts| *attempts != envelope.attempts_max());
    envelope.lane = input["lane"].as_str().expect("a lane").parse::<Lane>().expect("a lane");
    envelope.queued_at_ms = input["queued_at"].as_u64();
    envelope.traceparent = text(&input["traceparent"]);
    envelope.session = text(&input["session"]);
    envelope.background = value::to_background(input, encoding).map(Box::new);
    envelope
}

fn headers(pairs: &Value) -> Headers {
    let mut headers = Headers::new();
    for pair in pairs.as_array().expect("pairs") {
        let (name, value) = (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a value"));
        headers.push_text(name, value).expect("a header field");
    }
    headers
}

fn body(input: &Value) -> bytes::Bytes {
    unhex(input["body_hex"].as_str().expect("hexadecimal")).into()
}

fn http(input: &Value) -> HttpRequest {
    let text = |name: &str| text(&input[name]).expect("text");
    HttpRequest {
        method: text("method"),
        url: text("url"),
        headers: headers(&input["headers"]),
        body: body(input),
        remote: text("remote"),
        scheme: text("scheme"),
        host: text("host"),
    }
}

fn reply(input: &Value, encoding: Encoding) -> Reply {
    let content = match (input["status"].as_u64(), input["result"].get("value"), input["error"].as_object()) {
        (Some(status), None, None) => Content::Http {
            status: status.try_into().expect("a status"),
            headers: headers(&input["headers"]),
            body: body(input),
        },
        (None, Some(result), None) => Content::Result(value::to_raw(result, encoding)),
        (None, None, Some(error)) => Content::Error(Failure {
            code: text(&error["code"]).expect("a code"),
            message: text(&error["message"]).expect("a message"),
        }),
        (None, None, None) => Content::Part(body(input)),
        _ => panic!("more than one content: {input}"),
    };
    Reply {
        id: JobId::new(input["id"].as_str().expect("an id")).expect("an id"),
        attempt: input["attempt"].as_u64(),
        more: input["more"].as_bool().expect("more"),
        seq: input["seq"].as_u64(),
        timing: Timing { claimed_at_ms: input["claimed_at"].as_u64(), work_us: input["work_us"].as_u64() },
        content,
    }
}
