use tempest_protocol::Keys;

use super::*;

fn mistakes(text: &str) -> Vec<String> {
    let definition = Definition::read(text.as_bytes()).expect("a definition");
    definition.check().expect_err("it has mistakes").iter().map(Mistake::to_string).collect()
}

#[test]
fn every_mistake_is_told_in_a_line_of_its_own() {
    assert_eq!(
        mistakes(
            r#"{"zone":"Mars","every_ms":5,"action":"a b","lane":"urgent","missed":"never","attempts":0,"keep":9999999999,"ttl_ms":0}"#
        ),
        [
            "zone: \"Mars\" is no time zone of the IANA, like Europe/Berlin or UTC",
            "zone: an interval has no time zone; leave it out",
            "every_ms: must be from 100 ms to 366 days in milliseconds, not 5",
            "action: a action name cannot contain ' ': \"a b\"",
            "lane: lane is high, normal or low, not \"urgent\"",
            "missed: is skip, once or all, not \"never\"",
            "attempts: must be at least 1",
            "keep: must be at most 2592000000 ms, 30 days",
            "ttl_ms: must be at least 1; leave it out for no limit",
        ]
    );
    assert_eq!(
        mistakes(r#"{"action":"a"}"#),
        ["cron: it says neither cron nor every_ms, so it would never fire"]
    );
    assert_eq!(
        mistakes(r#"{"action":"a","cron":"@daily","every_ms":1000}"#),
        ["every_ms: there is cron, too; leave one of them out"]
    );
    let deep = format!(r#"{{"action":"a","cron":"@daily","args":{}{}}}"#, "[".repeat(70), "]".repeat(70));
    assert!(mistakes(&deep)[0].starts_with("args: "), "{:?}", mistakes(&deep));
}

#[test]
fn what_is_not_known_is_left_out_when_it_stands_in_redis() {
    let text = br#"{"cron":"@daily","action":"a","colour":"red"}"#;
    assert_eq!(Definition::read(text).expect("read").text(), r#"{"cron":"@daily","action":"a"}"#);
    assert!(Definition::read(b"no map").expect_err("broken").starts_with("it cannot be read"));
    assert!(Definition::read(br#"{"cron":7}"#).is_err());
}

#[test]
fn a_job_says_what_its_schedule_says() {
    let text = r#"{"every_ms":1000,"action":"a","args":{"n":[1.50,"ü"]},"lane":"low","attempts":7,"keep":60000,"ttl_ms":500}"#;
    let schedule = Schedule::read(text.as_bytes()).expect("a schedule");
    let id = job_id(&Name::new("n".repeat(50)).expect("a name"), 1_700_000_000_000);
    let job = Job::decode(schedule.job(&id, 1_000, 1_003), &Keys::default()).expect("a job");
    assert_eq!(job.args().bytes().as_ref(), r#"{"n":[1.50,"ü"]}"#.as_bytes(), "as it was written");
    let envelope = job.envelope;
    assert_eq!((envelope.id, envelope.lane, envelope.attempts), (Some(id), Lane::Low, Some(7)));
    assert_eq!((envelope.deadline_ms, envelope.queued_at_ms), (1_500, Some(1_003)));
    assert_eq!(envelope.background.expect("background").keep_ms, 60_000);
    assert!(Name::new("n".repeat(51)).is_err(), "its jobs would have no id");
}

#[test]
fn intervals_are_shown_in_the_unit_that_fits() {
    for (ms, text) in
        [(30_000, "30s"), (90_000, "90s"), (120_000, "2m"), (86_400_000, "1d"), (1_500, "1500ms")]
    {
        assert_eq!(interval(ms), text);
    }
}
