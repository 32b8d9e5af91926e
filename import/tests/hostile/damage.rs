//! Damage to real recordings.

use std::collections::BTreeMap;

use runstone_import::Format;
use zip::CompressionMethod;

use super::{Item, Recording, Seeded, check, import, packed, recordings, times, unpacked};

/// What of a recording is damaged again and again; longer ones are also damaged whole.
const PIECE_BYTES: usize = 24 << 10;
/// How often each piece is damaged.
const ROUNDS: usize = 12;

/// What stands where another value stood.
const OTHER_VALUES: [&str; 14] = [
    "null",
    "true",
    "-1",
    "1e400",
    "18446744073709551616",
    "0.1e-9999",
    "\"\"",
    "\"\\ud800\"",
    "\"attachment://x\"",
    "{}",
    "[]",
    "[{}]",
    "{\"a\":[null,{\"b\":[[]]}]}",
    "nul",
];

/// Does damage in one way or another.
fn damage(bytes: &mut Vec<u8>, seeded: &mut Seeded) {
    if bytes.is_empty() {
        return;
    }
    let at = seeded.below(bytes.len());
    match seeded.below(11) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(..at.min(200))),
        2 => bytes[at] = u8::try_from(seeded.below(256)).unwrap(),
        3 => bytes[at] = *seeded.pick(b"\"\\{}[],:\n 0"),
        4 => drop(
            bytes.splice(
                at..at,
                seeded
                    .pick(&[*b"\xff\xfe", *b"\xc3\x28", *b"\x00\x1b"])
                    .to_vec(),
            ),
        ),
        5 | 6 => other_value(bytes, at, seeded),
        7 => {
            let deep = "[".repeat(1 + seeded.below(400));
            drop(bytes.splice(at..at, deep.into_bytes()));
        }
        kind => records(bytes, kind, seeded),
    }
}

/// Puts another value where one stands.
fn other_value(bytes: &mut Vec<u8>, from: usize, seeded: &mut Seeded) {
    let colon = bytes[from..].iter().position(|byte| *byte == b':');
    let Some(begin) = colon.map(|colon| from + colon + 1) else {
        return;
    };
    let rest = &bytes[begin..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b',' | b'}' | b']' | b'\n'))
        .map_or(bytes.len(), |end| begin + end);
    let other = seeded.pick(&OTHER_VALUES).bytes();
    drop(bytes.splice(begin..end, other));
}

/// Doubles, swaps or drops lines, as records stand in many recordings, and what is between commas.
fn records(bytes: &mut Vec<u8>, kind: usize, seeded: &mut Seeded) {
    let mark = if bytes.contains(&b'\n') { b'\n' } else { b',' };
    let mut parts: Vec<Vec<u8>> = bytes
        .split_inclusive(|byte| *byte == mark)
        .map(<[u8]>::to_vec)
        .collect();
    let (one, other) = (seeded.below(parts.len()), seeded.below(parts.len()));
    match kind {
        8 => parts.insert(one, parts[other].clone()),
        9 => parts.swap(one, other),
        _ => drop(parts.remove(one)),
    }
    *bytes = parts.concat();
}

/// A piece of a recording that can be read many times: some of its lines, or its beginning.
fn piece(recording: &Recording, seeded: &mut Seeded) -> Vec<u8> {
    let bytes = &recording.bytes;
    if bytes.len() <= PIECE_BYTES {
        return bytes.clone();
    }
    if matches!(
        recording.format,
        Format::Inspect | Format::Messages | Format::SweAgent
    ) {
        return bytes[..PIECE_BYTES].to_vec();
    }
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let from = seeded.below(lines.len());
    let (mut piece, mut lines) = (Vec::new(), lines[from..].iter());
    while piece.len() < PIECE_BYTES
        && let Some(line) = lines.next()
    {
        if line.len() < PIECE_BYTES {
            piece.extend_from_slice(line);
        }
    }
    piece
}

/// Damages members of a container, and puts it together again.
fn in_container(bytes: &[u8], seeded: &mut Seeded) -> Vec<u8> {
    let mut members = unpacked(bytes);
    members.truncate(16);
    for _ in 0..=seeded.below(4) {
        let (one, other) = (seeded.below(members.len()), seeded.below(members.len()));
        match seeded.below(5) {
            0 => members.swap(one, other),
            1 => members.insert(one, members[other].clone()),
            2 => drop(members.remove(one)),
            _ => damage(&mut members[one].1, seeded),
        }
    }
    let methods = [
        CompressionMethod::Deflated,
        CompressionMethod::Zstd,
        CompressionMethod::Stored,
    ];
    packed(&members, *seeded.pick(&methods))
}

fn read(format: Format, bytes: &[u8]) -> Vec<Item> {
    let items = import(format, bytes);
    check(&items, bytes);
    items
}

/// How a recording reads: its events, and what is rejected.
fn summary(items: Vec<Item>) -> (Vec<Option<uuid::Uuid>>, usize) {
    let rejected = items.iter().filter(|item| item.is_err()).count();
    let drafts = items.into_iter().flatten().flat_map(|one| one.drafts);
    (drafts.map(|one| one.event.event_id).collect(), rejected)
}

#[test]
fn damaged_recordings_are_rejected_in_parts() {
    let (mut seeded, mut rejected) = (Seeded::new(), BTreeMap::new());
    for recording in recordings() {
        let before = summary(read(recording.format, &recording.bytes));
        assert_eq!(before.1, 0, "{}", recording.name);
        for round in 0..ROUNDS * times() {
            let is_zip = recording.bytes.starts_with(b"PK");
            let mut bytes = if round == 0 {
                recording.bytes.clone()
            } else if is_zip && round % 2 == 0 {
                in_container(&recording.bytes, &mut seeded)
            } else {
                piece(&recording, &mut seeded)
            };
            for _ in 0..seeded.below(4) + usize::from(round == 0) {
                damage(&mut bytes, &mut seeded);
            }
            let (_, rejections) = summary(read(recording.format, &bytes));
            *rejected.entry(recording.format).or_insert(0) += rejections;
            if round == 1 {
                // What is in one format is never taken for another's with harm done.
                for format in Format::all() {
                    read(*format, &bytes);
                }
            }
        }
        let after = summary(read(recording.format, &recording.bytes));
        assert_eq!(before, after, "{}", recording.name);
    }
    assert!(rejected.values().all(|count| *count > 4), "{rejected:?}");
}
