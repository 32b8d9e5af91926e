//! Trays: in which order their tasks are claimed, who holds them, and when nothing is left.

use runstone_codec::{Control, Draft, NewEvent, Position};
use runstone_projections::agents::{Agents, NewHelper};
use runstone_projections::events::control::task as field;
use runstone_projections::tasks::{Move, NewTask, TaskError, TaskState, Tasks};
use runstone_projections::trays::{
    Claim, Claimed, MAX_DEPENDS_ON, NewTrayTask, NotClaimed, TrayError, TrayTask, Trays,
};
use runstone_projections::{Hold, Settings};
use runstone_store::{CreateOptions, ErrorKind, Item, Log, Query, Read, Sealing};
use runstone_tests::clocked::{Clocked, assert_sound};
use runstone_tests::tamper::Outcome;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const SECOND: u64 = 1_000_000;

struct Site {
    clocked: Clocked,
    log: Log,
    trays: Trays,
}

impl Site {
    fn new() -> Outcome<Self> {
        let clocked = Clocked::new()?;
        let log = clocked.create(Sealing::Required)?;
        let trays = Trays::new(&log);
        trays.open_blocking("in")?;
        Ok(Self {
            clocked,
            log,
            trays,
        })
    }

    fn reopened(self) -> Outcome<Self> {
        let Self {
            clocked,
            log,
            trays,
        } = self;
        drop(trays);
        let log = clocked.reopen(log)?;
        let trays = Trays::new(&log);
        Ok(Self {
            clocked,
            log,
            trays,
        })
    }

    fn add(&self, id: &str, priority: u64, after: &[&str]) -> Result<(), TrayError> {
        let new = NewTrayTask::new(NewTask::new(id)).priority(priority);
        let new = after.iter().fold(new, |new, id| new.depends_on(*id));
        self.trays.add_blocking("in", &new).map(drop)
    }

    fn claim(&self, hold: Hold) -> Claimed {
        match self.trays.claim_blocking("in", "bot", hold).unwrap() {
            Claim::Claimed(held) => *held,
            other => panic!("{other:?}"),
        }
    }

    fn nothing(&self) -> NotClaimed {
        match self.trays.claim_blocking("in", "bot", Hold::Opening) {
            Ok(Claim::NotClaimed(nothing)) => nothing,
            other => panic!("{other:?}"),
        }
    }

    fn done(&self, held: &Claimed) {
        let done = self.trays.complete_blocking(&held.task, held.fence, "");
        done.unwrap();
    }

    /// The ids of what can be claimed, claimed and completed one after the other.
    fn drain(&self) -> Vec<String> {
        let mut ids = Vec::new();
        while let Ok(Claim::Claimed(held)) = self.trays.claim_blocking("in", "bot", Hold::Opening) {
            self.done(&held);
            ids.push(id(&held));
        }
        ids
    }

    fn state(&self, id: &str) -> TaskState {
        self.trays.find("in", id).unwrap().unwrap().task.state
    }
}

fn id(held: &Claimed) -> String {
    held.said.as_ref().unwrap().id.clone()
}

fn code<T: std::fmt::Debug>(outcome: Result<T, TrayError>) -> &'static str {
    outcome.unwrap_err().code()
}

#[test]
fn the_highest_priority_comes_first_then_the_oldest() -> Outcome {
    let site = Site::new()?;
    for (id, priority) in [
        ("a", 1),
        ("b", 5),
        ("c", 1),
        ("d", u64::MAX),
        ("e", 0),
        ("f", 5),
    ] {
        site.add(id, priority, &[])?;
    }
    site.trays.open_blocking("other")?;
    let elsewhere = NewTrayTask::new(NewTask::new("x")).priority(7);
    site.trays.add_blocking("other", &elsewhere)?;
    let found = site.trays.list("in")?;
    let ready = found.iter().filter(|task| task.is_ready).count();
    assert_eq!((found.len(), ready), (6, 6));
    assert_eq!(site.drain(), ["d", "b", "f", "a", "c", "e"]);
    // What is given back keeps its place.
    for (id, priority) in [("g", 1), ("h", 1)] {
        site.add(id, priority, &[])?;
    }
    let held = site.claim(Hold::Opening);
    site.trays.release_blocking(&held.task, held.fence)?;
    assert_eq!(site.drain(), ["g", "h"]);
    let told = site.nothing();
    assert_eq!((told.drained, told.is_closed, told.open), (true, false, 0));
    assert_eq!(
        site.trays.tray("other")?.unwrap().ready,
        1,
        "never another tray's"
    );
    assert_sound(&site.log)
}

#[test]
fn a_task_waits_for_those_that_come_before_it() -> Outcome {
    let site = Site::new()?;
    site.add("a", 0, &[])?;
    site.add("b", 0, &[])?;
    site.add("ab", 9, &["a", "b"])?;
    site.add("last", 99, &["ab", "a"])?;
    let first = site.claim(Hold::Opening);
    let second = site.claim(Hold::Opening);
    assert_eq!([id(&first), id(&second)], ["a", "b"]);
    // Others hold what is left: it is not drained.
    let told = site.nothing();
    assert_eq!((told.drained, told.open, told.in_progress), (false, 4, 2));
    site.done(&first);
    assert!(!site.nothing().drained);
    site.done(&second);
    assert_eq!(site.drain(), ["ab", "last"]);
    assert!(site.nothing().drained);
    // What was done when it was put in is not waited for.
    site.add("late", 0, &["a", "last"])?;
    assert_eq!(site.drain(), ["late"]);
    assert_sound(&site.log)
}

#[test]
fn dependencies_are_known_and_never_lead_back() -> Outcome {
    let site = Site::new()?;
    let mut settings = Settings::default();
    settings.loops.completed_window = 0;
    settings.record(&site.log)?;
    let size = site.log.size();
    assert_eq!(code(site.add("a", 0, &["none"])), "dependency_not_found");
    site.trays.open_blocking("other")?;
    site.trays
        .add_blocking("other", &NewTask::new("x").into())?;
    assert_eq!(code(site.add("a", 0, &["x"])), "dependency_not_found");
    assert_eq!(site.log.size(), size + 2, "nothing else was recorded");
    assert_eq!(code(site.add("a", 0, &["a"])), "dependency_cycle");
    site.add("a", 0, &[])?;
    site.add("b", 0, &["a"])?;
    site.add("c", 0, &["b"])?;
    let held = site.claim(Hold::Opening);
    site.done(&held);
    // Another life of the first one may not wait for those that waited for it.
    assert_eq!(code(site.add("a", 0, &["c"])), "dependency_cycle");
    assert_eq!(code(site.add("a", 0, &["b"])), "dependency_cycle");
    let refused = Read::new(Query::of_type("task.refused"));
    assert_eq!(
        site.log.read(refused)?.count(),
        1,
        "equal ones are recorded once"
    );
    site.add("a", 0, &[])?;
    assert_eq!(site.drain(), ["b", "c", "a"]);
    let new = (0..=MAX_DEPENDS_ON).fold(NewTrayTask::new(NewTask::new("z")), |new, n| {
        new.depends_on(n.to_string())
    });
    assert_eq!(
        code(site.trays.add_blocking("in", &new)),
        "too_many_dependencies"
    );
    assert_sound(&site.log)
}

#[test]
fn as_many_dependencies_as_may_be_fit_with_the_longest_names() -> Outcome {
    let site = Site::new()?;
    let trays = Trays::new(&site.log).actor("x".repeat(256));
    let tray = "t".repeat(64);
    trays.open_blocking(&tray)?;
    let mut new = NewTask::new("z".repeat(1024))
        .agent("a")
        .task_type("b")
        .creator("c");
    new = new.parent("0");
    let mut all = NewTrayTask::new(new).priority(u64::MAX);
    for n in 0..MAX_DEPENDS_ON {
        trays.add_blocking(&tray, &NewTask::new(n.to_string()).into())?;
        all = all.depends_on(n.to_string());
    }
    trays.add_blocking(&tray, &all)?;
    let found = trays
        .find(&tray, &"z".repeat(1024))?
        .ok_or("it is not there")?;
    assert_eq!(
        (found.depends_on.len(), found.is_ready),
        (MAX_DEPENDS_ON, false)
    );
    assert_sound(&site.log)
}

#[test]
fn what_comes_after_a_cancelled_task_waits_and_says_so() -> Outcome {
    let site = Site::new()?;
    site.add("a", 0, &[])?;
    site.add("b", 0, &["a"])?;
    let tasks = Tasks::new(&site.log).stream("tray:in");
    tasks.move_to_blocking(&Move::new("a", TaskState::Cancelled))?;
    let stuck = site.trays.find("in", "b")?.ok_or("it is not there")?;
    assert!(stuck.is_stuck && !stuck.is_ready);
    assert_eq!(stuck.depends_on[0].state, Some(TaskState::Cancelled));
    let told = site.nothing();
    assert_eq!((told.drained, told.open, told.in_progress), (false, 1, 0));
    // A new life of what it waits for lets it go on.
    site.add("a", 0, &[])?;
    assert!(
        !site
            .trays
            .find("in", "b")?
            .ok_or("it is not there")?
            .is_stuck
    );
    assert_eq!(site.drain(), ["a", "b"]);
    // Another life of what waits waits for its own only.
    site.add("c", 0, &[])?;
    site.add("d", 0, &[])?;
    site.add("e", 0, &["c"])?;
    tasks.move_to_blocking(&Move::new("e", TaskState::Cancelled))?;
    site.add("e", 0, &["d"])?;
    let held = site.claim(Hold::Opening);
    site.done(&held);
    assert_eq!(id(&held), "c");
    assert!(
        !site
            .trays
            .find("in", "e")?
            .ok_or("it is not there")?
            .is_ready
    );
    assert_eq!(site.drain(), ["d", "e"]);
    assert_sound(&site.log)
}

#[test]
fn a_late_worker_changes_nothing() -> Outcome {
    let site = Site::new()?;
    site.add("a", 0, &[])?;
    let late = site.claim(Hold::For(Duration::from_secs(60)));
    site.clocked.clock.advance(60 * SECOND);
    let now = site.claim(Hold::For(Duration::from_secs(60)));
    assert_eq!((id(&now), now.attempt), ("a".to_owned(), 2));
    let size = site.log.size();
    let (task, fence) = (&late.task, late.fence);
    assert_eq!(
        code(site.trays.complete_blocking(task, fence, "")),
        "stale_claim"
    );
    assert_eq!(
        code(site.trays.release_blocking(task, fence)),
        "stale_claim"
    );
    assert_eq!(
        code(site.trays.fail_blocking(task, fence, "x")),
        "stale_claim"
    );
    assert_eq!(
        code(site.trays.renew_blocking(task, fence, Hold::Default)),
        "stale_claim"
    );
    assert_eq!(site.log.size(), size);
    site.trays.complete_blocking(&now.task, now.fence, "done")?;
    let again = site.trays.complete_blocking(&now.task, now.fence, "done")?;
    assert_eq!(
        again,
        site.trays.complete_blocking(&now.task, now.fence, "done")?
    );
    assert_eq!(
        code(site.trays.complete_blocking(task, fence, "")),
        "stale_claim"
    );
    assert_eq!(site.state("a"), TaskState::Done);
    // A handle of tasks does not reach into a tray past its order.
    site.add("b", 0, &[])?;
    let tasks = Tasks::new(&site.log).stream("tray:in");
    let refused = tasks.claim_blocking("b", "bot", Hold::Opening).unwrap_err();
    assert_eq!(refused.code(), "task_in_tray");
    let elsewhere = TaskError::code(&tasks.claim_blocking("c", "bot", Hold::Opening).unwrap_err());
    assert_eq!(elsewhere, "task_not_found");
    assert_sound(&site.log)
}

#[test]
fn leases_end_by_what_they_are_held_by() -> Outcome {
    let mut site = Site::new()?;
    for id in ["a", "b", "c", "d", "e"] {
        site.add(id, 0, &[])?;
    }
    let by_opening = site.claim(Hold::Opening);
    let long = site.claim(Hold::For(Duration::from_secs(900)));
    let by_clock = site.claim(Hold::ByClock(Duration::from_secs(120)));
    let short = site.claim(Hold::For(Duration::from_secs(60)));
    let default = site.claim(Hold::Default);
    assert!(!site.nothing().drained);
    site.clocked.clock.advance(60 * SECOND);
    let taken = site.claim(Hold::For(Duration::from_secs(60)));
    assert_eq!(taken.task, short.task);
    // A renewal counts from now on.
    site.trays.renew_blocking(
        &taken.task,
        taken.fence,
        Hold::For(Duration::from_secs(600)),
    )?;
    site.clocked.clock.advance(60 * SECOND);
    let taken = site.claim(Hold::For(Duration::from_secs(600)));
    assert_eq!(taken.task, by_clock.task);
    assert!(!site.nothing().drained);
    // An opening ends with it; lengths begin anew.
    site = site.reopened()?;
    site.clocked.clock.advance(599 * SECOND);
    let taken = site.claim(Hold::For(Duration::from_secs(60)));
    assert_eq!(taken.task, by_opening.task);
    assert!(!site.nothing().drained);
    site.clocked.clock.advance(SECOND);
    let next = [site.claim(Hold::Opening), site.claim(Hold::Opening)];
    let next = next.map(|held| held.task);
    assert!(next.contains(&short.task) && next.contains(&by_clock.task));
    site.clocked.clock.advance(300 * SECOND);
    let swept = site.trays.sweep_blocking()?;
    assert_eq!(swept, [by_opening.task, long.task, default.task]);
    assert_eq!(site.trays.sweep_blocking()?, []);
    let attempts = site.trays.list("in")?;
    let attempts: Vec<_> = attempts.iter().map(|task| task.task.attempt).collect();
    assert_eq!(attempts, [3, 2, 3, 3, 2]);
    assert_sound(&site.log)
}

/// A minute at least and a day at most, whoever asks and by which way; nothing changes else.
#[test]
fn a_task_of_a_tray_is_held_for_a_minute_to_a_day() -> Outcome {
    let site = Site::new()?;
    site.add("a", 0, &[])?;
    let tasks = Tasks::new(&site.log);
    tasks.create_blocking(&NewTask::new("outside"))?;
    let (shortest, longest) = (Duration::from_secs(60), Duration::from_secs(86_400));
    let wrong: Vec<Hold> = [
        Duration::ZERO,
        Duration::from_micros(59_999_999),
        Duration::from_micros(86_400_000_001),
        Duration::MAX,
    ]
    .into_iter()
    .flat_map(|lease| [Hold::For(lease), Hold::ByClock(lease)])
    .collect();
    let size = site.log.size();
    for hold in &wrong {
        let told = site.trays.claim_blocking("in", "bot", *hold).unwrap_err();
        let text = told.to_string();
        assert!(
            text.contains("held for 60 to 86400 seconds, not for "),
            "{text}"
        );
        assert_eq!(told.code(), "bad_lease");
        assert_eq!(told.kind(), ErrorKind::Usage);
    }
    assert_eq!(site.log.size(), size);
    let held = site.claim(Hold::ByClock(longest));
    for hold in &wrong {
        let size = site.log.size();
        let renewed = site.trays.renew_blocking(&held.task, held.fence, *hold);
        assert_eq!(code(renewed), "bad_lease");
        let renewed = tasks.renew_blocking("a", held.fence, *hold);
        assert_eq!(renewed.unwrap_err().code(), "bad_lease");
        assert_eq!(site.log.size(), size);
    }
    for hold in [
        Hold::For(shortest),
        Hold::ByClock(longest),
        Hold::Opening,
        Hold::Default,
    ] {
        site.trays.renew_blocking(&held.task, held.fence, hold)?;
        tasks.renew_blocking("a", held.fence, hold)?;
    }
    // Outside of trays nobody is bound.
    let outside = tasks.claim_blocking("outside", "bot", wrong[2])?;
    tasks.renew_blocking("outside", outside.fence, wrong[4])?;
    assert_sound(&site.log)
}

#[test]
fn after_its_last_attempt_a_task_is_a_dead_letter() -> Outcome {
    let site = Site::new()?;
    let mut settings = Settings::default();
    settings.trays.max_attempts = 3;
    settings.record(&site.log)?;
    site.add("a", 0, &[])?;
    site.add("b", 0, &["a"])?;
    let first = site.claim(Hold::Opening);
    site.trays
        .fail_blocking(&first.task, first.fence, "no paper")?;
    let second = site.claim(Hold::For(Duration::from_secs(60)));
    site.clocked.clock.advance(60 * SECOND);
    let third = site.claim(Hold::Opening);
    assert_eq!((second.attempt, third.attempt), (2, 3));
    site.trays
        .fail_blocking(&third.task, third.fence, "no ink")?;
    let dead = site.trays.dead_letters("in")?;
    let shown: Vec<_> = dead.iter().map(|dead| dead.task.state).collect();
    assert_eq!(shown, [TaskState::Cancelled]);
    assert!(
        site.trays
            .find("in", "b")?
            .ok_or("it is not there")?
            .is_stuck
    );
    let tray = site.trays.tray("in")?.ok_or("it is not there")?;
    assert_eq!((tray.open, tray.dead_letters, tray.cancelled), (1, 1, 1));
    assert_eq!(
        code(site.trays.fail_blocking(&third.task, third.fence, "x")),
        "stale_claim"
    );
    let letters = Read::new(Query::of_type("tray.dead_lettered"));
    let letters: Vec<_> = site.log.read(letters)?.collect::<Result<_, _>>()?;
    let payload = letters[0].payload.bytes().map(String::from_utf8_lossy);
    assert_eq!(payload.as_deref(), Some(r#"{"id":"a","error":"no ink"}"#));
    assert_eq!(letters.len(), 1);
    // Put in again it is no dead letter any more, and begins with its first attempt.
    site.add("a", 0, &[])?;
    assert!(site.trays.dead_letters("in")?.is_empty());
    // A lease that is over ends it too, and fewer attempts than were made.
    let held = site.claim(Hold::Opening);
    assert_eq!(held.attempt, 1);
    site.trays.release_blocking(&held.task, held.fence)?;
    settings.trays.max_attempts = 1;
    settings.record(&site.log)?;
    assert!(!site.nothing().drained);
    assert_eq!(site.trays.dead_letters("in")?.len(), 1);
    site.add("c", 0, &[])?;
    site.claim(Hold::For(Duration::from_secs(60)));
    site.clocked.clock.advance(60 * SECOND);
    site.nothing();
    assert_eq!(site.trays.dead_letters("in")?.len(), 2);
    // What a person moves on by hand counts as it stands.
    let tasks = Tasks::new(&site.log).stream("tray:in");
    tasks.move_to_blocking(&Move::new("b", TaskState::Cancelled))?;
    assert!(site.nothing().drained);
    assert_sound(&site.log)
}

/// Of a task that left a tray those that wait for it know; it does not come back to wait for them.
#[test]
fn what_has_left_is_waited_for_and_never_leads_back() -> Outcome {
    let site = Site::new()?;
    site.add("a", 0, &[])?;
    site.add("b", 0, &["a"])?;
    let tasks = Tasks::new(&site.log).stream("tray:in");
    let cancel = |id: &str| tasks.move_to_blocking(&Move::new(id, TaskState::Cancelled));
    cancel("a")?;
    tasks.create_blocking(&NewTask::new("a"))?;
    let found = || -> Outcome<TrayTask> {
        let found = site.trays.find("in", "b")?;
        Ok(found.ok_or("it is there")?)
    };
    assert_eq!(
        (found()?.is_stuck, found()?.depends_on[0].state),
        (true, None)
    );
    cancel("a")?;
    assert_eq!(code(site.add("a", 0, &["b"])), "dependency_cycle");
    site.add("a", 0, &[])?;
    assert!(!found()?.is_stuck);
    assert_eq!(site.drain(), ["a", "b"]);
    assert_sound(&site.log)
}

/// What was done is not waited for, whatever becomes of a later life of it.
#[test]
fn nobody_is_stuck_behind_what_was_done_once() -> Outcome {
    let site = Site::new()?;
    let mut settings = Settings::default();
    settings.loops.completed_window = 0;
    settings.record(&site.log)?;
    let tasks = Tasks::new(&site.log).stream("tray:in");
    site.add("a", 9, &[])?;
    site.add("b", 0, &[])?;
    site.add("c", 0, &["b", "a"])?;
    let held = site.claim(Hold::Opening);
    site.done(&held);
    assert_eq!(id(&held), "a");
    site.add("a", 0, &[])?;
    for (id, is_stuck) in [("a", false), ("b", true)] {
        tasks.move_to_blocking(&Move::new(id, TaskState::Cancelled))?;
        let found = site.trays.find("in", "c")?.ok_or("it is there")?;
        assert_eq!((found.is_stuck, found.is_ready), (is_stuck, false), "{id}");
    }
    site.add("b", 0, &[])?;
    assert_eq!(site.drain(), ["b", "c"]);
    assert_sound(&site.log)
}

/// A task that its holder gave back while others saw its lease to be over is to be attempted once
/// more, and is no dead letter.
#[test]
fn an_attempt_ends_once() -> Outcome {
    let clocked = Clocked::new()?;
    let mut open = clocked.opening();
    open.options.background = false;
    let log = Log::create(&clocked.path(), &CreateOptions::default(), open)?;
    let mut settings = Settings::default();
    settings.trays.max_attempts = 2;
    settings.record(&log)?;
    let trays = Trays::new(&log);
    trays.open_blocking("in")?;
    let id = trays.add_blocking("in", &NewTask::new("a").into())?.id;
    let Claim::Claimed(held) =
        trays.claim_blocking("in", "bot", Hold::For(Duration::from_secs(60)))?
    else {
        return Err("it can be claimed".into());
    };
    clocked.clock.advance(60 * SECOND);
    let mut releasing = pin!(trays.release(&id, held.fence));
    let mut sweeping = pin!(trays.sweep());
    let mut context = Context::from_waker(Waker::noop());
    // Both are asked before either is decided.
    assert!(releasing.as_mut().poll(&mut context).is_pending());
    assert!(sweeping.as_mut().poll(&mut context).is_pending());
    let swept = loop {
        if let Poll::Ready(swept) = sweeping.as_mut().poll(&mut context) {
            break swept?;
        }
    };
    let released = releasing.as_mut().poll(&mut context);
    assert!(matches!(released, Poll::Ready(Ok(_))), "{released:?}");
    assert_eq!(swept, []);
    let found = trays.get(&id)?.ok_or("it is there")?;
    let (task, letter) = (found.task, found.dead_letter);
    assert_eq!((task.state, task.attempt), (TaskState::Todo, 2));
    assert_eq!(letter, None);
    assert_sound(&log)
}

#[test]
fn a_closed_tray_takes_nothing_more_and_drains_for_good() -> Outcome {
    let site = Site::new()?;
    site.add("a", 0, &[])?;
    let opened = site.trays.open_blocking("in")?;
    assert_eq!(opened, Position::new(1), "it was open already");
    let closed = site.trays.close_blocking("in")?;
    assert_eq!(site.trays.close_blocking("in")?, closed);
    assert_eq!(code(site.add("b", 0, &[])), "tray_closed");
    assert_eq!(code(site.trays.open_blocking("in")), "tray_closed");
    let held = site.claim(Hold::Opening);
    let told = site.nothing();
    assert_eq!((told.drained, told.is_closed), (false, true));
    site.done(&held);
    let told = site.nothing();
    assert_eq!((told.drained, told.is_closed), (true, true));
    let absent = site.trays.claim_blocking("none", "bot", Hold::Opening);
    assert_eq!(code(absent), "tray_not_found");
    for name in ["", "no name", "_a", &"x".repeat(65)] {
        assert_eq!(code(site.trays.open_blocking(name)), "bad_tray_name");
    }
    assert_eq!(code(site.trays.close_blocking("none")), "tray_not_found");
    let names: Vec<_> = site
        .trays
        .trays()?
        .into_iter()
        .map(|tray| tray.name)
        .collect();
    assert_eq!(names, ["in"]);
    assert_sound(&site.log)
}

#[test]
fn recordings_and_refusals_of_tasks_are_no_work() -> Outcome {
    let site = Site::new()?;
    let event = NewEvent::new("task.created", "elsewhere")
        .tag("imported:x")
        .payload("{}");
    let control = Control::new()
        .bytes(field::TASK, [7; 16])
        .text(field::TRAY, "in");
    let draft = Draft::new(event).control(control);
    site.log.import_blocking(vec![vec![draft]]).remove(0)?;
    assert!(site.nothing().drained);
    site.add("a", 0, &[])?;
    assert_eq!(code(site.add("a", 0, &[])), "task_exists");
    assert_eq!(site.drain(), ["a"]);
    assert_eq!(code(site.add("a", 0, &[])), "reprocess_detected");
    // An id that has ended can be created anew outside, and then does not lie in the tray.
    let mut settings = Settings::default();
    settings.loops.completed_window = 0;
    settings.record(&site.log)?;
    let tasks = Tasks::new(&site.log).stream("tray:in");
    tasks.create_blocking(&NewTask::new("a"))?;
    assert!(site.nothing().drained);
    assert!(site.trays.find("in", "a")?.is_none());
    tasks.claim_blocking("a", "bot", Hold::Opening)?;
    let by_tag = Item::new().tag("tray:in");
    assert_eq!(site.log.read(Read::new(Query::from(by_tag)))?.count(), 1);
    assert_sound(&site.log)
}

/// Whoever gives a task of a tray back, its last attempt ends in the tray: by the handle of tasks, by a
/// sweep, and when its holder is let go.
#[test]
fn the_last_attempt_ends_at_once_whoever_ends_it() -> Outcome {
    let site = Site::new()?;
    let mut settings = Settings::default();
    settings.trays.max_attempts = 1;
    settings.record(&site.log)?;
    let tasks = Tasks::new(&site.log).stream("tray:in");
    let dead = |count: usize| -> Outcome {
        let found = site.trays.dead_letters("in")?;
        assert_eq!(found.len(), count);
        Ok(())
    };
    for id in ["a", "b", "c", "d"] {
        site.add(id, 0, &[])?;
    }
    let held = site.claim(Hold::Opening);
    tasks.release_blocking("a", held.fence)?;
    dead(1)?;
    let told = tasks.release_blocking("a", held.fence).unwrap_err();
    assert_eq!(told.code(), "stale_claim");
    let held = site.claim(Hold::Opening);
    tasks.fail_blocking("b", held.fence, "it broke")?;
    dead(2)?;
    site.claim(Hold::For(Duration::from_secs(60)));
    site.clocked.clock.advance(60 * SECOND);
    assert_eq!(tasks.sweep_blocking()?.len(), 1);
    dead(3)?;
    let agents = Agents::new(&site.log);
    agents.spawn_blocking(&NewHelper::new("h1").tray("in").ttl(Duration::from_secs(60)))?;
    let held = site.trays.claim_blocking("in", "h1", Hold::Opening)?;
    assert!(matches!(held, Claim::Claimed(_)));
    site.clocked.clock.advance(60 * SECOND);
    let reaped = agents.reap_blocking()?;
    assert_eq!((reaped.len(), reaped[0].released.len()), (1, 1));
    dead(4)?;
    for id in ["a", "b", "c", "d"] {
        assert_eq!(site.state(id), TaskState::Cancelled, "{id}");
    }
    assert!(site.nothing().drained);
    assert_sound(&site.log)
}
