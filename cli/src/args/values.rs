//! Values of arguments.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use runstone::Expected;
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

/// Longest lease that can be asked for, in seconds: a year.
const LONGEST_LEASE_S: u64 = 31_536_000;

/// A number of things.
pub(super) fn parse_whole<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| "it is a whole number from 0".to_owned())
}

/// How long something is held, in seconds.
pub(super) fn parse_lease(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| (1..=LONGEST_LEASE_S).contains(seconds))
        .ok_or_else(|| format!("it is a number of seconds from 1 to {LONGEST_LEASE_S}"))
}

/// Seconds, with a fraction.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "it is a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "it is a number of seconds from 0".to_owned())
}

/// `none`, or the stream's last revision.
pub(crate) fn parse_expected(text: &str) -> Result<Expected, String> {
    match text {
        "none" => Ok(Expected::NoStream),
        _ => text
            .parse()
            .map(Expected::Exact)
            .map_err(|_| "it is none, or the number of the stream's last revision".to_owned()),
    }
}

/// A time in microseconds since the epoch: RFC 3339, a date, or how long ago.
pub(crate) fn parse_when(text: &str, now: Timestamp) -> Result<u64, String> {
    let time = if let Ok(time) = text.parse::<Timestamp>() {
        time
    } else if let Ok(date) = text.parse::<Date>() {
        let zoned = date
            .to_zoned(TimeZone::UTC)
            .map_err(|error| error.to_string())?;
        zoned.timestamp()
    } else {
        now.checked_sub(parse_duration(text)?)
            .map_err(|_| "it is too long ago".to_owned())?
    };
    unix_us(time)
}

/// RFC 3339 as microseconds since the epoch.
pub(crate) fn parse_time(text: &str) -> Result<u64, String> {
    let time: Timestamp = text
        .parse()
        .map_err(|_| "it is a time as in 2026-11-21T09:30:00Z".to_owned())?;
    unix_us(time)
}

fn unix_us(time: Timestamp) -> Result<u64, String> {
    u64::try_from(time.as_microsecond()).map_err(|_| "it is before 1970".to_owned())
}

fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let wrong =
        || "it is a time as in 2026-11-21T09:30:00Z, a date, or how long ago as in 2h".to_owned();
    let span: Span = text.parse().map_err(|_| wrong())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years differ in length: use days".to_owned())?;
    if duration.is_negative() {
        Err(wrong())
    } else {
        Ok(duration)
    }
}

/// Where one event is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Its place in the log.
    Position(u64),
    /// Its id.
    Id(Uuid),
}

pub(super) fn parse_which(text: &str) -> Result<Which, String> {
    if let Ok(position) = text.parse() {
        return Ok(Which::Position(position));
    }
    text.parse()
        .map(Which::Id)
        .map_err(|_| "it is a position, or an event id (UUID)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_ways() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at = |text: &str| {
            let time: Timestamp = text.parse().unwrap();
            u64::try_from(time.as_microsecond()).unwrap()
        };
        for (text, time) in [
            ("2026-11-21T10:00:00.000001Z", "2026-11-21T10:00:00.000001Z"),
            ("2026-11-21T10:00:00+02:00", "2026-11-21T08:00:00Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2h", "2026-11-21T10:00:00Z"),
            ("1d 30m", "2026-11-20T11:30:00Z"),
            ("1w", "2026-11-14T12:00:00Z"),
            ("90 seconds", "2026-11-21T11:58:30Z"),
        ] {
            assert_eq!(parse_when(text, now), Ok(at(time)), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "-2h",
            "1 month",
            "1969-01-01T00:00:00Z",
            "9999999w",
        ] {
            assert!(parse_when(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn expectations_are_none_or_a_revision() {
        assert_eq!(parse_expected("none"), Ok(Expected::NoStream));
        assert_eq!(parse_expected("0"), Ok(Expected::Exact(0)));
        for text in ["", "-1", "any", "1.0"] {
            assert!(parse_expected(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_not_negative() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["-1", "NaN", "inf", "1e400", "x", ""] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_is_named_by_position_or_id() {
        assert_eq!(parse_which("7"), Ok(Which::Position(7)));
        let id = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        assert_eq!(parse_which(id), Ok(Which::Id(id.parse().unwrap())));
        assert!(parse_which("-7").is_err() && parse_which("run").is_err());
    }
}
