//! Which tasks are created: what they must say, loops, scopes.

use super::*;
use runstone_projections::budgets::{Amounts, BudgetLimits, Budgets, Dimension, Open};
use runstone_tests::clocked::assert_sound;

#[test]
fn what_a_task_must_say_is_a_setting() -> Outcome {
    let (log, _) = memory(START_US)?;
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&NewTask::new("before"))?;
    Settings::from_toml("[admission]\nenabled = true\n")?.record(&log)?;
    let bare = NewTask::new("t").title("Rewrite it");
    let refused = tasks.create_blocking(&bare).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Cannot create task 'Rewrite it': admission schema incomplete (missing: consumer, pain_point, expected_value, validation_path)"
    );
    assert_eq!(refused.code(), "admission_incomplete");
    let half = bare
        .clone()
        .admission("pain_point", "slow")
        .admission("consumer", " \t")
        .admission("validation_path", "tests");
    let refused = tasks.create_blocking(&half).unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("(missing: consumer, expected_value)")
    );
    // It is told before a loop.
    let looped = half.clone().creator("t");
    assert_eq!(code(tasks.create_blocking(&looped)), "admission_incomplete");
    let whole = half
        .admission("consumer", "ops")
        .admission("expected_value", "1 h a week");
    tasks.create_blocking(&whole)?;
    let said = tasks
        .content(&tasks.find("t")?.ok_or("gone")?)?
        .ok_or("erased")?;
    assert_eq!(said.admission["consumer"], "ops");
    // Another program changes the settings: this one goes by them.
    let mut other = Settings::from_toml("[admission]\nenabled = true\nrequired = [\"why\"]\n")?;
    other.record(&log)?;
    let refused = tasks.create_blocking(&NewTask::new("u")).unwrap_err();
    assert!(refused.to_string().ends_with("(missing: why)"), "{refused}");
    other.admission.enabled = false;
    other.record(&log)?;
    tasks.create_blocking(&NewTask::new("u"))?;
    Ok(())
}

#[test]
fn loops_are_told_in_their_words() -> Outcome {
    let (log, _) = memory(START_US)?;
    let tasks = Tasks::new(&log);
    Settings::from_toml("[loops]\nmax_depth = 2\ncompleted_window = 2\n")?.record(&log)?;
    let new = |id: &str, parent: &str| {
        let new = NewTask::new(id)
            .agent(format!("agent-{id}"))
            .task_type("dev");
        if parent.is_empty() {
            new
        } else {
            new.parent(parent)
        }
    };
    assert_eq!(tasks.create_blocking(&new("a", ""))?.depth, 0);
    assert_eq!(tasks.create_blocking(&new("b", "a"))?.depth, 1);
    assert_eq!(tasks.create_blocking(&new("c", "b"))?.depth, 2);
    let told = |new: &NewTask| -> (LoopType, String) {
        let checked = tasks.check(new, None).unwrap_err().to_string();
        match tasks.create_blocking(new).unwrap_err() {
            TaskError::Loop { loop_type, text } => {
                assert_eq!(text, checked);
                (loop_type, text)
            }
            other => panic!("{other}"),
        }
    };
    assert_eq!(
        told(&new("d", "c")),
        (
            LoopType::DepthExceeded,
            "Task depth 3 exceeds maximum 2. Chain: a(dev) -> b(dev) -> c(dev)".to_owned()
        )
    );
    assert_eq!(
        told(&new("a", "b")),
        (
            LoopType::CycleDetected,
            "Creating task a would introduce a cycle in the work graph. Agent agent-a would be creating work that traces back to itself.".to_owned()
        )
    );
    assert_eq!(
        told(&new("d", "b").agent("agent-b")),
        (
            LoopType::IdentityLoop,
            "Agent agent-b is creating a dev task for itself while currently executing the same task type. This appears to be a self-referential identity loop.".to_owned()
        )
    );
    for id in ["x", "y", "z"] {
        tasks.create_blocking(&new(id, ""))?;
        let held = tasks.claim_blocking(id, "bot", LEASE)?;
        tasks.complete_blocking(id, held.fence, "")?;
    }
    assert_eq!(
        told(&new("y", "")),
        (
            LoopType::ReprocessDetected,
            "Task y was already completed and is in the recently-completed heap. Re-processing detected.".to_owned()
        )
    );
    // It is long ago: another life begins, and what held the one before holds nothing.
    let first = tasks.find("x")?.ok_or("gone")?;
    tasks.create_blocking(&new("x", ""))?;
    let fence = first.fence.ok_or("nobody held it")?;
    assert_eq!(code(tasks.complete_blocking("x", fence, "")), "stale_claim");
    assert_eq!(state(&tasks, "x")?, TaskState::Todo);

    // A look records nothing, and takes its own limit.
    let size = log.size();
    assert_eq!(tasks.check(&new("d", "c"), Some(3))?, 3);
    assert_eq!(code(tasks.check(&new("d", "b"), Some(1))), "depth_exceeded");
    assert_eq!(code(tasks.check(&new("a", ""), None)), "task_exists");
    assert_eq!(
        code(tasks.check(&new("d", "nobody"), None)),
        "task_parent_not_found"
    );
    assert_eq!(log.size(), size);
    Ok(())
}

#[test]
fn ids_are_of_a_scope_and_listings_of_all() -> Outcome {
    let (log, _) = memory(START_US)?;
    let ann = Tasks::new(&log).stream("run-ann").scope("ann");
    let bob = Tasks::new(&log).stream("run-bob").scope("bob");
    ann.create_blocking(&NewTask::new("t").agent("bot").task_type("dev"))?;
    bob.create_blocking(&NewTask::new("t").agent("bot"))?;
    bob.create_blocking(&NewTask::new("t-1").parent("t").state(TaskState::Backlog))?;
    // Nothing is known of the other's.
    assert_eq!(
        code(ann.create_blocking(&NewTask::new("u").parent("t-1"))),
        "task_parent_not_found"
    );
    go(&ann, "t", TaskState::Cancelled)?;
    assert_eq!(state(&bob, "t")?, TaskState::Todo);
    assert_eq!(history(&ann, "t")?.len(), 2);
    // Another stream of the scope finds it, and it stays in its own.
    let other = Tasks::new(&log).stream("run-bob-2").scope("bob");
    go(&other, "t", TaskState::Blocked)?;
    assert_eq!(history(&bob, "t")?.len(), 2);
    assert!(
        recorded(&log, TaskMoved::TYPE)?
            .iter()
            .all(|record| record.header.stream != "run-bob-2")
    );

    let count =
        |tasks: &Tasks, filter: &TaskFilter| -> Outcome<usize> { Ok(tasks.list(filter)?.len()) };
    let all = TaskFilter::new();
    assert_eq!(count(&ann, &all)?, 3);
    assert_eq!(count(&ann, &all.clone().open())?, 2);
    assert_eq!(count(&ann, &all.clone().state(TaskState::Backlog))?, 1);
    assert_eq!(count(&ann, &all.clone().state(TaskState::Done))?, 0);
    assert_eq!(count(&bob, &all.clone().agent("bot"))?, 1);
    assert_eq!(count(&bob, &all.clone().parent("t"))?, 1);
    assert_eq!(count(&bob, &all.clone().task_type("dev"))?, 0);
    assert_eq!(count(&ann, &all.clone().task_type("dev"))?, 1);
    assert_eq!(
        count(
            &Tasks::new(&log).stream("none").scope("none"),
            &all.agent("bot")
        )?,
        0
    );
    assert!(tasks_in_order(&ann)?);
    Ok(())
}

fn tasks_in_order(tasks: &Tasks) -> Outcome<bool> {
    let all = tasks.list(&TaskFilter::new())?;
    Ok(all.is_sorted_by(|one, next| one.created < next.created))
}

/// A task is in the budget that it names, or in that of the task that it is a part of; deeper than
/// that lets it is not created.
#[test]
fn a_budget_limits_how_deep_tasks_lie() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let (tasks, budgets) = (Tasks::new(&log), Budgets::new(&log));
    let depth = |max| BudgetLimits::new().of(Dimension::Depth, max);
    budgets.open_blocking(&Open::new("job").limits(depth(1)))?;
    budgets.open_blocking(&Open::new("part").parent("job").limits(depth(9)))?;
    budgets.open_blocking(&Open::new("other").limits(depth(9)))?;
    tasks.create_blocking(&NewTask::new("t0").budget("job"))?;
    tasks.create_blocking(&NewTask::new("t1").parent("t0"))?;
    let too_deep = NewTask::new("t2").parent("t1");
    // A look says the same, and records nothing.
    let told = tasks.check(&too_deep, None).unwrap_err();
    assert_eq!(
        told.to_string(),
        "Task job exceeded depth budget: proposed depth 2, max 1"
    );
    let looks = [
        ("part", "budget_exceeded"),
        ("other", "budget_parent"),
        ("nobody's", "budget_not_found"),
    ];
    for (owner, why) in looks {
        assert_eq!(
            code(tasks.check(&too_deep.clone().budget(owner), None)),
            why
        );
    }
    assert!(recorded(&log, TaskRefused::TYPE)?.is_empty());
    let told = tasks.create_blocking(&too_deep).unwrap_err();
    assert_eq!(
        (told.code(), told.kind()),
        ("budget_exceeded", ErrorKind::Refused)
    );
    assert_eq!(
        told.to_string(),
        "Task job exceeded depth budget: proposed depth 2, max 1"
    );
    // Naming a budget below it does not lead out of it, and another one is not taken.
    assert_eq!(
        code(tasks.create_blocking(&too_deep.clone().budget("part"))),
        "budget_exceeded"
    );
    assert_eq!(
        code(tasks.create_blocking(&too_deep.clone().budget("other"))),
        "budget_parent"
    );
    assert_eq!(
        code(tasks.create_blocking(&NewTask::new("x").budget("nobody's"))),
        "budget_not_found"
    );
    assert!(tasks.find("t2")?.is_none());
    let refused = recorded(&log, TaskRefused::TYPE)?;
    let why: Vec<_> = refused
        .iter()
        .map(|record| record.control.get_text(field::WHY))
        .collect();
    assert_eq!(why, [Some("budget_exceeded")], "equal ones once a second");
    // What was folded is what binds later, whatever the handle.
    let log = {
        drop((tasks, budgets));
        site.reopen(log)?
    };
    let tasks = Tasks::new(&log);
    assert_eq!(code(tasks.create_blocking(&too_deep)), "budget_exceeded");
    // One without a budget is bound by the settings alone.
    for (id, parent) in [("u0", None), ("u1", Some("u0")), ("u2", Some("u1"))] {
        let new = parent.into_iter().fold(NewTask::new(id), NewTask::parent);
        tasks.create_blocking(&new)?;
    }
    // A raised limit lets it be, and an owner that is over another limit lets nothing be.
    let person = site.person(&log)?;
    Budgets::new(&person).open_blocking(&Open::new("job").limits(depth(2)))?;
    assert_eq!(tasks.check(&too_deep, None)?, 2);
    tasks.create_blocking(&too_deep)?;
    let spent = depth(9).of(Dimension::Steps, 1);
    let budgets = Budgets::new(&log);
    budgets.open_blocking(&Open::new("short").limits(spent))?;
    budgets.charge_blocking("short", &Amounts::new().steps(2))?;
    let late = NewTask::new("late").budget("short");
    let over = "Task short exceeded step budget: 2 steps taken, max 1";
    let looked = tasks.check(&late, None).unwrap_err();
    assert_eq!(looked.to_string(), over);
    let told = tasks.create_blocking(&late).unwrap_err();
    assert_eq!(told.to_string(), over);
    assert_sound(&log)
}
