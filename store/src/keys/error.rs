//! What can go wrong with keys. No message carries a secret.

use crate::error::ErrorKind;
use crate::holder::{Told, Word};
use runstone_codec::keys::{ProviderError, TableError};
use runstone_codec::{EntropyError, KeyId};
use runstone_receipt::note::NoteError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

/// A key is not to be had, or the keyring cannot be used.
///
/// Where another process holds the log, some errors come as what that process says of them
/// ([`Told`](Self::Told)); [`code`](Self::code) is the same either way.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyError {
    /// Another process holds the log, and its keys.
    #[error(transparent)]
    #[serde(skip)]
    Told(Box<Told>),
    /// There is no keyring.
    #[error(
        "there is no keyring in {path}; name its folder, or bring back a backup of it",
        path = .path.display()
    )]
    NotFound {
        /// The folder looked at.
        path: PathBuf,
    },
    /// Something stands where a new file is to be made.
    #[error("{path} exists already and was not touched; move it away first", path = .path.display())]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// Others than the owner may read a file of secrets, or write its folder.
    #[error(
        "{path} is open to other users (mode {mode:03o}); run `chmod {wanted:o} {path}`, and treat its keys as known if others had accounts here",
        path = .path.display()
    )]
    Permissions {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    #[serde(skip)]
    Io {
        /// What was tried.
        action: Word,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The keyring or credential file is not one, or has a bad line.
    #[error(
        "{path} is damaged{at}: {what}; bring back a copy of it",
        path = .path.display(),
        at = at_line(*.line)
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 for the whole file.
        line: usize,
        /// What is wrong with it.
        what: Cow<'static, str>,
    },
    /// The key table cannot be read or written.
    #[error("the key table in {path}: {source}; bring back a backup of it", path = .path.display())]
    #[serde(skip)]
    Table {
        /// The key folder.
        path: PathBuf,
        /// What is wrong.
        source: TableError,
    },
    /// Keyring and key table belong to different logs, or a key every log has is missing.
    #[error("the keyring in {path} does not fit: {what}; give the folder that belongs to the log", path = .path.display())]
    Mismatch {
        /// The key folder.
        path: PathBuf,
        /// What does not fit.
        what: Cow<'static, str>,
    },
    /// The key was erased, or never was in this table.
    #[error(
        "key {id} is not in the key table: its scope was erased, or this is another log's table"
    )]
    Missing {
        /// The key asked for.
        id: KeyId,
    },
    /// A scope has no keys yet, or no longer.
    #[error("scope `{scope}` has no lookup key: nothing was sealed in it, or it was erased")]
    ScopeUnknown {
        /// The scope asked for.
        scope: String,
    },
    /// Not a scope's name.
    #[error("a scope has 1 to 255 bytes and no control characters")]
    ScopeName,
    /// A scope that is never erased.
    #[error("scope `{scope}` holds what the log itself recorded and is never erased")]
    ScopeProtected {
        /// The scope.
        scope: String,
    },
    /// A plain log seals nothing.
    #[error("the log is plain: it has no data keys")]
    Plain,
    /// The provider failed or refused.
    #[error("{source}; {hint}", hint = provider_hint(.source))]
    #[serde(skip)]
    Provider {
        /// What it said.
        #[from]
        source: ProviderError,
    },
    /// The provider needs something that the caller did not hand over.
    #[error(
        "the key-encryption key is in the environment variable {variable}, which was not handed over; set it and try again"
    )]
    NoSource {
        /// The variable's name.
        variable: String,
    },
    /// A signing key is being replaced already.
    #[error("a rotation of the signing key is under way; end its overlap first")]
    SigningOverlap,
    /// A principal's id breaks the rules.
    #[error("a principal has 1 to 255 bytes and no control characters")]
    PrincipalName,
    /// An origin breaks the rules.
    #[error("the origin cannot be used: {source}")]
    #[serde(skip)]
    Origin {
        /// The rule.
        source: NoteError,
    },
    /// A principal's proof does not hold.
    #[error(
        "the proof does not fit the enrolled public key; use the credential file that was written when the principal was added"
    )]
    BadProof,
    /// A challenge is too short to be fresh, or too long.
    #[error("a challenge has 16 to 1024 bytes, not {found}")]
    Challenge {
        /// The length found.
        found: usize,
    },
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

fn at_line(line: usize) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(" at line {line}")
    }
}

fn provider_hint(error: &ProviderError) -> &'static str {
    match error {
        ProviderError::UnknownKek { .. } => {
            "give the provider the key that the table was written with"
        }
        ProviderError::Rejected { .. } => {
            "the key is another one, or the key table was altered: compare both with their backup"
        }
        ProviderError::Unavailable { .. } => {
            "nothing is sealed until it answers; check it and try again"
        }
        ProviderError::BadAnswer { .. } => "check the command against the provider protocol",
        ProviderError::Unsupported { .. } => {
            "make the next key yourself and name it to the provider, then try again"
        }
        _ => "try again",
    }
}

impl KeyError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn malformed(path: &Path, line: usize, what: &'static str) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }

    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Told(told) => told.code(),
            Self::NotFound { .. } => "keyring_not_found",
            Self::Exists { .. } => "keyring_exists",
            Self::Permissions { .. } => "keyring_permissions",
            Self::Io { .. } => "keyring_io",
            Self::Malformed { .. } => "keyring_malformed",
            Self::Table { source, .. } => source.code(),
            Self::Mismatch { .. } => "keyring_mismatch",
            Self::Missing { .. } => "key_missing",
            Self::ScopeUnknown { .. } => "scope_unknown",
            Self::ScopeName => "scope_name",
            Self::ScopeProtected { .. } => "scope_protected",
            Self::Plain => "log_is_plain",
            Self::Provider { source } => source.code(),
            Self::NoSource { .. } => "key_provider_no_source",
            Self::SigningOverlap => "signing_overlap",
            Self::PrincipalName => "principal_name",
            Self::Origin { .. } => "bad_origin",
            Self::BadProof => "bad_proof",
            Self::Challenge { .. } => "bad_challenge",
            Self::Entropy(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Told(told) => told.kind,
            Self::Io { .. } | Self::Entropy(_) => ErrorKind::Storage,
            Self::Exists { .. }
            | Self::ScopeName
            | Self::PrincipalName
            | Self::Origin { .. }
            | Self::Challenge { .. } => ErrorKind::Usage,
            Self::ScopeProtected { .. } | Self::Plain | Self::SigningOverlap => ErrorKind::Refused,
            Self::ScopeUnknown { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Keys,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Told(told) => told.retryable,
            Self::Provider { source } => source.is_retryable(),
            Self::Entropy(error) => error.is_retryable(),
            _ => false,
        }
    }
}
