//! What may follow what. Each function runs at the writer: it sees everything before, and what it
//! chooses is recorded in the same step.

use super::fold::{
    ACCEPTED, ALL, FOLD, PRINCIPAL, REFUSED, Refusals, STALE, UNAUTHORISED, agent_key, helpers_key,
    is_recent, mark_key, order_key, refused_key,
};
use crate::events::control::{agent as field, message};
use crate::events::{AgentRegistered, AgentState, MessageClass};
use crate::rows::{AgentRow, HelpersRow, OrderRow, OrderRows};
use crate::settings::Settings;
use crate::view;
use runstone_codec::{
    Authority, Control, Draft, EventError, Header, NewEvent, Position, TypedEvent as _,
};
use runstone_store::{AppendError, DecideContext, Decision};

/// The agent that a principal is; `None` if it is none.
pub(crate) fn name_of(principal: &str) -> Option<&str> {
    principal.strip_prefix(PRINCIPAL)
}

/// The agent that a claim is of. Whoever has proved a credential claims as himself, whatever he calls
/// it; who has none stands for the agent that he names.
pub(crate) fn claims_as<'a>(header: &'a Header, holder: &'a str) -> Option<&'a str> {
    match header.authority {
        Authority::System => agent_of(holder),
        _ => name_of(&header.principal),
    }
}

/// The agent that a holder may be: named as such, or as its principal, whatever it adds behind `#`.
fn agent_of(holder: &str) -> Option<&str> {
    let holder = holder.split_once('#').map_or(holder, |(agent, _)| agent);
    let name = name_of(holder).unwrap_or(holder);
    super::is_agent_name(name).then_some(name)
}

/// The principal that an agent is.
pub(super) fn principal_of(name: &str) -> String {
    format!("{PRINCIPAL}{name}")
}

/// Stream of an agent's events.
pub(super) fn stream_of(name: &str) -> String {
    principal_of(name)
}

/// What every event of an agent says of it.
pub(super) fn about(name: &str, event: NewEvent) -> Draft {
    Draft::new(event.tag(format!("{}:{name}", field::TAG)))
        .control(Control::new().text(field::NAME, name))
}

/// That an agent is known from now on.
pub(crate) fn registration(name: &str) -> Result<Draft, EventError> {
    let event = NewEvent::typed(&AgentRegistered::default(), stream_of(name))?;
    Ok(about(name, event))
}

pub(super) fn row_of(
    context: &DecideContext<'_>,
    name: &str,
) -> Result<Option<AgentRow>, AppendError> {
    view::row(context, FOLD, &agent_key(name))
}

/// Whether an agent is known; one that was revoked is refused.
pub(crate) fn admit(context: &DecideContext<'_>, name: &str) -> Result<bool, AppendError> {
    let row = row_of(context, name)?;
    if row.as_ref().is_some_and(|row| row.is_revoked) {
        return Err(AppendError::Keys {
            code: "agent_revoked",
            message: format!("agent `{name}` was revoked: its commands are refused"),
        });
    }
    Ok(row.is_some())
}

/// Whether an agent was revoked: a run that it held is free.
pub(crate) fn is_revoked(context: &DecideContext<'_>, name: &str) -> Result<bool, AppendError> {
    Ok(row_of(context, name)?.is_some_and(|row| row.is_revoked))
}

/// Whether an agent has nothing to do, and makes no work for itself.
pub(crate) fn is_idle(context: &DecideContext<'_>, name: &str) -> Result<bool, AppendError> {
    let row = row_of(context, name)?;
    Ok(row.is_some_and(|row| row.state() == AgentState::Idle))
}

/// Whether an agent is gone for good, or a helper whose time is over.
pub(crate) fn is_retired(context: &DecideContext<'_>, name: &str) -> Result<bool, AppendError> {
    let steady_us = context.steady_us();
    let is_over = |row: &AgentRow| {
        let helper = row.helper.as_ref();
        helper.is_some_and(|helper| steady_us >= helper.expires_at_us)
    };
    let row = row_of(context, name)?;
    Ok(row.is_some_and(|row| row.state() == AgentState::Retired || is_over(&row)))
}

/// How many helpers a principal has.
pub(super) fn helpers_of(
    context: &DecideContext<'_>,
    parent: &str,
) -> Result<HelpersRow, AppendError> {
    Ok(view::row(context, FOLD, &helpers_key(parent))?.unwrap_or_default())
}

/// Whether a decision registers an agent itself.
pub(crate) fn registers(
    context: &DecideContext<'_>,
    record: &[(usize, Control)],
    name: &str,
) -> bool {
    record.iter().any(|(candidate, _)| {
        context
            .candidate(*candidate)
            .is_some_and(|(header, control)| {
                header.event_type == AgentRegistered::TYPE
                    && control.get_text(field::NAME) == Some(name)
            })
    })
}

/// What is done to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Register,
    Sleep,
    Wake,
    /// Whether a supervisor should run it.
    Power {
        runs: bool,
        /// How many helpers of one parent may run, and the settings that say so.
        most: u64,
        settings_at: Option<Position>,
    },
    Revoke,
}

/// What it comes to.
#[derive(Debug)]
pub(super) enum Done {
    /// It is recorded there, or was so before.
    At(Option<Position>),
    NotFound,
    NotAllowed(&'static str),
    /// It is gone for good.
    Retired,
    /// As many helpers run as may.
    CapReached {
        parent: String,
        most: u64,
    },
    NotHelper,
    /// It does not retire itself.
    KeepsOn,
    /// Other settings came into force meanwhile.
    Reconfigured,
}

/// Whether the caller may act for an agent: only another agent may not.
pub(super) fn acts_for(authority: Authority, principal: &str, name: &str) -> bool {
    authority != Authority::Agent || name_of(principal) == Some(name)
}

pub(super) const SELF: &str = "the agent itself, or a caller that is no agent";
const PERSON: &str = "the credential of a person or a commander";
const PARENT: &str = "the credential of a person or a commander, or of whoever spawned this helper";

/// Whether a change of an agent may be recorded.
pub(super) fn change(
    context: &mut DecideContext<'_>,
    name: &str,
    act: Act,
) -> Result<Decision<Done>, AppendError> {
    let row = row_of(context, name)?;
    let (header, _) = context.candidate(0).ok_or(AppendError::Empty)?;
    let is_entitled = matches!(header.authority, Authority::Human | Authority::Commander);
    let acts_for = acts_for(header.authority, &header.principal, name);
    let helper = row.as_ref().and_then(|row| row.helper.as_ref());
    let is_parent = helper.is_some_and(|helper| helper.parent == header.principal);
    // Whom a person stopped, only a person powers on.
    let needs_person = row.as_ref().is_some_and(|row| row.needs_person);
    let needs = match act {
        Act::Register | Act::Sleep | Act::Wake if !acts_for => Some(SELF),
        Act::Power { .. } if !is_entitled && helper.is_some() && !is_parent => Some(PARENT),
        Act::Power { runs, .. } if !is_entitled && (!is_parent || runs && needs_person) => {
            Some(PERSON)
        }
        Act::Revoke if !is_entitled => Some(PERSON),
        _ => None,
    };
    if let Some(needs) = needs {
        return Ok(Decision::nothing(Done::NotAllowed(needs)));
    }
    let state = row.as_ref().map(AgentRow::state);
    let is_so = match (act, &row) {
        (Act::Register, row) => row.is_some(),
        (_, None) => return Ok(Decision::nothing(Done::NotFound)),
        // Whoever must exit neither sleeps nor wakes.
        (Act::Sleep, _) => state != Some(AgentState::Running),
        (Act::Wake, _) => state != Some(AgentState::Idle),
        (Act::Power { runs: true, .. }, Some(row)) => {
            !row.is_stopped && matches!(row.state(), AgentState::Running | AgentState::Idle)
        }
        // That a person says it is recorded, whoever stopped it before.
        (Act::Power { runs: false, .. }, Some(row)) => {
            state == Some(AgentState::Retired) || row.is_stopped && (needs_person || !is_entitled)
        }
        (Act::Revoke, Some(row)) => row.is_revoked,
    };
    if let Act::Power {
        runs: true,
        most,
        settings_at,
    } = act
        && !is_so
    {
        if state == Some(AgentState::Retired) {
            return Ok(Decision::nothing(Done::Retired));
        }
        if let Some(helper) = helper {
            if context.last_of_type(Settings::TYPE)? != settings_at {
                return Ok(Decision::nothing(Done::Reconfigured));
            }
            let parent = helper.parent.clone();
            if helpers_of(context, &parent)?.running >= most {
                return Ok(Decision::nothing(Done::CapReached { parent, most }));
            }
        }
    }
    if is_so {
        let since = row.map(|row| Position::new(row.since));
        return Ok(Decision::nothing(Done::At(since)));
    }
    let control = match act {
        Act::Power { runs, .. } => Control::new().u64(field::POWER, u64::from(!runs)),
        _ => Control::new(),
    };
    let at = Done::At(Some(context.next_position()));
    Ok(Decision::record(0, control, at))
}

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Posted {
    /// It is recorded there; whether it is an order, and whether its sender may give it.
    At {
        position: Position,
        is_order: bool,
        is_refused: bool,
    },
    NotFound,
    /// Other settings came into force meanwhile.
    Reconfigured,
}

/// Candidates of a message: itself, and that the order in it does not count.
const MESSAGE: usize = 0;
const NOT_AN_ORDER: usize = 1;

/// Whether a message goes out, and as what.
pub(super) fn send(
    context: &mut DecideContext<'_>,
    to: &str,
    class: MessageClass,
    settings_at: Option<Position>,
) -> Result<Decision<Posted>, AppendError> {
    if context.last_of_type(Settings::TYPE)? != settings_at {
        return Ok(Decision::nothing(Posted::Reconfigured));
    }
    if to != ALL && row_of(context, to)?.is_none() {
        return Ok(Decision::nothing(Posted::NotFound));
    }
    let (header, _) = context.candidate(MESSAGE).ok_or(AppendError::Empty)?;
    let may_order = match class {
        MessageClass::Order | MessageClass::Done => Some(matches!(
            header.authority,
            Authority::Human | Authority::Commander
        )),
        // What a program writes is text, whatever it says.
        MessageClass::TextOrder => (header.authority == Authority::Human).then_some(true),
        _ => None,
    };
    let class = match (class, may_order) {
        (MessageClass::TextOrder, None) => MessageClass::Plain,
        (class, _) => class,
    };
    let position = context.next_position();
    let control = Control::new().u64(message::CLASS, class.number());
    let posted = |is_refused| Posted::At {
        position,
        is_order: may_order.is_some(),
        is_refused,
    };
    Ok(match may_order {
        None => Decision::record(MESSAGE, control, posted(false)),
        Some(true) => Decision::record(
            MESSAGE,
            control.u64(message::ORDER, ACCEPTED),
            posted(false),
        ),
        Some(false) => {
            let told: Option<Refusals> = view::row(context, FOLD, &refused_key(to))?;
            let is_told = told.unwrap_or_default().iter().any(|(principal, at_us)| {
                *principal == header.principal && is_recent(*at_us, context.now_us())
            });
            let decision =
                Decision::record(MESSAGE, control.u64(message::ORDER, REFUSED), posted(true));
            if is_told {
                return Ok(decision);
            }
            let refused = Control::new()
                .u64(field::ORDER, position.get())
                .text(field::WHY, UNAUTHORISED);
            decision.and(NOT_AN_ORDER, refused)
        }
    })
}

/// Orders that an agent has not seen, oldest first.
pub(super) fn unseen(
    seen: u64,
    orders: impl IntoIterator<Item = Option<OrderRows>>,
) -> Vec<OrderRow> {
    let orders = orders.into_iter().flatten().flatten();
    let mut unseen: Vec<_> = orders.filter(|order| order.position > seen).collect();
    unseen.sort_unstable_by_key(|order| order.position);
    unseen
}

/// What looking for orders comes to.
#[derive(Debug)]
pub(super) enum Looked {
    Done,
    NotFound,
    Reconfigured,
}

/// Candidates of it: the order is taken, or came too late.
const TAKEN: usize = 0;
const TOO_LATE: usize = 1;

/// Lets the oldest order pass that an agent has not seen, if it came too late, else takes the newest.
/// `window_us` is how long one is valid.
pub(super) fn look(
    context: &mut DecideContext<'_>,
    name: &str,
    window_us: u64,
    settings_at: Option<Position>,
) -> Result<Decision<Looked>, AppendError> {
    if context.last_of_type(Settings::TYPE)? != settings_at {
        return Ok(Decision::nothing(Looked::Reconfigured));
    }
    let Some(row) = row_of(context, name)? else {
        return Ok(Decision::nothing(Looked::NotFound));
    };
    let orders = [name, ALL].map(|to| view::row(context, FOLD, &order_key(to)));
    let [to_it, to_all] = orders;
    let orders = unseen(row.orders_seen, [to_it?, to_all?]);
    let (Some(oldest), Some(newest)) = (orders.first(), orders.last()) else {
        return Ok(Decision::nothing(Looked::Done));
    };
    let about = |order: &OrderRow| Control::new().u64(field::ORDER, order.position);
    let is_fresh = context.now_us().saturating_sub(oldest.given_at_us) <= window_us;
    Ok(if is_fresh {
        Decision::record(TAKEN, about(newest), Looked::Done)
    } else {
        let stale = about(oldest).text(field::WHY, STALE);
        Decision::record(TOO_LATE, stale, Looked::Done)
    })
}

/// Whether a reader has read further than is recorded, and whether the caller is that reader.
pub(super) fn read(
    context: &mut DecideContext<'_>,
    reader: &str,
    up_to: u64,
) -> Result<Decision<Done>, AppendError> {
    let (header, _) = context.candidate(0).ok_or(AppendError::Empty)?;
    if !acts_for(header.authority, &header.principal, reader) {
        return Ok(Decision::nothing(Done::NotAllowed(SELF)));
    }
    let known: Option<u64> = view::row(context, FOLD, &mark_key(reader))?;
    if known.is_some_and(|known| known >= up_to) || up_to >= context.next_position().get() {
        return Ok(Decision::nothing(Done::At(None)));
    }
    let at = Done::At(Some(context.next_position()));
    Ok(Decision::record(0, Control::new(), at))
}
