//! Every vector of docs/FORMAT.md, run against the code.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a vector that does not hold panics"
)]

use runstone_codec::hash::{ds, leaf_hash, mth};
use runstone_codec::keys::{
    DataKey, FoldKey, KeyEncryptionKey, KeyKind, KeyTable, LookupKey, OperationsKey, keyed_digest,
    wrap, wrap_aad,
};
use runstone_codec::payload::{Mode, Plain, mode_of};
use runstone_codec::{
    Authority, Compression, Control, Entry, EntryParts, Header, KeyId, LogId, PayloadSpec,
    Position, Revision, control, encode_entry, envelope_digest, row, seal,
};
use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
use runstone_receipt::head::{HeadSlot, head_mac, slot_offset};
use runstone_receipt::note::{Cosigner, KeyPair, SignedNote, Signer, verify_message};
use runstone_receipt::policy::{Policy, Threshold};
use runstone_receipt::tree::{consistency_proof, inclusion_proof};
use runstone_receipt::{Consistency, Disclosure, Receipt, VerifyOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

const PAGE: &str = include_str!("../../../docs/FORMAT.md");
/// Kinds whose bytes only the store reads; its own tests run them.
const IN_STORE: [&str; 4] = ["chunk", "export", "index-row", "segment"];

/// The fields of one vector.
struct Vector(BTreeMap<String, String>);

impl Vector {
    fn bytes(&self, field: &str) -> Vec<u8> {
        unhex(&self.0[field])
    }

    fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.bytes(field).try_into().unwrap()
    }

    fn number(&self, field: &str) -> u64 {
        self.0[field].parse().unwrap()
    }

    fn small(&self, field: &str) -> u8 {
        self.0[field].parse().unwrap()
    }

    fn text(&self, field: &str) -> String {
        String::from_utf8(self.bytes(field)).unwrap()
    }

    fn list(&self, field: &str) -> Vec<Vec<u8>> {
        self.0[field].split(',').map(unhex).collect()
    }

    fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    fn log_id(&self) -> LogId {
        LogId::new(self.array("log_id"))
    }

    fn nonce(&self) -> [u8; 12] {
        if self.has("nonce") {
            self.array("nonce")
        } else {
            [0; 12]
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn vectors() -> Vec<Vector> {
    let (mut found, mut open, mut last) = (Vec::new(), None::<BTreeMap<_, _>>, String::new());
    for line in PAGE.lines() {
        match (line, &mut open) {
            ("```vector", _) => open = Some(BTreeMap::new()),
            ("```", Some(_)) => found.extend(open.take().map(Vector)),
            (line, Some(fields)) => {
                for token in line.split_whitespace() {
                    let field = token.split_once('=').filter(|(name, _)| is_name(name));
                    if let Some((name, value)) = field {
                        name.clone_into(&mut last);
                        fields.insert(last.clone(), value.to_owned());
                    } else {
                        fields.get_mut(&last).unwrap().push_str(token);
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[test]
fn every_vector_holds() {
    let mut kinds = BTreeSet::new();
    for vector in vectors() {
        let name = vector.0["name"].clone();
        let (kind, case) = name.split_once('/').unwrap();
        let holds = match kind {
            "tree" => tree(&vector),
            "header" => header(&vector),
            "payload" => payload(&vector),
            "envelope" => envelope(&vector),
            "control" => control_fields(&vector, case),
            "entry" => entry(&vector),
            "keyed-digest" => {
                let key = LookupKey::new(vector.array("lookup_key"));
                keyed_digest(&key, &vector.text("label"), &vector.list("parts")).to_vec()
                    == vector.bytes("digest")
            }
            "wrap" => wrapped(&vector),
            "wrap-signing" => wrapped_seed(&vector),
            "key-table" => key_table(&vector),
            "fold-row" => fold_row(&vector),
            "head-mac" => {
                head_mac(
                    &vector.array("mac_key"),
                    &vector.log_id(),
                    vector.number("size"),
                    &vector.array("root"),
                    vector.number("recorded_at_us"),
                )
                .to_vec()
                    == vector.bytes("head_mac")
            }
            "head-slot" => head_slot(&vector),
            "checkpoint" => checkpoint(&vector),
            "proof" => proof(&vector),
            "receipt" => receipt(&vector),
            "policy" => policy(&vector),
            "consistency" => consistency(&vector),
            "disclosure" => disclosure(&vector),
            kind if IN_STORE.contains(&kind) => true,
            kind => panic!("no test knows the kind {kind}"),
        };
        assert!(holds, "{name}");
        kinds.insert(kind.to_owned());
    }
    assert_eq!(kinds.len(), 23, "kinds of vectors on the page: {kinds:?}");
}

fn tree(vector: &Vector) -> bool {
    let count = vector.number("count");
    let leaves: Vec<_> = match count {
        0 => Vec::new(),
        _ => vector
            .list("leaves")
            .iter()
            .map(|leaf| leaf_hash(leaf))
            .collect(),
    };
    leaves.len() as u64 == count && mth(&leaves).to_vec() == vector.bytes("root")
}

fn header(vector: &Vector) -> bool {
    let id = |field: &str| {
        vector
            .has(field)
            .then(|| uuid::Uuid::from_bytes(vector.array(field)))
    };
    let header = Header {
        event_id: id("event_id").unwrap(),
        stream: vector.text("stream").into(),
        event_type: vector.text("type").into(),
        schema_version: vector.number("schema_version").try_into().unwrap(),
        occurred_at_us: vector
            .has("occurred_at_us")
            .then(|| vector.number("occurred_at_us")),
        source: vector.text("source").into(),
        principal: vector.text("principal").into(),
        authority: Authority::from_byte(vector.small("authority")).unwrap(),
        causation: id("causation"),
        correlation: id("correlation"),
        scope: vector.text("scope").into(),
        tags: vector
            .list("tags")
            .into_iter()
            .map(|tag| String::from_utf8(tag).unwrap())
            .filter(|tag| !tag.is_empty())
            .map(Into::into)
            .collect(),
        codec: vector.small("codec"),
        key_id: vector
            .has("key_id")
            .then(|| KeyId::new(vector.array("key_id"))),
    };
    let bytes = vector.bytes("header");
    header.encode().unwrap() == bytes && Header::decode(&bytes).unwrap() == header
}

fn payload(vector: &Vector) -> bool {
    let bytes = vector.bytes("plain");
    let plain = Plain::parse(&bytes).unwrap();
    let salts = !vector.has("salts")
        || (0..)
            .zip(vector.list("salts"))
            .all(|(index, salt)| plain.salts().salt(index).to_vec() == salt);
    let hashes = !vector.has("hashes")
        || vector
            .list("hashes")
            .into_iter()
            .eq(plain.segment_hashes().iter().map(|hash| hash.to_vec()));
    let mode = !vector.has("fields")
        || vector.number("fields") == 0
        || mode_of(&vector.bytes("payload")) == Mode::Fields;
    plain.payload() == vector.bytes("payload")
        && *plain.blind() == vector.array("r")
        && plain.commitment().to_vec() == vector.bytes("commit")
        && plain.segments().len() as u64 == vector.number("segments")
        && salts
        && hashes
        && mode
}

fn envelope(vector: &Vector) -> bool {
    let (log_id, header_bytes) = (vector.log_id(), vector.bytes("header"));
    let header = Header::decode(&header_bytes).unwrap();
    let key = vector
        .has("data_key")
        .then(|| DataKey::new(header.key_id.unwrap(), vector.array("data_key")));
    let (stored, bytes) = (vector.bytes("envelope"), vector.bytes("plain"));
    let commit = vector.array("commit");
    let opened = seal::open_plain(
        &log_id,
        &header_bytes,
        &header,
        &stored,
        &commit,
        key.as_ref(),
    )
    .unwrap();
    let digest = envelope_digest(&log_id, &header_bytes, &stored).unwrap();
    let reads = opened == bytes && digest.to_vec() == vector.bytes("digest");
    if bytes[32] & 0x10 != 0 {
        // What a compressor writes is not part of the format.
        return reads;
    }
    let plain = Plain::parse(&bytes).unwrap();
    let spec = PayloadSpec {
        fields: plain.mode() == Mode::Fields,
        compress: Compression::Never,
    };
    let sealed = seal::seal(
        &log_id,
        &header,
        plain.payload(),
        spec,
        key.as_ref(),
        *plain.blind(),
        vector.nonce(),
    )
    .unwrap();
    reads && sealed.header == header_bytes && sealed.envelope == stored && sealed.commit == commit
}

fn control_fields(vector: &Vector, case: &str) -> bool {
    if case == "plain" {
        let control = Control::new()
            .u64(1, vector.number("field1"))
            .bytes(2, vector.bytes("field2"))
            .text(300, vector.text("field300"));
        return control.encode().unwrap() == vector.bytes("control");
    }
    let key = OperationsKey::new(vector.array("operations_key"));
    let sealed = control::seal(
        Some(&key),
        &vector.log_id(),
        &vector.bytes("header"),
        Position::new(vector.number("position")),
        vector.nonce(),
        &vector.bytes("plain"),
    );
    sealed.unwrap() == vector.bytes("control")
}

fn entry(vector: &Vector) -> bool {
    let (header, control) = (vector.bytes("header"), vector.bytes("control"));
    let (commit, digest) = (vector.array("commit"), vector.array("digest"));
    let mut bytes = Vec::new();
    let parts = EntryParts {
        header: &header,
        position: Position::new(vector.number("position")),
        revision: Revision::new(vector.number("revision")),
        recorded_at_us: vector.number("recorded_at_us"),
        control: &control,
        commit: &commit,
        digest: &digest,
    };
    encode_entry(&parts, &mut bytes).unwrap();
    bytes == vector.bytes("entry")
        && Entry::parse(&bytes).unwrap().leaf().to_vec() == vector.bytes("leaf")
}

fn wrapped(vector: &Vector) -> bool {
    let aad = wrap_aad(
        &vector.log_id(),
        &KeyId::new(vector.array("key_id")),
        KeyKind::from_u8(vector.small("kind")).unwrap(),
        &vector.text("scope"),
        vector.number("generation").try_into().unwrap(),
        &vector.text("kek_id"),
    );
    let kek = KeyEncryptionKey::new(vector.array("kek"));
    aad == vector.bytes("aad")
        && wrap(&kek, &aad, &vector.nonce(), &vector.array("key")).unwrap()
            == vector.bytes("wrapped")
}

fn wrapped_seed(vector: &Vector) -> bool {
    let mut aad = ds("wrap-signing");
    aad.extend(vector.bytes("log_id"));
    aad.extend(vector.bytes("kek_id"));
    let kek = KeyEncryptionKey::new(vector.array("kek"));
    aad == vector.bytes("aad")
        && wrap(&kek, &aad, &vector.nonce(), &vector.array("seed")).unwrap()
            == vector.bytes("wrapped")
}

fn key_table(vector: &Vector) -> bool {
    let table = KeyTable::decode(&vector.bytes("table")).unwrap();
    let key_id = KeyId::new(vector.array("key_id"));
    table.encode().unwrap() == vector.bytes("table")
        && table.rows().len() as u64 == vector.number("rows")
        && table.get(&key_id).unwrap().count == vector.number("count")
}

fn fold_row(vector: &Vector) -> bool {
    let key = vector
        .has("fold_key")
        .then(|| FoldKey::new(vector.array("fold_key")));
    let (row_key, plain) = (vector.bytes("key"), vector.bytes("row"));
    let stored = row::seal(
        key.as_ref(),
        &vector.log_id(),
        &row_key,
        vector.nonce(),
        &plain,
    );
    stored.unwrap() == vector.bytes("stored")
}

fn head_slot(vector: &Vector) -> bool {
    let slot = HeadSlot {
        log_id: vector.log_id(),
        size: vector.number("size"),
        root: vector.array("root"),
        recorded_at_us: vector.number("recorded_at_us"),
        head_mac: vector.array("head_mac"),
        sequence: vector.number("sequence"),
    };
    slot.encode().to_vec() == vector.bytes("slot")
        && slot_offset(vector.number("sequence")) == vector.number("offset")
}

fn checkpoint(vector: &Vector) -> bool {
    let origin = vector.text("origin");
    let signer = Signer::new(&origin, &vector.array("seed")).unwrap();
    let size = vector.number("size");
    let checkpoint = Checkpoint::new(origin.clone(), size, vector.array("root")).unwrap();
    let signed = SignedCheckpoint::sign(&checkpoint, &[&signer]).unwrap();
    checkpoint.to_text() == vector.text("text")
        && signed.text() == vector.text("note")
        && signer.vkey().to_string() == vector.text("vkey")
        && signer.vkey().public_key().to_vec() == vector.bytes("public_key")
        && SignedCheckpoint::parse_verify(&vector.text("note"), &origin, &[signer.vkey()]).is_ok()
}

fn proof(vector: &Vector) -> bool {
    let mut message = ds("principal");
    message.extend(vector.bytes("challenge"));
    let key = KeyPair::from_seed(&vector.array("seed"));
    key.public_key().to_vec() == vector.bytes("public_key")
        && key.sign_message(&message).to_vec() == vector.bytes("signature")
        && verify_message(
            &vector.array("public_key"),
            &message,
            &vector.array("signature"),
        )
        .is_ok()
}

impl Vector {
    fn signer(&self) -> Signer {
        Signer::new(&self.text("origin"), &self.array("seed")).unwrap()
    }

    fn leaf_hashes(&self) -> Vec<[u8; 32]> {
        self.list("leaves")
            .iter()
            .map(|leaf| leaf_hash(leaf))
            .collect()
    }

    /// The checkpoint of the first `size` leaves.
    fn signed(&self, size: usize) -> SignedCheckpoint {
        let root = mth(&self.leaf_hashes()[..size]);
        let head = Checkpoint::new(self.text("origin"), size as u64, root).unwrap();
        SignedCheckpoint::sign(&head, &[&self.signer()]).unwrap()
    }

    fn node(&self) -> impl Fn(u8, u64) -> Result<[u8; 32], Infallible> {
        let leaves = self.leaf_hashes();
        move |level, index| {
            let start = usize::try_from(index).unwrap() << level;
            Ok(mth(&leaves[start..start + (1 << level)]))
        }
    }
}

fn receipt(vector: &Vector) -> bool {
    let (leaves, index) = (vector.list("leaves"), vector.number("index"));
    let size = leaves.len();
    let proof = inclusion_proof(index, size as u64, vector.node()).unwrap();
    let entry = leaves[usize::try_from(index).unwrap()].clone();
    let checkpoint = vector.signed(size).text().to_owned();
    let made = Receipt::new(entry, index, proof, checkpoint).unwrap();
    let bytes = vector.bytes("receipt");
    let read = Receipt::parse(&bytes).unwrap();
    let policy = Policy::of_logs([vector.signer().vkey()]).unwrap();
    let (plain, envelope) = (vector.bytes("plain"), vector.bytes("envelope"));
    let plain = Plain::parse(&plain).unwrap();
    let options = VerifyOptions::new()
        .log_id(vector.log_id())
        .envelope(&envelope)
        .plain(&plain);
    let verified = read.verify(&policy, &options).unwrap();
    made.encode() == bytes && read == made && verified.position() == index
}

fn policy(vector: &Vector) -> bool {
    let names = vector.list("witness_names");
    let witnesses = names.iter().zip(vector.list("witness_seeds"));
    let witnesses: Vec<Cosigner> = witnesses
        .map(|(name, seed)| {
            let name = std::str::from_utf8(name).unwrap();
            Cosigner::new(name, &seed.try_into().unwrap()).unwrap()
        })
        .collect();
    let made = Policy::new()
        .log(vector.signer().vkey(), Some("https://example.com/invoices"))
        .and_then(|policy| policy.witness("one", witnesses[0].key().clone(), None))
        .and_then(|policy| {
            let url = Some("https://witness.example/two");
            policy.witness("two", witnesses[1].key().clone(), url)
        })
        .and_then(|policy| policy.group("both", Threshold::All, &["one", "two"]))
        .and_then(|policy| policy.quorum("both"))
        .unwrap();
    let signed = vector.signed(vector.list("leaves").len());
    let mut note = SignedNote::parse(signed.text()).unwrap();
    for (time, witness) in (vector.number("time")..).zip(&witnesses) {
        let line = witness.cosign(note.text(), time).unwrap();
        note = note.with_signature(line).unwrap();
    }
    let read = Policy::parse(&vector.bytes("policy")).unwrap();
    let verified = read.verify_checkpoint(&vector.text("note"), None).unwrap();
    made.to_text() == vector.text("policy")
        && read == made
        && note.to_text() == vector.text("note")
        && verified.cosigned_by().len() == 2
        && read.verify_checkpoint(signed.text(), None).is_err()
}

fn consistency(vector: &Vector) -> bool {
    let (old, size) = (vector.number("old"), vector.list("leaves").len());
    let proof = consistency_proof(old, size as u64, vector.node()).unwrap();
    let later = vector.signed(size);
    let made = Consistency::new(old, proof, later.text().to_owned()).unwrap();
    let read = Consistency::parse(&vector.bytes("consistency")).unwrap();
    let earlier = vector.signed(usize::try_from(old).unwrap());
    let policy = Policy::of_logs([vector.signer().vkey()]).unwrap();
    made.encode() == vector.bytes("consistency")
        && read == made
        && read.verify(&earlier, &policy) == Ok(later)
}

fn disclosure(vector: &Vector) -> bool {
    let (entry, plain) = (vector.bytes("entry"), vector.bytes("plain"));
    let entry = Entry::parse(&entry).unwrap();
    let plain = Plain::parse(&plain).unwrap();
    let position = entry.position().get();
    let made = if vector.has("names") {
        let names = vector.list("names");
        let names: Vec<_> = names
            .iter()
            .map(|name| std::str::from_utf8(name).unwrap())
            .collect();
        Disclosure::fields(position, &plain, &names).unwrap()
    } else {
        Disclosure::whole(position, &plain).unwrap()
    };
    let read = Disclosure::parse(&vector.bytes("disclosure")).unwrap();
    made.encode() == vector.bytes("disclosure") && read == made && read.verify(&entry) == Ok(())
}
