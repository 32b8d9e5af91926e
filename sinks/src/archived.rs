//! What lies in an archive, by its names; and how a log is loaded from there.

use crate::config::S3Config;
use crate::error::SinkError;
use crate::place::{Blocking, Place};
use crate::sink::Rejection;
use object_store::path::Path;
use runstone_codec::LogId;
use runstone_store::{LoadError, SegmentInput, SegmentSource};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Cursor, Seek as _};

/// Folder of the segments of a log.
pub(crate) const SEGMENTS: &str = "segments";
/// Folder of its checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// Folder of exports of single runs.
const EXPORTS: &str = "exports";
/// How the name of a segment ends.
pub(crate) const ENDING: &str = ".jsonl";
/// Digits of a position.
const DIGITS: usize = 20;

/// The name of a size.
pub(crate) fn size_name(size: u64) -> String {
    format!("{size:0DIGITS$}")
}

/// The name of the segment that begins with this position. It tells nothing else, so that there can be
/// only one.
fn segment_name(from: u64) -> String {
    format!("{}{ENDING}", size_name(from))
}

/// The number that a name has before this ending.
pub(crate) fn number_of(path: &Path, ending: &str) -> Option<u64> {
    let digits = path.filename()?.strip_suffix(ending)?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The segments of a log in a folder or an object store, to be loaded. Each call blocks until it is
/// answered: within a runtime, make it and load from it on a thread for what blocks.
#[derive(Debug)]
pub struct ArchivedLog {
    place: Place,
    blocking: Blocking,
    /// Where the segments are.
    folder: Path,
    /// Their first positions, and those of the segments that were read.
    first: BTreeSet<u64>,
    read: BTreeSet<u64>,
}

impl ArchivedLog {
    /// The segments under a URL: of the only log that has any there, or of the one that is named. What
    /// `s3` does not say of a bucket, the environment says, as for a sink.
    ///
    /// # Errors
    ///
    /// [`LoadError::Input`] if it cannot be read or has no segments; and if it has those of several
    /// logs, of which it names two.
    pub fn open(url: &str, s3: &S3Config, log: Option<LogId>) -> Result<Self, LoadError> {
        let rejected = |error: Rejection| unread(error.to_string());
        let blocking = Blocking::new().map_err(rejected)?;
        let place = Place::open(url, s3, false).map_err(rejected)?;
        let log = log.map(|log| log.to_string());
        let (mut folder, mut first) = (None::<Path>, BTreeSet::new());
        let under = place.path(&[]);
        let listed = place.list(&under, None, |path| {
            let (Some(from), Some(of)) = (number_of(path, ENDING), folder_of(path)) else {
                return Ok(());
            };
            let is_named = |log: &String| of.parts().any(|part| part.as_ref() == log);
            if !log.as_ref().is_none_or(is_named) {
                return Ok(());
            }
            let found = folder.get_or_insert_with(|| of.clone());
            if *found != of {
                return Err(Rejection::Unusable(format!(
                    "there are segments of several logs; name one of their folders, as {found} or {of}"
                )));
            }
            first.insert(from);
            Ok(())
        });
        blocking.wait(listed).map_err(rejected)?;
        let Some(folder) = folder else {
            return Err(unread(format!(
                "{}: there are no segments",
                place.shown(&under)
            )));
        };
        Ok(Self {
            place,
            blocking,
            folder,
            first,
            read: BTreeSet::new(),
        })
    }

    fn name(&self, from: u64) -> Path {
        self.folder.clone().join(segment_name(from))
    }
}

/// An export in a folder or an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchivedExport {
    /// Where it is.
    pub url: String,
    /// SHA-256 of its bytes, hexadecimal; a part of its name.
    pub sha256: String,
}

impl ArchivedExport {
    /// Puts an export of a stream where nothing is overwritten, and reads it back. Its name has its
    /// digest, so one that is there already is the same. What `s3` does not say of a bucket, the
    /// environment says, as for a sink. It blocks until it is there.
    ///
    /// # Errors
    ///
    /// [`SinkError::Archive`] if it cannot be put there, or is not what was put.
    pub fn put(
        url: &str,
        s3: &S3Config,
        log: LogId,
        (stream, events): (&str, u64),
        file: &mut File,
    ) -> Result<Self, SinkError> {
        let why = |why: String| SinkError::Archive { why };
        let io = |error: io::Error| why(error.to_string());
        let rejected = |error: Rejection| why(error.to_string());
        file.rewind().map_err(io)?;
        let sha256 = sha256_of(&mut *file).map_err(io)?;
        let blocking = Blocking::new().map_err(rejected)?;
        let place = Place::open(url, s3, true).map_err(rejected)?;
        let name = format!("{}-{sha256}{ENDING}", size_name(events));
        let path = place.path(&[&log.to_string(), EXPORTS, stream, &name]);
        let found = blocking.wait(place.put_file(&path, file));
        let found = found.map_err(rejected)?;
        let url = place.shown(&path);
        if found == sha256 {
            return Ok(Self { url, sha256 });
        }
        Err(why(format!("{url} has other bytes than its name says")))
    }
}

fn sha256_of(mut input: impl io::Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = input.read(&mut bytes)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(bytes.get(..read).unwrap_or_default());
    }
}

/// Bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The folder of segments in which an object is.
fn folder_of(path: &Path) -> Option<Path> {
    let (folder, _) = path.as_ref().rsplit_once('/')?;
    let is_one = folder.rsplit('/').next() == Some(SEGMENTS);
    is_one.then(|| Path::from(folder))
}

fn unread(message: String) -> LoadError {
    LoadError::Input {
        message,
        kind: io::ErrorKind::Other,
    }
}

impl SegmentSource for ArchivedLog {
    fn open(&mut self, from: u64) -> Result<Option<SegmentInput>, LoadError> {
        if !self.first.contains(&from) {
            if self.events() > from {
                return Err(LoadError::SegmentMissing { from });
            }
            return match self.first.difference(&self.read).next() {
                None => Ok(None),
                Some(other) => {
                    let name = self.place.shown(&self.name(*other));
                    let why = "it begins where another one has not ended: two logs write there";
                    Err(LoadError::Unfit(why.to_owned()).of_segment(&name))
                }
            };
        }
        self.read.insert(from);
        let path = self.name(from);
        let name = self.place.shown(&path);
        let bytes = self.blocking.wait(self.place.get(&path));
        let bytes = bytes.map_err(|error: Rejection| unread(error.to_string()))?;
        Ok(Some(SegmentInput::new(name, Box::new(Cursor::new(bytes)))))
    }

    fn events(&self) -> u64 {
        self.first.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_passed_over() {
        let name = segment_name(7);
        assert_eq!(name, "00000000000000000007.jsonl");
        assert_eq!(number_of(&Path::from(name), ENDING), Some(7));
        assert_eq!(number_of(&Path::from(size_name(7)), ""), Some(7));
        for other in [
            "7.jsonl",
            "00000000000000000007",
            "00000000000000000007.jsonl.tmp",
            "+0000000000000000007.jsonl",
            "99999999999999999999.jsonl",
            "x",
        ] {
            assert_eq!(number_of(&Path::from(other), ENDING), None, "{other}");
        }
    }
}
