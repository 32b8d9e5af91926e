//! Rules for the text fields that an event carries in its header, which is never erased.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Most bytes of stream, scope, source and principal.
pub const MAX_NAME_BYTES: usize = 255;
/// Most bytes of an event type.
pub const MAX_TYPE_BYTES: usize = 128;
/// Most bytes of a tag before its colon.
pub const MAX_TAG_KEY_BYTES: usize = 64;
/// Most bytes of a tag after its first colon.
pub const MAX_TAG_VALUE_BYTES: usize = 256;

/// A field of an event.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Field {
    /// The stream.
    Stream,
    /// The event type.
    Type,
    /// The producer's word for itself.
    Source,
    /// Who stands behind the event.
    Principal,
    /// What one erasure removes.
    Scope,
    /// One of the tags.
    Tag,
}

impl Field {
    /// Its name in errors and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Type => "type",
            Self::Source => "source",
            Self::Principal => "principal",
            Self::Scope => "scope",
            Self::Tag => "tag",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A field breaks its rule. The value is not part of the error: it may be personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FieldError {
    /// Empty.
    #[error("{field} is empty")]
    Empty {
        /// Which field.
        field: Field,
    },
    /// Longer than its rule allows.
    #[error("{field} has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// Which field.
        field: Field,
        /// Its length.
        bytes: usize,
        /// The most there may be.
        max: usize,
    },
    /// A control character.
    #[error("{field} has a control character at byte {at}")]
    ControlCharacter {
        /// Which field.
        field: Field,
        /// Where in the value.
        at: usize,
    },
    /// Not `segment(.segment)+` with segments `[a-z][a-z0-9_]*`.
    #[error("a type is two or more segments [a-z][a-z0-9_]* joined by dots")]
    TypeGrammar,
    /// No colon, or characters outside `[!-9;-~]` before it.
    #[error("a tag is key:value, its key 1 to 64 printable ascii characters")]
    TagKey,
}

impl FieldError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "field_empty",
            Self::TooLong { .. } => "field_too_long",
            Self::ControlCharacter { .. } => "field_control_character",
            Self::TypeGrammar => "bad_event_type",
            Self::TagKey => "bad_tag",
        }
    }
}

/// Checks a stream, scope, source or principal: 1 to 255 bytes without control characters.
///
/// # Errors
/// The rule that it breaks.
pub fn check_name(field: Field, value: &str) -> Result<(), FieldError> {
    check_known_name(field, value, false)
}

/// The same of a name that may be known to be printable ASCII.
pub(crate) fn check_known_name(
    field: Field,
    value: &str,
    is_printable: bool,
) -> Result<(), FieldError> {
    if value.is_empty() {
        return Err(FieldError::Empty { field });
    }
    check_text(field, value, MAX_NAME_BYTES, is_printable)
}

/// Checks an event type: two or more segments `[a-z][a-z0-9_]*`, at most 128 bytes.
///
/// # Errors
/// The rule that it breaks.
pub fn check_type(value: &str) -> Result<(), FieldError> {
    let (field, bytes) = (Field::Type, value.len());
    if bytes > MAX_TYPE_BYTES {
        return Err(FieldError::TooLong {
            field,
            bytes,
            max: MAX_TYPE_BYTES,
        });
    }
    let (mut segments, mut begins) = (1, true);
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' => begins = false,
            b'0'..=b'9' | b'_' if !begins => {}
            b'.' if !begins => {
                segments += 1;
                begins = true;
            }
            _ => return Err(FieldError::TypeGrammar),
        }
    }
    if segments < 2 || begins {
        Err(FieldError::TypeGrammar)
    } else {
        Ok(())
    }
}

/// Checks a tag: `[!-9;-~]{1,64}:` and up to 256 bytes without control characters.
///
/// # Errors
/// The rule that it breaks.
pub fn check_tag(value: &str) -> Result<(), FieldError> {
    check_known_tag(value, false)
}

/// The same of a tag that may be known to be printable ASCII.
pub(crate) fn check_known_tag(value: &str, is_printable: bool) -> Result<(), FieldError> {
    let end = value
        .bytes()
        .position(|byte| byte == b':' || !byte.is_ascii_graphic());
    let split = end.and_then(|end| value.split_at_checked(end));
    match split {
        Some((key, rest)) if (1..=MAX_TAG_KEY_BYTES).contains(&key.len()) => {
            let rest = rest.strip_prefix(':').ok_or(FieldError::TagKey)?;
            check_text(Field::Tag, rest, MAX_TAG_VALUE_BYTES, is_printable)
        }
        _ => Err(FieldError::TagKey),
    }
}

fn check_text(field: Field, value: &str, max: usize, is_printable: bool) -> Result<(), FieldError> {
    let bytes = value.len();
    if bytes > max {
        return Err(FieldError::TooLong { field, bytes, max });
    }
    if is_printable || is_printable_ascii(value.as_bytes()) {
        return Ok(());
    }
    match value.char_indices().find(|(_, one)| one.is_control()) {
        Some((at, _)) => Err(FieldError::ControlCharacter { field, at }),
        None => Ok(()),
    }
}

/// Whether all bytes are from space to tilde, eight at a time: the texts of every event that is
/// recorded or read are checked.
pub(crate) fn is_printable_ascii(bytes: &[u8]) -> bool {
    /// A one in each byte.
    const ONES: u64 = u64::MAX / 255;
    // The high bit of some byte: one is above 0x7f; one is 0x7f, or carries from one that is above; one is
    // below 0x20, or borrows from one that is.
    let others = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        (word | word.wrapping_add(ONES) | word.wrapping_sub(ONES * 0x20)) & (ONES * 0x80)
    };
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    };
    let (words, _) = bytes.as_chunks();
    words
        .iter()
        .fold(others(last), |seen, word| seen | others(word))
        == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_bytes_are_told_apart_wherever_they_stand() {
        for length in 0..20 {
            assert!(is_printable_ascii(&vec![b'a'; length]));
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    for others in [b' ', b'a', b'~'] {
                        let mut bytes = vec![others; length];
                        bytes[at] = byte;
                        let expected = (b' '..=b'~').contains(&byte);
                        assert_eq!(is_printable_ascii(&bytes), expected, "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn names_are_bounded_and_free_of_control_characters() {
        assert_eq!(check_name(Field::Stream, "run-7 / \u{e9}t\u{e9}"), Ok(()));
        assert_eq!(check_name(Field::Stream, &"x".repeat(255)), Ok(()));
        assert_eq!(
            check_name(Field::Scope, ""),
            Err(FieldError::Empty {
                field: Field::Scope
            })
        );
        assert!(matches!(
            check_name(Field::Source, &"x".repeat(256)),
            Err(FieldError::TooLong {
                bytes: 256,
                max: 255,
                ..
            })
        ));
        for bad in ["a\nb", "a\0", "\u{7f}", "a\u{85}"] {
            assert!(matches!(
                check_name(Field::Principal, bad),
                Err(FieldError::ControlCharacter { .. })
            ));
        }
    }

    #[test]
    fn types_follow_their_grammar() {
        for good in [
            "a.b",
            "tool.call.requested",
            "a1_.b_2",
            "harness.claude_code.x9",
        ] {
            assert_eq!(check_type(good), Ok(()), "{good}");
        }
        for bad in [
            "", "a", "a.", ".a", "a..b", "A.b", "a.1b", "a._b", "a.b-c", "a.b ", "a.\u{e9}",
        ] {
            assert_eq!(check_type(bad), Err(FieldError::TypeGrammar), "{bad}");
        }
        assert_eq!(check_type(&format!("a.{}", "b".repeat(126))), Ok(()));
        assert!(check_type(&format!("a.{}", "b".repeat(127))).is_err());
    }

    #[test]
    fn tags_follow_their_grammar() {
        let long_key = "k".repeat(64);
        let long_value = "v".repeat(256);
        for good in [
            "a:b",
            "!:",
            "~a/9;:b:c",
            &format!("{long_key}:{long_value}"),
        ] {
            assert_eq!(check_tag(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a",
            ":b",
            "a b:c",
            "\u{e9}:c",
            &format!("k{long_key}:v"),
        ] {
            assert_eq!(check_tag(bad), Err(FieldError::TagKey), "{bad}");
        }
        assert!(matches!(
            check_tag(&format!("k:v{long_value}")),
            Err(FieldError::TooLong {
                field: Field::Tag,
                ..
            })
        ));
        assert!(matches!(
            check_tag("k:a\tb"),
            Err(FieldError::ControlCharacter { at: 1, .. })
        ));
    }
}
