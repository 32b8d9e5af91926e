//! Files of keys: table, ring, backup, credential; what a command of a key provider answers; keys as
//! text.
//!
//! The first byte selects; the next ones may ask for a right checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_codec::keys::KeyTable;
use runstone_fuzz::{Input, sha256};
use runstone_store::fuzzing::keys;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 8 {
        0 => table(input.0),
        1 => table(&checked(input.0)),
        2 => keys::ring(input.0),
        3 => keys::key_backup(input.0),
        4 => {
            let (ring, rest) = (input.part(), input.0);
            let parts = [ring, &checked(rest)];
            let length = |part: &[u8]| u32::try_from(part.len()).expect("small").to_be_bytes();
            let mut backup = b"RSKEYBK1".to_vec();
            for part in parts {
                backup.extend_from_slice(&length(part));
                backup.extend_from_slice(part);
            }
            keys::key_backup(&checked(&backup));
        }
        5 => keys::credential(input.0),
        6 => keys::answer(input.0),
        _ => keys::key_text(&String::from_utf8_lossy(input.0)),
    }
});

fn checked(bytes: &[u8]) -> Vec<u8> {
    [bytes, &sha256(bytes)].concat()
}

fn table(bytes: &[u8]) {
    if let Ok(table) = KeyTable::decode(bytes) {
        assert_eq!(table.encode().as_deref(), Ok(bytes));
        for row in table.rows() {
            assert_eq!(table.get(&row.key_id), Some(row));
        }
    }
}
