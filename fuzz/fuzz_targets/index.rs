//! Rows of the index, one by one and as a table that is asked everything.
//!
//! The first byte: a row of each kind; a table of rows; or a good table with some bytes changed.
//! Checksums are right, so that what is behind them is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_fuzz::Input;
use runstone_store::fuzzing::index;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 3 {
        0 => {
            let (from, to) = (input.u64(), input.u64());
            index::row(input.0, from, to);
        }
        1 => {
            let mut rows = Vec::new();
            while !input.is_empty() && rows.len() < 50 {
                let (kind, run, number) = (input.byte(), input.byte(), input.byte());
                rows.push((kind, u64::from(run), u32::from(number), input.part()));
            }
            index::table(&rows);
        }
        _ => changed(input),
    }
});

fn changed(mut input: Input<'_>) {
    let mut rows = index::sample(u64::from(input.byte() % 100));
    while !input.is_empty() && !rows.is_empty() {
        let (row, at, what, with) = (input.byte(), input.array(), input.byte(), input.byte());
        let row = usize::from(row) % rows.len();
        let body = &mut rows[row].3;
        let at = usize::from(u16::from_be_bytes(at)) % (body.len() + 1);
        match what % 4 {
            0 => body.truncate(at),
            1 => body.insert(at, with),
            2 if at < body.len() => {
                body.remove(at);
            }
            _ => {
                if let Some(byte) = body.get_mut(at) {
                    *byte = with;
                }
            }
        }
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|(kind, run, number, body)| (*kind, *run, *number, body.as_slice()))
        .collect();
    index::table(&rows);
}
