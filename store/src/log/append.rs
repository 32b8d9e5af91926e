//! Appending, importing and deciding through a handle.

use super::{Backing, Here, Log};
use crate::append::{Append, Appended, Imported};
use crate::engine::panic_text;
use crate::error::AppendError;
use crate::holder::{AppendMany, AppendOne, ImportMany, SyncNow, Verdict};
use crate::options::Durability;
use crate::prepare::{Actor, Offered, check_imported};
use crate::write::{
    Answer, AnyAnswer, DecideContext, Decision, Guards, Outcome, Prepared, Request, Turn, Waiting,
    Work,
};
use runstone_codec::{Draft, Position, namespace};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Times that an append is sealed again because a key or scope changed under it.
const RESEALS: usize = 16;

impl Log {
    /// Appends events; answers when they are durable (or visible, if `Buffered` was asked for).
    ///
    /// # Errors
    ///
    /// [`AppendError`]: this request alone failed; its neighbours in the group commit did not.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is first polled appends nothing. After that the request is
    /// on its way and will be recorded or refused; repeat it with the same event ids to learn
    /// which.
    ///
    /// # Durability
    ///
    /// An `Ok` with [`Durability::Synced`] survives power loss.
    pub async fn append(&self, append: impl Into<Append>) -> Result<Appended, AppendError> {
        match &self.backing {
            Backing::Here(here) => here.append(append).await,
            Backing::There(there) => there.ask(&AppendOne::from(&append.into())).await,
        }
    }

    /// [`append`](Self::append) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_blocking(&self, append: impl Into<Append>) -> Result<Appended, AppendError> {
        match &self.backing {
            Backing::Here(here) => here.append_blocking(append),
            Backing::There(there) => there.ask_blocking(&AppendOne::from(&append.into())),
        }
    }

    /// Appends many requests in as few commits as possible; each gets its own verdict.
    pub fn append_many_blocking(&self, appends: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        match &self.backing {
            Backing::Here(here) => here.append_many_blocking(appends),
            Backing::There(there) => {
                let (ask, many) = (AppendMany::from(appends.as_slice()), appends.len());
                each_of(there.ask_blocking(&ask), many)
            }
        }
    }

    /// Imports records made elsewhere, each whole: events with known ids are compared and left,
    /// new ones are added. What is imported is stamped `system`. Events of owned namespaces are
    /// allowed; those without a tag `imported:` get `imported:unknown`, by which folds know that they
    /// were recorded elsewhere and decide nothing here. Streams that commands write are refused.
    ///
    /// # Errors
    ///
    /// One verdict a record, in order.
    pub fn import_blocking(&self, records: Vec<Vec<Draft>>) -> Vec<Result<Imported, AppendError>> {
        match &self.backing {
            Backing::Here(here) => here.import_blocking(records),
            Backing::There(there) => {
                let ask = ImportMany::try_from(records.as_slice());
                let asked = ask.and_then(|ask| there.ask_blocking(&ask));
                each_of(asked, records.len())
            }
        }
    }

    /// Decides and records in one step: `decide` sees the state that includes everything recorded
    /// before it, and chooses which of the candidate events are recorded, together with their
    /// control fields. It must not block: the log waits for it.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; what `decide` refuses is in the answer instead.
    ///
    /// # Cancel safety
    ///
    /// As [`append`](Self::append).
    pub fn command_blocking<A: Send + 'static>(
        &self,
        candidates: Vec<Draft>,
        decide: impl FnMut(&mut DecideContext<'_>) -> Result<Decision<A>, AppendError> + Send + 'static,
    ) -> Result<(A, Vec<Position>), AppendError> {
        self.here()?.command_blocking(candidates, decide)
    }

    /// [`command_blocking`](Self::command_blocking) as a future.
    ///
    /// # Errors
    ///
    /// As [`command_blocking`](Self::command_blocking).
    ///
    /// # Cancel safety
    ///
    /// As [`append`](Self::append).
    pub async fn command<A: Send + 'static>(
        &self,
        candidates: Vec<Draft>,
        decide: impl FnMut(&mut DecideContext<'_>) -> Result<Decision<A>, AppendError> + Send + 'static,
    ) -> Result<(A, Vec<Position>), AppendError> {
        self.here()?.command(candidates, decide).await
    }

    /// Makes everything that was buffered durable.
    ///
    /// # Errors
    ///
    /// [`AppendError`] if the commit fails.
    pub fn sync_blocking(&self) -> Result<(), AppendError> {
        match &self.backing {
            Backing::Here(here) => here.sync_blocking(),
            Backing::There(there) => there.ask_blocking(&SyncNow {}),
        }
    }
}

impl Here {
    pub(crate) async fn append(&self, append: impl Into<Append>) -> Result<Appended, AppendError> {
        let mut append = append.into();
        self.check_append(&append)?;
        let guards = Guards::of(&append);
        for _ in 0..RESEALS {
            let request = self.append_request(&mut append, guards.clone())?;
            let outcome = self.submit(request).await?;
            if let Some(answer) = self.appended(&append, outcome)? {
                return Ok(answer);
            }
        }
        Err(AppendError::Contended { times: RESEALS })
    }

    pub(crate) fn append_blocking(
        &self,
        append: impl Into<Append>,
    ) -> Result<Appended, AppendError> {
        let mut append = append.into();
        self.check_append(&append)?;
        let guards = Guards::of(&append);
        for _ in 0..RESEALS {
            let request = self.append_request(&mut append, guards.clone())?;
            let outcome = self.submit_blocking(request)?;
            if let Some(answer) = self.appended(&append, outcome)? {
                return Ok(answer);
            }
        }
        Err(AppendError::Contended { times: RESEALS })
    }

    pub(crate) fn append_many_blocking(
        &self,
        mut appends: Vec<Append>,
    ) -> Vec<Result<Appended, AppendError>> {
        let mut tickets = Vec::with_capacity(appends.len());
        let mut requests = Vec::with_capacity(appends.len());
        for append in &mut appends {
            let request = self
                .check_append(append)
                .and_then(|()| self.append_request(append, Guards::of(append)));
            tickets.push(request.map(|request| {
                let ticket = Arc::clone(&request.ticket);
                requests.push(request);
                ticket
            }));
        }
        self.shared.queue.push(requests);
        appends
            .into_iter()
            .zip(tickets)
            .map(|(append, ticket)| {
                let ticket = ticket?;
                let outcome = self.shared.drive(&ticket)?;
                match self.appended(&append, outcome)? {
                    Some(answer) => Ok(answer),
                    None => self.append_blocking(append),
                }
            })
            .collect()
    }

    fn append_request(
        &self,
        append: &mut Append,
        guards: Option<Arc<Guards>>,
    ) -> Result<Request, AppendError> {
        let offered = append.events.iter_mut().map(Offered::from);
        let events = self.prepare(offered, &self.actor)?;
        let durability = append
            .durability
            .unwrap_or(self.shared.identity.options.durability);
        Ok(Request {
            guards,
            ..Request::new(Work::Append, events, durability)
        })
    }

    /// The answer to an append; `None` if it must be sealed again.
    fn appended(&self, append: &Append, outcome: Outcome) -> Result<Option<Appended>, AppendError> {
        let durability = append
            .durability
            .unwrap_or(self.shared.identity.options.durability);
        match outcome {
            Outcome::Recorded { first, events } => {
                if durability == Durability::Synced {
                    self.shared.remember_scopes(&events);
                }
                Ok(Some(Appended {
                    first: Position::new(first),
                    last: Position::new(first + events.len() as u64 - 1),
                    ids: events.iter().map(|event| event.header.event_id).collect(),
                    duplicate: false,
                    durability,
                }))
            }
            Outcome::Known { positions } => {
                let ids = self.compare_known(&append.events, &positions, false)?;
                let first = positions.first().copied().unwrap_or_default();
                let last = positions.last().copied().unwrap_or_default();
                Ok(Some(Appended {
                    first: Position::new(first),
                    last: Position::new(last),
                    ids,
                    duplicate: true,
                    durability,
                }))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn import_blocking(
        &self,
        records: Vec<Vec<Draft>>,
    ) -> Vec<Result<Imported, AppendError>> {
        let actor = Actor::keyring();
        let mut records: Vec<Vec<Draft>> = records
            .into_iter()
            .map(|drafts| drafts.into_iter().map(told_elsewhere).collect())
            .collect();
        let mut tickets = Vec::with_capacity(records.len());
        let mut requests = Vec::with_capacity(records.len());
        for drafts in &mut records {
            let request = self
                .check_drafts(drafts)
                .and_then(|()| drafts.iter().try_for_each(|it| check_imported(&it.event)))
                .and_then(|()| self.prepare(drafts.iter_mut().map(Offered::from), &actor))
                .map(|events| Request::new(Work::Import, events, Durability::Synced));
            tickets.push(request.map(|request| {
                let ticket = Arc::clone(&request.ticket);
                requests.push(request);
                ticket
            }));
        }
        self.shared.queue.push(requests);
        records
            .into_iter()
            .zip(tickets)
            .map(|(mut drafts, ticket)| {
                let ticket = ticket?;
                let mut outcome = self.shared.drive(&ticket)?;
                for _ in 0..RESEALS {
                    if let Outcome::Imported { positions } = outcome {
                        return self.imported(&drafts, &positions);
                    }
                    let events = self.prepare(drafts.iter_mut().map(Offered::from), &actor)?;
                    let request = Request::new(Work::Import, events, Durability::Synced);
                    outcome = self.submit_blocking(request)?;
                }
                Err(AppendError::Contended { times: RESEALS })
            })
            .collect()
    }

    fn imported(
        &self,
        drafts: &[Draft],
        positions: &[(u64, bool)],
    ) -> Result<Imported, AppendError> {
        let mut skipped = 0;
        for (draft, (position, known)) in drafts.iter().zip(positions) {
            if *known {
                self.compare_known(std::slice::from_ref(&draft.event), &[*position], true)?;
                skipped += 1;
            }
        }
        Ok(Imported {
            added: positions.len() - skipped,
            skipped,
        })
    }

    pub(crate) fn command_blocking<A: Send + 'static>(
        &self,
        mut candidates: Vec<Draft>,
        decide: impl FnMut(&mut DecideContext<'_>) -> Result<Decision<A>, AppendError> + Send + 'static,
    ) -> Result<(A, Vec<Position>), AppendError> {
        let request = self.command_request(&mut candidates, decide)?;
        let mut outcome = self.submit_blocking(request)?;
        for _ in 0..RESEALS {
            match outcome {
                Outcome::Reseal(request) => {
                    let request = self.reseal(*request, &mut candidates)?;
                    outcome = self.submit_blocking(request)?;
                }
                decided => return decision_of(decided),
            }
        }
        Err(AppendError::Contended { times: RESEALS })
    }

    pub(crate) async fn command<A: Send + 'static>(
        &self,
        mut candidates: Vec<Draft>,
        decide: impl FnMut(&mut DecideContext<'_>) -> Result<Decision<A>, AppendError> + Send + 'static,
    ) -> Result<(A, Vec<Position>), AppendError> {
        let request = self.command_request(&mut candidates, decide)?;
        let mut outcome = self.submit(request).await?;
        for _ in 0..RESEALS {
            match outcome {
                Outcome::Reseal(request) => {
                    let request = self.reseal(*request, &mut candidates)?;
                    outcome = self.submit(request).await?;
                }
                decided => return decision_of(decided),
            }
        }
        Err(AppendError::Contended { times: RESEALS })
    }

    fn command_request<A: Send + 'static>(
        &self,
        candidates: &mut [Draft],
        mut decide: impl FnMut(&mut DecideContext<'_>) -> Result<Decision<A>, AppendError>
        + Send
        + 'static,
    ) -> Result<Request, AppendError> {
        let events = self.prepare(candidates.iter_mut().map(Offered::from), &self.actor)?;
        let decider = move |context: &mut DecideContext<'_>| {
            // It runs in the middle of a group, maybe on the thread of another caller.
            let outcome = catch_unwind(AssertUnwindSafe(|| decide(context)));
            let decision = outcome.map_err(|panic| AppendError::DeciderPanicked {
                why: panic_text(panic.as_ref()),
            })??;
            Ok(Decision {
                record: decision.record,
                answer: Box::new(decision.answer) as AnyAnswer,
            })
        };
        Ok(Request::new(
            Work::Command(Box::new(decider)),
            events,
            Durability::Synced,
        ))
    }

    pub(crate) fn sync_blocking(&self) -> Result<(), AppendError> {
        let request = Request::new(Work::Sync, Vec::new(), Durability::Synced);
        self.submit_blocking(request).map(|_| ())
    }

    /// Records events of the log itself.
    pub(crate) fn submit_work(
        &self,
        work: Work,
        events: Vec<Prepared>,
    ) -> Result<Outcome, AppendError> {
        self.submit_blocking(Request::new(work, events, Durability::Synced))
    }

    pub(crate) fn submit_request(&self, request: Request) -> Result<Outcome, AppendError> {
        self.submit_blocking(request)
    }

    async fn submit(&self, request: Request) -> Answer {
        let ticket = Arc::clone(&request.ticket);
        self.shared.queue.push([request]);
        if self.shared.identity.options.background {
            self.shared.queue.wake_writer();
            return Waiting(ticket).await;
        }
        // Others that are polled meanwhile come into the same group.
        Turn::default().await;
        self.shared.drive(&ticket)
    }

    fn submit_blocking(&self, request: Request) -> Answer {
        let ticket = Arc::clone(&request.ticket);
        self.shared.queue.push([request]);
        self.shared.drive(&ticket)
    }
}

/// The verdict on each; where there is none, that holds for all.
fn each_of<T>(
    asked: Result<Vec<Verdict<T>>, AppendError>,
    many: usize,
) -> Vec<Result<T, AppendError>> {
    match asked {
        Ok(verdicts) => verdicts.into_iter().map(Verdict::into_result).collect(),
        Err(error) => vec![error; many].into_iter().map(Err).collect(),
    }
}

fn decision_of<A: 'static>(outcome: Outcome) -> Result<(A, Vec<Position>), AppendError> {
    let Outcome::Decided { answer, positions } = outcome else {
        return Err(AppendError::Closed);
    };
    let answer: Box<dyn Any> = answer;
    let answer = answer.downcast::<A>().map_err(|_| AppendError::Closed)?;
    Ok((*answer, positions.into_iter().map(Position::new).collect()))
}

/// A draft that says of itself that it was recorded elsewhere.
fn told_elsewhere(mut draft: Draft) -> Draft {
    let is_told = |tag: &String| {
        tag.split_once(':')
            .is_some_and(|(key, _)| key == namespace::IMPORTED)
    };
    let event = &mut draft.event;
    if namespace::is_owned(&event.event_type) && !event.tags.iter().any(is_told) {
        event.tags.push(format!("{}:unknown", namespace::IMPORTED));
    }
    draft
}
