//! The whole log on the simulator's machine, against its model; the bytes choose what happens.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_store::panic_is_contained;
use runstone_tests::simulator::run_guided;
use std::panic::{set_hook, take_hook};

fuzz_target!(
    init: {
        // The database panics on some damaged pages, and the store contains that.
        let hook = take_hook();
        set_hook(Box::new(move |info| {
            if !panic_is_contained() {
                hook(info);
            }
        }));
    },
    |data: &[u8]| {
        let outcome = run_guided(data, false);
        assert!(outcome.is_ok(), "{outcome:?}");
    }
);
