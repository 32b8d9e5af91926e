//! From what is asked to a command, and back.

use super::ask::{NewTrayTask, check_hold, check_tray};
use super::decide::{self, Added, Ask, Changed, MAX_DEPENDENTS, Next, Prepared, Terms};
use super::look::{Look as _, lease_over, next_ready};
use super::{Claim, Claimed, NotClaimed, TrayError, Trays};
use crate::command::Command;
use crate::events::control::{task as field, tray};
use crate::events::{TaskCreated, TrayClosed, TrayDeadLettered, TrayOpened};
use crate::lease::Hold;
use crate::settings::{InForce, Settings};
use crate::tasks::ask::{MAX_NAME_LEN, Order, check_name};
use crate::tasks::decide::{CREATED, Creation, Verdict};
use crate::tasks::draft::{self, Of, keyed};
use crate::tasks::fold::Digest;
use crate::tasks::{Created, Task, TaskError, TaskId, TaskState, Tasks};
use runstone_codec::{Control, Draft, EventError, NewEvent, Position, TypedEvent};
use runstone_store::AppendError;
use std::sync::PoisonError;

/// How often a command is decided again because something changed meanwhile.
const REDECIDED: usize = 64;
/// Most tasks that a claim is prepared for.
const WINDOW: usize = 64;

/// Stream of a tray, and of the tasks in it.
pub(super) fn stream_of(tray: &str) -> String {
    format!("tray:{tray}")
}

/// What every event of a tray says of it.
fn about<E: TypedEvent>(name: &str, event: &E) -> Result<Draft, EventError> {
    let event = NewEvent::typed(event, stream_of(name))?;
    let event = event.tag(format!("{}:{name}", tray::TAG));
    Ok(Draft::new(event).control(Control::new().text(tray::NAME, name)))
}

/// That a tray is there from now on.
pub(crate) fn opened(name: &str) -> Result<Draft, EventError> {
    about(name, &TrayOpened::default())
}

/// A claim on its way.
pub(super) struct Claiming<'a> {
    pub(super) tray: &'a str,
    pub(super) holder: &'a str,
    pub(super) hold: Hold,
    /// How many tasks it is prepared for: more each time that others were faster.
    window: usize,
    missed: usize,
    known: Vec<(Task, Option<TaskCreated>)>,
}

impl<'a> Claiming<'a> {
    pub(super) fn new(tray: &'a str, holder: &'a str, hold: Hold) -> Self {
        Self {
            tray,
            holder,
            hold,
            window: 1,
            missed: 0,
            known: Vec::new(),
        }
    }
}

impl Trays {
    /// The tasks of the scope of a tray.
    pub(super) fn tasks(&self, tray: &str) -> Tasks {
        let mut tasks = Tasks::new(&self.log).stream(stream_of(tray));
        if let Some(scope) = &self.scope {
            tasks = tasks.scope(scope);
        }
        tasks.actor(self.acting())
    }

    /// Who moves tasks by this handle.
    fn acting(&self) -> String {
        let principal = || self.log.principal().0.to_owned();
        self.actor.clone().unwrap_or_else(principal)
    }

    pub(super) fn in_force(&self) -> Result<InForce, TrayError> {
        let mut known = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref() {
            return Ok(known.clone());
        }
        let in_force = Settings::in_force(&self.log)?;
        *known = Some(in_force.clone());
        Ok(in_force)
    }

    fn forget_settings(&self) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn terms(&self) -> Result<Terms, TrayError> {
        let in_force = self.in_force()?;
        Ok(Terms::of(&in_force.settings, in_force.position))
    }

    fn about<E: TypedEvent>(&self, name: &str, event: &E) -> Result<Draft, EventError> {
        let mut draft = about(name, event)?;
        if let Some(scope) = &self.scope {
            draft.event = draft.event.scope(scope);
        }
        Ok(draft)
    }

    pub(super) fn opening(&self, name: &str) -> Result<Command<Changed>, TrayError> {
        check_tray(name)?;
        let candidates = vec![self.about(name, &TrayOpened::default())?];
        let name = name.to_owned();
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::open(context, &name)
        })?)
    }

    pub(super) fn closing(&self, name: &str) -> Result<Command<Changed>, TrayError> {
        check_tray(name)?;
        let candidates = vec![self.about(name, &TrayClosed::default())?];
        let name = name.to_owned();
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::close(context, &name)
        })?)
    }

    pub(super) fn adding(
        &self,
        name: &str,
        new: &NewTrayTask,
    ) -> Result<Command<Added>, TrayError> {
        check_tray(name)?;
        new.check()?;
        let actor = self.acting();
        check_name("actor", &actor)?;
        let in_force = self.in_force()?;
        let terms = Creation::of(&self.log, &new.task, &in_force).map_err(TaskError::from)?;
        let stream = stream_of(name);
        // A tray is a stream with a scope already, or there is none.
        let mut candidates = draft::created(&new.task, (&stream, None), &actor)?;
        let creation = candidates.get_mut(CREATED).ok_or(AppendError::Empty)?;
        let said = TaskCreated {
            tray: Some(name.to_owned()),
            depends_on: new.depends_on.clone(),
            ..new.task.said()
        };
        creation.event.payload = NewEvent::typed(&said, stream.as_str())?.payload;
        let control = std::mem::take(&mut creation.control);
        creation.control = control
            .text(field::TRAY, name)
            .u64(field::PRIORITY, new.priority);
        for (number, id) in (field::DEPENDS_ON..).zip(&new.depends_on) {
            creation.keyed.push(keyed(number, field::LABEL, id));
        }
        let name = name.to_owned();
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::add(context, &name, &terms)
        })?)
    }

    /// `None`: it is to be decided again.
    pub(super) fn added(
        &self,
        name: &str,
        new: &NewTrayTask,
        added: Added,
    ) -> Option<Result<Created, TrayError>> {
        let tray = name.to_owned();
        let named = |number: usize| new.depends_on.get(number).cloned().unwrap_or_default();
        Some(Err(match added {
            Added::Task(Verdict::Created(id, position, depth)) => {
                return Some(Ok(Created {
                    id,
                    position,
                    depth,
                }));
            }
            Added::Task(Verdict::Reconfigured) => {
                self.forget_settings();
                return None;
            }
            Added::Task(verdict) => {
                let order = Order::Create(new.task.clone());
                self.tasks(name).refusal(&order, verdict).into()
            }
            Added::NotFound => TrayError::NotFound { tray },
            Added::Closed => TrayError::Closed { tray },
            Added::Unknown(number) => TrayError::UnknownDependency {
                id: named(number),
                tray,
            },
            Added::Crowded(number) => TrayError::TooManyDependents {
                id: named(number),
                limit: MAX_DEPENDENTS,
            },
            Added::Cycle => TrayError::Cycle {
                id: new.task.id.clone(),
            },
        }))
    }

    /// A command that takes what is next in a tray now.
    pub(super) fn claiming(&self, claiming: &mut Claiming<'_>) -> Result<Command<Next>, TrayError> {
        let name = claiming.tray;
        check_tray(name)?;
        check_name("holder", claiming.holder)?;
        check_hold(claiming.hold)?;
        let terms = self.terms()?;
        let (prepared, candidates) = self.prepare(claiming, terms)?;
        let (name, hold) = (name.to_owned(), claiming.hold);
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::claim(context, &name, &prepared, hold, terms)
        })?)
    }

    fn prepare(
        &self,
        claiming: &mut Claiming<'_>,
        terms: Terms,
    ) -> Result<(Prepared, Vec<Draft>), TrayError> {
        let name = claiming.tray;
        claiming.known.clear();
        let mut candidates = Vec::new();
        let Some(tray) = self.log.tray(name)? else {
            return Ok((Prepared::Ready(Vec::new()), candidates));
        };
        let tasks = self.tasks(name);
        if let Some(over) = lease_over(&self.log, name, &tray.scope)?
            && let Some((task, said)) = Self::known(&tasks, over, &tray.scope)?
        {
            let candidates = self.back(name, &task, said.as_ref(), None)?;
            return Ok((Prepared::Over(task.id), candidates));
        }
        for digest in next_ready(&self.log, name, claiming.window)? {
            let Some((task, said)) = Self::known(&tasks, digest, &tray.scope)? else {
                continue;
            };
            if task.attempt > terms.max_attempts {
                if claiming.known.is_empty() {
                    let candidates = self.back(name, &task, said.as_ref(), None)?;
                    return Ok((Prepared::Spent(task.id), candidates));
                }
                break;
            }
            let of = Of {
                task: &task,
                id: said.as_ref().map_or("", |said| said.id.as_str()),
                actor: claiming.holder,
            };
            candidates.extend(of.claim(claiming.holder)?);
            claiming.known.push((task, said));
        }
        let ready = claiming.known.iter().map(|(task, _)| task.id.clone());
        Ok((Prepared::Ready(ready.collect()), candidates))
    }

    fn known(
        tasks: &Tasks,
        digest: Digest,
        scope: &str,
    ) -> Result<Option<(Task, Option<TaskCreated>)>, TrayError> {
        let id = TaskId {
            digest,
            scope: scope.to_owned(),
        };
        let Some(task) = tasks.get(&id)? else {
            return Ok(None);
        };
        let said = tasks.content(&task)?;
        Ok(Some((task, said)))
    }

    /// Candidates of a task that is given back, or is a dead letter.
    fn back(
        &self,
        name: &str,
        task: &Task,
        said: Option<&TaskCreated>,
        error: Option<&str>,
    ) -> Result<Vec<Draft>, TrayError> {
        let id = said.map_or("", |said| said.id.as_str());
        let actor = self.acting();
        let of = Of {
            task,
            id,
            actor: &actor,
        };
        let mut candidates = of.give_up(error)?;
        let event = TrayDeadLettered {
            id: id.to_owned(),
            error: error.map(str::to_owned),
        };
        let mut dead = Draft::new(
            NewEvent::typed(&event, task.stream.as_str())?
                .tag(format!("{}:{name}", tray::TAG))
                .tag(task.id.tag()),
        );
        dead.control = Control::new().bytes(tray::TASK, task.id.digest);
        candidates.push(dead);
        Ok(candidates)
    }

    /// What came of a claim; `None`: it is to be decided again.
    pub(super) fn claimed(
        &self,
        claiming: &mut Claiming<'_>,
        next: Next,
    ) -> Option<Result<Claim, TrayError>> {
        match next {
            Next::Claimed {
                number,
                fence,
                attempt,
                lease_expires_at_us,
            } => {
                let known = claiming.known.get_mut(number)?;
                Some(Ok(Claim::Claimed(Box::new(Claimed {
                    task: known.0.id.clone(),
                    said: known.1.take(),
                    fence,
                    attempt,
                    lease_expires_at_us,
                }))))
            }
            Next::Nothing(row) => Some(Ok(Claim::NotClaimed(NotClaimed {
                drained: row.open() == 0,
                is_closed: row.closed.is_some(),
                open: row.open(),
                in_progress: row.count(TaskState::InProgress),
            }))),
            Next::NotFound => Some(Err(TrayError::NotFound {
                tray: claiming.tray.to_owned(),
            })),
            Next::Cleared => None,
            Next::Retired(name) => Some(Err(TaskError::Retired { name }.into())),
            Next::Reconfigured => {
                self.forget_settings();
                None
            }
            Next::Missed => {
                claiming.window = claiming.window.saturating_mul(2).min(WINDOW);
                claiming.missed = claiming.missed.saturating_add(1);
                let is_enough = claiming.missed >= REDECIDED;
                is_enough.then(|| Err(AppendError::Contended { times: REDECIDED }.into()))
            }
        }
    }

    /// A command on a task that lies in a tray.
    pub(super) fn changing(
        &self,
        id: &TaskId,
        ask: &Ask,
        comment: Option<&str>,
    ) -> Result<Command<Option<Verdict>>, TrayError> {
        let not_there = || TrayError::NotInTray {
            id: id.tag(),
            tray: None,
        };
        let row = self
            .log
            .task(&id.digest, &id.scope)?
            .ok_or_else(not_there)?;
        let tasks = self.tasks(&row.tray);
        let known = Self::known(&tasks, id.digest, &id.scope)?;
        let (task, said) = known.ok_or_else(not_there)?;
        let actor = self.acting();
        check_name("actor", &actor)?;
        let of = Of {
            task: &task,
            id: said.as_ref().map_or("", |said| said.id.as_str()),
            actor: &actor,
        };
        let candidates = match ask {
            Ask::Renew { hold, .. } => {
                check_hold(*hold)?;
                of.renewal()?
            }
            Ask::Complete(_) => of.moves(TaskState::Done, comment)?,
            Ask::Back(..) | Ask::Expire => self.back(&row.tray, &task, said.as_ref(), comment)?,
        };
        let (id, ask, terms) = (id.clone(), ask.clone(), self.terms()?);
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::task(context, &id, &ask, terms)
        })?)
    }

    /// What came of it; `None`: it is to be decided again.
    pub(super) fn changed(
        &self,
        id: &TaskId,
        ask: &Ask,
        verdict: Option<Verdict>,
    ) -> Option<Result<Option<Position>, TrayError>> {
        let Some(verdict) = verdict else {
            return Some(Err(TrayError::NotInTray {
                id: id.tag(),
                tray: None,
            }));
        };
        match verdict {
            Verdict::Done(position) => Some(Ok(Some(position))),
            Verdict::NotOver => Some(Ok(None)),
            Verdict::Reconfigured => {
                self.forget_settings();
                None
            }
            verdict => {
                let fence = match ask {
                    Ask::Renew { fence, .. } | Ask::Complete(fence) | Ask::Back(fence, _) => *fence,
                    Ask::Expire => Position::new(0),
                };
                let tasks = Tasks::new(&self.log);
                let order = Order::Renew {
                    id: Self::name(&tasks, id),
                    fence,
                    hold: Hold::Default,
                };
                Some(Err(tasks.refusal(&order, verdict).into()))
            }
        }
    }

    /// What a task is called, for a text; its tag, if that was erased.
    fn name(tasks: &Tasks, id: &TaskId) -> String {
        let known = Self::known(tasks, id.digest, &id.scope).ok().flatten();
        let said = known.and_then(|(_, said)| said);
        said.map_or_else(|| id.tag(), |said| said.id)
    }
}

/// Too much changed meanwhile.
pub(super) fn contended() -> TrayError {
    AppendError::Contended { times: REDECIDED }.into()
}

pub(super) fn rounds() -> std::ops::Range<usize> {
    0..REDECIDED
}

const _: () = assert!(
    MAX_NAME_LEN <= 256,
    "control has room for names and dependencies"
);
