//! The reference of all commands as Markdown, made of the same definitions as their help.

use clap::{Arg, Command};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const HEAD: &str = "\
# Command line

Every command with its flags, as `runstone help COMMAND` has them. This page is made by
`runstone man --markdown`; a test compares them. [The guide](guide/README.md) says when to use which.

Results go to stdout; progress, notes, warnings and errors go to stderr. On a terminal tables fit its width and times are
told as distances from now; elsewhere they do so if `COLUMNS` says how many columns there are. `NO_COLOR` is respected. With
`--json` each answer is one value a line, and an error is `{\"error\":{\"code\",\"message\",\"hints\":[]}}` on stderr; each code has
[a page](errors/README.md). A command asks whoever holds the log, if somebody does ([how](ATTACH.md)), and opens the file if not.

| exit | meaning |
|---|---|
| 0 | done; the answer is yes or valid |
| 1 | the answer is no: refused by a rule, invalid, denied, exceeded, not approved, in flight, differs |
| 2 | wrong usage |
| 3 | lost a race or clashed: a condition failed, a key or claim is stale, decided already |
| 4 | tampered or corrupt |
| 5 | not found |
| 6 | busy: another process holds the log and does not serve it |
| 7 | storage failed: disk full, I/O error, permission |
| 8 | keys, credential or policy are missing or wrong |
| 9 | verification lacks something that is not tampering |
";

/// The whole page.
pub(super) fn markdown(mut command: Command) -> String {
    command.build();
    let mut page = HEAD.to_owned();
    page.push_str("\n## For every command\n\n");
    let global = |arg: &&Arg| arg.is_global_set();
    list(&mut page, command.get_arguments().filter(global));
    let mut said = BTreeSet::new();
    for below in shown(&command) {
        section(&mut page, below, 2, &mut said);
    }
    page
}

/// A command and those below it.
fn section(page: &mut String, command: &Command, level: usize, said: &mut BTreeSet<String>) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").lines().map(str::trim);
    let usage: Vec<_> = usage.filter(|line| !line.is_empty()).collect();
    // Writing to a string cannot fail.
    let _ = write!(page, "\n{} {name}\n\n", "#".repeat(level));
    let _ = write!(page, "`{}`", usage.join("` or `"));
    let about = command.get_long_about().or_else(|| command.get_about());
    if let Some(about) = about {
        let about = plain(&about.to_string());
        let _ = write!(page, ": {}.", about.trim_end_matches('.'));
    }
    page.push('\n');
    let own = |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set();
    if command.get_arguments().any(|arg| own(&arg) && is_ours(arg)) {
        page.push('\n');
        list(page, command.get_arguments().filter(own));
    }
    let more = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    let more = more.map(ToString::to_string);
    // What is said of a group is not said again of each of its commands.
    if let Some(more) = more.filter(|more| !said.contains(more)) {
        prose(page, &more);
        said.insert(more);
    }
    for below in shown(command) {
        section(page, below, level + 1, said);
    }
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    let commands = command.get_subcommands();
    commands.filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

fn is_ours(arg: &Arg) -> bool {
    !matches!(arg.get_id().as_str(), "help" | "version")
}

fn list<'a>(page: &mut String, args: impl Iterator<Item = &'a Arg>) {
    for arg in args.filter(|arg| is_ours(arg)) {
        let _ = write!(page, "- `{}`", sign(arg));
        if let Some(help) = arg.get_help() {
            let _ = write!(page, ": {}", plain(&help.to_string()));
        }
        let mut beside = Vec::new();
        if arg.get_action().takes_values() {
            let defaults = arg.get_default_values().iter();
            beside.extend(defaults.map(|value| format!("default: {}", value.to_string_lossy())));
            let values = arg.get_possible_values();
            let values: Vec<_> = values
                .iter()
                .map(clap::builder::PossibleValue::get_name)
                .collect();
            if !values.is_empty() {
                beside.push(format!("one of {}", values.join(", ")));
            }
        }
        if let Some(name) = arg.get_env() {
            beside.push(format!("`${}`", name.to_string_lossy()));
        }
        if !beside.is_empty() {
            let _ = write!(page, " ({})", beside.join("; "));
        }
        page.push('\n');
    }
}

/// How an argument is written.
fn sign(arg: &Arg) -> String {
    let mut text = String::new();
    if let Some(short) = arg.get_short() {
        let _ = write!(text, "-{short}");
    }
    if let Some(long) = arg.get_long() {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let _ = write!(text, "--{long}");
    }
    if arg.get_action().takes_values() {
        for name in arg.get_value_names().unwrap_or_default() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(name);
        }
    }
    text
}

/// Text of a help, whose examples stand in by two columns.
fn prose(page: &mut String, text: &str) {
    let mut is_code = false;
    page.push('\n');
    for line in text.lines() {
        let is_example = line.starts_with("  ");
        if is_example != is_code && !(is_code && line.is_empty()) {
            page.push_str("```\n");
            is_code = is_example;
        }
        let line = if is_code {
            line.trim_start().to_owned()
        } else {
            plain(line)
        };
        let _ = writeln!(page, "{line}");
    }
    if is_code {
        page.push_str("```\n");
    }
}

/// Text that Markdown leaves as it is.
fn plain(text: &str) -> String {
    text.replace('\n', " ")
        .replace('<', "&lt;")
        .replace('*', "\\*")
        .replace('_', "\\_")
}
