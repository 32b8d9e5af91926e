//! From records to rows.

use bincode::Encode;
use runstone_codec::Control;
use runstone_store::{Fold, FoldError, FoldRecord, Log, ReadError, Rows};

use super::past::{EVERY, is_needed};
use crate::agents;
use crate::budgets::OwnerId;
use crate::events::control;
use crate::lease::LeaseFields;
use crate::rows::{
    self, Dated, FinishedRow, LeaseRow, OwnerKey, RunRow, StepRow, StepSum, UsageRow, UsageSum,
    back,
};
use crate::seen::Seen;
use crate::view;

/// Name of the fold, and prefix of its rows.
pub(super) const FOLD: &str = "runs";
/// First byte of the key of a stream's row.
pub(super) const STREAM_ROW: u8 = b's';
/// First byte of the key of a model call's row.
pub(super) const CALL_ROW: u8 = b'c';
/// First byte of the key of a step's row.
pub(super) const STEP_ROW: u8 = b't';
/// First bytes of the keys of what a call or a step replaced.
pub(super) const OLD_CALL_ROW: u8 = b'h';
pub(super) const OLD_STEP_ROW: u8 = b'u';
/// First byte of the key of the row of a stream as it stood.
pub(super) const POINT_ROW: u8 = b'p';
/// First byte of the key that says that a run spawned another.
pub(super) const CHILD_ROW: u8 = b'k';

/// The stream of the log's own events.
const LOG_STREAM: &str = "log";
/// Where control tells the lease of a run.
pub(super) const LEASE: LeaseFields = LeaseFields {
    holder: control::RUN_HOLDER,
    opening: control::RUN_OPENING,
    lease_us: control::RUN_LEASE_US,
    expires_at_us: control::RUN_LEASE_EXPIRES_AT_US,
};
/// How a fork stands that nobody has gone on with.
const FORKED: &str = "forked";
/// How a run stands that somebody rolled back who did not hold it.
const ROLLED_BACK: &str = "rolled_back";
/// Length of the digest by which calls are told apart.
const DIGEST_BYTES: usize = 16;

/// The fold of the run index.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct RunsFold;

impl RunsFold {
    /// The fold.
    pub const fn new() -> Self {
        Self
    }
}

impl Fold for RunsFold {
    fn name(&self) -> &'static str {
        FOLD
    }

    fn version(&self) -> u32 {
        9
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        take(rows, &Seen::from(record))
    }
}

/// Key of a stream's row.
pub(super) fn stream_key(stream: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + stream.len());
    key.push(STREAM_ROW);
    key.extend_from_slice(stream.as_bytes());
    key
}

/// Key of a row of a stream. A stream's name has no zero byte, so keys of two streams never meet.
pub(super) fn key_in(kind: u8, stream: &str, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + stream.len() + rest.len());
    key.push(kind);
    key.extend_from_slice(stream.as_bytes());
    key.push(0);
    key.extend_from_slice(rest);
    key
}

/// Key of the rows of the runs that a run spawned, up to their streams.
pub(super) fn children_key(stream: &str) -> Vec<u8> {
    key_in(CHILD_ROW, stream, &[])
}

/// What is known of a stream now.
pub(super) fn row(log: &Log, stream: &str) -> Result<Option<RunRow>, ReadError> {
    view::stored(log, FOLD, &stream_key(stream))
}

/// Events of a stream, if the fold tells.
pub(crate) fn events_of(log: &Log, stream: &str) -> Option<u64> {
    row(log, stream).ok()?.map(|row| row.events)
}

/// Takes one record into the rows.
pub(super) fn take(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let header = seen.header;
    if header.stream == LOG_STREAM {
        return Ok(());
    }
    let key = stream_key(&header.stream);
    let mut run = rows::get_typed(rows, &key)?.unwrap_or_else(|| first_of_stream(seen));
    run.events = run.events.saturating_add(1);
    run.last = seen.position;
    run.last_recorded_at_us = seen.recorded_at_us;
    if let Some(at) = header.occurred_at_us {
        let (first, last) = run.occurred_us.unwrap_or((at, at));
        run.occurred_us = Some((first.min(at), last.max(at)));
    }
    let is_import = seen.is_imported();
    if matches!(header.event_type.as_str(), "run.started" | "run.resumed") && !is_import {
        // Whatever was imported before, it lives now.
        run.imported = false;
    }
    match header.event_type.as_str() {
        // What was recorded elsewhere says nothing of a run that lives here.
        "run.started" | "run.finished" | "run.resumed" | "run.lease_renewed" | "run.paused"
        | "session.ended"
            if is_import && !run.imported => {}
        "run.forked" | "run.rolled_back" if is_import => {}
        "run.started" => started(rows, &mut run, seen),
        "run.forked" => forked(&mut run, seen),
        "run.rolled_back" => rolled_back(&mut run, seen),
        "run.finished" => {
            run.finished = Some(finished(seen));
            run.lease = None;
        }
        "run.resumed" => {
            held(&mut run, seen);
            run.finished = None;
        }
        "run.lease_renewed" => {
            if let Some(lease) = run.lease.take() {
                let renewed = LEASE.read(seen.control, seen.position);
                run.lease = Some(LeaseRow {
                    holder: lease.holder,
                    ..renewed
                });
            }
        }
        "run.paused" => {
            run.pauses = run.pauses.saturating_add(1);
            run.paused = true;
            run.lease = None;
        }
        "session.ended" => {
            run.let_go = seen.control.get_text(control::STATUS).map(str::to_owned);
            run.lease = None;
        }
        "step.started" => step_started(rows, &mut run, seen)?,
        "step.completed" | "step.failed" => step_ended(rows, &mut run, seen)?,
        "step.blocked" => run.steps_blocked = run.steps_blocked.saturating_add(1),
        "effect.refused" => run.refusals = run.refusals.saturating_add(1),
        "verdict.given" => run.verdicts = run.verdicts.saturating_add(1),
        "chat.message" => run.turns = run.turns.saturating_add(1),
        "tool.call.requested" => run.tool_calls = run.tool_calls.saturating_add(1),
        "tool.call.completed" => run.tool_results = run.tool_results.saturating_add(1),
        "tool.call.failed" => run.tool_errors = run.tool_errors.saturating_add(1),
        "llm.call.completed" => llm_call(rows, &mut run, seen)?,
        _ => {}
    }
    if run.events.is_multiple_of(EVERY) {
        let point = key_in(POINT_ROW, &header.stream, &back(seen.position));
        rows::put(rows, &point, &run)?;
    }
    rows::put_typed(rows, &key, run)
}

/// Writes a row of a call or a step. What it replaces is kept if a stored point needs it.
fn replace<T: Encode>(
    rows: &mut dyn Rows,
    (key, old): (&[u8], u8),
    before: Option<Dated<T>>,
    after: &Dated<T>,
) -> Result<(), FoldError> {
    if let Some(before) = before.filter(|before| is_needed(before.event, after.event)) {
        let rest = key.get(1..).unwrap_or_default();
        rows::put(rows, &[&[old], rest, &back(before.event)].concat(), &before)?;
    }
    rows::put(rows, key, after)?;
    Ok(())
}

/// A stream before its first event is counted. Scope and origin are those of that event.
fn first_of_stream(seen: &Seen<'_>) -> RunRow {
    let header = seen.header;
    let imported = seen.is_imported();
    RunRow {
        scope: header.scope.to_string(),
        imported,
        started: None,
        parent: None,
        forked: None,
        finished: None,
        fence: 0,
        lease: None,
        claimed_as: None,
        budget: None,
        paused: false,
        let_go: None,
        events: 0,
        steps: 0,
        nodes: 0,
        steps_blocked: 0,
        pauses: 0,
        refusals: 0,
        verdicts: 0,
        turns: 0,
        tool_calls: 0,
        tool_results: 0,
        tool_errors: 0,
        llm_calls: 0,
        usage: UsageSum::default(),
        llm_reports: 0,
        own: StepSum::default(),
        gco2_mg: 0,
        first_recorded_at_us: seen.recorded_at_us,
        last_recorded_at_us: seen.recorded_at_us,
        occurred_us: None,
        last: seen.position,
    }
}

/// A run begins once: what a later beginning says does not rename it.
fn started(rows: &mut dyn Rows, run: &mut RunRow, seen: &Seen<'_>) {
    if run.started.is_none() {
        run.started = Some(seen.position);
        run.parent = seen.control.get_text(control::PARENT).map(str::to_owned);
        if let Some(parent) = &run.parent {
            let child = key_in(CHILD_ROW, parent, seen.header.stream.as_bytes());
            rows.put(&child, Vec::new());
        }
        held(run, seen);
    }
}

/// Nobody holds it yet.
fn forked(run: &mut RunRow, seen: &Seen<'_>) {
    let parent = seen.control.get_text(control::FORK_OF);
    let at = seen.control.get_u64(control::FORK_AT);
    if let (None, Some((parent, at))) = (run.started, parent.zip(at)) {
        run.started = Some(seen.position);
        run.forked = Some((parent.to_owned(), at));
        run.let_go = Some(FORKED.to_owned());
        run.budget = owner_in(seen.control);
    }
}

/// Who holds the run goes on from there. If somebody else rolled it back, what its holder knows is not
/// so any more.
fn rolled_back(run: &mut RunRow, seen: &Seen<'_>) {
    if seen.control.get_u64(control::BACK_FENCE).is_none() {
        run.lease = None;
        run.paused = false;
        if !run.imported {
            run.finished = None;
        }
        run.let_go = Some(ROLLED_BACK.to_owned());
    }
}

fn owner_in(facts: &Control) -> Option<OwnerKey> {
    let owner = OwnerId::of(
        facts.get_bytes(control::RUN_BUDGET),
        facts.get_text(control::RUN_BUDGET_SCOPE),
    );
    owner.map(|owner| owner.key())
}

/// Somebody holds the run from here on. What was recorded elsewhere is held by nobody.
fn held(run: &mut RunRow, seen: &Seen<'_>) {
    run.fence = seen.position;
    run.paused = false;
    run.let_go = None;
    let is_held = seen.control.get_text(control::RUN_HOLDER).is_some();
    run.lease = is_held.then(|| LEASE.read(seen.control, seen.position));
    let holder = run.lease.as_ref().map(|lease| lease.holder.as_str());
    let agent = holder.and_then(|holder| agents::claims_as(seen.header, holder));
    run.claimed_as = agent.map(str::to_owned);
    if let Some(owner) = owner_in(seen.control).filter(|_| is_held) {
        run.budget = Some(owner);
    }
}

fn finished(seen: &Seen<'_>) -> FinishedRow {
    FinishedRow {
        position: seen.position,
        recorded_at_us: seen.recorded_at_us,
        occurred_at_us: seen.header.occurred_at_us,
        status: seen.control.get_text(control::STATUS).map(str::to_owned),
    }
}

/// What a report of a model call says that it used.
pub(crate) fn report_of(report: &Control) -> UsageRow {
    let amount = |field| report.get_u64(field).unwrap_or(0);
    UsageRow {
        input_tokens: amount(control::INPUT_TOKENS),
        output_tokens: amount(control::OUTPUT_TOKENS),
        cache_read_tokens: amount(control::CACHE_READ_TOKENS),
        cache_write_tokens: amount(control::CACHE_WRITE_TOKENS),
        usd_micros: amount(control::USD_MICROS),
    }
}

fn digest_in(control: &Control, field: u16) -> Option<&[u8; DIGEST_BYTES]> {
    control
        .get_bytes(field)
        .and_then(|digest| digest.try_into().ok())
}

/// A step's row, if there is one, and its key.
struct StepAt {
    key: Vec<u8>,
    before: Option<Dated<StepRow>>,
    /// Events of the stream by now.
    event: u64,
}

impl StepAt {
    /// The step that a field of control names.
    fn of(
        rows: &mut dyn Rows,
        (run, seen): (&RunRow, &Seen<'_>),
        field: u16,
    ) -> Result<Option<Self>, FoldError> {
        let Some(node) = digest_in(seen.control, field) else {
            return Ok(None);
        };
        let key = key_in(STEP_ROW, &seen.header.stream, node);
        let before = rows::get(rows, &key)?;
        Ok(Some(Self {
            key,
            before,
            event: run.events,
        }))
    }

    fn row(&self) -> Option<StepRow> {
        self.before.as_ref().map(|before| before.row)
    }

    fn put(self, rows: &mut dyn Rows, row: StepRow) -> Result<(), FoldError> {
        let after = Dated {
            event: self.event,
            row,
        };
        replace(rows, (&self.key, OLD_STEP_ROW), self.before, &after)
    }
}

/// A new attempt counts anew; what the one before it counted stands.
fn step_started(rows: &mut dyn Rows, run: &mut RunRow, seen: &Seen<'_>) -> Result<(), FoldError> {
    run.steps = run.steps.saturating_add(1);
    let Some(step) = StepAt::of(rows, (run, seen), control::NODE)? else {
        return Ok(());
    };
    run.nodes = run.nodes.saturating_add(step.before.is_none().into());
    let row = StepRow {
        reports_before: Some(run.llm_reports),
        ..StepRow::default()
    };
    step.put(rows, row)
}

/// What a step says that it used counts if no model was called in it: else the calls tell it. A
/// report that names no step is one of every step that was being done.
fn step_ended(rows: &mut dyn Rows, run: &mut RunRow, seen: &Seen<'_>) -> Result<(), FoldError> {
    let amount = |field| u128::from(seen.control.get_u64(field).unwrap_or(0));
    run.gco2_mg = run.gco2_mg.saturating_add(amount(control::GCO2_MG));
    let said = StepSum {
        tokens: amount(control::STEP_TOKENS),
        usd_micros: amount(control::STEP_USD_MICROS),
    };
    let Some(step) = StepAt::of(rows, (run, seen), control::NODE)? else {
        run.own = run.own.with(said);
        return Ok(());
    };
    run.nodes = run.nodes.saturating_add(step.before.is_none().into());
    let mut row = step.row().unwrap_or_default();
    let before = row.reports_before.take();
    row.has_calls |= before.is_some_and(|before| before < run.llm_reports);
    if !row.has_calls {
        run.own = run.own.with(said);
        row.counted = row.counted.with(said);
    }
    step.put(rows, row)
}

/// A call that is reported after its step has ended takes off what the step counted.
fn called_in_step(rows: &mut dyn Rows, run: &mut RunRow, seen: &Seen<'_>) -> Result<(), FoldError> {
    let Some(step) = StepAt::of(rows, (run, seen), control::CALL_NODE)? else {
        run.llm_reports = run.llm_reports.saturating_add(1);
        return Ok(());
    };
    let Some(mut row) = step.row().filter(|row| !row.has_calls) else {
        return Ok(());
    };
    run.own = run.own.without(row.counted);
    row.has_calls = true;
    row.counted = StepSum::default();
    step.put(rows, row)
}

/// Counts a call of a model once, with its last report.
fn llm_call(rows: &mut dyn Rows, run: &mut RunRow, seen: &Seen<'_>) -> Result<(), FoldError> {
    called_in_step(rows, run, seen)?;
    let report = report_of(seen.control);
    let mut earlier = None;
    if let Some(digest) = digest_in(seen.control, control::CALL) {
        let key = key_in(CALL_ROW, &seen.header.stream, digest);
        let before: Option<Dated<UsageRow>> = rows::get(rows, &key)?;
        earlier = before.as_ref().map(|before| before.row);
        let after = Dated {
            event: run.events,
            row: report,
        };
        replace(rows, (&key, OLD_CALL_ROW), before, &after)?;
    }
    match earlier {
        Some(earlier) => run.usage = run.usage.without(&earlier),
        None => run.llm_calls = run.llm_calls.saturating_add(1),
    }
    run.usage = run.usage.with(&report);
    Ok(())
}

impl StepSum {
    fn with(self, more: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(more.tokens),
            usd_micros: self.usd_micros.saturating_add(more.usd_micros),
        }
    }

    fn without(self, less: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(less.tokens),
            usd_micros: self.usd_micros.saturating_sub(less.usd_micros),
        }
    }
}

impl UsageSum {
    pub(crate) fn with(self, report: &UsageRow) -> Self {
        self.each(report, |sum, amount| sum.saturating_add(u128::from(amount)))
    }

    fn without(self, report: &UsageRow) -> Self {
        self.each(report, |sum, amount| sum.saturating_sub(u128::from(amount)))
    }

    fn each(self, report: &UsageRow, change: impl Fn(u128, u64) -> u128) -> Self {
        Self {
            input_tokens: change(self.input_tokens, report.input_tokens),
            output_tokens: change(self.output_tokens, report.output_tokens),
            cache_read_tokens: change(self.cache_read_tokens, report.cache_read_tokens),
            cache_write_tokens: change(self.cache_write_tokens, report.cache_write_tokens),
            usd_micros: change(self.usd_micros, report.usd_micros),
        }
    }
}
