//! A run of a tape: what of it is done again, and what comes next.

use super::asked::{Asked, compared, is_same_input, is_same_tool, likeness, sign_of};
use super::divergence::{Divergence, DivergenceKind, Said};
use super::recording::{Answer, Branch, RecordedRun, What, args_of};
use std::collections::{BTreeMap, BTreeSet};

/// Where something stands in a run.
pub(super) enum At {
    Here(usize),
    NotYet,
    Over,
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
pub(super) struct Played {
    pub(super) run: RecordedRun,
    pub(super) is_begun: bool,
    /// What each item is found by, and in which branch.
    keys: Vec<(Option<Branch>, Sign)>,
    /// Which items are not done again yet.
    left: Vec<bool>,
    /// The same by that.
    signs: BTreeMap<(Option<Branch>, Sign), BTreeSet<usize>>,
    /// What is to be done and is not done yet, of each branch and of all.
    must: BTreeMap<Option<Branch>, BTreeSet<usize>>,
    pub(super) must_all: BTreeSet<usize>,
    /// Where each step stands.
    steps: BTreeMap<Branch, usize>,
    /// Steps whose recorded names were erased, by those of the program.
    erased: BTreeMap<Branch, Branch>,
    /// What has begun again and not ended, by its recorded end.
    pub(super) going_on: BTreeSet<(u64, usize)>,
    /// How often each node failed.
    pub(super) failures: BTreeMap<String, u64>,
    /// How many were done.
    pub(super) done: usize,
    /// What was done before its turn.
    early: Option<Early>,
    /// What was waited for until it was taken for not done; one past the last if that is nothing.
    pub(super) given_up: Option<usize>,
    /// What ended it.
    pub(super) stopped: Option<Box<Divergence>>,
    pub(super) live: usize,
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

impl Played {
    pub(super) fn new(run: RecordedRun, ignored: &[String]) -> Self {
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
    pub(super) fn branch_of(&self, branch: Option<&Branch>) -> Option<Branch> {
        let branch = branch.filter(|_| !self.run.is_flat)?;
        Some(self.erased.get(branch).unwrap_or(branch).clone())
    }

    /// Where a step stands that was begun before.
    pub(super) fn entered(&self, step: &Branch) -> Option<usize> {
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
    pub(super) fn find(&self, branch: Option<&Branch>, asked: &Asked) -> Option<usize> {
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

    pub(super) fn turn(
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

    pub(super) fn divergences(&self, run: &str) -> Vec<Divergence> {
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
