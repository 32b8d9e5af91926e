//! From what is asked to a command, and back.

use super::ask::{Order, check_id, check_name};
use super::decide::{
    self, Act, Creation, FAILED, HOLDER_RETIRED, LEASE_OVER, Place, RELEASED, Verdict,
};
use super::draft::{self, Of};
use super::loops::Bounds;
use super::{Granted, Task, TaskError, TaskFilter, TaskId, TaskState, Tasks, done};
use crate::agents::Agents;
use crate::asks::{OrderTask, SweepTasks};
use crate::command::{Command, Waiting, asked, at_once};
use crate::settings::{InForce, Settings};
use crate::trays::{TrayError, Trays, check_hold};
use runstone_codec::{Draft, Position};
use runstone_store::AppendError;
use std::sync::PoisonError;

const SECOND_US: u64 = 1_000_000;
/// How often a command is decided again because the settings changed meanwhile.
const REDECIDED: usize = 16;

/// An agent, and a task that it held.
type Released = (String, TaskId);
/// Candidates, and what is decided about them.
type Asked = (Vec<Draft>, Act);

impl Tasks {
    pub(super) async fn run<T>(
        &self,
        order: &Order,
        take: fn(Verdict) -> Result<T, Verdict>,
    ) -> Result<T, TaskError> {
        self.run_by(order, take, Waiting::Async).await
    }

    pub(crate) fn run_blocking<T>(
        &self,
        order: &Order,
        take: fn(Verdict) -> Result<T, Verdict>,
    ) -> Result<T, TaskError> {
        at_once(self.run_by(order, take, Waiting::Blocking))
    }

    async fn run_by<T>(
        &self,
        order: &Order,
        take: fn(Verdict) -> Result<T, Verdict>,
        waiting: Waiting,
    ) -> Result<T, TaskError> {
        if let Some(told) = asked(&self.log, waiting, || self.ordering(order)).await {
            return granted(order, told?, take);
        }
        if matches!(order, Order::Claim { .. }) {
            // On the heap: what those held is given back by this function.
            Box::pin(Agents::new(&self.log).reap_before(waiting)).await?;
        }
        for _ in 0..REDECIDED {
            let command = self.command(self.asked(order)?)?;
            let verdict = command.run_by(&self.log, waiting).await?;
            if let Some(answer) = self.answer(order, take(verdict)) {
                return answer;
            }
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    /// What is asked of whoever else holds the log.
    fn ordering(&self, order: &Order) -> OrderTask {
        OrderTask {
            stream: self.stream.clone(),
            scope: self.scope.clone(),
            actor: self.actor.clone(),
            order: order.clone(),
        }
    }

    fn command(&self, (candidates, act): Asked) -> Result<Command<Verdict>, TaskError> {
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::decide(context, Place::default(), &act)
        })?)
    }

    /// `None`: it is to be decided again.
    fn answer<T>(&self, order: &Order, taken: Result<T, Verdict>) -> Option<Result<T, TaskError>> {
        match taken {
            Ok(answer) => Some(Ok(answer)),
            Err(Verdict::Reconfigured) => {
                *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = None;
                None
            }
            Err(verdict) => Some(Err(self.refusal(order, verdict))),
        }
    }

    fn asked(&self, order: &Order) -> Result<Asked, TaskError> {
        check_id(order.id())?;
        let actor = self.acting();
        check_name("actor", &actor)?;
        if let Order::Create(new) = order {
            new.check()?;
            let act = Act::Create(Creation::of(&self.log, new, &self.in_force()?)?);
            let place = (self.stream.as_str(), self.scope.as_deref());
            return Ok((draft::created(new, place, &actor)?, act));
        }
        let not_found = || TaskError::NotFound {
            id: order.id().to_owned(),
        };
        let task = self.find(order.id())?.ok_or_else(not_found)?;
        let of = Of {
            task: &task,
            id: order.id(),
            actor: &actor,
        };
        let id = task.id.clone();
        Ok(match order {
            Order::Move(moving) => {
                let drafts = of.moves(moving.to, moving.comment.as_deref())?;
                let (to, fence) = (moving.to, moving.fence);
                (drafts, Act::Move { id, to, fence })
            }
            Order::Claim { holder, hold, .. } => {
                check_name("holder", holder)?;
                let (default_lease_us, settings_at) = self.default_lease()?;
                let act = Act::Claim {
                    id,
                    by_tray: false,
                    hold: *hold,
                    default_lease_us,
                    settings_at,
                };
                (of.claim(holder)?, act)
            }
            Order::Renew { fence, hold, .. } => {
                if task.in_tray {
                    check_hold(*hold)?;
                }
                let (default_lease_us, settings_at) = self.default_lease()?;
                let act = Act::Renew {
                    id,
                    fence: *fence,
                    hold: *hold,
                    default_lease_us,
                    settings_at,
                };
                (of.renewal()?, act)
            }
            Order::GiveBack { fence, failed, .. } => {
                let why = failed.as_ref().map_or(RELEASED, |_| FAILED);
                let fence = *fence;
                let act = Act::GiveBack { id, fence, why };
                (of.back(failed.as_deref())?, act)
            }
            Order::Create(_) => return Err(not_found()),
        })
    }

    /// Who moves tasks by this handle.
    fn acting(&self) -> String {
        let principal = || self.log.principal().0.to_owned();
        self.actor.clone().unwrap_or_else(principal)
    }

    fn default_lease(&self) -> Result<(u64, Option<Position>), TaskError> {
        let in_force = self.in_force()?;
        let lease_us = in_force.settings.leases.tray_s.saturating_mul(SECOND_US);
        Ok((lease_us, in_force.position))
    }

    pub(super) fn in_force(&self) -> Result<InForce, TaskError> {
        let mut known = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref() {
            return Ok(known.clone());
        }
        let in_force = Settings::in_force(&self.log)?;
        *known = Some(in_force.clone());
        Ok(in_force)
    }

    /// Gives a task back. One that lies in a tray goes back as its tray says: after its last attempt
    /// it is a dead letter.
    pub(crate) async fn give_back(
        &self,
        order: &Order,
        waiting: Waiting,
    ) -> Result<Position, TaskError> {
        if let Order::GiveBack { id, fence, failed } = order
            && !self.log.is_attached()
            && let Some(task) = self.find(id)?.filter(|task| task.in_tray)
        {
            let why = failed.as_ref().map_or(RELEASED, |_| FAILED);
            let said = (failed.as_deref(), waiting);
            let trays = self.trays();
            let back = trays.give_back(&task.id, (*fence, why), said).await;
            // Else it left the tray meanwhile, and is a task like others.
            if let Some(at) = of_tray(back)? {
                return Ok(at);
            }
        }
        match waiting {
            Waiting::Async => self.run(order, done).await,
            Waiting::Blocking => self.run_blocking(order, done),
        }
    }

    fn trays(&self) -> Trays {
        Trays::new(&self.log).actor(self.acting())
    }

    /// Records that leases are over, of every scope; answers the tasks that it was so for: they went
    /// back to todo, or are dead letters of their trays. A lease that is over is seen without it: this
    /// is for those who read the log.
    ///
    /// # Errors
    ///
    /// [`TaskError`] if the log cannot be read or does not record it; those before it are recorded.
    ///
    /// # Cancel safety
    ///
    /// Dropped, some of them may be recorded; the others are the next time.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn sweep(&self) -> Result<Vec<TaskId>, TaskError> {
        self.sweeping(Waiting::Async).await
    }

    /// [`sweep`](Self::sweep) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`sweep`](Self::sweep).
    pub fn sweep_blocking(&self) -> Result<Vec<TaskId>, TaskError> {
        at_once(self.sweeping(Waiting::Blocking))
    }

    async fn sweeping(&self, waiting: Waiting) -> Result<Vec<TaskId>, TaskError> {
        let ask = || SweepTasks {
            stream: self.stream.clone(),
            scope: self.scope.clone(),
            actor: self.actor.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }
        let mut swept = Vec::new();
        for task in self.list(&TaskFilter::new().expired())? {
            let was_over = if task.in_tray {
                let expired = self.trays().expire(&task.id, waiting).await;
                of_tray(expired)?.unwrap_or_default()
            } else {
                let command = self.command(self.expiry(&task)?)?;
                is_done(&command.run_by(&self.log, waiting).await?)
            };
            swept.extend(was_over.then_some(task.id));
        }
        Ok(swept)
    }

    fn expiry(&self, task: &Task) -> Result<Asked, TaskError> {
        let drafts = self.back_by_log(task, LEASE_OVER)?;
        Ok((drafts, Act::Expire(task.id.clone())))
    }

    /// What the log records when it gives a task back.
    fn back_by_log(&self, task: &Task, actor: &str) -> Result<Vec<Draft>, TaskError> {
        let said = self.content(task)?;
        let of = Of {
            task,
            id: said.as_ref().map_or("", |said| said.id.as_str()),
            actor,
        };
        Ok(of.back(None)?)
    }

    /// Gives back what agents held that are gone for good, of every scope; answers the tasks that it
    /// was so for, each with the agent.
    pub(crate) async fn release_held(
        &self,
        agents: &[&str],
        waiting: Waiting,
    ) -> Result<Vec<Released>, TaskError> {
        let mut released = Vec::new();
        for (agent, task) in self.held_by(agents)? {
            let Some(fence) = task.fence else { continue };
            let was_held = if task.in_tray {
                let why = (fence, HOLDER_RETIRED);
                let trays = self.trays();
                let back = trays.give_back(&task.id, why, (None, waiting)).await;
                match of_tray(back) {
                    Ok(Some(_)) => true,
                    // Somebody else was there first.
                    Ok(None) | Err(TaskError::StaleClaim { .. }) => false,
                    Err(error) => return Err(error),
                }
            } else {
                let act = Act::GiveBack {
                    id: task.id.clone(),
                    fence,
                    why: HOLDER_RETIRED,
                };
                let command = self.command((self.back_by_log(&task, HOLDER_RETIRED)?, act))?;
                is_done(&command.run_by(&self.log, waiting).await?)
            };
            released.extend(was_held.then_some((agent, task.id)));
        }
        Ok(released)
    }

    /// What these agents hold, found by one look at all that is in progress.
    fn held_by(&self, names: &[&str]) -> Result<Vec<(String, Task)>, TaskError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let is_theirs = |task: &Task| {
            let agent = task.held_as.as_deref();
            agent.is_some_and(|agent| names.contains(&agent))
        };
        let filter = TaskFilter::new().state(TaskState::InProgress);
        let held = self.list_if(&filter, &is_theirs)?.into_iter();
        let found = held.filter_map(|task| Some((task.held_as.clone()?, task)));
        Ok(found.collect())
    }
}

/// What whoever holds the log granted, as if it had been decided here.
fn granted<T>(
    order: &Order,
    told: Granted,
    take: fn(Verdict) -> Result<T, Verdict>,
) -> Result<T, TaskError> {
    take(told.into()).map_err(|_| TaskError::NotFound {
        id: order.id().to_owned(),
    })
}

/// Somebody else may have been there first.
fn is_done(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Done(_))
}

/// What its tray says of a task; `None`: it has left the tray.
fn of_tray<T>(told: Result<T, TrayError>) -> Result<Option<T>, TaskError> {
    Err(match told {
        Ok(told) => return Ok(Some(told)),
        Err(TrayError::NotInTray { .. }) => return Ok(None),
        Err(TrayError::Task(error)) => error,
        Err(TrayError::Append(error)) => error.into(),
        Err(TrayError::Read(error)) => error.into(),
        Err(TrayError::Settings(error)) => error.into(),
        Err(TrayError::Event(error)) => error.into(),
        Err(_) => AppendError::Contended { times: 1 }.into(),
    })
}

pub(crate) fn bounds(settings: &Settings) -> Bounds {
    Bounds {
        max_depth: settings.loops.max_depth,
        identity_window: settings.loops.identity_window,
        completed_window: settings.loops.completed_window,
    }
}
