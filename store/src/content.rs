//! Content, read as what it is.

use crate::error::ErrorKind;
use crate::fold::Payload;
use crate::read::Record;
use runstone_codec::{SchemaError, TypedEvent, Upcasters};
use serde::de::DeserializeOwned;

/// Content is not there, or is not what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// It was erased; the event still stands.
    #[error("the content was erased; the event still stands")]
    Erased,
    /// It is not in this copy of the log, and no erasure covers it.
    #[error("the content is withheld from this copy of the log")]
    Withheld,
    /// A key is missing or the bytes are damaged.
    #[error("the content cannot be opened: {why}")]
    Undecodable {
        /// Why.
        why: String,
    },
    /// The key provider is away, or does not hold what it should.
    #[error("the content cannot be opened now: {why}")]
    Unavailable {
        /// Why.
        why: String,
    },
    /// The event was read without its content.
    #[error("the content was not asked for; read the event with its payload")]
    Skipped,
    /// It is not of the typed event that is asked for.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// It is not JSON of the type that is asked for.
    #[error("the content does not have the shape that is asked for")]
    Shape(#[source] serde_json::Error),
}

impl ContentError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Withheld => "withheld",
            Self::Undecodable { .. } => "payload_undecodable",
            Self::Unavailable { .. } => "payload_unavailable",
            Self::Skipped => "payload_skipped",
            Self::Schema(error) => error.code(),
            Self::Shape(_) => "payload_shape",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Erased | Self::Withheld => ErrorKind::Refused,
            Self::Undecodable { .. } => ErrorKind::Corrupt,
            Self::Unavailable { .. } => ErrorKind::Keys,
            Self::Skipped | Self::Schema(_) | Self::Shape(_) => ErrorKind::Usage,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl Payload {
    /// The content as a type, whatever event it is of;
    /// [`Record::decode_with`](Record::decode_with) knows types and versions.
    ///
    /// # Errors
    ///
    /// [`ContentError`] if it is not open, or not JSON of the type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ContentError> {
        serde_json::from_slice(self.opened()?).map_err(ContentError::Shape)
    }

    /// The bytes, or why there are none.
    fn opened(&self) -> Result<&[u8], ContentError> {
        match self {
            Self::Open(bytes) => Ok(bytes),
            Self::Erased => Err(ContentError::Erased),
            Self::Withheld => Err(ContentError::Withheld),
            Self::Undecodable(why) => Err(ContentError::Undecodable { why: why.clone() }),
            Self::Unavailable(why) => Err(ContentError::Unavailable { why: why.clone() }),
            Self::Skipped => Err(ContentError::Skipped),
        }
    }
}

impl Record {
    /// The event as a Rust type; what was recorded as an older version of it is taken to the newest
    /// by these steps.
    ///
    /// # Errors
    ///
    /// [`ContentError`] if the content is not open, or the event is of another type or of a later
    /// version.
    pub fn decode_with<T: TypedEvent>(&self, upcasters: &Upcasters) -> Result<T, ContentError> {
        Ok(upcasters.decode(&self.header, self.payload.opened()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_is_not_there_says_why() {
        let why = || "x".to_owned();
        for (payload, code) in [
            (Payload::Open(b"7".to_vec()), ""),
            (Payload::Open(b"\"7\"".to_vec()), "payload_shape"),
            (Payload::Open(b"{".to_vec()), "payload_shape"),
            (Payload::Erased, "erased"),
            (Payload::Withheld, "withheld"),
            (Payload::Undecodable(why()), "payload_undecodable"),
            (Payload::Unavailable(why()), "payload_unavailable"),
            (Payload::Skipped, "payload_skipped"),
        ] {
            match payload.json::<u64>() {
                Ok(number) => assert_eq!((number, code), (7, "")),
                Err(error) => {
                    assert_eq!(error.code(), code);
                    assert_eq!(error.is_retryable(), code == "payload_unavailable");
                }
            }
        }
    }
}
