//! Receipts and disclosures from a log.

use crate::args::{ReceiptArgs, Which};
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{Output, Progress, Results, count};
use crate::session::{Access, Session};
use runstone::codec::Position;
use runstone::{Disclose, Log, Prover, Query, Read, Sealing};
use serde::Serialize;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// How the file of a receipt ends.
const RECEIPT: &str = ".tlog-proof";
/// How the file of a disclosure ends, in place of that.
const DISCLOSURE: &str = ".disclosure.json";
/// How the file of an envelope ends, in place of that.
const ENVELOPE: &str = ".envelope";
/// What says of an erasure what it erased and that it is complete: nobody's secret.
const CERTIFICATES: [&str; 2] = ["log.erasure_requested", "log.erasure_completed"];

#[derive(Serialize)]
struct Answer<'a> {
    receipt: &'a Path,
    disclosure: Option<&'a Path>,
    envelope: Option<&'a Path>,
    position: Position,
}

pub(crate) fn run(session: &Session, args: &ReceiptArgs) -> Result<Exit, Failure> {
    let shows = args.disclose_all || !args.disclose.is_empty();
    // What shows content is recorded, and where nothing is encrypted an envelope does.
    let is_recorded =
        shows || args.envelope && session.with(Access::Events, |log| Ok(is_plain(log)))?;
    let access = if is_recorded {
        Access::Write
    } else {
        Access::Events
    };
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

fn is_plain(log: &Log) -> bool {
    log.info().sealing == Sealing::Plain
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
    let event_type = log.record(position)?.header.event_type;
    let envelope = show_envelope(log, args, position, &event_type, &file)?;
    let answer = Answer {
        receipt: &file,
        disclosure: disclosure.as_deref(),
        envelope: envelope.as_deref(),
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
    if let Some(envelope) = answer.envelope {
        let envelope = envelope.display();
        let _ = write!(text, "\n{envelope}: its content as it is stored");
    }
    text
}

/// The receipt of an event, in a file.
fn write_receipt(prover: &mut Prover, position: Position, file: &Path) -> Result<(), Failure> {
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
    let file = beside(receipt, DISCLOSURE);
    files::write(&file, &disclosure.encode(), files::SECRET)?;
    Ok(Some(file))
}

/// A file that stands beside a receipt.
fn beside(receipt: &Path, ending: &str) -> PathBuf {
    let receipt = receipt.as_os_str().as_bytes();
    let mut name = receipt
        .strip_suffix(RECEIPT.as_bytes())
        .unwrap_or(receipt)
        .to_owned();
    name.extend_from_slice(ending.as_bytes());
    OsString::from_vec(name).into()
}

/// Writes the envelope of an event beside its receipt if it is asked for, or if the event is what
/// a certificate consists of.
fn show_envelope(
    log: &Log,
    args: &ReceiptArgs,
    position: Position,
    event_type: &str,
    receipt: &Path,
) -> Result<Option<PathBuf>, Failure> {
    let is_certificate = CERTIFICATES.contains(&event_type) && !files::is_stream(receipt);
    if !args.envelope && !is_certificate {
        return Ok(None);
    }
    let mode = if is_certificate {
        files::OPEN
    } else {
        files::SECRET
    };
    write_envelope(log, position, args.recipient.clone(), receipt, mode).map(Some)
}

/// The envelope of an event, beside its receipt.
fn write_envelope(
    log: &Log,
    position: Position,
    recipient: Option<String>,
    receipt: &Path,
    mode: u32,
) -> Result<PathBuf, Failure> {
    let file = beside(receipt, ENVELOPE);
    files::write(&file, &log.envelope(position, recipient)?, mode)?;
    Ok(file)
}

/// The certificate of an erasure: receipts of its completion and of its request, and what both say.
#[derive(Debug, Default, Serialize)]
pub(in crate::commands) struct Certificate {
    /// What the completion says.
    envelope: Option<PathBuf>,
    /// The receipt of the request, which names the scopes.
    request: Option<PathBuf>,
    /// What the request says.
    request_envelope: Option<PathBuf>,
}

impl Certificate {
    /// Writes it; `receipt` is the file of the first receipt, and the others stand beside it.
    pub(in crate::commands) fn write(
        log: &Log,
        prover: &mut Prover,
        (requested, completed): (Position, Position),
        receipt: &Path,
    ) -> Result<Self, Failure> {
        write_receipt(prover, completed, receipt)?;
        if files::is_stream(receipt) {
            return Ok(Self::default());
        }
        let envelope = write_envelope(log, completed, None, receipt, files::OPEN)?;
        let request = beside(receipt, &format!(".request{RECEIPT}"));
        write_receipt(prover, requested, &request)?;
        let request_envelope = write_envelope(log, requested, None, &request, files::OPEN)?;
        Ok(Self {
            envelope: Some(envelope),
            request: Some(request),
            request_envelope: Some(request_envelope),
        })
    }
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
            let event_type = &record.header.event_type;
            let envelope = show_envelope(log, args, position, event_type, &file);
            let answer = Answer {
                receipt: &file,
                disclosure: disclosure.as_ref().ok().and_then(Option::as_deref),
                envelope: envelope.as_ref().ok().and_then(Option::as_deref),
                position,
            };
            answer_line(output, &mut results, &answer)?;
            disclosure
                .and(envelope)
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
