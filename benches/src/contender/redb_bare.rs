//! redb with one table and one value a commit: the least that a log on redb can cost.
//!
//! `Durability::Immediate`, redb's default, is one `fdatasync` a commit (one-phase with checksums).

use super::grouped::{Committer, Grouped};
use super::{Seen, Store, row};
use crate::event::Request;
use anyhow::{Result, bail};
use redb::{Database, TableDefinition};
use std::path::Path;

const VALUES: TableDefinition<u64, &[u8]> = TableDefinition::new("values");

struct Bare {
    database: Database,
}

pub(crate) fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let database = Database::create(folder.join("bare.redb"))?;
    Grouped::start(Bare { database }, 0)
}

impl Committer for Bare {
    type Writer = u64;

    fn commit(&self, next: &mut u64, requests: &[Request]) -> Result<Vec<bool>> {
        let mut value = Vec::new();
        for event in requests.iter().flat_map(|request| &request.events) {
            row::encode(event, &mut value);
        }
        let transaction = self.database.begin_write()?;
        transaction
            .open_table(VALUES)?
            .insert(*next, value.as_slice())?;
        transaction.commit()?;
        *next += 1;
        Ok(vec![true; requests.len()])
    }

    fn scan(&self, _: &mut u64) -> Result<Seen> {
        bail!("bare values are not read")
    }

    fn read_run(&self, _: &mut u64, _: &str) -> Result<Seen> {
        bail!("bare values are not read")
    }
}
