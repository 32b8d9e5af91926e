//! Signed notes, checkpoints and public keys, from text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_receipt::checkpoint::{Checkpoint, MAX_SIZE, SignedCheckpoint};
use runstone_receipt::note::{SignedNote, Signer, Vkey, check_name};

/// Of the vector in docs/FORMAT.md.
const ORIGIN: &str = "example.com/invoices/6f1c0a5e";
const SEED: [u8; 32] = [6; 32];

fuzz_target!(|data: &[u8]| {
    let note = SignedNote::from_bytes(data);
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(note.is_err());
        return;
    };
    if let Ok(note) = &note {
        assert_eq!(note.to_text(), text);
        assert_eq!(SignedNote::parse(text).as_ref(), Ok(note));
    }
    if let Ok(vkey) = text.parse::<Vkey>() {
        assert_eq!(vkey.to_string(), text);
        assert_eq!(
            Vkey::new(vkey.name(), &vkey.public_key()).as_ref(),
            Ok(&vkey)
        );
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_text(), text);
        assert!(checkpoint.size <= MAX_SIZE);
        let signer = Signer::new(&checkpoint.origin, &SEED).expect("the origin is a name");
        let signed = SignedCheckpoint::sign(&checkpoint, &[&signer]).expect("it can be signed");
        let read =
            SignedCheckpoint::parse_verify(signed.text(), &checkpoint.origin, &[signer.vkey()]);
        assert_eq!(read.as_ref(), Ok(&signed));
    }
    let signer = Signer::new(ORIGIN, &SEED).expect("a good name");
    if let Ok(read) = SignedCheckpoint::parse_verify(text, ORIGIN, &[signer.vkey()]) {
        let signed = SignedCheckpoint::sign(read.checkpoint(), &[&signer]).expect("read");
        let own = signed.text().lines().last().expect("a signature");
        assert!(
            text.lines().any(|line| line == own),
            "a signature was forged"
        );
    }
    if check_name(text).is_ok() {
        let signer = Signer::new(text, &SEED).expect("a good name");
        let vkey = signer.vkey();
        assert_eq!(vkey.to_string().parse().as_ref(), Ok(&vkey));
        // Any text that can be signed reads as it was signed.
    } else if let Ok(note) = SignedNote::sign(text, &[&signer]) {
        assert_eq!(SignedNote::parse(&note.to_text()).as_ref(), Ok(&note));
        assert_eq!(note.verify(&[signer.vkey()]), Ok(vec![signer.vkey()]));
    }
});
