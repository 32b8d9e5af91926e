//! Files of a log, and of its keys, that were being made or replaced.

use super::{closed, event};
use runstone_store::{CreateOptions, Log, OpenOptions, default_keys_path};
use runstone_tests::tamper::{Answers, Outcome, Site};

#[test]
fn unfinished_creation_is_begun_again() -> Outcome {
    let create = CreateOptions::default();
    let (_, made) = closed()?;
    let keys = default_keys_path(&made.path());
    // Before the database had its first page, and after.
    for pages in [&b""[..], b"half of a database"] {
        let site = Site::empty()?;
        let its_keys = default_keys_path(&site.path());
        std::fs::create_dir(&its_keys)?;
        for name in ["ring", "table"] {
            std::fs::copy(keys.join(name), its_keys.join(name))?;
        }
        std::fs::write(its_keys.join("unfinished"), b"")?;
        std::fs::write(site.beside("log.new"), pages)?;
        std::fs::write(site.head_path(), b"")?;
        let error = site.open().err().ok_or("it opened")?;
        assert_eq!(error.code(), "log_not_found");
        let log = Log::create(&site.path(), &create, OpenOptions::default())?;
        assert_ne!(log.info().log_id, made.open()?.info().log_id);
        assert!(!site.beside("log.new").exists());
        assert!(!its_keys.join("unfinished").exists());
    }
    Ok(())
}

#[test]
fn unfinished_creation_that_lacks_its_name_gets_it() -> Outcome {
    let (_, site) = closed()?;
    let whole = Answers::of(&site.open()?)?;
    std::fs::rename(site.path(), site.beside("log.new"))?;
    let create = CreateOptions::default();
    let error = Log::create(&site.path(), &create, OpenOptions::default()).err();
    assert_eq!(error.ok_or("another one was made")?.code(), "log_exists");
    std::fs::rename(site.path(), site.beside("log.new"))?;
    assert_eq!(Answers::of(&site.open()?)?, whole);
    assert!(!site.beside("log.new").exists());
    Ok(())
}

#[test]
fn unfinished_creation_never_takes_what_another_log_left() -> Outcome {
    let create = CreateOptions::default();
    let site = Site::empty()?;
    std::fs::write(site.head_path(), b"head of a log that is gone")?;
    let error = Log::create(&site.path(), &create, OpenOptions::default()).err();
    let error = error.ok_or("it was made beside another's head")?;
    assert_eq!(error.code(), "log_exists");
    assert!(error.to_string().contains("log.head"), "{error}");
    std::fs::remove_file(site.head_path())?;
    let keys = default_keys_path(&site.path());
    std::fs::create_dir(&keys)?;
    std::fs::write(keys.join("ring"), b"keys of a log that is gone")?;
    let error = Log::create(&site.path(), &create, OpenOptions::default()).err();
    assert_eq!(error.ok_or("it took other keys")?.code(), "keyring_exists");
    assert_eq!(
        std::fs::read(keys.join("ring"))?,
        b"keys of a log that is gone"
    );
    assert!(!site.beside("log.new").exists());
    assert!(!site.head_path().exists());
    std::fs::remove_dir_all(&keys)?;
    drop(Log::create(&site.path(), &create, OpenOptions::default())?);
    Ok(())
}

#[test]
fn key_table_being_replaced() -> Outcome {
    let (_, site) = closed()?;
    let folder = default_keys_path(&site.path());
    let whole = Answers::of(&site.open()?)?;
    std::fs::write(folder.join("table.new"), b"half of the new one")?;
    let log = site.open()?;
    assert_eq!(Answers::of(&log)?, whole);
    // A key for another scope: the table is replaced.
    log.append_blocking(event("fresh").scope("fresh"))?;
    drop(log);
    assert!(!folder.join("table.new").exists());
    assert!(site.open()?.keys()?.iter().any(|key| key.scope == "fresh"));
    Ok(())
}
