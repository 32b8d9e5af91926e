//! One line of input: an event, or an array of events that belong together.

use super::written::{Written, bad_line, told};
use crate::error::Report;
use runstone::{Append, Condition, Expected};
use serde_json::value::RawValue;

/// Checks for lines that carry none of their own.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    pub(super) expect: Option<Expected>,
    pub(super) condition: Option<Condition>,
}

/// Reads a line; `None` if there is nothing on it.
pub(super) fn parse(line: &[u8], checks: &Checks) -> Option<Result<Append, Report>> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return None;
    }
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            return Some(Err(bad_line(format!(
                "the line is not utf-8 from byte {at} on"
            ))));
        }
    };
    Some(events(text).and_then(|events| build(events, checks)))
}

fn events(text: &str) -> Result<Vec<Written>, Report> {
    if !text.starts_with('[') {
        return Ok(vec![event(text)?]);
    }
    let elements: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| bad_line(told(&error)))?;
    elements
        .into_iter()
        .map(|element| event(element.get()))
        .collect()
}

/// Reads an object; the members of an event have no order, so an array is none.
fn event(text: &str) -> Result<Written, Report> {
    if !text.starts_with('{') {
        let found: String = text.chars().take(20).collect();
        return Err(bad_line(format!(
            "an event is a JSON object, not `{found}`"
        )));
    }
    serde_json::from_str(text).map_err(|error| bad_line(told(&error)))
}

fn build(events: Vec<Written>, checks: &Checks) -> Result<Append, Report> {
    let mut append = Append::new([]);
    let mut expected_of: Vec<String> = Vec::new();
    let mut has_condition = false;
    for mut written in events {
        if let Some(expected) = written.expectation()? {
            append = append.expect(written.stream.clone(), expected);
            expected_of.push(written.stream.clone());
        }
        if let Some(condition) = written.condition()? {
            append = append.condition(condition);
            has_condition = true;
        }
        append.events.push(written.event()?);
    }
    if let Some(expected) = checks.expect {
        for event in append.events.clone() {
            if !expected_of.contains(&event.stream) {
                append = append.expect(event.stream.clone(), expected);
                expected_of.push(event.stream);
            }
        }
    }
    if let (false, Some(condition)) = (has_condition, &checks.condition) {
        append = append.condition(condition.clone());
    }
    Ok(append)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use runstone::Query;

    fn read(line: &str) -> Append {
        parse(line.as_bytes(), &Checks::default()).unwrap().unwrap()
    }

    fn refused(line: &str) -> String {
        let report = parse(line.as_bytes(), &Checks::default())
            .unwrap()
            .unwrap_err();
        assert_eq!(report.exit, Exit::Usage);
        report.message
    }

    #[test]
    fn payload_bytes_survive() {
        for data in [
            "340282366920938463463374607431768211455",
            "-0",
            "1e999",
            "0.10000000000000000000000000000000000001",
            r#"{"b":1,"a":2,"b":3}"#,
            r#"{ "a" :  [ 1 ,2 ] }"#,
            "null",
            r#""\u00e9\ud83d\ude00""#,
            "true",
        ] {
            let append = read(&format!(r#"{{"type":"a.b","stream":"s","data":{data} }}"#));
            assert_eq!(append.events[0].payload, data.as_bytes());
        }
    }

    #[test]
    fn every_member_is_taken_in() {
        let id = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        let append = read(
            &format!(
                r#"{{"type":"a.b","stream":"s","data":{{}},"id":"{id}","tags":["k:v"],"source":"me",
                "occurred_at":"1970-01-01T00:00:01Z","scope":"c","causation":"{id}",
                "correlation":"{id}","schema_version":3,"fields":true,"expect":4,
                "if_none":"tag=k:v","after":7}}"#
            )
            .replace('\n', ""),
        );
        let event = &append.events[0];
        assert_eq!(event.event_id, Some(id.parse().unwrap()));
        assert_eq!(
            (event.causation, event.correlation),
            (event.event_id, event.event_id)
        );
        assert_eq!(
            (event.tags.as_slice(), event.source.as_str()),
            (["k:v".into()].as_slice(), "me")
        );
        assert_eq!(
            (event.occurred_at_us, event.schema_version),
            (Some(1_000_000), 3)
        );
        assert_eq!((event.scope.as_deref(), event.fields), (Some("c"), true));
        assert_eq!(append.expected, [("s".to_owned(), Expected::Exact(4))]);
        assert_eq!(append.conditions[0].after, Some(7));
    }

    #[test]
    fn an_array_is_one_append() {
        let append = read(
            r#"[{"type":"a.b","stream":"s","data":1,"expect":"none"},{"type":"a.c","stream":"t","data":2}]"#,
        );
        assert_eq!(append.events.len(), 2);
        assert_eq!(append.expected, [("s".to_owned(), Expected::NoStream)]);
        assert!(read("[]").events.is_empty());
    }

    #[test]
    fn flags_are_for_lines_that_do_not_say() {
        let checks = Checks {
            expect: Some(Expected::NoStream),
            condition: Some(Condition::none(Query::tag("k:v"))),
        };
        let line = br#"[{"type":"a.b","stream":"s","data":1,"expect":3},{"type":"a.b","stream":"t","data":1}]"#;
        let append = parse(line, &checks).unwrap().unwrap();
        let want = [
            ("s".to_owned(), Expected::Exact(3)),
            ("t".to_owned(), Expected::NoStream),
        ];
        assert_eq!(append.expected, want);
        assert_eq!(append.conditions.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let unknown = refused(r#"{"type":"a.b","stream":"s","data":1,"colour":"red"}"#);
        assert!(
            unknown.contains("colour") && unknown.contains("`if_none`"),
            "{unknown}"
        );
        assert!(refused(r#"{"type":"a.b","stream":"s"}"#).contains("data"));
        assert!(refused(r#"{"type":"a.b","stream":"s","data":1}}"#).contains("column 37"));
        assert!(refused(r#"{"type":"a.b","stream":"s","data":1,"expect":-1}"#).contains("expect"));
        assert!(refused(r#"{"type":"a.b","stream":"s","data":1,"after":1}"#).contains("if_none"));
        let time = refused(r#"{"type":"a.b","stream":"s","data":1,"occurred_at":"now"}"#);
        assert!(time.contains("occurred_at"), "{time}");
        assert!(refused(r#"{"type":"a.b","stream":"s","data":1,"id":"zz"}"#).contains("id `zz`"));
        for none in ["7", "null", "x", "[[]]", r#"[["a.b","s",1]]"#, "[1]"] {
            assert!(refused(none).contains("JSON object"), "{none}");
        }
    }

    #[test]
    fn any_bytes_are_answered() {
        let checks = Checks::default();
        assert!(parse(b" \r", &checks).is_none());
        let bad = parse(b"{\"type\":\"\xff\"}", &checks).unwrap().unwrap_err();
        assert_eq!(bad.message, "the line is not utf-8 from byte 9 on");
        let deep = format!(
            r#"{{"type":"a.b","stream":"s","data":{}"#,
            "[".repeat(100_000)
        );
        assert!(parse(deep.as_bytes(), &checks).unwrap().is_err());
        let deep = format!(
            r#"{{"type":"a.b","stream":"s","expect":{}"#,
            "[".repeat(100_000)
        );
        assert!(parse(deep.as_bytes(), &checks).unwrap().is_err());
    }
}
