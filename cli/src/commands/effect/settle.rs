//! `effect release` and `effect reconcile`: what a person decides about a call.

use super::{Line, change_it, find, priced, told, value};
use crate::args::{Call, ReconcileArgs, ReleaseArgs, amounts};
use crate::commands::confirm;
use crate::error::{Exit, Failure};
use crate::output::preview;
use crate::session::{Access, Session};
use runstone::budgets::Amounts;
use runstone::codec::Position;
use runstone::effects::{Change, Found};
use runstone::{Effect, EffectState};

/// Longest result that is shown before it is recorded, in characters.
const SHOWN: usize = 200;

pub(super) fn release(session: &Session, args: ReleaseArgs) -> Result<Exit, Failure> {
    let (effect, fence, line) = look(session, &args.call, args.fence)?;
    let holder = match effect.state {
        EffectState::InFlight => {
            format!(
                "{} holds it, and can no longer say what came of it",
                effect.holder
            )
        }
        _ => "nobody holds it".to_owned(),
    };
    let what = format!(
        "releasing {} ({}, claimed at position {}):\n  {holder}\n  \
         the next claim may make the call; if it was made before, it is made twice\n  \
         the release and its reason are recorded for ever",
        line.call(),
        line.state,
        effect.fence,
    );
    let change = Change::Release {
        reason: args.reason,
    };
    settle(
        session,
        (&effect, fence, &Amounts::new()),
        &change,
        (&what, "Release it?", args.yes),
    )
}

pub(super) fn reconcile(session: &Session, args: ReconcileArgs) -> Result<Exit, Failure> {
    // The answer of the person comes from stdin too.
    let is_piped = args.completed.as_deref() == Some("-");
    let completed = args.completed.map(value).transpose()?;
    let (effect, fence, line) = look(session, &args.call, args.fence)?;
    let consequence = match &completed {
        Some(result) => format!(
            "it counts as made, and is never made again\n  every later claim of it is answered with {}",
            preview(&String::from_utf8_lossy(result), SHOWN)
        ),
        None => "it counts as not made\n  the next claim may make the call; if it was made after all, it is made twice"
            .to_owned(),
    };
    let what = format!(
        "reconciling {} ({}, claimed at position {}):\n  {consequence}\n  it is recorded for ever who said so",
        line.call(),
        line.state,
        effect.fence,
    );
    let change = Change::Reconcile {
        found: completed.map_or(Found::NotExecuted, Found::Completed),
        evidence: args.evidence,
        by_program: false,
    };
    let is_sure = args.yes || is_piped;
    settle(
        session,
        (&effect, fence, &amounts(&args.cost)),
        &change,
        (&what, "Record it?", is_sure),
    )
}

/// The log is closed again while a person thinks.
fn look(
    session: &Session,
    call: &Call,
    fence: Option<u64>,
) -> Result<(Effect, Position, Line), Failure> {
    session.with(Access::Folds, |log| {
        let (effect, fence) = find(log, call, fence)?;
        let line = Line::of(log, &effect, &session.output);
        let fence = fence.unwrap_or(effect.fence);
        Ok((effect, fence, line))
    })
}

/// What was looked at is what is changed: its fence is part of the change.
fn settle(
    session: &Session,
    (effect, fence, cost): (&Effect, Position, &Amounts),
    change: &Change,
    (what, question, is_sure): (&str, &str, bool),
) -> Result<Exit, Failure> {
    let output = &session.output;
    let is_open = match change {
        Change::Release { .. } => {
            matches!(effect.state, EffectState::InFlight | EffectState::Unknown)
        }
        _ => effect.state == EffectState::Unknown || effect.is_expired,
    };
    if is_open && !is_sure && confirm::is_attended(output) {
        confirm::ask(what, question, "nothing was changed")?;
    } else if is_open {
        output.note(what);
    }
    let answer = change_it(session, change, |_| {
        Ok((effect.clone(), priced(effect.target(), cost), Some(fence)))
    })?;
    told(session, &answer, |line| line.sentence(output))
}
