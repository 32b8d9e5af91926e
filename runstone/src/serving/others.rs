//! Other processes have a log on a socket.

use crate::Runstone;
pub(crate) use runstone_attach::Server;
use runstone_attach::{Limits, connect, socket_of};
use runstone_store::Log;
use std::path::Path;

/// Whether a log is served and attached to.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    /// What others may take of it; `None`: it is not served.
    limits: Option<Limits>,
    attaches: bool,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            limits: Some(Limits::default()),
            attaches: true,
        }
    }
}

impl Serving {
    pub(crate) fn within(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    pub(crate) fn unserved(mut self) -> Self {
        self.limits = None;
        self
    }

    pub(crate) fn unattached(mut self) -> Self {
        self.attaches = false;
        self
    }
}

/// The log at a path that another process holds and serves; `None`: there is none, or it is not wanted.
pub(crate) fn attached(serving: &Serving, path: &Path) -> Option<Log> {
    if !serving.attaches {
        return None;
    }
    connect(&socket_of(path))
        .inspect_err(|error| tracing::debug!(%error, "the log is busy, and cannot be attached to"))
        .ok()
}

/// A log of this process, served as it was asked for. One that cannot be served is used alone.
pub(crate) fn served(serving: Serving, log: Log, path: &Path) -> Runstone {
    let Some(limits) = serving.limits else {
        return log.into();
    };
    Runstone::serve(log.clone(), path, limits).unwrap_or_else(|error| {
        tracing::warn!(%error, "the log is not served to other processes");
        log.into()
    })
}
