//! What agents ask of a simulated log: calls that happen once, runs and their sessions.
//!
//! The tool of the model is called by whoever holds a claim, and counts its calls.

use super::Simulation;
use super::model::Fate;
use crate::calls::{
    Act, Call, CallAsk, Heard, Lost, Run, RunAsk, Said, Standing, Time, Told, What, Who, Worlds,
    act, begin, call, claim, record,
};
use crate::tamper::{Outcome, SeededEntropy};
use runstone_codec::Authority;
use runstone_projections::effects::{Class, Effects, Executed, Held, State, Target};
use runstone_projections::runs::{self, RunHeld};
use runstone_projections::sessions;
use runstone_store::keys::Credential;
use runstone_store::{AppendError, Log};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// How the streams of agents begin.
pub(super) const STREAMS: &str = "agent-";
/// Their scope, which nobody erases.
const SCOPE: &str = "agents";
const KEYS: usize = 10;
const RUNS: usize = 3;
const SECOND_US: u64 = 1_000_000;

/// What is known of the calls and runs of a log.
#[derive(Debug, Default)]
pub(super) struct Agents {
    /// How often a log was lost with what was told of it.
    round: u64,
    opening: [u8; 16],
    opened_monotonic_us: u64,
    calls: BTreeMap<usize, Known>,
    runs: BTreeMap<usize, (Worlds<Run>, Vec<RunHeld>)>,
    person: Option<Credential>,
}

/// What is known of a call.
#[derive(Debug, Default)]
struct Known {
    worlds: Worlds<Call>,
    /// Everything that was ever held, oldest first.
    held: Vec<Held>,
    /// Claims under which the tool was called.
    called: BTreeSet<u64>,
    /// Calls of the tool since somebody said that it was not called.
    calls: u64,
}

/// A question on its way.
struct Asking<'a> {
    key: usize,
    ask: CallAsk,
    client: Option<Client<'a>>,
    told: Option<Told>,
    held: Option<Held>,
}

type Client<'a> = Pin<Box<dyn Future<Output = (Told, Option<Held>)> + 'a>>;

/// The class of a call: of each a few.
fn class_of(key: usize) -> Class {
    Class::ALL[key % Class::ALL.len()]
}

impl Simulation {
    pub(super) fn agents(&mut self) -> Outcome {
        let struck = self.machine.struck();
        match self.numbers.below(8) {
            0..=4 => self.ask_calls()?,
            5..=6 => self.ask_runs(),
            _ => self.see_agents(),
        }
        if self.machine.struck() > struck {
            self.fail();
        }
        Ok(())
    }

    /// The log was lost with what was told of it: its successor has other calls and runs.
    pub(super) fn forget_agents(&mut self) {
        let round = self.agents.round + 1;
        let person = self.agents.person.take();
        self.agents = Agents {
            round,
            person,
            ..Agents::default()
        };
    }

    /// Notes when this opening began; nothing moves the clock before.
    pub(super) fn note_opening(&mut self) {
        let opening = self.log().opening();
        if opening.id != self.agents.opening {
            self.agents.opening = opening.id;
            self.agents.opened_monotonic_us = self.monotonic_us();
        }
    }

    fn monotonic_us(&self) -> u64 {
        runstone_store::Clock::monotonic_us(self.clock.as_ref())
    }

    fn asked_at(&mut self) -> Time {
        self.note_opening();
        let opening = self.log().opening();
        Time {
            now_us: self.log().now_us(),
            opening: opening.id,
            opened_at_us: opening.at_us,
            passed_us: self.monotonic_us() - self.agents.opened_monotonic_us,
        }
    }

    /// A handle of a person; none while the disk does not let her in.
    fn person(&mut self, log: &Log) -> Outcome<Option<Log>> {
        if self.agents.person.is_none() {
            let path = self.folder.path().join("ada");
            let entropy = SeededEntropy::new(self.entropy_seed ^ 2);
            let ada = Credential::create(&path, "ada", Authority::Human, entropy.as_ref())?;
            self.agents.person = Some(ada);
        }
        let Some(ada) = &self.agents.person else {
            return Ok(None);
        };
        if let Ok(log) = log.with_credential(ada) {
            return Ok(Some(log));
        }
        let enrolled = log.enrol("ada", Authority::Human, &ada.public_key());
        let acting = log.with_credential(ada).ok();
        if matches!(enrolled, Err(AppendError::OutcomeUnknown { .. })) {
            self.fail();
        }
        assert!(acting.is_some() || self.is_excused(), "{enrolled:?}");
        Ok(acting)
    }

    fn hold_us(&mut self) -> Option<u64> {
        match self.numbers.below(3) {
            0 => None,
            1 => Some(30 * SECOND_US),
            _ => Some(3_600 * SECOND_US),
        }
    }

    fn any_claim(&mut self, key: usize) -> CallAsk {
        CallAsk::Claim {
            class: class_of(key),
            args: u8::from(self.numbers.below(12) == 0),
            hold_us: self.hold_us(),
            fresh_us: [None, Some(0)][usize::from(self.numbers.below(4) == 0)],
        }
    }

    /// Something that the holder of a claim may truthfully say, or anything by one who is late.
    fn any_act(&mut self, key: usize) -> Option<(CallAsk, Target)> {
        let known = self.agents.calls.get(&key)?;
        let newest = known.held.len().checked_sub(1)?;
        let late = self.numbers.below(4) == 0;
        let at = if late {
            self.numbers.below(newest + 1)
        } else {
            newest
        };
        let held = &self.agents.calls[&key].held[at];
        let (fence, target) = (held.fence.get(), held.target());
        let was_called = self.agents.calls[&key].called.contains(&fence);
        let result = u8::from(self.numbers.below(2) == 0);
        let act = match (self.numbers.below(8), was_called) {
            (0, _) => Act::Renew(self.hold_us()),
            (1, _) => Act::Unknown,
            (2, true) => Act::Fail(Some(Executed::Unknown)),
            (3, true) => Act::Fail(Some(Executed::Yes)),
            (4, true) => Act::Cancel(true),
            (_, true) => Act::Complete(result),
            (2..=4, false) => Act::Fail(Some(Executed::No)),
            (_, false) => Act::Cancel(false),
        };
        Some((CallAsk::Act(Some(fence), act), target))
    }

    /// What an operator does, who names no claim; a program tells the truth, a person may be wrong.
    fn any_settling(&mut self, key: usize, effects: &Effects) -> Option<(CallAsk, Target)> {
        let name = self.call_stream(key);
        let any = claim(
            (&name, SCOPE),
            &self.key_text(key),
            &CallAsk::Act(None, Act::Unknown),
        );
        let target = match effects.find(&any) {
            Ok(effect) => effect?.target(),
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                return None;
            }
        };
        let was_called = self
            .agents
            .calls
            .get(&key)
            .is_some_and(|known| known.calls > 0);
        let who = [Who::Person, Who::Person, Who::Agent][self.numbers.below(3)];
        let act = match self.numbers.below(5) {
            0 => Act::Release(who),
            1 => Act::Reconcile(None, who),
            2 => Act::Reconcile(Some(1), who),
            _ => Act::Reconcile(was_called.then_some(0), Who::Program),
        };
        Some((CallAsk::Act(None, act), target))
    }

    fn key_text(&self, key: usize) -> String {
        format!("{}-{key}", self.agents.round)
    }

    fn call_stream(&self, key: usize) -> String {
        format!("{STREAMS}calls-{}-{}", self.agents.round, key % 2)
    }

    /// A few clients at once.
    fn ask_calls(&mut self) -> Outcome {
        let log = self.log().clone();
        let person = self.person(&log)?.map(|log| Effects::new(&log));
        let effects = Effects::new(&log);
        let mut asking: Vec<Asking<'_>> = Vec::new();
        for _ in 0..1 + self.numbers.below(3) {
            let key = self.numbers.below(KEYS);
            let asked = match self.numbers.below(10) {
                0..=4 => None,
                5..=8 => self.any_act(key),
                _ => self.any_settling(key, &effects),
            };
            let Some((ask, target)) = asked else {
                let ask = self.any_claim(key);
                let stream = self.call_stream(key);
                let claim = claim((&stream, SCOPE), &self.key_text(key), &ask);
                let effects = &effects;
                let client: Client<'_> = Box::pin(async move { call(effects, &claim).await });
                asking.push(Asking::new(key, ask, client));
                continue;
            };
            let CallAsk::Act(_, what) = ask.clone() else {
                continue;
            };
            let by_person = matches!(
                what,
                Act::Release(Who::Person) | Act::Reconcile(_, Who::Person)
            );
            let effects = match (by_person, &person) {
                (true, Some(person)) => person,
                (true, None) => continue,
                (false, _) => &effects,
            };
            let client: Client<'_> =
                Box::pin(async move { (act(effects, &target, &what).await, None) });
            asking.push(Asking::new(key, ask, client));
        }
        let time = self.asked_at();
        let struck = self.machine.struck();
        let mut context = Context::from_waker(Waker::noop());
        let mut was_dropped = false;
        while asking.iter().any(|one| one.client.is_some()) {
            let at = self.numbers.below(asking.len());
            let one = &mut asking[at];
            let Some(client) = &mut one.client else {
                continue;
            };
            if self.numbers.below(40) == 0 {
                one.client = None;
                was_dropped = true;
            } else if let Poll::Ready((told, held)) = client.as_mut().poll(&mut context) {
                (one.told, one.held, one.client) = (Some(told), held, None);
            }
        }
        // What was queued and given up is decided when this returns.
        if was_dropped && log.sync_blocking().is_err() {
            self.fail();
        }
        // A commit that failed comes before those that took its positions.
        let is_unknown = |one: &Asking<'_>| matches!(one.told, Some(Err(Lost::Unknown(_))));
        if self.machine.struck() > struck || asking.iter().any(is_unknown) {
            self.fail();
        }
        self.told_of_calls(asking, &time);
        Ok(())
    }

    fn told_of_calls(&mut self, asking: Vec<Asking<'_>>, time: &Time) {
        let mut asked: BTreeMap<usize, Vec<(CallAsk, Heard)>> = BTreeMap::new();
        let mut all_held = Vec::new();
        for one in asking {
            self.tally.requests += 1;
            self.say(|| format!("  call {}: {:?} {:?}", one.key, one.ask, one.told));
            let Some(heard) = self.heard(one.told) else {
                continue;
            };
            asked.entry(one.key).or_default().push((one.ask, heard));
            all_held.extend(one.held.map(|held| (one.key, held)));
        }
        let mut pardoned = BTreeSet::new();
        for (key, asked) in &asked {
            let known = self.agents.calls.entry(*key).or_default();
            known.worlds.take(asked, time);
            for (ask, heard) in asked {
                let is_pardon = matches!(
                    ask,
                    CallAsk::Act(
                        _,
                        Act::Fail(Some(Executed::No))
                            | Act::Cancel(false)
                            | Act::Reconcile(None, _)
                            | Act::Release(_)
                    )
                );
                if is_pardon && !matches!(heard, Some((Said::Refused(_), _))) {
                    known.calls = 0;
                    pardoned.insert(*key);
                }
            }
        }
        for (key, held) in all_held {
            let calls_it = self.numbers.below(4) > 0 && !pardoned.contains(&key);
            let known = self.agents.calls.entry(key).or_default();
            let fence = held.fence.get();
            let is_newer = known.held.iter().all(|other| other.fence < held.fence);
            assert!(is_newer, "the fence {fence} of {key} is an older one");
            known.held.push(held);
            if calls_it {
                known.called.insert(fence);
                known.calls += 1;
                self.tally.calls += 1;
                let is_once = known.calls == 1 || !is_once_only(class_of(key));
                assert!(
                    is_once,
                    "the tool of {key} was called twice, at {fence} again"
                );
            }
        }
    }

    /// What a client learns of what it was told; `None`: that nothing is recorded.
    fn heard(&mut self, told: Option<Told>) -> Option<Heard> {
        match told {
            None => Some(None),
            Some(Ok((said, at))) => {
                if let Some(at) = at {
                    assert!(at < self.log().durable_size(), "{at} is not durable");
                    self.synced_up_to(at);
                }
                Some(Some((said, at)))
            }
            Some(Err(Lost::Unknown(_))) => {
                self.fail();
                Some(None)
            }
            Some(Err(Lost::Failed(why))) => {
                assert!(self.is_excused(), "{why}");
                None
            }
        }
    }

    /// What is acknowledged as durable makes everything before it durable.
    fn synced_up_to(&mut self, at: u64) {
        for sent in &mut self.model.sent {
            if let Fate::Buffered(positions) = &sent.fate
                && positions.last().is_some_and(|last| *last < at)
            {
                sent.fate = Fate::Durable(positions.clone());
            }
        }
    }

    fn run_stream(&self, number: usize) -> String {
        format!("{STREAMS}run-{}-{number}", self.agents.round)
    }

    fn ask_runs(&mut self) {
        let log = self.log().clone();
        let number = self.numbers.below(RUNS);
        let stream = self.run_stream(number);
        for _ in 0..1 + self.numbers.below(4) {
            let all_held = self.agents.runs.get(&number).map(|(_, held)| held.clone());
            let all_held = all_held.unwrap_or_default();
            let newest = all_held.len().saturating_sub(1);
            let late = self.numbers.below(8) == 0;
            let at = if late {
                self.numbers.below(newest + 1)
            } else {
                newest
            };
            let time = self.asked_at();
            let (ask, told, held) = match all_held.get(at) {
                Some(held) if self.numbers.below(4) > 0 => {
                    let what = match self.numbers.below(20) {
                        0..=8 => What::Append(self.numbers.below(1000) as u64),
                        9..=15 => {
                            let value = self.numbers.below(5) as u64;
                            What::Patch((value % 3) as u8, (value > 0).then_some(value))
                        }
                        16 => What::Pause,
                        17..=18 => What::LetGo,
                        _ => What::Finish,
                    };
                    let told = record(&log, held, &what);
                    (RunAsk::Record(held.fence.get(), what), told, None)
                }
                _ => {
                    let any = self.numbers.below(6);
                    let ask = RunAsk::Begin {
                        may_start: any != 1,
                        may_resume: any != 0,
                        hold_us: self.hold_us(),
                    };
                    let (told, held) = begin(&log, (&stream, SCOPE), &ask);
                    (ask, told, held)
                }
            };
            self.tally.requests += 1;
            self.say(|| format!("  {stream}: {ask:?} {told:?}"));
            let heard = self.heard(Some(told));
            let known = self.agents.runs.entry(number).or_default();
            if let Some(heard) = heard {
                known.0.take(&[(ask, heard)], &time);
            }
            known.1.extend(held);
        }
    }

    /// What is listed is what the model expects.
    pub(super) fn see_agents(&mut self) {
        let log = self.log().clone();
        let time = self.asked_at();
        let effects = Effects::new(&log);
        let mut all = std::mem::take(&mut self.agents.calls);
        let mut failed = None;
        for (key, known) in &mut all {
            let stream = self.call_stream(*key);
            let any = CallAsk::Act(None, Act::Unknown);
            let claim = claim((&stream, SCOPE), &self.key_text(*key), &any);
            match effects.find(&claim) {
                Ok(effect) => known.worlds.see(&effect, |world| {
                    let Some(effect) = &effect else {
                        return world.standing == Standing::New;
                    };
                    let fence = effect.fence.get();
                    let is_known = *world.fence.get_or_insert(fence) == fence;
                    let executed = effect.executed.filter(|_| effect.state == State::Failed);
                    let stands = (effect.state, executed, effect.is_expired);
                    is_known && effect.attempt == world.attempt && stands == world.seen(&time)
                }),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        self.agents.calls = all;
        let mut all = std::mem::take(&mut self.agents.runs);
        for (number, (worlds, _)) in &mut all {
            let stream = self.run_stream(*number);
            let seen =
                runs::get(&log, &stream).and_then(|run| Ok((run, sessions::state(&log, &stream)?)));
            match seen {
                Ok((run, session)) => worlds.see(&(&run, &session), |world| {
                    let Some(run) = &run else {
                        return world.status(&time).is_none();
                    };
                    let fence = run.fence.get();
                    *world.fence.get_or_insert(fence) == fence
                        && Some(run.status.as_str()) == world.status(&time)
                        && (session.document.value(), session.missing) == (&world.document, 0)
                }),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        self.agents.runs = all;
        assert!(failed.is_none() || self.is_excused(), "{failed:?}");
    }
}

/// Whether calling it twice is what must not be.
fn is_once_only(class: Class) -> bool {
    matches!(class, Class::Write | Class::Irreversible)
}

impl<'a> Asking<'a> {
    fn new(key: usize, ask: CallAsk, client: Client<'a>) -> Self {
        Self {
            key,
            ask,
            client: Some(client),
            told: None,
            held: None,
        }
    }
}

impl std::fmt::Debug for Asking<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {:?}", self.key, self.ask)
    }
}

impl Call {
    /// How it is listed: its state, whether a failed one was executed, and whether it expired.
    fn seen(&self, time: &Time) -> (State, Option<Executed>, bool) {
        match &self.standing {
            Standing::New | Standing::Unknown => (State::Unknown, None, false),
            Standing::InFlight(held) => (State::InFlight, None, held.is_over(time)),
            Standing::Completed(_) => (State::Completed, None, false),
            Standing::NotMade => (State::Failed, Some(Executed::No), false),
            Standing::ForGood => (State::Failed, Some(Executed::Yes), false),
            Standing::Cancelled => (State::Cancelled, None, false),
        }
    }
}
