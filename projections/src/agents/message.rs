//! Sending messages.

use super::decide::{self, Posted, about, stream_of};
use super::directive::is_directive;
use super::fold::ALL;
use super::{AgentError, MessageClass, is_agent_name};
use crate::asks::SendMessage;
use crate::command::{Command, Waiting, asked, at_once};
use crate::events::control::message as field;
use crate::events::{AgentOrderRefused, MessageSent};
use crate::settings::{Orders, Settings};
use runstone_codec::{Authority, Control, Draft, NewEvent, Position, Uuid};
use runstone_store::{AppendError, Log};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// The stream of messages that name none.
const STREAM: &str = "messages";
/// How often something is decided again because the settings changed meanwhile.
pub(super) const REDECIDED: usize = 16;

/// A message that is to go out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct NewMessage {
    /// The agent that it is for, or `*` for all.
    pub to: String,
    /// What kind of message it is, in the words of the sender. `ack` is never an order; `done` and
    /// the words that the settings list (`orders.sleep_types`) are, if the sender may give one.
    pub message_type: Option<String>,
    /// What is to be done, as a word: an order as `message_type` is.
    pub directive: Option<String>,
    /// The message as text. A person's is an order by the markers of the settings.
    pub text: Option<String>,
    /// The message as data. Nothing in it makes it an order.
    #[schemars(with = "Option<serde_json::Value>")]
    pub body: Option<Box<RawValue>>,
    /// Id of the event that it answers.
    #[schemars(with = "Option<String>")]
    pub reply_to: Option<Uuid>,
    /// The sender's word for itself, beside the principal that the log stamps.
    pub source: Option<String>,
    /// The stream that it is recorded in. Default `messages`.
    pub stream: Option<String>,
    /// Scope of a stream that is new.
    pub scope: Option<String>,
}

impl NewMessage {
    /// An empty message to an agent, or to `*`.
    pub fn to(to: impl Into<String>) -> Self {
        Self {
            to: to.into(),
            message_type: None,
            directive: None,
            text: None,
            body: None,
            reply_to: None,
            source: None,
            stream: None,
            scope: None,
        }
    }

    /// With this type.
    #[must_use]
    pub fn of_type(mut self, message_type: impl Into<String>) -> Self {
        self.message_type = Some(message_type.into());
        self
    }

    /// With this directive.
    #[must_use]
    pub fn directive(mut self, directive: impl Into<String>) -> Self {
        self.directive = Some(directive.into());
        self
    }

    /// With this text.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// With this body.
    ///
    /// # Errors
    ///
    /// [`AgentError::Body`] if it is not JSON.
    pub fn body<T: Serialize + ?Sized>(mut self, body: &T) -> Result<Self, AgentError> {
        self.body = Some(to_raw_value(body).map_err(|_| AgentError::Body)?);
        Ok(self)
    }

    /// As an answer to the event with this id.
    #[must_use]
    pub fn reply_to(mut self, id: Uuid) -> Self {
        self.reply_to = Some(id);
        self
    }

    /// In the words of the sender, from this one.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What it is, by the settings; whether its sender may give an order is another matter.
    fn class(&self, orders: &Orders) -> MessageClass {
        let word = |word: &Option<String>| word.as_deref().map(|word| word.trim().to_lowercase());
        let (message_type, directive) = (word(&self.message_type), word(&self.directive));
        match message_type.as_deref() {
            Some("ack") => return MessageClass::Ack,
            Some("done") => return MessageClass::Done,
            _ => {}
        }
        let mut words = message_type.iter().chain(&directive);
        if words.any(|word| orders.sleep_types.contains(word)) {
            return MessageClass::Order;
        }
        match &self.text {
            Some(text) if is_directive(text, &orders.text_markers) => MessageClass::TextOrder,
            _ => MessageClass::Plain,
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Sent {
    /// Where it is recorded.
    pub position: Position,
    /// Whether it is an order to stop.
    pub is_order: bool,
    /// Whether it would be one and its sender may not give it. Then it is not delivered, and that is
    /// recorded.
    pub is_refused: bool,
}

/// A message, as its reader gets it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Message {
    /// Where it is recorded.
    pub position: Position,
    /// Its id, for an answer.
    #[schemars(with = "String")]
    pub event_id: Uuid,
    /// When it was sent, Unix microseconds.
    pub sent_at_us: u64,
    /// Who sent it, stamped by the log.
    pub principal: String,
    /// As what, stamped by the log.
    pub authority: Authority,
    /// The sender's word for itself; empty if it said none.
    pub source: String,
    /// What it is.
    pub class: MessageClass,
    /// What it says; nothing if it was erased.
    pub said: Option<MessageSent>,
}

/// The messages of a log.
#[derive(Debug, Clone)]
pub struct Messages {
    pub(super) log: Log,
}

impl Messages {
    /// The messages of a log that was opened with [`AgentsFold`](super::AgentsFold).
    pub fn new(log: &Log) -> Self {
        Self { log: log.clone() }
    }

    /// Sends a message. An order of somebody who may not give it is recorded and not delivered.
    ///
    /// # Errors
    ///
    /// [`AgentError`]; then nothing is sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the message may be sent.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn send(&self, message: &NewMessage) -> Result<Sent, AgentError> {
        self.send_by(message, Waiting::Async).await
    }

    /// [`send`](Self::send) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_blocking(&self, message: &NewMessage) -> Result<Sent, AgentError> {
        at_once(self.send_by(message, Waiting::Blocking))
    }

    async fn send_by(&self, message: &NewMessage, waiting: Waiting) -> Result<Sent, AgentError> {
        let ask = || SendMessage {
            message: message.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        for _ in 0..REDECIDED {
            let posted = self.sending(message)?.run_by(&self.log, waiting).await?;
            if let Some(sent) = sent(message, &posted)? {
                return Ok(sent);
            }
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    fn sending(&self, message: &NewMessage) -> Result<Command<Posted>, AgentError> {
        let to = message.to.clone();
        if to != ALL && !is_agent_name(&to) {
            return Err(AgentError::BadName { name: to });
        }
        let in_force = Settings::in_force(&self.log)?;
        let class = message.class(&in_force.settings.orders);
        let content = MessageSent {
            to: to.clone(),
            message_type: message.message_type.clone(),
            directive: message.directive.clone(),
            text: message.text.clone(),
            body: message.body.clone(),
            reply_to: message.reply_to.map(|id| id.to_string()),
        };
        let stream = message.stream.as_deref().unwrap_or(STREAM);
        let mut event = NewEvent::typed(&content, stream)?.tag(format!("{}:{to}", field::TAG));
        event.scope.clone_from(&message.scope);
        if let Some(source) = &message.source {
            event = event.source(source.clone());
        }
        let sent = Draft::new(event).control(Control::new().text(field::TO, to.as_str()));
        let refused = NewEvent::typed(&AgentOrderRefused {}, stream_of(&to))?;
        let candidates = vec![sent, about(&to, refused)];
        let settings_at = in_force.position;
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::send(context, &to, class, settings_at)
        })?)
    }
}

/// `None`: to be decided again.
fn sent(message: &NewMessage, posted: &Posted) -> Result<Option<Sent>, AgentError> {
    match posted {
        Posted::At {
            position,
            is_order,
            is_refused,
        } => Ok(Some(Sent {
            position: *position,
            is_order: *is_order,
            is_refused: *is_refused,
        })),
        Posted::Reconfigured => Ok(None),
        Posted::NotFound => Err(AgentError::NotFound {
            name: message.to.clone(),
        }),
    }
}
