//! The same questions, put to a real log.

use super::{TrayAct, TrayAsk, nothing};
use crate::calls::{Lost, Said, Told, of_command};
use crate::tasks::{self, TaskAsk, new_task, of_task};
use runstone_codec::Position;
use runstone_projections::tasks::Tasks;
use runstone_projections::trays::{Claim, NewTrayTask, TrayError, Trays};

/// More tasks than any model has.
const MANY: usize = 1000;

pub(crate) fn of_tray(error: &TrayError) -> Told {
    Err(match error {
        TrayError::Task(error) => return of_task(error),
        TrayError::Append(error) => return of_command(error),
        TrayError::Read(error) => Lost::Unread(error.to_string()),
        TrayError::Settings(error) => Lost::Failed(error.to_string()),
        error => return Ok((Said::Refused(error.code()), None)),
    })
}

/// It is recorded there, or nobody said where.
pub(crate) fn at(position: Option<u64>) -> (Said, Option<u64>) {
    (Said::At(position), position)
}

fn done(position: Position) -> (Said, Option<u64>) {
    at(Some(position.get()))
}

/// What a claim answers; `number` tells which task has this name.
pub(crate) fn of_claim(claim: &Claim, number: impl Fn(&str) -> usize) -> (Said, Option<u64>) {
    match claim {
        Claim::Claimed(held) => {
            let said = held.said.as_ref().expect("nobody erases it");
            let said = Said::Taken(number(&said.id), held.attempt);
            (said, Some(held.fence.get()))
        }
        Claim::NotClaimed(told) => {
            let said = nothing(told.drained, told.is_closed, (told.open, told.in_progress));
            (said, None)
        }
        other => panic!("{other:?}"),
    }
}

/// What trays, tasks and agents are called.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// A tray.
    pub tray: fn(u64, usize) -> String,
    /// A task.
    pub task: fn(u64, usize) -> String,
    /// An agent.
    pub agent: fn(u64, usize) -> String,
    /// In which round of a simulation.
    pub round: u64,
}

/// Asks something of the trays of a log and of tasks, which have these names; what is claimed is for
/// this holder.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub async fn ask(
    (trays, tasks): (&Trays, &Tasks),
    names: Names,
    holder: &str,
    ask: &TrayAsk,
) -> Told {
    let tray_name = |tray| (names.tray)(names.round, tray);
    let name = |id| (names.task)(names.round, id);
    let agent_name = |agent| (names.agent)(names.round, agent);
    let told = match ask {
        TrayAsk::Task(ask) => return tasks::ask(tasks, (name, agent_name), holder, ask).await,
        TrayAsk::Open(tray) => trays.open(&tray_name(*tray)).await.map(done),
        TrayAsk::Close(tray) => trays.close(&tray_name(*tray)).await.map(done),
        TrayAsk::Add(tray, id, links, wants, is_todo) => {
            let create = TaskAsk::Create(*id, *links, *is_todo);
            let new = new_task(name, agent_name, &create).map(NewTrayTask::new);
            let new = new.expect("it is a creation").priority(wants.priority);
            let after = wants.after.iter().map(|id| name(*id));
            let new = after.fold(new, NewTrayTask::depends_on);
            let added = trays.add(&tray_name(*tray), &new).await;
            added.map(|added| done(added.position))
        }
        TrayAsk::Take(tray, hold) => {
            let claim = trays.claim(&tray_name(*tray), holder, *hold).await;
            let number = |text: &str| (0..MANY).find(|id| name(*id) == text).unwrap_or(MANY);
            claim.map(|claim| of_claim(&claim, number))
        }
        TrayAsk::Act(id, fence, act) => {
            let task = match tasks.find(&name(*id)) {
                Ok(Some(task)) => task.id,
                Ok(None) => return Ok((Said::Refused("task_not_found"), None)),
                Err(error) => return of_task(&error),
            };
            let fence = Position::new(*fence);
            match act {
                TrayAct::Complete => trays.complete(&task, fence, "modelled").await.map(done),
                TrayAct::Release => trays.release(&task, fence).await.map(done),
                TrayAct::Fail => trays.fail(&task, fence, "modelled").await.map(done),
                TrayAct::Renew(hold) => {
                    let renewed = trays.renew(&task, fence, *hold).await;
                    renewed.map(|()| (Said::At(None), None))
                }
            }
        }
        TrayAsk::Sweep => trays.sweep().await.map(|_| (Said::At(None), None)),
    };
    told.or_else(|error| of_tray(&error))
}
