//! Replicas of a simulated log: backups that are kept and read, and one of which succeeds a log that
//! was lost.

use super::Simulation;
use super::model::{Fate, Proof};
use crate::tamper::Outcome;
use runstone_codec::{NewEvent, Position};
use runstone_receipt::Receipt;
use runstone_receipt::checkpoint::Checkpoint;
use runstone_receipt::note::SignedNote;
use runstone_store::{
    EpochStart, ErrorKind, Log, OpenError, OpenOptions, Payload, ProblemKind, Query, Read,
    ReadError, Record, Sealing, VerifyLevel, verify_file,
};
use std::path::{Path, PathBuf};

/// Most replicas that are kept.
const KEPT: usize = 3;

/// A backup.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    path: PathBuf,
    size: u64,
    root: [u8; 32],
}

impl Simulation {
    pub(super) fn replicas(&mut self) -> Outcome {
        match self.numbers.below(8) {
            0..=3 => self.back_up(),
            4..=5 => self.read_replica(),
            _ => self.succeed(),
        }
    }

    /// Read-only, with the keys of the log.
    fn reading(&mut self) -> OpenOptions {
        let mut open = self.opening();
        open.keys = Some(self.folder.path().join("keys"));
        open.read_only = true;
        open
    }

    fn back_up(&mut self) -> Outcome {
        let name = format!("backup-{}", self.numbers.next_u64());
        let path = self.folder.path().join(name);
        let copied = if self.numbers.below(2) == 0 {
            let copied = self.log().backup(&path, &|_, _| {});
            copied.map(|report| (report.events, report.root))
        } else {
            self.export_to(&path)
        };
        match copied {
            Ok((size, root)) => {
                assert!(size <= self.log().durable_size());
                self.model.released.push((size, root));
                let open = self.reading();
                let found = verify_file(&path, open, VerifyLevel::Payloads, &|_, _| {})?;
                // One that was cut short is cut short in the copy too.
                let pending = self.log().erasures().unwrap().into_iter();
                let pending = pending.filter(|erasure| erasure.completed.is_none());
                assert_eq!(found.problems.len(), pending.count(), "{found:?}");
                assert!(found.worst() != Some(ProblemKind::Tampered), "{found:?}");
                self.replicas.push(Replica { path, size, root });
                if self.replicas.len() > KEPT {
                    remove(&self.replicas.remove(0).path)?;
                }
            }
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                self.fail();
            }
        }
        Ok(())
    }

    /// A replica by way of an export, which is the same once more from there.
    fn export_to(&mut self, path: &Path) -> Result<(u64, [u8; 32]), ReadError> {
        let report = |log: &Log| {
            let mut lines = Vec::new();
            let put = |text: &[u8]| {
                lines.extend_from_slice(text);
                Ok::<_, ReadError>(())
            };
            let report = log.export(&Query::everything(), put, &|_, _| {})?;
            Ok::<_, ReadError>((report, lines))
        };
        let (exported, lines) = report(self.log())?;
        assert_eq!(exported.withheld, 0, "{exported:?}");
        let loaded = Log::load(lines.as_slice(), path, &|_, _| {});
        let loaded = loaded.unwrap_or_else(|error| panic!("what was exported: {error}"));
        let sizes = (exported.events, exported.root);
        assert_eq!(sizes, (loaded.events, loaded.root));
        let copy = Log::open(path, self.reading());
        let copy = copy.unwrap_or_else(|error| panic!("what was loaded: {error}"));
        let (_, again) = report(&copy)?;
        assert!(again == lines, "an export of an export differs");
        Ok(sizes)
    }

    fn any_replica(&mut self) -> Option<Replica> {
        let at = self.numbers.below(self.replicas.len().max(1));
        self.replicas.get(at).cloned()
    }

    /// It is as the log was then, it cannot be written, and erasures have reached into it.
    fn read_replica(&mut self) -> Outcome {
        let Some(replica) = self.any_replica() else {
            return Ok(());
        };
        let erasures = self.log().erasures().unwrap();
        let is_sealed = self.log().info().sealing == Sealing::Required;
        let open = self.reading();
        let report = verify_file(&replica.path, open, VerifyLevel::Headers, &|_, _| {})?;
        assert!(report.worst() != Some(ProblemKind::Tampered), "{report:?}");
        let copy = Log::open(&replica.path, self.reading())?;
        assert_eq!((copy.size(), copy.root()), (replica.size, replica.root));
        let refused = copy.append_blocking(NewEvent::new("tool.called", "run-0"));
        assert_eq!(refused.map_err(|error| error.code()), Err("read_only"));
        for (at, record) in (0..).zip(copy.read(Read::new(Query::everything()))?) {
            let is_erased = |scope: &str| {
                erasures.iter().any(|erasure| {
                    let is_named = erasure.scopes.iter().any(|named| named == scope);
                    is_named && at < erasure.requested.get()
                })
            };
            match record {
                Ok(record) => {
                    assert_eq!(record.position.get(), at);
                    self.model.knows(&record);
                    let was_erased = is_sealed && is_erased(&record.header.scope);
                    let is_open = matches!(record.payload, Payload::Open(_));
                    assert!(!(is_open && was_erased), "{record:?} was erased");
                }
                // Its key is gone, and the copy is older than the reason.
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Keys, "{error}");
                    let record = self.log().record(Position::new(at));
                    let of_erased = |record: Record| is_erased(&record.header.scope);
                    assert!(record.map_or(true, of_erased), "{error}");
                }
            }
        }
        self.tally.replicas_read += 1;
        Ok(())
    }

    /// The log is lost, and a replica takes its place; nobody who holds a copy of the lost one can
    /// go on with it.
    fn succeed(&mut self) -> Outcome {
        let Some(replica) = self.any_replica().filter(|_| !self.lying) else {
            return Ok(());
        };
        // Keys that were destroyed since then are gone, and the replica would not say why.
        let erasures = self.log().erasures().unwrap();
        if erasures
            .iter()
            .any(|one| one.requested.get() >= replica.size)
        {
            return Ok(());
        }
        let keeps = |end: Option<u64>| end.is_some_and(|end| end < replica.size);
        let complete = erasures
            .iter()
            .filter(|one| keeps(one.completed.map(Position::get)));
        let complete: Vec<u64> = complete.map(|one| one.requested.get()).collect();
        let newest = self
            .model
            .proofs
            .iter()
            .rev()
            .find_map(|proof| match proof {
                Proof::Checkpoint(text) => Some(text.clone()),
                Proof::Receipt(_) => None,
            });
        if self.log().close_blocking().is_err() || self.machine.is_down() {
            assert!(self.is_excused());
            self.crash();
            return self.open_or_crash();
        }
        self.log = None;
        let lost = self.machine.bytes();
        self.say(|| format!("  a replica of {} events succeeds", replica.size));
        self.machine.install(std::fs::read(&replica.path)?);
        self.model.give_up(replica.size)?;
        self.forget_agents();
        self.copies.give_up();
        self.agents.sent_from = replica.size;
        self.model.erased.retain(|at| complete.contains(at));
        let (kept, of_lost): (Vec<_>, _) = std::mem::take(&mut self.replicas)
            .into_iter()
            .partition(|other| other.size <= replica.size);
        self.replicas = kept;
        for other in of_lost {
            remove(&other.path)?;
        }
        let mut start = EpochStart::default();
        start.accept_loss = true;
        start.known = newest.filter(|_| self.numbers.below(2) == 0);
        self.successor = Some(start);
        self.successor_size = replica.size;
        self.crashed = true;
        self.open_or_crash()?;
        self.tally.successions += 1;
        self.predecessor_is_refused(&lost)
    }

    /// With the keys that have gone on with the successor, or beside what is known of it.
    fn predecessor_is_refused(&mut self, lost: &[u8]) -> Outcome {
        let path = self.folder.path().join("lost");
        std::fs::write(&path, lost)?;
        let mut open = self.reading();
        let copy = Log::open(&path, open.clone())?;
        assert!(copy.checkpoint().is_err(), "two logs sign with one key");
        drop(copy);
        open.read_only = false;
        let kind = Log::open(&path, open).map_err(|error| error.kind());
        assert_eq!(kind.map(|log| log.size()), Err(ErrorKind::Keys));
        remove(&path)
    }

    /// Opens what the log's name leads to; a replica that is to succeed begins its epoch.
    pub(super) fn open_or_succeed(&mut self) -> Result<Log, OpenError> {
        let (opening, disks) = (self.opening(), self.disks());
        let Some(start) = self.successor.clone() else {
            return Log::open_on(disks, opening, |sealing| self.keys(sealing));
        };
        let started = Log::start_epoch_on(disks, &start, opening, |sealing| self.keys(sealing));
        let started = match (started, &start.known) {
            // It was signed with a key, or under a name, that is younger than the replica.
            (Err(OpenError::Copy { .. }), Some(known)) if size_of(known) > self.successor_size => {
                let mut start = start.clone();
                start.known = None;
                self.successor = Some(start);
                return self.open_or_succeed();
            }
            (started, _) => started?,
        };
        assert_eq!(started.position.get() + 1, started.log.size());
        self.successor = None;
        self.tally.epochs += 1;
        Ok(started.log)
    }
}

/// The size in a checkpoint.
fn size_of(checkpoint: &str) -> u64 {
    let line = checkpoint.lines().nth(1);
    line.and_then(|size| size.parse().ok()).unwrap_or_default()
}

fn remove(path: &Path) -> Outcome {
    let mut head = path.as_os_str().to_owned();
    head.push(".head");
    std::fs::remove_file(path)?;
    match std::fs::remove_file(head) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

impl super::model::Model {
    /// Everything from `size` on is lost, with what was told and proven of it.
    fn give_up(&mut self, size: u64) -> Outcome {
        for sent in &mut self.sent {
            match &sent.fate {
                Fate::Durable(positions) | Fate::Buffered(positions)
                    if positions.iter().any(|at| *at >= size) =>
                {
                    sent.fate = Fate::Lost;
                }
                Fate::Somewhere => sent.fate = Fate::Unknown,
                _ => {}
            }
        }
        self.released.retain(|(released, _)| *released <= size);
        self.held.clear();
        let mut kept = Vec::new();
        for proof in std::mem::take(&mut self.proofs) {
            let text = match &proof {
                Proof::Receipt(file) => Receipt::parse(file)?.checkpoint().to_owned(),
                Proof::Checkpoint(text) => text.clone(),
            };
            let head = Checkpoint::parse(SignedNote::parse(&text)?.text())?;
            if head.size <= size {
                kept.push(proof);
            }
        }
        self.proofs = kept;
        Ok(())
    }
}
