//! A JSON document and its two changes.

use runstone_store::ErrorKind;
use serde_json::{Map, Value};

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

/// The document of a session; an empty object before its first change.
#[derive(Debug, Clone, PartialEq)]
pub struct Document(Value);

impl Default for Document {
    fn default() -> Self {
        Self(Value::Object(Map::new()))
    }
}

impl Document {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// A document as it was kept.
    pub(super) fn kept(value: Value) -> Self {
        Self(value)
    }

    /// The document.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The document.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// Applies a merge patch (RFC 7396).
    pub fn patch(&mut self, patch: &Value) {
        json_patch::merge(&mut self.0, patch);
    }

    /// Whether items can be appended at a path.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn check_append(&self, path: &str) -> Result<(), SessionError> {
        let mut at = Some(&self.0);
        for segment in segments(path)? {
            at = match at {
                None | Some(Value::Null) => None,
                Some(Value::Object(members)) => members.get(&segment),
                Some(_) => return Err(no_array(path)),
            };
        }
        match at {
            None | Some(Value::Null | Value::Array(_)) => Ok(()),
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
                *at = Value::Object(Map::new());
            }
            let Value::Object(members) = at else {
                return Err(no_array(path));
            };
            at = members.entry(segment).or_insert(Value::Null);
        }
        if at.is_null() {
            *at = Value::Array(Vec::new());
        }
        let Value::Array(array) = at else {
            return Err(no_array(path));
        };
        array.extend(items);
        Ok(())
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
    let segments = rest.split('/').map(|segment| {
        let mut out = String::with_capacity(segment.len());
        let mut chars = segment.chars();
        while let Some(c) = chars.next() {
            match (c, if c == '~' { chars.next() } else { None }) {
                ('~', Some('0')) => out.push('~'),
                ('~', Some('1')) => out.push('/'),
                ('~', _) => return Err(wrong()),
                (c, _) => out.push(c),
            }
        }
        Ok(out)
    });
    let segments: Vec<_> = segments.collect::<Result<_, _>>()?;
    if segments.len() > MAX_DEPTH {
        return Err(wrong());
    }
    Ok(segments)
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
            let mut document = Document(before.clone());
            document.patch(&patch);
            assert_eq!(document.value(), &after, "{before} {patch}");
        }
    }

    #[test]
    fn items_go_to_arrays_and_nowhere_else() {
        let mut document = Document(json!({"list": [1], "text": "x", "gone": null}));
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
        assert_eq!(document.value(), &expected);
    }

    proptest! {
        #[test]
        fn whatever_is_checked_is_what_is_done(
            path in "(/[ab~01]{0,3}){0,4}",
            shape in 0..4_usize,
        ) {
            let values = [json!({}), json!({"a": []}), json!({"a": {"b": 1}}), json!([])];
            let mut document = Document(values[shape].clone());
            let checked = document.check_append(&path);
            prop_assert_eq!(document.append(&path, vec![json!(1)]), checked);
        }
    }
}
