//! One envelope that AES-256-GCM opens under two keys, and what the commitment says of it.
//!
//! GHASH is linear over GF(2) in the ciphertext: for two keys, one nonce and one associated data, the
//! XOR of their two tags is an affine function of the ciphertext's bits. With more than 128 bits that
//! may be chosen freely, Gaussian elimination finds a ciphertext for which it is zero, so that one tag
//! is right under both. The commitment stands in the associated data, so the free bits must not
//! change the payload of the first key. A zstd frame has such bits: a block of one byte may be raw or
//! repeated once, and its header differs in one bit.

use super::*;
use crate::aead;
use crate::keys::DataKey;
use crate::payload::Mode;
use crate::vectors::{HEADER_2, KEY_ID, LOG_ID, header_2, unhex};

const KEYS: [[u8; 32]; 2] = [[1; 32], [2; 32]];
const BLIND: [u8; BLIND_BYTES] = [7; BLIND_BYTES];
/// Bytes of the payload, and bits that may be chosen: more than a tag has.
const FREE: usize = 160;
/// In the header of a block: it holds one byte to be repeated, not raw ones.
const REPEATED: u8 = 2;

/// R, mode, and the payload as a frame of blocks of one byte (RFC 8878 section 3.1.1); and where the
/// free bit of each block is.
fn plaintext(payload: &[u8; FREE]) -> (Vec<u8>, Vec<usize>) {
    let mut plain = [&BLIND[..], &[MODE_ZSTD]].concat();
    // One segment, whose size is the next byte.
    plain.extend_from_slice(&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 160]);
    let mut free = Vec::new();
    for (at, byte) in payload.iter().enumerate() {
        free.push(plain.len());
        let last = u8::from(at + 1 == payload.len());
        plain.extend_from_slice(&[1 << 3 | last, 0, 0, *byte]);
    }
    (plain, free)
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(a, b)| a ^ b).collect()
}

fn keystream(key: &[u8; 32], nonce: &[u8; NONCE_BYTES], bytes: usize) -> Vec<u8> {
    let mut stream = vec![0; bytes];
    aead::encrypt(key, nonce, &[], &mut stream).unwrap();
    stream
}

/// A nonce under which the second key sees a payload that is not compressed where the first one sees
/// a frame: one in 256.
fn nonce_for_both() -> [u8; NONCE_BYTES] {
    let mut nonces = (0_u64..).map(|n| {
        let mut nonce = [0; NONCE_BYTES];
        nonce[4..].copy_from_slice(&n.to_be_bytes());
        nonce
    });
    let fits = |nonce: &[u8; NONCE_BYTES]| {
        let [first, second] = KEYS.map(|key| keystream(&key, nonce, BLIND_BYTES + 1));
        first[BLIND_BYTES] ^ second[BLIND_BYTES] == MODE_ZSTD ^ Mode::Whole.to_byte()
    };
    nonces.find(fits).unwrap()
}

/// The XOR of the two tags of a ciphertext.
fn difference(ciphertext: &[u8], nonce: &[u8; NONCE_BYTES], aad: &[u8]) -> u128 {
    let tags = KEYS.map(|key| {
        let mut plain = xor(ciphertext, &keystream(&key, nonce, ciphertext.len()));
        let tag = aead::encrypt(&key, nonce, aad, &mut plain).unwrap();
        assert_eq!(plain, ciphertext);
        u128::from_be_bytes(tag)
    });
    tags[0] ^ tags[1]
}

/// Which of the columns have `target` as their XOR.
fn solve(columns: &[u128], target: u128) -> Option<[bool; FREE]> {
    type Row = (u128, [bool; FREE]);
    let add = |row: &mut Row, other: &Row| {
        row.0 ^= other.0;
        row.1.iter_mut().zip(other.1).for_each(|(a, b)| *a ^= b);
    };
    let mut basis: Vec<Row> = Vec::new();
    let reduce = |basis: &[Row], row: &mut Row| {
        for other in basis {
            // The leading bit of each is in none that came after it.
            if row.0 & (1 << other.0.ilog2()) != 0 {
                add(row, other);
            }
        }
    };
    for (at, column) in columns.iter().enumerate() {
        let mut row = (*column, [false; FREE]);
        row.1[at] = true;
        reduce(&basis, &mut row);
        if row.0 != 0 {
            basis.push(row);
        }
    }
    let mut row = (target, [false; FREE]);
    reduce(&basis, &mut row);
    (row.0 == 0).then_some(row.1)
}

#[test]
fn an_envelope_that_opens_under_two_keys_fails_its_commitment_under_one() {
    let (header, bytes, nonce) = (header_2(), unhex(HEADER_2), nonce_for_both());
    let payload = *b"{\"order\":1001,\"amount\":\"12.50 EUR\",\"to\":\"DE00 1234 5678 9012 3456 7\",\"note\":\
        \"paid for by the one who agreed to it, and by nobody else, as it was recorded then\"}";
    let (mut plain, free) = plaintext(&payload);
    let commit = Plain::parse(&plain).unwrap().commitment();
    let aad = with_aad(&LOG_ID, &bytes, &commit, <[u8]>::to_vec);
    let stream = keystream(&KEYS[0], &nonce, plain.len());
    let with = |at: usize| {
        let mut changed = xor(&plain, &stream);
        changed[at] ^= REPEATED;
        difference(&changed, &nonce, &aad)
    };
    let target = difference(&xor(&plain, &stream), &nonce, &aad);
    let columns: Vec<u128> = free.iter().map(|at| with(*at) ^ target).collect();
    let chosen = solve(&columns, target).unwrap();
    for (at, _) in free.iter().zip(chosen).filter(|(_, chosen)| *chosen) {
        plain[*at] ^= REPEATED;
    }
    let mut ciphertext = plain.clone();
    let tag = aead::encrypt(&KEYS[0], &nonce, &aad, &mut ciphertext).unwrap();

    // The cipher takes it for authentic under both keys, as two plaintexts.
    let opened = KEYS.map(|key| {
        let mut opened = ciphertext.clone();
        aead::decrypt(&key, &nonce, &aad, &mut opened, &tag).unwrap();
        opened
    });
    assert_eq!(opened[0], plain);
    assert_ne!(opened[1], plain);

    // So does opening an envelope; its digest and associated data are the same.
    let envelope = [
        &[CODEC_AES_256_GCM],
        &KEY_ID.as_bytes()[..],
        &nonce,
        &ciphertext,
        &tag,
    ]
    .concat();
    let keys = KEYS.map(|key| DataKey::new(KEY_ID, key));
    let read = |key| open(&LOG_ID, &bytes, &header, &envelope, &commit, Some(key));
    assert_eq!(read(&keys[0]).as_deref(), Ok(&payload[..]));
    assert_eq!(read(&keys[1]).as_deref(), Ok(&opened[1][BLIND_BYTES + 1..]));

    // The commitment is to one of them.
    let check = |key| check_commitment(&LOG_ID, &bytes, &header, &envelope, &commit, Some(key));
    assert_eq!(check(&keys[0]), Ok(()));
    let other = OpenError::Tampered(Tampering::Commitment);
    assert_eq!(check(&keys[1]), Err(other));
}
