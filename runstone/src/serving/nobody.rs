//! Without the feature `attach`: other processes have nothing of a log, and this one nothing of theirs.

use crate::Runstone;
use runstone_store::Log;
use std::path::Path;

/// Nothing can be chosen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Serving(());

impl Serving {
    pub(crate) fn unserved(self) -> Self {
        self
    }

    pub(crate) fn unattached(self) -> Self {
        self
    }
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Server {}

pub(crate) fn attached(_: &Serving, _: &Path) -> Option<Log> {
    None
}

pub(crate) fn served(_: Serving, log: Log, _: &Path) -> Runstone {
    log.into()
}
