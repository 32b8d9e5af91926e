//! Commands: what every one of them goes through, whoever gives it.

use crate::agents;
use runstone_codec::{Draft, EventError};
use runstone_store::holder::Ask;
use runstone_store::{AppendError, DecideContext, Decision, Log};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What decides it, at the writer.
type Decider<A> = Box<dyn FnMut(&mut DecideContext<'_>) -> Result<Decision<A>, AppendError> + Send>;

/// A command, ready to be decided. An agent that gives its first one is registered by it, and one
/// that was revoked gives none.
pub(crate) struct Command<A> {
    candidates: Vec<Draft>,
    decide: Decider<A>,
}

impl<A: Send + 'static> Command<A> {
    /// A command of whoever this handle acts as.
    pub(crate) fn new(
        log: &Log,
        mut candidates: Vec<Draft>,
        mut decide: impl FnMut(&mut DecideContext<'_>) -> Result<Decision<A>, AppendError>
        + Send
        + 'static,
    ) -> Result<Self, EventError> {
        let Some(agent) = agents::name_of(log.principal().0).map(str::to_owned) else {
            return Ok(Self {
                candidates,
                decide: Box::new(decide),
            });
        };
        let registration = candidates.len();
        candidates.push(agents::registration(&agent)?);
        let decide = move |context: &mut DecideContext<'_>| {
            let is_known = agents::admit(context, &agent)?;
            let mut decision = decide(context)?;
            if !is_known && !agents::registers(context, &decision.record, &agent) {
                decision = decision.and(registration, runstone_codec::Control::new());
            }
            Ok(decision)
        };
        Ok(Self {
            candidates,
            decide: Box::new(decide),
        })
    }

    /// What came of something that was begun before: whoever was revoked meanwhile may still say it,
    /// else a call that was made would be unknown for ever.
    pub(crate) fn ending(
        candidates: Vec<Draft>,
        decide: impl FnMut(&mut DecideContext<'_>) -> Result<Decision<A>, AppendError> + Send + 'static,
    ) -> Self {
        Self {
            candidates,
            decide: Box::new(decide),
        }
    }

    pub(crate) async fn run(self, log: &Log) -> Result<A, AppendError> {
        let (answer, _) = log.command(self.candidates, self.decide).await?;
        Ok(answer)
    }

    pub(crate) fn run_blocking(self, log: &Log) -> Result<A, AppendError> {
        let (answer, _) = log.command_blocking(self.candidates, self.decide)?;
        Ok(answer)
    }

    /// One or the other, for what takes several commands.
    pub(crate) async fn run_by(self, log: &Log, waiting: Waiting) -> Result<A, AppendError> {
        match waiting {
            Waiting::Blocking => self.run_blocking(log),
            Waiting::Async => self.run(log).await,
        }
    }
}

/// Whether a caller waits on its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    Blocking,
    Async,
}

/// What the process answers that holds the log; `None`: that is this one.
pub(crate) async fn asked<A: Ask + Sync>(
    log: &Log,
    waiting: Waiting,
    ask: impl FnOnce() -> A,
) -> Option<Result<A::Answer, A::Error>> {
    if !log.is_attached() {
        return None;
    }
    match waiting {
        Waiting::Blocking => log.ask_there_blocking(&ask()),
        Waiting::Async => log.ask_there(&ask()).await,
    }
}

/// The output of a future whose commands block: it never waits for anything else.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::yield_now();
    }
}
