//! The payloads of the log's own events (docs/FORMAT.md, "The log's own events").

use crate::options::Sealing;
use runstone_codec::{KeyId, LogId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) const GENESIS: &str = "log.genesis";
pub(crate) const EPOCH_STARTED: &str = "log.epoch_started";
pub(crate) const KEY_ROTATED: &str = "log.key_rotated";
pub(crate) const ERASURE_REQUESTED: &str = "log.erasure_requested";
pub(crate) const ERASURE_COMPLETED: &str = "log.erasure_completed";
pub(crate) const PRINCIPAL_ADDED: &str = "log.principal_added";
pub(crate) const CONFIGURED: &str = "log.configured";
pub(crate) const DISCLOSED: &str = "log.disclosed";
pub(crate) const HOLD_PLACED: &str = "log.hold_placed";
pub(crate) const HOLD_RELEASED: &str = "log.hold_released";

/// What `destroyed` says where there was no key to destroy.
pub(crate) const DESTROYED_PLAIN: &str = "plain";

/// Content of `log.genesis`, the event at position 0.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Genesis {
    pub(crate) log_id: LogId,
    pub(crate) origin: String,
    pub(crate) vkey: String,
    pub(crate) format: String,
    pub(crate) sealing: String,
    #[serde(default)]
    pub(crate) fields: bool,
}

impl Genesis {
    pub(crate) fn sealing(&self) -> Sealing {
        match self.sealing.as_str() {
            "plain" => Sealing::Plain,
            _ => Sealing::Required,
        }
    }
}

/// Content of `log.epoch_started`: from here on checkpoints carry another origin.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochStarted {
    /// 2 for the first one; the genesis begins epoch 1.
    pub(crate) epoch: u64,
    pub(crate) origin: String,
    /// The key that signs in it: a copy that goes on by itself has another one.
    pub(crate) vkey: String,
    /// Events before this one.
    pub(crate) size: u64,
    /// The newest head of the epoch before that anybody is known to hold.
    pub(crate) known_checkpoint: Option<KnownHead>,
}

/// A size and the root at it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownHead {
    pub(crate) size: u64,
    /// Lower-case hexadecimal.
    pub(crate) root: String,
}

/// Content of `log.key_rotated`: verifier keys.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRotated {
    pub(crate) old: String,
    pub(crate) new: String,
}

/// Content of `log.erasure_requested`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErasureRequested {
    pub(crate) scopes: Vec<String>,
    /// Data and lookup keys that are destroyed.
    pub(crate) key_ids: Vec<KeyId>,
    /// [`kek_digest`] of the key-encryption keys that wrapped them.
    pub(crate) keks: Vec<String>,
    /// A code for why it may be erased.
    pub(crate) basis: String,
    /// The principal who asked.
    pub(crate) actor: String,
    /// Although something was under way in a scope.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) forced: bool,
}

/// Content of `log.erasure_completed`: its receipt is the certificate.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErasureCompleted {
    /// Position of the request.
    pub(crate) requested: u64,
    /// `proven`, `best_effort`, or `plain` where there was no key.
    pub(crate) destroyed: String,
    /// Whether the sealed bytes are gone from the file too.
    pub(crate) rewritten: bool,
}

/// Content of `log.disclosed`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disclosed {
    /// The event whose content was shown.
    pub(crate) position: u64,
    /// Which segments of it, by index.
    pub(crate) segments: Vec<u32>,
    /// How many it has.
    pub(crate) of: u32,
    /// A code for who got it.
    pub(crate) recipient: Option<String>,
}

/// Content of `log.disclosed` where whole contents of many events were shown.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisclosedRanges {
    /// The events: ranges, first and last, ascending and apart.
    pub(crate) positions: Vec<(u64, u64)>,
    /// A code for who got it.
    pub(crate) recipient: Option<String>,
}

/// Content of `log.hold_placed` and `log.hold_released`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    pub(crate) scope: String,
}

/// Content of `log.principal_added`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrincipalAdded {
    pub(crate) id: String,
    pub(crate) authority: String,
    pub(crate) public_key: String,
}

/// Names a key-encryption key without saying its id, which may be an address at a provider.
pub(crate) fn kek_digest(kek_id: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(kek_id.as_bytes()).into();
    crate::hex::hex(digest.get(..16).unwrap_or_default())
}
