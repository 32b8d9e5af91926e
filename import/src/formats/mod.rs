//! The formats, one a file.

mod claude_code;
mod cloudevents;
mod inspect;
mod meshflow_run;
mod messages;
mod mycelium_ledger;
mod mycelium_receipts;
mod openclaw;
mod otel_genai;
mod pi;
mod swe_agent;
#[cfg(test)]
mod tests;
mod zu_jsonl;

use std::fmt::Debug;

use crate::format::Format;
use crate::framing::{Bounds, Container, Framing, Lines, Members, Place, Values};
use crate::options::Options;
use crate::output::Output;
use crate::reject::RejectReason;

/// One record of a recording.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) text: &'a str,
    /// The member of the container in which it stands.
    pub(crate) member: Option<&'a str>,
    pub(crate) line: u64,
    pub(crate) place: Place,
}

/// Lines on which the parts of a record begin, asked for in their order.
#[derive(Debug)]
pub(crate) struct LineOf<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

impl<'a> LineOf<'a> {
    pub(crate) fn new(record: &Record<'a>) -> Self {
        Self {
            text: record.text,
            at: 0,
            line: record.line,
        }
    }

    pub(crate) fn of(&mut self, part: &str) -> u64 {
        let at = part
            .as_ptr()
            .addr()
            .saturating_sub(self.text.as_ptr().addr());
        let lines = self
            .text
            .get(self.at..at)
            .unwrap_or_default()
            .matches('\n')
            .count();
        self.line = self
            .line
            .saturating_add(u64::try_from(lines).unwrap_or(u64::MAX));
        self.at = at;
        self.line
    }
}

/// Turns the records of one recording into events.
///
/// Events may depend on the records before theirs, never on later ones: else a recording that grew
/// would give other events than before.
pub(crate) trait Reading: Debug + Send {
    /// Reads a record. On an error nothing of it may have been handed on but the beginnings of
    /// streams.
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason>;

    /// The recording is at its end.
    fn finish(&mut self, output: &mut Output);
}

/// What reads `format`.
pub(crate) fn open(format: Format, options: Options) -> (Framing, Box<dyn Reading>) {
    let max = options.record_bytes;
    match format {
        Format::Messages => {
            let framing = Framing::Values(Values::new(max));
            (framing, Box::new(messages::Messages::new(options)))
        }
        Format::ClaudeCode => {
            let framing = Framing::Lines(Lines::new(max));
            (framing, Box::new(claude_code::ClaudeCode::new(options)))
        }
        Format::Pi => {
            let framing = Framing::Lines(Lines::new(max));
            (framing, Box::new(pi::Pi::new(options)))
        }
        Format::CloudEvents => {
            let framing = Framing::Values(Values::new(max));
            (framing, Box::new(cloudevents::CloudEvents::new(options)))
        }
        Format::OpenClaw => {
            let framing = Framing::Lines(Lines::new(max));
            (framing, Box::new(openclaw::OpenClaw::new(options)))
        }
        Format::SweAgent => {
            let framing = Framing::Values(Values::new(max));
            (framing, Box::new(swe_agent::SweAgent::new(options)))
        }
        Format::OtelGenai => {
            let framing = Framing::Members(Members::new(max, otel_genai::SPANS));
            (framing, Box::new(otel_genai::OtelGenai::new(options)))
        }
        Format::Inspect => {
            let bounds = Bounds::from(&options);
            let framing = Framing::Container(Container::new(bounds, inspect::SAMPLES));
            (framing, Box::new(inspect::Inspect::new(options)))
        }
        Format::MyceliumLedger => {
            let framing = Framing::Values(Values::new(max));
            let ledger = mycelium_ledger::MyceliumLedger::new(options);
            (framing, Box::new(ledger))
        }
        Format::MyceliumReceipts => {
            let framing = Framing::Lines(Lines::new(max));
            let receipts = mycelium_receipts::MyceliumReceipts::new(options);
            (framing, Box::new(receipts))
        }
        Format::MeshflowRun => {
            let framing = Framing::Values(Values::new(max));
            (framing, Box::new(meshflow_run::MeshflowRun::new(options)))
        }
        Format::ZuJsonl => {
            let framing = Framing::Lines(Lines::new(max));
            (framing, Box::new(zu_jsonl::ZuJsonl::new(options)))
        }
    }
}
