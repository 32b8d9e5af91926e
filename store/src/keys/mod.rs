//! Keys of a log on disk: the keyring, the key table, providers, and credentials of principals.
//!
//! ```text
//! LOG.keys/ring   (0600)  names or holds the key-encryption key; holds the signing key
//! LOG.keys/table          wrapped data and lookup keys of scopes, operations and MAC key
//!
//! KeyStore: active(scope) --> Arc<DataKey>        made and durable before anybody seals with it
//!           data_key(id)  --> Arc<DataKey>        unwrapped by the provider once, then cached
//! ```
//!
//! Secrets are overwritten when dropped, never shown by `Debug` and never part of an error. The
//! writer of the log never gets here except for [`KeyStore::is_active`], which asks nobody.

mod active;
mod backup;
mod cache;
mod credential;
mod error;
mod files;
mod fold;
#[cfg(fuzzing)]
pub mod fuzzing;
mod make;
mod provider;
mod ring;
mod rotate;
mod signers;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod text;

pub use active::{MAX_KEY_AGE_US, MAX_KEY_MESSAGES};
pub use credential::{CHALLENGE_LEN, Credential, challenge, verify_proof};
pub use error::KeyError;
pub use provider::{
    CommandProvider, DEFAULT_COMMAND_LIMIT, EnvProvider, FileProvider, ProviderConfig,
    ProviderSources, SecretSource,
};
pub use state::KeyInfo;
pub use store::{KeyStore, PROTECTED_SCOPE};
pub use text::SecretString;

use serde::de::DeserializeOwned;
use std::path::Path;
use toml::de::{DeTable, Deserializer};

/// A TOML string; for names, never for secrets.
fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Reads TOML without keeping or showing any of it. Its own errors quote the line they are about,
/// which may be a key, so all that is taken from them is where.
fn toml_parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, KeyError> {
    let bad = |line| KeyError::malformed(path, line, "this is not what a file of its kind says");
    let text = std::str::from_utf8(bytes)
        .map_err(|error| bad(line_of(bytes, Some(error.valid_up_to()))))?;
    let (table, errors) = DeTable::parse_recoverable(text);
    if let Some(error) = errors.first() {
        return Err(bad(line_of(bytes, error.span().map(|span| span.start))));
    }
    T::deserialize(Deserializer::from(table))
        .map_err(|error| bad(line_of(bytes, error.span().map(|span| span.start))))
}

fn line_of(bytes: &[u8], at: Option<usize>) -> usize {
    at.map_or(0, |at| {
        1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count()
    })
}
