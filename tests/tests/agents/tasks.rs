//! Tasks in a log: which moves are made, who holds what, what is refused and recorded.

use runstone_codec::{Authority, Draft, NewEvent, OsEntropy, Position, TypedEvent as _};
use runstone_projections::budgets::{Amounts, Budgets, Open};
use runstone_projections::effects::{Claim, Effects};
use runstone_projections::events::control::task as field;
use runstone_projections::events::{TaskCreated, TaskMoved, TaskRefused};
use runstone_projections::tasks::{
    HistoryEntry, LoopType, Move, NewTask, TaskError, TaskFilter, TaskState, Tasks, machine,
};
use runstone_projections::trays::Trays;
use runstone_projections::{Hold, Settings};
use runstone_store::keys::Credential;
use runstone_store::{Erase, ErrorKind, Log, Query, Read, Record, Sealing, VerifyLevel};
use runstone_tests::clocked::{Clocked, START_US, enrolled, memory};
use runstone_tests::command::recordings;
use runstone_tests::tamper::Outcome;
use serde_json::Value;
use std::sync::Barrier;
use std::thread::JoinHandle;
use std::time::Duration;

mod creation;

const SECOND: u64 = 1_000_000;
const LEASE: Hold = Hold::For(Duration::from_secs(60));

fn code<T: std::fmt::Debug>(outcome: Result<T, TaskError>) -> &'static str {
    outcome.unwrap_err().code()
}

fn state(tasks: &Tasks, id: &str) -> Outcome<TaskState> {
    Ok(tasks.find(id)?.ok_or("there is no such task")?.state)
}

fn history(tasks: &Tasks, id: &str) -> Outcome<Vec<HistoryEntry>> {
    Ok(tasks.history(id)?.collect::<Result<_, _>>()?)
}

fn go(tasks: &Tasks, id: &str, to: TaskState) -> Result<Position, TaskError> {
    tasks.move_to_blocking(&Move::new(id, to))
}

fn recorded(log: &Log, event_type: &str) -> Outcome<Vec<Record>> {
    let records = log.read(Read::new(Query::of_type(event_type)))?;
    Ok(records.collect::<Result<_, _>>()?)
}

/// A way from the beginning to a state.
fn way(to: TaskState) -> &'static [TaskState] {
    use TaskState::{Blocked, Cancelled, Done, InProgress, InReview, Todo};
    match to {
        Todo => &[Todo],
        InProgress => &[Todo, InProgress],
        InReview => &[Todo, InProgress, InReview],
        Blocked => &[Todo, Blocked],
        Done => &[Todo, InProgress, Done],
        Cancelled => &[Todo, Cancelled],
        _ => &[],
    }
}

#[test]
fn every_pair_of_states_is_answered_as_the_table_says() -> Outcome {
    let (log, _) = memory(START_US)?;
    let tasks = Tasks::new(&log);
    let mut moves = 0;
    for from in TaskState::ALL {
        for to in TaskState::ALL {
            let id = format!("{from}-{to}");
            tasks.create_blocking(&NewTask::new(&id).state(TaskState::Backlog))?;
            for step in way(*from) {
                go(&tasks, &id, *step)?;
            }
            assert_eq!(state(&tasks, &id)?, *from);
            let before = history(&tasks, &id)?.len();
            let told = go(&tasks, &id, *to);
            match machine::step(*from, *to) {
                Ok(reason) => {
                    assert_eq!(tasks.find(&id)?.map(|task| task.moved), Some(told?));
                    let entries = history(&tasks, &id)?;
                    let last = entries.last().ok_or("nothing happened")?;
                    assert_eq!((last.from, last.to), (Some(*from), *to));
                    assert_eq!((last.reason, &*last.actor), (reason, "system:keyring"));
                    assert_eq!(state(&tasks, &id)?, *to);
                    moves += 1;
                }
                Err(reason) => {
                    let refused = told.unwrap_err();
                    assert_eq!(refused.to_string(), reason);
                    assert_eq!(refused.code(), "task_move_refused");
                    assert_eq!(refused.kind(), ErrorKind::Refused);
                    assert_eq!(history(&tasks, &id)?.len(), before);
                    assert_eq!(state(&tasks, &id)?, *from);
                }
            }
        }
    }
    assert_eq!(moves, 15);
    assert_eq!(recorded(&log, TaskRefused::TYPE)?.len(), 34);
    let payload: Value = {
        let moved = recorded(&log, TaskMoved::TYPE)?;
        serde_json::from_slice(moved[0].payload.bytes().ok_or("it is sealed")?)?
    };
    assert_eq!(
        (&payload["from"], &payload["reason"]),
        (&"backlog".into(), &"Ready for work".into())
    );
    Ok(())
}

#[test]
fn the_table_answers_as_the_recorded_command_line_did() -> Outcome {
    let Some(folder) = recordings("prior-art/exec-kernel") else {
        return Ok(());
    };
    let text = std::fs::read_to_string(folder.join("transitions.jsonl"))?;
    let mut count = 0;
    for line in text.lines() {
        let row: Value = serde_json::from_str(line)?;
        let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let told = machine::validate(&word("from"), &word("to"));
        let (verdict, exit) = if told.is_ok() {
            ("VALID", 0)
        } else {
            ("INVALID", 1)
        };
        let reason = match told {
            Ok(reason) => reason.to_owned(),
            Err(reason) => reason,
        };
        assert_eq!((verdict, reason), (&*word("verdict"), word("reason")));
        assert_eq!(row["exit_code"], exit);
        count += 1;
    }
    assert_eq!(count, 49);
    Ok(())
}

#[test]
fn a_claim_is_held_by_its_fence() -> Outcome {
    let (log, _) = memory(START_US)?;
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&NewTask::new("t").title("Pay").agent("bot"))?;
    let held = tasks.claim_blocking("t", "bot", LEASE)?;
    assert_eq!(held.attempt, 1);
    let task = tasks.find("t")?.ok_or("gone")?;
    assert_eq!((task.fence, &*task.holder), (Some(held.fence), "bot"));
    assert_eq!((task.state, task.is_held), (TaskState::InProgress, true));
    assert_eq!(task.lease_expires_at_us, held.lease_expires_at_us);

    let refused = tasks.claim_blocking("t", "rival", LEASE).unwrap_err();
    assert_eq!(
        (refused.code(), refused.kind()),
        ("task_held", ErrorKind::Conflict)
    );
    assert!(refused.is_retryable());
    let size = log.size();
    let wrong = Position::new(held.fence.get() + 1);
    for outcome in [
        tasks.complete_blocking("t", wrong, "").map(drop),
        tasks.release_blocking("t", wrong).map(drop),
        tasks.fail_blocking("t", wrong, "no").map(drop),
        tasks.renew_blocking("t", wrong, LEASE),
        tasks
            .move_to_blocking(&Move::new("t", TaskState::InReview).fence(wrong))
            .map(drop),
    ] {
        assert_eq!(code(outcome), "stale_claim");
    }
    // Others take it away, but do not say that it is done.
    for to in [TaskState::Done, TaskState::InReview] {
        assert_eq!(code(go(&tasks, "t", to)), "task_held");
    }
    assert_eq!(log.size(), size, "a stale claim changes nothing");
    tasks.renew_blocking("t", held.fence, Hold::Opening)?;
    assert_eq!(tasks.find("t")?.and_then(|it| it.lease_expires_at_us), None);

    let done = tasks.complete_blocking("t", held.fence, "paid")?;
    assert_eq!(tasks.complete_blocking("t", held.fence, "paid")?, done);
    assert_eq!(
        code(tasks.complete_blocking("t", wrong, "paid")),
        "stale_claim"
    );
    assert_eq!(code(tasks.release_blocking("t", held.fence)), "stale_claim");
    assert_eq!(
        code(tasks.claim_blocking("t", "bot", LEASE)),
        "task_not_claimable"
    );
    let entries = history(&tasks, "t")?;
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.from,
                entry.reason,
                &*entry.actor,
                entry.comment.as_deref(),
            )
        })
        .collect();
    let expected = [
        (None, "Created", "system:keyring", None),
        (Some(TaskState::Todo), "Work started", "bot", None),
        (
            Some(TaskState::InProgress),
            "Work completed",
            "system:keyring",
            Some("paid"),
        ),
    ];
    assert_eq!(told, expected);
    assert!(entries.is_sorted_by(|one, next| one.position < next.position));
    assert!(
        entries
            .iter()
            .all(|entry| entry.at_us >= 1_750_000_000_000_000)
    );

    // What is taken away is nobody's.
    tasks.create_blocking(&NewTask::new("u"))?;
    let held = tasks.claim_blocking("u", "bot", LEASE)?;
    go(&tasks, "u", TaskState::Blocked)?;
    assert_eq!(
        code(tasks.complete_blocking("u", held.fence, "")),
        "stale_claim"
    );
    go(&tasks, "u", TaskState::InProgress)?;
    assert_eq!(
        code(tasks.complete_blocking("u", held.fence, "")),
        "stale_claim"
    );
    go(&tasks, "u", TaskState::Done)?;
    Ok(())
}

#[test]
fn what_is_given_back_is_todo_again_in_one_step() -> Outcome {
    let (log, clock) = memory(START_US)?;
    let tasks = Tasks::new(&log).actor("planner");
    tasks.create_blocking(&NewTask::new("t"))?;
    let mut fences = Vec::new();
    for (attempt, why) in [(1, "released"), (2, "failed"), (3, "lease_over")] {
        let held = tasks.claim_blocking("t", "bot", LEASE)?;
        assert_eq!(held.attempt, attempt);
        fences.push(held.fence);
        let before = log.size();
        match why {
            "released" => drop(tasks.release_blocking("t", held.fence)?),
            "failed" => drop(tasks.fail_blocking("t", held.fence, "disk full")?),
            _ => {
                clock.advance(59 * SECOND);
                assert_eq!(tasks.sweep_blocking()?, []);
                clock.advance(SECOND);
                let seen = tasks.find("t")?.ok_or("gone")?;
                assert!(seen.is_expired && seen.state == TaskState::InProgress);
                assert_eq!(tasks.sweep_blocking()?, [seen.id]);
                assert_eq!(tasks.sweep_blocking()?, []);
            }
        }
        assert_eq!(log.size(), before + 2);
        let entries = history(&tasks, "t")?;
        let [.., blocked, todo] = entries.as_slice() else {
            return Err("too little happened".into());
        };
        assert_eq!(
            (blocked.reason, todo.reason),
            ("Blocked during work", "Unblocked, needs fresh start")
        );
        for entry in [blocked, todo] {
            assert_eq!((&*entry.actor, entry.why.as_deref()), ("system", Some(why)));
        }
        assert_eq!(todo.attempt, Some(attempt + 1));
        let comment = (why == "failed").then_some("disk full");
        assert_eq!(blocked.comment.as_deref(), comment);
        assert_eq!(todo.position.get(), blocked.position.get() + 1);
    }
    for fence in fences {
        assert_eq!(code(tasks.complete_blocking("t", fence, "")), "stale_claim");
    }
    assert_eq!(tasks.find("t")?.map(|task| task.attempt), Some(4));
    Ok(())
}

#[test]
fn a_lease_that_is_over_is_recorded_by_the_next_command() -> Outcome {
    let (log, clock) = memory(START_US)?;
    let tasks = Tasks::new(&log);
    let claim = |id: &str| -> Outcome<Position> {
        tasks.create_blocking(&NewTask::new(id))?;
        let held = tasks.claim_blocking(id, "bot", LEASE)?;
        Ok(held.fence)
    };
    // Nobody else began: what was done is not thrown away.
    let own = claim("own")?;
    let renewed = claim("renewed")?;
    claim("moved")?;
    claim("refused")?;
    let old = claim("claimed")?;
    clock.advance(60 * SECOND);
    let expired = tasks.list(&TaskFilter::new().expired())?;
    assert_eq!(expired.len(), 5);
    tasks.renew_blocking("renewed", renewed, LEASE)?;
    tasks.complete_blocking("own", own, "late")?;
    assert_eq!(state(&tasks, "own")?, TaskState::Done);

    let new = tasks.claim_blocking("claimed", "rival", LEASE)?;
    assert!(new.attempt == 2 && new.fence > old);
    let reasons: Vec<_> = history(&tasks, "claimed")?
        .iter()
        .map(|entry| entry.reason)
        .collect();
    let expected = [
        "Created",
        "Work started",
        "Blocked during work",
        "Unblocked, needs fresh start",
        "Work started",
    ];
    assert_eq!(reasons, expected);
    assert_eq!(
        code(tasks.complete_blocking("claimed", old, "")),
        "stale_claim"
    );
    assert_eq!(
        code(tasks.renew_blocking("claimed", old, LEASE)),
        "stale_claim"
    );

    go(&tasks, "moved", TaskState::Cancelled)?;
    assert_eq!(history(&tasks, "moved")?.len(), 5);
    let refused = go(&tasks, "refused", TaskState::Done).unwrap_err();
    assert_eq!(refused.to_string(), "No valid transition from todo to done");
    assert_eq!(history(&tasks, "refused")?.len(), 4);
    assert_eq!(state(&tasks, "refused")?, TaskState::Todo);
    Ok(())
}

/// What `K4` of the list is about: check and record are one step.
#[test]
fn of_two_that_race_one_wins_and_the_other_is_told_the_state_after() -> Outcome {
    let (log, _) = memory(START_US)?;
    for round in 0..40 {
        let id = format!("t-{round}");
        Tasks::new(&log).create_blocking(&NewTask::new(&id))?;
        let barrier = Barrier::new(4);
        let race = |number: usize| {
            let tasks = Tasks::new(&log);
            barrier.wait();
            if round % 2 == 0 {
                go(&tasks, &id, TaskState::InProgress).map(drop)
            } else {
                let holder = format!("bot-{number}");
                tasks.claim_blocking(&id, &holder, LEASE).map(drop)
            }
        };
        let ended: Vec<_> = std::thread::scope(|scope| {
            let racing: Vec<_> = (0..4)
                .map(|number| {
                    scope.spawn({
                        let race = &race;
                        move || race(number)
                    })
                })
                .collect();
            racing.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(ended.iter().filter(|told| told.is_ok()).count(), 1);
        for lost in ended.into_iter().filter_map(Result::err) {
            if round % 2 == 0 {
                assert_eq!(lost.to_string(), "Transition to same state is not allowed");
            } else {
                assert_eq!(lost.code(), "task_held");
            }
        }
    }
    Ok(())
}

#[test]
fn refusals_are_recorded_once_a_second() -> Outcome {
    let (log, clock) = memory(START_US)?;
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&NewTask::new("t"))?;
    let count = || -> Outcome<usize> { Ok(recorded(&log, TaskRefused::TYPE)?.len()) };
    for _ in 0..3 {
        assert!(go(&tasks, "t", TaskState::Done).is_err());
    }
    assert_eq!(count()?, 1);
    assert!(go(&tasks, "t", TaskState::InReview).is_err());
    assert!(go(&tasks, "t", TaskState::Done).is_err());
    assert_eq!(count()?, 2);
    clock.advance(SECOND);
    assert!(go(&tasks, "t", TaskState::Done).is_err());
    assert_eq!(count()?, 3);
    let refused = &recorded(&log, TaskRefused::TYPE)?[0];
    let number = |number| refused.control.get_u64(number);
    assert_eq!((number(field::FROM), number(field::TO)), (Some(1), Some(5)));
    assert_eq!(refused.control.get_text(field::WHY), Some("no_transition"));

    // Creations too, with why.
    for _ in 0..2 {
        let new = NewTask::new("u").creator("u");
        assert_eq!(code(tasks.create_blocking(&new)), "cycle_detected");
        assert_eq!(
            code(tasks.create_blocking(&NewTask::new("t"))),
            "task_exists"
        );
    }
    let codes: Vec<_> = recorded(&log, TaskRefused::TYPE)?
        .iter()
        .filter_map(|record| record.control.get_text(field::WHY).map(str::to_owned))
        .collect();
    assert_eq!(codes[3..], ["cycle_detected", "exists"]);
    // What names nothing is an error, and no refusal.
    assert_eq!(code(go(&tasks, "v", TaskState::Todo)), "task_not_found");
    assert_eq!(
        code(tasks.create_blocking(&NewTask::new("v").parent("w"))),
        "task_parent_not_found"
    );
    assert_eq!(
        code(tasks.create_blocking(&NewTask::new(""))),
        "bad_task_id"
    );
    let done = NewTask::new("v").state(TaskState::Done);
    assert_eq!(code(tasks.create_blocking(&done)), "bad_task_state");
    // That somebody was refused hides nobody else who is.
    let before = count()?;
    let folder = tempfile::tempdir()?;
    for name in ["bot", "bob"] {
        let other = enrolled(&log, folder.path(), name, Authority::Agent)?;
        let other = Tasks::new(&other);
        for _ in 0..2 {
            assert!(go(&other, "t", TaskState::Done).is_err());
        }
    }
    assert_eq!(count()?, before + 2);
    let long = "x".repeat(257);
    assert_eq!(
        code(tasks.claim_blocking("t", &long, LEASE)),
        "name_too_long"
    );
    assert_eq!(count()?, 7);
    Ok(())
}

#[test]
fn tasks_stand_when_the_log_is_opened_again() -> Outcome {
    for sealing in [Sealing::Plain, Sealing::Required] {
        let site = Clocked::new()?;
        let log = site.create(sealing)?;
        let tasks = Tasks::new(&log);
        for id in ["timed", "here", "done"] {
            tasks.create_blocking(&NewTask::new(id).title(format!("The {id} one")))?;
        }
        let timed = tasks.claim_blocking("timed", "bot", LEASE)?;
        let here = tasks.claim_blocking("here", "bot", Hold::Opening)?;
        let held = tasks.claim_blocking("done", "bot", LEASE)?;
        tasks.complete_blocking("done", held.fence, "")?;
        site.clock.advance(50 * SECOND);
        drop(tasks);
        let log = site.reopen(log)?;
        let tasks = Tasks::new(&log);
        // A lease has its full length again; who was in the process is gone.
        site.clock.advance(50 * SECOND);
        assert_eq!(
            code(tasks.claim_blocking("timed", "rival", LEASE)),
            "task_held"
        );
        assert_eq!(tasks.claim_blocking("here", "rival", LEASE)?.attempt, 2);
        assert_eq!(
            code(tasks.complete_blocking("here", here.fence, "")),
            "stale_claim"
        );
        tasks.complete_blocking("timed", timed.fence, "")?;
        // What was done is remembered.
        assert_eq!(
            code(tasks.create_blocking(&NewTask::new("done"))),
            "reprocess_detected"
        );
        for check in log.check_folds(None, &|_, _| {})? {
            assert!(check.is_equal(), "{check:?}");
        }
        assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
        let bytes = std::fs::read(site.path())?;
        let is_there = |text: &[u8]| bytes.windows(text.len()).any(|found| found == text);
        assert_eq!(is_there(b"The done one"), sealing == Sealing::Plain);
    }
    Ok(())
}

#[test]
fn states_stand_when_content_is_erased() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let tasks = Tasks::new(&log).stream("run-ann").scope("ann");
    tasks.create_blocking(&NewTask::new("t").title("Call Ann"))?;
    let held = tasks.claim_blocking("t", "bot", LEASE)?;
    let ann = || Erase::new("ann", "gdpr-17-1-b");
    let refused = log.erase(&ann(), &|_, _| {}).unwrap_err();
    assert!(
        refused.to_string().contains("1 tasks of it have begun"),
        "{refused}"
    );
    tasks.complete_blocking("t", held.fence, "called")?;
    let before = tasks.find("t")?.ok_or("gone")?;
    log.erase(&ann(), &|_, _| {})?;
    let listed = tasks.list(&TaskFilter::new())?;
    assert_eq!(listed, std::slice::from_ref(&before));
    assert_eq!(tasks.content(&before)?, None);
    for check in log.check_folds(None, &|_, _| {})? {
        assert!(check.is_equal(), "{check:?}");
    }
    Ok(())
}

/// Nobody else writes the namespace, and a recording is no work of this log.
#[test]
fn a_recording_makes_and_moves_no_task() -> Outcome {
    let (log, _) = memory(START_US)?;
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&NewTask::new("t"))?;
    let digest = tasks.find("t")?.ok_or("gone")?.id.digest;
    let created = TaskCreated {
        id: "t".to_owned(),
        ..TaskCreated::default()
    };
    let event = NewEvent::typed(&created, "elsewhere")?;
    assert_eq!(
        log.append_blocking(event.clone()).unwrap_err().code(),
        "owned_namespace"
    );
    let control = runstone_codec::Control::new()
        .bytes(field::TASK, digest)
        .u64(field::TO, TaskState::Done.number());
    let moved = NewEvent::typed(&TaskMoved::default(), "elsewhere")?;
    let drafts = [event, moved].map(|event| {
        let event = event.tag("imported:test");
        Draft::new(event).control(control.clone())
    });
    for imported in log.import_blocking(vec![drafts.into()]) {
        imported?;
    }
    assert_eq!(state(&tasks, "t")?, TaskState::Todo);
    assert_eq!(tasks.list(&TaskFilter::new())?.len(), 1);
    Ok(())
}

/// Whoever stands behind a move is seen, whatever it calls itself.
#[test]
fn an_actor_is_what_it_says_and_a_principal_what_it_proves() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let path = site.file("ada");
    let credential = Credential::create(&path, "ada", Authority::Human, &OsEntropy)?;
    log.enrol("ada", Authority::Human, &credential.public_key())?;
    let ada = Tasks::new(&log.with_credential(&credential)?);
    ada.create_blocking(&NewTask::new("t"))?;
    go(&Tasks::new(&log).actor("system"), "t", TaskState::Blocked)?;
    let entries = history(&ada, "t")?;
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                &*entry.actor,
                &*entry.principal,
                entry.authority,
                entry.why.as_deref(),
            )
        })
        .collect();
    let expected = [
        ("human:ada", "human:ada", Authority::Human, None),
        ("system", "system:keyring", Authority::System, None),
    ];
    assert_eq!(seen, expected);
    Ok(())
}

#[tokio::test]
async fn futures_do_what_the_others_do() -> Outcome {
    let (log, clock) = memory(START_US)?;
    let tasks = Tasks::new(&log);
    tasks.create(&NewTask::new("t")).await?;
    let held = tasks.claim("t", "bot", LEASE).await?;
    tasks.renew("t", held.fence, LEASE).await?;
    tasks.release("t", held.fence).await?;
    let held = tasks.claim("t", "bot", LEASE).await?;
    tasks.fail("t", held.fence, "no").await?;
    tasks.claim("t", "bot", LEASE).await?;
    clock.advance(60 * SECOND);
    assert_eq!(tasks.sweep().await?.len(), 1);
    let held = tasks.claim("t", "bot", LEASE).await?;
    assert_eq!(held.attempt, 4);
    tasks.complete("t", held.fence, "yes").await?;
    let back = Move::new("t", TaskState::Todo);
    assert_eq!(code(tasks.move_to(&back).await), "task_move_refused");
    Ok(())
}

/// A clone does what its handle does, in a thread of its own.
#[test]
fn handles_are_cloned_into_threads() -> Outcome {
    let (log, _) = memory(START_US)?;
    let (tasks, trays) = (Tasks::new(&log).actor("ann"), Trays::new(&log));
    let (budgets, effects) = (Budgets::new(&log), Effects::new(&log));
    let threads = [
        spawned(&tasks, |tasks| {
            tasks.create_blocking(&NewTask::new("t")).map(drop)
        }),
        spawned(&trays, |trays| trays.open_blocking("in").map(drop)),
        spawned(&budgets, |budgets| {
            budgets.open_blocking(&Open::new("bot")).map(drop)
        }),
        spawned(&effects, |effects| {
            let claim = Claim::tool("s", "pay").request("k").hold(LEASE);
            effects.claim_blocking(&claim).map(drop)
        }),
    ];
    for thread in threads {
        thread.join().map_err(|_| "it panicked")??;
    }
    assert_eq!(tasks.list(&TaskFilter::new())?.len(), 1);
    assert!(trays.list("in")?.is_empty());
    budgets.reserve_blocking("bot", &Amounts::new().tokens(1), LEASE)?;
    let again = Claim::tool("s", "pay").request("k");
    let refused = effects.claim_blocking(&again).unwrap_err();
    assert_eq!(refused.code(), "in_flight");
    Ok(())
}

fn spawned<T: Clone + Send + 'static, E: std::fmt::Display>(
    handle: &T,
    work: impl FnOnce(T) -> Result<(), E> + Send + 'static,
) -> JoinHandle<Result<(), String>> {
    let handle = handle.clone();
    std::thread::spawn(move || work(handle).map_err(|error| error.to_string()))
}
