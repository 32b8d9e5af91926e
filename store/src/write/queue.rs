//! Requests that wait for the writer.

use super::request::Request;
use crate::error::AppendError;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<Request>,
    events: u64,
    bytes: u64,
    closed: bool,
}

/// The queue. Its lock is held for a push or a drain only, never during a commit.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    pushed: Condvar,
    max_events: u64,
    max_bytes: u64,
}

impl Queue {
    pub(crate) fn new(max_events: u64, max_bytes: u64) -> Self {
        Self {
            waiting: Mutex::new(Waiting::default()),
            pushed: Condvar::new(),
            max_events,
            max_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds requests, each in order; a full or closed queue refuses the rest and says so to each.
    pub(crate) fn push(&self, requests: impl IntoIterator<Item = Request>) {
        let mut waiting = self.lock();
        for request in requests {
            let events = request.events.len() as u64;
            let bytes = request.weight();
            let full = !waiting.requests.is_empty()
                && (waiting.events + events > self.max_events
                    || waiting.bytes + bytes > self.max_bytes);
            if waiting.closed {
                request.ticket.give(Err(AppendError::Closed));
            } else if full {
                request.ticket.give(Err(AppendError::QueueFull {
                    limit: self.max_events,
                }));
            } else {
                waiting.events += events;
                waiting.bytes += bytes;
                waiting.requests.push_back(request);
            }
        }
    }

    /// Wakes the writer thread if something waits.
    pub(crate) fn wake_writer(&self) {
        if !self.lock().requests.is_empty() {
            self.pushed.notify_one();
        }
    }

    /// Takes what waits, bounded by events and bytes; at least one request if there is one.
    pub(crate) fn drain(&self, max_events: u64, max_bytes: u64) -> Vec<Request> {
        let mut waiting = self.lock();
        let mut taken = Vec::new();
        let (mut events, mut bytes, mut weight) = (0, 0, 0);
        while let Some(request) = waiting.requests.front() {
            let (more_events, more_bytes) = (request.events.len() as u64, request.bytes());
            let over = events + more_events > max_events || bytes + more_bytes > max_bytes;
            if over && !taken.is_empty() {
                break;
            }
            events += more_events;
            bytes += more_bytes;
            weight += request.weight();
            taken.extend(waiting.requests.pop_front());
        }
        waiting.events = waiting.events.saturating_sub(events);
        waiting.bytes = waiting.bytes.saturating_sub(weight);
        taken
    }

    /// Blocks the writer thread until something waits; false when the queue is closed and empty.
    pub(crate) fn wait(&self) -> bool {
        let mut waiting = self.lock();
        loop {
            if !waiting.requests.is_empty() {
                return true;
            }
            if waiting.closed {
                return false;
            }
            waiting = self
                .pushed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().requests.is_empty()
    }

    /// Refuses everything from now on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.pushed.notify_all();
    }
}
