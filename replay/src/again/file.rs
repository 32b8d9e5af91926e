//! A recording as a file of lines of JSON, for tests to keep beside them.
//!
//! ```text
//!  {"runstone_recording":1,"settings":{..}}                             once, first
//!  {"run":{"stream":"run-1","finished":true}}                           a run; its items follow
//!  {"what":{"step":{"node":"plan","attempt":1}},"began":2,"ended":9}
//!  {"what":{"call":{"name":"pay","args":{..},"key":"..","answer":{"completed":{"result":7}}}},
//!   "in":{"node":"plan","attempt":1},"began":3,"ended":5}
//! ```

use super::recording::{Recorded, RecordedRun, Recording, is_false};
use runstone_projections::settings::SettingsError;
use runstone_store::{ErrorKind, ReadError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::Path;

/// The version that is written, and the newest that is read.
pub const FORMAT: u64 = 1;
/// Longest line in bytes.
pub const MAX_LINE_BYTES: u64 = 90 << 20;

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The stream has no run.
    #[error("there is no run `{stream}` in the log")]
    NoRun {
        /// The stream.
        stream: String,
    },
    /// The file is no recording.
    #[error("line {line} is not one of a recording: {why}")]
    Malformed {
        /// Which line, from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// It was written by a newer version.
    #[error("the recording has version {found}; this program reads versions up to {FORMAT}")]
    Newer {
        /// Its version.
        found: u64,
    },
    /// A line is too long.
    #[error("line {line} is longer than {MAX_LINE_BYTES} bytes")]
    TooLong {
        /// Which line, from 1.
        line: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The settings of the log cannot be read.
    #[error(transparent)]
    Settings(Box<SettingsError>),
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl RecordingError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRun { .. } => "run_not_found",
            Self::Malformed { .. } => "not_a_recording",
            Self::Newer { .. } => "newer_format",
            Self::TooLong { .. } => "recording_too_long",
            Self::Read(error) => error.code(),
            Self::Settings(error) => error.code(),
            Self::Io(error) if error.kind() == io::ErrorKind::NotFound => "file_not_found",
            Self::Io(_) => "storage_io",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoRun { .. } => ErrorKind::NotFound,
            Self::Malformed { .. } | Self::Newer { .. } | Self::TooLong { .. } => ErrorKind::Usage,
            Self::Read(error) => error.kind(),
            Self::Settings(error) => error.kind(),
            Self::Io(error) if error.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Io(_) => ErrorKind::Storage,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Read(error) if error.is_retryable())
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    runstone_recording: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct RunLine {
    stream: String,
    #[serde(default)]
    finished: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    flat: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    optional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
}

/// A line that begins a run; others have no such member.
#[derive(Serialize, Deserialize)]
struct Begins {
    run: Option<RunLine>,
}

impl Recording {
    /// Reads a file that [`write`](Self::write) wrote.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Io`]; [`RecordingError::Malformed`], [`RecordingError::Newer`] or
    /// [`RecordingError::TooLong`] for another file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RecordingError> {
        let path = path.as_ref();
        let file = File::open(path);
        let file = file.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        Self::read(BufReader::new(file))
    }

    /// Reads lines that [`write`](Self::write) wrote. Empty ones are passed over.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read(mut input: impl BufRead) -> Result<Self, RecordingError> {
        let mut recording = None;
        let (mut text, mut line) = (Vec::new(), 0_u64);
        let mut current: Option<String> = None;
        loop {
            text.clear();
            line = line.saturating_add(1);
            let mut limited = (&mut input).take(MAX_LINE_BYTES.saturating_add(1));
            let read = limited.read_until(b'\n', &mut text)?;
            if read == 0 {
                break;
            }
            if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_LINE_BYTES {
                return Err(RecordingError::TooLong { line });
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            let malformed = |why: String| RecordingError::Malformed { line, why };
            let Some(recording) = recording.as_mut() else {
                let head: Head =
                    serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
                if head.runstone_recording > FORMAT {
                    let found = head.runstone_recording;
                    return Err(RecordingError::Newer { found });
                }
                recording = Some(Self {
                    settings: head.settings,
                    ..Self::default()
                });
                continue;
            };
            let runs = &mut recording.runs;
            let begins: Begins =
                serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
            if let Some(run) = begins.run {
                current = Some(run.stream.clone());
                let begun = RecordedRun {
                    items: Vec::new(),
                    is_flat: run.flat,
                    is_optional: run.optional,
                    is_finished: run.finished,
                    document: run.document,
                };
                if runs.insert(run.stream, begun).is_some() {
                    return Err(malformed("the run was there before".to_owned()));
                }
                continue;
            }
            let item: Recorded =
                serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
            let run = current.as_ref().and_then(|stream| runs.get_mut(stream));
            let run = run.ok_or_else(|| malformed("no run was begun".to_owned()))?;
            if run.items.last().is_some_and(|last| last.began > item.began) {
                return Err(malformed("it began before the one above it".to_owned()));
            }
            run.items.push(item);
        }
        recording.ok_or_else(|| RecordingError::Malformed {
            line: 1,
            why: "it is empty".to_owned(),
        })
    }

    /// Writes it, a line each. What was called, with what, and what it answered stands there in the
    /// clear.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let head = Head {
            runstone_recording: FORMAT,
            settings: self.settings.clone(),
        };
        line(&mut out, &head)?;
        for (stream, run) in &self.runs {
            let head = RunLine {
                stream: stream.clone(),
                finished: run.is_finished,
                flat: run.is_flat,
                optional: run.is_optional,
                document: run.document.clone(),
            };
            line(&mut out, &Begins { run: Some(head) })?;
            for item in &run.items {
                line(&mut out, item)?;
            }
        }
        out.flush()
    }
}

fn line<T: Serialize>(out: &mut impl Write, value: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
