//! The same questions, put to a real log.

use super::call::Who;
use super::{Act, CallAsk, RunAsk, Said, What};
use crate::simulator::wire::was_cut;
use runstone_codec::{Draft, NewEvent, Position};
use runstone_projections::budgets::BudgetError;
use runstone_projections::effects::{
    Change, Claim, Claimed, EffectError, Effects, Found, Fresh, Held, Target,
};
use runstone_projections::events::{
    ErrorSaid, RunFinished, RunPaused, SessionAppended, SessionEnded, SessionPatched,
};
use runstone_projections::runs::{self, Begin, Begun, Fork, RollBack, RunError, RunHeld};
use runstone_store::{AppendError, Log};
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug)]
pub enum Lost {
    /// Nobody knows whether it is recorded.
    Unknown(String),
    /// It is not recorded: the log could not.
    Failed(String),
    /// A wire lost it; sent, it may be recorded.
    Cut {
        /// Whether it was sent.
        is_sent: bool,
    },
    /// The log cannot be read: what was asked may be recorded.
    Unread(String),
}

/// What is answered and where that is recorded.
pub type Told = Result<(Said, Option<u64>), Lost>;

/// The claim that is asked for.
pub fn claim((stream, scope): (&str, &str), key: &str, ask: &CallAsk) -> Claim {
    let claim = Claim::tool(stream, "pay").scope(scope).request(key);
    let CallAsk::Claim {
        class,
        args,
        hold,
        fresh_us,
    } = ask
    else {
        return claim.args_json("{\"args\":0}");
    };
    claim
        .class(*class)
        .args_json(format!("{{\"args\":{args}}}"))
        .hold(*hold)
        .fresh(fresh_us.map_or(Fresh::Forever, |us| Fresh::For(Duration::from_micros(us))))
        .holder("model")
}

fn lost(error: &EffectError) -> Lost {
    match error {
        EffectError::Append(error) | EffectError::Budget(BudgetError::Append(error)) => {
            of_append(error)
        }
        EffectError::Read(_) | EffectError::Budget(BudgetError::Read(_)) => {
            Lost::Unread(error.to_string())
        }
        _ => Lost::Failed(error.to_string()),
    }
}

/// Why an append has no answer.
pub(crate) fn of_append(error: &AppendError) -> Lost {
    if let Some(is_sent) = was_cut(error) {
        return Lost::Cut { is_sent };
    }
    match error {
        AppendError::OutcomeUnknown { .. } => Lost::Unknown(error.to_string()),
        _ => Lost::Failed(error.to_string()),
    }
}

/// What a command of an agent comes to that was not recorded.
pub(crate) fn of_command(error: &AppendError) -> Told {
    match error.code() {
        "agent_revoked" => Ok((Said::Refused("agent_revoked"), None)),
        _ => Err(of_append(error)),
    }
}

/// Records of every call whose lease is over that its outcome is unknown.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub fn sweep_calls(effects: &Effects) -> Told {
    match effects.sweep_blocking() {
        Ok(_) => Ok((Said::At(None), None)),
        Err(error) => refusal(&error).map(|said| (said, None)),
    }
}

fn refusal(error: &EffectError) -> Result<Said, Lost> {
    Ok(Said::Refused(match error {
        EffectError::InFlight(_) => "in_flight",
        EffectError::Unknown(_) => "call_unknown",
        EffectError::AttemptsExhausted(_) => "attempts_exhausted",
        EffectError::FailedForGood(_) => "failed_for_good",
        EffectError::KeyConflict { .. } => "key_conflict",
        // An operator who names no claim is told that there is no such call.
        EffectError::StaleClaim { .. } | EffectError::NotFound => "stale_claim",
        EffectError::NothingToSettle(_) => "nothing_to_settle",
        EffectError::NotAllowed { .. } => "not_allowed",
        EffectError::NotApproved { why, .. } => why.code(),
        EffectError::Budget(BudgetError::Exceeded(_)) => "budget_exceeded",
        EffectError::Budget(BudgetError::UnknownOwner { .. }) => "budget_not_found",
        error => return Err(lost(error)),
    }))
}

/// Claims a call; what is held, if it is.
pub async fn call(effects: &Effects, claim: &Claim) -> (Told, Option<Held>) {
    match effects.claim(claim).await {
        Ok(Claimed::Held(held)) => {
            let told = (Said::Held(held.attempt), Some(held.fence.get()));
            (Ok(told), Some(held))
        }
        Ok(Claimed::Completed(outcome)) => {
            let result = outcome.result.unwrap_or_default();
            let text = String::from_utf8_lossy(&result).into_owned();
            (Ok((Said::Stored(text), None)), None)
        }
        Err(error) => (refusal(&error).map(|said| (said, None)), None),
    }
}

/// The change that an act is.
fn change(act: &Act) -> Change {
    let result = |result: &u8| result.to_string().into_bytes();
    match act {
        Act::Complete(answer) => Change::Complete {
            result: Some(result(answer)),
            rejected: None,
        },
        Act::Fail(executed) => Change::Fail {
            error: ErrorSaid {
                error_type: "Model".to_owned(),
                message: "it failed".to_owned(),
            },
            executed: *executed,
        },
        Act::Cancel(begun) => Change::Cancel {
            reason: "modelled".to_owned(),
            begun: *begun,
        },
        Act::Unknown => Change::Unknown {
            why: "modelled".into(),
            detail: None,
        },
        Act::Renew(hold) => Change::Renew(*hold),
        Act::Reconcile(answer, who) => Change::Reconcile {
            found: match answer {
                Some(answer) => Found::Completed(result(answer)),
                None => Found::NotExecuted,
            },
            evidence: None,
            by_program: *who == Who::Program,
        },
        Act::Release(_) => Change::Release {
            reason: "modelled".to_owned(),
        },
    }
}

/// Does something to a call.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub async fn act(effects: &Effects, target: &Target, act: &Act) -> Told {
    match effects.change(target, &change(act)).await {
        Ok(position) => Ok((Said::At(Some(position.get())), Some(position.get()))),
        Err(error) => refusal(&error).map(|said| (said, None)),
    }
}

fn of_run(error: &RunError) -> Told {
    let code = match error {
        RunError::Held(_)
        | RunError::Finished(_)
        | RunError::Exists(_)
        | RunError::NotFound { .. }
        | RunError::Stale { .. } => error.code(),
        RunError::Append(error) => return Err(of_append(error)),
        RunError::Read(_) => return Err(Lost::Unread(error.to_string())),
        error => return Err(Lost::Failed(error.to_string())),
    };
    Ok((Said::Refused(code), None))
}

/// Begins or resumes a run; what is held then.
///
/// # Panics
///
/// If something else is asked.
pub fn begin(log: &Log, (stream, scope): (&str, &str), ask: &RunAsk) -> (Told, Option<RunHeld>) {
    let RunAsk::Begin {
        may_start,
        may_resume,
        hold,
    } = ask
    else {
        panic!("it is no beginning: {ask:?}")
    };
    let mut begin = Begin::new(stream, "model");
    begin.scope = Some(scope.to_owned());
    begin.hold = *hold;
    (begin.may_start, begin.may_resume) = (*may_start, *may_resume);
    match runs::begin_blocking(log, &begin) {
        Ok(begun) => {
            let is_resumed = matches!(begun, Begun::Resumed(_));
            let held = begun.into_held();
            let told = (Said::Begun(is_resumed), Some(held.fence.get()));
            (Ok(told), Some(held))
        }
        Err(error) => (of_run(&error), None),
    }
}

/// Forks a run.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
///
/// # Panics
///
/// If something else is asked.
pub fn fork(log: &Log, stream: &str, ask: &RunAsk) -> Told {
    let RunAsk::Fork(of, at, _) = ask else {
        panic!("it is no fork: {ask:?}")
    };
    let fork = Fork::new(stream, of.as_str(), Position::new(*at));
    match runs::fork_blocking(log, &fork) {
        Ok(forked) => Ok((Said::Begun(forked.was_there), None)),
        Err(error) => of_run(&error),
    }
}

/// Rolls a run back.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
///
/// # Panics
///
/// If something else is asked.
pub fn roll_back(log: &Log, stream: &str, ask: &RunAsk) -> Told {
    let RunAsk::RollBack(fence, to) = ask else {
        panic!("it is no rollback: {ask:?}")
    };
    let mut back = RollBack::new(stream, Position::new(*to));
    back.fence = fence.map(Position::new);
    match runs::roll_back_blocking(log, &back) {
        Ok(at) => Ok((Said::At(Some(at.get())), Some(at.get()))),
        Err(error) => of_run(&error),
    }
}

/// Records something in a run.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
///
/// # Panics
///
/// If it is no event.
pub fn record(log: &Log, held: &RunHeld, what: &What) -> Told {
    let stream = held.stream.as_str();
    let draft = match what {
        What::Append(_) => {
            let items = what.content().as_array().cloned().unwrap_or_default();
            let path = "/list".to_owned();
            Draft::new(NewEvent::typed(&SessionAppended { path, items }, stream).unwrap())
        }
        What::Patch(..) => {
            let patch = what.content();
            Draft::new(NewEvent::typed(&SessionPatched { patch }, stream).unwrap())
        }
        What::Pause => Draft::new(NewEvent::typed(&RunPaused::default(), stream).unwrap()),
        What::LetGo => {
            let ended = SessionEnded {
                status: "aborted".to_owned(),
                reason: "cancel".to_owned(),
            };
            Draft::new(NewEvent::typed(&ended, stream).unwrap()).control(ended.control())
        }
        What::Finish => {
            let finished = RunFinished {
                status: "success".to_owned(),
                ..RunFinished::default()
            };
            Draft::new(NewEvent::typed(&finished, stream).unwrap()).control(finished.control())
        }
    };
    match runs::record_blocking(log, held, vec![draft]) {
        Ok(positions) => {
            let at = positions.first().copied().map(Position::get);
            Ok((Said::At(at), at))
        }
        Err(error) => of_run(&error),
    }
}
