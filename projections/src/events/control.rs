//! What these events say in control, which is never erased: the part that folds read.

/// `run.started`: the stream of the run that spawned this one, as text.
pub const PARENT: u16 = 1;
/// `run.finished`, `session.ended`: how it ended, as text.
pub const STATUS: u16 = 1;
/// `run.started`, `run.resumed`: who holds the run: a pseudonym.
pub const RUN_HOLDER: u16 = 2;
/// `run.started`, `run.resumed`: the opening of the log in which alone it can be held, 16 bytes.
pub const RUN_OPENING: u16 = 3;
/// `run.started`, `run.resumed`: length of the lease in microseconds.
pub const RUN_LEASE_US: u16 = 4;
/// `run.started`, `run.resumed`: when the lease ends, Unix microseconds.
pub const RUN_LEASE_EXPIRES_AT_US: u16 = 5;
/// `run.started`: keyed digest of the run's name, 16 bytes.
pub const RUN_NAME: u16 = 6;
/// Label of the keyed digest of a run's name.
pub const RUN_NAME_LABEL: &str = "run-name";
/// `run.started`, `run.resumed`: keyed digest of the owner whose budget it spends, 16 bytes.
pub const RUN_BUDGET: u16 = 7;
/// `run.started`, `run.resumed`: scope of that owner.
pub const RUN_BUDGET_SCOPE: u16 = 8;
/// `run.forked`: the stream that it was forked from, as text.
pub const FORK_OF: u16 = 9;
/// `run.forked`: the last position that it shares with it.
pub const FORK_AT: u16 = 10;
/// `run.rolled_back`: the position after which session and steps are as they were.
pub const BACK_TO: u16 = 9;
/// `run.rolled_back`: the fence of who holds the run, if he did it; else nobody holds it any more.
pub const BACK_FENCE: u16 = 10;
/// `session.ended`: why, as a code.
pub const REASON: u16 = 2;
/// `session.snapshotted`: position of the last change that it has.
pub const SNAPSHOT_LAST: u16 = 1;
/// `session.snapshotted`: changes that it was folded from.
pub const SNAPSHOT_CHANGES: u16 = 2;
/// `session.snapshotted`: changes that it is without, because they could not be read.
pub const SNAPSHOT_MISSING: u16 = 3;
/// `step.*`: keyed digest of the node, 16 bytes; in the tag `step:` too.
pub const NODE: u16 = 1;
/// `step.*`: which attempt, from 1.
pub const STEP_ATTEMPT: u16 = 2;
/// `step.completed`: grams of carbon dioxide equivalent, in thousandths.
pub const GCO2_MG: u16 = 3;
/// `step.completed`: tokens, as the runtime counts them for the step.
pub const STEP_TOKENS: u16 = 4;
/// `step.completed`: price in millionths of a dollar, as the runtime counts it for the step.
pub const STEP_USD_MICROS: u16 = 5;
/// `step.completed`: 1 if its output changes the document of the session.
pub const STEP_STRUCTURED: u16 = 6;
/// Label of the keyed digest of a step's node, and key of its tag.
pub const STEP_LABEL: &str = "step";
/// `llm.call.completed`: keyed digest of the call's id, 16 bytes.
pub const CALL: u16 = 1;
/// `llm.call.completed`: tokens read.
pub const INPUT_TOKENS: u16 = 2;
/// `llm.call.completed`: tokens written.
pub const OUTPUT_TOKENS: u16 = 3;
/// `llm.call.completed`: tokens read from the cache.
pub const CACHE_READ_TOKENS: u16 = 4;
/// `llm.call.completed`: tokens written to the cache.
pub const CACHE_WRITE_TOKENS: u16 = 5;
/// `llm.call.completed`: price in millionths of a dollar.
pub const USD_MICROS: u16 = 6;
/// `llm.call.completed`: keyed digest of the node whose step made the call, 16 bytes.
pub const CALL_NODE: u16 = 7;
/// Label of the keyed digest of a model call's id.
pub const CALL_LABEL: &str = "llm-call";
/// Key of the tag that every imported event carries; its value is the format of the recording.
pub const IMPORTED: &str = runstone_codec::namespace::IMPORTED;

/// `effect.*`: calls that happen once.
pub mod effect {
    /// Keyed digest of kind, domain and key, 16 bytes; in the tag `effect:` too.
    pub const KEY: u16 = 1;
    /// Position of the claim.
    pub const FENCE: u16 = 2;
    /// Keyed digest of what the key is bound to, 16 bytes.
    pub const BINDING: u16 = 3;
    /// 0 tool, 1 task.
    pub const KIND: u16 = 4;
    /// 0 read, 1 idempotent, 2 write, 3 irreversible.
    pub const CLASS: u16 = 5;
    /// Which attempt, from 1.
    pub const ATTEMPT: u16 = 6;
    /// Length of the lease in microseconds.
    pub const LEASE_US: u16 = 7;
    /// When the lease ends, Unix microseconds.
    pub const LEASE_EXPIRES_AT_US: u16 = 8;
    /// Who holds it: a pseudonym.
    pub const HOLDER: u16 = 9;
    /// The opening of the log in which alone it can be held, 16 bytes.
    pub const OPENING: u16 = 10;
    /// Whether a failed call was executed: 0 no, 1 nobody knows, 2 yes.
    pub const EXECUTED: u16 = 11;
    /// What a reconciliation found: 0 it was made, 1 it was not.
    pub const OUTCOME: u16 = 12;
    /// What is called, as text.
    pub const NAME: u16 = 13;
    /// Keyed digest of the result, 16 bytes.
    pub const RESULT: u16 = 14;
    /// How long the result of a read is given again, microseconds.
    pub const FRESH_FOR_US: u16 = 15;
    /// Why, as a code.
    pub const WHY: u16 = 16;
    /// 1 if the caller does not take the result.
    pub const REJECTED: u16 = 17;
    /// 1 where another ledger was taken over: the one kind of import that claims go by.
    pub const MIGRATED: u16 = 18;
    /// When the attempt that was taken over began, Unix microseconds.
    pub const MIGRATED_SINCE_US: u16 = 19;
    /// Keyed digest of the name alone, 16 bytes: what was taken over is bound to that too.
    pub const KEY_BINDING: u16 = 20;
    /// `effect.reconciled`: 1 if a program asked the other side, 0 if a person found out.
    pub const BY_PROGRAM: u16 = 21;
    /// `effect.refused`: keyed digest of name and arguments, which an approval would have to be for.
    pub const TO_APPROVE: u16 = 22;
    /// `effect.claimed`: positions of the reservations made for it, 8 bytes each, big-endian.
    pub const RESERVATIONS: u16 = 23;
    /// Label of the keyed digest of a key, and key of its tag.
    pub const KEY_LABEL: &str = "effect";
    /// Label of the keyed digest of a binding.
    pub const BINDING_LABEL: &str = "effect-binding";
    /// Label of the keyed digest of a result.
    pub const RESULT_LABEL: &str = "effect-result";
}

/// `agent.*`: agents.
pub mod agent {
    /// Its name: a pseudonym; in the tag `agent:` too.
    pub const NAME: u16 = 1;
    /// `agent.powered`, `agent.helper_spawned`: 0 it should run, 1 it should not.
    pub const POWER: u16 = 2;
    /// `agent.slept`: seconds after which it means to look again.
    pub const TIMEOUT_S: u16 = 3;
    /// `agent.stop_ordered`, `agent.order_refused`: position of the order.
    pub const ORDER: u16 = 4;
    /// `agent.order_refused`: why, as a code.
    pub const WHY: u16 = 5;
    /// `agent.helper_spawned`: name of its tray, a pseudonym.
    pub const TRAY: u16 = 6;
    /// `agent.helper_spawned`: when its time is over, Unix microseconds.
    pub const EXPIRES_AT_US: u16 = 7;
    /// `agent.helper_spawned`: 1 if it may retire itself, 0 if not.
    pub const AUTO_RETIRE: u16 = 8;
    /// `agent.retired`: why; see [`RetireReason`](super::super::RetireReason).
    pub const RETIRED: u16 = 9;
    /// Key of the tag that names the agent.
    pub const TAG: &str = "agent";
}

/// `message.*`: messages.
pub mod message {
    /// The agent that it is for, or `*`; in the tag `to:` too.
    pub const TO: u16 = 1;
    /// What it is: see [`MessageClass`](super::super::MessageClass).
    pub const CLASS: u16 = 2;
    /// Of an order: 1 if its sender may give it, 2 if not.
    pub const ORDER: u16 = 3;
    /// `message.read`: who has read.
    pub const READER: u16 = 4;
    /// `message.read`: position of the last message that was read.
    pub const UP_TO: u16 = 5;
    /// Key of the tag that names the agent that it is for.
    pub const TAG: &str = "to";
}

/// `approval.*`: what people are asked.
pub mod approval {
    /// Keyed digest of the call's key, as in `effect.*`; in the tag `effect:` too.
    pub const KEY: u16 = super::effect::KEY;
    /// Position of the request; not in `requested`.
    pub const REQUEST: u16 = 2;
    /// Keyed digest of name and arguments, 16 bytes: what alone is approved.
    pub const WHAT: u16 = 3;
    /// How reviewers decide: 0 one, 1 all, 2 sequential, 3 quorum.
    pub const MODE: u16 = 4;
    /// Pseudonyms of the reviewers, joined by commas; none: any person or commander.
    pub const REVIEWERS: u16 = 5;
    /// When it expires, Unix microseconds; none: never.
    pub const EXPIRES_AT_US: u16 = 6;
    /// What follows then: 0 it is rejected, 1 it is approved, 2 it goes to somebody else.
    pub const ON_TIMEOUT: u16 = 7;
    /// To whom.
    pub const ESCALATE_TO: u16 = 8;
    /// `approval.voted`, `approval.decided`: 1 yes, 0 no.
    pub const APPROVED: u16 = 9;
    /// How long it is open, microseconds.
    pub const LASTS_US: u16 = 10;
    /// Label of the keyed digest of name and arguments.
    pub const WHAT_LABEL: &str = "approval";
}

/// `task.*`: units of work.
pub mod task {
    /// Keyed digest of the id, 16 bytes; in the tag `task:` too.
    pub const TASK: u16 = 1;
    /// State before, by its number; none for a creation.
    pub const FROM: u16 = 2;
    /// State after, or the one that was asked for, by its number.
    pub const TO: u16 = 3;
    /// Position of the claim.
    pub const FENCE: u16 = 4;
    /// Which attempt, from 1.
    pub const ATTEMPT: u16 = 5;
    /// Length of the lease in microseconds.
    pub const LEASE_US: u16 = 6;
    /// When the lease ends, Unix microseconds.
    pub const LEASE_EXPIRES_AT_US: u16 = 7;
    /// Who holds it: a pseudonym.
    pub const HOLDER: u16 = 8;
    /// The opening of the log in which alone it can be held, 16 bytes.
    pub const OPENING: u16 = 9;
    /// How many ancestors it has, by parents.
    pub const DEPTH: u16 = 10;
    /// Keyed digest of who is to do it, 16 bytes.
    pub const AGENT: u16 = 11;
    /// Keyed digest of the kind of work, 16 bytes.
    pub const TYPE: u16 = 12;
    /// Keyed digest of the id of its parent, 16 bytes.
    pub const PARENT: u16 = 13;
    /// Keyed digest of the id of the task in which it was thought of, 16 bytes.
    pub const CREATOR: u16 = 14;
    /// Why, as a code.
    pub const WHY: u16 = 15;
    /// Who moved it: a pseudonym; `system` where the log did.
    pub const ACTOR: u16 = 16;
    /// `task.created`, `task.refused`: the agent through which it was to be created: a pseudonym.
    pub const CREATED_BY: u16 = 19;
    /// `task.created`: the tray that it lies in, as text: a pseudonym.
    pub const TRAY: u16 = 17;
    /// `task.created`: what is claimed first has the highest.
    pub const PRIORITY: u16 = 18;
    /// `task.created`: whose budget it is in: digest of the owner's name under its scope, 16 bytes.
    pub const BUDGET: u16 = 20;
    /// `task.created`: scope of that owner.
    pub const BUDGET_SCOPE: u16 = 21;
    /// `task.created`: keyed digests of the ids of the tasks that come before it, 16 bytes in each
    /// field from this one on.
    pub const DEPENDS_ON: u16 = 32;
    /// Label of the keyed digest of an id, and key of its tag.
    pub const LABEL: &str = "task";
    /// Label of the keyed digest of an agent.
    pub const AGENT_LABEL: &str = "task-agent";
    /// Label of the keyed digest of a kind of work.
    pub const TYPE_LABEL: &str = "task-type";
}

/// `budget.*`: what may be spent.
pub mod budget {
    /// Keyed digest of the owner's name under its scope, 16 bytes; in the tag `budget:` too.
    pub const OWNER: u16 = 1;
    /// Scope of the owner; absent in `opened` and `changed`, which stand in it.
    pub const SCOPE: u16 = 2;
    /// Digest of the parent's name under the parent's scope, 16 bytes.
    pub const PARENT: u16 = 3;
    /// Scope of the parent.
    pub const PARENT_SCOPE: u16 = 4;
    /// Limits, entry by entry.
    pub const LIMITS: u16 = 5;
    /// Amounts, entry by entry.
    pub const AMOUNTS: u16 = 6;
    /// Length of the lease in microseconds.
    pub const LEASE_US: u16 = 7;
    /// When the lease ends, Unix microseconds.
    pub const LEASE_EXPIRES_AT_US: u16 = 8;
    /// Who holds it: a pseudonym.
    pub const HOLDER: u16 = 9;
    /// The opening of the log in which alone it can be held, 16 bytes.
    pub const OPENING: u16 = 10;
    /// Position of the reservation.
    pub const RESERVATION: u16 = 11;
    /// Position of the claim that it was made for, which ends it; then it has no lease.
    pub const EFFECT: u16 = 12;
    /// Why, as a code.
    pub const WHY: u16 = 13;
    /// What is limited, as a code.
    pub const DIMENSION: u16 = 14;
    /// 0 all, 1 day, 2 week, 3 month.
    pub const WINDOW: u16 = 15;
    /// What was spent.
    pub const SPENT: u16 = 16;
    /// What is reserved.
    pub const RESERVED: u16 = 17;
    /// What was asked for.
    pub const REQUESTED: u16 = 18;
    /// The limit.
    pub const LIMIT: u16 = 19;
    /// Keyed digest of the stream and id of a model's call, 16 bytes: it is charged once.
    pub const CALL: u16 = 20;
    /// Amounts that are taken back, because a later report of the call has less.
    pub const CREDIT: u16 = 21;
    /// All that the call is charged with now, entry by entry.
    pub const CALL_TOTAL: u16 = 22;
    /// Label of the keyed digest of an owner, and key of its tag.
    pub const OWNER_LABEL: &str = "budget";
    /// Label of the keyed digest of a model's call.
    pub const CALL_LABEL: &str = "budget-call";
}

/// `tray.*`: trays of tasks.
pub mod tray {
    /// Its name: a pseudonym; in the tag `tray:` too.
    pub const NAME: u16 = 1;
    /// `tray.dead_lettered`: keyed digest of the id of the task, 16 bytes; in the tag `task:` too.
    pub const TASK: u16 = 2;
    /// `tray.dead_lettered`: how often it was attempted.
    pub const ATTEMPTS: u16 = 3;
    /// `tray.dead_lettered`: how the last attempt ended, as a code.
    pub const WHY: u16 = 4;
    /// Key of the tag that names the tray.
    pub const TAG: &str = "tray";
}
