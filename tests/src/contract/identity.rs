//! Who writes, and what is recorded about the log itself.

use super::{Make, numbered, plainly, refused};
use runstone_codec::{Authority, OsEntropy};
use runstone_store::keys::Credential;
use runstone_store::{Append, Query, Read};
use tempfile::TempDir;

fn credential(folder: &TempDir, file: &str, id: &str, authority: Authority) -> Credential {
    Credential::create(&folder.path().join(file), id, authority, &OsEntropy).unwrap()
}

/// Who is enrolled and shows the key acts as the principal; the log stamps it, whatever the
/// payload claims.
pub fn principals_prove_themselves(make: Make<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let log = make(plainly());
    let ada = credential(&folder, "ada", "ada", Authority::Human);
    assert_eq!(refused(log.with_credential(&ada)), "principal_unknown");
    let position = log
        .enrol("ada", Authority::Human, &ada.public_key())
        .unwrap();
    let bot = credential(&folder, "bot", "bot", Authority::Agent);
    log.enrol("bot", Authority::Agent, &bot.public_key())
        .unwrap();
    let principals = log.principals().unwrap();
    assert_eq!(principals.len(), 2);
    assert_eq!(
        (principals[0].id.as_str(), principals[0].position),
        ("ada", position)
    );
    assert_eq!(principals[1].public_key, bot.public_key());

    let as_ada = log.with_credential(&ada).unwrap();
    assert_eq!(as_ada.principal(), ("human:ada", Authority::Human));
    let claims = |n| numbered("s", n).payload(r#"{"authority":"commander","principal":"root"}"#);
    let by = [
        (as_ada, "human:ada", Authority::Human),
        (
            log.with_credential(&bot).unwrap(),
            "agent:bot",
            Authority::Agent,
        ),
        (log.clone(), "system:keyring", Authority::System),
    ];
    for (handle, principal, authority) in by {
        let answer = handle.append_blocking(claims(1)).unwrap();
        let header = log.record(answer.first).unwrap().header;
        assert_eq!(
            (header.principal.as_str(), header.authority),
            (principal, authority)
        );
        let import = handle
            .import_blocking(vec![vec![numbered("s", 2).into()]])
            .remove(0);
        assert_eq!(import.unwrap().added, 1);
        let imported = super::everything(&log).pop().unwrap().header;
        assert_eq!(
            imported.principal, "system:keyring",
            "an import speaks for nobody"
        );
    }
    let human = Query::parse("authority=human").unwrap();
    assert_eq!(log.count(&human).unwrap(), 1);
}

/// Another key under an enrolled name, or another authority in the file, is not believed.
pub fn a_wrong_key_is_refused(make: Make<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let log = make(plainly());
    let ada = credential(&folder, "ada", "ada", Authority::Human);
    log.enrol("ada", Authority::Human, &ada.public_key())
        .unwrap();
    let mallory = credential(&folder, "mallory", "ada", Authority::Human);
    let error = log.with_credential(&mallory).unwrap_err();
    assert_eq!(error.kind(), runstone_store::ErrorKind::Keys, "{error}");
    let again = log.enrol("ada", Authority::Commander, &mallory.public_key());
    assert_eq!(refused(again), "condition_failed");

    let text = std::fs::read_to_string(folder.path().join("ada")).unwrap();
    let promoted = text.replace("\"human\"", "\"commander\"");
    assert_ne!(text, promoted);
    std::fs::write(folder.path().join("ada"), promoted).unwrap();
    let promoted = Credential::load(&folder.path().join("ada")).unwrap();
    let handle = log.with_credential(&promoted).unwrap();
    assert_eq!(
        handle.principal(),
        ("human:ada", Authority::Human),
        "as enrolled"
    );
    let long = "x".repeat(250);
    for (id, code) in [
        ("", "field_empty"),
        ("two words\n", "field_control_character"),
        // It would not fit behind `human:`.
        (long.as_str(), "field_too_long"),
    ] {
        assert_eq!(refused(log.enrol(id, Authority::Human, &[1; 32])), code);
    }
    assert_eq!(log.size(), 2);
}

/// Settings are events of the log; the last ones count, and they are stamped like any other.
pub fn settings_are_recorded(make: Make<'_>) {
    let log = make(plainly());
    assert_eq!(log.settings().unwrap(), None);
    let first = log.configure(br#"{"depth": 3}"#.to_vec()).unwrap();
    let again = log.configure(br#"{"depth": 4}"#.to_vec()).unwrap();
    let settings = log.settings().unwrap().unwrap();
    assert_eq!(
        (settings.position, settings.bytes.as_slice()),
        (again, br#"{"depth": 4}"#.as_slice())
    );
    assert_eq!(refused(log.configure(b"{".to_vec())), "payload_not_json");
    let record = log.record(first).unwrap();
    assert_eq!(record.header.event_type, "log.configured");
    assert_eq!(
        (record.header.stream.as_str(), record.header.scope.as_str()),
        ("log", "_log")
    );
    assert_eq!((first.get(), again.get(), log.size()), (1, 2, 3));
}

/// The checkpoint of what is durable is signed with the log's key and names size and root.
pub fn checkpoints_are_signed(make: Make<'_>) {
    let log = make(plainly());
    let info = log.info();
    for n in 0..20 {
        log.append_blocking(Append::new((0..=n).map(|m| numbered("s", m))))
            .unwrap();
        let signed = log.checkpoint().unwrap();
        let read = runstone_receipt::checkpoint::SignedCheckpoint::parse_verify(
            signed.text(),
            &info.origin,
            std::slice::from_ref(&info.vkey),
        );
        let checkpoint = read.unwrap().checkpoint().clone();
        assert_eq!((checkpoint.size, checkpoint.root), (log.size(), log.root()));
    }
    let other = make(plainly()).info();
    assert_ne!(other.vkey.to_string(), info.vkey.to_string());
    let foreign = runstone_receipt::checkpoint::SignedCheckpoint::parse_verify(
        log.checkpoint().unwrap().text(),
        &info.origin,
        &[other.vkey],
    );
    assert!(foreign.is_err());
    let genesis = Read::new(Query::of_type("log.genesis"));
    let genesis = super::read(&log, genesis).remove(0);
    assert!(super::text(&genesis).contains(&info.vkey.to_string()));
}
