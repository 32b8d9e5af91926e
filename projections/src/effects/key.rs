//! What makes two calls the same one.
//!
//! ```text
//!  tool   request id                  scope   ID
//!         business fields             scope   FIELD=VALUE:FIELD=VALUE
//!         id of the model's call      run     ID, and which call of it
//!         digest of the arguments     run     NAME:HEX
//!  task   task id                     scope   ID
//!         run id                      scope   NAME:ID
//!         business fields             scope   NAME:FIELD=VALUE:FIELD=VALUE
//!         digest of the arguments     scope   NAME:HEX
//! ```
//!
//! Keys of a tool are of one source: a request id is never taken for business fields of the same
//! text. Those of a task are not told apart, so that a ledger of another package can be taken over.
//!
//! In the log stands a keyed digest of kind, domain and key, which only the holder of the scope's
//! lookup key can guess.

use super::{Claim, EffectError};
use crate::events::control::effect as field;
use crate::events::{self, bound_to, keyed_as};
use crate::hex;
use runstone_codec::Keyed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest key in bytes.
pub const MAX_KEY_LEN: usize = 1024;

/// What a key is made of; see [`Claim::key`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeySource {
    /// An id of the request or task, one for the whole scope.
    Request(String),
    /// The id that a model gave its call, one in its run. Models reuse ids: the ordinal tells apart
    /// what the caller knows to be different calls.
    Call {
        /// The id.
        id: String,
        /// Which call of that id, from 0.
        ordinal: u32,
    },
    /// A task once in a run of this id.
    Run(String),
    /// Fields of the business, such as an invoice's number.
    Business(Vec<(String, String)>),
    /// The arguments themselves: in its run for a tool, in its scope for a task.
    Arguments,
    /// Recorded and never found again.
    Random([u8; 16]),
}

/// A key as it is digested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    domain: String,
    pub(super) text: String,
    /// Whether the arguments may differ from call to call.
    is_loose: bool,
}

impl Key {
    pub(super) fn of(claim: &Claim) -> Result<Self, EffectError> {
        let is_task = claim.kind == super::Kind::Task;
        let scope = || "scope".to_owned();
        let named = |text: String| format!("{}:{text}", claim.name);
        let (domain, text) = match &claim.key {
            KeySource::Request(id) => (scope(), given(id)?.to_owned()),
            KeySource::Call { id, ordinal: 0 } => {
                (format!("run:{}", claim.stream), given(id)?.to_owned())
            }
            KeySource::Call { id, ordinal } => {
                let domain = format!("run#{ordinal}:{}", claim.stream);
                (domain, given(id)?.to_owned())
            }
            KeySource::Run(id) => (scope(), named(given(id)?.to_owned())),
            KeySource::Business(fields) if is_task => (scope(), named(business(fields)?)),
            KeySource::Business(fields) => ("business".to_owned(), business(fields)?),
            KeySource::Arguments => {
                let digest = hex(&args_digest(claim.args.as_deref())?);
                let domain = if is_task {
                    scope()
                } else {
                    format!("args:{}", claim.stream)
                };
                (domain, named(digest))
            }
            KeySource::Random(random) => ("random".to_owned(), hex(random)),
        };
        if text.len() > MAX_KEY_LEN {
            return Err(EffectError::Key {
                why: "it is longer than 1,024 bytes".into(),
            });
        }
        Ok(Self {
            domain,
            text,
            is_loose: claim.is_bound_to_key_only,
        })
    }

    pub(super) fn digests(&self, claim: &Claim) -> Result<[Keyed; 3], EffectError> {
        let args = if self.is_loose {
            None
        } else {
            Some(args_digest(claim.args.as_deref())?)
        };
        let [tag, digest] = keyed_as(claim.kind, &self.domain, &self.text);
        let binding = bound_to(field::BINDING, &claim.name, args.as_ref());
        Ok([tag, digest, binding])
    }
}

fn given(id: &str) -> Result<&str, EffectError> {
    if id.is_empty() {
        return Err(EffectError::Key {
            why: "it is given and empty; leave it out, or say what the call is".into(),
        });
    }
    if id.contains('\0') {
        return Err(EffectError::Key {
            why: "it has a zero byte".into(),
        });
    }
    Ok(id)
}

/// Fields in the order given; what separates them is escaped, so that no two lists read the same.
fn business(fields: &[(String, String)]) -> Result<String, EffectError> {
    if fields.is_empty() {
        return Err(EffectError::Key {
            why: "it names no fields".into(),
        });
    }
    let mut text = String::new();
    for (field, value) in fields {
        if !text.is_empty() {
            text.push(':');
        }
        escape(given(field)?, &mut text);
        text.push('=');
        escape(given(value)?, &mut text);
    }
    Ok(text)
}

fn escape(part: &str, into: &mut String) {
    for c in part.chars() {
        if matches!(c, '\\' | ':' | '=') {
            into.push('\\');
        }
        into.push(c);
    }
}

/// Digest of the arguments by name.
pub(super) fn args_digest(args: Option<&[u8]>) -> Result<[u8; 32], EffectError> {
    events::args_digest(args).ok_or(EffectError::Args)
}
