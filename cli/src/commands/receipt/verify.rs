//! Receipts, verified without a log.

use super::super::verdict::{self, Rejection};
use crate::args::ReceiptVerifyArgs;
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{Fields, Head, Output, Results, on_one_line};
use runstone::codec::Entry;
use runstone::codec::payload::Plain;
use runstone::receipt::MAX_FILE_LEN;
use runstone::receipt::disclosure::{DisclosedField, MAX_DISCLOSURE_LEN};
use runstone::receipt::receipt::{ReceiptError, Verified};
use runstone::{Disclosure, Policy, Receipt, VerifyOptions};
use serde::Serialize;
use serde_json::value::RawValue;
use std::path::Path;

/// Longest envelope that is read: a payload of 64 MiB and what is around it.
const MAX_ENVELOPE_LEN: usize = 80 << 20;

#[derive(Serialize)]
struct Answer<'a> {
    file: &'a Path,
    valid: bool,
    position: Option<u64>,
    origin: Option<&'a str>,
    size: Option<u64>,
    header: Option<Head<'a>>,
    signed_by: Vec<String>,
    cosigned_by: Vec<String>,
    /// Whether an envelope was given, and is the one that the receipt commits to.
    envelope: bool,
    /// What the envelope says, if it is not encrypted and opens what the receipt commits to.
    content: Option<Box<RawValue>>,
    disclosed: Option<Vec<Shown<'a>>>,
    code: Option<&'a str>,
    why: Option<&'a str>,
}

/// A part of a payload.
#[derive(Serialize)]
struct Shown<'a> {
    index: u32,
    /// Empty where the payload is one part.
    name: &'a str,
    /// As it was recorded if it is JSON; else text.
    value: Box<RawValue>,
}

impl<'a> Shown<'a> {
    fn of(field: &'a DisclosedField) -> Self {
        Self {
            index: field.index(),
            name: field.name(),
            value: value_of(field.value()),
        }
    }
}

/// JSON as it was recorded; else text.
fn value_of(bytes: &[u8]) -> Box<RawValue> {
    let line: Vec<u8> = on_one_line(bytes).collect();
    let text = String::from_utf8_lossy(&line).into_owned();
    RawValue::from_string(text)
        .or_else(|_| serde_json::value::to_raw_value(&String::from_utf8_lossy(bytes)))
        .unwrap_or_default()
}

/// What is given besides the receipts.
struct Given<'a> {
    policy: Policy,
    origin: Option<&'a str>,
    envelope: Option<&'a [u8]>,
    /// What is in the envelope, where it is not encrypted.
    plain: Option<&'a Plain<'a>>,
    /// The disclosure, or why it is none.
    disclosure: Option<Result<Disclosure, Rejection>>,
    args: &'a ReceiptVerifyArgs,
}

pub(crate) fn run(output: &Output, args: &ReceiptVerifyArgs) -> Result<Exit, Failure> {
    let is_one = args.files.len() == 1;
    if !is_one && (args.envelope.is_some() || args.disclosure.is_some()) {
        let message = "an envelope and a disclosure belong to one receipt";
        return Err(Report::usage(message).hint("verify that one alone").into());
    }
    let envelope = read(args.envelope.as_deref(), MAX_ENVELOPE_LEN)?;
    let plain = envelope.as_deref().and_then(opened);
    let given = Given {
        policy: verdict::policy(&args.policy)?,
        origin: args.origin.as_deref(),
        envelope: envelope.as_deref(),
        plain: plain.as_ref(),
        disclosure: read(args.disclosure.as_deref(), MAX_DISCLOSURE_LEN)?.map(|bytes| {
            let disclosure = Disclosure::parse(&bytes).map_err(Rejection::from);
            disclosure.map_err(|rejection| match &args.disclosure {
                Some(file) => rejection.of(file),
                None => rejection,
            })
        }),
        args,
    };
    let mut results = Output::results();
    let mut worst = Exit::Done;
    for file in &args.files {
        let exit = match one(output, &mut results, &given, file) {
            Ok(exit) => exit,
            Err(Failure::Report(report)) if !is_one => {
                results.flush()?;
                output.error(&report);
                report.exit
            }
            Err(failure) => return Err(failure),
        };
        if worst == Exit::Done || exit == Exit::Corrupt {
            worst = exit;
        }
    }
    results.flush()?;
    Ok(worst)
}

fn read(file: Option<&Path>, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
    file.map(|file| {
        files::read(file, limit).map_err(|error| Failure::from(Report::file(file, &error)))
    })
    .transpose()
}

fn one(
    output: &Output,
    results: &mut Results,
    given: &Given<'_>,
    file: &Path,
) -> Result<Exit, Failure> {
    let bytes = files::read(file, MAX_FILE_LEN).map_err(|error| Report::file(file, &error))?;
    let receipt = Receipt::parse(&bytes);
    let outcome = receipt
        .as_ref()
        .map_err(|error| Rejection::from(error.clone()));
    let outcome = outcome.and_then(|receipt| verify(receipt, given));
    let (verified, rejection) = (outcome.as_ref().ok(), outcome.as_ref().err());
    let disclosure = given
        .disclosure
        .as_ref()
        .and_then(|read| read.as_ref().ok());
    let shown = disclosure.filter(|_| verified.is_some());
    if output.json {
        results.json(&answer(given, file, verified, rejection, shown))?;
    } else {
        let mut text = verdict::headline(output, file, rejection);
        if let Some(verified) = verified {
            text.push_str(&describe(output, given, verified, shown));
        }
        results.line(text.trim_end_matches('\n'))?;
    }
    Ok(rejection.map_or(Exit::Done, Rejection::exit))
}

fn verify<'a>(receipt: &'a Receipt, given: &Given<'_>) -> Result<Verified<'a>, Rejection> {
    let mut options = VerifyOptions::new();
    if let Some(origin) = given.origin {
        options = options.origin(origin);
    }
    if let Some(log_id) = given.args.log_id {
        options = options.log_id(log_id);
    }
    let is_sealed =
        Entry::parse(receipt.entry_bytes()).map_or(true, |entry| entry.header().key_id.is_some());
    let plain = given.plain.filter(|_| !is_sealed);
    if let Some(plain) = plain {
        options = options.plain(plain);
    }
    // Without the id the stored form of a plain one cannot be checked, but its content can.
    let is_content_alone = !is_sealed && given.args.log_id.is_none();
    if let Some(envelope) = given.envelope.filter(|_| !is_content_alone) {
        options = options.envelope(envelope);
    }
    match &given.disclosure {
        None => {}
        Some(Ok(disclosure)) => options = options.disclosure(disclosure),
        Some(Err(rejection)) => {
            return Err(Rejection {
                why: rejection.why.clone(),
                ..*rejection
            });
        }
    }
    let verified = receipt.verify(&given.policy, &options)?;
    if is_content_alone && given.envelope.is_some() && plain.is_none() {
        return Err(ReceiptError::Commitment.into());
    }
    Ok(verified)
}

/// The content in an envelope that is not encrypted.
fn opened(envelope: &[u8]) -> Option<Plain<'_>> {
    let (codec, plain) = envelope.split_first()?;
    Plain::parse(plain).ok().filter(|_| *codec == 0)
}

fn answer<'a>(
    given: &'a Given<'_>,
    file: &'a Path,
    verified: Option<&'a Verified<'_>>,
    rejection: Option<&'a Rejection>,
    shown: Option<&'a Disclosure>,
) -> Answer<'a> {
    let cosigned_by = verified.map(Verified::cosigned_by).unwrap_or_default();
    let head = |verified: &'a Verified<'_>| {
        let entry = verified.entry();
        let place = (entry.position(), entry.revision());
        Head::new(entry.header(), place, verified.claimed_recorded_at_us())
    };
    Answer {
        file,
        valid: verified.is_some(),
        position: verified.map(Verified::position),
        origin: verified.map(Verified::origin),
        size: verified.map(Verified::size),
        header: verified.map(head),
        signed_by: verified
            .map(|verified| verdict::signers(verified.checkpoint()))
            .unwrap_or_default(),
        cosigned_by: cosigned_by
            .iter()
            .map(|one| one.key().to_string())
            .collect(),
        envelope: verified.is_some_and(|verified| verified.checked().envelope),
        content: content(given, verified).map(value_of),
        disclosed: shown.map(|shown| shown.disclosed().iter().map(Shown::of).collect()),
        code: rejection.map(|rejection| rejection.code),
        why: rejection.map(|rejection| rejection.why.as_str()),
    }
}

/// What the envelope says, if it was checked.
fn content<'a>(given: &'a Given<'_>, verified: Option<&Verified<'_>>) -> Option<&'a [u8]> {
    let is_checked = verified.is_some_and(|verified| verified.checked().plain);
    let plain = given.plain.filter(|_| is_checked)?;
    Some(plain.payload())
}

fn describe(
    output: &Output,
    given: &Given<'_>,
    verified: &Verified<'_>,
    shown: Option<&Disclosure>,
) -> String {
    let (entry, header) = (verified.entry(), verified.header());
    let mut fields = Fields::new(output);
    fields.place(header, entry.position(), entry.revision());
    let remark = ", as the writer of the log claims";
    fields.time("recorded at", verified.claimed_recorded_at_us(), remark);
    fields.header(header);
    verdict::checkpoint_lines(&mut fields, verified.checkpoint());
    if verified.checked().envelope {
        fields.line("envelope", "the stored form of the payload");
    } else if given.envelope.is_some() {
        let remark = "its content is checked, its stored form not: that needs --log-id";
        fields.line("envelope", remark);
    }
    if let Some(content) = content(given, Some(verified)) {
        fields.line("content", &String::from_utf8_lossy(content));
    }
    for field in shown.map(Disclosure::disclosed).unwrap_or_default() {
        let value = String::from_utf8_lossy(field.value());
        let name = if field.name().is_empty() {
            "the payload"
        } else {
            field.name()
        };
        fields.line("disclosed", &format!("{name} = {value}"));
    }
    if let Some(hidden) = shown.and_then(|shown| {
        let disclosed = u32::try_from(shown.disclosed().len()).ok()?;
        shown.segments().checked_sub(disclosed)
    }) {
        fields.line("not disclosed", &format!("{hidden} more"));
    }
    fields.into_text()
}
