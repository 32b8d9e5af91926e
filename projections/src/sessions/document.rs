//! A JSON document and its two changes.

use super::tree::{Array, Tree};
use runstone_store::ErrorKind;
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use std::sync::Arc;

/// Deepest path in segments.
const MAX_DEPTH: usize = 32;

/// Why items cannot be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The path is no JSON Pointer.
    #[error(
        "`{path}` is no path: it begins with `/`, has at most 32 segments, and `~` stands before 0 or 1 (RFC 6901)"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// There is something else than an array.
    #[error("at `{path}` of the session's document stands no array; patch it first")]
    NoArray {
        /// The path.
        path: String,
    },
}

impl SessionError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Path { .. } => "bad_path",
            Self::NoArray { .. } => "no_array",
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path { .. } => ErrorKind::Usage,
            Self::NoArray { .. } => ErrorKind::Conflict,
        }
    }

    /// Whether the same request may succeed later without anybody changing anything: it never does.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// The document of a session; an empty object before its first change. Copies share what has not
/// changed since, so that one costs little however long the session is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document(Tree);

impl Document {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// A document as it was kept.
    pub(super) fn kept(value: Value) -> Self {
        Self(value.into())
    }

    /// A copy of the document.
    pub fn to_value(&self) -> Value {
        self.0.to_value()
    }

    /// A copy of what stands at a path (RFC 6901); `None` if nothing does.
    pub fn get(&self, path: &str) -> Option<Value> {
        if path.is_empty() {
            return Some(self.to_value());
        }
        let mut at = &self.0;
        let mut left = path.strip_prefix('/')?;
        loop {
            let (segment, rest) = match left.split_once('/') {
                Some((segment, rest)) => (segment, Some(rest)),
                None => (left, None),
            };
            at = match at {
                Tree::Object(members) => members.get(&unescaped(segment)?)?,
                Tree::Array(items) => {
                    let item = items.get(number(segment)?)?;
                    let found = rest.map(|rest| item.pointer(&format!("/{rest}")));
                    return found.unwrap_or(Some(item)).cloned();
                }
                Tree::Leaf(_) => return None,
            };
            match rest {
                Some(rest) => left = rest,
                None => return Some(at.to_value()),
            }
        }
    }

    /// Applies a merge patch (RFC 7396).
    pub fn patch(&mut self, patch: &Value) {
        self.0.patch(patch);
    }

    /// Whether items can be appended at a path.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn check_append(&self, path: &str) -> Result<(), SessionError> {
        let mut at = Some(&self.0);
        for segment in segments(path)? {
            at = match at.filter(|at| !at.is_null()) {
                None => None,
                Some(Tree::Object(members)) => members.get(&segment),
                Some(_) => return Err(no_array(path)),
            };
        }
        match at.filter(|at| !at.is_null()) {
            None | Some(Tree::Array(_)) => Ok(()),
            Some(_) => Err(no_array(path)),
        }
    }

    /// Appends items to the array at a path (RFC 6901) of object members. What is missing or null on
    /// the way is made.
    ///
    /// # Errors
    ///
    /// [`SessionError`]; then nothing changed.
    pub fn append(&mut self, path: &str, items: Vec<Value>) -> Result<(), SessionError> {
        self.check_append(path)?;
        let mut at = &mut self.0;
        for segment in segments(path)? {
            if at.is_null() {
                *at = Tree::default();
            }
            let Tree::Object(members) = at else {
                return Err(no_array(path));
            };
            let members = Arc::make_mut(members);
            at = members.entry(segment).or_insert_with(Tree::null);
        }
        if at.is_null() {
            *at = Tree::Array(Array::default());
        }
        let Tree::Array(array) = at else {
            return Err(no_array(path));
        };
        array.extend(items);
        Ok(())
    }

    /// Bytes, about, that changes of a copy copy at most.
    pub(super) fn own_bytes(&self) -> u64 {
        self.0.own_bytes()
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl PartialEq<Value> for Document {
    fn eq(&self, other: &Value) -> bool {
        self.0 == Tree::from(other.clone())
    }
}

fn no_array(path: &str) -> SessionError {
    SessionError::NoArray {
        path: path.to_owned(),
    }
}

/// The members that a JSON Pointer leads through.
fn segments(path: &str) -> Result<Vec<String>, SessionError> {
    let wrong = || SessionError::Path {
        path: path.to_owned(),
    };
    let rest = path.strip_prefix('/').ok_or_else(wrong)?;
    let segments = rest
        .split('/')
        .map(|segment| unescaped(segment).ok_or_else(wrong));
    let segments: Vec<_> = segments.collect::<Result<_, _>>()?;
    if segments.len() > MAX_DEPTH {
        return Err(wrong());
    }
    Ok(segments)
}

/// A segment of a JSON Pointer as it stands for a name.
fn unescaped(segment: &str) -> Option<String> {
    let mut out = String::with_capacity(segment.len());
    let mut chars = segment.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '~' { chars.next() } else { None }) {
            ('~', Some('0')) => out.push('~'),
            ('~', Some('1')) => out.push('/'),
            ('~', _) => return None,
            (c, _) => out.push(c),
        }
    }
    Some(out)
}

/// A segment of a JSON Pointer as it stands for an item: no sign and no zero before others.
fn number(segment: &str) -> Option<usize> {
    let is_plain = segment == "0" || !segment.starts_with(['0', '+']);
    segment.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn merge_patches_of_the_rfc() {
        // RFC 7396, appendix A.
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ];
        for (before, patch, after) in cases {
            let mut document = Document::kept(before.clone());
            document.patch(&patch);
            assert_eq!(document, after, "{before} {patch}");
            assert_eq!(document.to_value(), after);
        }
    }

    #[test]
    fn items_go_to_arrays_and_nowhere_else() {
        let mut document = Document::kept(json!({"list": [1], "text": "x", "gone": null}));
        for path in ["/list", "/new", "/deep/er", "/gone", "/a~1b~0", "/"] {
            document.append(path, vec![json!(2)]).unwrap();
        }
        let code = |path: &str, document: &mut Document| {
            let before = document.clone();
            let error = document.append(path, vec![json!(2)]).unwrap_err();
            assert_eq!(*document, before);
            error.code()
        };
        for path in ["/text", "/text/x", "/list/0", "/deep"] {
            assert_eq!(code(path, &mut document), "no_array", "{path}");
        }
        let deep = "/x".repeat(33);
        for path in ["", "list", "/~", "/~2", deep.as_str()] {
            assert_eq!(code(path, &mut document), "bad_path", "{path}");
        }
        let expected = json!({
            "list": [1, 2], "text": "x", "gone": [2], "new": [2], "deep": {"er": [2]},
            "a/b~": [2], "": [2],
        });
        assert_eq!(document, expected);
    }

    /// Any value of some depth, with names and items that meet again.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<u8>().prop_map(|number| json!(number)),
            "[a-c]{0,2}".prop_map(|text| json!(text)),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-c~/]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// As `json_patch` and `serde_json` have it; what was copied before stays as it was.
        #[test]
        fn a_document_is_the_value_that_it_stands_for(
            begun in value(),
            patches in prop::collection::vec(value(), 0..4),
            items in prop::collection::vec(0..200_usize, 0..4),
            paths in prop::collection::vec("(/([a-c01]|~0|~1){0,2}){0,3}", 8),
        ) {
            let (mut document, mut plain) = (Document::kept(begun.clone()), begun);
            let mut copies = Vec::new();
            for patch in &patches {
                copies.push((document.clone(), plain.clone()));
                document.patch(patch);
                json_patch::merge(&mut plain, patch);
            }
            for count in items {
                copies.push((document.clone(), plain.clone()));
                let some: Vec<_> = (0..count).map(|number| json!({ "n": number })).collect();
                if document.append("/a", some.clone()).is_ok() {
                    if !plain.is_object() {
                        plain = json!({});
                    }
                    let at = plain.as_object_mut().unwrap().entry("a").or_insert(json!([]));
                    if at.is_null() {
                        *at = json!([]);
                    }
                    at.as_array_mut().unwrap().extend(some);
                }
            }
            copies.push((document, plain));
            for (document, plain) in copies {
                prop_assert_eq!(&document.to_value(), &plain);
                prop_assert_eq!(serde_json::to_value(&document).unwrap(), plain.clone());
                prop_assert!(document == plain && document == Document::kept(plain.clone()));
                for path in &paths {
                    let found = document.get(path);
                    prop_assert_eq!(found.as_ref(), plain.pointer(path), "{}", path);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_checked_is_what_is_done(
            path in "(/[ab~01]{0,3}){0,4}",
            shape in 0..4_usize,
        ) {
            let values = [json!({}), json!({"a": []}), json!({"a": {"b": 1}}), json!([])];
            let mut document = Document::kept(values[shape].clone());
            let checked = document.check_append(&path);
            prop_assert_eq!(document.append(&path, vec![json!(1)]), checked);
        }
    }
}
