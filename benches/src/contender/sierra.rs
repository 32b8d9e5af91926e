//! SierraDB's engine in this process, without its cluster and its Redis protocol.
//!
//! One bucket with one partition: that is its log in one order. A writer thread appends to a segment
//! file and syncs it (`fdatasync`) after so many events or bytes, or after an interval; an append is
//! answered after the sync. Here it syncs after each request: with its defaults (50 events, 4,096
//! bytes, 5 ms) a lone client waits for the interval. It has expected versions of streams, no
//! conditions on tags or types; tags and what else an event says go into its metadata.

use super::{Reply, Seen, Store};
use crate::event::{Event, Request};
use anyhow::{Result, bail};
use runstone::Uuid;
use sierradb::bucket::segment::CommittedEvents;
use sierradb::database::{Database, DatabaseBuilder, ExpectedVersion, NewEvent, Transaction};
use sierradb::id::{uuid_to_partition_hash, uuid_v7_with_partition_hash};
use sierradb::{IterDirection, StreamId};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// The partition of everything, and the key that every stream has in it.
const PARTITION: u16 = 0;
const KEY: Uuid = Uuid::from_u128(1);
/// Events read at once.
const READ_EVENTS: usize = 1000;

struct Sierra {
    database: Database,
    /// For whoever has none.
    runtime: Arc<Runtime>,
}

pub(crate) fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let runtime = Builder::new_multi_thread().worker_threads(1).build()?;
    let database = DatabaseBuilder::new()
        .total_buckets(1)
        .bucket_ids_from_range(0..1)
        .writer_threads(1)
        .reader_threads(1)
        .max_batch_size(1)
        .cache_capacity_bytes(super::CACHE_BYTES)
        .open(folder)?;
    Ok(Box::new(Sierra {
        database,
        runtime: Arc::new(runtime),
    }))
}

fn event(event: Event) -> Result<NewEvent> {
    Ok(NewEvent {
        event_id: uuid_v7_with_partition_hash(uuid_to_partition_hash(KEY)),
        stream_id: StreamId::new(event.stream)?,
        stream_version: ExpectedVersion::Any,
        event_name: event.event_type,
        timestamp: 1_800_000_000_000_000_000,
        metadata: serde_json::to_vec(&(event.id, event.tags, event.meta))?,
        payload: event.payload,
    })
}

fn transaction(request: Request) -> Result<Transaction> {
    if request.unless.is_some() {
        bail!("there are no conditions");
    }
    let events = request.events.into_iter().map(event);
    Ok(Transaction::new(
        KEY,
        PARTITION,
        events.collect::<Result<_>>()?,
    )?)
}

async fn append(database: Database, request: Request) -> Result<bool> {
    database.append_events(transaction(request)?).await?;
    Ok(true)
}

fn see(seen: &mut Seen, commits: Vec<CommittedEvents>) {
    for event in commits.into_iter().flatten() {
        seen.event(&event.payload);
    }
}

impl Store for Sierra {
    fn append_alone(&self, request: Request) -> Result<bool> {
        self.runtime
            .block_on(append(self.database.clone(), request))
    }

    fn append_shared(&self, request: Request) -> Result<bool> {
        self.append_alone(request)
    }

    fn submit(&self, request: Request) -> Reply {
        Box::pin(append(self.database.clone(), request))
    }

    fn scan(&self) -> Result<Seen> {
        self.runtime.block_on(async {
            let mut seen = Seen::default();
            let forward = IterDirection::Forward;
            let mut events = self.database.read_partition(PARTITION, 0, forward).await?;
            while let Some(commits) = events.next_batch(READ_EVENTS).await? {
                see(&mut seen, commits);
            }
            Ok(seen)
        })
    }

    fn read_run(&self, stream: &str) -> Result<Seen> {
        self.runtime.block_on(async {
            let mut seen = Seen::default();
            let (stream, forward) = (StreamId::new(stream)?, IterDirection::Forward);
            let events = self.database.read_stream(PARTITION, stream, 0, forward);
            let mut events = events.await?;
            while let Some(commits) = events.next_batch(READ_EVENTS).await? {
                see(&mut seen, commits);
            }
            Ok(seen)
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.runtime.block_on(self.database.shutdown());
        Ok(())
    }
}
