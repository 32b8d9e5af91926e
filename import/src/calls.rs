//! Which call a result answers.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use crate::identity::short_digest;

/// Most calls that may be open at a time. Results of further ones are not linked.
const MAX_OPEN: usize = 65_536;

/// Calls that wait for their result.
///
/// Recordings reuse ids of calls for other calls, so a result answers the oldest open call of its
/// id.
#[derive(Debug, Default)]
pub(crate) struct OpenCalls {
    open: BTreeMap<[u8; 16], VecDeque<Uuid>>,
    count: usize,
}

impl OpenCalls {
    /// Notes that the event `call` requests a call of this id.
    pub(crate) fn request(&mut self, call_id: &str, call: Uuid) {
        if self.count < MAX_OPEN {
            self.count += 1;
            self.open
                .entry(short_digest(call_id.as_bytes()))
                .or_default()
                .push_back(call);
        }
    }

    /// Takes the call that a result of this id answers.
    pub(crate) fn answer(&mut self, call_id: &str) -> Option<Uuid> {
        let key = short_digest(call_id.as_bytes());
        let waiting = self.open.get_mut(&key)?;
        let call = waiting.pop_front();
        if waiting.is_empty() {
            self.open.remove(&key);
        }
        self.count = self.count.saturating_sub(usize::from(call.is_some()));
        call
    }

    /// Takes this very call, however old.
    pub(crate) fn answer_call(&mut self, call_id: &str, call: Uuid) {
        let key = short_digest(call_id.as_bytes());
        let Some(waiting) = self.open.get_mut(&key) else {
            return;
        };
        let before = waiting.len();
        waiting.retain(|one| *one != call);
        self.count = self.count.saturating_sub(before - waiting.len());
        if waiting.is_empty() {
            self.open.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_answers_the_oldest_open_call_of_its_id() {
        let [one, two, three] = [1, 2, 3].map(Uuid::from_u128);
        let mut calls = OpenCalls::default();
        calls.request("a", one);
        calls.request("b", two);
        calls.request("a", three);
        assert_eq!(calls.answer("a"), Some(one));
        assert_eq!(calls.answer("a"), Some(three));
        assert_eq!(calls.answer("a"), None);
        calls.answer_call("b", two);
        assert_eq!(
            (calls.answer("b"), calls.count, calls.open.len()),
            (None, 0, 0)
        );
    }
}
