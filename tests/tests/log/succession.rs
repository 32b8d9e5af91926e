//! Keys that follow keys, and logs that follow logs: rotation, replicas, epochs, checkpoints kept
//! elsewhere.

use runstone_codec::{LogId, NewEvent};
use runstone_receipt::checkpoint::SignedCheckpoint;
use runstone_store::keys::KeyStore;
use runstone_store::{
    CreateOptions, Disks, EpochStart, ErrorKind, Log, OpenError, OpenOptions, Query, Read,
    VerifyLevel, verify_file,
};
use runstone_tests::simulator::{Crash, Machine};
use runstone_tests::tamper::Outcome;
use std::path::{Path, PathBuf};

struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Outcome<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A log with a few events.
    fn create(&self) -> Outcome<Log> {
        let open = OpenOptions::default();
        let log = Log::create(&self.path("log"), &CreateOptions::default(), open)?;
        append(&log, 5)?;
        Ok(log)
    }

    fn open(&self, name: &str) -> Result<Log, OpenError> {
        Log::open(&self.path(name), self.opening())
    }

    fn opening(&self) -> OpenOptions {
        let mut open = OpenOptions::default();
        open.keys = Some(self.path("log.keys"));
        open
    }

    fn assert_valid(&self, name: &str) -> Outcome {
        for level in [VerifyLevel::Payloads, VerifyLevel::Commitments] {
            let report = verify_file(&self.path(name), self.opening(), level, &|_, _| {})?;
            assert!(report.valid, "{report:?}");
        }
        // Somebody without the keys finds the same, by what the log says of its own keys.
        let mut open = OpenOptions::default();
        open.keys = Some(self.path("nobody"));
        let report = verify_file(&self.path(name), open, VerifyLevel::Payloads, &|_, _| {})?;
        assert!(report.valid, "{report:?}");
        Ok(())
    }

    fn start_epoch(&self, name: &str, start: &EpochStart) -> Result<Log, OpenError> {
        let started = Log::start_epoch(&self.path(name), start, self.opening())?;
        assert_eq!(started.log.info().origin, started.origin);
        Ok(started.log)
    }
}

fn append(log: &Log, events: u32) -> Outcome {
    for n in 0..events {
        log.append_blocking(NewEvent::new("data.noted", "run").payload(format!("{{\"n\":{n}}}")))?;
    }
    Ok(())
}

fn closed(log: Log) -> Outcome {
    log.close_blocking()?;
    drop(log);
    Ok(())
}

fn events(log: &Log) -> Outcome<usize> {
    let records: Result<Vec<_>, _> = log.read(Read::new(Query::stream("run")))?.collect();
    Ok(records?.len())
}

#[test]
fn signing_keys_overlap_and_every_checkpoint_stays_good() -> Outcome {
    let site = Site::new()?;
    let log = site.create()?;
    let before = log.checkpoint()?;
    let (old, new) = log.rotate_signing()?;
    assert_eq!(log.rotate_signing().unwrap_err().code(), "signing_overlap");
    assert_eq!(log.vkeys()?, [old.clone(), new.clone()]);
    append(&log, 1)?;
    // Whoever knows one of them verifies.
    let both = log.checkpoint()?;
    for vkey in [&old, &new] {
        let keys = std::slice::from_ref(vkey);
        SignedCheckpoint::parse_verify(both.text(), old.name(), keys)?;
    }
    closed(log)?;
    site.assert_valid("log")?;
    let log = site.open("log")?;
    log.end_signing_overlap()?;
    assert_eq!(
        log.end_signing_overlap().unwrap_err().code(),
        "no_signing_overlap"
    );
    append(&log, 1)?;
    let after = log.checkpoint()?;
    let known = |text: &str, vkey| {
        let keys = std::slice::from_ref(vkey);
        SignedCheckpoint::parse_verify(text, old.name(), keys).is_ok()
    };
    assert!(known(after.text(), &new) && !known(after.text(), &old));
    assert!(known(before.text(), &old) && !known(before.text(), &new));
    // And again; the log knows them all.
    log.rotate_signing()?;
    log.end_signing_overlap()?;
    append(&log, 1)?;
    assert_eq!(log.vkeys()?.len(), 3);
    closed(log)?;
    site.assert_valid("log")
}

/// The new key was drawn, and the process died before the log knew.
#[test]
fn a_rotation_that_was_cut_short_is_recorded_by_the_next_call() -> Outcome {
    let site = Site::new()?;
    closed(site.create()?)?;
    let keys = KeyStore::open(
        &site.path("log.keys"),
        runstone_store::Sealing::Required,
        &OpenOptions::default().sources,
        OpenOptions::default().options.entropy,
    )?;
    let (old, new) = keys.rotate_signing()?;
    drop(keys);
    let log = site.open("log")?;
    append(&log, 1)?;
    let signed = log.checkpoint()?;
    SignedCheckpoint::parse_verify(signed.text(), old.name(), std::slice::from_ref(&old))?;
    assert_eq!(
        log.end_signing_overlap().unwrap_err().code(),
        "no_signing_overlap"
    );
    assert_eq!(log.rotate_signing()?, (old, new));
    log.end_signing_overlap()?;
    closed(log)?;
    site.assert_valid("log")
}

#[test]
fn the_key_encryption_key_changes_under_an_open_log() -> Outcome {
    let site = Site::new()?;
    let log = site.create()?;
    let before: Vec<String> = log.keys()?.into_iter().map(|key| key.kek_id).collect();
    let rotation = log.rotate_kek()?;
    assert_eq!(rotation.destroyed.len(), 1);
    assert!(rotation.remaining.is_empty());
    assert!(log.keys()?.iter().all(|key| !before.contains(&key.kek_id)));
    append(&log, 2)?;
    assert_eq!(events(&log)?, 7);
    closed(log)?;
    site.assert_valid("log")?;
    assert_eq!(events(&site.open("log")?)?, 7);
    Ok(())
}

/// What a killed backup left is replaced; what is known of another log is nobody's to lose.
#[test]
fn a_copy_takes_the_place_of_what_is_worth_nothing_alone() -> Outcome {
    let (site, other) = (Site::new()?, Site::new()?);
    let log = site.create()?;
    std::fs::write(site.path("backup.unfinished"), "what a killed one left")?;
    log.backup(&site.path("backup"), &|_, _| {})?;
    assert!(!site.path("backup.unfinished").exists());
    closed(other.create()?)?;
    let head = std::fs::read(other.path("log.head"))?;
    std::fs::write(site.path("copy.head"), &head)?;
    let copy = site.path("copy");
    let mut export = Vec::new();
    log.export(
        &Query::everything(),
        &mut |bytes: &[u8]| -> Outcome {
            export.extend_from_slice(bytes);
            Ok(())
        },
        &|_, _| {},
    )?;
    let restored = Log::restore(&site.path("backup"), &copy).unwrap_err();
    assert_eq!(restored.code(), "head_of_another");
    let loaded = Log::load(&export[..], &copy, &|_, _| {}).unwrap_err();
    assert_eq!(loaded.code(), "head_of_another");
    assert!(!copy.exists() && !site.path("copy.loading").exists());
    assert_eq!(std::fs::read(site.path("copy.head"))?, head);
    // A head in which nothing is whole tells of no log.
    std::fs::write(site.path("copy.head"), "torn")?;
    Log::load(&export[..], &copy, &|_, _| {})?;
    assert_eq!(
        std::fs::read(site.path("copy.head"))?.len(),
        std::fs::read(site.path("log.head"))?.len()
    );
    // Killed before its head was beside it, a replica has its name all the same.
    std::fs::rename(&copy, site.path("copy.loading"))?;
    std::fs::remove_file(site.path("copy.head"))?;
    std::fs::hard_link(site.path("copy.loading"), &copy)?;
    site.assert_valid("copy")?;
    let successor = site.start_epoch("copy", &EpochStart::default())?;
    append(&successor, 1)?;
    closed(successor)?;
    site.assert_valid("copy")
}

/// A log, a backup of it, and what the log did after it.
fn lost(site: &Site) -> Outcome<SignedCheckpoint> {
    let log = site.create()?;
    log.backup(&site.path("backup"), &|_, _| {})?;
    append(&log, 3)?;
    let newest = log.checkpoint()?;
    closed(log)?;
    Ok(newest)
}

#[test]
fn a_restored_backup_is_a_replica_until_an_epoch_begins() -> Outcome {
    let site = Site::new()?;
    let newest = lost(&site)?;
    let exists = Log::restore(&site.path("backup"), &site.path("log")).unwrap_err();
    assert_eq!(exists.code(), "log_exists");
    std::fs::remove_file(site.path("log"))?;
    assert_eq!(
        Log::restore(&site.path("none"), &site.path("log"))
            .unwrap_err()
            .code(),
        "log_not_found"
    );
    Log::restore(&site.path("backup"), &site.path("log"))?;
    let log = site.open("log")?;
    assert_eq!(events(&log)?, 5);
    let refused = log
        .append_blocking(NewEvent::new("data.noted", "run"))
        .unwrap_err();
    assert_eq!(refused.code(), "read_only");
    let origin = log.info().origin;
    drop(log);
    // LOG.head of the lost log knows that there was more: that is not given up by accident.
    let head = std::fs::read(site.path("log.head"))?;
    let error = site.start_epoch("log", &EpochStart::default()).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("log_behind", ErrorKind::Corrupt)
    );
    assert_eq!(std::fs::read(site.path("log.head"))?, head);
    let mut start = EpochStart::default();
    start.known = Some(newest.text().to_owned());
    start.accept_loss = true;
    let log = site.start_epoch("log", &start)?;
    assert!(log.info().origin.starts_with(&format!("{origin}/epoch-2-")));
    append(&log, 2)?;
    let successor = log.checkpoint()?;
    assert_eq!(successor.checkpoint().origin, log.info().origin);
    closed(log)?;
    site.assert_valid("log")?;
    let log = site.open("log")?;
    assert_eq!(events(&log)?, 7);
    assert_eq!(log.vkeys()?.len(), 2);
    assert_eq!(
        runstone_receipt::Policy::of_logs(log.vkeys()?)?
            .logs()
            .len(),
        2
    );
    append(&log, 1)?;
    // The epoch is on record, with what was known and lost.
    let records: Vec<_> = log
        .read(Read::new(Query::of_type("log.epoch_started")))?
        .collect::<Result<_, _>>()?;
    let content: serde_json::Value =
        serde_json::from_slice(records[0].payload.bytes().unwrap_or_default())?;
    assert_eq!(
        content["known_checkpoint"]["size"],
        newest.checkpoint().size
    );
    Ok(())
}

/// A checkpoint kept elsewhere outlives the epoch in which it was signed: it is no contradiction
/// where the epoch says that it was known, and still one where it was not.
#[test]
fn copies_of_the_former_epoch_contradict_unless_they_were_known() -> Outcome {
    let site = Site::new()?;
    let newest = lost(&site)?;
    let copy = site.path("copy");
    std::fs::write(&copy, newest.text())?;
    let with_copy = |known: bool| -> Outcome<Result<Log, OpenError>> {
        for name in ["log", "log.head"] {
            let path = site.path(name);
            if path.exists() {
                std::fs::remove_file(path)?;
            }
        }
        Log::restore(&site.path("backup"), &site.path("log"))?;
        let mut start = EpochStart::default();
        start.known = known.then(|| newest.text().to_owned());
        start.accept_loss = known;
        let log = site.start_epoch("log", &start)?;
        append(&log, 9)?;
        closed(log)?;
        let mut open = site.opening();
        open.options.checkpoint_copies = vec![copy.clone()];
        Ok(Log::open(&site.path("log"), open))
    };
    let error = with_copy(false)?.err().ok_or("it opened")?;
    assert_eq!(error.code(), "log_diverged");
    assert!(error.to_string().contains("copy"), "{error}");
    let log = with_copy(true)??;
    append(&log, 1)?;
    closed(log)?;
    // The copy follows the new epoch.
    assert!(std::fs::read_to_string(&copy)?.contains("/epoch-2-"));
    Ok(())
}

#[test]
fn a_checkpoint_of_another_log_is_not_known() -> Outcome {
    let site = Site::new()?;
    lost(&site)?;
    let other = Site::new()?;
    let mut start = EpochStart::default();
    start.known = Some(other.create()?.checkpoint()?.text().to_owned());
    let error = site.start_epoch("backup", &start).unwrap_err();
    assert_eq!(error.code(), "checkpoint_copy");
    Ok(())
}

/// Two copies that both go on sign under different names and keys; each needs keys of its own.
#[test]
fn two_successors_do_not_share_a_name() -> Outcome {
    let site = Site::new()?;
    lost(&site)?;
    let twin = Site::new()?;
    for (from, to) in [("backup", "backup"), ("backup.head", "backup.head")] {
        std::fs::copy(site.path(from), twin.path(to))?;
    }
    let backup = site.path("keys.backup");
    site.open("log")?.backup_keys(&backup)?;
    KeyStore::restore(&backup, &twin.path("log.keys"))?;
    let mut vkeys = Vec::new();
    for site in [&site, &twin] {
        let log = site.start_epoch("backup", &EpochStart::default())?;
        append(&log, 1)?;
        vkeys.push(log.info().vkey);
        closed(log)?;
        site.assert_valid("backup")?;
    }
    assert_ne!(vkeys[0].name(), vkeys[1].name());
    assert_ne!(vkeys[0].public_key(), vkeys[1].public_key());
    // With the keys of the one nobody signs for the other.
    let mut open = OpenOptions::default();
    open.keys = Some(twin.path("log.keys"));
    let error = Log::open(&site.path("backup"), open.clone())
        .err()
        .ok_or("it opened")?;
    assert_eq!(
        (error.code(), error.kind()),
        ("wrong_keys", ErrorKind::Keys)
    );
    open.read_only = true;
    let log = Log::open(&site.path("backup"), open)?;
    assert_eq!(events(&log)?, 6);
    assert!(log.checkpoint().is_err());
    drop(log);
    // The log that they were copied from: its keys have gone on with the copy.
    let error = site.open("log").err().ok_or("it opened")?;
    assert_eq!(error.code(), "wrong_keys");
    Ok(())
}

fn script(site: &Site, name: &str, text: &str) -> Outcome<Vec<String>> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = site.path(name);
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
    Ok(vec![path.display().to_string()])
}

fn with_command(site: &Site, argv: Vec<String>) -> OpenOptions {
    let mut open = site.opening();
    open.options.checkpoint_commands = vec![argv];
    open.options.background = false;
    open
}

#[test]
fn checkpoints_are_kept_by_a_command() -> Outcome {
    let site = Site::new()?;
    closed(site.create()?)?;
    let kept = site.path("kept");
    let text = format!(
        "#!/bin/sh\ncase $1 in\nput) cat > {0}.new && mv {0}.new {0} ;;\nget) [ ! -e {0} ] || cat {0} ;;\nesac\n",
        kept.display()
    );
    let argv = script(&site, "keep", &text)?;
    let older = std::fs::read(site.path("log"))?;
    let log = Log::open(&site.path("log"), with_command(&site, argv.clone()))?;
    append(&log, 2)?;
    closed(log)?;
    assert_eq!(size_in(&kept)?, 8);
    let log = Log::open(&site.path("log"), with_command(&site, argv.clone()))?;
    closed(log)?;
    std::fs::write(site.path("log"), older)?;
    std::fs::remove_file(site.path("log.head"))?;
    let error = Log::open(&site.path("log"), with_command(&site, argv))
        .err()
        .ok_or("it opened")?;
    assert_eq!(error.code(), "log_behind");
    assert!(error.to_string().contains("keep"), "{error}");
    Ok(())
}

/// One that fails is out of reach: the log opens and goes on; one that answers nonsense is none.
#[test]
fn a_command_that_fails_is_out_of_reach_and_nonsense_is_refused() -> Outcome {
    let site = Site::new()?;
    closed(site.create()?)?;
    for text in ["#!/bin/sh\nexit 3\n", "#!/bin/sh\nexit 0\n"] {
        let argv = script(&site, "keep", text)?;
        let log = Log::open(&site.path("log"), with_command(&site, argv))?;
        append(&log, 1)?;
        closed(log)?;
    }
    let argv = script(&site, "keep", "#!/bin/sh\necho nonsense\n")?;
    let error = Log::open(&site.path("log"), with_command(&site, argv))
        .err()
        .ok_or("it opened")?;
    assert_eq!(error.code(), "checkpoint_copy");
    Ok(())
}

fn size_in(path: &Path) -> Outcome<u64> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().nth(1).ok_or("no size")?.parse()?)
}

/// What an epoch gives up stays given up when the power goes before anything else was synced.
#[test]
fn a_lost_head_does_not_come_back_with_the_power() -> Outcome {
    for seed in 0..12 {
        let site = Site::new()?;
        let machine = Machine::new(seed);
        let disks = || {
            let (log, head, place) = machine.disks();
            Disks::new(log, head).at(place)
        };
        let opening = || {
            let mut open = OpenOptions::default();
            open.options.background = false;
            open
        };
        let keys = |sealing| {
            let open = opening();
            let entropy = open.options.entropy;
            Ok(KeyStore::open(
                &site.path("log.keys"),
                sealing,
                &open.sources,
                entropy,
            )?)
        };
        let create = CreateOptions::default();
        let made = KeyStore::create(
            &site.path("log.keys"),
            LogId::new([7; 16]),
            "runstone.local/lost",
            create.sealing,
            create.provider.clone(),
            opening().options.entropy,
            1,
        )?;
        let log = Log::create_on(disks(), made, &create, opening())?;
        append(&log, 2)?;
        log.backup(&site.path("backup"), &|_, _| {})?;
        append(&log, 7)?;
        closed(log)?;
        machine.install(std::fs::read(site.path("backup"))?);
        let mut start = EpochStart::default();
        start.accept_loss = true;
        let started = Log::start_epoch_on(disks(), &start, opening(), keys)?;
        append(&started.log, u32::try_from(seed % 3)?)?;
        let size = started.log.size();
        drop(started);
        machine.restart(Crash::PowerLost);
        let log = Log::open_on(disks(), opening(), keys)?;
        assert_eq!(log.size(), size);
        append(&log, 1)?;
    }
    Ok(())
}

/// A key that the log began to sign with after it was copied is not taken for one that never signed.
#[test]
fn a_key_of_the_lost_log_does_not_sign_for_its_successor() -> Outcome {
    let site = Site::new()?;
    let log = site.create()?;
    log.backup(&site.path("backup"), &|_, _| {})?;
    let (former, next) = log.rotate_signing()?;
    append(&log, 1)?;
    closed(log)?;
    let log = site.start_epoch("backup", &EpochStart::default())?;
    let own = log.info().vkey.public_key();
    assert!(own != former.public_key() && own != next.public_key());
    append(&log, 1)?;
    closed(log)?;
    site.assert_valid("backup")?;
    let error = site.open("log").err().ok_or("it opened")?;
    assert_eq!(error.code(), "wrong_keys");
    Ok(())
}
