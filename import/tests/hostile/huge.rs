//! Recordings that are too large to be held. Each is read in a process of its own, whose memory is
//! measured.

use std::fs;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::process::Command;

use runstone_import::{Format, Importer, Options};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{CLOUD_EVENTS, given, times};

/// Most memory that reading may take, with records of at most 1 MiB.
const SMALL_MIB: u64 = 32;
/// Most memory that reading may take, with records of the default length.
const DEFAULT_MIB: u64 = 160;
const MIB: usize = 1 << 20;
const LINE_BYTES: u64 = 100 << 20;

/// Whether this is a process for this test alone, whose memory can be measured. In any other one it
/// is started, and must succeed.
fn alone(test: &str) -> bool {
    if given("RUNSTONE_ALONE").is_some_and(|alone| alone == test) {
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let ran = Command::new(this)
        .args(["--exact", test, "--test-threads", "1"])
        .env("RUNSTONE_ALONE", test)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && told.contains("1 passed"), "{told}");
    false
}

/// The most memory this process ever had.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.unwrap().trim().trim_end_matches("kB").trim();
    kib.parse::<u64>().unwrap() / 1024
}

/// Reads on and on: events, and the codes of what is rejected, of which the first few are kept.
fn count(format: Format, reader: impl Read + Send, options: Options) -> (usize, Vec<&'static str>) {
    let reader = BufReader::with_capacity(1 << 17, reader);
    let (mut events, mut rejected) = (0, Vec::new());
    for item in Importer::new(format, reader, options) {
        match item {
            Ok(imported) => events += imported.drafts.len(),
            Err(one) if rejected.len() < 8 => rejected.push(one.code()),
            Err(_) => {}
        }
    }
    (events, rejected)
}

/// One text again and again.
struct Repeated {
    text: &'static [u8],
    at: usize,
}

impl Read for Repeated {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (_, text) = self.text.split_at(self.at);
        let length = text.len().min(into.len());
        into[..length].copy_from_slice(&text[..length]);
        self.at = (self.at + length) % self.text.len();
        Ok(length)
    }
}

fn repeated(text: &str, bytes: u64) -> impl Read + Send + use<> {
    let text = text.repeat((64 << 10) / text.len()).into_bytes().leak();
    Repeated { text, at: 0 }.take(bytes)
}

/// A record of each format that gives events, for what comes after a huge one.
fn small(format: Format) -> &'static str {
    match format {
        Format::Messages => r#"{"messages":[{"role":"user","content":"x"}]}"#,
        Format::ClaudeCode => {
            r#"{"type":"user","uuid":"1","sessionId":"s","message":{"role":"user","content":"x"}}"#
        }
        Format::Pi => r#"{"type":"session","id":"s","timestamp":"2025-12-09T00:53:29Z","cwd":"/"}"#,
        Format::OpenClaw => {
            r#"{"type":"tool.start","toolName":"f","params":{},"sessionKey":"s","timestamp":1}"#
        }
        Format::SweAgent => r#"{"trajectory":[{"action":"ls","observation":"x"}],"history":[]}"#,
        Format::CloudEvents => CLOUD_EVENTS,
        Format::OtelGenai => r#"{"spans":[{"context":{"trace_id":1,"span_id":2}}]}"#,
        Format::Inspect => r#"{"eval":{"eval_id":"e"}}"#,
        _ => panic!("a format without a small record"),
    }
}

#[test]
fn a_line_of_100_mb_is_passed_over() {
    if !alone("huge::a_line_of_100_mb_is_passed_over") {
        return;
    }
    // One of each framing, or all.
    let some = [
        Format::Messages,
        Format::ClaudeCode,
        Format::OtelGenai,
        Format::Inspect,
    ];
    let formats = if times() > 1 { Format::all() } else { &some };
    for format in formats {
        let small = format!("\n{}\n", small(*format));
        let (events, rejected) = count(*format, small.as_bytes(), Options::new());
        assert!(events > 0 && rejected.is_empty(), "{format}");
        let huge = Cursor::new(r#"{"a":""#)
            .chain(repeated("x", LINE_BYTES))
            .chain(Cursor::new("\"}"))
            .chain(Cursor::new(small));
        let found = count(*format, huge, Options::new().record_bytes(MIB));
        assert_eq!(found, (events, vec!["import_record_too_large"]), "{format}");
    }
    assert!(peak_mib() < SMALL_MIB, "{} MiB", peak_mib());
}

#[test]
fn the_default_length_of_records_bounds_memory() {
    if !alone("huge::the_default_length_of_records_bounds_memory") {
        return;
    }
    for format in [Format::ClaudeCode, Format::Messages] {
        let huge = Cursor::new(r#"{"a":""#).chain(repeated("x", LINE_BYTES));
        let (events, rejected) = count(format, huge, Options::new());
        assert_eq!((events, rejected.len()), (0, 1), "{format}");
    }
    assert!(peak_mib() < DEFAULT_MIB, "{} MiB", peak_mib());
}

#[test]
fn records_of_nothing_but_brackets_are_bounded() {
    if !alone("huge::records_of_nothing_but_brackets_are_bounded") {
        return;
    }
    let bytes = (times() as u64) << 19;
    for format in Format::all() {
        for text in ["[", "{\"a\":", "{},", "[[],", "\"a\":", "0,", "\n[", "\\\""] {
            count(
                *format,
                repeated(text, bytes),
                Options::new().record_bytes(MIB),
            );
        }
    }
    assert!(peak_mib() < SMALL_MIB, "{} MiB", peak_mib());
}

/// A log with so many samples, made while it is read.
struct Samples {
    left: usize,
    at: usize,
    now: Cursor<Vec<u8>>,
}

impl Samples {
    fn new(count: usize) -> Self {
        let begin = br#"{"version":2,"eval":{"eval_id":"e"},"samples":[{"id":0,"epoch":1}"#;
        Self {
            left: count,
            at: 0,
            now: Cursor::new(begin.to_vec()),
        }
    }
}

impl Read for Samples {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.now.read(into)?;
        if read > 0 || self.at > self.left {
            return Ok(read);
        }
        self.at += 1;
        let next = if self.at > self.left {
            "]}".to_owned()
        } else {
            let said = "x".repeat(64 << 10);
            let message = format!(r#"{{"role":"user","content":"{said}"}}"#);
            format!(
                r#",{{"id":{},"epoch":1,"messages":[{message},{message}]}}"#,
                self.at
            )
        };
        self.now = Cursor::new(next.into_bytes());
        self.now.read(into)
    }
}

#[test]
fn a_document_of_any_length_is_read_sample_by_sample() {
    if !alone("huge::a_document_of_any_length_is_read_sample_by_sample") {
        return;
    }
    let samples = 250 * times();
    let options = Options::new().record_bytes(MIB);
    let (events, rejected) = count(Format::Inspect, Samples::new(samples), options);
    // The evaluation, its version and itself; a sample without messages; five events of each other.
    assert_eq!((events, rejected), (3 + 3 + 5 * samples, Vec::new()));
    assert!(peak_mib() < SMALL_MIB, "{} MiB", peak_mib());
}

/// A container with one member that expands to so many bytes.
fn bomb(bytes: u64, method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(method)
        .large_file(true);
    let mut member = |name: &str, mut content: Box<dyn Read>| {
        zip.start_file(name, options).unwrap();
        io::copy(&mut content, &mut zip).unwrap();
    };
    member("header.json", Box::new(&br#"{"eval":{"eval_id":"e"}}"#[..]));
    member("samples/bomb.json", Box::new(io::repeat(b' ').take(bytes)));
    member("samples/1.json", Box::new(&br#"{"id":1,"epoch":1}"#[..]));
    zip.finish().unwrap().into_inner()
}

#[test]
fn containers_that_expand_to_more_are_given_up() {
    if !alone("huge::containers_that_expand_to_more_are_given_up") {
        return;
    }
    for (method, bytes) in [
        (CompressionMethod::Zstd, 1 << 30),
        (CompressionMethod::Deflated, 1 << 25),
    ] {
        let bomb = bomb(bytes, method);
        assert!(bomb.len() < MIB);
        let dense = count(Format::Inspect, bomb.as_slice(), Options::new());
        assert_eq!(dense, (5, vec!["import_member_too_dense"]), "{method}");
        let options = Options::new().member_ratio(u64::MAX).record_bytes(MIB);
        let large = count(Format::Inspect, bomb.as_slice(), options);
        assert_eq!(large, (5, vec!["import_record_too_large"]), "{method}");
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for at in 0..5_000 {
        let options = SimpleFileOptions::default();
        zip.start_file(format!("samples/{at}.json"), options)
            .unwrap();
        zip.write_all(b"7").unwrap();
    }
    let many = zip.finish().unwrap().into_inner();
    let options = Options::new().members(1000);
    let mut items = Importer::new(Format::Inspect, many.as_slice(), options);
    let last = items.by_ref().last().unwrap().unwrap_err();
    assert_eq!(last.code(), "import_too_many_members");
    assert!(peak_mib() < 2 * SMALL_MIB, "{} MiB", peak_mib());
}
