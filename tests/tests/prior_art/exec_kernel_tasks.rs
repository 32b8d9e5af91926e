//! Faults of a kernel for tasks that came before this one: one test each, showing that Runstone does
//! not have it. The numbers are those of the list.

use runstone_projections::standard_folds;
use runstone_projections::tasks::{Move, NewTask, TaskError, TaskState, Tasks, machine};
use runstone_projections::{Hold, Settings};
use runstone_store::{CreateOptions, Log, OpenOptions};
use runstone_tests::command::Runstone;
use runstone_tests::tamper::Outcome;
use serde_json::Value;
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

fn opening() -> OpenOptions {
    let mut open = OpenOptions::default();
    open.folds = standard_folds();
    open
}

fn memory() -> Outcome<Log> {
    Ok(Log::memory(&CreateOptions::default(), opening())?)
}

fn code<T: std::fmt::Debug>(outcome: Result<T, TaskError>) -> &'static str {
    outcome.unwrap_err().code()
}

fn of(agent: &str, task_type: &str, id: &str) -> NewTask {
    NewTask::new(id).agent(agent).task_type(task_type)
}

/// The chain of a refusal ends, whatever refers to whatever.
#[test]
fn k1_the_detector_does_not_run_for_ever() -> Outcome {
    let log = memory()?;
    let tasks = Tasks::new(&log);
    let own = of("ag", "f", "a").parent("a");
    for max_depth in [Some(0), None] {
        assert_eq!(code(tasks.check(&own, max_depth)), "cycle_detected");
    }
    assert_eq!(code(tasks.create_blocking(&own)), "cycle_detected");

    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log"));
    runstone.value(["init"]);
    let words = [
        "task",
        "check",
        "a",
        "--agent",
        "ag",
        "--type",
        "f",
        "--parent",
        "a",
        "--max-depth",
        "0",
    ];
    assert_eq!(runstone.run(words).status.code(), Some(1));

    // Ids that come again make a ring of parents, which is refused where it would close.
    Settings::from_toml("[loops]\nmax_depth = 3\ncompleted_window = 0\n")?.record(&log)?;
    tasks.create_blocking(&of("a1", "t", "r0"))?;
    for task in 1..=3 {
        let new = of("a1", &format!("t{task}"), &format!("r{task}"));
        tasks.create_blocking(&new.parent(format!("r{}", task - 1)))?;
    }
    tasks.move_to_blocking(&Move::new("r0", TaskState::Cancelled))?;
    assert_eq!(
        code(tasks.create_blocking(&of("a2", "t", "r0").parent("r2"))),
        "cycle_detected"
    );
    let deep = tasks
        .create_blocking(&of("a2", "t", "r4").parent("r3"))
        .unwrap_err();
    assert_eq!(
        deep.to_string(),
        "Task depth 4 exceeds maximum 3. Chain: r0(t) -> r1(t1) -> r2(t2) -> r3(t3)"
    );
    Ok(())
}

/// By parents and by creators, with whatever agents and types lie between.
#[test]
fn k2_cycles_through_parents_and_other_types_are_found() -> Outcome {
    let log = memory()?;
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&of("A", "x", "a"))?;
    tasks.create_blocking(&of("B", "y", "b").parent("a"))?;
    tasks.create_blocking(&of("C", "x", "c").creator("b"))?;
    tasks.create_blocking(&of("D", "z", "d").parent("c"))?;
    assert_eq!(
        code(tasks.create_blocking(&of("A", "x", "a").parent("d"))),
        "cycle_detected"
    );
    // A setting says how far up identity looks.
    tasks
        .create_blocking(&of("B", "y", "e").parent("b").creator("d"))
        .unwrap_err();
    let grandchild = of("A", "x", "f").parent("b");
    assert_eq!(tasks.check(&grandchild, None)?, 2);
    Settings::from_toml("[loops]\nidentity_window = 2\n")?.record(&log)?;
    assert_eq!(code(tasks.create_blocking(&grandchild)), "identity_loop");
    Ok(())
}

#[test]
fn k3_the_depth_is_computed_by_the_log() -> Outcome {
    let log = memory()?;
    let tasks = Tasks::new(&log);
    assert_eq!(
        code(tasks.create_blocking(&NewTask::new("x").parent("y"))),
        "task_parent_not_found"
    );
    tasks.create_blocking(&NewTask::new("t0"))?;
    for depth in 1..=10_u64 {
        let new = NewTask::new(format!("t{depth}")).parent(format!("t{}", depth - 1));
        assert_eq!(tasks.create_blocking(&new)?.depth, depth);
    }
    assert_eq!(
        code(tasks.create_blocking(&NewTask::new("t11").parent("t10"))),
        "depth_exceeded"
    );
    Ok(())
}

#[test]
fn k4_check_and_record_are_one_step() -> Outcome {
    let log = memory()?;
    Tasks::new(&log).create_blocking(&of("P", "p", "parent"))?;
    for round in 0..50 {
        let id = format!("t-{round}");
        let barrier = Barrier::new(8);
        let race = || {
            let tasks = Tasks::new(&log);
            barrier.wait();
            let is_created = tasks.create_blocking(&NewTask::new(&id)).is_ok();
            barrier.wait();
            let moving = Move::new(&id, TaskState::InProgress);
            (is_created, tasks.move_to_blocking(&moving).is_ok())
        };
        let ended: Vec<_> = std::thread::scope(|scope| {
            let racing: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
            racing.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(ended.iter().filter(|told| told.0).count(), 1);
        assert_eq!(ended.iter().filter(|told| told.1).count(), 1);
        // Two that would make each other's cycle: one of them is refused.
        let [one, other] = [format!("x-{round}"), format!("y-{round}")];
        let barrier = Barrier::new(2);
        let cross = |id: &str, creator: &str| {
            barrier.wait();
            let new = NewTask::new(id).creator(creator);
            Tasks::new(&log).create_blocking(&new).is_ok()
        };
        let made = std::thread::scope(|scope| {
            let first = scope.spawn(|| cross(&one, &other));
            let second = cross(&other, &one);
            u8::from(first.join().unwrap()) + u8::from(second)
        });
        assert_eq!(made, 1);
    }
    Ok(())
}

fn at(path: &Path) -> Outcome<Log> {
    if path.exists() {
        return Ok(Log::open(path, opening())?);
    }
    Ok(Log::create(path, &CreateOptions::default(), opening())?)
}

#[test]
fn k5_everything_is_there_after_a_restart() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let log = at(&path)?;
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&of("A", "x", "a"))?;
    tasks.create_blocking(&of("B", "x", "b").parent("a"))?;
    let held = tasks.claim_blocking("b", "worker", Hold::For(Duration::from_secs(60)))?;
    tasks.complete_blocking("b", held.fence, "done")?;
    drop(tasks);
    log.close_blocking()?;
    drop(log);
    let log = at(&path)?;
    let tasks = Tasks::new(&log);
    // State, graph, and what was completed.
    assert_eq!(
        tasks.find("a")?.map(|task| task.state),
        Some(TaskState::Todo)
    );
    assert_eq!(tasks.check(&of("C", "x", "c").parent("b"), None)?, 2);
    assert_eq!(
        code(tasks.create_blocking(&of("B", "z", "b"))),
        "reprocess_detected"
    );
    assert_eq!(
        code(tasks.create_blocking(&of("A", "x", "a").parent("b"))),
        "cycle_detected"
    );
    assert_eq!(tasks.history("b")?.count(), 3);
    Ok(())
}

/// A beginning that is asked for again begins nothing again, and an unknown id is an error.
#[test]
fn k6_nothing_is_reset_by_starting_again_and_unknown_ids_are_errors() -> Outcome {
    let log = memory()?;
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&NewTask::new("t"))?;
    let held = tasks.claim_blocking("t", "worker", Hold::Opening)?;
    tasks.release_blocking("t", held.fence)?;
    assert_eq!(
        code(tasks.create_blocking(&NewTask::new("t"))),
        "task_exists"
    );
    assert_eq!(tasks.find("t")?.map(|task| task.attempt), Some(2));
    let moving = Move::new("unknown", TaskState::Todo);
    assert_eq!(code(tasks.move_to_blocking(&moving)), "task_not_found");
    Ok(())
}

#[test]
fn k7_a_check_on_the_command_line_sees_the_tasks_of_the_log() -> Outcome {
    let folder = tempfile::tempdir()?;
    let runstone = Runstone::on(folder.path().join("log"));
    runstone.value(["init"]);
    runstone.value(["task", "create", "p", "--agent", "A", "--type", "x"]);
    let check = |words: &[&str]| {
        let output = runstone.run([&["task", "check"], words].concat());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer)
    };
    let (exit, answer) = check(&["c", "--agent", "B", "--type", "x", "--parent", "p"]);
    assert_eq!((exit, &answer["depth"]), (Some(0), &1.into()));
    let (exit, answer) = check(&["c", "--agent", "A", "--type", "x", "--parent", "p"]);
    assert_eq!(
        (exit, &answer["loop_type"]),
        (Some(1), &"identity_loop".into())
    );
    let (exit, answer) = check(&[
        "c",
        "--agent",
        "B",
        "--type",
        "x",
        "--parent",
        "p",
        "--max-depth",
        "0",
    ]);
    assert_eq!(
        (exit, &answer["loop_type"]),
        (Some(1), &"depth_exceeded".into())
    );
    runstone.value([
        "task", "create", "c", "--agent", "B", "--type", "x", "--parent", "p",
    ]);
    let (exit, answer) = check(&["p", "--agent", "C", "--type", "x", "--creator", "c"]);
    assert_eq!(
        (exit, &answer["loop_type"]),
        (Some(1), &"cycle_detected".into())
    );
    Ok(())
}

#[test]
fn k12_histories_have_times_and_positions_and_words_are_checked() -> Outcome {
    let log = memory()?;
    let tasks = Tasks::new(&log).actor("planner");
    tasks.create_blocking(&NewTask::new("t"))?;
    for to in [TaskState::InProgress, TaskState::InReview, TaskState::Done] {
        tasks.move_to_blocking(&Move::new("t", to))?;
    }
    let entries = tasks.history("t")?.collect::<Result<Vec<_>, _>>()?;
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.from, entry.to, entry.reason))
        .collect();
    let expected = [
        (None, TaskState::Todo, "Created"),
        (Some(TaskState::Todo), TaskState::InProgress, "Work started"),
        (
            Some(TaskState::InProgress),
            TaskState::InReview,
            "Sent for review",
        ),
        (
            Some(TaskState::InReview),
            TaskState::Done,
            "Review approved",
        ),
    ];
    assert_eq!(told, expected);
    assert!(
        entries
            .iter()
            .all(|entry| entry.actor == "planner" && entry.at_us > 0)
    );
    assert!(
        entries.is_sorted_by(|one, next| one.position < next.position && one.at_us <= next.at_us)
    );
    // Words that are no states are refused in words.
    for (from, to, text) in [
        ("todo", "bogus", "No valid transition from todo to bogus"),
        ("bogus", "todo", "Unknown current state: bogus"),
        ("", "", "Unknown current state: "),
    ] {
        assert_eq!(machine::validate(from, to).unwrap_err(), text);
    }
    Ok(())
}
