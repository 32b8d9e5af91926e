//! `orphans`: what was begun and never ended.

use crate::error::{Exit, Failure};
use crate::output::{Align, Output, Table, Tone, now, relative, rfc3339};
use crate::session::{Access, Session};
use runstone::projections::orphans::{self, Orphan, OrphanKind};
use serde::Serialize;

/// What was begun, as other programs see it.
#[derive(Serialize)]
struct Line<'a> {
    kind: OrphanKind,
    stream: &'a str,
    name: Option<&'a str>,
    state: &'a str,
    held: bool,
    holder: Option<&'a str>,
    lease_expires_at: Option<String>,
    since: Option<String>,
    position: u64,
}

impl<'a> Line<'a> {
    fn of(orphan: &'a Orphan) -> Self {
        Self {
            kind: orphan.kind,
            stream: &orphan.stream,
            name: orphan.name.as_deref(),
            state: &orphan.state,
            held: orphan.is_held,
            holder: orphan.holder.as_deref(),
            lease_expires_at: orphan.lease_expires_at_us.and_then(rfc3339),
            since: rfc3339(orphan.since_us),
            position: orphan.position.get(),
        }
    }
}

pub(crate) fn run(session: &Session) -> Result<Exit, Failure> {
    let output = &session.output;
    let all = session.with(Access::Folds, |log| Ok(orphans::list(log)?))?;
    if output.json {
        let mut results = Output::results();
        for orphan in &all {
            results.json(&Line::of(orphan))?;
        }
        results.flush()?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        output.note("everything that was begun has ended");
        return Ok(Exit::Done);
    }
    Output::text(&format!("{}\n", table(&all, output)))?;
    let has = |kind: OrphanKind, state: &str| {
        let is_so = |orphan: &&Orphan| orphan.kind == kind && orphan.state == state;
        all.iter().any(|orphan| is_so(&orphan))
    };
    if has(OrphanKind::Claim, "unknown") || has(OrphanKind::Claim, "expired") {
        output.note(
            "runstone effect show --id POSITION shows a claim; reconcile and release settle it",
        );
    }
    Ok(Exit::Done)
}

fn table(all: &[Orphan], output: &Output) -> String {
    let columns = [
        ("position", Align::Right),
        ("what", Align::Left),
        ("state", Align::Left),
        ("name", Align::Left),
        ("stream", Align::Left),
        ("since", Align::Left),
        ("holder", Align::Cut),
    ];
    let mut table = Table::new(output, &columns);
    let now = now();
    for orphan in all {
        let tone = match orphan.state.as_str() {
            _ if orphan.is_held => Tone::Plain,
            "unknown" | "crashed" => Tone::Bad,
            _ => Tone::Warn,
        };
        let since = if output.terminal {
            relative(orphan.since_us, now)
        } else {
            rfc3339(orphan.since_us).unwrap_or_default()
        };
        let holder = match (&orphan.holder, orphan.is_held) {
            (Some(holder), true) => holder.clone(),
            (Some(holder), false) => format!("{holder} (gone)"),
            (None, _) => "-".to_owned(),
        };
        table.row(vec![
            (orphan.position.to_string(), Tone::Plain),
            (orphan.kind.to_string(), Tone::Plain),
            (orphan.state.clone(), tone),
            (orphan.name.clone().unwrap_or_default(), Tone::Plain),
            (orphan.stream.clone(), Tone::Plain),
            (since, Tone::Dim),
            (holder, Tone::Dim),
        ]);
    }
    table.text()
}
