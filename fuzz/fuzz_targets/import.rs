//! Recordings in every format, and telling the format. The first byte selects the format, the second
//! the limits and how much the reader gives at once.

#![no_main]

#[path = "../../import/tests/hostile/check.rs"]
mod check;

use check::{Item, check, same};
use libfuzzer_sys::fuzz_target;
use runstone_fuzz::Input;
use runstone_import::{Format, Importer, Options, RejectReason, Rejected, detect};
use std::io::BufReader;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (format, how) = (usize::from(input.byte()), input.byte());
    let bytes = input.0;
    let told = detect(bytes);
    let formats = Format::all();
    let format = match formats.get(format % (formats.len() + 1)) {
        Some(format) => *format,
        None => told.unwrap_or(formats[0]),
    };
    let mut options = Options::new();
    if how & 1 == 1 {
        options = options.record_bytes(100).records(3).members(2);
        options.limits.payload_bytes = 90;
    } else {
        options = options.receipt_key("k");
    }
    let items: Vec<_> = Importer::new(format, bytes, options.clone()).collect();
    if how & 1 == 0 {
        check(&items, bytes);
    }
    // However it comes, the same is read.
    let reader = BufReader::with_capacity(1 + usize::from(how >> 1) % 16, bytes);
    let again: Vec<_> = Importer::new(format, reader, options.clone()).collect();
    assert_eq!(items.len(), again.len());
    for (one, other) in items.iter().zip(&again) {
        assert!(alike(one, other), "{one:?}\n{other:?}");
    }
    // Before it grew, it gave what came first. The other formats are written at once, or named by
    // several messages.
    if !matches!(
        format,
        Format::ClaudeCode
            | Format::Pi
            | Format::OpenClaw
            | Format::CloudEvents
            | Format::MyceliumReceipts
            | Format::ZuJsonl
    ) {
        return;
    }
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let ends: Vec<_> = ends.map(|(at, _)| at + 1).collect();
    if let Some(end) = ends.get(usize::from(how) % ends.len().max(1)) {
        let before: Vec<_> = Importer::new(format, &bytes[..*end], options).collect();
        let read = |items: &[Item]| items.iter().filter(|item| item.is_ok()).cloned().collect();
        let (before, items): (Vec<Item>, Vec<Item>) = (read(&before), read(&items));
        assert!(before.len() <= items.len());
        for (one, other) in before.iter().zip(&items) {
            assert!(alike(one, other), "{one:?}\n{other:?}");
        }
    }
});

fn alike(one: &Item, other: &Item) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            let place = (&one.stream, &one.member, one.line, one.bytes_read);
            place == (&other.stream, &other.member, other.line, other.bytes_read)
                && one.drafts.len() == other.drafts.len()
                && one
                    .drafts
                    .iter()
                    .zip(&other.drafts)
                    .all(|(one, other)| same(one, other))
        }
        // Which of two things that are wrong with a compressed member is found first hangs on how
        // much of it is there.
        (Err(one), Err(other)) => {
            let is_bad = |item: &Rejected| matches!(item.reason, RejectReason::BadMember { .. });
            let is_same_place = (&one.member, one.line) == (&other.member, other.line);
            one == other || is_same_place && (is_bad(one) || is_bad(other))
        }
        _ => false,
    }
}
