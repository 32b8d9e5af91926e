//! Events of a log that another process holds, page by page.

use crate::error::ReadError;
use crate::holder::{FollowPage, Page, ReadPage, Replying, There, answer_of};
use crate::read::{Read, Record};
use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec::IntoIter;

type Item = Result<Record, ReadError>;

/// What is left of a read.
pub(super) struct Pages {
    there: Arc<There>,
    /// `None`: the last page was fetched.
    read: Option<Read>,
    batch: IntoIter<Item>,
}

impl Debug for Pages {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Pages")
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl Pages {
    /// The range is fixed now.
    pub(super) fn begin(there: Arc<There>, read: Read) -> Result<Self, ReadError> {
        let mut pages = Self {
            there,
            read: None,
            batch: Vec::new().into_iter(),
        };
        pages.fetch(read)?;
        Ok(pages)
    }

    fn fetch(&mut self, read: Read) -> Result<(), ReadError> {
        let page = self.there.ask_blocking(&ReadPage { read: read.clone() })?;
        self.read = rest(read, &page);
        self.batch = page.into_records();
        Ok(())
    }
}

impl Iterator for Pages {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.batch.next() {
                return Some(item);
            }
            let read = self.read.take()?;
            if let Err(error) = self.fetch(read) {
                return Some(Err(error));
            }
        }
    }
}

/// What is to be read after a page.
fn rest(mut read: Read, page: &Page) -> Option<Read> {
    let next = page.next?;
    if read.reverse {
        read.to = Some(next);
    } else {
        read.from = Some(next);
        read.to = page.end;
    }
    let given = page.len() as u64;
    read.limit = read.limit.map(|limit| limit.saturating_sub(given));
    (read.limit != Some(0)).then_some(read)
}

/// A log that is followed.
pub(super) struct Followed {
    there: Arc<There>,
    read: Read,
    batch: IntoIter<Item>,
    asked: Option<Replying>,
    /// What was asked for was given, or the log was closed.
    ended: bool,
}

impl Debug for Followed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Followed")
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl Followed {
    pub(super) fn new(there: Arc<There>, read: Read) -> Self {
        Self {
            there,
            read,
            batch: Vec::new().into_iter(),
            asked: None,
            ended: false,
        }
    }

    /// Where it will go on.
    pub(super) fn cursor(&self) -> u64 {
        let first = self.batch.as_slice().iter().find_map(|item| match item {
            Ok(record) => Some(record.position.get()),
            Err(error) => error.position(),
        });
        first.or(self.read.from).unwrap_or(0)
    }

    fn ask(&self) -> Result<Replying, ReadError> {
        self.there.replying(&FollowPage {
            read: self.read.clone(),
        })
    }

    fn take(&mut self, page: Page) {
        self.ended = page.next.is_none();
        self.read.from = page.next.or(self.read.from);
        self.batch = page.into_records();
    }

    pub(super) fn next_blocking(&mut self) -> Option<Item> {
        crate::holder::wait(std::future::poll_fn(|context| self.poll_next(context)))
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            if let Some(item) = self.batch.next() {
                return Poll::Ready(Some(item));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.asked.is_none() {
                match self.ask() {
                    Ok(asked) => self.asked = Some(asked),
                    Err(error) => return self.end(error),
                }
            }
            let Some(asked) = &mut self.asked else {
                continue;
            };
            let Poll::Ready(reply) = asked.as_mut().poll(context) else {
                return Poll::Pending;
            };
            self.asked = None;
            match answer_of::<FollowPage>(reply) {
                Ok(page) => self.take(page),
                // The next call asks for the same again.
                Err(error @ ReadError::Reopening) => return Poll::Ready(Some(Err(error))),
                Err(error) => return self.end(error),
            }
        }
    }

    /// It ends with the log, wherever that was closed, and with what went wrong.
    fn end(&mut self, error: ReadError) -> Poll<Option<Item>> {
        self.ended = true;
        let is_closed = self.there.is_closed() || matches!(error, ReadError::Closed);
        Poll::Ready((!is_closed).then_some(Err(error)))
    }
}
