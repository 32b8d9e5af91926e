//! Helpers in one call: they are there from their birth to their end, and no longer.

use super::{SECOND, retired};
use runstone::agents::{Agents, Messages, NewHelper, NewMessage, RetireReason};
use runstone::tasks::{NewTask, TaskState};
use runstone::trays::Trays;
use runstone::{
    HelperExit, HelperOptions, Pause, Runstone, Sleeper, run_helper, run_helper_blocking,
};
use runstone_codec::Authority;
use runstone_store::{ManualClock, Sealing};
use runstone_tests::clocked::{Clocked, START_US, assert_sound};
use runstone_tests::tamper::Outcome;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Time passes as soon as somebody waits.
#[derive(Debug)]
struct Hasty(Arc<ManualClock>);

impl Sleeper for Hasty {
    fn sleep(&self, time: Duration) -> Pause<'_> {
        Box::pin(async move {
            self.0.advance(u64::try_from(time.as_micros()).unwrap());
            // Others are asked in between.
            let mut has_waited = false;
            poll_fn(|_| {
                if std::mem::replace(&mut has_waited, true) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        })
    }
}

fn options(site: &Clocked) -> HelperOptions {
    let sleeper = Arc::new(Hasty(Arc::<ManualClock>::clone(&site.clock)));
    HelperOptions::new().sleeper(sleeper)
}

fn filled(log: &Runstone, ids: &[&str]) -> Outcome<Trays> {
    let trays = Trays::new(log.log());
    trays.open_blocking("in")?;
    for id in ids {
        trays.add_blocking("in", &NewTask::new(*id).into())?;
    }
    Ok(trays)
}

fn state(trays: &Trays, id: &str) -> Outcome<TaskState> {
    Ok(trays.find("in", id)?.ok_or("it is there")?.task.state)
}

fn helper(name: &str) -> NewHelper {
    NewHelper::new(name).tray("in").ttl(Duration::from_secs(60))
}

#[test]
fn a_helper_is_spawned_works_and_retires_in_one_call() -> Outcome {
    let site = Clocked::new()?;
    let log = Runstone::from(site.create(Sealing::Required)?);
    let options = HelperOptions::new();
    filled(&log, &["a", "b"])?;
    let work = |_: &_| Ok::<_, String>("done".to_owned());
    let end = run_helper_blocking(&log, &log, &helper("h1"), &options, work)?;
    assert_eq!(
        (end.tasks_done, end.retired_reason),
        (2, HelperExit::TrayDrained)
    );
    assert!(end.retire_result?.is_some());
    assert_eq!(retired(log.log(), "h1")?, Some(RetireReason::TrayDrained));
    // Its name is nobody else's, and what is refused works on nothing.
    let again = run_helper_blocking(&log, &log, &helper("h1"), &options, work);
    assert_eq!(again.unwrap_err().code(), "name_taken");
    // Without a tray it gets one of its own, which is empty.
    let own = NewHelper::new("h2");
    let end = run_helper_blocking(&log, &log, &own, &options, work)?;
    assert_eq!(
        (end.tasks_done, end.retired_reason),
        (0, HelperExit::TrayDrained)
    );
    // A panic retires it too, and gives back what it held.
    filled(&log, &["c"])?;
    let panics = |_: &_| -> Result<String, String> { panic!("it broke") };
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run_helper_blocking(&log, &log, &helper("h3"), &options, panics)
    }));
    assert!(told.is_err());
    assert_eq!(retired(log.log(), "h3")?, Some(RetireReason::Failed));
    let trays = Trays::new(log.log());
    assert_eq!(state(&trays, "c")?, TaskState::Todo);
    assert_sound(log.log())
}

/// Its time is that of the agent: work that goes on past it is dropped, and its task given back.
#[test]
fn a_helper_ends_with_its_time() -> Outcome {
    let site = Clocked::new()?;
    let log = Runstone::from(site.create(Sealing::Required)?);
    let trays = filled(&log, &["a"])?;
    let (helper, options) = (helper("h1"), options(&site).lease(Duration::from_secs(90)));
    let work = |_| pending::<Result<String, String>>();
    let mut running = pin!(run_helper(&log, &log, &helper, &options, work));
    let mut context = Context::from_waker(Waker::noop());
    let end = loop {
        if let Poll::Ready(end) = running.as_mut().poll(&mut context) {
            break end?;
        }
    };
    assert_eq!(
        (end.tasks_done, end.retired_reason),
        (0, HelperExit::TtlExpired)
    );
    assert_eq!(retired(log.log(), "h1")?, Some(RetireReason::TtlExpired));
    assert_eq!(state(&trays, "a")?, TaskState::Todo);
    assert_sound(log.log())
}

/// An order of a person stops it at its next look, and so does whoever lets it go.
#[test]
fn a_helper_that_must_exit_does() -> Outcome {
    let site = Clocked::new()?;
    let log = Runstone::from(site.create(Sealing::Required)?);
    let person = site.person(log.log())?;
    let trays = filled(&log, &["a", "b"])?;
    let options = options(&site).lease(Duration::from_secs(9));
    for (name, by_order) in [("h1", true), ("h2", false)] {
        let work = |_| {
            if by_order {
                let order = NewMessage::to(name).of_type("shutdown");
                Messages::new(&person).send_blocking(&order).unwrap();
            } else {
                let agents = Agents::new(&person);
                agents
                    .retire_blocking(name, RetireReason::ParentRequest)
                    .unwrap();
            }
            pending::<Result<String, String>>()
        };
        let helper = helper(name);
        let mut running = pin!(run_helper(&log, &log, &helper, &options, work));
        let mut context = Context::from_waker(Waker::noop());
        let end = loop {
            if let Poll::Ready(end) = running.as_mut().poll(&mut context) {
                break end?;
            }
        };
        assert_eq!(end.tasks_done, 0, "{name}");
        assert_eq!(
            retired(log.log(), name)?,
            Some(RetireReason::ParentRequest),
            "{name}"
        );
        for id in ["a", "b"] {
            assert_eq!(state(&trays, id)?, TaskState::Todo, "{name} {id}");
        }
    }
    let most_us = START_US + 60 * SECOND;
    assert!(log.now_us() < most_us, "before its time");
    assert_sound(log.log())
}

/// With a credential of its own a helper looks, works and retires as itself.
#[test]
fn a_helper_acts_as_itself() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let lead = Runstone::from(site.principal(&log, "lead", Authority::Agent)?);
    let own = Runstone::from(site.principal(&log, "h1", Authority::Agent)?);
    let log = Runstone::from(log);
    filled(&log, &["a"])?;
    let work = |_: &_| Ok::<_, String>("done".to_owned());
    let end = run_helper_blocking(&lead, &own, &helper("h1"), &HelperOptions::new(), work)?;
    assert_eq!(end.tasks_done, 1);
    assert!(end.retire_result?.is_some());
    // A parent that is an agent retires nobody: that is recorded by the helper itself or not at all.
    let end = run_helper_blocking(&lead, &lead, &helper("h2"), &HelperOptions::new(), work)?;
    assert_eq!(end.retire_result.unwrap_err().code(), "not_allowed");
    assert_sound(log.log())
}
