//! The same questions, put to a real log.

use super::{TrayAct, TrayAsk, nothing};
use crate::calls::{Lost, Said, Told, hold, of_append};
use crate::tasks::{self, TaskAsk, new_task, of_task};
use runstone_codec::Position;
use runstone_projections::tasks::Tasks;
use runstone_projections::trays::{Claim, NewTrayTask, TrayError, Trays};

/// More tasks than any model has.
const MANY: usize = 1000;

fn of_tray(error: &TrayError) -> Told {
    Err(match error {
        TrayError::Task(error) => return of_task(error),
        TrayError::Append(error) => of_append(error),
        TrayError::Read(error) => Lost::Unread(error.to_string()),
        TrayError::Settings(error) => Lost::Failed(error.to_string()),
        error => return Ok((Said::Refused(error.code()), None)),
    })
}

fn at(position: Position) -> (Said, Option<u64>) {
    (Said::At(Some(position.get())), Some(position.get()))
}

/// What a claim answers; `number` tells which task has this name.
fn of_claim(claim: &Claim, number: impl Fn(&str) -> usize) -> (Said, Option<u64>) {
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

/// Asks something of the trays of a log that have these names, and of tasks that have those.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub async fn ask(
    (trays, tasks): (&Trays, &Tasks),
    tray_name: impl Fn(usize) -> String,
    name: impl Fn(usize) -> String,
    ask: &TrayAsk,
) -> Told {
    let told = match ask {
        TrayAsk::Task(ask) => return tasks::ask(tasks, name, ask).await,
        TrayAsk::Open(tray) => trays.open(&tray_name(*tray)).await.map(at),
        TrayAsk::Close(tray) => trays.close(&tray_name(*tray)).await.map(at),
        TrayAsk::Add(tray, id, links, wants, is_todo) => {
            let create = TaskAsk::Create(*id, *links, *is_todo);
            let new = new_task(&name, &create).map(NewTrayTask::new);
            let new = new.expect("it is a creation").priority(wants.priority);
            let after = wants.after.iter().map(|id| name(*id));
            let new = after.fold(new, NewTrayTask::depends_on);
            let added = trays.add(&tray_name(*tray), &new).await;
            added.map(|added| at(added.position))
        }
        TrayAsk::Take(tray, hold_us) => {
            let claim = trays
                .claim(&tray_name(*tray), "model", hold(*hold_us))
                .await;
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
                TrayAct::Complete => trays.complete(&task, fence, "modelled").await.map(at),
                TrayAct::Release => trays.release(&task, fence).await.map(at),
                TrayAct::Fail => trays.fail(&task, fence, "modelled").await.map(at),
                TrayAct::Renew(hold_us) => {
                    let renewed = trays.renew(&task, fence, hold(*hold_us)).await;
                    renewed.map(|()| (Said::At(None), None))
                }
            }
        }
        TrayAsk::Sweep => trays.sweep().await.map(|_| (Said::At(None), None)),
    };
    told.or_else(|error| of_tray(&error))
}
