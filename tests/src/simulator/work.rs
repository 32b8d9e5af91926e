//! What the clients of a simulated log ask of it.

use super::Simulation;
use super::copies::{FIELD, SECRET};
use super::model::{Fate, Part, Proof, Sent, fate_of};
use super::wire::was_cut;
use crate::tamper::Outcome;
use runstone_codec::{Control, Draft, NewEvent, Position};
use runstone_store::{
    Append, AppendError, Appended, Condition, Decision, Durability, Expected, Imported, Log, Query,
    Read,
};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use uuid::Uuid;

/// The scope of each stream. Streams and tags are few, so that everything meets.
pub(super) const SCOPES: [&str; 5] = ["default", "ann", "ann", "bob", "eve"];
const CLAIMS: usize = 6;

/// What a client is told.
enum Told {
    Appended(Result<Appended, AppendError>),
    Decided(Result<(bool, Vec<Position>), AppendError>),
}

impl Told {
    fn is_unknown(&self) -> bool {
        let error = match self {
            Self::Appended(told) => told.as_ref().err(),
            Self::Decided(told) => told.as_ref().err(),
        };
        error.is_some_and(is_unknown)
    }
}

/// Whether nobody knows what became of a commit: what a wire lost says nothing of the log.
fn is_unknown(error: &AppendError) -> bool {
    matches!(error, AppendError::OutcomeUnknown { .. }) && was_cut(error).is_none()
}

type Client<'a> = Pin<Box<dyn Future<Output = Told> + 'a>>;

impl Simulation {
    /// One thing that happens.
    pub(super) fn work(&mut self) -> Outcome {
        let what = self.numbers.below(56);
        self.note_opening();
        self.say(|| {
            let (log, struck) = (self.log(), self.machine.struck());
            let (size, durable) = (log.size(), log.durable_size());
            format!("{what}: {size} events, {durable} durable, {struck} faults")
        });
        match what {
            0..=9 => self.clients(Durability::Synced),
            10..=11 => self.clients(Durability::Buffered),
            12..=13 => self.import(),
            14 => self.sync(),
            15 => self.retry(),
            16 => self.release(),
            17 => self.rebuild(),
            18 => self.time(),
            19 => self.room(),
            20 | 31..=33 => self.replicas()?,
            21 => self.reopen()?,
            22 => self.compact()?,
            23..=29 => self.evidence()?,
            34..=51 => self.agents()?,
            52..=54 => self.sinks()?,
            _ => self.look(),
        }
        Ok(())
    }

    fn part(&mut self, with_id: bool) -> Part {
        let number = self.numbers.next_u64();
        let filler = match self.numbers.below(20) {
            0 => 9_000,
            1..=5 => 300,
            _ => self.numbers.below(60),
        };
        let mut tags = BTreeSet::new();
        if self.numbers.below(2) == 0 {
            tags.insert(format!("t:{}", self.numbers.below(4)));
        }
        let stream = self.numbers.below(SCOPES.len());
        Part {
            id: with_id.then(|| Uuid::from_u64_pair(number, self.model.sent.len() as u64)),
            stream: format!("run-{stream}"),
            scope: SCOPES[stream].to_owned(),
            tags,
            source: format!("{number:016x}"),
            payload: format!(
                "{{\"{FIELD}\":\"{number:016x}\",\"text\":\"{SECRET} {}\"}}",
                noise(number, filler)
            ),
        }
    }

    /// A request of a few events; some claim a tag, some expect a revision.
    fn request(&mut self) -> Sent {
        let with_id = self.numbers.below(3) > 0;
        let count = [1, 1, 1, 2, 5][self.numbers.below(5)];
        let mut parts: Vec<_> = (0..count).map(|_| self.part(with_id)).collect();
        let claim =
            (self.numbers.below(3) == 0).then(|| format!("claim:{}", self.numbers.below(CLAIMS)));
        if let Some(claim) = &claim {
            parts[0].tags.insert(claim.clone());
        }
        let expected = (self.numbers.below(3) == 0).then(|| {
            let stream = parts[0].stream.clone();
            let expected = match self.numbers.below(4) {
                0 => Expected::NoStream,
                _ => Expected::Exact(self.numbers.below(12) as u64),
            };
            (stream, expected)
        });
        Sent {
            parts,
            expected,
            claim,
            is_import: false,
            fate: Fate::Unknown,
        }
    }

    /// A few clients at once, whose requests come into few groups.
    pub(super) fn clients(&mut self, durability: Durability) {
        self.clients_while(durability, None);
    }

    /// The same; `meanwhile` happens when every request waits and none has been decided.
    pub(super) fn clients_while(
        &mut self,
        durability: Durability,
        meanwhile: Option<fn(&mut Self)>,
    ) {
        self.is_afar = meanwhile.is_none() && self.numbers.below(4) == 0;
        let log = self.asked_log();
        let first = self.model.sent.len();
        let mut clients: Vec<Option<Client<'_>>> = Vec::new();
        for _ in 0..1 + self.numbers.below(6) {
            let sent = self.request();
            // What a program decides is decided where the log is.
            let is_command =
                !self.is_afar && durability == Durability::Synced && self.numbers.below(4) == 0;
            clients.push(Some(if is_command {
                command(&log, &sent)
            } else {
                append(&log, &sent, durability)
            }));
            // The command decides by the claim alone.
            let mut sent = sent;
            if is_command {
                sent.parts.truncate(1);
                sent.expected = None;
            }
            self.model.sent.push(sent);
        }
        let struck = self.machine.struck();
        let mut context = Context::from_waker(Waker::noop());
        let mut left = clients.len();
        let mut all_told = Vec::new();
        if let Some(meanwhile) = meanwhile {
            for client in clients.iter_mut().flatten() {
                assert!(client.as_mut().poll(&mut context).is_pending());
            }
            meanwhile(self);
        }
        while left > 0 {
            let at = self.numbers.below(clients.len());
            let Some(client) = clients.get_mut(at).and_then(Option::as_mut) else {
                continue;
            };
            // Some give up waiting: the request may be recorded all the same.
            if self.numbers.below(60) == 0 {
                clients[at] = None;
                left -= 1;
                continue;
            }
            if let Poll::Ready(told) = client.as_mut().poll(&mut context) {
                clients[at] = None;
                left -= 1;
                all_told.push((first + at, told));
            }
        }
        if self.machine.struck() > struck {
            // Whoever would have been told that a commit failed may have given up waiting.
            self.fail();
        }
        self.is_afar = false;
        // A commit that failed comes before those that took its positions, whoever was polled first.
        all_told.sort_by_key(|(_, told)| !told.is_unknown());
        for (number, told) in all_told {
            self.note(number, told);
        }
    }

    fn note(&mut self, number: usize, told: Told) {
        self.tally.requests += 1;
        let mut failed = false;
        let sent = &mut self.model.sent[number];
        sent.fate = match told {
            Told::Appended(Ok(appended)) => {
                let positions = (appended.first.get()..=appended.last.get()).collect();
                match appended.durability {
                    Durability::Buffered => Fate::Buffered(positions),
                    _ => Fate::Durable(positions),
                }
            }
            Told::Decided(Ok((true, positions))) => {
                Fate::Durable(positions.into_iter().map(Position::get).collect())
            }
            Told::Decided(Ok((false, positions))) => {
                assert!(positions.is_empty(), "a refusal recorded {positions:?}");
                Fate::Refused
            }
            Told::Appended(Err(error)) | Told::Decided(Err(error)) => {
                failed = is_unknown(&error);
                self.tally.cut += u64::from(was_cut(&error).is_some());
                fate_of(&error)
            }
        };
        if failed {
            self.fail();
        }
        self.say(|| format!("  {number}: {:?}", self.model.sent[number].fate));
        self.synced_before(number);
    }

    /// What is acknowledged as durable makes everything before it durable.
    fn synced_before(&mut self, number: usize) {
        let Fate::Durable(positions) = &self.model.sent[number].fate else {
            return;
        };
        let durable = positions.last().copied().unwrap_or_default();
        for sent in &mut self.model.sent {
            if let Fate::Buffered(positions) = &sent.fate
                && positions.last().is_some_and(|last| *last < durable)
            {
                sent.fate = Fate::Durable(positions.clone());
            }
        }
    }

    fn import(&mut self) {
        let mut records = Vec::new();
        let first = self.model.sent.len();
        for _ in 0..1 + self.numbers.below(8) {
            let count = 1 + self.numbers.below(3);
            let parts: Vec<_> = (0..count).map(|_| self.part(true)).collect();
            records.push(drafts(&parts));
            self.model.sent.push(Sent {
                parts,
                expected: None,
                claim: None,
                is_import: true,
                fate: Fate::Unknown,
            });
        }
        // Some were imported before.
        let known: Vec<usize> = (0..first)
            .filter(|number| {
                let sent = &self.model.sent[*number];
                sent.is_import && sent.fate == Fate::Somewhere
            })
            .collect();
        let again = known.get(self.numbers.below(known.len().max(1))).copied();
        records.extend(again.map(|number| drafts(&self.model.sent[number].parts)));
        let answers = self.log().clone().import_blocking(records);
        let numbers = (first..self.model.sent.len()).chain(again);
        for (number, answer) in numbers.zip(answers) {
            self.tally.requests += 1;
            self.imported(number, again == Some(number), answer);
        }
    }

    fn imported(&mut self, number: usize, again: bool, answer: Result<Imported, AppendError>) {
        let sent = &mut self.model.sent[number];
        match answer {
            Ok(imported) => {
                let added = if again { 0 } else { sent.parts.len() };
                assert_eq!(imported.added, added, "import {number}: {imported:?}");
                sent.fate = Fate::Somewhere;
            }
            Err(error) => {
                if !again {
                    sent.fate = fate_of(&error);
                }
                if matches!(error, AppendError::OutcomeUnknown { .. }) {
                    self.fail();
                }
            }
        }
    }

    fn sync(&mut self) {
        let outcome = self.log().sync_blocking();
        match outcome {
            Ok(()) => {
                for sent in &mut self.model.sent {
                    if let Fate::Buffered(positions) = &sent.fate {
                        sent.fate = Fate::Durable(positions.clone());
                    }
                }
            }
            Err(_) => self.fail(),
        }
    }

    pub(super) fn fail(&mut self) {
        self.failed = true;
        self.model.doubt();
    }

    /// Sends a request again that nobody knows the outcome of, or that is recorded.
    fn retry(&mut self) {
        let candidates: Vec<usize> = (0..self.model.sent.len())
            .filter(|number| {
                let sent = &self.model.sent[*number];
                let is_known = matches!(sent.fate, Fate::Unknown | Fate::Durable(_));
                is_known && !sent.is_import && sent.parts.iter().all(|part| part.id.is_some())
            })
            .collect();
        let Some(number) = candidates.get(self.numbers.below(candidates.len().max(1))) else {
            return;
        };
        let (number, log) = (*number, self.log().clone());
        let sent = &self.model.sent[number];
        let before = sent.fate.clone();
        let answer = log.append_blocking(to_append(sent, Durability::Synced));
        match (before, answer) {
            (Fate::Durable(positions), Ok(appended)) => {
                assert!(appended.duplicate, "{number} was recorded twice");
                assert_eq!(positions.first(), Some(&appended.first.get()));
            }
            (Fate::Durable(_), Err(error)) => {
                // It is known whatever it expects; only a fault keeps that from being found.
                assert!(self.is_excused(), "{number}: {error}");
                if matches!(error, AppendError::OutcomeUnknown { .. }) {
                    self.fail();
                }
            }
            (_, answer) => {
                // What was refused now may have been recorded then.
                match answer {
                    Ok(appended) => self.note(number, Told::Appended(Ok(appended))),
                    Err(AppendError::OutcomeUnknown { .. }) => self.fail(),
                    Err(_) => {}
                }
            }
        }
    }

    /// A checkpoint leaves the house.
    fn release(&mut self) {
        let log = self.log().clone();
        if let Ok(signed) = log.checkpoint() {
            let checkpoint = signed.checkpoint();
            assert!(checkpoint.size <= log.durable_size());
            self.model.released.push((checkpoint.size, checkpoint.root));
            let proof = Proof::Checkpoint(signed.text().to_owned());
            self.model.proofs.push(proof);
        }
    }

    fn rebuild(&mut self) {
        match self.log().rebuild_folds(None, &|_, _| {}) {
            Ok(checks) => assert!(checks.iter().all(runstone_store::FoldCheck::is_equal)),
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                self.fail();
            }
        }
    }

    fn time(&mut self) {
        let micros = self.numbers.next_u64();
        match self.numbers.below(4) {
            // A day back, a year forward, as an administrator does it.
            0 => self.clock.set_wall(super::START_US - 86_400_000_000),
            1 => self.clock.set_wall(super::START_US + 31_536_000_000_000),
            _ => self.clock.advance(micros % 100_000_000),
        }
    }

    /// The disk fills up, or somebody makes room.
    fn room(&mut self) {
        self.is_full = self.numbers.below(2) == 0;
        let more = self.is_full.then(|| self.numbers.below(3 << 20) as u64);
        // A file system that does not tell is found out by the write.
        let tells = self.numbers.below(3) > 0;
        self.machine.set_room(more, tells);
    }

    /// Closed and opened again, as a restart does it.
    fn reopen(&mut self) -> Outcome {
        if self.log().close_blocking().is_err() || self.machine.is_down() {
            assert!(self.is_excused());
            self.crash();
        }
        self.log = None;
        self.open_or_crash()
    }

    fn compact(&mut self) -> Outcome {
        if self.log().close_blocking().is_err() || self.machine.is_down() {
            assert!(self.is_excused());
            self.crash();
        } else {
            self.log = None;
            let opening = self.opening();
            let disks = self.disks();
            let compacted = Log::compact_on(&disks, opening, |sealing| self.keys(sealing));
            if let Err(error) = compacted {
                assert!(self.is_excused(), "{error}");
                self.crash();
            }
        }
        self.log = None;
        self.open_or_crash()
    }

    /// Opens the log within a life, in which a fault may still be planned.
    pub(super) fn open_or_crash(&mut self) -> Outcome {
        match self.try_open() {
            Ok(log) => self.log = Some(log),
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                self.crash();
                self.recover()?;
            }
        }
        if self.crashed {
            self.machine.calm();
            self.check()?;
        }
        Ok(())
    }

    /// Whether something that was planned may be why something failed.
    pub(super) fn is_excused(&self) -> bool {
        self.machine.is_down() || self.machine.struck() > 0 || self.is_full
    }

    /// Reads by stream, by tag, backwards: the same as all events, filtered.
    fn look(&mut self) {
        let log = self.log().clone();
        let all: Result<Vec<_>, _> = log
            .read(Read::new(Query::everything()))
            .and_then(Iterator::collect);
        let all = match all {
            Ok(all) => all,
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                return;
            }
        };
        let stream = format!("run-{}", self.numbers.below(SCOPES.len()));
        let tag = format!("t:{}", self.numbers.below(4));
        let of_stream = |record: &&runstone_store::Record| record.header.stream == stream;
        let of_tag = |record: &&runstone_store::Record| record.header.has_tag(&tag);
        let expected: [Vec<Position>; 2] = [
            all.iter()
                .filter(of_stream)
                .map(|record| record.position)
                .collect(),
            all.iter()
                .rev()
                .filter(of_tag)
                .map(|record| record.position)
                .collect(),
        ];
        let mut backwards = Read::new(Query::tag(&tag));
        backwards.reverse = true;
        let reads = [Read::new(Query::stream(&stream)), backwards];
        for (read, expected) in reads.into_iter().zip(expected) {
            let found: Result<Vec<_>, _> = log
                .read(read)
                .and_then(|records| records.map(|record| record.map(|r| r.position)).collect());
            match found {
                Ok(found) => assert_eq!(found, expected),
                Err(error) => assert!(self.is_excused(), "{error}"),
            }
        }
    }
}

/// Text that does not compress to nothing.
fn noise(seed: u64, length: usize) -> String {
    let mut numbers = crate::tamper::Seeded::new(seed);
    let letters = b"abcdefghijklmnopqrstuvwxyz      ";
    (0..length)
        .map(|_| char::from(letters[numbers.below(letters.len())]))
        .collect()
}

fn event(part: &Part) -> NewEvent {
    let mut event = NewEvent::new("tool.called", part.stream.clone())
        .tags(part.tags.iter().cloned())
        .source(part.source.clone())
        .payload(part.payload.clone());
    if part.scope != SCOPES[0] {
        event = event.scope(part.scope.clone());
    }
    match part.id {
        Some(id) => event.id(id),
        None => event,
    }
}

fn drafts(parts: &[Part]) -> Vec<Draft> {
    parts.iter().map(|part| Draft::new(event(part))).collect()
}

fn to_append(sent: &Sent, durability: Durability) -> Append {
    let mut append = Append::new(sent.parts.iter().map(event));
    if let Some((stream, expected)) = &sent.expected {
        append = append.expect(stream.clone(), *expected);
    }
    if let Some(claim) = &sent.claim {
        append = append.condition(Condition::none(Query::tag(claim)));
    }
    append.durability = Some(durability);
    append
}

fn append<'a>(log: &'a Log, sent: &Sent, durability: Durability) -> Client<'a> {
    let append = to_append(sent, durability);
    Box::pin(async move { Told::Appended(log.append(append).await) })
}

/// Records the first event of the request unless its claim is taken.
fn command<'a>(log: &'a Log, sent: &Sent) -> Client<'a> {
    let candidates = drafts(&sent.parts[..1]);
    let claim = sent.claim.clone();
    Box::pin(async move {
        let decided = log.command(candidates, move |context| {
            let taken = match &claim {
                Some(claim) => context.last_tagged(claim)?.is_some(),
                None => false,
            };
            if taken {
                return Ok(Decision::nothing(false));
            }
            let fence = Control::new().u64(1, context.next_position().get());
            Ok(Decision::record(0, fence, true))
        });
        Told::Decided(decided.await)
    })
}
