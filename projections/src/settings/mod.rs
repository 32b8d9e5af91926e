//! Settings: what deciders and folds go by. They are recorded in the log as `log.configured`, and
//! the last ones count, so that two processes decide alike and folding again agrees. What concerns
//! one process only (storage, limits) is an option of the process instead.
//!
//! ```text
//!  TOML file --from_toml--> Settings --to_json--> log.configured --in_force--> deciders, folds
//!                              |
//!                              +--to_toml_template--> every key with its meaning and default
//! ```
//!
//! A key that is not given has its default; an unknown key is an error. In this version
//! **tasks, trays, effects, runs and erasure go by settings**: [`Admission`], [`Loops`], [`Effects`],
//! `effect_s`, `run_s` and `tray_s` of [`Leases`], [`Trays`], and [`Retention`]; the others are checked, recorded
//! and shown. The
//! **effects, runs, budgets and erasure go by settings**: [`Effects`], [`Budgets`], `effect_s`, `run_s`
//! and `reservation_s` of [`Leases`], and [`Retention`]; the others are checked, recorded and shown. The
//! deciders that go by them are named here and in the template, so that a log is configured before
//! they come:
//!
//! | section | default | goes by it |
//! |---|---|---|
//! | [`Orders`] | types `sleep`, `go_to_sleep`, `exit`, `shutdown`; no text markers; 600 s | agents: who is ordered to sleep |
//! | [`Admission`] | off; `consumer`, `pain_point`, `expected_value`, `validation_path` | tasks: creation |
//! | [`Loops`] | depth 10, identity window 1, completed window 1,000 | tasks: creation |
//! | [`Effects`] | 3 attempts, results of reads stay fresh for 300 s | effects: claims |
//! | [`Leases`] | effect 3,600 s, run 60 s, reservation 3,600 s, helper 3,600 s, tray 900 s | effects, runs, budgets, helpers, tasks, trays |
//! | [`Budgets`] | preset `exec-kernel`; warning at 80 %; no limits a window | budgets: opening, reserving, charging |
//! | [`Approvals`] | from no class on; one reviewer; rejected after 86,400 s | effects: claims; approvals |
//! | [`Helpers`] | 10 running, 100 in all | helpers: spawning |
//! | [`Trays`] | 5 attempts | trays: claims, expiry and release |
//! | [`Retention`] | no minimum | erasure |

mod budgets;
mod check;
mod error;
mod keys;
mod parse;
mod recorded;
mod template;

pub use budgets::{Budgets, Limits, Preset, Windows};
pub use error::SettingsError;
pub use recorded::InForce;

use crate::events::Class;
use runstone_codec::TypedEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Everything that deciders and folds go by; the payload of `log.configured`.
///
/// ```
/// use runstone_projections::settings::Settings;
///
/// let settings = Settings::from_toml("[loops]\nmax_depth = 4\n")?;
/// assert_eq!((settings.loops.max_depth, settings.leases.effect_s), (4, 3600));
///
/// let error = Settings::from_toml("[loops]\nmax_dept = 4\n").unwrap_err();
/// assert!(error.to_string().starts_with("line 2: loops.max_dept: unknown field"));
/// # Ok::<(), runstone_projections::settings::SettingsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Settings {
    /// Who is ordered to sleep.
    pub orders: Orders,
    /// What a task must say to be admitted.
    pub admission: Admission,
    /// When work is taken for a loop.
    pub loops: Loops,
    /// Calls of tools.
    pub effects: Effects,
    /// How long somebody holds something without a word.
    pub leases: Leases,
    /// What may be spent.
    pub budgets: Budgets,
    /// What needs a human's word.
    pub approvals: Approvals,
    /// Helpers of an agent.
    pub helpers: Helpers,
    /// Trays of tasks.
    pub trays: Trays,
    /// How long content is kept.
    pub retention: Retention,
}

/// Who is ordered to sleep. An order counts from a human or a commander only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Orders {
    /// Words in `type` or `directive` of a message that order an agent to sleep, in lower case.
    /// Default `sleep`, `go_to_sleep`, `exit`, `shutdown`.
    pub sleep_types: Vec<String>,
    /// Words in a human's free text that order an agent to sleep, in lower case. Default none: then
    /// free text is never an order.
    pub text_markers: Vec<String>,
    /// Seconds for which an order is valid. Default 600.
    pub window_s: u64,
}

impl Default for Orders {
    fn default() -> Self {
        let types = ["sleep", "go_to_sleep", "exit", "shutdown"];
        Self {
            sleep_types: types.map(str::to_owned).to_vec(),
            text_markers: Vec::new(),
            window_s: 600,
        }
    }
}

/// What a task must say to be admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Admission {
    /// Whether it is asked. Default false: tasks of trays do not say it.
    pub enabled: bool,
    /// The fields that must not be blank; an error lists the missing ones in this order. Default
    /// `consumer`, `pain_point`, `expected_value`, `validation_path`.
    pub required: Vec<String>,
}

impl Default for Admission {
    fn default() -> Self {
        let required = [
            "consumer",
            "pain_point",
            "expected_value",
            "validation_path",
        ];
        Self {
            enabled: false,
            required: required.map(str::to_owned).to_vec(),
        }
    }
}

/// When work is taken for a loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Loops {
    /// The deepest that a task may stand below its first ancestor. Default 10.
    pub max_depth: u64,
    /// How many ancestors must not have the same agent and type. Default 1.
    pub identity_window: u64,
    /// How many of the last completed tasks of a scope must not come again. Default 1,000.
    pub completed_window: u64,
}

impl Default for Loops {
    fn default() -> Self {
        Self {
            max_depth: 10,
            identity_window: 1,
            completed_window: 1000,
        }
    }
}

/// Calls of tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Effects {
    /// How often a call may be attempted. Default 3.
    pub max_attempts: u64,
    /// Seconds for which the result of a call of class `read` is given again, if its claim asks
    /// for that and does not say how long. Default 300.
    pub fresh_for_s: u64,
}

impl Default for Effects {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            fresh_for_s: 300,
        }
    }
}

/// How long somebody holds something without a word, where the claim does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Leases {
    /// Seconds that a claimed effect is held. Default 3,600.
    pub effect_s: u64,
    /// Seconds that a run is held; one that lets it pass is listed as crashed. Default 60.
    pub run_s: u64,
    /// Seconds that a reservation of a budget is held. Default 3,600.
    pub reservation_s: u64,
    /// Seconds that a helper lives. Default 3,600.
    pub helper_s: u64,
    /// Seconds that a task is held, in a tray or not. Default 900.
    pub tray_s: u64,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            effect_s: 3600,
            run_s: 60,
            reservation_s: 3600,
            helper_s: 3600,
            tray_s: 900,
        }
    }
}

/// What needs a human's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Approvals {
    /// The class of effects from which on every claim needs an approval. Default `none`.
    pub approval_from: ApprovalFrom,
    /// How reviewers decide where a request does not say. Default `one`.
    pub mode: ApprovalMode,
    /// Seconds after which an undecided request expires; 0 is never. Default 86,400.
    pub timeout_s: u64,
    /// What an expired request is taken for. Default `reject`.
    pub on_timeout: OnTimeout,
    /// Whom an expired request goes to if `on_timeout` is `escalate`. Default nobody.
    pub escalate_to: String,
}

impl Default for Approvals {
    fn default() -> Self {
        Self {
            approval_from: ApprovalFrom::None,
            mode: ApprovalMode::One,
            timeout_s: 86_400,
            on_timeout: OnTimeout::Reject,
            escalate_to: String::new(),
        }
    }
}

/// From which class of effects on a claim needs an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ApprovalFrom {
    /// No class needs one.
    None,
    /// Every class.
    Read,
    /// Classes `idempotent`, `write` and `irreversible`.
    Idempotent,
    /// Classes `write` and `irreversible`.
    Write,
    /// Class `irreversible`.
    Irreversible,
}

impl ApprovalFrom {
    /// Whether calls of a class need an approval.
    pub fn includes(self, class: Class) -> bool {
        let from = match self {
            Self::None => return false,
            Self::Read => Class::Read,
            Self::Idempotent => Class::Idempotent,
            Self::Write => Class::Write,
            Self::Irreversible => Class::Irreversible,
        };
        class >= from
    }
}

/// How reviewers decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ApprovalMode {
    /// The first vote decides.
    One,
    /// All must approve; the first rejection decides.
    All,
    /// All must approve, in the order in which they are listed.
    Sequential,
    /// More than half of those listed decide.
    Quorum,
}

/// What an expired request is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnTimeout {
    /// A rejection.
    Reject,
    /// An approval.
    Approve,
    /// It goes to somebody else.
    Escalate,
}

/// Helpers of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Helpers {
    /// How many helpers of one agent may run at a time; a further one is registered, and does not
    /// run. Default 10.
    pub max_running: u64,
    /// How many helpers of one agent may be registered and not retired. Default 100.
    pub max_registered: u64,
}

impl Default for Helpers {
    fn default() -> Self {
        Self {
            max_running: 10,
            max_registered: 100,
        }
    }
}

/// Trays of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Trays {
    /// How often a task may be attempted before it is a dead letter. Default 5.
    pub max_attempts: u64,
}

impl Default for Trays {
    fn default() -> Self {
        Self { max_attempts: 5 }
    }
}

/// How long content is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Retention {
    /// Days for which the content of an event must not be erased. Default 0: no minimum.
    pub minimum_days: u64,
}

impl TypedEvent for Settings {
    const TYPE: &'static str = "log.configured";
    const VERSION: u32 = 1;
}

impl Settings {
    /// The settings as canonical JSON (RFC 8785): every key, so that a later default changes
    /// nothing that was recorded.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] if they are not valid.
    pub fn to_json(&self) -> Result<Vec<u8>, SettingsError> {
        self.check()?;
        serde_json_canonicalizer::to_vec(self).map_err(|error| SettingsError::Syntax {
            key: None,
            line: None,
            message: error.to_string(),
        })
    }

    /// SHA-256 over [`to_json`](Self::to_json).
    ///
    /// # Errors
    ///
    /// As [`to_json`](Self::to_json).
    pub fn sha256(&self) -> Result<[u8; 32], SettingsError> {
        Ok(Sha256::digest(self.to_json()?).into())
    }
}

#[cfg(test)]
mod tests;
