//! The write path: queue, group commit, decisions, maintenance.

mod decide;
mod maintain;
mod queue;
mod request;
mod scopes;
mod ticket;
mod writer;

pub(crate) use maintain::{MERGE_ROW, Maintenance, index_change};
pub(crate) use queue::Queue;
pub(crate) use request::{Answer, AnyAnswer, Guards, Outcome, Prepared, Request, Work};
pub(crate) use scopes::ScopeCache;
pub(crate) use ticket::{Ticket, Turn, Waiting};
pub(crate) use writer::{CommitFailed, Committed, Writer};

pub use decide::DecideContext;
pub use request::Decision;
