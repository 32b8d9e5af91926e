//! Looking at the calls, budgets and requests of a simulated log: they stand as the model expects.

use super::Simulation;
use super::office::KEYS;
use crate::calls::{Act, Call, CallAsk, Standing, Time};
use crate::office::{Books, OWNERS, Office, PEOPLE, Request, Stand, Stands};
use runstone_projections::approvals::{Approval, ApprovalState, Approvals, Vote};
use runstone_projections::budgets::{self, Budget, BudgetError, Budgets, Dimension, Reservation};
use runstone_projections::effects::{Effect, Effects, Executed, State};
use runstone_store::Log;
use std::collections::BTreeMap;

/// What the log says.
#[derive(Debug)]
struct Seen {
    calls: Vec<Option<Effect>>,
    owners: Vec<Option<Budget>>,
    /// Reservations that are not ended.
    open: Vec<Reservation>,
    /// Those that somebody knows of.
    known: BTreeMap<u64, Option<Reservation>>,
    requests: Vec<Option<Approval>>,
}

impl Simulation {
    /// Calls, budgets and requests are as the model expects; why that cannot be seen.
    pub(super) fn see_office(&mut self) -> Option<String> {
        let (log, time) = (self.asked_log(), self.asked_at());
        let seen = match self.look_at_office(&log) {
            Ok(seen) => seen,
            Err(error) => return Some(error.to_string()),
        };
        self.agents
            .office
            .see(&seen, |world| agrees(world, &seen, &time));
        None
    }

    fn look_at_office(&self, log: &Log) -> crate::tamper::Outcome<Seen> {
        let (effects, approvals) = (Effects::new(log), Approvals::new(log));
        let (budgets, names) = (Budgets::new(log), self.names());
        let mut seen = Seen {
            calls: Vec::new(),
            owners: Vec::new(),
            open: Vec::new(),
            known: BTreeMap::new(),
            requests: Vec::new(),
        };
        for key in 0..KEYS {
            let any = self.claim_of(key, &CallAsk::Act(None, Act::Unknown), None);
            seen.calls.push(effects.find(&any)?);
            seen.requests.push(approvals.find(&any)?);
        }
        for number in 0..OWNERS.len() {
            seen.owners.push(match budgets.check(names.owner(number)) {
                Ok(budget) => Some(budget),
                Err(BudgetError::UnknownOwner { .. }) => None,
                Err(error) => return Err(error.into()),
            });
        }
        if let Some(Some(root)) = seen.owners.first() {
            seen.open = budgets::reservations(log, &root.id)?;
        }
        let facts = self.agents.office.all().iter();
        let facts = facts.flat_map(|world| &world.books.facts);
        for fence in facts.filter_map(|fact| fact.fence) {
            let found = budgets.reservation(runstone_codec::Position::new(fence))?;
            seen.known.insert(fence, found);
        }
        Ok(seen)
    }
}

fn agrees(world: &mut Office, seen: &Seen, time: &Time) -> bool {
    let calls = seen.calls.iter().enumerate();
    let mut agrees = true;
    for (key, effect) in calls {
        agrees &= match (world.calls.get_mut(&key), effect) {
            (None, None) => true,
            (Some(call), Some(effect)) => is_call(call, effect, time),
            _ => false,
        };
    }
    for (key, found) in seen.requests.iter().enumerate() {
        let newest = world.requests.get_mut(&key).and_then(|all| all.last_mut());
        agrees &= match (newest, found) {
            (None, None) => true,
            (Some(request), Some(found)) => is_request(request, found, time),
            _ => false,
        };
    }
    agrees && learn(world, seen, time) && are_books(&world.books, &seen.owners, time)
}

fn is_call(call: &mut Call, effect: &Effect, time: &Time) -> bool {
    let fence = effect.fence.get();
    let is_known = *call.fence.get_or_insert(fence) == fence;
    let executed = effect.executed.filter(|_| effect.state == State::Failed);
    let stands = (effect.state, executed, effect.is_expired);
    is_known && effect.attempt == call.attempt && stands == call.seen(time)
}

fn is_request(request: &mut Request, found: &Approval, time: &Time) -> bool {
    let at = found.position.get();
    let stands = match found.state {
        ApprovalState::Approved => Stands::Approved,
        ApprovalState::Pending => Stands::Pending,
        _ => Stands::Rejected,
    };
    let name = |number: &usize| PEOPLE[*number].0;
    let votes = found
        .votes
        .iter()
        .map(|cast| (bare(&cast.by), cast.vote == Vote::Approve));
    let known = request.votes.iter().map(|(by, vote)| (name(by), *vote));
    *request.at.get_or_insert(at) == at
        && (stands, found.is_spent) == (request.stands, request.is_spent)
        && found.is_expired == request.is_over(time)
        && votes.eq(known)
        && found
            .reviewers
            .iter()
            .eq(request.reviewers.iter().map(name))
}

/// A principal without its authority.
fn bare(principal: &str) -> &str {
    principal
        .split_once(':')
        .map_or(principal, |(_, name)| name)
}

/// Learns where reservations stand that nobody was told of, and which lapses are recorded; whether
/// that can be.
fn learn(world: &mut Office, seen: &Seen, time: &Time) -> bool {
    let mut open: Vec<&Reservation> = seen.open.iter().collect();
    let fences: BTreeMap<usize, Option<u64>> = world
        .calls
        .iter()
        .map(|(key, call)| (*key, call.fence))
        .collect();
    // Those that are known first: others are told apart by what is left.
    let (mut known, mut lost): (Vec<_>, Vec<_>) = world
        .books
        .facts
        .iter_mut()
        .partition(|fact| fact.fence.is_some());
    for fact in known.iter_mut().chain(&mut lost) {
        if fact.stand != Stand::Open {
            continue;
        }
        let amounts = fact.amounts();
        let owner = seen.owners[fact.owner].as_ref().map(|owner| &owner.id);
        let is_it = |found: &&Reservation| match (fact.call, fact.fence) {
            (Some(key), _) => {
                found.effect.map(runstone_codec::Position::get)
                    == fences.get(&key).copied().flatten()
            }
            (None, Some(fence)) => found.fence.get() == fence,
            (None, None) => found.effect.is_none() && !seen.known.contains_key(&found.fence.get()),
        };
        let is_so = |found: &&Reservation| {
            is_it(found) && Some(&found.owner) == owner && found.amounts == amounts
        };
        if let Some(number) = open.iter().position(is_so) {
            let found = open.remove(number);
            if fact.call.is_none() {
                fact.fence = Some(found.fence.get());
            }
            // It has its time again, or it is over and nobody said so yet.
            let is_over = fact.held.is_some_and(|held| held.is_over(time));
            fact.may_be_over = is_over;
            if (found.state == "expired") != is_over {
                return false;
            }
            continue;
        }
        let found = fact
            .fence
            .and_then(|fence| seen.known.get(&fence)?.as_ref());
        let is_expired = found.is_none_or(|found| found.state == "expired");
        if !is_expired || !fact.may_have_expired(time) {
            return false;
        }
        fact.stand = Stand::Expired;
        fact.may_be_over = false;
    }
    world.books.sort();
    open.is_empty()
}

fn are_books(books: &Books, owners: &[Option<Budget>], time: &Time) -> bool {
    let mut owners = owners.iter().enumerate();
    owners.all(|(number, found)| {
        let Some(found) = found else {
            return !books.is_open(number);
        };
        let of = |amounts: &budgets::Amounts| {
            let [tokens, calls] = [Dimension::Tokens, Dimension::ToolCalls];
            (amounts.get(&tokens), amounts.get(&calls))
        };
        let (spent, reserved) = (books.spent(number), books.reserved(number, time));
        books.are_limits(number, &found.limits)
            && of(&found.spent) == (spent.tokens, spent.calls)
            && of(&found.reserved) == (reserved.tokens, reserved.calls)
            && found.exceeded.is_some() == books.is_over(number, time)
    })
}

impl Call {
    /// How it is listed: its state, whether a failed one was executed, and whether it expired.
    fn seen(&self, time: &Time) -> (State, Option<Executed>, bool) {
        match &self.standing {
            Standing::New | Standing::Unknown => (State::Unknown, None, false),
            Standing::InFlight(held) => (State::InFlight, None, held.is_over(time)),
            Standing::Completed(_) => (State::Completed, None, false),
            Standing::NotMade => (State::Failed, Some(Executed::No), false),
            Standing::ForGood => (State::Failed, Some(Executed::Yes), false),
            Standing::Cancelled => (State::Cancelled, None, false),
        }
    }
}
