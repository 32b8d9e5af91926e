//! Payload types: names, versions, JSON Schema, and how old payloads become new ones.
//!
//! A type name and a schema version name a shape. Payloads are never rewritten: a reader takes an
//! old one to the newest shape, one version at a time, each step a pure function.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::header::Header;

/// The shape of a payload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Schema {
    /// The event type.
    pub name: Cow<'static, str>,
    /// Its version.
    pub version: u32,
}

impl Schema {
    /// A shape by name and version.
    pub fn new(name: impl Into<Cow<'static, str>>, version: u32) -> Self {
        Self {
            name: name.into(),
            version,
        }
    }

    /// The shape of a Rust type.
    pub fn of<T: TypedEvent>() -> Self {
        Self::new(T::TYPE, T::VERSION)
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// A Rust type that is the payload of one event type in one schema version.
pub trait TypedEvent: Serialize + DeserializeOwned + JsonSchema {
    /// The event type.
    const TYPE: &'static str;
    /// The version of the schema.
    const VERSION: u32;
    /// Whether its members are disclosable one by one.
    const DISCLOSABLE: bool = false;
}

/// The JSON Schema (2020-12) of a Rust type.
pub fn json_schema<T: TypedEvent>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// A step cannot take a payload to the next version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct UpcastError {
    /// What is wrong with the payload.
    pub reason: String,
}

impl UpcastError {
    /// An error that says what is wrong with the payload.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        "upcast_failed"
    }
}

/// Takes a payload from one version to the next.
pub type Upcaster = fn(Value) -> Result<Value, UpcastError>;

/// A payload cannot be read as a type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The event has another type.
    #[error("the event is {found}, not {expected}")]
    WrongType {
        /// The type asked for.
        expected: &'static str,
        /// The event's type.
        found: String,
    },
    /// The payload is of a later version than this program knows.
    #[error("{found} is newer than version {known}, the newest known")]
    Newer {
        /// The event's shape.
        found: Schema,
        /// The newest version known.
        known: u32,
    },
    /// No step is registered from a version.
    #[error("nothing takes {from} to the next version")]
    NoUpcaster {
        /// The shape that nothing takes further.
        from: Schema,
    },
    /// A step is registered twice.
    #[error("something takes {from} to the next version already")]
    DuplicateUpcaster {
        /// The shape.
        from: Schema,
    },
    /// A step failed.
    #[error("{from} cannot be taken to the next version")]
    Upcast {
        /// The shape that it failed on.
        from: Schema,
        /// Why.
        #[source]
        source: UpcastError,
    },
    /// The payload is not JSON or does not have the type's shape.
    #[error("the payload does not have the shape of {schema}")]
    Shape {
        /// The shape.
        schema: Schema,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl SchemaError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongType { .. } => "schema_wrong_type",
            Self::Newer { .. } => "schema_newer",
            Self::NoUpcaster { .. } => "schema_no_upcaster",
            Self::DuplicateUpcaster { .. } => "schema_duplicate_upcaster",
            Self::Upcast { .. } => "schema_upcast_failed",
            Self::Shape { .. } => "schema_shape",
        }
    }
}

/// The steps between versions, for all types.
#[derive(Clone, Default)]
pub struct Upcasters(BTreeMap<Schema, Upcaster>);

impl Upcasters {
    /// No steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the step from `from_version` of a type to the next version.
    ///
    /// # Errors
    /// [`SchemaError::DuplicateUpcaster`] if there is one.
    pub fn register(
        &mut self,
        event_type: impl Into<Cow<'static, str>>,
        from_version: u32,
        step: Upcaster,
    ) -> Result<(), SchemaError> {
        let from = Schema::new(event_type, from_version);
        if self.0.contains_key(&from) {
            return Err(SchemaError::DuplicateUpcaster { from });
        }
        self.0.insert(from, step);
        Ok(())
    }

    /// Takes a payload as far as steps are registered; gives the version reached.
    ///
    /// # Errors
    /// [`SchemaError::Upcast`] if a step fails.
    pub fn newest(&self, schema: Schema, payload: Value) -> Result<(Schema, Value), SchemaError> {
        let (mut schema, mut payload) = (schema, payload);
        while let Some(step) = self.0.get(&schema) {
            (schema, payload) = apply(*step, schema, payload)?;
        }
        Ok((schema, payload))
    }

    /// Reads a payload as a type, taking an older version to the type's.
    ///
    /// A payload of the type's own version is read from its bytes directly, so that nothing is lost
    /// that a [`Value`] cannot hold.
    ///
    /// # Errors
    /// [`SchemaError`] tells a wrong type, a later version, a missing or failing step and a wrong
    /// shape.
    pub fn decode<T: TypedEvent>(&self, header: &Header, payload: &[u8]) -> Result<T, SchemaError> {
        if header.event_type != T::TYPE {
            return Err(SchemaError::WrongType {
                expected: T::TYPE,
                found: header.event_type.to_string(),
            });
        }
        let wrong_shape = |source| SchemaError::Shape {
            schema: Schema::of::<T>(),
            source,
        };
        let mut schema = Schema::new(T::TYPE, header.schema_version);
        if schema.version > T::VERSION {
            return Err(SchemaError::Newer {
                found: schema,
                known: T::VERSION,
            });
        }
        if schema.version == T::VERSION {
            return serde_json::from_slice(payload).map_err(wrong_shape);
        }
        let mut value = serde_json::from_slice(payload).map_err(wrong_shape)?;
        while schema.version < T::VERSION {
            let Some(step) = self.0.get(&schema) else {
                return Err(SchemaError::NoUpcaster { from: schema });
            };
            (schema, value) = apply(*step, schema, value)?;
        }
        serde_json::from_value(value).map_err(wrong_shape)
    }
}

impl fmt::Debug for Upcasters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn apply(step: Upcaster, schema: Schema, payload: Value) -> Result<(Schema, Value), SchemaError> {
    match step(payload) {
        Ok(payload) => {
            let version = schema.version.saturating_add(1);
            Ok((Schema { version, ..schema }, payload))
        }
        Err(source) => Err(SchemaError::Upcast {
            from: schema,
            source,
        }),
    }
}

/// Reads a payload as a type that has no older versions.
///
/// # Errors
/// As [`Upcasters::decode`].
pub fn decode<T: TypedEvent>(header: &Header, payload: &[u8]) -> Result<T, SchemaError> {
    Upcasters::new().decode(header, payload)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::event::NewEvent;
    use crate::vectors::header_1;

    /// What was said, in its third shape.
    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Message {
        role: String,
        words: u128,
    }

    impl TypedEvent for Message {
        const TYPE: &'static str = "chat.message";
        const VERSION: u32 = 3;
        const DISCLOSABLE: bool = true;
    }

    fn rename_who(mut payload: Value) -> Result<Value, UpcastError> {
        let object = payload
            .as_object_mut()
            .ok_or_else(|| UpcastError::new("not an object"))?;
        let who = object
            .remove("who")
            .ok_or_else(|| UpcastError::new("no who"))?;
        object.insert("role".to_owned(), who);
        Ok(payload)
    }

    fn count_words(mut payload: Value) -> Result<Value, UpcastError> {
        let object = payload
            .as_object_mut()
            .ok_or_else(|| UpcastError::new("not an object"))?;
        object.insert("words".to_owned(), Value::from(0));
        Ok(payload)
    }

    fn upcasters() -> Upcasters {
        let mut upcasters = Upcasters::new();
        upcasters.register("chat.message", 1, rename_who).unwrap();
        upcasters.register("chat.message", 2, count_words).unwrap();
        upcasters
    }

    fn decode_as(version: u32, payload: &str) -> Result<Message, SchemaError> {
        let mut header = header_1();
        header.schema_version = version;
        upcasters().decode(&header, payload.as_bytes())
    }

    #[test]
    fn a_typed_event_goes_there_and_back() {
        let message = Message {
            role: "user".to_owned(),
            words: u128::MAX,
        };
        let event = NewEvent::typed(&message, "run-1").unwrap();
        assert_eq!(
            (event.event_type.as_str(), event.schema_version),
            ("chat.message", 3)
        );
        assert!(event.fields);
        // A number that a JSON value would round.
        let json = std::str::from_utf8(&event.payload).unwrap();
        assert_eq!(decode_as(3, json).unwrap(), message);
    }

    #[test]
    fn old_payloads_are_taken_to_the_newest_version() {
        let newest = Message {
            role: "user".to_owned(),
            words: 0,
        };
        assert_eq!(decode_as(1, r#"{"who":"user"}"#).unwrap(), newest);
        assert_eq!(decode_as(2, r#"{"role":"user"}"#).unwrap(), newest);
        let old = Value::from_iter([("who", "user")]);
        let (schema, value) = upcasters()
            .newest(Schema::new("chat.message", 1), old)
            .unwrap();
        assert_eq!(schema, Schema::of::<Message>());
        assert_eq!(value["words"], 0);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let code = |found: Result<Message, SchemaError>| found.unwrap_err().code();
        assert_eq!(code(decode_as(4, "{}")), "schema_newer");
        assert_eq!(code(decode_as(3, "{}")), "schema_shape");
        assert_eq!(code(decode_as(2, "{")), "schema_shape");
        assert_eq!(code(decode_as(1, "{}")), "schema_upcast_failed");
        assert_eq!(code(decode_as(0, "{}")), "schema_no_upcaster");
        let mut header = header_1();
        header.event_type = "chat.other".into();
        assert_eq!(code(decode(&header, b"{}")), "schema_wrong_type");
        let twice = upcasters()
            .register("chat.message", 2, count_words)
            .unwrap_err();
        assert_eq!(
            twice.to_string(),
            "something takes chat.message@2 to the next version already"
        );
    }

    #[test]
    fn the_json_schema_names_the_members() {
        let schema = json_schema::<Message>();
        assert_eq!(schema["description"], "What was said, in its third shape.");
        assert_eq!(schema["required"], Value::from_iter(["role", "words"]));
    }
}
