//! What agents do: calls, tasks, budgets, approvals, trays, helpers.

mod agents;
mod approvals;
mod budgets;
mod budgets_model;
mod effects;
mod effects_model;
mod helpers;
mod orphans;
mod payments;
mod tasks;
mod tasks_model;
mod trays;
mod trays_drain;
