//! Runstone in a program: an append-only log with projections for agent runtimes.
//!
//! ```text
//!                        +------------------------- Log ------------------------+
//!  append(events)   ---> | queue -> decide -> one commit -> fsync               | ---> answer
//!   + expect, condition  |            |                                         |
//!                        |            +--> chunk: entries, sealed payloads, head |
//!  read(query)      <--- |            +--> index                                |
//!  subscribe(query) <--- |            +--> folds: runs, ...                     | <--- runs::list
//!  checkpoint()     <--- |            +--> Merkle tree, signed head             |
//!                        +-- LOG, LOG.head, LOG.keys/ --------------------------+
//! ```
//!
//! Every fact is an event; events are typed, ordered, sealed and never changed. An append can say
//! what must not have happened in the meantime, and is then refused alone if it has. All other
//! state is folded from the events. [`Runstone`] opens a log with everything attached that this
//! program knows; [`Log`] is the handle to it.
//!
//! ```
//! use runstone::{Append, Condition, Expected, NewEvent, Query, Read, Runstone, runs};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Runstone::memory()?;
//!
//! // A call of a tool, if this is the first event of its run.
//! let call = NewEvent::new("tool.call.requested", "run-7")
//!     .tag("order:1001")
//!     .payload(br#"{"call_id":"c1","name":"pay","arguments":{"amount":12}}"#);
//! let asked = log.append_blocking(Append::new([call.clone()]).expect("run-7", Expected::NoStream))?;
//!
//! // Nobody pays the order again: the condition sees the event above.
//! let again = Append::new([call]).condition(Condition::none(Query::tag("order:1001")));
//! let refused = log.append_blocking(again).unwrap_err();
//! assert_eq!(refused.code(), "condition_failed");
//!
//! // What the log holds, and what it comes to.
//! let records: Vec<_> = log.read(Read::new(Query::stream("run-7")))?.collect::<Result<_, _>>()?;
//! assert_eq!((records.len(), records[0].position), (1, asked.first));
//! let run = runs::get(&log, "run-7")?.ok_or("there is no run")?;
//! assert_eq!((run.counts.tool_calls, run.status.as_str()), (1, "unknown"));
//!
//! log.close_blocking()?;
//! # Ok(())
//! # }
//! ```
//!
//! Calls that end in `_blocking` are for programs without an async runtime; [`Log::append`] and
//! subscriptions are futures and streams for those with one, whichever it is. Opening a log reads
//! files and blocks.
//!
//! Besides [`pack`], which writes evidence for somebody outside, this crate holds no logic of its
//! own. What it is made of is here under its own name:
//! [`codec`] (bytes and values), [`receipt`] (proofs and their verification), [`store`] (the log),
//! [`projections`] (agent runs and settings), [`sinks`] (copies for others) and [`import`] (recordings
//! made elsewhere).

mod agent;
mod coded;
mod options;
pub mod pack;
mod serving;

pub use agent::{
    CallError, EffectCall, HelperEnd, HelperError, HelperExit, HelperOptions, HelperTask, Inbox,
    LetGo, NotAnswered, Pause, Retired, Run, RunAgainError, RunBuilder, Runstone, Session, Sleeper,
    Status, Step, StepError, StepReport, Tool, helper_loop, helper_loop_blocking, run_again,
    run_again_blocking, run_helper, run_helper_blocking,
};
pub use coded::Coded;
pub use options::Options;

/// Everything that can be asked of a log that another process holds.
pub fn endpoints() -> Vec<store::holder::Endpoint> {
    let mut endpoints = store::holder::endpoints();
    endpoints.extend(projections::endpoints());
    endpoints.extend(sinks::endpoints());
    endpoints
}

/// Every fold that a log is opened with: those of the [agent domain](projections::standard_folds),
/// and that of [`sinks`].
pub fn standard_folds() -> Vec<std::sync::Arc<dyn Fold>> {
    let mut folds = projections::standard_folds();
    folds.push(std::sync::Arc::new(sinks::SinksFold::new()));
    folds.sort_by_key(|fold| fold.name());
    folds
}

/// Every known type of event, in the order of their names; see
/// [`schemas`](projections::schemas) of the agent domain.
pub fn schemas() -> Vec<projections::EventSchema> {
    let mut known = projections::schemas();
    macro_rules! of_sinks {
        ($($event:ident),+) => {
            known.extend([$(projections::EventSchema::of::<sinks::events::$event>()),+])
        };
    }
    of_sinks!(
        SinkAdded,
        SinkFailed,
        SinkParked,
        SinkPaused,
        SinkRecovered,
        SinkRemoved,
        SinkReplayAsked,
        SinkResumed,
        SinkStopped
    );
    known.sort_by_key(|schema| schema.name);
    known
}

#[cfg(feature = "attach")]
pub use runstone_attach as attach;
pub use runstone_codec as codec;
#[cfg(feature = "import")]
pub use runstone_import as import;
pub use runstone_projections as projections;
pub use runstone_receipt as receipt;
pub use runstone_replay as replay;
pub use runstone_sinks as sinks;
pub use runstone_store as store;

pub use runstone_codec::{
    Authority, Control, Draft, EventError, EventLimits, Header, LogId, NewEvent, Position,
    Revision, SchemaError, TypedEvent, Upcasters, Uuid, schemars,
};
pub use runstone_projections::agents::{AgentError, Agents, Messages};
pub use runstone_projections::approvals::{ApprovalError, Approvals};
pub use runstone_projections::budgets::{
    self, Amounts, BudgetError, BudgetLimits, Budgets, Dimension, Owner,
};
pub use runstone_projections::effects::{
    self, Class as EffectClass, Effect, EffectError, Effects, Executed, KeySource,
    State as EffectState,
};
pub use runstone_projections::runs::{RunError, RunStatus};
pub use runstone_projections::settings::SettingsError;
pub use runstone_projections::tasks::{self, Task, TaskError, TaskState, Tasks};
pub use runstone_projections::trays::{TrayError, Trays};
pub use runstone_projections::{
    DecodeRecord, Hold, Settings, SweepError, Swept, agents, approvals, costs, events, latency,
    orphans, runs, sessions, settings, sweep, trays,
};
pub use runstone_receipt::checkpoint::SignedCheckpoint;
pub use runstone_receipt::note::Vkey;
pub use runstone_receipt::{Consistency, Disclosure, Finding, Policy, Receipt, VerifyOptions};
pub use runstone_replay::again::{Recording, Tape};
pub use runstone_sinks::{Kinds, RunOptions, SinkConfig, SinkError, SinkState, Sinks};
pub use runstone_store::keys::{Credential, KeyError, ProviderConfig, ProviderSources};
pub use runstone_store::{
    Append, AppendError, Appended, BackupReport, Clock, Condition, ContentError, Corruption,
    CreateOptions, DecideContext, Decision, Disclose, Durability, EpochStart, Erase, EraseError,
    Erasure, ErrorKind, EvidenceError, Expected, ExportReport, Fold, FoldCheck, FoldError,
    FoldRecord, FoldStatus, Imported, Item, KekRotation, LoadError, LoadReport, Log, LogInfo,
    LogOptions, OpenError, OpenOptions, Payload, Problem, ProblemKind, Prover, Query, QueryError,
    Read, ReadError, Record, Records, RewriteReport, RowValue, Rows, Sealing, SigningKey,
    SigningState, StartedEpoch, Stats, StorageError, Subscription, TypedRow, UnsignedTail,
    VerifyLevel, VerifyReport, verify_file,
};

/// Rust in pages for readers, compiled and run as theirs.
#[cfg(doctest)]
mod pages {
    macro_rules! pages {
        ($($name:ident: $page:literal),+ $(,)?) => {$(
            #[doc = include_str!(concat!("../", $page))]
            pub(super) struct $name;
        )+};
    }

    pages! {
        Readme: "../README.md",
        Embedding: "../docs/guide/embedding.md",
        Effects: "../docs/guide/effects.md",
        TimeTravel: "../docs/guide/time-travel.md",
        Coordination: "../docs/guide/coordination.md",
        Sinks: "../docs/guide/sinks.md",
    }
}
