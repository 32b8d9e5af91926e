//! The value that one commit adds to the log: entries, envelopes and the head after them.
//!
//! ```text
//! "RC01" | u64 first | u32 count | u32 head_len | head | count x (u32 entry_end, u32 envelope_end) | body
//! body = E_0 envelope_0 E_1 envelope_1 ...      offsets count from the start of the body
//! head = u64 size | root(32) | u64 recorded_at_us | head_mac(32) | u8 n | n x peak(32)
//! ```
//!
//! Integers are big-endian. Reading is strict where it is cheap (lengths, bounds); that the
//! entries are the right ones is what their leaf hashes and digests prove.

use crate::error::Corruption;

const MAGIC: &[u8; 4] = b"RC01";
/// Bytes before the head.
pub(crate) const FIXED: usize = 4 + 8 + 4 + 4;
const HEAD_FIXED: usize = 8 + 32 + 8 + 32 + 1;
/// A tree of 2^63 leaves has at most 63 peaks.
const MAX_PEAKS: usize = 64;
/// Chunks are closed before they pass this, so that they fill a page of a power of two of 4 KiB
/// together with what the database adds.
pub(crate) const CHUNK_TARGET: usize = 65_536 - 512;

/// The head of the log after the last event of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) root: [u8; 32],
    pub(crate) recorded_at_us: u64,
    pub(crate) mac: [u8; 32],
    pub(crate) peaks: Vec<[u8; 32]>,
}

impl Head {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.root);
        out.extend_from_slice(&self.recorded_at_us.to_be_bytes());
        out.extend_from_slice(&self.mac);
        out.push(u8::try_from(self.peaks.len()).unwrap_or(u8::MAX));
        for peak in &self.peaks {
            out.extend_from_slice(peak);
        }
    }

    fn encoded_len(&self) -> usize {
        HEAD_FIXED + self.peaks.len() * 32
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = split_u64(bytes)?;
        let (root, rest) = rest.split_first_chunk::<32>()?;
        let (recorded_at_us, rest) = split_u64(rest)?;
        let (mac, rest) = rest.split_first_chunk::<32>()?;
        let (&count, rest) = rest.split_first()?;
        let (peaks, trailing) = rest.as_chunks::<32>();
        let fits = trailing.is_empty()
            && peaks.len() == usize::from(count)
            && peaks.len() <= MAX_PEAKS
            && peaks.len() == size.count_ones() as usize;
        fits.then(|| Self {
            size,
            root: *root,
            recorded_at_us,
            mac: *mac,
            peaks: peaks.to_vec(),
        })
    }
}

fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*head), rest))
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

/// Collects the events of one chunk.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuilder {
    first: u64,
    offsets: Vec<u8>,
    body: Vec<u8>,
    count: u32,
}

impl ChunkBuilder {
    pub(crate) fn new(first: u64) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }

    /// With memory for this many bytes more, as far as they fit into a chunk.
    pub(crate) fn with_room(first: u64, bytes: u64) -> Self {
        let mut builder = Self::new(first);
        let most = usize::try_from(bytes).unwrap_or(CHUNK_TARGET);
        builder.body.reserve(most.min(CHUNK_TARGET));
        builder
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether an event of `bytes` more would pass the target size.
    pub(crate) fn is_full_for(&self, bytes: usize) -> bool {
        self.count > 0 && self.encoded_len(0) + bytes + 8 > CHUNK_TARGET
    }

    pub(crate) fn push(&mut self, entry: &[u8], envelope: &[u8]) {
        self.body.extend_from_slice(entry);
        self.note_offset();
        self.body.extend_from_slice(envelope);
        self.note_offset();
        self.count += 1;
    }

    fn note_offset(&mut self) {
        let end = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        self.offsets.extend_from_slice(&end.to_be_bytes());
    }

    pub(crate) fn encoded_len(&self, head_len: usize) -> usize {
        FIXED + head_len + self.offsets.len() + self.body.len()
    }

    /// The bytes of the chunk, with the head of the log after it where it ends a commit.
    pub(crate) fn encode(&self, head: Option<&Head>) -> Vec<u8> {
        let head_len = head.map_or(0, Head::encoded_len);
        let mut out = Vec::with_capacity(self.encoded_len(head_len));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&u32::try_from(head_len).unwrap_or(u32::MAX).to_be_bytes());
        if let Some(head) = head {
            head.encode(&mut out);
        }
        out.extend_from_slice(&self.offsets);
        out.extend_from_slice(&self.body);
        out
    }
}

/// One event of a chunk, as bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawEvent<'a> {
    pub(crate) position: u64,
    pub(crate) entry: &'a [u8],
    pub(crate) envelope: &'a [u8],
}

/// A chunk read in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk<'a> {
    first: u64,
    count: u32,
    head: &'a [u8],
    offsets: &'a [u8],
    body: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Reads the chunk stored under `key`.
    pub(crate) fn parse(key: u64, bytes: &'a [u8]) -> Result<Self, Corruption> {
        Self::parse_inner(key, bytes)
            .ok_or_else(|| Corruption::at(key, "a well-formed chunk", "malformed bytes"))
    }

    fn parse_inner(key: u64, bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (first, rest) = split_u64(rest)?;
        let (count, rest) = split_u32(rest)?;
        let (head_len, rest) = split_u32(rest)?;
        let (head, rest) = rest.split_at_checked(usize::try_from(head_len).ok()?)?;
        let (offsets, body) =
            rest.split_at_checked(usize::try_from(count).ok()?.checked_mul(8)?)?;
        let chunk = Self {
            first,
            count,
            head,
            offsets,
            body,
        };
        let last = usize::try_from(count.checked_sub(1)?).ok()?;
        let ends_right = chunk.offset(last * 2 + 1)? == body.len();
        (first == key && first.checked_add(u64::from(count)).is_some() && ends_right)
            .then_some(chunk)
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Position after the last event.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        (self.first..self.end()).contains(&position)
    }

    /// Length of entries and envelopes in bytes.
    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    /// The head after this chunk, where the chunk ends a commit.
    pub(crate) fn head(&self) -> Result<Option<Head>, Corruption> {
        if self.head.is_empty() {
            return Ok(None);
        }
        Head::decode(self.head)
            .filter(|head| head.size == self.end())
            .map(Some)
            .ok_or_else(|| {
                Corruption::at(
                    self.first,
                    "a well-formed head in the chunk",
                    "malformed bytes",
                )
            })
    }

    fn offset(&self, index: usize) -> Option<usize> {
        let at = index.checked_mul(4)?;
        let bytes = self.offsets.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
    }

    /// The event at `position`; bounds are checked, content is not.
    pub(crate) fn event(&self, position: u64) -> Result<RawEvent<'a>, Corruption> {
        self.event_inner(position).ok_or_else(|| {
            Corruption::at(position, "offsets inside the chunk", "offsets out of order")
        })
    }

    fn event_inner(&self, position: u64) -> Option<RawEvent<'a>> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let start = match index {
            0 => 0,
            _ => self.offset(index * 2 - 1)?,
        };
        let entry_end = self.offset(index * 2)?;
        let envelope_end = self.offset(index * 2 + 1)?;
        Some(RawEvent {
            position,
            entry: self.body.get(start..entry_end)?,
            envelope: self.body.get(entry_end..envelope_end)?,
        })
    }

    /// All events in order.
    pub(crate) fn events(self) -> impl Iterator<Item = Result<RawEvent<'a>, Corruption>> {
        (self.first..self.end()).map(move |position| self.event(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::Vector;

    fn sample() -> (Vec<u8>, Head) {
        let mut builder = ChunkBuilder::new(4);
        builder.push(b"entry-a", b"envelope-a");
        builder.push(b"entry-b", b"");
        builder.push(b"entry-c", b"envelope-c");
        let head = Head {
            size: 7,
            root: [1; 32],
            recorded_at_us: 99,
            mac: [2; 32],
            peaks: vec![[3; 32]; 3],
        };
        (builder.encode(Some(&head)), head)
    }

    #[test]
    fn round_trip() {
        let (bytes, head) = sample();
        let chunk = Chunk::parse(4, &bytes).unwrap();
        assert_eq!((chunk.first(), chunk.end()), (4, 7));
        assert_eq!(chunk.head().unwrap(), Some(head));
        let events: Vec<_> = chunk.events().map(Result::unwrap).collect();
        assert_eq!(events[1].entry, b"entry-b");
        assert_eq!(events[1].envelope, b"");
        assert_eq!(events[2].envelope, b"envelope-c");
        assert!(chunk.event(7).is_err());
        assert!(Chunk::parse(5, &bytes).is_err());
    }

    #[test]
    fn cut_or_lengthened_bytes_are_refused() {
        let (bytes, _) = sample();
        for end in 0..bytes.len() {
            assert!(Chunk::parse(4, &bytes[..end]).is_err(), "{end}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Chunk::parse(4, &longer).is_err());
    }

    #[test]
    fn flipped_bytes_never_panic() {
        let (bytes, _) = sample();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                if let Ok(chunk) = Chunk::parse(4, &flipped) {
                    let _ = chunk.head();
                    for event in chunk.events().take(10) {
                        let _ = event;
                    }
                }
            }
        }
    }

    #[test]
    fn the_vector_of_the_format_holds() {
        let vector = Vector::named("chunk/two");
        let mut builder = ChunkBuilder::new(vector.number("first"));
        for (entry, envelope) in vector.list("entries").iter().zip(vector.list("envelopes")) {
            builder.push(entry, &envelope);
        }
        let head = Head {
            size: vector.number("size"),
            root: vector.array("root"),
            recorded_at_us: vector.number("recorded_at_us"),
            mac: vector.array("head_mac"),
            peaks: vector
                .list("peaks")
                .into_iter()
                .map(|peak| peak.try_into().unwrap())
                .collect(),
        };
        let bytes = vector.bytes("chunk");
        assert_eq!(builder.encode(Some(&head)), bytes);
        let chunk = Chunk::parse(vector.number("first"), &bytes).unwrap();
        assert_eq!(chunk.head().unwrap(), Some(head));
    }
}
