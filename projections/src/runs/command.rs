//! Beginning a run, resuming it, and recording what happens in it.
//!
//! Whoever begins or resumes a run holds it; its **fence** is the position of that event. Only who
//! knows the fence in force records in it, so that one who was taken for dead changes nothing.

use super::fold::{FOLD, LEASE, stream_key};
use super::{RunError, RunSummary};
use crate::command::Command;
use crate::events::{RunResumed, RunStarted, SettingsInForce, control};
use crate::lease::{Hold, Moment};
use crate::rows::RunRow;
use crate::settings::Settings;
use crate::view;
use runstone_codec::{Control, Draft, NewEvent, Position, Uuid};
use runstone_store::{AppendError, DecideContext, Decision, Log};

const SECOND_US: u64 = 1_000_000;

/// A run that somebody wants to hold.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Begin {
    /// Its stream.
    pub stream: String,
    /// How it begins, if it does.
    pub started: RunStarted,
    /// Stream of the run that spawns it.
    pub parent: Option<String>,
    /// Scope of its stream.
    pub scope: Option<String>,
    /// Who holds it: a pseudonym, at most 128 bytes.
    pub holder: String,
    /// How long it is held without a word.
    pub hold: Hold,
    /// Whether one that is not there is started.
    pub may_start: bool,
    /// Whether one that is there is resumed.
    pub may_resume: bool,
    /// Whether one that ended is resumed too: it goes on from its last state, and has not ended
    /// then.
    pub may_reopen: bool,
    /// Ids of the events that record its start and its resumption, by which the caller finds out
    /// whether one was.
    pub event_ids: Option<[Uuid; 2]>,
}

impl Begin {
    /// Starts a run, or goes on with it.
    pub fn new(stream: impl Into<String>, name: impl Into<String>) -> Self {
        let started = RunStarted {
            name: name.into(),
            ..RunStarted::default()
        };
        Self {
            stream: stream.into(),
            started,
            parent: None,
            scope: None,
            holder: "unnamed".to_owned(),
            hold: Hold::Opening,
            may_start: true,
            may_resume: true,
            may_reopen: false,
            event_ids: None,
        }
    }
}

/// A run that the caller holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunHeld {
    /// Its stream.
    pub stream: String,
    /// Where it was begun or resumed.
    pub fence: Position,
}

impl RunHeld {
    /// The claim of a run whose fence is known.
    pub fn new(stream: impl Into<String>, fence: Position) -> Self {
        Self {
            stream: stream.into(),
            fence,
        }
    }
}

/// What [`begin`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a run is new or it is not")]
pub enum Begun {
    /// It is new.
    Started(RunHeld),
    /// It was there.
    Resumed(RunHeld),
}

impl Begun {
    /// The run.
    pub fn into_held(self) -> RunHeld {
        match self {
            Self::Started(held) | Self::Resumed(held) => held,
        }
    }
}

/// Why it is not held.
#[derive(Debug, Clone, Copy)]
enum Why {
    Held,
    Finished,
    Exists,
}

#[derive(Debug)]
enum Verdict {
    Begun(Begun),
    Refused(Box<RunSummary>, Why),
    NotFound,
}

const STARTED: usize = 0;
const RESUMED: usize = 1;

/// Begins a run or goes on with it, and holds it.
///
/// # Errors
///
/// [`RunError`]; then nothing is recorded.
///
/// # Durability
///
/// What is answered survives power loss.
pub async fn begin(log: &Log, begin: &Begin) -> Result<Begun, RunError> {
    let verdict = beginning(log, begin)?.run(log).await?;
    begun(begin, verdict)
}

/// [`begin`] for callers without a runtime.
///
/// # Errors
///
/// As [`begin`].
pub fn begin_blocking(log: &Log, begin: &Begin) -> Result<Begun, RunError> {
    let verdict = beginning(log, begin)?.run_blocking(log)?;
    begun(begin, verdict)
}

/// Records events of a run that the caller holds; all or none.
///
/// # Errors
///
/// [`RunError::Stale`] if somebody else holds it meanwhile, or it ended.
///
/// # Durability
///
/// What is answered survives power loss.
pub async fn record(
    log: &Log,
    held: &RunHeld,
    drafts: Vec<Draft>,
) -> Result<Vec<Position>, RunError> {
    let positions = recording(log, held, drafts)?.run(log).await?;
    recorded(held, positions)
}

/// [`record`] for callers without a runtime.
///
/// # Errors
///
/// As [`record`].
pub fn record_blocking(
    log: &Log,
    held: &RunHeld,
    drafts: Vec<Draft>,
) -> Result<Vec<Position>, RunError> {
    let positions = recording(log, held, drafts)?.run_blocking(log)?;
    recorded(held, positions)
}

fn row_of(context: &DecideContext<'_>, stream: &str) -> Result<Option<RunRow>, AppendError> {
    view::row(context, FOLD, &stream_key(stream))
}

/// Whether a run is held by this claim.
pub(crate) fn is_held(context: &DecideContext<'_>, held: &RunHeld) -> Result<bool, AppendError> {
    let row = row_of(context, &held.stream)?;
    Ok(row.is_some_and(|row| {
        row.fence == held.fence.get() && row.lease.is_some() && row.finished.is_none()
    }))
}

fn beginning(log: &Log, begin: &Begin) -> Result<Command<Verdict>, RunError> {
    let in_force = Settings::in_force(log)?;
    let default_us = in_force.settings.leases.run_s.saturating_mul(SECOND_US);
    let length = begin.hold.length(default_us);
    let mut started = begin.started.clone();
    started.settings = Some(SettingsInForce {
        position: in_force.position.map(Position::get),
        sha256: crate::hex(&in_force.sha256),
    });
    let holder = Control::new().text(control::RUN_HOLDER, begin.holder.as_str());
    let of = |mut event: NewEvent, id: usize| {
        event.event_id = begin.event_ids.and_then(|ids| ids.get(id).copied());
        event.scope.clone_from(&begin.scope);
        event
    };
    let stream = begin.stream.as_str();
    let first = RunStarted::control(begin.parent.as_deref()).merge(holder.clone());
    let candidates = vec![
        Draft::new(of(NewEvent::typed(&started, stream)?, STARTED))
            .control(first)
            .keyed(started.keyed()),
        Draft::new(of(NewEvent::typed(&RunResumed {}, stream)?, RESUMED)).control(holder),
    ];
    let (may_start, may_resume) = (begin.may_start, begin.may_resume);
    let may_reopen = begin.may_reopen;
    let stream = begin.stream.clone();
    let decide = move |context: &mut DecideContext<'_>| {
        let (opening, steady_us) = (context.opening(), context.steady_us());
        let row = row_of(context, &stream)?;
        let held = || RunHeld {
            stream: stream.clone(),
            fence: context.next_position(),
        };
        let lease = LEASE.control(length, steady_us, &opening);
        let Some(row) = row.filter(|row| row.started.is_some() || row.imported) else {
            return Ok(if may_start {
                Decision::record(STARTED, lease, Verdict::Begun(Begun::Started(held())))
            } else {
                Decision::nothing(Verdict::NotFound)
            });
        };
        let is_held = row
            .lease
            .as_ref()
            .is_some_and(|lease| !lease.is_over(&opening, steady_us));
        let why = match (&row.finished, is_held) {
            _ if !may_resume => Why::Exists,
            (Some(_), _) if !may_reopen => Why::Finished,
            (_, true) => Why::Held,
            (_, false) => {
                let verdict = Verdict::Begun(Begun::Resumed(held()));
                return Ok(Decision::record(RESUMED, lease, verdict));
            }
        };
        let summary = RunSummary::of(stream.clone(), row, &Moment::Now(opening, steady_us));
        Ok(Decision::nothing(Verdict::Refused(Box::new(summary), why)))
    };
    Ok(Command::new(log, candidates, decide)?)
}

fn begun(wanted: &Begin, verdict: Verdict) -> Result<Begun, RunError> {
    match verdict {
        Verdict::Begun(run) => Ok(run),
        Verdict::NotFound => Err(RunError::NotFound {
            stream: wanted.stream.clone(),
        }),
        Verdict::Refused(run, why) => Err(match why {
            Why::Held => RunError::Held(run),
            Why::Finished => RunError::Finished(run),
            Why::Exists => RunError::Exists(run),
        }),
    }
}

fn recording(
    log: &Log,
    held: &RunHeld,
    drafts: Vec<Draft>,
) -> Result<Command<Option<Vec<Position>>>, RunError> {
    let (held, count) = (held.clone(), drafts.len());
    let decide = move |context: &mut DecideContext<'_>| {
        if !is_held(context, &held)? {
            return Ok(Decision::nothing(None));
        }
        let first = context.next_position().get();
        let positions = (0..count).map(|at| Position::new(first.saturating_add(at as u64)));
        let mut decision = Decision::nothing(Some(positions.collect()));
        decision.record = (0..count).map(|at| (at, Control::new())).collect();
        Ok(decision)
    };
    Ok(Command::new(log, drafts, decide)?)
}

fn recorded(held: &RunHeld, positions: Option<Vec<Position>>) -> Result<Vec<Position>, RunError> {
    positions.ok_or_else(|| RunError::Stale {
        stream: held.stream.clone(),
        fence: held.fence,
    })
}
