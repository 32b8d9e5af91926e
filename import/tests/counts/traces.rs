//! Recordings of Inspect and of OpenTelemetry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use runstone_codec::event::Draft;
use runstone_import::events::{ChatMessage, control};
use runstone_import::{Format, Importer, Options, detect};
use serde_json::value::RawValue;
use uuid::Uuid;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{Counts, data, drafts, read, read_bytes, same, stated};

/// Recordings in a folder, in the order of their names.
fn recordings(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

fn of_type<'a>(events: &'a [Draft], name: &str) -> impl Iterator<Item = &'a Draft> {
    let name = name.to_owned();
    events
        .iter()
        .filter(move |one| one.event.event_type == name)
}

fn by_id(events: Vec<Draft>) -> BTreeMap<Uuid, Draft> {
    let mut all = BTreeMap::new();
    for draft in events {
        let before = all.insert(draft.event.event_id.unwrap(), draft);
        assert!(before.is_none(), "{before:?}");
    }
    all
}

fn original(draft: &Draft) -> Option<String> {
    let payload: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(&draft.event.payload).unwrap();
    payload.get("original").map(|text| text.get().to_owned())
}

#[test]
fn otel_genai_as_stated() {
    let Some(folder) = data("otel-genai-any-agent") else {
        return;
    };
    let mut events = Vec::new();
    for path in recordings(&folder.join("dev")) {
        let text = fs::read_to_string(&path).unwrap();
        let found = drafts(read(&path, Format::OtelGenai));
        // The first span names the trace, whose every digit is in the streams.
        let (_, trace) = text.split_once("\"trace_id\": ").unwrap();
        let (trace, _) = trace.split_once(',').unwrap();
        assert!(trace.parse::<u128>().unwrap() > u128::from(u64::MAX));
        let prefix = format!("otel-genai/{trace}/");
        assert!(
            found
                .iter()
                .all(|one| one.event.stream.starts_with(&prefix))
        );
        let ids: BTreeSet<_> = found.iter().map(|one| one.event.event_id).collect();
        assert!(
            found
                .iter()
                .all(|one| { one.event.causation.is_none() || ids.contains(&one.event.causation) })
        );
        for span in found.iter().filter_map(original) {
            assert!(text.contains(&span));
        }
        events.extend(found);
    }
    let mut stated = stated(&folder);
    stated.insert("usd_micros".to_owned(), stated["cost_usd"] * 1e6);
    for (here, there) in [
        ("api_calls", "op_call_llm"),
        ("input_tokens", "in_tok"),
        ("output_tokens", "out_tok"),
        ("tool_calls", "op_execute_tool"),
        ("tool_results", "op_execute_tool"),
        ("finished", "op_invoke_agent"),
    ] {
        stated.insert(here.to_owned(), stated[there]);
    }
    let counts = Counts::of(&events);
    counts.check(
        &stated,
        &[
            "runs",
            "usd_micros",
            "api_calls",
            "input_tokens",
            "output_tokens",
            "tool_calls",
            "tool_results",
            "finished",
        ],
    );
    assert_eq!(counts.get("unanswered_calls"), 0);
    let spans = events.iter().filter_map(original).count();
    let ends = of_type(&events, "harness.otel_genai.final_output").count();
    assert_eq!((spans - ends).to_string(), stated["spans"].to_string());
    let agents = of_type(&events, "harness.otel_genai.invoke_agent").count();
    assert_eq!(agents.to_string(), stated["op_invoke_agent"].to_string());
    by_id(events);
}

#[test]
fn a_growing_trace_goes_on_in_its_streams() {
    let Some(folder) = data("otel-genai-any-agent") else {
        return;
    };
    for path in recordings(&folder.join("dev")) {
        let text = fs::read_to_string(&path).unwrap();
        let whole = drafts(read_bytes(text.as_bytes(), Format::OtelGenai));
        for (end, _) in text.match_indices("\n    },") {
            let cut = format!("{}\n    }}\n  ]\n}}", &text[..end]);
            let some = drafts(read_bytes(cut.as_bytes(), Format::OtelGenai));
            assert!(!some.is_empty() && some.len() < whole.len());
            assert!(some.iter().zip(&whole).all(|(one, other)| same(one, other)));
        }
    }
}

/// What the README says of one file: `- dev/NAME: .., usage {'MODEL': {'input_tokens': 1, ..`.
fn usage(readme: &str, name: &str) -> (u64, u64) {
    let line = readme
        .lines()
        .find(|line| line.contains(&format!("{name}:")))
        .unwrap();
    let number = |field: &str| {
        let (_, rest) = line.split_once(&format!("'{field}': ")).unwrap();
        let end = rest.find([',', '}']).unwrap();
        rest[..end].parse().unwrap()
    };
    (number("input_tokens"), number("output_tokens"))
}

#[test]
fn inspect_as_stated() {
    let Some(folder) = data("inspect-logs") else {
        return;
    };
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let (mut events, mut members, mut files) = (Vec::new(), 0, 0);
    for path in recordings(&folder.join("dev")) {
        let name = path.file_name().unwrap().to_string_lossy();
        let items = read(&path, Format::Inspect);
        let inside: BTreeSet<Option<String>> = items
            .iter()
            .map(|item| item.as_ref().unwrap().member.clone())
            .collect();
        members += inside.iter().flatten().count();
        files += 1;
        let found = drafts(items);
        let (read, written) = usage(&readme, &name);
        if of_type(&found, "llm.call.completed").count() == 0 {
            // Nothing but the log as a whole tells of usage, and nothing of calls.
            let stats = of_type(&found, "harness.inspect.stats").next().unwrap();
            let stats = original(stats).unwrap();
            assert!(stats.contains(&format!("\"input_tokens\": {read}")));
            assert_eq!(of_type(&found, "tool.call.failed").count(), 11);
        } else {
            let counts = Counts::of(&found);
            let cached = counts.get("cache_read_input_tokens");
            let tokens = (
                counts.get("input_tokens") + cached,
                counts.get("output_tokens"),
            );
            assert_eq!(tokens, (read, written), "{name}");
            assert_eq!(counts.get("unanswered_calls"), 0);
            let calls = counts.get("api_calls");
            assert_eq!(
                calls,
                of_type(&found, "harness.inspect.model").count() as u64
            );
        }
        events.extend(found);
    }
    let stated = stated(&folder);
    let mut sum = 0.0;
    for (name, count) in &stated {
        if let Some(kind) = name.strip_prefix("ev_") {
            let found = of_type(&events, &format!("harness.inspect.{kind}")).count();
            assert_eq!(found.to_string(), count.to_string(), "{name}");
            sum += count;
        }
    }
    assert_eq!(sum.to_string(), stated["events"].to_string());
    let parents = of_type(&events, "run.started")
        .filter(|one| one.control.get_text(control::PARENT).is_some());
    let found = [
        ("samples", parents.count()),
        ("messages", of_type(&events, "chat.message").count()),
        (
            "tool_calls",
            of_type(&events, "tool.call.requested").count(),
        ),
        ("zip_entries", members),
        ("files", files),
    ];
    for (name, count) in found {
        assert_eq!(count.to_string(), stated[name].to_string(), "{name}");
    }
    let all = by_id(events);
    assert!(
        all.values()
            .all(|one| one.event.causation.is_none_or(|id| all.contains_key(&id)))
    );
}

/// A conversation stands in the order in which it was held.
#[test]
fn messages_stand_among_the_events() {
    let Some(folder) = data("inspect-logs") else {
        return;
    };
    let path = folder.join("dev/2025-05-12T20-27-36-04-00_browser.json");
    let events = drafts(read(&path, Format::Inspect));
    let turns = events.iter().filter_map(|one| {
        let kind = one.event.event_type.as_str();
        if kind != "chat.message" {
            let told = [
                "llm.call.completed",
                "tool.call.requested",
                "tool.call.completed",
            ];
            return told.contains(&kind).then(|| kind.to_owned());
        }
        let said: ChatMessage = serde_json::from_slice(&one.event.payload).unwrap();
        Some(said.role)
    });
    let turns: Vec<String> = turns.collect();
    let call = [
        "llm.call.completed",
        "assistant",
        "tool.call.requested",
        "tool.call.completed",
        "tool",
    ];
    let want: Vec<&str> = ["user"]
        .into_iter()
        .chain(call.into_iter().cycle().take(4 * call.len()))
        .chain(["llm.call.completed", "assistant"])
        .collect();
    assert_eq!(turns, want);
}

/// The members of a container, in the order in which they stand.
fn members(path: &Path) -> Vec<(String, String)> {
    let mut archive = ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let read = |at| {
        let mut member = archive.by_index(at).unwrap();
        let mut text = String::new();
        member.read_to_string(&mut text).unwrap();
        (member.name().unwrap().into_owned(), text)
    };
    let count = ZipArchive::new(fs::File::open(path).unwrap())
        .unwrap()
        .len();
    (0..count).map(read).collect()
}

fn container(members: &[(String, String)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, text) in members {
        zip.start_file(name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The same log as one document.
fn document(members: &[(String, String)]) -> String {
    let of = |name: &str| &members.iter().find(|one| one.0 == name).unwrap().1;
    let samples: Vec<&str> = members
        .iter()
        .filter(|one| one.0.starts_with("samples/"))
        .map(|one| one.1.as_str())
        .collect();
    let header = of("header.json").trim_end().strip_suffix('}').unwrap();
    let (samples, reductions) = (samples.join(",\n"), of("reductions.json"));
    format!("{header}, \"samples\": [{samples}], \"reductions\": {reductions}}}")
}

#[test]
fn a_container_and_a_document_of_one_log_give_the_same() {
    let Some(folder) = data("inspect-logs") else {
        return;
    };
    for path in recordings(&folder.join("dev")) {
        if path.extension().is_none_or(|end| end != "eval") {
            continue;
        }
        let members = members(&path);
        let zipped = by_id(drafts(read(&path, Format::Inspect)));
        let text = document(&members);
        assert_eq!(detect(text.as_bytes()), Some(Format::Inspect));
        let single = by_id(drafts(read_bytes(text.as_bytes(), Format::Inspect)));
        assert_eq!(zipped.len(), single.len());
        for (id, draft) in &zipped {
            assert!(same(draft, &single[id]), "{draft:?} {:?}", single[id]);
        }
        // Laid out in another way it is the same log.
        let names: Vec<&Uuid> = zipped.keys().collect();
        let spread = text.replace('\n', "\n  ");
        let again = by_id(drafts(read_bytes(spread.as_bytes(), Format::Inspect)));
        assert_eq!(again.keys().collect::<Vec<_>>(), names);
        for method in [CompressionMethod::Zstd, CompressionMethod::Stored] {
            let bytes = container(&members, method);
            assert_eq!(detect(&bytes), Some(Format::Inspect));
            let packed = by_id(drafts(read_bytes(&bytes, Format::Inspect)));
            assert_eq!(packed.len(), zipped.len());
            assert!(packed.iter().all(|(id, draft)| same(draft, &zipped[id])));
        }
    }
}

#[test]
fn a_growing_container_goes_on_in_its_streams() {
    let Some(folder) = data("inspect-logs") else {
        return;
    };
    let path = folder.join("dev/log_streaming.eval");
    let bytes = fs::read(&path).unwrap();
    let whole = by_id(drafts(read_bytes(&bytes, Format::Inspect)));
    let mut last = 0;
    for end in (1..bytes.len()).step_by(13).chain([bytes.len()]) {
        let items = read_bytes(&bytes[..end], Format::Inspect);
        let rejected = items.iter().filter(|item| item.is_err()).count();
        assert!(rejected <= 1, "{end}");
        let some: Vec<Draft> = items
            .into_iter()
            .flatten()
            .flat_map(|one| one.drafts)
            .collect();
        assert!(some.len() >= last, "{end}");
        last = some.len();
        assert!(
            some.iter()
                .all(|one| same(one, &whole[&one.event.event_id.unwrap()]))
        );
    }
    assert_eq!(last, whole.len());
}

#[test]
fn bounds_of_containers_name_their_options() {
    let member = |name: &str, text: String| (name.to_owned(), text);
    let start = member(
        "_journal/start.json",
        r#"{"eval":{"eval_id":"e"}}"#.to_owned(),
    );
    let bomb = format!(r#"{{"id":1,"epoch":1,"input":"{}"}}"#, "x".repeat(3 << 20));
    let small = |at: u32| {
        member(
            &format!("samples/{at}.json"),
            format!(r#"{{"id":{at},"epoch":1}}"#),
        )
    };
    let members = [start, member("samples/1.json", bomb), small(2), small(3)];
    let why = |options: Options, method| {
        let bytes = container(&members, method);
        let items: Vec<_> = Importer::new(Format::Inspect, bytes.as_slice(), options).collect();
        let why: Vec<String> = items
            .iter()
            .filter_map(|item| item.as_ref().err())
            .map(ToString::to_string)
            .collect();
        (
            why,
            items
                .into_iter()
                .flatten()
                .map(|one| one.drafts.len())
                .sum::<usize>(),
        )
    };
    let deflated = CompressionMethod::Deflated;
    assert_eq!(
        why(Options::new().member_ratio(2000), deflated),
        (Vec::new(), 11)
    );
    let (dense, events) = why(Options::new(), deflated);
    let want = "samples/1.json line 1: the member expands to more than 1000 times its size (option member_ratio)";
    assert_eq!((dense, events), (vec![want.to_owned()], 8));
    let (large, events) = why(
        Options::new().record_bytes(1 << 20),
        CompressionMethod::Zstd,
    );
    let want = "samples/1.json line 1: the record has 3145757 bytes, at most 1048576 are allowed (option record_bytes)";
    assert_eq!((large, events), (vec![want.to_owned()], 8));
    let (many, events) = why(Options::new().members(2).member_ratio(2000), deflated);
    let want = "samples/2.json line 1: more than 2 members in one container (option members)";
    assert_eq!((many, events), (vec![want.to_owned()], 5));
}
