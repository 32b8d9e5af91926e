//! zstd, bounded in what it may allocate.

use std::cell::RefCell;
use std::io::Cursor;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

use super::{MAX_PAYLOAD_BYTES, PlainError};

/// Payloads up to this length are not worth a frame.
const MIN_BYTES: usize = 256;
/// Payloads are compressed on the appending thread, so speed goes first.
const LEVEL: i32 = 1;
/// First bytes of a zstd frame (RFC 8878 section 3.1.1); skippable frames have others.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

thread_local! {
    // Making a context costs more than compressing a small payload does.
    static CONTEXTS: RefCell<Contexts> = const { RefCell::new(Contexts { compressor: None, decompressor: None }) };
}

struct Contexts {
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
}

/// Appends the payload as a frame if that is shorter than the payload; else leaves `out` as it is
/// and answers `false`.
pub(crate) fn append(payload: &[u8], out: &mut Vec<u8>) -> bool {
    if payload.len() <= MIN_BYTES {
        return false;
    }
    let start = out.len();
    // A frame that does not fit into the payload's own length does not gain.
    out.reserve(payload.len());
    let gains = CONTEXTS.with_borrow_mut(|contexts| compress(contexts, payload, start, out));
    if gains != Some(true) {
        out.truncate(start);
    }
    gains == Some(true)
}

fn compress(
    contexts: &mut Contexts,
    payload: &[u8],
    start: usize,
    out: &mut Vec<u8>,
) -> Option<bool> {
    if contexts.compressor.is_none() {
        contexts.compressor = Some(Compressor::new(LEVEL).ok()?);
    }
    let mut cursor = Cursor::new(out);
    cursor.set_position(start as u64);
    let bytes = contexts
        .compressor
        .as_mut()?
        .compress_to_buffer(payload, &mut cursor)
        .ok()?;
    Some(bytes < payload.len())
}

/// Decompresses a body that is exactly one frame, which declares its size, which is at most
/// [`MAX_PAYLOAD_BYTES`].
pub(crate) fn decompress(frame: &[u8]) -> Result<Vec<u8>, PlainError> {
    if !frame.starts_with(&MAGIC) || find_frame_compressed_size(frame) != Ok(frame.len()) {
        return Err(PlainError::Frame);
    }
    let Ok(Some(declared)) = get_frame_content_size(frame) else {
        return Err(PlainError::Frame);
    };
    let max = MAX_PAYLOAD_BYTES;
    let size = usize::try_from(declared).unwrap_or(usize::MAX);
    if size > max {
        return Err(PlainError::TooLarge {
            bytes: declared,
            max,
        });
    }
    let mut payload = Vec::with_capacity(size);
    let bytes = CONTEXTS.with_borrow_mut(|contexts| {
        if contexts.decompressor.is_none() {
            contexts.decompressor = Decompressor::new().ok();
        }
        contexts
            .decompressor
            .as_mut()?
            .decompress_to_buffer(frame, &mut payload)
            .ok()
    });
    if bytes != Some(size) || payload.len() != size {
        return Err(PlainError::Frame);
    }
    Ok(payload)
}
