//! What differs between two JSON documents.

use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// What is done at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a value comes, goes, or is another one"
)]
pub enum ChangeKind {
    /// A value comes to stand there.
    Add,
    /// What stood there goes.
    Remove,
    /// Another value stands there.
    Replace,
}

/// One operation of a JSON Patch (RFC 6902), which is what it serialises to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// What is done.
    pub op: ChangeKind,
    /// Where: a JSON Pointer (RFC 6901).
    pub path: String,
    /// What stands there then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What stood there.
    #[serde(skip)]
    pub before: Option<Value>,
}

/// The operations that make one document of the other, in the order in which they are applied. Members
/// are compared by name, items of arrays by place, after what both arrays begin and end with.
///
/// ```
/// use runstone_replay::diff;
/// use serde_json::json;
///
/// let changes = diff(&json!({"list": [1, 2, 9]}), &json!({"list": [1, 3, 4, 9], "n": null}));
/// assert_eq!(
///     serde_json::to_value(changes)?,
///     json!([
///         {"op": "replace", "path": "/list/1", "value": 3},
///         {"op": "add", "path": "/list/2", "value": 4},
///         {"op": "add", "path": "/n", "value": null},
///     ])
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn diff(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    values(&mut String::new(), before, after, &mut changes);
    changes
}

fn values(path: &mut String, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => members(path, before, after, changes),
        (Value::Array(before), Value::Array(after)) => items(path, before, after, changes),
        _ if before == after => {}
        _ => changes.push(Change {
            op: ChangeKind::Replace,
            path: path.clone(),
            value: Some(after.clone()),
            before: Some(before.clone()),
        }),
    }
}

fn members(
    path: &mut String,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changes: &mut Vec<Change>,
) {
    for (name, old) in before {
        let name_in = name.replace('~', "~0").replace('/', "~1");
        within(path, &name_in, |path| match after.get(name) {
            Some(new) => values(path, old, new, changes),
            None => changes.push(gone(path, old)),
        });
    }
    for (name, new) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        let name_in = name.replace('~', "~0").replace('/', "~1");
        within(path, &name_in, |path| changes.push(come(path, new)));
    }
}

fn items(path: &mut String, before: &[Value], after: &[Value], changes: &mut Vec<Change>) {
    let same = |(a, b): &(&Value, &Value)| a == b;
    let head = before.iter().zip(after).take_while(same).count();
    let (before, after) = (rest(before, head), rest(after, head));
    let pairs = before.iter().rev().zip(after.iter().rev());
    let tail = pairs.take_while(same).count();
    let (before, after) = (less(before, tail), less(after, tail));
    for (at, (old, new)) in before.iter().zip(after).enumerate() {
        within(path, &(head + at).to_string(), |path| {
            values(path, old, new, changes);
        });
    }
    let both = before.len().min(after.len());
    // From the end, so that what is left keeps its place.
    for (at, old) in before.iter().enumerate().skip(both).rev() {
        within(path, &(head + at).to_string(), |path| {
            changes.push(gone(path, old));
        });
    }
    for (at, new) in after.iter().enumerate().skip(both) {
        within(path, &(head + at).to_string(), |path| {
            changes.push(come(path, new));
        });
    }
}

fn rest(items: &[Value], from: usize) -> &[Value] {
    items.get(from..).unwrap_or_default()
}

fn less(items: &[Value], last: usize) -> &[Value] {
    let len = items.len().saturating_sub(last);
    items.get(..len).unwrap_or_default()
}

/// Something one segment further.
fn within(path: &mut String, segment: &str, then: impl FnOnce(&mut String)) {
    let len = path.len();
    // Writing to a string cannot fail.
    let _ = write!(path, "/{segment}");
    then(path);
    path.truncate(len);
}

fn gone(path: &str, before: &Value) -> Change {
    Change {
        op: ChangeKind::Remove,
        path: path.to_owned(),
        value: None,
        before: Some(before.clone()),
    }
}

fn come(path: &str, value: &Value) -> Change {
    Change {
        op: ChangeKind::Add,
        path: path.to_owned(),
        value: Some(value.clone()),
        before: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..4_i64).prop_map(Value::from),
            "[a/~]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a/~]{0,2}", inner, 0..5)
                    .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Another implementation of the RFC applies it.
        #[test]
        fn the_patch_makes_one_of_the_other(before in document(), after in document()) {
            let changes = diff(&before, &after);
            prop_assert_eq!(changes.is_empty(), before == after);
            let patch = serde_json::to_value(&changes).unwrap();
            let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
            let mut patched = before;
            json_patch::patch(&mut patched, &patch).unwrap();
            prop_assert_eq!(patched, after);
        }
    }
}
