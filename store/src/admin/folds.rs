//! Looking at fold rows, and proving that they are what the log says.

use crate::chunk::Chunk;
use crate::error::{AppendError, Corruption, ReadError, StorageError};
use crate::fold::{FoldCheck, FoldRecord, FoldRow, FoldStatus, Look, Rebuild, RowSeal, clear};
use crate::holder::{CheckFolds, FoldRowOf, FoldStatusOf, RebuildFolds};
use crate::identity::Identity;
use crate::log::{Backing, Here, Log};
use crate::open::row_seal;
use crate::read::{Reader, Unfolded};
use std::sync::{Arc, PoisonError, RwLockReadGuard};

/// Events folded between two calls of the progress function.
const STEP: u64 = 1024;

impl Log {
    /// One row of a fold, as of the newest commit.
    ///
    /// # Errors
    ///
    /// [`ReadError::Fold`] if the fold is not hosted here or the row is damaged.
    pub fn fold_row(&self, fold: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.fold_row(fold, key),
            Backing::There(there) => {
                let row = there.ask_blocking(&FoldRowOf {
                    fold: fold.to_owned(),
                    key: key.into(),
                })?;
                Ok(row.map(|row| row.0))
            }
        }
    }

    /// Rows of a fold by their keys, in the order of these: from afar in few requests instead of one
    /// each. They are of different instants if there are many.
    ///
    /// # Errors
    ///
    /// As [`fold_row`](Self::fold_row).
    pub fn fold_rows_at(
        &self,
        fold: &str,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        match &self.backing {
            Backing::Here(here) => keys.iter().map(|key| here.fold_row(fold, key)).collect(),
            Backing::There(there) => there.fold_rows_at(fold, keys),
        }
    }

    /// Up to `limit` rows of a fold whose keys begin with `prefix`, in key order from `from`
    /// (inclusive).
    ///
    /// # Errors
    ///
    /// As [`fold_row`](Self::fold_row).
    pub fn fold_rows(
        &self,
        fold: &str,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<FoldRow>, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.fold_rows(fold, prefix, from, limit),
            Backing::There(there) => there.fold_rows(fold, prefix, from, limit),
        }
    }

    /// How far each fold is.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if another process holds the log and does not answer.
    pub fn fold_status(&self) -> Result<Vec<FoldStatus>, ReadError> {
        match &self.backing {
            Backing::Here(here) => Ok(here.fold_status()),
            Backing::There(there) => there.ask_blocking(&FoldStatusOf {}),
        }
    }

    /// Folds again from position 0, beside the live rows, and compares: one answer a fold that
    /// this binary knows, or only for `fold`. `progress` is told events done and all.
    ///
    /// # Errors
    ///
    /// [`ReadError::Fold`] for an unknown fold; [`ReadError`] if the log cannot be read.
    pub fn check_folds(
        &self,
        fold: Option<&str>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Vec<FoldCheck>, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.check_folds(fold, progress),
            Backing::There(there) => {
                let fold = fold.map(str::to_owned);
                there.ask_telling(&CheckFolds { fold }, progress)
            }
        }
    }

    /// Replaces the rows of folds by what the log says. Appends wait meanwhile.
    ///
    /// # Errors
    ///
    /// [`AppendError`] if the log cannot be read or written.
    pub fn rebuild_folds(
        &self,
        fold: Option<&str>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Vec<FoldCheck>, AppendError> {
        match &self.backing {
            Backing::Here(here) => here.rebuild_folds(fold, progress),
            Backing::There(there) => {
                let fold = fold.map(str::to_owned);
                there.ask_telling(&RebuildFolds { fold }, progress)
            }
        }
    }
}

impl Here {
    fn fold_host(&self) -> RwLockReadGuard<'_, crate::fold::FoldHost> {
        self.shared
            .fold_host
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fold_row(&self, fold: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.shared.reader()?;
        let host = self.fold_host();
        let db = self.shared.current().db.clone();
        let row = host.row(&Look::first(&db), fold, key);
        row.map_err(|error| ReadError::Fold {
            fold: fold.to_owned(),
            why: error.to_string(),
        })
    }

    pub(crate) fn fold_rows(
        &self,
        fold: &str,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<FoldRow>, ReadError> {
        self.shared.reader()?;
        let host = self.fold_host();
        let db = self.shared.current().db.clone();
        let from = if from < prefix { prefix } else { from };
        let snapshot = db.snapshot().map_err(ReadError::from)?;
        host.rows(&snapshot, fold, prefix, from, limit)
            .map_err(|error| ReadError::Fold {
                fold: fold.to_owned(),
                why: error.to_string(),
            })
    }

    /// What is under way in a scope, by what the folds say.
    pub(crate) fn fold_in_use(&self, scope: &str) -> Result<Option<String>, ReadError> {
        let db = self.shared.current().db.clone();
        let in_use = self.fold_host().in_use(&db, scope);
        in_use.map_err(|(fold, error)| ReadError::Fold {
            fold: fold.to_owned(),
            why: error.to_string(),
        })
    }

    pub(crate) fn fold_status(&self) -> Vec<FoldStatus> {
        self.fold_host().status()
    }

    pub(crate) fn check_folds(
        &self,
        fold: Option<&str>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Vec<FoldCheck>, ReadError> {
        self.conclude(self.refold(fold)?, progress)
    }

    /// Folds the events that are left, and compares.
    pub(super) fn conclude(
        &self,
        mut refold: Refold,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Vec<FoldCheck>, ReadError> {
        let Refold { rebuilds, .. } = &mut refold;
        self.catch_up(rebuilds, self.size(), progress)?;
        // Nothing is folded while this is held; what came since is little.
        let host = self.fold_host();
        for rebuild in rebuilds.iter_mut() {
            let live = host.state(rebuild.name()).map_or(0, |state| state.applied);
            self.catch_up(std::slice::from_mut(rebuild), live, &|_, _| {})?;
        }
        let db = self.shared.current().db.clone();
        rebuilds
            .iter()
            .map(|rebuild| {
                rebuild
                    .compare(&host, &db)
                    .map_err(|error| ReadError::Fold {
                        fold: rebuild.name().to_owned(),
                        why: error.to_string(),
                    })
            })
            .collect()
    }

    pub(crate) fn rebuild_folds(
        &self,
        fold: Option<&str>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Vec<FoldCheck>, AppendError> {
        if let Some(why) = &self.shared.identity.read_only {
            return Err(AppendError::ReadOnly { why: why.clone() });
        }
        let mut rebuilds = self.rebuilds(fold)?;
        self.shared.with_writer(|writer| {
            let size = writer.tree.size();
            match self.catch_up(&mut rebuilds, size, progress) {
                Ok(()) => {}
                // A database that met an error of its disk answers nothing until it is opened again.
                Err(ReadError::Storage(error)) => return Err(error),
                Err(error) => return Ok(Err(AppendError::from(error))),
            }
            // Rows that are right are not replaced by what stopped short.
            for rebuild in &rebuilds {
                if let Err(error) = rebuild.check_keys() {
                    return Ok(Err(AppendError::FoldStopped {
                        fold: rebuild.name().to_owned(),
                        position: rebuild.applied(),
                        why: error.to_string(),
                    }));
                }
            }
            let mut host = self
                .shared
                .fold_host
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            for rebuild in rebuilds {
                clear(&writer.db, rebuild.name())?;
                let mut state = rebuild.into_state();
                writer.db.commit(&state.flush(&host.seal)?, true)?;
                state.flushed();
                host.replace(state);
            }
            Ok(Ok(()))
        })??;
        Ok(self.check_folds(fold, &|_, _| {})?)
    }

    pub(super) fn refold(&self, fold: Option<&str>) -> Result<Refold, ReadError> {
        Ok(Refold {
            rebuilds: self.rebuilds(fold)?,
            seal: row_seal(&self.shared.identity),
            identity: Arc::clone(&self.shared.identity),
        })
    }

    fn rebuilds(&self, fold: Option<&str>) -> Result<Vec<Rebuild>, ReadError> {
        let folds = self.fold_host().folds();
        let wanted = folds
            .into_iter()
            .filter(|known| fold.is_none_or(|name| name == known.name()));
        let rebuilds: Vec<_> = wanted.map(Rebuild::new).collect();
        match fold {
            Some(name) if rebuilds.is_empty() => Err(ReadError::NotFound {
                what: format!("for fold `{name}`: this program does not know it"),
            }),
            _ => Ok(rebuilds),
        }
    }

    /// Folds events up to `size`.
    fn catch_up(
        &self,
        rebuilds: &mut [Rebuild],
        size: u64,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(), ReadError> {
        let seal = row_seal(&self.shared.identity);
        let going = rebuilds.iter().filter(|rebuild| !rebuild.is_stopped());
        let mut next = going.map(Rebuild::applied).min().unwrap_or(size);
        while next < size && !rebuilds.iter().all(Rebuild::is_stopped) {
            let mut reader = self.shared.reader()?;
            let end = size.min(next + STEP);
            for position in next..end {
                fold_one(&mut reader, rebuilds, position, &seal)?;
            }
            next = end;
            progress(next, size);
        }
        Ok(())
    }
}

fn fold_one(
    reader: &mut Reader,
    rebuilds: &mut [Rebuild],
    position: u64,
    seal: &RowSeal,
) -> Result<(), ReadError> {
    reader.raw(position, |reader, raw| {
        let event = Unfolded::read(&reader.identity, raw)?;
        event.fold(&reader.identity, raw, |record| {
            apply(rebuilds, seal, record);
        });
        Ok(())
    })
}

fn apply(rebuilds: &mut [Rebuild], seal: &RowSeal, record: &FoldRecord<'_>) {
    let namespace = record.namespace();
    for rebuild in rebuilds {
        rebuild.apply(seal, namespace, record);
    }
}

/// Events of a chunk that were read by somebody who walks over the log.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) first: u64,
    /// Bytes of its own: a value of the database would hold a page of any length.
    pub(super) chunk: Vec<u8>,
    /// From the first one on, without gaps.
    pub(super) events: Vec<Unfolded>,
}

impl Batch {
    /// Bytes of memory that it takes, with what was decoded.
    pub(super) fn held_bytes(&self) -> usize {
        let events = self.events.capacity() * size_of::<Unfolded>();
        let decoded = self.events.iter().map(Unfolded::heap_bytes).sum::<usize>();
        size_of::<Self>() + self.chunk.capacity() + events + decoded
    }
}

/// Folds that are folded again from the first event on.
#[derive(Debug)]
pub(super) struct Refold {
    rebuilds: Vec<Rebuild>,
    seal: RowSeal,
    identity: Arc<Identity>,
}

impl Refold {
    /// Takes events in, as far as they follow those that were taken in before.
    pub(super) fn take(&mut self, batch: &Batch) {
        let Ok(chunk) = Chunk::parse(batch.first, &batch.chunk) else {
            return;
        };
        for (raw, event) in chunk.events().zip(&batch.events) {
            let Ok(raw) = raw else {
                return;
            };
            event.fold(&self.identity, raw, |record| {
                apply(&mut self.rebuilds, &self.seal, record);
            });
        }
    }
}

impl From<StorageError> for Corruption {
    fn from(error: StorageError) -> Self {
        Self::table("database", "readable pages", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Fold, FoldError, Rows};
    use crate::open::{CreateOptions, OpenOptions};
    use runstone_codec::NewEvent;
    use std::cell::Cell;

    /// Stops at an event of a type, if it is told to.
    #[derive(Debug)]
    struct Stopping {
        name: &'static str,
        stops: bool,
    }

    impl Fold for Stopping {
        fn name(&self) -> &'static str {
            self.name
        }

        fn version(&self) -> u32 {
            1
        }

        fn apply(&self, _: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
            if self.stops && record.header.event_type == "data.bad" {
                return Err(FoldError::Undecodable("bad".to_owned()));
            }
            Ok(())
        }
    }

    #[test]
    fn nothing_is_read_again_for_a_fold_that_stopped() {
        let fold = |name, stops| Arc::new(Stopping { name, stops }) as Arc<dyn Fold>;
        let open = OpenOptions {
            folds: vec![fold("going", false), fold("stopping", true)],
            ..OpenOptions::default()
        };
        let log = Log::memory(&CreateOptions::default(), open).unwrap();
        for event_type in ["data.good", "data.bad", "data.good"] {
            log.append_blocking(NewEvent::new(event_type, "s")).unwrap();
        }
        let Backing::Here(here) = &log.backing else {
            unreachable!("a log in memory is held here");
        };
        let told = Cell::new(0);
        let tell = |_, _| told.set(told.get() + 1);
        let mut rebuilds = here.rebuilds(None).unwrap();
        here.catch_up(&mut rebuilds, here.size(), &tell).unwrap();
        let applied: Vec<_> = rebuilds.iter().map(Rebuild::applied).collect();
        assert_eq!(applied, [4, 2]);
        assert_eq!(told.get(), 1);
        here.catch_up(&mut rebuilds, here.size(), &tell).unwrap();
        assert_eq!(told.get(), 1);
    }
}
