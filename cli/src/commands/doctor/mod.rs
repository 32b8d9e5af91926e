//! `doctor`: is everything set up as it should be, and what is to be done if not.

mod files;
mod opened;

use crate::error::{Exit, Failure};
use crate::output::{Align, Output, Table, Tone};
use crate::session::Session;
use serde::Serialize;

/// How a check went.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works; something may be better.
    Warn,
    /// Something must be done.
    Fail,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    #[serde(rename = "check")]
    name: &'static str,
    status: Verdict,
    found: String,
    fix: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            status: Verdict::Ok,
            found: found.into(),
            fix: None,
        }
    }

    pub(super) fn warn(
        name: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            name,
            status: Verdict::Warn,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    pub(super) fn fail(
        name: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            name,
            status: Verdict::Fail,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }
}

pub(crate) fn run(session: &Session) -> Result<Exit, Failure> {
    let mut checks = files::checks(session);
    let is_there = checks
        .iter()
        .all(|check| check.name != files::LOG || check.status != Verdict::Fail);
    if is_there {
        checks.extend(opened::checks(session));
    }
    let output = &session.output;
    if output.json {
        let mut results = Output::results();
        for check in &checks {
            results.json(check)?;
        }
        results.flush()?;
    } else {
        Output::text(&format!("{}\n", table(output, &checks)))?;
    }
    let has_failed = checks.iter().any(|check| check.status == Verdict::Fail);
    Ok(if has_failed { Exit::No } else { Exit::Done })
}

fn table(output: &Output, checks: &[Check]) -> String {
    let columns = [
        ("", Align::Left),
        ("check", Align::Left),
        ("found", Align::Left),
        ("what to do", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    for check in checks {
        let (word, tone) = match check.status {
            Verdict::Ok => ("ok", Tone::Good),
            Verdict::Warn => ("warn", Tone::Warn),
            Verdict::Fail => ("FAIL", Tone::Bad),
        };
        table.row(vec![
            (word.to_owned(), tone),
            (check.name.to_owned(), Tone::Plain),
            (check.found.clone(), Tone::Plain),
            (check.fix.clone().unwrap_or_default(), Tone::Plain),
        ]);
    }
    table.text()
}
