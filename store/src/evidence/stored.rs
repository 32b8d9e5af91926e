//! Signed checkpoints that the log keeps of itself.

use crate::engine::NumberTable;
use crate::error::{Corruption, ReadError};
use crate::log::{Backing, Here, Log};
use runstone_receipt::checkpoint::SignedCheckpoint;
use runstone_receipt::note::Vkey;

impl Log {
    /// The newest kept checkpoint of fewer than `below` events, if there is one: the last 64 that
    /// were released are kept, and the last one of each day. Asked again with the size of the
    /// answer it gives the one before.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] if none of the log's keys signed what is there.
    pub fn kept_checkpoint(&self, below: u64) -> Result<Option<SignedCheckpoint>, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.kept_checkpoint(below),
            Backing::There(there) => there.kept_checkpoint(below),
        }
    }
}

impl Here {
    pub(crate) fn kept_checkpoint(
        &self,
        below: u64,
    ) -> Result<Option<SignedCheckpoint>, ReadError> {
        let Some(last) = below.checked_sub(1) else {
            return Ok(None);
        };
        let reader = self.shared.reader()?;
        let found = reader
            .snapshot
            .number_at_or_below(NumberTable::Checkpoints, last)?;
        let Some((size, row)) = found else {
            return Ok(None);
        };
        let (_, signed) = verified_checkpoint(size, row.bytes(), &self.vkeys())?;
        Ok(Some(signed))
    }
}

/// When a checkpoint was stored, in microseconds since the epoch, and what was signed, by one of
/// these keys.
pub(crate) fn verified_checkpoint(
    size: u64,
    row: &[u8],
    vkeys: &[Vkey],
) -> Result<(u64, SignedCheckpoint), Corruption> {
    let signed = || {
        let (stored_us, text) = row.split_first_chunk::<8>()?;
        let text = core::str::from_utf8(text).ok()?;
        let origin = text.split('\n').next().unwrap_or_default();
        let signed = SignedCheckpoint::parse_verify(text, origin, vkeys).ok()?;
        let is_of_size = signed.checkpoint().size == size;
        is_of_size.then_some((u64::from_be_bytes(*stored_us), signed))
    };
    signed().ok_or_else(|| {
        Corruption::table(
            "checkpoints",
            format!("the checkpoint of size {size} as it was signed"),
            "another one",
        )
    })
}
