//! Ledgers of mycelium, taken over: one JSON object `{request_id: entry}`, of tools or of tasks.
//!
//! An entry becomes a claim and its outcome, both marked as taken over, in the stream
//! `mycelium-ledger/tool` or `mycelium-ledger/task`. So what was completed answers its stored result,
//! what failed may be claimed again, and what was in flight is unknown until somebody finds out.
//! Keys stand as they are. An entry is bound to its arguments if all of them are by name; else to
//! its key alone (see [`MigratedEffect`]).
//!
//! A ledger of which a part is missing would let calls be made twice. So it is read whole or not at
//! all: one that is cut off, or is not JSON, is rejected, never taken for a shorter one.

#[cfg(test)]
mod tests;

use runstone_codec::event::Draft;
use serde_json::value::RawValue;

use super::{LineOf, Reading, Record};
use crate::drafting::{Drafting, PRIMARY};
use crate::events::{
    EffectClaimed, EffectCompleted, EffectFailed, EffectOutcomeUnknown, ErrorSaid, Executed, Kind,
    MigratedEffect,
};
use crate::format::Format;
use crate::identity::{hex, short_digest};
use crate::json::{Object, array, keep, keep_or_null};
use crate::numbers::unix_us;
use crate::options::Options;
use crate::output::{MAX_EVENTS, Output};
use crate::reject::RejectReason;

/// Who made the calls of a ledger.
const HOLDER: &str = "mycelium";
/// Why the outcome of a call is unknown that was in flight.
const WHY: &str = "migrated_in_flight";
/// Longest key that can be claimed, and longest name that control has room for.
const MAX_KEY_BYTES: usize = 1024;
const MAX_NAME_BYTES: usize = 255;
/// Most entries of one ledger; each becomes two events.
const MAX_ENTRIES: usize = MAX_EVENTS / 2;

/// Reads ledgers.
#[derive(Debug)]
pub(super) struct MyceliumLedger {
    prefix: String,
}

impl MyceliumLedger {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
        }
    }
}

impl Reading for MyceliumLedger {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let ledger = Object::parse(record.text, "record")?;
        if ledger.members().count() > MAX_ENTRIES {
            return Err(RejectReason::TooMany {
                what: "entries",
                max: MAX_ENTRIES,
            });
        }
        let mut lines = LineOf::new(record);
        let mut is_empty = true;
        for (key, value) in ledger.members() {
            is_empty = false;
            let line = lines.of(value.get());
            let handed = Entry::parse(key, value).and_then(|entry| {
                let stream = format!(
                    "{}{}/{}",
                    self.prefix,
                    Format::MyceliumLedger,
                    entry.kind.as_str()
                );
                output.emit(line, &stream, entry.drafts(&stream)?)
            });
            if let Err(reason) = handed {
                output.reject(line, reason);
            }
        }
        if is_empty {
            let stream = format!("{}{}", self.prefix, Format::MyceliumLedger);
            output.emit(record.line, &stream, Vec::new())?;
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Output) {}
}

/// A call, as the ledger has it.
struct Entry<'a> {
    value: &'a RawValue,
    kind: Kind,
    name: String,
    key: &'a str,
    /// The arguments, if all of them are by name.
    args: Option<Box<RawValue>>,
    since_us: Option<u64>,
    until_us: Option<u64>,
    outcome: Outcome,
}

enum Outcome {
    Completed(Box<RawValue>),
    Failed(ErrorSaid),
    InFlight,
}

impl<'a> Entry<'a> {
    fn parse(key: &'a str, value: &'a RawValue) -> Result<Self, RejectReason> {
        let entry = Object::parse(value.get(), "entry")?;
        let wrong = |field, expected| RejectReason::WrongType { field, expected };
        if entry.required("request_id")? != key {
            return Err(wrong("request_id", "the key under which the entry stands"));
        }
        if !(1..=MAX_KEY_BYTES).contains(&key.len()) || key.contains('\0') {
            return Err(wrong(
                "request_id",
                "a key of 1 to 1,024 bytes without a zero byte",
            ));
        }
        let (kind, field) = if entry.get("tool").is_some() {
            (Kind::Tool, "tool")
        } else {
            (Kind::Task, "task")
        };
        let name = entry.required(field)?;
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(wrong(field, "a name of 1 to 255 bytes"));
        }
        let positional = match entry.get("args") {
            Some(args) => array(args.get(), "args")?,
            None => Vec::new(),
        };
        let named = entry.object("kwargs")?.and_then(|_| entry.get("kwargs"));
        let args = named.map(keep).filter(|_| positional.is_empty());
        let status = entry.required("status")?;
        let outcome = match status.as_str() {
            "completed" => Outcome::Completed(keep_or_null(entry.get("result"))),
            "failed" => Outcome::Failed(error(entry.text("error").as_deref().unwrap_or_default())),
            "in-flight" => Outcome::InFlight,
            _ => return Err(wrong("status", "completed, failed or in-flight")),
        };
        Ok(Self {
            value,
            kind,
            name,
            key,
            args,
            since_us: entry.get("started_at").and_then(unix_us),
            until_us: entry.get("finished_at").and_then(unix_us),
            outcome,
        })
    }

    /// The claim and its outcome. Their ids follow from the entry's bytes: another state of the
    /// entry, in a later copy of the ledger, is another attempt or goes on from this one.
    fn drafts(self, stream: &str) -> Result<Vec<Draft>, RejectReason> {
        let digest = hex(&short_digest(self.value.get().as_bytes()));
        let record = format!("entry:{digest}:{}", self.key);
        let drafting = Drafting {
            format: Format::MyceliumLedger,
            stream,
            domain: stream,
            record: &record,
            occurred_at_us: self.since_us,
            source: None,
        };
        let effect = MigratedEffect {
            kind: self.kind,
            name: &self.name,
            key: self.key,
            args: self.args.as_deref().map(|args| args.get().as_bytes()),
            holder: HOLDER,
            since_us: self.since_us.unwrap_or_default(),
        };
        let claimed = EffectClaimed {
            kind: self.kind.as_str().to_owned(),
            name: self.name.clone(),
            key: self.key.to_owned(),
            args: self.args.clone(),
            class: "write".to_owned(),
            original: Some(keep(self.value)),
        };
        let claim = drafting.draft(PRIMARY, None, &claimed)?;
        let cause = Some(drafting.id(PRIMARY));
        let ending = Drafting {
            occurred_at_us: self.until_us.or(self.since_us),
            ..drafting
        };
        let outcome = match &self.outcome {
            Outcome::Completed(result) => {
                let completed = EffectCompleted {
                    result: Some(result.clone()),
                    rejected: None,
                };
                let draft = ending.draft("outcome", cause, &completed)?;
                effect.completed(draft.event, result.get().as_bytes())
            }
            Outcome::Failed(error) => {
                let error = error.clone();
                let draft = ending.draft("outcome", cause, &EffectFailed { error })?;
                effect.failed(draft.event, Executed::No)
            }
            Outcome::InFlight => {
                let unknown = EffectOutcomeUnknown::default();
                let draft = ending.draft("outcome", cause, &unknown)?;
                effect.unknown(draft.event, WHY)
            }
        };
        Ok(vec![effect.claimed(claim.event), outcome])
    }
}

/// `Type: what it says`.
fn error(text: &str) -> ErrorSaid {
    let (kind, message) = text.split_once(": ").unwrap_or(("", text));
    ErrorSaid {
        error_type: kind.to_owned(),
        message: message.to_owned(),
    }
}
