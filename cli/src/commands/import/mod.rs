//! `import`: recordings made elsewhere.

mod files;

use crate::args::ImportArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::{Output, Progress, count};
use crate::session::{Access, Session};
use files::{Source, collect, head};
use runstone::Log;
use runstone::codec::Draft;
use runstone::import::{DETECT_BYTES, Format, Importer, Rejected, detect};
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
}

pub(crate) fn run(session: &Session, args: &ImportArgs) -> Result<Exit, Failure> {
    let sources = collect(&args.files)?;
    let output = &session.output;
    let all_bytes = sources.iter().map(|source| source.bytes).sum();
    let summary = session.with(Access::Write, |log| {
        let bar = Progress::bytes(output, "importing", all_bytes);
        let mut import = Import::new(log, output, args, bar);
        for source in &sources {
            import.file(source)?;
            if import.stopped {
                break;
            }
        }
        Ok(import.finish())
    })?;
    output.answer(&summary, || {
        format!(
            "{} events added from {} files, in {} streams; {} known before, {} records rejected",
            count(summary.events),
            count(summary.files),
            count(summary.streams),
            count(summary.skipped_duplicates),
            count(summary.rejected)
        )
    })?;
    Ok(if summary.rejected == 0 {
        Exit::Done
    } else {
        Exit::No
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
    fn new(log: &'a Log, output: &'a Output, args: &'a ImportArgs, bar: Progress) -> Self {
        Self {
            log,
            output,
            args,
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
        for item in Importer::new(format, reader, self.args.options()) {
            match item {
                Ok(record) => {
                    self.bar
                        .at(self.before_bytes.saturating_add(record.bytes_read));
                    if record.drafts.is_empty() {
                        continue;
                    }
                    self.streams.insert(self.hasher.hash_one(&record.stream));
                    self.bytes += record.drafts.iter().map(weight).sum::<usize>();
                    self.records.push(record.drafts);
                    self.places.push(Place {
                        member: record.member,
                        line: record.line,
                    });
                    if self.bytes >= BATCH_BYTES || self.records.len() >= BATCH_RECORDS {
                        self.commit(path)?;
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

    /// What a file is, by what was said or by its content.
    fn format(&mut self, source: &Source) -> Result<Option<Format>, Failure> {
        if let Some(format) = self.args.format {
            return Ok(Some(format));
        }
        let path = &source.path;
        let head = head(path, DETECT_BYTES).map_err(|error| Report::file(path, &error))?;
        match detect(&head) {
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
