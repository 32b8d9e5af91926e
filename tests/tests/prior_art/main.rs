//! Measured faults of packages that came before this one: one test each, showing that Runstone does not have it.

mod exec_kernel_budgets;
mod exec_kernel_tasks;
mod meshcode;
mod meshflow;
mod meshflow_approvals;
mod mycelium;
mod sinks;
mod travel;
mod zu;
