//! `task`: units of work with a life of their own.

mod line;

use crate::args::{
    CheckArgs, ClaimTaskArgs, CreateTaskArgs, Said, ShowTaskArgs, TaskCommand, TaskPlace,
    TaskStand, TasksArgs, ValidateArgs, Work,
};
use crate::error::{Exit, Failure, Report};
use crate::output::Output;
use crate::session::{Access, Session};
use line::Whole;
pub(crate) use line::{Line, table};
use runstone::codec::Position;
use runstone::tasks::{Move, NewTask, TaskFilter, machine};
use runstone::{Hold, Log, TaskError, Tasks};
use serde::Serialize;
use std::time::Duration;

pub(crate) fn run(session: &Session, command: &TaskCommand) -> Result<Exit, Failure> {
    match command {
        TaskCommand::Create(args) => create(session, args),
        TaskCommand::Move(args) => {
            let mut moving = Move::new(&args.id, args.state);
            if let Some(fence) = args.fence {
                moving = moving.fence(Position::new(fence));
            }
            if let Some(comment) = &args.comment {
                moving = moving.comment(comment);
            }
            changed(session, &args.place, &args.id, |tasks| {
                tasks.move_to_blocking(&moving).map(drop)
            })
        }
        TaskCommand::Claim(args) => claim(session, args),
        TaskCommand::Complete(args) => changed(session, &args.place, &args.id, |tasks| {
            let fence = Position::new(args.fence);
            let summary = &args.summary;
            tasks.complete_blocking(&args.id, fence, summary).map(drop)
        }),
        TaskCommand::Release(args) => changed(session, &args.place, &args.id, |tasks| {
            let fence = Position::new(args.fence);
            match &args.failed {
                Some(why) => tasks.fail_blocking(&args.id, fence, why),
                None => tasks.release_blocking(&args.id, fence),
            }
            .map(drop)
        }),
        TaskCommand::Renew(args) => changed(session, &args.place, &args.id, |tasks| {
            let fence = Position::new(args.fence);
            tasks.renew_blocking(&args.id, fence, lease(args.lease))
        }),
        TaskCommand::List(args) => list(session, args),
        TaskCommand::Show(args) => show(session, args),
        TaskCommand::Validate(args) => validate(session, args),
        TaskCommand::Check(args) => check(session, args),
    }
}

/// A script opens the log for each thing that it does.
fn lease(seconds: u64) -> Hold {
    Hold::ByClock(Duration::from_secs(seconds))
}

fn tasks(log: &Log, place: &TaskPlace) -> Tasks {
    let tasks = Tasks::new(log).stream(&place.stream);
    match &place.actor {
        Some(actor) => tasks.actor(actor),
        None => tasks,
    }
}

fn wanted(id: &str, work: &Work) -> NewTask {
    let mut new = NewTask::new(id);
    if let Some(task_type) = &work.task_type {
        new = new.task_type(task_type);
    }
    if let Some(agent) = &work.agent {
        new = new.agent(agent);
    }
    if let Some(parent) = &work.parent {
        new = new.parent(parent);
    }
    if let Some(creator) = &work.creator {
        new = new.creator(creator);
    }
    if let Some(owner) = &work.budget {
        new = new.budget(owner.as_str());
    }
    new
}

/// What is to be created, in a tray or not.
pub(super) fn new_task(id: &str, said: &Said) -> NewTask {
    let mut new = wanted(id, &said.work);
    if let Some(title) = &said.title {
        new = new.title(title);
    }
    if let Some(description) = &said.description {
        new = new.description(description);
    }
    if let Some(agent) = &said.created_by {
        new = new.created_by(agent);
    }
    for (field, text) in &said.admission {
        new = new.admission(field, text);
    }
    new
}

fn create(session: &Session, args: &CreateTaskArgs) -> Result<Exit, Failure> {
    let new = new_task(&args.id, &args.said).state(args.state);
    changed(session, &args.place, &args.id, |tasks| {
        tasks.create_blocking(&new).map(drop)
    })
}

fn claim(session: &Session, args: &ClaimTaskArgs) -> Result<Exit, Failure> {
    changed(session, &args.place, &args.id, |tasks| {
        let unnamed = || {
            format!(
                "{}#{}",
                tasks.principal(),
                std::os::unix::process::parent_id()
            )
        };
        let holder = args.holder.clone().unwrap_or_else(unnamed);
        let hold = lease(args.lease);
        tasks.claim_blocking(&args.id, &holder, hold).map(drop)
    })
}

/// Does something to a task. How it stands goes to stdout, and why nothing was done to stderr.
fn changed(
    session: &Session,
    place: &TaskPlace,
    id: &str,
    change: impl FnMut(&Tasks) -> Result<(), TaskError>,
) -> Result<Exit, Failure> {
    let mut change = change;
    let output = &session.output;
    let act = |log: &Log| match change(&tasks(log, place)) {
        Ok(()) => Ok(None),
        // Whether it was recorded is not known, or the log is in trouble: nothing can be shown.
        Err(TaskError::Append(error)) => Err(error.into()),
        Err(error) => Ok(Some(Report::from(error))),
    };
    let (refusal, line) = session.record(act, |log, refusal| {
        let tasks = tasks(log, place);
        Ok(match refusal {
            Some(refusal) if refusal.exit == Exit::Usage => None,
            _ => tasks.find(id)?.map(|task| Line::of(&tasks, &task, output)),
        })
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

fn list(session: &Session, args: &TasksArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    let mut filter = TaskFilter::new();
    match args.status {
        Some(TaskStand::State(state)) => filter.state = Some(state),
        Some(TaskStand::Open) => filter.open = true,
        Some(TaskStand::Expired) => filter.expired = true,
        None => {}
    }
    filter.agent.clone_from(&args.agent);
    filter.task_type.clone_from(&args.task_type);
    filter.parent.clone_from(&args.parent);
    session.with(Access::Folds, |log| {
        let tasks = Tasks::new(log).stream(&args.stream);
        let lines = Line::all(&tasks, &tasks.list(&filter)?, output)?;
        if output.json {
            let mut results = Output::results();
            for line in &lines {
                results.json(line)?;
            }
            results.flush()?;
        } else if lines.is_empty() {
            output.note("there is no such task");
        } else {
            Output::text(&format!("{}\n", table(&lines, output)))?;
        }
        Ok(Exit::Done)
    })
}

fn show(session: &Session, args: &ShowTaskArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    let whole = session.with(Access::Folds, |log| {
        let tasks = Tasks::new(log).stream(&args.stream);
        let not_found = || TaskError::NotFound {
            id: args.id.clone(),
        };
        let task = tasks.find(&args.id)?.ok_or_else(not_found)?;
        Ok(Whole::of(&tasks, &args.id, &task, output)?)
    })?;
    output.answer(&whole, || whole.text(output))?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Validated<'a> {
    valid: bool,
    reason: &'a str,
}

fn validate(session: &Session, args: &ValidateArgs) -> Result<Exit, Failure> {
    let told = machine::validate(&args.from, &args.to);
    let (valid, reason) = match &told {
        Ok(reason) => (true, *reason),
        Err(reason) => (false, reason.as_str()),
    };
    let word = if valid { "VALID" } else { "INVALID" };
    session
        .output
        .answer(&Validated { valid, reason }, || format!("{word}: {reason}"))?;
    Ok(if valid { Exit::Done } else { Exit::No })
}

#[derive(Serialize)]
struct Checked<'a> {
    allowed: bool,
    depth: Option<u64>,
    loop_type: Option<&'a str>,
    reason: Option<String>,
}

fn check(session: &Session, args: &CheckArgs) -> Result<Exit, Failure> {
    let new = wanted(&args.id, &args.work);
    let told = session.with(Access::Folds, |log| {
        let tasks = Tasks::new(log).stream(&args.stream);
        match tasks.check(&new, args.max_depth) {
            Ok(depth) => Ok(Ok(depth)),
            Err(TaskError::Loop { loop_type, text }) => Ok(Err((loop_type, text))),
            Err(error) => Err(error.into()),
        }
    })?;
    match told {
        Ok(depth) => {
            let answer = Checked {
                allowed: true,
                depth: Some(depth),
                loop_type: None,
                reason: None,
            };
            let output = &session.output;
            output.answer(&answer, || format!("ALLOWED: depth={depth}"))?;
            Ok(Exit::Done)
        }
        Err((loop_type, text)) => {
            let line = format!("DENIED: [{loop_type}] {}", crate::output::printable(&text));
            let answer = Checked {
                allowed: false,
                depth: None,
                loop_type: Some(loop_type.as_str()),
                reason: Some(text),
            };
            session.output.answer(&answer, || line)?;
            Ok(Exit::No)
        }
    }
}
