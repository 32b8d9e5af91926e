//! The authenticated head, and the two slots of `LOG.head` that hold it.
//!
//! ```text
//! slot: "RSHEAD01" || log_id(16) || u64 size || root(32) || u64 recorded_at_us
//!       || head_mac(32) || u64 sequence || SHA-256 of all before [..16]        128 bytes
//! file: slot of even sequences at 0, slot of odd ones at 4096; 8192 bytes
//! ```

use hmac::{Hmac, KeyInit, Mac};
use runstone_codec::LogId;
use runstone_codec::hash::{Digest32, ds};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Length of a slot in bytes.
pub const SLOT_LEN: usize = 128;
/// Length of the file in bytes.
pub const HEAD_FILE_LEN: usize = 8192;

const MAGIC: &[u8; 8] = b"RSHEAD01";
const CHECKSUM_LEN: usize = 16;
/// Distance between the slots: no write to one reaches a sector of the other.
const STRIDE: u64 = 4096;

fn mac(
    mac_key: &[u8; 32],
    log_id: &LogId,
    size: u64,
    root: &Digest32,
    recorded_at_us: u64,
) -> Hmac<Sha256> {
    // HMAC pads a short key with zeros to its block of 64 bytes; a whole block cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    block.split_at_mut(mac_key.len()).0.copy_from_slice(mac_key);
    Hmac::<Sha256>::new((&*block).into())
        .chain_update(ds("head"))
        .chain_update(log_id.as_bytes())
        .chain_update(size.to_be_bytes())
        .chain_update(root)
        .chain_update(recorded_at_us.to_be_bytes())
}

/// `HMAC-SHA256(MAC key, DS("head") || log_id || u64 size || root || u64 recorded_at_us)`
pub fn head_mac(
    mac_key: &[u8; 32],
    log_id: &LogId,
    size: u64,
    root: &Digest32,
    recorded_at_us: u64,
) -> [u8; 32] {
    mac(mac_key, log_id, size, root, recorded_at_us)
        .finalize()
        .into_bytes()
        .into()
}

/// Whether a head MAC is right, in constant time.
pub fn verify_head_mac(
    mac_key: &[u8; 32],
    log_id: &LogId,
    size: u64,
    root: &Digest32,
    recorded_at_us: u64,
    found: &[u8; 32],
) -> bool {
    mac(mac_key, log_id, size, root, recorded_at_us)
        .verify(found.into())
        .is_ok()
}

/// Bytes that are not a slot: never written, torn or altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// Not 128 bytes.
    #[error("a head slot has 128 bytes, not {found}")]
    Length {
        /// The length found.
        found: usize,
    },
    /// The first eight bytes are not a slot's.
    #[error("the head slot does not start with its format's mark")]
    Magic,
    /// The checksum does not match: torn or altered.
    #[error("the head slot's checksum does not match its bytes")]
    Checksum,
}

impl SlotError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "head_slot_length",
            Self::Magic => "head_slot_format",
            Self::Checksum => "head_slot_checksum",
        }
    }
}

/// One slot of `LOG.head`.
#[expect(
    clippy::exhaustive_structs,
    reason = "a slot's fields are fixed by the format"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadSlot {
    /// The log.
    pub log_id: LogId,
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest32,
    /// Time of the last event, Unix microseconds.
    pub recorded_at_us: u64,
    /// What [`head_mac`] gives for the fields above.
    pub head_mac: [u8; 32],
    /// Counts the writes; the higher one is newer.
    pub sequence: u64,
}

impl HeadSlot {
    /// The slot's bytes.
    pub fn encode(&self) -> [u8; SLOT_LEN] {
        let body = [
            MAGIC.as_slice(),
            self.log_id.as_bytes(),
            &self.size.to_be_bytes(),
            &self.root,
            &self.recorded_at_us.to_be_bytes(),
            &self.head_mac,
            &self.sequence.to_be_bytes(),
        ]
        .concat();
        let checksum: [u8; 32] = Sha256::digest(&body).into();
        let mut slot = [0; SLOT_LEN];
        for (to, from) in slot.iter_mut().zip(body.iter().chain(&checksum)) {
            *to = *from;
        }
        slot
    }

    /// Reads a slot.
    ///
    /// # Errors
    ///
    /// [`SlotError`] for anything that [`HeadSlot::encode`] would not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, SlotError> {
        let length = SlotError::Length { found: bytes.len() };
        let slot: &[u8; SLOT_LEN] = bytes.try_into().map_err(|_| length)?;
        let (body, checksum) = slot.split_at(SLOT_LEN - CHECKSUM_LEN);
        let Some(fields) = body.strip_prefix(MAGIC) else {
            return Err(SlotError::Magic);
        };
        let computed: [u8; 32] = Sha256::digest(body).into();
        if !computed.starts_with(checksum) {
            return Err(SlotError::Checksum);
        }
        let mut fields = Fields(fields);
        Ok(Self {
            log_id: LogId::from_bytes(fields.take().ok_or(length)?),
            size: u64::from_be_bytes(fields.take().ok_or(length)?),
            root: fields.take().ok_or(length)?,
            recorded_at_us: u64::from_be_bytes(fields.take().ok_or(length)?),
            head_mac: fields.take().ok_or(length)?,
            sequence: u64::from_be_bytes(fields.take().ok_or(length)?),
        })
    }

    /// Whether the slot's MAC is right under the log's MAC key, in constant time.
    pub fn verify(&self, mac_key: &[u8; 32]) -> bool {
        verify_head_mac(
            mac_key,
            &self.log_id,
            self.size,
            &self.root,
            self.recorded_at_us,
            &self.head_mac,
        )
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

/// Where the slot of a sequence number stands in the file.
pub fn slot_offset(sequence: u64) -> u64 {
    sequence % 2 * STRIDE
}

/// The newest slot of a log's head file; a torn one, one in the other's place and one of another log
/// count for nothing. `None`: the file has no head.
///
/// A sequence number is followed by the next one modulo 2^64, so that what is written after any
/// slot is newer than it.
pub fn newest_slot(file: &[u8], log_id: &LogId) -> Option<HeadSlot> {
    let slot = |sequence| slot_at(file, sequence).filter(|slot| slot.log_id == *log_id);
    match (slot(0), slot(1)) {
        (Some(even), Some(odd)) => {
            let ahead = even.sequence.wrapping_sub(odd.sequence);
            let even_is_newer = ahead < 1 << 63;
            Some(if even_is_newer { even } else { odd })
        }
        (even, odd) => even.or(odd),
    }
}

/// The log that a head file tells of, by the first of its slots that can be read.
pub fn log_of(file: &[u8]) -> Option<LogId> {
    let slot = slot_at(file, 0).or_else(|| slot_at(file, 1))?;
    Some(slot.log_id)
}

fn slot_at(file: &[u8], sequence: u64) -> Option<HeadSlot> {
    let start = usize::try_from(slot_offset(sequence)).ok()?;
    let bytes = file.get(start..start.checked_add(SLOT_LEN)?)?;
    let slot = HeadSlot::decode(bytes).ok()?;
    (slot.sequence % 2 == sequence).then_some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(sequence: u64) -> HeadSlot {
        let log_id = LogId::from_bytes([3; 16]);
        HeadSlot {
            log_id,
            size: 41,
            root: [7; 32],
            recorded_at_us: 1_764_000_000_000_000,
            head_mac: head_mac(&[1; 32], &log_id, 41, &[7; 32], 1_764_000_000_000_000),
            sequence,
        }
    }

    fn file(slots: &[HeadSlot]) -> Vec<u8> {
        let mut file = vec![0; HEAD_FILE_LEN];
        for slot in slots {
            let start = usize::try_from(slot_offset(slot.sequence)).unwrap();
            file[start..start + SLOT_LEN].copy_from_slice(&slot.encode());
        }
        file
    }

    #[test]
    fn mac_equals_one_computed_elsewhere() {
        // python3: hmac.new(bytes([1]*32), b"runstone/head/v1\0" + bytes([3]*16) + (41).to_bytes(8)
        //          + bytes([7]*32) + (1764000000000000).to_bytes(8), "sha256").hexdigest()
        let found: Vec<String> = slot(0)
            .head_mac
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            found.concat(),
            "b9d3de04dd34abba9d4a9c243a40c317463663df63102c02d442f46643f6de17"
        );
    }

    #[test]
    fn macs_are_checked_over_every_field() {
        let good = slot(0);
        assert!(good.verify(&[1; 32]));
        assert!(!good.verify(&[2; 32]));
        let others = [
            HeadSlot {
                log_id: LogId::from_bytes([4; 16]),
                ..good.clone()
            },
            HeadSlot {
                size: 42,
                ..good.clone()
            },
            HeadSlot {
                root: [8; 32],
                ..good.clone()
            },
            HeadSlot {
                recorded_at_us: 0,
                ..good.clone()
            },
            HeadSlot {
                head_mac: [0; 32],
                ..good.clone()
            },
        ];
        for other in others {
            assert!(!other.verify(&[1; 32]), "{other:?}");
        }
    }

    #[test]
    fn slots_round_trip_and_every_flipped_byte_is_refused() {
        let slot = slot(6);
        let bytes = slot.encode();
        assert_eq!(HeadSlot::decode(&bytes), Ok(slot));
        for index in 0..SLOT_LEN {
            let mut flipped = bytes;
            flipped[index] ^= 0x10;
            assert!(HeadSlot::decode(&flipped).is_err(), "byte {index}");
            assert_eq!(
                HeadSlot::decode(&bytes[..index]),
                Err(SlotError::Length { found: index })
            );
        }
    }

    fn newest(file: &[u8]) -> Option<HeadSlot> {
        newest_slot(file, &slot(0).log_id)
    }

    #[test]
    fn the_higher_whole_slot_in_its_own_place_counts() {
        assert_eq!(newest(&[]), None);
        assert_eq!(newest(&file(&[])), None);
        assert_eq!(newest(&file(&[slot(4), slot(5)])), Some(slot(5)));
        assert_eq!(newest(&file(&[slot(6), slot(5)])), Some(slot(6)));
        assert_eq!(newest(&file(&[slot(5)])), Some(slot(5)));
        let mut torn = file(&[slot(6), slot(5)]);
        torn[100] ^= 1;
        assert_eq!(newest(&torn), Some(slot(5)));
        torn[4096 + 100] ^= 1;
        assert_eq!(newest(&torn), None);
        let mut misplaced = file(&[slot(5)]);
        misplaced.copy_within(4096..4096 + SLOT_LEN, 0);
        misplaced[4096..].fill(0);
        assert_eq!(newest(&misplaced), None);
    }

    #[test]
    fn a_slot_of_another_log_hides_none_of_the_log() {
        let mut foreign = slot(9);
        foreign.log_id = LogId::new([0; 16]);
        assert_eq!(newest(&file(&[slot(4), foreign.clone()])), Some(slot(4)));
        assert_eq!(newest(&file(&[foreign])), None);
    }

    #[test]
    fn what_follows_the_highest_sequence_is_newer() {
        let both = [slot(u64::MAX), slot(0)];
        assert_eq!(newest(&file(&both)), Some(slot(0)));
        let before = [slot(u64::MAX), slot(u64::MAX - 1)];
        assert_eq!(newest(&file(&before)), Some(slot(u64::MAX)));
    }
}
