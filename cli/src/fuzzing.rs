//! Private parsers for the targets in `fuzz/`; no part of any API.
//!
//! Each function takes any bytes and panics if what must hold does not.

pub use crate::commands::fuzzing::{line, lines};

/// A time as it is given on the command line.
pub fn time(text: &str) {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let when = crate::args::parse_when(text, now);
    if let Ok(time) = crate::args::parse_time(text) {
        assert_eq!(when, Ok(time));
    }
}
