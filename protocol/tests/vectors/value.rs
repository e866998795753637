//! Between what the crate decodes and the form of the vectors.

use serde_json::{Value, json};
use tempest_protocol::{
    Background, Content, Encoding, Group, Headers, HttpRequest, Job, Queue, Raw, Reply, Tag,
};

use crate::corpus::{hex, unhex};

pub(crate) fn of_job(job: &Job) -> Value {
    let envelope = &job.envelope;
    json!({
        "encoding": job.encoding().as_str(),
        "action": envelope.action.as_str(),
        "id": envelope.id.as_ref().map(|id| id.as_str()),
        "reply_to": envelope.reply_to,
        "deadline": envelope.deadline_ms,
        "attempt": envelope.attempt,
        "attempts": envelope.attempts_max(),
        "lane": envelope.lane.as_str(),
        "queued_at": envelope.queued_at_ms,
        "traceparent": envelope.traceparent,
        "session": envelope.session,
        "args": of_raw(job.args()),
    })
}

/// What only background jobs say.
pub(crate) fn of_background(job: &Job) -> Value {
    let background = job.envelope.background.as_deref().cloned().unwrap_or_default();
    let Background { keep_ms, unique, unique_while, key, group, then, input } = background;
    json!({
        "keep": keep_ms,
        "unique": unique.as_ref().map(|key| key.as_str()),
        "unique_while": unique_while.as_str(),
        "key": key.as_ref().map(|key| key.as_str()),
        "group": group.map(|(queue, group)| format!("{queue}:{group}")),
        "then": then.as_ref().map(of_raw),
        "input": input.as_ref().map(of_raw),
    })
}

/// The reverse of [`of_background`]; none where a case does not speak of it.
pub(crate) fn to_background(fields: &Value, encoding: Encoding) -> Option<Background> {
    let text = |name: &str| fields[name].as_str();
    let tag = |name: &str| text(name).map(|key| Tag::new(key).expect("a key"));
    let raw = |name: &str| {
        Some(&fields[name]).filter(|value| !value.is_null()).map(|value| to_raw(value, encoding))
    };
    Some(Background {
        keep_ms: fields["keep"].as_u64()?,
        unique: tag("unique"),
        unique_while: text("unique_while")?.parse().expect("how long"),
        key: tag("key"),
        group: text("group").map(|group| {
            let (queue, group) = group.split_once(':').expect("a queue and a group");
            (Queue::new(queue).expect("a queue"), Group::new(group).expect("a group"))
        }),
        then: raw("then"),
        input: raw("input"),
    })
}

pub(crate) fn of_http(request: &HttpRequest) -> Value {
    json!({
        "method": request.method,
        "url": request.url,
        "headers": of_headers(&request.headers),
        "body_hex": hex(&request.body),
        "remote": request.remote,
        "scheme": request.scheme,
        "host": request.host,
    })
}

pub(crate) fn of_reply(reply: &Reply, encoding: Encoding) -> Value {
    let mut value = json!({
        "encoding": encoding.as_str(),
        "id": reply.id.as_str(),
        "attempt": reply.attempt,
        "more": reply.more,
        "seq": reply.seq,
        "claimed_at": reply.timing.claimed_at_ms,
        "work_us": reply.timing.work_us,
        "status": null,
        "headers": [],
        "body_hex": "",
        "result": null,
        "error": null,
    });
    match &reply.content {
        Content::Http { status, headers, body } => {
            value["status"] = json!(status);
            value["headers"] = of_headers(headers);
            value["body_hex"] = json!(hex(body));
        }
        Content::Part(body) => value["body_hex"] = json!(hex(body)),
        Content::Result(result) => value["result"] = json!({ "value": of_raw(result) }),
        Content::Error(failure) => {
            value["error"] = json!({"code": failure.code, "message": failure.message});
        }
    }
    value
}

fn of_headers(headers: &Headers) -> Value {
    headers.iter().map(|(name, value)| json!([name, Headers::latin1(value)])).collect()
}

/// Bytes become `{"$hex": …}`, ext types `{"$ext": [type, …]}`.
pub(crate) fn of_raw(raw: &Raw) -> Value {
    match raw.encoding() {
        Encoding::Json => serde_json::from_slice(raw.bytes()).expect("a value of a decoded frame"),
        Encoding::MsgPack => {
            of_msgpack(&rmpv::decode::read_value(&mut &raw.bytes()[..]).expect("a value of a decoded frame"))
        }
    }
}

fn of_msgpack(value: &rmpv::Value) -> Value {
    match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(truth) => json!(truth),
        rmpv::Value::Integer(number) => {
            number.as_u64().map(Value::from).or(number.as_i64().map(Value::from)).expect("an integer")
        }
        rmpv::Value::F32(number) => json!(number),
        rmpv::Value::F64(number) => json!(number),
        rmpv::Value::String(text) => text.as_str().map_or_else(|| bin(text.as_bytes()), Value::from),
        rmpv::Value::Binary(bytes) => bin(bytes),
        rmpv::Value::Array(values) => values.iter().map(of_msgpack).collect(),
        rmpv::Value::Map(entries) => {
            entries.iter().map(|(name, value)| (name_of(name), of_msgpack(value))).collect()
        }
        rmpv::Value::Ext(kind, data) => json!({ "$ext": [kind, hex(data)] }),
    }
}

/// A name packed as `str`, or as `bin` by another library.
fn name_of(name: &rmpv::Value) -> String {
    match name {
        rmpv::Value::Binary(bytes) => String::from_utf8(bytes.clone()).expect("a name in UTF-8"),
        name => name.as_str().expect("a name").to_owned(),
    }
}

fn bin(bytes: &[u8]) -> Value {
    json!({ "$hex": hex(bytes) })
}

/// A value of the vectors, written in an encoding.
pub(crate) fn to_raw(value: &Value, encoding: Encoding) -> Raw {
    match encoding {
        Encoding::Json => Raw::encode(encoding, value),
        Encoding::MsgPack => Raw::encode(encoding, &to_msgpack(value)),
    }
    .expect("a value of the vectors")
}

fn to_msgpack(value: &Value) -> rmpv::Value {
    match value {
        Value::Array(values) => rmpv::Value::Array(values.iter().map(to_msgpack).collect()),
        Value::Object(fields) => match fields.get("$hex").and_then(Value::as_str) {
            Some(hex) => rmpv::Value::Binary(unhex(hex)),
            None => rmpv::Value::Map(
                fields.iter().map(|(name, value)| (name.as_str().into(), to_msgpack(value))).collect(),
            ),
        },
        Value::Null => rmpv::Value::Nil,
        Value::Bool(truth) => rmpv::Value::Boolean(*truth),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().expect("a double").into(),
        },
    }
}
