//! A plain model of what is called, spent and approved, written from the description: calls that
//! happen once, the budgets that they spend from, and the people who are asked about them.
//!
//! ```text
//!  Office    calls, books and requests together: one claim looks at all three
//!  Books     owners, reservations and charges, added up anew each time
//!  Request   one question to people
//!  ask       the same question put to a real log
//! ```

mod ask;
mod books;
mod request;

pub use ask::{Names, paid, request, spend, sweep_approvals, vote};
pub use books::{Amount, Books, Cost, Fact, LIMITS, OWNERS, Stand};
pub use request::{PEOPLE, Request, Stands};

use crate::calls::{Act, Call, CallAsk, Plain, Said, Standing, Time, may_repeat};
use runstone_projections::Hold;
use runstone_projections::settings::{ApprovalMode, OnTimeout};
use std::collections::BTreeMap;

/// What is asked of an office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfficeAsk {
    /// To make a call, which an owner is to pay for with so many tokens.
    Claim(usize, CallAsk, Option<(usize, u64)>),
    /// Something is done to a call, which cost so many tokens.
    Act(usize, CallAsk, Option<u64>),
    /// To open a budget with these limits, or to change them; whether a person does.
    Open(usize, usize, bool),
    /// To hold tokens back; for how long.
    Reserve(usize, u64, Hold),
    /// To spend them at once, if they fit.
    Spend(usize, u64),
    /// To record what was spent.
    Charge(usize, u64),
    /// What was held back at this position cost so much.
    Settle(u64, u64),
    /// It is given back.
    GiveBack(u64),
    /// To record every reservation that has lapsed.
    SweepBudgets,
    /// To record of every call whose lease is over that its outcome is unknown.
    SweepCalls,
    /// To ask people about a call.
    Request(usize, Question),
    /// A vote about the request at this position, by one of [`PEOPLE`] or by nobody.
    Vote(u64, usize, bool),
    /// To record what follows from requests that nobody decided.
    SweepApprovals,
}

/// What people are asked about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which arguments it has.
    pub args: u8,
    /// How reviewers decide.
    pub mode: ApprovalMode,
    /// Which of [`PEOPLE`] they are; none: any.
    pub reviewers: Vec<usize>,
    /// Seconds after which it expires; 0 is never.
    pub timeout_s: u64,
    /// What follows then.
    pub on_timeout: OnTimeout,
    /// To whom it goes then.
    pub escalate_to: Option<usize>,
    /// Which of [`PEOPLE`] asks; `None`: a program.
    pub by: Option<usize>,
}

impl Question {
    /// That silence is consent only a person may ask for.
    fn is_too_lax(&self) -> bool {
        self.by.is_none() && self.on_timeout == OnTimeout::Approve
    }
}

/// Calls, budgets and requests as they may stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Office {
    /// Each call that was asked for.
    pub calls: BTreeMap<usize, Call>,
    /// What is spent.
    pub books: Books,
    /// Requests about each call, oldest first.
    pub requests: BTreeMap<usize, Vec<Request>>,
}

/// Whether claims of a call say that they need an approval.
pub fn needs_approval(key: usize) -> bool {
    key % 5 == 4
}

impl Office {
    /// How a call stands.
    pub fn call(&self, key: usize) -> Call {
        self.calls.get(&key).cloned().unwrap_or_default()
    }

    fn put(&mut self, key: usize, call: Call) {
        if call != Call::default() {
            self.calls.insert(key, call);
        }
    }

    /// The newest request about a call.
    pub fn newest(&self, key: usize) -> Option<&Request> {
        self.requests.get(&key)?.last()
    }

    fn newest_mut(&mut self, key: usize) -> Option<&mut Request> {
        self.requests.get_mut(&key)?.last_mut()
    }

    fn spend_approval(&mut self, key: usize) {
        if let Some(request) = self.newest_mut(key) {
            request.is_spent |= request.stands == Stands::Approved;
        }
    }

    /// Records what follows if nobody decided the newest request in time; whether it did.
    fn expire(&mut self, key: usize, time: &Time) -> bool {
        self.newest_mut(key)
            .is_some_and(|request| request.expire(time))
    }

    /// Records that the outcome of a call is unknown, if its lease is over; whether it did.
    fn lapse(&mut self, key: usize, time: &Time) -> bool {
        let call = self.call(key);
        if !call.is_lapsed(time) {
            return false;
        }
        self.put(key, call.lapsed(time));
        self.spend_approval(key);
        true
    }

    /// Why people do not let a call be made.
    fn barred(&self, key: usize, args: u8) -> Option<&'static str> {
        let Some(request) = self.newest(key) else {
            return needs_approval(key).then_some("not_asked");
        };
        match request.stands {
            Stands::Pending => Some("pending"),
            Stands::Rejected => Some("rejected"),
            Stands::Approved if request.is_spent => Some("spent"),
            Stands::Approved if request.args != args => Some("other_arguments"),
            Stands::Approved => None,
        }
    }

    fn claim(
        &self,
        key: usize,
        (ask, spend): (&CallAsk, Option<(usize, u64)>),
        time: &Time,
        at: Option<u64>,
    ) -> (Said, Self) {
        let CallAsk::Claim { args, .. } = ask else {
            unreachable!("it is no claim")
        };
        let before = self.call(key);
        let (said, after) = before.ask(ask, time, at);
        let mut next = self.clone();
        if !matches!(said, Said::Held(_)) {
            let is_lost = before.standing != after.standing;
            next.put(key, after);
            if is_lost {
                next.spend_approval(key);
            }
            return (said, next);
        }
        next.expire(key, time);
        if let Some(why) = next.barred(key, *args) {
            return (Said::Refused(why), next);
        }
        let refused = next.clone();
        // Whoever held it is gone, and whether it had begun nobody knows.
        next.books.end_call(key, Cost::Full, time);
        if let Some((owner, tokens)) = spend {
            if !next.books.is_open(owner) {
                return (Said::Refused("budget_not_found"), refused);
            }
            let amount = Amount { tokens, calls: 1 };
            if !next.books.fits(owner, amount, time) {
                return (Said::Refused("budget_exceeded"), refused);
            }
            next.books.reserve_for_call(owner, amount, key, time);
        }
        next.put(key, after);
        (said, next)
    }

    fn act(
        &self,
        key: usize,
        (ask, cost): (&CallAsk, Option<u64>),
        time: &Time,
        at: Option<u64>,
    ) -> (Said, Self) {
        let CallAsk::Act(_, act) = ask else {
            unreachable!("it is no act")
        };
        let before = self.call(key);
        let (said, after) = before.ask(ask, time, at);
        let mut next = self.clone();
        let is_done = matches!(said, Said::At(_)) && before != after;
        next.put(key, after.clone());
        if !is_done || matches!(act, Act::Renew(_)) {
            return (said, next);
        }
        let was_in_flight = matches!(before.standing, Standing::InFlight(_));
        let may_be_made = matches!(
            after.standing,
            Standing::Completed(_) | Standing::ForGood | Standing::Unknown
        );
        // What is found out about a call that nobody held any more: it was lost first.
        let was_lost = matches!(act, Act::Reconcile(..));
        if was_in_flight && (may_be_made || was_lost) {
            next.spend_approval(key);
        }
        let charged = cost.map_or(Cost::Full, Cost::Tokens);
        match (&after.standing, act) {
            (Standing::Completed(_) | Standing::ForGood, _) => {
                next.books.end_call(key, charged, time);
            }
            (Standing::Cancelled, Act::Cancel(true)) if may_repeat(before.class) => {
                next.books.end_call(key, charged, time);
            }
            (Standing::NotMade | Standing::Cancelled, _) => {
                next.books.end_call(key, Cost::Nothing, time);
            }
            _ => {}
        }
        (said, next)
    }

    fn request(
        &self,
        key: usize,
        question: &Question,
        time: &Time,
        at: Option<u64>,
    ) -> (Said, Self) {
        let mut next = self.clone();
        if question.is_too_lax() {
            return (Said::Refused("approval_too_lax"), next);
        }
        next.expire(key, time);
        if let Some(newest) = next.newest_mut(key) {
            let is_open = newest.stands == Stands::Pending;
            let counts = is_open || newest.stands == Stands::Approved && !newest.is_spent;
            if counts && newest.args == question.args {
                let known = newest.at;
                newest.at = newest.at.or(at);
                return (Said::At(known), next);
            }
            if is_open {
                return (Said::Refused("approval_pending"), next);
            }
        }
        let request = Request::new(question, time, at);
        next.requests.entry(key).or_default().push(request);
        (Said::At(None), next)
    }

    fn vote(&self, at: u64, by: usize, is_yes: bool, time: &Time) -> (Said, Self) {
        let mut next = self.clone();
        for all in next.requests.values_mut() {
            let newest = all.len() - 1;
            let Some(number) = all.iter().position(|one| one.at == Some(at)) else {
                continue;
            };
            let said = all[number].vote(by, is_yes, number == newest, time);
            return (said, next);
        }
        (Said::Refused("approval_not_found"), next)
    }
}

impl Office {
    /// The ways in which some of what a sweep does is done: any of it may be, whichever other is.
    fn some_of<'a>(
        self,
        keys: impl Iterator<Item = &'a usize>,
        does: impl Fn(&mut Self, usize) -> bool,
    ) -> Vec<Self> {
        let mut all = vec![self];
        for key in keys {
            let mut more = all.clone();
            more.retain_mut(|world| does(world, *key));
            all.append(&mut more);
        }
        all.split_off(1)
    }
}

impl Plain for Office {
    type Ask = OfficeAsk;

    fn ask(&self, ask: &OfficeAsk, time: &Time, at: Option<u64>) -> (Said, Self) {
        let mut next = self.clone();
        let said = match ask {
            OfficeAsk::Claim(key, ask, spend) => return self.claim(*key, (ask, *spend), time, at),
            OfficeAsk::Act(key, ask, cost) => return self.act(*key, (ask, *cost), time, at),
            OfficeAsk::Request(key, question) => return self.request(*key, question, time, at),
            OfficeAsk::Vote(request, by, is_yes) => return self.vote(*request, *by, *is_yes, time),
            OfficeAsk::SweepApprovals => {
                for key in self.requests.keys() {
                    next.expire(*key, time);
                }
                Said::At(None)
            }
            OfficeAsk::SweepCalls => {
                for key in self.calls.keys() {
                    next.lapse(*key, time);
                }
                Said::At(None)
            }
            OfficeAsk::Open(owner, variant, by_person) => {
                next.books.open(*owner, *variant, *by_person)
            }
            OfficeAsk::Reserve(owner, tokens, hold) => {
                next.books.reserve((*owner, *tokens), *hold, time, at)
            }
            OfficeAsk::Spend(owner, tokens) => next.books.spend(*owner, *tokens, time),
            OfficeAsk::Charge(owner, tokens) => next.books.charge(*owner, *tokens, time),
            OfficeAsk::Settle(fence, tokens) => next.books.settle(*fence, *tokens, time),
            OfficeAsk::GiveBack(fence) => next.books.give_back(*fence, time),
            OfficeAsk::SweepBudgets => {
                next.books.sweep(time);
                Said::At(None)
            }
        };
        (said, next)
    }

    fn partly(&self, ask: &OfficeAsk, time: &Time) -> Vec<Self> {
        let mut all = Vec::new();
        let mut next = self.clone();
        match ask {
            OfficeAsk::Claim(key, ..) if next.expire(*key, time) => all.push(next),
            OfficeAsk::Request(key, question)
                if !question.is_too_lax() && next.expire(*key, time) =>
            {
                all.push(next);
            }
            OfficeAsk::SweepApprovals => {
                all = next.some_of(self.requests.keys(), |world, key| world.expire(key, time));
            }
            OfficeAsk::SweepCalls => {
                all = next.some_of(self.calls.keys(), |world, key| world.lapse(key, time));
            }
            // Which lapses are recorded is looked up.
            _ => {}
        }
        all
    }

    fn pass(&mut self, time: &Time) {
        self.books.pass(time);
    }
}
