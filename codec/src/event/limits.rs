//! Bounds of one event.

use crate::payload::MAX_PAYLOAD_BYTES;

/// Bounds of one event that a log's owner may choose. A header's own bound of 4,096 bytes is part of
/// the format and holds besides.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventLimits {
    /// Most bytes of a payload; default 16 MiB. More than [`MAX_PAYLOAD_BYTES`] counts as that.
    pub payload_bytes: usize,
    /// Most tags; default 64.
    pub tags: usize,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self {
            payload_bytes: 16 << 20,
            tags: 64,
        }
    }
}

impl EventLimits {
    /// The bound on payloads that holds: the chosen one, at most the format's.
    pub fn max_payload_bytes(&self) -> usize {
        self.payload_bytes.min(MAX_PAYLOAD_BYTES)
    }
}
