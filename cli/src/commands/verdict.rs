//! What is verified without a log: whom to trust, what is rejected and why.

use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::hints;
use crate::output::{Fields, Output, Tone, base64, count, paint};
use runstone::receipt::checkpoint::CheckpointError;
use runstone::receipt::consistency::ConsistencyError;
use runstone::receipt::disclosure::DisclosureError;
use runstone::receipt::note::NoteError;
use runstone::receipt::policy::MAX_POLICY_LEN;
use runstone::receipt::receipt::ReceiptError;
use runstone::{Finding, Policy, SignedCheckpoint};
use serde::Serialize;
use std::path::Path;

/// Why something is rejected.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) finding: Finding,
    pub(super) code: &'static str,
    pub(super) why: String,
}

macro_rules! from_rejecting_errors {
    ($($error:ty),+) => {$(
        impl From<$error> for Rejection {
            fn from(error: $error) -> Self {
                Self {
                    finding: error.finding(),
                    code: error.code(),
                    why: error.to_string(),
                }
            }
        }
    )+};
}

from_rejecting_errors!(
    ReceiptError,
    ConsistencyError,
    CheckpointError,
    DisclosureError
);

impl Rejection {
    pub(super) fn exit(&self) -> Exit {
        match self.finding {
            Finding::Malformed => Exit::Usage,
            Finding::Unverifiable => Exit::Keys,
            Finding::False => Exit::Corrupt,
        }
    }

    /// The same, of one of several inputs.
    pub(super) fn of(self, what: &Path) -> Self {
        Self {
            why: format!("{}: {}", what.display(), self.why),
            ..self
        }
    }
}

/// The policy in a file. Without one nothing can be verified.
pub(super) fn policy(path: &Path) -> Result<Policy, Failure> {
    let bytes = files::read(path, MAX_POLICY_LEN).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        Report::new(Exit::Keys, "policy_unreadable", message)
    })?;
    Ok(Policy::parse(&bytes).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        Report::new(Exit::Keys, error.code(), message)
    })?)
}

/// Whether the bytes of a checkpoint hold.
pub(super) fn checkpoint(
    policy: &Policy,
    bytes: &[u8],
    origin: Option<&str>,
) -> Result<SignedCheckpoint, Rejection> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(CheckpointError::Note(NoteError::Text).into());
    };
    Ok(policy.verify_checkpoint(text, origin)?)
}

/// The first line of an answer for people, and what to do about a rejection.
pub(super) fn headline(output: &Output, file: &Path, rejection: Option<&Rejection>) -> String {
    let file = file.display();
    let Some(rejection) = rejection else {
        let word = paint(output.color, Tone::Good, "valid");
        return format!("{word}: {file}\n");
    };
    let word = match rejection.finding {
        Finding::False => "NOT VALID",
        Finding::Malformed => "MALFORMED",
        Finding::Unverifiable => "CANNOT BE VERIFIED",
    };
    for hint in hints::of(rejection.code) {
        output.note(hint);
    }
    let word = paint(output.color, Tone::Bad, word);
    format!("{word}: {file}: {}\n", rejection.why)
}

/// Names of the keys that signed.
pub(super) fn signers(checkpoint: &SignedCheckpoint) -> Vec<String> {
    let keys = checkpoint.signed_by().iter();
    keys.map(ToString::to_string).collect()
}

/// What a checkpoint says, line by line.
pub(super) fn checkpoint_lines(fields: &mut Fields, signed: &SignedCheckpoint) {
    let checkpoint = signed.checkpoint();
    fields.line("origin", &checkpoint.origin);
    fields.line("tree size", &count(checkpoint.size));
    fields.line("root", &base64(&checkpoint.root));
    for key in signers(signed) {
        fields.line("signed by", &key);
    }
    for cosignature in signed.cosigned_by() {
        fields.line("cosigned by", &cosignature.key().to_string());
    }
}

/// Answer of what verifies a checkpoint, alone or at the end of a consistency proof.
#[derive(Debug, Serialize)]
struct CheckpointAnswer<'a> {
    valid: bool,
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_size: Option<u64>,
    size: Option<u64>,
    root: Option<String>,
    signed_by: Vec<String>,
    code: Option<&'a str>,
    why: Option<&'a str>,
}

/// Tells whether a checkpoint holds; `old_size` is that of the tree it is proven to have grown from.
pub(super) fn answer_checkpoint(
    output: &Output,
    file: &Path,
    outcome: &Result<SignedCheckpoint, Rejection>,
    old_size: Option<u64>,
) -> Result<Exit, Failure> {
    let (signed, rejection) = (outcome.as_ref().ok(), outcome.as_ref().err());
    let checkpoint = signed.map(SignedCheckpoint::checkpoint);
    let answer = CheckpointAnswer {
        valid: signed.is_some(),
        origin: checkpoint.map(|checkpoint| checkpoint.origin.as_str()),
        old_size: old_size.filter(|_| signed.is_some()),
        size: checkpoint.map(|checkpoint| checkpoint.size),
        root: checkpoint.map(|checkpoint| base64(&checkpoint.root)),
        signed_by: signed.map(signers).unwrap_or_default(),
        code: rejection.map(|rejection| rejection.code),
        why: rejection.map(|rejection| rejection.why.as_str()),
    };
    output.answer(&answer, || {
        let mut text = headline(output, file, rejection);
        if let Some(signed) = signed {
            let mut fields = Fields::new(output);
            if let Some(size) = old_size {
                fields.line("grown from", &count(size));
            }
            checkpoint_lines(&mut fields, signed);
            text.push_str(&fields.into_text());
        }
        text
    })?;
    Ok(rejection.map_or(Exit::Done, Rejection::exit))
}
