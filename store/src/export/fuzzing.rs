//! Loading for the fuzz target `export`.

use super::line::{CheckpointLine, End, Start, put};
use super::load::{Filled, load_into};
use super::segment::fill;
use super::write::event_line;
use super::{LoadError, SegmentInput, SegmentSource, UnsignedTail, read_segment};
use crate::chunk::Chunk;
use crate::engine::{Db, MemoryDisk, NumberTable};
use crate::own::History;
use crate::query::Query;
use crate::read::parse_entry;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

/// Segments, in any order and number: what loads is of all of them, and each is whole by itself.
pub fn segments(parts: &[&[u8]]) {
    struct Parts(Vec<(u64, Vec<u8>)>);

    impl SegmentSource for Parts {
        fn open(&mut self, from: u64) -> Result<Option<SegmentInput>, LoadError> {
            let found = self.0.iter().find(|(first, _)| *first == from);
            let input = found.map(|(_, bytes)| Box::new(Cursor::new(bytes.clone())));
            Ok(input.map(|input| SegmentInput::new(from.to_string(), input)))
        }

        fn events(&self) -> u64 {
            0
        }
    }

    let mut ends = BTreeMap::new();
    let mut source = Parts(Vec::new());
    for part in parts {
        let Ok(read) = read_segment(*part) else {
            continue;
        };
        if ends.insert(read.from, read.end).is_none() {
            source.0.push((read.from, part.to_vec()));
        }
    }
    let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
    let mut ahead = None;
    for _ in 0..2 {
        let db = Db::open(Arc::new(MemoryDisk::new()), 1 << 20, &silent);
        let db = db.expect("a database in memory");
        let filled = fill(
            &db,
            (&mut source, UnsignedTail::Taken),
            &mut ahead,
            &|_| Ok(()),
            &|_, _| {},
        );
        if let Ok(Filled::Done((report, head))) = filled {
            let last = ends.values().find(|end| end.events == report.events);
            assert_eq!(last.map(|end| end.root), Some(head.root));
            assert_eq!((report.root, report.events), (head.root, head.size));
            return;
        }
    }
}

/// What loads is written again as the same bytes.
pub fn load(bytes: &[u8]) {
    let silent: Arc<dyn Fn(f64) + Send + Sync> = Arc::new(|_| {});
    let db = Db::open(Arc::new(MemoryDisk::new()), 1 << 20, &silent).expect("a database in memory");
    let Ok((report, head)) = load_into(&db, bytes, &|_| Ok(()), &|_, _| {}) else {
        return;
    };
    let snapshot = db.snapshot().expect("what was loaded");
    let mut checkpoints = Vec::new();
    for size in 0..=report.events {
        let row = snapshot.number(NumberTable::Checkpoints, size);
        if let Some(row) = row.expect("a table") {
            let (stored_us, text) = row.bytes().split_first_chunk::<8>().expect("a time");
            checkpoints.push(CheckpointLine {
                checkpoint: String::from_utf8(text.to_vec()).expect("text"),
                stored_us: u64::from_be_bytes(*stored_us),
            });
        }
    }
    let (mut history, mut chunks, mut next) = (History::default(), Vec::new(), 0);
    while next < report.events {
        let found = snapshot.number_at_or_above(NumberTable::Chunks, next);
        let (key, value) = found.expect("a table").expect("a chunk");
        let chunk = Chunk::parse(key, value.bytes()).expect("a chunk that was written");
        assert_eq!((chunk.first(), key), (next, next));
        next = chunk.end();
        chunks.push((key, value.bytes().to_vec()));
    }
    let mut events = Vec::new();
    for (key, bytes) in &chunks {
        let chunk = Chunk::parse(*key, bytes).expect("a chunk");
        for raw in chunk.events() {
            let raw = raw.expect("an event");
            let entry = parse_entry(raw).expect("an entry");
            if !raw.envelope.is_empty() {
                history
                    .take(&report.log_id, raw, &entry)
                    .expect("it was taken");
            }
            events.push((raw, entry));
        }
    }
    let mut again = Vec::new();
    put(&Start::new(report.log_id, &head, &checkpoints), &mut again).expect("a line");
    for line in &checkpoints {
        put(line, &mut again).expect("a line");
    }
    for (raw, entry) in &events {
        let query = Query::everything();
        let line = event_line(&report.log_id, (&history, &history), &query, *raw, entry);
        put(&line.expect("an event that was checked"), &mut again).expect("a line");
    }
    let sha256 = Sha256::digest(&again).into();
    put(&End { sha256 }, &mut again).expect("a line");
    assert!(again == bytes, "not the same export");
}
