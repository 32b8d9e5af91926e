//! Following the log.

use crate::error::ReadError;
use crate::holder::There;
use crate::log::{CLOSED, Held};
use crate::read::news::News;
use crate::read::pages::Followed;
use crate::read::records::{Read, Record, Records};
use futures_core::Stream;
use runstone_codec::Position;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Events from a position on: first what is there, then what comes. It ends at the durable
/// position, so nothing is seen that a crash could take back. A slow reader never slows the
/// writer and loses nothing.
///
/// Of the [`Read`], `from` says where it begins, `to` what is the last position, and `limit` how many
/// events it gives: once everything up to there was given, the subscription ends. Without them it goes on
/// until the log is closed. What comes cannot be read in reverse.
///
/// One whose query names streams, types or tags (a few of them, and no `to`) is woken when there is something
/// for it, not by each commit: many may wait for little. Until then its [`cursor`](Self::cursor) stays, where the log is
/// held in this process.
///
/// It is a [`Stream`]; [`next_blocking`](Self::next_blocking) is its twin without a runtime. A wait that
/// is given up loses no event.
#[derive(Debug)]
pub struct Subscription {
    source: Source,
    /// Events that are still given, of those that were asked for.
    left: Option<u64>,
}

#[derive(Debug)]
enum Source {
    Here(Box<Following>),
    There(Followed),
}

impl Subscription {
    pub(crate) fn new(shared: Arc<Held>, mut read: Read) -> Self {
        Self {
            left: read.limit.take(),
            source: Source::Here(Box::new(Following::new(shared, read))),
        }
    }

    pub(crate) fn there(there: Arc<There>, mut read: Read) -> Self {
        Self {
            left: read.limit.take(),
            source: Source::There(Followed::new(there, read)),
        }
    }

    /// Woken by each commit from now on, whatever it wants, so that the cursor tells how far the log has been
    /// looked at. Only where the log is held in this process.
    #[must_use]
    pub fn looking_at_all(mut self) -> Self {
        if let Source::Here(following) = &mut self.source {
            following.news = following.shared.board.wait_for_all();
            following.waiting = None;
        }
        self
    }

    /// Whether as many events as were asked for were given.
    fn is_spent(&self) -> bool {
        self.left == Some(0)
    }

    /// A damaged event counts, too.
    fn count(&mut self, item: Option<&Result<Record, ReadError>>) {
        let is_event = item.is_some_and(|item| match item {
            Ok(_) => true,
            Err(error) => error.position().is_some(),
        });
        if is_event {
            self.left = self.left.map(|left| left.saturating_sub(1));
        }
    }

    /// Where it will go on: pass this as `from` to resume.
    pub fn cursor(&self) -> Position {
        Position::new(match &self.source {
            Source::Here(following) => following.next,
            Source::There(followed) => followed.cursor(),
        })
    }

    /// Blocks until the next event; `None` after the last one that was asked for, or when the log
    /// is closed.
    ///
    /// # Errors
    ///
    /// Each item may be a damaged event; the next call goes on after it. After
    /// [`ReadError::Reopening`] the next call tries the same again.
    pub fn next_blocking(&mut self) -> Option<Result<Record, ReadError>> {
        if self.is_spent() {
            return None;
        }
        let item = match &mut self.source {
            Source::Here(following) => following.next_blocking(),
            Source::There(followed) => followed.next_blocking(),
        };
        self.count(item.as_ref());
        item
    }
}

impl Stream for Subscription {
    type Item = Result<Record, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_spent() {
            return Poll::Ready(None);
        }
        let polled = match &mut self.source {
            Source::Here(following) => following.poll_next(context),
            Source::There(followed) => followed.poll_next(context),
        };
        if let Poll::Ready(item) = &polled {
            self.count(item.as_ref());
        }
        polled
    }
}

/// A log of this process that is followed.
struct Following {
    shared: Arc<Held>,
    read: Read,
    next: u64,
    batch: Option<(Records, u64)>,
    /// An error ended it; nothing may be passed over without a word.
    ended: bool,
    /// Dropped before `news`, so that it is not woken by that.
    waiting: Option<Pin<Box<dyn Future<Output = Option<u64>> + Send>>>,
    news: News,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Following")
            .field("read", &self.read)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.shared.unsubscribed();
    }
}

impl Following {
    fn new(shared: Arc<Held>, read: Read) -> Self {
        let news = shared.board.wait(&read);
        Self {
            next: read.from.unwrap_or(0),
            shared,
            read,
            batch: None,
            ended: false,
            news,
            waiting: None,
        }
    }

    /// Whether everything that was asked for was looked at.
    fn is_past_the_end(&self) -> bool {
        self.read.to.is_some_and(|to| self.next > to)
    }

    /// The next event that is durable already; `None` if it has caught up or has ended.
    fn ready(&mut self) -> Option<Result<Record, ReadError>> {
        while !self.ended {
            if let Some((records, end)) = &mut self.batch {
                match records.next() {
                    Some(Ok(record)) => {
                        self.next = record.position.get() + 1;
                        return Some(Ok(record));
                    }
                    Some(Err(error)) => {
                        match error.position() {
                            Some(position) => self.next = self.next.max(position + 1),
                            None if error.is_retryable() => self.batch = None,
                            None => self.ended = true,
                        }
                        return Some(Err(error));
                    }
                    None => {
                        self.next = self.next.max(*end);
                        self.batch = None;
                    }
                }
            }
            let durable = self.news.durable();
            if durable == CLOSED || self.is_past_the_end() {
                self.ended = true;
                return None;
            }
            if self.next >= durable {
                return None;
            }
            let end = self
                .read
                .to
                .map_or(durable, |to| durable.min(to.saturating_add(1)));
            let read = Read {
                from: Some(self.next),
                to: Some(end - 1),
                ..self.read.clone()
            };
            match Records::followed(Arc::clone(&self.shared), read, durable) {
                Ok(records) => self.batch = Some((records, end)),
                Err(error) => {
                    self.ended = !error.is_retryable();
                    return Some(Err(error));
                }
            }
        }
        None
    }

    fn next_blocking(&mut self) -> Option<Result<Record, ReadError>> {
        loop {
            if let Some(record) = self.ready() {
                return Some(record);
            }
            if self.ended {
                return None;
            }
            crate::holder::wait(self.news.beyond(self.next))?;
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Record, ReadError>>> {
        loop {
            if let Some(record) = self.ready() {
                self.waiting = None;
                return Poll::Ready(Some(record));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(self.news.beyond(self.next)));
            match waiting.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(_)) => self.waiting = None,
            }
        }
    }
}
