//! What may be spent, and what is spent.
//!
//! ```text
//!  budget.opened, budget.changed           limits of an owner
//!  budget.reserved --+--> budget.settled   what it cost, even over the limit
//!                    +--> budget.released  given back, or its lease is over
//!  budget.charged                          after the fact
//!  budget.warned, budget.exceeded          near a limit, over it, or refused for it
//! ```
//!
//! Owners as digests, amounts, limits and leases stand in control (see
//! [`control::budget`](super::control::budget)), which is what counts; names and reasons in the
//! payload, which an erasure takes. A payload repeats amounts for who reads it.

use runstone_codec::TypedEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Defines a payload, its type name and its first version.
macro_rules! event {
    ($name:literal $(#[$meta:meta])* $type:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[expect(clippy::exhaustive_structs, reason = "written out by whoever records a budget")]
        pub struct $type { $($body)* }

        impl TypedEvent for $type {
            const TYPE: &'static str = $name;
            const VERSION: u32 = 1;
        }
    };
}

event!("budget.opened"
    /// An owner may spend up to its limits from here on.
    BudgetOpened {
        /// Its name.
        pub owner: String,
        /// The owner above it, which everything counts for too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub parent: Option<String>,
        /// The preset that its limits come from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub preset: Option<String>,
        /// Limits as `WINDOW.DIMENSION`.
        #[serde(default)]
        pub limits: BTreeMap<String, u64>,
    }
);

event!("budget.changed"
    /// An owner has other limits from here on; what was spent stays spent.
    BudgetChanged {
        /// Its name.
        pub owner: String,
        /// All its limits as `WINDOW.DIMENSION`.
        #[serde(default)]
        pub limits: BTreeMap<String, u64>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
    }
);

event!("budget.reserved"
    /// Something is about to be spent; nobody else can spend it meanwhile.
    BudgetReserved {
        /// Name of the owner, if whoever reserved it knew it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<String>,
        /// How much, by dimension.
        #[serde(default)]
        pub amounts: BTreeMap<String, u64>,
    }
);

event!("budget.settled"
    /// What had been reserved was spent, as much as is said here.
    BudgetSettled {
        /// Name of the owner, if whoever settled it knew it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<String>,
        /// How much, by dimension.
        #[serde(default)]
        pub amounts: BTreeMap<String, u64>,
    }
);

event!("budget.released"
    /// What had been reserved is not spent.
    BudgetReleased {
        /// Name of the owner, if whoever released it knew it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<String>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
    }
);

event!("budget.charged"
    /// Something was spent.
    BudgetCharged {
        /// Name of the owner, if whoever charged it knew it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<String>,
        /// How much, by dimension.
        #[serde(default)]
        pub amounts: BTreeMap<String, u64>,
    }
);

event!("budget.warned"
    /// So much of a limit is spent and reserved that somebody should know.
    BudgetWarned {
        /// Name of the owner that was to spend, if whoever acted knew it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<String>,
    }
);

event!("budget.exceeded"
    /// A limit is exceeded, or something was refused that would have exceeded it.
    BudgetExceeded {
        /// Name of the owner that was to spend, if whoever acted knew it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<String>,
    }
);
