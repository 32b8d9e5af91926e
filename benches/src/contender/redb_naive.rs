//! redb as one would use it at first: a row an event, a row a tag, a row a stream's head.
//!
//! `Durability::Immediate`, redb's default, is one `fdatasync` a commit.

use super::grouped::{Committer, Grouped};
use super::{Seen, Store, Wanted, row};
use crate::event::{Request, Unless};
use anyhow::{Context as _, Result, bail};
use redb::{
    Database, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, TableDefinition,
};
use std::path::{Path, PathBuf};

const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const TAGS: TableDefinition<&[u8], ()> = TableDefinition::new("tags");
const HEADS: TableDefinition<&str, u64> = TableDefinition::new("heads");

struct Naive {
    database: Database,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("naive.redb")
}

pub(crate) fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let mut builder = Database::builder();
    builder.set_cache_size(super::CACHE_BYTES);
    let database = builder.create(path(folder))?;
    let transaction = database.begin_write()?;
    let next = transaction.open_table(EVENTS)?.len()?;
    transaction.open_table(TAGS)?;
    transaction.open_table(HEADS)?;
    transaction.commit()?;
    Grouped::start(Naive { database }, next)
}

pub(crate) fn compact(folder: &Path) -> Result<()> {
    let mut database = Database::create(path(folder))?;
    while database.compact()? {}
    Ok(())
}

fn holds(tags: &impl ReadableTable<&'static [u8], ()>, unless: &Unless) -> Result<bool> {
    let Unless::Tag(tag) = unless else {
        bail!("only tags are asked for");
    };
    let (from, to) = (row::posting(tag, 0), row::posting(tag, u64::MAX));
    Ok(tags
        .range(from.as_slice()..=to.as_slice())?
        .next()
        .is_none())
}

impl Committer for Naive {
    type Writer = u64;

    fn commit(&self, next: &mut u64, requests: &[Request]) -> Result<Vec<bool>> {
        let transaction = self.database.begin_write()?;
        let mut position = *next;
        let mut answers = Vec::with_capacity(requests.len());
        {
            let mut events = transaction.open_table(EVENTS)?;
            let mut tags = transaction.open_table(TAGS)?;
            let mut heads = transaction.open_table(HEADS)?;
            let mut value = Vec::new();
            for request in requests {
                let held = match &request.unless {
                    Some(unless) => holds(&tags, unless)?,
                    None => true,
                };
                answers.push(held);
                if !held {
                    continue;
                }
                for event in &request.events {
                    value.clear();
                    row::encode(event, &mut value);
                    events.insert(position, value.as_slice())?;
                    for tag in event.all_tags() {
                        tags.insert(row::posting(tag, position).as_slice(), ())?;
                    }
                    let stream = event.stream.as_str();
                    let revision = heads.get(stream)?.map_or(0, |head| head.value() + 1);
                    heads.insert(stream, revision)?;
                    position += 1;
                }
            }
        }
        transaction.commit()?;
        *next = position;
        Ok(answers)
    }

    fn scan(&self, _: &mut u64) -> Result<Seen> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        let mut seen = Seen::default();
        for event in events.iter()? {
            seen.event(&row::decode(event?.1.value())?.payload);
        }
        Ok(seen)
    }

    fn read_run(&self, _: &mut u64, stream: &str) -> Result<Seen> {
        let transaction = self.database.begin_read()?;
        let (tags, events) = (
            transaction.open_table(TAGS)?,
            transaction.open_table(EVENTS)?,
        );
        let (from, to) = (row::posting(stream, 0), row::posting(stream, u64::MAX));
        let mut seen = Seen::default();
        for posting in tags.range(from.as_slice()..=to.as_slice())? {
            let position = row::position_of(posting?.0.value())?;
            let event = events.get(position)?.context("a posting has no event")?;
            seen.event(&row::decode(event.value())?.payload);
        }
        Ok(seen)
    }

    fn find(&self, _: &mut u64, wanted: Wanted<'_>) -> Result<Seen> {
        let transaction = self.database.begin_read()?;
        let number = match wanted {
            Wanted::Number(number) => number,
            Wanted::Newest(stream) => {
                let tags = transaction.open_table(TAGS)?;
                let (from, to) = (row::posting(stream, 0), row::posting(stream, u64::MAX));
                let newest = tags.range(from.as_slice()..=to.as_slice())?.next_back();
                row::position_of(newest.context("no such stream")??.0.value())?
            }
            Wanted::Page { .. } => bail!("revisions are not indexed"),
        };
        let event = transaction.open_table(EVENTS)?.get(number)?;
        let mut seen = Seen::default();
        seen.event(&row::decode(event.context("no such event")?.value())?.payload);
        Ok(seen)
    }
}
