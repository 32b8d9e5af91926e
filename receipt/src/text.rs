//! What receipts and consistency files have in common: lines, one empty line, a checkpoint.

use runstone_codec::hash::Digest32;

use crate::base64;

/// Longest receipt or consistency file in bytes.
pub const MAX_FILE_LEN: usize = 128 << 10;
/// Most hashes in a receipt or a consistency file, as <https://c2sp.org/tlog-witness> has it: a
/// tree of 2^62 leaves needs no more.
pub const MAX_FILE_HASHES: usize = 63;

/// A file that is not text of the shape lines, empty line, checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Over the limit on length.
    #[error("the file has {found} bytes, at most {limit} are read; give the file as it was issued")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// The length found.
        found: usize,
    },
    /// Not UTF-8, a carriage return or another control byte.
    #[error(
        "byte {at} of the file is not UTF-8 text or is a control byte other than newline; give the \
         file as it was issued, copied as binary"
    )]
    Character {
        /// Offset of the first such byte.
        at: usize,
    },
    /// No newline at the end: the file is cut, or an editor changed it.
    #[error("the file does not end in a newline; it is cut, give it as it was issued")]
    NoNewline,
    /// No empty line, and so no checkpoint.
    #[error("the file has no empty line before a checkpoint; it is cut, give it as it was issued")]
    NoCheckpoint,
    /// A line of the proof is not a hash in its only encoding.
    #[error(
        "line {line} is not the padded base64 of a 32-byte hash; give the file as it was issued"
    )]
    Hash {
        /// Its number in the file, from 1.
        line: usize,
    },
    /// More hashes than any proof has.
    #[error("the file has more than {limit} hashes, no proof has so many")]
    TooManyHashes {
        /// The limit.
        limit: usize,
    },
}

impl TextError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } | Self::TooManyHashes { .. } => "evidence_too_long",
            Self::Character { .. } | Self::NoNewline | Self::NoCheckpoint | Self::Hash { .. } => {
                "evidence_malformed"
            }
        }
    }
}

/// The lines before the first empty line, and the checkpoint behind it.
pub(crate) fn split(bytes: &[u8]) -> Result<(&str, &str), TextError> {
    if bytes.len() > MAX_FILE_LEN {
        return Err(TextError::TooLong {
            limit: MAX_FILE_LEN,
            found: bytes.len(),
        });
    }
    let control = |byte: &u8| *byte != b'\n' && byte.is_ascii_control();
    if let Some(at) = bytes.iter().position(control) {
        return Err(TextError::Character { at });
    }
    let text = core::str::from_utf8(bytes).map_err(|error| TextError::Character {
        at: error.valid_up_to(),
    })?;
    if !text.ends_with('\n') {
        return Err(TextError::NoNewline);
    }
    text.split_once("\n\n").ok_or(TextError::NoCheckpoint)
}

/// The hashes of a proof, one a line; `first` is the number of the first of these lines.
pub(crate) fn hashes<'a>(
    lines: impl Iterator<Item = &'a str>,
    first: usize,
) -> Result<Vec<Digest32>, TextError> {
    let mut hashes = Vec::new();
    for (line, text) in (first..).zip(lines) {
        if hashes.len() == MAX_FILE_HASHES {
            return Err(TextError::TooManyHashes {
                limit: MAX_FILE_HASHES,
            });
        }
        hashes.push(base64::decode_hash(text).ok_or(TextError::Hash { line })?);
    }
    Ok(hashes)
}

/// Appends the lines of a proof, the empty line and the checkpoint.
pub(crate) fn write(out: &mut String, hashes: &[Digest32], checkpoint: &str) {
    for hash in hashes {
        out.push_str(&base64::encode(hash));
        out.push('\n');
    }
    out.push('\n');
    out.push_str(checkpoint);
}

/// A decimal number in its only form: no sign, no leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_lines_an_empty_line_and_a_checkpoint() {
        assert_eq!(split(b"a\nb\n\nc\n\nd\n"), Ok(("a\nb", "c\n\nd\n")));
        for (bytes, error) in [
            (b"a\n\nb".as_slice(), TextError::NoNewline),
            (b"", TextError::NoNewline),
            (b"a\nb\n", TextError::NoCheckpoint),
            (b"a\r\n\nb\n", TextError::Character { at: 1 }),
            (b"a\n\n\tb\n", TextError::Character { at: 3 }),
            (b"a\n\n\x7f\n", TextError::Character { at: 3 }),
            (b"a\n\nb\xff\n", TextError::Character { at: 4 }),
        ] {
            assert_eq!(split(bytes), Err(error), "{bytes:?}");
        }
        let long = vec![b'a'; MAX_FILE_LEN + 1];
        assert!(matches!(split(&long), Err(TextError::TooLong { .. })));
    }

    #[test]
    fn hashes_are_counted_and_named_by_their_line() {
        let hash = base64::encode(&[7; 32]);
        let lines = |count| core::iter::repeat_n(hash.as_str(), count);
        assert_eq!(hashes(lines(63), 1).map(|all| all.len()), Ok(63));
        let error = hashes(lines(64), 1);
        assert_eq!(error, Err(TextError::TooManyHashes { limit: 63 }));
        let error = hashes(lines(2).chain(["AAAA"]), 4);
        assert_eq!(error, Err(TextError::Hash { line: 6 }));
    }

    #[test]
    fn decimals_have_one_form() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for text in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "0x1",
            "18446744073709551616",
        ] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }
}
