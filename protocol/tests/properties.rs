//! What holds for every input, not only for the vectors.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use serde_json::Value;
use tempest_protocol::{
    Action, Backoff, Content, Encoding, Envelope, Event, Failure, Headers, HttpRequest, Job, JobId, Keys,
    Lane, Raw, Reply, Timing, limits::INTEGER_MAX,
};

fn encoding() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just(Encoding::Json), Just(Encoding::MsgPack)]
}

fn body() -> impl Strategy<Value = Bytes> {
    prop_oneof![".{0,40}".prop_map(Bytes::from), vec(any::<u8>(), 0..80).prop_map(Bytes::from)]
}

fn headers() -> impl Strategy<Value = Headers> {
    let value = vec(any::<u8>().prop_filter("may not stand in a header", |b| !b"\r\n\0".contains(b)), 0..12);
    vec(("[a-z0-9!#$%&'*+.^_`|~-]{1,10}", vec(value, 1..3)), 0..5).prop_map(|fields| {
        let mut headers = Headers::new();
        for (place, (name, values)) in fields.into_iter().enumerate() {
            // A repeated field is written as one list: equal names must stand together to compare as pairs.
            for value in values {
                headers.push(format!("{name}-{place}"), value);
            }
        }
        headers
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no such number", |number| number.is_finite())
            .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((".{0,6}", inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 0..=INTEGER_MAX]
}

prop_compose! {
    fn envelope()(
        id in option::of("[A-Za-z0-9._-]{1,64}"),
        mailbox in option::of("[A-Za-z0-9._-]{1,64}"),
        action in "[A-Za-z0-9._-]{1,128}",
        numbers in (integer(), integer(), option::of(integer()), option::of(integer())),
        lane in prop_oneof![Just(Lane::High), Just(Lane::Normal), Just(Lane::Low)],
        texts in (option::of(".{0,20}"), option::of(".{0,20}")),
    ) -> Envelope {
        let (deadline_ms, attempt, attempts, queued_at_ms) = numbers;
        let (traceparent, session) = texts;
        Envelope {
            id: id.map(|id| JobId::new(id).expect("an id")),
            reply_to: mailbox.map(|name| format!("tempest:mailbox:{{{name}}}")),
            deadline_ms,
            attempt: attempt.max(1),
            attempts: attempts.map(|attempts| attempts.max(1)),
            lane,
            queued_at_ms,
            traceparent,
            session,
            ..Envelope::new(Action::new(action).expect("a name"))
        }
    }
}

prop_compose! {
    fn request()(
        method in "[A-Za-z!#$%&'*+.^_`|~-]{1,10}",
        url in "[!-~]{1,40}",
        headers in headers(),
        body in body(),
        (remote, scheme, host) in (".{0,10}", ".{0,10}", ".{0,10}"),
    ) -> HttpRequest {
        HttpRequest { method, url, headers, body, remote, scheme, host }
    }
}

/// A result, as text: it is written in the encoding under test.
fn reply() -> impl Strategy<Value = (Reply, Option<Value>)> {
    let http = (200..=599u16, headers(), body(), option::of(Just(0)), any::<bool>()).prop_map(
        |(status, headers, body, seq, more)| {
            (Content::Http { status, headers, body }, seq, more && seq.is_some(), None)
        },
    );
    let part = (body(), 1..=INTEGER_MAX, any::<bool>())
        .prop_map(|(body, seq, more)| (Content::Part(body), Some(seq), more, None));
    let error = (".{1,20}", ".{0,40}", option::of(integer()))
        .prop_map(|(code, message, seq)| (Content::Error(Failure { code, message }), seq, false, None));
    let result = value().prop_map(|value| (Content::Part(Bytes::new()), None, false, Some(value)));
    let id = "[A-Za-z0-9._-]{1,64}";
    let timing = (option::of(integer()), option::of(integer()))
        .prop_map(|(claimed_at_ms, work_us)| Timing { claimed_at_ms, work_us });
    (id, option::of(1..=INTEGER_MAX), timing, prop_oneof![http, part, error, result]).prop_map(
        |(id, attempt, timing, (content, seq, more, result))| {
            (Reply { id: JobId::new(id).expect("an id"), attempt, more, seq, timing, content }, result)
        },
    )
}

/// A frame that some other encoder wrote: other order, unknown fields, blanks, numbers of any size, duplicates.
fn foreign_json() -> impl Strategy<Value = (String, bool)> {
    let field = prop_oneof![
        value().prop_map(|value| format!("\"x\" : {value}")),
        "[1-9][0-9]{0,30}(\\.0)?".prop_map(|number| format!("\"args\":[{number}, {{\"attempt\":{number}}}]")),
        Just("\"note\":\"\\\"attempt\\\":1,{\"".to_owned()),
        (1..=INTEGER_MAX).prop_map(|attempt| format!("\"attempt\"\t:\n{attempt} ")),
    ];
    (vec(field, 0..6), "[ \t\r\n]{0,3}", "[ \t\r\n]{0,3}").prop_map(|(mut fields, before, after)| {
        let has_attempt = fields.iter().any(|field| field.starts_with("\"attempt\""));
        fields.push("\"action\":\"a\"".to_owned());
        (format!("{before}{{{after}{} }}{after}", fields.join(",")), has_attempt)
    })
}

/// The same JSON as an awkward encoder writes it: all text in escapes, blanks everywhere, and before each field one
/// of the same name and another value.
fn awkward(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(" ,\n");
    match value {
        Value::String(text) => escaped(text),
        Value::Array(items) => format!("[\t{} ]", list(items.iter().map(awkward).collect())),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let name = escaped(name);
                format!("{name}:{{\"a\":[-1e9,{{}}]}},{name} :\r{}", awkward(value))
            };
            format!("{{ {} }}", list(fields.iter().map(field).collect()))
        }
        scalar => scalar.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

/// A JSON frame as an awkward encoder writes it, with every one of these fields that it does not have as null.
fn awkward_frame(frame: &[u8], names: &[&str]) -> Bytes {
    let mut value: Value = serde_json::from_slice(frame).expect("JSON");
    for name in names {
        if value.get(*name).is_none() {
            value[*name] = Value::Null;
        }
    }
    awkward(&value).into()
}

/// The same fields in the order of their names; those of one name keep theirs.
fn in_order(headers: &Headers) -> Headers {
    let mut fields: Vec<_> = headers.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    let mut ordered = Headers::new();
    fields.into_iter().for_each(|(name, value)| ordered.push(name, value));
    ordered
}

/// Every field of a frame as it stands there, but the ones named `attempt`; and the number of those.
fn without_attempt(frame: &[u8]) -> (Vec<(rmpv::Value, rmpv::Value)>, usize) {
    let Ok(rmpv::Value::Map(fields)) = rmpv::decode::read_value(&mut &frame[..]) else { panic!("no map") };
    let (attempts, others): (Vec<_>, Vec<_>) =
        fields.into_iter().partition(|(name, _)| name.as_str() == Some("attempt"));
    (others, attempts.len())
}

proptest! {
    // A failure prints its input; cases worth keeping become vectors.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_job_survives(envelope in envelope(), args in value(), encoding in encoding()) {
        let raw = Raw::encode(encoding, &args).expect("a value");
        let frame = envelope.encode(&raw);
        let job = Job::decode(frame.clone(), &Keys::default()).expect("what was encoded");
        prop_assert_eq!(&job.envelope, &envelope);
        prop_assert_eq!(job.encoding(), encoding);
        prop_assert_eq!(job.frame(), &frame);
        prop_assert_eq!(job.args(), &raw);
        prop_assert_eq!(job.args().decode::<Value>().expect("a value"), args);
    }

    #[test]
    fn a_request_survives(request in request(), encoding in encoding()) {
        let envelope = Envelope::new(Action::new("url").expect("a name"));
        let frame = envelope.encode_request(&request, encoding);
        prop_assert_eq!(&frame, &envelope.encode(&request.encode(encoding)));
        let job = Job::decode(frame, &Keys::default()).expect("what was encoded");
        prop_assert_eq!(HttpRequest::decode(job.args()).expect("what was encoded"), request);
    }

    #[test]
    fn a_reply_survives((mut reply, result) in reply(), encoding in encoding()) {
        if let Some(result) = &result {
            reply.content = Content::Result(Raw::encode(encoding, result).expect("a value"));
        }
        let frame = reply.encode(encoding).expect("a reply");
        prop_assert_eq!(Encoding::of(&frame).expect("a frame"), encoding);
        prop_assert_eq!(Reply::decode(&frame).expect("what was encoded"), reply.clone());
        prop_assert_eq!(Reply::id_of(&frame), Some(reply.id));
    }

    #[test]
    fn it_does_not_matter_how_json_is_written(envelope in envelope(), request in request(), (reply, _) in reply()) {
        let frame = envelope.encode_request(&request, Encoding::Json);
        let names = ["id", "reply_to", "attempt", "attempts", "deadline", "lane", "queued_at", "traceparent", "session"];
        let job = Job::decode(awkward_frame(&frame, &names), &Keys::default()).expect("the same job");
        prop_assert_eq!(&job.envelope, &envelope);
        let (read, mut written) = (HttpRequest::decode(job.args()).expect("the same request"), request);
        // A map that was a value on its way has its names in order.
        written.headers = in_order(&written.headers);
        prop_assert_eq!(HttpRequest { headers: in_order(&read.headers), ..read }, written);

        let frame = reply.encode(Encoding::Json).expect("a reply");
        if let Ok(mut same) = Reply::decode(&frame) {
            let names = ["attempt", "more", "seq", "claimed_at", "work_us", "status", "headers", "body", "error"];
            let mut again = Reply::decode(&awkward_frame(&frame, &names)).expect("the same reply");
            for reply in [&mut same, &mut again] {
                if let Content::Http { headers, .. } = &mut reply.content {
                    *headers = in_order(headers);
                }
            }
            prop_assert_eq!(again, same);
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in vec(any::<u8>(), 0..200), first in option::of(0x80..=0x8fu8)) {
        let bytes = Bytes::from(first.into_iter().chain(bytes).collect::<Vec<_>>());
        let job = Job::decode(bytes.clone(), &Keys::default());
        if let Ok(job) = job {
            prop_assert!(job.with_attempt(2).len() >= 2);
            if let Ok(request) = HttpRequest::decode(job.args()) {
                prop_assert!(!request.method.is_empty());
            }
        }
        if let Ok(reply) = Reply::decode(&bytes) {
            prop_assert_eq!(Reply::id_of(&bytes), Some(reply.id));
        }
        let mut text = Vec::new();
        Event::of(&bytes).write_sse(true, &mut text);
        prop_assert!(text.ends_with(b"\n\n"));
    }

    #[test]
    fn requeue_changes_nothing_else_in_json((frame, has_attempt) in foreign_json(), attempt in 1..=INTEGER_MAX) {
        let job = Job::decode(frame.clone().into(), &Keys::default()).expect("a job");
        let new = job.with_attempt(attempt);
        let again = Job::decode(new.clone(), &Keys::default()).expect("still a job");
        prop_assert_eq!(again.envelope.attempt, attempt);
        prop_assert_eq!(again.args().bytes(), job.args().bytes());
        // What differs lies between a common beginning and a common end, and is a number or the new field.
        let old = frame.as_bytes();
        let head = old.iter().zip(new.iter()).take_while(|(a, b)| a == b).count();
        let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
        let gone = &old[head..old.len() - tail];
        let come = std::str::from_utf8(&new[head..new.len() - tail]).expect("text");
        prop_assert!(gone.iter().all(u8::is_ascii_digit), "{:?} is gone from {}", gone, frame);
        if has_attempt {
            prop_assert!(come.bytes().all(|byte| byte.is_ascii_digit()), "{} came into {}", come, frame);
        } else {
            prop_assert_eq!(new.len() - old.len(), format!("\"attempt\":{attempt},").len());
        }
    }

    #[test]
    fn requeue_changes_nothing_else_in_msgpack(
        envelope in envelope(), args in value(), extra in 0..40usize, attempt in 1..=INTEGER_MAX,
    ) {
        let raw = Raw::encode(Encoding::MsgPack, &args).expect("a value");
        let Ok(rmpv::Value::Map(mut fields)) = rmpv::decode::read_value(&mut &envelope.encode(&raw)[..]) else {
            panic!("no map");
        };
        fields.extend((0..extra).map(|number| (format!("x{number}").into(), vec![0xff_u8].into())));
        let mut frame = Vec::new();
        rmpv::encode::write_value(&mut frame, &rmpv::Value::Map(fields)).expect("a frame");
        let job = Job::decode(frame.clone().into(), &Keys::default()).expect("a job");
        let new = job.with_attempt(attempt);
        let again = Job::decode(new.clone(), &Keys::default()).expect("still a job");
        prop_assert_eq!(again.envelope, Envelope { attempt, ..job.envelope.clone() });
        let (before, _) = without_attempt(&frame);
        let (after, attempts) = without_attempt(&new);
        prop_assert_eq!(before, after);
        prop_assert_eq!(attempts, 1);
    }

    #[test]
    fn an_event_writes_no_line_of_another(payload in prop_oneof![
        vec(any::<u8>(), 0..60),
        vec(".{0,10}|[\r\n:]{0,4}|data: x|event: y|id: 1", 0..4)
            .prop_map(|texts| serde_json::to_vec(&texts).expect("JSON")),
        ("[a-z\r\n\0]{0,5}", "(x|\r|\n|: ){0,6}", "[0-9\r\n\0]{0,4}", "[0-9x\n]{0,4}").prop_map(|(event, data, id, retry)| {
            serde_json::to_vec(&serde_json::json!({"event": event, "data": data, "id": id, "retry": retry})).expect("JSON")
        }),
    ]) {
        let event = Event::of(&payload);
        for with_id in [true, false] {
            let mut bytes = Vec::new();
            event.write_sse(with_id, &mut bytes);
            let text = String::from_utf8(bytes).expect("UTF-8");
            let received = receive(&text);
            match &event {
                Event::Unsubscribe => prop_assert_eq!(text, "event: end\ndata:\n\n"),
                Event::Message { event, data, id, retry } => {
                    let id = id.clone().filter(|_| with_id);
                    // A client sees LF for every kind of line end.
                    let data = data.replace("\r\n", "\n").replace('\r', "\n");
                    prop_assert_eq!(received, [(event.clone(), data, id, retry.clone())]);
                }
            }
        }
    }

    #[test]
    fn waits_grow_to_their_cap(base_ms in 1..10_000u64, cap_ms in 1..10_000_000u64, n in 1..u32::MAX) {
        let backoff = Backoff { base_ms, cap_ms };
        let (bound, next) = (backoff.bound(n).as_millis(), backoff.bound(n + 1).as_millis());
        prop_assert!(bound <= next && next <= u128::from(cap_ms));
        prop_assert!(next == u128::from(cap_ms) || next == 2 * bound);
    }
}

type Received = (Option<String>, String, Option<String>, Option<String>);

/// What a client of the WHATWG standard makes of a stream ("Interpreting an event stream").
fn receive(stream: &str) -> Vec<Received> {
    let mut events = Vec::new();
    let mut event: Received = Default::default();
    let mut data: Vec<&str> = Vec::new();
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    for line in stream.split_terminator('\n') {
        if line.is_empty() {
            event.1 = std::mem::take(&mut data).join("\n");
            events.push(std::mem::take(&mut event));
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => event.0 = Some(value.to_owned()),
            "data" => data.push(value),
            "id" => event.2 = Some(value.to_owned()),
            "retry" => event.3 = Some(value.to_owned()),
            _ => panic!("a line of another kind: {line:?}"),
        }
    }
    assert!(data.is_empty(), "the last event does not end");
    events
}
