//! The entry of an event: the leaf of the log's Merkle tree.
//!
//! ```text
//! E = H || u64 position || u64 revision || u64 recorded_at_us || u16 len || control
//!       || COMMIT(32) || DIGEST(32) || u32 offset of DIGEST in E || 01
//! ```
//!
//! The last five bytes are the index of C2SP tlog-addenda: the envelope is an addendum, and erasing
//! a payload detaches it.

use crate::control::MAX_CONTROL_BYTES;
use crate::hash::{Digest32, leaf_hash};
use crate::header::{Decoded, Header, HeaderError};
use crate::ids::{Position, Revision};
use crate::texts::Texts;

const FIXED_BYTES: usize = 3 * 8 + 2 + 32 + 32 + 4 + 1;
const ADDENDA: u8 = 1;

/// What an entry is made of.
#[derive(Copy, Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the fields are the entry format")]
pub struct EntryParts<'a> {
    /// H, as [`Header::encode`] made it.
    pub header: &'a [u8],
    /// Place in the log.
    pub position: Position,
    /// Place in the stream.
    pub revision: Revision,
    /// When it was recorded by the log's clock, in Unix microseconds.
    pub recorded_at_us: u64,
    /// Control as stored: empty, plain or sealed.
    pub control: &'a [u8],
    /// Commitment to the payload.
    pub commit: &'a Digest32,
    /// Digest of the envelope.
    pub digest: &'a Digest32,
}

/// Bytes are not an entry, or parts cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Its header is not one.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The bytes end inside the entry.
    #[error("the entry ends early")]
    Truncated,
    /// Bytes after the entry.
    #[error("the entry is followed by {bytes} more bytes")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Control is longer than it can be.
    #[error("control has {bytes} bytes, at most {max} are allowed")]
    ControlTooLong {
        /// Its length.
        bytes: usize,
        /// The most there may be.
        max: usize,
    },
    /// The last five bytes do not name the place of the digest.
    #[error("the addenda index of the entry is wrong")]
    AddendaIndex,
}

impl EntryError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Header(header) => header.code(),
            Self::Truncated => "entry_truncated",
            Self::Trailing { .. } => "entry_trailing_bytes",
            Self::ControlTooLong { .. } => "entry_control_too_long",
            Self::AddendaIndex => "entry_addenda_index",
        }
    }
}

/// Appends an entry to `out`. The header's bytes are taken as they are.
///
/// # Errors
/// Header or control are longer than the format allows; `out` is unchanged.
pub fn encode_entry(parts: &EntryParts<'_>, out: &mut Vec<u8>) -> Result<(), EntryError> {
    let (header, control) = (parts.header, parts.control);
    if header.len() > crate::header::MAX_HEADER_BYTES {
        return Err(HeaderError::TooLong {
            max: crate::header::MAX_HEADER_BYTES,
        }
        .into());
    }
    let control_length = control_length(control.len())?;
    let length = header.len() + FIXED_BYTES + control.len();
    let digest_at = u32::try_from(length - 32 - 5).map_err(|_| EntryError::AddendaIndex)?;
    out.reserve(length);
    out.extend_from_slice(header);
    out.extend_from_slice(&parts.position.get().to_be_bytes());
    out.extend_from_slice(&parts.revision.get().to_be_bytes());
    out.extend_from_slice(&parts.recorded_at_us.to_be_bytes());
    out.extend_from_slice(&control_length.to_be_bytes());
    out.extend_from_slice(control);
    out.extend_from_slice(parts.commit);
    out.extend_from_slice(parts.digest);
    out.extend_from_slice(&digest_at.to_be_bytes());
    out.push(ADDENDA);
    Ok(())
}

fn control_length(bytes: usize) -> Result<u16, EntryError> {
    let max = MAX_CONTROL_BYTES;
    match u16::try_from(bytes) {
        Ok(length) if bytes <= max => Ok(length),
        _ => Err(EntryError::ControlTooLong { bytes, max }),
    }
}

/// A parsed entry, borrowing its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    bytes: &'a [u8],
    header: Header,
    header_bytes: &'a [u8],
    position: Position,
    revision: Revision,
    recorded_at_us: u64,
    control: &'a [u8],
    commit: &'a Digest32,
    digest: &'a Digest32,
}

impl<'a> Entry<'a> {
    /// Parses an entry that fills the whole slice.
    ///
    /// # Errors
    /// The bytes are not exactly what [`encode_entry`] makes of an encoded header and other parts.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let mut texts = Texts::new();
        let decoded = Decoded::read(bytes, &mut texts)?;
        let (header_bytes, rest) = bytes
            .split_at_checked(decoded.length)
            .ok_or(EntryError::Truncated)?;
        let (position, rest) = u64_prefix(rest)?;
        let (revision, rest) = u64_prefix(rest)?;
        let (recorded_at_us, rest) = u64_prefix(rest)?;
        let (control_length, rest) = chunk(rest)?;
        let control_length = usize::from(u16::from_be_bytes(*control_length));
        self::control_length(control_length)?;
        let (control, rest) = rest
            .split_at_checked(control_length)
            .ok_or(EntryError::Truncated)?;
        let (commit, rest) = chunk(rest)?;
        let (digest, tail) = chunk(rest)?;
        let digest_at = bytes.len() - rest.len();
        let (offset, tail) = chunk(tail)?;
        let ([addenda], tail) = chunk(tail)?;
        if !tail.is_empty() {
            return Err(EntryError::Trailing { bytes: tail.len() });
        }
        if u32::try_from(digest_at) != Ok(u32::from_be_bytes(*offset)) || *addenda != ADDENDA {
            return Err(EntryError::AddendaIndex);
        }
        Ok(Self {
            bytes,
            header: decoded.header(),
            header_bytes,
            position: Position::new(position),
            revision: Revision::new(revision),
            recorded_at_us,
            control,
            commit,
            digest,
        })
    }

    /// The decoded header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Takes the decoded header out.
    pub fn into_header(self) -> Header {
        self.header
    }

    /// H.
    pub fn header_bytes(&self) -> &'a [u8] {
        self.header_bytes
    }

    /// Place in the log.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Place in the stream.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// When it was recorded by the log's clock, in Unix microseconds: the writer's claim.
    pub fn recorded_at_us(&self) -> u64 {
        self.recorded_at_us
    }

    /// Control as stored: empty, plain or sealed.
    pub fn control(&self) -> &'a [u8] {
        self.control
    }

    /// Commitment to the payload.
    pub fn commit(&self) -> &'a Digest32 {
        self.commit
    }

    /// Digest of the envelope.
    pub fn digest(&self) -> &'a Digest32 {
        self.digest
    }

    /// The whole entry.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its hash as a leaf of the log's tree.
    pub fn leaf(&self) -> Digest32 {
        leaf_hash(self.bytes)
    }
}

fn chunk<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), EntryError> {
    bytes.split_first_chunk().ok_or(EntryError::Truncated)
}

fn u64_prefix(bytes: &[u8]) -> Result<(u64, &[u8]), EntryError> {
    let (number, rest) = chunk(bytes)?;
    Ok((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{
        COMMIT_1, COMMIT_2, CONTROL_SEALED, DIGEST_1, DIGEST_2, ENTRY_1, ENTRY_2, HEADER_1,
        HEADER_2, LEAF_1, LEAF_2, header_1, header_2, headers, unhex, unhex32,
    };

    #[test]
    fn pinned_bytes() {
        let (commit, digest) = (unhex32(COMMIT_1), unhex32(DIGEST_1));
        let parts = EntryParts {
            header: &unhex(HEADER_1),
            position: Position::new(1),
            revision: Revision::new(0),
            recorded_at_us: 1_764_000_000_000_000,
            control: &[],
            commit: &commit,
            digest: &digest,
        };
        let mut out = b"before".to_vec();
        encode_entry(&parts, &mut out).unwrap();
        assert_eq!(out[6..], unhex(ENTRY_1));
        let entry = Entry::parse(&out[6..]).unwrap();
        assert_eq!(entry.leaf(), unhex32(LEAF_1));
        assert_eq!(entry.header(), &header_1());
        assert!(entry.control().is_empty());
    }

    #[test]
    fn pinned_bytes_with_control() {
        let bytes = unhex(ENTRY_2);
        let entry = Entry::parse(&bytes).unwrap();
        assert_eq!(entry.header(), &header_2());
        assert_eq!(entry.header_bytes(), unhex(HEADER_2));
        assert_eq!((entry.position().get(), entry.revision().get()), (41, 12));
        assert_eq!(entry.recorded_at_us(), 1_764_000_000_123_999);
        assert_eq!(entry.control(), unhex(CONTROL_SEALED));
        assert_eq!(
            (entry.commit(), entry.digest()),
            (&unhex32(COMMIT_2), &unhex32(DIGEST_2))
        );
        assert_eq!(
            (entry.bytes(), entry.leaf()),
            (bytes.as_slice(), unhex32(LEAF_2))
        );
    }

    #[test]
    fn every_changed_byte_is_refused_or_another_entry() {
        let bytes = unhex(ENTRY_2);
        let original = Entry::parse(&bytes).unwrap();
        let header_length = original.header_bytes().len();
        for at in 0..bytes.len() {
            for change in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                assert_ne!(leaf_hash(&changed), original.leaf());
                match Entry::parse(&changed) {
                    Ok(entry) => {
                        assert_ne!(entry.leaf(), original.leaf());
                        let structural = at >= bytes.len() - 5
                            || (header_length + 24..header_length + 26).contains(&at);
                        assert!(!structural, "byte {at}");
                    }
                    Err(EntryError::Header(_)) => assert!(at < header_length, "byte {at}"),
                    Err(_) => {}
                }
            }
        }
    }

    #[test]
    fn every_cut_and_every_appendix_is_refused() {
        let bytes = unhex(ENTRY_2);
        for length in 0..bytes.len() {
            assert!(Entry::parse(&bytes[..length]).is_err(), "{length}");
        }
        for tail in [[0].as_slice(), &[1], &bytes] {
            let longer = [bytes.as_slice(), tail].concat();
            assert_eq!(
                Entry::parse(&longer),
                Err(EntryError::Trailing { bytes: tail.len() })
            );
        }
    }

    #[test]
    fn control_and_header_are_bounded() {
        let (header, commit) = (unhex(HEADER_1), [0; 32]);
        let encode = |header: &[u8], control: &[u8]| {
            let mut out = Vec::new();
            let parts = EntryParts {
                header,
                position: Position::new(0),
                revision: Revision::new(0),
                recorded_at_us: 0,
                control,
                commit: &commit,
                digest: &commit,
            };
            encode_entry(&parts, &mut out).map(|()| out)
        };
        let largest = encode(&header, &[0; MAX_CONTROL_BYTES]).unwrap();
        assert_eq!(
            Entry::parse(&largest).unwrap().control().len(),
            MAX_CONTROL_BYTES
        );
        let error = EntryError::ControlTooLong {
            bytes: 1053,
            max: 1052,
        };
        assert_eq!(
            encode(&header, &[0; MAX_CONTROL_BYTES + 1]),
            Err(error.clone())
        );
        assert_eq!(
            encode(&header, &vec![0; 70_000]).unwrap_err().code(),
            error.code()
        );
        assert_eq!(
            encode(&[0; 4097], &[]).unwrap_err().code(),
            "header_too_long"
        );
        let mut forged = encode(&header, &[]).unwrap();
        let length_at = header.len() + 24;
        forged[length_at..length_at + 2].copy_from_slice(&1053_u16.to_be_bytes());
        forged.resize(10_000, 0);
        assert_eq!(Entry::parse(&forged), Err(error));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_parsed(
            header in headers(),
            numbers in any::<(u64, u64, u64)>(),
            control in proptest::collection::vec(any::<u8>(), 0..=MAX_CONTROL_BYTES),
            hashes in any::<([u8; 32], [u8; 32])>(),
        ) {
            let parts = EntryParts {
                header: &header.encode().unwrap(),
                position: Position::new(numbers.0),
                revision: Revision::new(numbers.1),
                recorded_at_us: numbers.2,
                control: &control,
                commit: &hashes.0,
                digest: &hashes.1,
            };
            let mut bytes = Vec::new();
            encode_entry(&parts, &mut bytes).unwrap();
            let entry = Entry::parse(&bytes).unwrap();
            prop_assert_eq!(entry.header(), &header);
            prop_assert_eq!(entry.header_bytes(), parts.header);
            prop_assert_eq!(
                (entry.position().get(), entry.revision().get(), entry.recorded_at_us()),
                numbers
            );
            prop_assert_eq!((entry.control(), *entry.commit(), *entry.digest()),
                (control.as_slice(), hashes.0, hashes.1));
        }
    }
}
