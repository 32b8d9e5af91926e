//! Runs that meshflow exported: `{"run_id": .., "steps": [..]}`, each step with its costs and the
//! digest of the step before.
//!
//! A run is the stream `meshflow-run/RUN`. A step is kept as `harness.meshflow_run.step`, and is
//! `step.started`, `step.completed` or `step.blocked`, a verdict, and, where it cost something, the
//! report of one model call. The record tells no tokens read from tokens written: all count as read.
//! The export does not say how the run ended.
//!
//! The hash chain is checked as it was made, and what came of it is a verdict on the run. It covers
//! the first 200 characters of texts, and neither costs nor how many steps there are.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use runstone_codec::Control;
use runstone_codec::event::Draft;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{LineOf, Reading, Record};
use crate::drafting::{Drafting, PRIMARY};
use crate::events::{
    HarnessRecord, LlmCallCompleted, RunStarted, StepBlocked, StepCompleted, StepOutput,
    StepStarted, VerdictGiven, control, step_keys,
};
use crate::format::Format;
use crate::identity::{hex, name_part, short_digest};
use crate::json::{Object, array, keep};
use crate::numbers::{Prices, thousandths, unix_us};
use crate::options::Options;
use crate::output::{Check, Output};
use crate::python::{self, CodePoints};
use crate::records::Records;
use crate::reject::RejectReason;

/// How many code points of a text are hashed.
const HASHED: usize = 200;
/// Who says what the verdict of a step is.
const JUDGE: &str = "meshflow";

/// Reads runs.
#[derive(Debug)]
pub(super) struct MeshflowRun {
    prefix: String,
    records: Records<()>,
}

impl MeshflowRun {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
            records: Records::new(options.records),
        }
    }
}

impl Reading for MeshflowRun {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let object = Object::parse(record.text, "record")?;
        let run_id = object.required("run_id")?;
        let steps = object.get("steps").ok_or(RejectReason::WrongType {
            field: "steps",
            expected: "an array",
        })?;
        let steps = array(steps.get(), "steps")?;
        let stream = format!(
            "{}{}/{}",
            self.prefix,
            Format::MeshflowRun,
            name_part(&run_id)
        );
        let beginning = drafting(&stream, "run", None);
        let started = RunStarted {
            name: run_id,
            ..RunStarted::default()
        };
        let started = beginning.started("started", None, None, &started)?;
        output.emit(record.line, &stream, vec![started])?;
        let mut lines = LineOf::new(record);
        let mut run = Run::default();
        for (at, value) in steps.into_iter().enumerate() {
            let line = lines.of(value.get());
            let read = self
                .step(&stream, &mut run, at, value)
                .and_then(|drafts| output.emit(line, &stream, drafts));
            if let Err(reason) = read {
                output.reject(line, reason);
            }
        }
        let drafts = ending(beginning, &object, &run)?;
        let check = run.chain.check();
        output.emit_checked(record.line, &stream, drafts, Some(check))
    }

    fn finish(&mut self, _: &mut Output) {}
}

/// What is known of a run after some of its steps.
#[derive(Debug, Default)]
struct Run {
    chain: Chain,
    prices: Prices,
    /// How often a node was begun.
    attempts: BTreeMap<[u8; 16], u64>,
}

impl MeshflowRun {
    fn step(
        &mut self,
        stream: &str,
        run: &mut Run,
        at: usize,
        value: &RawValue,
    ) -> Result<Vec<Draft>, RejectReason> {
        let step = match Step::parse(value).and_then(|step| run.chain.add(at, step)) {
            Ok(step) => step,
            Err(reason) => {
                run.chain.break_at(at, "", "the step cannot be read");
                return Err(reason);
            }
        };
        let attempt = run
            .attempts
            .entry(short_digest(step.node.as_bytes()))
            .or_default();
        *attempt += 1;
        let attempt = *attempt;
        let usd_micros = step.usd.and_then(|usd| run.prices.usd_micros(usd));
        let known = Some(format!("step:{}", step.id));
        let Some(identity) = self.records.identity(stream, known, value.get(), ())? else {
            return Ok(Vec::new());
        };
        let drafting = drafting(stream, &identity, step.object.get("timestamp"));
        drafts(&step, drafting, attempt, usd_micros)
    }
}

/// A step, as the export has it.
struct Step<'a> {
    value: &'a RawValue,
    object: Object<'a>,
    id: String,
    node: String,
    is_blocked: bool,
    tokens: u64,
    usd: Option<f64>,
}

impl<'a> Step<'a> {
    fn parse(value: &'a RawValue) -> Result<Self, RejectReason> {
        let object = Object::parse(value.get(), "step")?;
        Ok(Self {
            value,
            id: object.required("step_id")?,
            node: object.required("node_id")?,
            is_blocked: match object.get("blocked").map(RawValue::get) {
                None | Some("0" | "false") => false,
                Some("1" | "true") => true,
                Some(_) => {
                    return Err(RejectReason::WrongType {
                        field: "blocked",
                        expected: "0, 1, false or true",
                    });
                }
            },
            tokens: object.count("tokens_used")?.unwrap_or(0),
            usd: object.number("cost_usd"),
            object,
        })
    }

    /// What is hashed of it, in hexadecimal.
    fn digest(&self) -> Result<String, RejectReason> {
        let mut hash = Sha256::new();
        let mut sink = |piece: &str| hash.update(piece.as_bytes());
        sink("{\"blocked\": ");
        sink(if self.is_blocked { "true" } else { "false" });
        for (name, most) in [
            ("input_task", HASHED),
            ("node_id", usize::MAX),
            ("output_content", HASHED),
            ("prev_hash", usize::MAX),
            ("run_id", usize::MAX),
            ("step_id", usize::MAX),
            ("timestamp", usize::MAX),
            ("verdict", usize::MAX),
        ] {
            sink(", \"");
            sink(name);
            sink("\": ");
            let token = self.object.get(name).map_or("\"\"", RawValue::get);
            let points = CodePoints::of(token).ok_or(RejectReason::WrongType {
                field: name,
                expected: "a string",
            })?;
            python::string(points.take(most), &mut sink);
        }
        sink("}");
        Ok(hex(&hash.finalize()))
    }
}

/// The hash chain of a run.
#[derive(Debug, Default)]
struct Chain {
    steps: usize,
    last: String,
    /// The first step that does not fit.
    broken: Option<String>,
}

impl Chain {
    fn add<'a>(&mut self, at: usize, step: Step<'a>) -> Result<Step<'a>, RejectReason> {
        let text = |name| step.object.text(name).unwrap_or_default().into_owned();
        let (before, own) = (text("prev_hash"), text("entry_hash"));
        if before != self.last {
            self.break_at(at, &step.id, "prev_hash is not the hash of the step before");
        } else if step.digest()? != own {
            self.break_at(at, &step.id, "entry_hash does not fit the step");
        }
        self.last = own;
        self.steps += 1;
        Ok(step)
    }

    fn break_at(&mut self, at: usize, id: &str, why: &str) {
        let id: String = id.chars().take(80).map(plain).collect();
        let named = if id.is_empty() {
            String::new()
        } else {
            format!(" ({id})")
        };
        self.broken
            .get_or_insert_with(|| format!("the chain breaks at step {at}{named}: {why}"));
    }

    fn check(self) -> Check {
        match self.broken {
            Some(why) => Check::Failed { why },
            None => Check::Passed,
        }
    }
}

fn plain(one: char) -> char {
    if one.is_control() { '?' } else { one }
}

fn drafts(
    step: &Step<'_>,
    drafting: Drafting<'_>,
    attempt: u64,
    usd_micros: Option<u64>,
) -> Result<Vec<Draft>, RejectReason> {
    let text = |name| step.object.text(name).map(String::from);
    let kept = HarnessRecord {
        original: keep(step.value),
    };
    let primary = drafting.id(PRIMARY);
    let cause = Some(primary);
    let run = drafting.run_started();
    let mut drafts =
        vec![drafting.of_type("harness.meshflow_run.step", PRIMARY, Some(run), &kept)?];
    let of_step = |draft: Draft, control: Control| {
        let [tag, digest] = step_keys(&step.node);
        draft.control(control).keyed(tag).keyed(digest)
    };
    let begun = Control::new().u64(control::STEP_ATTEMPT, attempt);
    let started = StepStarted {
        node: step.node.clone(),
        kind: text("node_kind"),
        attempt,
    };
    let draft = drafting.draft(&format!("started/{attempt}"), cause, &started)?;
    drafts.push(of_step(draft, begun.clone()));
    let part = format!("ended/{attempt}");
    if step.is_blocked {
        let blocked = StepBlocked {
            node: step.node.clone(),
            by: text("block_reason").unwrap_or_default(),
        };
        drafts.push(of_step(drafting.draft(&part, cause, &blocked)?, begun));
    } else {
        let output = step.object.get("output_content").map(|content| StepOutput {
            content: Some(keep(content)),
            structured: None,
        });
        let completed = StepCompleted {
            node: step.node.clone(),
            attempt,
            output,
            // So it is called there, and high where the step is sure; 0 where nobody asked.
            confidence: step
                .object
                .number("uncertainty")
                .filter(|sure| *sure > 0.0 && *sure <= 1.0),
            // Tokens and price are those of the model call below.
            tokens: None,
            usd_micros: None,
            gco2_mg: step.object.number("carbon_gco2").and_then(thousandths),
        };
        let ended = completed.control();
        drafts.push(of_step(drafting.draft(&part, cause, &completed)?, ended));
    }
    if step.tokens > 0 || step.usd.is_some_and(|usd| usd > 0.0) {
        let mut call = LlmCallCompleted::new(step.id.clone()).input_tokens(step.tokens);
        call.usd_micros = usd_micros;
        let part = format!("usage/{}", usd_micros.unwrap_or(0));
        drafts.push(drafting.llm_call(&part, cause, &call)?);
    }
    if let Some(verdict) = text("verdict") {
        let given = VerdictGiven {
            subject: primary.to_string(),
            by: JUDGE.to_owned(),
            severity: if verdict == "commit" { "info" } else { "warn" }.to_owned(),
            verdict,
            detail: RawValue::NULL.to_owned(),
        };
        drafts.push(drafting.draft("verdict", cause, &given)?);
    }
    Ok(drafts)
}

/// The verdict on the chain, and what the export says besides its steps. Another state of the run
/// gives another verdict.
fn ending(
    drafting: Drafting<'_>,
    object: &Object<'_>,
    run: &Run,
) -> Result<Vec<Draft>, RejectReason> {
    let chain = &run.chain;
    let is_whole = chain.broken.is_none();
    let detail = serde_json::json!({ "steps": chain.steps, "broken": chain.broken });
    let given = VerdictGiven {
        subject: drafting.stream.to_owned(),
        by: Format::MeshflowRun.as_str().to_owned(),
        verdict: if is_whole { "pass" } else { "fail" }.to_owned(),
        severity: if is_whole { "info" } else { "error" }.to_owned(),
        detail: crate::json::raw(detail.to_string())?,
    };
    let seen = hex(&short_digest(format!("{}{detail}", chain.last).as_bytes()));
    let cause = Some(drafting.run_started());
    let mut drafts = vec![drafting.draft(&format!("chain/{seen}"), cause, &given)?];
    if let Some(original) = object.without(&["run_id", "steps"])? {
        let part = format!("rest/{}", hex(&short_digest(original.get().as_bytes())));
        let kept = HarnessRecord { original };
        drafts.push(drafting.of_type("harness.meshflow_run.run", &part, cause, &kept)?);
    }
    Ok(drafts)
}

fn drafting<'a>(stream: &'a str, record: &'a str, time: Option<&RawValue>) -> Drafting<'a> {
    Drafting {
        format: Format::MeshflowRun,
        stream,
        domain: stream,
        record,
        occurred_at_us: time.and_then(unix_us),
        source: None,
    }
}

impl Drafting<'_> {
    /// The id of the beginning of the run.
    fn run_started(&self) -> uuid::Uuid {
        drafting(self.stream, "run", None).id("started")
    }
}
