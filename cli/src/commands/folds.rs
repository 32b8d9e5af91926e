//! `folds` and `rebuild`: state that is folded from the log.

use crate::args::RebuildArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Progress, Summary, Table, Tone, count, hex, paint};
use crate::session::{Access, Session};
use runstone::{FoldCheck, FoldStatus, Log};
use serde::Serialize;
use std::fmt::Write as _;

pub(crate) fn list(session: &Session) -> Result<Exit, Failure> {
    session.with(Access::Folds, |log| {
        let (output, size) = (&session.output, log.size());
        let folds = log.fold_status()?;
        if output.json {
            let mut results = Output::results();
            for fold in &folds {
                results.json(&Summary::of(fold, size))?;
            }
            results.flush()?;
        } else {
            Output::text(&format!("{}\n", table(output, &folds, size)))?;
        }
        Ok(Exit::Done)
    })
}

/// How far folds are, for people.
pub(super) fn table(output: &Output, folds: &[FoldStatus], size: u64) -> String {
    let columns = [
        ("fold", Align::Left),
        ("version", Align::Right),
        ("behind", Align::Right),
        ("on disk", Align::Right),
        ("state", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    for fold in folds {
        let (state, tone) = match &fold.stopped {
            Some((position, why)) => (format!("stopped at position {position}: {why}"), Tone::Bad),
            None if !fold.known => ("of another program, left alone".to_owned(), Tone::Dim),
            None => ("up to date".to_owned(), Tone::Good),
        };
        table.row(vec![
            (fold.name.clone(), Tone::Plain),
            (fold.version.to_string(), Tone::Plain),
            (count(size.saturating_sub(fold.applied)), Tone::Plain),
            (count(fold.flushed), Tone::Plain),
            (state, tone),
        ]);
    }
    table.text()
}

#[derive(Serialize)]
struct Line<'a> {
    fold: &'a str,
    position: u64,
    digest: String,
    live_digest: String,
    equal: bool,
}

impl<'a> Line<'a> {
    fn of(check: &'a FoldCheck) -> Self {
        Self {
            fold: &check.fold,
            position: check.position.get(),
            digest: hex(&check.digest),
            live_digest: hex(&check.live_digest),
            equal: check.is_equal(),
        }
    }
}

pub(crate) fn rebuild(session: &Session, args: &RebuildArgs) -> Result<Exit, Failure> {
    let (output, fold) = (&session.output, args.fold.as_deref());
    let access = if args.check {
        Access::Folds
    } else {
        Access::Write
    };
    let bar = Progress::events(output, "folding");
    if args.derived {
        session.patiently(|| {
            let progress = |done, all| bar.set(done, all);
            Log::rederive(&session.log, session.options(access), &progress)
        })?;
    }
    let checks = session.with(access, |log| {
        if let Some(fold) = fold {
            check_known(log, fold)?;
        }
        let progress = |done, all| bar.set(done, all);
        Ok(if args.check {
            log.check_folds(fold, &progress)?
        } else {
            log.rebuild_folds(fold, &progress)?
        })
    })?;
    drop(bar);
    let mut results = Output::results();
    for check in &checks {
        if output.json {
            results.json(&Line::of(check))?;
        } else {
            results.line(&text(output, check))?;
        }
    }
    results.flush()?;
    let all_equal = checks.iter().all(FoldCheck::is_equal);
    Ok(if all_equal { Exit::Done } else { Exit::No })
}

fn check_known(log: &Log, fold: &str) -> Result<(), Failure> {
    let folds = log.fold_status()?;
    if folds
        .iter()
        .any(|status| status.known && status.name == fold)
    {
        return Ok(());
    }
    let message = format!("this program knows no fold `{fold}`");
    Err(Report::new(Exit::NotFound, "fold_unknown", message).into())
}

fn text(output: &Output, check: &FoldCheck) -> String {
    let mut text = if check.is_equal() {
        let verdict = paint(output.color, Tone::Good, "equal");
        format!(
            "{}  {verdict} after {} events",
            check.fold,
            count(check.position.get())
        )
    } else {
        let verdict = paint(output.color, Tone::Bad, "DIFFERS");
        let row = check
            .difference
            .as_ref()
            .map(|row| row.key.escape_ascii().to_string());
        format!(
            "{}  {verdict} first at row {}",
            check.fold,
            row.unwrap_or_default()
        )
    };
    if let Some((position, why)) = &check.stopped {
        // Writing to a string cannot fail.
        let _ = write!(text, "; stopped at position {position}: {why}");
    }
    text
}
