//! The same questions, put to a real log.

use super::{TaskAct, TaskAsk};
use crate::calls::{Lost, Said, Told, of_command};
use runstone_codec::Position;
use runstone_projections::settings::Admission;
use runstone_projections::tasks::{Move, NewTask, TaskError, TaskState, Tasks};

pub(crate) fn of_task(error: &TaskError) -> Told {
    Err(match error {
        TaskError::Append(error) => return of_command(error),
        TaskError::Read(error) => Lost::Unread(error.to_string()),
        TaskError::Settings(error) => Lost::Failed(error.to_string()),
        error => return Ok((Said::Refused(error.code()), None)),
    })
}

fn at(position: Position) -> (Said, Option<u64>) {
    (Said::At(Some(position.get())), Some(position.get()))
}

/// The task that somebody asks to create, if that is what is asked.
pub fn new_task(
    name: impl Fn(usize) -> String,
    agent_name: impl Fn(usize) -> String,
    ask: &TaskAsk,
) -> Option<NewTask> {
    let TaskAsk::Create(id, links, is_todo) = ask else {
        return None;
    };
    let mut new = NewTask::new(name(*id)).state(if *is_todo {
        TaskState::Todo
    } else {
        TaskState::Backlog
    });
    if let Some(parent) = links.parent {
        new = new.parent(name(parent));
    }
    if let Some(creator) = links.creator {
        new = new.creator(name(creator));
    }
    if let Some(agent) = links.agent {
        new = new.agent(format!("agent-{agent}"));
    }
    if let Some(task_type) = links.task_type {
        new = new.task_type(format!("type-{task_type}"));
    }
    if let Some(agent) = links.made_by {
        new = new.created_by(agent_name(agent));
    }
    if !links.is_vague {
        for field in Admission::default().required {
            new = new.admission(field, "modelled");
        }
    }
    Some(new)
}

/// Asks something of the tasks of a log, which have these names, as agents do; what is claimed is for this holder.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub async fn ask(
    tasks: &Tasks,
    (name, agent_name): (impl Fn(usize) -> String, impl Fn(usize) -> String),
    holder: &str,
    ask: &TaskAsk,
) -> Told {
    if let Some(new) = new_task(&name, agent_name, ask) {
        let created = tasks.create(&new).await;
        return created
            .map(|created| at(created.position))
            .or_else(|error| of_task(&error));
    }
    let told = match *ask {
        TaskAsk::Claim(id, hold) => {
            let held = tasks.claim(&name(id), holder, hold).await;
            held.map(|held| (Said::Held(held.attempt), Some(held.fence.get())))
        }
        TaskAsk::Act(id, fence, act) => {
            let (id, by) = (name(id), Position::new(fence.unwrap_or_default()));
            match act {
                TaskAct::Move(to) => {
                    let moving = Move::new(id, to);
                    let moving = match fence {
                        Some(_) => moving.fence(by),
                        None => moving,
                    };
                    tasks.move_to(&moving).await.map(at)
                }
                TaskAct::Release => tasks.release(&id, by).await.map(at),
                TaskAct::Fail => tasks.fail(&id, by, "modelled").await.map(at),
                TaskAct::Renew(hold) => {
                    let renewed = tasks.renew(&id, by, hold).await;
                    renewed.map(|()| (Said::At(None), None))
                }
            }
        }
        TaskAsk::Create(..) | TaskAsk::Sweep => tasks.sweep().await.map(|_| (Said::At(None), None)),
    };
    told.or_else(|error| of_task(&error))
}
