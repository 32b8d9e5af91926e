//! Headers, entries, control and rows of folds, plain and sealed, all tried on the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_codec::hash::leaf_hash;
use runstone_codec::keys::{FoldKey, OperationsKey};
use runstone_codec::{
    Control, Entry, EntryParts, Header, LogId, Position, control, encode_entry, row,
};

/// Of the vectors in docs/FORMAT.md.
const LOG_ID: LogId = LogId::new([
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
]);

fuzz_target!(|data: &[u8]| {
    headers(data);
    entries(data);
    controls(data);
    rows(data);
});

fn headers(data: &[u8]) {
    let whole = Header::decode(data);
    if let Ok(header) = &whole {
        assert_eq!(header.encode().as_deref(), Ok(data));
    }
    if let Ok((header, length)) = Header::decode_prefix(data) {
        assert_eq!(header.encode().as_deref(), Ok(&data[..length]));
        assert_eq!(whole.is_ok(), length == data.len());
    }
}

fn entries(data: &[u8]) {
    let Ok(entry) = Entry::parse(data) else {
        return;
    };
    let parts = EntryParts {
        header: entry.header_bytes(),
        position: entry.position(),
        revision: entry.revision(),
        recorded_at_us: entry.recorded_at_us(),
        control: entry.control(),
        commit: entry.commit(),
        digest: entry.digest(),
    };
    let mut again = Vec::new();
    assert_eq!(encode_entry(&parts, &mut again), Ok(()));
    assert_eq!(again, data);
    assert_eq!(entry.leaf(), leaf_hash(data));
    assert_eq!(entry.header().encode().as_deref(), Ok(entry.header_bytes()));
    controls(entry.control());
}

fn controls(data: &[u8]) {
    if let Ok(control) = Control::decode(data) {
        assert_eq!(control.encode().as_deref(), Ok(data));
    }
    let (header, position) = (b"header".as_slice(), Position::new(7));
    let key = OperationsKey::new([2; 32]);
    let plain = control::open(None, &LOG_ID, header, position, data);
    if let Ok(plain) = &plain {
        assert_eq!(plain, data);
        let sealed = control::seal(Some(&key), &LOG_ID, header, position, [9; 12], plain);
        let sealed = sealed.expect("it is short enough");
        let opened = control::open(Some(&key), &LOG_ID, header, position, &sealed);
        assert_eq!(opened.as_deref(), Ok(data));
    }
    let opened = control::open(Some(&key), &LOG_ID, header, position, data);
    assert!(opened.is_err() || data.is_empty(), "forged: {opened:?}");
}

fn rows(data: &[u8]) {
    let key = FoldKey::new([2; 32]);
    for key in [None, Some(&key)] {
        assert!(row::open(key, &LOG_ID, b"key", data).is_err(), "forged");
        let sealed = row::seal(key, &LOG_ID, b"key", [9; 12], data).expect("no limit");
        let opened = row::open(key, &LOG_ID, b"key", &sealed);
        assert_eq!(opened.as_deref(), Ok(data));
    }
}
