//! Waiting for what an agent is told.

use super::Runstone;
use super::block::{block_on, within};
use runstone_codec::{Position, TypedEvent as _};
use runstone_projections::agents::{AgentError, Heard, Messages};
use runstone_projections::events::MessageSent;
use runstone_store::{AppendError, Item, Query, Read};
use std::time::Duration;
use tokio_stream::StreamExt as _;

/// What an agent is told: messages, and orders to stop.
///
/// ```
/// use runstone::agents::{AgentChange, NewMessage};
/// use runstone::Runstone;
/// use std::time::Duration;
///
/// let log = Runstone::memory()?;
/// log.agents().change_blocking("scout", &AgentChange::register())?;
/// log.messages().send_blocking(&NewMessage::to("scout").text("look at the west gate"))?;
///
/// let inbox = log.inbox("scout");
/// let heard = inbox.wait_blocking(Some(Duration::from_secs(5)))?;
/// for message in &heard.messages {
///     println!("{}: {:?}", message.principal, message.said);
/// }
/// inbox.mark_read_blocking(&heard)?;
/// assert!(!heard.must_exit, "nobody ordered it to stop");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Inbox {
    messages: Messages,
    log: Runstone,
    agent: String,
}

impl Inbox {
    pub(super) fn new(log: &Runstone, agent: String) -> Self {
        Self {
            messages: log.messages(),
            log: log.clone(),
            agent,
        }
    }

    /// Waits until there is something that the agent has not read, or it must exit, as a helper must
    /// when its time is over, but no longer than this. What is answered is empty if nothing came.
    /// What it has read it says with [`mark_read`](Self::mark_read); until then it is told again.
    ///
    /// # Errors
    ///
    /// [`AgentError`]: no such agent, the caller is another one, or the log is closed.
    ///
    /// # Cancel safety
    ///
    /// An order that was taken is recorded, and so are helpers that were let go; nothing else changes.
    pub async fn wait(&self, at_most: Option<Duration>) -> Result<Heard, AgentError> {
        let patience = async {
            let mut after = None;
            loop {
                // What comes from now on wakes it, so nothing falls between looking and waiting.
                let mut events = self.log.subscribe(self.news())?;
                let heard = self.messages.attend(&self.agent, after).await?;
                if !heard.is_empty() {
                    return Ok(heard);
                }
                if heard.cursor != after {
                    // It passed over what is not for reading; there may be more behind that.
                    after = heard.cursor;
                    continue;
                }
                let next = events.next();
                let event = match self.left()? {
                    None => next.await,
                    // Its time is over: looking again records that.
                    Some(left) => match within(Box::pin(next), left).await {
                        Some(event) => event,
                        None => continue,
                    },
                };
                match event {
                    Some(event) => drop(event?),
                    None => return Err(AppendError::Closed.into()),
                }
            }
        };
        match at_most {
            None => patience.await,
            Some(at_most) => match within(Box::pin(patience), at_most).await {
                Some(heard) => heard,
                None => self.messages.attend(&self.agent, None).await,
            },
        }
    }

    /// [`wait`](Self::wait) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_blocking(&self, at_most: Option<Duration>) -> Result<Heard, AgentError> {
        block_on(self.wait(at_most))
    }

    /// Records that the agent has read what it was told.
    ///
    /// # Errors
    ///
    /// [`AgentError`] if it is not recorded.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be recorded; doing so again changes nothing.
    pub async fn mark_read(&self, heard: &Heard) -> Result<(), AgentError> {
        match heard.cursor {
            Some(cursor) => self.messages.mark_read(&self.agent, cursor).await,
            None => Ok(()),
        }
    }

    /// [`mark_read`](Self::mark_read) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`mark_read`](Self::mark_read).
    pub fn mark_read_blocking(&self, heard: &Heard) -> Result<(), AgentError> {
        block_on(self.mark_read(heard))
    }

    /// How long the agent lives, if it is a helper.
    fn left(&self) -> Result<Option<Duration>, AgentError> {
        let agent = self.log.agents().find(&self.agent)?;
        let helper = agent.and_then(|agent| agent.helper);
        let left = helper.map(|helper| helper.expires_at_us.saturating_sub(self.log.steady_us()));
        Ok(left.map(Duration::from_micros))
    }

    /// What may concern the agent, from now on.
    fn news(&self) -> Read {
        let to = |whom: &str| {
            Item::new()
                .of_type(MessageSent::TYPE)
                .tag(format!("to:{whom}"))
        };
        let itself = Item::new().tag(format!("agent:{}", self.agent));
        let query = Query::Items(vec![to(&self.agent), to("*"), itself]);
        Read::new(query)
            .from(Position::new(self.log.size()))
            .without_payloads()
    }
}
