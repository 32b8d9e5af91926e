//! Who holds the key-encryption key.

mod command;
mod env;
mod file;

pub use command::CommandProvider;
#[cfg(fuzzing)]
pub(super) use command::fuzz_answer;
pub use env::{EnvProvider, SecretSource};
pub use file::FileProvider;
pub(super) use file::new_kek;

use super::KeyError;
use super::ring::{RingFile, RingProvider};
use runstone_codec::Entropy;
use runstone_codec::keys::{KeyProvider, Outage, ProviderError};
use std::sync::Arc;
use std::time::Duration;

/// How long a command may take, unless told otherwise.
pub const DEFAULT_COMMAND_LIMIT: Duration = Duration::from_secs(20);

/// Who is to hold the key-encryption key of a new log.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum ProviderConfig {
    /// The ring file itself.
    #[default]
    File,
    /// An environment variable: 64 hexadecimal digits or base64 of 32 bytes. The caller reads it.
    Env {
        /// Its name.
        variable: String,
        /// Reads it, and the variable of the same name with `_NEXT` appended.
        source: SecretSource,
    },
    /// A command that asks a key management service.
    Command {
        /// The program and its arguments; no shell is involved.
        argv: Vec<String>,
        /// How long one call may take.
        limit: Duration,
    },
}

/// What providers of an existing ring need from the caller.
#[derive(Debug, Clone)]
pub struct ProviderSources {
    env: Option<SecretSource>,
    command_limit: Duration,
}

impl Default for ProviderSources {
    fn default() -> Self {
        Self {
            env: None,
            command_limit: DEFAULT_COMMAND_LIMIT,
        }
    }
}

impl ProviderSources {
    /// Nothing handed over, default time limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads environment variables for a ring whose key lies in one.
    #[must_use]
    pub fn env(mut self, source: SecretSource) -> Self {
        self.env = Some(source);
        self
    }

    /// How long one call of a provider's command may take.
    #[must_use]
    pub fn command_limit(mut self, limit: Duration) -> Self {
        self.command_limit = limit;
        self
    }
}

impl ProviderConfig {
    pub(super) fn sources(&self) -> ProviderSources {
        match self {
            Self::File => ProviderSources::new(),
            Self::Env { source, .. } => ProviderSources::new().env(source.clone()),
            Self::Command { limit, .. } => ProviderSources::new().command_limit(*limit),
        }
    }
}

/// The provider that a ring names.
pub(super) fn build(
    ring: &Arc<RingFile>,
    sources: &ProviderSources,
    entropy: &Arc<dyn Entropy>,
) -> Result<Arc<dyn KeyProvider>, KeyError> {
    Ok(match &ring.lock().provider {
        RingProvider::File { .. } => {
            Arc::new(FileProvider::new(Arc::clone(ring), Arc::clone(entropy)))
        }
        RingProvider::Env { variable } => {
            let source = sources.env.clone().ok_or_else(|| KeyError::NoSource {
                variable: variable.clone(),
            })?;
            Arc::new(EnvProvider::new(variable.clone(), source))
        }
        RingProvider::Command { argv, .. } => {
            let command = CommandProvider::new(argv.clone(), sources.command_limit);
            Arc::new(command.with_ring(Arc::clone(ring)))
        }
    })
}

/// A ring that cannot be written keeps a provider from doing its work for now.
fn ring_unwritable(error: KeyError) -> ProviderError {
    let source = match error {
        KeyError::Io { source, .. } => Some(source),
        _ => None,
    };
    ProviderError::Unavailable {
        reason: Outage::Io,
        source,
    }
}
