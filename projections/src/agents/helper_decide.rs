//! What may become of helpers. Each function runs at the writer, as those of [`decide`](super::decide).

use super::decide::{Done, SELF, acts_for, helpers_of, name_of, row_of};
use super::{AgentState, RetireReason};
use crate::events::control::agent as field;
use crate::rows::AgentRow;
use crate::settings::Settings;
use runstone_codec::{Control, Position, TypedEvent as _};
use runstone_store::{AppendError, DecideContext, Decision};

/// What spawning goes by.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) tray: String,
    /// Whether the tray is its own, and is opened with it.
    pub(super) opens_tray: bool,
    pub(super) ttl_us: u64,
    pub(super) most_registered: u64,
    pub(super) most_running: u64,
    pub(super) settings_at: Option<Position>,
}

/// What it comes to.
#[derive(Debug)]
pub(super) enum Spawning {
    Done {
        position: Position,
        tray: String,
        expires_at_us: u64,
        is_running: bool,
    },
    /// The caller is a helper itself.
    Chain,
    /// The caller must exit.
    MustExit,
    Taken,
    TierLimit,
    /// Other settings came into force meanwhile.
    Reconfigured,
}

/// Candidates of it: the helper, and the opening of its own tray.
const SPAWNED: usize = 0;
const OPENED: usize = 1;

/// Whether a helper may be spawned, and whether it may run.
pub(super) fn spawn(
    context: &mut DecideContext<'_>,
    name: &str,
    terms: &Terms,
) -> Result<Decision<Spawning>, AppendError> {
    if context.last_of_type(Settings::TYPE)? != terms.settings_at {
        return Ok(Decision::nothing(Spawning::Reconfigured));
    }
    let (header, _) = context.candidate(0).ok_or(AppendError::Empty)?;
    let caller = name_of(&header.principal);
    // Its first command makes the caller known, so nobody is a helper of himself.
    let is_caller = caller == Some(name);
    let caller = caller.map(|caller| row_of(context, caller)).transpose()?;
    let helpers = helpers_of(context, &header.principal)?;
    let refusal = match caller.flatten() {
        Some(row) if row.helper.is_some() => Some(Spawning::Chain),
        Some(row) if row.must_exit() => Some(Spawning::MustExit),
        _ if is_caller || row_of(context, name)?.is_some() => Some(Spawning::Taken),
        _ if helpers.registered >= terms.most_registered => Some(Spawning::TierLimit),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Ok(Decision::nothing(refusal));
    }
    let tray = terms.tray.clone();
    let expires_at_us = context.steady_us().saturating_add(terms.ttl_us);
    let is_running = helpers.running < terms.most_running;
    let control = Control::new()
        .u64(field::POWER, u64::from(!is_running))
        .text(field::TRAY, tray.as_str())
        .u64(field::EXPIRES_AT_US, expires_at_us);
    let done = Spawning::Done {
        position: context.next_position(),
        tray,
        expires_at_us,
        is_running,
    };
    let spawned = Decision::record(SPAWNED, control, done);
    Ok(if terms.opens_tray {
        spawned.and(OPENED, Control::new())
    } else {
        spawned
    })
}

/// Whether a helper may retire itself. One that is gone is gone, whatever it says.
pub(super) fn retire(
    context: &DecideContext<'_>,
    name: &str,
    why: RetireReason,
) -> Result<Decision<Done>, AppendError> {
    let (header, _) = context.candidate(0).ok_or(AppendError::Empty)?;
    if !acts_for(header.authority, &header.principal, name) {
        return Ok(Decision::nothing(Done::NotAllowed(SELF)));
    }
    let Some(row) = row_of(context, name)? else {
        return Ok(Decision::nothing(Done::NotFound));
    };
    let Some(helper) = &row.helper else {
        return Ok(Decision::nothing(Done::NotHelper));
    };
    if row.state() == AgentState::Retired {
        let since = Some(Position::new(row.since));
        return Ok(Decision::nothing(Done::At(since)));
    }
    if !helper.auto_retire {
        return Ok(Decision::nothing(Done::KeepsOn));
    }
    let at = Done::At(Some(context.next_position()));
    Ok(Decision::record(0, reason(why), at))
}

/// Lets a helper go whose time is over, or whose parent must exit; answers why, or nothing if it
/// stays or is gone already.
pub(super) fn reap(
    context: &DecideContext<'_>,
    name: &str,
) -> Result<Decision<Option<RetireReason>>, AppendError> {
    let row = row_of(context, name)?;
    let row = row.filter(|row| row.state() != AgentState::Retired);
    let Some(helper) = row.as_ref().and_then(|row| row.helper.as_ref()) else {
        return Ok(Decision::nothing(None));
    };
    let why = if context.steady_us() >= helper.expires_at_us {
        Some(RetireReason::TtlExpired)
    } else {
        let parent = name_of(&helper.parent);
        let parent = parent.map(|parent| row_of(context, parent)).transpose()?;
        let must_exit = parent
            .flatten()
            .is_some_and(|row: AgentRow| row.must_exit());
        must_exit.then_some(RetireReason::ParentStopped)
    };
    Ok(match why {
        Some(why) => Decision::record(0, reason(why), Some(why)),
        None => Decision::nothing(None),
    })
}

fn reason(why: RetireReason) -> Control {
    Control::new().u64(field::RETIRED, why.number())
}
