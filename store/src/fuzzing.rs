//! Private decoders for the targets in `fuzz/`; no part of the API.
//!
//! Each function takes any bytes and panics if what must hold does not: what decodes encodes to
//! the same bytes (I23), and what was written last is found.

#![expect(clippy::missing_panics_doc, reason = "a panic is how a fuzzer is told")]

pub use crate::index::fuzzing as index;
pub use crate::keys::fuzzing as keys;

use crate::chunk::{Chunk, ChunkBuilder, Head};
use crate::engine::{Disk, MemoryDisk};
use crate::headfile::{FILE_LEN, Found, HeadFile};
use runstone_codec::LogId;
use runstone_receipt::head::{HeadSlot, SLOT_LEN};
use std::sync::Arc;

/// A chunk under the key that it names.
pub fn chunk(bytes: &[u8]) {
    let key = bytes.get(4..).and_then(|rest| rest.first_chunk());
    let key = key.map_or(0, |key| u64::from_be_bytes(*key));
    let Ok(chunk) = Chunk::parse(key, bytes) else {
        return;
    };
    assert!(chunk.first() == key && chunk.body_len() <= bytes.len());
    let events: Result<Vec<_>, _> = chunk.events().collect();
    let (Ok(events), Ok(head)) = (events, chunk.head()) else {
        return;
    };
    let mut builder = ChunkBuilder::new(key);
    for event in &events {
        assert!(chunk.contains(event.position));
        builder.push(event.entry, event.envelope);
    }
    assert_eq!(chunk.end() - key, events.len() as u64);
    assert!(builder.encode(head.as_ref()) == bytes, "not the same chunk");
}

/// A `LOG.head` with these slots: the one that counts is found, and what is written next is found
/// after that.
pub fn head_file(slots: [&[u8]; 2], log_id: LogId, size: u64) {
    let mut file = vec![0; usize::try_from(FILE_LEN).unwrap_or_default()];
    for (half, slot) in file.chunks_mut(4096).zip(slots) {
        for (to, from) in half.iter_mut().take(SLOT_LEN).zip(slot) {
            *to = *from;
        }
    }
    let counts = |slot: &HeadSlot| slot.log_id == log_id;
    let read = |slot: usize| {
        let bytes = file
            .get(slot * 4096..)
            .and_then(|half| half.get(..SLOT_LEN));
        let slot_of = |read: &HeadSlot| read.sequence % 2 == slot as u64;
        let read = HeadSlot::decode(bytes?).ok().filter(slot_of)?;
        assert!(Some(&read.encode()[..]) == bytes, "not the same slot");
        Some(read).filter(counts)
    };
    let slots = [read(0), read(1)];
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::with_bytes(file.clone()));
    let Ok((mut head_file, found)) = HeadFile::open(Arc::clone(&disk), &log_id) else {
        return;
    };
    match (&found, slots.iter().flatten().count()) {
        (Found::Nothing, count) => assert_eq!(count, 0, "a slot counts and is not found"),
        (Found::Head(found), _) => assert!(slots.iter().flatten().any(|slot| slot == found)),
    }
    for size in [size, size ^ 1, size ^ 2] {
        let head = Head {
            size,
            root: [1; 32],
            recorded_at_us: 2,
            mac: [3; 32],
            peaks: Vec::new(),
        };
        let written = head_file.write(&log_id, &head);
        assert!(written.is_ok(), "{written:?}");
        match HeadFile::open(Arc::clone(&disk), &log_id) {
            Ok((_, Found::Head(found))) => assert_eq!(found.size, size, "another head is found"),
            other => unreachable!("what was written is not found: {other:?}"),
        }
    }
}
