//! Exports of whole logs. The first byte says whether the checksum is made right: then the lines
//! behind it are reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_fuzz::{Input, mended};
use runstone_store::fuzzing::export;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let is_mended = input.byte() & 1 == 1;
    let bytes = if is_mended {
        mended(input.0)
    } else {
        input.0.to_vec()
    };
    export::load(&bytes);
});
