//! Why a record, or a whole recording, could not be read.

use std::io;

use runstone_codec::event::EventError;

/// A record that was skipped. The records after it are read on, unless the reason is
/// [terminal](RejectReason::is_terminal).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}line {line}: {reason}", within(member.as_deref()))]
#[non_exhaustive]
pub struct Rejected {
    /// The member of the container in which the record stands, if there is one.
    pub member: Option<String>,
    /// The line on which the record begins, from 1.
    pub line: u64,
    /// How far the recording had been read, in bytes.
    pub bytes_read: u64,
    /// What is wrong with it.
    #[source]
    pub reason: RejectReason,
}

impl Rejected {
    /// Stable name of the reason.
    pub const fn code(&self) -> &'static str {
        self.reason.code()
    }
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// The recording holds no record at all.
    #[error("the recording is empty")]
    Empty,
    /// The recording could not be read on.
    #[error("reading failed: {kind}")]
    Read {
        /// What the reader answered.
        kind: io::ErrorKind,
    },
    /// The record is longer than allowed; it was passed over without being held.
    #[error("the record has {bytes} bytes, at most {max} are allowed (option record_bytes)")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The most there may be.
        max: u64,
    },
    /// The recording ends within the record.
    #[error("the record ends too early")]
    Truncated,
    /// Brackets or quotes do not match, so that the record's end is a guess.
    #[error("brackets or quotes of the record do not match")]
    Unbalanced,
    /// The record is not UTF-8.
    #[error("the record is not utf-8 from byte {at} on")]
    NotUtf8 {
        /// Where in the record the first bad byte is.
        at: usize,
    },
    /// The record is not JSON.
    #[error("the record is not json at column {column} of its line {line}")]
    NotJson {
        /// Line within the record, from 1.
        line: usize,
        /// Column within that line.
        column: usize,
    },
    /// Another type of JSON value is needed in its place.
    #[error("{field} is not {expected}")]
    WrongType {
        /// Which member, or `record`.
        field: &'static str,
        /// What it should be, with its article.
        expected: &'static str,
    },
    /// An object or array of the record, or the events made of it, are too many.
    #[error("more than {max} {what} in one record")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The most there may be.
        max: usize,
    },
    /// Nothing up to here says which session the record belongs to.
    #[error("no record names the session")]
    NoSession,
    /// The recording has more records than an importer tells apart; reading stops.
    #[error("more than {max} records in one recording")]
    TooManyRecords {
        /// The most there may be.
        max: usize,
    },
    /// A member of the container is packed more densely than recordings are; it was not expanded.
    #[error("the member expands to more than {max} times its size (option member_ratio)")]
    TooDense {
        /// The most there may be.
        max: u64,
    },
    /// The container has more members than allowed; reading stops.
    #[error("more than {max} members in one container (option members)")]
    TooManyMembers {
        /// The most there may be.
        max: u64,
    },
    /// A member of the container cannot be unpacked.
    #[error("the member cannot be unpacked: {why}")]
    BadMember {
        /// What is wrong with it.
        why: String,
    },
    /// The log would refuse an event made of the record.
    #[error("an event of the record breaks a rule: {0}")]
    Event(#[source] EventError),
}

impl RejectReason {
    /// Stable name of the reason.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "import_empty",
            Self::Read { .. } => "import_read_failed",
            Self::TooLarge { .. } => "import_record_too_large",
            Self::Truncated => "import_record_truncated",
            Self::Unbalanced => "import_record_unbalanced",
            Self::NotUtf8 { .. } => "import_record_not_utf8",
            Self::NotJson { .. } => "import_record_not_json",
            Self::WrongType { .. } => "import_wrong_type",
            Self::TooMany { .. } => "import_record_too_wide",
            Self::NoSession => "import_no_session",
            Self::TooManyRecords { .. } => "import_too_many_records",
            Self::TooDense { .. } => "import_member_too_dense",
            Self::TooManyMembers { .. } => "import_too_many_members",
            Self::BadMember { .. } => "import_bad_member",
            Self::Event(_) => "import_event_refused",
        }
    }

    /// Whether nothing can be read after it.
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Empty
                | Self::Read { .. }
                | Self::TooManyRecords { .. }
                | Self::TooManyMembers { .. }
        )
    }

    /// Whether reading the same recording again may go better.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Read { .. })
    }
}

/// The member before a line, as people read it.
fn within(member: Option<&str>) -> String {
    member.map_or_else(String::new, |member| format!("{member} "))
}

impl From<EventError> for RejectReason {
    fn from(error: EventError) -> Self {
        Self::Event(error)
    }
}
