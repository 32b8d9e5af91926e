//! A recording as it is played to a program that runs again.

use super::asked::{Asked, compared, is_of_arguments, sign_of};
use super::divergence::{Divergence, DivergenceKind, Report, RunReport};
use super::played::{At, Played};
use super::recording::{Answer, Branch, Recording, What};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A call as the program makes it.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "what a call is told by")]
pub struct Called {
    /// What is called.
    pub name: String,
    /// Its arguments.
    pub args: Option<Value>,
    /// Its key as text.
    pub key: Option<String>,
}

/// Where something that was recorded stands on the tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    run: String,
    at: usize,
}

impl Place {
    /// The run.
    pub fn run(&self) -> &str {
        &self.run
    }
}

/// What a step or a call gets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Turn {
    /// A step: where it stands.
    Step(Place),
    /// A call: what was recorded.
    Answer {
        /// Where it stands.
        place: Place,
        /// Position of the event that says so.
        position: u64,
        /// The answer.
        answer: Answer,
    },
    /// Something that goes on at the same time was done before it: ask again when that was begun, or
    /// when it is [given up](Tape::give_up_waiting).
    NotYet,
    /// The recording is over: it is done.
    Live,
}

/// A recording that is played once.
///
/// ```
/// use runstone_replay::again::{Called, Recording, Tape, Turn};
/// use serde_json::json;
///
/// let lines = r#"{"runstone_recording":1}
/// {"run":{"stream":"run-1","finished":true}}
/// {"what":{"call":{"name":"pay","args":{"usd":12},"answer":{"completed":{"result":7}}}},"began":2,"ended":3}
/// "#;
/// let tape = Tape::new(Recording::read(lines.as_bytes())?);
/// tape.begin("run-1")?;
/// let mut call = Called { name: "pay".to_owned(), args: Some(json!({"usd": 13})), key: None };
/// let other = tape.call("run-1", None, &call).unwrap_err();
/// assert!(other.to_string().contains("~ /args/usd 12 -> 13"));
/// # let tape = Tape::new(Recording::read(lines.as_bytes())?);
/// # tape.begin("run-1")?;
/// call.args = Some(json!({"usd": 12}));
/// assert!(matches!(tape.call("run-1", None, &call)?, Turn::Answer { .. }));
/// assert!(tape.report().is_same());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tape {
    settings: Option<Value>,
    goes_on_live: bool,
    patience: Duration,
    ignored: Vec<String>,
    runs: Mutex<BTreeMap<String, Played>>,
}

impl Tape {
    /// After the end of the recording the program stops.
    pub fn new(recording: Recording) -> Self {
        let runs = recording.runs.into_iter();
        Self {
            settings: recording.settings,
            goes_on_live: false,
            patience: Duration::from_secs(5),
            ignored: Vec::new(),
            runs: Mutex::new(
                runs.map(|(name, run)| (name, Played::new(run, &[])))
                    .collect(),
            ),
        }
    }

    /// After the end of the recording the program goes on, and its calls are made: after all that was
    /// recorded of a run, and in branches whose end was not.
    #[must_use]
    pub fn then_live(mut self) -> Self {
        self.goes_on_live = true;
        self
    }

    /// How long something waits for what was done before it, where several things go on at once,
    /// while nothing else is done, before that is taken for not done. Default five seconds.
    #[must_use]
    pub fn wait_at_most(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long something waits for what was done before it.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// What stands at this JSON Pointer (RFC 6901) of arguments is not compared, nor are keys that
    /// are made of arguments: what the program takes from a clock or from chance.
    #[must_use]
    pub fn ignore(mut self, pointer: impl Into<String>) -> Self {
        self.ignored.push(pointer.into());
        let runs = self.runs.get_mut();
        for played in runs.unwrap_or_else(PoisonError::into_inner).values_mut() {
            *played = Played::new(std::mem::take(&mut played.run), &self.ignored);
        }
        self
    }

    /// The settings that the runs went by, as JSON; `None`: the defaults.
    pub fn settings(&self) -> Option<&Value> {
        self.settings.as_ref()
    }

    /// The program begins a run, or goes on with it; the answer is what its session begins with.
    ///
    /// # Errors
    ///
    /// [`Divergence`] for one that was not recorded, unless all that was recorded is done and the
    /// program goes on live.
    pub fn begin(&self, run: &str) -> Result<Option<Value>, Box<Divergence>> {
        let mut runs = self.runs();
        if let Some(played) = runs.get_mut(run) {
            if let Some(stopped) = &played.stopped {
                return Err(stopped.clone());
            }
            played.is_begun = true;
            return Ok(played.run.document.clone());
        }
        let is_over = runs.values().all(|played| played.must_all.is_empty());
        let mut played = Played::default();
        if self.goes_on_live && is_over {
            played.is_begun = true;
            runs.insert(run.to_owned(), played);
            return Ok(None);
        }
        let divergence = Box::new(Divergence::new(DivergenceKind::UnknownRun, run, 0));
        played.stopped = Some(divergence.clone());
        runs.insert(run.to_owned(), played);
        Err(divergence)
    }

    /// Which attempt of a node comes next: one more than those that failed.
    pub fn attempt(&self, run: &str, node: &str) -> u64 {
        let runs = self.runs();
        let failures = runs.get(run).and_then(|played| played.failures.get(node));
        failures.map_or(1, |failures| failures.saturating_add(1))
    }

    /// An attempt of a step of the program failed.
    pub fn failed(&self, run: &str, node: &str) {
        if let Some(played) = self.runs().get_mut(run) {
            let failures = played.failures.entry(node.to_owned()).or_default();
            *failures = failures.saturating_add(1);
        }
    }

    /// The program begins a step. One that it begins again, because it was dropped or rolled back,
    /// stands where it stood.
    ///
    /// # Errors
    ///
    /// [`Divergence`] for one that was not recorded in this branch.
    pub fn step(
        &self,
        run: &str,
        branch: Option<&Branch>,
        step: &Branch,
    ) -> Result<Turn, Box<Divergence>> {
        let place = |at| Place {
            run: run.to_owned(),
            at,
        };
        let known = self.runs().get(run).and_then(|played| played.entered(step));
        if let Some(at) = known {
            return Ok(Turn::Step(place(at)));
        }
        Ok(match self.turn(run, branch, &Asked::Step(step.clone()))? {
            At::Here(at) => Turn::Step(place(at)),
            At::NotYet => Turn::NotYet,
            At::Over => Turn::Live,
        })
    }

    /// The program makes a call.
    ///
    /// # Errors
    ///
    /// [`Divergence`] for one that was not recorded in this branch.
    pub fn call(
        &self,
        run: &str,
        branch: Option<&Branch>,
        call: &Called,
    ) -> Result<Turn, Box<Divergence>> {
        let at = match self.turn(run, branch, &self.asked(call))? {
            At::Here(at) => at,
            At::NotYet => return Ok(Turn::NotYet),
            At::Over => {
                if let Some(played) = self.runs().get_mut(run) {
                    played.live = played.live.saturating_add(1);
                }
                return Ok(Turn::Live);
            }
        };
        let runs = self.runs();
        let item = runs.get(run).and_then(|played| played.run.items.get(at));
        let answer = item.and_then(|item| match &item.what {
            What::Call { answer, .. } => Some((item, answer.clone())),
            _ => None,
        });
        // Only a call is found by what tells a call.
        let Some((item, answer)) = answer else {
            return Ok(Turn::NotYet);
        };
        Ok(Turn::Answer {
            place: Place {
                run: run.to_owned(),
                at,
            },
            position: item.ended.unwrap_or(item.began),
            answer,
        })
    }

    /// Whether a call of the program is one that was recorded here and is not made again yet.
    pub fn has(&self, run: &str, branch: Option<&Branch>, call: &Called) -> bool {
        let runs = self.runs();
        let asked = self.asked(call);
        let here = |played: &Played| played.find(played.branch_of(branch).as_ref(), &asked);
        runs.get(run).and_then(here).is_some()
    }

    /// Whether the program goes on live after the end of the recording.
    pub fn goes_on_live(&self) -> bool {
        self.goes_on_live
    }

    /// Whether all has come that came before a call was answered, or a step ended: then it ends.
    pub fn is_due(&self, place: &Place) -> bool {
        let runs = self.runs();
        let Some(played) = runs.get(&place.run) else {
            return true;
        };
        let item = played.run.items.get(place.at);
        let Some(ended) = item.and_then(|item| item.ended) else {
            return true;
        };
        let next = played
            .must_all
            .first()
            .and_then(|at| played.run.items.get(*at));
        let first_end = played.going_on.first();
        played.stopped.is_some()
            || played.given_up.is_some()
            || next.is_none_or(|next| next.began > ended)
                && first_end.is_none_or(|(first, _)| *first >= ended)
    }

    /// A call has its answer, or a step ended, or whoever waited for that is gone.
    pub fn ended(&self, place: &Place) {
        if let Some(played) = self.runs().get_mut(&place.run) {
            played.going_on.retain(|(_, at)| *at != place.at);
        }
    }

    /// Nobody waits any more for what comes next in a run: it is taken for not done, until it is.
    pub fn give_up_waiting(&self, run: &str) {
        if let Some(played) = self.runs().get_mut(run) {
            let next = played.must_all.first();
            played.given_up = Some(next.copied().unwrap_or(played.run.items.len()));
        }
    }

    /// What came of it.
    pub fn report(&self) -> Report {
        let runs = self.runs();
        let (mut reports, mut divergences) = (Vec::new(), Vec::new());
        for (name, played) in runs.iter() {
            reports.push(RunReport {
                run: name.clone(),
                is_begun: played.is_begun,
                recorded: played
                    .run
                    .items
                    .iter()
                    .filter(|item| !item.optional)
                    .count(),
                done: played.done,
                live: played.live,
            });
            divergences.extend(played.divergences(name));
        }
        Report {
            runs: reports,
            divergences,
        }
    }

    /// Where what the program does stands on the tape.
    fn turn(
        &self,
        run: &str,
        branch: Option<&Branch>,
        asked: &Asked,
    ) -> Result<At, Box<Divergence>> {
        let mut runs = self.runs();
        let Some(played) = runs.get_mut(run) else {
            // It was not begun.
            return Err(Box::new(Divergence::new(
                DivergenceKind::UnknownRun,
                run,
                0,
            )));
        };
        if let Some(stopped) = &played.stopped {
            return Err(stopped.clone());
        }
        played.turn(run, branch, asked, self.goes_on_live)
    }

    fn asked(&self, call: &Called) -> Asked {
        let args = compared(call.args.clone(), &self.ignored);
        // A key of arguments tells no more than these, and as much of what is not compared.
        let key = call
            .key
            .clone()
            .filter(|key| self.ignored.is_empty() || !is_of_arguments(&call.name, key));
        Asked::Call {
            call: call.clone(),
            sign: sign_of(args.as_ref()),
            key,
        }
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<String, Played>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Recording> for Tape {
    fn from(recording: Recording) -> Self {
        Self::new(recording)
    }
}
