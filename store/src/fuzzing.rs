//! Private decoders for the targets in `fuzz/`; no part of the API.
//!
//! Each function takes any bytes and panics if what must hold does not: what decodes encodes to
//! the same bytes (I23), and what was written last is found.

#![expect(clippy::missing_panics_doc, reason = "a panic is how a fuzzer is told")]

pub use crate::export::fuzzing as export;
pub use crate::index::fuzzing as index;
pub use crate::keys::fuzzing as keys;

use crate::chunk::{Chunk, ChunkBuilder, Head};
use crate::engine::{Disk, MemoryDisk};
use crate::headfile::{FILE_LEN, Found, HeadFile};
use crate::own::{
    EPOCH_STARTED, ERASURE_COMPLETED, ERASURE_REQUESTED, ErasureRequested, ErasureState, GENESIS,
    History, KEY_ROTATED,
};
use runstone_codec::{KeyId, LogId};
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

/// The events that a history is made of, by number.
const OWN: [&str; 5] = [
    GENESIS,
    EPOCH_STARTED,
    KEY_ROTATED,
    ERASURE_REQUESTED,
    ERASURE_COMPLETED,
];

/// What the log's own events say of it, from their types, by number, and contents.
pub fn history(events: &[(u8, &[u8])]) {
    let mut history = History::default();
    for (position, (number, content)) in (0..).zip(events) {
        let event_type = OWN[usize::from(*number) % OWN.len()];
        let (epochs, erasures) = (history.epochs().len(), history.erasures().len());
        let taken = history.take_payload(position, event_type, content);
        let grown = (
            history.epochs().len() - epochs,
            history.erasures().len() - erasures,
        );
        if taken.is_none() {
            assert_eq!(grown, (0, 0), "half of it was taken");
        } else if event_type == ERASURE_REQUESTED {
            assert_eq!(grown, (0, 1));
            assert!(history.erasures()[&position].is_unfinished());
            let request: ErasureRequested = serde_json::from_slice(content).expect("it was taken");
            covered(&history, position, &request);
        }
    }
    let pending = history.pending().count();
    let done = |state: &&ErasureState| !state.is_unfinished();
    let rewritten = history.erasures().values().filter(done).count();
    assert!(pending + rewritten <= history.erasures().len());
    let vkeys = history.vkeys();
    let newest = history.epochs().last();
    for vkey in vkeys
        .iter()
        .filter(|key| newest.is_some_and(|epoch| epoch.origin == key.name()))
    {
        assert!(history.is_signer(&vkey.public_key()) || history.epochs().len() > 1);
    }
    for epoch in history.epochs() {
        let is_named = vkeys.iter().any(|vkey| vkey.name() == epoch.origin);
        assert!(is_named || runstone_receipt::note::check_name(&epoch.origin).is_err());
        let _ = history.is_superseded(&epoch.origin, (epoch.size, [0; 32]));
    }
}

/// What an erasure names is erased from its request on.
fn covered(history: &History, position: u64, request: &ErasureRequested) {
    for scope in &request.scopes {
        assert!(
            history
                .erasure_of_scope(scope)
                .is_some_and(|found| found.0 == position)
        );
    }
    for key in &request.key_ids {
        assert!(
            history
                .erasure_of_key(key)
                .is_some_and(|found| found.0 == position)
        );
        let is_named = |found: &KeyId| found == key;
        assert!(history.erased_keys().any(is_named));
    }
}
