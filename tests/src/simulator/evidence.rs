//! What operators and auditors ask of a simulated log: erasure, holds, rotation, epochs, proofs.

use super::Simulation;
use super::model::Proof;
use super::work::SCOPES;
use crate::tamper::Outcome;
use runstone_codec::Position;
use runstone_receipt::checkpoint::SignedCheckpoint;
use runstone_receipt::{Consistency, Policy, Receipt, VerifyOptions};
use runstone_store::keys::KeyInfo;
use runstone_store::{
    Durability, EpochStart, Erase, EraseError, ErrorKind, Log, ProblemKind, VerifyLevel,
};
use std::collections::BTreeSet;

impl Simulation {
    pub(super) fn evidence(&mut self) -> Outcome {
        if self.lying {
            // Keys are not on the disk that lies, and what it forgets they do not.
            return Ok(());
        }
        let struck = self.machine.struck();
        match self.numbers.below(13) {
            0..=2 => self.erase(),
            // What they sealed is sealed again under keys that are left.
            12 => self.clients_while(Durability::Synced, Some(Self::erase)),
            3 => self.resume(),
            4 => self.hold(),
            5 => self.rotate()?,
            6 => self.rewrite(),
            7 => self.start_epoch()?,
            _ => self.prove()?,
        }
        if self.machine.struck() > struck || self.is_full {
            // Whatever was asked may have begun with making durable what was buffered, and failed.
            self.fail();
        }
        Ok(())
    }

    fn scope(&mut self) -> &'static str {
        SCOPES[self.numbers.below(SCOPES.len())]
    }

    fn erase(&mut self) {
        let log = self.log().clone();
        let mut request = Erase::new(self.scope(), "simulated");
        if self.numbers.below(4) == 0 {
            request = request.and(self.scope());
        }
        if self.numbers.below(3) == 0 {
            request = request.defer_rewrite();
        }
        let keks = keks(&log);
        let keyed = |key: KeyInfo| request.scopes.contains(&key.scope);
        let had_keys = log.keys().into_iter().any(keyed);
        let answer = log.erase(&request, &|_, _| {});
        self.say(|| format!("  erase {:?}: {answer:?}", request.scopes));
        let is_held = |scope: &String| self.model.held.get(scope).copied();
        let held: Vec<_> = request.scopes.iter().map(is_held).collect();
        match answer {
            Ok(erasure) => {
                assert!(!held.contains(&Some(true)), "{request:?} was under hold");
                assert!(erasure.completed.is_some());
                let is_gone = !had_keys || keks.is_disjoint(&self::keks(&log));
                assert!(is_gone, "a key that wrapped what was erased is left");
                self.model.erased.insert(erasure.requested.get());
                self.tally.erasures += 1;
            }
            Err(EraseError::Held { .. }) => {
                let may_be = held.iter().any(|held| *held != Some(false));
                assert!(may_be, "{request:?} was not under hold: {held:?}");
            }
            Err(EraseError::NotFound { .. } | EraseError::Plain) => {}
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                self.fail();
            }
        }
    }

    /// Goes on with what was cut short.
    pub(super) fn resume(&mut self) {
        match self.log().resume_erasures(&|_, _| {}) {
            Ok(erasures) => {
                for erasure in erasures {
                    assert!(erasure.rewritten, "{erasure:?}");
                    self.model.erased.insert(erasure.requested.get());
                }
            }
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                self.fail();
            }
        }
    }

    fn hold(&mut self) {
        let scope = self.scope();
        let log = self.log().clone();
        let known = self.model.held.get(scope).copied();
        let place = self.numbers.below(3) == 0;
        let outcome = if place {
            log.hold(scope)
        } else {
            let Some(person) = self.person(&log, 0).unwrap() else {
                return;
            };
            person.release_hold(scope)
        };
        match outcome {
            Ok(_) => {
                assert!(place || known != Some(false), "{scope} was not under hold");
                self.model.held.insert(scope.to_owned(), place);
            }
            Err(EraseError::NotFound { .. }) if !place => {
                assert_ne!(known, Some(true), "{scope} was under hold");
                self.model.held.insert(scope.to_owned(), false);
            }
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                self.model.held.remove(scope);
                self.fail();
            }
        }
    }

    fn rotate(&mut self) -> Outcome {
        let log = self.log().clone();
        if self.numbers.below(2) == 0 {
            log.rotate_kek()?;
            return Ok(());
        }
        // While both sign, the former one is let go of.
        if let Err(error) = log.rotate_signing() {
            if error.code() == "signing_overlap" {
                log.end_signing_overlap()?;
            } else {
                assert!(self.is_excused(), "{error}");
                self.fail();
            }
        }
        Ok(())
    }

    fn rewrite(&mut self) {
        if let Err(error) = self.log().rewrite(&|_, _| {}) {
            assert!(self.is_excused(), "{error}");
            self.fail();
        }
    }

    fn start_epoch(&mut self) -> Outcome {
        if self.log().close_blocking().is_err() || self.machine.is_down() {
            assert!(self.is_excused());
            self.crash();
        } else {
            self.log = None;
            let opening = self.opening();
            let (disks, start) = (self.disks(), EpochStart::default());
            match Log::start_epoch_on(disks, &start, opening, |sealing| self.keys(sealing)) {
                Ok(started) => {
                    assert_eq!(started.position.get() + 1, started.log.size());
                    self.tally.epochs += 1;
                    if started.log.close_blocking().is_err() {
                        assert!(self.is_excused());
                        self.crash();
                    }
                }
                Err(error) => {
                    assert!(self.is_excused(), "{error}");
                    self.crash();
                }
            }
        }
        self.log = None;
        self.open_or_crash()
    }

    fn prove(&mut self) -> Outcome {
        let log = self.log().clone();
        let position = self.numbers.below(usize::try_from(log.size())?) as u64;
        match log.receipt(Position::new(position)) {
            Ok(receipt) => {
                let proof = Proof::Receipt(receipt.encode());
                self.model.proofs.push(proof);
            }
            Err(error) => assert!(self.is_excused(), "{error}"),
        }
        self.check_proofs(&log)
    }

    /// Everything that ever left the log is good: receipts, and checkpoints from which it has only
    /// grown.
    pub(super) fn check_proofs(&self, log: &Log) -> Outcome {
        let vkeys = log.vkeys();
        let policy = Policy::of_logs(vkeys.clone())?;
        for proof in &self.model.proofs {
            match proof {
                Proof::Receipt(file) => {
                    Receipt::parse(file)?.verify(&policy, &VerifyOptions::new())?;
                }
                Proof::Checkpoint(text) => {
                    let origin = text.lines().next().unwrap_or_default();
                    let earlier = SignedCheckpoint::parse_verify(text, origin, &vkeys)?;
                    let file = match log.consistency(text) {
                        Ok(consistency) => consistency.encode(),
                        Err(error) => {
                            let is_lost = error.kind() != ErrorKind::Corrupt;
                            assert!(is_lost && self.is_excused(), "{error}");
                            return Ok(());
                        }
                    };
                    Consistency::parse(&file)?.verify_across_epochs(&earlier, &policy)?;
                }
            }
        }
        Ok(())
    }

    /// Erasures that a crash has cut short are known to be so, and nothing else is amiss; they are
    /// finished.
    pub(super) fn finish_erasures(&mut self) {
        let log = self.log().clone();
        let is_pending = |log: &Log| {
            log.erasures()
                .iter()
                .any(|erasure| erasure.completed.is_none())
        };
        if !is_pending(&log) {
            return;
        }
        let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
        assert_eq!(report.worst(), Some(ProblemKind::Incomplete), "{report:?}");
        self.resume();
        assert!(!is_pending(&log));
    }
}

/// The key-encryption keys that wrap something.
fn keks(log: &Log) -> BTreeSet<String> {
    log.keys().into_iter().map(|key| key.kek_id).collect()
}
