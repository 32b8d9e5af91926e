//! The same questions, put to a real log.

use super::{Change, MARKER, NAMES, Sort, Spawn, StaffAsk, helper, told};
use crate::calls::{Lost, Said, Told, of_command};
use crate::tasks::of_task;
use crate::trays::Names;
use runstone_codec::Position;
use runstone_projections::agents::{
    AgentChange, AgentError, Agents, Heard, Message, Messages, NewHelper, NewMessage, Reaped,
    Spawned,
};
use runstone_store::Log;
use std::time::Duration;

/// What an error tells.
pub(crate) fn of_agent(error: &AgentError) -> Told {
    Err(match error {
        AgentError::Append(error) => return of_command(error),
        AgentError::Tasks(error) => return of_task(error),
        AgentError::Read(error) => Lost::Unread(error.to_string()),
        AgentError::Settings(error) => Lost::Failed(error.to_string()),
        error => return Ok((Said::Refused(error.code()), None)),
    })
}

fn message(to: &str, sort: Sort, number: u64) -> NewMessage {
    let message = NewMessage::to(to).source(number.to_string());
    match sort {
        Sort::Order => message.of_type("shutdown"),
        Sort::Directive => message.directive(" Sleep"),
        Sort::Sentence => message.text(format!("Thank you. Please {MARKER} now.")),
        Sort::Talk => message.of_type("note").text("look at the west gate"),
        Sort::Question => message.text(format!("{MARKER}?")),
        Sort::Ack => message.of_type("ack").directive("sleep"),
        Sort::Done => message.of_type("done"),
    }
}

fn change(change: Change) -> AgentChange {
    match change {
        Change::Register => AgentChange::register(),
        Change::Sleep => AgentChange::sleep("modelled", Duration::from_secs(30)),
        Change::Wake => AgentChange::Wake,
        Change::Power(runs) => AgentChange::Power { runs, reason: None },
        Change::Revoke => AgentChange::Revoke {
            reason: "modelled".to_owned(),
        },
    }
}

/// A helper of this name.
pub(crate) fn new_helper(names: Names, name: usize, spawn: Spawn) -> NewHelper {
    let helper = NewHelper::new((names.agent)(names.round, name));
    let helper = helper
        .ttl(Duration::from_secs(spawn.ttl_s))
        .auto_retire(spawn.auto_retire);
    match spawn.tray {
        Some(tray) => helper.tray((names.tray)(names.round, tray)),
        None => helper,
    }
}

pub(crate) fn of_spawned(spawned: &Spawned) -> Said {
    helper::spawned(spawned.is_running, spawned.expires_at_us)
}

/// Helpers that were let go, and how many tasks each held.
fn of_reaped(names: Names, reaped: &[Reaped]) -> Said {
    let number = |name: &str| (0..NAMES).find(|one| (names.agent)(names.round, *one) == name);
    let mut gone: Vec<_> = reaped
        .iter()
        .map(|one| (number(&one.name), one.released.len()))
        .collect();
    gone.sort_unstable();
    let gone = gone
        .into_iter()
        .filter_map(|(name, held)| Some((name?, held)));
    Said::Heard(helper::gone(gone))
}

pub(crate) fn heard(heard: &Heard) -> Said {
    let numbers = |messages: &[Message]| {
        let each = messages.iter().map(|one| format!(" {}", one.source));
        each.collect::<String>()
    };
    let all = [&heard.messages, &heard.acks, &heard.orders].map(|all| numbers(all));
    Said::Heard(told(&all, heard.must_exit))
}

/// Asks something of the agents of a log that have these names; messages are in this stream.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub fn ask(log: &Log, names: Names, (stream, scope): (&str, &str), ask: &StaffAsk) -> Told {
    let (agents, messages) = (Agents::new(log), Messages::new(log));
    let name = |agent| (names.agent)(names.round, agent);
    let told = match ask {
        StaffAsk::Change(agent, what) => {
            let changed = agents.change_blocking(&name(*agent), &change(*what));
            changed.map(|at| (Said::At(at.map(Position::get)), at.map(Position::get)))
        }
        StaffAsk::Send(to, sort, number) => {
            let to = to.map_or_else(|| "*".to_owned(), &name);
            let mut message = message(&to, *sort, *number);
            message.stream = Some(stream.to_owned());
            message.scope = Some(scope.to_owned());
            let sent = messages.send_blocking(&message);
            sent.map(|sent| {
                let at = sent.position.get();
                (Said::At(Some(at)), Some(at))
            })
        }
        StaffAsk::Attend(agent) => {
            let found = messages.attend_blocking(&name(*agent), None);
            found.map(|found| (heard(&found), None))
        }
        StaffAsk::Mark(agent, up_to) => {
            let marked = messages.mark_read_blocking(&name(*agent), Position::new(*up_to));
            marked.map(|()| (Said::At(None), None))
        }
        StaffAsk::Spawn(helper, spawn) => {
            let spawned = agents.spawn_blocking(&new_helper(names, *helper, *spawn));
            spawned.map(|spawned| (of_spawned(&spawned), Some(spawned.position.get())))
        }
        StaffAsk::Retire(helper, why) => {
            let at = agents.retire_blocking(&name(*helper), *why);
            at.map(|at| (Said::At(at.map(Position::get)), at.map(Position::get)))
        }
        StaffAsk::Reap => {
            let reaped = agents.reap_blocking();
            reaped.map(|reaped| (of_reaped(names, &reaped), None))
        }
    };
    told.or_else(|error| of_agent(&error))
}
