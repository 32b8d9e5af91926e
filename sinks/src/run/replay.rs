//! What a sink was refused: put aside, and given to it once more when somebody asks for that.

use super::lane::Trouble;
use super::read::Then;
use super::session::{Ended, KEEP_US, Session};
use crate::command::Said;
use crate::files::{PARKED, Parked};
use crate::sink::{Batch, Rejection};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Session {
    /// Puts an event aside and goes on behind it.
    pub(super) async fn park(
        &mut self,
        position: u64,
        (code, why): (&str, &str),
        tries: u64,
    ) -> Result<(), Ended> {
        if self.parked.len() >= PARKED {
            return Err(self.stop("too_many_parked").await);
        }
        let parked = Parked::new(position, (code, why), tries, self.plan.log.now_us());
        while let Err(error) = self.plan.files.add_parked(&parked) {
            self.not_kept(&error).await?;
        }
        self.parked.retain(|other| other.position != position);
        self.parked.push(parked);
        self.cursor.next = self.cursor.next.max(position + 1);
        self.keep().await?;
        let said = Said::Parked {
            code: code.to_owned(),
            position,
            parked: self.parked.len() as u64,
        };
        self.say(said).await;
        Ok(())
    }

    /// What was listed and not passed over, because the process ended in between or an older cursor was put
    /// back, came in its turn and was taken.
    pub(super) async fn unpark(&mut self, batch: &Batch) -> Result<(), Ended> {
        let next = self.cursor.next;
        if self.parked.iter().all(|parked| parked.position < next) {
            return Ok(());
        }
        let taken: BTreeSet<_> = batch
            .events()
            .iter()
            .map(|event| event.position().get())
            .collect();
        let listed = self.parked.len();
        self.parked
            .retain(|parked| !taken.contains(&parked.position));
        if self.parked.len() < listed {
            // Before the cursor passes it: then it would be given once more.
            self.keep_parked().await?;
        }
        Ok(())
    }

    /// Gives what is parked once more.
    pub(super) async fn replay(&mut self) -> Result<(), Ended> {
        let ended = self.replay_each().await;
        self.keep_parked().await?;
        ended
    }

    async fn replay_each(&mut self) -> Result<(), Ended> {
        let mut keep_at = self.plan.timer.now_us().saturating_add(KEEP_US);
        let next = self.cursor.next;
        let mut parked = self.parked.clone();
        // Those that it has not come to come in their turn.
        parked.retain(|parked| parked.position < next);
        for parked in parked {
            self.is_told_to_end()?;
            match self.replay_one(parked.position).await? {
                Ok(()) => {
                    self.parked
                        .retain(|other| other.position != parked.position);
                    let is_back = self.accepted(1);
                    self.say_recovered(is_back).await;
                }
                Err((code, why)) => {
                    let at_us = self.plan.log.now_us();
                    let tries = parked.tries.saturating_add(1);
                    let again = Parked::new(parked.position, (code, &why), tries, at_us);
                    let place = self
                        .parked
                        .iter_mut()
                        .find(|other| other.position == parked.position);
                    if let Some(place) = place {
                        *place = again;
                    }
                }
            }
            let now_us = self.plan.timer.now_us();
            if now_us >= keep_at {
                self.keep_parked().await?;
                keep_at = now_us.saturating_add(KEEP_US);
            }
        }
        Ok(())
    }

    /// Gives one until it is taken or refused for itself.
    async fn replay_one(
        &mut self,
        position: u64,
    ) -> Result<Result<(), (&'static str, String)>, Ended> {
        loop {
            let event = match self.reader.event(position) {
                Ok(event) => event,
                Err(Then::Closed) => return Err(Ended::Closed),
                Err(Then::Damaged(_, why)) => return Ok(Err(("damaged", why))),
                Err(Then::Unreadable(why)) => {
                    self.failed(("unreadable", &why), None).await?;
                    continue;
                }
            };
            // It may have come when it was tried before, or in a life that was cut short.
            let mut batch = Batch::new(vec![event]);
            batch.doubt_before(u64::MAX);
            match self.replay_once(Arc::new(batch)).await {
                Ok(()) => return Ok(Ok(())),
                Err(Trouble::Rejected(Rejection::Refused(why))) => {
                    return Ok(Err(("refused", why)));
                }
                Err(trouble) => self.failed(trouble.told(), Some(&trouble)).await?,
            }
        }
    }

    async fn replay_once(&mut self, batch: Arc<Batch>) -> Result<(), Trouble> {
        self.opened().await?;
        self.lane.deliver(batch).await
    }

    async fn keep_parked(&mut self) -> Result<(), Ended> {
        while let Err(error) = self.plan.files.keep_parked(&self.parked) {
            self.not_kept(&error).await?;
        }
        Ok(())
    }
}
