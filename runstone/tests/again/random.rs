//! Random programs, and what is found when one of them is changed in one place.

use super::{Outcome, begun};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use runstone::replay::again::{Divergence, DivergenceKind, Recording, Tape};
use runstone::{Run, RunAgainError, Runstone, Status, run_again};
use serde_json::json;
use std::io::Error as Failed;
use std::pin::Pin;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Op {
    /// A call of one of some tools, which takes its time, and may fail.
    Call {
        tool: String,
        args: u32,
        time: u8,
        fails: bool,
    },
    Step(u32, Vec<Self>),
    AtOnce(Vec<Vec<Self>>),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let call = (0..4_u8, 0..4_u8, any::<u8>()).prop_map(|(tool, time, chance)| Op::Call {
        tool: format!("tool-{tool}"),
        args: 0,
        time,
        fails: chance < 30,
    });
    let ops = call.prop_recursive(4, 40, 5, |op| {
        let some = || proptest::collection::vec(op.clone(), 1..5);
        prop_oneof![
            some().prop_map(|ops| Op::Step(0, ops)),
            proptest::collection::vec(some(), 2..4).prop_map(Op::AtOnce),
        ]
    });
    proptest::collection::vec(ops, 1..7)
}

/// Each call and each step is one of its own.
fn numbered(ops: &mut [Op], next: &mut u32) {
    for op in ops {
        *next += 1;
        match op {
            Op::Call { args, .. } => *args = *next,
            Op::Step(node, ops) => {
                *node = *next;
                numbered(ops, next);
            }
            Op::AtOnce(strands) => strands.iter_mut().for_each(|ops| numbered(ops, next)),
        }
    }
}

fn doing<'a>(run: &'a Run, ops: &'a [Op]) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
    Box::pin(async move {
        for op in ops {
            match op {
                Op::Call {
                    tool,
                    args,
                    time,
                    fails,
                } => {
                    let call = run.effect(tool.as_str()).args(&json!({ "n": args }));
                    let answer = call.call(|| async {
                        for _ in 0..*time {
                            tokio::task::yield_now().await;
                        }
                        if *fails {
                            return Err(Failed::other("no"));
                        }
                        Ok(*args)
                    });
                    match answer.await {
                        Ok(answer) => assert_eq!(answer, *args),
                        Err(error) if *fails && error.code() == "tool_failed" => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Op::Step(node, ops) => {
                    let step = run.step(format!("node-{node}"));
                    step.run(|| doing(run, ops)).await?;
                }
                Op::AtOnce(strands) => {
                    let strands = strands.iter().map(|ops| doing(run, ops));
                    for done in all(strands.collect()).await {
                        done?;
                    }
                }
            }
        }
        Ok(())
    })
}

/// The outputs of futures that go on by turns.
pub(super) async fn all<T>(mut left: Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = left.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, done) in left.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().any(Option::is_none) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(done.drain(..).flatten().collect())
    })
    .await
}

async fn program(log: Runstone, ops: &[Op]) -> Outcome {
    let run = begun(&log).await?;
    doing(&run, ops).await?;
    run.finish(Status::Success).await?;
    Ok(())
}

/// Changes the `at`th call that can be changed so; whether there is one.
fn changed(ops: &mut Vec<Op>, at: &mut usize, kind: DivergenceKind) -> bool {
    let mut place = 0;
    while let Some(op) = ops.get_mut(place) {
        let is_done = match op {
            Op::Call { .. } if *at > 0 => {
                *at -= 1;
                false
            }
            Op::Call { .. } => change(ops, place, kind),
            Op::Step(_, ops) => changed(ops, at, kind),
            Op::AtOnce(strands) => strands.iter_mut().any(|ops| changed(ops, at, kind)),
        };
        if is_done {
            return true;
        }
        place += 1;
    }
    false
}

/// Changes a call of a sequence, if it can be.
fn change(ops: &mut Vec<Op>, place: usize, kind: DivergenceKind) -> bool {
    let is_followed = matches!(ops.get(place + 1), Some(Op::Call { .. }));
    match (kind, ops.get_mut(place)) {
        (DivergenceKind::ChangedArguments, Some(Op::Call { args, .. })) => *args += 1000,
        (DivergenceKind::ChangedName, Some(Op::Call { tool, .. })) => tool.push_str("-renamed"),
        (DivergenceKind::Missing, _) => {
            ops.remove(place);
        }
        (DivergenceKind::ChangedOrder, _) if is_followed => ops.swap(place, place + 1),
        (DivergenceKind::Extra, _) => {
            let extra = Op::Call {
                tool: "extra".to_owned(),
                args: 5000,
                time: 0,
                fails: false,
            };
            ops.insert(place, extra);
        }
        _ => return false,
    }
    true
}

/// Of strands that go on at once a recording says only which came first. One that is changed and comes
/// before its turn is not recorded; it is told what is most like it.
fn is_near(told: &Divergence, kind: DivergenceKind) -> bool {
    let (Some(got), Some(nearest)) = (&told.got, &told.nearest) else {
        return false;
    };
    told.kind == DivergenceKind::Extra
        && match kind {
            DivergenceKind::ChangedArguments => got.name == nearest.name,
            DivergenceKind::ChangedName => got.args == nearest.args,
            _ => false,
        }
}

#[tokio::test]
async fn random_programs_run_again_and_each_change_of_one_is_found() -> Outcome {
    let mut runner = TestRunner::new(Config::default());
    let kinds = [
        DivergenceKind::ChangedArguments,
        DivergenceKind::ChangedName,
        DivergenceKind::Extra,
        DivergenceKind::Missing,
        DivergenceKind::ChangedOrder,
    ];
    let mut found = [0_u32; 5];
    for turn in 0..30_usize {
        let tree = ops().new_tree(&mut runner);
        let mut ops = tree.map_err(|why| anyhow::anyhow!("{why}"))?.current();
        numbered(&mut ops, &mut 0);
        let log = Runstone::memory()?;
        program(log.clone(), &ops).await?;
        let recording = Recording::of(&log, ["run-1"])?;
        let same = run_again(recording.clone(), |log| program(log, &ops)).await;
        if let Err(error) = same.map_err(Into::into).flatten() {
            anyhow::bail!("{ops:#?}\n{error}");
        }
        let kind = kinds[turn % 5];
        let mut other = ops.clone();
        // The changed call is one of the first, which most programs have.
        if !changed(&mut other, &mut (turn / 5 % 4), kind) {
            continue;
        }
        // These alone wait for what does not come.
        let waits = matches!(kind, DivergenceKind::Missing | DivergenceKind::ChangedOrder);
        let patience = if waits { 200 } else { 5000 };
        let tape = Tape::new(recording).wait_at_most(Duration::from_millis(patience));
        let again = run_again(tape, |log| program(log, &other)).await;
        let Err(RunAgainError::Diverged(report)) = again else {
            anyhow::bail!("{kind:?} is not found: {ops:#?}\n{other:#?}");
        };
        let told = report.divergences.first();
        let first = told.map(|first| first.kind);
        // On a busy machine what was only slow may be taken for not done, and come then.
        let is_late = waits && first == Some(DivergenceKind::ChangedOrder);
        let is_found =
            first == Some(kind) || is_late || told.is_some_and(|told| is_near(told, kind));
        assert!(is_found, "{kind:?}: {report}\n{ops:#?}\n{other:#?}");
        found[turn % 5] += 1;
    }
    assert!(found.iter().all(|found| *found > 1), "{found:?}");
    Ok(())
}
