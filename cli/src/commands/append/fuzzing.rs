//! The parsers of lines for the fuzz targets; no part of any API.

use super::feed::{Found, each_line};
use super::line::{Checks, parse};
use std::io::BufReader;

/// A line: the payloads of what it says stand in it, byte for byte and in order.
pub fn line(bytes: &[u8]) {
    let Some(Ok(append)) = parse(bytes, &Checks::default()) else {
        return;
    };
    let mut rest = bytes;
    for event in &append.events {
        let payload = event.payload.as_slice();
        let mut places = rest.windows(payload.len().max(1));
        let at = places.position(|place| place == payload);
        assert!(at.is_some(), "{event:?} has a payload that nobody wrote");
        rest = rest.get(at.unwrap_or_default()..).unwrap_or_default();
    }
}

/// Lines, found by a reader that holds `capacity` bytes and passes over more than `max`: the same
/// as splitting all of it.
pub fn lines(bytes: &[u8], max: usize, capacity: usize) {
    let mut expected: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    if expected.last().is_some_and(|last| last.is_empty()) {
        expected.pop();
    }
    let (mut expected, mut numbers) = (expected.into_iter(), 1..);
    let reader = BufReader::with_capacity(capacity.max(1), bytes);
    let read = each_line(reader, max, |number, found| {
        assert_eq!(Some(number), numbers.next());
        let line = expected.next().unwrap_or_default();
        match found {
            Found::Whole(whole) => assert!(whole == line && line.len() <= max),
            Found::TooLong(bytes) => assert!(bytes == line.len() as u64 && line.len() > max),
        }
        true
    });
    assert!(read.is_ok() && expected.next().is_none(), "{read:?}");
}
