//! A recording of runs of a log.

use super::recording::{Answer, Branch, Recorded, RecordedRun, Recording, What};
use crate::steps::content;
use runstone_codec::{Position, TypedEvent, Uuid};
use runstone_projections::Settings;
use runstone_projections::events::control::{self, effect as field};
use runstone_projections::events::{
    ApprovalRequested, EffectClaimed, EffectCompleted, EffectFailed, EffectOutcomeUnknown,
    EffectReconciled, EffectRefused, EffectReleased, ErrorSaid, Executed, Kind, RunFinished,
    RunForked, RunResumed, StepCompleted, StepFailed, StepStarted, ToolCallCompleted,
    ToolCallFailed, ToolCallRequested,
};
use runstone_projections::runs::{self, RunFilter, Told};
use runstone_projections::sessions;
use runstone_projections::settings::SettingsError;
use runstone_store::{Item, Log, Payload, Query, Read, ReadError, Record};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

use super::file::RecordingError;

/// `effect.reconciled`: it was made.
const FOUND_MADE: u64 = 0;

/// Events that a recording is made of.
const TYPES: [&str; 5] = [
    "effect.*",
    "step.*",
    "tool.call.*",
    "run.*",
    ApprovalRequested::TYPE,
];

impl Recording {
    /// What a log tells of runs, by their streams, as they stand now, and of the runs that they
    /// spawned. Of a fork also what it shares.
    ///
    /// # Errors
    ///
    /// [`RecordingError::NoRun`] for a stream without a run; [`RecordingError::Read`] if the log
    /// cannot be read.
    pub fn of<S: Into<String>>(
        log: &Log,
        streams: impl IntoIterator<Item = S>,
    ) -> Result<Self, RecordingError> {
        let settings = Settings::in_force(log)?;
        let settings = match settings.position {
            None => None,
            Some(_) => Some(settings.settings.to_json()?),
        };
        let settings = settings.and_then(|json| serde_json::from_slice(&json).ok());
        let mut runs = BTreeMap::new();
        for (stream, is_shared) in family(log, streams)? {
            let mut run = run(log, &stream)?;
            run.is_optional = is_shared;
            run.items
                .iter_mut()
                .for_each(|item| item.optional |= is_shared);
            runs.insert(stream, run);
        }
        Ok(Self { settings, runs })
    }

    /// The events whose content a recording [`of`](Self::of) these runs shows.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read.
    pub fn query<S: Into<String>>(
        log: &Log,
        streams: impl IntoIterator<Item = S>,
    ) -> Result<Query, ReadError> {
        let (mut shown, mut forked) = (BTreeSet::new(), BTreeSet::new());
        for (stream, _) in family(log, streams)? {
            let told = Told::of(log, &stream, None)?;
            for part in told.parts() {
                shown.insert(part.stream.clone());
                if part.stream != stream {
                    forked.insert(part.stream.clone());
                }
            }
        }
        // A fork begins with the document of what it shares.
        let documents = forked
            .iter()
            .map(|of| Item::new().stream(of.as_str()).of_type("session.*"));
        let mut items = shown.iter().map(|stream| item(stream)).chain(documents);
        let first = items.next().map_or_else(Query::default, Query::from);
        Ok(items.fold(first, Query::or))
    }
}

/// Runs, the runs that they spawned, and those that what they share did; whether the program need not
/// begin them.
fn family<S: Into<String>>(
    log: &Log,
    streams: impl IntoIterator<Item = S>,
) -> Result<BTreeMap<String, bool>, ReadError> {
    let left = streams.into_iter().map(|stream| (stream.into(), false));
    let mut left: Vec<(String, bool)> = left.collect();
    let mut family = BTreeMap::new();
    while let Some((stream, is_shared)) = left.pop() {
        if family.get(&stream).is_some_and(|known| !known || is_shared) {
            continue;
        }
        for part in Told::of(log, &stream, None)?.parts() {
            let mut filter = RunFilter::new();
            filter.parent = Some(part.stream.clone());
            for child in runs::list(log, filter)? {
                left.push((child?.stream, is_shared || part.stream != stream));
            }
        }
        family.insert(stream, is_shared);
    }
    Ok(family)
}

fn item(stream: &str) -> Item {
    let item = Item::new().stream(stream);
    TYPES.iter().fold(item, |item, of| item.of_type(*of))
}

impl From<SettingsError> for RecordingError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(Box::new(error))
    }
}

fn run(log: &Log, stream: &str) -> Result<RecordedRun, RecordingError> {
    let told = Told::of(log, stream, None)?;
    // Also what a rollback took back: its calls were made.
    let mut streams: Vec<(&str, u64)> = Vec::new();
    for part in told.parts() {
        match streams
            .iter_mut()
            .find(|(stream, _)| *stream == part.stream)
        {
            Some((_, to)) => *to = part.to.max(*to),
            None => streams.push((&part.stream, part.to)),
        }
    }
    let mut building = Building::default();
    let mut is_there = false;
    for (of, to) in streams {
        let is_own = of == stream;
        for record in log.read(Read::new(Query::from(item(of))).to(Position::new(to)))? {
            let record = record?;
            is_there = true;
            let at = record.position.get();
            let is_told = told.parts().iter().any(|part| {
                part.stream == record.header.stream && (part.from..=part.to).contains(&at)
            });
            building.take(&record, is_own && is_told);
            if is_own && record.header.event_type == RunForked::TYPE {
                building.run.document = document(log, &record)?;
            }
        }
    }
    if !is_there {
        return Err(RecordingError::NoRun {
            stream: stream.to_owned(),
        });
    }
    Ok(building.finish())
}

/// The document that a fork began with.
fn document(log: &Log, forked: &Record) -> Result<Option<Value>, ReadError> {
    let (parent, at) = (
        forked.control.get_text(control::FORK_OF),
        forked.control.get_u64(control::FORK_AT),
    );
    let (Some(parent), Some(at)) = (parent, at) else {
        return Ok(None);
    };
    let told = Told::of(log, parent, Some(Position::new(at)))?;
    Ok(Some(sessions::told(log, &told)?.document.to_value()))
}

/// A call that was claimed, as far as it is known.
struct Claimed {
    /// Its place among what the run did.
    at: usize,
    fence: u64,
    /// Whether its caller was told what came of it.
    is_heard: bool,
    is_completed: bool,
    /// In which life of the run it was made.
    life: u64,
}

#[derive(Default)]
struct Building {
    run: RecordedRun,
    /// Which step an event began.
    begun: BTreeMap<Uuid, Branch>,
    /// How often each node failed.
    failures: BTreeMap<String, u64>,
    /// Where each attempt stands.
    steps: BTreeMap<Branch, usize>,
    /// Nodes by their digests: the name is in the content of the first event only.
    nodes: BTreeMap<Vec<u8>, String>,
    /// The newest claim of each call.
    claimed: BTreeMap<Vec<u8>, Claimed>,
    /// Calls as a transcript tells them, which count where nothing else does.
    transcript: Vec<Recorded>,
    asked: BTreeMap<Uuid, usize>,
    /// Calls that were refused and not made since.
    refused: BTreeMap<Vec<u8>, Recorded>,
    /// Whether any call says in which step it was made.
    has_branches: bool,
    /// How often the run was gone on with.
    life: u64,
}

impl Building {
    fn take(&mut self, record: &Record, counts: bool) {
        let said = content(record);
        let cause = record.header.causation;
        let branch = cause.and_then(|cause| self.begun.get(&cause)).cloned();
        match record.header.event_type.as_str() {
            StepStarted::TYPE => self.step(record, said.as_ref(), branch, counts),
            StepCompleted::TYPE | StepFailed::TYPE => self.step_ended(record),
            EffectClaimed::TYPE => self.claim(record, said.as_ref(), branch, counts),
            ToolCallRequested::TYPE => {
                let (id, said) = (record.header.event_id, said.as_ref());
                self.asked.insert(id, self.transcript.len());
                let item = called(record, said, "arguments", branch, counts);
                self.transcript.push(item);
            }
            ToolCallCompleted::TYPE | ToolCallFailed::TYPE => {
                let at = cause.and_then(|cause| self.asked.get(&cause)).copied();
                answer(&mut self.transcript, at, record, told);
            }
            EffectRefused::TYPE => {
                let why = record.control.get_text(field::WHY).unwrap_or("refused");
                self.refuse(record, said.as_ref(), (why, branch));
            }
            ApprovalRequested::TYPE => self.refuse(record, said.as_ref(), ("pending", branch)),
            RunFinished::TYPE if counts => self.run.is_finished = true,
            RunResumed::TYPE => {
                self.life = self.life.saturating_add(1);
                self.run.is_finished &= !counts;
            }
            other if other.starts_with("effect.") => self.settle(record),
            other if other.starts_with("run.") && counts => self.run.is_finished = false,
            _ => {}
        }
    }

    fn step(
        &mut self,
        record: &Record,
        said: Option<&Value>,
        branch: Option<Branch>,
        counts: bool,
    ) {
        let digest = record.control.get_bytes(control::NODE).unwrap_or_default();
        let node = said.and_then(|said| said.get("node")?.as_str());
        let is_erased = node.is_none();
        let node = node.map_or_else(|| self.nodes.len().to_string(), str::to_owned);
        let node = self.nodes.entry(digest.to_vec()).or_insert(node).clone();
        let failures = self.failures.get(&node).copied().unwrap_or_default();
        let attempt = failures.saturating_add(1);
        let step = Branch { node, attempt };
        self.begun.insert(record.header.event_id, step.clone());
        // One that was interrupted, or taken back, is the same attempt when it is done again.
        let known = self.steps.get(&step).copied();
        if let Some(known) = known.and_then(|at| self.run.items.get_mut(at)) {
            known.ended = None;
            known.optional &= !counts;
            return;
        }
        self.steps.insert(step.clone(), self.run.items.len());
        self.run.items.push(Recorded {
            what: if is_erased {
                What::ErasedStep(step)
            } else {
                What::Step(step)
            },
            branch,
            began: record.position.get(),
            ended: None,
            optional: !counts,
        });
    }

    fn step_ended(&mut self, record: &Record) {
        let digest = record.control.get_bytes(control::NODE).unwrap_or_default();
        let Some(node) = self.nodes.get(digest) else {
            return;
        };
        let failures = self.failures.entry(node.clone()).or_default();
        let step = Branch {
            node: node.clone(),
            attempt: failures.saturating_add(1),
        };
        let at = self.steps.get(&step).copied();
        if let Some(step) = at.and_then(|at| self.run.items.get_mut(at)) {
            step.ended = Some(record.position.get());
        }
        if record.header.event_type == StepFailed::TYPE {
            *failures = failures.saturating_add(1);
        }
    }

    fn claim(
        &mut self,
        record: &Record,
        said: Option<&Value>,
        branch: Option<Branch>,
        counts: bool,
    ) {
        let control = &record.control;
        if control.get_u64(field::KIND) == Some(Kind::Task.number()) {
            return;
        }
        self.has_branches |= branch.is_some();
        let call = control.get_bytes(field::KEY).unwrap_or_default().to_vec();
        let fence = record.position.get();
        let mut item = called(record, said, "args", branch, counts);
        let before = self.claimed.get_mut(&call);
        let is_of_before = |before: &&mut Claimed| !before.is_heard && before.life < self.life;
        // In a life before nobody was told what came of it: it is the same call of the program.
        if let Some(before) = before.filter(is_of_before) {
            (before.fence, before.life) = (fence, self.life);
            if let Some(known) = self.run.items.get_mut(before.at) {
                known.what = item.what;
                known.ended = None;
                known.optional &= item.optional;
            }
            return;
        }
        // A read that a later life made once more is not made twice in one.
        let known = self.claimed.get(&call);
        let is_repeated = known.is_some_and(|known| known.is_completed && known.life < self.life);
        item.optional |= is_repeated;
        // Refused before, and made now.
        self.run.items.extend(self.refused.remove(&call));
        let claimed = Claimed {
            at: self.run.items.len(),
            fence,
            is_heard: false,
            is_completed: false,
            life: self.life,
        };
        self.claimed.insert(call, claimed);
        self.run.items.push(item);
    }

    fn settle(&mut self, record: &Record) {
        let call = record.control.get_bytes(field::KEY).unwrap_or_default();
        let fence = record.control.get_u64(field::FENCE);
        let Some(claimed) = self.claimed.get_mut(call) else {
            return;
        };
        if fence.is_some_and(|fence| fence != claimed.fence) {
            return;
        }
        let at = Some(claimed.at);
        // Who asked again in the same life was told what was found out; else it is one call.
        let is_asked = self.refused.contains_key(call) && claimed.life == self.life;
        if found_made(record) && (claimed.is_heard || is_asked) {
            claimed.is_completed = true;
            self.found_out(record);
            return;
        }
        if claimed.is_heard {
            return;
        }
        match record.header.event_type.as_str() {
            EffectCompleted::TYPE => (claimed.is_heard, claimed.is_completed) = (true, true),
            EffectFailed::TYPE => claimed.is_heard = true,
            EffectReconciled::TYPE if found_made(record) => {
                (claimed.is_heard, claimed.is_completed) = (true, true);
            }
            // Nobody knows, or it was not made: what the program meets is what comes next.
            EffectOutcomeUnknown::TYPE | EffectReconciled::TYPE | EffectReleased::TYPE => {
                claimed.is_heard = false;
                answer(&mut self.run.items, at, record, |_, _| {
                    Some(Answer::Unknown)
                });
                return;
            }
            "effect.cancelled" => {
                // It was given up; whether it is called again is for chance to say.
                if let Some(item) = self.run.items.get_mut(claimed.at) {
                    (item.ended, item.optional) = (Some(record.position.get()), true);
                }
                return;
            }
            _ => return,
        }
        answer(&mut self.run.items, at, record, told);
    }

    /// Somebody found out that a call was made, and whoever asked again was told.
    fn found_out(&mut self, record: &Record) {
        let call = record.control.get_bytes(field::KEY).unwrap_or_default();
        let asked = self.refused.remove(call);
        let before = self.claimed.get(call).map(|claimed| claimed.at);
        let Some(before) = before.and_then(|at| self.run.items.get(at)) else {
            return;
        };
        let mut item = before.clone();
        item.began = record.position.get();
        if let Some(asked) = asked {
            (item.began, item.branch) = (asked.began, asked.branch);
        }
        // Nothing says that the program asked again.
        item.optional = true;
        let at = self.run.items.len();
        self.run.items.push(item);
        answer(&mut self.run.items, Some(at), record, told);
    }

    /// It was not made, unless it was later. Of one call the newest reason counts.
    fn refuse(
        &mut self,
        record: &Record,
        said: Option<&Value>,
        (why, branch): (&str, Option<Branch>),
    ) {
        let call = record.control.get_bytes(field::KEY).unwrap_or_default();
        let refused = self.refused.entry(call.to_vec()).or_insert_with(|| {
            let mut item = called(record, said, "", branch, false);
            item.ended = Some(item.began);
            item
        });
        if let What::Call { answer, .. } = &mut refused.what {
            *answer = Answer::Refused {
                why: why.to_owned(),
            };
        }
    }

    fn finish(mut self) -> RecordedRun {
        if self.claimed.is_empty() {
            self.run.items.append(&mut self.transcript);
        }
        self.run.items.extend(self.refused.into_values());
        self.run.items.sort_by_key(|item| item.began);
        self.run.is_flat = !self.has_branches;
        self.run
    }
}

/// What came of the call at a place.
fn answer(
    items: &mut [Recorded],
    at: Option<usize>,
    record: &Record,
    read: impl FnOnce(&Record, &[u8]) -> Option<Answer>,
) {
    let Some(item) = at.and_then(|at| items.get_mut(at)) else {
        return;
    };
    item.ended = Some(record.position.get());
    if let What::Call { answer, .. } = &mut item.what {
        *answer = match &record.payload {
            Payload::Open(said) => read(record, said).unwrap_or(Answer::Erased),
            _ => Answer::Erased,
        };
    }
}

fn called(
    record: &Record,
    said: Option<&Value>,
    args_member: &str,
    branch: Option<Branch>,
    counts: bool,
) -> Recorded {
    let text = |name: &str| said.and_then(|said| Some(said.get(name)?.as_str()?.to_owned()));
    let of_control = || record.control.get_text(field::NAME).map(str::to_owned);
    let args = match &record.payload {
        Payload::Open(said) => serde_json::from_slice::<BTreeMap<String, &RawValue>>(said).ok(),
        _ => None,
    };
    let args = args.and_then(|said| said.get(args_member).map(|args| (*args).to_owned()));
    Recorded {
        what: What::Call {
            name: text("name").or_else(of_control),
            args: args.filter(|args| args.get() != "null"),
            key: text("key"),
            answer: Answer::Unknown,
        },
        branch,
        began: record.position.get(),
        ended: None,
        optional: !counts,
    }
}

/// Whether it was found out that a call was made.
fn found_made(record: &Record) -> bool {
    record.header.event_type == EffectReconciled::TYPE
        && record.control.get_u64(field::OUTCOME) == Some(FOUND_MADE)
}

/// What an outcome says.
fn told(record: &Record, said: &[u8]) -> Option<Answer> {
    #[derive(serde::Deserialize)]
    struct Said {
        #[serde(default)]
        result: Option<Box<RawValue>>,
        #[serde(default)]
        rejected: Option<String>,
        #[serde(default)]
        error: Option<Box<RawValue>>,
    }
    let said: Said = serde_json::from_slice(said).ok()?;
    let Some(error) = said.error else {
        return Some(Answer::Completed {
            result: said.result,
            rejected: said.rejected,
        });
    };
    let executed = record.control.get_u64(field::EXECUTED);
    // A transcript has whatever the tool said.
    let error = serde_json::from_str(error.get()).unwrap_or_else(|_| ErrorSaid {
        error_type: String::new(),
        message: error.get().to_owned(),
    });
    Some(Answer::Failed {
        error,
        executed: executed.and_then(Executed::from_number),
    })
}
