//! `LOG.keys/ring`: what names or holds the key-encryption key, and the signing key.
//!
//! ```toml
//! version = 1
//! log_id = "32 hexadecimal digits"
//! origin = "example.com/log"
//! signing_seed = "base64"       # with another provider than file: wrapped, and beside it
//! # signing_nonce, signing_kek
//! # retiring_seed, retiring_nonce, retiring_kek: the former signing key during an overlap
//! # retired_keks = ["id"]: key-encryption keys that remain to be destroyed
//!
//! [provider]
//! kind = "file"                 # file: current, keks; env: variable; command: argv, current
//! current = "kek-1"
//!
//! [[provider.keks]]
//! id = "kek-1"
//! key = "base64"
//! ```

mod text;

use super::KeyError;
use super::files::{Old, replace_file};
use runstone_codec::hash::ds;
use runstone_codec::keys::{
    KEY_LEN, KeyEncryptionKey, KeyProvider, NONCE_LEN, ProviderError, SecretBytes,
};
use runstone_codec::{Entropy, LogId};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longest ring file in bytes.
pub(super) const MAX_RING_LEN: usize = 1 << 20;

/// A key-encryption key that lies in the ring.
#[derive(Debug)]
pub(super) struct RingKek {
    pub(super) id: String,
    pub(super) key: KeyEncryptionKey,
}

/// Who holds the key-encryption key.
#[derive(Debug)]
pub(super) enum RingProvider {
    File {
        current: String,
        keks: Vec<RingKek>,
    },
    Env {
        variable: String,
    },
    Command {
        argv: Vec<String>,
        current: Option<String>,
    },
}

/// A signing seed as it lies in the ring.
#[derive(Debug)]
pub(super) enum RingSeed {
    Open(SecretBytes),
    Wrapped {
        kek_id: String,
        nonce: [u8; NONCE_LEN],
        wrapped: Vec<u8>,
    },
}

impl RingSeed {
    /// The seed itself, from the provider where it is wrapped.
    pub(super) fn open(
        &self,
        provider: &dyn KeyProvider,
        log_id: &LogId,
    ) -> Result<SecretBytes, ProviderError> {
        match self {
            Self::Open(seed) => Ok(SecretBytes::new(seed.as_bytes().to_vec())),
            Self::Wrapped {
                kek_id,
                nonce,
                wrapped,
            } => provider.unwrap(kek_id, &seed_aad(log_id, kek_id), nonce, wrapped),
        }
    }

    /// Whether it is wrapped under another key-encryption key than this one.
    pub(super) fn is_foreign(&self, current: &str) -> bool {
        matches!(self, Self::Wrapped { kek_id, .. } if kek_id != current)
    }

    /// A copy, so that the ring is free while a provider is asked.
    pub(super) fn duplicate(&self) -> Self {
        match self {
            Self::Open(seed) => Self::Open(SecretBytes::new(seed.as_bytes().to_vec())),
            Self::Wrapped {
                kek_id,
                nonce,
                wrapped,
            } => Self::Wrapped {
                kek_id: kek_id.clone(),
                nonce: *nonce,
                wrapped: wrapped.clone(),
            },
        }
    }
}

/// A seed as it is to lie in the ring: open beside the key-encryption key, else wrapped.
pub(super) fn seal_seed(
    provider: &dyn KeyProvider,
    entropy: &dyn Entropy,
    ring: &RingFile,
    kek_id: &str,
    seed: &[u8; KEY_LEN],
) -> Result<RingSeed, KeyError> {
    let log_id = {
        let ring = ring.lock();
        if matches!(ring.provider, RingProvider::File { .. }) {
            return Ok(RingSeed::Open(SecretBytes::new(seed.to_vec())));
        }
        ring.log_id
    };
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce)?;
    let wrapped = provider.wrap(kek_id, &seed_aad(&log_id, kek_id), &nonce, seed)?;
    Ok(RingSeed::Wrapped {
        kek_id: kek_id.to_owned(),
        nonce,
        wrapped,
    })
}

/// `DS("wrap-signing") || log_id || kek_id`: what a seed's wrapping authenticates beside it.
fn seed_aad(log_id: &LogId, kek_id: &str) -> Vec<u8> {
    let mut aad = ds("wrap-signing");
    aad.extend_from_slice(log_id.as_bytes());
    aad.extend_from_slice(kek_id.as_bytes());
    aad
}

/// The content of a ring file.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) log_id: LogId,
    pub(super) origin: String,
    pub(super) provider: RingProvider,
    pub(super) signing: RingSeed,
    pub(super) retiring: Option<RingSeed>,
    pub(super) retired_keks: Vec<String>,
}

impl Ring {
    /// A copy to be changed and written before it takes the place of this one.
    fn duplicate(&self) -> Self {
        let provider = match &self.provider {
            RingProvider::File { current, keks } => {
                let copy = |kek: &RingKek| RingKek {
                    id: kek.id.clone(),
                    key: KeyEncryptionKey::new(*kek.key.as_bytes()),
                };
                RingProvider::File {
                    current: current.clone(),
                    keks: keks.iter().map(copy).collect(),
                }
            }
            RingProvider::Env { variable } => RingProvider::Env {
                variable: variable.clone(),
            },
            RingProvider::Command { argv, current } => RingProvider::Command {
                argv: argv.clone(),
                current: current.clone(),
            },
        };
        Self {
            log_id: self.log_id,
            origin: self.origin.clone(),
            provider,
            signing: self.signing.duplicate(),
            retiring: self.retiring.as_ref().map(RingSeed::duplicate),
            retired_keks: self.retired_keks.clone(),
        }
    }
}

/// The ring of an open key store, in memory and, for a log on disk, in its file.
#[derive(Debug)]
pub(super) struct RingFile {
    path: Option<PathBuf>,
    /// Held while the file is written, so that two changes never cross.
    ring: Mutex<Ring>,
}

impl RingFile {
    pub(super) fn new(path: Option<PathBuf>, ring: Ring) -> Self {
        Self {
            path,
            ring: Mutex::new(ring),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the ring: durable in the file first, or not changed at all. The file's former
    /// content is overwritten, since it may hold a key that the change destroys.
    pub(super) fn update(&self, change: impl FnOnce(&mut Ring)) -> Result<(), KeyError> {
        let mut ring = self.lock();
        let mut next = ring.duplicate();
        change(&mut next);
        if let Some(path) = &self.path {
            replace_file(path, next.encode().as_bytes(), Old::Wiped)?;
        }
        *ring = next;
        Ok(())
    }
}
