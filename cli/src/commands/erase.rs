//! `erase`: nobody can read a scope any more, and a certificate says so.

use super::confirm;
use super::receipt::Certificate;
use crate::args::EraseArgs;
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{Align, Output, Progress, Table, Tone, bytes, count, rfc3339};
use crate::session::{Access, Session};
use runstone::codec::Position;
use runstone::{Erase, EraseError, Erasure, Item, Log, Read, Settings};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

const DAY_S: u64 = 24 * 60 * 60;

/// An erasure, and its certificate if one was written.
#[derive(Serialize)]
struct Line<'a> {
    requested: Position,
    completed: Option<Position>,
    state: &'static str,
    scopes: &'a [String],
    basis: &'a str,
    actor: &'a str,
    destroyed: Option<&'a str>,
    rewritten: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a Path>,
    /// What stands beside it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    beside: Option<Certificate>,
}

impl<'a> Line<'a> {
    fn of(erasure: &'a Erasure) -> Self {
        Self {
            requested: erasure.requested,
            completed: erasure.completed,
            state: state(erasure),
            scopes: &erasure.scopes,
            basis: &erasure.basis,
            actor: &erasure.actor,
            destroyed: erasure.destroyed.as_deref(),
            rewritten: erasure.rewritten,
            certificate: None,
            beside: None,
        }
    }
}

/// How far an erasure is.
fn state(erasure: &Erasure) -> &'static str {
    match (erasure.completed, erasure.rewritten) {
        (None, _) => "pending",
        (Some(_), false) => "deferred",
        (Some(_), true) => "complete",
    }
}

pub(crate) fn run(session: &Session, args: &EraseArgs) -> Result<Exit, Failure> {
    if args.list {
        return list(session);
    }
    session.with(Access::Write, |log| {
        let finished = if args.resume {
            resume(session, log, args.output.as_deref())?
        } else {
            vec![erase(session, log, args)?]
        };
        certify(session, log, &finished, args.output.as_deref())?;
        Ok(Exit::Done)
    })
}

fn erase(session: &Session, log: &Log, args: &EraseArgs) -> Result<Erasure, Failure> {
    let settings = Settings::in_force(log)?.settings;
    let mut erase = Erase::new(String::new(), args.basis.clone().unwrap_or_default());
    erase.scopes.clone_from(&args.scopes);
    erase.defer_rewrite = args.defer_rewrite;
    erase.force = args.force;
    let kept_s = settings.retention.minimum_days.saturating_mul(DAY_S);
    erase = erase.minimum_retention(Duration::from_secs(kept_s));
    if !args.yes && confirm::is_attended(&session.output) {
        confirm(log, &erase)?;
    }
    let bar = Progress::events(&session.output, "rewriting");
    let erasure = log.erase(&erase, &|done, all| bar.set(done, all));
    erasure.map_err(|error| report(error, settings.retention.minimum_days))
}

/// Tells when what must be kept may be erased.
fn report(error: EraseError, minimum_days: u64) -> Failure {
    let until = match &error {
        EraseError::Retained { until_us, .. } => rfc3339(*until_us),
        _ => None,
    };
    let report = Report::from(error);
    match until {
        Some(until) => report.hint(format!(
            "from {until} on it may be: the recorded setting retention.minimum_days is {minimum_days}"
        )),
        None => report,
    }
    .into()
}

/// Says what will happen, and asks whether it shall.
fn confirm(log: &Log, erase: &Erase) -> Result<(), Failure> {
    let mut events = 0;
    for scope in &erase.scopes {
        let mut item = Item::new();
        item.scope = Some(scope.clone());
        for record in log.read(Read::new(item.into()).without_payloads())? {
            record?;
            events += 1;
        }
    }
    let scopes = erase.scopes.join(", ");
    let rest = if erase.defer_rewrite {
        "their sealed bytes stay in the file until runstone erase --resume".to_owned()
    } else {
        let size = bytes(log.stats()?.bytes);
        format!("the file ({size}) is written anew without them; appends wait meanwhile")
    };
    let text = format!(
        "erasing {} events of {scopes}:\n  \
         their keys are destroyed: nobody can read them again, in backups and exports neither\n  \
         {rest}\n  \
         events, counts, proofs and receipts stay, and the erasure is recorded for ever\n  \
         copies that runstone keys backup wrote before must be destroyed by hand",
        count(events)
    );
    confirm::ask(&text, "Erase them?", "nothing was erased")
}

fn resume(session: &Session, log: &Log, asked: Option<&Path>) -> Result<Vec<Erasure>, Failure> {
    let open = log.erasures()?;
    let open = open.iter().filter(|erasure| !erasure.rewritten).count();
    if open == 0 {
        session.output.note("no erasure is pending or deferred");
        return Ok(Vec::new());
    }
    if open > 1 && asked.is_some_and(|asked| !asked.is_dir()) {
        return Err(
            Report::usage(format!("{open} erasures have {open} certificates"))
                .hint("name a folder that is there with -o DIR")
                .into(),
        );
    }
    let bar = Progress::events(&session.output, "rewriting");
    Ok(log.resume_erasures(&|done, all| bar.set(done, all))?)
}

/// Writes the certificates: receipts of what requested and completed the erasures, and what that
/// says.
fn certify(
    session: &Session,
    log: &Log,
    finished: &[Erasure],
    asked: Option<&Path>,
) -> Result<(), Failure> {
    if finished.is_empty() {
        return Ok(());
    }
    let mut prover = log.prover()?;
    for erasure in finished {
        let mut line = Line::of(erasure);
        let Some(position) = erasure.completed else {
            continue;
        };
        let file = files::place(asked, &format!("erasure-{position}.tlog-proof"));
        let of = (erasure.requested, position);
        let written = Certificate::write(log, &mut prover, of, &file);
        line.beside = Some(written.map_err(|failure| not_written(failure, position))?);
        line.certificate = Some(&file);
        session.output.answer(&line, || text(erasure, &file))?;
    }
    Ok(())
}

/// What was erased stays erased.
fn not_written(failure: Failure, position: Position) -> Failure {
    match failure {
        Failure::Report(report) => report
            .hint(format!(
                "the erasure is complete; runstone receipt {position} -o FILE writes its certificate"
            ))
            .into(),
        closed @ Failure::Closed => closed,
    }
}

fn text(erasure: &Erasure, certificate: &Path) -> String {
    let keys = match erasure.destroyed.as_deref() {
        Some("proven") => "their keys are destroyed, as the provider proves",
        Some("plain") => "they had no keys",
        _ => "their keys are destroyed, as far as the provider can tell",
    };
    let file = if erasure.rewritten {
        "the file is written anew without their content"
    } else {
        "their sealed bytes are still in the file: runstone erase --resume"
    };
    let beside = if files::is_stream(certificate) {
        ""
    } else {
        ", and beside it what it says and the request"
    };
    let scopes = erasure.scopes.join(", ");
    format!(
        "erased {scopes}\n{keys}\n{file}\ncertificate  {}{beside}",
        certificate.display()
    )
}

fn list(session: &Session) -> Result<Exit, Failure> {
    let output = &session.output;
    let erasures = session.with(Access::Events, |log| Ok(log.erasures()?))?;
    if output.json {
        let mut results = Output::results();
        for erasure in &erasures {
            results.json(&Line::of(erasure))?;
        }
        results.flush()?;
        return Ok(Exit::Done);
    }
    if erasures.is_empty() {
        output.note("nothing was erased");
        return Ok(Exit::Done);
    }
    let columns = [
        ("requested", Align::Right),
        ("completed", Align::Right),
        ("state", Align::Left),
        ("keys", Align::Left),
        ("basis", Align::Left),
        ("by", Align::Cut),
        ("scopes", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    for erasure in &erasures {
        let tone = match state(erasure) {
            "complete" => Tone::Good,
            "deferred" => Tone::Warn,
            _ => Tone::Bad,
        };
        let completed = erasure.completed.map(|position| count(position.get()));
        table.row(vec![
            (count(erasure.requested.get()), Tone::Plain),
            (completed.unwrap_or_else(|| "-".to_owned()), Tone::Plain),
            (state(erasure).to_owned(), tone),
            (erasure.destroyed.clone().unwrap_or_default(), Tone::Plain),
            (erasure.basis.clone(), Tone::Plain),
            (erasure.actor.clone(), Tone::Plain),
            (erasure.scopes.join(", "), Tone::Plain),
        ]);
    }
    Output::text(&format!("{}\n", table.text()))?;
    Ok(Exit::Done)
}
