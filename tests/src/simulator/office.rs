//! What agents and people ask of the calls, budgets and requests of a simulated log.

use super::Simulation;
use super::authority::STRANGER;
use super::calls::{SCOPE, STREAMS};
use crate::calls::{
    Act, CallAsk, Heard, Lost, Said, Time, Told, Who, act, call, claim, may_repeat, sweep_calls,
};
use crate::office::{
    OWNERS, OfficeAsk, PEOPLE, Question, Stand, needs_approval, paid, request, spend,
    sweep_approvals, vote,
};
use crate::staff::By;
use crate::tamper::Outcome;
use runstone_projections::Hold;
use runstone_projections::approvals::Approvals;
use runstone_projections::budgets::{Amounts, Budgets};
use runstone_projections::effects::{Claim, Class, Effects, Executed, Held, Target};
use runstone_projections::settings::{ApprovalMode, OnTimeout};
use runstone_store::Log;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pub(super) const KEYS: usize = 7;
/// Reservations that are open at a time: a command on an owner looks at no more.
const MOST_OPEN: usize = 10;

/// A question on its way.
struct Asking<'a> {
    ask: OfficeAsk,
    client: Option<Client<'a>>,
    told: Option<Told>,
    held: Option<Held>,
}

type Client<'a> = Pin<Box<dyn Future<Output = (Told, Option<Held>)> + 'a>>;

/// Handles of one step: the agents', and those of people.
struct Desks {
    effects: Effects,
    budgets: Budgets,
    approvals: Approvals,
    /// As many as there are people; none of those whom the disk did not let in.
    people: Vec<Option<(Effects, Budgets, Approvals)>>,
    /// That of an agent, as seldom as it is asked.
    stranger: Option<Approvals>,
}

fn desk(log: &Log) -> (Effects, Budgets, Approvals) {
    (Effects::new(log), Budgets::new(log), Approvals::new(log))
}

/// The class of a call: of each a few.
fn class_of(key: usize) -> Class {
    Class::ALL[key % Class::ALL.len()]
}

impl Simulation {
    fn desks(&mut self, log: &Log) -> Outcome<Desks> {
        let mut people = Vec::new();
        for number in 0..PEOPLE.len() {
            people.push(self.person(log, number)?.map(|log| desk(&log)));
        }
        let (effects, budgets, approvals) = desk(log);
        let stranger = match self.numbers.below(4) {
            0 => self.acting(log, By::Agent(STRANGER))?,
            _ => None,
        };
        let stranger = stranger.as_ref().map(Approvals::new);
        Ok(Desks {
            effects,
            budgets,
            approvals,
            people,
            stranger,
        })
    }

    fn any_claim(&mut self, key: usize) -> CallAsk {
        CallAsk::Claim {
            class: class_of(key),
            args: u8::from(self.numbers.below(12) == 0),
            hold: self.any_hold(),
            fresh_us: [None, Some(0)][usize::from(self.numbers.below(4) == 0)],
        }
    }

    fn any_owner(&mut self) -> usize {
        self.numbers.below(OWNERS.len())
    }

    fn any_tokens(&mut self) -> u64 {
        1 + self.numbers.below(40) as u64
    }

    /// The claim of a call that was asked for.
    pub(super) fn claim_of(&self, key: usize, ask: &CallAsk, pays: Option<(usize, u64)>) -> Claim {
        let stream = self.call_stream(key);
        let claim = claim((&stream, SCOPE), &self.key_text(key), ask);
        paid(claim, &self.names(), pays, needs_approval(key))
    }

    /// Something that the holder of a claim may truthfully say, or anything by one who is late.
    fn any_act(&mut self, key: usize) -> Option<(CallAsk, Target)> {
        let known = self.agents.calls.get(&key)?;
        let newest = known.held.len().checked_sub(1)?;
        let late = self.numbers.below(4) == 0;
        let at = if late {
            self.numbers.below(newest + 1)
        } else {
            newest
        };
        let held = &self.agents.calls[&key].held[at];
        let (fence, target) = (held.fence.get(), held.target());
        let was_called = self.agents.calls[&key].called.contains(&fence);
        let result = u8::from(self.numbers.below(2) == 0);
        let act = match (self.numbers.below(8), was_called) {
            (0, _) => Act::Renew(self.any_hold()),
            (1, _) => Act::Unknown,
            (2, true) => Act::Fail(Some(Executed::Unknown)),
            (3, true) => Act::Fail(Some(Executed::Yes)),
            (4, true) => Act::Cancel(true),
            (_, true) => Act::Complete(result),
            (2..=4, false) => Act::Fail(Some(Executed::No)),
            (_, false) => Act::Cancel(false),
        };
        Some((CallAsk::Act(Some(fence), act), target))
    }

    /// What an operator does, who names no claim; a program tells the truth, a person may be wrong.
    fn any_settling(&mut self, key: usize, effects: &Effects) -> Option<(CallAsk, Target)> {
        let any = self.claim_of(key, &CallAsk::Act(None, Act::Unknown), None);
        let target = match effects.find(&any) {
            Ok(effect) => effect?.target(),
            Err(error) => {
                assert!(self.is_excused(), "{error}");
                return None;
            }
        };
        let was_called = self
            .agents
            .calls
            .get(&key)
            .is_some_and(|known| known.calls > 0);
        let who = [Who::Person, Who::Person, Who::Agent][self.numbers.below(3)];
        let act = match self.numbers.below(5) {
            0 => Act::Release(who),
            1 => Act::Reconcile(None, who),
            2 => Act::Reconcile(Some(1), who),
            // A program elsewhere is believed if it holds a run.
            _ if self.is_afar => Act::Reconcile(was_called.then_some(0), Who::Agent),
            _ => Act::Reconcile(was_called.then_some(0), Who::Program),
        };
        Some((CallAsk::Act(None, act), target))
    }

    fn key_text(&self, key: usize) -> String {
        format!("{}-{key}", self.agents.round)
    }

    fn call_stream(&self, key: usize) -> String {
        format!("{STREAMS}calls-{}-{}", self.agents.round, key % 2)
    }

    /// Something that is done with budgets.
    fn any_spending(&mut self) -> OfficeAsk {
        let books = &self.agents.office.all()[0].books;
        let open = books.facts.iter().filter(|fact| fact.may_be_open()).count();
        let fences: Vec<u64> = books.facts.iter().filter_map(|fact| fact.fence).collect();
        let closed = (0..OWNERS.len()).find(|owner| !books.is_open(*owner));
        let settled = books.facts.iter().filter_map(|fact| match fact.stand {
            Stand::Settled(actual) => Some((fact.fence?, actual.tokens)),
            _ => None,
        });
        let settled = settled.max();
        let owner = self.any_owner();
        let tokens = self.any_tokens();
        // Who did not hear the answer asks again.
        if let Some((fence, tokens)) = settled
            && self.numbers.below(6) == 0
        {
            return OfficeAsk::Settle(fence, tokens);
        }
        let any = self.numbers.below(fences.len().max(1));
        // Mostly one that is new.
        let newest = fences.len().saturating_sub(1 + any % 3);
        let fence = fences.get([newest, newest, any][self.numbers.below(3)]);
        let is_opening = closed.is_some() && self.numbers.below(5) > 0;
        if is_opening || self.numbers.below(16) == 0 {
            let variant = self.numbers.below(3);
            let owner = closed.filter(|_| is_opening).unwrap_or(owner);
            return OfficeAsk::Open(owner, variant, self.numbers.below(2) == 0);
        }
        match (self.numbers.below(10), fence) {
            (0..=3, _) if open < MOST_OPEN => OfficeAsk::Reserve(owner, tokens, self.any_hold()),
            (4, _) => OfficeAsk::Spend(owner, tokens),
            (5, _) => OfficeAsk::Charge(owner, tokens / 2),
            (0..=7, Some(fence)) => {
                OfficeAsk::Settle(*fence, [tokens, 7][usize::from(any.is_multiple_of(2))])
            }
            (_, Some(fence)) => OfficeAsk::GiveBack(*fence),
            (_, None) => OfficeAsk::Spend(owner, tokens),
        }
    }

    /// A question to people about a call.
    fn any_question(&mut self) -> Question {
        let mode = [
            ApprovalMode::One,
            ApprovalMode::All,
            ApprovalMode::Sequential,
            ApprovalMode::Quorum,
        ][self.numbers.below(4)];
        let least = usize::from(mode != ApprovalMode::One);
        let count = least + self.numbers.below(PEOPLE.len() - least);
        let first = self.numbers.below(PEOPLE.len());
        let any_of = |number: usize| (first + number) % PEOPLE.len();
        let on_timeout =
            [OnTimeout::Reject, OnTimeout::Approve, OnTimeout::Escalate][self.numbers.below(3)];
        let escalate_to = (self.numbers.below(4) > 0).then(|| any_of(3));
        Question {
            args: u8::from(self.numbers.below(6) == 0),
            mode,
            reviewers: (0..count).map(any_of).collect(),
            timeout_s: [0, 30, 700, 86_400][self.numbers.below(4)],
            on_timeout,
            escalate_to: escalate_to.filter(|_| on_timeout == OnTimeout::Escalate),
            by: (self.numbers.below(3) == 0).then(|| self.numbers.below(PEOPLE.len())),
        }
    }

    /// Something that people are asked, or say.
    fn any_approval(&mut self) -> OfficeAsk {
        let requests = self.agents.office.all()[0].requests.values().flatten();
        let known: Vec<(u64, [Option<usize>; 2])> = requests
            .filter_map(|request| {
                let last = request.reviewers.last().copied();
                Some((request.at?, [request.next_reviewer(), last]))
            })
            .collect();
        let asked = known.get(self.numbers.below(known.len().max(1)));
        match (asked, self.numbers.below(4)) {
            (Some((at, [next, last])), 0..=2) => {
                // Two more than there are people: somebody without a credential, and an agent.
                let any = self.numbers.below(PEOPLE.len() + 2);
                let by = match self.numbers.below(4) {
                    0..=1 => next.unwrap_or(any),
                    2 => last.unwrap_or(any),
                    _ => any,
                };
                OfficeAsk::Vote(*at, by, self.numbers.below(4) > 0)
            }
            _ => OfficeAsk::Request(self.numbers.below(KEYS), self.any_question()),
        }
    }

    /// A client with a question; `None` if it cannot be put now.
    fn any_client<'a>(&mut self, desks: &'a Desks) -> Option<Asking<'a>> {
        let key = self.numbers.below(KEYS);
        let asked = match self.numbers.below(24) {
            0..=3 => None,
            4..=9 => self.any_act(key),
            10 => self.any_settling(key, &desks.effects),
            11..=19 => {
                let ask = self.any_spending();
                return self.spending(ask, desks);
            }
            _ => {
                let ask = self.any_approval();
                return self.approving(ask, desks);
            }
        };
        let Some((ask, target)) = asked else {
            let ask = self.any_claim(key);
            let pays = (!needs_approval(key) && self.numbers.below(2) == 0)
                .then(|| (self.any_owner(), self.any_tokens()));
            let claim = self.claim_of(key, &ask, pays);
            let client: Client<'_> = Box::pin(async move { call(&desks.effects, &claim).await });
            return Some(Asking::new(OfficeAsk::Claim(key, ask, pays), client));
        };
        let CallAsk::Act(_, what) = ask.clone() else {
            return None;
        };
        let by_person = matches!(
            what,
            Act::Release(Who::Person) | Act::Reconcile(_, Who::Person)
        );
        let effects = if by_person {
            &desks.people[0].as_ref()?.0
        } else {
            &desks.effects
        };
        let cost = (self.numbers.below(3) == 0).then(|| self.any_tokens());
        let target = match cost {
            Some(cost) => target.cost(Amounts::new().tokens(cost)),
            None => target,
        };
        let client: Client<'_> =
            Box::pin(async move { (act(effects, &target, &what).await, None) });
        Some(Asking::new(OfficeAsk::Act(key, ask, cost), client))
    }

    fn spending<'a>(&mut self, ask: OfficeAsk, desks: &'a Desks) -> Option<Asking<'a>> {
        let budgets = match ask {
            OfficeAsk::Open(.., true) => &desks.people[2].as_ref()?.1,
            _ => &desks.budgets,
        };
        let (names, what) = (self.names(), ask.clone());
        let client: Client<'_> =
            Box::pin(async move { (spend(budgets, &names, &what).await, None) });
        Some(Asking::new(ask, client))
    }

    fn approving<'a>(&mut self, ask: OfficeAsk, desks: &'a Desks) -> Option<Asking<'a>> {
        let by = match &ask {
            OfficeAsk::Request(_, question) => question.by,
            OfficeAsk::Vote(_, by, _) => Some(*by),
            _ => None,
        };
        let approvals = match by {
            Some(by) if by < PEOPLE.len() => &desks.people[by].as_ref()?.2,
            Some(by) if by > PEOPLE.len() => desks.stranger.as_ref()?,
            _ => &desks.approvals,
        };
        let client: Client<'_> = match ask.clone() {
            OfficeAsk::Request(key, question) => {
                let of_args = CallAsk::Claim {
                    class: class_of(key),
                    args: question.args,
                    hold: Hold::Opening,
                    fresh_us: None,
                };
                let claim = self.claim_of(key, &of_args, None);
                Box::pin(async move { (request(approvals, &claim, &question).await, None) })
            }
            OfficeAsk::Vote(at, _, is_yes) => {
                Box::pin(async move { (vote(approvals, at, is_yes).await, None) })
            }
            _ => return None,
        };
        Some(Asking::new(ask, client))
    }

    /// A few clients at once, or somebody who tidies up.
    pub(super) fn ask_office(&mut self) -> Outcome {
        let log = self.asked_log();
        let desks = self.desks(&log)?;
        if self.numbers.below(24) == 0 {
            self.sweep(&desks);
            return Ok(());
        }
        let mut asking: Vec<Asking<'_>> = Vec::new();
        for _ in 0..1 + self.numbers.below(3) {
            asking.extend(self.any_client(&desks));
        }
        if asking.is_empty() {
            return Ok(());
        }
        let time = self.asked_at();
        let struck = self.machine.struck();
        let mut context = Context::from_waker(Waker::noop());
        let mut was_dropped = false;
        while asking.iter().any(|one| one.client.is_some()) {
            let at = self.numbers.below(asking.len());
            let one = &mut asking[at];
            let Some(client) = &mut one.client else {
                continue;
            };
            if self.numbers.below(40) == 0 {
                one.client = None;
                was_dropped = true;
            } else if let Poll::Ready((told, held)) = client.as_mut().poll(&mut context) {
                (one.told, one.held, one.client) = (Some(told), held, None);
            }
        }
        // What was queued and given up is decided when this returns.
        if was_dropped && log.sync_blocking().is_err() {
            self.fail();
        }
        // A commit that failed comes before those that took its positions.
        let is_unknown = |one: &Asking<'_>| matches!(one.told, Some(Err(Lost::Unknown(_))));
        if self.machine.struck() > struck || asking.iter().any(is_unknown) {
            self.fail();
        }
        self.told_of_office(asking, &time);
        Ok(())
    }

    /// What nobody asked about in time is recorded.
    fn sweep(&mut self, desks: &Desks) {
        let time = self.asked_at();
        let mut context = Context::from_waker(Waker::noop());
        let names = self.names();
        let mut swept = Box::pin(spend(&desks.budgets, &names, &OfficeAsk::SweepBudgets));
        let budgets = match swept.as_mut().poll(&mut context) {
            Poll::Ready(told) => Some(told),
            Poll::Pending => None,
        };
        let calls = Some(sweep_calls(&desks.effects));
        let approvals = Some(sweep_approvals(&desks.approvals));
        for (ask, told) in [
            (OfficeAsk::SweepBudgets, budgets),
            (OfficeAsk::SweepCalls, calls),
            (OfficeAsk::SweepApprovals, approvals),
        ] {
            self.tally.requests += 1;
            self.say(|| format!("  {ask:?} {told:?}"));
            let heard = self.heard(told);
            self.agents.office.take(&[(ask, heard)], &time);
        }
    }

    /// Everything that is over was recorded, or some of it.
    pub(super) fn swept_office(&mut self, is_done: bool, time: &Time) {
        for ask in [
            OfficeAsk::SweepCalls,
            OfficeAsk::SweepApprovals,
            OfficeAsk::SweepBudgets,
        ] {
            let heard = is_done.then_some((Said::At(None), None));
            self.agents.office.take(&[(ask, heard)], time);
        }
    }

    fn told_of_office(&mut self, asking: Vec<Asking<'_>>, time: &Time) {
        let mut asked: Vec<(OfficeAsk, Heard)> = Vec::new();
        let mut all_held = Vec::new();
        for one in asking {
            self.tally.requests += 1;
            self.say(|| format!("  {:?} {:?}", one.ask, one.told));
            let heard = self.heard(one.told);
            if let (OfficeAsk::Claim(key, ..), Some(held)) = (&one.ask, one.held) {
                all_held.push((*key, held));
            }
            asked.push((one.ask, heard));
        }
        self.agents.office.take(&asked, time);
        let mut pardoned = BTreeSet::new();
        for (ask, heard) in &asked {
            let OfficeAsk::Act(key, ask, _) = ask else {
                continue;
            };
            let is_pardon = matches!(
                ask,
                CallAsk::Act(
                    _,
                    Act::Fail(Some(Executed::No))
                        | Act::Cancel(false)
                        | Act::Reconcile(None, _)
                        | Act::Release(_)
                )
            );
            if is_pardon && !matches!(heard, Some((Said::Refused(_) | Said::Failed, _))) {
                self.agents.calls.entry(*key).or_default().calls = 0;
                pardoned.insert(*key);
            }
        }
        for (key, held) in all_held {
            let calls_it = self.numbers.below(4) > 0 && !pardoned.contains(&key);
            let known = self.agents.calls.entry(key).or_default();
            let fence = held.fence.get();
            let is_newer = known.held.iter().all(|other| other.fence < held.fence);
            assert!(is_newer, "the fence {fence} of {key} is an older one");
            known.held.push(held);
            if calls_it {
                known.called.insert(fence);
                known.calls += 1;
                self.tally.calls += 1;
                let is_once = known.calls == 1 || may_repeat(class_of(key));
                assert!(
                    is_once,
                    "the tool of {key} was called twice, at {fence} again"
                );
            }
        }
    }
}

impl<'a> Asking<'a> {
    fn new(ask: OfficeAsk, client: Client<'a>) -> Self {
        Self {
            ask,
            client: Some(client),
            told: None,
            held: None,
        }
    }
}

impl std::fmt::Debug for Asking<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:?}", self.ask)
    }
}
