//! The same questions, put to a real log.

use super::{CrewAsk, swept};
use crate::calls::{Lost, Told};
use crate::staff;
use crate::tasks::of_task;
use crate::trays::{self, Names};
use runstone_projections::tasks::Tasks;
use runstone_projections::trays::Trays;
use runstone_projections::{SweepError, sweep};
use runstone_store::Log;

/// The name of a holder that is no agent.
pub(crate) const NOBODY: &str = "model";

/// Handles of one who asks.
#[derive(Clone, Debug)]
pub struct Handles {
    /// The log, as him.
    pub log: Log,
    /// The trays of the simulation's scope.
    pub trays: Trays,
    /// The tasks of its stream.
    pub tasks: Tasks,
}

/// By which name a claim says who holds: as an agent is called, as its principal, or as one of several
/// workers of it.
fn holder_name(names: Names, holder: Option<usize>) -> String {
    let Some(agent) = holder else {
        return NOBODY.to_owned();
    };
    let name = (names.agent)(names.round, agent);
    match agent % 3 {
        0 => name,
        1 => format!("agent:{name}"),
        _ => format!("agent:{name}#1"),
    }
}

fn of_sweep(error: &SweepError) -> Told {
    match error {
        SweepError::Tasks(error) => of_task(error),
        SweepError::Agents(error) => staff::of_agent(error),
        error => Err(Lost::Failed(error.to_string())),
    }
}

/// Asks something of the agents and tasks of a log that have these names; messages are in this stream.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub async fn ask(handles: &Handles, names: Names, messages: (&str, &str), ask: &CrewAsk) -> Told {
    match ask {
        CrewAsk::Work(_, ask, holder) => {
            let holder = holder_name(names, *holder);
            trays::ask((&handles.trays, &handles.tasks), names, &holder, ask).await
        }
        CrewAsk::Staff(asked) => staff::ask(&handles.log, names, messages, &asked.ask),
        CrewAsk::Sweep(_) => match sweep(&handles.log) {
            Ok(done) => Ok((swept(done.tasks, done.helpers), None)),
            Err(error) => of_sweep(&error),
        },
    }
}
