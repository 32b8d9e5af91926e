//! Everything that a log answers to reads.

use runstone_codec::{Control, Header};
use runstone_store::{Log, Query, Read, ReadError, Record};
use std::collections::BTreeMap;

/// All of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position, revision and time.
    pub place: (u64, u64, u64),
    /// Its header.
    pub header: Header,
    /// Its control.
    pub control: Control,
    /// Its payload, which must be open.
    pub payload: Option<Vec<u8>>,
}

impl From<Record> for Event {
    fn from(record: Record) -> Self {
        Self {
            place: (
                record.position.get(),
                record.revision.get(),
                record.recorded_at_us,
            ),
            payload: record.payload.bytes().map(<[u8]>::to_vec),
            header: record.header,
            control: record.control,
        }
    }
}

/// Everything that a log answers to reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Events.
    pub size: u64,
    /// Root of the tree.
    pub root: [u8; 32],
    /// Each event.
    pub events: Vec<Event>,
    /// Positions by what was asked.
    pub found: BTreeMap<String, Vec<u64>>,
    /// Rows of the fold.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Answers {
    /// Asks a log everything.
    ///
    /// # Errors
    ///
    /// The first read that fails.
    pub fn of(log: &Log) -> Result<Self, ReadError> {
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut events = Vec::new();
        let mut streams: BTreeMap<String, u64> = BTreeMap::new();
        for record in log.read(Read::new(Query::everything()))? {
            let record = record?;
            let by_id = log.record_by_id(record.header.event_id)?;
            let ids = found.entry("id".to_owned()).or_default();
            ids.push(by_id.position.get());
            let revision = streams.entry(record.header.stream.to_string()).or_default();
            let by_revision = log.record_by_revision(&record.header.stream, *revision)?;
            *revision += 1;
            let revisions = found.entry("revision".to_owned()).or_default();
            revisions.push(by_revision.position.get());
            events.push(record.into());
        }
        let mut queries = vec![
            Query::of_type("tool.*"),
            Query::of_type("chat.message"),
            Query::of_type("llm.call.completed"),
            Query::of_type("log.genesis"),
            Query::tag("kind:first"),
            Query::tag("n:3"),
            Query::tag("imported:sample"),
            Query::tag("never:there"),
        ];
        queries.extend(streams.keys().map(Query::stream));
        for query in queries {
            let name = format!("{query:?}");
            let read = Read::new(query.clone()).without_payloads();
            let mut positions = log
                .read(read)?
                .map(|record| record.map(|record| record.position.get()))
                .collect::<Result<Vec<_>, _>>()?;
            positions.push(log.count(&query)?);
            found.insert(name, positions);
        }
        Ok(Self {
            size: log.size(),
            root: log.root(),
            events,
            found,
            rows: log.fold_rows("tally", b"", b"", usize::MAX)?,
        })
    }
}
