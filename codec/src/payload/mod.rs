//! The plaintext of a payload, its segments and the commitment to them.
//!
//! ```text
//! P      = R(32) || mode(1) || body
//! salt_i = HMAC-SHA256(R, DS("salt") || u32 i)
//! seg_i  = DS("seg") || salt_i || u16 len(name) || name || value
//! COMMIT = SHA-256(DS("pc") || u32 n || MTH(seg_0 .. seg_n-1))
//! ```
//!
//! Mode 0 is one segment with an empty name and the payload as its value. Mode 1 is one segment for
//! each member of a JSON object, so that one can be disclosed and the others stay hidden: each has
//! a salt of its own. Segments are taken from the payload as given, nothing is canonicalised.

#[cfg(feature = "seal")]
mod compress;
mod members;
mod plain;

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};

use crate::hash::{self, Digest32, mth};

#[cfg(feature = "seal")]
pub(crate) use compress::append as append_frame;
#[cfg(feature = "seal")]
pub(crate) use plain::into_payload;
pub use plain::{Plain, PlainError};

/// Most bytes of a payload that the format carries, before compression. It bounds what a reader
/// allocates for bytes that it does not trust.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;
/// Most members of an object in mode 1.
pub const MAX_SEGMENTS: usize = 256;
/// Bytes of R, from which the salts come.
pub const BLIND_BYTES: usize = 32;
/// Bytes of P before its body.
pub const PLAIN_PREFIX_BYTES: usize = BLIND_BYTES + 1;

/// Bit of the mode byte: the body is a zstd frame.
pub const MODE_ZSTD: u8 = 0x10;
/// Bit of the mode byte: the frame needs the dictionary compiled into the codec. Reserved.
pub const MODE_DICTIONARY: u8 = 0x20;

/// How a payload is split into segments.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the numbers are part of the payload format"
)]
pub enum Mode {
    /// One segment: it can only be disclosed whole.
    Whole = 0,
    /// One segment for each member of an object.
    Fields = 1,
}

impl Mode {
    /// The low bits of the mode byte.
    pub const fn to_byte(self) -> u8 {
        self as u8
    }
}

/// Whether to compress a payload.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Never.
    Never,
    /// Above 256 bytes, where it gains.
    #[default]
    Auto,
}

/// How a payload is to be laid out.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built by the store for every event"
)]
pub struct PayloadSpec {
    /// Mode 1 where the payload allows it.
    pub fields: bool,
    /// Whether to compress.
    pub compress: Compression,
}

/// One separately committed part of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment<'a> {
    /// The unescaped key of the member; empty in mode 0.
    pub name: Cow<'a, str>,
    /// Its value's bytes exactly as given.
    pub value: &'a [u8],
}

/// The mode that a payload gets if mode 1 is asked for: [`Mode::Fields`] for a JSON object of 1 to
/// 256 members without duplicate keys, else [`Mode::Whole`].
pub fn mode_of(payload: &[u8]) -> Mode {
    segments(payload, true).0
}

/// Splits a payload; `fields` asks for mode 1, and what does not qualify falls back to mode 0.
pub fn segments(payload: &[u8], fields: bool) -> (Mode, Vec<Segment<'_>>) {
    match fields.then(|| members::parse(payload)).flatten() {
        Some(segments) => (Mode::Fields, segments),
        None => (
            Mode::Whole,
            vec![Segment {
                name: Cow::Borrowed(""),
                value: payload,
            }],
        ),
    }
}

/// Derives the salts of a payload's segments from its R, keyed once.
#[derive(Clone)]
pub struct Salts(Hmac<Sha256>);

impl Salts {
    /// Salts under an R.
    pub fn new(blind: &[u8; BLIND_BYTES]) -> Self {
        let mut keyed = hash::hmac(blind);
        keyed.update(b"runstone/salt/v1\0");
        Self(keyed)
    }

    /// The salt of segment `index`.
    pub fn salt(&self, index: u32) -> Digest32 {
        self.0
            .clone()
            .chain_update(index.to_be_bytes())
            .finalize()
            .into_bytes()
            .into()
    }
}

impl std::fmt::Debug for Salts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salts(..)")
    }
}

/// The Merkle leaf hash of a segment; `None` for a name above 65,535 bytes, which no segment has.
pub fn segment_hash(salt: &Digest32, name: &str, value: &[u8]) -> Option<Digest32> {
    let length = u16::try_from(name.len()).ok()?;
    let hash = Sha256::new()
        .chain_update([0])
        .chain_update(b"runstone/seg/v1\0")
        .chain_update(salt)
        .chain_update(length.to_be_bytes())
        .chain_update(name)
        .chain_update(value)
        .finalize();
    Some(hash.into())
}

/// The commitment to segments whose Merkle root is known, as an opened disclosure knows it.
pub fn commitment_of_root(segments: u32, root: &Digest32) -> Digest32 {
    Sha256::new()
        .chain_update(b"runstone/pc/v1\0")
        .chain_update(segments.to_be_bytes())
        .chain_update(root)
        .finalize()
        .into()
}

/// The commitment to segments with these leaf hashes.
pub fn commitment(hashes: &[Digest32]) -> Digest32 {
    // At most MAX_SEGMENTS of them are ever made.
    let count = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
    commitment_of_root(count, &mth(hashes))
}

/// Leaf hashes of a payload's segments under an R, as [`Plain::segment_hashes`] gives them.
fn segment_hashes(blind: &[u8; BLIND_BYTES], segments: &[Segment<'_>]) -> Vec<Digest32> {
    let salts = Salts::new(blind);
    (0..)
        .zip(segments)
        .filter_map(|(index, one)| segment_hash(&salts.salt(index), &one.name, one.value))
        .collect()
}

/// COMMIT of a payload and the mode that it gets.
pub(crate) fn commit(blind: &[u8; BLIND_BYTES], payload: &[u8], fields: bool) -> (Mode, Digest32) {
    let (mode, segments) = segments(payload, fields);
    (mode, commitment(&segment_hashes(blind, &segments)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{COMMIT_2, PAYLOAD_2, SEGMENTS_2, counting, unhex32};

    #[test]
    fn pinned_salts_hashes_and_commitment() {
        let (mode, segments) = segments(PAYLOAD_2.as_bytes(), true);
        assert_eq!((mode, segments.len()), (Mode::Fields, 3));
        let salts = Salts::new(&counting(0x40));
        let mut hashes = Vec::new();
        for ((index, segment), (salt, hash)) in (0..).zip(&segments).zip(SEGMENTS_2) {
            assert_eq!(salts.salt(index), unhex32(salt));
            let found = segment_hash(&unhex32(salt), &segment.name, segment.value).unwrap();
            assert_eq!(found, unhex32(hash));
            hashes.push(found);
        }
        assert_eq!(commitment(&hashes), unhex32(COMMIT_2));
        assert_eq!(commitment_of_root(3, &mth(&hashes)), unhex32(COMMIT_2));
    }

    #[test]
    fn an_uncompressed_plain_is_read_by_every_build() {
        let body = PAYLOAD_2.as_bytes();
        let bytes = [&counting(0x40)[..], &[Mode::Fields.to_byte()], body].concat();
        let plain = Plain::parse(&bytes).unwrap();
        assert_eq!(plain.commitment(), unhex32(COMMIT_2));
        let compressed = [&counting(0x40)[..], &[MODE_ZSTD], body].concat();
        let expected = if cfg!(feature = "seal") {
            PlainError::Frame
        } else {
            PlainError::Compressed
        };
        assert_eq!(Plain::parse(&compressed), Err(expected));
    }

    #[test]
    fn names_are_unescaped_and_values_stay_as_given() {
        let (_, segments) = segments(PAYLOAD_2.as_bytes(), true);
        let shown: Vec<_> = segments
            .iter()
            .map(|one| (one.name.as_ref(), std::str::from_utf8(one.value).unwrap()))
            .collect();
        let expected = [
            ("amount", "12.50"),
            ("to", "{\"iban\" : \"DE00\"}"),
            ("note", "\"caf\u{e9}\""),
        ];
        assert_eq!(shown, expected);
        let huge =
            br#"{"":340282366920938463463374607431768211456,"e":1E+2, "d" : {"x":1,"x":2} }"#;
        let values: Vec<_> = super::segments(huge, true)
            .1
            .iter()
            .map(|one| one.value)
            .collect();
        let expected: [&[u8]; 3] = [
            b"340282366920938463463374607431768211456",
            b"1E+2",
            br#"{"x":1,"x":2}"#,
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn what_does_not_qualify_is_one_segment() {
        let object = |members: usize| {
            let members: Vec<_> = (0..members).map(|n| format!("\"{n}\":{n}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let long_name = |bytes: usize| format!("{{\"{}\":1}}", "n".repeat(bytes));
        assert_eq!(segments(object(256).as_bytes(), true).1.len(), 256);
        assert_eq!(mode_of(long_name(65_535).as_bytes()), Mode::Fields);
        for whole in [
            object(257),
            object(0),
            // It commits to what its value alone commits to.
            r#"{"":1}"#.to_owned(),
            long_name(65_536),
            r#"{"a":1,"a":1}"#.to_owned(),
            r#"{"a":1,"\u0061":2}"#.to_owned(),
            r#"{"\ud800":1}"#.to_owned(),
            "[1]".to_owned(),
            " ".to_owned(),
            String::new(),
            r#"{"a":1}x"#.to_owned(),
            r#"{"a":1"#.to_owned(),
        ] {
            let (mode, segments) = segments(whole.as_bytes(), true);
            assert_eq!((mode, segments.len()), (Mode::Whole, 1), "{whole}");
            assert_eq!(
                (segments[0].name.as_ref(), segments[0].value),
                ("", whole.as_bytes())
            );
        }
        assert_eq!(segments(PAYLOAD_2.as_bytes(), false).0, Mode::Whole);
    }

    #[test]
    fn a_name_that_cannot_be_measured_has_no_hash() {
        assert_eq!(segment_hash(&[0; 32], &"n".repeat(65_536), b"1"), None);
    }

    #[test]
    fn a_segment_binds_salt_name_value_and_their_border() {
        let hash = |salt: u8, name: &str, value: &[u8]| segment_hash(&[salt; 32], name, value);
        let one = hash(1, "ab", b"cd");
        assert!(one.is_some());
        for other in [
            hash(2, "ab", b"cd"),
            hash(1, "a", b"bcd"),
            hash(1, "abc", b"d"),
        ] {
            assert_ne!(one, other);
        }
    }
}
