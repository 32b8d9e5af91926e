//! Receipts and disclosures from a log.

use crate::args::{ReceiptArgs, Which};
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{Output, Progress, Results, count};
use crate::session::{Access, Session};
use runstone::codec::Position;
use runstone::{Disclose, Log, Prover, Query, Read};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How the file of a receipt ends.
const RECEIPT: &str = ".tlog-proof";
/// How the file of a disclosure ends, in place of that.
const DISCLOSURE: &str = ".disclosure.json";

#[derive(Serialize)]
struct Answer<'a> {
    receipt: &'a Path,
    disclosure: Option<&'a Path>,
    position: Position,
}

pub(crate) fn run(session: &Session, args: &ReceiptArgs) -> Result<Exit, Failure> {
    let shows = args.disclose_all || !args.disclose.is_empty();
    // A disclosure is recorded.
    let access = if shows { Access::Write } else { Access::Events };
    let Some(which) = args.which else {
        let (read, folder) = selection(args)?;
        std::fs::create_dir_all(folder).map_err(|error| Report::file(folder, &error))?;
        return session.with(access, |log| many(log, &session.output, args, read, folder));
    };
    session.with(access, |log| {
        let position = match which {
            Which::Position(position) => Position::new(position),
            Which::Id(id) => log.record_by_id(id)?.position,
        };
        one(log, &session.output, args, position)
    })
}

/// What receipts are wanted of, and where they go.
fn selection(args: &ReceiptArgs) -> Result<(Read, &Path), Failure> {
    let query = match (&args.stream, &args.query) {
        (Some(stream), _) => Query::stream(stream),
        (None, Some(query)) => query.clone(),
        (None, None) if args.all || args.from.is_some() || args.to.is_some() => Query::everything(),
        (None, None) => {
            return Err(Report::usage("it is not said which events")
                .hint("name one by position or id, or choose with --stream, --query, --from, --to, --all")
                .into());
        }
    };
    let folder = args.output.as_deref().ok_or_else(|| {
        Report::usage("many receipts go into a folder").hint("name it with -o DIR")
    })?;
    let mut read = Read::new(query).without_payloads();
    (read.from, read.to) = (args.from, args.to);
    Ok((read, folder))
}

fn one(
    log: &Log,
    output: &Output,
    args: &ReceiptArgs,
    position: Position,
) -> Result<Exit, Failure> {
    let mut prover = log.prover()?;
    let Some(asked) = &args.output else {
        Output::text(&prover.receipt(position)?.to_string())?;
        return Ok(Exit::Done);
    };
    let file = files::place(Some(asked), &format!("{position}{RECEIPT}"));
    write_receipt(&mut prover, position, &file)?;
    let disclosure = disclose(log, args, position, &file)?;
    let answer = Answer {
        receipt: &file,
        disclosure: disclosure.as_deref(),
        position,
    };
    output.answer(&answer, || text(&answer, prover.size()))?;
    Ok(Exit::Done)
}

fn text(answer: &Answer<'_>, size: u64) -> String {
    let (file, position) = (answer.receipt.display(), answer.position);
    let mut text = format!("{file}: event {position} among {}", count(size));
    if let Some(disclosure) = answer.disclosure {
        let disclosure = disclosure.display();
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{disclosure}: what is disclosed of it");
    }
    text
}

/// The receipt of an event, in a file.
pub(in crate::commands) fn write_receipt(
    prover: &mut Prover,
    position: Position,
    file: &Path,
) -> Result<(), Failure> {
    files::write(file, &prover.receipt(position)?.encode(), files::OPEN)
}

/// Writes what is to be disclosed of an event beside its receipt, if anything is.
fn disclose(
    log: &Log,
    args: &ReceiptArgs,
    position: Position,
    receipt: &Path,
) -> Result<Option<PathBuf>, Failure> {
    let mut disclose = if args.disclose_all {
        Disclose::whole(position)
    } else if args.disclose.is_empty() {
        return Ok(None);
    } else {
        Disclose::fields(position, &args.disclose)
    };
    disclose.recipient.clone_from(&args.recipient);
    let disclosure = log.disclose(&disclose)?;
    let receipt = receipt.as_os_str().to_string_lossy();
    let file = format!(
        "{}{DISCLOSURE}",
        receipt.strip_suffix(RECEIPT).unwrap_or(&receipt)
    );
    let file = PathBuf::from(file);
    files::write(&file, &disclosure.encode(), files::SECRET)?;
    Ok(Some(file))
}

/// Receipts of many events under one checkpoint. An event that cannot be proven or shown is told,
/// and the rest goes on.
fn many(
    log: &Log,
    output: &Output,
    args: &ReceiptArgs,
    mut read: Read,
    folder: &Path,
) -> Result<Exit, Failure> {
    let mut prover = log.prover()?;
    let Some(last) = prover.size().checked_sub(1) else {
        return Ok(Exit::Done);
    };
    // What the disclosures themselves record is not asked for.
    let to = read.to.map_or(last, |to| to.min(last));
    read.to = Some(to);
    let from = read.from.unwrap_or(0);
    let bar = Progress::events(output, "proving");
    let mut results = Output::results();
    let mut told = Told::default();
    for record in log.read(read)? {
        let made = record.map_err(Failure::from).and_then(|record| {
            let position = record.position;
            bar.set(
                position.get().saturating_sub(from) + 1,
                to.saturating_sub(from) + 1,
            );
            let file = folder.join(format!("{position}{RECEIPT}"));
            write_receipt(&mut prover, position, &file)?;
            told.written += 1;
            let disclosure = disclose(log, args, position, &file);
            let answer = Answer {
                receipt: &file,
                disclosure: disclosure.as_ref().ok().and_then(Option::as_deref),
                position,
            };
            answer_line(output, &mut results, &answer)?;
            disclosure
                .map(drop)
                .map_err(|failure| at(failure, position))
        });
        match made {
            Ok(()) => {}
            Err(Failure::Closed) => return Err(Failure::Closed),
            Err(Failure::Report(report)) => {
                results.flush()?;
                told.failed(&report)?;
                bar.pause(|| output.error(&report));
            }
        }
    }
    results.flush()?;
    drop(bar);
    if !output.json {
        let (written, folder) = (count(told.written), folder.display());
        let size = count(prover.size());
        output.note(&format!(
            "{written} receipts in {folder}, under the checkpoint of {size}"
        ));
    }
    Ok(told.worst.unwrap_or(Exit::Done))
}

fn answer_line(output: &Output, results: &mut Results, answer: &Answer<'_>) -> Result<(), Failure> {
    if output.json {
        results.json(answer)
    } else {
        results.line(&answer.receipt.display().to_string())
    }
}

/// Names the event that an error is about.
fn at(failure: Failure, position: Position) -> Failure {
    match failure {
        Failure::Report(mut report) => {
            report.message = format!("event {position}: {}", report.message);
            report.into()
        }
        closed @ Failure::Closed => closed,
    }
}

/// What came of many.
#[derive(Default)]
struct Told {
    written: u64,
    /// How the command will end because of events that could not be proven or shown.
    worst: Option<Exit>,
}

impl Told {
    /// Only what concerns one event lets the rest go on.
    fn failed(&mut self, report: &Report) -> Result<(), Failure> {
        if !matches!(report.exit, Exit::No | Exit::Corrupt) {
            return Err(report.clone().into());
        }
        if self.worst != Some(Exit::Corrupt) {
            self.worst = Some(report.exit);
        }
        Ok(())
    }
}
