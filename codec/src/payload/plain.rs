//! P: what an envelope holds when it is opened.

use std::borrow::Cow;
use std::fmt;

#[cfg(feature = "seal")]
use super::compress::decompress;
use super::{
    BLIND_BYTES, MAX_PAYLOAD_BYTES, MODE_DICTIONARY, MODE_ZSTD, Mode, Salts, Segment, commit,
    members, segment_hashes,
};
use crate::hash::Digest32;

/// A P that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlainError {
    /// Shorter than R and the mode.
    #[error("the payload ends before its mode")]
    Truncated,
    /// A mode that does not exist.
    #[error("payload mode {found:#04x} is not known")]
    UnknownMode {
        /// The mode byte.
        found: u8,
    },
    /// A frame that needs a dictionary which this version does not have.
    #[error("the payload is compressed with a dictionary, which is not supported")]
    Dictionary,
    /// Not exactly one zstd frame that declares its size.
    #[error("the payload is not one whole zstd frame that declares its size")]
    Frame,
    /// A payload above the format's bound.
    #[error("the payload has {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its length, or the length that its frame declares.
        bytes: u64,
        /// The most there may be.
        max: usize,
    },
    /// Mode 1 with a payload that does not qualify for it.
    #[error("the payload is not an object of 1 to 256 members without duplicate keys")]
    Fields,
    /// A compressed body, read by a program that was built without the feature `seal`.
    #[error("the payload is compressed, and this program is built without decompression")]
    Compressed,
}

impl PlainError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "plain_truncated",
            Self::UnknownMode { .. } => "plain_mode_unknown",
            Self::Dictionary => "plain_dictionary_unsupported",
            Self::Frame => "plain_frame",
            Self::TooLarge { .. } => "plain_too_large",
            Self::Fields => "plain_fields",
            Self::Compressed => "plain_compressed",
        }
    }
}

/// R and mode in front of a body.
pub(crate) struct Prefix<'a> {
    pub(crate) blind: &'a [u8; BLIND_BYTES],
    pub(crate) mode: Mode,
    pub(crate) compressed: bool,
    pub(crate) body: &'a [u8],
}

impl<'a> Prefix<'a> {
    pub(crate) fn parse(plain: &'a [u8]) -> Result<Self, PlainError> {
        let (blind, rest) = plain.split_first_chunk().ok_or(PlainError::Truncated)?;
        let (&found, body) = rest.split_first().ok_or(PlainError::Truncated)?;
        if found & MODE_DICTIONARY != 0 && found & !(MODE_DICTIONARY | MODE_ZSTD | 1) == 0 {
            return Err(PlainError::Dictionary);
        }
        let mode = match found & !MODE_ZSTD {
            0 => Mode::Whole,
            1 => Mode::Fields,
            _ => return Err(PlainError::UnknownMode { found }),
        };
        let compressed = found & MODE_ZSTD != 0;
        if !compressed && body.len() > MAX_PAYLOAD_BYTES {
            let bytes = body.len() as u64;
            return Err(PlainError::TooLarge {
                bytes,
                max: MAX_PAYLOAD_BYTES,
            });
        }
        Ok(Self {
            blind,
            mode,
            compressed,
            body,
        })
    }

    fn payload(&self) -> Result<Cow<'a, [u8]>, PlainError> {
        if self.compressed {
            decompress(self.body).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(self.body))
        }
    }
}

#[cfg(not(feature = "seal"))]
fn decompress(_: &[u8]) -> Result<Vec<u8>, PlainError> {
    Err(PlainError::Compressed)
}

/// The payload in a P that is owned, without a second allocation where it is not compressed.
#[cfg(feature = "seal")]
pub(crate) fn into_payload(mut plain: Vec<u8>) -> Result<Vec<u8>, PlainError> {
    let prefix = Prefix::parse(&plain)?;
    if prefix.compressed {
        return decompress(prefix.body);
    }
    plain.drain(..super::PLAIN_PREFIX_BYTES);
    Ok(plain)
}

/// A parsed P: what is needed to disclose a payload or some of its segments.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain<'a> {
    blind: &'a [u8; BLIND_BYTES],
    mode: Mode,
    payload: Cow<'a, [u8]>,
}

impl<'a> Plain<'a> {
    /// Parses a P, decompressing its body. A plain envelope is one 0x00 byte and P.
    ///
    /// # Errors
    /// A mode that this version does not read, a broken or oversized frame, or mode 1 with a
    /// payload that does not qualify for it; without the feature `seal` any compressed body.
    pub fn parse(plain: &'a [u8]) -> Result<Self, PlainError> {
        let prefix = Prefix::parse(plain)?;
        let payload = prefix.payload()?;
        if prefix.mode == Mode::Fields && members::parse(&payload).is_none() {
            return Err(PlainError::Fields);
        }
        Ok(Self {
            blind: prefix.blind,
            mode: prefix.mode,
            payload,
        })
    }

    /// How it is split into segments.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The payload's bytes as they were given.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// R, from which the salts come. Whoever has it can test guesses against every segment.
    pub fn blind(&self) -> &[u8; BLIND_BYTES] {
        self.blind
    }

    /// The segments in order.
    pub fn segments(&self) -> Vec<Segment<'_>> {
        super::segments(&self.payload, self.mode == Mode::Fields).1
    }

    /// The salts of the segments.
    pub fn salts(&self) -> Salts {
        Salts::new(self.blind)
    }

    /// The Merkle leaf hashes of the segments.
    pub fn segment_hashes(&self) -> Vec<Digest32> {
        segment_hashes(self.blind, &self.segments())
    }

    /// COMMIT of this payload.
    pub fn commitment(&self) -> Digest32 {
        commit(self.blind, &self.payload, self.mode == Mode::Fields).1
    }
}

/// Shows neither payload nor R.
impl fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("mode", &self.mode)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "seal")]
mod tests {
    use super::*;
    use crate::payload::{MAX_SEGMENTS, PLAIN_PREFIX_BYTES, append_frame, segment_hash};
    use crate::vectors::{COMMIT_2, PAYLOAD_2, SEGMENTS_2, counting, payload_3, unhex, unhex32};

    fn plain(mode: u8, body: &[u8]) -> Vec<u8> {
        [&counting(0x40)[..], &[mode], body].concat()
    }

    fn error(mode: u8, body: &[u8]) -> PlainError {
        let plain = plain(mode, body);
        let error = Plain::parse(&plain).unwrap_err();
        if error != PlainError::Fields {
            assert_eq!(into_payload(plain).unwrap_err(), error);
        }
        error
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(append_frame(payload, &mut out));
        out
    }

    #[test]
    fn a_disclosure_finds_what_it_needs() {
        let bytes = plain(1, PAYLOAD_2.as_bytes());
        let plain = Plain::parse(&bytes).unwrap();
        assert_eq!(plain.mode(), Mode::Fields);
        assert_eq!(plain.payload(), PAYLOAD_2.as_bytes());
        assert_eq!(plain.commitment(), unhex32(COMMIT_2));
        let hashes = plain.segment_hashes();
        assert_eq!(hashes, SEGMENTS_2.map(|(_, hash)| unhex32(hash)));
        let segments = plain.segments();
        assert!(segments.len() <= MAX_SEGMENTS);
        let salt = plain.salts().salt(1);
        let opened = segment_hash(&salt, &segments[1].name, segments[1].value);
        assert_eq!(opened, Some(hashes[1]));
        assert_eq!(plain.blind(), &counting(0x40));
        let shown = format!("{plain:?}");
        assert!(
            !shown.contains("amount") && !shown.contains("64, 65"),
            "{shown}"
        );
    }

    #[test]
    fn modes_that_are_not_known_are_refused() {
        for found in [2, 3, 0x08, 0x12, 0x40, 0x80, 0x22, 0xff] {
            assert_eq!(error(found, b"{}"), PlainError::UnknownMode { found });
        }
        for mode in [0x20, 0x21, 0x30, 0x31] {
            assert_eq!(error(mode, b"{}"), PlainError::Dictionary);
        }
        for length in 0..PLAIN_PREFIX_BYTES {
            let cut = Plain::parse(&plain(0, b"")[..length]).unwrap_err();
            assert_eq!(cut, PlainError::Truncated);
        }
    }

    #[test]
    fn mode_1_must_qualify() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":1}}"#,
            "{",
        ] {
            assert_eq!(error(1, body.as_bytes()), PlainError::Fields, "{body}");
        }
        let list = format!("[{}1]", "1,".repeat(300));
        assert_eq!(error(0x11, &frame(list.as_bytes())), PlainError::Fields);
    }

    #[test]
    fn a_body_is_compressed_above_256_bytes_where_it_gains() {
        let mut out = b"before".to_vec();
        assert!(!append_frame(&[b' '; 256], &mut out));
        assert!(append_frame(&[b' '; 257], &mut out));
        assert!(out.starts_with(b"before") && out.len() < 40);
        let noise: Vec<u8> = (0_u32..64)
            .flat_map(|n| crate::hash::leaf_hash(&n.to_be_bytes()))
            .collect();
        let mut out = b"before".to_vec();
        assert!(!append_frame(&noise, &mut out));
        assert_eq!(out, b"before");
    }

    #[test]
    fn a_body_is_one_whole_frame() {
        let payload = payload_3();
        let good = frame(&payload);
        assert_eq!(
            Plain::parse(&plain(0x10, &good)).unwrap().payload(),
            payload
        );
        assert_eq!(into_payload(plain(0x10, &good)), Ok(payload));
        let skippable = unhex("502a4d180100000000");
        for bad in [
            [good.as_slice(), &[0]].concat(),
            [&good[..], &good].concat(),
            [&good[..], &skippable].concat(),
            [&skippable[..], &good].concat(),
            skippable.clone(),
            Vec::new(),
            b"{}".to_vec(),
        ] {
            assert_eq!(error(0x10, &bad), PlainError::Frame);
        }
        for length in 0..good.len() {
            assert_eq!(
                error(0x10, &good[..length]),
                PlainError::Frame,
                "cut at {length}"
            );
        }
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut changed = good.clone();
                changed[at] ^= 1 << bit;
                // Whatever becomes of it, it ends and stays within the bound.
                if let Ok(payload) = into_payload(plain(0x10, &changed)) {
                    assert!(payload.len() <= MAX_PAYLOAD_BYTES);
                }
            }
        }
    }

    /// A frame with an 8-byte content size and RLE blocks of 128 KiB.
    fn bomb(declared: u64, blocks: u32) -> Vec<u8> {
        let mut out = unhex("28b52ffde0");
        out.extend(declared.to_le_bytes());
        for block in 1..=blocks {
            let head = (128 << 10) << 3 | 1 << 1 | u32::from(block == blocks);
            out.extend(&head.to_le_bytes()[..3]);
            out.push(0);
        }
        out
    }

    #[test]
    fn a_bomb_is_refused_by_its_declared_size() {
        let max = MAX_PAYLOAD_BYTES;
        let honest = bomb(1 << 20, 8);
        assert_eq!(
            into_payload(plain(0x10, &honest)).unwrap(),
            vec![0; 1 << 20]
        );
        let bytes = max as u64 + 1;
        assert_eq!(
            error(0x10, &bomb(bytes, 513)),
            PlainError::TooLarge { bytes, max }
        );
        let huge = PlainError::TooLarge {
            bytes: 1 << 60,
            max,
        };
        assert_eq!(error(0x10, &bomb(1 << 60, 1)), huge);
    }

    #[test]
    fn a_frame_that_lies_about_its_size_is_refused() {
        for (declared, blocks) in [
            (1, 8),
            (0, 1),
            (1 << 20, 7),
            (1 << 20, 9),
            (1 << 20, 10_000),
        ] {
            assert_eq!(
                error(0x10, &bomb(declared, blocks)),
                PlainError::Frame,
                "{declared}"
            );
        }
        // Descriptor without a content size, window of 1 KiB, one empty raw block.
        assert_eq!(error(0x10, &unhex("28b52ffd0000010000")), PlainError::Frame);
    }

    #[test]
    fn a_plain_body_is_bounded_too() {
        let body = vec![b' '; MAX_PAYLOAD_BYTES + 1];
        assert!(matches!(error(0, &body), PlainError::TooLarge { .. }));
    }
}
