//! Typed events of agent runs: what a run, its turns, its calls of tools and of models, and its
//! verdicts look like.
//!
//! ```text
//!  run.started --> chat.message --> tool.call.requested --> tool.call.completed --> run.finished
//!                       |                                   tool.call.failed
//!                       +--> llm.call.completed             verdict.given
//! ```
//!
//! A payload has members that are erased with its scope. What must survive an erasure, such as
//! counts and states, stands in control as well: see [`control`]. Members that a type does not
//! name are passed over when it is read, and stay in the log.
//!
//! Members that are JSON of somebody else's making ([`RawValue`](serde_json::value::RawValue)) are
//! kept byte for byte: recordings hold numbers that no common number type can.

mod agent;
mod approval;
mod budget;
mod chat;
pub mod control;
mod define;
mod effect;
mod effect_key;
mod llm;
mod message;
mod migrated;
mod part;
mod registry;
mod run;
mod session;
mod step;
mod task;
mod tool;
mod tray;
mod verdict;
mod words;

pub use agent::{
    AgentHelperSpawned, AgentOrderRefused, AgentPowered, AgentRegistered, AgentRetired,
    AgentRevoked, AgentSlept, AgentStopOrdered, AgentWoke,
};
pub use approval::{ApprovalDecided, ApprovalExpired, ApprovalRequested, ApprovalVoted};
pub use budget::{
    BudgetChanged, BudgetCharged, BudgetExceeded, BudgetOpened, BudgetReleased, BudgetReserved,
    BudgetSettled, BudgetWarned,
};
pub use chat::ChatMessage;
pub use effect::{
    EffectCancelled, EffectClaimed, EffectCompleted, EffectFailed, EffectLeaseRenewed,
    EffectOutcomeUnknown, EffectReconciled, EffectRefused, EffectReleased, ErrorSaid,
};
pub use llm::LlmCallCompleted;
pub use message::{MessageRead, MessageSent};
pub use migrated::MigratedEffect;
pub use part::{Part, UnknownPart};
pub use registry::{EventSchema, schemas, upcasters};
pub use run::{
    RunFinished, RunForked, RunLeaseRenewed, RunPaused, RunResumed, RunRolledBack, RunStarted,
    SettingsInForce,
};
pub use session::{SessionAppended, SessionEnded, SessionPatched, SessionSnapshotted};
pub use step::{
    StepBlocked, StepCompleted, StepFailed, StepOutput, StepSkipped, StepStarted, step_keys,
};
pub use task::{TaskClaimed, TaskCreated, TaskLeaseRenewed, TaskMoved, TaskRefused};
pub use tool::{ToolCallCompleted, ToolCallFailed, ToolCallRequested};
pub use tray::{TrayClosed, TrayDeadLettered, TrayOpened};
pub use verdict::VerdictGiven;
pub use words::{
    AgentKind, AgentState, ApprovalState, Class, Executed, Kind, LoopType, MessageClass,
    ParseWordError, RetireReason, State, TaskState, Window,
};

use define::event;

#[cfg(feature = "store")]
pub(crate) use effect_key::{approved_as, args_digest, bound_to, keyed_as};
