//! Every byte of a file of evidence counts, but in signature lines of keys that nobody knows.

use std::ops::Range;

use runstone_codec::Entry;
use runstone_codec::payload::Plain;
use runstone_receipt::note::Signer;
use runstone_receipt::{Consistency, Disclosure, Policy, Receipt, VerifyOptions};

use crate::sample::{
    LOG_ID, ORIGIN, consistency, cosigned, event, policy, receipt, receipt_with, signed, witness,
};

/// Every file that differs in one byte (each bit flipped, and bytes that mean something set), or
/// by one byte more or less, or that is cut; with the place of the change.
fn mutants(file: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    const SET: &[u8] = b"\n\r\t\0 09Az+/=\"\\,-\x7f\x80\xff";
    let changed = (0..file.len()).flat_map(move |at| {
        let flipped = (0..8).map(move |bit| file[at] ^ (1 << bit));
        let set = SET.iter().copied().filter(move |byte| *byte != file[at]);
        flipped.chain(set).map(move |byte| {
            let mut mutant = file.to_vec();
            mutant[at] = byte;
            (at, mutant)
        })
    });
    let moved = (0..file.len()).flat_map(move |at| {
        let mut shorter = file.to_vec();
        shorter.remove(at);
        let mut longer = file.to_vec();
        longer.insert(at, file[at]);
        [(at, shorter), (at, longer), (at, file[..at].to_vec())]
    });
    let appended = [b"\n".as_slice(), b" ", b"\0"].map(|tail| (file.len(), [file, tail].concat()));
    changed.chain(moved).chain(appended)
}

/// Begins a signature line.
const PREFIX: &str = "\u{2014} ";

/// Where the name and the signature of the line stand that begins with `name`: all of it but
/// [`PREFIX`] and newline. The line may also be missing.
fn line_of(file: &str, name: &str) -> Range<usize> {
    let start = file.find(&format!("{PREFIX}{name} ")).unwrap() + PREFIX.len();
    start..start + file[start..].find('\n').unwrap()
}

/// No byte, behind the bytes of which no checkpoint is left.
const NOWHERE: Range<usize> = PREFIX.len()..PREFIX.len();

/// A policy that asks for the cosignatures of two witnesses.
fn witnessed() -> Policy {
    let keys = [witness(1), witness(2)].map(|one| one.key().clone());
    let [one, two] = keys;
    let policy = policy().witness("one", one, None).unwrap();
    let policy = policy.witness("two", two, None).unwrap();
    let all = runstone_receipt::policy::Threshold::All;
    let policy = policy.group("both", all, &["one", "two"]).unwrap();
    policy.quorum("both").unwrap()
}

#[test]
fn every_byte_of_a_receipt_counts() {
    let cosigned = receipt_with(5, 7, &cosigned(7, &[1, 2]));
    for (receipt, policy) in [(receipt(5, 7), policy()), (cosigned, witnessed())] {
        let file = receipt.encode();
        let verify = |bytes: &[u8]| {
            let receipt = Receipt::parse(bytes)?;
            receipt.verify(&policy, &VerifyOptions::new()).map(|_| ())
        };
        verify(&file).unwrap();
        for (at, mutant) in mutants(&file) {
            assert!(verify(&mutant).is_err(), "byte {at}: {mutant:?}");
        }
    }
}

#[test]
fn only_lines_of_unknown_keys_may_change_in_a_receipt() {
    let receipt = receipt_with(5, 7, &cosigned(7, &[1, 3]));
    let file = receipt.to_string();
    let key = witness(1).key().clone();
    let policy = policy().witness("one", key, None).unwrap();
    let policy = policy.quorum("one").unwrap();
    let verified = receipt.verify(&policy, &VerifyOptions::new()).unwrap();
    let stranger = line_of(&file, "witness.example/w3");
    let mut accepted = 0;
    for (at, mutant) in mutants(file.as_bytes()) {
        let Ok(read) = Receipt::parse(&mutant) else {
            continue;
        };
        let Ok(other) = read.verify(&policy, &VerifyOptions::new()) else {
            continue;
        };
        let is_without = mutant == file.as_bytes()[..stranger.start - PREFIX.len()];
        assert!(stranger.contains(&at) || is_without, "byte {at}");
        assert_eq!(other.entry(), verified.entry());
        assert_eq!(
            other.checkpoint().checkpoint(),
            verified.checkpoint().checkpoint()
        );
        assert_eq!(other.signed_by(), verified.signed_by());
        assert_eq!(other.cosigned_by(), verified.cosigned_by());
        accepted += 1;
    }
    assert!(accepted > 500, "{accepted}");
}

#[test]
fn every_byte_of_a_consistency_file_counts() {
    let (file, policy, earlier) = (consistency(3, 7).encode(), policy(), signed(3));
    let verify = |bytes: &[u8]| Consistency::parse(bytes)?.verify(&earlier, &policy);
    verify(&file).unwrap();
    for (at, mutant) in mutants(&file) {
        assert!(verify(&mutant).is_err(), "byte {at}: {mutant:?}");
    }
}

#[test]
fn every_byte_of_a_disclosure_counts() {
    let event = event(5);
    let entry = Entry::parse(&event.entry).unwrap();
    let plain = Plain::parse(&event.plain).unwrap();
    for disclosure in [
        Disclosure::fields(5, &plain, &["to"]),
        Disclosure::fields(5, &plain, &["note", "amount"]),
        Disclosure::whole(5, &plain),
    ] {
        let file = disclosure.unwrap().encode();
        let verify = |bytes: &[u8]| Disclosure::parse(bytes)?.verify(&entry);
        verify(&file).unwrap();
        for (at, mutant) in mutants(&file) {
            assert!(verify(&mutant).is_err(), "byte {at}: {mutant:?}");
        }
    }
}

#[test]
fn every_byte_of_a_checkpoint_counts() {
    let stranger = Signer::new("example.com/other", &[1; 32]).unwrap();
    let by_strangers = {
        let note = runstone_receipt::note::SignedNote::parse(signed(7).text()).unwrap();
        let line = stranger.sign(note.text());
        note.with_signature(line).unwrap().to_text()
    };
    for (file, policy, excepted) in [
        (signed(7).text().to_owned(), policy(), NOWHERE),
        (cosigned(7, &[1, 2]), witnessed(), NOWHERE),
        (
            by_strangers.clone(),
            policy(),
            line_of(&by_strangers, "example.com/other"),
        ),
    ] {
        let verify = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok()?;
            policy.verify_checkpoint(text, Some(ORIGIN)).ok()
        };
        let head = verify(file.as_bytes()).unwrap();
        let mut accepted = 0;
        for (at, mutant) in mutants(file.as_bytes()) {
            if let Some(other) = verify(&mutant) {
                let is_without = mutant == file.as_bytes()[..excepted.start - PREFIX.len()];
                assert!(
                    excepted.contains(&at) || is_without,
                    "byte {at}: {mutant:?}"
                );
                assert_eq!(other.checkpoint(), head.checkpoint());
                accepted += 1;
            }
        }
        assert_eq!(accepted > 500, !excepted.is_empty(), "{accepted}");
    }
}

#[test]
fn every_byte_of_an_envelope_and_of_a_plaintext_counts() {
    // Plain and sealed; with fields and whole.
    for position in [5, 4, 3, 0] {
        let (event, receipt, policy) = (event(position), receipt(position, 7), policy());
        let with_envelope = |bytes: &[u8]| {
            let options = VerifyOptions::new().log_id(LOG_ID).envelope(bytes);
            receipt
                .verify(&policy, &options)
                .map(|found| found.checked().envelope)
        };
        assert_eq!(with_envelope(&event.envelope), Ok(true));
        for (at, mutant) in mutants(&event.envelope) {
            assert!(with_envelope(&mutant).is_err(), "byte {at} of {position}");
        }
        let opens = |bytes: &[u8]| {
            Plain::parse(bytes).is_ok_and(|plain| {
                let options = VerifyOptions::new().plain(&plain);
                receipt.verify(&policy, &options).is_ok()
            })
        };
        assert!(opens(&event.plain));
        for (at, mutant) in mutants(&event.plain) {
            // White space around the members of an object is no part of any field.
            if mutant[33.min(mutant.len())..]
                .iter()
                .any(u8::is_ascii_whitespace)
            {
                continue;
            }
            assert!(!opens(&mutant), "byte {at} of {position}");
        }
    }
}
