//! Consistency files.

use proptest::prelude::*;
use runstone_receipt::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use runstone_receipt::consistency::ConsistencyError;
use runstone_receipt::note::{NoteError, Signer};
use runstone_receipt::receipt::Finding;
use runstone_receipt::tree::ProofError;
use runstone_receipt::{Consistency, Policy, TextError};

use crate::sample::{ORIGIN, consistency, head, policy, signed, signer};

#[test]
fn every_pair_of_sizes_is_consistent() {
    let policy = policy();
    for new in 0..=20 {
        for old in 0..=new {
            let issued = consistency(old, new);
            let read = Consistency::parse(&issued.encode()).unwrap();
            assert_eq!(read, issued);
            let later = read.verify(&signed(old), &policy).unwrap();
            assert_eq!(later.checkpoint(), &head(new));
            assert_eq!(read.proof().is_empty(), old == 0 || old == new);
        }
    }
}

#[test]
fn rewritten_history_shows() {
    let (file, policy) = (consistency(3, 7), policy());
    // The log signed another tree of the same size before.
    let other = Checkpoint::new(ORIGIN, 3, [1; 32]).unwrap();
    let other = SignedCheckpoint::sign(&other, &[&signer()]).unwrap();
    let error = file.verify(&other, &policy).unwrap_err();
    assert_eq!(error, ConsistencyError::Proof(ProofError::OldRoot));
    assert_eq!(error.finding(), Finding::False);
    // And another one of the size that it has now.
    let other = Checkpoint::new(ORIGIN, 7, [1; 32]).unwrap();
    let other = SignedCheckpoint::sign(&other, &[&signer()]).unwrap();
    let same = Consistency::new(7, vec![], signed(7).text().to_owned()).unwrap();
    let error = same.verify(&other, &policy).unwrap_err();
    assert_eq!(error, ConsistencyError::Proof(ProofError::Root));
    // Or shrank.
    let expected = ConsistencyError::Proof(ProofError::Shrunk { old: 7, new: 3 });
    let issued = Consistency::new(7, vec![], signed(3).text().to_owned());
    assert_eq!(issued, Err(expected.clone()));
    let shrunk = format!("old 7\n\n{}", signed(3).text());
    let shrunk = Consistency::parse(shrunk.as_bytes()).unwrap();
    let error = shrunk.verify(&signed(7), &policy).unwrap_err();
    assert_eq!(error, expected);
}

#[test]
fn what_does_not_belong_together_is_told() {
    let (file, policy) = (consistency(3, 7), policy());
    let error = file.verify(&signed(4), &policy).unwrap_err();
    let expected = ConsistencyError::OtherSize {
        expected: 4,
        found: 3,
    };
    assert_eq!(error, expected);
    assert_eq!(error.finding(), Finding::Unverifiable);
    let error = file.verify(&signed(3), &Policy::new()).unwrap_err();
    let unknown = CheckpointError::UnknownOrigin {
        origin: ORIGIN.to_owned(),
    };
    assert_eq!(error, ConsistencyError::Checkpoint(unknown));
    let forged = file.to_string().replacen("\n7\n", "\n8\n", 1);
    let forged = Consistency::parse(forged.as_bytes()).unwrap();
    let error = forged.verify(&signed(3), &policy).unwrap_err();
    let bad = NoteError::BadSignature {
        name: ORIGIN.to_owned(),
    };
    assert_eq!(error, ConsistencyError::Checkpoint(bad.into()));
    assert_eq!(error.finding(), Finding::False);
}

#[test]
fn an_epoch_is_consistent_where_that_is_meant() {
    let next = Signer::new("example.com/invoices/epoch-2", &[3; 32]).unwrap();
    let policy = Policy::of_logs([signer().vkey(), next.vkey()]).unwrap();
    let later = Checkpoint::new(next.name(), 7, head(7).root).unwrap();
    let later = SignedCheckpoint::sign(&later, &[&next]).unwrap();
    let proof = consistency(3, 7).proof().to_vec();
    let file = Consistency::new(3, proof, later.text().to_owned()).unwrap();
    let error = file.verify(&signed(3), &policy).unwrap_err();
    let expected = ConsistencyError::OtherOrigin {
        earlier: ORIGIN.to_owned(),
        later: next.name().to_owned(),
    };
    assert_eq!(error, expected);
    let verified = file.verify_across_epochs(&signed(3), &policy).unwrap();
    assert_eq!(verified.checkpoint(), later.checkpoint());
    let error = file.verify_across_epochs(&signed(4), &policy).unwrap_err();
    assert!(matches!(error, ConsistencyError::OtherSize { .. }));
}

#[test]
fn files_of_a_wrong_shape_are_refused() {
    let file = consistency(3, 7).to_string();
    let hash = file.lines().nth(1).unwrap();
    let many = format!("old 3\n{}", format!("{hash}\n").repeat(64));
    for (altered, error) in [
        (file.replacen("old 3", "old 03", 1), ConsistencyError::Old),
        (file.replacen("old 3", "old  3", 1), ConsistencyError::Old),
        (file.replacen("old 3", "Old 3", 1), ConsistencyError::Old),
        (file.replacen("old 3\n", "", 1), ConsistencyError::Old),
        (format!("\n{file}"), ConsistencyError::Old),
        (
            file.replacen("old 3\n", &many, 1),
            TextError::TooManyHashes { limit: 63 }.into(),
        ),
        (
            file.replacen(hash, &hash[1..], 1),
            TextError::Hash { line: 2 }.into(),
        ),
        (file.trim_end().to_owned(), TextError::NoNewline.into()),
    ] {
        let found = Consistency::parse(altered.as_bytes()).unwrap_err();
        assert_eq!(found, error);
        assert_eq!(found.finding(), Finding::Malformed);
    }
    let note = signed(7).text().to_owned();
    assert!(Consistency::new(3, vec![[1; 32]; 64], note.clone()).is_err());
    assert!(Consistency::new(3, vec![], note.replace('\n', "\r\n")).is_err());
    assert!(Consistency::new(3, vec![], String::new()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_is_written_the_same(
        noise in any::<Vec<u8>>(),
        at in any::<prop::sample::Index>(),
        taken in 0_usize..100,
    ) {
        let mut spliced = consistency(3, 7).encode();
        let start = at.index(spliced.len());
        let end = (start + taken).min(spliced.len());
        spliced.splice(start..end, noise.iter().copied());
        for bytes in [noise, spliced] {
            if let Ok(read) = Consistency::parse(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
                let _ = read.verify(&signed(3), &policy());
            }
        }
    }
}
