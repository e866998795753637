//! The worker: a job lies in its run list until the reply is in the mailbox.

use std::mem::take;

use anyhow::ensure;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

use crate::{
    LANE, MAILBOX, RUN,
    frames::{Headers, Job, Reply},
    redis::{Answer, Redis},
};

/// Jobs that one look takes at most.
const LOOK_MAX: usize = 32;
/// Jobs that are looked for after one that did not have to be waited for.
const LOOK: usize = 4;

/// Takes the frame of a job, gives that of its reply.
fn reply(frame: &Bytes) -> anyhow::Result<Vec<u8>> {
    let job: Job<'_> = serde_json::from_slice(frame)?;
    ensure!(job.action == "url" && job.reply_to == MAILBOX && job.args.method == "GET", "not of this front");
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let body = "Hello world!\n".into();
    Ok(serde_json::to_vec(&Reply { id: job.id, status: 200, headers: Headers(headers), body })?)
}

/// Works for ever. Replies, the end of their jobs and the look for more leave in one write. It waits for a job only with
/// none in hand, so that one connection is enough.
pub(crate) async fn work(redis: u16) -> anyhow::Result<()> {
    let mut redis = Redis::connect(redis).await?;
    // How many jobs the next look may take (0: it waits for one), and how many more came after the last one waited for.
    let (mut look, mut company) = (0, 0);
    let (mut jobs, mut waited) = (Vec::<Bytes>::new(), false);
    loop {
        // A job that was waited for goes on with its company, if some is expected.
        let ready = if waited && look > 0 { Vec::new() } else { take(&mut jobs) };
        if !ready.is_empty() {
            redis.push(MAILBOX, &ready.iter().map(reply).collect::<anyhow::Result<Vec<_>>>()?);
            for frame in &ready {
                redis.command(&[b"LREM", RUN.as_bytes(), b"1", frame]);
            }
        }
        match look {
            0 => redis.command(&["BLMOVE", LANE, RUN, "LEFT", "RIGHT", "2"]),
            _ => (0..look).for_each(|_| redis.command(&["LMOVE", LANE, RUN, "LEFT", "RIGHT"])),
        }
        redis.send().await?;
        if !ready.is_empty() {
            for _ in 0..=ready.len() {
                redis.answer().await?;
            }
        }
        let (before, at_once) = (jobs.len(), redis.has_more());
        for _ in 0..look.max(1) {
            if let Answer::Value(frame) = redis.answer().await? {
                jobs.push(frame);
            }
        }
        let took = jobs.len() - before;
        if look > 0 {
            if waited {
                company = took;
            }
            look = if took == look { (look * 2).min(LOOK_MAX) } else { took };
            waited = false;
        } else if took > 0 {
            // One that was there at once is not alone.
            look = if at_once { company.max(LOOK) } else { company };
            waited = true;
        }
    }
}
