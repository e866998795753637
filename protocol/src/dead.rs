//! Members of the sets `later` and `dead` (SPEC "Later and dead"): jobs that failed, in their own encoding, so that
//! whoever takes one out again can push it as it is.

use bytes::Bytes;

use crate::{
    Encoding, Error, Failure, Job, Keys,
    frame::{self, ExtIn},
    limits::INTEGER_MAX,
    writer::{MapWriter, put_integer},
};

const ARGS: ExtIn = ExtIn::Field("args");

/// The member of `later` for a job that failed and may be started again: its frame with `attempt` raised by one,
/// every other byte as it was.
pub fn later(job: &Job) -> Bytes {
    job.with_attempt(job.envelope.attempt.saturating_add(1))
}

/// The member of `dead` for a job that is given up: its own fields, byte for byte, behind `error` and `died_at`
/// (milliseconds in Redis time). `attempt` stays that of its last start. Fields of these two names that the job
/// brought along (it came from `dead` before) are replaced.
pub fn dead(job: &Job, failure: &Failure, died_at_ms: u64) -> Bytes {
    let encoding = job.encoding();
    let (mut error, mut at) = (Vec::with_capacity(64 + failure.message.len()), Vec::with_capacity(16));
    put_failure(&mut error, encoding, failure);
    put_integer(&mut at, encoding, died_at_ms.min(INTEGER_MAX));
    frame::remake(job.frame(), encoding, &[("error", &error), ("died_at", &at)], &[])
}

/// The job of a member of `dead` as it is pushed again: what `dead` said of it is gone, and its attempts begin anew. A
/// deadline that has passed at `now_ms` goes, too: whoever has it run again wants it run.
///
/// Errors: `bad_job` or another code of decoding: it is no job, and never was.
pub fn revived(member: &Bytes, now_ms: u64, keys: &Keys) -> Result<Job, Error> {
    let job = Job::decode(member.clone(), keys)?;
    let without = ["error", "died_at", "attempt", "deadline"];
    let without = if job.envelope.is_expired(now_ms) { &without[..] } else { &without[..3] };
    Job::decode(frame::remake(member, job.encoding(), &[], without), keys)
}

/// The member of `dead` for bytes that are no job: a JSON map of `raw_base64`, `error` and `died_at`.
pub fn undecodable(frame: &[u8], failure: &Failure, died_at_ms: u64) -> Bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut out = Vec::with_capacity(frame.len() * 4 / 3 + 128 + failure.message.len());
    let mut map = MapWriter::begin(&mut out, Encoding::Json);
    map.map("error", |error| {
        error.text("code", &failure.code);
        error.text("message", &failure.message);
    });
    map.integer("died_at", died_at_ms.min(INTEGER_MAX));
    map.text("raw_base64", &STANDARD.encode(frame));
    map.end();
    out.into()
}

fn put_failure(out: &mut Vec<u8>, encoding: Encoding, failure: &Failure) {
    let mut map = MapWriter::begin(out, encoding);
    map.text("code", &failure.code);
    map.text("message", &failure.message);
    map.end();
}

/// Why a member of `dead` was given up; none if it does not say.
pub fn failure_of(member: &[u8]) -> Option<Failure> {
    #[derive(serde::Deserialize)]
    struct Said {
        code: String,
        #[serde(default)]
        message: String,
    }
    let fields = frame::fields(member, ARGS).ok()?;
    let error = fields.iter().rev().find(|(name, _)| name == "error")?.1;
    let error: Said = error.parse().ok()?;
    Some(Failure { code: error.code, message: error.message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn job(frame: &[u8]) -> Job {
        Job::decode(Bytes::copy_from_slice(frame), &Keys::default()).expect("a job")
    }

    fn failure() -> Failure {
        Failure::new(Code::HandlerError, "it said \"no\"\nand ended")
    }

    #[test]
    fn a_dead_json_job_keeps_its_bytes() {
        let frame =
            br#"{"action":"mail","attempt":3,"args":{"n":9007199254740993,"x":1.0,"e":[]},"own":[ 1 ]}"#;
        let dead = dead(&job(frame), &failure(), 1_700_000_000_123);
        assert_eq!(
            std::str::from_utf8(&dead).expect("JSON"),
            concat!(
                r#"{"error":{"code":"handler_error","message":"it said \"no\"\nand ended"},"died_at":1700000000123,"#,
                r#""action":"mail","attempt":3,"args":{"n":9007199254740993,"x":1.0,"e":[]},"own":[ 1 ]}"#
            )
        );
        assert_eq!(failure_of(&dead), Some(failure()));
        let again = super::dead(&job(&dead), &Failure::new(Code::Expired, "late"), 5);
        assert_eq!(failure_of(&again).map(|failure| failure.code), Some("expired".into()));
        assert_eq!(again.windows(9).filter(|bytes| bytes == b"\"died_at\"").count(), 1);
        let revived = super::revived(&again, 5, &Keys::default()).expect("a job");
        assert_eq!(
            std::str::from_utf8(revived.frame()).expect("JSON"),
            r#"{"action":"mail","args":{"n":9007199254740993,"x":1.0,"e":[]},"own":[ 1 ]}"#
        );
    }

    #[test]
    fn a_deadline_that_has_passed_does_not_outlive_its_job() {
        let member = dead(&job(br#"{"action":"a","deadline":7,"x":1}"#), &failure(), 8);
        let frame = |now_ms| revived(&member, now_ms, &Keys::default()).expect("a job").frame().clone();
        assert_eq!(&frame(6)[..], br#"{"action":"a","deadline":7,"x":1}"#);
        assert_eq!(&frame(8)[..], br#"{"action":"a","x":1}"#);
    }

    #[test]
    fn a_dead_msgpack_job_keeps_its_bytes_also_beyond_a_fixmap() {
        for extra in [0u8, 12, 13, 14] {
            let mut frame = vec![0x80 | (extra.min(13) + 2), 0xa6];
            if extra > 13 {
                frame = vec![0xde, 0, extra + 2, 0xa6];
            }
            frame.extend_from_slice(b"action\xa1a\xa4args\xc4\x02\x00\xff");
            for index in 0..extra {
                frame.extend_from_slice(&[0xa1, b'a' + index, index]);
            }
            let dead = dead(&job(&frame), &failure(), 7);
            let decoded = job(&dead);
            assert_eq!(decoded.envelope.action.as_str(), "a");
            assert_eq!(&decoded.args().bytes()[..], b"\xc4\x02\x00\xff");
            assert_eq!(failure_of(&dead), Some(failure()));
            let fields = frame::fields(&dead, ARGS).expect("a map").len();
            assert_eq!(fields, usize::from(extra) + 4);
        }
    }

    #[test]
    fn bytes_that_are_no_job_are_kept_in_base64() {
        let dead = undecodable(b"\xff\x00{", &Failure::new(Code::BadFrame, "no map"), 7);
        assert_eq!(
            std::str::from_utf8(&dead).expect("JSON"),
            r#"{"error":{"code":"bad_frame","message":"no map"},"died_at":7,"raw_base64":"/wB7"}"#
        );
    }
}
