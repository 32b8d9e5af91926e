//! Disclosures.

use proptest::prelude::*;
use runstone_codec::payload::{Mode, Plain};
use runstone_codec::{Entry, EntryParts, Position, Revision, encode_entry};
use runstone_receipt::Disclosure;
use runstone_receipt::disclosure::{DisclosureError, MAX_DISCLOSURE_POSITION};

use crate::sample::{FIELDS, WHOLE, event};

fn plain(mode: Mode, payload: &str) -> Vec<u8> {
    [&[0x40; 32][..], &[mode.to_byte()], payload.as_bytes()].concat()
}

/// An entry at a position that commits to a plaintext.
fn entry_of(plain: &Plain<'_>, position: u64) -> Vec<u8> {
    let other = event(1).entry;
    let other = Entry::parse(&other).unwrap();
    let parts = EntryParts {
        header: other.header_bytes(),
        position: Position::new(position),
        revision: Revision::new(0),
        recorded_at_us: 0,
        control: &[],
        commit: &plain.commitment(),
        digest: &[0; 32],
    };
    let mut entry = Vec::new();
    encode_entry(&parts, &mut entry).unwrap();
    entry
}

fn shown(disclosure: &Disclosure) -> Vec<(u32, &str, &str)> {
    let fields = disclosure.disclosed().iter();
    fields
        .map(|field| {
            let value = std::str::from_utf8(field.value()).unwrap();
            (field.index(), field.name(), value)
        })
        .collect()
}

#[test]
fn fields_are_shown_as_they_were_recorded_and_nothing_else_is() {
    let event = event(5);
    let entry = Entry::parse(&event.entry).unwrap();
    let plain = Plain::parse(&event.plain).unwrap();
    let some = Disclosure::fields(5, &plain, &["note", "amount"]).unwrap();
    assert_eq!(
        shown(&some),
        [(0, "amount", "12.50"), (2, "note", "\"caf\\u00e9\"")]
    );
    assert_eq!(some.verify(&entry), Ok(()));
    assert!(!some.is_whole());
    let text = some.to_string();
    assert!(!text.contains("\"to\"") && !text.contains("iban"));
    assert!(!format!("{some:?}").contains("amount"));

    let whole = Disclosure::whole(5, &plain).unwrap();
    assert_eq!(whole.verify(&entry), Ok(()));
    assert!(whole.is_whole() && whole.disclosed().len() == 3);
    let all = Disclosure::fields(5, &plain, &["amount", "to", "note"]).unwrap();
    assert_eq!(all, whole);
}

#[test]
fn a_payload_of_one_segment_is_shown_whole_or_not_at_all() {
    let event = event(4);
    let entry = Entry::parse(&event.entry).unwrap();
    let plain = Plain::parse(&event.plain).unwrap();
    for names in [&["role"][..], &[""], &[]] {
        let error = Disclosure::fields(4, &plain, names);
        assert_eq!(error, Err(DisclosureError::WholeOnly));
    }
    let whole = Disclosure::whole(4, &plain).unwrap();
    assert_eq!(shown(&whole), [(0, "", WHOLE)]);
    assert!(whole.is_whole());
    assert_eq!(whole.verify(&entry), Ok(()));
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let bytes = plain(Mode::Fields, FIELDS);
    let plain = Plain::parse(&bytes).unwrap();
    let fields = |names: &[&str]| Disclosure::fields(5, &plain, names).unwrap_err();
    assert_eq!(
        fields(&["to", "To"]),
        DisclosureError::UnknownField { asked: 2 }
    );
    assert_eq!(
        fields(&["to", "to"]),
        DisclosureError::DuplicateField { asked: 2 }
    );
    assert_eq!(fields(&[]), DisclosureError::Nothing);
    let limit = MAX_DISCLOSURE_POSITION;
    assert!(Disclosure::whole(limit, &plain).is_ok());
    let error = Disclosure::whole(limit + 1, &plain);
    assert_eq!(error, Err(DisclosureError::Position { limit }));
}

#[test]
fn every_number_of_members_has_its_paths() {
    for count in (1..=70).chain([127, 128, 129, 255, 256]) {
        let members: Vec<String> = (0..count).map(|n| format!("\"f{n}\":{n}")).collect();
        let bytes = plain(Mode::Fields, &format!("{{{}}}", members.join(",")));
        let plain = Plain::parse(&bytes).unwrap();
        let entry = entry_of(&plain, 9);
        let entry = Entry::parse(&entry).unwrap();
        for at in 0..count {
            let one = Disclosure::fields(9, &plain, &[&format!("f{at}")]).unwrap();
            let read = Disclosure::parse(&one.encode()).unwrap();
            assert_eq!(read, one);
            assert_eq!(read.verify(&entry), Ok(()));
            assert_eq!(read.is_whole(), count == 1);
        }
        let whole = Disclosure::whole(9, &plain).unwrap();
        assert_eq!(whole.verify(&entry), Ok(()));
    }
}

#[test]
fn what_is_not_in_the_payload_does_not_open_it() {
    let (mine, event) = (plain(Mode::Fields, FIELDS), event(5));
    let entry = Entry::parse(&event.entry).unwrap();
    let other = Plain::parse(&mine).unwrap();
    let invented = Disclosure::fields(5, &other, &["to"]).unwrap();
    assert_eq!(
        invented.verify(&entry),
        Err(DisclosureError::Commitment { item: 0 })
    );
    let moved = Disclosure::fields(6, &other, &["to"]).unwrap();
    let expected = DisclosureError::OtherPosition {
        expected: 5,
        found: 6,
    };
    assert_eq!(moved.verify(&entry), Err(expected));
    // A true item beside an invented one.
    let plain = Plain::parse(&event.plain).unwrap();
    let honest = Disclosure::fields(5, &plain, &["amount", "to"])
        .unwrap()
        .to_string();
    let altered = honest.replace(&base64(r#"{"iban":"DE00"}"#), &base64(r#"{"iban":"DE01"}"#));
    let altered = Disclosure::parse(altered.as_bytes()).unwrap();
    assert_eq!(
        altered.verify(&entry),
        Err(DisclosureError::Commitment { item: 1 })
    );
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn json_that_breaks_a_rule_is_refused() {
    let bytes = plain(Mode::Fields, FIELDS);
    let plain = Plain::parse(&bytes).unwrap();
    let file = Disclosure::fields(41, &plain, &["amount", "note"])
        .unwrap()
        .to_string();
    let replaced = |from: &str, to: &str| {
        let altered = file.replacen(from, to, 1);
        assert_ne!(altered, file, "{from}");
        Disclosure::parse(altered.as_bytes()).unwrap_err()
    };
    let (json, canonical) = (
        |error: &DisclosureError| matches!(error, DisclosureError::Json { .. }),
        DisclosureError::NotCanonical,
    );
    assert!(json(&replaced("\"position\"", "\"positions\"")));
    assert!(json(&replaced(
        "\"position\":41",
        "\"more\":1,\"position\":41"
    )));
    assert!(json(&replaced(
        "\"position\":41",
        "\"position\":41,\"position\":41"
    )));
    assert!(json(&replaced("\"index\":0", "\"index\":0,\"index\":0")));
    assert!(json(&replaced("\"position\":41,", "")));
    assert!(json(&replaced("\"position\":41", "\"position\":-41")));
    assert!(json(&replaced("\"position\":41", "\"position\":41.0")));
    assert!(json(&replaced("\"segments\":3", "\"segments\":4294967296")));
    assert!(json(&replaced("}\n", "}\n{}")));
    assert_eq!(replaced("{\"disclosed\"", "{ \"disclosed\""), canonical);
    assert_eq!(replaced("}\n", "}"), canonical);
    assert_eq!(replaced("}\n", "}\n\n"), canonical);
    assert_eq!(replaced("\"amount\"", "\"\\u0061mount\""), canonical);
    assert_eq!(replaced("\"name\"", "\"n\\u0061me\""), canonical);
    let tail = "\"position\":41,\"segments\":3";
    assert_eq!(replaced(tail, "\"segments\":3,\"position\":41"), canonical);
    assert_eq!(replaced("@v1", "@v2"), DisclosureError::Format);
    let limit = MAX_DISCLOSURE_POSITION;
    let error = replaced("\"position\":41", "\"position\":9007199254740992");
    assert_eq!(error, DisclosureError::Position { limit });
    let limit = 256;
    assert_eq!(
        replaced("\"segments\":3", "\"segments\":0"),
        DisclosureError::Segments { limit }
    );
    assert_eq!(
        replaced("\"segments\":3", "\"segments\":257"),
        DisclosureError::Segments { limit }
    );
    assert_eq!(
        replaced("\"segments\":3", "\"segments\":2"),
        DisclosureError::Index { item: 1 }
    );
    assert_eq!(
        replaced("\"index\":0", "\"index\":2"),
        DisclosureError::Index { item: 1 }
    );
    assert_eq!(
        replaced("\"note\"", "\"amount\""),
        DisclosureError::DuplicateName { item: 1 }
    );
    let base64 = |part: &'static str| DisclosureError::Base64 {
        item: 0,
        part: part.into(),
    };
    assert_eq!(replaced("\"value\":\"", "\"value\":\"="), base64("value"));
    assert_eq!(replaced("\"salt\":\"", "\"salt\":\"AAAA"), base64("salt"));
    assert_eq!(replaced("\"path\":[\"", "\"path\":[\"AAAA"), base64("path"));
    let none = br#"{"disclosed":[],"format":"runstone/disclosure@v1","position":41,"segments":3}"#;
    let none = [none.as_slice(), b"\n"].concat();
    assert_eq!(Disclosure::parse(&none), Err(DisclosureError::Nothing));
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    assert!(Disclosure::parse(&deep).is_err());
}

proptest! {
    /// The same bytes as an implementation of RFC 8785 that is not ours.
    #[test]
    fn a_disclosure_is_canonical_json(
        names in prop::collection::btree_set("(\\PC|[\u{0}-\u{1f}\u{7f}\"\\\\/\u{2028}\u{e000}-\u{ffff}\u{1f600}]){0,8}", 1..6),
        position in 0..=MAX_DISCLOSURE_POSITION,
    ) {
        // An object whose only name is empty is one segment.
        prop_assume!(names.iter().any(|name| !name.is_empty()));
        let members: Vec<String> = names
            .iter()
            .map(|name| format!("{}:[1.0]", serde_json::to_string(name).unwrap()))
            .collect();
        let bytes = plain(Mode::Fields, &format!("{{{}}}", members.join(",")));
        let plain = Plain::parse(&bytes).unwrap();
        let file = Disclosure::whole(position, &plain).unwrap().encode();
        let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
        let canonical = serde_json_canonicalizer::to_vec(&value).unwrap();
        prop_assert_eq!([canonical.as_slice(), b"\n"].concat(), file.as_slice());
        let entry = entry_of(&plain, position);
        let read = Disclosure::parse(&file).unwrap();
        prop_assert_eq!(read.verify(&Entry::parse(&entry).unwrap()), Ok(()));
    }

    #[test]
    fn no_bytes_panic_and_what_is_read_is_written_the_same(
        noise in any::<Vec<u8>>(),
        at in any::<prop::sample::Index>(),
        taken in 0_usize..100,
    ) {
        let event = event(5);
        let plain = Plain::parse(&event.plain).unwrap();
        let mut spliced = Disclosure::whole(5, &plain).unwrap().encode();
        let start = at.index(spliced.len());
        let end = (start + taken).min(spliced.len());
        spliced.splice(start..end, noise.iter().copied());
        for bytes in [noise, spliced] {
            if let Ok(read) = Disclosure::parse(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
                let _ = read.verify(&Entry::parse(&event.entry).unwrap());
            }
        }
    }
}
