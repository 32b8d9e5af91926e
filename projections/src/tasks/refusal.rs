//! What a refusal says. Names are content: they are not in the rows, and are read for it.

use super::ask::{NewTask, Order};
use super::decide::Verdict;
use super::loops::{Loop, WALK};
use super::{LoopType, TaskError, TaskId, Tasks, machine};
use crate::budgets::{self, BudgetError};
use runstone_codec::Position;
use runstone_store::AppendError;
use std::collections::BTreeSet;

/// Most ancestors that a text names.
const NAMED: usize = 20;

impl Tasks {
    pub(crate) fn refusal(&self, order: &Order, verdict: Verdict) -> TaskError {
        let id = order.id().to_owned();
        match (verdict, order) {
            (Verdict::Incomplete, Order::Create(new)) => match self.in_force() {
                Ok(in_force) => TaskError::Admission {
                    title: new.called().to_owned(),
                    missing: new.missing(&in_force.settings.admission.required),
                },
                Err(error) => error,
            },
            (Verdict::Idle, Order::Create(new)) => TaskError::Idle {
                title: new.called().to_owned(),
            },
            (Verdict::Retired(name), _) => TaskError::Retired { name },
            (Verdict::Loop(found), Order::Create(new)) => self.looped(new, found),
            (Verdict::ParentUnknown, Order::Create(new)) => TaskError::ParentNotFound {
                parent: new.parent.clone().unwrap_or_default(),
            },
            (Verdict::Exceeded(over), _) => match budgets::named(&self.log, *over) {
                Ok(over) => BudgetError::Exceeded(Box::new(over)).into(),
                Err(error) => error.into(),
            },
            (Verdict::UnknownBudget, Order::Create(new)) => {
                let name = new.budget.as_ref().map(|owner| owner.name().to_owned());
                BudgetError::UnknownOwner { name }.into()
            }
            (Verdict::OutsideOfParent, Order::Create(new)) => {
                let name = new.budget.as_ref().map(|owner| owner.name().to_owned());
                let name = name.unwrap_or_default();
                BudgetError::OtherParent { name }.into()
            }
            (Verdict::Exists(task), _) => TaskError::Exists { id, task },
            (Verdict::NotTodo(task), _) => TaskError::NotClaimable { id, task },
            (Verdict::InTray(task), _) => TaskError::InTray { id, task },
            (Verdict::Held(task), _) => TaskError::Held { id, task },
            (Verdict::Stale(task), _) => TaskError::StaleClaim {
                id,
                fence: order.fence().unwrap_or_else(|| Position::new(0)),
                task,
            },
            (Verdict::Refused { from, to }, _) => TaskError::Refused {
                from,
                to,
                reason: machine::step(from, to).err().unwrap_or_default(),
            },
            (Verdict::NotFound, _) => TaskError::NotFound { id },
            // Every other verdict is an answer, or decided again.
            _ => AppendError::Contended { times: 1 }.into(),
        }
    }

    pub(super) fn looped(&self, new: &NewTask, found: Loop) -> TaskError {
        let or_unnamed =
            |name: &Option<String>| name.clone().unwrap_or_else(|| "unnamed".to_owned());
        let (id, agent) = (&new.id, or_unnamed(&new.agent));
        let text = match found {
            Loop::Depth { depth, max_depth } => {
                let chain = self.chain(new);
                format!("Task depth {depth} exceeds maximum {max_depth}. Chain: {chain}")
            }
            Loop::Cycle => format!(
                "Creating task {id} would introduce a cycle in the work graph. Agent {agent} would be creating work that traces back to itself."
            ),
            Loop::Tangle => format!(
                "Creating task {id} may introduce a cycle in the work graph. More than {WALK} tasks lie behind it, too many to rule that out."
            ),
            Loop::Identity => format!(
                "Agent {agent} is creating a {} task for itself while currently executing the same task type. This appears to be a self-referential identity loop.",
                or_unnamed(&new.task_type)
            ),
            Loop::Reprocess => format!(
                "Task {id} was already completed and is in the recently-completed heap. Re-processing detected."
            ),
        };
        let loop_type: LoopType = found.loop_type();
        TaskError::Loop { loop_type, text }
    }

    /// The ancestors of a task that is not created, from the first to its parent: `a(type) -> b(type)`.
    fn chain(&self, new: &NewTask) -> String {
        let parent = new.parent.as_deref();
        let mut next = parent.and_then(|id| self.id_of(id).ok().flatten());
        let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(id) = next.take() {
            if names.len() == NAMED {
                names.push("...".to_owned());
                break;
            }
            if !seen.insert(id.digest) {
                break;
            }
            let Ok(Some(task)) = self.get(&id) else { break };
            names.push(match self.content(&task) {
                Ok(Some(said)) => match said.task_type {
                    Some(task_type) => format!("{}({task_type})", said.id),
                    None => said.id,
                },
                _ => "(erased)".to_owned(),
            });
            let scope = id.scope;
            next = task.parent.map(|digest| TaskId { digest, scope });
        }
        names.reverse();
        names.join(" -> ")
    }
}
