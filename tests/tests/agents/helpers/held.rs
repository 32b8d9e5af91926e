//! What a helper holds is what it claimed, whatever it called itself, and what others hold stays
//! theirs.

use super::retired;
use runstone_codec::{Authority, Position};
use runstone_projections::agents::{Agents, NewHelper, RetireReason};
use runstone_projections::tasks::{NewTask, Task, TaskId, TaskState, Tasks};
use runstone_projections::trays::{Claim, Trays};
use runstone_projections::{Hold, sweep};
use runstone_store::{Log, Sealing};
use runstone_tests::clocked::{Clocked, assert_sound};
use runstone_tests::tamper::Outcome;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

const SECOND: u64 = 1_000_000;

/// The task of the tray, and the one besides.
fn both(log: &Log, id: &str) -> Outcome<[Task; 2]> {
    let find = |id: &str| Tasks::new(log).find(id);
    let outside = find(&format!("{id}-outside"))?;
    let found = [find(id)?, outside].map(|task| task.ok_or("it is there"));
    let [of_tray, outside] = found;
    Ok([of_tray?, outside?])
}

/// One task of a tray and one besides, claimed by this handle under this name.
fn claim(log: &Log, by: &Log, id: &str, holder: &str) -> Outcome<Position> {
    let trays = Trays::new(log);
    trays.open_blocking("t")?;
    trays.add_blocking("t", &NewTask::new(id).into())?;
    let Claim::Claimed(held) = Trays::new(by).claim_blocking("t", holder, Hold::Default)? else {
        return Err("there is something to claim".into());
    };
    let outside = format!("{id}-outside");
    Tasks::new(log).create_blocking(&NewTask::new(&outside))?;
    Tasks::new(by).claim_blocking(&outside, holder, Hold::Default)?;
    Ok(held.fence)
}

/// Both tasks are held in their first attempt, or to be done again.
fn assert_held(log: &Log, id: &str, is_held: bool) -> Outcome {
    for task in both(log, id)? {
        let expected = if is_held {
            (TaskState::InProgress, 1)
        } else {
            (TaskState::Todo, 2)
        };
        assert_eq!((task.state, task.attempt), expected, "{id}");
        assert_eq!(task.is_held, is_held, "{id}");
    }
    Ok(())
}

#[test]
fn a_claim_is_of_whoever_made_it_whatever_he_is_called() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let lead = site.principal(&log, "lead", Authority::Agent)?;
    let ada = site.person(&log)?;
    let ttl = Duration::from_secs(60);
    for name in ["h1", "h2", "h3"] {
        Agents::new(&lead).spawn_blocking(&NewHelper::new(name).ttl(ttl))?;
    }
    let h1 = site.principal(&log, "h1", Authority::Agent)?;
    let h2 = site.principal(&log, "h2", Authority::Agent)?;

    claim(&log, &h1, "own", "someone-else")?;
    claim(&log, &h2, "others", "h1")?;
    let persons = claim(&log, &ada, "persons", "h1")?;
    claim(&log, &lead, "leads", "agent:h1#3")?;
    claim(&log, &log, "programs", "h1")?;
    for (id, agent) in [
        ("own", Some("h1")),
        ("others", Some("h2")),
        ("persons", None),
        ("leads", Some("lead")),
        ("programs", Some("h1")),
    ] {
        let as_whom = both(&log, id)?.map(|task| task.held_as);
        assert_eq!(
            as_whom,
            [agent; 2].map(|agent| agent.map(str::to_owned)),
            "{id}"
        );
    }

    Agents::new(&h1).retire_blocking("h1", RetireReason::MaxTasks)?;
    assert_held(&log, "own", false)?;
    assert_held(&log, "programs", false)?;
    // What was given back can be claimed, though not as the one who is gone.
    for (who, is_gone) in [(&h1, true), (&log, true), (&ada, false)] {
        let again = Tasks::new(who).claim_blocking("own-outside", "h1", Hold::Default);
        let code = again.err().map(|error| error.code());
        assert_eq!(code, is_gone.then_some("agent_retired"));
    }
    let tray = Trays::new(&log).claim_blocking("t", "h1", Hold::Default);
    assert_eq!(tray.unwrap_err().code(), "agent_retired");

    // A sweep takes nothing from those who are not gone.
    for _ in 0..3 {
        assert_eq!(sweep(&log)?.tasks, 0);
    }
    for id in ["others", "persons", "leads"] {
        assert_held(&log, id, true)?;
    }
    Trays::new(&ada).complete_blocking(&both(&log, "persons")?[0].id, persons, "done")?;

    // Nor does the end of one's time.
    site.clock.advance(60 * SECOND);
    let reaped = Agents::new(&log).reap_blocking()?;
    let released = reaped
        .iter()
        .map(|one| (one.name.as_str(), one.released.len()));
    assert_eq!(released.collect::<Vec<_>>(), [("h2", 2), ("h3", 0)]);
    assert_held(&log, "others", false)?;
    assert_held(&log, "leads", true)?;
    assert_sound(&log)
}

/// Whoever let one go may be killed before he gives its tasks back.
#[test]
fn a_sweep_gives_back_what_one_who_is_gone_held_by_any_name() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    Agents::new(&log).spawn_blocking(&NewHelper::new("h1"))?;
    let h1 = site.principal(&log, "h1", Authority::Agent)?;
    claim(&log, &h1, "own", "someone-else")?;
    {
        let agents = Agents::new(&h1);
        let mut retiring = pin!(agents.retire("h1", RetireReason::MaxTasks));
        let mut context = Context::from_waker(Waker::noop());
        assert!(retiring.as_mut().poll(&mut context).is_pending());
        log.sync_blocking()?;
    }
    assert_eq!(retired(&log, "h1")?, Some(RetireReason::MaxTasks));
    assert_held(&log, "own", true)?;
    assert_eq!(sweep(&log)?.tasks, 2);
    assert_held(&log, "own", false)?;
    assert_eq!(sweep(&log)?.tasks, 0);
    assert_sound(&log)
}

/// Whoever claims a task first lets those go whose time is over, and they claim nothing.
#[test]
fn whose_time_is_over_gets_no_work() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let trays = Trays::new(&log);
    trays.open_blocking("in")?;
    for id in ["a", "b", "c"] {
        trays.add_blocking("in", &NewTask::new(id).into())?;
    }
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&NewTask::new("alone"))?;
    let helper = |name: &str| NewHelper::new(name).tray("in").ttl(Duration::from_secs(60));
    for name in ["h1", "h2"] {
        Agents::new(&log).spawn_blocking(&helper(name))?;
    }
    let [h1, h2] = ["h1", "h2"].map(|name| site.principal(&log, name, Authority::Agent));
    let (h1, h2) = (h1?, h2?);
    let hour = Hold::For(Duration::from_secs(3600));
    let id = |name: &str| -> Outcome<TaskId> { Ok(tasks.find(name)?.ok_or("it is there")?.id) };
    let held = |claimed: Claim| match claimed {
        Claim::Claimed(granted) => Ok(granted.task),
        other => Err(format!("{other:?}")),
    };
    assert_eq!(
        held(Trays::new(&h1).claim_blocking("in", "h1", hour)?)?,
        id("a")?
    );
    site.clock.advance(60 * SECOND);
    // Before it is recorded, and after.
    for _ in 0..2 {
        let refused = Tasks::new(&h2).claim_blocking("alone", "h2", hour);
        assert_eq!(
            refused.map_err(|error| error.code()).err(),
            Some("agent_retired")
        );
        let refused = Trays::new(&h2).claim_blocking("in", "h2", hour);
        assert_eq!(
            refused.map_err(|error| error.code()).err(),
            Some("agent_retired")
        );
    }
    for name in ["h1", "h2"] {
        assert_eq!(retired(&log, name)?, Some(RetireReason::TtlExpired));
    }
    // What was held is the oldest that is to be done, and done again.
    assert_eq!(held(trays.claim_blocking("in", "zed", hour)?)?, id("a")?);
    let task = tasks.find("a")?.ok_or("it is there")?;
    assert_eq!((task.attempt, task.holder.as_str()), (2, "zed"));
    assert_sound(&log)
}
