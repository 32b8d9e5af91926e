//! The steps of a receipt's verification, in their order.

use proptest::prelude::*;
use runstone_codec::payload::Plain;
use runstone_codec::{EntryError, LogId};
use runstone_receipt::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use runstone_receipt::disclosure::DisclosureError;
use runstone_receipt::note::{NoteError, SignedNote, Signer};
use runstone_receipt::receipt::{Checked, Finding, ReceiptError};
use runstone_receipt::tree::ProofError;
use runstone_receipt::{Disclosure, Policy, Receipt, TextError, VerifyOptions, leaf_hash};

use crate::sample::{
    LOG_ID, ORIGIN, cosigned, event, policy, receipt, receipt_with, signer, with_time, witness,
};

fn rejected(file: &str) -> ReceiptError {
    rejected_by(file, &policy(), &VerifyOptions::new())
}

fn rejected_by(file: &str, policy: &Policy, options: &VerifyOptions<'_>) -> ReceiptError {
    match Receipt::parse(file.as_bytes()) {
        Ok(receipt) => receipt.verify(policy, options).unwrap_err(),
        Err(error) => error,
    }
}

/// A receipt of whatever leaf, in a tree of that leaf alone, over a text that the log signs.
fn forged(leaf: &[u8], index: u64, text: &str) -> String {
    let note = SignedNote::sign(text, &[&signer()]).unwrap().to_text();
    let head = receipt(0, 1).to_string();
    let extra = base64(leaf);
    let start = head.lines().next().unwrap();
    format!("{start}\nextra {extra}\nindex {index}\n\n{note}")
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn head_of(leaf: &[u8]) -> String {
    Checkpoint::new(ORIGIN, 1, leaf_hash(leaf))
        .unwrap()
        .to_text()
}

#[test]
fn every_receipt_of_every_size_verifies() {
    let policy = policy();
    for size in 1..=20 {
        for index in 0..size {
            let issued = receipt(index, size);
            let read = Receipt::parse(&issued.encode()).unwrap();
            assert_eq!(read, issued);
            let verified = read
                .verify(&policy, &VerifyOptions::new().origin(ORIGIN))
                .unwrap();
            assert_eq!(verified.origin(), ORIGIN);
            assert_eq!((verified.position(), verified.size()), (index, size));
            assert_eq!(verified.entry().bytes(), event(index).entry);
            assert_eq!(verified.header().event_type, "effect.completed");
            assert_eq!(
                verified.claimed_recorded_at_us(),
                1_764_000_000_000_000 + index
            );
            assert_eq!(verified.signed_by(), [signer().vkey()]);
            assert_eq!(verified.checked(), Checked::default());
        }
    }
}

#[test]
fn steps_1_and_2_are_about_the_file() {
    let file = receipt(5, 7).to_string();
    let hash = base64(&[7; 32]);
    let index = "index 5\n";
    let lines: Vec<&str> = file.lines().collect();
    let extra = format!("{}\n", lines[1]);
    for (altered, error, step) in [
        (
            file.replace('\n', "\r\n"),
            TextError::Character { at: 22 }.into(),
            1,
        ),
        (file.trim_end().to_owned(), TextError::NoNewline.into(), 1),
        (
            file.replace("\n\n", "\n"),
            TextError::NoCheckpoint.into(),
            1,
        ),
        (
            format!("{file}{}", "a".repeat(128 << 10)),
            TextError::TooLong {
                limit: 128 << 10,
                found: file.len() + (128 << 10),
            }
            .into(),
            1,
        ),
        (file.replace("@v1", "@v2"), ReceiptError::Format, 2),
        (format!("\n{file}"), ReceiptError::Format, 2),
        (file.replace(&extra, ""), ReceiptError::Extra, 2),
        (file.replace("extra ", "extra  "), ReceiptError::Extra, 2),
        (file.replace(&extra, "extra AAF=\n"), ReceiptError::Extra, 2),
        (
            file.replace(&extra, &extra.repeat(2)),
            ReceiptError::Index,
            2,
        ),
        (file.replace(index, ""), ReceiptError::Index, 2),
        (file.replace(index, "index 05\n"), ReceiptError::Index, 2),
        (file.replace(index, "index -5\n"), ReceiptError::Index, 2),
        (
            file.replace(index, "index 9223372036854775808\n"),
            ReceiptError::Index,
            2,
        ),
        (
            file.replace(index, "index 5\nAAAA\n"),
            TextError::Hash { line: 4 }.into(),
            2,
        ),
        (
            file.replace(
                index,
                &format!("index 5\n{}", format!("{hash}\n").repeat(62)),
            ),
            TextError::TooManyHashes { limit: 63 }.into(),
            2,
        ),
    ] {
        let found = rejected(&altered);
        assert_eq!((found.step(), &found), (step, &error));
        assert_eq!(found.finding(), Finding::Malformed);
    }
    let no_text = [file.as_bytes(), b"\xff\n"].concat();
    let error = TextError::Character { at: file.len() };
    assert_eq!(Receipt::parse(&no_text), Err(error.into()));
    // 63 hashes and an index of 2^63 - 1 are read; what is wrong with them shows later.
    let largest = format!("index {}\n{}", i64::MAX, format!("{hash}\n").repeat(60));
    assert_eq!(rejected(&file.replace(index, &largest)).step(), 4);
}

#[test]
fn step_3_is_about_who_signs() {
    let file = receipt(5, 7).to_string();
    let (plain, options) = (policy(), VerifyOptions::new());
    let other = Signer::new("example.com/other", &[1; 32]).unwrap();
    let stranger = Signer::new(ORIGIN, &[1; 32]).unwrap();
    let of = |keys: &[&Signer]| Policy::of_logs(keys.iter().map(|key| key.vkey())).unwrap();
    let quorum = plain
        .clone()
        .witness("w", witness(1).key().clone(), None)
        .unwrap();
    let quorum = quorum.quorum("w").unwrap();
    let line = file.lines().last().unwrap();
    let root = base64(&[7; 32]);
    let log_name = || ORIGIN.to_owned();
    let cases = [
        (
            rejected_by(&file, &plain, &options.origin("example.com/other")),
            CheckpointError::Origin {
                expected: "example.com/other".to_owned(),
                found: log_name(),
            },
            Finding::Unverifiable,
        ),
        (
            rejected_by(&file, &of(&[&other]), &options),
            CheckpointError::UnknownOrigin { origin: log_name() },
            Finding::Unverifiable,
        ),
        (
            rejected_by(&file, &of(&[&stranger]), &options),
            NoteError::NotSigned { name: log_name() }.into(),
            Finding::Unverifiable,
        ),
        (
            rejected_by(&file, &quorum, &options),
            CheckpointError::Quorum {
                quorum: "w".to_owned(),
                cosigned: 0,
            },
            Finding::Unverifiable,
        ),
        (
            rejected(&file.replacen("\n7\n", "\n8\n", 1)),
            NoteError::BadSignature { name: log_name() }.into(),
            Finding::False,
        ),
        (
            rejected(&format!("{file}{line}\n")),
            NoteError::DuplicateSignature { name: log_name() }.into(),
            Finding::Malformed,
        ),
        (
            rejected(&forged(b"", 0, &format!("{ORIGIN}\n1\n{root}\nmore\n"))),
            CheckpointError::Lines,
            Finding::Malformed,
        ),
        (
            rejected(&forged(b"", 0, &format!("{ORIGIN}\n1\n"))),
            CheckpointError::Lines,
            Finding::Malformed,
        ),
    ];
    for (found, error, finding) in cases {
        assert_eq!(found, ReceiptError::Checkpoint(error));
        assert_eq!((found.step(), found.finding()), (3, finding), "{found}");
    }
    // A cosignature by a known witness that does not hold rejects, whether it is asked for or not.
    let cosigned = receipt_with(5, 7, &cosigned(7, &[1])).to_string();
    assert!(
        Receipt::parse(cosigned.as_bytes())
            .unwrap()
            .verify(&quorum, &options)
            .is_ok()
    );
    let other_time = with_time(&cosigned, 1);
    let not_asked = quorum.quorum("none").unwrap();
    let found = rejected_by(&other_time, &not_asked, &options);
    let bad = NoteError::BadSignature {
        name: "witness.example/w1".to_owned(),
    };
    assert_eq!(found, ReceiptError::Checkpoint(bad.into()));
    // Nobody knows that witness here, so its line says nothing.
    Receipt::parse(other_time.as_bytes())
        .unwrap()
        .verify(&plain, &options)
        .unwrap();
}

#[test]
fn steps_4_to_6_are_about_the_tree_and_the_entry() {
    let event = event(0).entry;
    let root = base64(&leaf_hash(&event));
    let file = receipt(5, 7).to_string();
    let proof: Vec<&str> = file
        .lines()
        .skip(3)
        .take_while(|line| !line.is_empty())
        .collect();
    let drop = |hash: &str| file.replacen(&format!("{hash}\n"), "", 1);
    let not_entry = b"leaf".as_slice();
    for (found, error, step, finding) in [
        (
            rejected(&forged(&event, 0, &format!("{ORIGIN}\n01\n{root}\n"))),
            ReceiptError::Checkpoint(CheckpointError::Size),
            4,
            Finding::Malformed,
        ),
        (
            rejected(&forged(
                &event,
                0,
                &format!("{ORIGIN}\n1\n{}\n", &root[..40]),
            )),
            ReceiptError::Checkpoint(CheckpointError::Root),
            4,
            Finding::Malformed,
        ),
        (
            rejected(&file.replace("index 5", "index 7")),
            ReceiptError::Beyond { index: 7, size: 7 },
            4,
            Finding::False,
        ),
        (
            rejected(&drop(proof[0])),
            ReceiptError::Inclusion(ProofError::Length),
            5,
            Finding::False,
        ),
        (
            rejected(&file.replace("index 5\n", &format!("index 5\n{}\n", proof[0]))),
            ReceiptError::Inclusion(ProofError::Length),
            5,
            Finding::False,
        ),
        (
            rejected(&file.replace("index 5", "index 4")),
            ReceiptError::Inclusion(ProofError::Root),
            5,
            Finding::False,
        ),
        (
            rejected(&forged(not_entry, 0, &head_of(not_entry))),
            ReceiptError::Entry(runstone_codec::HeaderError::Malformed { at: 0 }.into()),
            6,
            Finding::False,
        ),
        (
            rejected(&forged(&event[..200], 0, &head_of(&event[..200]))),
            ReceiptError::Entry(EntryError::Truncated),
            6,
            Finding::False,
        ),
        (
            rejected(&forged(
                &self::event(3).entry,
                0,
                &head_of(&self::event(3).entry),
            )),
            ReceiptError::Position { entry: 3, index: 0 },
            6,
            Finding::False,
        ),
    ] {
        assert_eq!(found, error);
        assert_eq!((found.step(), found.finding()), (step, finding), "{found}");
    }
}

#[test]
fn the_first_failure_is_the_answer() {
    // Wrong in every step: each repair shows the next.
    let event = event(3).entry;
    let size_2 = format!("{ORIGIN}\n1\n{}\n", base64(&leaf_hash(&event)));
    let good = forged(&event, 0, &size_2);
    let position = rejected(&good);
    assert_eq!(position.step(), 6);
    let bad_proof = good.replace("index 0\n", &format!("index 0\n{}\n", base64(&[1; 32])));
    assert_eq!(rejected(&bad_proof).step(), 5);
    let beyond = bad_proof.replace("index 0", "index 1");
    assert_eq!(rejected(&beyond).step(), 4);
    let unsigned = beyond.replacen("\n1\n", "\n2\n", 1);
    assert_eq!(rejected(&unsigned).step(), 3);
    let no_index = unsigned.replace("index 1", "index 01");
    assert_eq!(rejected(&no_index).step(), 2);
    assert_eq!(rejected(no_index.trim_end()).step(), 1);
}

#[test]
fn step_7_is_about_what_is_given_besides() {
    let (plain_log, sealed) = (event(5), event(3));
    let (of_plain, of_sealed) = (receipt(5, 7), receipt(3, 7));
    let (policy, options) = (policy(), VerifyOptions::new());
    let rejected = |receipt: &Receipt, options: &VerifyOptions<'_>| {
        let error = receipt.verify(&policy, options).unwrap_err();
        assert_eq!(error.step(), 7, "{error}");
        error
    };
    let other = LogId::new([9; 16]);
    for (error, expected) in [
        (
            rejected(&of_plain, &options.envelope(&plain_log.envelope)),
            ReceiptError::LogIdMissing,
        ),
        (
            rejected(
                &of_plain,
                &options.log_id(other).envelope(&plain_log.envelope),
            ),
            ReceiptError::EnvelopeDigest,
        ),
        (
            rejected(
                &of_plain,
                &options.log_id(LOG_ID).envelope(&event(1).envelope),
            ),
            ReceiptError::EnvelopeDigest,
        ),
        (
            rejected(
                &of_plain,
                &options.log_id(LOG_ID).envelope(&sealed.envelope),
            ),
            ReceiptError::EnvelopeSeal,
        ),
        (
            rejected(
                &of_sealed,
                &options.log_id(LOG_ID).envelope(&plain_log.envelope),
            ),
            ReceiptError::EnvelopeSeal,
        ),
        (
            rejected(&of_sealed, &options.envelope(&[])),
            ReceiptError::Envelope(runstone_codec::EnvelopeError::Empty),
        ),
        (
            rejected(&of_sealed, &options.envelope(&[2])),
            ReceiptError::Envelope(runstone_codec::EnvelopeError::UnknownCodec { found: 2 }),
        ),
    ] {
        assert_eq!(error, expected);
    }
    // A sealed envelope is hashed alone, so the id of its log is not needed.
    let verified = of_sealed
        .verify(&policy, &options.envelope(&sealed.envelope))
        .unwrap();
    assert!(verified.checked().envelope && !verified.checked().plain);

    let (mine, theirs) = (Plain::parse(&plain_log.plain).unwrap(), event(1).plain);
    let theirs = Plain::parse(&theirs).unwrap();
    let verified = of_plain.verify(&policy, &options.plain(&mine)).unwrap();
    assert!(verified.checked().plain && !verified.checked().envelope);
    assert_eq!(
        rejected(&of_plain, &options.plain(&theirs)),
        ReceiptError::Commitment
    );

    let disclosure = Disclosure::fields(5, &mine, &["to"]).unwrap();
    let verified = of_plain
        .verify(&policy, &options.disclosure(&disclosure))
        .unwrap();
    assert!(verified.checked().disclosure);
    let elsewhere = DisclosureError::OtherPosition {
        expected: 3,
        found: 5,
    };
    assert_eq!(
        rejected(&of_sealed, &options.disclosure(&disclosure)),
        ReceiptError::Disclosure(elsewhere)
    );
    let invented = Disclosure::fields(5, &theirs, &["to"]).unwrap();
    assert_eq!(
        rejected(&of_plain, &options.disclosure(&invented)),
        ReceiptError::Disclosure(DisclosureError::Commitment { item: 0 })
    );
}

#[test]
fn what_would_be_rejected_is_not_issued() {
    let good = receipt(5, 7);
    let new = |entry: &[u8], index, proof: &[[u8; 32]], checkpoint: &str| {
        Receipt::new(entry.to_vec(), index, proof.to_vec(), checkpoint.to_owned())
            .unwrap_err()
            .step()
    };
    let (entry, proof, note) = (good.entry_bytes(), good.proof(), good.checkpoint());
    assert_eq!(new(entry, 5, proof, "no newline"), 1);
    assert_eq!(new(entry, 5, proof, ""), 3);
    assert_eq!(new(entry, 5, proof, &note.replace('\n', "\r\n")), 1);
    assert_eq!(new(entry, u64::MAX, proof, note), 2);
    assert_eq!(new(entry, 5, &[[1; 32]; 64], note), 2);
    assert_eq!(new(entry, 5, proof, &format!("\n{note}")), 3);
    assert_eq!(new(entry, 5, proof, "text\n\nno signature\n"), 3);
    assert_eq!(new(entry, 7, proof, note), 4);
    assert_eq!(new(entry, 5, &proof[1..], note), 5);
    assert_eq!(new(entry, 4, proof, note), 5);
    assert_eq!(new(&event(4).entry, 5, proof, note), 5);
}

#[test]
fn old_and_new_keys_and_epochs_are_lines_of_one_policy() {
    let entry = event(0).entry;
    let (old, new) = (signer(), Signer::new(ORIGIN, &[2; 32]).unwrap());
    let epoch = Signer::new("example.com/invoices/epoch-2", &[3; 32]).unwrap();
    let keys = [old.vkey(), new.vkey(), epoch.vkey()];
    let policy = Policy::of_logs(keys).unwrap();
    for (signers, origin) in [
        (vec![&old], ORIGIN),
        (vec![&new], ORIGIN),
        (vec![&old, &new], ORIGIN),
        (vec![&epoch], epoch.name()),
    ] {
        let head = Checkpoint::new(origin, 1, leaf_hash(&entry)).unwrap();
        let signed = SignedCheckpoint::sign(&head, &signers).unwrap();
        let receipt = Receipt::new(entry.clone(), 0, vec![], signed.text().to_owned()).unwrap();
        let verified = receipt.verify(&policy, &VerifyOptions::new()).unwrap();
        assert_eq!(verified.origin(), origin);
        assert_eq!(verified.signed_by().len(), signers.len());
    }
    // The key of one origin does not speak for another.
    let head = Checkpoint::new(epoch.name(), 1, leaf_hash(&entry)).unwrap();
    let by_old = SignedNote::sign(&head.to_text(), &[&old])
        .unwrap()
        .to_text();
    let receipt = Receipt::new(entry, 0, vec![], by_old).unwrap();
    let error = receipt.verify(&policy, &VerifyOptions::new()).unwrap_err();
    let not_signed = NoteError::NotSigned {
        name: epoch.name().to_owned(),
    };
    assert_eq!(error, ReceiptError::Checkpoint(not_signed.into()));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_is_written_the_same(
        noise in any::<Vec<u8>>(),
        at in any::<prop::sample::Index>(),
        taken in 0_usize..100,
    ) {
        let mut spliced = receipt(5, 7).encode();
        let start = at.index(spliced.len());
        let end = (start + taken).min(spliced.len());
        spliced.splice(start..end, noise.iter().copied());
        for bytes in [noise, spliced] {
            if let Ok(read) = Receipt::parse(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
                let _ = read.verify(&policy(), &VerifyOptions::new());
            }
        }
    }
}
