//! The runs of a sample, and which of its events belong to which.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::identity::name_part;
use crate::json::Object;

/// Number of a run within a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunId(usize);

/// The sample itself.
pub(super) const SAMPLE: RunId = RunId(0);

/// What an event stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Within {
    pub(super) run: RunId,
    /// The event that begins it.
    pub(super) begin: Uuid,
}

/// A span that began.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// What it stands in.
    around: RunId,
    /// What it is for the events in it.
    within: Within,
}

/// The runs of a sample, its spans, and the steps that versions without spans had.
#[derive(Debug)]
pub(super) struct Agents {
    runs: Vec<String>,
    spans: BTreeMap<String, Span>,
    steps: Vec<Uuid>,
}

impl Agents {
    pub(super) fn new(sample: String) -> Self {
        Self {
            runs: vec![sample],
            spans: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    /// The stream of a run.
    pub(super) fn stream(&self, run: RunId) -> &str {
        self.runs.get(run.0).map_or("", String::as_str)
    }

    /// A run that begins within another one.
    pub(super) fn spawn(&mut self, name: &str) -> RunId {
        let stream = format!("{}/agent-{}", self.stream(SAMPLE), name_part(name));
        self.runs.push(stream);
        RunId(self.runs.len() - 1)
    }

    /// What an event stands in: its span, else a step that is not at its end, else `outer`.
    pub(super) fn of(&mut self, event: &Object<'_>, kind: &str, outer: Within) -> Within {
        let span = |name: &str| event.text(name).and_then(|id| self.spans.get(id.as_ref()));
        let in_step = |begin: Option<&Uuid>| {
            begin.map_or(outer, |begin| Within {
                begin: *begin,
                ..outer
            })
        };
        match (kind, event.text("action").as_deref()) {
            ("span_begin", _) => span("parent_id").map_or(outer, |span| span.within),
            ("span_end", _) => span("id").map_or(outer, |span| Within {
                run: span.around,
                ..span.within
            }),
            ("step", Some("end")) => in_step(self.steps.pop().as_ref()),
            _ => match span("span_id") {
                Some(span) => span.within,
                None => in_step(self.steps.last()),
            },
        }
    }

    /// Notes that a span begins with the event `begin`, which stands in `around`. Its events belong
    /// to `run`.
    pub(super) fn span_begins(&mut self, id: &str, around: RunId, run: RunId, begin: Uuid) {
        let within = Within { run, begin };
        self.spans.insert(id.to_owned(), Span { around, within });
    }

    /// The run that ends with a span, if the span is a run.
    pub(super) fn span_ends(&mut self, id: &str) -> Option<RunId> {
        let span = self.spans.get(id)?;
        (span.within.run != span.around).then_some(span.within.run)
    }

    /// Notes that a step begins.
    pub(super) fn step_begins(&mut self, begin: Uuid) {
        self.steps.push(begin);
    }
}
