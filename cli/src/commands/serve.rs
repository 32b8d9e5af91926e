//! `serve` and `attach`: a log that is held for others.

use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Table, Tone, count, paint};
use crate::session::{Access, Session};
use runstone::Runstone;
use runstone::attach::{Attached, Limits, attached, socket_of};
use runstone::projections::sweep_open;
use runstone::sinks::RunOptions;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;

#[derive(Serialize)]
struct Serving<'a> {
    log: &'a Path,
    socket: &'a Path,
    process: u32,
}

/// Holds the log until it is told to stop.
pub(crate) fn serve(session: &Session) -> Result<Exit, Failure> {
    // Before anybody can be answered: what is sent meanwhile waits.
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Report::of(Exit::Storage, "internal", &error))?;
    let log = session.open_file(Access::Write)?;
    if let Err(error) = sweep_open(&log) {
        session.output.warn(
            error.code(),
            &format!("what has expired is not recorded: {error}"),
        );
    }
    let log = Runstone::serve(log, &session.log, Limits::default())?;
    let log = log.run_sinks(RunOptions::default())?;
    let socket = socket_of(&session.log);
    let answer = Serving {
        log: &session.log,
        socket: &socket,
        process: std::process::id(),
    };
    session.output.answer(&answer, || {
        format!(
            "{} is served on {}; end it with ctrl-c\n",
            session.log.display(),
            socket.display()
        )
    })?;
    signals.forever().next();
    log.close_blocking()?;
    session.output.note("closed");
    Ok(Exit::Done)
}

/// Who holds the log and who is attached.
#[derive(Serialize)]
struct Held {
    holder: Option<u32>,
    principal: Option<String>,
    attached: Vec<Attached>,
}

/// Shows who holds the log.
pub(crate) fn show(session: &Session) -> Result<Exit, Failure> {
    let Some(log) = session.attached() else {
        let nobody = Held {
            holder: None,
            principal: None,
            attached: Vec::new(),
        };
        let path = session.log.display();
        session.output.answer(&nobody, || {
            format!("nobody serves {path}: commands open its file themselves\n")
        })?;
        return Ok(Exit::No);
    };
    let all = attached(&socket_of(&session.log))?;
    // This command asks on two connections.
    let me = i32::try_from(std::process::id()).ok();
    let others = all.into_iter().filter(|one| one.process != me);
    let held = Held {
        holder: log.holder_process(),
        principal: Some(log.principal().0.to_owned()),
        attached: others.collect(),
    };
    session
        .output
        .answer(&held, || text(&held, &session.output))?;
    Ok(Exit::Done)
}

fn text(held: &Held, output: &Output) -> String {
    let holder = held
        .holder
        .map_or_else(|| "?".to_owned(), |holder| holder.to_string());
    let mut text = format!(
        "held by process {}, {} attached\n",
        paint(output.color, Tone::Good, &holder),
        count(held.attached.len() as u64)
    );
    if held.attached.is_empty() {
        return text;
    }
    let columns = [
        ("process", Align::Right),
        ("principal", Align::Left),
        ("requests", Align::Right),
        ("state", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    for one in &held.attached {
        let process = one.process.map(|process| process.to_string());
        table.row(vec![
            (process.unwrap_or_else(|| "-".to_owned()), Tone::Plain),
            (one.principal.clone(), Tone::Plain),
            (count(one.requests), Tone::Plain),
            (
                if one.is_busy { "asking" } else { "idle" }.to_owned(),
                Tone::Dim,
            ),
        ]);
    }
    text.push('\n');
    text.push_str(&table.text());
    text.push('\n');
    text
}
