//! `effect claim`: whether the caller may make the call.

use super::line::{Line, Unclaimed, said};
use super::{Answer, Shown, told};
use crate::args::{ClaimArgs, amounts};
use crate::error::{Exit, Failure, Report};
use crate::output::rfc3339;
use crate::session::{Access, Pauses, Session};
use runstone::budgets::BudgetError;
use runstone::codec::Position;
use runstone::effects::{Claim, Claimed, EffectError, Kind};
use runstone::{Effect, EffectState, Effects, Hold, KeySource, Log};
use std::time::Duration;

const SECOND_US: u64 = 1_000_000;
/// Time between two looks at a call that is in flight, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) fn run(session: &Session, args: &ClaimArgs) -> Result<Exit, Failure> {
    let mut has_waited = false;
    let answer = loop {
        let answer = attempt(session, args);
        match answer {
            Ok(Answer {
                refusal: Some(refusal),
                ..
            }) if args.is_awaited && refusal.code == "in_flight" => {
                if !has_waited {
                    let message = refusal.message;
                    session
                        .output
                        .note(&format!("{message}; waiting for its outcome"));
                }
            }
            // Others who waited for the same outcome come at the same time.
            Err(Failure::Report(report)) if has_waited && report.exit == Exit::Busy => {}
            other => break other?,
        }
        has_waited = true;
        wait(session, args)?;
    };
    told(session, &answer, |line| {
        if answer.refusal.is_none() && answer.exit == Exit::Done {
            line.granted(&session.output)
        } else {
            line.sentence(&session.output)
        }
    })
}

fn claim(args: &ClaimArgs, holder: String) -> Claim {
    let claim = match args.kind {
        Kind::Task => Claim::task(&args.stream, &args.name),
        _ => Claim::tool(&args.stream, &args.name),
    };
    let claim = claim
        .key(KeySource::Request(args.key.clone()))
        .class(args.class)
        .holder(holder)
        .hold(Hold::ByClock(args.lease.saturating_mul(SECOND_US)));
    let claim = match &args.budget {
        Some(owner) => claim.budget(owner.as_str(), amounts(&args.reserve)),
        None => claim,
    };
    let claim = match &args.args {
        Some(json) => claim.args_json(json.as_bytes()),
        None => claim,
    };
    if args.needs_approval {
        claim.needs_approval()
    } else {
        claim
    }
}

/// The principal, and the process that called this one: a script is found again by it.
fn holder(args: &ClaimArgs, log: &Log) -> String {
    let unnamed = || {
        format!(
            "{}#{}",
            log.principal().0,
            std::os::unix::process::parent_id()
        )
    };
    args.holder.clone().unwrap_or_else(unnamed)
}

fn attempt(session: &Session, args: &ClaimArgs) -> Result<Answer, Failure> {
    let act = |log: &Log| {
        let claimed = Effects::new(log).claim_blocking(&claim(args, holder(args, log)));
        match claimed {
            // Nobody knows how it stands.
            Err(error @ (EffectError::Append(_) | EffectError::Read(_))) => Err(error.into()),
            told => Ok(told),
        }
    };
    let (_, answer) = session.record(act, |log, claimed| seen(session, log, args, claimed))?;
    Ok(answer)
}

/// How a call stands after its claim.
fn seen(
    session: &Session,
    log: &Log,
    args: &ClaimArgs,
    claimed: &Result<Claimed, EffectError>,
) -> Result<Answer, Failure> {
    let effects = Effects::new(log);
    let line = |effect: &Effect| Line::of(log, effect, &session.output);
    let error = match claimed {
        Ok(Claimed::Held(held)) => {
            // It is held, whatever can be read of it: what was recorded is what was asked for.
            let effect = effects.get(&held.id)?.ok_or(EffectError::NotFound)?;
            return Ok(Answer {
                exit: Exit::Done,
                line: Shown::Call(line(&effect)),
                refusal: None,
            });
        }
        Ok(Claimed::Completed(outcome)) => {
            return Ok(Answer {
                exit: Exit::No,
                line: Shown::Call(line(&outcome.effect)),
                refusal: None,
            });
        }
        Err(error) => error,
    };
    let refused = refused(error);
    let stands = match error.effect() {
        Some(effect) => Some(effect.clone()),
        None if refused.is_some() => effects.find(&claim(args, holder(args, log)))?,
        None => None,
    };
    let mut line = stands.as_ref().map(line);
    let report = refusal(error, line.as_ref(), args);
    let exit = report.exit;
    if let (Some(line), Some((Some(state), _))) = (&mut line, refused) {
        line.state = state;
    }
    let line = match (line, refused) {
        (Some(line), _) => Shown::Call(line),
        (None, Some((Some(state), position))) => Shown::Unclaimed(Unclaimed {
            state,
            kind: args.kind.as_str(),
            name: args.name.clone(),
            key: args.key.clone(),
            attempt: 0,
            fence: None,
            holder: None,
            lease_expires_at: None,
            result: None,
            error: None,
            position,
        }),
        _ => return Err(report.into()),
    };
    Ok(Answer {
        exit,
        line,
        refusal: Some(report),
    })
}

/// Whether the error says that this claim was refused, and tells no call: as what that is shown, if
/// not as the call stands, and where people were asked.
fn refused(error: &EffectError) -> Option<(Option<&'static str>, Option<Position>)> {
    match error {
        EffectError::NotApproved { request, .. } => Some((Some("not_approved"), *request)),
        EffectError::Budget(BudgetError::Exceeded(_)) => Some((Some("exceeded"), None)),
        EffectError::ResultErased { .. } | EffectError::Result { .. } => Some((None, None)),
        _ => None,
    }
}

/// The error, with what this command knows of it.
fn refusal(error: &EffectError, line: Option<&Line>, args: &ClaimArgs) -> Report {
    let message = match (error, line) {
        (EffectError::InFlight(effect), Some(line)) => {
            let until = match effect.lease_expires_at_us.and_then(rfc3339) {
                Some(at) => format!(" until {at}"),
                None => String::new(),
            };
            Some(format!(
                "{} is in flight: {} holds it{until}",
                line.call(),
                effect.holder
            ))
        }
        (EffectError::KeyConflict { effect, .. }, Some(line)) => Some(format!(
            "the key `{}` stands for another call\n  claimed at position {}: {}\n  given now: {}",
            args.key,
            effect.fence,
            line.claimed(),
            said(&args.name, args.args.as_deref()),
        )),
        _ => None,
    };
    let mut report = Report::of(error.kind().into(), error.code(), error);
    if let Some(message) = message {
        report.message = message;
    }
    report
}

/// Looks at the call until it is no longer in flight. The log is closed between the looks.
fn wait(session: &Session, args: &ClaimArgs) -> Result<(), Failure> {
    let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        pauses.rest(LONGEST_PAUSE);
        let found = session.with(Access::Folds, |log| {
            Ok(Effects::new(log).find(&claim(args, holder(args, log)))?)
        });
        match found {
            Ok(Some(effect)) if effect.state == EffectState::InFlight && !effect.is_expired => {}
            Ok(_) => return Ok(()),
            // Whoever holds the log may be the one that will end the call.
            Err(Failure::Report(report)) if report.exit == Exit::Busy => {}
            Err(failure) => return Err(failure),
        }
    }
}
