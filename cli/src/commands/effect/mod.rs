//! `effect`: calls that happen once, by hand and from scripts.

mod claim;
mod line;
mod settle;

use line::Unclaimed;
pub(crate) use line::{Line, table};

use crate::args::{
    Call, EffectCommand, EffectsArgs, Holding, ShowEffectArgs, Stand, amounts, parse_json,
};
use crate::error::{Exit, Failure, Report};
use crate::output::Output;
use crate::session::{Access, Session};
use runstone::budgets::Amounts;
use runstone::codec::Position;
use runstone::effects::{Change, Claim, EffectError, EffectFilter, Kind, Target, list};
use runstone::events::ErrorSaid;
use runstone::{Effect, Effects, EventLimits, Hold, KeySource, Log};
use serde::Serialize;
use std::io::Read as _;

const SECOND_US: u64 = 1_000_000;

/// What a command comes to: how the call stands, and why nothing was done.
struct Answer {
    exit: Exit,
    line: Shown,
    refusal: Option<Report>,
}

/// How the call stands.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shown {
    Call(Line),
    /// Nobody ever claimed it, and this claim was refused.
    Unclaimed(Unclaimed),
}

pub(crate) fn run(session: &Session, command: EffectCommand) -> Result<Exit, Failure> {
    match command {
        EffectCommand::Claim(args) => claim::run(session, &args),
        EffectCommand::Complete(args) => {
            let result = args.result.map(value).transpose()?;
            let rejected = args.rejected;
            let change = Change::Complete { result, rejected };
            changed(session, &args.holding, &change, &amounts(&args.cost))
        }
        EffectCommand::Fail(args) => {
            let error = ErrorSaid {
                error_type: args.error,
                message: args.message,
            };
            let executed = args.executed;
            let change = Change::Fail { error, executed };
            changed(session, &args.holding, &change, &Amounts::new())
        }
        EffectCommand::Renew(args) => {
            let hold = Hold::ByClock(args.lease.saturating_mul(SECOND_US));
            changed(
                session,
                &args.holding,
                &Change::Renew(hold),
                &Amounts::new(),
            )
        }
        EffectCommand::Cancel(args) => {
            let begun = !args.not_begun;
            let reason = args.reason;
            let change = Change::Cancel { reason, begun };
            changed(session, &args.holding, &change, &Amounts::new())
        }
        EffectCommand::Release(args) => settle::release(session, args),
        EffectCommand::Reconcile(args) => settle::reconcile(session, args),
        EffectCommand::List(args) => all(session, &args),
        EffectCommand::Show(args) => show(session, &args),
    }
}

/// Prints how the call stands to stdout, and why nothing was done to stderr. That nobody reads the
/// answer does not make it another one.
fn told(
    session: &Session,
    answer: &Answer,
    text: impl FnOnce(&Line) -> String,
) -> Result<Exit, Failure> {
    if let Some(refusal) = &answer.refusal {
        session.output.error(refusal);
    }
    // For people the refusal says it all.
    if session.output.json || answer.refusal.is_none() {
        let in_words = || match &answer.line {
            Shown::Call(line) => text(line),
            Shown::Unclaimed(line) => line.state.to_owned(),
        };
        match session.output.answer(&answer.line, in_words) {
            Ok(()) | Err(Failure::Closed) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(answer.exit)
}

/// JSON of an argument, or of stdin.
fn value(given: String) -> Result<Vec<u8>, Failure> {
    if given != "-" {
        return Ok(given.into_bytes());
    }
    let mut text = String::new();
    // One byte more than the log takes is enough to be refused by it.
    let limit = u64::try_from(EventLimits::default().max_payload_bytes()).unwrap_or(u64::MAX);
    std::io::stdin()
        .lock()
        .take(limit.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|error| Report::file("stdin".as_ref(), &error))?;
    if text.len() as u64 > limit {
        let message = format!("stdin: a result has at most {limit} bytes");
        return Err(Report::usage(message).into());
    }
    let json = parse_json(&text).map_err(|why| Report::usage(format!("stdin: {why}")))?;
    Ok(json.into_bytes())
}

/// The call that is meant, as it stands, and the claim of it that was named.
fn find(log: &Log, call: &Call, fence: Option<u64>) -> Result<(Effect, Option<Position>), Failure> {
    let effects = Effects::new(log);
    let fence = fence.or(call.id).map(Position::new);
    let Some(key) = &call.key else {
        let id = call.id.map_or_else(|| Position::new(0), Position::new);
        return Ok((effects.at(id)?, fence));
    };
    let kinds: Vec<_> = Kind::ALL
        .iter()
        .copied()
        .filter(|kind| call.kind.is_none_or(|wanted| wanted == *kind))
        .collect();
    let mut found = Vec::new();
    // The claim that was named is in its own scope, whatever the stream.
    let named = fence.and_then(|fence| effects.at(fence).ok());
    let scope = named.as_ref().map(|effect| effect.id.scope.clone());
    for scope in scope.map(Some).into_iter().chain([None]) {
        for kind in &kinds {
            let claim = match kind {
                Kind::Task => Claim::task(&call.stream, ""),
                _ => Claim::tool(&call.stream, ""),
            };
            let claim = claim.key(KeySource::Request(key.clone()));
            let claim = match &scope {
                Some(scope) => claim.scope(scope.clone()),
                None => claim,
            };
            found.extend(effects.find(&claim)?);
        }
        if !found.is_empty() {
            break;
        }
    }
    if let Some(named) = &named {
        let is_it = |effect: &&Effect| effect.id == named.id;
        if let Some(effect) = found.iter().find(is_it) {
            return Ok((effect.clone(), fence));
        }
    }
    match found.len() {
        0 => {
            let missing = EffectError::NotFound;
            let message = format!("{missing} with the key `{key}`");
            Err(Report::new(missing.kind().into(), missing.code(), message).into())
        }
        1 => Ok((found.remove(0), fence)),
        _ => Err(
            Report::usage("the key stands for a call of a tool and for a task")
                .hint("name the one that is meant with --kind tool or --kind task")
                .into(),
        ),
    }
}

/// Does something to the call that the caller holds.
fn changed(
    session: &Session,
    holding: &Holding,
    change: &Change,
    cost: &Amounts,
) -> Result<Exit, Failure> {
    let answer = change_it(session, change, |log| {
        let (effect, fence) = find(log, &holding.call, holding.fence)?;
        let target = priced(effect.target(), cost);
        Ok((effect, target, fence))
    })?;
    told(session, &answer, |line| line.sentence(&session.output))
}

/// What its outcome is addressed to, with what it cost, if that was said.
fn priced(target: Target, cost: &Amounts) -> Target {
    if cost.is_empty() {
        return target;
    }
    target.cost(cost.clone())
}

fn change_it(
    session: &Session,
    change: &Change,
    which: impl FnOnce(&Log) -> Result<(Effect, Target, Option<Position>), Failure>,
) -> Result<Answer, Failure> {
    let act = |log: &Log| {
        let (effect, target, fence) = which(log)?;
        let target = match fence {
            Some(fence) => target.fence(fence),
            None => target,
        };
        let refusal = match Effects::new(log).change_blocking(&target, change) {
            Ok(_) => None,
            // Whether it was recorded is not known, or the log is in trouble: nothing can be shown.
            Err(EffectError::Append(error)) => return Err(error.into()),
            Err(error) => Some(Report::from(error)),
        };
        Ok((refusal, effect))
    };
    let ((refusal, _), line) = session.record(act, |log, (_, effect)| {
        let stands = Effects::new(log).get(&effect.id)?;
        let stands = stands.as_ref().unwrap_or(effect);
        Ok(Line::of(log, stands, &session.output))
    })?;
    Ok(Answer {
        exit: refusal.as_ref().map_or(Exit::Done, |refusal| refusal.exit),
        line: Shown::Call(line),
        refusal,
    })
}

fn show(session: &Session, args: &ShowEffectArgs) -> Result<Exit, Failure> {
    let line = session.with(Access::Folds, |log| {
        let (effect, _) = find(log, &args.call, args.fence)?;
        Ok(Line::of(log, &effect, &session.output))
    })?;
    session
        .output
        .answer(&line, || line.whole(&session.output))?;
    Ok(Exit::Done)
}

fn all(session: &Session, args: &EffectsArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    session.with(Access::Folds, |log| {
        let mut filter = EffectFilter::new();
        match args.status {
            Some(Stand::State(state)) => filter.state = Some(state),
            Some(Stand::Expired) => filter.expired = true,
            None => {}
        }
        filter.stream.clone_from(&args.stream);
        let mut effects = list(log, &filter)?;
        effects.sort_by_key(|effect| effect.fence);
        if output.json {
            let mut results = Output::results();
            for effect in &effects {
                results.json(&Line::of(log, effect, output))?;
            }
            results.flush()?;
        } else if effects.is_empty() {
            output.note("there is no such call");
        } else {
            let lines: Vec<_> = effects
                .iter()
                .map(|effect| Line::of(log, effect, output))
                .collect();
            Output::text(&format!("{}\n", table(&lines, output)))?;
        }
        Ok(Exit::Done)
    })
}
