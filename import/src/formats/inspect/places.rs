//! When the messages of a sample were said.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use crate::json::Object;

/// When messages were said, as far as the events of their sample tell.
#[derive(Debug, Default)]
pub(super) struct Places {
    messages: Vec<Place>,
    /// Ids of calls of tools that have an event of their own.
    tools: BTreeSet<String>,
}

/// When a message was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How many events are before it.
    pub(super) after: usize,
    /// The call of a model that it is the answer to.
    pub(super) answers: Option<usize>,
}

impl Places {
    /// A message was said before the first call of a model that was given it, or after the one that
    /// answered with it. One of which no call tells was said together with the one before it.
    pub(super) fn find(messages: &[&RawValue], events: &[&RawValue]) -> Self {
        let mut by_key = BTreeMap::new();
        for (at, message) in messages.iter().enumerate() {
            if let Some(key) = key(message, at) {
                by_key.entry(key).or_insert(at);
            }
        }
        let (mut found, mut tools) = (BTreeMap::new(), BTreeSet::new());
        for (at, event) in events.iter().enumerate() {
            let Ok(event) = Object::parse(event.get(), "event") else {
                continue;
            };
            match event.text("event").as_deref() {
                Some("tool") => tools.extend(event.text("id").map(String::from)),
                Some("model") => call(&event, at, &by_key, &mut found),
                _ => {}
            }
        }
        let mut last = 0;
        let place = |at: usize| {
            let place = found.get(&at).copied().unwrap_or(Place {
                after: last,
                answers: None,
            });
            last = place.after.max(last);
            Place {
                after: last,
                ..place
            }
        };
        Self {
            messages: (0..messages.len()).map(place).collect(),
            tools,
        }
    }

    /// When the message with this number was said.
    pub(super) fn of(&self, message: usize) -> Place {
        let unknown = Place {
            after: 0,
            answers: None,
        };
        self.messages.get(message).copied().unwrap_or(unknown)
    }

    /// Whether a call of a tool has an event of its own.
    pub(super) fn is_told(&self, call_id: &str) -> bool {
        self.tools.contains(call_id)
    }
}

/// Notes what the call of a model, which is the event `at`, tells of messages.
fn call(
    event: &Object<'_>,
    at: usize,
    by_key: &BTreeMap<String, usize>,
    found: &mut BTreeMap<usize, Place>,
) {
    let mut note = |message: Option<String>, place| {
        if let Some(message) = message.and_then(|key| by_key.get(&key)) {
            found.entry(*message).or_insert(place);
        }
    };
    let given = event.array("input").ok().flatten().unwrap_or_default();
    for (nth, message) in given.iter().enumerate() {
        let place = Place {
            after: at,
            answers: None,
        };
        note(key(message, nth), place);
    }
    let place = Place {
        after: at.saturating_add(1),
        answers: Some(at),
    };
    for answer in answers(event) {
        note(key(answer, given.len()), place);
    }
}

/// The messages that a model answered with.
pub(super) fn answers<'a>(event: &Object<'a>) -> Vec<&'a RawValue> {
    let output = event.object("output").ok().flatten();
    let choices = output.and_then(|output| output.array("choices").ok().flatten());
    let message = |choice: &'a RawValue| Object::parse(choice.get(), "choice").ok()?.get("message");
    choices
        .unwrap_or_default()
        .into_iter()
        .filter_map(message)
        .collect()
}

/// What a message is known by: its id, or in versions that gave none its role and number.
fn key(message: &RawValue, at: usize) -> Option<String> {
    let message = Object::parse(message.get(), "message").ok()?;
    match message.text("id") {
        Some(id) => Some(id.into_owned()),
        None => Some(format!("#{at}/{}", message.text("role")?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(json: &'static str) -> Vec<&'static RawValue> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn messages_are_found_in_the_calls() {
        for (messages, events) in [
            (
                r#"[{"id":"s"},{"id":"u"},{"id":"a"},{"id":"t"},{"id":"b"},{"id":"c"}]"#,
                r#"[{}, {"event":"model","input":[{"id":"s"},{"id":"u"}],"output":{"choices":[{"message":{"id":"a"}}]}},
                    {"event":"tool","id":"7"}, {"event":"model","input":[{"id":"a"},{"id":"t"}],"output":{"choices":[{"message":{"id":"b"}}]}}]"#,
            ),
            (
                r#"[{"role":"s"},{"role":"u"},{"role":"a"},{"role":"t"},{"role":"a"},{"role":"u"}]"#,
                r#"[7, {"event":"model","input":[{"role":"s"},{"role":"u"}],"output":{"choices":[{"message":{"role":"a"}}]}},
                    {"event":"tool","id":"7"}, {"event":"model","input":[1,2,3,{"role":"t"}],"output":{"choices":[{"message":{"role":"a"}}]}}]"#,
            ),
        ] {
            let places = Places::find(&values(messages), &values(events));
            let found: Vec<(usize, Option<usize>)> = (0..6)
                .map(|message| places.of(message))
                .map(|place| (place.after, place.answers))
                .collect();
            let want = [
                (1, None),
                (1, None),
                (2, Some(1)),
                (3, None),
                (4, Some(3)),
                (4, None),
            ];
            assert_eq!(found, want);
            assert!(places.is_told("7") && !places.is_told("8"));
        }
        let places = Places::find(&values("[1,{}]"), &[]);
        assert_eq!((places.of(1).after, places.of(9).after), (0, 0));
    }
}
