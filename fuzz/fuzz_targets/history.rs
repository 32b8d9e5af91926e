//! The log's own events: who signs, what is erased. Each is a type by number, a length and content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_fuzz::Input;
use runstone_store::fuzzing::history;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut events = Vec::new();
    while !input.is_empty() {
        events.push((input.byte(), input.part()));
    }
    history(&events);
});
