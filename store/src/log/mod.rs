//! The handle: append, read, follow, close.

mod append;
mod before_close;
mod kept;
mod shared;

pub(crate) use before_close::BeforeClose;
pub(crate) use shared::{CLOSED, Exclusive, Held, Loaded};

use shared::Health;

use crate::error::{AppendError, ErrorKind, ReadError};
use crate::holder::{AcceptClock, CountOf, FactsOf, KeyedDigestOf, ScopeOf, There, Which};
use crate::identity::Opening;
use crate::keys::KeyError;
use crate::prepare::Actor;
use crate::read::{Read, Record, Records, Subscription};
use crate::write::{Ticket, Waiting};
use runstone_codec::keys::keyed_digest;
use runstone_codec::{Keyed, Position};
use runstone_receipt::checkpoint::SignedCheckpoint;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// An open log. Clones share it; it closes when the last one is dropped, or at
/// [`close`](Self::close).
///
/// It is held by this process, or by another one that [serves](crate::holder) it: then this handle
/// asks that one, and answers alike.
#[derive(Clone, Debug)]
#[must_use = "it is another handle; the log closes when the last one is dropped"]
pub struct Log {
    pub(crate) backing: Backing,
}

/// Who holds the file.
#[derive(Clone, Debug)]
pub(crate) enum Backing {
    Here(Here),
    There(Arc<There>),
}

/// The log of a process that holds its file.
#[derive(Clone, Debug)]
pub(crate) struct Here {
    pub(crate) shared: Arc<Held>,
    pub(crate) actor: Arc<Actor>,
}

impl Here {
    /// Names the file that was opened.
    pub(crate) fn is_at(&self, path: &Path) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // A log is opened once, from one file.
        let _ = self.shared.identity.path.set(path);
    }
}

impl From<Here> for Log {
    fn from(here: Here) -> Self {
        Self {
            backing: Backing::Here(here),
        }
    }
}

impl Log {
    /// This opening of the log, the same for all its handles.
    pub fn opening(&self) -> Opening {
        match &self.backing {
            Backing::Here(here) => here.opening(),
            Backing::There(there) => there.facts().opening(),
        }
    }

    /// The log's clock as it would stamp an event now, microseconds since the epoch.
    pub fn now_us(&self) -> u64 {
        match &self.backing {
            Backing::Here(here) => here.now_us(),
            Backing::There(there) => there.facts().now_us,
        }
    }

    /// What leases within this opening are measured by: when it began and what the monotonic clock
    /// has measured since, whatever was done to the wall clock.
    pub fn steady_us(&self) -> u64 {
        match &self.backing {
            Backing::Here(here) => here.steady_us(),
            Backing::There(there) => there.facts().steady_us,
        }
    }

    /// The scope of a stream; `None` if there is no such stream.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the index cannot be read.
    pub fn scope_of_stream(&self, stream: &str) -> Result<Option<String>, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.scope_of_stream(stream),
            Backing::There(there) => there.ask_blocking(&ScopeOf {
                stream: stream.to_owned(),
            }),
        }
    }

    /// A keyed digest as the events of a scope carry it; `None` if the scope has no lookup key,
    /// because nothing was recorded in it or it was erased.
    ///
    /// # Errors
    ///
    /// [`AppendError::Keys`] if the key cannot be had.
    pub fn keyed_digest(
        &self,
        scope: &str,
        keyed: &Keyed,
    ) -> Result<Option<[u8; 16]>, AppendError> {
        match &self.backing {
            Backing::Here(here) => here.keyed_digest(scope, keyed),
            Backing::There(there) => {
                let digest = there.ask_blocking(&KeyedDigestOf {
                    scope: scope.to_owned(),
                    keyed: Some(keyed.into()),
                })?;
                Ok(digest.and_then(|digest| digest.array()))
            }
        }
    }

    /// Reads events; see [`Read`]. The range is fixed now: what comes later is not in it.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the range cannot be found; damaged events are items of the iterator.
    pub fn read(&self, read: Read) -> Result<Records, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.read(read),
            Backing::There(there) => Records::there(Arc::clone(there), read),
        }
    }

    /// The event at a position.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] past the end; [`ReadError::Corrupt`] if it is damaged.
    pub fn record(&self, position: Position) -> Result<Record, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.record(position),
            Backing::There(there) => there.record(Which::Position(position.get())),
        }
    }

    /// The events at these positions, in their order, each with its own error: from afar in few requests
    /// instead of one each.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if nobody answers; what is wrong with one event is in its place.
    pub fn records(
        &self,
        positions: &[Position],
    ) -> Result<Vec<Result<Record, ReadError>>, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.records(positions),
            Backing::There(there) => there.records(positions),
        }
    }

    /// The event with an id.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record).
    pub fn record_by_id(&self, id: Uuid) -> Result<Record, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.record_by_id(id),
            Backing::There(there) => there.record(Which::Id(id)),
        }
    }

    /// The event at a revision of a stream.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record).
    pub fn record_by_revision(&self, stream: &str, revision: u64) -> Result<Record, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.record_by_revision(stream, revision),
            Backing::There(there) => there.record(Which::Revision {
                stream: stream.to_owned(),
                revision,
            }),
        }
    }

    /// How many events match; answered by the index where the query allows.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the index or an event is damaged.
    pub fn count(&self, query: &crate::query::Query) -> Result<u64, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.count(query),
            Backing::There(there) => there.ask_blocking(&CountOf {
                query: query.clone(),
            }),
        }
    }

    /// Follows the log, up to the last position and the limit of the read if it has them; see
    /// [`Subscription`].
    ///
    /// # Errors
    ///
    /// [`ReadError::Closed`], too many subscribers, or [`ReadError::Reversed`].
    pub fn subscribe(&self, read: Read) -> Result<Subscription, ReadError> {
        if read.reverse {
            return Err(ReadError::Reversed);
        }
        match &self.backing {
            Backing::Here(here) => here.subscribe(read),
            Backing::There(there) => Ok(Subscription::there(Arc::clone(there), read)),
        }
    }

    /// Where the file is, whatever becomes the working directory; `None` for a log in memory or one
    /// that another process holds.
    pub fn path(&self) -> Option<&Path> {
        match &self.backing {
            Backing::Here(here) => here.shared.identity.path.get().map(PathBuf::as_path),
            Backing::There(_) => None,
        }
    }

    /// Events that can be read: positions below this.
    pub fn size(&self) -> u64 {
        match &self.backing {
            Backing::Here(here) => here.size(),
            Backing::There(there) => there.facts().size,
        }
    }

    /// Events that survive a crash: positions below this.
    pub fn durable_size(&self) -> u64 {
        match &self.backing {
            Backing::Here(here) => here.durable_size(),
            Backing::There(there) => there.facts().durable_size,
        }
    }

    /// Root of the tree over every readable event.
    pub fn root(&self) -> [u8; 32] {
        match &self.backing {
            Backing::Here(here) => here.root(),
            Backing::There(there) => there.facts().root(),
        }
    }

    /// The signed checkpoint of everything durable.
    ///
    /// # Errors
    ///
    /// [`ReadError::Closed`] after close.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.checkpoint(),
            Backing::There(there) => there.checkpoint(),
        }
    }

    /// Stops what works for the log ([`before_close`](Self::before_close)), drains what waits, flushes,
    /// signs and closes. Later calls of any handle answer `Closed`;
    /// closing again does nothing. Returns when done; a drop does the least instead: the next
    /// open then replays the tail. One that is attached waits for the answers that are on their way
    /// and lets go of the process that holds the log, which goes on.
    ///
    /// # Errors
    ///
    /// [`AppendError`] if the last commits failed, or took events with them that were only buffered.
    pub fn close_blocking(&self) -> Result<(), AppendError> {
        match &self.backing {
            Backing::Here(here) => here.close_blocking(),
            Backing::There(there) => {
                there.before_close.stop();
                crate::holder::wait(there.close());
                Ok(())
            }
        }
    }

    /// [`close_blocking`](Self::close_blocking) on another thread; the future may be given a
    /// deadline, closing goes on behind it.
    ///
    /// # Errors
    ///
    /// As [`close_blocking`](Self::close_blocking).
    ///
    /// # Cancel safety
    ///
    /// The log is closed by the first poll, whatever becomes of the future. One that is attached takes
    /// no more requests from then on; whether those on their way were answered is not learned.
    pub async fn close(&self) -> Result<(), AppendError> {
        match &self.backing {
            Backing::Here(here) => here.close().await,
            Backing::There(there) => {
                there.before_close.stop();
                there.close().await;
                Ok(())
            }
        }
    }
}

impl Here {
    pub(crate) fn opening(&self) -> Opening {
        self.shared.identity.opening()
    }

    pub(crate) fn now_us(&self) -> u64 {
        let opening = self.opening();
        let newest = self.shared.current().head.recorded_at_us;
        self.shared.identity.now_us().max(newest).max(opening.at_us)
    }

    pub(crate) fn steady_us(&self) -> u64 {
        self.shared.identity.steady_us()
    }

    pub(crate) fn scope_of_stream(&self, stream: &str) -> Result<Option<String>, ReadError> {
        self.shared.stream_scope(stream)
    }

    pub(crate) fn keyed_digest(
        &self,
        scope: &str,
        keyed: &Keyed,
    ) -> Result<Option<[u8; 16]>, AppendError> {
        match self.shared.identity.keys.lookup(scope) {
            Ok(lookup) => Ok(Some(keyed_digest(&lookup, &keyed.label, &keyed.parts))),
            Err(KeyError::ScopeUnknown { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn read(&self, read: Read) -> Result<Records, ReadError> {
        Records::new(Arc::clone(&self.shared), read, self.shared.visible())
    }

    /// As [`read`](Self::read), for somebody who follows.
    pub(crate) fn follow(&self, read: Read) -> Result<Records, ReadError> {
        Records::followed(Arc::clone(&self.shared), read, self.durable_size())
    }

    pub(crate) fn record(&self, position: Position) -> Result<Record, ReadError> {
        self.shared.reader()?.record_at(position)
    }

    fn records(&self, positions: &[Position]) -> Result<Vec<Result<Record, ReadError>>, ReadError> {
        let mut reader = self.shared.reader()?;
        let records = positions.iter().map(|at| reader.record_at(*at));
        Ok(records.collect())
    }

    pub(crate) fn record_by_id(&self, id: Uuid) -> Result<Record, ReadError> {
        let mut reader = self.shared.reader()?;
        let size = reader.size();
        let term = crate::index::event_id(id.as_bytes());
        let found = reader.published.index.head(&reader.snapshot, &term)?;
        let position = found
            .map(|head| head.last)
            .filter(|position| *position < size)
            .ok_or_else(|| ReadError::NotFound {
                what: format!("with id {id}"),
            })?;
        reader.record(position, true)
    }

    pub(crate) fn record_by_revision(
        &self,
        stream: &str,
        revision: u64,
    ) -> Result<Record, ReadError> {
        let mut reader = self.shared.reader()?;
        let position = reader
            .position_of_revision(stream, revision)?
            .ok_or_else(|| ReadError::NotFound {
                what: format!("at revision {revision} of stream `{stream}`"),
            })?;
        reader.record(position, true)
    }

    pub(crate) fn count(&self, query: &crate::query::Query) -> Result<u64, ReadError> {
        self.shared.count(query)
    }

    pub(crate) fn subscribe(&self, read: Read) -> Result<Subscription, ReadError> {
        self.shared.subscribed()?;
        Ok(Subscription::new(Arc::clone(&self.shared), read))
    }

    pub(crate) fn size(&self) -> u64 {
        self.shared.visible()
    }

    pub(crate) fn durable_size(&self) -> u64 {
        self.shared.current().durable
    }

    pub(crate) fn root(&self) -> [u8; 32] {
        self.shared.current().head.root
    }

    pub(crate) fn checkpoint(&self) -> Result<SignedCheckpoint, ReadError> {
        self.shared.check_readable()?;
        let current = self.shared.current();
        if current.durable == current.head.size {
            let released = self.shared.signing.release(&current.head);
            return released.map_err(|error| ReadError::NotFound {
                what: format!("that can be signed: {error}"),
            });
        }
        let newest = self.shared.signing.newest();
        newest
            .map(|(_, signed)| signed)
            .ok_or_else(|| ReadError::NotFound {
                what: "in a durable state yet; call sync first".to_owned(),
            })
    }

    pub(crate) fn close_blocking(&self) -> Result<(), AppendError> {
        self.shared.close()
    }

    pub(crate) async fn close(&self) -> Result<(), AppendError> {
        let shared = Arc::clone(&self.shared);
        let ticket = Ticket::new();
        let done = Arc::clone(&ticket);
        let spawned = std::thread::Builder::new()
            .name("runstone-close".to_owned())
            .spawn(move || done.give(shared.close()));
        match spawned {
            Ok(_) => Waiting(ticket).await,
            Err(_) => self.shared.close(),
        }
    }
}

impl Log {
    /// Adopts a wall clock that jumped ahead, at once. That takes a person or a commander: windows
    /// and retention go by the log's clock, which never goes back.
    ///
    /// # Errors
    ///
    /// [`AppendError::Closed`] after close; [`AppendError::Keys`] with the code `not_allowed` for
    /// anybody else.
    pub fn accept_clock(&self) -> Result<(), AppendError> {
        match &self.backing {
            Backing::Here(here) => here.accept_clock(),
            Backing::There(there) => there.ask_blocking(&AcceptClock {}),
        }
    }

    /// Whether the log goes on writing.
    ///
    /// # Errors
    ///
    /// What kind of trouble it is in, and why.
    pub fn health(&self) -> Result<(), (ErrorKind, String)> {
        match &self.backing {
            Backing::Here(here) => here.health(),
            Backing::There(there) => {
                let asked = there.ask_blocking(&FactsOf {});
                let facts = asked.map_err(|error| (error.kind(), error.to_string()))?;
                match facts.trouble {
                    Some(trouble) => Err((trouble.kind, trouble.message)),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Here {
    pub(crate) fn accept_clock(&self) -> Result<(), AppendError> {
        self.check_is_person()?;
        self.shared.with_writer(|writer| {
            writer.identity.accept_clock();
            Ok(())
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.shared.health(), Health::Closed)
    }

    pub(crate) fn health(&self) -> Result<(), (ErrorKind, String)> {
        match self.shared.health() {
            Health::Open => Ok(()),
            Health::Reopening => Err((ErrorKind::Storage, "reopening".to_owned())),
            Health::Poisoned(why) => Err((ErrorKind::Storage, why)),
            Health::Closed => Err((ErrorKind::Storage, "closed".to_owned())),
        }
    }
}
