//! Every single setting: what it means, what it may be, and who goes by it.

use crate::trays::LEASE_S;

/// A setting with a fixed name.
#[derive(Debug)]
pub(super) struct Key {
    /// Section and name.
    pub(super) path: &'static str,
    /// What it means.
    pub(super) about: &'static str,
    /// What it may be.
    pub(super) allowed: Allowed,
    /// Which part of the program goes by it.
    pub(super) reader: &'static str,
}

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Allowed {
    /// A number from the first to the second.
    Number(u64, u64),
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text.
    Text(&'static str),
    /// Words in lower case.
    Words,
}

const DAY: u64 = 86_400;
const YEAR: u64 = 365 * DAY;

const fn key(
    path: &'static str,
    about: &'static str,
    allowed: Allowed,
    reader: &'static str,
) -> Key {
    Key {
        path,
        about,
        allowed,
        reader,
    }
}

/// Sections in the order of the template, with what they are about.
pub(super) const SECTIONS: [(&str, &str); 10] = [
    (
        "orders",
        "Who is ordered to sleep. An order counts from a human or a commander only.",
    ),
    ("admission", "What a task must say to be admitted."),
    ("loops", "When work is taken for a loop."),
    ("effects", "Calls of tools."),
    (
        "leases",
        "How long somebody holds something without a word, where the claim does not say.",
    ),
    ("budgets", "What may be spent."),
    ("approvals", "What needs a human's word."),
    ("helpers", "Helpers of an agent."),
    ("trays", "Trays of tasks."),
    ("retention", "How long content is kept."),
];

/// Every setting with a fixed name, in the order of the template.
pub(super) const KEYS: [Key; 26] = [
    key(
        "orders.sleep_types",
        "Words in `type` or `directive` of a message that order an agent to sleep.",
        Allowed::Words,
        "agents: messages and waiting",
    ),
    key(
        "orders.text_markers",
        "Words in a human's free text that order an agent to sleep. None: free text is never an order.",
        Allowed::Words,
        "agents: messages and waiting",
    ),
    key(
        "orders.window_s",
        "Seconds for which an order is valid.",
        Allowed::Number(1, DAY),
        "agents: messages and waiting",
    ),
    key(
        "admission.enabled",
        "Whether a task is asked for the required fields when it is created.",
        Allowed::Switch,
        "tasks: creation",
    ),
    key(
        "admission.required",
        "The fields that must not be blank; an error lists the missing ones in this order.",
        Allowed::Words,
        "tasks: creation",
    ),
    key(
        "loops.max_depth",
        "The deepest that a task may stand below its first ancestor.",
        Allowed::Number(0, 10_000),
        "tasks: creation",
    ),
    key(
        "loops.identity_window",
        "How many ancestors must not have the same agent and type.",
        Allowed::Number(0, 10_000),
        "tasks: creation",
    ),
    key(
        "loops.completed_window",
        "How many of the last completed tasks of a scope must not come again.",
        Allowed::Number(0, 100_000),
        "tasks: creation",
    ),
    key(
        "effects.max_attempts",
        "How often a call may be attempted.",
        Allowed::Number(1, 1000),
        "effects: claims",
    ),
    key(
        "effects.fresh_for_s",
        "Seconds for which the result of a call of class read is given again, if its claim asks for that.",
        Allowed::Number(0, YEAR),
        "effects: claims",
    ),
    key(
        "leases.effect_s",
        "Seconds that a claimed effect is held.",
        Allowed::Number(1, 30 * DAY),
        "effects: claims and renewals",
    ),
    key(
        "leases.run_s",
        "Seconds that a run is held; one that lets it pass is listed as crashed.",
        Allowed::Number(1, 30 * DAY),
        "runs: start and renewals",
    ),
    key(
        "leases.reservation_s",
        "Seconds that a reservation of a budget is held.",
        Allowed::Number(1, 30 * DAY),
        "budgets: reserving",
    ),
    key(
        "leases.helper_s",
        "Seconds that a helper lives.",
        Allowed::Number(60, DAY),
        "helpers: spawning",
    ),
    key(
        "leases.tray_s",
        "Seconds that a task is held, in a tray or not.",
        Allowed::Number(*LEASE_S.start(), *LEASE_S.end()),
        "tasks and trays: claims and renewals",
    ),
    key(
        "budgets.default_preset",
        "The preset of an owner that is opened without limits.",
        Allowed::Text("The name of a preset"),
        "budgets: opening",
    ),
    key(
        "budgets.warn_percent",
        "Percent of a limit at which a warning is recorded.",
        Allowed::Number(1, 100),
        "budgets: reserving and charging",
    ),
    key(
        "approvals.approval_from",
        "The class of effects from which on every claim needs an approval.",
        Allowed::Word(&["none", "read", "idempotent", "write", "irreversible"]),
        "effects: claims",
    ),
    key(
        "approvals.mode",
        "How reviewers decide where a request does not say.",
        Allowed::Word(&["one", "all", "sequential", "quorum"]),
        "approvals: requests",
    ),
    key(
        "approvals.timeout_s",
        "Seconds after which an undecided request expires; 0 is never.",
        Allowed::Number(0, YEAR),
        "approvals: requests",
    ),
    key(
        "approvals.on_timeout",
        "What an expired request is taken for.",
        Allowed::Word(&["reject", "approve", "escalate"]),
        "approvals: expiry",
    ),
    key(
        "approvals.escalate_to",
        "Whom an expired request goes to if on_timeout is escalate.",
        Allowed::Text("A principal, or empty"),
        "approvals: expiry",
    ),
    key(
        "helpers.max_running",
        "How many helpers of one agent may run at a time; a further one is registered, and does not run.",
        Allowed::Number(0, 10_000),
        "helpers: spawning",
    ),
    key(
        "helpers.max_registered",
        "How many helpers of one agent may be registered and not retired.",
        Allowed::Number(0, 100_000),
        "helpers: spawning",
    ),
    key(
        "trays.max_attempts",
        "How often a task of a tray may be attempted before it is a dead letter.",
        Allowed::Number(1, 1000),
        "trays: claims, expiry and release",
    ),
    key(
        "retention.minimum_days",
        "Days for which the content of an event must not be erased; 0 is no minimum.",
        Allowed::Number(0, 36_500),
        "erasure",
    ),
];

/// What may be limited, with the unit.
pub(super) const DIMENSIONS: [(&str, &str); 7] = [
    ("steps", "steps"),
    ("depth", "depth of child tasks"),
    ("duration_s", "seconds"),
    ("tool_calls", "calls of tools"),
    ("tokens", "tokens of every kind"),
    ("usd_micros", "millionths of a dollar"),
    ("gco2_mg", "milligrams of CO2"),
];
