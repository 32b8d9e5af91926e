//! Logs of evaluations with Inspect: a JSON document, or the zip container `.eval` with the same
//! content in members.
//!
//! An evaluation is the stream `inspect/EVAL`: EVAL is its `eval_id`, or `run_id` and `task_id` in
//! versions that gave none. Each sample is a run of its own, spawned by the evaluation, in the
//! stream `inspect/EVAL/ID-EPOCH`. An agent within a sample, or a subtask, is a run spawned by that
//! one, in `inspect/EVAL/ID-EPOCH/agent-SPAN`.
//!
//! Events are known by their place in their sample, so that the ids of a log do not depend on how it
//! is laid out. Summaries, which a container repeats for quick reading, are passed over.

mod agents;
mod events;
mod places;
mod sample;
#[cfg(test)]
mod tests;

use serde_json::value::RawValue;
use uuid::Uuid;

use self::sample::Sample;
use super::{Reading, Record};
use crate::drafting::{Drafting, PRIMARY, segment};
use crate::events::{HarnessRecord, RunFinished, RunStarted};
use crate::format::Format;
use crate::framing::Place;
use crate::identity::{hex, name_part, short_digest};
use crate::json::{Object, keep, string};
use crate::numbers::unix_us;
use crate::options::Options;
use crate::output::Output;
use crate::records::Records;
use crate::reject::RejectReason;

/// The member that holds the samples, with its quotes.
pub(super) const SAMPLES: &str = "\"samples\"";

/// Most records that may come before the one that names the evaluation.
const MAX_HELD: usize = 4096;
/// Members of a container that repeat what others hold.
const SUMMARIES: [&str; 2] = ["summaries.json", "_journal/summaries/"];
/// The member of a container that is an array.
const REDUCTIONS: (&str, &str) = ("reductions.json", "reductions");

/// Reads logs.
#[derive(Debug)]
pub(super) struct Inspect {
    prefix: String,
    records: Records<()>,
    eval: Option<Eval>,
    /// Records from before the evaluation was named.
    held: Vec<Held>,
    held_bytes: usize,
    max_held_bytes: usize,
}

/// The evaluation that is read.
#[derive(Debug)]
struct Eval {
    stream: String,
    task: String,
    started: Uuid,
    /// How it ended, and the line that says so.
    status: Option<(String, u64)>,
}

#[derive(Debug)]
struct Held {
    text: String,
    member: Option<String>,
    line: u64,
    place: Place,
}

impl Inspect {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
            records: Records::new(options.records),
            eval: None,
            held: Vec::new(),
            held_bytes: 0,
            max_held_bytes: options.record_bytes,
        }
    }

    /// Begins with the evaluation that a record names, unless it is the one that is read.
    fn begin(
        &mut self,
        eval: &Object<'_>,
        line: u64,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let parts = ["run_id", "task_id"].map(|name| eval.text(name));
        let id = eval.text("eval_id").map(String::from);
        let id = id.or_else(|| {
            let parts: Vec<&str> = parts.iter().flatten().map(AsRef::as_ref).collect();
            (!parts.is_empty()).then(|| parts.join("."))
        });
        let id = id.ok_or(RejectReason::WrongType {
            field: "eval_id",
            expected: "a string",
        })?;
        let stream = format!("{}{}/{}", self.prefix, Format::Inspect, name_part(&id));
        if self.eval.as_ref().is_some_and(|eval| eval.stream == stream) {
            return Ok(());
        }
        self.end(output);
        let occurred_at_us = eval.get("created").and_then(unix_us);
        let task = eval.text("task").map(String::from);
        let task = task.unwrap_or_else(|| Format::Inspect.as_str().to_owned());
        let payload = RunStarted {
            name: task.clone(),
            ..RunStarted::default()
        };
        // Another evaluation may stand between two parts of one, and these may differ.
        let text = format!("{task}\n{occurred_at_us:?}");
        let record = self
            .records
            .identity(&stream, Some("eval".into()), &text, ())?;
        let drafts = record.map(|record| {
            let drafting = Drafting {
                occurred_at_us,
                ..drafting(&stream, &record)
            };
            drafting.started("started", None, None, &payload)
        });
        output.emit(line, &stream, drafts.into_iter().collect::<Result<_, _>>()?)?;
        self.eval = Some(Eval {
            // What follows from the name alone causes the rest, however the evaluation is told.
            started: drafting(&stream, "eval").id("started"),
            stream,
            task,
            status: None,
        });
        self.release(output)
    }

    /// Hands on the end of the evaluation, if the log says how it ended.
    fn end(&mut self, output: &mut Output) {
        let Some(eval) = self.eval.take() else { return };
        let Some((status, line)) = eval.status else {
            return;
        };
        if !matches!(status.as_str(), "success" | "error" | "cancelled") {
            return;
        }
        let payload = RunFinished {
            status: status.clone(),
            ..RunFinished::default()
        };
        let record = format!("finished:{status}");
        let finished = drafting(&eval.stream, &record)
            .finished(PRIMARY, Some(eval.started), &payload)
            .and_then(|draft| output.emit(line, &eval.stream, vec![draft]));
        if let Err(reason) = finished {
            output.reject(line, reason);
        }
    }

    fn hold(&mut self, record: &Record<'_>) -> Result<(), RejectReason> {
        let bytes = self.held_bytes.saturating_add(record.text.len());
        if self.held.len() >= MAX_HELD || bytes > self.max_held_bytes {
            return Err(RejectReason::NoSession);
        }
        self.held_bytes = bytes;
        self.held.push(Held {
            text: record.text.to_owned(),
            member: record.member.map(str::to_owned),
            line: record.line,
            place: record.place,
        });
        Ok(())
    }

    /// Reads what was held. What names the evaluation is read after it.
    fn release(&mut self, output: &mut Output) -> Result<(), RejectReason> {
        self.held_bytes = 0;
        for held in std::mem::take(&mut self.held) {
            let here = output.go_to(held.member.clone());
            let record = Record {
                text: &held.text,
                member: held.member.as_deref(),
                line: held.line,
                place: held.place,
            };
            match self.record(&record, output) {
                Err(reason) if reason.is_terminal() => return Err(reason),
                Err(reason) => output.reject(held.line, reason),
                Ok(()) => {}
            }
            output.go_to(here);
        }
        Ok(())
    }

    fn sample(
        &mut self,
        object: &Object<'_>,
        record: &Record<'_>,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let eval = self.eval.as_ref().ok_or(RejectReason::NoSession)?;
        let name = sample_name(object)?;
        let text = spaceless(record.text);
        let Some(name) = self.records.identity(&eval.stream, Some(name), &text, ())? else {
            return output.emit(record.line, &eval.stream, Vec::new());
        };
        Sample::begin(eval, &name, object, record, output)?.read(output);
        Ok(())
    }

    /// A member of the log besides its samples.
    fn header(
        &mut self,
        name: &str,
        value: &RawValue,
        line: u64,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let eval = self.eval.as_mut().ok_or(RejectReason::NoSession)?;
        if name == "status" {
            eval.status = string(value).map(|status| (status.into_owned(), line));
        }
        let id = format!("header:{name}:{}", spaceless_digest(value.get()));
        let Some(id) = self.records.identity(&eval.stream, Some(id), "", ())? else {
            return output.emit(line, &eval.stream, Vec::new());
        };
        let payload = HarnessRecord {
            original: keep(value),
        };
        let kind = harness_type(name);
        let cause = Some(eval.started);
        let draft = drafting(&eval.stream, &id).of_type(&kind, PRIMARY, cause, &payload)?;
        output.emit(line, &eval.stream, vec![draft])
    }
}

impl Reading for Inspect {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let is = |name: &&str| {
            record
                .member
                .is_some_and(|member| member.starts_with(*name))
        };
        if SUMMARIES.iter().any(is) {
            let stream = self.eval.as_ref().map_or("", |eval| &eval.stream);
            return output.emit(record.line, stream, Vec::new());
        }
        let is_reductions = is(&REDUCTIONS.0);
        let object = if is_reductions {
            Object::default()
        } else {
            Object::parse(record.text, "record")?
        };
        if let Some(eval) = object.object("eval")? {
            self.begin(&eval, record.line, output)?;
        }
        if self.eval.is_none() {
            return self.hold(record);
        }
        if is_reductions {
            let value = serde_json::from_str(record.text);
            let value = value.map_err(|_| RejectReason::WrongType {
                field: "record",
                expected: "an array",
            })?;
            return self.header(REDUCTIONS.1, value, record.line, output);
        }
        let is_member = record.place == Place::Top && object.members().next().is_some();
        if !is_member || object.get("epoch").is_some() || object.get("messages").is_some() {
            return self.sample(&object, record, output);
        }
        object
            .members()
            .try_for_each(|(name, value)| self.header(name, value, record.line, output))
    }

    fn finish(&mut self, output: &mut Output) {
        self.end(output);
        for held in std::mem::take(&mut self.held) {
            output.go_to(held.member);
            output.reject(held.line, RejectReason::NoSession);
        }
    }
}

fn drafting<'a>(stream: &'a str, record: &'a str) -> Drafting<'a> {
    Drafting {
        format: Format::Inspect,
        stream,
        domain: stream,
        record,
        occurred_at_us: None,
        source: None,
    }
}

fn harness_type(name: &str) -> String {
    format!("harness.{}.{}", Format::Inspect.segment(), segment(name))
}

/// A sample's id and epoch.
fn sample_name(sample: &Object<'_>) -> Result<String, RejectReason> {
    let wrong = RejectReason::WrongType {
        field: "id",
        expected: "a number or a string",
    };
    let id = sample.get("id").ok_or_else(|| wrong.clone())?;
    let id = match string(id) {
        Some(text) => name_part(&text),
        None if id.get().starts_with(['[', '{']) => return Err(wrong),
        None => name_part(id.get()),
    };
    Ok(format!("{id}-{}", sample.count("epoch")?.unwrap_or(1)))
}

/// A text of JSON without the white space around its values.
fn spaceless(text: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |one: &char| {
        if in_string {
            in_string = *one != '"' || escaped;
            escaped = *one == '\\' && !escaped;
            return true;
        }
        in_string = *one == '"';
        !one.is_ascii_whitespace()
    };
    text.chars().filter(keep).collect()
}

/// What tells values apart that differ in more than layout.
fn spaceless_digest(text: &str) -> String {
    hex(&short_digest(spaceless(text).as_bytes()))
}
