//! What lies in an archive, by its names; and how a log is loaded from there.

use crate::config::S3Config;
use crate::error::SinkError;
use crate::place::{Listed, Place};
use crate::sink::Rejection;
use object_store::path::Path;
use runstone_codec::LogId;
use runstone_store::{LoadError, SegmentInput, SegmentSource};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor};
use tokio::runtime::{Builder, Runtime};

/// Folder of the segments of a log.
pub(crate) const SEGMENTS: &str = "segments";
/// Folder of its checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// Folder of exports of single runs.
const EXPORTS: &str = "exports";
/// How the name of a segment ends.
const ENDING: &str = ".jsonl";
/// Digits of a position.
const DIGITS: usize = 20;

/// The name of a size.
pub(crate) fn size_name(size: u64) -> String {
    format!("{size:0DIGITS$}")
}

/// The name of a segment.
pub(crate) fn segment_name(from: u64, to: u64) -> String {
    format!("{}-{}{ENDING}", size_name(from), size_name(to))
}

fn number(digits: &str) -> Option<u64> {
    let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// A segment, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) path: Path,
}

fn named(path: &Path) -> Option<Named> {
    let name = path.filename()?.strip_suffix(ENDING)?;
    let (from, to) = name.split_once('-')?;
    let (from, to) = (number(from)?, number(to)?);
    let path = path.clone();
    (from < to).then_some(Named { from, to, path })
}

/// The segments among these objects, which must follow each other.
pub(crate) fn in_order(listed: &[Listed]) -> Result<Vec<Named>, String> {
    let mut found: Vec<_> = listed
        .iter()
        .filter_map(|object| named(&object.path))
        .collect();
    found.sort_by_key(|segment| (segment.from, segment.to));
    let mut next = 0;
    for segment in &found {
        if segment.from > next {
            return Err(format!(
                "the segment that begins with position {next} is missing"
            ));
        }
        if segment.from < next {
            let name = segment.path.filename().unwrap_or_default();
            return Err(format!(
                "segment {name} has positions that another one has too: two logs write there"
            ));
        }
        next = segment.to;
    }
    Ok(found)
}

/// The newest checkpoint among these objects.
pub(crate) fn last_checkpoint(listed: &[Listed]) -> Option<(u64, &Path)> {
    let sizes = listed.iter().filter_map(|object| {
        let size = number(object.path.filename()?)?;
        Some((size, &object.path))
    });
    sizes.max_by_key(|(size, _)| *size)
}

/// The segments of a log in a folder or an object store, to be loaded.
#[derive(Debug)]
pub struct ArchivedLog {
    place: Place,
    runtime: Runtime,
    segments: BTreeMap<u64, Named>,
}

impl ArchivedLog {
    /// The segments under a URL: of the only log that has any there, or of the one that is named.
    ///
    /// # Errors
    ///
    /// [`LoadError::Input`] if it cannot be read or has no segments; and if it has those of several
    /// logs, of which it names the ids.
    pub fn open(url: &str, log: Option<LogId>) -> Result<Self, LoadError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unread(error.to_string()))?;
        let place = Place::open(url, &S3Config::default(), false)
            .map_err(|error| unread(error.to_string()))?;
        let under = place.path(&[]);
        let listed = runtime.block_on(place.list(&under));
        let listed = listed.map_err(|error| unread(error.to_string()))?;
        let mut logs: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        for object in listed {
            if named(&object.path).is_some() {
                let folder = folder_of(&object.path);
                logs.entry(folder).or_default().push(object);
            }
        }
        if let Some(log) = log {
            let log = log.to_string();
            logs.retain(|folder, _| folder.split('/').any(|part| part == log));
        }
        let mut each = logs.into_iter();
        let Some((folder, listed)) = each.next() else {
            return Err(unread(format!("{url}: there are no segments")));
        };
        if let Some((other, _)) = each.next() {
            return Err(unread(format!(
                "{url}: there are segments of several logs; name one of their folders, as {folder} or {other}"
            )));
        }
        let mut segments = BTreeMap::new();
        for object in &listed {
            let Some(segment) = named(&object.path) else {
                continue;
            };
            let name = place.shown(&object.path);
            if segments.insert(segment.from, segment).is_some() {
                let why = "another one begins there too: two logs write there".to_owned();
                return Err(LoadError::Unfit(why).of_segment(&name));
            }
        }
        Ok(Self {
            place,
            runtime,
            segments,
        })
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
    /// digest, so one that is there already is the same.
    ///
    /// # Errors
    ///
    /// [`SinkError::Archive`] if it cannot be put there, or is not what was put.
    pub fn put(
        url: &str,
        log: LogId,
        (stream, events): (&str, u64),
        file: &std::path::Path,
    ) -> Result<Self, SinkError> {
        let why = |why: String| SinkError::Archive { why };
        let io = |error: io::Error| why(error.to_string());
        let rejected = |error: Rejection| why(error.to_string());
        let sha256 = sha256_of(io::BufReader::new(File::open(file).map_err(io)?)).map_err(io)?;
        crate::place::check(url).map_err(why)?;
        let place = Place::open(url, &S3Config::default(), true).map_err(rejected)?;
        let name = format!("{}-{sha256}{ENDING}", size_name(events));
        let path = place.path(&[&log.to_string(), EXPORTS, stream, &name]);
        let runtime = Builder::new_current_thread().enable_all().build();
        let found = runtime
            .map_err(io)?
            .block_on(place.put_file(&path, file))
            .map_err(rejected)?;
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

fn folder_of(path: &Path) -> String {
    let whole = path.as_ref();
    let folder = whole.rsplit_once('/').map_or("", |(folder, _)| folder);
    folder.to_owned()
}

fn unread(message: String) -> LoadError {
    LoadError::Input {
        message,
        kind: io::ErrorKind::Other,
    }
}

impl SegmentSource for ArchivedLog {
    fn open(&mut self, from: u64) -> Result<Option<SegmentInput>, LoadError> {
        let Some(segment) = self.segments.get(&from) else {
            if self.events() > from {
                return Err(LoadError::SegmentMissing { from });
            }
            return Ok(None);
        };
        let name = self.place.shown(&segment.path);
        let bytes = self.runtime.block_on(self.place.get(&segment.path));
        let bytes = bytes.map_err(|error: Rejection| unread(error.to_string()))?;
        Ok(Some(SegmentInput::new(name, Box::new(Cursor::new(bytes)))))
    }

    fn events(&self) -> u64 {
        self.segments
            .values()
            .map(|segment| segment.to)
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<Listed> {
        let object = |name: &&str| Listed {
            path: Path::from(format!("a/segments/{name}")),
            bytes: 1,
        };
        names.iter().map(object).collect()
    }

    #[test]
    fn names_are_read_as_they_are_written_and_others_passed_over() {
        let name = segment_name(7, 12);
        assert_eq!(name, "00000000000000000007-00000000000000000012.jsonl");
        let read = named(&Path::from(name)).unwrap();
        assert_eq!((read.from, read.to), (7, 12));
        for other in [
            "7-12.jsonl",
            "00000000000000000007-00000000000000000007.jsonl",
            "00000000000000000007-00000000000000000012.jsonl.tmp",
            "+0000000000000000007-00000000000000000012.jsonl",
            "00000000000000000007-99999999999999999999.jsonl",
            "x",
        ] {
            assert_eq!(named(&Path::from(other)), None, "{other}");
        }
    }

    #[test]
    fn segments_follow_each_other() {
        let (a, b, c) = (segment_name(0, 5), segment_name(5, 9), segment_name(9, 10));
        let found = in_order(&listed(&[&b, "x", &a, &c])).unwrap();
        assert_eq!(
            found.iter().map(|found| found.to).collect::<Vec<_>>(),
            [5, 9, 10]
        );
        assert!(in_order(&listed(&[])).unwrap().is_empty());
        let gap = in_order(&listed(&[&a, &c])).unwrap_err();
        assert!(gap.contains("position 5 "), "{gap}");
        let twice = in_order(&listed(&[&a, &segment_name(0, 7), &b])).unwrap_err();
        assert!(twice.contains("two logs"), "{twice}");
    }

    #[test]
    fn the_newest_checkpoint_is_the_largest() {
        let names = [size_name(9), size_name(10), "x".to_owned()];
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let listed = listed(&names);
        assert_eq!(last_checkpoint(&listed).map(|(size, _)| size), Some(10));
    }
}
