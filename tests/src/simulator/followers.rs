//! Somebody who follows a simulated log, now closely and now far behind, here and by pages as they travel: it
//! is given every durable event once, in its order, as a read answers it.

use super::Simulation;
use crate::tamper::Seeded;
use runstone_store::holder::Page;
use runstone_store::{Log, Query, Read, ReadError, Record, Subscription};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio_stream::Stream as _;

/// Who follows.
#[derive(Debug)]
pub(super) struct Follower {
    /// Of its own, so that what else happens does not depend on it.
    numbers: Seeded,
    /// Where it goes on.
    next: u64,
    /// Events that it was given.
    pub(super) given: u64,
}

impl Follower {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            numbers: Seeded::new(seed ^ 0x666f_6c6c),
            next: 0,
            given: 0,
        }
    }

    /// Takes some of what is there; what it cannot be given, if so.
    fn follow(&mut self, log: &Log) -> Result<(), ReadError> {
        let durable = log.durable_size();
        // What has the log's name may be an older copy.
        self.next = self.next.min(durable);
        let read = Read::new(Query::everything()).from(self.next);
        let most = 1 + self.numbers.below(60);
        let (given, is_all) = if self.numbers.below(3) == 0 {
            of_a_page(log, read)?
        } else {
            some(&mut log.subscribe(read)?, most)?
        };
        for record in given {
            assert_eq!(record.position.get(), self.next, "another event comes next");
            let read = log.record(record.position)?;
            assert_eq!(format!("{record:?}"), format!("{read:?}"));
            assert!(
                record.payload == read.payload,
                "{record:?}: another content"
            );
            self.next += 1;
            self.given += 1;
        }
        assert!(!is_all || self.next == durable, "it ends at {}", self.next);
        Ok(())
    }
}

/// So many of those that are there, and whether those are all.
fn some(following: &mut Subscription, most: usize) -> Result<(Vec<Record>, bool), ReadError> {
    let mut given = Vec::new();
    while given.len() < most {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut *following).poll_next(&mut context) {
            Poll::Ready(Some(record)) => given.push(record?),
            Poll::Ready(None) => return Ok((given, false)),
            Poll::Pending => return Ok((given, true)),
        }
    }
    Ok((given, false))
}

/// Those of the next page, after its way to another process.
fn of_a_page(log: &Log, read: Read) -> Result<(Vec<Record>, bool), ReadError> {
    let page = log.followed(read)?;
    let is_all = !page.is_full();
    let page = Page::from_cbor(&page.to_cbor()).expect("it was written here");
    let given: Result<_, _> = page.into_records().collect();
    Ok((given?, is_all))
}

impl Simulation {
    /// Now and then somebody looks what is new.
    pub(super) fn follow(&mut self) {
        if self.follower.numbers.below(4) == 0 {
            return;
        }
        let log = self.log().clone();
        if let Err(error) = self.follower.follow(&log) {
            assert!(self.is_excused(), "{error}");
        }
    }
}
