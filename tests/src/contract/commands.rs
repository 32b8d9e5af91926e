//! Deciding and recording in one step.

use super::{Make, check_sound, numbered, plainly, refused, text};
use crate::folds::{Fragile, Tally};
use runstone_codec::{Control, Draft, NewEvent, Position};
use runstone_store::{AppendError, DecideContext, Decision, OpenOptions, Query, Read};
use std::sync::Arc;
use uuid::Uuid;

type Decided = Result<Decision<Result<u64, u64>>, AppendError>;

/// Claims a key if nobody has: the claim is recorded, or the refusal is.
fn claim(context: &mut DecideContext<'_>) -> Decided {
    let held = context.last_tagged("claim:x")?;
    let fence = context.next_position().get();
    Ok(match held {
        None => Decision::record(0, Control::new().u64(1, fence), Ok(fence)),
        Some(holder) => Decision::record(1, Control::new().u64(2, holder.get()), Err(holder.get())),
    })
}

fn candidates() -> Vec<Draft> {
    vec![
        NewEvent::new("effect.claimed", "s").tag("claim:x").into(),
        Draft::new(NewEvent::new("effect.refused", "s")).control(Control::new().text(3, "held")),
    ]
}

/// A decision sees everything before it, records what it chose, and answers.
pub fn a_decision_records_what_it_chose(make: Make<'_>) {
    let log = make(plainly());
    let (answer, at) = log.command_blocking(candidates(), claim).unwrap();
    assert_eq!((answer, at), (Ok(1), vec![Position::new(1)]));
    let (answer, at) = log.command_blocking(candidates(), claim).unwrap();
    assert_eq!((answer, at), (Err(1), vec![Position::new(2)]));
    let claimed = log.record(Position::new(1)).unwrap();
    assert_eq!(claimed.header.event_type, "effect.claimed");
    assert_eq!(claimed.control, Control::new().u64(1, 1));
    let refusal = log.record(Position::new(2)).unwrap();
    assert_eq!(refusal.header.event_type, "effect.refused");
    assert_eq!(refusal.control, Control::new().u64(2, 1).text(3, "held"));

    let both = vec![
        numbered("s", 1).into(),
        numbered("s", 2).into(),
        numbered("s", 3).into(),
    ];
    let (revision, at) = log
        .command_blocking(both, |context| {
            let revision = context.last_revision("s")?;
            assert_eq!(context.last_revision("t")?, None);
            Ok(Decision::record(2, Control::new(), revision).and(0, Control::new().u64(9, 9)))
        })
        .unwrap();
    assert_eq!(
        (revision, at),
        (Some(1), [3, 4].map(Position::new).to_vec())
    );
    let texts = [3, 4].map(|at| text(&log.record(Position::new(at)).unwrap()).to_owned());
    assert_eq!(texts, [r#"{"n":3}"#, r#"{"n":1}"#]);
    check_sound(&log);
}

/// A decision that records nothing leaves no trace, and one that fails fails alone.
pub fn a_decision_may_record_nothing(make: Make<'_>) {
    let log = make(plainly());
    let before = log.root();
    let (answer, at) = log
        .command_blocking(vec![numbered("s", 1).into()], |_| {
            Ok(Decision::nothing("no"))
        })
        .unwrap();
    assert_eq!((answer, at.len()), ("no", 0));
    let error = log.command_blocking(vec![numbered("s", 1).into()], |_| {
        Err::<Decision<()>, _>(AppendError::Empty)
    });
    assert_eq!(refused(error), "empty");
    for wrong in [1, usize::MAX] {
        let absent = log.command_blocking(vec![numbered("s", 1).into()], move |_| {
            Ok(Decision::record(0, Control::new(), ()).and(wrong, Control::new()))
        });
        absent.unwrap_err();
    }
    let twice = log.command_blocking(vec![numbered("s", 1).into()], |_| {
        Ok(Decision::record(0, Control::new(), ()).and(0, Control::new()))
    });
    twice.unwrap_err();
    assert_eq!((log.size(), log.root()), (1, before));
}

/// Of many commands that decide at once exactly one wins, and every loser sees it.
pub fn decisions_see_earlier_requests_of_the_group(make: Make<'_>) {
    let log = make(plainly());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answers: Vec<_> = runtime.block_on(async {
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let log = log.clone();
                tokio::spawn(async move { log.command(candidates(), claim).await.unwrap() })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        answers
    });
    let winners: Vec<_> = answers
        .iter()
        .filter_map(|(answer, _)| answer.ok())
        .collect();
    assert_eq!(winners, [1]);
    assert_eq!(
        answers
            .iter()
            .filter(|(answer, _)| *answer == Err(1))
            .count(),
        199
    );
    let mut places: Vec<_> = answers.iter().map(|(_, at)| at[0].get()).collect();
    places.sort_unstable();
    assert_eq!(places, (1..=200).collect::<Vec<_>>());
    let claims = Read::new(Query::of_type("effect.claimed"));
    assert_eq!(super::positions(&log, claims), [1]);
}

/// A decision sees the rows of folds as of the event before it.
pub fn decisions_see_folds(make: Make<'_>) {
    let mut open = OpenOptions::default();
    open.folds = vec![Arc::new(Tally::new(1))];
    let log = make(open);
    for expected in 0..5_u64 {
        log.append_blocking(numbered("s", expected)).unwrap();
        let (seen, _) = log
            .command_blocking(Vec::new(), |context| {
                let row = context.fold_row("tally", &Tally::type_key("data.noted"))?;
                Ok(Decision::nothing(row.map(|row| Tally::number(&row))))
            })
            .unwrap();
        assert_eq!(seen, Some(expected + 1));
    }
    let unknown = log.command_blocking(Vec::new(), |context| {
        context.fold_row("nobody", b"")?;
        Ok(Decision::nothing(()))
    });
    assert_eq!(refused(unknown), "fold_stopped");
}

/// A decision that reads a stopped fold is told where it stopped; others go on.
pub fn decisions_are_told_that_a_fold_stopped(make: Make<'_>) {
    let mut open = OpenOptions::default();
    open.folds = vec![Arc::new(Fragile::refusing()), Arc::new(Tally::new(1))];
    let log = make(open);
    log.append_blocking(numbered("s", 1)).unwrap();
    log.append_blocking(NewEvent::new(Fragile::POISON, "s"))
        .unwrap();
    let reads = |fold: &'static str| {
        log.command_blocking(vec![numbered("s", 2).into()], move |context| {
            context.fold_row(fold, b"")?;
            Ok(Decision::record(0, Control::new(), ()))
        })
    };
    match reads("fragile") {
        Err(AppendError::FoldStopped { fold, position, .. }) => {
            assert_eq!((fold.as_str(), position), ("fragile", 2));
        }
        other => panic!("{other:?}"),
    }
    reads("tally").unwrap();
    assert_eq!(log.size(), 4);
}

/// A decision that panics fails alone: what was recorded around it stays whole.
pub fn a_decision_that_panics_fails_alone(make: Make<'_>) {
    let log = make(plainly());
    log.append_blocking(numbered("s", 1)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..60_u64)
            .map(|n| {
                let log = log.clone();
                tokio::spawn(async move {
                    if n % 3 != 0 {
                        return log.append(numbered("s", n)).await.map(|_| ());
                    }
                    let outcome = log.command(vec![numbered("s", n).into()], |context| {
                        assert!(context.now_us() == 0, "a decider that panics");
                        Ok(Decision::record(0, Control::new(), ()))
                    });
                    outcome.await.map(|_| ())
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            let outcome = task.await.unwrap();
            let code = outcome.err().map(|error| error.code());
            assert_eq!(code, (n % 3 == 0).then_some("decider_panicked"), "{n}");
        }
    });
    assert_eq!(log.size(), 42);
    check_sound(&log);
}

/// A command whose ids are recorded is not decided again.
pub fn a_command_is_not_decided_twice(make: Make<'_>) {
    let log = make(plainly());
    let id = Uuid::from_u128(42);
    let command = || {
        let candidate = numbered("s", 1).id(id);
        log.command_blocking(vec![candidate.into()], |_| {
            Ok(Decision::record(0, Control::new(), ()))
        })
    };
    let ((), positions) = command().unwrap();
    let error = command().unwrap_err();
    assert!(
        matches!(error, AppendError::EventIdKnown { position, .. } if position == positions[0].get()),
        "{error}"
    );
    let twice = vec![numbered("s", 2).id(Uuid::from_u128(43)).into(); 2];
    let error = log
        .command_blocking(twice, |_| Ok(Decision::nothing(())))
        .unwrap_err();
    assert_eq!(error.code(), "duplicate_id");
    assert_eq!(log.size(), 2);
    check_sound(&log);
}
