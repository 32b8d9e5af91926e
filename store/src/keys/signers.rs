//! Who signs the log's checkpoints.

use super::KeyError;
use super::ring::{RingFile, RingSeed};
use runstone_codec::LogId;
use runstone_codec::keys::{KEY_LEN, KeyProvider, ProviderError};
use runstone_receipt::note::Signer;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Made from the ring's seeds.
#[derive(Debug)]
pub(super) struct Signers {
    pub(super) current: Arc<Signer>,
    /// The former one during an overlap.
    pub(super) retiring: Option<Arc<Signer>>,
}

impl Signers {
    pub(super) fn load(
        ring: &RingFile,
        origin: &str,
        provider: &dyn KeyProvider,
    ) -> Result<Self, KeyError> {
        let (log_id, signing, retiring) = {
            let ring = ring.lock();
            let retiring = ring.retiring.as_ref().map(RingSeed::duplicate);
            (ring.log_id, ring.signing.duplicate(), retiring)
        };
        let signer = |seed: &RingSeed| {
            let seed = open_seed(seed, provider, &log_id)?;
            let signer = Signer::new(origin, &seed);
            signer
                .map(Arc::new)
                .map_err(|source| KeyError::Origin { source })
        };
        Ok(Self {
            current: signer(&signing)?,
            retiring: retiring.as_ref().map(signer).transpose()?,
        })
    }
}

/// A signing seed, from the provider where it is wrapped.
pub(super) fn open_seed(
    seed: &RingSeed,
    provider: &dyn KeyProvider,
    log_id: &LogId,
) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    let secret = seed.open(provider, log_id)?;
    let mut seed = Zeroizing::new([0; KEY_LEN]);
    if secret.as_bytes().len() != seed.len() {
        return Err(ProviderError::BadAnswer {
            what: "a signing seed has not 32 bytes",
        }
        .into());
    }
    seed.copy_from_slice(secret.as_bytes());
    Ok(seed)
}
