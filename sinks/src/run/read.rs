//! What a sink gets next.

#[cfg(feature = "otlp")]
use crate::config::Destination;
use crate::config::SinkConfig;
use crate::files::Cursor;
#[cfg(feature = "otlp")]
use crate::origin::Origins;
use crate::sink::Event;
use runstone_codec::namespace;
use runstone_store::{Log, Payload, Query, Read, ReadError, Record, Subscription};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use tokio_stream::Stream as _;

/// Bytes after which a batch ends early.
const BATCH_BYTES: usize = 4 << 20;
/// The namespace of what is recorded of sinks, which none of them gets: it would be news of itself.
const OWN: &str = "sink";

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Events, in order.
    pub(super) events: Vec<Event>,
    /// Whether more may be there that found no room.
    pub(super) is_full: bool,
    /// What stands after them, or in their place.
    pub(super) then: Option<Then>,
}

/// What ends a batch early.
#[derive(Debug)]
pub(super) enum Then {
    /// This event cannot be read, ever.
    Damaged(u64, String),
    /// Nothing can be read now.
    Unreadable(String),
    /// The log was closed.
    Closed,
}

/// Reads the events of a sink in their order.
#[derive(Debug)]
pub(super) struct Reader {
    log: Log,
    read: Read,
    fields: Vec<String>,
    /// If the sink is told where events stand among those of their run.
    #[cfg(feature = "otlp")]
    origins: Option<Origins>,
    most: usize,
    following: Option<Subscription>,
}

impl Reader {
    pub(super) fn new(log: &Log, config: &SinkConfig) -> Self {
        let read = Read::new(config.query.clone());
        Self {
            log: log.clone(),
            read: if config.fields.is_empty() {
                read.without_payloads()
            } else {
                read
            },
            fields: config.fields.clone(),
            #[cfg(feature = "otlp")]
            origins: matches!(config.to, Destination::Otlp(_)).then(Origins::default),
            most: usize::try_from(config.batch_events).unwrap_or(usize::MAX),
            following: None,
        }
    }

    /// An event by its position, as the sink gets it.
    pub(super) fn event(&mut self, position: u64) -> Result<Event, Then> {
        let mut read = self.read.clone().from(position).to(position);
        read.query = Query::everything();
        let found = self.log.read(read).and_then(|mut found| {
            let missing = || ReadError::NotFound {
                what: format!("at position {position}"),
            };
            found.next().unwrap_or_else(|| Err(missing()))
        });
        found
            .map_err(|error| then(&error))
            .and_then(|record| self.seen(record))
    }

    /// Reads again from the cursor on.
    pub(super) fn restart(&mut self) {
        self.following = None;
    }

    /// Waits for the next events, and takes those that are there. Moves the cursor over what the sink
    /// does not get, as long as there is nothing that it gets, and answers nothing then.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was not answered is read again.
    pub(super) async fn next(&mut self, cursor: &mut Cursor) -> Found {
        let mut found = Found::default();
        let begun = cursor.next;
        if self.following.is_none() {
            match self.log.subscribe(self.read.clone().from(cursor.next)) {
                // The cursor is to move on, whether or not the sink gets what comes.
                Ok(following) => self.following = Some(following.looking_at_all()),
                Err(error) => {
                    found.then = Some(then(&error));
                    return found;
                }
            }
        }
        let Some(mut following) = self.following.take() else {
            return found;
        };
        let mut bytes = 0;
        while found.events.len() < self.most && bytes < BATCH_BYTES {
            let item = match ready(&mut following).await {
                Some(item) => item,
                None if !found.events.is_empty() => break,
                None => {
                    // Everything up to here was looked at.
                    cursor.next = cursor.next.max(following.cursor().get());
                    self.following = Some(following);
                    if cursor.next > begun {
                        return found;
                    }
                    let item = match self.following.as_mut() {
                        Some(following) => moved(following, begun).await,
                        None => None,
                    };
                    let Some(back) = self.following.take() else {
                        return found;
                    };
                    following = back;
                    let Some(item) = item else {
                        // The next turn sees how far.
                        continue;
                    };
                    item
                }
            };
            let event = match item {
                Some(Ok(record)) if namespace::of(&record.header.event_type) == OWN => {
                    if found.events.is_empty() {
                        cursor.next = record.position.get() + 1;
                    }
                    continue;
                }
                Some(Ok(record)) => self.seen(record),
                Some(Err(error)) => Err(then(&error)),
                None => Err(Then::Closed),
            };
            match event {
                Ok(event) => {
                    bytes += event.weight();
                    found.events.push(event);
                }
                Err(other) => {
                    found.then = Some(other);
                    // What cannot be read now is read again.
                    return found;
                }
            }
        }
        found.is_full = found.events.len() >= self.most || bytes >= BATCH_BYTES;
        self.following = Some(following);
        found
    }

    fn seen(&mut self, record: Record) -> Result<Event, Then> {
        match &record.payload {
            Payload::Unavailable(why) => Err(Then::Unreadable(why.clone())),
            Payload::Undecodable(why) => Err(Then::Damaged(record.position.get(), why.clone())),
            _ => self.placed(record),
        }
    }

    #[cfg(feature = "otlp")]
    fn placed(&mut self, record: Record) -> Result<Event, Then> {
        let Some(origins) = &mut self.origins else {
            return Ok(Event::new(record, &self.fields));
        };
        let origin = origins.of(&self.log, &record, &self.fields);
        let origin = origin.map_err(|error| match error {
            ReadError::Closed => Then::Closed,
            error => Then::Unreadable(error.to_string()),
        })?;
        Ok(Event::new(record, &self.fields).stand(origin))
    }

    #[cfg(not(feature = "otlp"))]
    #[expect(clippy::unnecessary_wraps, reason = "what a feature adds can fail")]
    fn placed(&self, record: Record) -> Result<Event, Then> {
        Ok(Event::new(record, &self.fields))
    }
}

/// What is there already: `None` if that is nothing, `Some(None)` at the end.
async fn ready(following: &mut Subscription) -> Option<Option<Result<Record, ReadError>>> {
    poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *following).poll_next(context) {
            Poll::Ready(item) => Some(item),
            Poll::Pending => None,
        })
    })
    .await
}

/// Waits until there is something, `Some(None)` at the end, or until it has moved beyond a position over
/// events that are not asked for: `None`.
async fn moved(
    following: &mut Subscription,
    beyond: u64,
) -> Option<Option<Result<Record, ReadError>>> {
    poll_fn(
        |context| match Pin::new(&mut *following).poll_next(context) {
            Poll::Ready(item) => Poll::Ready(Some(item)),
            Poll::Pending if following.cursor().get() > beyond => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        },
    )
    .await
}

fn then(error: &ReadError) -> Then {
    match (error, error.position()) {
        (ReadError::Closed, _) => Then::Closed,
        (ReadError::Corrupt(_), Some(position)) => Then::Damaged(position, error.to_string()),
        _ => Then::Unreadable(error.to_string()),
    }
}
