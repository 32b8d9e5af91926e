//! What this crate brings to a log.

use std::sync::Arc;

use runstone_store::Fold;

use crate::agents::AgentsFold;
use crate::approvals::ApprovalsFold;
use crate::budgets::BudgetsFold;
use crate::effects::EffectsFold;
use crate::events::{self, EventSchema};
use crate::latency::LatencyFold;
use crate::runs::RunsFold;
use crate::settings::Settings;
use crate::tasks::TasksFold;
use crate::trays::TraysFold;

/// Every fold of this crate, for `OpenOptions::folds`. A log that is opened without one of them
/// keeps its rows and does not fold on.
pub fn standard_folds() -> Vec<Arc<dyn Fold>> {
    vec![
        Arc::new(AgentsFold::new()),
        Arc::new(ApprovalsFold::new()),
        Arc::new(BudgetsFold::new()),
        Arc::new(EffectsFold::new()),
        Arc::new(LatencyFold::new()),
        Arc::new(RunsFold::new()),
        Arc::new(TasksFold::new()),
        Arc::new(TraysFold::new()),
    ]
}

/// Every known type of event, the settings of a log among them, in the order of their names. An
/// event of another type is kept and shown like any other.
///
/// ```
/// let known = runstone_projections::schemas();
/// assert!(known.iter().any(|schema| schema.name == "chat.message" && schema.version == 1));
/// assert!(known.iter().any(|schema| schema.name == "log.configured"));
/// ```
pub fn schemas() -> Vec<EventSchema> {
    let mut known = events::schemas();
    known.push(EventSchema::of::<Settings>());
    known.sort_by_key(|schema| schema.name);
    known
}
