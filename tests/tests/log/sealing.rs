//! What an encrypted log keeps to itself, and where that comes from which nobody may guess.

use runstone_codec::keys::KeyTable;
use runstone_codec::{Control, Entropy, EntropyError, Entry, NewEvent, OsEntropy};
use runstone_projections::Hold;
use runstone_projections::agents::{AgentChange, Agents, Messages, NewMessage};
use runstone_projections::approvals::{ApprovalRequest, Approvals};
use runstone_projections::budgets::{BudgetLimits, Budgets, Dimension, Open};
use runstone_projections::effects::{Change, Claim, Claimed, Effects};
use runstone_projections::tasks::{NewTask, Tasks};
use runstone_store::{
    Append, CreateOptions, Decision, Log, LogOptions, Query, ReadError, Sealing, default_keys_path,
};
use runstone_tests::clocked::Clocked;
use runstone_tests::contract::{Place, numbered, plainly};
use runstone_tests::folds::Tally;
use runstone_tests::tamper::{ChunkParts, Outcome, RawRows, Table};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes of a nonce.
const NONCE: usize = 12;
/// Bytes from which the salts of a commitment come.
const BLIND: usize = 32;
/// Bytes of the id of a key.
const ID: usize = 16;

/// The operating system's randomness, and everything that was drawn.
#[derive(Debug, Default)]
struct Drawn(Mutex<Vec<u8>>);

impl Entropy for Drawn {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        OsEntropy.fill(out)?;
        self.0.lock().unwrap().extend_from_slice(out);
        Ok(())
    }
}

/// What nobody may guess, as it stands in the files of a log.
#[derive(Debug, Default)]
struct Found {
    nonces: Vec<Vec<u8>>,
    blinding: Vec<Vec<u8>>,
    keys: BTreeSet<Vec<u8>>,
}

impl Found {
    fn of(place: &Place, sealing: Sealing) -> Outcome<Self> {
        let mut found = Self::default();
        let rows = RawRows::open(&place.path())?;
        for (_, chunk) in rows.all(Table::Chunks)? {
            for (entry, envelope) in ChunkParts::parse(&chunk)?.events {
                if envelope[0] == 0 {
                    found.blinding.push(envelope[1..][..BLIND].to_vec());
                    continue;
                }
                found.keys.insert(envelope[1..][..ID].to_vec());
                found.nonces.push(envelope[1 + ID..][..NONCE].to_vec());
                let control = Entry::parse(&entry)?.control();
                found
                    .nonces
                    .extend(control.get(..NONCE).map(<[u8]>::to_vec));
            }
        }
        let table = std::fs::read(default_keys_path(&place.path()).join("table"))?;
        for row in KeyTable::decode(&table)?.rows() {
            found.nonces.push(row.nonce.to_vec());
            found.keys.insert(row.key_id.as_bytes().to_vec());
        }
        for (key, row) in rows.all(Table::Folds)? {
            // In a plain log they have a digest in its place.
            if sealing == Sealing::Required && key.starts_with(b"r") {
                found.nonces.push(row[..NONCE].to_vec());
            }
        }
        Ok(found)
    }
}

/// It stands in what was drawn, and none of it twice.
#[test]
fn whatever_must_be_random_is_drawn() -> Outcome {
    let usual = LogOptions::default().entropy;
    assert_eq!(format!("{usual:?}"), "OsEntropy");
    for sealing in [Sealing::Required, Sealing::Plain] {
        let place = Place::new(sealing);
        let drawn = Arc::new(Drawn::default());
        let mut open = plainly();
        open.options.entropy = Arc::<Drawn>::clone(&drawn);
        open.options.maintenance_commits = 3;
        open.folds = vec![Arc::new(Tally::new(1))];
        let log = place.create(open);
        for n in 0..30 {
            let events = (0..3).map(|m| numbered("s", n).scope(format!("scope-{m}")));
            let alike = events.zip(["a", "b", "c"]).map(|(mut event, stream)| {
                stream.clone_into(&mut event.stream);
                event
            });
            log.append_blocking(Append::new(alike))?;
            let draft = NewEvent::new("run.paused", "run").into();
            log.command_blocking(vec![draft], |_| {
                Ok(Decision::record(0, Control::new().u64(1, 7), ()))
            })?;
        }
        let size = log.size();
        log.close_blocking()?;
        drop(log);
        let found = Found::of(&place, sealing)?;
        if sealing == Sealing::Plain {
            assert_eq!(found.blinding.len() as u64, size);
        } else {
            // Of events, of control, of the rows of the fold, and of keys.
            assert!(found.nonces.len() as u64 > size + 30 + 5);
            assert!(found.keys.len() >= 4, "{:?}", found.keys);
        }
        let drawn = drawn.0.lock().unwrap();
        for of_kind in [&found.nonces, &found.blinding] {
            let different: BTreeSet<_> = of_kind.iter().collect();
            assert_eq!(different.len(), of_kind.len(), "one stands there twice");
        }
        let all = found.nonces.iter().chain(&found.blinding);
        for value in all.chain(&found.keys) {
            let is_drawn = drawn.windows(value.len()).any(|at| at == value.as_slice());
            assert!(is_drawn, "{value:?} was not drawn");
        }
    }
    Ok(())
}

/// Stands in the content of events alone.
const SECRET: &str = "the-planted-secret";

/// Content wherever somebody may write it, short and long.
fn fill(log: &Log) -> Outcome {
    let told = json!({"name": SECRET, "deep": [{"er": SECRET}]});
    for n in 0..40_usize {
        let text = format!("{SECRET} {}", "and so on ".repeat(n * 9 % 100));
        let event = NewEvent::new("chat.message", format!("run-{}", n % 3));
        log.append_blocking(event.json(&json!({ "text": text }))?)?;
    }
    let effects = Effects::new(log);
    let claim = Claim::tool("run-1", "pay").request(SECRET).args(&told)?;
    if let Claimed::Held(held) = effects.claim_blocking(&claim)? {
        effects.change_blocking(&held.target(), &Change::completed(&told)?)?;
    }
    let asked = Claim::tool("run-1", "pay").request("r").args(&told)?;
    Approvals::new(log).request_blocking(&ApprovalRequest::new(&asked, SECRET))?;
    let tasks = Tasks::new(log);
    tasks.create_blocking(&NewTask::new(SECRET).title(SECRET).description(SECRET))?;
    let held = tasks.claim_blocking(SECRET, "bot", Hold::Opening)?;
    tasks.complete_blocking(SECRET, held.fence, SECRET)?;
    let limits = BudgetLimits::new().of(Dimension::Tokens, 9);
    Budgets::new(log).open_blocking(&Open::new(SECRET).limits(limits))?;
    Agents::new(log).change_blocking("scout", &AgentChange::register())?;
    Agents::new(log).change_blocking(
        "scout",
        &AgentChange::sleep(SECRET, Duration::from_secs(60)),
    )?;
    Messages::new(log).send_blocking(&NewMessage::to("scout").text(SECRET).body(&told)?)?;
    Ok(())
}

/// The files below a folder that have the secret, and how many there are.
fn with_secret(folder: &Path) -> Outcome<(Vec<PathBuf>, usize)> {
    let (mut open, mut found, mut files) = (vec![folder.to_owned()], Vec::new(), 0);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path)?;
            let mut places = bytes.windows(SECRET.len());
            found.extend(places.any(|at| at == SECRET.as_bytes()).then_some(path));
        }
    }
    Ok((found, files))
}

#[test]
fn no_file_of_an_encrypted_log_has_content_in_the_clear() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let site = Clocked::new()?;
        let mut create = CreateOptions::default();
        create.sealing = sealing;
        let mut open = site.opening();
        open.options.maintenance_commits = 3;
        let log = Log::create(&site.path(), &create, open)?;
        fill(&log)?;
        log.backup(&site.file("backup"), &|_, _| {})?;
        let mut lines = Vec::new();
        let write = |some: &[u8]| {
            lines.extend_from_slice(some);
            Ok::<_, ReadError>(())
        };
        log.export(&Query::everything(), write, &|_, _| {})?;
        std::fs::write(site.file("export"), lines)?;
        let folder = site.path();
        let folder = folder.parent().ok_or("it lies in a folder")?;
        for is_closed in [false, true] {
            if is_closed {
                log.close_blocking()?;
            }
            let (found, files) = with_secret(folder)?;
            assert!(files >= 7, "{files} files");
            if sealing == Sealing::Required {
                assert!(found.is_empty(), "{found:?}");
            } else {
                // It would be found.
                assert!(found.contains(&site.path()), "{found:?}");
            }
        }
    }
    Ok(())
}
