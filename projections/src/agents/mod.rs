//! Agents, and what they are told.
//!
//! ```text
//!  Agents::change   register, sleep, wake, power, revoke
//!  Agents::spawn    a helper, for a time; retire and reap end it
//!  Messages::send   a message, which is an order if the settings say so and its sender may give it
//!  Messages::attend what an agent has to read, and whether it must exit
//! ```
//!
//! Who says something, and as what, is stamped by the log from the handle's credential: an order to
//! stop counts from a person or a commander, whatever a payload claims. One that came too late, or
//! from somebody else, is recorded as refused and not delivered.
//!
//! ```
//! use runstone_projections::agents::{AgentChange, Agents, Messages, NewMessage};
//! use runstone_store::{CreateOptions, Log, OpenOptions};
//!
//! let mut options = OpenOptions::default();
//! options.folds = runstone_projections::standard_folds();
//! let log = Log::memory(&CreateOptions::default(), options)?;
//! Agents::new(&log).change_blocking("scout", &AgentChange::register())?;
//!
//! let messages = Messages::new(&log);
//! messages.send_blocking(&NewMessage::to("scout").text("look at the west gate"))?;
//! // Without a credential nobody orders.
//! let sent = messages.send_blocking(&NewMessage::to("scout").of_type("shutdown"))?;
//! assert!(sent.is_refused);
//!
//! let heard = messages.attend_blocking("scout", None)?;
//! assert_eq!((heard.messages.len(), heard.must_exit), (1, false));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decide;
mod directive;
mod error;
mod fold;
mod helper;
mod helper_decide;
mod inbox;
mod message;
mod registry;

pub use crate::events::{AgentKind, AgentState, MessageClass, RetireReason};
pub use error::AgentError;
pub use fold::AgentsFold;
pub(crate) use helper::tray_of;
pub use helper::{MAX_REAPED, NewHelper, Reaped, Spawned, TTL_S};
pub use inbox::{Heard, MAX_HEARD};
pub use message::{Message, Messages, NewMessage, Sent};
pub use registry::{Agent, AgentChange, AgentFilter, Agents, Description, Helper};

pub(crate) use decide::{
    admit, claims_as, is_idle, is_retired, is_revoked, name_of, registers, registration,
};

/// Longest name of an agent in bytes.
pub const MAX_AGENT_NAME_LEN: usize = 64;

/// Whether this can be the name of an agent: `[A-Za-z0-9]` and then `[A-Za-z0-9._-]`, at most
/// [`MAX_AGENT_NAME_LEN`] bytes.
pub fn is_agent_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.len() <= MAX_AGENT_NAME_LEN
        && name.bytes().all(is_plain)
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
}
