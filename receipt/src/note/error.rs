//! What can be wrong with a note or a key.

/// A note, a key or a signature that does not hold. Never carries key bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// A key name (or origin) breaks the rules.
    #[error("a name has 1 to 255 bytes without spaces, plus signs or control characters")]
    Name,
    /// Not `name+hash+base64`, or one of them is wrong.
    #[error("a public key has the form name+hash+base64: the {part} is wrong")]
    Vkey {
        /// The part that is wrong.
        part: &'static str,
    },
    /// A key of another type than has its place there.
    #[error(
        "a key of type {algorithm:#04x} cannot stand here, one of type {expected:#04x} can; type \
         0x01 is Ed25519 of logs, 0x04 is Ed25519 of witnesses"
    )]
    Algorithm {
        /// The type that can.
        expected: u8,
        /// The type's byte.
        algorithm: u8,
    },
    /// The key is no point of the curve, or one that would verify anything.
    #[error("the public key is not a valid Ed25519 key")]
    WeakKey,
    /// Over the limit on length.
    #[error("a note has at most {limit} bytes, this one has {found}")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// The length found.
        found: usize,
    },
    /// Not UTF-8, or with control characters other than newline.
    #[error("a note is UTF-8 text without control characters but newline")]
    Text,
    /// Not text, an empty line and signature lines.
    #[error("a note is text, one empty line and signature lines")]
    Shape,
    /// A signature line that cannot be read.
    #[error("signature line {line} cannot be read")]
    SignatureLine {
        /// Its number among the signature lines, from 1.
        line: usize,
    },
    /// More signature lines than are looked at.
    #[error("a note has at most {limit} signature lines")]
    TooManySignatures {
        /// The limit.
        limit: usize,
    },
    /// Two signature lines of one key.
    #[error("two signature lines have the name {name} and the same key id")]
    DuplicateSignature {
        /// The key's name.
        name: String,
    },
    /// A signature of a known key does not verify.
    #[error("the signature of {name} does not verify")]
    BadSignature {
        /// The key's name.
        name: String,
    },
    /// A cosignature of a known witness has a time that no signature can have.
    #[error("the time of the cosignature of {name} is not below 2^63")]
    Time {
        /// The witness's key name.
        name: String,
    },
    /// None of the signatures is of a key that is known.
    #[error("no signature is of a known key of {name}")]
    NotSigned {
        /// The name that had to sign.
        name: String,
    },
}

impl NoteError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name => "note_name",
            Self::Vkey { .. } | Self::Algorithm { .. } | Self::WeakKey => "note_key",
            Self::TooLong { .. } | Self::TooManySignatures { .. } => "note_too_long",
            Self::Text | Self::Shape | Self::SignatureLine { .. } => "note_malformed",
            Self::DuplicateSignature { .. } => "note_duplicate_signature",
            Self::BadSignature { .. } | Self::Time { .. } => "note_bad_signature",
            Self::NotSigned { .. } => "note_not_signed",
        }
    }
}
