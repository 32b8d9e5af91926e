//! What a program asks of a tape, and how it is compared with what was recorded.

use super::divergence::Said;
use super::recording::{Branch, What, args_of};
use super::tape::Called;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the program does.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Step(Branch),
    Call {
        call: Called,
        /// Its arguments as they are compared, as text.
        sign: String,
        /// Its key, if that is compared.
        key: Option<String>,
    },
}

impl Asked {
    pub(super) fn said(&self, branch: Option<&Branch>) -> Said {
        match self {
            Self::Step(step) => Said::of_step(step, branch, None),
            Self::Call { call, .. } => {
                let (name, args) = (call.name.clone(), call.args.clone());
                Said::of_call(name, args, call.key.clone()).at(branch, None)
            }
        }
    }
}

/// Arguments without what is not compared.
pub(super) fn compared(mut args: Option<Value>, ignored: &[String]) -> Option<Value> {
    for pointer in ignored {
        if let Some(value) = args.as_mut().and_then(|args| args.pointer_mut(pointer)) {
            *value = Value::Null;
        }
    }
    args
}

/// Arguments as text, members by their names.
pub(super) fn sign_of(args: Option<&Value>) -> String {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(members) => {
                let members: BTreeMap<&String, &Value> = members.iter().collect();
                out.push('{');
                for (name, value) in members {
                    let _ = write!(out, "{name:?}:");
                    write(value, out);
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for item in items {
                    write(item, out);
                    out.push(',');
                }
                out.push(']');
            }
            other => {
                let _ = write!(out, "{other}");
            }
        }
    }
    let mut text = String::new();
    if let Some(args) = args {
        write(args, &mut text);
    }
    text
}

/// Whether a key is the digest of arguments.
pub(super) fn is_of_arguments(name: &str, key: &str) -> bool {
    let digest = key
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(':'));
    digest.is_some_and(|digest| {
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

pub(super) fn is_same_tool(recorded: &What, asked: &Asked) -> bool {
    match (recorded, asked) {
        (What::Call { name, .. }, Asked::Call { call, .. }) => name.as_ref() == Some(&call.name),
        _ => false,
    }
}

pub(super) fn is_same_input(recorded: &What, asked: &Asked) -> bool {
    match (recorded, asked) {
        (What::Call { args, .. }, Asked::Call { call, .. }) => {
            call.args.is_some() && args_of(args.as_deref()) == call.args
        }
        // One that is done once more is no other one.
        (What::Step(_), Asked::Step(made)) => made.attempt == 1,
        _ => false,
    }
}

/// How much two calls have in common; 0 is nothing.
pub(super) fn likeness(recorded: &What, asked: &Asked) -> usize {
    match (recorded, asked) {
        (What::Step(a), Asked::Step(b)) => usize::from(a.node == b.node),
        (
            What::Call {
                name, args, key, ..
            },
            Asked::Call { call, .. },
        ) => {
            let shared = match (args_of(args.as_deref()), &call.args) {
                (Some(Value::Object(a)), Some(Value::Object(b))) => a
                    .iter()
                    .filter(|(name, value)| b.get(*name) == Some(value))
                    .count(),
                (Some(a), Some(b)) => usize::from(a == *b),
                _ => 0,
            };
            let keys = usize::from(key.is_some() && *key == call.key);
            if name.as_ref() == Some(&call.name) {
                shared.saturating_add(1000)
            } else {
                shared.saturating_add(keys)
            }
        }
        _ => 0,
    }
}
