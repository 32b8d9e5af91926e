//! Where an event stands among the events of its run: what began what it ends, and what that lies in.
//!
//! It is looked up in the log for each event, so that a sink that was begun anew says the same of it
//! as one that saw the beginning.

use crate::view;
use runstone_codec::control::Control;
use runstone_projections::events::control;
use runstone_store::{Item, Log, Payload, Query, Read, ReadError, Record};
use std::collections::BTreeMap;

/// Most runs whose beginning is remembered.
const MAX_RUNS: usize = 1_024;

/// Where an event stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// Its stream is a run.
    pub(crate) is_run: bool,
    /// What began what it ends, as far as the sink may see it.
    pub(crate) began: Option<Record>,
    /// Position of what began what it lies in; `None`: the run itself.
    pub(crate) within: Option<u64>,
}

/// What an event ends, and so tells of as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Run,
    Step,
    Model,
    Effect,
    Tool,
}

impl Ended {
    pub(crate) fn by(event_type: &str) -> Option<Self> {
        Some(match event_type {
            "run.finished" => Self::Run,
            "step.completed" | "step.failed" => Self::Step,
            "llm.call.completed" => Self::Model,
            "effect.completed"
            | "effect.failed"
            | "effect.cancelled"
            | "effect.outcome_unknown" => Self::Effect,
            "tool.call.completed" | "tool.call.failed" => Self::Tool,
            _ => return None,
        })
    }
}

/// Whether an event begins what another one ends.
fn begins(event_type: &str) -> bool {
    matches!(
        event_type,
        "step.started" | "effect.claimed" | "tool.call.requested"
    )
}

/// Looks up where events stand.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// Streams that are runs, and where each begins: that never changes.
    runs: BTreeMap<String, u64>,
}

impl Origins {
    /// Where an event stands. What cannot be found any more, because it is damaged, is left out.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log cannot be read now.
    pub(crate) fn of(
        &mut self,
        log: &Log,
        record: &Record,
        fields: &[String],
    ) -> Result<Origin, ReadError> {
        let look = Look {
            log,
            record,
            has_content: !fields.is_empty(),
        };
        let is_run = self.is_run(&look)?;
        let began = match Ended::by(&record.header.event_type) {
            Some(Ended::Run) => look.run()?,
            Some(Ended::Step) => look.step(own_step(record).as_deref())?,
            Some(Ended::Effect) => look.claim()?,
            Some(Ended::Tool) => look.caused("tool.call.requested")?,
            Some(Ended::Model) | None => None,
        };
        let within = look.within(began.as_ref())?;
        let began = began
            .map(|mut began| {
                // What cannot be had now may be had later, and is to be told the same then.
                if let Payload::Unavailable(message) = began.payload {
                    return Err(ReadError::Keys {
                        position: began.position.get(),
                        code: "key_provider_unavailable",
                        message,
                    });
                }
                began.payload = view::scoped(began.payload, fields);
                Ok(began)
            })
            .transpose()?;
        Ok(Origin {
            is_run,
            began,
            within,
        })
    }

    /// Whether the stream of an event is a run that began before it, or with it.
    fn is_run(&mut self, look: &Look<'_>) -> Result<bool, ReadError> {
        let (stream, position) = (&look.record.header.stream, look.record.position.get());
        if let Some(begins) = self.runs.get(stream.as_str()) {
            return Ok(*begins <= position);
        }
        let Some(run) = look.run()? else {
            return Ok(false);
        };
        if self.runs.len() >= MAX_RUNS {
            self.runs.clear();
        }
        self.runs.insert(stream.to_string(), run.position.get());
        Ok(true)
    }
}

/// An event whose place is looked for.
struct Look<'a> {
    log: &'a Log,
    record: &'a Record,
    /// Whether anything of content leaves.
    has_content: bool,
}

impl Look<'_> {
    /// What is found, or nothing if it is damaged.
    fn one(&self, read: Read) -> Result<Option<Record>, ReadError> {
        let read = if self.has_content {
            read
        } else {
            read.without_payloads()
        };
        let found = self.log.read(read.limit(1));
        match found.and_then(|mut found| found.next().transpose()) {
            Err(ReadError::Corrupt(_) | ReadError::NotFound { .. }) => Ok(None),
            found => found,
        }
    }

    fn at(&self, position: u64) -> Result<Option<Record>, ReadError> {
        self.one(Read::new(Query::everything()).from(position).to(position))
    }

    /// The beginning of its run, if its stream is one.
    fn run(&self) -> Result<Option<Record>, ReadError> {
        let begun = Item::new().stream(self.record.header.stream.as_str());
        let begun = begun.of_type("run.started").of_type("run.forked");
        let query = Query::Items(vec![begun]);
        self.one(Read::new(query).to(self.record.position.get()))
    }

    /// The newest beginning before it of the step that has this tag.
    fn step(&self, tag: Option<&str>) -> Result<Option<Record>, ReadError> {
        let Some(tag) = tag else {
            return Ok(None);
        };
        let begun = Item::new().stream(self.record.header.stream.as_str());
        let begun = begun.of_type("step.started").tag(tag);
        let query = Query::Items(vec![begun]);
        self.one(Read::new(query).to(self.record.position.get()).reverse())
    }

    /// The claim that it tells of.
    fn claim(&self) -> Result<Option<Record>, ReadError> {
        let Some(fence) = self.record.control.get_u64(control::effect::FENCE) else {
            return Ok(None);
        };
        let found = self.at(fence)?;
        Ok(found.filter(|found| found.header.event_type == "effect.claimed"))
    }

    /// What caused it, if that is of this type.
    fn caused(&self, event_type: &str) -> Result<Option<Record>, ReadError> {
        let cause = self.cause(self.record)?;
        Ok(cause.filter(|cause| cause.header.event_type == event_type))
    }

    fn cause(&self, of: &Record) -> Result<Option<Record>, ReadError> {
        let Some(id) = of.header.causation else {
            return Ok(None);
        };
        match self.log.record_by_id(id) {
            Ok(cause) => Ok(Some(cause)),
            // What came from elsewhere may name what did not come with it.
            Err(ReadError::Corrupt(_) | ReadError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn within(&self, began: Option<&Record>) -> Result<Option<u64>, ReadError> {
        let (record, header) = (self.record, &self.record.header);
        let position = |found: Option<Record>| found.map(|found| found.position.get());
        if began.is_none() {
            if begins(&header.event_type) {
                return Ok(Some(record.position.get()));
            }
            if header.event_type == "llm.call.completed"
                && let Some(node) = step_tag(&record.control, control::CALL_NODE)
            {
                return Ok(position(self.step(Some(&node))?));
            }
            if header.event_type.starts_with("effect.") {
                return Ok(position(self.claim()?));
            }
        }
        let cause = self.cause(began.unwrap_or(record))?;
        let cause = cause.filter(|cause| {
            cause.header.stream == header.stream && begins(&cause.header.event_type)
        });
        Ok(position(cause))
    }
}

/// The tag of the step that an event of it tells of.
fn own_step(record: &Record) -> Option<String> {
    step_tag(&record.control, control::NODE)
}

fn step_tag(control: &Control, field: u16) -> Option<String> {
    let digest: [u8; 16] = control.get_bytes(field)?.try_into().ok()?;
    let digest = u128::from_be_bytes(digest);
    Some(format!("{}:{digest:032x}", control::STEP_LABEL))
}
