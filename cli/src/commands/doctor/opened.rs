//! Checks on the log itself.

use super::Check;
use crate::output::{count, duration, now, relative};
use crate::session::{Access, Session};
use runstone::{ErrorKind, Log, OpenError, Query, Read, ReadError};

/// Events that a fold may be behind on disk before every open takes long to catch up.
const LAG_EVENTS: u64 = 100_000;
/// How far the clock may be behind the newest event, in microseconds.
const BACK_US: u64 = 60_000_000;

pub(super) fn checks(session: &Session) -> Vec<Check> {
    let opened = match session.attached() {
        Some(log) => Ok(log),
        None => Log::open(&session.log, session.options(Access::Folds)),
    };
    let log = match opened {
        Ok(log) => log,
        Err(error) => return vec![refused(&error)],
    };
    let mut checks = vec![Check::ok("open", format!("{} events", count(log.size())))];
    checks.push(clock(&log));
    checks.push(replica(&log));
    checks.push(copies(session));
    checks.extend(erasures(&log));
    checks.push(holds(&log));
    checks.push(signing(&log));
    checks.extend(folds(&log));
    // What is read only has nothing to lose by being dropped.
    let _ = log.close_blocking();
    checks
}

fn refused(error: &OpenError) -> Check {
    let fix = match error.kind() {
        ErrorKind::Busy => "the checks inside need it: stop that process, or ask again later",
        ErrorKind::Corrupt => "runstone verify says what is wrong; docs/RECOVERY.md what to do",
        ErrorKind::Keys => "give the keys that belong to the log with --keys PATH",
        _ => "see the message",
    };
    match error {
        OpenError::Busy { .. } => Check::warn("lock", error.to_string(), fix),
        _ => Check::fail("open", error.to_string(), fix),
    }
}

/// The log's clock never decreases, so one that is behind stamps everything alike.
fn clock(log: &Log) -> Check {
    const NAME: &str = "clock";
    let newest = Read::new(Query::everything())
        .reverse()
        .limit(1)
        .without_payloads();
    let record = match log.read(newest).map(|mut records| records.next()) {
        Ok(Some(Ok(record))) => record,
        Ok(None) => return Check::ok(NAME, "no event to compare with"),
        Ok(Some(Err(error))) | Err(error) => {
            return Check::fail(NAME, error.to_string(), "run runstone verify");
        }
    };
    let now_us = u64::try_from(now().as_microsecond()).unwrap_or_default();
    let ahead_us = record.recorded_at_us.saturating_sub(now_us);
    if ahead_us > BACK_US {
        Check::warn(
            NAME,
            format!(
                "the newest event is {} ahead of this machine",
                duration(ahead_us)
            ),
            "set the clock right; until it has caught up, new events get the time of the newest",
        )
    } else {
        Check::ok(
            NAME,
            format!("newest event {}", relative(record.recorded_at_us, now())),
        )
    }
}

/// Whether it is a copy. Opening it for writing would write, so it is only asked what it is.
fn replica(log: &Log) -> Check {
    const NAME: &str = "replica";
    match log.info().read_only {
        Some(why) if why.contains("replica") => {
            let fix =
                "append to the log that it is a copy of; if that is lost, runstone epoch start";
            Check::warn(NAME, why, fix)
        }
        _ => Check::ok(NAME, "no"),
    }
}

/// Whoever holds the keys can rewrite history; that shows only against a checkpoint elsewhere.
fn copies(session: &Session) -> Check {
    const NAME: &str = "checkpoint copies";
    let options = session.options(Access::Folds).options;
    let configured = options.checkpoint_copies.len() + options.checkpoint_commands.len();
    if configured > 0 {
        return Check::ok(NAME, format!("{configured} configured"));
    }
    Check::warn(
        NAME,
        "none configured here",
        "keep what runstone checkpoint prints where nobody who writes this log can change it",
    )
}

/// What is requested and not done yet: the content reads as erased, and is not gone.
fn erasures(log: &Log) -> Vec<Check> {
    const NAME: &str = "erasures";
    let erasures = match log.erasures() {
        Ok(erasures) => erasures,
        Err(error) => return vec![unread(NAME, &error)],
    };
    let mut checks = Vec::new();
    for erasure in &erasures {
        let (at, scopes) = (erasure.requested, erasure.scopes.join(", "));
        if erasure.completed.is_none() {
            checks.push(Check::fail(
                NAME,
                format!("that of {scopes}, requested at position {at}, is pending"),
                "runstone erase --resume says what is missing, or finishes it",
            ));
        } else if !erasure.rewritten {
            checks.push(Check::warn(
                NAME,
                format!("the sealed bytes of {scopes}, erased at position {at}, are in the file"),
                "runstone erase --resume writes the file anew",
            ));
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok(NAME, format!("{}, all complete", erasures.len())));
    }
    checks
}

/// What cannot be looked at.
fn unread(name: &'static str, error: &ReadError) -> Check {
    Check::fail(name, error.to_string(), "run runstone verify")
}

fn holds(log: &Log) -> Check {
    const NAME: &str = "holds";
    match log.holds() {
        Ok(holds) if holds.is_empty() => Check::ok(NAME, "none"),
        Ok(holds) => {
            let scopes: Vec<_> = holds.into_keys().collect();
            Check::ok(NAME, format!("not to be erased: {}", scopes.join(", ")))
        }
        Err(error) => unread(NAME, &error),
    }
}

/// Whoever has the former key signs as long as it is not ended.
fn signing(log: &Log) -> Check {
    const NAME: &str = "signing key";
    match log.checkpoint() {
        Ok(signed) if signed.signed_by().len() > 1 => Check::warn(
            NAME,
            "the former key signs too",
            "runstone keys rotate-signing --end, once auditors have the new runstone policy",
        ),
        Ok(_) => Check::ok(NAME, "one"),
        Err(error) => unread(NAME, &error),
    }
}

fn folds(log: &Log) -> Vec<Check> {
    const NAME: &str = "fold";
    let size = log.size();
    let folds = match log.fold_status() {
        Ok(folds) => folds,
        Err(error) => return vec![unread(NAME, &error)],
    };
    let known = folds.into_iter().filter(|fold| fold.known);
    known
        .map(|fold| {
            let name = &fold.name;
            if let Some((position, why)) = &fold.stopped {
                return Check::fail(
                    NAME,
                    format!("{name} stopped at position {position}: {why}"),
                    format!("update runstone, then runstone rebuild {name}"),
                );
            }
            let lag = size.saturating_sub(fold.flushed);
            if lag > LAG_EVENTS {
                return Check::warn(
                    NAME,
                    format!("{name} is {} events behind on disk", count(lag)),
                    format!("runstone rebuild {name}: until then every open has to catch up"),
                );
            }
            Check::ok(NAME, format!("{name} is up to date"))
        })
        .collect()
}
