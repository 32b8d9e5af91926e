//! Exports of whole logs. The first byte says whether the checksum is made right: then the lines
//! behind it are reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_fuzz::{Input, sha256};
use runstone_store::fuzzing::export;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let is_mended = input.byte() & 1 == 1;
    let mut bytes = input.0.to_vec();
    if is_mended {
        let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let end = body.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(end.map_or(0, |end| end + 1));
        let digits: String = sha256(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        bytes.extend(format!("{{\"sha256\":\"{digits}\"}}\n").into_bytes());
    }
    export::load(&bytes);
});
