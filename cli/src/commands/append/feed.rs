//! Lines that wait to be appended.
//!
//! ```text
//!  file or pipe --> reader thread: lines, parsed --> Feed (bounded by bytes) --> appender
//! ```
//!
//! The appender takes what is there and never waits for more: a single line typed by a person is
//! answered at once, and of a stream of lines as many as came during one commit go into the next.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a line costs besides its bytes.
const OVERHEAD_BYTES: usize = 512;

/// Lines between a reader and the appender.
#[derive(Debug)]
pub(super) struct Feed<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    limit_bytes: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    ended: bool,
    /// Nobody takes any more.
    closed: bool,
}

impl<T> Feed<T> {
    /// A feed that holds lines of about so many bytes; a larger one goes through alone.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                ended: false,
                closed: false,
            }),
            changed: Condvar::new(),
            limit_bytes,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, once there is room. Answers whether anybody still takes lines.
    pub(super) fn put(&self, item: T, bytes: usize) -> bool {
        let cost = bytes.saturating_add(OVERHEAD_BYTES);
        let full = |state: &mut State<T>| {
            !state.closed
                && !state.items.is_empty()
                && state.bytes.saturating_add(cost) > self.limit_bytes
        };
        let mut state = self
            .changed
            .wait_while(self.state(), full)
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return false;
        }
        state.items.push_back(item);
        state.bytes = state.bytes.saturating_add(cost);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// No line comes any more.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// No line is taken any more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Waits for a line, and takes all that are there. Empty: there are none any more.
    pub(super) fn take(&self) -> VecDeque<T> {
        let idle = |state: &mut State<T>| state.items.is_empty() && !state.ended;
        let mut state = self
            .changed
            .wait_while(self.state(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        let items = std::mem::take(&mut state.items);
        state.bytes = 0;
        drop(state);
        self.changed.notify_all();
        items
    }
}

/// A line as it was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Its bytes, without its end.
    Whole(&'a [u8]),
    /// It is longer than allowed; its length.
    TooLong(u64),
}

/// Finds lines, as soon as they are there. A line beyond `max` bytes is passed over without being
/// held. Stops early if `each` answers that nobody wants more.
pub(super) fn each_line(
    mut reader: impl BufRead,
    max: usize,
    mut each: impl FnMut(u64, Found<'_>) -> bool,
) -> io::Result<()> {
    let (mut line, mut bytes) = (Vec::new(), 0_u64);
    let mut number = 0;
    loop {
        let chunk = match reader.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let at_end = chunk.is_empty();
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let (text, _) = chunk.split_at(end.unwrap_or(chunk.len()));
        bytes = bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        if line.len().saturating_add(text.len()) > max {
            // From now on it is counted only.
            line = Vec::new();
        } else if u64::try_from(line.len() + text.len()) == Ok(bytes) {
            line.extend_from_slice(text);
        }
        let used = text.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_none() && !at_end {
            continue;
        }
        if at_end && bytes == 0 {
            return Ok(());
        }
        number += 1;
        let found = if u64::try_from(line.len()) == Ok(bytes) {
            Found::Whole(&line)
        } else {
            Found::TooLong(bytes)
        };
        if !each(number, found) || at_end {
            return Ok(());
        }
        bytes = 0;
        line.clear();
        // One long line must not hold its room for ever.
        line.shrink_to(1 << 20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;
    use std::sync::Arc;

    fn lines(text: &[u8], max: usize, capacity: usize) -> Vec<(u64, Result<String, u64>)> {
        let mut found = Vec::new();
        each_line(
            BufReader::with_capacity(capacity, text),
            max,
            |number, line| {
                found.push((
                    number,
                    match line {
                        Found::Whole(line) => Ok(String::from_utf8_lossy(line).into_owned()),
                        Found::TooLong(bytes) => Err(bytes),
                    },
                ));
                true
            },
        )
        .unwrap();
        found
    }

    #[test]
    fn lines_need_no_last_end() {
        for capacity in [1, 2, 3, 100] {
            let found = lines(b"ab\n\ncd\r\nlast", 4, capacity);
            let whole = |number, text: &str| (number, Ok(text.to_owned()));
            assert_eq!(
                found,
                [
                    whole(1, "ab"),
                    whole(2, ""),
                    whole(3, "cd\r"),
                    whole(4, "last")
                ]
            );
            assert!(lines(b"", 4, capacity).is_empty());
        }
    }

    #[test]
    fn long_lines_are_counted_and_passed_over() {
        for capacity in [1, 2, 5, 100] {
            let found = lines(b"12345\n1234\n123456789", 4, capacity);
            assert_eq!(
                found,
                [(1, Err(5)), (2, Ok("1234".to_owned())), (3, Err(9))]
            );
        }
    }

    #[test]
    fn the_reader_stops_when_nobody_wants_more() {
        let mut seen = 0;
        each_line(BufReader::new(b"1\n2\n3\n".as_slice()), 9, |_, _| {
            seen += 1;
            seen < 2
        })
        .unwrap();
        assert_eq!(seen, 2);
    }

    #[test]
    fn a_feed_holds_no_more_than_its_limit() {
        let feed = Arc::new(Feed::new(2000));
        let writer = {
            let feed = Arc::clone(&feed);
            std::thread::spawn(move || {
                for number in 0..100 {
                    // The first is larger than the whole feed and goes through alone.
                    assert!(feed.put(number, if number == 0 { 5000 } else { 400 }));
                }
                feed.end();
            })
        };
        let mut all = Vec::new();
        loop {
            let taken = feed.take();
            if taken.is_empty() {
                break;
            }
            assert!(taken.len() <= 2, "{}", taken.len());
            all.extend(taken);
        }
        writer.join().unwrap();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_closed_feed_lets_the_writer_go() {
        let feed = Feed::new(10);
        assert!(feed.put(1, 1));
        feed.close();
        assert!(!feed.put(2, 1));
    }
}
