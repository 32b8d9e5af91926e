//! Times at the edge: microseconds on disk, RFC 3339 and words outside.

use jiff::Timestamp;
use runstone::store::line::rfc3339;

/// The clock of this process.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A message of the library, which knows no calendar and counts microseconds, as people read it.
pub(crate) fn with_dates(mut message: String) -> String {
    const UNIT: &str = " (Unix microseconds)";
    let mut from = 0;
    while let Some(end) = message[from..].find(UNIT).map(|at| from + at) {
        let start = message[..end].rfind(|one: char| !one.is_ascii_digit());
        let start = start.map_or(0, |at| at + 1);
        from = end + UNIT.len();
        if let Some(time) = message[start..end].parse().ok().and_then(rfc3339) {
            message.replace_range(start..from, &time);
            from = start + time.len();
        }
    }
    message
}

/// How long ago, or until when, in the largest fitting unit.
pub(crate) fn relative(unix_us: u64, now: Timestamp) -> String {
    let now_us = u64::try_from(now.as_microsecond()).unwrap_or(0);
    let (seconds, ahead) = if unix_us > now_us {
        ((unix_us - now_us) / 1_000_000, true)
    } else {
        ((now_us - unix_us) / 1_000_000, false)
    };
    let (number, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..172_800 => (seconds / 3600, "h"),
        172_800..31_536_000 => (seconds / 86_400, "d"),
        _ => (seconds / 31_536_000, "y"),
    };
    match (ahead, seconds) {
        (_, 0) => "now".to_owned(),
        (true, _) => format!("in {number} {unit}"),
        (false, _) => format!("{number} {unit} ago"),
    }
}

/// A length of time: `850 ms`, `12.3 s`, `4 min 5 s`, `2 h 3 min`.
pub(crate) fn duration(micros: u64) -> String {
    let (millis, seconds) = (micros / 1000, micros / 1_000_000);
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds}.{} s", millis % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_of_the_library_become_dates() {
        let said = |text: &str| with_dates(text.to_owned());
        assert_eq!(
            said("held until 1795283078319892 (Unix microseconds), or 0 (Unix microseconds)"),
            "held until 2026-11-21T17:44:38.319892Z, or 1970-01-01T00:00:00.000000Z"
        );
        for text in [
            "x",
            "18446744073709551615 (Unix microseconds)",
            " (Unix microseconds)",
        ] {
            assert_eq!(said(text), text);
        }
    }

    #[test]
    fn distances_are_in_the_largest_fitting_unit() {
        let now = Timestamp::from_second(1_764_000_000).unwrap();
        let at = |ago: u64| (1_764_000_000 - ago) * 1_000_000;
        for (ago, shown) in [
            (0, "now"),
            (59, "59 s ago"),
            (61, "1 min ago"),
            (7200, "2 h ago"),
            (200_000, "2 d ago"),
            (40_000_000, "1 y ago"),
        ] {
            assert_eq!(relative(at(ago), now), shown);
        }
        assert_eq!(relative(1_764_000_090_000_000, now), "in 1 min");
    }

    #[test]
    fn lengths_have_two_units() {
        for (micros, shown) in [
            (850_999, "850 ms"),
            (12_345_678, "12.3 s"),
            (245_000_000, "4 min 5 s"),
            (7_380_000_000, "2 h 3 min"),
            (180_000_000_000, "2 d 2 h"),
        ] {
            assert_eq!(duration(micros), shown);
        }
    }
}
