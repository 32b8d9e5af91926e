//! Receipts and consistency files: from bytes, and as a log issues them with one byte changed.
//!
//! The first byte selects.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_fuzz::Input;
use runstone_fuzz::evidence::{
    ORIGIN, altered, checkpoint, entry, leaves, node, sealed, signer, witness,
};
use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
use runstone_receipt::policy::{Policy, Threshold};
use runstone_receipt::tree::{consistency_proof, inclusion_proof};
use runstone_receipt::{Consistency, Receipt, VerifyOptions, mth};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => receipt(input.0),
        1 => consistency(input),
        2 => issued(input),
        _ => grown(input),
    }
});

fn policy() -> Policy {
    Policy::of_logs([signer().vkey()]).expect("one key")
}

/// Trusts what two witnesses have cosigned.
fn witnessed() -> Policy {
    let mut policy = policy();
    for (number, name) in [(1, "one"), (2, "two")] {
        let key = witness(number).key().clone();
        policy = policy.witness(name, key, None).expect("a new name");
    }
    let policy = policy.group("both", Threshold::All, &["one", "two"]);
    policy
        .and_then(|policy| policy.quorum("both"))
        .expect("named")
}

/// Whether the log has signed this; nobody else can.
fn is_signed(checkpoint: &SignedCheckpoint, file: &[u8]) -> bool {
    let own = SignedCheckpoint::sign(checkpoint.checkpoint(), &[&signer()]).expect("it was read");
    let line = own.text().lines().last().expect("a signature").as_bytes();
    file.windows(line.len()).any(|part| part == line)
}

fn receipt(file: &[u8]) {
    let Ok(receipt) = Receipt::parse(file) else {
        return;
    };
    assert_eq!(receipt.encode(), file);
    let parts = (receipt.entry_bytes().to_vec(), receipt.proof().to_vec());
    let text = receipt.checkpoint().to_owned();
    let again = Receipt::new(parts.0, receipt.index(), parts.1, text);
    if let Ok(verified) = receipt.verify(&policy(), &VerifyOptions::new()) {
        assert!(is_signed(verified.checkpoint(), file), "forged");
        assert_eq!(verified.position(), receipt.index());
        assert_eq!(verified.origin(), ORIGIN);
        assert_eq!(again.as_ref(), Ok(&receipt));
        let elsewhere = VerifyOptions::new().origin("example.com/other");
        assert!(receipt.verify(&policy(), &elsewhere).is_err());
    } else if let Ok(again) = again {
        assert_eq!(again, receipt);
    }
}

/// After the root of the checkpoint that somebody kept.
fn consistency(mut input: Input<'_>) {
    let (root, file) = (input.array(), input.0);
    let Ok(consistency) = Consistency::parse(file) else {
        return;
    };
    assert_eq!(consistency.encode(), file);
    let old = consistency.old();
    let Ok(earlier) = Checkpoint::new(ORIGIN, old, root) else {
        return;
    };
    let earlier = SignedCheckpoint::sign(&earlier, &[&signer()]).expect("a good origin");
    let across = consistency.verify_across_epochs(&earlier, &policy());
    match consistency.verify(&earlier, &policy()) {
        Ok(later) => {
            assert!(is_signed(&later, file), "forged");
            let head = later.checkpoint();
            assert!(old <= head.size && (old < head.size || root == head.root));
            let (proof, text) = (consistency.proof(), consistency.checkpoint());
            let again = Consistency::new(old, proof.to_vec(), text.to_owned());
            assert_eq!(again, Ok(consistency));
            assert_eq!(across, Ok(later));
        }
        Err(error) => assert_eq!(across, Err(error)),
    }
}

/// What is issued verifies; with another byte it does not.
fn issued(mut input: Input<'_>) {
    let size = 1 + u64::from(input.byte());
    let index = u64::from(input.byte()) % size;
    let (cosigned, at, how) = (input.byte(), input.array(), input.byte());
    let sealed = sealed(input.0);
    let leaves = leaves(size, &sealed);
    let proof = inclusion_proof(index, size, node(&leaves)).expect("it is in the tree");
    let text = checkpoint(&leaves, cosigned & 6);
    let made = Receipt::new(entry(index, &sealed), index, proof, text);
    let file = made.expect("it is right").encode();
    let policy = if cosigned & 6 == 6 {
        witnessed()
    } else {
        policy()
    };
    let verify = |file: &[u8]| {
        let receipt = Receipt::parse(file)?;
        receipt.verify(&policy, &VerifyOptions::new()).map(|_| ())
    };
    // Lines of witnesses that the policy does not know may say what they like.
    let counts = matches!(cosigned & 6, 0 | 6);
    match verify(&file) {
        Ok(()) => {}
        Err(error) => panic!("{error}"),
    }
    let changed = altered(&file, u16::from_be_bytes(at), how);
    assert!(!counts || changed == file || verify(&changed).is_err());
}

/// The same from one checkpoint to a later one.
fn grown(mut input: Input<'_>) {
    let size = u64::from(input.byte());
    let old = u64::from(input.byte()) % (size + 1);
    let (at, how) = (input.array(), input.byte());
    let leaves = leaves(size, &sealed(input.0));
    let before = &leaves[..usize::try_from(old).expect("small")];
    let kept = Checkpoint::new(ORIGIN, old, mth(before)).expect("a good origin");
    let kept = SignedCheckpoint::sign(&kept, &[&signer()]).expect("a good origin");
    let proof = consistency_proof(old, size, node(&leaves)).expect("it has grown");
    let made = Consistency::new(old, proof, checkpoint(&leaves, 0));
    let file = made.expect("it is right").encode();
    let verify = |file: &[u8]| Consistency::parse(file)?.verify(&kept, &policy());
    match verify(&file) {
        Ok(later) => assert_eq!(later.checkpoint().size, size),
        Err(error) => panic!("{error}"),
    }
    let changed = altered(&file, u16::from_be_bytes(at), how);
    assert!(changed == file || verify(&changed).is_err());
}
