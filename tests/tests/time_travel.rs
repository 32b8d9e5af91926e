//! A run at every revision is what a fold from its beginning gives.

use runstone::codec::{Draft, NewEvent, Position, TypedEvent};
use runstone::events::{
    ChatMessage, LlmCallCompleted, SessionAppended, SessionPatched, StepCompleted, StepStarted,
    step_keys,
};
use runstone::replay::{
    Fork, Point, RollBack, StepStatus, fork_blocking, roll_back_blocking, state,
};
use runstone::runs::{self, Begin, RunHeld, begin_blocking, record_blocking};
use runstone::{Log, Payload, Query, Read, Record, Runstone};
use runstone_tests::command::recordings;
use runstone_tests::tamper::Outcome;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A run as somebody would tell it who read its events one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
struct Plain {
    document: Value,
    /// Node, attempt, and how it ended.
    steps: Vec<(String, u64, StepStatus)>,
    /// What it used, which no rollback takes back.
    used: Used,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Used {
    events: u64,
    steps: u64,
    nodes: u64,
    turns: u64,
    tool_calls: u64,
    llm_calls: u64,
    input_tokens: u64,
    output_tokens: u64,
}

/// What was met in a run.
#[derive(Default)]
struct Met {
    nodes: BTreeSet<Vec<u8>>,
    /// Tokens of each call of a model by its last report.
    calls: BTreeMap<Vec<u8>, (u64, u64)>,
}

/// RFC 7396, word by word.
fn merge(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut merged: Map<String, Value> = target.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        if value.is_null() {
            merged.remove(name);
        } else {
            let old = merged.get(name).cloned().unwrap_or_default();
            merged.insert(name.clone(), merge(&old, value));
        }
    }
    merged.into()
}

impl Plain {
    fn new() -> Self {
        Self {
            document: json!({}),
            ..Self::default()
        }
    }

    fn take(&mut self, record: &Record, met: &mut Met) {
        let said: Value = match &record.payload {
            Payload::Open(payload) => serde_json::from_slice(payload).unwrap_or_default(),
            _ => Value::Null,
        };
        let facts = &record.control;
        let used = &mut self.used;
        used.events += 1;
        let node = facts.get_bytes(1).unwrap_or_default().to_vec();
        match record.header.event_type.as_str() {
            "session.patched" => self.document = merge(&self.document, &said["patch"]),
            "session.appended" => {
                let list = said["path"]
                    .as_str()
                    .unwrap_or_default()
                    .trim_start_matches('/');
                let mut items = self.document[list].as_array().cloned().unwrap_or_default();
                items.extend(said["items"].as_array().cloned().unwrap_or_default());
                self.document[list] = items.into();
            }
            "step.started" => {
                used.steps += 1;
                met.nodes.insert(node);
                let name = said["node"].as_str().unwrap_or_default().to_owned();
                let attempt = facts.get_u64(2).unwrap_or(1);
                self.steps.push((name, attempt, StepStatus::Started));
            }
            "step.completed" | "step.failed" | "step.blocked" => {
                if record.header.event_type != "step.blocked" {
                    met.nodes.insert(node);
                }
                let name = said["node"].as_str().unwrap_or_default().to_owned();
                let status = match record.header.event_type.as_str() {
                    "step.completed" => StepStatus::Completed,
                    "step.failed" => StepStatus::Failed,
                    _ => StepStatus::Blocked,
                };
                let open = self.steps.iter_mut().rev().find(|step| step.0 == name);
                match open.filter(|step| step.2 == StepStatus::Started) {
                    Some(step) => step.2 = status,
                    None => self
                        .steps
                        .push((name, facts.get_u64(2).unwrap_or(1), status)),
                }
                if let Some(patch) = said["output"].get("structured") {
                    self.document = merge(&self.document, patch);
                }
            }
            "chat.message" => used.turns += 1,
            "tool.call.requested" => used.tool_calls += 1,
            "llm.call.completed" => {
                let number = |field| facts.get_u64(field).unwrap_or(0);
                let tokens = (number(2), number(3));
                let call = facts.get_bytes(1).unwrap_or_default().to_vec();
                let before = met.calls.insert(call.clone(), tokens);
                // One without an id is a call of its own.
                let before = before.filter(|_| !call.is_empty());
                used.llm_calls += u64::from(before.is_none());
                let before = before.unwrap_or_default();
                used.input_tokens = used.input_tokens + tokens.0 - before.0;
                used.output_tokens = used.output_tokens + tokens.1 - before.1;
            }
            _ => {}
        }
        used.nodes = met.nodes.len() as u64;
    }
}

/// Every run as it stood after each of its events, by its stream.
type Told = BTreeMap<String, Vec<(u64, Plain)>>;

/// How a run stood after a position.
fn stood(told: &Told, stream: &str, at: u64) -> Plain {
    let points = told.get(stream).map(Vec::as_slice).unwrap_or_default();
    let known = points.iter().rev().find(|(position, _)| *position <= at);
    known.map_or_else(Plain::new, |(_, plain)| plain.clone())
}

/// The whole log, one event after the other.
fn tell(log: &Log) -> Outcome<Told> {
    let mut told = Told::new();
    let mut forks: BTreeMap<String, (String, u64)> = BTreeMap::new();
    let mut met: BTreeMap<String, Met> = BTreeMap::new();
    for record in log.read(Read::new(Query::Everything))? {
        let record = record?;
        let (stream, position) = (record.header.stream.clone(), record.position.get());
        let mut now = stood(&told, &stream, position);
        let facts = &record.control;
        match record.header.event_type.as_str() {
            "run.forked" => {
                let (of, at) = (facts.get_text(9), facts.get_u64(10));
                let of = (of.unwrap_or_default().to_owned(), at.unwrap_or_default());
                now = stood(&told, &of.0, of.1);
                now.used = Used::default();
                forks.insert(stream.clone(), of);
            }
            "run.rolled_back" => {
                let to = facts.get_u64(9).unwrap_or_default();
                // Before its own beginning a fork is what it was forked from, up to there.
                let (mut of, mut end) = (stream.clone(), to);
                while told.get(&of).is_none_or(|points| points[0].0 > end) {
                    let Some((parent, at)) = forks.get(&of) else {
                        break;
                    };
                    (of, end) = (parent.clone(), end.min(*at));
                }
                let then = stood(&told, &of, end);
                (now.document, now.steps) = (then.document, then.steps);
            }
            _ => {}
        }
        now.take(&record, met.entry(stream.clone()).or_default());
        told.entry(stream).or_default().push((position, now));
    }
    Ok(told)
}

/// At every point that `is_asked` for, the log says what was told.
fn assert_told(log: &Log, told: &Told, is_asked: impl Fn(usize, usize) -> bool) -> Outcome<usize> {
    let mut asked = 0;
    for (stream, points) in told {
        if stream == "log" {
            continue;
        }
        for (revision, (position, plain)) in points.iter().enumerate() {
            if !is_asked(revision, points.len()) {
                continue;
            }
            asked += 1;
            let at = Point::Revision(revision as u64).find(log, stream)?;
            assert_eq!(at, Some(Position::new(*position)), "{stream} {revision}");
            let seen = state(log, stream, Position::new(*position))?.ok_or("it is a run")?;
            assert_eq!(
                seen.session.document.value(),
                &plain.document,
                "{stream} {revision}"
            );
            let steps = seen.steps.iter();
            let steps: Vec<_> = steps
                .map(|step| {
                    (
                        step.node.clone().unwrap_or_default(),
                        step.attempt,
                        step.status,
                    )
                })
                .collect();
            assert_eq!(steps, plain.steps, "{stream} {revision}");
            let (counts, usage) = (&seen.summary.counts, &seen.summary.usage);
            let used = Used {
                events: counts.events,
                steps: counts.steps,
                nodes: counts.nodes,
                turns: counts.turns,
                tool_calls: counts.tool_calls,
                llm_calls: counts.llm_calls,
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
            };
            assert_eq!(used, plain.used, "{stream} {revision}");
        }
    }
    Ok(asked)
}

/// The same numbers for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn typed<T: TypedEvent>(event: &T, stream: &str) -> Outcome<Draft> {
    Ok(Draft::new(NewEvent::typed(event, stream)?))
}

/// One of the things that happen in a run.
fn any(numbers: &mut Numbers, stream: &str) -> Outcome<Draft> {
    let n = numbers.below(5);
    let node = format!("node-{}", numbers.below(3));
    let keyed = |draft: Draft| step_keys(&node).into_iter().fold(draft, Draft::keyed);
    Ok(match numbers.below(10) {
        0..=2 => {
            let value = match n % 3 {
                0 => Value::Null,
                1 => json!({ "a": n }),
                _ => json!(n),
            };
            let patch = json!({ format!("m{n}"): value });
            typed(&SessionPatched { patch }, stream)?
        }
        3..=4 => {
            let (path, items) = ("/list".to_owned(), vec![json!(n)]);
            typed(&SessionAppended { path, items }, stream)?
        }
        5 => {
            let started = StepStarted {
                node: node.clone(),
                kind: None,
                attempt: n + 1,
            };
            let control = runstone::codec::Control::new().u64(2, n + 1);
            keyed(typed(&started, stream)?.control(control))
        }
        6 => {
            let structured = serde_json::value::to_raw_value(&json!({ "of": node }))?;
            let completed = StepCompleted {
                node: node.clone(),
                attempt: n + 1,
                output: Some(runstone::events::StepOutput {
                    content: None,
                    structured: Some(structured).filter(|_| n > 2),
                }),
                ..StepCompleted::default()
            };
            keyed(typed(&completed, stream)?.control(completed.control()))
        }
        7..=8 => {
            let call = LlmCallCompleted {
                call_id: format!("call-{n}"),
                input_tokens: numbers.below(100),
                output_tokens: numbers.below(100),
                ..LlmCallCompleted::default()
            };
            typed(&call, stream)?
                .control(call.control())
                .keyed(call.keyed())
        }
        _ => typed(&ChatMessage::default(), stream)?,
    })
}

#[test]
fn a_thousand_random_runs_at_every_revision() -> Outcome {
    let (log, mut numbers) = (Runstone::memory()?, Numbers(7));
    let mut streams: Vec<String> = Vec::new();
    for number in 0..1_000 {
        let stream = format!("run-{number}");
        let any_before = streams
            .get(numbers.below(streams.len().max(1) as u64) as usize)
            .cloned();
        if let Some(parent) = any_before.filter(|_| numbers.below(3) == 0) {
            let first = log.record_by_revision(&parent, 0)?.position.get();
            let at = first + numbers.below(log.size() - first);
            fork_blocking(&log, &Fork::new(stream.as_str(), parent, Position::new(at)))?;
        }
        let begin = Begin::new(stream.as_str(), "bot");
        let held: RunHeld = begin_blocking(&log, &begin)?.into_held();
        let root = runs::Told::of(&log, &stream, None)?.parts()[0].clone();
        let first = log.record_by_revision(&root.stream, 0)?.position.get();
        // Some are long, so that they have points that are stored.
        let rounds = if number % 100 == 0 {
            90
        } else {
            1 + numbers.below(3)
        };
        for _ in 0..rounds {
            let drafts = (0..1 + numbers.below(6)).map(|_| any(&mut numbers, &stream));
            record_blocking(&log, &held, drafts.collect::<Outcome<Vec<_>>>()?)?;
            if numbers.below(4) == 0 {
                let to = first + numbers.below(log.size() - first);
                let back = RollBack::new(stream.as_str(), Position::new(to)).fence(held.fence);
                roll_back_blocking(&log, &back)?;
            }
        }
        streams.push(stream);
    }
    let told = tell(&log)?;
    // Of long ones every one near a stored point, and some others.
    let asked = assert_told(&log, &told, |revision, len| {
        len < 60 || revision % 256 < 3 || revision % 256 > 252 || revision % 17 == 0
    })?;
    assert!(
        told.values().any(|points| points.len() > 256),
        "some are long"
    );
    assert!(asked > 4_000, "{asked}");
    Ok(())
}

#[test]
fn real_runs_at_every_revision() -> Outcome {
    let Some(folder) = recordings("") else {
        return Ok(());
    };
    let folder_of_log = tempfile::tempdir()?;
    let path = folder_of_log.path().join("log");
    let command = runstone_tests::command::Runstone::on(&path);
    command.ended(&["init", "--plain"]);
    let files = folder.to_string_lossy().into_owned();
    command.ended(&["import", &files, "-q"]);
    let log = Runstone::open(&path)?;
    let told = tell(&log)?;
    assert!(told.len() > 10, "{}", told.len());
    let asked = assert_told(&log, &told, |revision, len| len < 100 || revision % 64 < 2)?;
    assert!(asked > 1_000, "{asked}");
    Ok(())
}
