//! `LOG.head`: the newest durable head, written in place beside the log.
//!
//! The database takes a damaged last commit of an unclean file for a torn one and rolls it back
//! without a word. Then this file is ahead of the log.

use crate::chunk::Head;
use crate::engine::{Disk, FileDisk, sync_folder};
use crate::error::{OpenError, StorageError};
use runstone_codec::LogId;
use runstone_receipt::head::{HeadSlot, SLOT_LEN, log_of, newest_slot, slot_offset};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

/// Length of the file in bytes.
pub(crate) const FILE_LEN: u64 = 8192;

/// The open file.
#[derive(Debug)]
pub(crate) struct HeadFile {
    disk: Arc<dyn Disk>,
    sequence: u64,
    /// The file is new or was cut.
    is_short: bool,
}

/// What the file says.
#[derive(Debug)]
pub(crate) enum Found {
    /// No slot can be read: the file is new, torn or was removed.
    Nothing,
    /// The newest head.
    Head(HeadSlot),
}

impl HeadFile {
    /// Reads what is there. A slot of another log counts as nothing.
    pub(crate) fn open(disk: Arc<dyn Disk>, log_id: &LogId) -> io::Result<(Self, Found)> {
        if disk.len()? < FILE_LEN {
            let file = Self {
                disk,
                sequence: 0,
                is_short: true,
            };
            return Ok((file, Found::Nothing));
        }
        let mut bytes = vec![0; usize::try_from(FILE_LEN).unwrap_or(8192)];
        disk.read(0, &mut bytes)?;
        let newest = newest_slot(&bytes, log_id);
        let sequence = newest
            .as_ref()
            .map_or(0, |slot| slot.sequence.wrapping_add(1));
        let found = newest.map_or(Found::Nothing, Found::Head);
        let file = Self {
            disk,
            sequence,
            is_short: false,
        };
        Ok((file, found))
    }

    /// Writes the head into the older slot. It is not synced: what it says is durable already,
    /// and a head that is lost with the power is only behind.
    pub(crate) fn write(&mut self, log_id: &LogId, head: &Head) -> io::Result<()> {
        if self.is_short {
            self.disk.set_len(FILE_LEN)?;
            self.is_short = false;
        }
        let slot = HeadSlot {
            log_id: *log_id,
            size: head.size,
            root: head.root,
            recorded_at_us: head.recorded_at_us,
            head_mac: head.mac,
            sequence: self.sequence,
        };
        let bytes: [u8; SLOT_LEN] = slot.encode();
        self.disk.write(slot_offset(self.sequence), &bytes)?;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }

    /// Writes the head into both slots and makes them durable: nothing that was known before, and
    /// was given up, comes back when the power is lost.
    pub(crate) fn replace(&mut self, log_id: &LogId, head: &Head) -> io::Result<()> {
        self.write(log_id, head)?;
        self.write(log_id, head)?;
        self.sync()
    }

    /// Makes the file durable, at close.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.disk.sync_data()
    }
}

/// Writes the head of a copy beside it, unless one of that log is there.
pub(crate) fn write_beside(path: &Path, log_id: &LogId, head: &Head) -> io::Result<()> {
    let disk = match FileDisk::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => FileDisk::open(path, true)?,
        created => created?,
    };
    let (mut file, found) = HeadFile::open(Arc::new(disk), log_id)?;
    if matches!(found, Found::Nothing) {
        file.write(log_id, head)?;
        file.sync()?;
    }
    sync_folder(path)
}

/// The log that a head file tells of; `None` if there is no such file, or nothing whole in it.
pub(crate) fn log_at(path: &Path) -> io::Result<Option<LogId>> {
    match head_bytes(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => Ok(log_of(&bytes?)),
    }
}

/// Refuses a place for a copy of a log where the head of another one lies: who lost that one needs it.
pub(crate) fn admit(path: &Path, log_id: &LogId) -> Result<(), OpenError> {
    let io = |error: io::Error| OpenError::from(StorageError::io(path, &error));
    let is_others = log_at(path).map_err(io)?.is_some()
        && newest_slot(&head_bytes(path).map_err(io)?, log_id).is_none();
    if is_others {
        let path = path.to_owned();
        return Err(OpenError::HeadOfAnother { path });
    }
    Ok(())
}

fn head_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LEN).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::MemoryDisk;

    fn head(size: u64) -> Head {
        Head {
            size,
            root: [1; 32],
            recorded_at_us: 2,
            mac: [3; 32],
            peaks: Vec::new(),
        }
    }

    fn found(disk: &Arc<dyn Disk>, log_id: &LogId) -> Option<u64> {
        match HeadFile::open(Arc::clone(disk), log_id).unwrap().1 {
            Found::Head(slot) => Some(slot.size),
            Found::Nothing => None,
        }
    }

    #[test]
    fn a_log_finds_its_head_in_the_file_of_another() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let (other, own) = (LogId::new([1; 16]), LogId::new([2; 16]));
        let (mut file, _) = HeadFile::open(Arc::clone(&disk), &other).unwrap();
        for size in 1..8 {
            file.write(&other, &head(size)).unwrap();
        }
        for size in 20..23 {
            let (mut file, _) = HeadFile::open(Arc::clone(&disk), &own).unwrap();
            file.write(&own, &head(size)).unwrap();
            assert_eq!(found(&disk, &own), Some(size));
        }
    }
}
