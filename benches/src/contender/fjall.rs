//! fjall, an LSM tree: a row an event, a row a tag, a row a stream's head.
//!
//! A batch is committed with `PersistMode::SyncData`: one `fdatasync` of the journal.

use super::grouped::{Committer, Grouped};
use super::{Seen, Store, Wanted, row};
use crate::event::{Request, Unless};
use anyhow::{Context as _, Result, bail};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

struct Fjall {
    database: Database,
    events: Keyspace,
    tags: Keyspace,
    heads: Keyspace,
}

pub(crate) fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let (store, next) = open_store(folder)?;
    Grouped::start(store, next)
}

fn open_store(folder: &Path) -> Result<(Fjall, u64)> {
    let database = Database::builder(folder.join("fjall"))
        .cache_size(super::CACHE_BYTES as u64)
        .open()?;
    let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
    let (events, tags, heads) = (keyspace("events")?, keyspace("tags")?, keyspace("heads")?);
    let next = match events.last_key_value() {
        Some(last) => row::position_of(&last.key()?)? + 1,
        None => 0,
    };
    let store = Fjall {
        database,
        events,
        tags,
        heads,
    };
    Ok((store, next))
}

pub(crate) fn compact(folder: &Path) -> Result<()> {
    let (store, _) = open_store(folder)?;
    for keyspace in [&store.events, &store.tags, &store.heads] {
        keyspace.rotate_memtable_and_wait()?;
        keyspace.major_compact()?;
    }
    Ok(())
}

impl Fjall {
    fn holds(&self, unless: &Unless, pending: &BTreeSet<String>) -> Result<bool> {
        let Unless::Tag(tag) = unless else {
            bail!("only tags are asked for");
        };
        let range = row::posting(tag, 0)..=row::posting(tag, u64::MAX);
        Ok(!pending.contains(tag) && self.tags.range(range).next().is_none())
    }
}

impl Committer for Fjall {
    type Writer = u64;

    fn commit(&self, next: &mut u64, requests: &[Request]) -> Result<Vec<bool>> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        // A batch cannot be read before it is committed.
        let mut pending_tags = BTreeSet::new();
        let mut pending_heads = BTreeMap::new();
        let mut position = *next;
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let held = match &request.unless {
                Some(unless) => self.holds(unless, &pending_tags)?,
                None => true,
            };
            answers.push(held);
            if !held {
                continue;
            }
            for event in &request.events {
                let mut value = Vec::new();
                row::encode(event, &mut value);
                batch.insert(&self.events, position.to_be_bytes(), value);
                for tag in event.all_tags() {
                    batch.insert(&self.tags, row::posting(tag, position), []);
                }
                if request.unless.is_some() {
                    pending_tags.extend(event.tags.iter().cloned());
                }
                let known = match pending_heads.get(&event.stream) {
                    Some(revision) => Some(*revision),
                    None => match self.heads.get(&event.stream)? {
                        Some(last) => Some(row::position_of(&last)?),
                        None => None,
                    },
                };
                let revision = known.map_or(0, |revision: u64| revision + 1);
                pending_heads.insert(event.stream.clone(), revision);
                position += 1;
            }
        }
        for (stream, revision) in pending_heads {
            batch.insert(&self.heads, stream, revision.to_be_bytes());
        }
        batch.commit()?;
        *next = position;
        Ok(answers)
    }

    fn scan(&self, _: &mut u64) -> Result<Seen> {
        let mut seen = Seen::default();
        for event in self.events.iter() {
            seen.event(&row::decode(&event.into_inner()?.1)?.payload);
        }
        Ok(seen)
    }

    fn read_run(&self, _: &mut u64, stream: &str) -> Result<Seen> {
        let mut seen = Seen::default();
        let range = row::posting(stream, 0)..=row::posting(stream, u64::MAX);
        for posting in self.tags.range(range) {
            let position = row::position_of(&posting.key()?)?;
            let event = self.events.get(position.to_be_bytes())?;
            seen.event(&row::decode(&event.context("a posting has no event")?)?.payload);
        }
        Ok(seen)
    }

    fn find(&self, _: &mut u64, wanted: Wanted<'_>) -> Result<Seen> {
        let number = match wanted {
            Wanted::Number(number) => number,
            Wanted::Newest(stream) => {
                let range = row::posting(stream, 0)..=row::posting(stream, u64::MAX);
                let newest = self.tags.range(range).next_back();
                row::position_of(&newest.context("no such stream")?.key()?)?
            }
            Wanted::Page { .. } => bail!("revisions are not indexed"),
        };
        let event = self.events.get(number.to_be_bytes())?;
        let mut seen = Seen::default();
        seen.event(&row::decode(&event.context("no such event")?)?.payload);
        Ok(seen)
    }
}
