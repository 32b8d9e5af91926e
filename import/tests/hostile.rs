//! Recordings that are damaged, absurd or meant to harm: nothing panics, what is rejected says where
//! it stands, and memory stays bounded.
//!
//! Real recordings are looked for in `RUNSTONE_DATA`, else in `shared/data` beside the workspace.
//! `RUNSTONE_HOSTILE=N` does everything N times as much; `RUNSTONE_SEED` changes what is done.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail on whatever is not as expected"
)]

#[path = "hostile/check.rs"]
mod check;
#[path = "hostile/damage.rs"]
mod damage;
#[path = "hostile/huge.rs"]
mod huge;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use check::{Item, check};
use runstone_import::{DETECT_BYTES, Format, Importer, Options, detect};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const CLOUD_EVENTS: &str = r#"[
 {"specversion":"1.0","id":"1","source":"/runs/7","type":"tool.call.requested","time":"2026-02-09T07:36:25Z","data":{"call_id":"c","name":"f","arguments":{"n":1e400}}},
 {"specversion":"1.0","id":"2","source":"/runs/7","type":"com.example.paid","subject":"x","data":{"amount":340282366920938463463374607431768211455}}
]"#;

/// What a variable of the environment says.
fn given(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told how much to do, and where its data is"
    )]
    std::env::var(name).ok()
}

/// How many times as much is to be done.
fn times() -> usize {
    given("RUNSTONE_HOSTILE").map_or(1, |times| times.parse().unwrap())
}

/// A generator of reproducible numbers (splitmix64).
#[derive(Debug)]
struct Seeded(u64);

impl Seeded {
    fn new() -> Self {
        Self(given("RUNSTONE_SEED").map_or(7, |seed| seed.parse().unwrap()))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^= number >> 31;
        usize::try_from(number % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A recording that is as it should be.
#[derive(Debug)]
struct Recording {
    name: String,
    format: Format,
    bytes: Vec<u8>,
}

/// Every recording there is, and one of each format that there is none of.
fn recordings() -> Vec<Recording> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = given("RUNSTONE_DATA").map_or_else(beside, PathBuf::from);
    let mut all = vec![Recording {
        name: "cloudevents".to_owned(),
        format: Format::CloudEvents,
        bytes: CLOUD_EVENTS.as_bytes().to_vec(),
    }];
    let mut open = vec![data.clone()];
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.ends_with("prior-art") {
            let entries = fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.to_string_lossy();
        if path.is_dir() || name.contains("README") || name.ends_with(".metadata.json") {
            continue;
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        if let Some(format) = detect(&bytes[..bytes.len().min(DETECT_BYTES)]) {
            all.push(Recording {
                name: name.into_owned(),
                format,
                bytes,
            });
        }
    }
    if all.len() == 1 {
        // Not eprintln, which a passing test swallows.
        let told = format!(
            "SKIPPED: no recordings at {}; set RUNSTONE_DATA\n",
            data.display()
        );
        std::io::stderr().write_all(told.as_bytes()).unwrap();
    } else {
        let known = |format: &Format| all.iter().any(|one| one.format == *format);
        assert!(Format::all().iter().all(known), "a format has no recording");
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn import(format: Format, bytes: &[u8]) -> Vec<Item> {
    Importer::new(format, bytes, Options::default()).collect()
}

/// The members of a container, in the order in which they stand.
fn unpacked(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let count = archive.len();
    let mut member = |at| {
        let mut member = archive.by_index(at).unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut member, &mut content).unwrap();
        (member.name().unwrap().into_owned(), content)
    };
    (0..count).map(&mut member).collect()
}

fn packed(members: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (at, (name, content)) in members.iter().enumerate() {
        // One name stands once.
        let name = if members[..at].iter().any(|one| one.0 == *name) {
            format!("{name}.{at}")
        } else {
            name.clone()
        };
        zip.start_file(name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
