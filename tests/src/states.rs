//! How runs stood at a point, told anew: a plain fold over all records from the first one, in JSON.
//!
//! It knows no rows, no index and no stored points, and shares no code with the folds: it keeps how
//! every run stood after each of its events, and looks that up.

use runstone::replay::State;
use runstone_codec::TypedEvent as _;
use runstone_projections::budgets::Budget;
use runstone_projections::events::control::{self, budget, effect, task};
use runstone_projections::events::{Class, Kind, SessionSnapshotted, TaskState};
use runstone_store::{Payload, Record};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;

mod money;
mod summary;

use money::Purse;
use summary::Summary;

/// Session and steps, after an event.
#[derive(Clone, Debug)]
struct Told {
    document: Value,
    changes: u64,
    missing: u64,
    last: Option<u64>,
    steps: Vec<Value>,
    /// The newest attempt of each node.
    newest: BTreeMap<Vec<u8>, usize>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            document: json!({}),
            changes: 0,
            missing: 0,
            last: None,
            steps: Vec::new(),
            newest: BTreeMap::new(),
        }
    }
}

/// A run.
#[derive(Debug, Default)]
struct Run {
    /// What told of it after each event that changed that.
    told: Vec<(u64, Rc<Told>)>,
    forked: Option<(String, u64)>,
    /// Where it began to live here.
    live: bool,
    summary: Summary,
    /// Names of the owners that its events are about.
    named: Vec<String>,
}

/// A whole log, as far as it was taken.
#[derive(Debug, Default)]
pub struct World {
    runs: BTreeMap<String, Run>,
    /// Each call after each event of it, by tag and scope.
    calls: BTreeMap<(String, String), Vec<(u64, Value)>>,
    /// Tasks by stream and tag.
    tasks: BTreeMap<(String, String), Value>,
    purse: Purse,
    /// When each position was recorded.
    times: Vec<u64>,
}

/// Whether an event was recorded elsewhere.
fn is_imported(record: &Record) -> bool {
    let mark = format!("{}:", control::IMPORTED);
    record.header.tags.iter().any(|tag| tag.starts_with(&mark))
}

fn content(record: &Record) -> Option<Value> {
    let Payload::Open(payload) = &record.payload else {
        return None;
    };
    serde_json::from_slice(payload).ok()
}

fn tag_of(record: &Record, label: &str) -> Option<String> {
    let mut tags = record.header.tags.iter();
    tags.find(|tag| tag.split_once(':').is_some_and(|(known, _)| known == label))
        .map(ToString::to_string)
}

impl World {
    /// Takes the next record.
    pub fn take(&mut self, record: &Record) {
        self.times.push(record.recorded_at_us);
        let stream = record.header.stream.as_str();
        if stream == "log" {
            return;
        }
        let kind = record.header.event_type.as_str();
        let position = record.position.get();
        let imported = is_imported(record);
        let number = |field| record.control.get_u64(field);
        if !imported && matches!(kind, "run.started" | "run.resumed" | "run.forked") {
            self.runs.entry(stream.to_owned()).or_default().live = true;
        }
        match kind {
            "run.forked" if !imported => {
                let parent = record.control.get_text(control::FORK_OF).unwrap();
                let at = number(control::FORK_AT).unwrap();
                let told = self.told(parent, at);
                let run = self.runs.get_mut(stream).unwrap();
                run.forked = Some((parent.to_owned(), at));
                run.told.push((position, told));
            }
            "run.rolled_back" if !imported => {
                let to = number(control::BACK_TO).unwrap();
                let told = self.told(stream, to);
                let run = self.runs.get_mut(stream).unwrap();
                run.told.push((position, told));
            }
            _ => {}
        }
        let run = self.runs.entry(stream.to_owned()).or_default();
        if !(imported && run.live) {
            let before = run.told.last().map(|(_, told)| Rc::clone(told));
            let before = before.unwrap_or_default();
            if let Some(told) = before.after(record) {
                run.told.push((position, Rc::new(told)));
            }
        }
        if kind.starts_with("budget.") {
            run.named.extend(tag_of(record, budget::OWNER_LABEL));
        }
        run.summary.take(record, imported);
        self.purse.take(record, imported);
        if kind.starts_with("effect.") {
            self.call(record, imported);
        }
        if kind.starts_with("task.") && !imported {
            self.task(record);
        }
    }

    /// What told of a run as of a position.
    fn told(&self, stream: &str, at: u64) -> Rc<Told> {
        let Some(run) = self.runs.get(stream) else {
            return Rc::default();
        };
        let mut told = run.told.iter().rev();
        match (told.find(|(since, _)| *since <= at), &run.forked) {
            (Some((_, told)), _) => Rc::clone(told),
            (None, Some((parent, until))) => self.told(parent, at.min(*until)),
            (None, None) => Rc::default(),
        }
    }

    fn call(&mut self, record: &Record, imported: bool) {
        let number = |field| record.control.get_u64(field);
        if imported {
            return;
        }
        let Some(tag) = tag_of(record, effect::KEY_LABEL) else {
            return;
        };
        let scope = record.header.scope.to_string();
        let (position, at_us) = (record.position.get(), record.recorded_at_us);
        let stood = self.calls.entry((tag.clone(), scope.clone())).or_default();
        let text = |field| record.control.get_text(field).unwrap_or_default();
        let lease = |call: &mut Value| {
            call["expires"] = json!(number(effect::LEASE_EXPIRES_AT_US));
        };
        let mut call = match (stood.last(), &*record.header.event_type) {
            (_, "effect.claimed") => {
                let class = number(effect::CLASS).and_then(Class::from_number);
                let kind = number(effect::KIND).and_then(Kind::from_number).unwrap();
                let (_, digest) = tag.split_once(':').unwrap();
                let mut call = json!({
                    "id": {"digest": digest, "scope": scope}, "state": "in-flight", "kind": kind,
                    "name": text(effect::NAME), "class": class.unwrap_or(Class::Write),
                    "attempt": number(effect::ATTEMPT).unwrap_or(1), "fence": position,
                    "stream": record.header.stream, "claimed_at_us": at_us,
                    "holder": text(effect::HOLDER), "outcome": null, "executed": null,
                    "rejected": false,
                });
                lease(&mut call);
                stood.push((position, call));
                return;
            }
            (None, _) => return,
            (Some((_, call)), _) => call.clone(),
        };
        let mut end = |state: &str, executed: Value| {
            call["state"] = json!(state);
            call["outcome"] = json!(position);
            call["executed"] = executed;
        };
        match &*record.header.event_type {
            "effect.completed" => {
                end("completed", Value::Null);
                call["rejected"] = json!(number(effect::REJECTED) == Some(1));
            }
            "effect.failed" => match number(effect::EXECUTED) {
                Some(0) => end("failed", json!("no")),
                Some(2) => end("failed", json!("yes")),
                _ => end("unknown", json!("unknown")),
            },
            "effect.cancelled" => end("cancelled", Value::Null),
            "effect.outcome_unknown" => end("unknown", Value::Null),
            "effect.reconciled" if number(effect::OUTCOME) == Some(0) => {
                end("completed", Value::Null);
            }
            "effect.reconciled" | "effect.released" => end("failed", json!("no")),
            "effect.lease_renewed" => lease(&mut call),
            _ => return,
        }
        stood.push((position, call));
    }

    /// Those that a fork shares stand as they did where it was forked.
    fn calls_of(&self, stream: &str, at: u64) -> BTreeMap<(String, String), Value> {
        let mut found = BTreeMap::new();
        let now_us = self.times[usize::try_from(at).unwrap()];
        for (key, stood) in &self.calls {
            let Some((_, call)) = stood.iter().rev().find(|(since, _)| *since <= at) else {
                continue;
            };
            if call["stream"] == stream {
                found.insert(key.clone(), leased(call.clone(), now_us));
            }
        }
        let forked = self.runs.get(stream).and_then(|run| run.forked.clone());
        if let Some((parent, until)) = forked {
            for (key, call) in self.calls_of(&parent, at.min(until)) {
                found.entry(key).or_insert(call);
            }
        }
        found
    }

    fn task(&mut self, record: &Record) {
        let number = |field| record.control.get_u64(field);
        let tag = tag_of(record, task::LABEL).unwrap();
        let (position, at_us) = (record.position.get(), record.recorded_at_us);
        let key = (record.header.stream.to_string(), tag);
        let state = || {
            let state = number(task::TO).and_then(TaskState::from_number);
            json!(state.unwrap().as_str())
        };
        let known = self.tasks.get_mut(&key);
        match (&*record.header.event_type, known) {
            ("task.created", _) => {
                let task = json!({
                    "state": state(), "attempt": 1, "created": position, "moved": position,
                    "moved_at_us": at_us, "fence": null, "holder": "",
                });
                self.tasks.insert(key, task);
            }
            ("task.moved", Some(task)) => {
                task["state"] = state();
                task["moved"] = json!(position);
                task["moved_at_us"] = json!(at_us);
                if let Some(attempt) = number(task::ATTEMPT) {
                    task["attempt"] = json!(attempt);
                }
                if task["state"] != "in_progress" {
                    task["holder"] = json!("");
                }
            }
            ("task.claimed", Some(task)) => {
                task["fence"] = json!(position);
                task["holder"] = json!(record.control.get_text(task::HOLDER));
            }
            _ => {}
        }
    }

    /// How the run of a stream stands after the record that was taken last.
    pub fn state(&self, stream: &str, (at, now_us): (u64, u64)) -> Option<Value> {
        let run = self.runs.get(stream)?;
        let told = self.told(stream, at);
        let mut calls: Vec<_> = self.calls_of(stream, at).into_values().collect();
        calls.sort_by_key(|call| call["fence"].as_u64());
        let tasks = self.tasks.iter().filter(|((of, _), _)| of == stream);
        let mut tasks: Vec<_> = tasks.map(|(_, task)| task.clone()).collect();
        tasks.sort_by_key(|task| task["created"].as_u64());
        Some(json!({
            "session": {
                "document": told.document, "changes": told.changes, "missing": told.missing,
                "last": told.last,
            },
            "steps": told.steps,
            "tasks": tasks,
            "effects": calls,
            "budgets": self.purse.of(&run.named, now_us),
            "summary": run.summary.told(stream, now_us),
        }))
    }
}

/// A call, and whether its lease is over.
fn leased(mut call: Value, now_us: u64) -> Value {
    let expires = call.as_object_mut().unwrap().remove("expires");
    let expires = expires.as_ref().and_then(Value::as_u64);
    let is_over = expires.is_some_and(|end| now_us >= end);
    call["lease_expires_at_us"] = json!(expires);
    call["is_expired"] = json!(is_over && call["state"] == "in-flight");
    call
}

impl Told {
    /// After an event; `None` if it tells nothing of session or steps.
    fn after(&self, record: &Record) -> Option<Self> {
        let kind = &*record.header.event_type;
        let said = content(record);
        let member = |name: &str| said.as_ref().and_then(|said| said.get(name)).cloned();
        let mut told = self.clone();
        let is_structured = record.control.get_u64(control::STEP_STRUCTURED) == Some(1);
        let changed = match kind {
            "session.patched" => Some(member("patch").map(|patch| told.patch(&patch))),
            "session.appended" => {
                let path = member("path").unwrap_or_default();
                Some(member("items").and_then(|items| told.append(path.as_str()?, &items)))
            }
            "step.completed" if is_structured => {
                let output = member("output").unwrap_or_default();
                let patch = output.get("structured");
                Some(patch.map(|patch| told.patch(patch)))
            }
            _ => None,
        };
        if let Some(changed) = changed {
            told.changes += 1;
            told.last = Some(record.position.get());
            told.missing += u64::from(changed.is_none());
        }
        if kind.starts_with("step.") {
            told.step(record, &member);
        } else if changed.is_none() {
            return None;
        }
        assert_ne!(kind, SessionSnapshotted::TYPE);
        Some(told)
    }

    fn step(&mut self, record: &Record, member: &dyn Fn(&str) -> Option<Value>) {
        let kind = &*record.header.event_type;
        let position = record.position.get();
        let node = record.control.get_bytes(control::NODE).unwrap_or_default();
        let newest = self.newest.get(node).copied();
        let is_open = newest.is_some_and(|at| self.steps[at]["ended"].is_null());
        let at = match newest.filter(|_| is_open && kind != "step.started") {
            Some(at) => at,
            None => {
                let attempt = record.control.get_u64(control::STEP_ATTEMPT).unwrap_or(1);
                let began = (kind == "step.started").then_some(position);
                let step = json!({
                    "node": member("node"), "attempt": attempt, "status": "started",
                    "began": began, "ended": null, "outcome": null,
                });
                self.steps.push(step);
                self.newest.insert(node.to_vec(), self.steps.len() - 1);
                self.steps.len() - 1
            }
        };
        let (status, outcome) = match kind {
            "step.completed" => ("completed", "output"),
            "step.failed" => ("failed", "error"),
            "step.blocked" => ("blocked", "by"),
            "step.skipped" => ("skipped", "because"),
            _ => return,
        };
        let step = &mut self.steps[at];
        step["status"] = json!(status);
        step["ended"] = json!(position);
        step["outcome"] = json!(member(outcome));
    }

    /// RFC 7396.
    fn patch(&mut self, patch: &Value) {
        fn merge(target: &mut Value, patch: &Value) {
            let Some(members) = patch.as_object() else {
                *target = patch.clone();
                return;
            };
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            for (name, value) in members {
                if value.is_null() {
                    target.as_object_mut().unwrap().remove(name);
                } else {
                    merge(&mut target[name], value);
                }
            }
        }
        merge(&mut self.document, patch);
    }

    /// `None` if the path leads to something else than an array.
    fn append(&mut self, path: &str, items: &Value) -> Option<()> {
        let mut at = &mut self.document;
        for name in path.strip_prefix('/')?.split('/') {
            if at.is_null() {
                *at = json!({});
            }
            let name = name.replace("~1", "/").replace("~0", "~");
            at = at.as_object_mut()?.entry(name).or_insert(Value::Null);
        }
        if at.is_null() {
            *at = json!([]);
        }
        at.as_array_mut()?.extend(items.as_array()?.iter().cloned());
        Some(())
    }
}

/// What is answered, as the model tells it.
pub fn shown(state: &State) -> Value {
    let session = &state.session;
    let steps = state.steps.iter().map(|step| {
        json!({
            "node": step.node, "attempt": step.attempt, "status": step.status,
            "began": step.began, "ended": step.ended, "outcome": step.outcome,
        })
    });
    let tasks = state.tasks.iter().map(|task| {
        json!({
            "state": task.state.as_str(), "attempt": task.attempt, "created": task.created,
            "moved": task.moved, "moved_at_us": task.moved_at_us, "fence": task.fence,
            "holder": task.holder,
        })
    });
    json!({
        "session": {
            "document": session.document.to_value(), "changes": session.changes,
            "missing": session.missing, "last": session.last,
        },
        "steps": steps.collect::<Vec<_>>(),
        "tasks": tasks.collect::<Vec<_>>(),
        "effects": state.effects.iter().map(|effect| json!(**effect)).collect::<Vec<_>>(),
        "budgets": state.budgets.iter().map(owner).collect::<Vec<_>>(),
        "summary": state.summary,
    })
}

fn owner(owner: &Budget) -> Value {
    let amounts = |amounts: &runstone_projections::budgets::Amounts| {
        let all = amounts.iter();
        let all = all.map(|(dimension, amount)| (dimension.as_str().to_owned(), json!(amount)));
        all.collect::<Map<_, _>>()
    };
    json!({
        "owner": owner.id.tag(), "opened": owner.opened, "level": owner.level,
        "parent": owner.parent.as_ref().map(runstone_projections::budgets::OwnerId::tag),
        "limits_at": owner.limits_at, "spent": amounts(&owner.spent),
        "reserved": amounts(&owner.reserved), "open": owner.open_reservations,
        "is_exceeded": owner.exceeded.is_some(), "elapsed_s": owner.elapsed_s,
    })
}
