//! A consistent view for one batch of reads.

use crate::chunk::{Chunk, Head, RawEvent};
use crate::engine::{Db, Snapshot, Value};
use crate::error::{Corruption, ReadError, StorageError};
use crate::fold::Payload;
use crate::identity::{Identity, is_downgraded};
use crate::index::{self, IndexView};
use crate::read::chunks::chunk_at;
use crate::read::payload::try_open;
use crate::read::records::Record;
use crate::tree::{self, SharedTail, TILE};
use runstone_codec::hash::leaf_hash;
use runstone_codec::{
    Control, Digest32, Entry, EntryError, LogId, Position, control, envelope_digest,
};
use std::sync::{Arc, PoisonError};

/// What readers see; replaced whole after each commit.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) db: Arc<Db>,
    pub(crate) index: IndexView,
    pub(crate) tail: SharedTail,
    /// Head of everything visible.
    pub(crate) head: Head,
    /// Positions below this are durable.
    pub(crate) durable: u64,
}

/// One snapshot and the index view that fits it.
#[derive(Debug)]
pub(crate) struct Reader {
    /// The chunk in reach: its first position, its end, its bytes. It lies in pages of `snapshot`,
    /// so it stands before it and is dropped first.
    chunk: Option<(u64, u64, Value)>,
    /// The tile in reach; it lies there too, unless it is of a later snapshot.
    tile: Option<(u64, Tile)>,
    /// Leaves below this have left the tail.
    tail_from: u64,
    pub(crate) snapshot: Snapshot,
    pub(crate) published: Arc<Published>,
    pub(crate) identity: Arc<Identity>,
}

#[derive(Debug)]
enum Tile {
    InPages(Value),
    Copied(Vec<u8>),
}

impl Tile {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::InPages(value) => value.bytes(),
            Self::Copied(bytes) => bytes,
        }
    }
}

impl Reader {
    pub(crate) fn new(
        identity: Arc<Identity>,
        published: Arc<Published>,
    ) -> Result<Self, StorageError> {
        let snapshot = published.db.snapshot()?;
        Ok(Self {
            chunk: None,
            tile: None,
            tail_from: 0,
            snapshot,
            published,
            identity,
        })
    }

    /// Events that may be read: positions below this.
    pub(crate) fn size(&self) -> u64 {
        self.published.head.size
    }

    /// Brings the chunk that holds `position` into reach.
    fn load(&mut self, position: u64) -> Result<(), ReadError> {
        let held = |(first, end, _): &(u64, u64, Value)| (*first..*end).contains(&position);
        if self.chunk.as_ref().is_some_and(held) {
            return Ok(());
        }
        let (first, value) = chunk_at(&self.snapshot, position)?.ok_or_else(|| lost(position))?;
        let end = Chunk::parse(first, value.bytes())?.end();
        self.chunk = Some((first, end, value));
        Ok(())
    }

    /// The bytes of one event.
    pub(crate) fn raw<T>(
        &mut self,
        position: u64,
        action: impl FnOnce(&mut Self, RawEvent<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.load(position)?;
        let Some((first, end, value)) = self.chunk.take() else {
            return Err(lost(position).into());
        };
        let raw = Chunk::parse(first, value.bytes()).and_then(|chunk| chunk.event(position));
        let outcome = match raw {
            Ok(raw) => action(self, raw),
            Err(corruption) => Err(corruption.into()),
        };
        self.chunk = Some((first, end, value));
        outcome
    }

    /// The entry, which must be at its place and be the leaf that the tree has there.
    pub(crate) fn checked_entry<'a>(&mut self, raw: RawEvent<'a>) -> Result<Entry<'a>, ReadError> {
        self.check_leaf(raw)?;
        let parsed = Entry::parse(raw.entry);
        self.check_seal(entry_at(&parsed, raw)?)?;
        parsed.map_err(|error| malformed(raw, &error))
    }

    fn check_leaf(&mut self, raw: RawEvent<'_>) -> Result<(), ReadError> {
        let position = raw.position;
        if leaf_hash(raw.entry) == self.leaf(position)? {
            return Ok(());
        }
        Err(Corruption::at(position, "the entry that the tree holds", "another entry").into())
    }

    fn check_seal(&self, entry: &Entry<'_>) -> Result<(), ReadError> {
        if is_downgraded(self.identity.sealing, entry.header()) {
            let position = entry.position().get();
            return Err(Corruption::at(position, "a sealed payload", "a plain one").into());
        }
        Ok(())
    }

    /// The leaf hash that the tree holds at `position`.
    pub(crate) fn leaf(&mut self, position: u64) -> Result<Digest32, ReadError> {
        if position >= self.tail_from {
            let tail = &self.published.tail;
            let tail = tail.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(leaf) = tail.get(position) {
                return Ok(leaf);
            }
            self.tail_from = tail.start();
        }
        let (index, at) = (position / TILE, position % TILE);
        if let Some(leaf) = self.leaf_of_tile(index, at) {
            return Ok(leaf);
        }
        let tile = tree::tile_in_pages(&self.snapshot, 0, index)?;
        self.tile = tile.map(|tile| (index, Tile::InPages(tile)));
        if let Some(leaf) = self.leaf_of_tile(index, at) {
            return Ok(leaf);
        }
        // The tail moved on since the snapshot was taken, in which the tile is absent or ends
        // before this leaf. What has left the tail is in a snapshot taken now.
        let newer = self.published.db.snapshot()?;
        let tile = tree::tile(&newer, 0, index)?;
        self.tile = tile.map(|tile| (index, Tile::Copied(tile)));
        self.leaf_of_tile(index, at)
            .ok_or_else(|| leaf_missing(position))
    }

    /// The leaf hash that the tile in reach holds, if it is that tile and has that leaf.
    fn leaf_of_tile(&self, index: u64, at: u64) -> Option<Digest32> {
        let (_, tile) = self.tile.as_ref().filter(|(held, _)| *held == index)?;
        let at = usize::try_from(at).ok()?;
        tile.bytes().as_chunks::<32>().0.get(at).copied()
    }

    /// One event, checked: place, leaf, digest, seal.
    pub(crate) fn record(&mut self, position: u64, payloads: bool) -> Result<Record, ReadError> {
        self.raw(position, |reader, raw| reader.decode(raw, payloads))
    }

    /// The same with its payload, of a position that need not be one of the log.
    pub(crate) fn record_at(&mut self, position: Position) -> Result<Record, ReadError> {
        if position.get() >= self.size() {
            return Err(ReadError::NotFound {
                what: format!("at position {position}; the log has {}", self.size()),
            });
        }
        self.record(position.get(), true)
    }

    fn decode(&mut self, raw: RawEvent<'_>, payloads: bool) -> Result<Record, ReadError> {
        let position = raw.position;
        self.check_leaf(raw)?;
        let parsed = Entry::parse(raw.entry);
        let entry = entry_at(&parsed, raw)?;
        self.check_seal(entry)?;
        let identity = &self.identity;
        let header = entry.header();
        if !raw.envelope.is_empty() {
            check_digest(&identity.log_id, entry, raw)?;
        }
        let control = open_control(identity, entry)?;
        let payload = if payloads || raw.envelope.is_empty() {
            try_open(
                identity,
                position,
                entry.header_bytes(),
                header,
                raw.envelope,
                entry.commit(),
            )
            .map_err(|error| error.at(position))?
        } else {
            Payload::Skipped
        };
        match parsed {
            Ok(entry) => Ok(Record {
                position: entry.position(),
                revision: entry.revision(),
                recorded_at_us: entry.recorded_at_us(),
                control,
                payload,
                header: entry.into_header(),
            }),
            Err(error) => Err(malformed(raw, &error)),
        }
    }

    /// Position of a stream's revision.
    pub(crate) fn position_of_revision(
        &self,
        stream: &str,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        let found =
            self.published
                .index
                .posting_at(&self.snapshot, &index::stream(stream), revision)?;
        Ok(found.filter(|position| *position < self.size()))
    }
}

/// Digest of the stored envelope against the entry.
pub(crate) fn check_digest(
    log_id: &LogId,
    entry: &Entry<'_>,
    raw: RawEvent<'_>,
) -> Result<(), ReadError> {
    let digest = envelope_digest(log_id, entry.header_bytes(), raw.envelope);
    if digest.ok().as_ref() == Some(entry.digest()) {
        return Ok(());
    }
    Err(Corruption::at(
        raw.position,
        "the payload that the entry names",
        "another payload",
    )
    .into())
}

/// The control fields of an entry.
pub(crate) fn open_control(identity: &Identity, entry: &Entry<'_>) -> Result<Control, ReadError> {
    if entry.control().is_empty() {
        return Ok(Control::new());
    }
    let position = entry.position();
    control::open(
        identity.operations.as_deref(),
        &identity.log_id,
        entry.header_bytes(),
        position,
        entry.control(),
    )
    .map_err(|error| error.to_string())
    .and_then(|plain| Control::decode(&plain).map_err(|error| error.to_string()))
    .map_err(|why| Corruption::at(position.get(), "control fields that open", why).into())
}

/// The entry at its place.
pub(crate) fn parse_entry(raw: RawEvent<'_>) -> Result<Entry<'_>, ReadError> {
    let parsed = Entry::parse(raw.entry);
    entry_at(&parsed, raw)?;
    parsed.map_err(|error| malformed(raw, &error))
}

/// The same of an entry that was parsed, left where it is: it is large.
pub(crate) fn entry_at<'e, 'a>(
    parsed: &'e Result<Entry<'a>, EntryError>,
    raw: RawEvent<'_>,
) -> Result<&'e Entry<'a>, ReadError> {
    let entry = match parsed {
        Ok(entry) => entry,
        Err(error) => return Err(malformed(raw, error)),
    };
    if entry.position() != Position::new(raw.position) {
        return Err(Corruption::at(
            raw.position,
            format!("the entry of position {}", raw.position),
            format!("the entry of position {}", entry.position()),
        )
        .into());
    }
    Ok(entry)
}

fn malformed(raw: RawEvent<'_>, error: &EntryError) -> ReadError {
    Corruption::at(raw.position, "a well-formed entry", error.to_string()).into()
}

fn lost(position: u64) -> Corruption {
    Corruption::at(position, "an event", "no chunk that holds it")
}

fn leaf_missing(position: u64) -> ReadError {
    Corruption::table(
        "tiles",
        format!("leaf {position} in a tile of level 0"),
        "nothing",
    )
    .into()
}

/// The scope of a stream, from its first event.
pub(crate) fn stream_scope(
    index: &IndexView,
    snapshot: &Snapshot,
    stream: &str,
) -> Result<Option<String>, ReadError> {
    let Some(position) = index.posting_at(snapshot, &index::stream(stream), 0)? else {
        return Ok(None);
    };
    let Some((key, value)) = chunk_at(snapshot, position)? else {
        return Ok(None);
    };
    let chunk = Chunk::parse(key, value.bytes())?;
    let entry = parse_entry(chunk.event(position)?)?;
    Ok(Some(entry.header().scope.to_string()))
}

#[cfg(test)]
mod tests {
    use crate::{Append, CreateOptions, Log, OpenOptions, Sealing};
    use runstone_codec::NewEvent;

    /// A log with a slice of maintenance after every fourth commit.
    fn log() -> Log {
        let create = CreateOptions {
            sealing: Sealing::Plain,
            ..CreateOptions::default()
        };
        let mut open = OpenOptions::default();
        open.options.maintenance_commits = 4;
        Log::memory(&create, open).unwrap()
    }

    fn append(log: &Log, events: usize) {
        let events = (0..events).map(|_| NewEvent::new("data.noted", "s"));
        log.append_blocking(Append::new(events)).unwrap();
    }

    /// The leaves that a reader finds in the tail leave it while the reader goes on.
    #[test]
    fn leaves_are_found_after_they_left_the_tail() {
        for (before, after) in [(100, 50), (255, 30), (300, 1), (3, 600)] {
            let log = log();
            append(&log, before);
            for _ in 0..4 {
                append(&log, 1);
            }
            append(&log, after);
            let mut reader = log.here().unwrap().shared.reader().unwrap();
            let size = reader.size();
            let expected: Vec<_> = (0..size)
                .map(|position| {
                    log.here()
                        .unwrap()
                        .shared
                        .reader()
                        .unwrap()
                        .leaf(position)
                        .unwrap()
                })
                .collect();
            // The first tile is in reach as it was.
            reader.leaf(0).unwrap();
            for _ in 0..16 {
                append(&log, 1);
            }
            let left = reader.published.tail.read().unwrap().get(size - 1);
            assert_eq!(left, None, "the tail holds what was read from it");
            for (position, leaf) in (0..size).rev().zip(expected.iter().rev()) {
                assert_eq!(reader.leaf(position).unwrap(), *leaf);
                reader.record(position, true).unwrap();
            }
        }
    }

    /// A leaf that nobody ever had is missing, whatever is tried.
    #[test]
    fn leaves_past_the_end_are_missing() {
        let log = log();
        append(&log, 10);
        let mut reader = log.here().unwrap().shared.reader().unwrap();
        for position in [11, 255, 256, u64::MAX] {
            let error = reader.leaf(position).unwrap_err();
            assert_eq!(error.code(), "corrupt");
        }
    }
}
