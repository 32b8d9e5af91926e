//! The session of a run.

use super::block::block_on;
use super::run::Run;
use runstone_codec::{Draft, Position};
use runstone_projections::events::{SessionAppended, SessionPatched};
use runstone_projections::runs::RunError;
use serde::Serialize;
use serde_json::Value;

/// The JSON document of a run. Every change is durable when it is acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    run: &'a Run,
}

impl<'a> Session<'a> {
    pub(super) fn new(run: &'a Run) -> Self {
        Self { run }
    }

    /// Appends an item to the array at a JSON Pointer (RFC 6901); what is missing on the way is
    /// made.
    ///
    /// # Errors
    ///
    /// [`RunError::Session`] if something else stands there; [`RunError::Stale`] if somebody else
    /// holds the run meanwhile. Then nothing changed.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it may be recorded. The document is as the log has it, either way.
    pub async fn append<T: Serialize + ?Sized>(
        &self,
        path: &str,
        item: &T,
    ) -> Result<Position, RunError> {
        let items = vec![value(item)?];
        let mut cached = self.run.inner.document.lock().await;
        cached.fresh(self.run)?.check_append(path)?;
        let appended = SessionAppended {
            path: path.to_owned(),
            items,
        };
        let draft = Draft::new(self.run.event(&appended)?);
        let bytes = draft.event.payload.len();
        cached.is_stale = true;
        let at = self.run.record(draft).await?;
        cached.document.append(path, appended.items)?;
        cached.changed(self.run, bytes).await;
        Ok(at)
    }

    /// Changes the document by a merge patch (RFC 7396).
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    ///
    /// # Cancel safety
    ///
    /// As [`append`](Self::append).
    pub async fn patch<T: Serialize + ?Sized>(&self, patch: &T) -> Result<Position, RunError> {
        let patched = SessionPatched {
            patch: value(patch)?,
        };
        let mut cached = self.run.inner.document.lock().await;
        let draft = Draft::new(self.run.event(&patched)?);
        let bytes = draft.event.payload.len();
        cached.fresh(self.run)?;
        cached.is_stale = true;
        let at = self.run.record(draft).await?;
        cached.document.patch(&patched.patch);
        cached.changed(self.run, bytes).await;
        Ok(at)
    }

    /// The document.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] if it has to be read from the log, and cannot be.
    ///
    /// # Cancel safety
    ///
    /// Nothing is recorded.
    pub async fn document(&self) -> Result<Value, RunError> {
        let mut cached = self.run.inner.document.lock().await;
        Ok(cached.fresh(self.run)?.to_value())
    }

    /// [`append`](Self::append) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_blocking<T: Serialize + ?Sized>(
        &self,
        path: &str,
        item: &T,
    ) -> Result<Position, RunError> {
        block_on(self.append(path, item))
    }

    /// [`patch`](Self::patch) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn patch_blocking<T: Serialize + ?Sized>(&self, patch: &T) -> Result<Position, RunError> {
        block_on(self.patch(patch))
    }

    /// [`document`](Self::document) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`document`](Self::document).
    pub fn document_blocking(&self) -> Result<Value, RunError> {
        block_on(self.document())
    }
}

fn value<T: Serialize + ?Sized>(value: &T) -> Result<Value, RunError> {
    serde_json::to_value(value).map_err(|error| RunError::Json(error.to_string()))
}
