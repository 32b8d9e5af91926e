//! `budget`: what may be spent, by hand and from scripts.

use crate::args::{
    BudgetChargeArgs, BudgetCommand, BudgetOpenArgs, BudgetReserveArgs, BudgetSettleArgs, Spender,
    amounts,
};
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Table, Tone, count, rfc3339};
use crate::session::{Access, Session};
use runstone::Hold;
use runstone::budgets::{
    Amounts, Budget, BudgetError, Budgets, Exceeded, Open, Owner, OwnerId, Reservation, list,
};
use runstone::codec::Position;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A budget as other programs see it.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    owner: Option<String>,
    scope: String,
    parent: Option<String>,
    opened_at: Option<String>,
    elapsed_s: u64,
    limits: BTreeMap<String, u64>,
    spent: BTreeMap<String, u64>,
    reserved: BTreeMap<String, u64>,
    open_reservations: u64,
    exceeded: Option<Over>,
    position: Position,
    #[serde(skip)]
    level: u8,
}

/// A limit that is exceeded.
#[derive(Debug, Serialize)]
struct Over {
    owner: Option<String>,
    dimension: String,
    window: &'static str,
    spent: u64,
    reserved: u64,
    requested: u64,
    limit: u64,
    message: String,
}

/// A reservation, or what was charged.
#[derive(Debug, Serialize)]
struct Entry {
    owner: Option<String>,
    state: &'static str,
    fence: Option<Position>,
    amounts: BTreeMap<String, u64>,
    lease_expires_at: Option<String>,
    exceeded: Option<Over>,
    position: Position,
}

impl From<&Exceeded> for Over {
    fn from(over: &Exceeded) -> Self {
        Self {
            owner: over.name.clone(),
            dimension: over.dimension.to_string(),
            window: over.window.as_str(),
            spent: over.spent,
            reserved: over.reserved,
            requested: over.requested,
            limit: over.limit,
            message: over.to_string(),
        }
    }
}

fn map(amounts: &Amounts) -> BTreeMap<String, u64> {
    let amounts = amounts.iter();
    amounts
        .map(|(dimension, amount)| (dimension.to_string(), amount))
        .collect()
}

impl Line {
    pub(crate) fn of(budgets: &Budgets, budget: &Budget) -> Result<Self, BudgetError> {
        let name = |id: &OwnerId| budgets.name_of(id);
        let parent = budget.parent.as_ref().map(name).transpose()?.flatten();
        let limits = budget.limits.iter();
        // A list of budgets leaves names to whoever shows them.
        let named = |over: &Exceeded| {
            let mut over = over.clone();
            over.name = name(&over.owner)?;
            Ok::<_, BudgetError>(Over::from(&over))
        };
        Ok(Self {
            owner: name(&budget.id)?,
            scope: budget.id.scope.clone(),
            parent,
            opened_at: rfc3339(budget.opened_at_us),
            elapsed_s: budget.elapsed_s,
            limits: limits
                .map(|(window, dimension, max)| (format!("{window}.{dimension}"), max))
                .collect(),
            spent: map(&budget.spent),
            reserved: map(&budget.reserved),
            open_reservations: budget.open_reservations,
            exceeded: budget.exceeded.as_ref().map(named).transpose()?,
            position: budget.limits_at,
            level: budget.level,
        })
    }
}

pub(crate) fn run(session: &Session, command: BudgetCommand) -> Result<Exit, Failure> {
    match command {
        BudgetCommand::Open(args) => open(session, &args),
        BudgetCommand::Check(spender) => check(session, &spender),
        BudgetCommand::Reserve(args) => reserve(session, &args),
        BudgetCommand::Settle(args) => settle(session, &args),
        BudgetCommand::Release { fence, reason } => release(session, Position::new(fence), reason),
        BudgetCommand::Charge(args) => charge(session, &args),
        BudgetCommand::List => all(session),
        BudgetCommand::Sweep => sweep(session),
    }
}

fn owner(spender: &Spender) -> Owner {
    Owner::new(spender.owner.as_str()).scope(spender.scope.as_str())
}

fn open(session: &Session, args: &BudgetOpenArgs) -> Result<Exit, Failure> {
    let mut wanted = Open::new(owner(&args.spender));
    if let Some(parent) = &args.parent {
        wanted = wanted.parent(parent.as_str());
    }
    if let Some(limits) = args.limits() {
        wanted = wanted.limits(limits);
    }
    if let Some(preset) = &args.preset {
        wanted = wanted.preset(preset.as_str());
    }
    if args.step {
        wanted = wanted.step();
    }
    if let Some(reason) = &args.reason {
        wanted = wanted.reason(reason.as_str());
    }
    let (opened, line) = session.record(
        |log| Ok(Budgets::new(log).open_blocking(&wanted)?),
        |log, opened| Ok(line_of(&Budgets::new(log), &opened.id)?),
    )?;
    session.output.answer(&line, || {
        let done = if opened.is_recorded {
            "open"
        } else {
            "open already, and left as it is"
        };
        let limits = in_words(&line.limits);
        format!("{} is {done}: {limits}", args.spender.owner)
    })?;
    Ok(Exit::Done)
}

fn line_of(budgets: &Budgets, id: &OwnerId) -> Result<Line, BudgetError> {
    let budget = budgets.get(id)?;
    let budget = budget.ok_or(BudgetError::UnknownOwner { name: None })?;
    Line::of(budgets, &budget)
}

fn check(session: &Session, spender: &Spender) -> Result<Exit, Failure> {
    session.with(Access::Folds, |log| {
        let budgets = Budgets::new(log);
        let budget = budgets.check(owner(spender))?;
        let line = Line::of(&budgets, &budget)?;
        session.output.answer(&line, || budget.verdict())?;
        Ok(if budget.exceeded.is_some() {
            Exit::No
        } else {
            Exit::Done
        })
    })
}

fn reserve(session: &Session, args: &BudgetReserveArgs) -> Result<Exit, Failure> {
    let hold = Hold::ByClock(Duration::from_secs(args.lease));
    session.with(Access::Write, |log| {
        let wanted = amounts(&args.amount);
        let reserved = Budgets::new(log).reserve_blocking(owner(&args.spender), &wanted, hold)?;
        let entry = Entry {
            owner: Some(args.spender.owner.clone()),
            state: "open",
            fence: Some(reserved.fence),
            amounts: map(&wanted),
            lease_expires_at: reserved.lease_expires_at_us.and_then(rfc3339),
            exceeded: None,
            position: reserved.fence,
        };
        session.output.answer(&entry, || {
            let until = entry.lease_expires_at.as_deref().unwrap_or_default();
            let amounts = in_words(&entry.amounts);
            let fence = reserved.fence;
            format!("reserved {amounts}: fence {fence}, lease until {until}")
        })?;
        Ok(Exit::Done)
    })
}

fn settle(session: &Session, args: &BudgetSettleArgs) -> Result<Exit, Failure> {
    let fence = Position::new(args.fence);
    session.with(Access::Write, |log| {
        let budgets = Budgets::new(log);
        let reservation = reservation(&budgets, fence)?;
        let actual = if args.amount.is_empty() {
            reservation.amounts.clone()
        } else {
            amounts(&args.amount)
        };
        let settled = budgets.settle_blocking(fence, &actual)?;
        let entry = Entry {
            owner: budgets.name_of(&reservation.owner)?,
            state: "settled",
            fence: Some(fence),
            amounts: map(&actual),
            lease_expires_at: None,
            exceeded: settled.exceeded.as_ref().map(Over::from),
            position: settled.position,
        };
        told(session, &entry, "settled", settled.exceeded.as_ref())
    })
}

fn reservation(budgets: &Budgets, fence: Position) -> Result<Reservation, BudgetError> {
    let reservation = budgets.reservation(fence)?;
    reservation.ok_or(BudgetError::UnknownReservation { fence })
}

fn release(session: &Session, fence: Position, reason: Option<String>) -> Result<Exit, Failure> {
    session.with(Access::Write, |log| {
        let budgets = Budgets::new(log);
        let reservation = reservation(&budgets, fence)?;
        let position = budgets.release_blocking(fence, reason)?;
        let entry = Entry {
            owner: budgets.name_of(&reservation.owner)?,
            state: "released",
            fence: Some(fence),
            amounts: map(&reservation.amounts),
            lease_expires_at: None,
            exceeded: None,
            position,
        };
        told(session, &entry, "released", None)
    })
}

fn charge(session: &Session, args: &BudgetChargeArgs) -> Result<Exit, Failure> {
    session.with(Access::Write, |log| {
        let budgets = Budgets::new(log);
        let spent = amounts(&args.amount);
        let charged = budgets.charge_blocking(owner(&args.spender), &spent)?;
        let entry = Entry {
            owner: Some(args.spender.owner.clone()),
            state: "charged",
            fence: None,
            amounts: map(&spent),
            lease_expires_at: None,
            exceeded: charged.exceeded.as_ref().map(Over::from),
            position: charged.position,
        };
        told(session, &entry, "charged", charged.exceeded.as_ref())
    })
}

/// What is recorded, and that a limit is exceeded now: then the answer is no.
fn told(
    session: &Session,
    entry: &Entry,
    done: &str,
    exceeded: Option<&Exceeded>,
) -> Result<Exit, Failure> {
    if let Some(over) = exceeded {
        let report = Report::new(Exit::No, "budget_exceeded", over.to_string());
        session.output.error(&report);
    }
    session.output.answer(entry, || {
        let (amounts, position) = (in_words(&entry.amounts), entry.position);
        format!("{done} {amounts} (position {position})")
    })?;
    Ok(if exceeded.is_some() {
        Exit::No
    } else {
        Exit::Done
    })
}

fn sweep(session: &Session) -> Result<Exit, Failure> {
    session.with(Access::Write, |log| {
        let expired = Budgets::new(log).sweep_blocking()?;
        let answer = BTreeMap::from([("expired", expired)]);
        session
            .output
            .answer(&answer, || format!("{expired} reservations had lapsed"))?;
        Ok(Exit::Done)
    })
}

fn all(session: &Session) -> Result<Exit, Failure> {
    let output = &session.output;
    session.with(Access::Folds, |log| {
        let budgets = Budgets::new(log);
        let mut found = list(log)?;
        found.sort_by_key(|budget| budget.opened);
        let lines = found.iter().map(|budget| Line::of(&budgets, budget));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        if output.json {
            let mut results = Output::results();
            for line in &lines {
                results.json(line)?;
            }
            results.flush()?;
        } else if lines.is_empty() {
            output.note("there is no budget");
        } else {
            Output::text(&format!("{}\n", table(&lines, output)))?;
        }
        Ok(Exit::Done)
    })
}

/// `steps 5, tokens 1,200`.
fn in_words(amounts: &BTreeMap<String, u64>) -> String {
    if amounts.is_empty() {
        return "no limits".to_owned();
    }
    let amounts = amounts.iter();
    let words = amounts.map(|(code, amount)| {
        let code = code.strip_prefix("all.").unwrap_or(code);
        format!("{code} {}", count(*amount))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Budgets under each other.
pub(crate) fn table(lines: &[Line], output: &Output) -> String {
    let columns = [
        ("owner", Align::Left),
        ("under", Align::Left),
        ("spent", Align::Left),
        ("reserved", Align::Left),
        ("limits", Align::Left),
        ("", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    let dash = |amounts: &BTreeMap<String, u64>| {
        if amounts.is_empty() {
            "-".to_owned()
        } else {
            in_words(amounts)
        }
    };
    let erased = || "(erased)".to_owned();
    for line in lines {
        let parent = match (&line.parent, line.level) {
            (Some(parent), _) => parent.clone(),
            (None, 0) => "-".to_owned(),
            (None, _) => erased(),
        };
        let state = match &line.exceeded {
            Some(_) => ("exceeded".to_owned(), Tone::Bad),
            None => ("ok".to_owned(), Tone::Good),
        };
        table.row(vec![
            (line.owner.clone().unwrap_or_else(erased), Tone::Plain),
            (parent, Tone::Dim),
            (dash(&line.spent), Tone::Plain),
            (dash(&line.reserved), Tone::Plain),
            (dash(&line.limits), Tone::Dim),
            state,
        ]);
    }
    table.text()
}
