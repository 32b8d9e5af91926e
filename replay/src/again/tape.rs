//! A recording as it is played to a program that runs again.

use super::divergence::{Divergence, DivergenceKind, Report, RunReport, Said};
use super::recording::{Answer, Branch, Recorded, RecordedRun, Recording, What};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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

/// A run of it.
#[derive(Debug)]
struct Played {
    run: RecordedRun,
    is_begun: bool,
    /// Of each branch what is not done again yet, in the order in which it was recorded.
    left: BTreeMap<Option<Branch>, BTreeSet<usize>>,
    /// How many were done.
    done: usize,
    /// What was done before its turn.
    early: Option<Early>,
    /// Whether answers come at once, whatever came before them.
    is_impatient: bool,
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
            patience: Duration::from_secs(1),
            ignored: Vec::new(),
            runs: Mutex::new(runs.map(|(name, run)| (name, Played::new(run))).collect()),
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
    /// before that is taken for not done. Default a second.
    #[must_use]
    pub fn wait_at_most(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long something waits for what was done before it.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// What stands at this JSON Pointer (RFC 6901) of arguments is not compared, nor are keys: what
    /// the program takes from a clock or from chance.
    #[must_use]
    pub fn ignore(mut self, pointer: impl Into<String>) -> Self {
        self.ignored.push(pointer.into());
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
    /// [`Divergence`] for one that was not recorded.
    pub fn begin(&self, run: &str) -> Result<Option<Value>, Box<Divergence>> {
        let mut runs = self.runs();
        if let Some(played) = runs.get_mut(run) {
            played.is_begun = true;
            return Ok(played.run.document.clone());
        }
        if self.goes_on_live {
            return Ok(None);
        }
        let divergence = Box::new(Divergence::new(DivergenceKind::UnknownRun, run, 0));
        let mut played = Played::new(RecordedRun::default());
        played.stopped = Some(divergence.clone());
        runs.insert(run.to_owned(), played);
        Err(divergence)
    }

    /// The program begins a step.
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
        let what = What::Step(step.clone());
        let at = self.turn(
            run,
            branch,
            &what,
            |recorded| matches!(recorded, What::Step(recorded) if recorded == step),
        )?;
        let run = run.to_owned();
        Ok(match at {
            At::Here(at) => Turn::Step(Place { run, at }),
            At::NotYet => Turn::NotYet,
            At::Over => Turn::Live,
        })
    }

    /// The program makes a call.
    ///
    /// # Errors
    ///
    /// [`Divergence`] for one that was not recorded in this branch, or whose answer was not.
    pub fn call(
        &self,
        run: &str,
        branch: Option<&Branch>,
        call: &Called,
    ) -> Result<Turn, Box<Divergence>> {
        let made = What::Call {
            name: Some(call.name.clone()),
            args: call.args.clone(),
            key: call.key.clone(),
            answer: Answer::Unknown,
        };
        let at = self.turn(run, branch, &made, |recorded| self.is_same(recorded, call))?;
        let at = match at {
            At::Here(at) => at,
            At::NotYet => return Ok(Turn::NotYet),
            At::Over => {
                self.went_live(run);
                return Ok(Turn::Live);
            }
        };
        let runs = self.runs();
        let item = runs.get(run).and_then(|played| played.run.items.get(at));
        let Some((item, What::Call { answer, .. })) = item.map(|item| (item, &item.what)) else {
            return Ok(Turn::Live);
        };
        if matches!(answer, Answer::Unknown) && self.goes_on_live {
            drop(runs);
            self.went_live(run);
            return Ok(Turn::Live);
        }
        Ok(Turn::Answer {
            place: Place {
                run: run.to_owned(),
                at,
            },
            position: item.ended.unwrap_or(item.began),
            answer: answer.clone(),
        })
    }

    /// Whether a call of the program is one that was recorded here and is not made again yet.
    pub fn has(&self, run: &str, branch: Option<&Branch>, call: &Called) -> bool {
        let runs = self.runs();
        runs.get(run).is_some_and(|played| {
            let mut items = played.in_turn(branch);
            items.any(|(_, item)| self.is_same(&item.what, call))
        })
    }

    /// Whether all that was begun before a call was answered, or a step ended, has begun again, so that
    /// its end comes when it came.
    pub fn is_due(&self, place: &Place) -> bool {
        let runs = self.runs();
        let Some(played) = runs.get(&place.run) else {
            return true;
        };
        let Some(item) = played.run.items.get(place.at) else {
            return true;
        };
        if played.stopped.is_some() || played.is_impatient {
            return true;
        }
        let ended = item.ended.unwrap_or(u64::MAX);
        let mut left = played.left_of(item.branch.as_ref());
        left.find(|(_, item)| !item.optional)
            .is_none_or(|(_, next)| next.began > ended)
    }

    /// Nobody waits any more for what was begun in a run: it is taken for not done.
    pub fn give_up_waiting(&self, run: &str) {
        if let Some(played) = self.runs().get_mut(run) {
            played.is_impatient = true;
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
        what: &What,
        is_same: impl Fn(&What) -> bool,
    ) -> Result<At, Box<Divergence>> {
        let mut runs = self.runs();
        let Some(played) = runs.get_mut(run) else {
            return Ok(At::Over);
        };
        if let Some(stopped) = &played.stopped {
            return Err(stopped.clone());
        }
        played.turn(run, branch, (what, &is_same), self.goes_on_live)
    }

    fn is_same(&self, recorded: &What, call: &Called) -> bool {
        let What::Call {
            name,
            args,
            key,
            answer,
        } = recorded
        else {
            return false;
        };
        if name.as_ref() != Some(&call.name) {
            return false;
        }
        let keys = || match (key, &call.key) {
            (Some(key), Some(made)) => key == made,
            _ => true,
        };
        match answer {
            // What was to be called with it was not recorded, but the key.
            Answer::Refused { .. } => keys(),
            _ if self.ignored.is_empty() => keys() && *args == call.args,
            _ => self.compared(args.as_ref()) == self.compared(call.args.as_ref()),
        }
    }

    /// Arguments without what is not compared.
    fn compared(&self, args: Option<&Value>) -> Option<Value> {
        let mut args = args.cloned();
        for pointer in &self.ignored {
            if let Some(value) = args.as_mut().and_then(|args| args.pointer_mut(pointer)) {
                *value = Value::Null;
            }
        }
        args
    }

    fn went_live(&self, run: &str) {
        if let Some(played) = self.runs().get_mut(run) {
            played.live = played.live.saturating_add(1);
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

impl Played {
    fn new(run: RecordedRun) -> Self {
        let mut left: BTreeMap<Option<Branch>, BTreeSet<usize>> = BTreeMap::new();
        for (at, item) in run.items.iter().enumerate() {
            let branch = item.branch.clone().filter(|_| !run.is_flat);
            left.entry(branch).or_default().insert(at);
        }
        Self {
            is_begun: false,
            left,
            done: 0,
            early: None,
            is_impatient: false,
            stopped: None,
            live: 0,
            run,
        }
    }

    fn branch_of(&self, branch: Option<&Branch>) -> Option<Branch> {
        branch.filter(|_| !self.run.is_flat).cloned()
    }

    /// What of a branch is not done yet.
    fn left_of(&self, branch: Option<&Branch>) -> impl Iterator<Item = (usize, &Recorded)> {
        let left = self.left.get(&self.branch_of(branch));
        let left = left.into_iter().flatten();
        left.filter_map(|at| Some((*at, self.run.items.get(*at)?)))
    }

    /// What of a branch has its turn: nothing that is not done had ended before it began.
    fn in_turn(&self, branch: Option<&Branch>) -> impl Iterator<Item = (usize, &Recorded)> {
        let mut first_end = u64::MAX;
        self.left_of(branch).take_while(move |(_, item)| {
            let has_turn = item.began <= first_end;
            if !item.optional {
                first_end = first_end.min(item.ended.unwrap_or(u64::MAX));
            }
            has_turn
        })
    }

    /// Where something that is done stands, if it has its turn.
    fn find(
        &self,
        branch: Option<&Branch>,
        what: &What,
        is_same: &impl Fn(&What) -> bool,
    ) -> Option<usize> {
        let mut same = self.in_turn(branch);
        let same = same.find(|(_, item)| is_same(&item.what));
        // What was erased may have been anything.
        let erased = || {
            let mut turn = self.in_turn(branch);
            turn.find(|(_, item)| match (&item.what, what) {
                (What::Call { name, answer, .. }, What::Call { name: made, .. }) => {
                    matches!(answer, Answer::Erased) && (name.is_none() || name == made)
                }
                _ => false,
            })
        };
        same.or_else(erased).map(|(at, _)| at)
    }

    fn turn(
        &mut self,
        run: &str,
        branch: Option<&Branch>,
        (what, is_same): (&What, &impl Fn(&What) -> bool),
        goes_on_live: bool,
    ) -> Result<At, Box<Divergence>> {
        if let Some(at) = self.find(branch, what, is_same) {
            self.mark(at);
            return Ok(At::Here(at));
        }
        let expected = self.in_turn(branch).find(|(_, item)| !item.optional);
        let expected = expected.map(|(at, _)| at);
        let early = self.left_of(branch).find(|(_, item)| is_same(&item.what));
        if let Some((at, _)) = early {
            if !self.is_impatient {
                return Ok(At::NotYet);
            }
            let done = self.done;
            self.early.get_or_insert(Early { at, expected, done });
            self.mark(at);
            return Ok(At::Here(at));
        }
        if goes_on_live && expected.is_none() && (self.is_all_done() || self.is_open_ended(branch))
        {
            return Ok(At::Over);
        }
        let divergence = Box::new(self.diverged(run, branch, (what, is_same), expected));
        self.stopped = Some(divergence.clone());
        Err(divergence)
    }

    fn mark(&mut self, at: usize) {
        let Some(item) = self.run.items.get(at) else {
            return;
        };
        let is_refused = |what: &What| matches!(what, What::Call { answer, .. } if matches!(answer, Answer::Refused { .. }));
        // Of equal refusals one is recorded.
        if is_refused(&item.what) {
            return;
        }
        let branch = self.branch_of(item.branch.as_ref());
        if let Some(left) = self.left.get_mut(&branch) {
            left.remove(&at);
        }
        self.done = self.done.saturating_add(1);
    }

    fn is_left(&self, at: usize) -> bool {
        let mut branches = self.left.values();
        branches.any(|left| left.contains(&at))
    }

    /// What is to be done and is not, in the order in which it was recorded.
    fn missing(&self) -> BTreeSet<usize> {
        let left = self.left.values().flatten().copied();
        let items = &self.run.items;
        left.filter(|at| items.get(*at).is_some_and(|item| !item.optional))
            .collect()
    }

    fn is_all_done(&self) -> bool {
        self.missing().is_empty()
    }

    /// Whether the end of a branch is not recorded.
    fn is_open_ended(&self, branch: Option<&Branch>) -> bool {
        let Some(branch) = branch else {
            return !self.run.is_finished;
        };
        let mut items = self.run.items.iter();
        let step = items.find(|item| matches!(&item.what, What::Step(step) if step == branch));
        step.is_none_or(|step| step.ended.is_none())
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
        (what, is_same): (&What, &impl Fn(&What) -> bool),
        expected: Option<usize>,
    ) -> Divergence {
        let in_turn = |like: fn(&What, &What) -> bool| {
            let mut items = self.in_turn(branch).filter(|(_, item)| !item.optional);
            items
                .find(|(_, item)| like(&item.what, what))
                .map(|(at, _)| at)
        };
        let elsewhere = || {
            let mut items = self.run.items.iter().enumerate();
            let found = items.find(|(at, item)| is_same(&item.what) && self.is_left(*at));
            found.map(|(at, _)| at)
        };
        let (kind, nearest) = if let Some(at) = in_turn(is_same_tool) {
            (DivergenceKind::ChangedArguments, Some(at))
        } else if let Some(at) = in_turn(is_same_input) {
            (DivergenceKind::ChangedName, Some(at))
        } else if let Some(at) = elsewhere() {
            (DivergenceKind::ChangedOrder, Some(at))
        } else {
            (DivergenceKind::Extra, self.nearest(what))
        };
        let mut divergence = Divergence::new(kind, run, self.done);
        let is_instead = matches!(
            kind,
            DivergenceKind::ChangedArguments | DivergenceKind::ChangedName
        );
        let expected = if is_instead { nearest } else { expected };
        divergence.expected = expected.and_then(|at| self.said(at));
        divergence.got = Some(Said::of(what, branch, None));
        divergence.nearest = nearest.and_then(|at| self.said(at));
        divergence.compared()
    }

    /// The most similar of what is not done yet, else of what was done.
    fn nearest(&self, what: &What) -> Option<usize> {
        let mut best: Option<((usize, bool), usize)> = None;
        for (at, item) in self.run.items.iter().enumerate() {
            let like = (likeness(&item.what, what), self.is_left(at));
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
        let missing = self.missing().into_iter().map(|at| {
            let mut divergence = Divergence::new(DivergenceKind::Missing, run, self.done);
            divergence.expected = self.said(at);
            divergence
        });
        missing.collect()
    }
}

fn is_same_tool(recorded: &What, made: &What) -> bool {
    match (recorded, made) {
        (What::Call { name: a, .. }, What::Call { name: b, .. }) => a == b,
        _ => false,
    }
}

fn is_same_input(recorded: &What, made: &What) -> bool {
    match (recorded, made) {
        (What::Call { args: a, .. }, What::Call { args: b, .. }) => a.is_some() && a == b,
        (What::Step(_), What::Step(made)) => made.attempt == 1,
        _ => false,
    }
}

/// How much two calls have in common; 0 is nothing.
fn likeness(recorded: &What, made: &What) -> usize {
    match (recorded, made) {
        (What::Step(a), What::Step(b)) => usize::from(a.node == b.node),
        (
            What::Call {
                name: a,
                args: args_a,
                key: key_a,
                ..
            },
            What::Call {
                name: b,
                args: args_b,
                key: key_b,
                ..
            },
        ) => {
            let shared = match (args_a, args_b) {
                (Some(Value::Object(a)), Some(Value::Object(b))) => a
                    .iter()
                    .filter(|(name, value)| b.get(*name) == Some(value))
                    .count(),
                (Some(a), Some(b)) => usize::from(a == b),
                _ => 0,
            };
            let keys = usize::from(key_a.is_some() && key_a == key_b);
            if a == b {
                shared.saturating_add(1000)
            } else {
                shared.saturating_add(keys)
            }
        }
        _ => 0,
    }
}
