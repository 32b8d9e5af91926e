//! Loading for the fuzz target `export`.

use super::line::{CheckpointLine, End, Start, put};
use super::load::load_into;
use super::write::event_line;
use crate::chunk::Chunk;
use crate::engine::{Db, MemoryDisk, NumberTable};
use crate::own::History;
use crate::query::Query;
use crate::read::parse_entry;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

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
        let line = event_line(&report.log_id, &history, &query, *raw, entry);
        put(&line.expect("an event that was checked"), &mut again).expect("a line");
    }
    let sha256 = Sha256::digest(&again).into();
    put(&End { sha256 }, &mut again).expect("a line");
    assert!(again == bytes, "not the same export");
}
