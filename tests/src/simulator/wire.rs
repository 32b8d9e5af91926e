//! A log that is asked from afar, by a wire that is cut now and then.
//!
//! ```text
//!  client: Log, attached --- Wire: Holder ---> endpoints, as the server has them ---> the log
//!                             | cut before it is sent; before it arrives; after it is answered
//! ```
//!
//! What dies of the process that holds the log dies as in everything else: by its machine.

use super::Simulation;
use crate::tamper::Seeded;
use runstone_store::holder::{Endpoint, Form, Holder, Lost, Refusal as _, Reply, Replying, Told};
use runstone_store::keys::Credential;
use runstone_store::{AppendError, Clock as _, Log, ManualClock};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Why a request is lost that no machine lost.
pub(crate) const CUT: &str = "the wire was cut";

/// Everything that may change something: only these are cut, since nobody doubts what is read.
const CHANGES: [&str; 10] = [
    "append",
    "effect/",
    "run/",
    "session/",
    "approval/",
    "budget/",
    "task",
    "tray/",
    "agent/",
    "message/",
];

/// What was asked by a wire, when there was so much of the log, and what came back.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) name: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) now_us: u64,
    pub(super) monotonic_us: u64,
    pub(super) reply: Result<Reply, Lost>,
}

/// Everything that was asked by a wire, oldest first.
pub(super) type Exchanges = Arc<Mutex<Vec<Exchange>>>;

/// A wire to a log, as somebody.
#[derive(Clone, Debug)]
struct Wire {
    log: Log,
    clock: Arc<ManualClock>,
    numbers: Arc<Mutex<Seeded>>,
    told: Exchanges,
    /// From then on no claim of what lies in a tray arrives, by the monotonic clock.
    loses_claims_from_us: Option<u64>,
}

/// Everything that can be asked, by its name.
fn endpoints() -> &'static BTreeMap<&'static str, Endpoint> {
    static ENDPOINTS: OnceLock<BTreeMap<&'static str, Endpoint>> = OnceLock::new();
    ENDPOINTS.get_or_init(|| {
        let of_store = runstone_store::holder::endpoints().into_iter();
        let all = of_store.chain(runstone_projections::endpoints());
        all.map(|endpoint| (endpoint.name, endpoint)).collect()
    })
}

fn cut(is_sent: bool) -> Lost {
    Lost {
        is_sent,
        why: CUT.to_owned(),
    }
}

fn answer(log: &Log, name: &str, body: &[u8]) -> Reply {
    let endpoint = endpoints().get(name);
    // Of what is asked, every other kind as those read it who read JSON alone.
    let form = if body.len().is_multiple_of(2) {
        Form::Packed
    } else {
        Form::Json
    };
    let answer = endpoint.map(|endpoint| (endpoint.answer)(log, body, form, &|_, _| {}));
    match answer.unwrap_or_else(|| panic!("nobody answers {name}")) {
        Ok(answer) => Reply::Answer(answer),
        Err(told) => Reply::Refusal(serde_json::to_vec(&told).unwrap()),
    }
}

impl Holder for Wire {
    fn ask(&self, name: &'static str, body: Vec<u8>) -> Replying {
        let wire = self.clone();
        Box::pin(async move {
            let (log, numbers) = (&wire.log, &wire.numbers);
            let (now_us, monotonic_us) = (log.now_us(), wire.clock.monotonic_us());
            let sent = body.clone();
            let changes = CHANGES.iter().any(|change| name.starts_with(change));
            let is_lost = name == "tray/claim"
                && wire
                    .loses_claims_from_us
                    .is_some_and(|from_us| from_us <= monotonic_us);
            let chance = if is_lost {
                0
            } else if changes {
                let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
                numbers.below(24)
            } else {
                usize::MAX
            };
            let reply = match chance {
                0 => Err(cut(false)),
                1 => Err(cut(true)),
                2 | 3 => {
                    drop(answer(log, name, &body));
                    Err(cut(true))
                }
                _ => Ok(answer(log, name, &body)),
            };
            let exchange = Exchange {
                name,
                body: sent,
                now_us,
                monotonic_us,
                reply: reply.clone(),
            };
            let mut told = wire.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.push(exchange);
            reply
        })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // Every reply is there as soon as it is asked for.
        Box::pin(std::future::ready(()))
    }

    fn acting_as(&self, credential: &Credential) -> Result<Arc<dyn Holder>, AppendError> {
        let challenge = self.log.challenge()?;
        let proof = credential.prove(&challenge);
        let log = self.log.proven(credential.id(), &challenge, &proof)?;
        Ok(Arc::new(Self {
            log,
            ..self.clone()
        }))
    }
}

impl Simulation {
    /// The log, as it is asked now: here, or from afar.
    pub(super) fn asked_log(&mut self) -> Log {
        let log = self.log().clone();
        if !self.is_afar {
            return log;
        }
        match self.attached(None) {
            Some((there, _)) => there,
            None => {
                self.is_afar = false;
                log
            }
        }
    }

    /// The log from afar, and what is asked of it from now on; from a time on, if one is given, no
    /// claim of what lies in a tray arrives.
    pub(super) fn attached(
        &mut self,
        loses_claims_from_us: Option<u64>,
    ) -> Option<(Log, Exchanges)> {
        let told = Exchanges::default();
        let wire = Wire {
            log: self.log().as_keyring(),
            clock: Arc::clone(&self.clock),
            numbers: Arc::new(Mutex::new(Seeded::new(self.numbers.next_u64()))),
            told: Arc::clone(&told),
            loses_claims_from_us,
        };
        match Log::attached(Arc::new(wire)) {
            Ok(there) => Some((there, told)),
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                None
            }
        }
    }
}

/// Whether a request was lost by a wire, and whether it was sent.
pub(crate) fn was_cut(error: &AppendError) -> Option<bool> {
    let told: Told = error.told();
    let is_cut = told.message.contains(CUT);
    is_cut.then(|| told.code() == "outcome_unknown")
}
