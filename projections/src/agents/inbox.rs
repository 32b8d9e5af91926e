//! What an agent has to read, and whether it must exit.

use super::decide::{self, Done, Looked, SELF, about, stream_of, unseen};
use super::fold::{ACCEPTED, ALL, FOLD, MAX_ORDERS, agent_key, mark_key, order_key};
use super::message::REDECIDED;
use super::{AgentError, Agents, Message, MessageClass, Messages, Reaped, is_agent_name};
use crate::asks::{AttendMessages, MarkRead};
use crate::command::{Command, Waiting, asked, at_once};
use crate::events::control::message as field;
use crate::events::{AgentOrderRefused, AgentStopOrdered, MessageRead, MessageSent};
use crate::rows::{AgentRow, OrderRows};
use crate::seen::is_imported;
use crate::settings::{InForce, Settings};
use crate::tasks::Tasks;
use crate::{DecodeRecord as _, view};
use runstone_codec::{Authority, Control, Draft, NewEvent, Position, TypedEvent as _};
use runstone_store::{AppendError, Item, Query, Read, ReadError, Record};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most messages that are handed out at a time.
pub const MAX_HEARD: usize = 256;

const SECOND_US: u64 = 1_000_000;

/// What an agent is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Heard {
    /// Messages in the order in which they were sent, at most [`MAX_HEARD`] of all kinds together.
    pub messages: Vec<Message>,
    /// Signs that something was received.
    pub acks: Vec<Message>,
    /// Orders to stop that count.
    pub orders: Vec<Message>,
    /// Whether it must exit: it took an order, should not run, or was revoked.
    pub must_exit: bool,
    /// How many tasks name it as the agent that is to do them and have not ended; `None` if that
    /// cannot be told, because the keys of their scopes are away.
    pub open_tasks: Option<u64>,
    /// From where it reads on.
    pub cursor: Option<Position>,
}

impl Heard {
    /// Whether nothing came that it would have to look at. Open tasks are told, and do not come.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.acks.is_empty()
            && self.orders.is_empty()
            && !self.must_exit
    }
}

/// Where an agent stands before it looks.
struct Desk {
    in_force: InForce,
    agent: Option<AgentRow>,
    orders: [Option<OrderRows>; 2],
}

impl Messages {
    /// What came for an agent after a position, or after what it has read: messages, and whether it
    /// must exit. The newest order is taken; each that came too long ago is recorded as refused.
    ///
    /// # Errors
    ///
    /// [`AgentError`]: no such agent, or the caller is another agent.
    ///
    /// # Cancel safety
    ///
    /// An order that was taken is recorded, and so are helpers that were let go; nothing else changes.
    ///
    /// # Durability
    ///
    /// That an order was taken survives power loss.
    pub async fn attend(&self, agent: &str, after: Option<Position>) -> Result<Heard, AgentError> {
        self.attend_by(agent, after, Waiting::Async).await
    }

    /// [`attend`](Self::attend) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`attend`](Self::attend).
    pub fn attend_blocking(
        &self,
        agent: &str,
        after: Option<Position>,
    ) -> Result<Heard, AgentError> {
        at_once(self.attend_by(agent, after, Waiting::Blocking))
    }

    async fn attend_by(
        &self,
        agent: &str,
        after: Option<Position>,
        waiting: Waiting,
    ) -> Result<Heard, AgentError> {
        let ask = || AttendMessages {
            agent: agent.to_owned(),
            after,
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        for _ in 0..REDECIDED + 2 * MAX_ORDERS {
            let desk = self.desk(agent)?;
            match self.looking(agent, &desk)? {
                None => {
                    if self.reaps(&desk) {
                        let reaped = Agents::new(&self.log).reap_by(waiting).await;
                        passed_over(reaped)?;
                    }
                    return self.heard(agent, after);
                }
                // It is looked at again: then it is settled.
                Some(command) => looked(agent, &command.run_by(&self.log, waiting).await?)?,
            }
        }
        let times = REDECIDED + 2 * MAX_ORDERS;
        Err(AppendError::Contended { times }.into())
    }

    /// Records up to where a reader has read: an agent, or any other pseudonym. It never goes back.
    ///
    /// # Errors
    ///
    /// [`AgentError`]; then nothing changed.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be recorded; doing so again changes nothing.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn mark_read(&self, reader: &str, up_to: Position) -> Result<(), AgentError> {
        self.mark_read_by(reader, up_to, Waiting::Async).await
    }

    /// [`mark_read`](Self::mark_read) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`mark_read`](Self::mark_read).
    pub fn mark_read_blocking(&self, reader: &str, up_to: Position) -> Result<(), AgentError> {
        at_once(self.mark_read_by(reader, up_to, Waiting::Blocking))
    }

    async fn mark_read_by(
        &self,
        reader: &str,
        up_to: Position,
        waiting: Waiting,
    ) -> Result<(), AgentError> {
        let ask = || MarkRead {
            reader: reader.to_owned(),
            up_to,
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let done = self
            .marking(reader, up_to)?
            .run_by(&self.log, waiting)
            .await?;
        self.marked(&done)
    }

    /// Up to where a reader has read; `None` if it never said.
    ///
    /// # Errors
    ///
    /// [`ReadError::Fold`] if the log was opened without the fold, or it has stopped.
    pub fn read_mark(&self, reader: &str) -> Result<Option<Position>, ReadError> {
        view::check(&self.log, FOLD)?;
        let mark: Option<u64> = view::stored(&self.log, FOLD, &mark_key(reader))?;
        Ok(mark.map(Position::new))
    }

    /// Messages to an agent after a position, or to all agents, orders and refused ones among them,
    /// at most `limit`.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn list(
        &self,
        to: &str,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Message>, ReadError> {
        let found = self.records(to, after, limit)?;
        Ok(found.iter().map(message).collect())
    }

    fn desk(&self, name: &str) -> Result<Desk, AgentError> {
        view::check(&self.log, FOLD)?;
        if !is_agent_name(name) {
            let name = name.to_owned();
            return Err(AgentError::BadName { name });
        }
        let (principal, authority) = self.log.principal();
        if authority == Authority::Agent && decide::name_of(principal) != Some(name) {
            return Err(AgentError::NotAllowed {
                principal: principal.to_owned(),
                needs: SELF.into(),
            });
        }
        Ok(Desk {
            in_force: Settings::in_force(&self.log)?,
            agent: view::stored(&self.log, FOLD, &agent_key(name))?,
            orders: [
                view::stored(&self.log, FOLD, &order_key(name))?,
                view::stored(&self.log, FOLD, &order_key(ALL))?,
            ],
        })
    }

    /// The command that settles the next order, if there is one.
    fn looking(&self, name: &str, desk: &Desk) -> Result<Option<Command<Looked>>, AgentError> {
        let Some(row) = &desk.agent else {
            return Err(AgentError::NotFound {
                name: name.to_owned(),
            });
        };
        if unseen(row.orders_seen, desk.orders.clone()).is_empty() {
            return Ok(None);
        }
        let candidates = vec![
            about(
                name,
                NewEvent::typed(&AgentStopOrdered {}, stream_of(name))?,
            ),
            about(
                name,
                NewEvent::typed(&AgentOrderRefused {}, stream_of(name))?,
            ),
        ];
        let window_us = desk
            .in_force
            .settings
            .orders
            .window_s
            .saturating_mul(SECOND_US);
        let (name, settings_at) = (name.to_owned(), desk.in_force.position);
        Ok(Some(Command::new(&self.log, candidates, move |context| {
            decide::look(context, &name, window_us, settings_at)
        })?))
    }

    fn records(
        &self,
        to: &str,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let item = |to: &str| {
            Item::new()
                .of_type(MessageSent::TYPE)
                .tag(format!("{}:{to}", field::TAG))
        };
        let query = Query::Items(vec![item(to), item(ALL)]);
        let mut read = Read::new(query).limit(limit as u64);
        if let Some(after) = after {
            read = read.from(Position::new(after.get().saturating_add(1)));
        }
        self.log.read(read)?.collect()
    }

    /// Whether looking lets helpers go, the one that looks among them. Who was revoked records
    /// nothing.
    fn reaps(&self, desk: &Desk) -> bool {
        let is_revoked = desk.agent.as_ref().is_some_and(|row| row.is_revoked);
        self.log.principal().1 != Authority::Agent || !is_revoked
    }

    /// As it stands once orders are settled and helpers let go.
    fn heard(&self, name: &str, after: Option<Position>) -> Result<Heard, AgentError> {
        let desk = self.desk(name)?;
        let row = desk.agent.as_ref();
        let after = match after {
            Some(after) => Some(after),
            None => self.read_mark(name)?,
        };
        // What was sent to all before it was there was not for it.
        let registered = row.map(|row| Position::new(row.registered));
        let after = after.max(registered);
        let mut heard = Heard {
            must_exit: row.is_some_and(AgentRow::must_exit),
            open_tasks: Tasks::open_of(&self.log, name)?,
            cursor: after,
            ..Heard::default()
        };
        let window_us = desk
            .in_force
            .settings
            .orders
            .window_s
            .saturating_mul(SECOND_US);
        let own = stream_of(name);
        for record in self.records(name, after, MAX_HEARD)? {
            heard.cursor = Some(record.position);
            let order = record.control.get_u64(field::ORDER);
            // What it said to all it does not hear itself, nor what was said elsewhere.
            let is_own = record.header.principal == own && order.is_none();
            if is_own || is_imported(&record.header) {
                continue;
            }
            let age_us = self.log.now_us().saturating_sub(record.recorded_at_us);
            let message = message(&record);
            match (order, message.class) {
                (Some(ACCEPTED), _) if age_us <= window_us => heard.orders.push(message),
                // Refused, or too old: nobody reads it as text to act on.
                (Some(_), _) => {}
                (None, MessageClass::Ack) => heard.acks.push(message),
                (None, _) => heard.messages.push(message),
            }
        }
        Ok(heard)
    }

    fn marking(&self, reader: &str, up_to: Position) -> Result<Command<Done>, AgentError> {
        let event = NewEvent::typed(&MessageRead {}, stream_of(reader))?;
        let control = Control::new()
            .text(field::READER, reader)
            .u64(field::UP_TO, up_to.get());
        let candidates = vec![Draft::new(event).control(control)];
        let (reader, up_to) = (reader.to_owned(), up_to.get());
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::read(context, &reader, up_to)
        })?)
    }

    fn marked(&self, done: &Done) -> Result<(), AgentError> {
        match done {
            Done::NotAllowed(needs) => Err(AgentError::NotAllowed {
                principal: self.log.principal().0.to_owned(),
                needs: (*needs).into(),
            }),
            // It is read up to there, now or before.
            _ => Ok(()),
        }
    }
}

/// That tasks of another one cannot be given back, because the keys of their scope are away, keeps
/// nobody from hearing that it must exit. A sweep gives them back, or their leases end.
fn passed_over(reaped: Result<Vec<Reaped>, AgentError>) -> Result<(), AgentError> {
    match reaped {
        Ok(_) | Err(AgentError::Tasks(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn looked(name: &str, looked: &Looked) -> Result<(), AgentError> {
    match looked {
        Looked::Done | Looked::Reconfigured => Ok(()),
        Looked::NotFound => Err(AgentError::NotFound {
            name: name.to_owned(),
        }),
    }
}

fn message(record: &Record) -> Message {
    let class = record.control.get_u64(field::CLASS);
    let said = record.decode().ok();
    Message {
        position: record.position,
        event_id: record.header.event_id,
        sent_at_us: record.recorded_at_us,
        principal: record.header.principal.to_string(),
        authority: record.header.authority,
        source: record.header.source.to_string(),
        class: class
            .and_then(MessageClass::from_number)
            .unwrap_or(MessageClass::Plain),
        said,
    }
}
