//! Sizes and what a log is.

use crate::engine::NumberTable;
use crate::error::ReadError;
use crate::fold::FoldStatus;
use crate::holder::{BackupKeysTo, KeysOf, StatsOf, hex32};
use crate::keys::KeyInfo;
use crate::log::{Backing, Here, Log};
use crate::options::Sealing;
use crate::query::Query;
use crate::read::Read;
use runstone_codec::LogId;
use runstone_receipt::note::Vkey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Distinct streams counted exactly; beyond this the number is a lower bound.
const COUNTED_STREAMS: usize = 4_000_000;

/// What a log is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogInfo {
    /// Its id.
    pub log_id: LogId,
    /// Its name in checkpoints.
    pub origin: String,
    /// The key that signs its checkpoints.
    pub vkey: Vkey,
    /// Whether payloads are encrypted.
    pub sealing: Sealing,
    /// Whether every member of a payload is committed to.
    pub fields: bool,
    /// Why nothing can be appended, if so.
    pub read_only: Option<String>,
}

/// Sizes of a log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Stats {
    /// Events.
    pub events: u64,
    /// Events that survive a crash.
    pub durable: u64,
    /// Streams.
    pub streams: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Root of the tree.
    #[serde(with = "hex32")]
    #[schemars(with = "String")]
    pub root: [u8; 32],
    /// Chunks that hold the events.
    pub chunks: u64,
    /// Events that are in flushed index runs.
    pub indexed: u64,
    /// Why index rows are not written any more, if they are damaged: what is recorded from then on
    /// is indexed in memory, and again at each open.
    pub index_stopped: Option<String>,
    /// Events of each type.
    pub types: BTreeMap<String, u64>,
    /// How far each fold is.
    pub folds: Vec<FoldStatus>,
}

impl Log {
    /// What this log is.
    pub fn info(&self) -> LogInfo {
        match &self.backing {
            Backing::Here(here) => here.info(),
            Backing::There(there) => there.info(),
        }
    }

    /// The keys of the log, without secrets.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if another process holds the log.
    pub fn keys(&self) -> Result<Vec<KeyInfo>, ReadError> {
        match &self.backing {
            Backing::Here(here) => Ok(here.keys()),
            Backing::There(there) => there.ask_blocking(&KeysOf {}),
        }
    }

    /// Copies the keys into one file, mode 0600. Whoever holds it and a copy of the log reads
    /// everything.
    ///
    /// # Errors
    ///
    /// [`KeyError`](crate::keys::KeyError) if the file cannot be written.
    pub fn backup_keys(&self, path: &std::path::Path) -> Result<(), crate::keys::KeyError> {
        match &self.backing {
            Backing::Here(here) => here.backup_keys(path),
            Backing::There(there) => there.ask_blocking(&BackupKeysTo {
                path: path.to_owned(),
            }),
        }
    }

    /// Sizes; reads every header once.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.stats(),
            Backing::There(there) => there.ask_blocking(&StatsOf {}),
        }
    }
}

impl Here {
    pub(crate) fn info(&self) -> LogInfo {
        let identity = &self.shared.identity;
        LogInfo {
            log_id: identity.log_id,
            origin: identity.origin.clone(),
            vkey: identity.keys.signer().vkey(),
            sealing: identity.sealing,
            fields: identity.fields,
            read_only: identity.read_only.clone(),
        }
    }

    pub(crate) fn keys(&self) -> Vec<KeyInfo> {
        self.shared.identity.keys.list()
    }

    pub(crate) fn backup_keys(&self, path: &std::path::Path) -> Result<(), crate::keys::KeyError> {
        self.shared.identity.keys.backup(path)
    }

    pub(crate) fn stats(&self) -> Result<Stats, ReadError> {
        let (mut types, mut streams) = (BTreeMap::new(), BTreeSet::new());
        let read = Read::new(Query::everything()).without_payloads();
        for record in self.read(read)? {
            let header = record?.header;
            *types.entry(header.event_type.into()).or_insert(0) += 1;
            if streams.len() < COUNTED_STREAMS {
                streams.insert(header.stream);
            }
        }
        let reader = self.shared.reader()?;
        Ok(Stats {
            events: reader.size(),
            durable: reader.published.durable,
            streams: streams.len() as u64,
            bytes: reader.published.db.file_bytes()?,
            root: reader.published.head.root,
            chunks: reader.snapshot.count(NumberTable::Chunks)?,
            indexed: reader.published.index.covered(),
            types,
            index_stopped: self.shared.index_stopped(),
            folds: self.fold_status(),
        })
    }
}
