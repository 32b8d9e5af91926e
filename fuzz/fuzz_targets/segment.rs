//! Segments of a log, one behind the other. The first byte says whether their checksums are made
//! right, and what each names as the one before it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_fuzz::{Input, mended, sha256};
use runstone_store::fuzzing::export;

const START: &str = "{\"format\":";
const FORMER: &str = "\"former\":\"";

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let is_mended = input.byte() & 1 == 1;
    let text = String::from_utf8_lossy(input.0);
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for part in text.split(START).skip(1) {
        let mut part = format!("{START}{part}");
        if !is_mended {
            parts.push(part.into_bytes());
            continue;
        }
        let place = part.find(FORMER).map(|at| at + FORMER.len());
        if let (Some(at), Some(former)) = (place, parts.last()) {
            let digits: String = sha256(former)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            if part.is_char_boundary(at + 64) && part.len() > at + 64 {
                part.replace_range(at..at + 64, &digits);
            }
        }
        parts.push(mended(part.as_bytes()));
    }
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    export::segments(&parts);
});
