//! JSON shapes that other programs depend on.

use crate::error::Report;
use runstone::FoldStatus;
use serde::Serialize;

/// An error as it is shown, under `error`.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorLine<'a> {
    /// The line of the input concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    pub(crate) error: ErrorValue<'a>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ErrorValue<'a> {
    code: &'a str,
    message: &'a str,
    hints: &'a [String],
}

impl<'a> ErrorLine<'a> {
    pub(crate) fn of(report: &'a Report) -> Self {
        let (code, message, hints) = (report.code, &report.message, &report.hints);
        Self {
            line: None,
            error: ErrorValue {
                code,
                message,
                hints,
            },
        }
    }

    #[must_use]
    pub(crate) fn at(self, line: u64) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }
}

/// A warning on stderr.
#[derive(Serialize)]
pub(super) struct WarningLine<'a> {
    pub(super) warning: Warning<'a>,
}

#[derive(Serialize)]
pub(super) struct Warning<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// Base64, as checkpoints write roots.
pub(crate) fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// How far a fold is.
#[derive(Serialize)]
pub(crate) struct Summary {
    fold: String,
    version: u32,
    /// Events taken in.
    applied: u64,
    /// Events whose effect is on disk.
    flushed: u64,
    /// Events not yet taken in.
    lag: u64,
    known: bool,
    stopped: Option<Stopped>,
}

#[derive(Serialize)]
struct Stopped {
    position: u64,
    why: String,
}

impl Summary {
    pub(crate) fn of(status: &FoldStatus, size: u64) -> Self {
        Self {
            fold: status.name.clone(),
            version: status.version,
            applied: status.applied,
            flushed: status.flushed,
            lag: size.saturating_sub(status.applied),
            known: status.known,
            stopped: status.stopped.as_ref().map(|(position, why)| Stopped {
                position: position.get(),
                why: why.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_code_message_and_hints() {
        let report = Report::new(crate::error::Exit::Usage, "bad_tag", "x");
        assert_eq!(
            serde_json::to_string(&ErrorLine::of(&report).at(3)).unwrap(),
            r#"{"line":3,"error":{"code":"bad_tag","message":"x","hints":["a tag reads like user:7"]}}"#
        );
        let alone = serde_json::to_string(&ErrorLine::of(&report)).unwrap();
        assert!(alone.starts_with(r#"{"error":{"code""#));
    }
}
