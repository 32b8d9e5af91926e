//! A small log with everything that is issued about it.

use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runstone_codec::payload::{Mode, Plain};
use runstone_codec::{
    Authority, EntryParts, Header, KeyId, LogId, Position, Revision, Uuid, encode_entry,
    envelope_digest,
};
use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
use runstone_receipt::note::{Cosigner, SignedNote, Signer};
use runstone_receipt::tree::{consistency_proof, inclusion_proof};
use runstone_receipt::{Consistency, Policy, Receipt, leaf_hash, mth};

pub(crate) const ORIGIN: &str = "example.com/invoices/6f1c0a5e";
pub(crate) const LOG_ID: LogId = LogId::new([0x1d; 16]);
/// Payload of the events with fields. Without white space, which a commitment to fields lets be.
pub(crate) const FIELDS: &str = r#"{"amount":12.50,"to":{"iban":"DE00"},"note":"caf\u00e9"}"#;
pub(crate) const WHOLE: &str = r#"{"role":"user"}"#;

/// One event, with what stays in the house.
pub(crate) struct Event {
    pub(crate) entry: Vec<u8>,
    pub(crate) plain: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
}

/// An event at a position: with fields at odd ones, sealed at those divisible by three.
pub(crate) fn event(position: u64) -> Event {
    let (mode, payload) = if position % 2 == 1 {
        (Mode::Fields, FIELDS)
    } else {
        (Mode::Whole, WHOLE)
    };
    let key_id = position.is_multiple_of(3).then_some(KeyId::new([0x4e; 16]));
    let blind = leaf_hash(&position.to_be_bytes());
    let plain = [blind.as_slice(), &[mode.to_byte()], payload.as_bytes()].concat();
    // Nobody opens a sealed one here, so what is in it stands for ciphertext.
    let envelope = match key_id {
        None => [&[0], plain.as_slice()].concat(),
        Some(key_id) => [
            &[1],
            key_id.as_bytes().as_slice(),
            &[9; 12],
            &plain,
            &[8; 16],
        ]
        .concat(),
    };
    let header = Header {
        event_id: Uuid::from_u128(u128::from(position)),
        stream: "run-7".into(),
        event_type: "effect.completed".into(),
        schema_version: 1,
        occurred_at_us: None,
        source: "planner".into(),
        principal: "agent:a1".into(),
        authority: Authority::Agent,
        causation: None,
        correlation: None,
        scope: "customer-17".into(),
        tags: vec!["tool:search".into()],
        codec: u8::from(key_id.is_some()),
        key_id,
    };
    let header = header.encode().unwrap();
    let parts = EntryParts {
        header: &header,
        position: Position::new(position),
        revision: Revision::new(position),
        recorded_at_us: 1_764_000_000_000_000 + position,
        control: &[],
        commit: &Plain::parse(&plain).unwrap().commitment(),
        digest: &envelope_digest(&LOG_ID, &header, &envelope).unwrap(),
    };
    let mut entry = Vec::new();
    encode_entry(&parts, &mut entry).unwrap();
    Event {
        entry,
        plain,
        envelope,
    }
}

pub(crate) fn signer() -> Signer {
    Signer::new(ORIGIN, &[0x5e; 32]).unwrap()
}

pub(crate) fn witness(number: u8) -> Cosigner {
    Cosigner::new(&format!("witness.example/w{number}"), &[number; 32]).unwrap()
}

pub(crate) fn policy() -> Policy {
    Policy::of_logs([signer().vkey()]).unwrap()
}

fn leaves(size: u64) -> Vec<[u8; 32]> {
    (0..size).map(|at| leaf_hash(&event(at).entry)).collect()
}

fn node(leaves: &[[u8; 32]]) -> impl Fn(u8, u64) -> Result<[u8; 32], Infallible> {
    |level, index| {
        let start = usize::try_from(index).unwrap() << level;
        Ok(mth(&leaves[start..start + (1 << level)]))
    }
}

pub(crate) fn head(size: u64) -> Checkpoint {
    Checkpoint::new(ORIGIN, size, mth(&leaves(size))).unwrap()
}

pub(crate) fn signed(size: u64) -> SignedCheckpoint {
    SignedCheckpoint::sign(&head(size), &[&signer()]).unwrap()
}

/// The checkpoint of a size as witnesses have cosigned it.
pub(crate) fn cosigned(size: u64, witnesses: &[u8]) -> String {
    let mut note = SignedNote::parse(signed(size).text()).unwrap();
    for number in witnesses {
        let time_s = 1_764_000_000 + u64::from(*number);
        let line = witness(*number).cosign(note.text(), time_s).unwrap();
        note = note.with_signature(line).unwrap();
    }
    note.to_text()
}

/// A file in which the time of its last line, a cosignature, begins with another byte.
pub(crate) fn with_time(file: &str, first: u8) -> String {
    let (head, data) = file.trim_end().rsplit_once(' ').unwrap();
    let mut data = STANDARD.decode(data).unwrap();
    // Behind the key id.
    data[4] = first;
    format!("{head} {}\n", STANDARD.encode(data))
}

pub(crate) fn receipt_with(index: u64, size: u64, checkpoint: &str) -> Receipt {
    let leaves = leaves(size);
    let proof = inclusion_proof(index, size, node(&leaves)).unwrap();
    Receipt::new(event(index).entry, index, proof, checkpoint.to_owned()).unwrap()
}

pub(crate) fn receipt(index: u64, size: u64) -> Receipt {
    receipt_with(index, size, signed(size).text())
}

pub(crate) fn consistency(old: u64, new: u64) -> Consistency {
    let leaves = leaves(new);
    let proof = consistency_proof(old, new, node(&leaves)).unwrap();
    Consistency::new(old, proof, signed(new).text().to_owned()).unwrap()
}
