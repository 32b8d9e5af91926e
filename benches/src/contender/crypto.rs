//! The cryptography of an event and nothing else: no file, no index, no decoding, no commit.
//!
//! ```text
//!  append: commitment, seal, digest of the envelope, leaf and node of the tree
//!  scan:   leaf, digest of the envelope, open; read-run the same
//!  verify: leaf and node of the tree, digest of the envelope; at level 2 open, commitment
//! ```
//!
//! By the functions that Runstone does it by, on events of the same lengths, in memory: what is left of
//! a row of Runstone when all else costs nothing. Nothing is durable.

use super::{Reply, Seen, Store, runstone};
use crate::bench::PAYLOAD_BYTES;
use crate::event::{Event, RUN_EVENTS, Random, Request, Synthetic};
use ::runstone::codec::hash::{Digest32, leaf_hash, node_hash};
use ::runstone::codec::keys::DataKey;
use ::runstone::codec::seal::{self, Sealed};
use ::runstone::codec::{
    EntryParts, Header, KeyId, PayloadSpec, encode_entry, envelope_digest, uuid_v7,
};
use ::runstone::{Authority, LogId, Position, Revision, VerifyLevel};
use anyhow::{Context as _, Result, ensure};
use std::hint::black_box;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Events that a scan goes through: as many as those of a filled log, whatever was appended.
const SCANNED: u64 = 1_000_000;
/// Distinct events among them: few enough for the caches of a processor.
const DISTINCT: u64 = 512;
/// Unix milliseconds in the ids, microseconds in the entries.
const TIME_MS: u64 = 1_800_000_000_000;

/// What recording an event computes.
pub(crate) struct Kept {
    sealed: Sealed,
    entry: Vec<u8>,
    leaf: Digest32,
}

/// Seals events under one key of one log, and opens them.
pub(crate) struct Sealer {
    log_id: LogId,
    key: DataKey,
}

impl Sealer {
    pub(crate) fn new() -> Self {
        Self {
            log_id: LogId::new([1; 16]),
            key: DataKey::new(KeyId::new([2; 16]), [3; 32]),
        }
    }

    /// The header that a log gives an event.
    pub(crate) fn header(&self, event: &Event, random: &mut Random) -> Header {
        let id = uuid_v7(TIME_MS, &random.bytes());
        let key = Some(*self.key.id());
        let new = runstone::event(event.clone());
        new.header(id, "default", "system:keyring", Authority::System, key)
    }

    /// What recording an event must compute.
    pub(crate) fn seal(
        &self,
        header: &Header,
        payload: &[u8],
        position: u64,
        random: &mut Random,
    ) -> Result<Kept> {
        let (blind, nonce) = (random.bytes(), random.bytes());
        let (spec, key) = (PayloadSpec::default(), Some(&self.key));
        let sealed = seal::seal(&self.log_id, header, payload, spec, key, blind, nonce)?;
        let parts = EntryParts {
            header: &sealed.header,
            position: Position::new(position),
            revision: Revision::new(position),
            recorded_at_us: TIME_MS * 1000,
            control: &[],
            commit: &sealed.commit,
            digest: &sealed.digest,
        };
        let mut entry = Vec::new();
        encode_entry(&parts, &mut entry)?;
        let leaf = leaf_hash(&entry);
        // A tree of n leaves has n - 1 nodes.
        black_box(node_hash(&leaf, &sealed.digest));
        Ok(Kept {
            sealed,
            entry,
            leaf,
        })
    }

    fn check_hashes(&self, kept: &Kept) -> Result<()> {
        let sealed = &kept.sealed;
        ensure!(leaf_hash(&kept.entry) == kept.leaf, "another entry");
        let digest = envelope_digest(&self.log_id, &sealed.header, &sealed.envelope)?;
        ensure!(digest == sealed.digest, "another envelope");
        Ok(())
    }

    /// What verifying an event must compute.
    fn verify(&self, level: VerifyLevel, header: &Header, kept: &Kept) -> Result<()> {
        self.check_hashes(kept)?;
        let sealed = &kept.sealed;
        black_box(node_hash(&kept.leaf, &sealed.digest));
        if level == VerifyLevel::Commitments {
            let (bytes, envelope, commit) = (&sealed.header, &sealed.envelope, &sealed.commit);
            let key = Some(&self.key);
            seal::check_commitment(&self.log_id, bytes, header, envelope, commit, key)?;
        }
        Ok(())
    }

    /// What reading an event must compute.
    pub(crate) fn open(&self, header: &Header, kept: &Kept) -> Result<Vec<u8>> {
        self.check_hashes(kept)?;
        let sealed = &kept.sealed;
        let (log, bytes, envelope) = (&self.log_id, &sealed.header, &sealed.envelope);
        let key = Some(&self.key);
        Ok(seal::open(
            log,
            bytes,
            header,
            envelope,
            &sealed.commit,
            key,
        )?)
    }

    /// The first events of a synthetic log: headers and payloads.
    pub(crate) fn events(&self, events: u64) -> impl Iterator<Item = (Header, Vec<u8>)> {
        let synthetic = Synthetic::new(PAYLOAD_BYTES);
        let mut random = Random::new(events);
        (0..events).map(move |number| {
            let event = synthetic.of_log(number);
            (self.header(&event, &mut random), event.payload)
        })
    }

    /// The same, sealed.
    pub(crate) fn log(&self, events: u64) -> Result<Vec<(Header, Kept)>> {
        let mut random = Random::new(2);
        let sealed = (0..).zip(self.events(events));
        let sealed = sealed.map(|(position, (header, payload))| {
            let kept = self.seal(&header, &payload, position, &mut random)?;
            Ok((header, kept))
        });
        sealed.collect()
    }
}

struct Bare {
    sealer: Sealer,
    /// Of every event that is appended: as long as theirs.
    header: Header,
    random: Mutex<Random>,
    log: OnceLock<Vec<(Header, Kept)>>,
}

pub(crate) fn open(_: &Path) -> Result<Box<dyn Store>> {
    let sealer = Sealer::new();
    let (header, _) = sealer.events(1).next().context("there is no event")?;
    Ok(Box::new(Bare {
        sealer,
        header,
        random: Mutex::new(Random::new(1)),
        log: OnceLock::new(),
    }))
}

impl Bare {
    fn append(&self, request: &Request) -> Result<bool> {
        // Each request draws from a generator of its own, so that clients do not wait for each other.
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = Random::new(random.next());
        drop(random);
        for (position, event) in (0..).zip(&request.events) {
            let (header, payload) = (&self.header, &event.payload);
            black_box(self.sealer.seal(header, payload, position, &mut own)?);
        }
        Ok(true)
    }
}

impl Bare {
    /// So many sealed events, over and over the same.
    fn sealed(&self, events: u64) -> Result<impl Iterator<Item = &(Header, Kept)>> {
        if self.log.get().is_none() {
            let sealed = self.sealer.log(DISTINCT)?;
            self.log.get_or_init(|| sealed);
        }
        let log = self.log.get().map_or(&[][..], Vec::as_slice);
        Ok(log.iter().cycle().take(usize::try_from(events)?))
    }

    fn open_all(&self, events: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        for (header, kept) in self.sealed(events)? {
            seen.event(&self.sealer.open(header, kept)?);
        }
        Ok(seen)
    }
}

impl Store for Bare {
    fn append_alone(&self, request: Request) -> Result<bool> {
        self.append(&request)
    }

    fn append_shared(&self, request: Request) -> Result<bool> {
        self.append(&request)
    }

    fn submit(&self, request: Request) -> Reply {
        let answer = self.append(&request);
        Box::pin(async move { answer })
    }

    fn scan(&self) -> Result<Seen> {
        self.open_all(SCANNED)
    }

    fn read_run(&self, _: &str) -> Result<Seen> {
        self.open_all(RUN_EVENTS)
    }

    fn verify(&self, level: VerifyLevel) -> Result<u64> {
        for (header, kept) in self.sealed(SCANNED)? {
            self.sealer.verify(level, header, kept)?;
        }
        Ok(SCANNED)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_what_is_changed_does_not() {
        let sealer = Sealer::new();
        let mut log = sealer.log(3).unwrap();
        let payload = Synthetic::new(PAYLOAD_BYTES).of_log(2).payload;
        let opens = |(header, kept): &(Header, Kept)| sealer.open(header, kept);
        assert_eq!(opens(&log[2]).unwrap(), payload);
        log[2].1.entry[7] ^= 1;
        log[1].1.sealed.envelope[40] ^= 1;
        assert!(opens(&log[2]).is_err() && opens(&log[1]).is_err());
    }
}
