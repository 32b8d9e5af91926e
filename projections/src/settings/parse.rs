//! Settings from text.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{Settings, SettingsError};

/// Most bytes of a text that is read.
const MAX_BYTES: usize = 256 * 1024;

impl Settings {
    /// Reads TOML. What is not given has its default.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Syntax`] and [`SettingsError::Value`] name the key and the line.
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        check_length(text.len())?;
        let settings: Self = toml::from_str(text).map_err(|error| {
            let span = error.span();
            SettingsError::Syntax {
                key: span.as_ref().and_then(|span| key_at(text, span)),
                line: span.as_ref().map(|span| line_of(text, span.start)),
                message: error.message().to_owned(),
            }
        })?;
        settings.check().map_err(|error| match error {
            SettingsError::Value {
                key,
                found,
                expected,
                ..
            } => {
                let line = span_of(text, &key).map(|at| line_of(text, at));
                SettingsError::Value {
                    key,
                    line,
                    found,
                    expected,
                }
            }
            other => other,
        })?;
        Ok(settings)
    }

    /// Reads JSON, as it is recorded. What is not given has its default.
    ///
    /// # Errors
    ///
    /// As [`from_toml`](Self::from_toml).
    pub fn from_json(json: &[u8]) -> Result<Self, SettingsError> {
        check_length(json.len())?;
        let settings: Self =
            serde_json::from_slice(json).map_err(|error| SettingsError::Syntax {
                key: None,
                line: None, // the message has it
                message: error.to_string(),
            })?;
        settings.check()?;
        Ok(settings)
    }
}

fn check_length(bytes: usize) -> Result<(), SettingsError> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("{bytes} bytes are too many for settings, at most {MAX_BYTES}");
    Err(SettingsError::Syntax {
        key: None,
        line: None,
        message,
    })
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    before.split(|byte| *byte == b'\n').count()
}

/// The key that stands at a place of the text, or whose value does.
fn key_at(text: &str, span: &Range<usize>) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    find_key(table.get_ref(), span.start)
}

fn find_key(table: &DeTable<'_>, at: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        if let DeValue::Table(inner) = value.get_ref()
            && let Some(found) = find_key(inner, at)
        {
            return Some(format!("{name}.{found}"));
        }
        let holds = key.span().contains(&at) || value.span().contains(&at);
        holds.then(|| name.to_string())
    })
}

/// Where a key stands, or the nearest section around it that is given.
fn span_of(text: &str, path: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (mut table, mut found) = (table.get_ref(), None);
    for name in path.split('.') {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
            break;
        };
        found = Some(key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}
