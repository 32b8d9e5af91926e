//! Attributes, and members of content as such.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use runstone_codec::Text;
use runstone_store::{Payload, Record};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Attributes of a span, a log record or a resource.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    pub(super) fn into_inner(self) -> Vec<KeyValue> {
        self.0
    }

    fn put(&mut self, key: impl Into<String>, value: Value) {
        self.0.push(KeyValue {
            key: key.into(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }

    pub(super) fn text(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.put(key, Value::StringValue(value.into()));
    }

    /// A number that no signed one can say is text.
    pub(super) fn number(&mut self, key: &str, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.put(key, Value::IntValue(value)),
            Err(_) => self.text(key, value.to_string()),
        }
    }

    pub(super) fn number_if(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    pub(super) fn flag(&mut self, key: &str) {
        self.put(key, Value::BoolValue(true));
    }

    pub(super) fn texts(&mut self, key: &str, values: &[Text]) {
        let values = values.iter().map(|value| AnyValue {
            value: Some(Value::StringValue(value.to_string())),
        });
        let values = values.collect();
        self.put(key, Value::ArrayValue(ArrayValue { values }));
    }

    /// JSON: text, whole numbers of 64 bits, fractions and truths as such, anything else as it is
    /// written.
    pub(super) fn json(&mut self, key: impl Into<String>, json: &RawValue) {
        let text = json.get();
        let is_whole = !text.contains(['.', 'e', 'E']);
        let value = match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str(text).ok().map(Value::StringValue),
            Some(b't' | b'f') => serde_json::from_str(text).ok().map(Value::BoolValue),
            Some(b'-' | b'0'..=b'9') if is_whole => text.parse().ok().map(Value::IntValue),
            Some(b'-' | b'0'..=b'9') => {
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                number.map(Value::DoubleValue)
            }
            _ => None,
        };
        self.put(
            key,
            value.unwrap_or_else(|| Value::StringValue(text.to_owned())),
        );
    }
}

/// Members of content that may leave, by name.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<String, Box<RawValue>>);

impl Members {
    /// Takes those of an event besides; they count before those that were taken already.
    pub(super) fn take(&mut self, record: &Record) {
        let Payload::Open(bytes) = &record.payload else {
            return;
        };
        let members: Result<BTreeMap<_, _>, _> = serde_json::from_slice(bytes);
        self.0.extend(members.unwrap_or_default());
    }

    /// A member that has an attribute of its own; it is not among the rest then.
    pub(super) fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.0.remove(name)
    }

    /// The same, if it is text.
    pub(super) fn remove_text(&mut self, name: &str) -> Option<String> {
        let text = self.0.get(name)?;
        let text = serde_json::from_str(text.get()).ok()?;
        self.0.remove(name);
        Some(text)
    }

    /// The rest, each as `runstone.data.NAME`.
    pub(super) fn put_rest(self, attributes: &mut Attributes) {
        for (name, json) in self.0 {
            attributes.json(format!("runstone.data.{name}"), &json);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_value_or_its_text() {
        let value = |json: &str| {
            let mut attributes = Attributes::default();
            attributes.json("a", &RawValue::from_string(json.to_owned()).unwrap());
            let mut all = attributes.into_inner();
            all.remove(0).value.unwrap().value.unwrap()
        };
        let text = |text: &str| Value::StringValue(text.to_owned());
        assert_eq!(value(r#""a\n""#), text("a\n"));
        assert_eq!(value("true"), Value::BoolValue(true));
        assert_eq!(value("-7"), Value::IntValue(-7));
        assert_eq!(value("1.5"), Value::DoubleValue(1.5));
        for other in [
            "340282366920938463463374607431768211455",
            "1e999",
            "null",
            "[1]",
            "{\"a\":1}",
        ] {
            assert_eq!(value(other), text(other));
        }
    }
}
