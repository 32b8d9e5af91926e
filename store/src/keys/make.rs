//! Making the keys of a new log, and rows of new keys.

use super::KeyError;
use super::files::{create_file, create_folder, remove_folder, sync_folder, sync_folder_of};
use super::provider::{self, ProviderConfig};
use super::ring::{Ring, RingFile, RingProvider, RingSeed, seal_seed};
use super::store::{FILES, check_origin};
use crate::options::Sealing;
use runstone_codec::keys::{
    FoldKey, KEY_LEN, KeyKind, KeyProvider, KeyRow, KeyState, KeyTable, MacKey, NONCE_LEN,
    OperationsKey, ProviderError, SecretBytes,
};
use runstone_codec::{Entropy, KeyId, LogId};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Makes rows of new keys under one key-encryption key.
pub(super) struct RowMaker<'a> {
    pub(super) provider: &'a dyn KeyProvider,
    pub(super) entropy: &'a dyn Entropy,
    pub(super) log_id: &'a LogId,
    pub(super) kek_id: String,
    pub(super) now_us: u64,
}

impl RowMaker<'_> {
    pub(super) fn id(&self) -> Result<KeyId, KeyError> {
        let mut id = [0; 16];
        self.entropy.fill(&mut id)?;
        Ok(KeyId::from_bytes(id))
    }

    pub(super) fn row(
        &self,
        key_id: KeyId,
        kind: KeyKind,
        scope: &str,
        generation: u32,
        secret: &[u8; KEY_LEN],
    ) -> Result<KeyRow, KeyError> {
        let row = KeyRow {
            key_id,
            kind,
            scope: scope.to_owned(),
            generation,
            kek_id: self.kek_id.clone(),
            created_us: self.now_us,
            count: 0,
            state: KeyState::Active,
            nonce: [0; NONCE_LEN],
            wrapped: Vec::new(),
        };
        wrap_row(self.provider, self.entropy, self.log_id, row, secret)
    }
}

/// Wraps a key into its row, under the row's key-encryption key and a fresh nonce.
pub(super) fn wrap_row(
    provider: &dyn KeyProvider,
    entropy: &dyn Entropy,
    log_id: &LogId,
    mut row: KeyRow,
    secret: &[u8; KEY_LEN],
) -> Result<KeyRow, KeyError> {
    entropy.fill(&mut row.nonce)?;
    row.wrapped = provider.wrap(&row.kek_id, &row.aad(log_id), &row.nonce, secret)?;
    Ok(row)
}

pub(super) fn unwrap_row(
    provider: &dyn KeyProvider,
    log_id: &LogId,
    row: &KeyRow,
) -> Result<SecretBytes, ProviderError> {
    provider.unwrap(&row.kek_id, &row.aad(log_id), &row.nonce, &row.wrapped)
}

/// The ring and the table of a new log, in memory.
pub(super) fn draw(
    log_id: LogId,
    origin: &str,
    sealing: Sealing,
    config: ProviderConfig,
    entropy: &Arc<dyn Entropy>,
    now_us: u64,
) -> Result<(Arc<RingFile>, KeyTable), KeyError> {
    check_origin(origin)?;
    let sources = config.sources();
    let provider = match config {
        ProviderConfig::File => {
            let kek = provider::new_kek(entropy.as_ref())?;
            RingProvider::File {
                current: kek.id.clone(),
                keks: vec![kek],
            }
        }
        ProviderConfig::Env { variable, .. } => RingProvider::Env { variable },
        ProviderConfig::Command { argv, .. } => RingProvider::Command {
            argv,
            current: None,
        },
    };
    let mut seed = Zeroizing::new([0; KEY_LEN]);
    entropy.fill(seed.as_mut_slice())?;
    let ring = Arc::new(RingFile::new(
        None,
        Ring {
            log_id,
            origin: origin.to_owned(),
            provider,
            signing: RingSeed::Open(SecretBytes::new(seed.to_vec())),
            retiring: None,
            retired_keks: Vec::new(),
        },
    ));
    let provider = provider::build(&ring, &sources, entropy)?;
    let kek_id = provider.current()?;
    let signing = seal_seed(provider.as_ref(), entropy.as_ref(), &ring, &kek_id, &seed)?;
    ring.update(|ring| {
        ring.signing = signing;
        if let RingProvider::Command { current, .. } = &mut ring.provider {
            *current = Some(kek_id.clone());
        }
    })?;
    let maker = RowMaker {
        provider: provider.as_ref(),
        entropy: entropy.as_ref(),
        log_id: &log_id,
        kek_id,
        now_us,
    };
    let mut table = KeyTable::new(log_id);
    let mac = MacKey::generate(maker.entropy)?;
    table.insert(maker.row(maker.id()?, KeyKind::Mac, "", 1, mac.as_bytes())?);
    if sealing != Sealing::Plain {
        let operations = OperationsKey::generate(maker.entropy)?;
        let id = maker.id()?;
        table.insert(maker.row(id, KeyKind::Operations, "", 1, operations.as_bytes())?);
        let folds = FoldKey::generate(maker.entropy)?;
        table.insert(maker.row(maker.id()?, KeyKind::Folds, "", 1, folds.as_bytes())?);
    }
    Ok((ring, table))
}

/// Makes a key folder beside its place and moves it there, so that it is whole or not there.
pub(super) fn install_folder(dir: &Path, files: &[(&str, &[u8])]) -> Result<(), KeyError> {
    let mut unfinished = dir.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    if unfinished.is_dir() {
        remove_folder(&unfinished, &FILES)?;
    }
    create_folder(&unfinished)?;
    for (name, bytes) in files {
        create_file(&unfinished.join(name), bytes)?;
    }
    sync_folder(&unfinished)?;
    fs::rename(&unfinished, dir).map_err(|error| {
        if error.kind() == std::io::ErrorKind::DirectoryNotEmpty {
            KeyError::Exists {
                path: dir.to_owned(),
            }
        } else {
            KeyError::io("make", dir, error)
        }
    })?;
    sync_folder_of(dir)
}
