//! What can be wrong with a policy.

use crate::note::NoteError;

/// A policy file that is not one. Says the line, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Over the limit on length.
    #[error("a policy has at most {limit} bytes, this one has {found}")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// The length found.
        found: usize,
    },
    /// A line that breaks a rule.
    #[error("line {line} of the policy: {rule}")]
    Line {
        /// Its number in the file, from 1.
        line: usize,
        /// The rule that it breaks.
        rule: PolicyRule,
    },
    /// No line says which cosignatures are asked for.
    #[error("the policy has no `quorum` line; add `quorum none` if no witness has to cosign")]
    NoQuorum,
}

impl PolicyError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "policy_too_long",
            Self::Line { rule, .. } => rule.code(),
            Self::NoQuorum => "policy_quorum",
        }
    }
}

/// A rule of a policy that is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyRule {
    /// A control byte other than tab and newline.
    #[error("byte {at} of the line is a control character other than tab")]
    Character {
        /// Offset in the line.
        at: usize,
    },
    /// A name, key or URL that is not UTF-8.
    #[error("names and URLs are UTF-8 text here")]
    Utf8,
    /// The last line is cut.
    #[error("the line does not end in a newline; the file is cut")]
    NoNewline,
    /// A line that begins with another word.
    #[error("a line begins with log, witness, group, quorum or #")]
    Keyword,
    /// Items are missing or left over.
    #[error("the form of the line is `{form}`")]
    Form {
        /// The form that it must have.
        form: &'static str,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] NoteError),
    /// A second line of the same kind with the same public key, whatever its name.
    #[error("a {kind} with the same public key is there already; each public key stands once")]
    DuplicateKey {
        /// `log` or `witness`.
        kind: &'static str,
    },
    /// `none`, or not an item that a line can hold.
    #[error("a name is not `none`, not empty, does not begin with # and has no white space")]
    Name,
    /// The name stands for something else.
    #[error("the name {name} is taken; witnesses and groups share their names")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A name that no line above gives.
    #[error("no line above defines {name}")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// A name that is a member of a group already.
    #[error("{name} is a member of a group already; each name is a member once")]
    DuplicateMember {
        /// The name.
        name: String,
    },
    /// Not `all`, `any` or a number from 1 to the number of members.
    #[error("the threshold of a group is any, all or a number from 1 to {members}, its members")]
    Threshold {
        /// Members of the group.
        members: usize,
    },
    /// A URL with white space, or an empty one.
    #[error("a URL is not empty and has no white space")]
    Url,
    /// A second quorum line.
    #[error("a policy has one `quorum` line")]
    SecondQuorum,
    /// More lines of a kind than are read.
    #[error("a policy has at most {limit} {kind} lines")]
    TooMany {
        /// `log`, `witness` or `group`.
        kind: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl PolicyRule {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Key(error) => error.code(),
            Self::Character { .. }
            | Self::Utf8
            | Self::NoNewline
            | Self::Keyword
            | Self::Form { .. }
            | Self::Url => "policy_malformed",
            Self::DuplicateKey { .. } => "policy_duplicate_key",
            Self::Name
            | Self::DuplicateName { .. }
            | Self::UnknownName { .. }
            | Self::DuplicateMember { .. } => "policy_name",
            Self::Threshold { .. } | Self::SecondQuorum => "policy_quorum",
            Self::TooMany { .. } => "policy_too_long",
        }
    }
}
