//! Payloads: P as it is sealed, whole, by fields and compressed; envelopes; JSON that is checked and
//! cut into segments.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_codec::keys::DataKey;
use runstone_codec::payload::{MAX_PAYLOAD_BYTES, MAX_SEGMENTS, Mode, Plain, commitment, segments};
use runstone_codec::seal::{check_commitment, open, open_plain, seal};
use runstone_codec::{
    Authority, Compression, EventLimits, Header, KeyId, LogId, NewEvent, PayloadSpec, Uuid,
    envelope_digest,
};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

const LOG_ID: LogId = LogId::new([1; 16]);
const KEY_ID: KeyId = KeyId::new([2; 16]);

fuzz_target!(|data: &[u8]| {
    plain(data);
    envelope(data);
    json(data);
    sealed(data);
});

fn header(key_id: Option<KeyId>) -> Header {
    Header {
        event_id: Uuid::from_bytes([3; 16]),
        stream: "s".into(),
        event_type: "a.b".into(),
        schema_version: 1,
        occurred_at_us: None,
        source: "fuzz".into(),
        principal: "system:keyring".into(),
        authority: Authority::System,
        causation: None,
        correlation: None,
        scope: "default".into(),
        tags: Vec::new(),
        codec: u8::from(key_id.is_some()),
        key_id,
    }
}

fn plain(data: &[u8]) {
    let Ok(plain) = Plain::parse(data) else {
        return;
    };
    assert!(plain.payload().len() <= MAX_PAYLOAD_BYTES);
    let hashes = plain.segment_hashes();
    assert_eq!(hashes.len(), plain.segments().len());
    assert_eq!(commitment(&hashes), plain.commitment());
    let again = [
        plain.blind(),
        &[plain.mode().to_byte()][..],
        plain.payload(),
    ]
    .concat();
    if data[32] & 0x10 == 0 {
        assert_eq!(again, data);
    } else {
        // The same payload, not compressed.
        let again = Plain::parse(&again).expect("it was read before");
        assert_eq!(again.payload(), plain.payload());
        assert_eq!(again.commitment(), plain.commitment());
    }
}

fn envelope(data: &[u8]) {
    let digest = envelope_digest(&LOG_ID, b"header", data);
    assert_eq!(digest.is_ok(), data.first().is_some_and(|codec| *codec < 2));
    let clear = header(None);
    let bytes = clear.encode().expect("a good header");
    let opened = open(&LOG_ID, &bytes, &clear, data, &[0; 32], None);
    let checked = check_commitment(&LOG_ID, &bytes, &clear, data, &[0; 32], None);
    assert!(checked.is_err(), "a commitment was forged");
    if let (Ok(opened), Some((0, rest))) = (&opened, data.split_first())
        && let Ok(plain) = Plain::parse(rest)
    {
        assert_eq!(opened, plain.payload());
    }
    let key = DataKey::new(KEY_ID, [4; 32]);
    let secret = header(Some(KEY_ID));
    let bytes = secret.encode().expect("a good header");
    let forged = open_plain(&LOG_ID, &bytes, &secret, data, &[0; 32], Some(&key));
    assert!(forged.is_err(), "an envelope was forged");
}

/// Cut into segments as another parser of JSON cuts it, and valid if that one says so.
fn json(data: &[u8]) {
    let (mode, cut) = segments(data, true);
    if mode == Mode::Fields {
        assert!((1..=MAX_SEGMENTS).contains(&cut.len()));
        let members: BTreeMap<String, &RawValue> = serde_json::from_slice(data).expect("an object");
        assert_eq!(members.len(), cut.len(), "keys are unique");
        for segment in &cut {
            let value = members[segment.name.as_ref()].get();
            assert_eq!(value.as_bytes(), segment.value);
        }
    } else {
        assert_eq!((cut.len(), cut[0].value), (1, data));
    }
    let mut event = NewEvent::new("a.b", "s").payload(data);
    if event.check(&EventLimits::default()).is_ok() {
        assert_eq!(event.payload, data);
        serde_json::from_slice::<&RawValue>(data).expect("what is recorded is JSON");
    }
}

/// What is sealed is opened, and nothing that was changed.
fn sealed(data: &[u8]) {
    let Some((&how, payload)) = data.split_first() else {
        return;
    };
    let key = DataKey::new(KEY_ID, [4; 32]);
    let key = (how & 1 == 1).then_some(&key);
    let header = header(key.map(|key| *key.id()));
    let mut spec = PayloadSpec::default();
    spec.fields = how & 2 == 2;
    if how & 4 == 4 {
        spec.compress = Compression::Never;
    }
    let sealed = seal(&LOG_ID, &header, payload, spec, key, [5; 32], [6; 12]);
    let sealed = sealed.expect("within the limits");
    let opened = |envelope: &[u8]| {
        open(
            &LOG_ID,
            &sealed.header,
            &header,
            envelope,
            &sealed.commit,
            key,
        )
    };
    assert_eq!(opened(&sealed.envelope).as_deref(), Ok(payload));
    let commitment = check_commitment(
        &LOG_ID,
        &sealed.header,
        &header,
        &sealed.envelope,
        &sealed.commit,
        key,
    );
    assert_eq!(commitment, Ok(()));
    let mut changed = sealed.envelope.clone();
    let at = usize::from(how) % changed.len();
    changed[at] ^= 1;
    assert_ne!(
        envelope_digest(&LOG_ID, &sealed.header, &changed),
        Ok(sealed.digest)
    );
    assert!(key.is_none() || opened(&changed).is_err());
}
