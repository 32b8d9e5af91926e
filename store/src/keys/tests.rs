//! The key store as a whole: on disk, in memory, under each provider.

use super::*;
use crate::options::Sealing;
use runstone_codec::keys::{Destroyed, KeyKind, KeyState, KeyTable};
use runstone_codec::{Entropy, KeyId, LogId, OsEntropy};
use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NOW: u64 = 1_764_000_000_000_000;
const ORIGIN: &str = "example.com/log";

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(OsEntropy)
}

fn log_id() -> LogId {
    LogId::from_bytes([0x5a; 16])
}

struct Folder {
    _temporary: tempfile::TempDir,
    dir: PathBuf,
}

fn folder() -> Folder {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("LOG.keys");
    Folder {
        _temporary: temporary,
        dir,
    }
}

fn create(dir: &Path, provider: ProviderConfig) -> Result<KeyStore, KeyError> {
    KeyStore::create(
        dir,
        log_id(),
        ORIGIN,
        Sealing::Required,
        provider,
        entropy(),
        NOW,
    )
}

fn open(dir: &Path) -> Result<KeyStore, KeyError> {
    KeyStore::open(dir, Sealing::Required, &ProviderSources::new(), entropy())
}

fn memory(sealing: Sealing) -> KeyStore {
    KeyStore::memory(log_id(), ORIGIN, sealing, entropy(), NOW).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The keys that a store answers for a scope, as bytes.
fn bytes_of(store: &KeyStore, ids: &[KeyId]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = ids
        .iter()
        .map(|id| store.data_key(id).unwrap().as_bytes().to_vec())
        .collect();
    all.push(store.mac().as_bytes().to_vec());
    all.push(store.operations().unwrap().as_bytes().to_vec());
    all.push(store.fold_key().unwrap().as_bytes().to_vec());
    all
}

fn signs(store: &KeyStore) {
    let head = Checkpoint::new(store.origin(), 1, [7; 32]).unwrap();
    let signed = SignedCheckpoint::sign(&head, &[&store.signer()]).unwrap();
    SignedCheckpoint::parse_verify(signed.text(), &store.origin(), &store.vkeys()).unwrap();
}

#[test]
fn keys_are_the_same_after_they_are_opened_again() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    assert_eq!((mode(&at.dir), mode(&at.dir.join("ring"))), (0o700, 0o600));
    assert_eq!(mode(&at.dir.join("table")), 0o600);
    let key = store.active("ada", NOW).unwrap();
    let other = store.active("bob", NOW).unwrap();
    assert_ne!(key.id(), other.id());
    assert_eq!(store.active("ada", NOW + 1).unwrap().id(), key.id());
    let lookup = store.lookup("ada").unwrap();
    assert_ne!(lookup.as_bytes(), store.lookup("bob").unwrap().as_bytes());
    signs(&store);

    let again = open(&at.dir).unwrap();
    let ids = [*key.id(), *other.id()];
    assert_eq!(bytes_of(&again, &ids), bytes_of(&store, &ids));
    assert_eq!(again.lookup("ada").unwrap().as_bytes(), lookup.as_bytes());
    assert_eq!(again.active("ada", NOW).unwrap().id(), key.id());
    assert_eq!(again.vkeys(), store.vkeys());
    assert_eq!(
        (again.origin(), *again.log_id()),
        (ORIGIN.to_owned(), log_id())
    );
    signs(&again);
    assert!(matches!(
        create(&at.dir, ProviderConfig::File),
        Err(KeyError::Exists { .. })
    ));
}

#[test]
fn a_key_is_durable_before_anybody_has_it() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    fs::remove_dir_all(&at.dir).unwrap();
    let error = store.active("ada", NOW).unwrap_err();
    assert_eq!(error.code(), "keyring_io");
    assert!(store.scope_keys("ada").is_empty());
    assert!(matches!(
        store.lookup("ada"),
        Err(KeyError::ScopeUnknown { .. })
    ));
}

#[test]
fn keys_change_with_age_and_use_and_old_ones_still_open() {
    let store = memory(Sealing::Required);
    let first = store.active_for("ada", MAX_KEY_MESSAGES - 1, NOW).unwrap();
    assert_eq!(store.active("ada", NOW).unwrap().id(), first.id());
    let second = store.active("ada", NOW).unwrap();
    assert_ne!(second.id(), first.id());
    assert!(store.is_active(second.id()) && !store.is_active(first.id()));
    let lookup = store.lookup("ada").unwrap();
    let third = store.active("ada", NOW + MAX_KEY_AGE_US).unwrap();
    assert_ne!(third.id(), second.id());
    // A clock that goes back is no reason for a new key.
    assert_eq!(store.active("ada", 0).unwrap().id(), third.id());
    assert_eq!(store.lookup("ada").unwrap().as_bytes(), lookup.as_bytes());
    for key in [first, second, third] {
        assert_eq!(store.data_key(key.id()).unwrap().as_bytes(), key.as_bytes());
    }
    let mut generations: Vec<_> = store
        .list()
        .into_iter()
        .filter(|info| info.kind == KeyKind::Data)
        .map(|info| (info.generation, info.messages, info.state))
        .collect();
    generations.sort_unstable();
    let (active, retired) = (KeyState::Active, KeyState::Retired);
    assert_eq!(
        generations,
        [
            (1, MAX_KEY_MESSAGES, retired),
            (2, 1, retired),
            (3, 2, active)
        ]
    );
}

#[test]
fn counts_are_written_at_close_and_before_too_many_are_lost() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let messages =
        |store: &KeyStore| -> u64 { store.list().iter().map(|info| info.messages).sum() };
    store.active("ada", NOW).unwrap();
    store.active_for("ada", 41, NOW).unwrap();
    assert_eq!(
        (messages(&store), messages(&open(&at.dir).unwrap())),
        (42, 1)
    );
    store.flush().unwrap();
    assert_eq!(messages(&open(&at.dir).unwrap()), 42);
    store.active_for("ada", 1 << 24, NOW).unwrap();
    assert_eq!(messages(&open(&at.dir).unwrap()), 42 + (1 << 24));
    let before = fs::metadata(at.dir.join("table"))
        .unwrap()
        .modified()
        .unwrap();
    store.flush().unwrap();
    assert_eq!(
        fs::metadata(at.dir.join("table"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
}

#[test]
fn a_plain_log_signs_and_seals_nothing() {
    let at = folder();
    let plain = Sealing::Plain;
    let (id, file) = (log_id(), ProviderConfig::File);
    drop(KeyStore::create(&at.dir, id, ORIGIN, plain, file, entropy(), NOW).unwrap());
    let store = KeyStore::open(&at.dir, plain, &ProviderSources::new(), entropy()).unwrap();
    assert!(matches!(store.active("ada", NOW), Err(KeyError::Plain)));
    assert_eq!(store.lookup("ada").unwrap().as_bytes(), &[0; 32]);
    assert!(store.operations().is_none());
    assert_ne!(store.mac().as_bytes(), &[0; 32]);
    signs(&store);
    assert_eq!(store.list().len(), 1);
    // The same folder cannot serve an encrypted log.
    assert_eq!(open(&at.dir).unwrap_err().code(), "keyring_mismatch");
}

#[test]
fn what_a_killed_process_left_behind_is_ignored_and_replaced() {
    let at = folder();
    let unfinished = at.dir.with_extension("keys.new");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("ring"), b"half").unwrap();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    assert!(!unfinished.exists());
    for name in ["table.new", "ring.new"] {
        fs::write(at.dir.join(name), b"half a file").unwrap();
    }
    let again = open(&at.dir).unwrap();
    let key = again.active("ada", NOW).unwrap();
    assert!(!at.dir.join("table.new").exists());
    again.rotate_signing().unwrap();
    assert!(!at.dir.join("ring.new").exists());
    assert!(open(&at.dir).unwrap().has_key(key.id()));
    drop(store);
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let id = *store.active("ada", NOW).unwrap().id();
    let (ring, table) = (at.dir.join("ring"), at.dir.join("table"));
    let (good_ring, good_table) = (fs::read(&ring).unwrap(), fs::read(&table).unwrap());
    let code = || open(&at.dir).unwrap_err().code();

    for index in [0, 20, 60, good_table.len() / 2, good_table.len() - 1] {
        let mut flipped = good_table.clone();
        flipped[index] ^= 1;
        fs::write(&table, flipped).unwrap();
        assert!(
            ["key_table_checksum", "key_table_format"].contains(&code()),
            "byte {index}"
        );
    }
    fs::remove_file(&table).unwrap();
    assert_eq!(code(), "keyring_mismatch");

    // A table that is whole, but whose keys were exchanged or altered, does not open.
    let rows = KeyTable::decode(&good_table).unwrap();
    for kind in [
        KeyKind::Data,
        KeyKind::Mac,
        KeyKind::Operations,
        KeyKind::Folds,
    ] {
        let mut altered = rows.clone();
        let mut row = altered
            .rows()
            .iter()
            .find(|row| row.kind == kind)
            .unwrap()
            .clone();
        row.wrapped[3] ^= 1;
        altered.insert(row);
        fs::write(&table, altered.encode().unwrap()).unwrap();
        let error = match kind {
            KeyKind::Data => open(&at.dir).unwrap().data_key(&id).unwrap_err(),
            _ => open(&at.dir).unwrap_err(),
        };
        assert_eq!(error.code(), "key_rejected", "{kind}");
    }
    let mut renamed = rows.clone();
    let row = renamed
        .rows()
        .iter()
        .find(|row| row.kind == KeyKind::Data)
        .unwrap()
        .clone();
    renamed.insert(runstone_codec::keys::KeyRow {
        scope: "eve".to_owned(),
        ..row
    });
    fs::write(&table, renamed.encode().unwrap()).unwrap();
    assert_eq!(
        open(&at.dir).unwrap().data_key(&id).unwrap_err().code(),
        "key_rejected"
    );

    // The ring of another log of the same id, and of another id.
    fs::write(&table, &good_table).unwrap();
    let other = folder();
    drop(create(&other.dir, ProviderConfig::File).unwrap());
    fs::write(&ring, fs::read(other.dir.join("ring")).unwrap()).unwrap();
    assert_eq!(code(), "kek_unknown");
    let text = String::from_utf8(good_ring.clone()).unwrap();
    fs::write(&ring, text.replace("5a5a", "6b6b")).unwrap();
    assert_eq!(code(), "keyring_mismatch");
    fs::remove_file(&ring).unwrap();
    assert_eq!(code(), "keyring_not_found");

    fs::write(&ring, &good_ring).unwrap();
    fs::set_permissions(&ring, fs::Permissions::from_mode(0o644)).unwrap();
    let error = open(&at.dir).unwrap_err();
    assert_eq!(error.code(), "keyring_permissions");
    assert!(error.to_string().contains("chmod 600"), "{error}");
    fs::set_permissions(&ring, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(open(&at.dir).unwrap().data_key(&id).is_ok());
}

#[test]
fn a_wrong_key_under_the_right_name_is_rejected() {
    let at = folder();
    drop(create(&at.dir, ProviderConfig::File).unwrap());
    let ring = at.dir.join("ring");
    let text = fs::read_to_string(&ring).unwrap();
    let key = text
        .split("key = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let other = text.replace(key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    fs::write(&ring, other).unwrap();
    let error = open(&at.dir).unwrap_err();
    assert_eq!(error.code(), "key_rejected");
    assert!(!error.is_retryable());
    assert!(!format!("{error} {error:?}").contains(&key[..8]));
}

#[test]
fn an_erased_scope_is_gone_and_starts_again_with_other_keys() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let key = store.active("ada", NOW).unwrap();
    let kept = store.active("bob", NOW).unwrap();
    let lookup = store.lookup("ada").unwrap();
    let ids = store.scope_keys("ada");
    assert_eq!(ids.len(), 2);
    store.erase(&ids).unwrap();
    store.erase(&ids).unwrap();
    assert!(store.scope_keys("ada").is_empty());
    for store in [&store, &open(&at.dir).unwrap()] {
        assert!(matches!(
            store.data_key(key.id()),
            Err(KeyError::Missing { .. })
        ));
        assert!(!store.is_active(key.id()) && !store.has_key(key.id()));
        assert!(matches!(
            store.lookup("ada"),
            Err(KeyError::ScopeUnknown { .. })
        ));
        assert_eq!(
            store.data_key(kept.id()).unwrap().as_bytes(),
            kept.as_bytes()
        );
    }
    let next = store.active("ada", NOW).unwrap();
    assert_ne!(next.id(), key.id());
    assert_ne!(store.lookup("ada").unwrap().as_bytes(), lookup.as_bytes());
    // Of the log's own keys none goes, nor any that was named beside one.
    store.active("_log", NOW).unwrap();
    let own = store.list().into_iter().filter(|info| info.scope != "bob");
    let is_own = |info: &KeyInfo| info.scope != "ada" && info.kind != KeyKind::Folds;
    for info in own.filter(is_own) {
        assert!(matches!(
            store.erase([next.id(), &info.key_id]),
            Err(KeyError::ScopeProtected { .. })
        ));
    }
    assert!(store.has_key(next.id()));
}

#[test]
fn another_fold_key_takes_the_place_of_an_erased_one() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let seals = |store: &KeyStore| *store.fold_key().unwrap().as_bytes();
    let mut known = vec![seals(&store)];
    for is_drawn in [true, false] {
        let id = store.fold_key_id().unwrap();
        if is_drawn {
            store.draw_fold_key(NOW).unwrap();
        }
        store.erase([&id]).unwrap();
        assert_eq!(store.fold_key_id(), None);
        let next = seals(&store);
        assert!(!known.contains(&next));
        // A process that dies here leaves none: the next one has its own.
        assert_ne!(seals(&open(&at.dir).unwrap()), next);
        store.store_fold_key(NOW).unwrap();
        store.store_fold_key(NOW).unwrap();
        assert_eq!(seals(&open(&at.dir).unwrap()), next);
        known.push(next);
    }
    // What was drawn under a key-encryption key that is gone by now is not used.
    store.draw_fold_key(NOW).unwrap();
    store.rotate_kek().unwrap();
    store.erase([&store.fold_key_id().unwrap()]).unwrap();
    store.store_fold_key(NOW).unwrap();
    assert_eq!(seals(&open(&at.dir).unwrap()), seals(&store));
    // A plain log has none.
    let plain = memory(Sealing::Plain);
    plain.draw_fold_key(NOW).unwrap();
    plain.store_fold_key(NOW).unwrap();
    assert!(plain.fold_key().is_none() && plain.fold_key_id().is_none());
}

#[test]
fn a_new_key_encryption_key_opens_everything_and_the_old_one_is_overwritten() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let ids = ["ada", "bob"].map(|scope| *store.active(scope, NOW).unwrap().id());
    let before = bytes_of(&store, &ids);
    let old = store.list()[0].kek_id.clone();
    let mut former = fs::File::open(at.dir.join("ring")).unwrap();
    let old_table = fs::read(at.dir.join("table")).unwrap();

    let destroyed = store.rotate_kek().unwrap();
    assert_eq!(destroyed, [(old.clone(), Destroyed::BestEffort)]);
    assert!(store.retired_keks().is_empty());
    assert!(store.list().iter().all(|info| info.kek_id != old));
    let again = open(&at.dir).unwrap();
    assert_eq!(bytes_of(&again, &ids), before);
    assert_eq!(again.vkeys(), store.vkeys());
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut former, &mut text).unwrap();
    assert!(
        text.iter().all(|byte| *byte == 0),
        "the former ring is overwritten"
    );
    // Nothing of the old table opens any more.
    fs::write(at.dir.join("table"), old_table).unwrap();
    assert_eq!(open(&at.dir).unwrap_err().code(), "kek_unknown");
}

#[test]
fn a_rotation_that_was_cut_short_is_finished_by_the_next() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let ids = [*store.active("ada", NOW).unwrap().id()];
    let before = bytes_of(&store, &ids);
    let old = store.list()[0].kek_id.clone();
    // Cut after the new key was made: both are there, everything is under the old one.
    let second = store.provider.create().unwrap();
    let again = open(&at.dir).unwrap();
    assert_eq!(bytes_of(&again, &ids), before);
    let destroyed = again.rotate_kek().unwrap();
    let mut expected = vec![old, second];
    expected.sort_unstable();
    assert_eq!(
        destroyed.into_iter().map(|(id, _)| id).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(bytes_of(&open(&at.dir).unwrap(), &ids), before);
    // Cut before the destruction: what is still used is never destroyed.
    let used = again.list()[0].kek_id.clone();
    again
        .ring
        .update(|ring| ring.retired_keks = vec![used.clone()])
        .unwrap();
    assert!(again.destroy_retired_keks().unwrap().is_empty());
    assert_eq!(bytes_of(&open(&at.dir).unwrap(), &ids), before);
}

#[test]
fn signing_keys_overlap_until_told_otherwise() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let (former, next) = store.rotate_signing().unwrap();
    assert_ne!(former, next);
    assert!(matches!(
        store.rotate_signing(),
        Err(KeyError::SigningOverlap)
    ));
    for store in [&store, &open(&at.dir).unwrap()] {
        assert_eq!(store.vkeys(), [next.clone(), former.clone()]);
        let signers = store.signers();
        let signers: Vec<_> = signers.iter().map(AsRef::as_ref).collect();
        let head = Checkpoint::new(ORIGIN, 1, [7; 32]).unwrap();
        let signed = SignedCheckpoint::sign(&head, &signers).unwrap();
        let check = SignedCheckpoint::parse_verify;
        assert!(check(signed.text(), ORIGIN, std::slice::from_ref(&former)).is_ok());
        assert!(check(signed.text(), ORIGIN, std::slice::from_ref(&next)).is_ok());
    }
    store.end_signing_overlap().unwrap();
    assert_eq!(open(&at.dir).unwrap().vkeys(), [next]);
}

#[test]
fn an_origin_can_be_changed_and_must_be_one() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let public = store.signer().vkey().public_key();
    store.set_origin("example.com/epoch-2").unwrap();
    for store in [&store, &open(&at.dir).unwrap()] {
        assert_eq!(store.signer().name(), "example.com/epoch-2");
        assert_eq!(store.signer().vkey().public_key(), public);
        signs(store);
    }
    assert!(matches!(
        store.set_origin("a b"),
        Err(KeyError::Origin { .. })
    ));
    assert_eq!(store.origin(), "example.com/epoch-2");
}

#[test]
fn a_backup_restores_the_folder_and_nothing_else() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let ids = [*store.active("ada", NOW).unwrap().id()];
    let file = at.dir.with_extension("backup");
    store.backup(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    assert!(matches!(store.backup(&file), Err(KeyError::Exists { .. })));
    assert!(matches!(
        KeyStore::restore(&file, &at.dir),
        Err(KeyError::Exists { .. })
    ));
    let restored = at.dir.with_extension("restored");
    KeyStore::restore(&file, &restored).unwrap();
    assert_eq!(
        bytes_of(&open(&restored).unwrap(), &ids),
        bytes_of(&store, &ids)
    );

    let good = fs::read(&file).unwrap();
    let target = at.dir.with_extension("never");
    for index in (0..good.len()).step_by(7) {
        let mut flipped = good.clone();
        flipped[index] ^= 1;
        fs::write(&file, &flipped).unwrap();
        assert!(KeyStore::restore(&file, &target).is_err(), "byte {index}");
        fs::write(&file, &good[..index]).unwrap();
        assert!(KeyStore::restore(&file, &target).is_err(), "cut at {index}");
    }
    assert!(!target.exists());
}

#[test]
fn nothing_secret_is_shown() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let key = store.active("ada", NOW).unwrap();
    store.lookup("ada").unwrap();
    let shown = format!("{store:?} {:?} {:?}", store.list(), key);
    let ring = fs::read_to_string(at.dir.join("ring")).unwrap();
    for name in ["key = \"", "signing_seed = \""] {
        let secret = ring.split(name).nth(1).unwrap().split('"').next().unwrap();
        assert!(!shown.contains(&secret[..8]));
    }
    let bytes = key.as_bytes();
    assert!(!shown.contains(&format!("{}, {}, {}", bytes[0], bytes[1], bytes[2])));
}

#[test]
fn threads_that_ask_at_once_get_one_key() {
    let at = folder();
    let store = create(&at.dir, ProviderConfig::File).unwrap();
    let ids: Vec<KeyId> = std::thread::scope(|scope| {
        let ask = || {
            (0..50)
                .map(|_| *store.active("ada", NOW).unwrap().id())
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    let data: Vec<_> = store
        .list()
        .into_iter()
        .filter(|info| info.kind == KeyKind::Data)
        .collect();
    assert_eq!((data.len(), data[0].messages), (1, 400));
}

#[test]
fn readers_open_keys_while_the_key_encryption_key_changes() {
    let store = memory(Sealing::Required);
    let ids: Vec<KeyId> = (0..8)
        .map(|n| *store.active(&format!("s{n}"), NOW).unwrap().id())
        .collect();
    let keys = bytes_of(&store, &ids);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..300 {
                // Without the cache every read asks the provider.
                for (id, bytes) in ids.iter().zip(&keys) {
                    store.forget(id);
                    assert_eq!(store.data_key(id).unwrap().as_bytes().as_slice(), bytes);
                }
            }
        });
        for _ in 0..40 {
            store.rotate_kek().unwrap();
        }
        reader.join().unwrap();
    });
}

#[test]
fn scopes_have_names() {
    let store = memory(Sealing::Required);
    for scope in ["", "a\nb", &"x".repeat(256)] {
        assert!(
            matches!(store.active(scope, NOW), Err(KeyError::ScopeName)),
            "{scope:?}"
        );
    }
    store.active(&"x".repeat(255), NOW).unwrap();
}

type Values = Arc<Mutex<BTreeMap<String, String>>>;

fn source(values: &Values) -> SecretSource {
    let values = Arc::clone(values);
    SecretSource::new(move |name| {
        values
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .map(SecretString::new)
    })
}

#[test]
fn a_key_in_the_environment_is_never_in_the_folder() {
    let at = folder();
    let values = Values::default();
    values
        .lock()
        .unwrap()
        .insert("KEK".to_owned(), "0f".repeat(32));
    let variable = "KEK".to_owned();
    let store = create(
        &at.dir,
        ProviderConfig::Env {
            variable,
            source: source(&values),
        },
    )
    .unwrap();
    let ids = [*store.active("ada", NOW).unwrap().id()];
    let before = bytes_of(&store, &ids);
    let ring = fs::read_to_string(at.dir.join("ring")).unwrap();
    assert!(ring.contains("signing_nonce") && !ring.contains("0f0f0f"));

    let error = open(&at.dir).unwrap_err();
    assert_eq!(error.code(), "key_provider_no_source");
    assert!(error.to_string().contains("KEK"));
    let sources = ProviderSources::new().env(source(&values));
    let open = || KeyStore::open(&at.dir, Sealing::Required, &sources, entropy());
    assert_eq!(bytes_of(&open().unwrap(), &ids), before);

    // Another value is another key; none is an outage.
    values
        .lock()
        .unwrap()
        .insert("KEK".to_owned(), "0e".repeat(32));
    assert_eq!(open().unwrap_err().code(), "kek_unknown");
    values.lock().unwrap().clear();
    assert_eq!(open().unwrap_err().code(), "key_provider_unavailable");

    // A person hands over the next key; the old one stays pending while it is set.
    values
        .lock()
        .unwrap()
        .insert("KEK".to_owned(), "0f".repeat(32));
    let error = store.rotate_kek().unwrap_err();
    assert_eq!(error.code(), "key_provider_unsupported");
    values
        .lock()
        .unwrap()
        .insert("KEK_NEXT".to_owned(), "0d".repeat(32));
    let destroyed = store.rotate_kek().unwrap();
    assert_eq!(destroyed[0].1, Destroyed::Unsupported);
    assert_eq!(store.retired_keks(), [destroyed[0].0.clone()]);
    values.lock().unwrap().clear();
    values
        .lock()
        .unwrap()
        .insert("KEK".to_owned(), "0d".repeat(32));
    let again = open().unwrap();
    assert_eq!(bytes_of(&again, &ids), before);
    assert_eq!(again.vkeys(), store.vkeys());
    assert_eq!(
        again.destroy_retired_keks().unwrap()[0].1,
        Destroyed::BestEffort
    );
    assert!(open().unwrap().retired_keks().is_empty());
}

/// A service that keeps its keys in a folder and wraps by handing back what it was given, with
/// the key's name in front: enough to see what is asked of it.
fn service(folder: &Path) -> Vec<String> {
    let script = r#"
        read -r line
        field() { printf '%s' "$line" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
        op=$(field op); kek=$(field kek_id); data=$(field data)
        [ -e "$0/down" ] && exit 7
        case $op in
            current) printf '{"kek_id":"%s"}' "$(cat "$0/current")" ;;
            create) n=kms-$(ls "$0" | wc -l); : > "$0/$n"; printf '%s' "$n" > "$0/current"
                printf '{"kek_id":"%s"}' "$n" ;;
            destroy) rm -f "$0/$kek"; printf '{"destroyed":"proven"}' ;;
            *) if [ -e "$0/$kek" ]; then printf '{"data":"%s"}' "$data"
               else printf '{"error":"unknown_kek"}'; fi ;;
        esac"#;
    fs::write(folder.join("current"), "kms-0").unwrap();
    fs::write(folder.join("kms-0"), "").unwrap();
    ["/bin/sh", "-c", script, folder.to_str().unwrap()]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn a_command_holds_the_key_and_an_outage_refuses_new_seals() {
    let at = folder();
    let kms = tempfile::tempdir().unwrap();
    let argv = service(kms.path());
    let limit = Duration::from_secs(20);
    let store = create(&at.dir, ProviderConfig::Command { argv, limit }).unwrap();
    let ids = [*store.active("ada", NOW).unwrap().id()];
    let before = bytes_of(&store, &ids);
    assert_eq!(bytes_of(&open(&at.dir).unwrap(), &ids), before);

    fs::write(kms.path().join("down"), "").unwrap();
    let error = store.active("bob", NOW).unwrap_err();
    assert_eq!(
        (error.code(), error.is_retryable()),
        ("key_provider_unavailable", true)
    );
    // What is held already goes on.
    assert_eq!(store.active("ada", NOW).unwrap().id(), &ids[0]);
    assert!(store.scope_keys("bob").is_empty());
    fs::remove_file(kms.path().join("down")).unwrap();
    store.active("bob", NOW).unwrap();

    assert_eq!(
        store.rotate_kek().unwrap(),
        [("kms-0".to_owned(), Destroyed::Proven)]
    );
    assert!(!kms.path().join("kms-0").exists());
    let again = open(&at.dir).unwrap();
    assert_eq!(bytes_of(&again, &ids), before);
    assert_eq!(again.vkeys(), store.vkeys());
    assert!(again.list().iter().all(|info| info.kek_id == "kms-2"));
}
