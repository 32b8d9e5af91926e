//! The same questions, put to a real log.

use super::{Change, MARKER, Sort, StaffAsk, told};
use crate::calls::{Lost, Said, Told, of_append};
use runstone_codec::Position;
use runstone_projections::agents::{
    AgentChange, AgentError, Agents, Heard, Message, Messages, NewMessage,
};
use runstone_store::Log;
use std::time::Duration;

fn of_agent(error: &AgentError) -> Told {
    Err(match error {
        AgentError::Append(error) if error.code() == "agent_revoked" => {
            return Ok((Said::Refused("agent_revoked"), None));
        }
        AgentError::Append(error) => of_append(error),
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

fn heard(heard: &Heard) -> Said {
    let numbers = |messages: &[Message]| {
        let each = messages.iter().map(|one| format!(" {}", one.source));
        each.collect::<String>()
    };
    let all = [&heard.messages, &heard.acks, &heard.orders].map(|all| numbers(all));
    Said::Heard(told(&all, heard.must_exit))
}

/// Asks something of the agents of a log that have these names, in the stream of messages.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub fn ask(
    log: &Log,
    name: impl Fn(usize) -> String,
    (stream, scope): (&str, &str),
    ask: &StaffAsk,
) -> Told {
    let (agents, messages) = (Agents::new(log), Messages::new(log));
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
    };
    told.or_else(|error| of_agent(&error))
}
