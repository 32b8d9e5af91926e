//! `import`: recordings made elsewhere.

mod files;

use crate::args::ImportArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::{Output, Progress, count};
use crate::session::{Access, Session};
use files::{Source, collect, head};
use runstone::Log;
use runstone::codec::Draft;
use runstone::import::{Check, DETECT_BYTES, Format, Importer, Options, Rejected, detect};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Payload bytes, and records, that are handed to the log at once.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_RECORDS: usize = 4096;
/// What an event costs besides its payload.
const OVERHEAD_BYTES: usize = 512;

#[derive(Debug, Default, Serialize)]
struct Summary {
    files: u64,
    streams: u64,
    events: u64,
    skipped_duplicates: u64,
    rejected: u64,
    /// Of records that are signed or chained.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Checks>,
}

/// What came of checking records.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Checks {
    passed: u64,
    failed: u64,
    unchecked: u64,
}

impl Summary {
    fn has_faults(&self) -> bool {
        self.rejected > 0 || self.checks.is_some_and(|checks| checks.failed > 0)
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} events added from {} files, in {} streams; {} known before, {} records rejected",
            count(self.events),
            count(self.files),
            count(self.streams),
            count(self.skipped_duplicates),
            count(self.rejected)
        );
        if let Some(checks) = self.checks {
            let counts = [checks.passed, checks.failed, checks.unchecked].map(count);
            let [passed, failed, unchecked] = counts;
            let parts = [
                "; of signatures and chains ",
                &passed,
                " are valid, ",
                &failed,
            ];
            text.extend(parts);
            text.extend([" are not, ", &unchecked, " were not checked"]);
        }
        text
    }
}

pub(crate) fn run(session: &Session, args: &ImportArgs) -> Result<Exit, Failure> {
    let sources = collect(&args.files)?;
    let options = args.options()?;
    let output = &session.output;
    let all_bytes = sources.iter().map(|source| source.bytes).sum();
    let summary = session.with(Access::Write, |log| {
        let bar = Progress::bytes(output, "importing", all_bytes);
        let mut import = Import::new(log, output, args, &options, bar);
        for source in &sources {
            import.file(source)?;
            if import.stopped {
                break;
            }
        }
        Ok(import.finish())
    })?;
    output.answer(&summary, || summary.text())?;
    Ok(if summary.has_faults() {
        Exit::No
    } else {
        Exit::Done
    })
}

/// Where in a file a record stands, to be written after its path.
struct Place {
    member: Option<String>,
    line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(member) = &self.member {
            write!(f, ":{member}")?;
        }
        write!(f, ":{}", self.line)
    }
}

/// An import under way.
struct Import<'a> {
    log: &'a Log,
    output: &'a Output,
    args: &'a ImportArgs,
    options: &'a Options,
    bar: Progress,
    summary: Summary,
    /// Hashes of the streams' names: the names themselves could be many and long.
    streams: BTreeSet<u64>,
    hasher: RandomState,
    /// Bytes of the files before this one.
    before_bytes: u64,
    records: Vec<Vec<Draft>>,
    places: Vec<Place>,
    bytes: usize,
    /// Files found in folders that are no recordings.
    passed_over: Vec<PathBuf>,
    /// A record was rejected, and that is the end.
    stopped: bool,
}

impl<'a> Import<'a> {
    fn new(
        log: &'a Log,
        output: &'a Output,
        args: &'a ImportArgs,
        options: &'a Options,
        bar: Progress,
    ) -> Self {
        Self {
            log,
            output,
            args,
            options,
            bar,
            summary: Summary::default(),
            streams: BTreeSet::new(),
            hasher: RandomState::new(),
            before_bytes: 0,
            records: Vec::new(),
            places: Vec::new(),
            bytes: 0,
            passed_over: Vec::new(),
            stopped: false,
        }
    }

    fn file(&mut self, source: &Source) -> Result<(), Failure> {
        let path = &source.path;
        let Some(format) = self.format(source)? else {
            self.before_bytes += source.bytes;
            return Ok(());
        };
        self.summary.files += 1;
        let file = File::open(path).map_err(|error| Report::file(path, &error))?;
        let reader = BufReader::with_capacity(1 << 17, file);
        for item in Importer::new(format, reader, self.options.clone()) {
            match item {
                Ok(record) => {
                    self.bar
                        .at(self.before_bytes.saturating_add(record.bytes_read));
                    let place = Place {
                        member: record.member,
                        line: record.line,
                    };
                    if let Some(check) = &record.check {
                        self.check(path, &place, check);
                    }
                    if !record.drafts.is_empty() {
                        self.hand_over(path, &record.stream, record.drafts, place)?;
                    }
                }
                Err(rejected) => {
                    // Records before it come first, in the log and in what is told.
                    self.commit(path)?;
                    if !self.stopped {
                        self.reject_record(path, &rejected);
                    }
                }
            }
            if self.stopped {
                return Ok(());
            }
        }
        self.commit(path)?;
        self.before_bytes += source.bytes;
        Ok(())
    }

    /// Gathers the events of a record.
    fn hand_over(
        &mut self,
        path: &Path,
        stream: &str,
        drafts: Vec<Draft>,
        place: Place,
    ) -> Result<(), Failure> {
        self.streams.insert(self.hasher.hash_one(stream));
        self.bytes += drafts.iter().map(weight).sum::<usize>();
        self.records.push(drafts);
        self.places.push(place);
        if self.bytes >= BATCH_BYTES || self.records.len() >= BATCH_RECORDS || self.stopped {
            self.commit(path)?;
        }
        Ok(())
    }

    /// Counts what came of checking a record, and tells if it does not hold.
    fn check(&mut self, path: &Path, place: &Place, check: &Check) {
        let checks = self.summary.checks.get_or_insert_default();
        match check {
            Check::Passed => checks.passed += 1,
            Check::Failed { why } => {
                checks.failed += 1;
                self.stopped = self.args.strict;
                let message = format!("{}{place}: {why}", path.display());
                let code = "import_check_failed";
                self.bar.pause(|| self.output.warn(code, &message));
            }
            _ => checks.unchecked += 1,
        }
    }

    /// What a file is, by what was said or by its content.
    fn format(&mut self, source: &Source) -> Result<Option<Format>, Failure> {
        if let Some(format) = self.args.format {
            return Ok(Some(format));
        }
        let path = &source.path;
        let head = head(path, DETECT_BYTES).map_err(|error| Report::file(path, &error))?;
        match detect(&head) {
            // Claims go by it from then on: nobody takes one over by accident.
            Some(Format::MyceliumLedger) if source.found => {
                self.output.note(&format!(
                    "{} is a ledger and was passed over; to take it over, name the file",
                    path.display()
                ));
                Ok(None)
            }
            Some(format) => Ok(Some(format)),
            None if source.found => {
                self.passed_over.push(path.clone());
                Ok(None)
            }
            None => {
                let message = format!("{}: not a known format", path.display());
                Err(Report::new(Exit::Usage, "unknown_format", message).into())
            }
        }
    }

    /// Hands over what was gathered. A record that the log refuses is rejected; if the log itself
    /// fails, so does the import.
    fn commit(&mut self, path: &Path) -> Result<(), Failure> {
        self.bytes = 0;
        let places = std::mem::take(&mut self.places);
        let outcomes = self.log.import_blocking(std::mem::take(&mut self.records));
        for (place, outcome) in places.into_iter().zip(outcomes) {
            match outcome {
                Ok(imported) => {
                    self.summary.events += imported.added as u64;
                    self.summary.skipped_duplicates += imported.skipped as u64;
                }
                Err(error) => {
                    let report = Report::from(error);
                    if matches!(report.exit, Exit::Storage | Exit::Keys | Exit::Corrupt) {
                        let message = format!("{}{place}: {}", path.display(), report.message);
                        let hint = "importing the same files again goes on where this stopped";
                        return Err(Report { message, ..report }.hint(hint).into());
                    }
                    self.reject(path, &place, report.code, &report.message);
                }
            }
        }
        Ok(())
    }

    fn reject_record(&mut self, path: &Path, rejected: &Rejected) {
        self.bar
            .at(self.before_bytes.saturating_add(rejected.bytes_read));
        let place = Place {
            member: rejected.member.clone(),
            line: rejected.line,
        };
        self.reject(path, &place, rejected.code(), &rejected.reason.to_string());
    }

    fn reject(&mut self, path: &Path, place: &Place, code: &str, reason: &str) {
        self.summary.rejected += 1;
        self.stopped = self.args.strict;
        let message = format!("{}{place}: {reason}", path.display());
        self.bar.pause(|| self.output.warn(code, &message));
    }

    fn finish(self) -> Summary {
        drop(self.bar);
        if let Some(first) = self.passed_over.first() {
            let (first, more) = (first.display(), self.passed_over.len() - 1);
            self.output.note(&match more {
                0 => format!("{first} has no known format and was passed over"),
                _ => format!("{first} and {more} more have no known format and were passed over"),
            });
        }
        Summary {
            streams: self.streams.len() as u64,
            ..self.summary
        }
    }
}

fn weight(draft: &Draft) -> usize {
    draft.event.payload.len().saturating_add(OVERHEAD_BYTES)
}
