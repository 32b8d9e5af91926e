//! What a reading hands on.

use std::collections::VecDeque;

use runstone_codec::event::{Draft, EventLimits};

use crate::reject::{RejectReason, Rejected};

/// Most events of one record, so that a record of many tiny parts cannot fill the memory.
pub(crate) const MAX_EVENTS: usize = 65_536;

/// What one record of a recording became.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Imported {
    /// The stream of all its events.
    pub stream: String,
    /// Its events, to be appended as one. None where the record repeats an earlier one of the
    /// recording.
    pub drafts: Vec<Draft>,
    /// The member of the container in which the record stands, if there is one.
    pub member: Option<String>,
    /// The line on which the record begins, from 1.
    pub line: u64,
    /// How far the recording had been read, in bytes.
    pub bytes_read: u64,
    /// What came of checking the record against its signature or its hash chain, if it has one.
    pub check: Option<Check>,
}

/// What came of checking a record against its signature or its hash chain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// It is as it was signed or chained.
    Passed,
    /// It is not.
    Failed {
        /// What does not fit, and where it was found.
        why: String,
    },
    /// There was no key to check it with.
    Unchecked,
}

/// Items that wait to be taken.
#[derive(Debug)]
pub(crate) struct Output {
    items: VecDeque<Result<Imported, Rejected>>,
    limits: EventLimits,
    bytes_read: u64,
    member: Option<String>,
    events: usize,
}

impl Output {
    pub(crate) fn new(limits: EventLimits) -> Self {
        Self {
            items: VecDeque::new(),
            limits,
            bytes_read: 0,
            member: None,
            events: 0,
        }
    }

    /// Begins with the next record, which stands in `member`.
    pub(crate) fn begin(&mut self, bytes_read: u64, member: Option<&str>) {
        self.bytes_read = bytes_read;
        self.member = member.map(str::to_owned);
        self.events = 0;
    }

    /// Goes to a record that stands in another member. Answers where the one before stood.
    pub(crate) fn go_to(&mut self, member: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.member, member)
    }

    pub(crate) fn next(&mut self) -> Option<Result<Imported, Rejected>> {
        self.items.pop_front()
    }

    /// Hands on events that belong together, all or none of them.
    pub(crate) fn emit(
        &mut self,
        line: u64,
        stream: &str,
        drafts: Vec<Draft>,
    ) -> Result<(), RejectReason> {
        self.emit_checked(line, stream, drafts, None)
    }

    /// Hands on events that belong together, and what came of checking their record.
    pub(crate) fn emit_checked(
        &mut self,
        line: u64,
        stream: &str,
        mut drafts: Vec<Draft>,
        check: Option<Check>,
    ) -> Result<(), RejectReason> {
        self.events = self.events.saturating_add(drafts.len());
        if self.events > MAX_EVENTS {
            return Err(RejectReason::TooMany {
                what: "events",
                max: MAX_EVENTS,
            });
        }
        for draft in &mut drafts {
            draft.event.check(&self.limits)?;
        }
        self.items.push_back(Ok(Imported {
            stream: stream.to_owned(),
            drafts,
            member: self.member.clone(),
            line,
            bytes_read: self.bytes_read,
            check,
        }));
        Ok(())
    }

    pub(crate) fn reject(&mut self, line: u64, reason: RejectReason) {
        self.items.push_back(Err(Rejected {
            member: self.member.clone(),
            line,
            bytes_read: self.bytes_read,
            reason,
        }));
    }
}
