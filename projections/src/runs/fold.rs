//! From records to rows.

use runstone_codec::{Control, Header};
use runstone_store::{Fold, FoldError, FoldRecord, Log, ReadError, Rows};

use crate::budgets::OwnerId;
use crate::events::control;
use crate::lease::LeaseFields;
use crate::rows::{self, FinishedRow, RunRow, UsageRow, UsageSum};

/// Name of the fold, and prefix of its rows.
pub(super) const FOLD: &str = "runs";
/// First byte of the key of a stream's row.
pub(super) const STREAM_ROW: u8 = b's';
/// First byte of the key of a model call's row.
pub(super) const CALL_ROW: u8 = b'c';

/// The stream of the log's own events.
const LOG_STREAM: &str = "log";
/// Where control tells the lease of a run.
pub(super) const LEASE: LeaseFields = LeaseFields {
    holder: control::RUN_HOLDER,
    opening: control::RUN_OPENING,
    lease_us: control::RUN_LEASE_US,
    expires_at_us: control::RUN_LEASE_EXPIRES_AT_US,
};
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
        4
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        let seen = Seen {
            position: record.position.get(),
            recorded_at_us: record.recorded_at_us,
            header: record.header,
            control: record.control,
        };
        take(rows, &seen)
    }
}

/// What the fold looks at: everything of a record but its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) position: u64,
    pub(super) recorded_at_us: u64,
    pub(super) header: &'a Header,
    pub(super) control: &'a Control,
}

/// Key of a stream's row.
pub(super) fn stream_key(stream: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + stream.len());
    key.push(STREAM_ROW);
    key.extend_from_slice(stream.as_bytes());
    key
}

/// Key of a call's row. A stream's name has no zero byte, so keys of two streams never meet.
fn call_key(stream: &str, digest: &[u8; DIGEST_BYTES]) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + stream.len() + DIGEST_BYTES);
    key.push(CALL_ROW);
    key.extend_from_slice(stream.as_bytes());
    key.push(0);
    key.extend_from_slice(digest);
    key
}

/// What is known of a stream now.
pub(super) fn row(log: &Log, stream: &str) -> Result<Option<RunRow>, ReadError> {
    let row = log.fold_row(FOLD, &stream_key(stream))?;
    let row = row.map(|row| rows::decode(&row)).transpose();
    row.map_err(|error| ReadError::Fold {
        fold: FOLD.to_owned(),
        why: error.to_string(),
    })
}

/// Takes one record into the rows.
pub(super) fn take(rows: &mut dyn Rows, seen: &Seen<'_>) -> Result<(), FoldError> {
    let header = seen.header;
    if header.stream == LOG_STREAM {
        return Ok(());
    }
    let key = stream_key(&header.stream);
    let mut run = match rows.get(&key)? {
        Some(bytes) => rows::decode(&bytes)?,
        None => first_of_stream(seen),
    };
    run.events = run.events.saturating_add(1);
    run.last = seen.position;
    run.last_recorded_at_us = seen.recorded_at_us;
    if let Some(at) = header.occurred_at_us {
        let (first, last) = run.occurred_us.unwrap_or((at, at));
        run.occurred_us = Some((first.min(at), last.max(at)));
    }
    let is_import = is_imported(header);
    if matches!(header.event_type.as_str(), "run.started" | "run.resumed") && !is_import {
        // Whatever was imported before, it lives now.
        run.imported = false;
    }
    match header.event_type.as_str() {
        // What was recorded elsewhere says nothing of a run that lives here.
        "run.started" | "run.finished" | "run.resumed" | "run.paused" | "session.ended"
            if is_import && !run.imported => {}
        "run.started" => started(&mut run, seen),
        "run.finished" => {
            run.finished = Some(finished(seen));
            run.lease = None;
        }
        "run.resumed" => {
            held(&mut run, seen);
            run.paused = false;
            run.let_go = None;
        }
        "run.paused" => {
            run.paused = true;
            run.lease = None;
        }
        "session.ended" => {
            run.let_go = seen.control.get_text(control::STATUS).map(str::to_owned);
            run.lease = None;
        }
        "step.started" => run.steps = run.steps.saturating_add(1),
        "chat.message" => run.turns = run.turns.saturating_add(1),
        "tool.call.requested" => run.tool_calls = run.tool_calls.saturating_add(1),
        "tool.call.completed" => run.tool_results = run.tool_results.saturating_add(1),
        "tool.call.failed" => run.tool_errors = run.tool_errors.saturating_add(1),
        "llm.call.completed" => llm_call(rows, &mut run, seen)?,
        _ => {}
    }
    rows.put(&key, rows::encode(&run)?);
    Ok(())
}

/// A stream before its first event is counted. Scope and origin are those of that event.
fn first_of_stream(seen: &Seen<'_>) -> RunRow {
    let header = seen.header;
    let imported = is_imported(header);
    RunRow {
        scope: header.scope.clone(),
        imported,
        started: None,
        parent: None,
        finished: None,
        fence: 0,
        lease: None,
        budget: None,
        paused: false,
        let_go: None,
        events: 0,
        steps: 0,
        turns: 0,
        tool_calls: 0,
        tool_results: 0,
        tool_errors: 0,
        llm_calls: 0,
        usage: UsageSum::default(),
        first_recorded_at_us: seen.recorded_at_us,
        last_recorded_at_us: seen.recorded_at_us,
        occurred_us: None,
        last: seen.position,
    }
}

/// A run begins once: what a later beginning says does not rename it.
fn started(run: &mut RunRow, seen: &Seen<'_>) {
    if run.started.is_none() {
        run.started = Some(seen.position);
        run.parent = seen.control.get_text(control::PARENT).map(str::to_owned);
        held(run, seen);
    }
}

/// Somebody holds the run from here on. What was recorded elsewhere is held by nobody.
fn held(run: &mut RunRow, seen: &Seen<'_>) {
    run.fence = seen.position;
    let is_held = seen.control.get_text(control::RUN_HOLDER).is_some();
    run.lease = is_held.then(|| LEASE.read(seen.control, seen.position));
    let owner = OwnerId::of(
        seen.control.get_bytes(control::RUN_BUDGET),
        seen.control.get_text(control::RUN_BUDGET_SCOPE),
    );
    if let Some(owner) = owner.filter(|_| is_held) {
        run.budget = Some(owner.key());
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

/// Whether an event was recorded elsewhere.
pub(crate) fn is_imported(header: &Header) -> bool {
    header.tags.iter().any(|tag| {
        tag.split_once(':')
            .is_some_and(|(key, _)| key == control::IMPORTED)
    })
}

/// Counts a call of a model once, with its last report.
fn llm_call(rows: &mut dyn Rows, run: &mut RunRow, seen: &Seen<'_>) -> Result<(), FoldError> {
    let report = report_of(seen.control);
    let digest: Option<&[u8; DIGEST_BYTES]> = seen
        .control
        .get_bytes(control::CALL)
        .and_then(|digest| digest.try_into().ok());
    let mut earlier = None;
    if let Some(digest) = digest {
        let key = call_key(&seen.header.stream, digest);
        earlier = rows
            .get(&key)?
            .map(|bytes| rows::decode::<UsageRow>(&bytes))
            .transpose()?;
        rows.put(&key, rows::encode(&report)?);
    }
    match earlier {
        Some(earlier) => run.usage = run.usage.without(&earlier),
        None => run.llm_calls = run.llm_calls.saturating_add(1),
    }
    run.usage = run.usage.with(&report);
    Ok(())
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
