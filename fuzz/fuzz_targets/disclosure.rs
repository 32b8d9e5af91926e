//! Disclosures: from bytes, against a payload that is known; and of any payload, with one byte
//! changed.
//!
//! The first byte selects.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_codec::Entry;
use runstone_codec::payload::Plain;
use runstone_fuzz::Input;
use runstone_fuzz::evidence::{altered, entry, sealed};
use runstone_receipt::Disclosure;

/// Of the vector in docs/FORMAT.md, and where its event stands.
const KNOWN: &[u8] =
    br#" {"amount": 12.50, "to\u0021":"ada", "n":340282366920938463463374607431768211456 }"#;
const KNOWN_AT: u64 = 41;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    if input.byte() & 1 == 0 {
        read(input.0);
    } else {
        made(input);
    }
});

/// Whatever verifies is a part of the payload.
fn read(file: &[u8]) {
    let Ok(disclosure) = Disclosure::parse(file) else {
        return;
    };
    assert_eq!(disclosure.encode(), file);
    let sealed = sealed(KNOWN);
    let plain = Plain::parse(&sealed.envelope[1..]).expect("just sealed");
    let bytes = entry(KNOWN_AT, &sealed);
    let entry = Entry::parse(&bytes).expect("just made");
    if disclosure.verify(&entry).is_ok() {
        let segments = plain.segments();
        assert_eq!(usize::try_from(disclosure.segments()), Ok(segments.len()));
        for field in disclosure.disclosed() {
            let segment = &segments[usize::try_from(field.index()).expect("small")];
            assert_eq!(segment.name, field.name());
            assert!(*segment.value == *field.value(), "forged");
        }
    }
}

/// What is made of a payload verifies; with another byte it does not.
fn made(mut input: Input<'_>) {
    let (shown, at, how) = (input.u64(), input.array(), input.byte());
    let sealed = sealed(input.0);
    let plain = Plain::parse(&sealed.envelope[1..]).expect("just sealed");
    let bytes = entry(3, &sealed);
    let entry = Entry::parse(&bytes).expect("just made");
    let segments = plain.segments();
    let names = (0_u32..).zip(&segments);
    let names = names.filter(|(at, _)| shown >> (at % 64) & 1 == 1);
    let names: Vec<_> = names.map(|(_, segment)| &*segment.name).collect();
    let whole = Disclosure::whole(3, &plain).expect("a small position");
    assert!(whole.is_whole());
    let disclosure = Disclosure::fields(3, &plain, &names).unwrap_or(whole);
    let file = disclosure.encode();
    assert_eq!(Disclosure::parse(&file).as_ref(), Ok(&disclosure));
    assert_eq!(disclosure.verify(&entry), Ok(()));
    let changed = altered(&file, u16::from_be_bytes(at), how);
    let read = Disclosure::parse(&changed);
    let holds = read.is_ok_and(|read| read.verify(&entry).is_ok());
    assert!(changed == file || !holds);
}
