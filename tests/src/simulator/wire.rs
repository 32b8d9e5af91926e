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
use runstone_store::holder::{Endpoint, Holder, Lost, Refusal as _, Reply, Replying, Told};
use runstone_store::keys::Credential;
use runstone_store::{AppendError, Log};
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

/// A wire to a log, as somebody.
#[derive(Debug)]
struct Wire {
    log: Log,
    numbers: Arc<Mutex<Seeded>>,
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
    let answer = endpoint.map(|endpoint| (endpoint.answer)(log, body, &|_, _| {}));
    match answer.unwrap_or_else(|| panic!("nobody answers {name}")) {
        Ok(answer) => Reply::Answer(answer),
        Err(told) => Reply::Refusal(serde_json::to_vec(&told).unwrap()),
    }
}

impl Holder for Wire {
    fn ask(&self, name: &'static str, body: Vec<u8>) -> Replying {
        let (log, numbers) = (self.log.clone(), Arc::clone(&self.numbers));
        Box::pin(async move {
            let changes = CHANGES.iter().any(|change| name.starts_with(change));
            let chance = if changes {
                let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
                numbers.below(24)
            } else {
                usize::MAX
            };
            match chance {
                0 => Err(cut(false)),
                1 => Err(cut(true)),
                2 | 3 => {
                    drop(answer(&log, name, &body));
                    Err(cut(true))
                }
                _ => Ok(answer(&log, name, &body)),
            }
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
            numbers: Arc::clone(&self.numbers),
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
        let wire = Wire {
            log: log.as_keyring(),
            numbers: Arc::new(Mutex::new(Seeded::new(self.numbers.next_u64()))),
        };
        match Log::attached(Arc::new(wire)) {
            Ok(there) => there,
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                self.is_afar = false;
                log
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
