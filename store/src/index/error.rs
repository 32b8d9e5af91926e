//! What can be wrong with the index.

use crate::error::StorageError;
use std::fmt;

/// Names a row of the table `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexRow {
    /// The list of runs.
    Manifest,
    /// Postings.
    Block {
        /// Run that it belongs to.
        run: u64,
        /// Its place in the run.
        block: u32,
    },
    /// Fences and filter of consecutive blocks.
    Section {
        /// Run that it belongs to.
        run: u64,
        /// Its place in the run.
        section: u32,
    },
    /// A row that no run accounts for.
    Unknown,
}

impl fmt::Display for IndexRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("the manifest"),
            Self::Block { run, block } => write!(f, "block {block} of run {run}"),
            Self::Section { run, section } => write!(f, "section {section} of run {run}"),
            Self::Unknown => f.write_str("a row outside every run"),
        }
    }
}

/// The index cannot answer, or refuses to.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A row is not what was written.
    #[error("table index: {row}: {what}")]
    Corrupt {
        /// The row.
        row: IndexRow,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A row that the manifest names is not there.
    #[error("table index: {row} is missing")]
    Missing {
        /// The row.
        row: IndexRow,
    },
    /// The index was written by a newer version.
    #[error("table index: format {found} is newer than {known}")]
    Format {
        /// Format byte of the manifest.
        found: u8,
        /// Newest format that this version reads.
        known: u8,
    },
    /// A query or condition would touch more postings than its limit allows.
    #[error("more than {limit} postings would have to be touched")]
    TooBroad {
        /// The limit that was passed.
        limit: u64,
    },
    /// A term that no valid event can have.
    #[error("a term has {bytes} bytes, expected 1 to {max}")]
    TermLength {
        /// Its length.
        bytes: usize,
        /// The most there may be.
        max: usize,
    },
    /// Events were indexed out of order.
    #[error("position {found} was indexed where {expected} comes next")]
    OutOfOrder {
        /// The position that comes next.
        expected: u64,
        /// The position that was passed.
        found: u64,
    },
    /// A slice of maintenance was asked for before the last one was committed.
    #[error("the last slice of index maintenance was not committed")]
    Uncommitted,
    /// A counter of the format has no room left.
    #[error("table index: no more {what} can be numbered")]
    Exhausted {
        /// What is counted.
        what: &'static str,
    },
    /// The rows could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl IndexError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } | Self::Missing { .. } => "index_corrupt",
            Self::Format { .. } => "newer_format",
            Self::TooBroad { .. } => "condition_too_broad",
            Self::TermLength { .. } => "index_term_length",
            Self::OutOfOrder { .. } => "index_out_of_order",
            Self::Uncommitted => "index_uncommitted",
            Self::Exhausted { .. } => "index_exhausted",
            Self::Storage(error) => error.code(),
        }
    }

    /// Whether the rows are damaged: the index can be thrown away and rebuilt from the events.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Missing { .. })
    }

    pub(super) fn corrupt(row: IndexRow, what: &'static str) -> Self {
        Self::Corrupt { row, what }
    }
}

/// What is wrong with bytes, said by a decoder that does not know which row they came from.
pub(super) type Fault = &'static str;

/// Adds the row to what a decoder found wrong.
pub(super) trait AtRow<T> {
    fn at(self, row: IndexRow) -> Result<T, IndexError>;
}

impl<T> AtRow<T> for Result<T, Fault> {
    fn at(self, row: IndexRow) -> Result<T, IndexError> {
        self.map_err(|what| IndexError::corrupt(row, what))
    }
}
