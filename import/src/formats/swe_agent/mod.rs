//! Trajectories of SWE-agent.
//!
//! A run is an object: `history` holds what was said, `trajectory` the steps, `info` how it ended.
//! Its stream is `swe-agent/RUN`, by a digest of how it begins, so that a trajectory that was
//! written again after more steps goes on in its stream: its environment, its configuration, what
//! was said up to the first answer, and the first step.
//!
//! A step is an action and what was observed: the call of a tool, and its result. Name, arguments
//! and id of the call are in the answer that the step belongs to, if the model called tools; else
//! the action's first word is its name. Without steps, calls and results are read from the history.
//! Models' usage is recorded for a whole run only, as the last report of one call.

mod steps;
#[cfg(test)]
mod tests;

use serde_json::value::RawValue;
use uuid::Uuid;

use self::steps::{Answer, Step, Steps, Waiting, calls, complete, request, spelled};
use super::{LineOf, Reading, Record};
use crate::content;
use crate::drafting::{Drafting, PRIMARY};
use crate::events::{ChatMessage, HarnessRecord, LlmCallCompleted, Part, RunFinished, RunStarted};
use crate::format::Format;
use crate::identity::{hex, hex_digest, short_digest};
use crate::json::{Object, keep, string, unquoted};
use crate::numbers::usd_micros;
use crate::options::Options;
use crate::output::Output;
use crate::reject::RejectReason;

type Draft = runstone_codec::event::Draft;

/// Members that become events of their own.
const PARTS: [&str; 2] = ["history", "trajectory"];
/// The one id of a run's model calls, of which only the sum is recorded.
const MODEL_CALLS: &str = "info.model_stats";
/// Hexadecimal digits of a run's digest.
const RUN_DIGITS: usize = 16;

/// Reads trajectories.
#[derive(Debug)]
pub(super) struct SweAgent {
    prefix: String,
}

impl SweAgent {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
        }
    }

    fn stream(&self, run: &Object<'_>, history: &[&RawValue], steps: &[&RawValue]) -> String {
        let answers = |message: &&RawValue| {
            Object::parse(message.get(), "message").is_ok_and(|message| is_answer(&message))
        };
        let first = history.iter().position(answers);
        let said = history.iter().copied().take(first.map_or(0, |at| at + 1));
        let given = ["environment", "replay_config"];
        let given = given.into_iter().filter_map(|name| run.get(name));
        let beginning = given.chain(said).chain(steps.first().copied());
        let digests: Vec<u8> = beginning
            .flat_map(|value| short_digest(value.get().as_bytes()))
            .collect();
        let digest = hex_digest(&digests, RUN_DIGITS);
        format!("{}{}/{digest}", self.prefix, Format::SweAgent)
    }
}

impl Reading for SweAgent {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let object = Object::parse(record.text, "record")?;
        if PARTS.iter().all(|name| object.get(name).is_none()) {
            return Err(RejectReason::WrongType {
                field: "trajectory",
                expected: "an array",
            });
        }
        let history = object.array("history")?.unwrap_or_default();
        let steps = object.array("trajectory")?.unwrap_or_default();
        let stream = self.stream(&object, &history, &steps);
        let (mut run, started) = Run::begin(&object, stream, &history, !steps.is_empty())?;
        output.emit(record.line, &run.stream, vec![started])?;
        run.read(record, &history, &steps, output);
        run.end(&object, record.line, output)
    }

    fn finish(&mut self, _: &mut Output) {}
}

/// A run whose parts become events one after the other.
#[derive(Debug)]
struct Run {
    stream: String,
    model: Option<String>,
    started: Uuid,
    /// The event of the last message.
    previous: Uuid,
    /// Steps tell the calls, not the history.
    has_steps: bool,
    /// Calls of the last answer that wait for their results, if there are no steps.
    waiting: Vec<Waiting>,
}

impl Run {
    fn begin(
        object: &Object<'_>,
        stream: String,
        history: &[&RawValue],
        has_steps: bool,
    ) -> Result<(Self, Draft), RejectReason> {
        let drafting = drafting(&stream, "run", None);
        let name = object.text("environment").map(String::from);
        let payload = RunStarted {
            name: name.unwrap_or_else(|| Format::SweAgent.as_str().to_owned()),
            input: history.iter().find_map(|message| task(message)),
            ..RunStarted::default()
        };
        let draft = drafting.started("started", None, None, &payload)?;
        let started = drafting.id("started");
        let run = Self {
            model: model(object),
            started,
            previous: started,
            has_steps,
            waiting: Vec::new(),
            stream,
        };
        Ok((run, draft))
    }

    /// Hands on what was said and done, in the order in which it happened.
    fn read(
        &mut self,
        record: &Record<'_>,
        history: &[&RawValue],
        steps: &[&RawValue],
        output: &mut Output,
    ) {
        let mut lines = LineOf::new(record);
        let mut steps = Steps::new(record, steps);
        for (at, message) in (0_u64..).zip(history) {
            let line = lines.of(message.get());
            match self.message(message, at, line, output) {
                Ok(Some(answer)) => {
                    for step in steps.up_to(answer.action.as_deref()) {
                        let belongs = step.is_last.then_some(&answer);
                        self.step(&step, belongs, output);
                    }
                }
                Ok(None) => {}
                Err(reason) => output.reject(line, reason),
            }
        }
        for step in steps.rest() {
            self.step(&step, None, output);
        }
    }

    /// Hands on a message. Answers what the model does with it, if it is an answer of the model.
    fn message(
        &mut self,
        message: &RawValue,
        at: u64,
        line: u64,
        output: &mut Output,
    ) -> Result<Option<Answer>, RejectReason> {
        let object = Object::parse(message.get(), "message")?;
        let role = object.required("role")?;
        let is_answer = is_answer(&object);
        let record = format!("{at}:{}", hex(&short_digest(message.get().as_bytes())));
        let (stream, model) = (self.stream.clone(), self.model.clone());
        let source = model.as_deref().filter(|_| is_answer);
        let drafting = drafting(&stream, &record, source);
        let said = drafting.id(PRIMARY);
        let content = object.get("content");
        let mut parts = content.map_or(Ok(Vec::new()), content::parts)?;
        let calls = calls(&object, at)?;
        parts.extend(calls.iter().map(|call| Part::ToolCall {
            call_id: call.call_id.clone(),
            name: call.name.clone(),
        }));
        let answered = object.array("tool_call_ids")?.unwrap_or_default();
        let answered: Vec<String> = answered
            .into_iter()
            .filter_map(string)
            .map(String::from)
            .collect();
        parts.extend(answered.iter().map(|call_id| Part::ToolResult {
            call_id: call_id.clone(),
        }));
        let payload = ChatMessage::new(role).parts(parts).original(keep(message));
        let mut drafts = vec![drafting.draft(PRIMARY, Some(self.previous), &payload)?];
        if !self.has_steps && is_answer {
            let calls = if calls.is_empty() {
                spelled(&object, at)?.into_iter().collect()
            } else {
                calls.clone()
            };
            self.waiting = request(drafting, &calls, &mut drafts)?;
        } else if !self.has_steps {
            let is_due = |one: &mut Waiting| answered.is_empty() || answered.contains(&one.call_id);
            let due: Vec<Waiting> = self.waiting.extract_if(.., is_due).collect();
            complete(drafting, &due, content, &mut drafts)?;
        }
        output.emit(line, &stream, drafts)?;
        self.previous = said;
        let action = object.text("action").map(String::from);
        Ok(is_answer.then_some(Answer {
            said,
            action,
            calls,
        }))
    }

    /// Hands on a step, or why it cannot be read.
    fn step(&self, step: &Step<'_>, answer: Option<&Answer>, output: &mut Output) {
        let drafts = self.step_events(step, answer);
        let handed = drafts.and_then(|drafts| output.emit(step.line, &self.stream, drafts));
        if let Err(reason) = handed {
            output.reject(step.line, reason);
        }
    }

    fn step_events(
        &self,
        step: &Step<'_>,
        answer: Option<&Answer>,
    ) -> Result<Vec<Draft>, RejectReason> {
        let object = Object::parse(step.value.get(), "step")?;
        let digest = hex(&short_digest(step.value.get().as_bytes()));
        let record = format!("step:{}:{digest}", step.at);
        let drafting = drafting(&self.stream, &record, self.model.as_deref());
        let causation = answer.map_or(self.started, |answer| answer.said);
        let original = keep(step.value);
        let mut drafts = vec![drafting.of_type(
            "harness.swe_agent.step",
            PRIMARY,
            Some(causation),
            &HarnessRecord { original },
        )?];
        let said = object.get("response").or_else(|| object.get("thought"));
        if let (None, Some(said)) = (answer, said) {
            let payload = ChatMessage::new("assistant").parts(content::parts(said)?);
            drafts.push(drafting.draft("turn", Some(drafting.id(PRIMARY)), &payload)?);
        }
        let told = answer.map(|answer| &answer.calls);
        let calls = match told.filter(|calls| !calls.is_empty()) {
            Some(calls) => calls.clone(),
            None => spelled(&object, step.at)?.into_iter().collect(),
        };
        let waiting = request(drafting, &calls, &mut drafts)?;
        if let Some(observation) = object.get("observation") {
            complete(drafting, &waiting, Some(observation), &mut drafts)?;
        }
        Ok(drafts)
    }

    /// Hands on what is recorded of the run besides its messages and steps. It follows from the
    /// run's beginning, since a run that goes on may say the same of itself again.
    fn end(&self, object: &Object<'_>, line: u64, output: &mut Output) -> Result<(), RejectReason> {
        let Some(original) = object.without(&PARTS)? else {
            return Ok(());
        };
        let record = format!("rest:{}", hex(&short_digest(original.get().as_bytes())));
        let drafting = drafting(&self.stream, &record, None);
        let primary = Some(drafting.id(PRIMARY));
        let kept = HarnessRecord { original };
        let mut drafts =
            vec![drafting.of_type("harness.swe_agent.run", PRIMARY, Some(self.started), &kept)?];
        let info = object.object("info")?.unwrap_or_default();
        if let Some(stats) = info.object("model_stats")? {
            let count = |name| stats.count(name).map(|count| count.unwrap_or(0));
            let mut call = LlmCallCompleted::new(MODEL_CALLS.to_owned())
                .input_tokens(count("tokens_sent")?)
                .output_tokens(count("tokens_received")?);
            call.model.clone_from(&self.model);
            call.usd_micros = stats.number("instance_cost").and_then(usd_micros);
            drafts.push(drafting.llm_call("usage", primary, &call)?);
        }
        if let Some(status) = info.text("exit_status") {
            let submitted = status.starts_with("submitted");
            let finished = RunFinished {
                status: if submitted { "success" } else { "error" }.to_owned(),
                value: info.get("submission").map(keep),
                reason: Some(status.into_owned()),
            };
            drafts.push(drafting.finished("finished", primary, &finished)?);
        }
        output.emit(line, &self.stream, drafts)
    }
}

/// Whether a message is an answer of the model, in this run.
fn is_answer(message: &Object<'_>) -> bool {
    message.text("role").is_some_and(|role| role == "assistant") && !message.is_true("is_demo")
}

/// What the run is to do: what is said first that is no demonstration.
fn task(message: &RawValue) -> Option<Box<RawValue>> {
    let message = Object::parse(message.get(), "message").ok()?;
    let is_task = message.text("role")? == "user" && !message.is_true("is_demo");
    message.get("content").filter(|_| is_task).map(keep)
}

/// The model, by the configuration of the run, which may be JSON within a string.
fn model(run: &Object<'_>) -> Option<String> {
    let config = unquoted(run.get("replay_config")?);
    let config = Object::parse(config.get(), "replay_config").ok()?;
    let agent = config.object("agent").ok()??;
    let model = agent.object("model").ok()??;
    model.text("name").map(String::from)
}

fn drafting<'a>(stream: &'a str, record: &'a str, source: Option<&'a str>) -> Drafting<'a> {
    Drafting {
        format: Format::SweAgent,
        stream,
        domain: stream,
        record,
        occurred_at_us: None,
        source,
    }
}
