//! The words of the ledger, and their numbers in control.

use std::fmt;
use std::str::FromStr;

/// Text is none of the words of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseWordError {
    /// The words that there are.
    pub known: &'static [&'static str],
}

impl ParseWordError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        "bad_word"
    }
}

impl fmt::Display for ParseWordError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "it is one of {}", self.known.join(", "))
    }
}

impl std::error::Error for ParseWordError {}

/// Defines an enum of words whose numbers are in control.
macro_rules! words {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $number:literal $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $type { $($(#[$doc])* $variant,)* }

        impl $type {
            /// Every one, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The number in control.
            pub fn number(self) -> u64 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The one that a number in control is.
            pub fn from_number(number: u64) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.number() == number)
            }
        }

        impl FromStr for $type {
            type Err = ParseWordError;

            /// The one that a word names.
            fn from_str(word: &str) -> Result<Self, ParseWordError> {
                let known = &[$($word),*];
                let named = Self::ALL.iter().copied().find(|one| one.as_str() == word);
                named.ok_or(ParseWordError { known })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(self.as_str())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                word.parse()
                    .map_err(|error: ParseWordError| serde::de::Error::unknown_variant(&word, error.known))
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),*] })
            }
        }
    };
}

words!(
    /// What is done once.
    Kind {
        /// A call of a tool.
        Tool = 0 "tool",
        /// The execution of a task.
        Task = 1 "task",
    }
);

words!(
    /// What it means to do it twice.
    Class {
        /// Nothing: it changes nothing.
        Read = 0 "read",
        /// Nothing: the other side takes the second for the first.
        Idempotent = 1 "idempotent",
        /// It is done twice.
        Write = 2 "write",
        /// It is done twice and cannot be undone.
        Irreversible = 3 "irreversible",
    }
);

impl Class {
    /// Whether it may be done again although nobody knows whether it was done.
    pub fn bears_repeating(self) -> bool {
        matches!(self, Self::Read | Self::Idempotent)
    }

    /// Whether a call that failed was executed, where nobody says.
    pub fn executed_by_default(self) -> Executed {
        if self.bears_repeating() {
            Executed::No
        } else {
            Executed::Unknown
        }
    }
}

words!(
    /// How a task stands.
    TaskState {
        /// Not to be done yet.
        Backlog = 0 "backlog",
        /// To be done.
        Todo = 1 "todo",
        /// Somebody works on it.
        InProgress = 2 "in_progress",
        /// Somebody looks at what was done.
        InReview = 3 "in_review",
        /// Something keeps it from going on.
        Blocked = 4 "blocked",
        /// It was done.
        Done = 5 "done",
        /// It will not be done.
        Cancelled = 6 "cancelled",
    }
);

words!(
    /// Why work is taken for a loop.
    LoopType {
        /// It stands too deep below its first ancestor.
        DepthExceeded = 0 "depth_exceeded",
        /// Following parents and creators leads to the task itself.
        CycleDetected = 1 "cycle_detected",
        /// An ancestor is of the same agent and of the same type.
        IdentityLoop = 2 "identity_loop",
        /// It was completed a short while ago.
        ReprocessDetected = 3 "reprocess_detected",
    }
);

words!(
    /// Whether a call that failed was executed all the same.
    Executed {
        /// It was not: it may be made again.
        No = 0 "no",
        /// Nobody knows.
        Unknown = 1 "unknown",
        /// It was: it failed for good.
        Yes = 2 "yes",
    }
);

words!(
    /// How a call stands.
    State {
        /// Somebody holds it.
        InFlight = 0 "in-flight",
        /// It was made, and its result is stored.
        Completed = 1 "completed",
        /// It was not made, or it failed for good.
        Failed = 2 "failed",
        /// It was given up before it was made.
        Cancelled = 3 "cancelled",
        /// Nobody can say whether it was made.
        Unknown = 4 "unknown",
    }
);

words!(
    /// How an agent stands.
    AgentState {
        /// It works.
        Running = 0 "running",
        /// It has nothing to do.
        Idle = 1 "idle",
        /// It must exit.
        Stopping = 2 "stopping",
        /// It is gone for good.
        Retired = 3 "retired",
    }
);

words!(
    /// What kind of agent it is.
    AgentKind {
        /// It is there until somebody revokes it.
        Persistent = 0 "persistent",
        /// It does a part of its parent's work, for a time.
        Helper = 1 "helper",
    }
);

words!(
    /// Why a helper is gone.
    RetireReason {
        /// Nothing is left to do in its tray.
        TrayDrained = 0 "tray_drained",
        /// Its time is over.
        TtlExpired = 1 "ttl_expired",
        /// It did as many tasks as it was to.
        MaxTasks = 2 "max_tasks",
        /// It could claim nothing, too often.
        ClaimErrors = 3 "claim_errors",
        /// Its parent asked for it.
        ParentRequest = 4 "parent_request",
        /// Its parent must exit, so the log let it go.
        ParentStopped = 5 "parent_stopped",
        /// Its work failed: it panicked.
        Failed = 6 "failed",
    }
);

words!(
    /// What a message is, by its type, its directive and the settings in force.
    MessageClass {
        /// Something to read.
        Plain = 0 "message",
        /// A sign that something was received. It is never an order.
        Ack = 1 "ack",
        /// An order to stop, by a word that the settings list.
        Order = 2 "order",
        /// An order to stop, in a sentence that the settings list.
        TextOrder = 3 "text_order",
        /// That the work is done: an order to stop too.
        Done = 4 "done",
    }
);

words!(
    /// How a request for approval stands.
    ApprovalState {
        /// Nobody decided it yet.
        Pending = 0 "pending",
        /// The call may be made, once.
        Approved = 1 "approved",
        /// It may not.
        Rejected = 2 "rejected",
    }
);

words!(
    /// What a reviewer says to a request for approval, and what was decided.
    Vote {
        /// The call may not be made.
        Reject = 0 "reject",
        /// It may.
        Approve = 1 "approve",
    }
);

words!(
    /// The time in which a limit holds. Windows are those of UTC.
    Window {
        /// Since the owner was opened.
        All = 0 "all",
        /// A date.
        Day = 1 "day",
        /// An ISO week, which begins on Monday.
        Week = 2 "week",
        /// A month.
        Month = 3 "month",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_is_written_and_nothing_else_is() {
        for state in TaskState::ALL.iter().copied() {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        for bad in ["", "Done", "done ", "7"] {
            let error = bad.parse::<Window>().unwrap_err();
            assert_eq!(error.to_string(), "it is one of all, day, week, month");
            assert!(bad.parse::<TaskState>().is_err(), "{bad}");
        }
    }
}
