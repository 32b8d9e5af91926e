//! `log`: the events, oldest first or newest first, and what comes.

use crate::args::{LogArgs, parse_when};
use crate::error::{Exit, Failure, Report};
use crate::output::{Output, RecordLines, Results, now, write_record};
use crate::session::{Access, Session};
use runstone::{Item, Log, Query, Read, ReadError, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, SystemTime};

/// Time between two looks at the file, and at whoever reads.
const POLL: Duration = Duration::from_millis(200);
/// Events of a holder that are taken before they can be printed.
const AHEAD: usize = 64;

pub(crate) fn run(session: &Session, args: &LogArgs) -> Result<Exit, Failure> {
    let read = selection(args)?;
    let mut printer = Printer::new(&session.output, args.limit);
    if args.follow {
        follow(session, read, &mut printer)?;
    } else {
        session.with(Access::Events, |log| {
            let shown = printer.print(log, read)?;
            if shown == 0 && printer.worst.is_none() {
                session.output.note("no event matches");
            }
            Ok(())
        })?;
    }
    Ok(printer.worst.unwrap_or(Exit::Done))
}

/// What is to be read.
fn selection(args: &LogArgs) -> Result<Read, Failure> {
    let has_query = args.stream.is_some() || !args.types.is_empty() || !args.tags.is_empty();
    let has_range =
        args.from.is_some() || args.to.is_some() || args.since.is_some() || args.until.is_some();
    if !has_query && !has_range && !args.all {
        return Err(Report::usage("this would list the whole log")
            .hint("ask for it with --all, or choose with --stream, --type, --tag, --from, --since")
            .into());
    }
    let query = if has_query {
        let mut item = Item::new();
        item.stream.clone_from(&args.stream);
        item.types.clone_from(&args.types);
        item.tags.clone_from(&args.tags);
        item.into()
    } else {
        Query::everything()
    };
    let mut read = Read::new(query);
    read.from = args.from;
    read.to = args.to;
    read.limit = args.limit;
    read.reverse = args.reverse;
    let when = |name: &str, text: &Option<String>| {
        text.as_ref()
            .map(|text| {
                parse_when(text, now())
                    .map_err(|why| Report::usage(format!("--{name} `{text}`: {why}")))
            })
            .transpose()
    };
    let (since, until) = (when("since", &args.since)?, when("until", &args.until)?);
    if args.occurred {
        (read.occurred_since_us, read.occurred_until_us) = (since, until);
    } else {
        (read.since_us, read.until_us) = (since, until);
    }
    Ok(read)
}

/// Prints what is there and goes on with what comes.
///
/// The file is open only while there is something to read: a log has one holder, and whoever
/// writes must not be kept out by somebody who watches.
fn follow(session: &Session, mut read: Read, printer: &mut Printer<'_>) -> Result<(), Failure> {
    printer.each_at_once = true;
    let mut first = true;
    loop {
        let seen = Fingerprint::of(&session.log);
        let opened = match session.attached() {
            Some(log) => Ok(log),
            None if first => session.open(Access::Events),
            None => Log::open(&session.log, session.options(Access::Events)).map_err(Failure::from),
        };
        let mut held = false;
        match opened {
            Ok(log) if log.is_attached() => {
                printer.follow(&log, &mut read)?;
                first = false;
                held = true;
            }
            Ok(log) => {
                printer.print(&log, read.clone())?;
                read.from = Some(read.from.unwrap_or(0).max(log.size()));
                log.close_blocking()?;
                first = false;
            }
            Err(Failure::Report(report)) if report.exit == Exit::Busy && !first => held = true,
            Err(failure) => return Err(failure),
        }
        if printer.left == Some(0) {
            return Ok(());
        }
        loop {
            rest(POLL)?;
            if held || Fingerprint::of(&session.log) != seen {
                break;
            }
        }
    }
}

/// Waits for so long; a reader of stdout that went away ends the waiting.
pub(super) fn rest(time: Duration) -> Result<(), Failure> {
    // What is polled for tells at once, so whatever else woke it up, the rest of the time remains.
    if watch_stdout(time)? {
        std::thread::sleep(time);
    }
    Ok(())
}

/// Waits for so long whether the reader of stdout goes away; answers whether something else ended
/// the waiting.
fn watch_stdout(at_most: Duration) -> Result<bool, Failure> {
    let stdout = std::io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let time = Timespec::try_from(at_most).ok();
    let outcome = poll(&mut watched, time.as_ref());
    let gone = watched
        .iter()
        .any(|fd| fd.revents().contains(PollFlags::ERR));
    if gone {
        return Err(Failure::Closed);
    }
    Ok(!matches!(outcome, Ok(0)))
}

/// What changes when something is recorded.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint([Option<(u64, SystemTime)>; 2]);

impl Fingerprint {
    fn of(log: &Path) -> Self {
        let mut head = log.as_os_str().to_owned();
        head.push(".head");
        Self([log.to_owned(), PathBuf::from(head)].map(|path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.len(), meta.modified().ok()?))
        }))
    }
}

/// Prints events as they are asked for.
pub(super) struct Printer<'a> {
    output: &'a Output,
    lines: RecordLines,
    left: Option<u64>,
    each_at_once: bool,
    /// How the command will end because of events that could not be read.
    pub(super) worst: Option<Exit>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(output: &'a Output, limit: Option<u64>) -> Self {
        Self {
            output,
            lines: RecordLines::new(output),
            left: limit,
            each_at_once: false,
            worst: None,
        }
    }

    /// Prints what is read now; answers how many events that were.
    fn print(&mut self, log: &Log, mut read: Read) -> Result<u64, Failure> {
        read.limit = self.left;
        self.lines.tick();
        let mut results = Output::results();
        let (mut buffer, mut shown) = (Vec::new(), 0);
        for record in log.read(read)? {
            self.left = self.left.map(|left| left.saturating_sub(1));
            match record {
                Ok(record) => {
                    shown += 1;
                    self.put(&record, &mut buffer, &mut results)?;
                }
                Err(error) => {
                    results.flush()?;
                    self.damaged(error)?;
                }
            }
            if self.each_at_once {
                results.flush()?;
            }
        }
        results.flush()?;
        Ok(shown)
    }

    /// Prints what comes until the holder goes away, or enough was printed; `read` goes on from
    /// there.
    fn follow(&mut self, log: &Log, read: &mut Read) -> Result<(), Failure> {
        let mut results = Output::results();
        let mut buffer = Vec::new();
        let mut subscription = log.subscribe(read.clone())?;
        // A thread of its own waits for events, so that it shows here when nobody reads them any more.
        let (records, taken) = sync_channel(AHEAD);
        std::thread::spawn(move || {
            while let Some(record) = subscription.next_blocking() {
                if records.send(record).is_err() {
                    return;
                }
            }
        });
        while self.left != Some(0) {
            let record = match taken.recv_timeout(POLL) {
                Ok(record) => record,
                Err(RecvTimeoutError::Timeout) => {
                    watch_stdout(Duration::ZERO)?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            match record {
                Ok(record) => {
                    self.lines.tick();
                    self.put(&record, &mut buffer, &mut results)?;
                    results.flush()?;
                    self.left = self.left.map(|left| left.saturating_sub(1));
                    read.from = record.position.get().checked_add(1);
                }
                Err(error) if error.is_retryable() => break,
                Err(error) => {
                    let position = error.position();
                    self.damaged(error)?;
                    read.from = position.and_then(|position| position.checked_add(1));
                }
            }
        }
        Ok(())
    }

    pub(super) fn put(
        &self,
        record: &Record,
        buffer: &mut Vec<u8>,
        results: &mut Results,
    ) -> Result<(), Failure> {
        if !self.output.json {
            return results.line(&self.lines.line(record));
        }
        buffer.clear();
        write_record(record, buffer);
        results.raw(buffer)
    }

    /// A damaged event is told, and the next one follows.
    pub(super) fn damaged(&mut self, error: ReadError) -> Result<(), Failure> {
        if error.position().is_none() {
            return Err(error.into());
        }
        let mut report = Report::from(error);
        if self.worst.is_some() && !self.output.json {
            // Advice is given once.
            report.hints.clear();
        }
        self.output.error(&report);
        if self.worst != Some(Exit::Corrupt) {
            self.worst = Some(report.exit);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser as _;

    fn read(words: &[&str]) -> Result<Read, Failure> {
        let cli = Cli::try_parse_from([&["runstone", "log"], words].concat()).unwrap();
        let crate::args::Command::Log(args) = cli.command else {
            panic!("log")
        };
        selection(&args)
    }

    #[test]
    fn the_whole_log_is_asked_for_by_name() {
        for words in [&[][..], &["--limit", "5"], &["--reverse"], &["--follow"]] {
            assert!(read(words).is_err(), "{words:?}");
        }
        for words in [&["--all"][..], &["--from", "5"], &["--since", "2h"]] {
            assert_eq!(read(words).unwrap().query, Query::Everything, "{words:?}");
        }
    }

    #[test]
    fn filters_are_one_item() {
        let query = read(&["--stream", "s", "--type", "a.b,c.*", "--tag", "k:v"])
            .unwrap()
            .query;
        assert_eq!(
            query,
            Query::parse("type=a.b,c.*;tag=k:v;stream=s").unwrap()
        );
    }

    #[test]
    fn times_go_by_the_log_or_by_the_producer() {
        let at = "1970-01-01T00:00:01Z";
        let log = read(&["--since", at]).unwrap();
        assert_eq!(
            (log.since_us, log.occurred_since_us),
            (Some(1_000_000), None)
        );
        let producer = read(&["--until", at, "--occurred"]).unwrap();
        assert_eq!(
            (producer.until_us, producer.occurred_until_us),
            (None, Some(1_000_000))
        );
        assert!(read(&["--since", "whenever"]).is_err());
    }
}
