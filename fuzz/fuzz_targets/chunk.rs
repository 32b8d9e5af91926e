//! Chunks of the log, and `LOG.head`.
//!
//! The first byte: 0 a chunk; else a head file, and bits say which checksums are made right.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_codec::LogId;
use runstone_fuzz::{Input, sha256};
use runstone_store::fuzzing::{chunk, head_file};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.byte();
    if how == 0 {
        return chunk(input.0);
    }
    let mut slots: [[u8; 128]; 2] = [input.array(), input.array()];
    for (bit, slot) in slots.iter_mut().enumerate() {
        if how >> bit & 1 == 1 {
            let check = sha256(&slot[..112]);
            slot[112..].copy_from_slice(&check[..16]);
        }
    }
    let mut log_id = [0; 16];
    log_id.copy_from_slice(&slots[usize::from(how >> 2 & 1)][8..24]);
    head_file([&slots[0], &slots[1]], LogId::new(log_id), input.u64());
});
