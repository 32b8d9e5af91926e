//! A sink that takes parts of the log itself: segments, or checkpoints. What its destination has is
//! the truth; the cursor only says so.
//!
//! ```text
//!  something is durable --> waits: for so many events, or so long --> a part from where the
//!  destination ends up to there --> taken --> the next one, until there is nothing
//! ```

use super::{Ended, Session};
use crate::config::Pace;
use crate::run::lane::{Place, Trouble};
use crate::sink::{Batch, Known, Part, Rejection};
use runstone_store::{Log, Query, Read, ReadError, SegmentEnd, SegmentError, SegmentPlan};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use tokio_stream::StreamExt as _;

const SECOND_US: u64 = 1_000_000;

impl Session {
    pub(super) async fn work_in_parts(&mut self, pace: Pace) -> Result<Infallible, Ended> {
        let mut is_cut = false;
        loop {
            if !self.plan.orders.borrow_and_update().runs {
                return Err(Ended::Told);
            }
            let Some(known) = self.known().await? else {
                continue;
            };
            if is_cut || self.is_due(pace).await? {
                is_cut = self.give_part(pace, known).await?;
            }
        }
    }

    /// What the destination has, if it can be told, and the log grew from it.
    async fn known(&mut self) -> Result<Option<Option<SegmentEnd>>, Ended> {
        let end = |known| match known {
            Known::Parts(end) => Some(end),
            _ => None,
        };
        if let Some(known) = self.open {
            return Ok(Some(end(known)));
        }
        let known = match self.lane.open().await {
            Ok(known) => known,
            Err(trouble) => {
                self.failed(trouble.told(), Some(&trouble)).await?;
                return Ok(None);
            }
        };
        if let Some(end) = end(known)
            && let Err(error) = self.plan.log.check_grown(&end)
        {
            self.not_made(error).await?;
            return Ok(None);
        }
        self.open = Some(known);
        self.reached(end(known).map_or(0, |end| end.events)).await?;
        Ok(Some(end(known)))
    }

    /// Waits until there is something, and then for more of it.
    async fn is_due(&mut self, pace: Pace) -> Result<bool, Ended> {
        let is_there = self.found(self.cursor.next, None).await?;
        if is_there && !self.plan.at_once {
            let rest_us = pace.seconds.saturating_mul(SECOND_US);
            let late = self.plan.timer.now_us().saturating_add(rest_us);
            let full = self.cursor.next.saturating_add(pace.events - 1);
            self.found(full, Some(late)).await?;
        }
        Ok(is_there)
    }

    /// Waits until there is an event at this position; whether there is, or it is so late.
    async fn found(&mut self, position: u64, late: Option<u64>) -> Result<bool, Ended> {
        if self.plan.log.durable_size() > position {
            return Ok(true);
        }
        let read = Read::new(Query::everything()).from(position);
        let mut following = match self.plan.log.subscribe(read.without_payloads()) {
            Ok(following) => following,
            Err(error) => {
                self.unread(&error).await?;
                return Ok(false);
            }
        };
        tokio::select! {
            biased;
            ordered = self.plan.orders.wait_for(|order| !order.runs) => {
                drop(ordered);
                Err(Ended::Told)
            }
            found = following.next() => match found {
                // What cannot be read is there too.
                Some(_) => Ok(true),
                None => Err(Ended::Closed),
            },
            () = self.plan.timer.until(late.unwrap_or(0)), if late.is_some() => Ok(false),
        }
    }

    async fn unread(&mut self, error: &ReadError) -> Result<(), Ended> {
        match error {
            ReadError::Closed => Err(Ended::Closed),
            ReadError::Corrupt(_) => {
                self.note(("damaged", &error.to_string()));
                Err(self.stop("damaged").await)
            }
            _ => self.failed(("unreadable", &error.to_string()), None).await,
        }
    }

    /// The log makes no part.
    async fn not_made(&mut self, error: SegmentError) -> Result<(), Ended> {
        if let SegmentError::Read(error) = error {
            return self.unread(&error).await;
        }
        let place = self.plan.config.to.place();
        let why =
            format!("{place}: {error}; nothing there was touched: give this log another place");
        let trouble = Trouble::Rejected(Rejection::Unusable(why));
        self.failed(trouble.told(), Some(&trouble)).await
    }

    /// Gives the part that comes next; whether there was more than it could have.
    async fn give_part(&mut self, pace: Pace, after: Option<SegmentEnd>) -> Result<bool, Ended> {
        let (log, query) = (self.plan.log.clone(), self.plan.config.query.clone());
        let size = log.durable_size();
        let next = move || next_part(&log, query, after, pace);
        let made = match self.plan.place {
            // If it is not made, the runtime ends.
            Place::Threads => spawn_blocking(next).await.map_err(|_| Ended::Told)?,
            Place::Here => next(),
        };
        let part = match made {
            Ok(Some(part)) => part,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.not_made(error).await?;
                return Ok(false);
            }
        };
        let end = part.end();
        let is_cut = end.events < size;
        let trouble = match self.lane.deliver(Arc::new(Batch::of_part(part))).await {
            Ok(()) => {
                self.open = Some(Known::Parts(end));
                let is_back = self.accepted(end.events.saturating_sub(self.cursor.next));
                self.reached(end.events).await?;
                self.say_recovered(is_back).await;
                return Ok(is_cut);
            }
            Err(trouble) => trouble,
        };
        self.failed(trouble.told(), Some(&trouble)).await?;
        Ok(true)
    }

    /// The destination has what stands before this position.
    async fn reached(&mut self, position: u64) -> Result<(), Ended> {
        self.cursor.next = position;
        if self.cursor.next == self.kept.next {
            self.tell_progress();
            return Ok(());
        }
        self.keep().await
    }
}

/// What comes behind what the destination has.
fn next_part(
    log: &Log,
    query: Query,
    after: Option<SegmentEnd>,
    pace: Pace,
) -> Result<Option<Part>, SegmentError> {
    if pace.is_checkpoints {
        let made = log.checkpoint_after(after.as_ref())?;
        return Ok(made.map(Part::Checkpoint));
    }
    let mut plan = SegmentPlan::new(after);
    (plan.query, plan.max_events, plan.max_bytes) = (query, pace.events, pace.bytes);
    Ok(log.segment(&plan)?.map(Part::Segment))
}
