use super::*;

fn ms(text: &str) -> u64 {
    let instant: Timestamp = text.parse().expect("a time");
    u64::try_from(instant.as_millisecond()).expect("after the epoch")
}

/// The next times of a pattern after an instant, as the zone's clocks show them.
fn next(pattern: &str, name: &str, after: &str, count: usize) -> Vec<String> {
    let zone = zone(name).expect("a zone");
    let calendar = Calendar::cron(pattern, zone.clone()).expect("a pattern");
    let times = std::iter::successors(calendar.after(ms(after)), |time| calendar.after(*time));
    times.take(count).map(|time| shown(time, &zone)).collect()
}

#[test]
fn a_time_that_the_clock_leaves_out_fires_when_it_goes_on() {
    let night = "2026-03-28T12:00:00Z";
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", night, 2),
        ["2026-03-29 03:00:00 +02:00", "2026-03-30 02:30:00 +02:00"]
    );
    assert_eq!(
        next("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2),
        ["2026-03-08 03:00:00 -04:00", "2026-03-09 02:30:00 -04:00"]
    );
    // Half an hour: from 2:00 to 2:30.
    assert_eq!(
        next("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2),
        ["2026-10-04 02:30:00 +11:00", "2026-10-05 02:15:00 +11:00"]
    );
    // Midnight itself is left out.
    assert_eq!(
        next("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2),
        ["2026-04-24 01:00:00 +03:00", "2026-04-25 00:00:00 +03:00"]
    );
    // Several times of one gap are one firing, and the first time after it is no other.
    assert_eq!(
        next("0,30 2,3 * * *", "Europe/Berlin", night, 3),
        ["2026-03-29 03:00:00 +02:00", "2026-03-29 03:30:00 +02:00", "2026-03-30 02:00:00 +02:00"]
    );
    assert_eq!(
        next("*/20 2 * * *", "Europe/Berlin", night, 2),
        ["2026-03-29 03:00:00 +02:00", "2026-03-30 02:00:00 +02:00"]
    );
    // A day that a zone left out as a whole.
    assert_eq!(
        next("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", 2),
        ["2011-12-31 00:00:00 +14:00", "2012-12-30 12:00:00 +14:00"]
    );
}

#[test]
fn a_time_that_comes_twice_fires_once() {
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25 02:30:00 +02:00", "2026-10-26 02:30:00 +01:00"]
    );
    assert_eq!(
        next("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2),
        ["2026-11-01 01:30:00 -04:00", "2026-11-02 01:30:00 -05:00"]
    );
    assert_eq!(
        next("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2),
        ["2026-04-05 01:45:00 +11:00", "2026-04-06 01:45:00 +10:30"]
    );
    assert_eq!(
        next("0,30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 3),
        ["2026-10-25 02:00:00 +02:00", "2026-10-25 02:30:00 +02:00", "2026-10-26 02:00:00 +01:00"]
    );
    // From within the second time of an hour.
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
        ["2026-10-26 02:30:00 +01:00"]
    );
    assert_eq!(
        next("30 2,3 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
        ["2026-10-25 03:30:00 +01:00"]
    );
}

#[test]
fn hours_with_a_star_go_by_the_clock() {
    assert_eq!(
        next("30 * * * *", "Europe/Berlin", "2026-03-28T23:45:00Z", 3),
        ["2026-03-29 01:30:00 +01:00", "2026-03-29 03:30:00 +02:00", "2026-03-29 04:30:00 +02:00"]
    );
    assert_eq!(
        next("30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 3),
        ["2026-10-25 02:30:00 +02:00", "2026-10-25 02:30:00 +01:00", "2026-10-25 03:30:00 +01:00"]
    );
    assert_eq!(
        next("*/15 * * * *", "Australia/Lord_Howe", "2026-10-03T15:20:00Z", 3),
        ["2026-10-04 02:30:00 +11:00", "2026-10-04 02:45:00 +11:00", "2026-10-04 03:00:00 +11:00"]
    );
    // Half past one comes twice there, two o'clock once.
    assert_eq!(
        next("*/30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", 4),
        [
            "2026-04-05 01:30:00 +11:00",
            "2026-04-05 01:30:00 +10:30",
            "2026-04-05 02:00:00 +10:30",
            "2026-04-05 02:30:00 +10:30"
        ]
    );
    let hours = next("@hourly", "Europe/Berlin", "2026-10-24T12:00:00Z", 24);
    assert!(hours.contains(&"2026-10-25 02:00:00 +02:00".to_owned()), "{hours:?}");
    assert!(hours.contains(&"2026-10-25 02:00:00 +01:00".to_owned()), "{hours:?}");
}

#[test]
fn each_minute_of_a_year_comes_once_in_every_zone() {
    for name in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"] {
        let calendar = Calendar::cron("*/5 * * * *", zone(name).expect("a zone")).expect("a pattern");
        let (mut time, end) = (ms("2026-01-01T00:00:00Z"), ms("2027-01-01T00:00:00Z"));
        while time < end {
            let next = calendar.after(time).expect("a time");
            assert_eq!(next - time, 300_000, "{name} after {time}");
            time = next;
        }
    }
}

#[test]
fn fields_are_those_of_vixie_cron() {
    let utc = |pattern: &str, count| next(pattern, "UTC", "2026-01-01T00:00:00Z", count);
    assert_eq!(utc("*/20 30 4 * * *", 2), ["2026-01-01 04:30:00 +00:00", "2026-01-01 04:30:20 +00:00"]);
    assert_eq!(utc("@yearly", 1), ["2027-01-01 00:00:00 +00:00"]);
    assert_eq!(utc("@Weekly", 1), ["2026-01-04 00:00:00 +00:00"]);
    assert_eq!(utc("0 0 29 2 *", 1), ["2028-02-29 00:00:00 +00:00"]);
    assert_eq!(utc("0 9 * jan-feb mon-fri", 1), ["2026-01-01 09:00:00 +00:00"]);
    assert_eq!(utc("0 0 * * 7", 1), ["2026-01-04 00:00:00 +00:00"], "Sunday is 0 and 7");
    // One of the two days is enough, unless one begins with a star.
    assert_eq!(utc("0 0 13 * fri", 3).join(" ").matches("00:00:00").count(), 3);
    assert_eq!(utc("0 0 13 * fri", 1), ["2026-01-02 00:00:00 +00:00"]);
    assert_eq!(utc("0 0 */2 * fri", 1), ["2026-01-09 00:00:00 +00:00"], "odd days that are Fridays");
}

#[test]
fn intervals_are_multiples_since_the_epoch() {
    let calendar = Calendar::every(30_000).expect("an interval");
    assert_eq!(calendar.after(0), Some(30_000));
    assert_eq!(calendar.after(29_999), Some(30_000));
    assert_eq!(calendar.after(30_000), Some(60_000));
    assert!(Calendar::every(99).is_err() && Calendar::every(u64::MAX).is_err());
}

#[test]
fn mistakes_are_told_in_a_line() {
    let wrong = |pattern: &str| Calendar::cron(pattern, TimeZone::UTC).expect_err(pattern);
    for (pattern, words) in [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 0 0 1 1 * 2026", "five fields"),
        ("@reboot", "@hourly"),
        ("61 * * * *", "minute \"61\": number out of bounds"),
        ("0 * 24 * * *", "hour \"24\": "),
        ("x * * * *", "minute \"x\": "),
        ("* * * * mon-xyz", "weekday \"mon-xyz\": "),
        ("*/0 * * * *", "no cron pattern"),
        ("0 0 30 2 *", "never comes"),
    ] {
        let line = wrong(pattern);
        assert!(line.contains(words) && line.lines().count() == 1, "{pattern}: {line}");
    }
    assert!(zone("Europe/Berlyn").expect_err("no zone").contains("\"Europe/Berlyn\" is no time zone"));
}

#[test]
fn zones_are_there_on_a_machine_that_has_none() {
    let nothing = TimeZoneDatabase::none();
    assert!(nothing.get("Europe/Berlin").is_err());
    let berlin = zone_of(&nothing, "Europe/Berlin").expect("brought along");
    let calendar = Calendar::cron("30 2 * * *", berlin.clone()).expect("a pattern");
    let next = calendar.after(ms("2030-03-30T12:00:00Z")).expect("a time");
    assert_eq!(shown(next, &berlin), "2030-03-31 03:00:00 +02:00");
}
