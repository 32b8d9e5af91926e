//! What the fuzz targets share.

pub mod evidence;

use sha2::{Digest as _, Sha256};

/// Lines with the right checksum as the last one.
pub fn mended(lines: &[u8]) -> Vec<u8> {
    let body = lines.strip_suffix(b"\n").unwrap_or(lines);
    let end = body.iter().rposition(|byte| *byte == b'\n');
    let mut bytes = lines[..end.map_or(0, |end| end + 1)].to_vec();
    let digits: String = sha256(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    bytes.extend(format!("{{\"sha256\":\"{digits}\"}}\n").into_bytes());
    bytes
}

/// Takes the front off an input: what selects and sizes, before the bytes that are decoded.
#[derive(Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte, 0 at the end.
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// The next number.
    pub fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// The next bytes, with zeros from the end on.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        for (to, from) in array.iter_mut().zip(self.take(N)) {
            *to = *from;
        }
        array
    }

    /// The next bytes, so many if there are.
    pub fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The next bytes with their length before them.
    pub fn part(&mut self) -> &'a [u8] {
        let length = u16::from_be_bytes(self.array());
        self.take(usize::from(length))
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// SHA-256, for inputs whose checksum is to be right.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
