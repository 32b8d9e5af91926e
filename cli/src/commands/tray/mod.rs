//! `tray`: where tasks lie until somebody takes them.

mod line;

use super::task::new_task;
use crate::args::{AddArgs, ClaimNextArgs, Next, ShowTrayArgs, TrayCommand, TraysArgs};
use crate::error::{Exit, Failure, Report};
use crate::output::Output;
use crate::session::{Access, Session};
use line::{Line, Nothing, TrayLine, table, trays_table};
use runstone::codec::Position;
use runstone::tasks::TaskId;
use runstone::trays::{Claim, NewTrayTask, TrayError, Trays};
use runstone::{Hold, Log};
use serde::Serialize;
use std::time::Duration;

pub(crate) fn run(session: &Session, command: &TrayCommand) -> Result<Exit, Failure> {
    match command {
        TrayCommand::Open(args) => whole(session, &args.tray, |mut trays| {
            if let Some(scope) = &args.scope {
                trays = trays.scope(scope);
            }
            trays.open_blocking(&args.tray)
        }),
        TrayCommand::Close(args) => whole(session, &args.tray, |trays| {
            trays.close_blocking(&args.tray)
        }),
        TrayCommand::Add(args) => add(session, args),
        TrayCommand::Claim(args) => claim(session, args),
        TrayCommand::Complete(args) => changed(session, &args.next, |trays, task, fence| {
            trays
                .complete_blocking(task, fence, &args.summary)
                .map(drop)
        }),
        TrayCommand::Release(args) => changed(session, &args.next, |trays, task, fence| {
            match &args.failed {
                Some(why) => trays.fail_blocking(task, fence, why),
                None => trays.release_blocking(task, fence),
            }
            .map(drop)
        }),
        TrayCommand::Renew(args) => changed(session, &args.next, |trays, task, fence| {
            trays.renew_blocking(task, fence, lease(args.lease))
        }),
        TrayCommand::List(args) => list(session, args),
        TrayCommand::Show(args) => show(session, args),
    }
}

/// A script opens the log for each thing that it does.
fn lease(seconds: u64) -> Hold {
    Hold::ByClock(Duration::from_secs(seconds))
}

/// Does something to a whole tray, and shows how it stands then.
fn whole(
    session: &Session,
    name: &str,
    change: impl FnOnce(Trays) -> Result<Position, TrayError>,
) -> Result<Exit, Failure> {
    let (_, tray) = session.record(
        |log| Ok(change(Trays::new(log))?),
        |log, _| Ok(Trays::new(log).tray(name)?),
    )?;
    if let Some(tray) = tray {
        let line = TrayLine::from(tray);
        session.output.answer(&line, || line.sentence())?;
    }
    Ok(Exit::Done)
}

fn add(session: &Session, args: &AddArgs) -> Result<Exit, Failure> {
    let task = new_task(&args.id, &args.said);
    let new = NewTrayTask::new(task).priority(args.priority);
    let new = args.depends_on.iter().fold(new, NewTrayTask::depends_on);
    let output = &session.output;
    let (_, line) = session.record(
        |log| Ok(Trays::new(log).add_blocking(&args.tray, &new)?),
        |log, created| {
            let trays = Trays::new(log);
            let found = trays.get(&created.id)?;
            Ok(found.map(|found| Line::of(&trays, &found, output)))
        },
    )?;
    if let Some(line) = line {
        output.answer(&line, || line.sentence(output))?;
    }
    Ok(Exit::Done)
}

/// What a claim got.
#[derive(Serialize)]
#[serde(untagged)]
enum Got {
    Task(Box<Line>),
    Nothing(Nothing),
}

fn claim(session: &Session, args: &ClaimNextArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    let claim = |log: &Log| {
        let unnamed = || {
            let process = std::os::unix::process::parent_id();
            format!("{}#{process}", log.principal().0)
        };
        let holder = args.holder.clone().unwrap_or_else(unnamed);
        let (trays, hold) = (Trays::new(log), lease(args.lease));
        let tray = match &args.tray {
            Some(tray) => tray.clone(),
            None => trays.own()?,
        };
        let claim = trays.claim_blocking(&tray, &holder, hold)?;
        Ok((claim, tray))
    };
    let (_, got) = session.record(claim, |log, (claim, tray)| {
        let trays = Trays::new(log);
        match claim {
            Claim::Claimed(held) => {
                let found = trays.get(&held.task)?.ok_or_else(|| not_there(tray, ""))?;
                Ok(Got::Task(Box::new(Line::of(&trays, &found, output))))
            }
            Claim::NotClaimed(nothing) => Ok(Got::Nothing((*nothing).into())),
            _ => Err(not_there(tray, "").into()),
        }
    })?;
    output.answer(&got, || match &got {
        Got::Task(line) => line.sentence(output),
        Got::Nothing(nothing) => nothing.sentence(),
    })?;
    Ok(match got {
        Got::Task(_) => Exit::Done,
        Got::Nothing(_) => Exit::No,
    })
}

fn not_there(tray: &str, id: &str) -> TrayError {
    TrayError::NotInTray {
        id: id.to_owned(),
        tray: Some(tray.to_owned()),
    }
}

/// Does something to a task. How it stands goes to stdout, and why nothing was done to stderr.
fn changed(
    session: &Session,
    next: &Next,
    change: impl FnOnce(&Trays, &TaskId, Position) -> Result<(), TrayError>,
) -> Result<Exit, Failure> {
    let output = &session.output;
    let act = |log: &Log| {
        let trays = Trays::new(log);
        let found = trays.find(&next.tray, &next.id)?;
        let found = found.ok_or_else(|| not_there(&next.tray, &next.id))?;
        let id = found.task.id;
        let refusal = match change(&trays, &id, Position::new(next.fence)) {
            Ok(()) => None,
            // Whether it was recorded is not known, or the log is in trouble: nothing can be shown.
            Err(TrayError::Append(error)) => return Err(error.into()),
            Err(error) => Some(Report::from(error)),
        };
        Ok((refusal, id))
    };
    let ((refusal, _), line) = session.record(act, |log, (_, id)| {
        let trays = Trays::new(log);
        let found = trays.get(id)?;
        Ok(found.map(|found| Line::of(&trays, &found, output)))
    })?;
    if let Some(refusal) = &refusal {
        output.error(refusal);
    }
    // For people the refusal says it all. That nobody reads the answer does not make it another one.
    if let Some(line) = line.filter(|_| output.json || refusal.is_none()) {
        match output.answer(&line, || line.sentence(output)) {
            Ok(()) | Err(Failure::Closed) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(refusal.map_or(Exit::Done, |refusal| refusal.exit))
}

fn list(session: &Session, args: &TraysArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    session.with(Access::Folds, |log| {
        let trays = Trays::new(log);
        let Some(tray) = &args.tray else {
            let lines: Vec<_> = trays.trays()?.into_iter().map(TrayLine::from).collect();
            return listed(&lines, "there is no tray", trays_table, output);
        };
        let found = if args.dead_letters {
            trays.dead_letters(tray)?
        } else {
            trays.list(tray)?
        };
        let lines = Line::all(&trays, &found, output)?;
        listed(&lines, "there is no such task", table, output)
    })
}

fn listed<T: Serialize>(
    lines: &[T],
    none: &str,
    table: impl Fn(&[T], &Output) -> String,
    output: &Output,
) -> Result<Exit, Failure> {
    if output.json {
        let mut results = Output::results();
        for line in lines {
            results.json(line)?;
        }
        results.flush()?;
    } else if lines.is_empty() {
        output.note(none);
    } else {
        Output::text(&format!("{}\n", table(lines, output)))?;
    }
    Ok(Exit::Done)
}

fn show(session: &Session, args: &ShowTrayArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    let not_found = || TrayError::NotFound {
        tray: args.tray.clone(),
    };
    let Some(id) = &args.id else {
        let tray = session.with(Access::Folds, |log| {
            Ok(Trays::new(log).tray(&args.tray)?.ok_or_else(not_found)?)
        })?;
        let line = TrayLine::from(tray);
        output.answer(&line, || line.sentence())?;
        return Ok(Exit::Done);
    };
    let line = session.with(Access::Folds, |log| {
        let trays = Trays::new(log);
        trays.tray(&args.tray)?.ok_or_else(not_found)?;
        let found = trays.find(&args.tray, id)?;
        let found = found.ok_or_else(|| not_there(&args.tray, id))?;
        Ok(Line::of(&trays, &found, output))
    })?;
    output.answer(&line, || line.text(output))?;
    Ok(Exit::Done)
}
