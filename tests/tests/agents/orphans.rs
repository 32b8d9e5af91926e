//! What was begun and never ended is found, and nothing else.

use runstone_codec::{Draft, NewEvent, Position};
use runstone_projections::Hold;
use runstone_projections::budgets::{Amounts, Budgets, Dimension, Open};
use runstone_projections::events::{StepCompleted, StepStarted, step_keys};
use runstone_projections::orphans::{OrphanKind, list};
use runstone_projections::runs::{self, Begin, RollBack, RunHeld};
use runstone_projections::tasks::{NewTask, Tasks};
use runstone_store::Log;
use runstone_tests::clocked::{START_US, memory};
use runstone_tests::tamper::Outcome;
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const LEASE: Hold = Hold::For(Duration::from_secs(60));

/// Each as its kind, its name and how it stands.
fn found(log: &Log) -> Outcome<Vec<(OrphanKind, String, String)>> {
    let found = list(log)?.into_iter();
    Ok(found
        .map(|one| (one.kind, one.name.unwrap_or_default(), one.state))
        .collect())
}

#[test]
fn a_lease_that_is_over_is_left_by_somebody() -> Outcome {
    let (log, clock) = memory(START_US)?;
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&NewTask::new("t").title("Pay").agent("bot"))?;
    tasks.claim_blocking("t", "bot", LEASE)?;
    let budgets = Budgets::new(&log);
    budgets.open_blocking(&Open::new("all"))?;
    budgets.open_blocking(&Open::new("ann").parent("all"))?;
    let amounts = Amounts::new().of(Dimension::Steps, 1);
    let [settled, _left] = [(); 2].map(|()| budgets.reserve_blocking("ann", &amounts, LEASE));
    budgets.settle_blocking(settled?.fence, &Amounts::new())?;
    assert!(found(&log)?.is_empty());
    clock.advance(61 * SECOND);
    let expected = [(OrphanKind::Task, "t"), (OrphanKind::Reservation, "ann")];
    let expected = expected.map(|(kind, name)| (kind, name.to_owned(), "expired".to_owned()));
    assert_eq!(found(&log)?, expected);
    Ok(())
}

/// A step that was taken back was not left; one whose end was taken back was.
#[test]
fn a_rollback_takes_back_what_was_left() -> Outcome {
    let (log, _) = memory(START_US)?;
    let held = runs::begin_blocking(&log, &Begin::new("run", "bot"))?.into_held();
    let kept = start(&log, &held, "kept")?;
    let completed = StepCompleted::default();
    let [tag, control] = step_keys("kept");
    let draft = Draft::new(NewEvent::typed(&completed, "run")?);
    runs::record_blocking(&log, &held, vec![draft.keyed(tag).keyed(control)])?;
    start(&log, &held, "dropped")?;
    let name = |(_, name, _): (OrphanKind, String, String)| name;
    let left =
        |log: &Log| -> Outcome<Vec<String>> { Ok(found(log)?.into_iter().map(name).collect()) };
    assert_eq!(left(&log)?, ["dropped"]);
    runs::roll_back_blocking(&log, &RollBack::new("run", kept).fence(held.fence))?;
    assert_eq!(left(&log)?, ["kept"]);
    Ok(())
}

fn start(log: &Log, held: &RunHeld, node: &str) -> Outcome<Position> {
    let started = StepStarted {
        node: node.to_owned(),
        kind: None,
        attempt: 1,
    };
    let [tag, control] = step_keys(node);
    let draft = Draft::new(NewEvent::typed(&started, "run")?);
    let at = runs::record_blocking(log, held, vec![draft.keyed(tag).keyed(control)])?;
    Ok(at.first().copied().ok_or("it is recorded")?)
}
