//! A moment as people write it: `2026-12-24T18:00:00Z` (RFC 3339), or milliseconds since 1970.

/// Digits between marks, as they stand in a date and a time of day.
const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
const DAY_MS: u64 = 86_400_000;

/// Milliseconds since 1970 of a moment in UTC, or with an offset from it.
pub(super) fn moment_ms(text: &str) -> Result<u64, String> {
    let ms =
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { rfc3339_ms(text) };
    ms.ok_or_else(|| "it must be a moment like 2026-12-24T18:00:00Z or 2026-12-24T19:00:00+01:00".into())
}

fn rfc3339_ms(text: &str) -> Option<u64> {
    let (moment, zone) = text.split_at_checked(FORM.len())?;
    let fits = |(byte, form): (u8, &u8)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form };
    moment.bytes().zip(FORM).all(fits).then_some(())?;
    let number = |from: usize, to: usize| moment.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_real = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    is_real.then_some(())?;
    let local = days_before(year, month) * DAY_MS
        + (day - 1) * DAY_MS
        + (hour * 3_600 + minute * 60 + second) * 1_000;
    let (is_ahead, offset_ms) = offset(zone)?;
    if is_ahead { local.checked_sub(offset_ms) } else { local.checked_add(offset_ms) }
}

/// `Z`, `+01:00`, `-05:30`: whether it is ahead of UTC, and how far.
fn offset(zone: &str) -> Option<(bool, u64)> {
    if zone.eq_ignore_ascii_case("Z") {
        return Some((true, 0));
    }
    let (is_ahead, rest) = match (zone.strip_prefix('+'), zone.strip_prefix('-')) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return None,
    };
    let (hours, minutes) =
        rest.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2)?;
    let (hours, minutes) = (hours.parse::<u64>().ok()?, minutes.parse::<u64>().ok()?);
    (hours < 24 && minutes < 60).then_some((is_ahead, (hours * 60 + minutes) * 60_000))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to the beginning of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let years = (1970..year).map(|year| 365 + u64::from(is_leap(year)));
    years.sum::<u64>() + (1..month).map(|month| days_in(year, month)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_zone() {
        assert_eq!(moment_ms("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(moment_ms("2000-02-29T12:34:56Z"), Ok(951_827_696_000));
        assert_eq!(moment_ms("2026-12-24T19:00:00+01:00"), moment_ms("2026-12-24T18:00:00Z"));
        assert_eq!(moment_ms("2026-12-24T12:30:00-05:30"), moment_ms("2026-12-24T18:00:00z"));
        assert_eq!(moment_ms("1700000000123"), Ok(1_700_000_000_123));
        for wrong in [
            "",
            "tomorrow",
            "2026-12-24",
            "2026-12-24T18:00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-12-24T24:00:00Z",
            "2026-12-24T18:00:00+1:00",
            "1969-12-31T23:59:59Z",
            "2026-12-24T18:00:00é",
            "202é-12-24T18:00:00Z",
        ] {
            assert!(moment_ms(wrong).is_err(), "{wrong}");
        }
    }
}
