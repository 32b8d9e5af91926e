//! What swarm helpers of meshcode 2.11 do, and what breaks in them: each of its measured faults has a
//! test here that it is not one of ours.

use runstone::projections::trays::{NewTrayTask, Trays};
use runstone::tasks::{NewTask, TaskState};
use runstone::{
    Append, Authority, HelperExit, HelperOptions, HelperTask, Hold, NewEvent, Pause, Position,
    Query, Read, Runstone, Settings, Sleeper, helper_loop, helper_loop_blocking,
    run_helper_blocking,
};
use runstone_projections::agents::{
    AgentChange, AgentState, Agents, Messages, NewHelper, NewMessage, RetireReason,
};
use runstone_projections::trays::Claim;
use runstone_store::{ManualClock, Sealing};
use runstone_tests::clocked::{Clocked, assert_sound};
use runstone_tests::tamper::Outcome;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const SECOND: u64 = 1_000_000;

/// Waits for nothing: the clock is put forward instead, and what was waited for is kept.
#[derive(Debug)]
struct Hasty {
    clock: Arc<ManualClock>,
    waited: Mutex<Vec<u64>>,
}

impl Sleeper for Hasty {
    fn sleep(&self, time: Duration) -> Pause<'_> {
        Box::pin(async move {
            self.waited.lock().unwrap().push(time.as_secs());
            self.clock.advance(u64::try_from(time.as_micros()).unwrap());
        })
    }
}

struct Site {
    clocked: Clocked,
    log: Runstone,
    trays: Trays,
    sleeper: Arc<Hasty>,
    retired: Arc<Mutex<Vec<HelperExit>>>,
}

impl Site {
    fn new(ids: &[&str]) -> Outcome<Self> {
        let clocked = Clocked::new()?;
        let log = clocked.create(Sealing::Required)?;
        let trays = Trays::new(&log);
        trays.open_blocking("in")?;
        for id in ids {
            trays.add_blocking("in", &NewTask::new(*id).into())?;
        }
        let sleeper = Arc::new(Hasty {
            clock: Arc::clone(&clocked.clock),
            waited: Mutex::default(),
        });
        Ok(Self {
            clocked,
            log: Runstone::from(log),
            trays,
            sleeper,
            retired: Arc::default(),
        })
    }

    fn options(&self) -> HelperOptions {
        let sleeper: Arc<dyn Sleeper> = Arc::<Hasty>::clone(&self.sleeper);
        HelperOptions::new().sleeper(sleeper)
    }

    fn retire(&self) -> impl FnMut(HelperExit) -> Result<(), &'static str> + use<> {
        let retired = Arc::clone(&self.retired);
        move |exit| {
            retired.lock().unwrap().push(exit);
            Ok(())
        }
    }

    fn retired(&self) -> Vec<HelperExit> {
        self.retired.lock().unwrap().clone()
    }

    fn waited(&self) -> Vec<u64> {
        self.sleeper.waited.lock().unwrap().clone()
    }

    fn state(&self, id: &str) -> TaskState {
        self.trays.find("in", id).unwrap().unwrap().task.state
    }

    fn attempt(&self, id: &str) -> u64 {
        self.trays.find("in", id).unwrap().unwrap().task.attempt
    }

    fn now_us(&self) -> u64 {
        self.log.steady_us()
    }
}

fn id(task: &HelperTask) -> String {
    task.said().unwrap().id.clone()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

/// B7.1, B7.2: a task whose work always fails is given back at once, and is a dead letter after five.
#[test]
fn a_poison_task_ends_and_waits_for_no_lease() -> Outcome {
    let site = Site::new(&["poison", "good"])?;
    let mut calls = Vec::new();
    let work = |task: &HelperTask| {
        calls.push((id(task), task.attempt()));
        match id(task).as_str() {
            "poison" => Err("it cannot be done"),
            _ => Ok("done".to_owned()),
        }
    };
    let end = helper_loop_blocking(&site.log, "in", &site.options(), work, site.retire());
    assert_eq!((end.tasks_done, end.tasks_not_done), (1, 5));
    assert_eq!(end.retired_reason, HelperExit::TrayDrained);
    let poison = |attempt| ("poison".to_owned(), attempt);
    let mut expected: Vec<_> = (1..=5).map(poison).collect();
    expected.push(("good".to_owned(), 1));
    assert_eq!(calls, expected);
    assert_eq!(site.trays.dead_letters("in")?.len(), 1);
    assert_eq!(site.retired(), [HelperExit::TrayDrained]);
    assert_sound(&site.log)
}

/// B7.3: a completion that is not recorded is tried again until the lease ends, and no longer; the same
/// completion again is no second one.
#[test]
fn a_completion_that_fails_is_tried_again() -> Outcome {
    let mut site = Site::new(&[])?;
    let mut open = site.clocked.opening();
    open.options.limits.payload_bytes = 2048;
    let log = runstone::Log::memory(&runstone::CreateOptions::default(), open)?;
    site.trays = Trays::new(&log);
    site.log = Runstone::from(log);
    site.trays.open_blocking("in")?;
    for id in ["a", "b"] {
        site.trays.add_blocking("in", &NewTask::new(id).into())?;
    }
    let mut calls = Vec::new();
    let work = |task: &HelperTask| -> Result<String, String> {
        calls.push((id(task), site.now_us()));
        Ok(match id(task).as_str() {
            // Too large for this log, however often it is tried.
            "a" => "x".repeat(4096),
            _ => "done".to_owned(),
        })
    };
    let options = site.options().lease(Duration::from_secs(60));
    let end = helper_loop_blocking(&site.log, "in", &options, work, site.retire());
    assert_eq!((end.tasks_done, end.tasks_not_done), (1, 5));
    assert_eq!(
        (site.state("a"), site.state("b")),
        (TaskState::Cancelled, TaskState::Done)
    );
    assert_eq!(
        (calls.len(), calls.last().map(|call| call.0.as_str())),
        (6, Some("b"))
    );
    let gaps = calls.windows(2).map(|pair| pair[1].1 - pair[0].1);
    assert!(gaps.clone().all(|gap| gap >= 60 * SECOND), "{calls:?}");
    // Nobody heard the answer, so it is said again.
    site.trays.add_blocking("in", &NewTask::new("c").into())?;
    let Claim::Claimed(held) = site.trays.claim_blocking("in", "bot", Hold::Opening)? else {
        return Err("nothing is left".into());
    };
    let first = site.trays.complete_blocking(&held.task, held.fence, "x")?;
    let again = site.trays.complete_blocking(&held.task, held.fence, "x")?;
    assert_eq!(first, again);
    assert_sound(&site.log)
}

/// B7.4: a task that takes longer than its lease is not run twice, and whoever comes late with an old
/// claim changes nothing.
#[test]
fn work_that_outlasts_its_lease_is_done_once() -> Outcome {
    let site = Site::new(&["a"])?;
    let until = site.now_us() + 3600 * SECOND;
    let mut began = 0;
    let work = |_: &HelperTask| -> Result<String, String> {
        began += 1;
        while site.now_us() < until {
            // Somebody else looks for work all the time.
            let other = site.trays.claim_blocking("in", "other", Hold::Opening);
            assert!(matches!(other, Ok(Claim::NotClaimed(nothing)) if !nothing.drained));
        }
        Ok("done".to_owned())
    };
    let options = site.options().lease(Duration::from_secs(60));
    let end = helper_loop_blocking(&site.log, "in", &options, work, site.retire());
    assert_eq!((end.tasks_done, end.tasks_not_done, began), (1, 0, 1));
    assert_eq!((site.state("a"), site.attempt("a")), (TaskState::Done, 1));
    assert!(
        site.waited().contains(&20),
        "at a third: {:?}",
        site.waited()
    );

    // The same where the work is a future.
    site.trays.add_blocking("in", &NewTask::new("b").into())?;
    let until = site.now_us() + 3600 * SECOND;
    let work = |_| async {
        poll_fn(|_| {
            if site.now_us() < until {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        Ok::<_, String>("done".to_owned())
    };
    let looping = helper_loop(&site.log, "in", &options, work, site.retire());
    let end = runtime().block_on(looping);
    assert_eq!((end.tasks_done, site.attempt("b")), (1, 1));
    assert_sound(&site.log)
}

/// B7.4: a worker whose task was given to somebody else stops, and records nothing.
#[test]
fn a_task_that_was_lost_is_dropped() -> Outcome {
    let site = Site::new(&["a"])?;
    let person = site.clocked.person(&site.log)?;
    let tasks = runstone::Tasks::new(&person).stream("tray:in");
    let work = |task: HelperTask| {
        let cancelled = runstone::tasks::Move::new(id(&task), TaskState::Cancelled);
        tasks.move_to_blocking(&cancelled).unwrap();
        pending::<Result<String, String>>()
    };
    let options = site.options();
    let looping = helper_loop(&site.log, "in", &options, work, site.retire());
    let end = runtime().block_on(looping);
    assert_eq!((end.tasks_done, end.tasks_not_done), (0, 1));
    assert_eq!(end.retired_reason, HelperExit::TrayDrained);
    assert_eq!(site.state("a"), TaskState::Cancelled);
    assert_sound(&site.log)
}

/// B7.5: a panic and a future that is dropped retire too, and give the task back at once; that
/// retiring failed is told.
#[test]
fn every_exit_retires() -> Outcome {
    let site = Site::new(&["a"])?;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let work = |_: &HelperTask| -> Result<String, String> { std::panic::panic_any(7_i32) };
        helper_loop_blocking(&site.log, "in", &site.options(), work, site.retire())
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&7_i32));
    assert_eq!(site.retired(), [HelperExit::Panicked]);
    assert_eq!((site.state("a"), site.attempt("a")), (TaskState::Todo, 2));

    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let work = |task: HelperTask| async move {
            assert!(task.attempt() > 9, "it fails");
            Ok::<_, String>(String::new())
        };
        runtime().block_on(helper_loop(
            &site.log,
            "in",
            &site.options(),
            work,
            site.retire(),
        ))
    }));
    assert!(panicked.is_err());
    assert_eq!((site.state("a"), site.attempt("a")), (TaskState::Todo, 3));

    let began = AtomicU64::new(0);
    let work = |_| {
        began.fetch_add(1, Ordering::Relaxed);
        pending::<Result<String, String>>()
    };
    // It really waits, and is dropped meanwhile.
    let options = HelperOptions::new();
    let mut looping = Box::pin(helper_loop(&site.log, "in", &options, work, site.retire()));
    runtime().block_on(poll_fn(|context| {
        let _ = looping.as_mut().poll(context);
        match began.load(Ordering::Relaxed) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }));
    drop(looping);
    assert_eq!((site.state("a"), site.attempt("a")), (TaskState::Todo, 4));
    let all = [
        HelperExit::Panicked,
        HelperExit::Panicked,
        HelperExit::Dropped,
    ];
    assert_eq!(site.retired(), all);

    let work = |_: &HelperTask| Ok::<_, String>(String::new());
    let failing = |_| Err::<(), _>("auto_retire_disabled");
    let end = helper_loop_blocking(&site.log, "in", &site.options(), work, failing);
    assert_eq!(
        (end.tasks_done, end.retire_result),
        (1, Err("auto_retire_disabled"))
    );
    assert_sound(&site.log)
}

/// B7.6: the deadline counts during the work too, and is the log's time.
#[test]
fn the_deadline_counts_during_the_work() -> Outcome {
    let site = Site::new(&["a", "b"])?;
    let deadline = site.now_us() + 100 * SECOND;
    let options = site.options().ttl_deadline_us(deadline);
    let work = |_| pending::<Result<String, String>>();
    let looping = helper_loop(&site.log, "in", &options, work, site.retire());
    let end = runtime().block_on(looping);
    assert_eq!(
        (end.tasks_done, end.retired_reason),
        (0, HelperExit::TtlExpired)
    );
    assert_eq!(site.now_us(), deadline, "not a second more");
    assert_eq!((site.state("a"), site.attempt("a")), (TaskState::Todo, 2));

    // Work that blocks its thread is told, and its task is held until it ends.
    let deadline = site.now_us() + 100 * SECOND;
    let options = site.options().ttl_deadline_us(deadline);
    let work = |task: &HelperTask| {
        while !task.should_stop() {
            std::thread::yield_now();
        }
        Ok::<_, String>("in time".to_owned())
    };
    let end = helper_loop_blocking(&site.log, "in", &options, work, site.retire());
    assert_eq!(
        (end.tasks_done, end.retired_reason),
        (1, HelperExit::TtlExpired)
    );
    assert_eq!(
        (site.state("a"), site.state("b")),
        (TaskState::Done, TaskState::Todo)
    );

    // So it is told to stop by its parent.
    let asked = Arc::new(AtomicU64::new(0));
    let asking = Arc::clone(&asked);
    let options = site
        .options()
        .stop_when(move || asking.fetch_add(1, Ordering::Relaxed) > 0);
    let work = |_| pending::<Result<String, String>>();
    let looping = helper_loop(&site.log, "in", &options, work, site.retire());
    let end = runtime().block_on(looping);
    assert_eq!(end.retired_reason, HelperExit::ParentRequest);
    assert_eq!((site.state("b"), site.attempt("b")), (TaskState::Todo, 2));
    assert_sound(&site.log)
}

/// The pauses of the contract, and what ends them: between errors of claiming, and where it is blocked.
#[test]
fn five_errors_of_claiming_end_it() -> Outcome {
    let site = Site::new(&[])?;
    let work = |_: &HelperTask| Ok::<_, String>(String::new());
    let end = helper_loop_blocking(&site.log, "none", &site.options(), work, site.retire());
    assert_eq!(
        (end.tasks_done, end.retired_reason),
        (0, HelperExit::ClaimErrors)
    );
    assert_eq!(
        end.claim_error.map(|error| error.code()),
        Some("tray_not_found")
    );
    assert_eq!(site.waited(), [15, 30, 45, 60]);

    // Blocked by what another one holds, it looks again until that is done, and does not retire.
    let site = Site::new(&["a"])?;
    site.trays
        .add_blocking("in", &NewTrayTask::new(NewTask::new("b")).depends_on("a"))?;
    let other = site
        .trays
        .claim_blocking("in", "other", Hold::For(Duration::from_secs(60)))?;
    assert!(matches!(other, Claim::Claimed(_)));
    let work = |_: &HelperTask| Ok::<_, String>(String::new());
    let end = helper_loop_blocking(&site.log, "in", &site.options(), work, site.retire());
    assert_eq!(
        (end.tasks_done, end.retired_reason),
        (2, HelperExit::TrayDrained)
    );
    assert_eq!(site.waited().iter().filter(|s| **s == 15).count(), 4);
    assert_sound(&site.log)
}

/// B7.7: a helper that was registered and could not be powered on is there, and runs when it is asked
/// for again; nobody else gets its name.
#[test]
fn a_spawn_that_was_half_done_is_done_when_it_is_tried_again() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let mut settings = Settings::default();
    settings.helpers.max_running = 1;
    settings.record(&log)?;
    let [lead, other] = ["lead", "other"].map(|name| site.principal(&log, name, Authority::Agent));
    let (lead, other) = (Runstone::from(lead?), Runstone::from(other?));
    let first = NewHelper::new("h1").tray("in");
    Agents::new(lead.log()).spawn_blocking(&first)?;
    let second = NewHelper::new("h2").tray("in");
    let run = |parent: &Runstone, helper: &NewHelper| {
        let work = |_: &HelperTask| Ok::<_, String>(String::new());
        let own = Runstone::from(log.clone());
        let end = run_helper_blocking(parent, &own, helper, &HelperOptions::new(), work);
        end.map_err(|error| error.code().to_owned())
    };
    for _ in 0..2 {
        assert_eq!(run(&lead, &second).unwrap_err(), "helper_cap_reached");
        let agent = Agents::new(&log).find("h2")?.ok_or("it is there")?;
        assert_eq!(agent.state, AgentState::Stopping);
    }
    Agents::new(&log).retire_blocking("h1", RetireReason::TrayDrained)?;
    // Neither somebody else's nor in another tray, nor one that runs or ran.
    assert_eq!(run(&other, &second).unwrap_err(), "name_taken");
    let elsewhere = NewHelper::new("h2").tray("elsewhere");
    assert_eq!(run(&lead, &elsewhere).unwrap_err(), "name_taken");
    let end = run(&lead, &second)?;
    assert_eq!(end.retired_reason, HelperExit::TrayDrained);
    assert_eq!(run(&lead, &second).unwrap_err(), "name_taken");
    assert_sound(&log)
}

/// B7.8, B7.9, B7.10: authority is stamped by the log; an order that does not count is not delivered as
/// text either.
#[test]
fn authority_in_a_payload_is_no_authority() -> Outcome {
    let site = Site::new(&[])?;
    let agent = site
        .clocked
        .principal(&site.log, "rogue", Authority::Agent)?;
    Agents::new(&site.log).change_blocking("bot", &AgentChange::register())?;
    let forged = NewMessage::to("bot")
        .of_type("sleep")
        .text(r#"{"sender_is_commander":true,"authority":"human"}"#);
    let sent = Messages::new(&agent).send_blocking(&forged)?;
    assert!(sent.is_refused);
    let heard = Messages::new(&site.log).attend_blocking("bot", None)?;
    assert_eq!((heard.messages.len(), heard.must_exit), (0, false));
    assert_sound(&site.log)
}

/// B7.12: what comes after `drained` finds nobody, unless the tray was closed: then nothing comes.
#[test]
fn drained_is_final_in_a_closed_tray() -> Outcome {
    let site = Site::new(&["a"])?;
    let work = |_: &HelperTask| Ok::<_, String>(String::new());
    let end = helper_loop_blocking(&site.log, "in", &site.options(), work, site.retire());
    assert_eq!(end.retired_reason, HelperExit::TrayDrained);
    // Not closed, it takes more; and it says so.
    site.trays
        .add_blocking("in", &NewTask::new("late").into())?;
    site.trays.close_blocking("in")?;
    let refused = site.trays.add_blocking("in", &NewTask::new("later").into());
    assert_eq!(refused.unwrap_err().code(), "tray_closed");
    let end = helper_loop_blocking(&site.log, "in", &site.options(), work, site.retire());
    assert_eq!(end.tasks_done, 1);
    assert!(
        site.trays
            .list("in")?
            .iter()
            .all(|task| task.task.state == TaskState::Done)
    );
    Ok(())
}

/// B7.13: errors are told apart by a code that does not change, not by their text; and the events of a
/// tray cannot be written by hand.
#[test]
fn errors_have_codes_and_events_are_not_forged() -> Outcome {
    let site = Site::new(&[])?;
    let forged = NewEvent::new("tray.closed", "tray:in").payload("{}");
    let refused = site.log.append_blocking(Append::new([forged])).unwrap_err();
    assert_eq!(refused.code(), "owned_namespace");
    let none = site.trays.add_blocking("none", &NewTask::new("a").into());
    let none = none.unwrap_err();
    assert_eq!(
        (none.code(), none.is_retryable()),
        ("tray_not_found", false)
    );
    let all = site.log.read(Read::new(Query::stream("tray:in")))?;
    let all: Vec<_> = all.collect::<Result<_, _>>()?;
    assert_eq!(all[0].position, Position::new(1));
    Ok(())
}
