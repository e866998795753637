//! How a list is shown, and which jobs a time means.

use std::time::Duration;

use clap::Args;

use super::duration;

/// The longest age that can be said.
const AGE_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// How a list is shown.
#[derive(Args, Debug)]
pub(crate) struct Shown {
    /// Print one JSON array
    #[arg(long = "json", conflicts_with = "watch")]
    pub(crate) as_json: bool,
    /// Show them anew each second, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

/// A time that may also be days: `90s`, `2h`, `7d`.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "it must be a time like 30s, 5m, 2h or 7d, at most 366d".to_owned();
    let (digits, unit_s) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (days, 86_400),
        (_, Some(hours)) => (hours, 3_600),
        _ => return duration(text).map_err(|_| wrong()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_s));
    let age = seconds.map(Duration::from_secs).filter(|age| !age.is_zero() && *age <= AGE_MAX);
    age.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_may_be_days() {
        let seconds = |text: &str| age(text).map(|age| age.as_secs());
        assert_eq!(seconds("7d"), Ok(7 * 86_400));
        assert_eq!(seconds("48h"), Ok(48 * 3_600));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("1.5m"), Ok(90));
        for wrong in ["", "d", "0d", "-1d", "367d", "99999999999999999999d", "a week"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
