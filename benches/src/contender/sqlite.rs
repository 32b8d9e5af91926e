//! SQLite: an event table with its indexes and a tag table.
//!
//! WAL with `synchronous=FULL`: one `fsync` of the WAL a commit, and more at a checkpoint.

use super::grouped::{Committer, Grouped};
use super::{Seen, Store, Wanted};
use crate::event::{Event, Request, Unless};
use anyhow::Result;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS event(
    position INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    revision INTEGER NOT NULL,
    type TEXT NOT NULL,
    id BLOB,
    meta TEXT,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS event_stream ON event(stream, revision);
CREATE INDEX IF NOT EXISTS event_type ON event(type);
CREATE UNIQUE INDEX IF NOT EXISTS event_id ON event(id) WHERE id IS NOT NULL;
CREATE TABLE IF NOT EXISTS tag(
    tag TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY(tag, position)
) WITHOUT ROWID;
";

struct Sqlite;

pub(crate) fn open(folder: &Path) -> Result<Box<dyn Store>> {
    Grouped::start(Sqlite, connect(folder)?)
}

fn connect(folder: &Path) -> Result<Connection> {
    let connection = Connection::open(folder.join("sqlite.db"))?;
    let cache_kib = super::CACHE_BYTES >> 10;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-{cache_kib};"
    ))?;
    connection.execute_batch(SCHEMA)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

pub(crate) fn compact(folder: &Path) -> Result<()> {
    let connection = connect(folder)?;
    connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(())
}

fn holds(connection: &Connection, unless: &Unless) -> Result<bool> {
    let found = match unless {
        Unless::Tag(tag) => connection
            .prepare_cached("SELECT 1 FROM tag WHERE tag=?1 LIMIT 1")?
            .exists(params![tag])?,
        Unless::TypeAfter { event_type, after } => connection
            .prepare_cached("SELECT 1 FROM event WHERE type=?1 AND position>?2 LIMIT 1")?
            .exists(params![event_type, after.cast_signed()])?,
        Unless::Moved { stream, revision } => {
            last_revision(connection, stream)? != Some(revision.cast_signed())
        }
    };
    Ok(!found)
}

fn last_revision(connection: &Connection, stream: &str) -> Result<Option<i64>> {
    let last = connection
        .prepare_cached(
            "SELECT revision FROM event WHERE stream=?1 ORDER BY revision DESC LIMIT 1",
        )?
        .query_row(params![stream], |row| row.get(0))
        .optional()?;
    Ok(last)
}

fn insert(connection: &Connection, event: &Event) -> Result<()> {
    let last = last_revision(connection, &event.stream)?;
    let meta = if event.meta.is_empty() {
        None
    } else {
        Some(serde_json::to_string(&event.meta)?)
    };
    let id = event.id.as_ref().map(|id| id.as_bytes().as_slice());
    connection
        .prepare_cached(
            "INSERT INTO event(stream, revision, type, id, meta, payload) VALUES(?1,?2,?3,?4,?5,?6)",
        )?
        .execute(params![
            event.stream,
            last.map_or(0, |last| last + 1),
            event.event_type,
            id,
            meta,
            event.payload
        ])?;
    let position = connection.last_insert_rowid();
    let mut tags = connection.prepare_cached("INSERT INTO tag(tag, position) VALUES(?1,?2)")?;
    for tag in &event.tags {
        tags.execute(params![tag, position])?;
    }
    Ok(())
}

fn read(connection: &Connection, filter: &str, of: impl rusqlite::Params) -> Result<Seen> {
    // Without the tags, which would be a second query: a little less than the others read.
    let mut events = connection.prepare_cached(&format!(
        "SELECT position, stream, revision, type, id, meta, payload FROM event {filter}"
    ))?;
    let mut rows = events.query(of)?;
    let mut seen = Seen::default();
    while let Some(row) = rows.next()? {
        let event = Event {
            stream: row.get(1)?,
            event_type: row.get(3)?,
            tags: Vec::new(),
            id: None,
            meta: Vec::new(),
            payload: row.get(6)?,
        };
        std::hint::black_box(&event);
        seen.event(&event.payload);
        seen.revision = Some(row.get::<_, i64>(2)?.cast_unsigned());
    }
    Ok(seen)
}

impl Committer for Sqlite {
    type Writer = Connection;

    fn commit(&self, connection: &mut Connection, requests: &[Request]) -> Result<Vec<bool>> {
        let transaction = connection.transaction()?;
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let held = match &request.unless {
                Some(unless) => holds(&transaction, unless)?,
                None => true,
            };
            answers.push(held);
            if held {
                for event in &request.events {
                    insert(&transaction, event)?;
                }
            }
        }
        transaction.commit()?;
        Ok(answers)
    }

    fn scan(&self, connection: &mut Connection) -> Result<Seen> {
        read(connection, "ORDER BY position", params![])
    }

    fn read_run(&self, connection: &mut Connection, stream: &str) -> Result<Seen> {
        read(
            connection,
            "WHERE stream=?1 ORDER BY revision",
            params![stream],
        )
    }

    fn find(&self, connection: &mut Connection, wanted: Wanted<'_>) -> Result<Seen> {
        match wanted {
            // The first position is 1.
            Wanted::Number(number) => read(
                connection,
                "WHERE position=?1",
                params![number.cast_signed() + 1],
            ),
            Wanted::Newest(stream) => read(
                connection,
                "WHERE stream=?1 ORDER BY revision DESC LIMIT 1",
                params![stream],
            ),
            Wanted::Page {
                stream,
                revision,
                events,
            } => read(
                connection,
                "WHERE stream=?1 AND revision>=?2 ORDER BY revision LIMIT ?3",
                params![stream, revision.cast_signed(), events.cast_signed()],
            ),
        }
    }
}
