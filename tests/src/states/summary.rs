//! What a run did and used, told anew.

use runstone_codec::Control;
use runstone_projections::events::control;
use runstone_store::Record;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const USAGE: [(&str, u16); 5] = [
    ("input_tokens", control::INPUT_TOKENS),
    ("output_tokens", control::OUTPUT_TOKENS),
    ("cache_read_tokens", control::CACHE_READ_TOKENS),
    ("cache_write_tokens", control::CACHE_WRITE_TOKENS),
    ("usd_micros", control::USD_MICROS),
];
/// Counts, and the types that they count.
const COUNTS: [(&str, &[&str]); 9] = [
    ("steps", &["step.started"]),
    ("steps_blocked", &["step.blocked"]),
    ("pauses", &["run.paused"]),
    ("refusals", &["effect.refused"]),
    ("verdicts", &["verdict.given"]),
    ("turns", &["chat.message"]),
    ("tool_calls", &["tool.call.requested"]),
    ("tool_results", &["tool.call.completed"]),
    ("tool_errors", &["tool.call.failed"]),
];

/// The newest attempt of a step.
#[derive(Debug, Default)]
struct Attempt {
    /// Reports that named no step by then.
    before: Option<usize>,
    has_calls: bool,
    counted: [u64; 2],
}

#[derive(Debug)]
struct Lease {
    holder: String,
    is_of_opening: bool,
    end_us: u64,
}

impl Lease {
    fn of(facts: &Control, holder: &str) -> Self {
        Self {
            holder: holder.to_owned(),
            is_of_opening: facts.get_bytes(control::RUN_OPENING).is_some(),
            end_us: facts.get_u64(control::RUN_LEASE_EXPIRES_AT_US).unwrap_or(0),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Summary {
    scope: String,
    imported: bool,
    parent: Option<String>,
    forked_from: Option<Value>,
    started: Option<u64>,
    /// The end, and its word.
    finished: Option<(Value, Option<String>)>,
    fence: u64,
    lease: Option<Lease>,
    is_paused: bool,
    let_go: Option<String>,
    events: u64,
    counts: BTreeMap<&'static str, u64>,
    nodes: BTreeSet<Vec<u8>>,
    /// The last report of each call.
    reports: BTreeMap<Vec<u8>, [u64; 5]>,
    unnamed: usize,
    attempts: BTreeMap<Vec<u8>, Attempt>,
    /// Tokens, price and carbon of steps.
    own: [u64; 3],
    recorded: Option<(u64, u64)>,
    occurred: Option<(u64, u64)>,
    last: u64,
}

impl Summary {
    pub(super) fn take(&mut self, record: &Record, imported: bool) {
        let (kind, position) = (&*record.header.event_type, record.position.get());
        let at_us = record.recorded_at_us;
        if self.events == 0 {
            self.scope = record.header.scope.to_string();
            self.imported = imported;
        }
        self.events += 1;
        self.last = position;
        self.recorded = Some((self.recorded.map_or(at_us, |(first, _)| first), at_us));
        if let Some(at) = record.header.occurred_at_us {
            let (first, last) = self.occurred.unwrap_or((at, at));
            self.occurred = Some((first.min(at), last.max(at)));
        }
        if !imported && matches!(kind, "run.started" | "run.resumed") {
            self.imported = false;
        }
        for (name, types) in COUNTS {
            let is_foreign = kind == "run.paused" && imported && !self.imported;
            if types.contains(&kind) && !is_foreign {
                *self.counts.entry(name).or_default() += 1;
            }
        }
        if kind.starts_with("run.") || kind == "session.ended" {
            let is_travel = matches!(kind, "run.forked" | "run.rolled_back");
            if !imported || (self.imported && !is_travel) {
                self.life(record);
            }
        }
        self.used(record);
    }

    fn life(&mut self, record: &Record) {
        let (facts, position) = (&record.control, record.position.get());
        let text = |field| facts.get_text(field).map(str::to_owned);
        match &*record.header.event_type {
            "run.started" if self.started.is_none() => {
                self.started = Some(position);
                self.parent = text(control::PARENT);
                self.held(record);
            }
            "run.resumed" => {
                self.held(record);
                self.finished = None;
            }
            "run.forked" => {
                self.started = Some(position);
                let (stream, at) = (text(control::FORK_OF), facts.get_u64(control::FORK_AT));
                self.forked_from = Some(json!({"stream": stream, "at": at}));
                self.let_go = Some("forked".to_owned());
            }
            "run.rolled_back" if facts.get_u64(control::BACK_FENCE).is_none() => {
                self.lease = None;
                self.is_paused = false;
                if !self.imported {
                    self.finished = None;
                }
                self.let_go = Some("rolled_back".to_owned());
            }
            "run.lease_renewed" => {
                if let Some(lease) = &mut self.lease {
                    *lease = Lease::of(facts, &lease.holder);
                }
            }
            "run.paused" => (self.is_paused, self.lease) = (true, None),
            "run.finished" => {
                let finished = json!({
                    "position": position, "recorded_at_us": record.recorded_at_us,
                    "occurred_at_us": record.header.occurred_at_us,
                });
                self.finished = Some((finished, text(control::STATUS)));
                self.lease = None;
            }
            "session.ended" => (self.let_go, self.lease) = (text(control::STATUS), None),
            _ => {}
        }
    }

    fn held(&mut self, record: &Record) {
        let holder = record.control.get_text(control::RUN_HOLDER);
        self.fence = record.position.get();
        (self.is_paused, self.let_go) = (false, None);
        self.lease = holder.map(|holder| Lease::of(&record.control, holder));
    }

    fn used(&mut self, record: &Record) {
        let facts = &record.control;
        let amount = |field| facts.get_u64(field).unwrap_or(0);
        let node = |field| facts.get_bytes(field).map(<[u8]>::to_vec);
        match &*record.header.event_type {
            "step.started" => {
                let Some(node) = node(control::NODE) else {
                    return;
                };
                self.nodes.insert(node.clone());
                let before = Some(self.unnamed);
                let attempt = Attempt {
                    before,
                    ..Attempt::default()
                };
                self.attempts.insert(node, attempt);
            }
            "step.completed" | "step.failed" => {
                self.own[2] += amount(control::GCO2_MG);
                let said = [control::STEP_TOKENS, control::STEP_USD_MICROS].map(amount);
                let attempt = node(control::NODE).map(|node| {
                    self.nodes.insert(node.clone());
                    self.attempts.entry(node).or_default()
                });
                if let Some(attempt) = attempt {
                    let before = attempt.before.take();
                    attempt.has_calls |= before.is_some_and(|before| before < self.unnamed);
                    if attempt.has_calls {
                        return;
                    }
                    attempt.counted = [0, 1].map(|at| attempt.counted[at] + said[at]);
                }
                self.own[0] += said[0];
                self.own[1] += said[1];
            }
            "llm.call.completed" => {
                match node(control::CALL_NODE) {
                    None => self.unnamed += 1,
                    Some(node) => {
                        let attempt = self.attempts.get_mut(&node);
                        if let Some(attempt) = attempt.filter(|attempt| !attempt.has_calls) {
                            self.own[0] -= attempt.counted[0];
                            self.own[1] -= attempt.counted[1];
                            (attempt.has_calls, attempt.counted) = (true, [0, 0]);
                        }
                    }
                }
                let alone = || record.position.get().to_be_bytes().to_vec();
                let call = node(control::CALL).unwrap_or_else(alone);
                self.reports
                    .insert(call, USAGE.map(|(_, field)| amount(field)));
            }
            _ => {}
        }
    }

    fn status(&self, now_us: u64) -> &str {
        let is_over = |lease: &Lease| !lease.is_of_opening && now_us >= lease.end_us;
        if let Some((_, word)) = &self.finished {
            return word.as_deref().unwrap_or("unknown");
        }
        match (&self.lease, &self.let_go) {
            _ if self.imported => "unknown",
            _ if self.is_paused => "paused",
            (Some(lease), _) if is_over(lease) => "crashed",
            (_, Some(word)) => word,
            (Some(_), None) => "running",
            (None, None) => "unknown",
        }
    }

    pub(super) fn told(&self, stream: &str, now_us: u64) -> Value {
        let mut counts = Map::new();
        for (name, _) in COUNTS {
            counts.insert(name.to_owned(), json!(self.counts.get(name).unwrap_or(&0)));
        }
        counts.insert("events".to_owned(), json!(self.events));
        counts.insert("nodes".to_owned(), json!(self.nodes.len()));
        counts.insert("llm_calls".to_owned(), json!(self.reports.len()));
        let mut usage = Map::new();
        for (at, (name, _)) in USAGE.into_iter().enumerate() {
            let sum: u64 = self.reports.values().map(|report| report[at]).sum();
            usage.insert(name.to_owned(), json!(sum));
        }
        let [tokens, usd_micros, gco2_mg] = self.own;
        json!({
            "stream": stream, "scope": self.scope, "imported": self.imported,
            "parent": self.parent, "forked_from": self.forked_from, "started": self.started,
            "finished": self.finished.as_ref().map(|(finished, _)| finished),
            "status": self.status(now_us), "fence": self.fence,
            "holder": self.lease.as_ref().map(|lease| &lease.holder),
            "counts": counts, "usage": usage,
            "steps": {"tokens": tokens, "usd_micros": usd_micros, "gco2_mg": gco2_mg},
            "first_recorded_at_us": self.recorded.map(|(first, _)| first),
            "last_recorded_at_us": self.recorded.map(|(_, last)| last),
            "first_occurred_at_us": self.occurred.map(|(first, _)| first),
            "last_occurred_at_us": self.occurred.map(|(_, last)| last),
            "last": self.last,
        })
    }
}
