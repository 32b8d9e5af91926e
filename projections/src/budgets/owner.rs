//! Who spends.

use super::{Amounts, BudgetLimits, Dimension};
use crate::events::Window;
use crate::events::control::budget as field;
use crate::rows::OwnerKey;
use runstone_codec::Keyed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest name of an owner in bytes.
pub const MAX_OWNER_LEN: usize = 255;
/// Most owners above one.
pub const MAX_NESTING: usize = 16;

/// An owner by its name, which is content: in the log stands a keyed digest of it.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[must_use = "an owner is a name until something is done with it"]
pub struct Owner {
    pub(super) name: String,
    pub(super) scope: String,
}

impl Owner {
    /// The owner of this name in the scope `default`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scope: "default".to_owned(),
        }
    }

    /// The owner of that name in another scope. When the scope is erased, nothing finds it any more;
    /// what it spent stays spent by the owners above it.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stream of its own events: `budgets`, and `budgets/SCOPE` in another scope.
    pub fn stream(&self) -> String {
        if self.scope == "default" {
            return "budgets".to_owned();
        }
        format!("budgets/{}", self.scope)
    }

    pub(super) fn keyed(&self) -> [Keyed; 2] {
        let parts = || [self.name.as_bytes()];
        [
            Keyed::tag(field::OWNER_LABEL, field::OWNER_LABEL, parts()),
            Keyed::control(field::OWNER, field::OWNER_LABEL, parts()),
        ]
    }
}

impl<T: Into<String>> From<T> for Owner {
    fn from(name: T) -> Self {
        Self::new(name)
    }
}

/// An owner as the log knows it: keyed digest of its name, and its scope.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[non_exhaustive]
pub struct OwnerId {
    /// The digest; in the tag `budget:HEX` of its events.
    #[serde(with = "crate::wire::hex16")]
    #[schemars(with = "String")]
    pub digest: [u8; 16],
    /// The scope.
    pub scope: String,
}

impl OwnerId {
    /// The tag that its events carry.
    pub fn tag(&self) -> String {
        format!("{}:{}", field::OWNER_LABEL, crate::hex(&self.digest))
    }

    pub(crate) fn of(digest: Option<&[u8]>, scope: Option<&str>) -> Option<Self> {
        Some(Self {
            digest: digest?.try_into().ok()?,
            scope: scope?.to_owned(),
        })
    }

    pub(crate) fn key(&self) -> OwnerKey {
        OwnerKey {
            digest: self.digest,
            scope: self.scope.clone(),
        }
    }
}

impl From<&OwnerKey> for OwnerId {
    fn from(key: &OwnerKey) -> Self {
        Self {
            digest: key.digest,
            scope: key.scope.clone(),
        }
    }
}

/// A limit that is exceeded, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Exceeded {
    /// Whose limit: the owner that was to spend, or one above it.
    pub owner: OwnerId,
    /// Its name; `None` if that was erased.
    pub name: Option<String>,
    /// Of what.
    pub dimension: Dimension,
    /// In which window.
    pub window: Window,
    /// The window in words, as `2026-01-01`, `2026-W01` or `2026-01`; `None` for all time.
    pub window_name: Option<String>,
    /// What was spent.
    pub spent: u64,
    /// What is reserved.
    pub reserved: u64,
    /// What was asked for besides.
    pub requested: u64,
    /// The limit.
    pub limit: u64,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(out, "Task {name} exceeded ")?,
            None => write!(out, "Task (erased) exceeded ")?,
        }
        let (spent, limit) = (self.spent, self.limit);
        match self.dimension {
            Dimension::Steps => {
                let taken = spent
                    .saturating_add(self.reserved)
                    .saturating_add(self.requested);
                write!(out, "step budget: {taken} steps taken, max {limit}")?;
            }
            Dimension::Depth => {
                let depth = spent.max(self.requested);
                write!(out, "depth budget: proposed depth {depth}, max {limit}")?;
            }
            Dimension::DurationS => {
                write!(out, "duration budget: {spent}s elapsed, max {limit}s")?;
            }
            _ => write!(
                out,
                "{} budget: {spent} spent, {} reserved, {} requested, max {limit}",
                self.dimension, self.reserved, self.requested
            )?,
        }
        match &self.window_name {
            Some(name) => write!(out, " ({} {name})", self.window),
            None => Ok(()),
        }
    }
}

/// How an owner stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Who.
    pub id: OwnerId,
    /// Position of `budget.opened`.
    pub opened: runstone_codec::Position,
    /// When it was opened, Unix microseconds.
    pub opened_at_us: u64,
    /// Seconds since then, rounded.
    pub elapsed_s: u64,
    /// The owner above it.
    pub parent: Option<OwnerId>,
    /// How many owners are above it.
    pub level: u8,
    /// Its own limits; those of the settings come on top.
    pub limits: BudgetLimits,
    /// Position of the event that set them.
    pub limits_at: runstone_codec::Position,
    /// What was spent since it was opened.
    pub spent: Amounts,
    /// What is reserved.
    pub reserved: Amounts,
    /// Reservations that are not ended, those of owners below it among them.
    pub open_reservations: u64,
    /// The first limit that it exceeds, or that an owner above it does.
    pub exceeded: Option<Exceeded>,
}

impl Budget {
    /// How it stands, in the words that exec-kernel's users know:
    /// `OK: 5 steps, 0s elapsed (max 10 steps, 1800s)` or `EXCEEDED: [steps] ...`.
    pub fn verdict(&self) -> String {
        if let Some(exceeded) = &self.exceeded {
            let what = match &exceeded.dimension {
                Dimension::DurationS => "duration",
                other => other.as_str(),
            };
            return format!("EXCEEDED: [{what}] {exceeded}");
        }
        let limit = |dimension| self.limits.get(Window::All, &dimension);
        let limits = [
            limit(Dimension::Steps).map(|max| format!("{max} steps")),
            limit(Dimension::DurationS).map(|max| format!("{max}s")),
        ];
        let limits: Vec<_> = limits.into_iter().flatten().collect();
        let (steps, elapsed_s) = (self.spent.get(&Dimension::Steps), self.elapsed_s);
        if limits.is_empty() {
            return format!("OK: {steps} steps, {elapsed_s}s elapsed");
        }
        let limits = limits.join(", ");
        format!("OK: {steps} steps, {elapsed_s}s elapsed (max {limits})")
    }
}
