//! Chat transcripts in the manner of OpenAI, with tool calls.
//!
//! A run is an object with its messages in `messages` or, as tau-bench has it, in `traj`; or an
//! array of messages; or the messages of a whole recording. Its stream is
//! `messages/OPENING/RUN`: 8 hexadecimal digits of SHA-256 over the first message's content, and
//! the run's id, or a digest of how it begins.

mod naming;
mod transcript;

use serde_json::value::RawValue;

use self::naming::{Names, base_name};
use self::transcript::{Run, Transcript};
use super::{LineOf, Reading, Record};
use crate::framing::Place;
use crate::json::{Object, array, is_array, raw};
use crate::options::Options;
use crate::output::Output;
use crate::reject::RejectReason;

/// Members that hold a run's messages.
const MESSAGES: [&str; 2] = ["messages", "traj"];

/// Most messages that say how a transcript begins.
const OPENING: usize = 8;

/// Most bytes of messages that are held to name a stream by.
const OPENING_BYTES: usize = 1 << 20;

/// Reads transcripts.
#[derive(Debug)]
pub(super) struct Messages {
    prefix: String,
    names: Names,
    loose: Option<Loose>,
}

/// A run whose messages are records of their own.
#[derive(Debug)]
struct Loose {
    place: Place,
    /// The first messages, until they are enough to name the stream by.
    held: Vec<(u64, Box<RawValue>)>,
    transcript: Option<Transcript>,
}

impl Messages {
    pub(super) fn new(options: Options) -> Self {
        let names = Names::new(options.records);
        Self {
            prefix: options.stream_prefix,
            names,
            loose: None,
        }
    }

    fn run(
        &mut self,
        record: &Record<'_>,
        run: &Run<'_>,
        messages: &[&RawValue],
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let opening = messages.get(..opening_length(messages)).unwrap_or_default();
        let base = base_name(&self.prefix, run.id().as_deref(), opening);
        let stream = self.names.of_run(base, messages)?;
        let mut transcript = Transcript::begin(stream, run, record.line, output)?;
        let mut lines = LineOf::new(record);
        for message in messages {
            let line = lines.of(message.get());
            transcript.push(message, line, output);
        }
        transcript.end(run, record.line, output)
    }

    fn message(
        &mut self,
        record: &Record<'_>,
        role: &str,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        if self
            .loose
            .as_ref()
            .is_some_and(|loose| loose.place != record.place)
        {
            self.finish(output);
        }
        let message = raw(record.text.to_owned())?;
        let loose = self.loose.get_or_insert_with(|| Loose::new(record.place));
        if let Some(transcript) = &mut loose.transcript {
            transcript.push(&message, record.line, output);
            return Ok(());
        }
        loose.held.push((record.line, message));
        let bytes: usize = loose
            .held
            .iter()
            .map(|(_, message)| message.get().len())
            .sum();
        if role == "user" || loose.held.len() >= OPENING || bytes >= OPENING_BYTES {
            loose.name(&self.prefix, &mut self.names, output)?;
        }
        Ok(())
    }
}

impl Reading for Messages {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        if record.text.starts_with('[') {
            let messages = array(record.text, "record")?;
            return self.run(record, &Run::default(), &messages, output);
        }
        let object = Object::parse(record.text, "record")?;
        if let Some(member) = MESSAGES.into_iter().find(|name| object.get(name).is_some()) {
            let messages = object.array(member)?.unwrap_or_default();
            return self.run(record, &Run::new(&object, member), &messages, output);
        }
        match object.string("role")? {
            Some(role) => self.message(record, &role, output),
            None => Err(RejectReason::WrongType {
                field: "messages",
                expected: "an array",
            }),
        }
    }

    fn finish(&mut self, output: &mut Output) {
        let Some(mut loose) = self.loose.take() else {
            return;
        };
        let line = loose.held.first().map_or(0, |(line, _)| *line);
        if let Err(reason) = loose.name(&self.prefix, &mut self.names, output) {
            output.reject(line, reason);
        }
    }
}

impl Loose {
    fn new(place: Place) -> Self {
        Self {
            place,
            held: Vec::new(),
            transcript: None,
        }
    }

    /// Names the stream, if that is still to be done, and hands on what was held.
    fn name(
        &mut self,
        prefix: &str,
        names: &mut Names,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let held = std::mem::take(&mut self.held);
        let Some((line, _)) = held.first() else {
            return Ok(());
        };
        let opening: Vec<&RawValue> = held.iter().map(|(_, message)| &**message).collect();
        let stream = names.of_loose(base_name(prefix, None, &opening))?;
        let mut transcript = Transcript::begin(stream, &Run::default(), *line, output)?;
        for (line, message) in &held {
            transcript.push(message, *line, output);
        }
        self.transcript = Some(transcript);
        Ok(())
    }
}

/// How many messages say how a transcript begins: up to what the user says first.
fn opening_length(messages: &[&RawValue]) -> usize {
    let is_user = |message: &&RawValue| {
        !is_array(message)
            && Object::parse(message.get(), "message")
                .is_ok_and(|message| message.text("role").is_some_and(|role| role == "user"))
    };
    let first = messages.iter().take(OPENING).position(is_user);
    first.map_or_else(|| OPENING.min(messages.len()), |at| at + 1)
}
