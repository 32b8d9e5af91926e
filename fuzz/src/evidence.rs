//! A log that is not there, and what it would issue: keys that everybody knows, entries, a tree.

use runstone_codec::{
    Authority, Compression, EntryParts, Header, LogId, PayloadSpec, Position, Revision, Sealed,
    Uuid, encode_entry, seal,
};
use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
use runstone_receipt::note::{Cosigner, SignedNote, Signer};
use runstone_receipt::{Digest32, leaf_hash, mth};
use std::convert::Infallible;

/// The origin of the vector in docs/FORMAT.md.
pub const ORIGIN: &str = "example.com/invoices/6f1c0a5e";
/// Of the vectors in docs/FORMAT.md.
pub const LOG_ID: LogId = LogId::new([
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
]);
/// Witnesses whose keys are known; 1 and 2 are those of the vector.
pub const WITNESSES: u8 = 8;

/// Who signs for the log.
pub fn signer() -> Signer {
    Signer::new(ORIGIN, &[6; 32]).expect("a good name")
}

/// A witness, by a number below [`WITNESSES`].
pub fn witness(number: u8) -> Cosigner {
    Cosigner::new(&format!("witness.example/w{number}"), &[number + 6; 32]).expect("a good name")
}

/// An event with this payload, plain; with fields if it can be.
pub fn sealed(payload: &[u8]) -> Sealed {
    let header = Header {
        event_id: Uuid::from_u128(7),
        stream: "run-7".into(),
        event_type: "chat.message".into(),
        schema_version: 1,
        occurred_at_us: None,
        source: "me".into(),
        principal: "human:ada".into(),
        authority: Authority::Human,
        causation: None,
        correlation: None,
        scope: "default".into(),
        tags: Vec::new(),
        codec: 0,
        key_id: None,
    };
    let spec = PayloadSpec {
        fields: true,
        compress: Compression::Never,
    };
    let blind = std::array::from_fn(|at| 0x80 + u8::try_from(at).expect("small"));
    seal::seal(&LOG_ID, &header, payload, spec, None, blind, [0; 12]).expect("it is short")
}

/// The entry of an event at a position.
pub fn entry(position: u64, sealed: &Sealed) -> Vec<u8> {
    let parts = EntryParts {
        header: &sealed.header,
        position: Position::new(position),
        revision: Revision::new(position),
        recorded_at_us: 1_764_000_000_000_000,
        control: &[],
        commit: &sealed.commit,
        digest: &sealed.digest,
    };
    let mut entry = Vec::new();
    encode_entry(&parts, &mut entry).expect("it is short");
    entry
}

/// Leaves of a log of so many events, all with the same payload.
pub fn leaves(size: u64, sealed: &Sealed) -> Vec<Digest32> {
    (0..size).map(|at| leaf_hash(&entry(at, sealed))).collect()
}

/// The nodes over leaves.
pub fn node(leaves: &[Digest32]) -> impl Fn(u8, u64) -> Result<Digest32, Infallible> {
    |level, index| {
        let start = usize::try_from(index).expect("small") << level;
        Ok(mth(&leaves[start..start + (1 << level)]))
    }
}

/// The signed checkpoint over leaves, cosigned by the witnesses whose bits are set.
pub fn checkpoint(leaves: &[Digest32], witnesses: u8) -> String {
    let head = Checkpoint::new(ORIGIN, leaves.len() as u64, mth(leaves)).expect("a good origin");
    let signed = SignedCheckpoint::sign(&head, &[&signer()]).expect("a good origin");
    let mut note = SignedNote::parse(signed.text()).expect("just written");
    for number in (0..WITNESSES).filter(|number| witnesses >> number & 1 == 1) {
        let line = witness(number).cosign(note.text(), 1_764_000_000);
        let line = line.expect("not beyond all time");
        note = note.with_signature(line).expect("there is room");
    }
    note.to_text()
}

/// The bytes with one of them changed, dropped or doubled, as two bytes say.
pub fn altered(file: &[u8], at: u16, how: u8) -> Vec<u8> {
    let at = usize::from(at) % file.len();
    let mut file = file.to_vec();
    match how {
        0 => drop(file.remove(at)),
        0xff => file.insert(at, file[at]),
        _ => file[at] ^= how,
    }
    file
}
