//! The pieces of the hot path, each so many times: `bench-hotpath PIECE ROUNDS`. `bench/instructions` counts what they
//! cost; without arguments the pieces are listed.
//!
//! Nothing here asks Redis, the network or the clock, so that the same program has the same count anywhere.

use std::{env, hint::black_box};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request};
use tempest_broker::Dispatch;
use tempest_front::bench::{reply_to_response, request_to_job};
use tempest_protocol::{
    Content, Encoding, Envelope, Event, Headers, HttpRequest, Job, JobId, Keys, Prefix, Reply, Timing,
};

type Piece = (&'static str, fn(usize) -> Result<()>);

/// Every piece, in the order in which a request meets them.
const PIECES: &[Piece] = &[
    ("request_to_job_json", |rounds| request_job(rounds, Encoding::Json)),
    ("request_to_job_msgpack", |rounds| request_job(rounds, Encoding::MsgPack)),
    ("job_encode_json", |rounds| job_encode(rounds, Encoding::Json)),
    ("job_encode_msgpack", |rounds| job_encode(rounds, Encoding::MsgPack)),
    ("job_decode_json", |rounds| job_decode(rounds, Encoding::Json)),
    ("job_decode_msgpack", |rounds| job_decode(rounds, Encoding::MsgPack)),
    ("args_decode_json", |rounds| args_decode(rounds, Encoding::Json)),
    ("args_decode_msgpack", |rounds| args_decode(rounds, Encoding::MsgPack)),
    ("reply_encode_json", |rounds| reply_encode(rounds, Encoding::Json)),
    ("reply_encode_msgpack", |rounds| reply_encode(rounds, Encoding::MsgPack)),
    ("reply_decode_json", |rounds| reply_decode(rounds, Encoding::Json)),
    ("reply_decode_msgpack", |rounds| reply_decode(rounds, Encoding::MsgPack)),
    ("dispatch", dispatch),
    ("reply_to_response", response),
    ("event_to_sse", event),
];

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [name, rounds] = arguments.as_slice() else {
        PIECES.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    };
    let Some((_, piece)) = PIECES.iter().find(|(known, _)| known == name) else {
        bail!("no piece named {name}")
    };
    piece(rounds.parse().context("ROUNDS is a number")?)
}

/// What a browser sends, some 500 bytes.
fn request() -> Result<Request<()>> {
    let request = Request::get("/articles/42?page=2")
        .header("host", "shop.example")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "en-GB,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("connection", "keep-alive")
        .header("referer", "https://shop.example/articles?page=1")
        .header("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark; consent=1")
        .header("sec-fetch-dest", "document");
    Ok(request.body(())?)
}

fn id() -> Result<JobId> {
    Ok("019a2b3c4d5e7f60718293a4b5c6d7e8".parse()?)
}

fn envelope() -> Result<Envelope> {
    Ok(Envelope {
        id: Some(id()?),
        reply_to: Some("tempest:mailbox:{front-0123456789abcdef}".to_owned()),
        attempts: Some(2),
        deadline_ms: 1_800_000_000_000,
        queued_at_ms: Some(1_799_999_970_000),
        ..Envelope::new("url".parse()?)
    })
}

fn frame(encoding: Encoding) -> Result<Bytes> {
    Ok(request_to_job(&request()?, Bytes::new(), &envelope()?, encoding))
}

fn reply() -> Result<Reply> {
    let mut headers = Headers::new();
    headers.push("content-type", "text/html; charset=utf-8");
    headers.push("cache-control", "no-store");
    let body = Bytes::from("<p>a line of text with \"quotes\"</p>\n".repeat(8));
    let reply = Reply::last(id()?, 1, Content::Http { status: 200, headers, body });
    Ok(reply.timed(Timing { claimed_at_ms: Some(1_799_999_970_001), work_us: Some(850) }))
}

fn request_job(rounds: usize, encoding: Encoding) -> Result<()> {
    let (request, envelope) = (request()?, envelope()?);
    for _ in 0..rounds {
        black_box(request_to_job(black_box(&request), Bytes::new(), &envelope, encoding));
    }
    Ok(())
}

/// A job whose arguments are encoded already, as whoever pushes in the background has them.
fn job_encode(rounds: usize, encoding: Encoding) -> Result<()> {
    let (envelope, job) = (envelope()?, Job::decode(frame(encoding)?, &Keys::new(Prefix::default()))?);
    (0..rounds).for_each(|_| drop(black_box(black_box(&envelope).encode(job.args()))));
    Ok(())
}

fn job_decode(rounds: usize, encoding: Encoding) -> Result<()> {
    let (frame, keys) = (frame(encoding)?, Keys::new(Prefix::default()));
    for _ in 0..rounds {
        black_box(Job::decode(black_box(frame.clone()), &keys)?);
    }
    Ok(())
}

fn args_decode(rounds: usize, encoding: Encoding) -> Result<()> {
    let job = Job::decode(frame(encoding)?, &Keys::new(Prefix::default()))?;
    for _ in 0..rounds {
        black_box(HttpRequest::decode(black_box(job.args()))?);
    }
    Ok(())
}

fn reply_encode(rounds: usize, encoding: Encoding) -> Result<()> {
    let reply = reply()?;
    for _ in 0..rounds {
        black_box(black_box(&reply).encode(encoding)?);
    }
    Ok(())
}

fn reply_decode(rounds: usize, encoding: Encoding) -> Result<()> {
    let frame = reply()?.encode(encoding)?;
    for _ in 0..rounds {
        black_box(Reply::decode(black_box(&frame))?);
    }
    Ok(())
}

/// A waiter is registered, a reply is decoded and handed to it.
fn dispatch(rounds: usize) -> Result<()> {
    let (id, frame) = (id()?, reply()?.encode(Encoding::Json)?);
    let dispatch = Dispatch::new("bench")?;
    for _ in 0..rounds {
        ensure!(black_box(dispatch.round(&id, &frame)).is_some(), "the reply does not arrive");
    }
    Ok(())
}

fn response(rounds: usize) -> Result<()> {
    let reply = reply()?;
    for _ in 0..rounds {
        let response = reply_to_response(black_box(reply.clone()), &Method::GET);
        black_box(response.context("the reply is a response")?);
    }
    Ok(())
}

fn event(rounds: usize) -> Result<()> {
    let payload =
        br#"{"event":"price","id":"1-7","data":"{\"article\":42,\"price\":1999,\"currency\":\"EUR\"}"}"#;
    for _ in 0..rounds {
        let mut bytes = Vec::new();
        Event::of(black_box(payload)).write_sse(true, &mut bytes);
        ensure!(!black_box(bytes).is_empty(), "the event has no bytes");
    }
    Ok(())
}
