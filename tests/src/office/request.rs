//! One question to people: may this call be made?

use super::Question;
use crate::calls::{Said, Time};
use runstone_codec::Authority;
use runstone_projections::settings::{ApprovalMode, OnTimeout};

const SECOND_US: u64 = 1_000_000;

/// Who is there to decide; after the last comes whoever has no credential.
pub const PEOPLE: [(&str, Authority); 4] = [
    ("ada", Authority::Human),
    ("bob", Authority::Human),
    ("cleo", Authority::Commander),
    ("dan", Authority::Human),
];

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Nobody decided it.
    Pending,
    /// The call may be made.
    Approved,
    /// It may not.
    Rejected,
}

/// A request, as it may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it is recorded, if that was told.
    pub at: Option<u64>,
    /// Arguments of the call.
    pub args: u8,
    /// How.
    pub stands: Stands,
    /// An attempt was made with it that may have been executed.
    pub is_spent: bool,
    /// Who decides; none: any.
    pub reviewers: Vec<usize>,
    /// Who voted, and how.
    pub votes: Vec<(usize, bool)>,
    mode: ApprovalMode,
    by: Option<usize>,
    /// When it expires by the clock of leases, and how long it has each time.
    expires_us: Option<u64>,
    lasts_us: u64,
    on_timeout: OnTimeout,
    escalate_to: Option<usize>,
}

impl Request {
    pub(super) fn new(question: &Question, time: &Time, at: Option<u64>) -> Self {
        let lasts_us = question.timeout_s * SECOND_US;
        Self {
            at,
            args: question.args,
            stands: Stands::Pending,
            is_spent: false,
            reviewers: question.reviewers.clone(),
            votes: Vec::new(),
            mode: question.mode,
            by: question.by,
            expires_us: (lasts_us > 0).then(|| time.steady_us() + lasts_us),
            lasts_us,
            on_timeout: question.on_timeout,
            escalate_to: question.escalate_to,
        }
    }

    /// Who is listed and has not voted.
    pub fn next_reviewer(&self) -> Option<usize> {
        let has_voted = |by: &usize| self.votes.iter().any(|(voter, _)| voter == by);
        let mut reviewers = self.reviewers.iter().copied();
        reviewers.find(|by| !has_voted(by))
    }

    /// Whether nobody decided it in time.
    pub fn is_over(&self, time: &Time) -> bool {
        let is_late = |expires_us| time.steady_us() >= expires_us;
        self.stands == Stands::Pending && self.expires_us.is_some_and(is_late)
    }

    /// Records what follows if nobody decided it in time; whether it did.
    pub(super) fn expire(&mut self, time: &Time) -> bool {
        if !self.is_over(time) {
            return false;
        }
        match (self.on_timeout, self.escalate_to.take()) {
            (OnTimeout::Approve, _) => self.stands = Stands::Approved,
            (OnTimeout::Escalate, Some(other)) => {
                // To somebody else, once, who has as long.
                self.reviewers = vec![other];
                self.votes.clear();
                self.mode = ApprovalMode::One;
                self.on_timeout = OnTimeout::Reject;
                self.expires_us = Some(time.steady_us() + self.lasts_us);
            }
            _ => self.stands = Stands::Rejected,
        }
        true
    }

    pub(super) fn vote(&mut self, by: usize, is_yes: bool, is_newest: bool, time: &Time) -> Said {
        if self.stands != Stands::Pending {
            return Said::Refused("already_decided");
        }
        if !is_newest {
            return Said::Refused("approval_superseded");
        }
        if self.expire(time) {
            return Said::Refused("approval_expired");
        }
        let place = self.reviewers.iter().position(|reviewer| *reviewer == by);
        let why = if by >= PEOPLE.len() {
            Some("not_allowed")
        } else if self.by == Some(by) {
            Some("own_request")
        } else if self.votes.iter().any(|(voter, _)| *voter == by) {
            Some("voted_already")
        } else if !self.reviewers.is_empty() && place.is_none() {
            Some("not_reviewer")
        } else if self.mode == ApprovalMode::Sequential && place != Some(self.votes.len()) {
            Some("not_your_turn")
        } else {
            None
        };
        if let Some(why) = why {
            return Said::Refused(why);
        }
        self.votes.push((by, is_yes));
        if let Some(is_approved) = self.decided() {
            self.stands = if is_approved {
                Stands::Approved
            } else {
                Stands::Rejected
            };
        }
        Said::At(None)
    }

    fn decided(&self) -> Option<bool> {
        let listed = self.reviewers.len();
        let yes = self.votes.iter().filter(|(_, is_yes)| *is_yes).count();
        let no = self.votes.len() - yes;
        match self.mode {
            ApprovalMode::All | ApprovalMode::Sequential => {
                let is_unanimous = (yes == listed).then_some(true);
                if no > 0 { Some(false) } else { is_unanimous }
            }
            // More than half of those who are listed, or nobody can get there any more.
            ApprovalMode::Quorum if 2 * yes > listed => Some(true),
            ApprovalMode::Quorum => (2 * (listed - no) <= listed).then_some(false),
            _ => Some(no == 0),
        }
    }
}
