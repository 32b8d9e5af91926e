//! One group commit at a time.
//!
//! ```text
//! drain -> stage each request (verdict for each) -> head, MAC -> ONE transaction -> LOG.head -> publish -> answers
//! ```

use super::decide::DecideContext;
use super::maintain::Maintenance;
use super::request::{Answer, AnyAnswer, Guards, Outcome, Prepared, Request, Work};
use super::scopes::ScopeCache;
use super::ticket::Ticket;
use crate::append::Expected;
use crate::chunk::{CHUNK_TARGET, ChunkBuilder, Head};
use crate::clock::micros;
use crate::engine::{Change, Db, NumberTable, Snapshot};
use crate::error::{AppendError, Corruption, StorageError};
use crate::fold::{FoldHost, FoldRecord, Look, Payload};
use crate::headfile::HeadFile;
use crate::identity::Identity;
use crate::index::{self, Index, TermBuffer, terms_of};
use crate::options::Durability;
use crate::read::{Packing, Sought, Stretch, stream_scope};
use crate::signing::Signing;
use crate::tree::Tree;
use runstone_codec::hash::leaf_hash;
use runstone_codec::{
    Control, EntryParts, Header, Position, Revision, Text, control, encode_entry,
};
use runstone_receipt::head::head_mac;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// Bytes that a commit may write besides twice its events: pages around them, maintenance.
const COMMIT_BYTES: u64 = 1 << 20;

/// What the writer owns; one thread at a time has it.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) identity: Arc<Identity>,
    pub(crate) db: Arc<Db>,
    pub(crate) head_file: HeadFile,
    pub(crate) tree: Tree,
    pub(crate) index: Index,
    pub(crate) terms: TermBuffer,
    /// The term that was asked for last: memory for the next one.
    pub(crate) stream_term: Vec<u8>,
    pub(crate) scopes: ScopeCache,
    pub(crate) signing: Arc<Signing>,
    pub(crate) maintenance: Maintenance,
    /// Positions below this are durable.
    pub(crate) durable: u64,
    /// `recorded_at` of the last event, microseconds since the epoch.
    pub(crate) newest_us: u64,
}

/// A commit failed; the writer must be made anew from what is on disk.
#[derive(Debug)]
pub(crate) struct CommitFailed {
    pub(crate) error: StorageError,
    /// Requests whose outcome is unknown.
    pub(crate) tickets: Vec<Arc<Ticket<Answer>>>,
}

/// A commit that succeeded.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) answers: Vec<(Arc<Ticket<Answer>>, Answer)>,
    pub(crate) head: Option<Head>,
    pub(crate) synced: bool,
    /// Its events, as they are read from now on; without those that nobody waits for.
    pub(crate) seen: Vec<Arc<Stretch>>,
}

/// Events of the group being built.
struct Group {
    closed: Vec<(u64, ChunkBuilder)>,
    open: ChunkBuilder,
    recorded_at_us: u64,
    entry: Vec<u8>,
    /// The stream of the last event, none has an empty name, and the revision that comes next there.
    stream: Text,
    next_revision: u64,
    synced: bool,
    events: u64,
    seen: Packing,
}

impl Writer {
    /// Bytes that may be written now; none if there is no end to them.
    fn room(&self) -> Result<Option<u64>, AppendError> {
        let options = &self.identity.options;
        if let Some(why) = &self.identity.read_only {
            return Err(AppendError::ReadOnly { why: why.clone() });
        }
        let unreachable_us = self.signing.copies_unreachable_us(options.clock.as_ref());
        if unreachable_us > micros(options.copy_grace) {
            return Err(AppendError::ReadOnly {
                why: "a checkpoint copy has been out of reach for longer than copy_grace"
                    .to_owned(),
            });
        }
        Ok(self.db.available()?)
    }

    /// Takes the requests that there is room for and refuses the others: a full disk must be found
    /// before the database meets it, which would then fail reads too.
    fn admit(&self, requests: Vec<Request>) -> Vec<Request> {
        let room = self.room();
        let mut needed = COMMIT_BYTES.saturating_add(self.identity.options.disk_margin_bytes);
        let mut admitted = Vec::with_capacity(requests.len());
        for request in requests {
            let with_it = needed.saturating_add(request.bytes().saturating_mul(2));
            let refusal = match &room {
                Ok(Some(available)) if with_it > *available => AppendError::StorageFull {
                    needed: with_it,
                    available: *available,
                },
                Ok(_) => {
                    needed = with_it;
                    admitted.push(request);
                    continue;
                }
                Err(error) => error.clone(),
            };
            request.ticket.give(Err(refusal));
        }
        admitted
    }

    /// Decides, records and makes durable; answers are handed back so that they are given after
    /// everything else that waits for the commit.
    pub(crate) fn run(
        &mut self,
        requests: Vec<Request>,
        folds: &mut FoldHost,
        sign: impl FnOnce(&Head),
    ) -> Result<Committed, CommitFailed> {
        let requests = self.admit(requests);
        if requests.is_empty() {
            return Ok(Committed {
                answers: Vec::new(),
                head: None,
                synced: false,
                seen: Vec::new(),
            });
        }
        // Whoever waits must be told, however far this comes.
        let tickets: Vec<_> = requests
            .iter()
            .map(|request| Arc::clone(&request.ticket))
            .collect();
        let failed = |error: StorageError| CommitFailed {
            error,
            tickets: tickets.clone(),
        };
        let snapshot = self.db.snapshot().map_err(&failed)?;
        let bytes = requests.iter().map(Request::bytes).sum();
        let mut group = Group {
            closed: Vec::new(),
            open: ChunkBuilder::with_room(self.tree.size(), bytes),
            recorded_at_us: self.identity.next_us(),
            entry: Vec::with_capacity(512),
            stream: Text::default(),
            next_revision: 0,
            synced: false,
            events: 0,
            seen: Packing::with_room(bytes),
        };
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let ticket = Arc::clone(&request.ticket);
            let synced = request.durability == Durability::Synced;
            let before = self.tree.size();
            let verdict = self.stage(&mut group, folds, &snapshot, request);
            if let (Err(error), true) = (&verdict, self.tree.size() != before) {
                // Half of a request is in the group: nothing of the group may be written.
                let message = error.to_string();
                return Err(failed(StorageError::Damaged { message }));
            }
            group.synced |= synced && verdict.is_ok();
            answers.push((ticket, verdict));
        }
        self.commit(group, folds, &snapshot, sign, answers)
    }

    fn commit(
        &mut self,
        mut group: Group,
        folds: &mut FoldHost,
        snapshot: &Snapshot,
        sign: impl FnOnce(&Head),
        answers: Vec<(Arc<Ticket<Answer>>, Answer)>,
    ) -> Result<Committed, CommitFailed> {
        let behind = self.durable < self.tree.size();
        if group.events == 0 && !(group.synced && behind) {
            return Ok(Committed {
                answers,
                head: None,
                synced: false,
                seen: Vec::new(),
            });
        }
        let tickets = |answers: &[(Arc<Ticket<Answer>>, Answer)]| {
            answers
                .iter()
                .filter(|(_, answer)| answer.is_ok())
                .map(|(ticket, _)| Arc::clone(ticket))
                .collect()
        };
        if group.events > 0 {
            self.newest_us = group.recorded_at_us;
        }
        let head = self.head(self.newest_us);
        sign(&head);
        let outcome = self.write(&mut group, &head, folds, snapshot);
        match outcome {
            Ok(()) => Ok(Committed {
                answers,
                head: Some(head),
                synced: group.synced,
                seen: group.seen.finish(),
            }),
            Err(error) => {
                let unknown = tickets(&answers);
                for (ticket, answer) in answers {
                    if answer.is_err() {
                        // What it was refused for may not be recorded.
                        ticket.give(Err(AppendError::Reopening));
                    }
                }
                Err(CommitFailed {
                    error,
                    tickets: unknown,
                })
            }
        }
    }

    fn write(
        &mut self,
        group: &mut Group,
        head: &Head,
        folds: &mut FoldHost,
        snapshot: &Snapshot,
    ) -> Result<(), StorageError> {
        let mut changes = Vec::with_capacity(group.closed.len() + 1);
        for (first, chunk) in group.closed.drain(..) {
            let bytes = chunk.encode(None);
            changes.push(Change::PutNumber(NumberTable::Chunks, first, bytes));
        }
        if !group.open.is_empty() {
            let bytes = group.open.encode(Some(head));
            changes.push(Change::PutNumber(
                NumberTable::Chunks,
                group.open.first(),
                bytes,
            ));
        }
        let slice = self.maintain(folds, snapshot, group.events)?;
        changes.extend(slice);
        self.db.commit(&changes, group.synced)?;
        self.maintained(folds);
        if group.synced {
            self.durable = head.size;
            self.head_file
                .write(&self.identity.log_id, head)
                .map_err(|error| StorageError::io("LOG.head", &error))?;
        }
        Ok(())
    }

    pub(crate) fn head(&self, recorded_at_us: u64) -> Head {
        let (size, root) = (self.tree.size(), self.tree.root());
        Head {
            size,
            root,
            recorded_at_us,
            mac: head_mac(
                &self.identity.mac,
                &self.identity.log_id,
                size,
                &root,
                recorded_at_us,
            ),
            peaks: self.tree.peaks(),
        }
    }

    /// Verdict on one request; on `Ok` its events are in the group, else nothing changed.
    fn stage(
        &mut self,
        group: &mut Group,
        folds: &mut FoldHost,
        snapshot: &Snapshot,
        mut request: Request,
    ) -> Answer {
        if !self.is_sealed_right(&request, snapshot)? {
            return Ok(Outcome::Reseal(Box::new(request)));
        }
        match &mut request.work {
            Work::Sync => Ok(Outcome::Synced),
            Work::Append => {
                if let Some(known) = self.known(&request.events, snapshot)? {
                    return Ok(Outcome::Known { positions: known });
                }
                let guards = request.guards.as_deref();
                if let Some(guards) = guards {
                    self.check(guards, snapshot)?;
                }
                let first = self.tree.size();
                let mut events = request.events;
                for event in &mut events {
                    self.record(group, folds, snapshot, event)?;
                }
                let sought = guards.into_iter().flat_map(|guards| &guards.conditions);
                for absent in sought.flat_map(Sought::absent) {
                    self.index.begins(absent);
                }
                Ok(Outcome::Recorded { first, events })
            }
            Work::Import => self.import(group, folds, snapshot, &mut request.events),
            Work::Command(decider) => {
                self.check_unknown(&request.events, snapshot)?;
                let mut context = DecideContext {
                    now_us: group.recorded_at_us,
                    steady_us: self.identity.steady_us(),
                    next_position: self.tree.size(),
                    folds,
                    index: &mut self.index,
                    snapshot,
                    candidates: &request.events,
                    opening: self.identity.opening(),
                };
                let decision = decider(&mut context)?;
                let mut chosen = choose(request.events, decision.record)?;
                self.decided(group, folds, snapshot, &mut chosen, decision.answer)
            }
        }
    }

    fn decided(
        &mut self,
        group: &mut Group,
        folds: &mut FoldHost,
        snapshot: &Snapshot,
        chosen: &mut [Prepared],
        answer: AnyAnswer,
    ) -> Answer {
        let first = self.tree.size();
        for event in chosen {
            self.record(group, folds, snapshot, event)?;
        }
        Ok(Outcome::Decided {
            answer,
            positions: (first..self.tree.size()).collect(),
        })
    }

    fn import(
        &mut self,
        group: &mut Group,
        folds: &mut FoldHost,
        snapshot: &Snapshot,
        events: &mut [Prepared],
    ) -> Answer {
        for event in events.iter() {
            self.position_of(&event.header.event_id, snapshot)?;
        }
        let mut positions = Vec::with_capacity(events.len());
        for event in events {
            // Looked up again one by one: a record may name one id twice.
            if let Some(position) = self.position_of(&event.header.event_id, snapshot)? {
                positions.push((position, true));
            } else {
                positions.push((self.tree.size(), false));
                self.record(group, folds, snapshot, event)?;
            }
        }
        Ok(Outcome::Imported { positions })
    }

    /// Whether every key is active and every guessed scope is right; a named scope that is not
    /// the stream's is the caller's mistake.
    fn is_sealed_right(
        &mut self,
        request: &Request,
        snapshot: &Snapshot,
    ) -> Result<bool, AppendError> {
        let mut new_streams: BTreeMap<&str, &str> = BTreeMap::new();
        let mut before: Option<&Header> = None;
        for event in &request.events {
            let header = &event.header;
            // What was found out about the event before it holds for this one too.
            if before.replace(header).is_some_and(|before| {
                before.stream == header.stream
                    && before.scope == header.scope
                    && before.key_id == header.key_id
            }) {
                continue;
            }
            if let Some(key_id) = &header.key_id
                && !self.identity.keys.is_active(key_id)
            {
                return Ok(false);
            }
            // What recording looks up is looked up before anything is recorded: an index that is
            // damaged there fails this request alone.
            index::stream_into(&header.stream, &mut self.stream_term);
            let head = self.index.head(snapshot, &self.stream_term)?;
            let scope = match self.scopes.get(&header.stream) {
                Some(scope) if scope == header.scope => continue,
                Some(scope) => Some(scope.to_owned()),
                None if head.is_none() => None,
                None => match self.stored_scope(&header.stream, snapshot)? {
                    Some(scope) => Some(scope),
                    // It began in this group, and is not remembered: the next one finds it.
                    None => return Ok(false),
                },
            };
            match scope {
                Some(scope) if scope == header.scope => {}
                Some(scope) if event.named_scope => return Err(scope_mismatch(event, scope)),
                Some(_) => return Ok(false),
                None => {
                    let earlier = new_streams.entry(&header.stream).or_insert(&header.scope);
                    if *earlier != header.scope {
                        return Err(scope_mismatch(event, (*earlier).to_owned()));
                    }
                }
            }
        }
        Ok(true)
    }

    /// The scope of a stream that is in the snapshot.
    fn stored_scope(
        &mut self,
        stream: &str,
        snapshot: &Snapshot,
    ) -> Result<Option<String>, AppendError> {
        let scope = stream_scope(&self.index.view(self.tree.size()), snapshot, stream)?;
        if let Some(scope) = &scope {
            self.scopes.set(stream, scope);
        }
        Ok(scope)
    }

    fn position_of(&mut self, id: &Uuid, snapshot: &Snapshot) -> Result<Option<u64>, AppendError> {
        Ok(self.index.last(snapshot, &index::event_id(id.as_bytes()))?)
    }

    /// Positions of the events if all of them are known; none if all are new.
    fn known(
        &mut self,
        events: &[Prepared],
        snapshot: &Snapshot,
    ) -> Result<Option<Vec<u64>>, AppendError> {
        let mut positions = Vec::new();
        let mut given = BTreeSet::new();
        for event in events.iter().filter(|event| event.given_id) {
            let id = event.header.event_id;
            if !given.insert(id) {
                return Err(AppendError::DuplicateId { id });
            }
            positions.extend(self.position_of(&id, snapshot)?);
        }
        if positions.is_empty() {
            return Ok(None);
        }
        if positions.len() == events.len() {
            return Ok(Some(positions));
        }
        Err(AppendError::PartialDuplicate {
            known: positions.len(),
            total: events.len(),
        })
    }

    /// A command is not decided twice: none of the ids that its caller gave may be recorded.
    fn check_unknown(
        &mut self,
        events: &[Prepared],
        snapshot: &Snapshot,
    ) -> Result<(), AppendError> {
        let mut given = BTreeSet::new();
        for event in events.iter().filter(|event| event.given_id) {
            let id = event.header.event_id;
            if !given.insert(id) {
                return Err(AppendError::DuplicateId { id });
            }
            if let Some(position) = self.position_of(&id, snapshot)? {
                return Err(AppendError::EventIdKnown { id, position });
            }
        }
        Ok(())
    }

    /// Checks expectations and conditions.
    fn check(&mut self, guards: &Guards, snapshot: &Snapshot) -> Result<(), AppendError> {
        for (stream, expected) in &guards.expected {
            index::stream_into(stream, &mut self.stream_term);
            let head = self.index.head(snapshot, &self.stream_term)?;
            let last = head.map(|head| head.count.saturating_sub(1));
            let holds = match expected {
                Expected::Any => true,
                Expected::NoStream => last.is_none(),
                Expected::Exact(revision) => last == Some(*revision),
            };
            if !holds {
                return Err(AppendError::Conflict {
                    stream: stream.clone(),
                    expected: *expected,
                    actual: last,
                });
            }
        }
        let limit = self.identity.options.condition_scan;
        for condition in &guards.conditions {
            if let Some(position) = condition.find(&mut self.index, snapshot, limit)? {
                return Err(AppendError::ConditionFailed { position });
            }
        }
        Ok(())
    }

    /// Puts one event into the group, the tree, the index and the folds.
    fn record(
        &mut self,
        group: &mut Group,
        folds: &mut FoldHost,
        snapshot: &Snapshot,
        event: &mut Prepared,
    ) -> Result<(), AppendError> {
        let Prepared {
            header,
            sealed,
            control: fields,
            seen,
            ..
        } = event;
        let position = self.tree.size();
        let is_of_last_stream = group.stream == header.stream;
        let revision = if is_of_last_stream {
            group.next_revision
        } else {
            index::stream_into(&header.stream, &mut self.stream_term);
            let head = self.index.head(snapshot, &self.stream_term)?;
            head.map_or(0, |head| head.count)
        };
        let plain_control = fields.encode().map_err(|error| {
            AppendError::Corrupt(Corruption::at(
                position,
                "control fields",
                error.to_string(),
            ))
        })?;
        let control = self.seal_control(&sealed.header, position, &plain_control)?;
        group.entry.clear();
        let parts = EntryParts {
            header: &sealed.header,
            position: Position::new(position),
            revision: Revision::new(revision),
            recorded_at_us: group.recorded_at_us,
            control: &control,
            commit: &sealed.commit,
            digest: &sealed.digest,
        };
        encode_entry(&parts, &mut group.entry).map_err(|error| {
            AppendError::Corrupt(Corruption::at(position, "an entry", error.to_string()))
        })?;
        if group
            .open
            .is_full_for(group.entry.len() + sealed.envelope.len())
        {
            let full = std::mem::replace(
                &mut group.open,
                ChunkBuilder::with_room(position, CHUNK_TARGET as u64),
            );
            group.closed.push((full.first(), full));
        }
        group.open.push(&group.entry, &sealed.envelope);
        group.events += 1;
        self.tree.push(leaf_hash(&group.entry));
        terms_of(header, &mut self.terms);
        self.index.insert(position, self.terms.iter())?;
        group.next_revision = revision + 1;
        if !is_of_last_stream {
            group.stream.clone_from(&header.stream);
            self.scopes.set(&header.stream, &header.scope);
        }
        if !folds.is_empty() {
            let open = || self.open_payload(position, header, sealed);
            let record = FoldRecord {
                position: Position::new(position),
                revision: Revision::new(revision),
                recorded_at_us: group.recorded_at_us,
                header,
                control: fields,
                open: &open,
            };
            folds.apply(&Look::At(snapshot), &record);
        }
        if let Some(content) = seen.as_ref().and_then(Payload::bytes) {
            let place = (position, revision, group.recorded_at_us);
            group
                .seen
                .push(place, (&sealed.header, &plain_control), content);
        }
        Ok(())
    }

    fn open_payload(
        &self,
        position: u64,
        header: &Header,
        sealed: &runstone_codec::Sealed,
    ) -> Payload {
        crate::read::open_payload(
            &self.identity,
            position,
            &sealed.header,
            header,
            &sealed.envelope,
            &sealed.commit,
        )
    }

    fn seal_control(
        &self,
        header: &[u8],
        position: u64,
        plain: &[u8],
    ) -> Result<Vec<u8>, AppendError> {
        if plain.is_empty() {
            return Ok(Vec::new());
        }
        let mut nonce = [0; 12];
        let entropy = &self.identity.options.entropy;
        entropy.fill(&mut nonce).map_err(|error| {
            AppendError::Storage(StorageError::Database {
                message: error.to_string(),
            })
        })?;
        control::seal(
            self.identity.operations.as_deref(),
            &self.identity.log_id,
            header,
            Position::new(position),
            nonce,
            plain,
        )
        .map_err(AppendError::Seal)
    }
}

fn scope_mismatch(event: &Prepared, scope: String) -> AppendError {
    AppendError::ScopeMismatch {
        stream: event.header.stream.to_string(),
        scope,
        asked: event.header.scope.to_string(),
    }
}

/// Takes the candidates that a decision chose, with the control fields it adds.
fn choose(
    candidates: Vec<Prepared>,
    chosen: Vec<(usize, Control)>,
) -> Result<Vec<Prepared>, AppendError> {
    let mut seen = BTreeSet::new();
    let mut candidates: Vec<_> = candidates.into_iter().map(Some).collect();
    chosen
        .into_iter()
        .map(|(at, control)| {
            seen.insert(at);
            let mut event = candidates
                .get_mut(at)
                .and_then(Option::take)
                .ok_or(AppendError::Empty)?;
            event.control = event.control.merge(control);
            // Before anything is recorded: a decision is recorded whole.
            event.control.encode()?;
            Ok(event)
        })
        .collect()
}
