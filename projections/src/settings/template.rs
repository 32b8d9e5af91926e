//! Settings as a text to edit.

use std::fmt::Write as _;

use serde_json::Value;

use super::keys::{Allowed, DIMENSIONS, KEYS, Key, SECTIONS};
use super::{Limits, Settings};

const HEAD: &str = "\
# Settings of a Runstone log, recorded as the event `log.configured`; the last one counts.
# A key that is left out has its default; an unknown key is an error.
# This version acts on [admission], [approvals], [budgets], [effects], [loops], [orders],
# [retention] and four keys of [leases]. Who will go by each of the others is said beside it.
";

impl Settings {
    /// These settings as TOML that [`from_toml`](Self::from_toml) reads back: every key with its
    /// meaning, what it may be, its default and who goes by it; or, if `minimal`, without comments.
    pub fn to_toml_template(&self, minimal: bool) -> String {
        // Serializing to a value fails only for maps whose keys are not strings.
        let current = serde_json::to_value(self).unwrap_or_default();
        let defaults = serde_json::to_value(Self::default()).unwrap_or_default();
        let mut out = String::new();
        if !minimal {
            out.push_str(HEAD);
        }
        for (section, about) in SECTIONS {
            if !out.is_empty() {
                out.push('\n');
            }
            if !minimal {
                comment(&mut out, about);
            }
            let _ = writeln!(out, "[{section}]");
            for key in KEYS.iter().filter(|key| section_of(key) == section) {
                write_key(&mut out, key, &current, &defaults, minimal);
            }
            if section == "budgets" {
                self.write_limits(&mut out, minimal);
            }
        }
        out
    }

    fn write_limits(&self, out: &mut String, minimal: bool) {
        if !minimal {
            out.push('\n');
            comment(
                out,
                "Presets: limits by name. `owner` limits the owner, `step` each single step of it. \
                 exec-kernel and zu are always there; naming one replaces it. \
                 Read by budgets: opening.",
            );
            comment(out, "What may be limited (what is not named is not):");
            for (name, unit) in DIMENSIONS {
                comment(out, &format!("  {name} ({unit})"));
            }
            comment(
                out,
                "  counters.NAME (whatever the caller charges under that name)",
            );
        }
        for (name, preset) in &self.budgets.presets {
            write_table(out, &format!("budgets.presets.{name}.owner"), &preset.owner);
            write_table(out, &format!("budgets.presets.{name}.step"), &preset.step);
            if preset.owner.is_empty() && preset.step.is_empty() {
                let _ = writeln!(out, "\n[budgets.presets.{name}]");
            }
        }
        if !minimal {
            out.push('\n');
            comment(
                out,
                "Windows: limits of every owner in each day, week and month of UTC, beside its \
                 own. Default none. Read by budgets: reserving and charging. For example:",
            );
            comment(out, "[budgets.windows.day]");
            comment(out, "usd_micros = 5000000");
        }
        let windows = &self.budgets.windows;
        write_table(out, "budgets.windows.day", &windows.day);
        write_table(out, "budgets.windows.week", &windows.week);
        write_table(out, "budgets.windows.month", &windows.month);
    }
}

fn section_of(key: &Key) -> &str {
    key.path
        .split_once('.')
        .map_or(key.path, |(section, _)| section)
}

fn write_key(out: &mut String, key: &Key, current: &Value, defaults: &Value, minimal: bool) {
    let pointer = format!("/{}", key.path.replace('.', "/"));
    let (Some(value), Some(default)) = (current.pointer(&pointer), defaults.pointer(&pointer))
    else {
        return;
    };
    let name = key.path.rsplit('.').next().unwrap_or(key.path);
    if !minimal {
        out.push('\n');
        comment(out, key.about);
        let allowed = allowed(key.allowed);
        comment(
            out,
            &format!(
                "{allowed}. Default {}. Read by {}.",
                inline(default),
                key.reader
            ),
        );
    }
    let _ = writeln!(out, "{name} = {}", inline(value));
}

fn allowed(allowed: Allowed) -> String {
    match allowed {
        Allowed::Number(from, to) => format!("{from} to {to}"),
        Allowed::Switch => "true or false".to_owned(),
        Allowed::Word(words) => format!("One of {}", words.join(", ")),
        Allowed::Text(text) => text.to_owned(),
        Allowed::Words => "Words in lower case".to_owned(),
    }
}

fn write_table(out: &mut String, name: &str, limits: &Limits) {
    if limits.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n[{name}]");
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
    for ((name, _), amount) in DIMENSIONS.iter().zip(amounts) {
        if let Some(amount) = amount {
            let _ = writeln!(out, "{name} = {amount}");
        }
    }
    for (name, amount) in counters {
        let _ = writeln!(out, "counters.{name} = {amount}");
    }
}

/// A value on one line. Numbers and switches of TOML are written as in JSON, texts are not.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => toml::Value::from(text.as_str()).to_string(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// Comment lines of at most 100 characters.
fn comment(out: &mut String, text: &str) {
    const WIDTH: usize = 100;
    let indent = text.len() - text.trim_start().len();
    let mut line = format!("#{}", " ".repeat(indent));
    let empty = line.len();
    for word in text.split_whitespace() {
        if line.len() > empty && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line.truncate(empty);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}
