//! Terms: what an event can be found by, as bytes `kind || content`.

use super::error::IndexError;

/// Most bytes of a term; the longest of a valid event is a tag's, `G` and 321 bytes.
pub(crate) const MAX_TERM_BYTES: usize = 512;

const EVENT_ID: u8 = b'I';
const STREAM: u8 = b'S';
const TYPE: u8 = b'T';
const NAMESPACE: u8 = b'N';
const TAG: u8 = b'G';

fn term(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut term = Vec::with_capacity(content.len() + 1);
    term.push(kind);
    term.extend_from_slice(content);
    term
}

/// Term of an event id.
pub(crate) fn event_id(id: &[u8; 16]) -> Vec<u8> {
    term(EVENT_ID, id)
}

/// Term of a stream; the n-th posting is its revision n.
pub(crate) fn stream(name: &str) -> Vec<u8> {
    term(STREAM, name.as_bytes())
}

/// Puts the term of a stream into memory that there is.
pub(crate) fn stream_into(name: &str, term: &mut Vec<u8>) {
    term.clear();
    term.push(STREAM);
    term.extend_from_slice(name.as_bytes());
}

/// Term of a type, or of a namespace written as `a.b.*`.
pub(crate) fn type_pattern(pattern: &str) -> Vec<u8> {
    pattern.strip_suffix(".*").map_or_else(
        || term(TYPE, pattern.as_bytes()),
        |namespace| term(NAMESPACE, namespace.as_bytes()),
    )
}

/// Term of a tag.
pub(crate) fn tag(tag: &str) -> Vec<u8> {
    term(TAG, tag.as_bytes())
}

/// Whether a term belongs to one event alone. The base of its entries is 0 without a look.
pub(super) fn is_unique(term: &[u8]) -> bool {
    term.first() == Some(&EVENT_ID)
}

/// Refuses what no valid event has.
pub(super) fn check(term: &[u8]) -> Result<(), IndexError> {
    if term.is_empty() || term.len() > MAX_TERM_BYTES {
        return Err(IndexError::TermLength {
            bytes: term.len(),
            max: MAX_TERM_BYTES,
        });
    }
    Ok(())
}

/// The terms of one event, in memory that the next event uses again.
#[derive(Clone, Debug, Default)]
pub(crate) struct TermBuffer {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl TermBuffer {
    /// Replaces the terms by those of an event.
    pub(crate) fn set<'t>(
        &mut self,
        event_id: &[u8; 16],
        stream: &str,
        event_type: &str,
        tags: impl IntoIterator<Item = &'t str>,
    ) {
        self.bytes.clear();
        self.ends.clear();
        self.push(EVENT_ID, event_id);
        self.push(STREAM, stream.as_bytes());
        self.push(TYPE, event_type.as_bytes());
        let bytes = event_type.as_bytes();
        for (dot, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'.') {
            let (namespace, _) = bytes.split_at(dot);
            self.push(NAMESPACE, namespace);
        }
        for tag in tags {
            self.push(TAG, tag.as_bytes());
        }
    }

    fn push(&mut self, kind: u8, content: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(content);
        self.ends.push(self.bytes.len());
    }

    /// The terms, each once if the tags are.
    pub(crate) fn iter(&self) -> Terms<'_> {
        Terms {
            bytes: &self.bytes,
            ends: &self.ends,
            at: 0,
        }
    }
}

impl<'t> IntoIterator for &'t TermBuffer {
    type Item = &'t [u8];
    type IntoIter = Terms<'t>;

    fn into_iter(self) -> Terms<'t> {
        self.iter()
    }
}

/// Iterator over the terms of a [`TermBuffer`].
#[derive(Clone, Debug)]
pub(crate) struct Terms<'t> {
    /// From the next term on.
    bytes: &'t [u8],
    /// Where terms end, counted from the first one.
    ends: &'t [usize],
    /// Where the next term begins.
    at: usize,
}

impl<'t> Iterator for Terms<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        let (&end, ends) = self.ends.split_first()?;
        let (term, bytes) = self.bytes.split_at_checked(end - self.at)?;
        *self = Self {
            bytes,
            ends,
            at: end,
        };
        Some(term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_by_id_stream_type_namespaces_and_tags() {
        let mut terms = TermBuffer::default();
        terms.set(&[9; 16], "other", "x", []);
        terms.set(&[7; 16], "run-1", "tool.call.failed", ["k:v", "user:7"]);
        let expected = [
            event_id(&[7; 16]),
            stream("run-1"),
            type_pattern("tool.call.failed"),
            type_pattern("tool.*"),
            type_pattern("tool.call.*"),
            tag("k:v"),
            tag("user:7"),
        ];
        assert_eq!(terms.iter().collect::<Vec<_>>(), expected);
        assert_eq!(expected[1], b"Srun-1");
        assert_eq!(expected[2], b"Ttool.call.failed");
        assert_eq!(expected[4], b"Ntool.call");
        assert_eq!(expected[5], b"Gk:v");
        assert_eq!(expected[0][0], b'I');
    }

    #[test]
    fn a_type_of_one_segment_has_no_namespace() {
        let mut terms = TermBuffer::default();
        terms.set(&[0; 16], "s", "x", []);
        assert_eq!(terms.iter().count(), 3);
    }
}
