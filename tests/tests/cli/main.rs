//! The command, and every page that shows it.

mod agents;
mod approvals;
mod budgets;
mod demo;
mod docs;
mod effects;
mod examples;
mod guide;
mod runs;
mod sinks;
mod tasks;
mod travel;
mod trays;
mod wrong;
