//! Names of transcripts' streams.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::format::Format;
use crate::identity::{hex_digest, short_digest};
use crate::json::{Object, string};
use crate::reject::RejectReason;

/// Hexadecimal digits of the first message's digest.
const OPENING_DIGITS: usize = 8;
/// Hexadecimal digits in place of an id.
const RUN_DIGITS: usize = 16;

/// A stream's name by how its run begins and the run's id.
pub(super) fn base_name(prefix: &str, id: Option<&str>, opening: &[&RawValue]) -> String {
    let first = opening
        .first()
        .map(|message| content(message))
        .unwrap_or_default();
    let run = id.map_or_else(
        || {
            let digests: Vec<u8> = opening
                .iter()
                .flat_map(|one| short_digest(one.get().as_bytes()))
                .collect();
            hex_digest(&digests, RUN_DIGITS)
        },
        str::to_owned,
    );
    format!(
        "{prefix}{}/{}/{run}",
        Format::Messages,
        hex_digest(&first, OPENING_DIGITS)
    )
}

/// The text of a message's content, or its JSON if it is none.
fn content(message: &RawValue) -> Vec<u8> {
    let Ok(object) = Object::parse(message.get(), "message") else {
        return message.get().as_bytes().to_vec();
    };
    let Some(content) = object.get("content") else {
        return Vec::new();
    };
    string(content).map_or_else(
        || content.get().as_bytes().to_vec(),
        |text| text.into_owned().into_bytes(),
    )
}

/// Names that a recording has used. Runs of one name are told apart by a number, unless one goes on
/// where another ended: then it is the same run, recorded later.
#[derive(Debug)]
pub(super) struct Names {
    used: BTreeMap<String, Used>,
    count: usize,
    max: usize,
}

#[derive(Debug, Default)]
struct Used {
    runs: u32,
    /// Which run ended after so many messages with this digest.
    ends: BTreeMap<(usize, [u8; 16]), u32>,
}

impl Names {
    pub(super) fn new(max: usize) -> Self {
        Self {
            used: BTreeMap::new(),
            count: 0,
            max,
        }
    }

    /// The stream of a run whose messages are known.
    pub(super) fn of_run(
        &mut self,
        base: String,
        messages: &[&RawValue],
    ) -> Result<String, RejectReason> {
        self.count()?;
        let used = self.used.entry(base.clone()).or_default();
        let (mut digest, mut known) = ([0; 16], None);
        for (at, message) in messages.iter().enumerate() {
            digest = link(digest, message);
            if let Some(run) = used.ends.remove(&(at + 1, digest)) {
                known = Some(run);
            }
        }
        let run = known.unwrap_or_else(|| used.next());
        used.ends.insert((messages.len(), digest), run);
        Ok(numbered(base, run))
    }

    /// The stream of a run whose messages are still to come.
    pub(super) fn of_loose(&mut self, base: String) -> Result<String, RejectReason> {
        self.count()?;
        let run = self.used.entry(base.clone()).or_default().next();
        Ok(numbered(base, run))
    }

    fn count(&mut self) -> Result<(), RejectReason> {
        if self.count >= self.max {
            return Err(RejectReason::TooManyRecords { max: self.max });
        }
        self.count += 1;
        Ok(())
    }
}

impl Used {
    fn next(&mut self) -> u32 {
        self.runs = self.runs.saturating_add(1);
        self.runs
    }
}

fn link(before: [u8; 16], message: &RawValue) -> [u8; 16] {
    let mut both = before.to_vec();
    both.extend(short_digest(message.get().as_bytes()));
    short_digest(&both)
}

fn numbered(base: String, run: u32) -> String {
    if run == 1 {
        base
    } else {
        format!("{base}~{run}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(json: &[&'static str]) -> Vec<&'static RawValue> {
        json.iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }

    #[test]
    fn a_longer_recording_of_a_run_keeps_its_name() {
        let mut names = Names::new(9);
        let mut name = |run: &[&'static str]| names.of_run("b".to_owned(), &values(run)).unwrap();
        assert_eq!(name(&["1", "2"]), "b");
        assert_eq!(name(&["1", "3"]), "b~2");
        assert_eq!(name(&["1", "2", "4"]), "b");
        assert_eq!(name(&["1", "3", "4"]), "b~2");
        assert_eq!(name(&["1", "2", "4"]), "b");
        assert_eq!(name(&["1", "2"]), "b~3");
        assert_eq!(names.of_loose("c".to_owned()).unwrap(), "c");
        assert_eq!(names.of_loose("c".to_owned()).unwrap(), "c~2");
        assert_eq!(names.of_loose("d".to_owned()).unwrap(), "d");
        assert_eq!(
            names.of_loose("e".to_owned()).unwrap_err(),
            RejectReason::TooManyRecords { max: 9 }
        );
    }

    #[test]
    fn names_say_how_a_run_begins() {
        let opening = values(&[r#"{"role":"system","content":""}"#, r#"{"role":"user"}"#]);
        assert_eq!(
            base_name("p/", Some("3-1"), &opening),
            "p/messages/e3b0c442/3-1"
        );
        let by_digest = base_name("", None, &opening);
        assert_eq!(by_digest.len(), "messages/e3b0c442/".len() + 16);
        assert_ne!(by_digest, base_name("", None, &opening[..1]));
        assert!(base_name("", Some("x"), &[]).starts_with("messages/e3b0c442/"));
    }
}
