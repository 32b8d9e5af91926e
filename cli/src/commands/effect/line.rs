//! A call as it is shown.

use crate::output::{
    Align, Fields, Output, Table, Tone, count, now, on_one_line, paint, preview, printable,
    relative, rfc3339,
};
use runstone::codec::Position;
use runstone::effects::EffectError;
use runstone::events::{
    EffectCancelled, EffectClaimed, EffectFailed, EffectOutcomeUnknown, EffectReconciled,
    EffectReleased, ErrorSaid, control,
};
use runstone::{DecodeRecord as _, Effect, EffectState, Effects, Log, Record, TypedEvent};
use serde::Serialize;
use serde_json::value::RawValue;

/// Longest text shown in a cell or a sentence, in characters.
const SHOWN: usize = 60;

/// A call as other programs see it.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(super) state: &'static str,
    kind: &'static str,
    name: String,
    pub(super) key: Option<String>,
    attempt: u64,
    fence: Position,
    holder: String,
    lease_expires_at: Option<String>,
    result: Option<Box<RawValue>>,
    error: Option<ErrorSaid>,
    position: Position,
    /// What only people are shown.
    #[serde(skip)]
    more: More,
}

/// A call that nobody ever claimed, because its claim was refused: what a [`Line`] has, as far as
/// there is any.
#[derive(Debug, Serialize)]
pub(crate) struct Unclaimed {
    pub(super) state: &'static str,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) key: String,
    pub(super) attempt: u64,
    pub(super) fence: Option<Position>,
    pub(super) holder: Option<String>,
    pub(super) lease_expires_at: Option<String>,
    pub(super) result: Option<Box<RawValue>>,
    pub(super) error: Option<ErrorSaid>,
    /// Where people were asked.
    pub(super) position: Option<Position>,
}

#[derive(Debug)]
struct More {
    args: Option<Box<RawValue>>,
    class: &'static str,
    stream: String,
    scope: String,
    claimed_at_us: u64,
    lease_expires_at_us: Option<u64>,
    is_open: bool,
    executed: Option<&'static str>,
    why: Option<String>,
}

/// How a call stands, as a word: one whose lease is over is in flight until a command records it.
pub(super) fn word(effect: &Effect) -> &'static str {
    if effect.is_expired {
        "expired"
    } else {
        effect.state.as_str()
    }
}

impl Line {
    /// What cannot be read of it is left out, and said: it must not hide how the call stands.
    pub(crate) fn of(log: &Log, effect: &Effect, output: &Output) -> Self {
        let claimed = content::<EffectClaimed>(log, effect.fence, output);
        let (key, args) = claimed.map_or((None, None), |it| (Some(it.key), it.args));
        let ended = effect
            .outcome
            .and_then(|position| read(log, position, output));
        let (mut error, mut why) = (None, None);
        if let Some(record) = &ended {
            let code = record.control.get_text(control::effect::WHY);
            match record.header.event_type.as_str() {
                EffectFailed::TYPE => {
                    error = record.decode::<EffectFailed>().ok().map(|it| it.error);
                }
                EffectCancelled::TYPE => {
                    why = record.decode::<EffectCancelled>().ok().map(|it| it.reason);
                }
                EffectReleased::TYPE => {
                    why = record.decode::<EffectReleased>().ok().map(|it| it.reason);
                }
                EffectReconciled::TYPE => {
                    why = record
                        .decode::<EffectReconciled>()
                        .ok()
                        .and_then(|it| it.evidence);
                }
                EffectOutcomeUnknown::TYPE => {
                    why = record
                        .decode::<EffectOutcomeUnknown>()
                        .ok()
                        .and_then(|it| it.detail);
                    why = why.or_else(|| code.map(str::to_owned));
                }
                _ => {}
            }
        }
        let mut result = None;
        if effect.state == EffectState::Completed {
            match Effects::new(log).outcome(effect.clone()) {
                Ok(outcome) => {
                    result = outcome.result.as_deref().and_then(on_a_line);
                    why = outcome.rejected.or(why);
                }
                Err(EffectError::ResultErased { .. }) => {
                    why = Some("its result was erased".to_owned());
                }
                Err(error) => output.warn(error.code(), &error.to_string()),
            }
        }
        // Nobody holds what has ended.
        let is_open = effect.state == EffectState::InFlight;
        let lease_expires_at_us = effect.lease_expires_at_us.filter(|_| is_open);
        Self {
            state: word(effect),
            kind: effect.kind.as_str(),
            name: effect.name.clone(),
            key,
            attempt: effect.attempt,
            fence: effect.fence,
            holder: effect.holder.clone(),
            lease_expires_at: lease_expires_at_us.and_then(rfc3339),
            result,
            error,
            position: effect.outcome.unwrap_or(effect.fence),
            more: More {
                args,
                class: effect.class.as_str(),
                stream: effect.stream.clone(),
                scope: effect.id.scope.clone(),
                claimed_at_us: effect.claimed_at_us,
                lease_expires_at_us,
                is_open,
                executed: effect.executed.map(runstone::Executed::as_str),
                why: why.filter(|why| !why.is_empty()),
            },
        }
    }

    /// `pay inv-42`.
    pub(super) fn call(&self) -> String {
        match &self.key {
            Some(key) => format!("`{}` {key}", self.name),
            None => format!("`{}`", self.name),
        }
    }

    /// `pay {"usd":12}`, as it was claimed.
    pub(super) fn claimed(&self) -> String {
        said(&self.name, self.more.args.as_deref().map(RawValue::get))
    }

    /// The call with everything that is known of it.
    pub(super) fn whole(&self, output: &Output) -> String {
        let mut text = Fields::new(output);
        let more = &self.more;
        text.line(
            "call",
            &printable(&format!("{} ({})", self.name, self.kind)),
        );
        text.line("key", &printable(self.key.as_deref().unwrap_or("(erased)")));
        text.toned("state", tone(self.state), self.state);
        if let Some(executed) = more.executed {
            text.line("executed", executed);
        }
        if let Some(args) = &more.args {
            text.line("arguments", &printable(args.get()));
        }
        if let Some(result) = &self.result {
            text.line("result", &printable(result.get()));
        }
        if let Some(error) = &self.error {
            text.line(
                "error",
                &printable(&format!("{}: {}", error.error_type, error.message)),
            );
        }
        if let Some(why) = &more.why {
            text.line("why", &printable(why));
        }
        text.line("class", more.class);
        text.line("attempt", &count(self.attempt));
        text.line("fence", &self.fence.to_string());
        text.line("holder", &printable(&self.holder));
        text.time("claimed", more.claimed_at_us, "");
        if more.is_open {
            match more.lease_expires_at_us {
                Some(at_us) => text.time("lease ends", at_us, ""),
                None => text.line("lease ends", "with the process that holds it"),
            }
        }
        text.line("stream", &printable(&more.stream));
        text.line("scope", &printable(&more.scope));
        text.line("position", &self.position.to_string());
        text.into_text()
    }

    /// In a few words.
    pub(super) fn sentence(&self, output: &Output) -> String {
        let state = paint(output.color, tone(self.state), self.state);
        let rest = match (&self.result, &self.error) {
            (Some(result), _) => format!(": {}", preview(result.get(), 4 * SHOWN)),
            (_, Some(error)) => format!(": {}: {}", error.error_type, error.message),
            _ => match (&self.lease_expires_at, &self.more.why) {
                (Some(at), _) => format!(", lease until {at}"),
                (None, Some(why)) => format!(": {why}"),
                (None, None) => String::new(),
            },
        };
        format!("{} is {state}{}", printable(&self.call()), printable(&rest))
    }

    pub(super) fn granted(&self, output: &Output) -> String {
        let lease = match &self.lease_expires_at {
            Some(at) => format!(", lease until {at}"),
            None => String::new(),
        };
        let claimed = paint(output.color, Tone::Good, "claimed");
        let call = self.call();
        format!(
            "{claimed} {}: fence {}, attempt {}{lease}",
            printable(&call),
            self.fence,
            self.attempt
        )
    }
}

/// A call as a person says it.
pub(super) fn said(name: &str, args: Option<&str>) -> String {
    match args {
        Some(args) => format!("`{name}` {}", preview(args, 4 * SHOWN)),
        None => format!("`{name}` without arguments"),
    }
}

fn on_a_line(json: &[u8]) -> Option<Box<RawValue>> {
    let line: Vec<u8> = on_one_line(json).collect();
    serde_json::from_slice(&line).ok()
}

fn read(log: &Log, position: Position, output: &Output) -> Option<Record> {
    let record = log.record(position);
    record
        .map_err(|error| output.warn(error.code(), &format!("the event at {position}: {error}")))
        .ok()
}

fn content<T: TypedEvent>(log: &Log, position: Position, output: &Output) -> Option<T> {
    read(log, position, output)?.decode().ok()
}

/// What needs somebody stands out.
pub(crate) fn tone(state: &str) -> Tone {
    match state {
        "completed" => Tone::Good,
        "unknown" | "failed" => Tone::Bad,
        "expired" => Tone::Warn,
        "cancelled" => Tone::Dim,
        _ => Tone::Plain,
    }
}

/// Calls under each other.
pub(crate) fn table(lines: &[Line], output: &Output) -> String {
    let mut table = Table::new(
        output,
        &[
            ("fence", Align::Right),
            ("state", Align::Left),
            ("call", Align::Left),
            ("key", Align::Left),
            ("attempt", Align::Right),
            ("holder", Align::Cut),
            ("lease ends", Align::Left),
            ("outcome", Align::Cut),
        ],
    );
    let now = now();
    for line in lines {
        let lease = match line.more.lease_expires_at_us {
            Some(at_us) if output.terminal => relative(at_us, now),
            Some(_) => line.lease_expires_at.clone().unwrap_or_default(),
            None => "-".to_owned(),
        };
        let outcome = match (&line.result, &line.error, &line.more.why) {
            (Some(result), ..) => preview(result.get(), SHOWN),
            (_, Some(error), _) => {
                preview(&format!("{}: {}", error.error_type, error.message), SHOWN)
            }
            (.., Some(why)) => preview(why, SHOWN),
            _ => "-".to_owned(),
        };
        table.row(vec![
            (line.fence.to_string(), Tone::Plain),
            (line.state.to_owned(), tone(line.state)),
            (line.name.clone(), Tone::Plain),
            (
                line.key.clone().unwrap_or_else(|| "(erased)".to_owned()),
                Tone::Plain,
            ),
            (count(line.attempt), Tone::Plain),
            (line.holder.clone(), Tone::Dim),
            (lease, Tone::Plain),
            (outcome, Tone::Plain),
        ]);
    }
    table.text()
}
