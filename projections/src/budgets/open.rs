//! Opening a budget, and changing its limits.

use super::decide::Books;
use super::{BudgetError, BudgetLimits, MAX_NESTING, MAX_OWNER_LEN, Owner, OwnerId};
use crate::events::control::budget as field;
use crate::events::{BudgetChanged, BudgetOpened};
use crate::settings::{InForce, Settings};
use runstone_codec::{Authority, Control, Draft, NewEvent, Position, TypedEvent};
use runstone_store::{AppendError, DecideContext, Decision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An owner that is to have a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[must_use = "a budget is nothing until it is opened"]
pub struct Open {
    pub(super) owner: Owner,
    parent: Option<Owner>,
    limits: Option<BudgetLimits>,
    preset: Option<String>,
    is_step: bool,
    reason: Option<String>,
}

impl Open {
    /// The owner. Without limits it gets those of a preset: the one that is named, else the default
    /// one of the settings. One that is open already keeps what it has.
    pub fn new(owner: impl Into<Owner>) -> Self {
        Self {
            owner: owner.into(),
            parent: None,
            limits: None,
            preset: None,
            is_step: false,
            reason: None,
        }
    }

    /// The owner above it: everything counts for that one too. It is open already, and it is for
    /// ever.
    pub fn parent(mut self, parent: impl Into<Owner>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// All its limits. One that is open already has these from here on; to raise one needs a
    /// person or a commander.
    pub fn limits(mut self, limits: BudgetLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// The limits of this preset of the settings.
    pub fn preset(mut self, preset: impl Into<String>) -> Self {
        self.preset = Some(preset.into());
        self
    }

    /// It is one step: the preset's limits of a step count, not those of an owner.
    pub fn step(mut self) -> Self {
        self.is_step = true;
        self
    }

    /// Why its limits are changed.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    pub(super) fn parent_of(&self) -> Option<&Owner> {
        self.parent.as_ref()
    }

    /// Its limits, and the preset that they come from.
    fn wanted(&self, settings: &Settings) -> Result<(BudgetLimits, Option<String>), BudgetError> {
        if let Some(limits) = &self.limits {
            return Ok((limits.clone(), None));
        }
        let budgets = &settings.budgets;
        let name = self.preset.as_ref().unwrap_or(&budgets.default_preset);
        let preset = budgets.presets.get(name);
        let preset = preset.ok_or_else(|| BudgetError::UnknownPreset { name: name.clone() })?;
        let limits = if self.is_step {
            &preset.step
        } else {
            &preset.owner
        };
        Ok((BudgetLimits::from(limits), Some(name.clone())))
    }
}

/// A budget that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Opened {
    /// Whose.
    pub id: OwnerId,
    /// Position of the event that set its limits.
    pub position: Position,
    /// Whether that was recorded now.
    pub is_recorded: bool,
}

/// What opening comes to.
#[derive(Debug)]
pub(super) enum Verdict {
    Opened(Opened),
    UnknownParent,
    OtherParent,
    TooDeep,
    NotAllowed(Authority),
    Reconfigured,
}

const OPENED: usize = 0;
const CHANGED: usize = 1;

pub(super) type Decide<A> =
    Box<dyn FnMut(&mut DecideContext<'_>) -> Result<Decision<A>, AppendError> + Send>;

/// The candidates of opening, and the decision. `parent` is the parent as the log knows it.
pub(super) fn opening(
    open: &Open,
    parent: Option<OwnerId>,
    in_force: &InForce,
) -> Result<(Vec<Draft>, Decide<Verdict>), BudgetError> {
    check_name(&open.owner)?;
    let (limits, preset) = open.wanted(&in_force.settings)?;
    limits.check()?;
    let stream = open.owner.stream();
    let opened = BudgetOpened {
        owner: open.owner.name.clone(),
        parent: open.parent.as_ref().map(|parent| parent.name.clone()),
        preset,
        limits: limits.to_map(),
    };
    let changed = BudgetChanged {
        owner: open.owner.name.clone(),
        limits: limits.to_map(),
        reason: open.reason.clone(),
    };
    let control = Control::new().bytes(field::LIMITS, limits.to_bytes());
    let of_parent = match &parent {
        Some(parent) => control
            .clone()
            .bytes(field::PARENT, parent.digest)
            .text(field::PARENT_SCOPE, parent.scope.as_str()),
        None => control.clone(),
    };
    let draft = |event: NewEvent, control: Control| {
        let draft = Draft::new(event.scope(open.owner.scope.as_str())).control(control);
        let keyed = open.owner.keyed().into_iter();
        keyed.fold(draft, Draft::keyed)
    };
    let candidates = vec![
        draft(NewEvent::typed(&opened, stream.as_str())?, of_parent),
        draft(NewEvent::typed(&changed, stream.as_str())?, control),
    ];
    let is_named = open.limits.is_some() || open.preset.is_some();
    let settings_at = in_force.position;
    let decide = move |context: &mut DecideContext<'_>| {
        if context.last_of_type(Settings::TYPE)? != settings_at {
            return Ok(Decision::nothing(Verdict::Reconfigured));
        }
        let (header, control) = context.candidate(OPENED).ok_or(AppendError::Empty)?;
        let (authority, digest) = (header.authority, control.get_bytes(field::OWNER));
        let id = OwnerId::of(digest, Some(&header.scope)).ok_or(AppendError::Empty)?;
        let next = context.next_position();
        let mut books = Books::default();
        let answer = |position, is_recorded| {
            Verdict::Opened(Opened {
                id: id.clone(),
                position,
                is_recorded,
            })
        };
        if books.chain(context, &id)?.is_none() {
            if let Some(parent) = &parent {
                match books.chain(context, parent)? {
                    None => return Ok(Decision::nothing(Verdict::UnknownParent)),
                    Some(chain) if chain.len() > MAX_NESTING => {
                        return Ok(Decision::nothing(Verdict::TooDeep));
                    }
                    Some(_) => {}
                }
            }
            return Ok(Decision::record(OPENED, Control::new(), answer(next, true)));
        }
        let row = books.row(&id).ok_or(AppendError::Empty)?;
        let known = row.parent.as_ref().map(OwnerId::from);
        if parent.is_some() && parent != known {
            return Ok(Decision::nothing(Verdict::OtherParent));
        }
        let before = row.own_limits();
        if !is_named || before == limits {
            let since = Position::new(row.limits_at);
            return Ok(Decision::nothing(answer(since, false)));
        }
        let is_entitled = matches!(authority, Authority::Human | Authority::Commander);
        if limits.is_raised_from(&before) && !is_entitled {
            return Ok(Decision::nothing(Verdict::NotAllowed(authority)));
        }
        Ok(Decision::record(
            CHANGED,
            Control::new(),
            answer(next, true),
        ))
    };
    Ok((candidates, Box::new(decide)))
}

pub(super) fn check_name(owner: &Owner) -> Result<(), BudgetError> {
    let len = owner.name.len();
    if (1..=MAX_OWNER_LEN).contains(&len) && !owner.name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(BudgetError::Name { len })
}

pub(super) fn opened(open: &Open, verdict: Verdict) -> Result<Option<Opened>, BudgetError> {
    match verdict {
        Verdict::Opened(opened) => Ok(Some(opened)),
        Verdict::Reconfigured => Ok(None),
        Verdict::UnknownParent => Err(BudgetError::UnknownOwner {
            name: open.parent.as_ref().map(|parent| parent.name.clone()),
        }),
        Verdict::OtherParent => Err(BudgetError::OtherParent {
            name: open.owner.name.clone(),
        }),
        Verdict::TooDeep => Err(BudgetError::TooDeep),
        Verdict::NotAllowed(authority) => Err(BudgetError::NotAllowed { authority }),
    }
}
