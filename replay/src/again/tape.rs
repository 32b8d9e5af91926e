//! A recording as it is played to a program that runs again.

use super::divergence::{Divergence, DivergenceKind, Report, RunReport, Said};
use super::recording::{Answer, Branch, RecordedRun, Recording, What, args_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
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

/// Where something stands in a run.
enum At {
    Here(usize),
    NotYet,
    Over,
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

/// What something on the tape is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Step(Branch),
    ErasedStep,
    /// Name, and arguments as they are compared.
    Call(String, String),
    Refused(String),
    ErasedCall,
}

/// A run of it.
#[derive(Debug, Default)]
struct Played {
    run: RecordedRun,
    is_begun: bool,
    /// What each item is found by, and in which branch.
    keys: Vec<(Option<Branch>, Sign)>,
    /// Which items are not done again yet.
    left: Vec<bool>,
    /// The same by that.
    signs: BTreeMap<(Option<Branch>, Sign), BTreeSet<usize>>,
    /// What is to be done and is not done yet, of each branch and of all.
    must: BTreeMap<Option<Branch>, BTreeSet<usize>>,
    must_all: BTreeSet<usize>,
    /// Where each step stands.
    steps: BTreeMap<Branch, usize>,
    /// Steps whose recorded names were erased, by those of the program.
    erased: BTreeMap<Branch, Branch>,
    /// What has begun again and not ended, by its recorded end.
    going_on: BTreeSet<(u64, usize)>,
    /// How often each node failed.
    failures: BTreeMap<String, u64>,
    /// How many were done.
    done: usize,
    /// What was done before its turn.
    early: Option<Early>,
    /// What was waited for until it was taken for not done; one past the last if that is nothing.
    given_up: Option<usize>,
    /// What ended it.
    stopped: Option<Box<Divergence>>,
    live: usize,
}

/// Something that was done before its turn.
#[derive(Debug, Clone, Copy)]
struct Early {
    at: usize,
    /// What had its turn.
    expected: Option<usize>,
    /// What was done before it.
    done: usize,
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

/// What the program does.
#[derive(Debug, Clone)]
enum Asked {
    Step(Branch),
    Call {
        call: Called,
        /// Its arguments as they are compared, as text.
        sign: String,
        /// Its key, if that is compared.
        key: Option<String>,
    },
}

impl Asked {
    fn said(&self, branch: Option<&Branch>) -> Said {
        match self {
            Self::Step(step) => Said::of_step(step, branch, None),
            Self::Call { call, .. } => {
                let (name, args) = (call.name.clone(), call.args.clone());
                Said::of_call(name, args, call.key.clone()).at(branch, None)
            }
        }
    }
}

/// Arguments without what is not compared.
fn compared(mut args: Option<Value>, ignored: &[String]) -> Option<Value> {
    for pointer in ignored {
        if let Some(value) = args.as_mut().and_then(|args| args.pointer_mut(pointer)) {
            *value = Value::Null;
        }
    }
    args
}

/// Arguments as text, members by their names.
fn sign_of(args: Option<&Value>) -> String {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(members) => {
                let members: BTreeMap<&String, &Value> = members.iter().collect();
                out.push('{');
                for (name, value) in members {
                    let _ = write!(out, "{name:?}:");
                    write(value, out);
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for item in items {
                    write(item, out);
                    out.push(',');
                }
                out.push(']');
            }
            other => {
                let _ = write!(out, "{other}");
            }
        }
    }
    let mut text = String::new();
    if let Some(args) = args {
        write(args, &mut text);
    }
    text
}

/// Whether a key is the digest of arguments.
fn is_of_arguments(name: &str, key: &str) -> bool {
    let digest = key
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(':'));
    digest.is_some_and(|digest| {
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

impl Played {
    fn new(run: RecordedRun, ignored: &[String]) -> Self {
        let mut played = Self {
            left: vec![true; run.items.len()],
            ..Self::default()
        };
        for (at, item) in run.items.iter().enumerate() {
            let branch = item.branch.clone().filter(|_| !run.is_flat);
            let args = match &item.what {
                What::Call { args, .. } => args_of(args.as_deref()),
                _ => None,
            };
            let args = compared(args, ignored);
            let sign = match &item.what {
                What::Step(step) => {
                    played.steps.insert(step.clone(), at);
                    Sign::Step(step.clone())
                }
                What::ErasedStep(step) => {
                    played.steps.insert(step.clone(), at);
                    Sign::ErasedStep
                }
                What::Call { name, answer, .. } => match (name, answer) {
                    (Some(name), Answer::Refused { .. }) => Sign::Refused(name.clone()),
                    (Some(name), _) if !item.is_erased() => {
                        Sign::Call(name.clone(), sign_of(args.as_ref()))
                    }
                    _ => Sign::ErasedCall,
                },
            };
            let key = (branch.clone(), sign);
            played.signs.entry(key.clone()).or_default().insert(at);
            played.keys.push(key);
            if !item.optional {
                played.must.entry(branch).or_default().insert(at);
                played.must_all.insert(at);
            }
        }
        played.run = run;
        played
    }

    /// A branch of the program, as it was recorded.
    fn branch_of(&self, branch: Option<&Branch>) -> Option<Branch> {
        let branch = branch.filter(|_| !self.run.is_flat)?;
        Some(self.erased.get(branch).unwrap_or(branch).clone())
    }

    /// Where a step stands that was begun before.
    fn entered(&self, step: &Branch) -> Option<usize> {
        let step = self.erased.get(step).unwrap_or(step);
        let at = self.steps.get(step).copied();
        at.filter(|at| !self.is_left(*at))
    }

    fn is_left(&self, at: usize) -> bool {
        self.left.get(at).copied().unwrap_or_default()
    }

    /// Whether something has its turn: nothing that is to be done had ended before it began.
    fn has_turn(&self, branch: Option<&Branch>, at: usize, began: u64) -> bool {
        let must = self.must.get(&branch.cloned());
        let mut before = must.into_iter().flat_map(|must| must.range(..at));
        before.all(|before| {
            let before = self.run.items.get(*before);
            before
                .and_then(|before| before.ended)
                .is_none_or(|ended| ended >= began)
        })
    }

    /// What is left of a branch and found by a sign, and whether it has its turn.
    fn found(
        &self,
        branch: Option<&Branch>,
        sign: Sign,
        key: Option<&str>,
    ) -> impl Iterator<Item = (usize, bool)> {
        let found = self.signs.get(&(branch.cloned(), sign));
        let items = found.into_iter().flatten();
        let items = items.filter_map(|at| Some((*at, self.run.items.get(*at)?)));
        let same = items.filter(move |(_, item)| match (&item.what, key) {
            (
                What::Call {
                    key: Some(known), ..
                },
                Some(key),
            ) => known == key,
            _ => true,
        });
        let branch = branch.cloned();
        same.map(move |(at, item)| (at, self.has_turn(branch.as_ref(), at, item.began)))
    }

    /// Where something that has its turn stands.
    fn find(&self, branch: Option<&Branch>, asked: &Asked) -> Option<usize> {
        let in_turn = |sign, key| {
            let mut found = self.found(branch, sign, key);
            found.find(|(_, turn)| *turn).map(|(at, _)| at)
        };
        match asked {
            Asked::Step(step) => {
                in_turn(Sign::Step(step.clone()), None).or_else(|| in_turn(Sign::ErasedStep, None))
            }
            Asked::Call { call, sign, key } => {
                let (name, key) = (call.name.clone(), key.as_deref());
                in_turn(Sign::Call(name.clone(), sign.clone()), key)
                    // What it was to be called with was not recorded, but the key.
                    .or_else(|| in_turn(Sign::Refused(name.clone()), key))
                    // What was erased may have been anything.
                    .or_else(|| {
                        in_turn(Sign::ErasedCall, None).filter(|at| self.may_be(*at, &name))
                    })
            }
        }
    }

    /// Whether what was erased may have been a call of this name.
    fn may_be(&self, at: usize, name: &str) -> bool {
        let item = self.run.items.get(at).map(|item| &item.what);
        match item {
            Some(What::Call {
                name: Some(known), ..
            }) => known == name,
            _ => true,
        }
    }

    /// Where something stands that has not its turn.
    fn find_early(&self, branch: Option<&Branch>, asked: &Asked) -> Option<usize> {
        let (sign, key) = match asked {
            Asked::Step(step) => (Sign::Step(step.clone()), None),
            Asked::Call { call, sign, key } => {
                (Sign::Call(call.name.clone(), sign.clone()), key.as_deref())
            }
        };
        self.found(branch, sign, key).next().map(|(at, _)| at)
    }

    fn turn(
        &mut self,
        run: &str,
        branch: Option<&Branch>,
        asked: &Asked,
        goes_on_live: bool,
    ) -> Result<At, Box<Divergence>> {
        let of = self.branch_of(branch);
        if let Some(at) = self.find(of.as_ref(), asked) {
            self.mark(at, asked);
            return Ok(At::Here(at));
        }
        let expected = self.must.get(&of).and_then(|must| must.first().copied());
        let is_open_ended = goes_on_live && self.is_open_ended(of.as_ref());
        let early = self.find_early(of.as_ref(), asked);
        let waits = early.is_some() || is_open_ended && expected.is_some();
        if waits && self.given_up.is_none() {
            return Ok(At::NotYet);
        }
        if let Some(at) = early {
            let done = self.done;
            self.early.get_or_insert(Early { at, expected, done });
            self.mark(at, asked);
            return Ok(At::Here(at));
        }
        let is_over = self.must_all.is_empty() || is_open_ended && expected.is_none();
        if goes_on_live && is_over {
            return Ok(At::Over);
        }
        let divergence = Box::new(self.diverged(run, branch, asked, expected));
        self.stopped = Some(divergence.clone());
        Err(divergence)
    }

    fn mark(&mut self, at: usize, asked: &Asked) {
        let Some(item) = self.run.items.get(at) else {
            return;
        };
        // Of equal refusals one is recorded.
        if item.is_refused() {
            return;
        }
        if let (What::ErasedStep(recorded), Asked::Step(step)) = (&item.what, asked) {
            self.erased.insert(step.clone(), recorded.clone());
        }
        let branch = item.branch.clone().filter(|_| !self.run.is_flat);
        let left = self.keys.get(at).and_then(|key| self.signs.get_mut(key));
        if let Some(left) = left {
            left.remove(&at);
        }
        if let Some(must) = self.must.get_mut(&branch) {
            must.remove(&at);
        }
        self.must_all.remove(&at);
        if let Some(left) = self.left.get_mut(at) {
            *left = false;
        }
        self.going_on.extend(item.ended.map(|ended| (ended, at)));
        if self.given_up == Some(at) {
            // It was slow, and not left out.
            self.given_up = None;
        }
        self.done = self.done.saturating_add(1);
    }

    /// Whether the end of a branch is not recorded.
    fn is_open_ended(&self, branch: Option<&Branch>) -> bool {
        if self.run.is_finished {
            return false;
        }
        let step = branch.map(|branch| self.steps.get(branch));
        let item = step.flatten().and_then(|at| self.run.items.get(*at));
        item.is_none_or(|step| step.ended.is_none())
    }

    fn said(&self, at: usize) -> Option<Said> {
        let item = self.run.items.get(at)?;
        Some(Said::of(&item.what, item.branch.as_ref(), Some(item.began)))
    }

    /// What is different, where the program did something that is not recorded here.
    fn diverged(
        &self,
        run: &str,
        branch: Option<&Branch>,
        asked: &Asked,
        expected: Option<usize>,
    ) -> Divergence {
        let of = self.branch_of(branch);
        let in_turn = |like: fn(&What, &Asked) -> bool| {
            let must = self.must.get(&of).into_iter().flatten();
            let items = must.filter_map(|at| Some((*at, self.run.items.get(*at)?)));
            let mut turn =
                items.take_while(|(at, item)| self.has_turn(of.as_ref(), *at, item.began));
            turn.find(|(_, item)| like(&item.what, asked))
                .map(|(at, _)| at)
        };
        let elsewhere = || {
            let mut branches = self.must.keys();
            branches.find_map(|branch| self.find_early(branch.as_ref(), asked))
        };
        let (kind, nearest) = if let Some(at) = in_turn(is_same_tool) {
            (DivergenceKind::ChangedArguments, Some(at))
        } else if let Some(at) = in_turn(is_same_input) {
            (DivergenceKind::ChangedName, Some(at))
        } else if let Some(at) = elsewhere() {
            (DivergenceKind::ChangedOrder, Some(at))
        } else {
            (DivergenceKind::Extra, self.nearest(asked))
        };
        let mut divergence = Divergence::new(kind, run, self.done);
        let is_instead = matches!(
            kind,
            DivergenceKind::ChangedArguments | DivergenceKind::ChangedName
        );
        let expected = if is_instead { nearest } else { expected };
        divergence.expected = expected.and_then(|at| self.said(at));
        divergence.got = Some(asked.said(branch));
        divergence.nearest = nearest.and_then(|at| self.said(at));
        divergence.compared()
    }

    /// The most similar of what is not done yet, else of what was done.
    fn nearest(&self, asked: &Asked) -> Option<usize> {
        let mut best: Option<((usize, bool), usize)> = None;
        for (at, item) in self.run.items.iter().enumerate() {
            let like = (likeness(&item.what, asked), self.is_left(at));
            // Of equals the first.
            if like.0 > 0 && best.is_none_or(|(known, _)| like > known) {
                best = Some((like, at));
            }
        }
        best.map(|(_, at)| at)
    }

    fn divergences(&self, run: &str) -> Vec<Divergence> {
        if let Some(Early { at, expected, done }) = self.early {
            let is_missing = expected.is_some_and(|expected| self.is_left(expected));
            let kind = if is_missing {
                DivergenceKind::Missing
            } else {
                DivergenceKind::ChangedOrder
            };
            let mut divergence = Divergence::new(kind, run, done);
            divergence.expected = expected.and_then(|at| self.said(at));
            divergence.got = self.said(at);
            return vec![divergence];
        }
        if let Some(stopped) = &self.stopped {
            return vec![(**stopped).clone()];
        }
        if !self.is_begun && !self.run.is_optional {
            return vec![Divergence::new(DivergenceKind::NotBegun, run, 0)];
        }
        let missing = self.must_all.iter().map(|at| {
            let mut divergence = Divergence::new(DivergenceKind::Missing, run, self.done);
            divergence.expected = self.said(*at);
            divergence
        });
        missing.collect()
    }
}

fn is_same_tool(recorded: &What, asked: &Asked) -> bool {
    match (recorded, asked) {
        (What::Call { name, .. }, Asked::Call { call, .. }) => name.as_ref() == Some(&call.name),
        _ => false,
    }
}

fn is_same_input(recorded: &What, asked: &Asked) -> bool {
    match (recorded, asked) {
        (What::Call { args, .. }, Asked::Call { call, .. }) => {
            call.args.is_some() && args_of(args.as_deref()) == call.args
        }
        // One that is done once more is no other one.
        (What::Step(_), Asked::Step(made)) => made.attempt == 1,
        _ => false,
    }
}

/// How much two calls have in common; 0 is nothing.
fn likeness(recorded: &What, asked: &Asked) -> usize {
    match (recorded, asked) {
        (What::Step(a), Asked::Step(b)) => usize::from(a.node == b.node),
        (
            What::Call {
                name, args, key, ..
            },
            Asked::Call { call, .. },
        ) => {
            let shared = match (args_of(args.as_deref()), &call.args) {
                (Some(Value::Object(a)), Some(Value::Object(b))) => a
                    .iter()
                    .filter(|(name, value)| b.get(*name) == Some(value))
                    .count(),
                (Some(a), Some(b)) => usize::from(a == *b),
                _ => 0,
            };
            let keys = usize::from(key.is_some() && *key == call.key);
            if name.as_ref() == Some(&call.name) {
                shared.saturating_add(1000)
            } else {
                shared.saturating_add(keys)
            }
        }
        _ => 0,
    }
}
