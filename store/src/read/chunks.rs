//! From a position to the chunk that holds it.

use crate::chunk::Chunk;
use crate::engine::{NumberTable, Snapshot, Value};
use crate::error::{ReadError, StorageError};

/// The key and the bytes of the chunk that holds `position`, if there is one.
///
/// A chunk fills a leaf of the database's tree. Asked for the last key at or below a position, the
/// database goes to the leaf of the next key first, and reads two chunks. Asked for the first key at or
/// above a number it reads one, so that is tried before, with a number that leads to the right chunk
/// where it and the one before are as long as the chunk that was read last.
pub(super) fn chunk_at(
    snapshot: &Snapshot,
    position: u64,
) -> Result<Option<(u64, Value)>, ReadError> {
    if let Some(found) = guessed(snapshot, position)? {
        return Ok(Some(found));
    }
    let Some((key, value)) = snapshot.number_at_or_below(NumberTable::Chunks, position)? else {
        return Ok(None);
    };
    let chunk = Chunk::parse(key, value.bytes())?;
    if !chunk.contains(position) {
        return Ok(None);
    }
    snapshot.note_chunk_events(chunk.end() - key);
    Ok(Some((key, value)))
}

/// What is wrong with another chunk than the one that is looked for is of no account, but that it cannot
/// be read is: the database reads nothing more after that, and would not say why.
fn guessed(snapshot: &Snapshot, position: u64) -> Result<Option<(u64, Value)>, StorageError> {
    let before = snapshot.chunk_events().saturating_sub(1);
    let near = position.saturating_sub(before);
    let found = readable(snapshot.number_at_or_above(NumberTable::Chunks, near))?;
    let Some((key, value, end)) = found.and_then(|(key, value)| parsed(key, value)) else {
        return Ok(None);
    };
    if (key..end).contains(&position) {
        snapshot.note_chunk_events(end - key);
        return Ok(Some((key, value)));
    }
    // It may lie in the next one, unless the number led much too far back.
    if position
        .checked_sub(end)
        .is_none_or(|past| past >= end - key)
    {
        return Ok(None);
    }
    let next = readable(snapshot.number(NumberTable::Chunks, end))?;
    let found = next.and_then(|value| parsed(end, value));
    Ok(found
        .filter(|(first, _, end)| (*first..*end).contains(&position))
        .map(|(first, value, end)| {
            snapshot.note_chunk_events(end - first);
            (first, value)
        }))
}

/// What was found, unless the disk failed.
fn readable<T>(found: Result<Option<T>, StorageError>) -> Result<Option<T>, StorageError> {
    match found {
        Err(error @ StorageError::Io { .. }) => Err(error),
        Err(_) => Ok(None),
        Ok(found) => Ok(found),
    }
}

/// A chunk and the position after it, if it is one.
fn parsed(first: u64, value: Value) -> Option<(u64, Value, u64)> {
    let end = Chunk::parse(first, value.bytes()).ok()?.end();
    Some((first, value, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Disk, MemoryDisk};
    use crate::keys::KeyStore;
    use crate::open::Disks;
    use crate::{Append, CreateOptions, Log, OpenOptions, Sealing};
    use runstone_codec::{LogId, NewEvent, OsEntropy, Position};
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Counts reads of pages that only a whole chunk takes.
    #[derive(Debug, Default)]
    struct Counting {
        disk: MemoryDisk,
        long_reads: Arc<AtomicU64>,
    }

    impl Disk for Counting {
        fn len(&self) -> io::Result<u64> {
            self.disk.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            if out.len() == 65_536 {
                self.long_reads.fetch_add(1, Ordering::Relaxed);
            }
            self.disk.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.disk.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.disk.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.disk.write(offset, data)
        }
    }

    /// A plain log whose payloads have these many bytes, without a page cache.
    fn log(payloads: impl Iterator<Item = usize>) -> (Log, Arc<AtomicU64>) {
        let disk = Counting::default();
        let long_reads = Arc::clone(&disk.long_reads);
        let create = CreateOptions {
            sealing: Sealing::Plain,
            ..CreateOptions::default()
        };
        let mut open = OpenOptions::default();
        open.options.cache_bytes = 0;
        let keys = KeyStore::memory(
            LogId::from_bytes([7; 16]),
            "log",
            Sealing::Plain,
            Arc::new(OsEntropy),
            1,
        );
        let keys = keys.unwrap();
        let disks = Disks::new(Arc::new(disk), Arc::new(MemoryDisk::new()));
        let log = Log::create_on(disks, keys, &create, open).unwrap();
        let payload = |bytes| format!("\"{}\"", "x".repeat(bytes)).into_bytes();
        let events = payloads.map(|bytes| NewEvent::new("data.noted", "s").payload(payload(bytes)));
        log.append_blocking(Append::new(events)).unwrap();
        (log, long_reads)
    }

    /// Positions below `size` in an order that jumps.
    fn jumping(size: u64) -> impl Iterator<Item = u64> {
        (0..size).map(move |n| n * 7_919 % size)
    }

    #[test]
    fn an_event_costs_one_chunk() {
        let (log, long_reads) = log(std::iter::repeat_n(300, 2_000));
        // The first one has nothing to go by.
        log.record(Position::new(1_000)).unwrap();
        long_reads.store(0, Ordering::Relaxed);
        for position in jumping(1_900) {
            log.record(Position::new(position)).unwrap();
        }
        let read = long_reads.load(Ordering::Relaxed);
        assert!((1_900..2_400).contains(&read), "{read}");
    }

    #[test]
    fn any_guess_leads_to_the_chunk() {
        let (log, _) = log((0..1_200).map(|n| n * n * 31 % 4_000));
        let reader = log.here().unwrap().shared.reader().unwrap();
        for events in [0, 1, 2, 17, 40, 100, 1_000, u64::MAX] {
            for position in jumping(reader.size()) {
                reader.snapshot.note_chunk_events(events);
                let (key, value) = chunk_at(&reader.snapshot, position).unwrap().unwrap();
                assert!(Chunk::parse(key, value.bytes()).unwrap().contains(position));
            }
            reader.snapshot.note_chunk_events(events);
            let beyond = chunk_at(&reader.snapshot, reader.size()).unwrap();
            assert!(beyond.is_none());
        }
    }
}
