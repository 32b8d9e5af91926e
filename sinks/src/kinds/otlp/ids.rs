//! Ids of traces and spans: digests of what they are of, so that they are the same whenever it is told.

use runstone_codec::LogId;
use sha2::{Digest as _, Sha256};

/// Makes the ids of one log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pub(super) log: LogId,
}

impl Ids {
    fn digest<const N: usize>(self, what: &str, parts: &[&[u8]]) -> Vec<u8> {
        let mut digest = Sha256::new()
            .chain_update("runstone/otlp/")
            .chain_update(what)
            .chain_update(self.log.as_bytes());
        for part in parts {
            let len = u64::try_from(part.len()).unwrap_or(u64::MAX);
            digest = digest.chain_update(len.to_be_bytes()).chain_update(part);
        }
        digest.finalize().iter().take(N).copied().collect()
    }

    /// The trace of a stream.
    pub(super) fn trace(self, stream: &str) -> Vec<u8> {
        self.digest::<16>("trace", &[stream.as_bytes()])
    }

    /// The span of a run.
    pub(super) fn run(self, stream: &str) -> Vec<u8> {
        self.digest::<8>("run", &[stream.as_bytes()])
    }

    /// The span of what begins at a position.
    pub(super) fn span(self, position: u64) -> Vec<u8> {
        self.digest::<8>("span", &[&position.to_be_bytes()])
    }

    /// The span of a call of a model that may be reported several times.
    pub(super) fn model(self, stream: &str, call: &[u8]) -> Vec<u8> {
        self.digest::<8>("model", &[stream.as_bytes(), call])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_told_apart_by_what_they_are_of() {
        let ids = |log: u8| Ids {
            log: LogId::new([log; 16]),
        };
        let (one, two) = (ids(1), ids(2));
        let spans = [
            one.run("a"),
            one.run("b"),
            two.run("a"),
            one.span(0),
            one.span(1),
            one.model("a", b"b"),
            one.model("ab", b""),
        ];
        assert!(spans.iter().all(|id| id.len() == 8));
        assert_eq!(BTreeSet::from(spans.clone()).len(), spans.len());
        assert_eq!(
            (one.trace("a").len(), one.trace("a")),
            (16, ids(1).trace("a"))
        );
        assert_ne!(one.trace("a"), one.trace("b"));
    }
}
