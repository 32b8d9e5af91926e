//! Epochs: a replica becomes a log of its own, under another origin.
//!
//! Two writable copies would sign different histories with one name and key. So a copy is a replica
//! until somebody decides that it is the successor, and the log says so: genesis, id and leaves
//! stay, later checkpoints carry the new origin and are signed by a new key.

use crate::engine::{Change, LogPaths, RowTable};
use crate::error::{OpenError, StorageError};
use crate::export::{PURGE_ROW, SEGMENT_ROW};
use crate::hex::hex;
use crate::keys::KeyStore;
use crate::log::{Backing, Here, Log};
use crate::open::{
    Disks, Dispute, OpenOptions, REPLICA_ROW, Successor, compare, disks_of, keys_of, name_file,
};
use crate::options::Sealing;
use crate::own::{EPOCH_STARTED, EpochStarted, History, KnownHead};
use crate::prepare::LOG_STREAM;
use runstone_codec::{NewEvent, Position};
use std::path::Path;

/// How an epoch is started.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EpochStart {
    /// The new origin. Default: the former one, `/epoch-`, its number and eight random digits.
    pub origin: Option<String>,
    /// The newest signed checkpoint of the log that this copy succeeds, as anybody holds it.
    pub known: Option<String>,
    /// Go on although somebody knows of events that are not here, or of others: they are given up,
    /// and the log says so.
    pub accept_loss: bool,
}

/// A log in its new epoch.
#[derive(Debug)]
#[non_exhaustive]
pub struct StartedEpoch {
    /// The log, writable.
    pub log: Log,
    /// Its number; the genesis began epoch 1.
    pub epoch: u64,
    /// The origin of its checkpoints from now on.
    pub origin: String,
    /// Where it was recorded.
    pub position: Position,
    /// Size of the newest head that is known of the epoch before.
    pub known_size: Option<u64>,
}

impl Log {
    /// Makes a replica, or a log that is behind what others know of it, writable under a new origin.
    ///
    /// # Errors
    ///
    /// [`OpenError::Behind`] or [`OpenError::Diverged`] if somebody knows of events that are not
    /// here, unless that is accepted; else as [`open`](Self::open). A log that is writable already
    /// and contradicted by nobody may start an epoch too.
    pub fn start_epoch(
        path: &Path,
        start: &EpochStart,
        open: OpenOptions,
    ) -> Result<StartedEpoch, OpenError> {
        if !path.exists() {
            return Err(OpenError::NotFound {
                path: path.to_owned(),
            });
        }
        let disks = disks_of(&LogPaths::new(path), false)?;
        let keys = keys_of(path, &open);
        let started = Self::start_epoch_on(disks, start, open, keys);
        let started = started.map_err(|error| name_file(error, path))?;
        if let Backing::Here(here) = &started.log.backing {
            here.is_at(path);
        }
        Ok(started)
    }

    /// [`start_epoch`](Self::start_epoch) on given disks; the caller holds their lock.
    ///
    /// # Errors
    ///
    /// As [`start_epoch`](Self::start_epoch).
    pub fn start_epoch_on(
        disks: Disks,
        start: &EpochStart,
        mut open: OpenOptions,
        keys: impl FnOnce(Sealing) -> Result<KeyStore, OpenError>,
    ) -> Result<StartedEpoch, OpenError> {
        open.read_only = false;
        let mut random = [0; 4];
        let entropy = &open.options.entropy;
        entropy
            .fill(&mut random)
            .map_err(|error| database(&error))?;
        let origin = |history: &History| {
            start.origin.clone().unwrap_or_else(|| {
                let number = history.epochs().len() + 1;
                let first = history.epochs().first();
                let first = first.map_or("runstone.local", |epoch| &epoch.origin);
                format!("{first}/epoch-{number}-{}", hex(&random))
            })
        };
        let successor = Successor {
            origin: &origin,
            accept_loss: start.accept_loss,
        };
        let (log, disputes) = Self::open_for(disks, open, keys, Some(&successor))?;
        log.begin_epoch(start, &disputes)
    }
}

impl Here {
    fn begin_epoch(
        &self,
        start: &EpochStart,
        disputes: &[Dispute],
    ) -> Result<StartedEpoch, OpenError> {
        let identity = &self.shared.identity;
        let history = identity.history();
        if let Some(why) = &identity.read_only {
            return Err(StorageError::Database {
                message: format!("the log is read-only: {why}"),
            }
            .into());
        }
        let mut known: Vec<(u64, [u8; 32])> =
            disputes.iter().map(|dispute| dispute.known).collect();
        if let Some(text) = &start.known {
            let checkpoint = self.own_checkpoint(text);
            let checkpoint = checkpoint.map_err(|error| OpenError::Copy {
                copy: "the known checkpoint".to_owned(),
                why: error.to_string(),
            })?;
            let checkpoint = (checkpoint.size, checkpoint.root);
            known.push(checkpoint);
            if !start.accept_loss {
                let reader = self.shared.reader().map_err(|error| database(&error))?;
                let head = &reader.published.head;
                compare(&reader.snapshot, head, "the known checkpoint", checkpoint)?;
            }
        }
        let known = known.into_iter().max_by_key(|(size, _)| *size);
        let epoch = history.epochs().last().map_or(1, |epoch| epoch.number) + 1;
        self.draw_signer()?;
        let content = EpochStarted {
            epoch,
            origin: identity.origin.clone(),
            vkey: identity.keys.signer().vkey().to_string(),
            size: self.size(),
            known_checkpoint: known.map(|(size, root)| KnownHead {
                size,
                root: hex(&root),
            }),
        };
        let event = NewEvent::new(EPOCH_STARTED, LOG_STREAM)
            .json(&content)
            .map_err(|error| database(&error))?;
        let position = self
            .record_own(event, None)
            .map_err(|error| database(&error))?;
        identity.keys.set_origin(&identity.origin)?;
        identity.keys.end_signing_overlap()?;
        let reader = self.shared.reader().map_err(|error| database(&error))?;
        let (log_id, head) = (identity.log_id, reader.published.head.clone());
        if reader.snapshot.row(RowTable::Meta, PURGE_ROW)?.is_some() {
            drop(reader);
            self.rewrite(&|_, _| {}).map_err(|error| database(&error))?;
        } else {
            drop(reader);
        }
        let marks = [PURGE_ROW, REPLICA_ROW, SEGMENT_ROW]
            .map(|row| Change::DeleteRow(RowTable::Meta, row.to_vec()));
        self.shared
            .with_writer(|writer| {
                let replaced = writer.head_file.replace(&log_id, &head);
                replaced.map_err(|error| StorageError::io("LOG.head", &error))?;
                writer.db.commit(&marks, true)
            })
            .and_then(|()| self.learn_history(&self.shared.exclusive()?))
            .map_err(|error| database(&error))?;
        Ok(StartedEpoch {
            log: self.clone().into(),
            epoch,
            origin: identity.origin.clone(),
            position,
            known_size: known.map(|(size, _)| size),
        })
    }
}

impl Here {
    /// Sees to it that a key signs which never did. One that this copy has not recorded is no such
    /// key: the log that it was copied from may have recorded it since.
    fn draw_signer(&self) -> Result<(), OpenError> {
        let keys = &self.shared.identity.keys;
        if self.unrecorded_signer().is_some() {
            keys.redraw_signing()?;
        } else {
            keys.end_signing_overlap()?;
            keys.rotate_signing()?;
        }
        Ok(())
    }
}

fn database(error: &dyn std::fmt::Display) -> StorageError {
    StorageError::Database {
        message: error.to_string(),
    }
}
