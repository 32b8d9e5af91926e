//! What settings may be.

use serde_json::Value;

use super::keys::{Allowed, DIMENSIONS, KEYS, Key};
use super::{Limits, OnTimeout, Settings, SettingsError};

/// Largest number: the largest that every reader of JSON has exactly (RFC 8785).
const MAX_NUMBER: u64 = (1 << 53) - 1;
/// Most entries of a list or a table.
const MAX_ENTRIES: usize = 100;
/// Most bytes of a word.
const MAX_WORD_BYTES: usize = 200;
/// Most bytes of a name.
const MAX_NAME_BYTES: usize = 64;
/// Most bytes of a principal.
const MAX_PRINCIPAL_BYTES: usize = 255;

impl Settings {
    /// Checks every rule that is not one of types.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] for the first setting that breaks one.
    pub fn check(&self) -> Result<(), SettingsError> {
        let json = serde_json::to_value(self).map_err(|error| SettingsError::Syntax {
            key: None,
            line: None,
            message: error.to_string(),
        })?;
        for key in &KEYS {
            let pointer = format!("/{}", key.path.replace('.', "/"));
            if let Some(value) = json.pointer(&pointer) {
                check_value(key, value)?;
            }
        }
        self.check_budgets()?;
        let approvals = &self.approvals;
        let to = approvals.escalate_to.as_str();
        let needed = approvals.on_timeout == OnTimeout::Escalate;
        if (needed && to.trim().is_empty()) || !is_plain(to, MAX_PRINCIPAL_BYTES) {
            let expected = format!(
                "at most {MAX_PRINCIPAL_BYTES} bytes without control characters, and not blank if on_timeout is escalate"
            );
            return Err(wrong("approvals.escalate_to", &Value::from(to), expected));
        }
        Ok(())
    }

    fn check_budgets(&self) -> Result<(), SettingsError> {
        let budgets = &self.budgets;
        check_entries("budgets.presets", budgets.presets.len())?;
        for (name, preset) in &budgets.presets {
            check_name("budgets.presets", name)?;
            check_limits(&format!("budgets.presets.{name}.owner"), &preset.owner)?;
            check_limits(&format!("budgets.presets.{name}.step"), &preset.step)?;
        }
        let windows = &budgets.windows;
        for (name, limits) in [
            ("day", &windows.day),
            ("week", &windows.week),
            ("month", &windows.month),
        ] {
            check_limits(&format!("budgets.windows.{name}"), limits)?;
        }
        if !budgets.presets.contains_key(&budgets.default_preset) {
            let names: Vec<_> = budgets.presets.keys().map(String::as_str).collect();
            let found = Value::from(budgets.default_preset.as_str());
            let expected = format!("one of {}", names.join(", "));
            return Err(wrong("budgets.default_preset", &found, expected));
        }
        Ok(())
    }
}

fn check_value(key: &Key, value: &Value) -> Result<(), SettingsError> {
    match key.allowed {
        Allowed::Number(from, to) => {
            if value
                .as_u64()
                .is_some_and(|number| (from..=to).contains(&number))
            {
                return Ok(());
            }
            Err(wrong(key.path, value, format!("{from} to {to}")))
        }
        Allowed::Words => check_words(key.path, value.as_array().map_or(&[], Vec::as_slice)),
        Allowed::Switch | Allowed::Word(_) | Allowed::Text(_) => Ok(()),
    }
}

fn check_words(path: &str, words: &[Value]) -> Result<(), SettingsError> {
    check_entries(path, words.len())?;
    for (at, value) in words.iter().enumerate() {
        let word = value.as_str().unwrap_or_default();
        if word.trim().is_empty() || !is_plain(word, MAX_WORD_BYTES) {
            let expected = format!("1 to {MAX_WORD_BYTES} bytes, not blank, no control characters");
            return Err(wrong(path, value, expected));
        }
        if word.to_lowercase() != word {
            return Err(wrong(path, value, "lower case".to_owned()));
        }
        if words.iter().take(at).any(|earlier| earlier == value) {
            return Err(wrong(path, value, "each word once".to_owned()));
        }
    }
    Ok(())
}

fn check_limits(path: &str, limits: &Limits) -> Result<(), SettingsError> {
    let Limits {
        steps,
        depth,
        duration_s,
        tool_calls,
        tokens,
        usd_micros,
        gco2_mg,
        counters,
    } = limits;
    let amounts = [
        steps, depth, duration_s, tool_calls, tokens, usd_micros, gco2_mg,
    ];
    let named = DIMENSIONS
        .iter()
        .map(|(name, _)| *name)
        .zip(amounts.into_iter().copied());
    for (name, amount) in named {
        check_number(&format!("{path}.{name}"), amount.unwrap_or(0))?;
    }
    let path = format!("{path}.counters");
    check_entries(&path, counters.len())?;
    for (name, amount) in counters {
        check_name(&path, name)?;
        if DIMENSIONS.iter().any(|(dimension, _)| dimension == name) {
            let expected = "a name that is not one of a dimension".to_owned();
            return Err(wrong(&path, &Value::from(name.as_str()), expected));
        }
        check_number(&format!("{path}.{name}"), *amount)?;
    }
    Ok(())
}

fn check_number(path: &str, number: u64) -> Result<(), SettingsError> {
    if number <= MAX_NUMBER {
        return Ok(());
    }
    Err(wrong(
        path,
        &Value::from(number),
        format!("at most {MAX_NUMBER}"),
    ))
}

fn check_entries(path: &str, entries: usize) -> Result<(), SettingsError> {
    if entries <= MAX_ENTRIES {
        return Ok(());
    }
    Err(SettingsError::Value {
        key: path.to_owned(),
        line: None,
        found: format!("a list of {entries}"),
        expected: format!("at most {MAX_ENTRIES}"),
    })
}

/// Names are `[a-z][a-z0-9_-]*`.
fn check_name(path: &str, name: &str) -> Result<(), SettingsError> {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    let goes_on = name
        .chars()
        .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || matches!(one, '_' | '-'));
    if begins && goes_on && name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    let expected = format!(
        "a name of a to z, 0 to 9, _ and -, which begins with a letter and has at most {MAX_NAME_BYTES} bytes"
    );
    Err(wrong(path, &Value::from(name), expected))
}

fn is_plain(text: &str, max_bytes: usize) -> bool {
    text.len() <= max_bytes && !text.chars().any(char::is_control)
}

fn wrong(key: &str, found: &Value, expected: String) -> SettingsError {
    SettingsError::Value {
        key: key.to_owned(),
        line: None,
        found: found.to_string(),
        expected,
    }
}
