//! Pinned bytes that a program without any code of ours made, and the values that they stand for.

#![cfg_attr(
    not(feature = "seal"),
    expect(dead_code, reason = "some are for sealing only")
)]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use crate::{Authority, Header, KeyId, LogId};

pub(crate) const LOG_ID: LogId =
    LogId::new(*b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf");
pub(crate) const KEY_ID: KeyId =
    KeyId::new(*b"\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf");
pub(crate) const HEADER_1: &str = "8e0150017f22e279b07cc398c4dc0c0c07398f6572756e2d376c636861742e6d65737361676501f66872756e73746f6e656e73797374656d3a6b657972696e6700f6f66764656661756c74808200f6";
pub(crate) const HEADER_2: &str = "8e0150017f22e279b07cc398c4dc0c0c0739906c72756e2d372fc3a974617065706566666563742e636f6d706c657465641a000111701b000644594164224067706c616e6e6572686167656e743a61310350017f22e279b07cc398c4dc0c0c07398f50000000000000800080000000000000016b637573746f6d65722d31378278276566666563743a30303131323233333434353536363737383839396161626263636464656566666b746f6f6c3a736561726368820150c0c1c2c3c4c5c6c7c8c9cacbcccdcecf";
pub(crate) const ENVELOPE_1: &str = "00404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f007b22726f6c65223a2275736572222c22636f6e74656e74223a2268656c6c6f227d";
pub(crate) const DIGEST_1: &str =
    "899375272c2a6e5a52094e1d3e584654c1f23ef64cc132c36bcfd604a7f6a459";
pub(crate) const COMMIT_1: &str =
    "873a1fe57d79f296bbcd717210ad1261c55492a3dde71199ecbfa5f0a2dab60a";
pub(crate) const ENVELOPE_2: &str = "01c0c1c2c3c4c5c6c7c8c9cacbcccdcecf606162636465666768696a6baa9ad916ff05c528345fb3603ec08f0c7624dbdad031648efbf8da3720afa957b3e218dac5667ad35555c9cf3ee2af84b01888930b099deb5ced9e148605e3729a2b29e45e3f2ac9c80f77c5f066d13d10da029424aa78dd320c6b4d58d4583bfc5149b0516d8370a838f472b7a48c74";
pub(crate) const DIGEST_2: &str =
    "c740d7f1a16d604b64da63e9e51f3a2b4a5e4d5e6a2fb6fde4342dc0afd1332f";
pub(crate) const COMMIT_2: &str =
    "8b19f8b377c9eac04902f9535224d61e839c579d466da9707e2c135b1419d95a";
pub(crate) const ENVELOPE_3: &str = "01c0c1c2c3c4c5c6c7c8c9cacbcccdcecf606162636465666768696a6baa9ad916ff05c528345fb3603ec08f0c7624dbdad031648efbf8da3720afa957a2b18dd7596beaa68621eb7565f1e9cffd5c8a850b099bad03b69e00e5646100310330cb9404307ea384c53e54ebda6da3de";
pub(crate) const DIGEST_3: &str =
    "9c4654f2301618a1bc044ceadcce85af64555adfb7f83147cb3610229c9b6bd0";
pub(crate) const COMMIT_3: &str =
    "72d1f8dbf29373e7147ab9a9e4217565b08a61e9e746aab1ddd6e3e797efad98";
pub(crate) const CONTROL_PLAIN: &str =
    "a40107024200110369636f6d706c6574656419012c1b0000010000000000";
pub(crate) const CONTROL_SEALED: &str = "707172737475767778797a7bcd7f656995a8d65d41784f2d189e65670d2fd9ae250360ffc0e16148d46f18e016cc8858926a8c37eff7f2595fd8";
pub(crate) const ENTRY_1: &str = "8e0150017f22e279b07cc398c4dc0c0c07398f6572756e2d376c636861742e6d65737361676501f66872756e73746f6e656e73797374656d3a6b657972696e6700f6f66764656661756c74808200f60000000000000001000000000000000000064459416240000000873a1fe57d79f296bbcd717210ad1261c55492a3dde71199ecbfa5f0a2dab60a899375272c2a6e5a52094e1d3e584654c1f23ef64cc132c36bcfd604a7f6a4590000008901";
pub(crate) const LEAF_1: &str = "5255f24298717768626bcbaba795145811b29fa18dbcb5faa4c6c463f8c1ae04";
pub(crate) const ENTRY_2: &str = "8e0150017f22e279b07cc398c4dc0c0c0739906c72756e2d372fc3a974617065706566666563742e636f6d706c657465641a000111701b000644594164224067706c616e6e6572686167656e743a61310350017f22e279b07cc398c4dc0c0c07398f50000000000000800080000000000000016b637573746f6d65722d31378278276566666563743a30303131323233333434353536363737383839396161626263636464656566666b746f6f6c3a736561726368820150c0c1c2c3c4c5c6c7c8c9cacbcccdcecf0000000000000029000000000000000c000644594164245f003a707172737475767778797a7bcd7f656995a8d65d41784f2d189e65670d2fd9ae250360ffc0e16148d46f18e016cc8858926a8c37eff7f2595fd88b19f8b377c9eac04902f9535224d61e839c579d466da9707e2c135b1419d95ac740d7f1a16d604b64da63e9e51f3a2b4a5e4d5e6a2fb6fde4342dc0afd1332f0000013c01";
pub(crate) const LEAF_2: &str = "dd0480e00a44684d78baa87e6e47060751af8a2b381f56a6e171bd62eacdef32";
/// Salts and leaf hashes of the segments of [`PAYLOAD_2`].
pub(crate) const SEGMENTS_2: [(&str, &str); 3] = [
    (
        "d28cd94d8ee65f2328e2bd625f0afbf7f7c5477d720202d3da34e96f03afc4c3",
        "3234f993ea897d47a0322880ba0fd7a5f21297daf139fb45e7ba7cc6d353f86b",
    ),
    (
        "1646987f25dfb9f7a41489e5816b99dcafeffd6b8d8153431b0be98aa9611131",
        "5454b36b770c7ee79dfb74b4b5c3a4de4ee216fa859a9dca02830073b28217b1",
    ),
    (
        "06b82c1df21a896d4b4d4c9be8c7c20309f7d94bea3dae95150acfc9d4f13dcd",
        "0bdf6bc776e8e7b0a10de47456af97069cc1a76b648f374f375a5d2ae79f854b",
    ),
];
/// Mode 0.
pub(crate) const PAYLOAD_1: &[u8] = br#"{"role":"user","content":"hello"}"#;
/// Mode 1: spaces, a number with a trailing zero, an escaped key, a character beyond ASCII.
pub(crate) const PAYLOAD_2: &str =
    "{ \"amount\": 12.50 ,\"to\":{\"iban\" : \"DE00\"},\"\\u006eote\": \"caf\u{e9}\"}";

/// Mode 0, compressed by another implementation of zstd at another level.
pub(crate) fn payload_3() -> Vec<u8> {
    format!("{{\"text\":\"{}\"}}", "tide ".repeat(100)).into_bytes()
}

/// 32 bytes that count up from `first`.
pub(crate) fn counting(first: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes
        .iter_mut()
        .zip(first..)
        .for_each(|(byte, value)| *byte = value);
    bytes
}

/// 12 bytes that count up from `first`.
pub(crate) fn nonce(first: u8) -> [u8; 12] {
    *counting(first).first_chunk().unwrap()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn unhex32(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

/// What [`HEADER_1`] encodes.
pub(crate) fn header_1() -> Header {
    Header {
        event_id: "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap(),
        stream: "run-7".into(),
        event_type: "chat.message".into(),
        schema_version: 1,
        occurred_at_us: None,
        source: "runstone".into(),
        principal: "system:keyring".into(),
        authority: Authority::System,
        causation: None,
        correlation: None,
        scope: "default".into(),
        tags: Vec::new(),
        codec: 0,
        key_id: None,
    }
}

/// What [`HEADER_2`] encodes.
pub(crate) fn header_2() -> Header {
    Header {
        event_id: "017f22e2-79b0-7cc3-98c4-dc0c0c073990".parse().unwrap(),
        stream: "run-7/\u{e9}tape".into(),
        event_type: "effect.completed".into(),
        schema_version: 70_000,
        occurred_at_us: Some(1_764_000_000_123_456),
        source: "planner".into(),
        principal: "agent:a1".into(),
        authority: Authority::Agent,
        causation: Some("017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap()),
        correlation: Some("00000000-0000-8000-8000-000000000001".parse().unwrap()),
        scope: "customer-17".into(),
        tags: vec![
            "effect:00112233445566778899aabbccddeeff".into(),
            "tool:search".into(),
        ],
        codec: 1,
        key_id: Some(KEY_ID),
    }
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<[u8; 16]>().prop_map(Uuid::from_bytes)
}

/// Any valid header.
pub(crate) fn headers() -> impl Strategy<Value = Header> {
    let name = || "[^\\p{Cc}]{1,60}";
    let texts = (
        name(),
        "[a-z][a-z0-9_]{0,9}(\\.[a-z][a-z0-9_]{0,9}){1,4}",
        name(),
        name(),
        name(),
    );
    let tags = vec("[!-9;-~]{1,20}:[^\\p{Cc}]{0,20}", 0..6);
    let numbers = (any::<u32>(), option::of(any::<u64>()), 0_u8..4);
    let ids = (
        id(),
        option::of(id()),
        option::of(id()),
        option::of(any::<[u8; 16]>()),
    );
    (texts, tags, numbers, ids).prop_map(|(texts, mut tags, numbers, ids)| {
        tags.sort();
        tags.dedup();
        Header {
            event_id: ids.0,
            stream: texts.0.into(),
            event_type: texts.1.into(),
            schema_version: numbers.0,
            occurred_at_us: numbers.1,
            source: texts.2.into(),
            principal: texts.3.into(),
            authority: Authority::from_byte(numbers.2).unwrap(),
            causation: ids.1,
            correlation: ids.2,
            scope: texts.4.into(),
            tags: tags.into_iter().map(Into::into).collect(),
            codec: u8::from(ids.3.is_some()),
            key_id: ids.3.map(KeyId::new),
        }
    })
}
