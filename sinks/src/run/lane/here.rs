//! A sink in the task of its session. One that blocks, blocks whoever drives that; one that waits is
//! dropped when it takes too long, and one that panics is made anew.

use super::{Time, Trouble, let_go, outcome};
use crate::config::SinkConfig;
use crate::kinds::Factory;
use crate::run::contained::{Contained, contained};
use crate::sink::{Batch, Known, Sink};
use tokio::task::yield_now;

/// A sink without a thread.
pub(super) struct Here {
    config: SinkConfig,
    factory: Factory,
    sink: Option<Box<dyn Sink>>,
}

impl Here {
    pub(super) fn new(config: SinkConfig, factory: Factory) -> Self {
        Self {
            config,
            factory,
            sink: None,
        }
    }

    pub(super) async fn open(&mut self, time: &Time) -> Result<Known, Trouble> {
        let_go(&mut self.sink);
        // Every other sink has a turn.
        yield_now().await;
        let made = outcome(contained(|| (self.factory)(&self.config)))?;
        let made = self.sink.insert(made);
        let telling = contained(|| made.last()).ok_or(Trouble::Panicked)?;
        match time.limited(Contained::new(telling)).await {
            Some(known) => outcome(known),
            None => Err(Trouble::TimedOut),
        }
    }

    pub(super) async fn deliver(&mut self, batch: &Batch, time: &Time) -> Result<(), Trouble> {
        yield_now().await;
        let Some(open) = self.sink.as_mut() else {
            return Err(Trouble::NoThread("the sink is not open".to_owned()));
        };
        let delivery = contained(|| open.deliver(batch)).ok_or(Trouble::Panicked)?;
        match time.limited(Contained::new(delivery)).await {
            Some(taken) => outcome(taken),
            None => Err(Trouble::TimedOut),
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let_go(&mut self.sink);
    }
}
