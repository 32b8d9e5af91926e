//! Receipts of mycelium, JSONL, each signed for itself with a key that its reader has too.
//!
//! A receipt is `harness.mycelium_receipts.receipt` in the stream `mycelium-receipts/AGENT`, kept
//! byte for byte, and a verdict on its signature: `pass`, `fail`, or `unchecked` without the key. A
//! record of what was said elsewhere, it guards no call; that is for the ledger. Importing again
//! with the key adds the verdicts.
//!
//! The signature covers ten members and nothing else. It does not tie receipts together: that one
//! is missing, or came twice, cannot be seen.

#[cfg(test)]
mod tests;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::value::RawValue;
use sha2::Sha256;

use super::{Reading, Record};
use crate::drafting::{Drafting, PRIMARY};
use crate::events::{HarnessRecord, VerdictGiven};
use crate::format::Format;
use crate::identity::name_part;
use crate::json::{Object, raw};
use crate::numbers::unix_us;
use crate::options::{Options, Secret};
use crate::output::{Check, Output};
use crate::python;
use crate::records::Records;
use crate::reject::RejectReason;

const RECEIPT: &str = "harness.mycelium_receipts.receipt";
/// What is signed, in the order in which it is.
const SIGNED: [&str; 10] = [
    "action",
    "action_kind",
    "agent_id",
    "error",
    "inputs",
    "outputs",
    "receipt_id",
    "request_id",
    "status",
    "timestamp",
];

/// Reads receipts.
#[derive(Debug)]
pub(super) struct MyceliumReceipts {
    prefix: String,
    key: Option<Secret>,
    records: Records<()>,
}

impl MyceliumReceipts {
    pub(super) fn new(options: Options) -> Self {
        Self {
            prefix: options.stream_prefix,
            key: options.receipt_key,
            records: Records::new(options.records),
        }
    }
}

impl Reading for MyceliumReceipts {
    fn record(&mut self, record: &Record<'_>, output: &mut Output) -> Result<(), RejectReason> {
        let receipt = Object::parse(record.text, "record")?;
        let (id, agent) = (
            receipt.required("receipt_id")?,
            receipt.required("agent_id")?,
        );
        let check = self.check(&receipt)?;
        let stream = format!(
            "{}{}/{}",
            self.prefix,
            Format::MyceliumReceipts,
            name_part(&agent)
        );
        let known = Some(format!("id:{id}"));
        let Some(identity) = self.records.identity(&stream, known, record.text, ())? else {
            return output.emit(record.line, &stream, Vec::new());
        };
        let drafting = Drafting {
            format: Format::MyceliumReceipts,
            stream: &stream,
            domain: &stream,
            record: &identity,
            occurred_at_us: receipt.get("timestamp").and_then(unix_us),
            source: Some(&agent),
        };
        let original = raw(record.text.to_owned())?;
        let primary = drafting.id(PRIMARY);
        let verdict = verdict(primary.to_string(), &check);
        let part = format!("signature/{}", verdict.verdict);
        let drafts = vec![
            drafting.of_type(RECEIPT, PRIMARY, None, &HarnessRecord { original })?,
            drafting.draft(&part, Some(primary), &verdict)?,
        ];
        output.emit_checked(record.line, &stream, drafts, Some(check))
    }

    fn finish(&mut self, _: &mut Output) {}
}

impl MyceliumReceipts {
    fn check(&self, receipt: &Object<'_>) -> Result<Check, RejectReason> {
        let signature = receipt.required("signature")?;
        let Some(key) = &self.key else {
            return Ok(Check::Unchecked);
        };
        let is_right = verify(receipt, key, &signature)?;
        Ok(if is_right {
            Check::Passed
        } else {
            let why = "the signature does not fit the receipt, or was made with another key";
            Check::Failed {
                why: why.to_owned(),
            }
        })
    }
}

fn verify(receipt: &Object<'_>, key: &Secret, signature: &str) -> Result<bool, RejectReason> {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.bytes()) else {
        return Ok(false);
    };
    let mut separator = "{\"";
    for name in SIGNED {
        let value = any(receipt, name).ok_or(RejectReason::WrongType {
            field: name,
            expected: "there",
        })?;
        mac.update(separator.as_bytes());
        mac.update(name.as_bytes());
        mac.update(b"\":");
        python::sorted(value.get(), &mut |piece| mac.update(piece.as_bytes()))?;
        separator = ",\"";
    }
    mac.update(b"}");
    let Some(signature) = bytes(signature) else {
        return Ok(false);
    };
    Ok(mac.verify_slice(&signature).is_ok())
}

/// A member, null or not.
fn any<'a>(receipt: &Object<'a>, name: &str) -> Option<&'a RawValue> {
    let found = receipt.members().filter(|(one, _)| *one == name).last();
    found.map(|(_, value)| value)
}

/// The bytes that lower-case hexadecimal spells.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let pair = |[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
    let found = pairs.iter().map(pair).collect::<Option<Vec<u8>>>();
    found.filter(|_| rest.is_empty())
}

fn verdict(subject: String, check: &Check) -> VerdictGiven {
    let (verdict, severity) = match check {
        Check::Passed => ("pass", "info"),
        Check::Failed { .. } => ("fail", "error"),
        Check::Unchecked => ("unchecked", "info"),
    };
    VerdictGiven {
        subject,
        by: Format::MyceliumReceipts.as_str().to_owned(),
        verdict: verdict.to_owned(),
        severity: severity.to_owned(),
        detail: RawValue::NULL.to_owned(),
    }
}
