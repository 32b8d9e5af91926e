//! Random commands on calls and runs of a log in a file, against plain models: every answer is the
//! expected one, and after a crash or a close the log answers and folds as before.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use runstone_codec::{Authority, OsEntropy};
use runstone_projections::Hold;
use runstone_projections::effects::{Class, Effects, Executed, Held, State};
use runstone_projections::runs::{self, RunHeld};
use runstone_projections::sessions;
use runstone_store::keys::Credential;
use runstone_store::{Clock as _, CreateOptions, Log, Sealing};
use runstone_tests::calls::{
    Act, Call, CallAsk, Heard, Run, RunAsk, Said, Standing, Time, Told, What, Who, Worlds, act,
    begin, call, claim, record,
};
use runstone_tests::clocked::{Clocked, START_US, model_cases, now};
use runstone_tests::tamper::Outcome;
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const KEYS: usize = 4;
const STREAM: (&str, &str) = ("run-calls", "default");

/// One thing that happens.
#[derive(Clone, Debug)]
enum Do {
    /// A claim, or what is done to a call: by the holder of its newest claim, by an earlier one,
    /// or by an operator.
    Call(usize, CallAsk),
    Act(usize, Option<usize>, Act),
    Begin(usize, RunAsk),
    Record(usize, usize, What),
    Wait(u64),
    /// The wall clock is set, which is nothing to leases.
    SetWall(bool),
    /// The log is closed or killed, and opened again.
    Reopen(bool),
}

fn held_for() -> impl Strategy<Value = Hold> {
    let lease = || prop_oneof![Just(30), Just(600)].prop_map(Duration::from_secs);
    prop_oneof![
        1 => Just(Hold::Opening),
        2 => lease().prop_map(Hold::For),
        1 => lease().prop_map(Hold::ByClock),
    ]
}

fn asked() -> impl Strategy<Value = CallAsk> {
    let class = prop::sample::select(Class::ALL);
    let args = prop_oneof![9 => Just(0_u8), 1 => Just(1)];
    let fresh = prop::option::of(Just(60 * SECOND));
    (class, args, held_for(), fresh).prop_map(|(class, args, hold, fresh_us)| CallAsk::Claim {
        class,
        args,
        hold,
        fresh_us,
    })
}

fn acts() -> impl Strategy<Value = Act> {
    let executed = prop_oneof![
        Just(None),
        Just(Some(Executed::No)),
        Just(Some(Executed::Unknown)),
        Just(Some(Executed::Yes)),
    ];
    let who = prop_oneof![Just(Who::Person), Just(Who::Agent), Just(Who::Program)];
    prop_oneof![
        3 => (0..2_u8).prop_map(Act::Complete),
        2 => executed.prop_map(Act::Fail),
        2 => any::<bool>().prop_map(Act::Cancel),
        1 => Just(Act::Unknown),
        1 => held_for().prop_map(Act::Renew),
        2 => (prop::option::of(0..2_u8), who.clone()).prop_map(|(found, who)| Act::Reconcile(found, who)),
        2 => who.prop_map(Act::Release),
    ]
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        6 => (0..100_u64).prop_map(What::Append),
        6 => (0..3_u8, prop::option::of(0..9_u64)).prop_map(|(at, value)| What::Patch(at, value)),
        1 => Just(What::Pause),
        1 => Just(What::LetGo),
        1 => Just(What::Finish),
    ]
}

fn anything() -> impl Strategy<Value = Do> {
    let beginning = (any::<bool>(), prop::bool::weighted(0.8), held_for());
    let beginning = beginning.prop_map(|(may_start, may_resume, hold)| RunAsk::Begin {
        may_start,
        may_resume,
        hold,
    });
    let who = prop_oneof![6 => Just(Some(0)), 2 => Just(Some(1)), 3 => Just(None)];
    prop_oneof![
        8 => (0..KEYS, asked()).prop_map(|(key, ask)| Do::Call(key, ask)),
        8 => (0..KEYS, who, acts()).prop_map(|(key, who, act)| Do::Act(key, who, act)),
        3 => (0..2_usize, beginning).prop_map(|(run, ask)| Do::Begin(run, ask)),
        6 => (0..2_usize, 0..2_usize, what()).prop_map(|(run, at, what)| Do::Record(run, at, what)),
        2 => prop_oneof![Just(SECOND), Just(29 * SECOND), Just(60 * SECOND)].prop_map(Do::Wait),
        1 => any::<bool>().prop_map(Do::SetWall),
        2 => any::<bool>().prop_map(Do::Reopen),
    ]
}

struct Site {
    clocked: Clocked,
    ada: Credential,
    /// `None` while it is closed.
    log: Option<Log>,
    opened_us: u64,
    calls: Vec<(Worlds<Call>, Vec<Held>)>,
    runs: Vec<(Worlds<Run>, Vec<RunHeld>)>,
}

fn heard(told: Told) -> Outcome<Heard> {
    match told {
        Ok(told) => Ok(Some(told)),
        Err(lost) => Err(format!("{lost:?}").into()),
    }
}

impl Site {
    fn new(sealing: Sealing) -> Outcome<Self> {
        let clocked = Clocked::new()?;
        let ada = Credential::create(&clocked.file("ada"), "ada", Authority::Human, &OsEntropy)?;
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        let log = Log::create(&clocked.path(), &create, clocked.opening_alone())?;
        log.enrol("ada", Authority::Human, &ada.public_key())?;
        Ok(Self {
            opened_us: clocked.clock.monotonic_us(),
            clocked,
            ada,
            log: Some(log),
            calls: (0..KEYS).map(|_| Default::default()).collect(),
            runs: (0..2).map(|_| Default::default()).collect(),
        })
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("it is open")
    }

    fn time(&self) -> Time {
        let opening = self.log().opening();
        Time {
            now_us: self.log().now_us(),
            opening: opening.id,
            opened_at_us: opening.at_us,
            passed_us: self.clocked.clock.monotonic_us() - self.opened_us,
        }
    }

    fn happen(&mut self, what: &Do) -> Outcome {
        let log = self.log().clone();
        let (effects, time) = (Effects::new(&log), self.time());
        match what {
            Do::Call(key, ask) => {
                let claim = claim(STREAM, &key.to_string(), ask);
                let (told, held) = now(call(&effects, &claim));
                let known = &mut self.calls[*key];
                known.0.take(&[(ask.clone(), heard(told)?)], &time);
                known.1.extend(held);
            }
            Do::Act(key, who, what) => {
                let known = &mut self.calls[*key];
                let held = who.and_then(|back| known.1.iter().rev().nth(back));
                let any = claim(STREAM, &key.to_string(), &CallAsk::Act(None, what.clone()));
                let Some(effect) = effects.find(&any)? else {
                    return Ok(());
                };
                let target = held.map_or_else(|| effect.target(), Held::target);
                let fence = held.map(|held| held.fence.get());
                let is_person = matches!(
                    what,
                    Act::Release(Who::Person) | Act::Reconcile(_, Who::Person)
                );
                let actor = if is_person {
                    Effects::new(&log.with_credential(&self.ada)?)
                } else {
                    effects
                };
                let told = heard(now(act(&actor, &target, what)))?;
                let ask = CallAsk::Act(fence, what.clone());
                known.0.take(&[(ask, told)], &time);
            }
            Do::Begin(run, ask) => {
                let (told, held) = begin(&log, (&format!("run-{run}"), "default"), ask);
                let known = &mut self.runs[*run];
                known.0.take(&[(ask.clone(), heard(told)?)], &time);
                known.1.extend(held);
            }
            Do::Record(run, back, what) => {
                let known = &mut self.runs[*run];
                let Some(held) = known.1.iter().rev().nth(*back) else {
                    return Ok(());
                };
                let told = heard(record(&log, held, what))?;
                let ask = RunAsk::Record(held.fence.get(), what.clone());
                known.0.take(&[(ask, told)], &time);
            }
            Do::Wait(micros) => self.clocked.clock.advance(*micros),
            Do::SetWall(back) => {
                let wall_us = self.clocked.clock.wall_us();
                self.clocked.clock.set_wall(if *back {
                    wall_us - 1_800 * SECOND
                } else {
                    wall_us + 1_800 * SECOND
                });
            }
            Do::Reopen(is_closed) => {
                drop(effects);
                drop(log);
                self.reopen(*is_closed)?;
            }
        }
        Ok(())
    }

    fn reopen(&mut self, is_closed: bool) -> Outcome {
        let log = self.log.take().ok_or("it is open")?;
        self.opened_us = self.clocked.clock.monotonic_us();
        self.log = Some(self.clocked.restart(log, is_closed)?);
        self.look()
    }

    /// What is listed is what the models expect.
    fn look(&mut self) -> Outcome {
        let (log, time) = (self.log().clone(), self.time());
        let effects = Effects::new(&log);
        for (key, (worlds, _)) in self.calls.iter_mut().enumerate() {
            let any = CallAsk::Act(None, Act::Unknown);
            let effect = effects.find(&claim(STREAM, &key.to_string(), &any))?;
            worlds.see(&effect, |world| {
                let state = effect.as_ref().map(|effect| effect.state);
                let attempt = effect.as_ref().map_or(0, |effect| effect.attempt);
                let fence = effect.as_ref().map(|effect| effect.fence.get());
                state == state_of(&world.standing)
                    && (attempt, fence) == (world.attempt, world.fence)
            });
        }
        for (number, (worlds, _)) in self.runs.iter_mut().enumerate() {
            let stream = format!("run-{number}");
            let run = runs::get(&log, &stream)?;
            let session = sessions::state(&log, &stream)?;
            worlds.see(&(&run, &session), |world| {
                let status = run.as_ref().map(|run| run.status.as_str());
                status == world.status(&time) && session.document == world.document
            });
        }
        Ok(())
    }
}

fn state_of(standing: &Standing) -> Option<State> {
    match standing {
        Standing::New => None,
        Standing::InFlight(_) => Some(State::InFlight),
        Standing::Completed(_) => Some(State::Completed),
        Standing::NotMade | Standing::ForGood => Some(State::Failed),
        Standing::Cancelled => Some(State::Cancelled),
        Standing::Unknown => Some(State::Unknown),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: model_cases(), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn calls_and_runs_answer_as_the_models_do(
        is_plain in any::<bool>(),
        all in prop::collection::vec(anything(), 10..80),
    ) {
        let failed = |error: Box<dyn std::error::Error>| TestCaseError::fail(error.to_string());
        let sealing = if is_plain { Sealing::Plain } else { Sealing::Required };
        let mut site = Site::new(sealing).map_err(failed)?;
        for what in &all {
            site.happen(what).map_err(failed)?;
        }
        site.look().map_err(failed)?;
        site.reopen(false).map_err(failed)?;
    }
}

/// A model that always agrees proves nothing: it knows what may not be answered.
#[test]
fn the_model_refuses_what_must_not_be() {
    let time = Time {
        now_us: START_US,
        opening: [1; 16],
        opened_at_us: START_US,
        passed_us: 0,
    };
    let ask = CallAsk::Claim {
        class: Class::Write,
        args: 0,
        hold: Hold::Opening,
        fresh_us: None,
    };
    let mut worlds = Worlds::<Call>::default();
    worlds.take(&[(ask.clone(), Some((Said::Held(1), Some(7))))], &time);
    let next = Time {
        opening: [2; 16],
        ..time
    };
    let twice = std::panic::catch_unwind(move || {
        worlds.take(&[(ask, Some((Said::Held(2), Some(9))))], &next);
    });
    assert!(
        twice.is_err(),
        "the write was held by two, one after the other"
    );
}
