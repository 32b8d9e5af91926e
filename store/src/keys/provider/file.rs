//! Key-encryption keys that lie in the ring file.

use super::super::ring::{RingFile, RingKek, RingProvider};
use super::ring_unwritable;
use crate::hex::hex;
use runstone_codec::Entropy;
use runstone_codec::keys::{
    Destroyed, KEY_LEN, KeyEncryptionKey, KeyProvider, NONCE_LEN, ProviderError, SecretBytes,
    WrapError, unwrap, wrap,
};
use std::sync::Arc;

/// Holds the key-encryption keys of one ring.
#[derive(Debug)]
pub struct FileProvider {
    ring: Arc<RingFile>,
    entropy: Arc<dyn Entropy>,
}

impl FileProvider {
    pub(in super::super) fn new(ring: Arc<RingFile>, entropy: Arc<dyn Entropy>) -> Self {
        Self { ring, entropy }
    }

    fn with<T>(
        &self,
        kek_id: &str,
        work: impl FnOnce(&KeyEncryptionKey) -> Result<T, WrapError>,
    ) -> Result<T, ProviderError> {
        let ring = self.ring.lock();
        let RingProvider::File { keks, .. } = &ring.provider else {
            return Err(ProviderError::UnknownKek {
                kek_id: kek_id.to_owned(),
            });
        };
        let kek =
            keks.iter()
                .find(|kek| kek.id == kek_id)
                .ok_or_else(|| ProviderError::UnknownKek {
                    kek_id: kek_id.to_owned(),
                })?;
        work(&kek.key).map_err(|_| ProviderError::Rejected {
            kek_id: kek_id.to_owned(),
        })
    }
}

/// A new key-encryption key for a ring.
pub(in super::super) fn new_kek(entropy: &dyn Entropy) -> Result<RingKek, ProviderError> {
    let mut name = [0; 8];
    entropy.fill(&mut name).map_err(ProviderError::Entropy)?;
    let key = KeyEncryptionKey::generate(entropy).map_err(ProviderError::Entropy)?;
    Ok(RingKek {
        id: format!("kek-{}", hex(&name)),
        key,
    })
}

impl KeyProvider for FileProvider {
    fn current(&self) -> Result<String, ProviderError> {
        match &self.ring.lock().provider {
            RingProvider::File { current, .. } => Ok(current.clone()),
            _ => Err(ProviderError::Unsupported {
                operation: "current",
            }),
        }
    }

    fn wrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        nonce: &[u8; NONCE_LEN],
        plain: &[u8; KEY_LEN],
    ) -> Result<Vec<u8>, ProviderError> {
        self.with(kek_id, |kek| wrap(kek, aad, nonce, plain))
    }

    fn unwrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        nonce: &[u8; NONCE_LEN],
        wrapped: &[u8],
    ) -> Result<SecretBytes, ProviderError> {
        self.with(kek_id, |kek| unwrap(kek, aad, nonce, wrapped))
    }

    fn create(&self) -> Result<String, ProviderError> {
        let kek = new_kek(self.entropy.as_ref())?;
        let id = kek.id.clone();
        let add = |ring: &mut super::super::ring::Ring| {
            if let RingProvider::File { current, keks } = &mut ring.provider {
                current.clone_from(&kek.id);
                keks.push(kek);
            }
        };
        self.ring.update(add).map_err(ring_unwritable)?;
        Ok(id)
    }

    fn destroy(&self, kek_id: &str) -> Result<Destroyed, ProviderError> {
        if self.current()? == kek_id {
            return Err(ProviderError::Unsupported {
                operation: "destroying the current key",
            });
        }
        let remove = |ring: &mut super::super::ring::Ring| {
            if let RingProvider::File { keks, .. } = &mut ring.provider {
                keks.retain(|kek| kek.id != kek_id);
            }
        };
        self.ring.update(remove).map_err(ring_unwritable)?;
        // The former file is overwritten; what the medium kept of it, nobody can know.
        Ok(Destroyed::BestEffort)
    }
}
