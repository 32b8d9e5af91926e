//! Recordings of pi.

use std::collections::BTreeMap;
use std::path::Path;

use runstone_codec::event::Draft;
use runstone_import::Format;

use super::{Counts, data, drafts, files, read, read_bytes, same, stated};

/// How many events of a type there are.
fn of_type(events: &[Draft], name: &str) -> u64 {
    let found = events.iter().filter(|one| one.event.event_type == name);
    found.count() as u64
}

/// Counts by the names that other READMEs use for them.
fn renamed(stated: &mut BTreeMap<String, f64>, names: &[(&str, &str)]) {
    for (here, there) in names {
        stated.insert((*here).to_owned(), stated[*there]);
    }
}

#[test]
fn pi_as_stated() {
    let Some(folder) = data("pi-sessions") else {
        return;
    };
    let paths = files(&folder.join("dev"));
    let items: Vec<_> = paths
        .iter()
        .flat_map(|path| read(path, Format::Pi))
        .collect();
    let lines = items.len();
    let events = drafts(items);
    let counts = Counts::of(&events);
    let mut stated = stated(&folder);
    renamed(
        &mut stated,
        &[
            ("input_tokens", "tok_input"),
            ("output_tokens", "tok_output"),
            ("cache_read_input_tokens", "tok_cacheRead"),
            ("cache_creation_input_tokens", "tok_cacheWrite"),
        ],
    );
    stated.insert("usd_micros".to_owned(), stated["cost_usd"] * 1e6);
    counts.check(
        &stated,
        &[
            "runs",
            "tool_calls",
            "tool_results",
            "tool_errors",
            "api_calls",
            "usd_micros",
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ],
    );
    let kinds = [
        ("type_session", of_type(&events, "harness.pi.session")),
        ("type_compaction", of_type(&events, "harness.pi.compaction")),
        (
            "type_model_change",
            of_type(&events, "harness.pi.model_change"),
        ),
        (
            "type_thinking_level_change",
            of_type(&events, "harness.pi.thinking_level_change"),
        ),
        (
            "type_message",
            of_type(&events, "chat.message") + of_type(&events, "harness.pi.message.bashexecution"),
        ),
        ("lines", lines as u64),
    ];
    for (name, count) in kinds {
        assert_eq!(count.to_string(), stated[name].to_string(), "{name}");
    }
    let unanswered = stated["tool_calls"] - stated["tool_results"];
    assert_eq!(
        counts.get("unanswered_calls").to_string(),
        unanswered.to_string()
    );
}

/// Every shorter recording gives the beginning of what the whole one gives.
fn grows(path: &Path, format: Format, lengths: &[usize]) {
    let bytes = std::fs::read(path).unwrap();
    let whole = drafts(read_bytes(&bytes, format));
    for length in lengths {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').take(*length);
        let some = drafts(read_bytes(&lines.collect::<Vec<_>>().concat(), format));
        assert!(!some.is_empty() && some.len() < whole.len());
        assert!(some.iter().zip(&whole).all(|(one, other)| same(one, other)));
    }
}

#[test]
fn a_growing_pi_session_gives_what_it_gave_before() {
    if let Some(folder) = data("pi-sessions") {
        let path = files(&folder.join("dev")).remove(0);
        grows(&path, Format::Pi, &[1, 2, 100, 360, 1002]);
    }
}
