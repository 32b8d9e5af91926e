//! The caller's part of an append: checks, ids, keys, sealing. The writer seals only control and
//! never calls a key provider.

use crate::append::Append;
use crate::error::AppendError;
use crate::fold::Payload;
use crate::hex::hex;
use crate::log::Here;
use crate::options::Sealing;
use crate::write::{Prepared, Request};
use runstone_codec::event::{DEFAULT_SCOPE, LOG_SCOPE};
use runstone_codec::keys::{DataKey, keyed_digest};
use runstone_codec::{
    Authority, Compression, Control, ControlValue, Draft, EventLimits, Header, Keyed, KeyedTarget,
    NewEvent, PayloadSpec, Position, namespace, seal, uuid_v7,
};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle, available_parallelism};
use uuid::Uuid;

/// Stream of the log's own events.
pub(crate) const LOG_STREAM: &str = "log";
/// Namespace of the log's own events.
const LOG_NAMESPACE: &str = "log";
/// Random bytes for one event: the commitment's R, the nonce, the id.
const RANDOM: usize = 32 + 12 + 10;

/// Fewest events that a thread is begun for. A guess, not tuned: beginning a thread has a price too.
const SHARE: usize = 128;

/// Who a handle acts as: stamped on every event, never taken from a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) principal: String,
    pub(crate) authority: Authority,
}

impl Actor {
    /// Whoever holds the keyring and shows no credential.
    pub(crate) fn keyring() -> Self {
        Self {
            principal: "system:keyring".to_owned(),
            authority: Authority::System,
        }
    }
}

/// An event of the log itself goes in without the checks on owned names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Caller,
    Log,
}

impl Here {
    pub(crate) fn check_append(&self, append: &Append) -> Result<(), AppendError> {
        if append.events.is_empty() {
            return Err(AppendError::Empty);
        }
        self.check_size(append.events.iter())?;
        for event in &append.events {
            if namespace::is_owned(&event.event_type) {
                return Err(AppendError::OwnedNamespace {
                    event_type: event.event_type.clone(),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn check_drafts(&self, drafts: &[Draft]) -> Result<(), AppendError> {
        if drafts.is_empty() {
            return Err(AppendError::Empty);
        }
        self.check_size(drafts.iter().map(|draft| &draft.event))
    }

    fn check_size<'a>(
        &self,
        events: impl ExactSizeIterator<Item = &'a NewEvent>,
    ) -> Result<(), AppendError> {
        let options = &self.shared.identity.options;
        let over = |what, actual: u64, limit: u64, option| {
            if actual <= limit {
                return Ok(());
            }
            Err(AppendError::Limit {
                what,
                actual,
                limit,
                option,
            })
        };
        over(
            "the number of events",
            events.len() as u64,
            options.append_events,
            "append_events",
        )?;
        let bytes = events.map(|event| event.payload.len() as u64).sum();
        over(
            "the payload of all events",
            bytes,
            options.append_bytes,
            "append_bytes",
        )
    }

    /// Checks and seals what a caller offers, for the queue.
    pub(crate) fn prepare<'a>(
        &self,
        offered: impl ExactSizeIterator<Item = Offered<'a>>,
        actor: &Actor,
    ) -> Result<Vec<Prepared>, AppendError> {
        self.prepare_as(offered, actor, Owner::Caller)
    }

    /// Checks and seals an event of the log itself, for the queue.
    pub(crate) fn prepare_own(
        &self,
        mut events: Vec<NewEvent>,
        actor: &Actor,
    ) -> Result<Vec<Prepared>, AppendError> {
        let offered = events.iter_mut().map(Offered::from);
        self.prepare_as(offered, actor, Owner::Log)
    }

    fn prepare_as<'a>(
        &self,
        offered: impl ExactSizeIterator<Item = Offered<'a>>,
        actor: &Actor,
        owner: Owner,
    ) -> Result<Vec<Prepared>, AppendError> {
        let identity = &self.shared.identity;
        if let Some(why) = &identity.read_only {
            return Err(AppendError::ReadOnly { why: why.clone() });
        }
        self.shared.check_appendable()?;
        let mut random = vec![0; offered.len() * RANDOM];
        identity
            .options
            .entropy
            .fill(&mut random)
            .map_err(|error| AppendError::Keys {
                code: "entropy",
                message: error.to_string(),
            })?;
        let now_us = identity.options.clock.wall_us();
        let mut scopes = LocalScopes::default();
        let mut before: Option<Checked<'_>> = None;
        let checked: Vec<_> = offered
            .zip(random.as_chunks::<RANDOM>().0)
            .map(|(offered, random)| {
                let event = offered.event;
                if owner == Owner::Caller {
                    event.check(&identity.options.limits)?;
                    check_names(event)?;
                } else {
                    // The limits of a process are for what callers bring.
                    event.check(&EventLimits::default())?;
                }
                let like = before.take().filter(|before| {
                    before.event.stream == event.stream && before.event.scope == event.scope
                });
                let scope = match &like {
                    Some(like) => Arc::clone(&like.scope),
                    None => Arc::from(self.scope_of(event, &mut scopes)?),
                };
                let plain = owner == Owner::Log && namespace::is_evidence(&event.event_type);
                let key = match (identity.sealing, like.and_then(|like| like.key)) {
                    (Sealing::Required, Some(key)) if !plain => Some(key),
                    (Sealing::Required, _) if !plain => Some(identity.keys.active(&scope, now_us)?),
                    _ => None,
                };
                let checked = Checked {
                    event,
                    with: offered.with,
                    scope,
                    key,
                    random,
                };
                before = Some(checked.clone());
                Ok::<_, AppendError>(checked)
            })
            .collect::<Result<_, _>>()?;
        self.seal_all(checked, actor, now_us)
    }

    /// Seals events; many of them on as many threads as there are processors.
    fn seal_all(
        &self,
        mut checked: Vec<Checked<'_>>,
        actor: &Actor,
        now_us: u64,
    ) -> Result<Vec<Prepared>, AppendError> {
        let sealed = |some: Vec<Checked<'_>>| -> Result<Vec<Prepared>, AppendError> {
            let some = some.into_iter();
            some.map(|one| self.seal(one, actor, now_us)).collect()
        };
        if checked.len() <= SHARE {
            return sealed(checked);
        }
        let threads = available_parallelism().map_or(1, NonZero::get);
        let share = checked.len().div_ceil(threads).max(SHARE);
        let mut shares = Vec::new();
        while checked.len() > share {
            let rest = checked.split_off(share);
            shares.push(Mutex::new(std::mem::replace(&mut checked, rest)));
        }
        let of = |share: &Mutex<Vec<Checked<'_>>>| {
            let mut share = share.lock().unwrap_or_else(PoisonError::into_inner);
            sealed(std::mem::take(&mut *share))
        };
        thread::scope(|scope| {
            let of = &of;
            let spawned = shares.iter().map(|share| {
                let thread = thread::Builder::new().spawn_scoped(scope, move || of(share));
                (share, thread)
            });
            let spawned: Vec<_> = spawned.collect();
            let last = sealed(checked);
            let mut all = Vec::new();
            for (share, thread) in spawned {
                all.append(&mut match thread.map(ScopedJoinHandle::join) {
                    Ok(Ok(sealed)) => sealed?,
                    Ok(Err(panic)) => resume_unwind(panic),
                    // There is no thread to be had.
                    Err(_) => of(share)?,
                });
            }
            all.append(&mut last?);
            Ok(all)
        })
    }

    /// The scope that the stream has, or will have with this event.
    fn scope_of(&self, event: &NewEvent, local: &mut LocalScopes) -> Result<String, AppendError> {
        let owned = namespace::owned_stream(&event.stream);
        if let Some(fixed) = owned.and_then(|owned| owned.scope) {
            return match &event.scope {
                Some(asked) if asked != fixed => Err(AppendError::ScopeMismatch {
                    stream: event.stream.clone(),
                    scope: fixed.to_owned(),
                    asked: asked.clone(),
                }),
                _ => Ok(fixed.to_owned()),
            };
        }
        if let Some(scope) = &event.scope {
            if !local.0.contains_key(&event.stream) {
                local.0.insert(event.stream.clone(), scope.clone());
            }
            return Ok(scope.clone());
        }
        if event.stream == LOG_STREAM {
            return Ok(LOG_SCOPE.to_owned());
        }
        if let Some(scope) = local.0.get(&event.stream) {
            return Ok(scope.clone());
        }
        let scope = match self.shared.stream_scope(&event.stream)? {
            Some(scope) => scope,
            None => DEFAULT_SCOPE.to_owned(),
        };
        local.0.insert(event.stream.clone(), scope.clone());
        Ok(scope)
    }

    fn seal(
        &self,
        checked: Checked<'_>,
        actor: &Actor,
        now_us: u64,
    ) -> Result<Prepared, AppendError> {
        let identity = &self.shared.identity;
        let Checked {
            event,
            with,
            scope,
            key,
            random,
        } = checked;
        let (blind, rest) = random.split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
        let (nonce, rest) = rest.split_first_chunk::<12>().unwrap_or((&[0; 12], &[]));
        let id_random = rest.first_chunk::<10>().unwrap_or(&[0; 10]);
        let (control, keyed) = with.unwrap_or((&NOTHING, &[]));
        let mut control = control.clone();
        let mut header = event.header(
            event
                .event_id
                .unwrap_or_else(|| uuid_v7(now_us / 1000, id_random)),
            &scope,
            &actor.principal,
            actor.authority,
            key.as_ref().map(|key| *key.id()),
        );
        if !keyed.is_empty() {
            let lookup = identity.keys.lookup(&scope)?;
            for digest in keyed {
                let value = keyed_digest(&lookup, &digest.label, &digest.parts);
                match &digest.target {
                    KeyedTarget::Tag(name) => {
                        header.tags.push(format!("{name}:{}", hex(&value)).into());
                    }
                    KeyedTarget::Control(field) => {
                        control.insert(*field, ControlValue::Bytes(value.to_vec()));
                    }
                }
            }
            header.tags.sort_unstable();
            header.tags.dedup();
        }
        // The writer must be able to record whatever it is given.
        control.encode()?;
        let spec = PayloadSpec {
            fields: event.fields || identity.fields,
            compress: Compression::Auto,
        };
        let sealed = seal::seal(
            &identity.log_id,
            &header,
            &event.payload,
            spec,
            key.as_deref(),
            *blind,
            *nonce,
        )?;
        let is_awaited = self.shared.recent.awaits(event.payload.len());
        let seen = is_awaited.then(|| Payload::Open(event.payload.clone()));
        Ok(Prepared {
            header,
            sealed,
            control,
            seen,
            given_id: event.event_id.is_some(),
            named_scope: event.scope.is_some(),
        })
    }

    /// The request with its events sealed again from their drafts, under the keys and scopes that
    /// hold now: digests are keyed by the scope, so nothing of what was sealed can be kept.
    pub(crate) fn reseal(
        &self,
        request: Request,
        drafts: &mut [Draft],
    ) -> Result<Request, AppendError> {
        let events = self.prepare(drafts.iter_mut().map(Offered::from), &self.actor)?;
        Ok(Request {
            guards: request.guards,
            ..Request::new(request.work, events, request.durability)
        })
    }

    /// Compares events with those recorded under the same ids; answers the ids.
    ///
    /// `keyed_tags`: the log may have added keyed tags when it sealed the event, so the recorded
    /// tags may be more than the given ones.
    pub(crate) fn compare_known(
        &self,
        events: &[NewEvent],
        positions: &[u64],
        keyed_tags: bool,
    ) -> Result<Vec<Uuid>, AppendError> {
        let mut ids = Vec::with_capacity(events.len());
        let mut last = None;
        for (event, position) in events.iter().zip(positions) {
            let record = self.record(Position::new(*position))?;
            let id = record.header.event_id;
            let in_order = last.replace(*position).is_none_or(|last| last < *position);
            let same_content = match &record.payload {
                Payload::Open(bytes) => *bytes == event.payload,
                Payload::Erased => true,
                _ => false,
            };
            if !in_order || !same_content || !same_header(event, &record.header, keyed_tags) {
                return Err(AppendError::EventIdConflict {
                    id,
                    position: *position,
                });
            }
            ids.push(id);
        }
        Ok(ids)
    }

    /// A handle that acts as somebody else.
    pub(crate) fn acting_as(&self, actor: Actor) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            actor: Arc::new(actor),
        }
    }
}

/// An event that somebody wants to be recorded. Its tags are sorted when it is checked.
pub(crate) struct Offered<'a> {
    event: &'a mut NewEvent,
    /// Control, and digests to be keyed.
    with: Option<(&'a Control, &'a [Keyed])>,
}

impl<'a> From<&'a mut NewEvent> for Offered<'a> {
    fn from(event: &'a mut NewEvent) -> Self {
        Self { event, with: None }
    }
}

impl<'a> From<&'a mut Draft> for Offered<'a> {
    fn from(draft: &'a mut Draft) -> Self {
        Self {
            event: &mut draft.event,
            with: Some((&draft.control, &draft.keyed)),
        }
    }
}

/// The control of an event that brings none.
static NOTHING: Control = Control::new();

/// An event that may be sealed.
#[derive(Clone)]
struct Checked<'a> {
    event: &'a NewEvent,
    with: Option<(&'a Control, &'a [Keyed])>,
    scope: Arc<str>,
    key: Option<Arc<DataKey>>,
    random: &'a [u8; RANDOM],
}

/// Scopes of the streams of one request, as far as they are known: what one event names holds for
/// those after it.
#[derive(Default)]
struct LocalScopes(BTreeMap<String, String>);

fn owned_stream(event: &NewEvent) -> AppendError {
    AppendError::OwnedStream {
        stream: event.stream.clone(),
    }
}

/// What was recorded elsewhere stands in no stream that commands write.
pub(crate) fn check_imported(event: &NewEvent) -> Result<(), AppendError> {
    match namespace::owned_stream(&event.stream) {
        Some(_) => Err(owned_stream(event)),
        None => Ok(()),
    }
}

/// What is the log's alone: not even commands and imports may speak for it. A stream that commands
/// write takes their events.
fn check_names(event: &NewEvent) -> Result<(), AppendError> {
    let owned = namespace::owned_stream(&event.stream);
    if owned.is_some_and(|owned| !owned.takes(&event.event_type)) {
        return Err(owned_stream(event));
    }
    if namespace::of(&event.event_type) == LOG_NAMESPACE {
        return Err(AppendError::OwnedNamespace {
            event_type: event.event_type.clone(),
        });
    }
    if event.stream == LOG_STREAM {
        return Err(AppendError::Reserved {
            what: "stream",
            name: event.stream.clone(),
        });
    }
    match &event.scope {
        Some(scope) if scope.starts_with('_') => Err(AppendError::Reserved {
            what: "scope",
            name: scope.clone(),
        }),
        _ => Ok(()),
    }
}

/// The header less what the log stamps and the seal.
fn same_header(event: &NewEvent, header: &Header, keyed_tags: bool) -> bool {
    let tags_match = (keyed_tags || event.tags.len() == header.tags.len())
        && event.tags.iter().all(|tag| header.has_tag(tag));
    event.event_id == Some(header.event_id)
        && event.stream == header.stream
        && event.event_type == header.event_type
        && event.schema_version == header.schema_version
        && event.occurred_at_us == header.occurred_at_us
        && event.source == header.source
        && event.causation == header.causation
        && event.correlation == header.correlation
        && event
            .scope
            .as_ref()
            .is_none_or(|scope| *scope == header.scope)
        && tags_match
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Durability;
    use crate::write::{Guards, Work};
    use crate::{CreateOptions, Decision, OpenOptions, Record};
    use runstone_codec::Text;
    use runstone_codec::payload::Mode;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// A log whose group commits are the test's to make.
    fn log() -> crate::Log {
        let mut open = OpenOptions::default();
        open.options.background = false;
        crate::Log::memory(&CreateOptions::default(), open).unwrap()
    }

    fn draft(stream: &str) -> Draft {
        let event = NewEvent::new("effect.claimed", stream)
            .fields(true)
            .tag("plain:1")
            .payload("{\"to\":\"ann\",\"amount\":3}");
        Draft::new(event)
            .keyed(Keyed::tag("key", "test", ["ann"]))
            .keyed(Keyed::control(1, "test", ["ann"]))
    }

    fn only(record: &Record) -> (&[Text], &Control, Option<&[u8]>) {
        let header = &record.header;
        (&header.tags, &record.control, record.payload.bytes())
    }

    /// How the payload is committed to.
    fn mode(log: &crate::Log, position: Position) -> Mode {
        let mut reader = log.here().unwrap().shared.reader().unwrap();
        reader
            .raw(position.get(), |reader, raw| {
                let entry = crate::read::parse_entry(raw)?;
                let header = entry.header();
                let key = reader.identity.keys.data_key(&header.key_id.unwrap());
                let plain = seal::open_plain(
                    &reader.identity.log_id,
                    entry.header_bytes(),
                    header,
                    raw.envelope,
                    entry.commit(),
                    key.ok().as_deref(),
                );
                Ok(runstone_codec::payload::Plain::parse(&plain.unwrap())
                    .unwrap()
                    .mode())
            })
            .unwrap()
    }

    /// A command whose stream gets another scope than was guessed is sealed as if that scope had
    /// been known: with its keyed digests, and with its fields apart.
    #[test]
    fn a_command_is_sealed_again_whole() {
        let log = log();
        let decide = |_: &mut crate::DecideContext<'_>| Ok(Decision::record(0, Control::new(), ()));
        let mut context = Context::from_waker(Waker::noop());
        // Both are made before either is recorded: the command guesses the default scope.
        let mut first = pin!(log.append(NewEvent::new("data.noted", "s").scope("ann")));
        assert!(first.as_mut().poll(&mut context).is_pending());
        let mut command = pin!(log.command(vec![draft("s")], decide));
        assert!(command.as_mut().poll(&mut context).is_pending());
        assert!(first.as_mut().poll(&mut context).is_ready());
        let at = loop {
            if let Poll::Ready(answer) = command.as_mut().poll(&mut context) {
                break answer.unwrap().1[0];
            }
        };
        let ((), later) = log.command_blocking(vec![draft("s")], decide).unwrap();
        let (again, plainly) = (log.record(at).unwrap(), log.record(later[0]).unwrap());
        assert_eq!(again.header.scope, "ann");
        assert_eq!(only(&again), only(&plainly));
        assert_eq!(again.header.tags.len(), 2);
        assert_eq!(
            (mode(&log, at), mode(&log, later[0])),
            (Mode::Fields, Mode::Fields)
        );
        let ((), elsewhere) = log.command_blocking(vec![draft("t")], decide).unwrap();
        let elsewhere = log.record(elsewhere[0]).unwrap();
        assert_ne!(elsewhere.header.tags, again.header.tags);
        assert_ne!(elsewhere.control, again.control);
    }

    /// What was expected of the log is expected of the second try too.
    #[test]
    fn sealing_again_keeps_what_was_asked() {
        use crate::append::Expected;
        let log = log();
        let actor = Actor::keyring();
        let events = log
            .here()
            .unwrap()
            .prepare([&mut draft("s")].into_iter().map(Offered::from), &actor)
            .unwrap();
        let mut request = Request::new(Work::Append, events, Durability::Buffered);
        let append = Append::default().expect("s", Expected::NoStream);
        request.guards = Guards::of(&append);
        let again = log
            .here()
            .unwrap()
            .reseal(request, &mut [draft("s")])
            .unwrap();
        assert_eq!(again.guards, Guards::of(&append));
        assert_eq!(again.durability, Durability::Buffered);
        assert!(again.events.iter().all(|event| !event.given_id));
    }
}
