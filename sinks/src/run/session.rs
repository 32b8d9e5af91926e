//! One sink at work: reads, gives, tries again, parks, and keeps how far it is.

mod parts;

use super::lane::{Lane, Place, Trouble};
use super::read::{Reader, Then};
use crate::backoff::{Backoff, UNAUTHORISED_MOST, UNAUTHORISED_US};
use crate::command::{Said, Sinks};
use crate::config::SinkConfig;
use crate::files::{Cursor, Failure, Files, Parked};
use crate::fold::{AHEAD, UNREADABLE_FILES};
use crate::kinds::Factory;
use crate::sink::{Batch, Event, Known, Rejection};
use crate::timer::Timer;
use runstone_codec::{Entropy, Position};
use runstone_store::{Log, Query, Read, ReadError};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

const SECOND_US: u64 = 1_000_000;
/// Time after which the cursor is kept although nothing was given.
pub(super) const KEEP_US: u64 = SECOND_US;
/// Time between two records of failures.
const SAY_US: u64 = 60 * SECOND_US;
/// Time over which the rate is measured, at least.
const RATE_US: u64 = 10 * SECOND_US;

/// What a session is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) runs: bool,
    /// Position of the newest wish that what is parked is tried again.
    pub(super) replay: u64,
}

/// Where the sinks of a log tell how far they have come.
pub(super) type Progress = watch::Sender<Reached>;

/// How far the sinks of a log have come.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Which of the runner's questions is answered: since it was asked, every sink that is to run was begun.
    pub(super) looked: u64,
    /// The first position that each has not got which runs.
    pub(super) sinks: BTreeMap<String, u64>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to.
    Told,
    /// It cannot go on, and that is recorded.
    Stopped,
    /// It cannot go on, and the log did not record that.
    Unrecorded,
    /// The log was closed.
    Closed,
}

/// What a session needs.
pub(super) struct Plan {
    pub(super) log: Log,
    pub(super) config: SinkConfig,
    /// Position at which it was added, and the first that it gets.
    pub(super) added: u64,
    pub(super) from: u64,
    pub(super) files: Files,
    pub(super) factory: Factory,
    pub(super) timer: Arc<dyn Timer>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) place: Place,
    /// Whether parts of the log are given as soon as there are any.
    pub(super) at_once: bool,
    /// Time between a batch that was not full and the next, microseconds.
    pub(super) linger_us: u64,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) progress: Progress,
}

/// A sink at work.
pub(super) struct Session {
    pub(super) plan: Plan,
    sinks: Sinks,
    pub(super) reader: Reader,
    pub(super) lane: Lane,
    /// What the destination had when the sink was made; `None`: it is to be made.
    open: Option<Known>,
    pub(super) cursor: Cursor,
    /// The cursor as the file has it, and when it is to be kept again if it moved.
    kept: Cursor,
    keep_at: Option<u64>,
    /// When it reads on.
    read_at: u64,
    pub(super) parked: Vec<Parked>,
    backoff: Backoff,
    unauthorised: u32,
    /// Failures since they were recorded last, and when that was.
    unsaid: u64,
    said_us: Option<u64>,
    /// Lines of the file of failures.
    failures: usize,
    /// When the rate is measured from, and what was taken since.
    measured: (u64, u64),
}

impl Session {
    /// Works until it is told to end, cannot go on, or the log is closed.
    pub(super) async fn run(plan: Plan) -> Ended {
        let started = loop {
            match Self::start(&plan) {
                Ok(started) => break started,
                Err(error) => {
                    let name = &plan.config.name;
                    tracing::warn!(sink = name, %error, "a sink does not start");
                    if error.kind() == io::ErrorKind::InvalidData {
                        return Self::cannot_start(&plan).await;
                    }
                    let mut orders = plan.orders.clone();
                    let late = plan.timer.now_us().saturating_add(SAY_US);
                    tokio::select! {
                        biased;
                        _ = orders.wait_for(|order| !order.runs) => return Ended::Told,
                        () = plan.timer.until(late) => {}
                    }
                }
            }
        };
        let (cursor, parked, failures, lane) = started;
        let mut session = Self {
            sinks: Sinks::new(&plan.log),
            reader: Reader::new(&plan.log, &plan.config),
            lane,
            open: None,
            kept: cursor.clone(),
            keep_at: None,
            read_at: 0,
            cursor,
            parked,
            backoff: Backoff::default(),
            unauthorised: 0,
            unsaid: 0,
            said_us: None,
            failures,
            measured: (plan.timer.now_us(), 0),
            plan,
        };
        let ended = match session.work().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        // Nothing depends on it: what was given is known, and the rest is looked at again.
        let _ = session.keep_once();
        session.lane.close().await;
        ended
    }

    /// Somebody has to look at its files.
    async fn cannot_start(plan: &Plan) -> Ended {
        let said = Said::Stopped {
            code: UNREADABLE_FILES.to_owned(),
            next: plan.from,
        };
        let sinks = Sinks::new(&plan.log);
        match sinks.say(&plan.config.name, plan.added, said).await {
            Ok(()) => Ended::Stopped,
            Err(_) => Ended::Unrecorded,
        }
    }

    /// Its files, and its lane.
    fn start(plan: &Plan) -> io::Result<(Cursor, Vec<Parked>, usize, Lane)> {
        let files = &plan.files;
        let log = plan.log.info().log_id;
        let cursor = if let Some(cursor) = files.cursor(log, plan.added)? {
            cursor
        } else {
            // Whatever is there is another sink's of the same name.
            files.remove()?;
            let new = Cursor::new(log, plan.added, plan.from);
            files.keep_cursor(&new)?;
            new
        };
        let (parked, failures) = (files.parked()?, files.failures()?.len());
        let lane = Lane::start(
            plan.place,
            &plan.config,
            Arc::clone(&plan.factory),
            Arc::clone(&plan.timer),
        )?;
        Ok((cursor, parked, failures, lane))
    }

    async fn work(&mut self) -> Result<std::convert::Infallible, Ended> {
        if self.is_ahead() {
            self.note(Trouble::Ahead.told());
            return Err(self.stop(AHEAD).await);
        }
        self.tell_progress();
        if let Some(pace) = self.plan.config.to.pace() {
            return self.work_in_parts(pace).await;
        }
        loop {
            let order = *self.plan.orders.borrow_and_update();
            if !order.runs {
                return Err(Ended::Told);
            }
            if order.replay > self.cursor.replayed {
                self.replay().await?;
                self.cursor.replayed = order.replay;
                self.keep().await?;
            }
            if self.cursor.next == self.kept.next {
                self.keep_at = None;
            } else {
                let now_us = self.plan.timer.now_us();
                let late = now_us.saturating_add(KEEP_US);
                if *self.keep_at.get_or_insert(late) <= now_us {
                    self.keep().await?;
                }
            }
            let (keep_at, read_at) = (self.keep_at, self.plan.timer.until(self.read_at));
            let found = tokio::select! {
                biased;
                changed = self.plan.orders.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Err(Ended::Told),
                },
                found = async {
                    read_at.await;
                    self.reader.next(&mut self.cursor).await
                } => found,
                () = self.plan.timer.until(keep_at.unwrap_or(0)), if keep_at.is_some() => continue,
            };
            if found.events.is_empty() {
                self.tell_progress();
            } else {
                if !found.is_full {
                    let now_us = self.plan.timer.now_us();
                    self.read_at = now_us.saturating_add(self.plan.linger_us);
                }
                self.give(found.events, found.is_full).await?;
            }
            match found.then {
                None => {}
                Some(Then::Closed) => return Err(Ended::Closed),
                Some(Then::Unreadable(why)) => {
                    self.reader.restart();
                    self.failed(("unreadable", &why), None).await?;
                }
                Some(Then::Damaged(position, why)) => {
                    self.reader.restart();
                    self.park(position, ("damaged", &why), 1).await?;
                }
            }
        }
    }

    /// Gives events until they are taken or parked. While there are more the cursor of a destination that
    /// tells what it has is not kept each time: it is asked again after a crash.
    async fn give(&mut self, events: Vec<Event>, are_more: bool) -> Result<(), Ended> {
        let mut waiting = VecDeque::from([events]);
        while let Some(events) = waiting.pop_front() {
            self.is_told_to_end()?;
            let last = events.last().map(Event::position);
            let count = events.len() as u64;
            let mut batch = Arc::new(Batch::new(events));
            let mut refusals = 0;
            loop {
                match self.offer(&mut batch).await {
                    Ok(()) => {
                        self.unpark(&batch).await?;
                        self.cursor.next = last.map_or(self.cursor.next, |last| last.get() + 1);
                        let is_back = self.accepted(count);
                        let tells = !matches!(self.open, None | Some(Known::Untold));
                        if tells && are_more && !is_back {
                            self.tell_progress();
                        } else {
                            self.keep().await?;
                        }
                        self.say_recovered(is_back).await;
                        break;
                    }
                    Err(Trouble::Rejected(Rejection::Refused(_))) if batch.events().len() > 1 => {
                        // One of them, or some: they are found one by one.
                        for event in batch.events().iter().rev() {
                            waiting.push_front(vec![event.clone()]);
                        }
                        break;
                    }
                    Err(trouble) => {
                        let refused = matches!(&trouble, Trouble::Rejected(Rejection::Refused(_)));
                        refusals += u64::from(refused);
                        if refused && refusals >= self.plan.config.tries {
                            self.note(trouble.told());
                            self.say_failed(trouble.told().0).await;
                            let position = last.map_or(self.cursor.next, Position::get);
                            self.park(position, trouble.told(), refusals).await?;
                            break;
                        }
                        self.failed(trouble.told(), Some(&trouble)).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives a batch once, without what the destination has.
    async fn offer(&mut self, batch: &mut Arc<Batch>) -> Result<(), Trouble> {
        match self.opened().await? {
            Known::Last(last) | Known::LastEvent(last, _) => {
                let batch = Arc::make_mut(batch);
                batch.keep_after(last);
                batch.trust();
            }
            Known::Nothing => Arc::make_mut(batch).trust(),
            Known::Parts(_) => {}
            Known::Untold => {
                // It may be asked to take them, and this process may die before it knows.
                Arc::make_mut(batch).doubt_before(self.cursor.offered);
                let end = batch.last().map_or(0, |last| last.get() + 1);
                if end > self.cursor.offered {
                    self.cursor.offered = end;
                    let kept = self.keep_once();
                    kept.map_err(|error| Trouble::NoThread(error.to_string()))?;
                }
            }
        }
        if batch.events().is_empty() {
            return Ok(());
        }
        self.lane.deliver(Arc::clone(batch)).await
    }

    /// What the destination had when the sink was made; makes it, if it is not.
    pub(super) async fn opened(&mut self) -> Result<Known, Trouble> {
        if let Some(known) = self.open {
            return Ok(known);
        }
        let known = self.ask_known().await?;
        // What it has may be of another log, or of one that went on after a restore.
        let is_ours = match known {
            Known::Last(last) => last.get() < self.plan.log.durable_size(),
            Known::LastEvent(last, id) => match id_at(&self.plan.log, last.get()) {
                Ok(found) => found == Some(id),
                // What it was nobody can say any more; its place is all there is.
                Err(ReadError::Corrupt(_)) => last.get() < self.plan.log.durable_size(),
                Err(error) => {
                    let why = format!("the log is not readable: {error}");
                    return Err(Trouble::Rejected(Rejection::Unavailable(why)));
                }
            },
            Known::Nothing | Known::Untold | Known::Parts(_) => true,
        };
        if !is_ours {
            return Err(Trouble::Ahead);
        }
        self.open = Some(known);
        Ok(known)
    }

    /// Makes the sink, and asks what its destination has.
    async fn ask_known(&mut self) -> Result<Known, Trouble> {
        let (log, config) = (self.plan.log.info().log_id, &self.plan.config);
        // Before they are read: what changes meanwhile is a change.
        self.cursor.secrets = config.mark_of_secrets(log, self.plan.added);
        let next = self.cursor.next;
        self.lane
            .open((next > self.plan.from).then_some(next))
            .await
    }

    /// Whether it has what the log has not: the log was restored from an older copy.
    fn is_ahead(&self) -> bool {
        let (next, log) = (self.cursor.next, &self.plan.log);
        let is_behind = next > log.durable_size().max(self.plan.from);
        let found = next.checked_sub(1).and_then(|last| id_at(log, last).ok()?);
        let is_other = matches!((self.cursor.last, found), (Some(had), Some(has)) if had != has);
        is_behind || is_other
    }

    /// Whether it is to go on.
    pub(super) fn is_told_to_end(&self) -> Result<(), Ended> {
        if self.plan.orders.borrow().runs {
            Ok(())
        } else {
            Err(Ended::Told)
        }
    }

    /// Something was taken; whether that is news.
    pub(super) fn accepted(&mut self, taken: u64) -> bool {
        self.backoff.reset();
        self.unauthorised = 0;
        let now_us = self.plan.timer.now_us();
        self.cursor.delivered = self.cursor.delivered.saturating_add(taken);
        self.cursor.accepted_at_us = Some(self.plan.log.now_us());
        let (since, before) = self.measured;
        let (lasted, sum) = (now_us.saturating_sub(since), before.saturating_add(taken));
        self.measured.1 = sum;
        if lasted >= RATE_US {
            let rate = u128::from(sum) * 1_000 * u128::from(SECOND_US) / u128::from(lasted);
            self.cursor.rate_milli = u64::try_from(rate).unwrap_or(u64::MAX);
            self.measured = (now_us, 0);
        }
        std::mem::take(&mut self.cursor.is_failing)
    }

    /// Something failed: keeps that, says it, and rests; or stops, if nothing else helps.
    pub(super) async fn failed(
        &mut self,
        told: (&str, &str),
        trouble: Option<&Trouble>,
    ) -> Result<(), Ended> {
        self.note(told);
        self.say_failed(told.0).await;
        let rest_us = match trouble {
            Some(Trouble::Ahead | Trouble::Rejected(Rejection::Unusable(_))) => {
                return Err(self.stop(told.0).await);
            }
            Some(Trouble::Rejected(Rejection::Unauthorised(_))) => {
                self.unauthorised += 1;
                if self.unauthorised >= UNAUTHORISED_MOST {
                    return Err(self.stop(told.0).await);
                }
                UNAUTHORISED_US
            }
            _ => {
                self.unauthorised = 0;
                self.backoff.next_us(&*self.plan.entropy)
            }
        };
        if !matches!(trouble, Some(Trouble::Rejected(Rejection::Refused(_)))) {
            self.open = None;
        }
        self.rest(rest_us).await
    }

    /// Waits, unless it is told to end.
    async fn rest(&mut self, us: u64) -> Result<(), Ended> {
        let late = self.plan.timer.now_us().saturating_add(us);
        tokio::select! {
            biased;
            _ = self.plan.orders.wait_for(|order| !order.runs) => Err(Ended::Told),
            () = self.plan.timer.until(late) => Ok(()),
        }
    }

    /// Cannot go on.
    pub(super) async fn stop(&mut self, code: &str) -> Ended {
        // With the mark of its credentials. Where that is not kept somebody has to resume it.
        let _ = self.keep_once();
        let said = Said::Stopped {
            code: code.to_owned(),
            next: self.cursor.next,
        };
        if !self.say(said).await {
            return Ended::Unrecorded;
        }
        if let Ok(status) = self.sinks.get(&self.plan.config.name)
            && let Some(advice) = status.advice()
        {
            tracing::error!("{advice}");
        }
        Ended::Stopped
    }

    /// Keeps a failure among the last thousand.
    fn note(&mut self, told: (&str, &str)) {
        self.cursor.is_failing = true;
        self.unsaid += 1;
        let failure = Failure::new(self.plan.log.now_us(), self.cursor.next, told);
        let name = &self.plan.config.name;
        tracing::debug!(sink = name, code = told.0, why = told.1, "a sink failed");
        let kept = self.plan.files.add_failure(&failure, &mut self.failures);
        if let Err(error) = kept {
            tracing::warn!(sink = name, %error, "a failure of a sink is not kept");
        }
        // So that whoever asks is told. Nothing depends on it.
        if !self.kept.is_failing {
            let _ = self.keep_once();
        }
    }

    /// Keeps the cursor, however long that takes: nothing more is given before.
    pub(super) async fn keep(&mut self) -> Result<(), Ended> {
        while let Err(error) = self.keep_once() {
            self.not_kept(&error).await?;
        }
        self.tell_progress();
        Ok(())
    }

    fn keep_once(&mut self) -> io::Result<()> {
        if self.cursor.next != self.kept.next {
            let last = self.cursor.next.checked_sub(1);
            self.cursor.last = last.and_then(|last| id_at(&self.plan.log, last).ok()?);
        }
        self.plan.files.keep_cursor(&self.cursor)?;
        self.kept = self.cursor.clone();
        Ok(())
    }

    pub(super) async fn not_kept(&mut self, error: &io::Error) -> Result<(), Ended> {
        let why = error.to_string();
        self.note(("files", &why));
        self.say_failed("files").await;
        let rest_us = self.backoff.next_us(&*self.plan.entropy);
        self.rest(rest_us).await
    }

    fn tell_progress(&self) {
        let (name, next) = (&self.plan.config.name, self.cursor.next);
        self.plan.progress.send_if_modified(|all| {
            let place = all.sinks.get_mut(name).filter(|place| **place != next);
            place.map(|place| *place = next).is_some()
        });
    }

    async fn say_failed(&mut self, code: &str) {
        let now_us = self.plan.timer.now_us();
        let is_recent = |at: u64| now_us.saturating_sub(at) < SAY_US;
        if self.said_us.is_some_and(is_recent) {
            return;
        }
        self.said_us = Some(now_us);
        let said = Said::Failed {
            code: code.to_owned(),
            next: self.cursor.next,
            failures: std::mem::take(&mut self.unsaid),
        };
        self.say(said).await;
    }

    pub(super) async fn say_recovered(&mut self, is_back: bool) {
        if !is_back {
            return;
        }
        let next = self.cursor.next;
        self.say(Said::Recovered { next }).await;
    }

    /// Records something. That it cannot be recorded stops no sink.
    pub(super) async fn say(&mut self, said: Said) -> bool {
        let name = &self.plan.config.name;
        let said = self.sinks.say(name, self.plan.added, said).await;
        if let Err(error) = &said {
            tracing::debug!(sink = name, %error, "what became of a sink is not recorded");
        }
        said.is_ok()
    }
}

/// The id of the event at a position; `None`: the log has none there.
fn id_at(log: &Log, position: u64) -> Result<Option<Uuid>, ReadError> {
    let read = Read::new(Query::everything()).from(position).to(position);
    let found = log.read(read.without_payloads())?.next().transpose()?;
    Ok(found.map(|event| event.header.event_id))
}
