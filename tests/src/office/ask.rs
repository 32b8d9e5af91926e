//! The same questions, put to a real log.

use super::{LIMITS, OWNERS, OfficeAsk, PEOPLE, Question};
use crate::calls::{Lost, Said, Told, of_append};
use runstone_codec::Position;
use runstone_projections::approvals::{ApprovalError, ApprovalRequest, Approvals, Vote};
use runstone_projections::budgets::{
    Amounts, BudgetError, BudgetLimits, Budgets, Dimension, Open, Owner, Window,
};
use runstone_projections::effects::{Claim, EffectError};
use std::time::Duration;

/// Names of owners, in a scope; whoever begins anew has others.
#[derive(Clone, Debug)]
pub struct Names {
    /// Goes before each name.
    pub prefix: String,
    /// Their scope.
    pub scope: String,
}

impl Names {
    /// An owner by its number.
    pub fn owner(&self, number: usize) -> Owner {
        let (name, _) = OWNERS[number];
        Owner::new(format!("{}-{name}", self.prefix)).scope(self.scope.as_str())
    }

    fn opening(&self, number: usize, variant: usize) -> Open {
        let open = Open::new(self.owner(number)).limits(limits(number, variant));
        match OWNERS[number].1 {
            Some(parent) => open.parent(self.owner(parent)),
            None => open,
        }
    }
}

pub(super) fn limits(number: usize, variant: usize) -> BudgetLimits {
    let [all, week, day, calls] = LIMITS[number][variant];
    BudgetLimits::new()
        .of(Dimension::Tokens, all)
        .within(Window::Week, Dimension::Tokens, week)
        .within(Window::Day, Dimension::Tokens, day)
        .of(Dimension::ToolCalls, calls)
}

/// A claim that an owner pays for, and which says whether it needs an approval.
pub fn paid(
    claim: Claim,
    names: &Names,
    spend: Option<(usize, u64)>,
    needs_approval: bool,
) -> Claim {
    let claim = if needs_approval {
        claim.needs_approval()
    } else {
        claim
    };
    match spend {
        Some((owner, tokens)) => claim.budget(names.owner(owner), Amounts::new().tokens(tokens)),
        None => claim,
    }
}

fn of_budget(error: &BudgetError) -> Told {
    Err(match error {
        BudgetError::Append(error) => of_append(error),
        BudgetError::Read(error) => Lost::Unread(error.to_string()),
        BudgetError::Settings(error) => Lost::Failed(error.to_string()),
        error => return Ok((Said::Refused(error.code()), None)),
    })
}

fn at(position: Position) -> (Said, Option<u64>) {
    (Said::At(Some(position.get())), Some(position.get()))
}

/// Does something with budgets.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
///
/// # Panics
///
/// If something else is asked.
pub async fn spend(budgets: &Budgets, names: &Names, ask: &OfficeAsk) -> Told {
    let tokens = |tokens: u64| Amounts::new().tokens(tokens);
    let told = match *ask {
        OfficeAsk::Open(owner, variant, _) => {
            let opened = budgets.open(&names.opening(owner, variant)).await;
            opened.map(|opened| at(opened.position))
        }
        OfficeAsk::Reserve(owner, amount, hold) => {
            let (owner, amount) = (names.owner(owner), tokens(amount));
            let reserved = budgets.reserve(owner, &amount, hold).await;
            reserved.map(|reserved| at(reserved.fence))
        }
        OfficeAsk::Spend(owner, amount) => {
            let spent = budgets.spend(names.owner(owner), &tokens(amount)).await;
            spent.map(at)
        }
        OfficeAsk::Charge(owner, amount) => {
            let charged = budgets.charge(names.owner(owner), &tokens(amount)).await;
            charged.map(|charged| {
                let said = Said::Spent(charged.exceeded.is_some());
                (said, Some(charged.position.get()))
            })
        }
        OfficeAsk::Settle(fence, amount) => {
            let settled = budgets.settle(Position::new(fence), &tokens(amount)).await;
            settled.map(|settled| {
                let said = Said::Spent(settled.exceeded.is_some());
                (said, Some(settled.position.get()))
            })
        }
        OfficeAsk::GiveBack(fence) => {
            let released = budgets.release(Position::new(fence), None).await;
            released.map(at)
        }
        OfficeAsk::SweepBudgets => budgets.sweep_blocking().map(|_| (Said::At(None), None)),
        ref other => panic!("it is nothing of budgets: {other:?}"),
    };
    told.or_else(|error| of_budget(&error))
}

fn of_approval(error: &ApprovalError) -> Told {
    Err(match error {
        ApprovalError::Append(error) | ApprovalError::Effect(EffectError::Append(error)) => {
            of_append(error)
        }
        ApprovalError::Read(error) | ApprovalError::Effect(EffectError::Read(error)) => {
            Lost::Unread(error.to_string())
        }
        ApprovalError::Settings(error) => Lost::Failed(error.to_string()),
        error => return Ok((Said::Refused(error.code()), None)),
    })
}

/// Asks people about the call of a claim.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub async fn request(approvals: &Approvals, claim: &Claim, question: &Question) -> Told {
    let name = |number: usize| PEOPLE[number].0;
    let reviewers = question.reviewers.iter().map(|number| name(*number));
    let mut request = ApprovalRequest::new(claim, "modelled")
        .reviewers(question.mode, reviewers)
        .timeout(Duration::from_secs(question.timeout_s), question.on_timeout);
    request.escalate_to = question.escalate_to.map(|number| name(number).to_owned());
    let asked = approvals.request(&request).await;
    asked
        .map(|approval| at(approval.position))
        .or_else(|error| of_approval(&error))
}

/// Votes.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub async fn vote(approvals: &Approvals, request: u64, is_yes: bool) -> Told {
    let vote = if is_yes { Vote::Approve } else { Vote::Reject };
    let voted = approvals.vote(Position::new(request), vote, None).await;
    voted
        .map(|_| (Said::At(None), None))
        .or_else(|error| of_approval(&error))
}

/// Records what follows from every request that nobody decided.
///
/// # Errors
///
/// [`Lost`] if there is no answer.
pub fn sweep_approvals(approvals: &Approvals) -> Told {
    let swept = approvals.sweep_blocking();
    swept
        .map(|_| (Said::At(None), None))
        .or_else(|error| of_approval(&error))
}
