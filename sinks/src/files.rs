//! The files of a sink in `LOG.sinks/`: its cursor, what it was refused, how it failed. None has
//! content of the log.
//!
//! | file | what | written |
//! |---|---|---|
//! | `NAME.cursor` | [`Cursor`], JSON | whole, with every batch that was accepted |
//! | `NAME.parked` | [`Parked`], one a line | whole, when one comes or goes |
//! | `NAME.failures` | [`Failure`], one a line | at the end; the last thousand are kept |

use runstone_codec::LogId;
use runstone_store::{sync_folder, write_whole};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// How the format of a cursor is named.
const FORMAT: &str = "runstone-sink/2";
/// The one before, which does not have [`Cursor::last`].
const FORMAT_1: &str = "runstone-sink/1";
/// Failures that are kept and listed.
pub(crate) const FAILURES: usize = 1_000;
/// Events that may be parked. A peer that refuses more refuses everything.
pub(crate) const PARKED: usize = 10_000;
/// Longest reason in bytes.
const MAX_WHY_LEN: usize = 300;
const ENDINGS: [&str; 3] = ["cursor", "parked", "failures"];

/// How far a sink is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    format: String,
    /// Id of the log.
    log: LogId,
    /// Position at which the sink was added: another one of the same name begins anew.
    sink: u64,
    /// The first position that it has not got.
    pub(crate) next: u64,
    /// The id of the event before that, if it was there when the cursor was kept.
    #[serde(default)]
    pub(crate) last: Option<Uuid>,
    /// It may have got what comes before this position already.
    pub(crate) offered: u64,
    /// The newest wish to try again what is parked that was done.
    pub(crate) replayed: u64,
    /// Events that it took, ever.
    pub(crate) delivered: u64,
    /// When it took some last, Unix microseconds by the log's clock.
    pub(crate) accepted_at_us: Option<u64>,
    /// Events a thousand seconds, measured over at least ten seconds.
    pub(crate) rate_milli: u64,
    /// Whether its last failure is newer than the last thing that it took.
    pub(crate) is_failing: bool,
    /// The mark of the credentials with which it was made last, if it has any.
    #[serde(default)]
    pub(crate) secrets: Option<u16>,
}

impl Cursor {
    /// One that begins here.
    pub(crate) fn new(log: LogId, sink: u64, from: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            log,
            sink,
            next: from,
            last: None,
            offered: from,
            replayed: 0,
            delivered: 0,
            accepted_at_us: None,
            rate_milli: 0,
            is_failing: false,
            secrets: None,
        }
    }
}

/// An event that a sink did not get, because it was refused for itself or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Parked {
    /// Its place in the log.
    pub position: u64,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub why: String,
    /// How often it was tried.
    pub tries: u64,
    /// When it was parked, Unix microseconds.
    pub at_us: u64,
}

impl Parked {
    pub(crate) fn new(position: u64, (code, why): (&str, &str), tries: u64, at_us: u64) -> Self {
        Self {
            position,
            code: code.to_owned(),
            why: shortened(why),
            tries,
            at_us,
        }
    }
}

/// How a sink failed once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Failure {
    /// When, Unix microseconds.
    pub at_us: u64,
    /// The first position that it had not got then.
    pub position: u64,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub why: String,
}

impl Failure {
    pub(crate) fn new(at_us: u64, position: u64, (code, why): (&str, &str)) -> Self {
        Self {
            at_us,
            position,
            code: code.to_owned(),
            why: shortened(why),
        }
    }
}

fn shortened(why: &str) -> String {
    let mut end = why.len().min(MAX_WHY_LEN);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    why.get(..end).unwrap_or_default().to_owned()
}

/// The files of one sink.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    folder: PathBuf,
    name: String,
}

impl Files {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Makes the folder for the owner alone.
    pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_folder(folder),
        }
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.name))
    }

    /// The cursor of this sink of this log; `None` if there is none, or another sink's.
    pub(crate) fn cursor(&self, log: LogId, sink: u64) -> io::Result<Option<Cursor>> {
        let bytes = match fs::read(self.path("cursor")) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let found = serde_json::from_slice::<Cursor>(&bytes);
        let mut found = found.map_err(|error| not_understood(&self.path("cursor"), &error))?;
        if ![FORMAT, FORMAT_1].contains(&found.format.as_str()) {
            let why = format!("its format is `{}`", found.format);
            return Err(not_understood(&self.path("cursor"), &why));
        }
        FORMAT.clone_into(&mut found.format);
        let is_ours = found.log == log && found.sink == sink;
        Ok(is_ours.then_some(found))
    }

    /// Keeps the cursor: from now on it survives a loss of power.
    pub(crate) fn keep_cursor(&self, cursor: &Cursor) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(cursor)?;
        bytes.push(b'\n');
        write_whole(&self.path("cursor"), &bytes)
    }

    /// What a sink with this cursor has put aside. What is listed and not behind the cursor comes in its
    /// turn.
    pub(crate) fn put_aside(&self, cursor: &Cursor) -> io::Result<Vec<Parked>> {
        let mut all = self.parked()?;
        all.retain(|parked| parked.position < cursor.next);
        Ok(all)
    }

    /// What is listed as parked, in the order in which it was.
    pub(crate) fn parked(&self) -> io::Result<Vec<Parked>> {
        let path = self.path("parked");
        let all: serde_json::Result<Vec<Parked>> = lines(&path)?.into_iter().collect();
        let mut all = all.map_err(|error| not_understood(&path, &error))?;
        // Of two about one event the later one counts.
        let mut met = BTreeSet::new();
        all.reverse();
        all.retain(|parked| met.insert(parked.position));
        all.reverse();
        Ok(all)
    }

    /// Keeps one more.
    pub(crate) fn add_parked(&self, parked: &Parked) -> io::Result<()> {
        add_line(&self.path("parked"), parked)?.sync_all()?;
        sync_folder(&self.path("parked"))
    }

    /// Keeps what is parked.
    pub(crate) fn keep_parked(&self, parked: &[Parked]) -> io::Result<()> {
        write_whole(&self.path("parked"), &text_of(parked)?)
    }

    /// The newest failures, oldest first.
    pub(crate) fn failures(&self) -> io::Result<Vec<Failure>> {
        let all = lines(&self.path("failures"))?.into_iter();
        let mut all: Vec<Failure> = all.filter_map(Result::ok).collect();
        all.drain(..all.len().saturating_sub(FAILURES));
        Ok(all)
    }

    /// Adds a failure. There are at most twice as many as are kept; `count` says how many there are.
    pub(crate) fn add_failure(&self, failure: &Failure, count: &mut usize) -> io::Result<()> {
        let path = self.path("failures");
        if *count >= 2 * FAILURES {
            let kept = self.failures()?;
            write_whole(&path, &text_of(&kept)?)?;
            *count = kept.len();
        }
        add_line(&path, failure)?;
        *count += 1;
        Ok(())
    }

    /// Removes the files of sinks that are none of these.
    pub(crate) fn remove_others(folder: &Path, names: &[&str]) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let file = entry?.file_name();
            let file = file.to_string_lossy();
            let Some((name, ending)) = file.split_once('.') else {
                continue;
            };
            if ENDINGS.contains(&ending) && !names.contains(&name) {
                Self::new(folder, name).remove()?;
            }
        }
        Ok(())
    }

    /// Removes the files.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for ending in ENDINGS {
            match fs::remove_file(self.path(ending)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Adds a line at the end of a file, in place of one that was cut short by a crash.
fn add_line(path: &Path, item: &impl Serialize) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = options.mode(0o600).open(path)?;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut last = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut last)?;
        if last == *b"\n" {
            break;
        }
        end -= 1;
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    let mut line = serde_json::to_vec(item)?;
    line.push(b'\n');
    file.write_all(&line)?;
    Ok(file)
}

fn not_understood(path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    let text = format!(
        "{} cannot be understood: {why}; put it back as it was, or remove it to do without",
        path.display()
    );
    io::Error::new(ErrorKind::InvalidData, text)
}

fn text_of<T: Serialize>(items: &[T]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for item in items {
        serde_json::to_writer(&mut text, item)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// The whole lines of a file; none if there is no file. One that was cut short says nothing.
fn lines<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<serde_json::Result<T>>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let whole = lines.filter(|line| line.ends_with(b"\n"));
    Ok(whole.map(serde_json::from_slice).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path(), "a");
        (folder, files)
    }

    const LOG: LogId = LogId::from_bytes([7; 16]);

    #[test]
    fn a_cursor_is_that_of_one_sink_of_one_log() {
        let (_folder, files) = files();
        assert_eq!(files.cursor(LOG, 3).unwrap(), None);
        let mut cursor = Cursor::new(LOG, 3, 5);
        cursor.next = 9;
        files.keep_cursor(&cursor).unwrap();
        assert_eq!(files.cursor(LOG, 3).unwrap(), Some(cursor));
        // Added again, or another log under the same name: it begins anew.
        assert_eq!(files.cursor(LOG, 4).unwrap(), None);
        let other = LogId::from_bytes([8; 16]);
        assert_eq!(files.cursor(other, 3).unwrap(), None);
        fs::write(files.path("cursor"), b"{").unwrap();
        assert!(files.cursor(LOG, 3).is_err());
    }

    #[test]
    fn of_failures_the_newest_are_kept_and_a_torn_line_harms_none() {
        let (_folder, files) = files();
        let mut count = 0;
        for at in 0..2_500 {
            let failure = Failure::new(at, 0, ("unavailable", "x"));
            files.add_failure(&failure, &mut count).unwrap();
        }
        let kept = files.failures().unwrap();
        assert_eq!((kept.len(), kept[0].at_us), (FAILURES, 1_500));
        let bytes = fs::read(files.path("failures")).unwrap();
        assert!(bytes.len() < 2 * FAILURES * 100);

        fs::write(files.path("failures"), &bytes[..bytes.len() - 3]).unwrap();
        let next = Failure::new(9_999, 0, ("unavailable", "x"));
        files.add_failure(&next, &mut count).unwrap();
        let kept = files.failures().unwrap();
        assert_eq!(kept[kept.len() - 2].at_us, 2_498);
        assert_eq!(kept[kept.len() - 1], next);
    }

    #[test]
    fn of_what_is_parked_nothing_is_passed_over() {
        let (_folder, files) = files();
        let parked = |position, tries| Parked::new(position, ("refused", "x"), tries, 0);
        for (position, tries) in [(4, 1), (9, 1), (4, 2)] {
            files.add_parked(&parked(position, tries)).unwrap();
        }
        assert_eq!(files.parked().unwrap(), [parked(9, 1), parked(4, 2)]);
        // A line that was cut short was not kept, and its place is taken.
        let path = files.path("parked");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        files.add_parked(&parked(11, 1)).unwrap();
        let kept = [parked(4, 1), parked(9, 1), parked(11, 1)];
        assert_eq!(files.parked().unwrap(), kept);
        // One that is whole and says nothing hides an event.
        fs::write(&path, b"{}\n").unwrap();
        let error = files.parked().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_cursor_of_the_format_before_is_read() {
        let (_folder, files) = files();
        let mut cursor = Cursor::new(LOG, 3, 5);
        cursor.last = Some(Uuid::from_bytes([1; 16]));
        files.keep_cursor(&cursor).unwrap();
        let text = fs::read_to_string(files.path("cursor")).unwrap();
        let (before, rest) = text.split_once("\"last\":").unwrap();
        let (_, after) = rest.split_once(',').unwrap();
        let old = format!("{before}{after}").replace(FORMAT, FORMAT_1);
        fs::write(files.path("cursor"), old).unwrap();
        cursor.last = None;
        assert_eq!(files.cursor(LOG, 3).unwrap(), Some(cursor));
        fs::write(
            files.path("cursor"),
            text.replace(FORMAT, "runstone-sink/3"),
        )
        .unwrap();
        assert_eq!(
            files.cursor(LOG, 3).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
    }

    #[test]
    fn a_reason_is_cut_where_a_character_ends() {
        let why = "\u{e9}".repeat(200);
        let parked = Parked::new(1, ("refused", &why), 5, 0);
        assert_eq!(parked.why.len(), MAX_WHY_LEN);
    }
}
