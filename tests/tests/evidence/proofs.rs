//! Proofs that leave a log, checked with nothing but the file and a policy.

use runstone_codec::{NewEvent, Position};
use runstone_receipt::{Consistency, Disclosure, Policy, Receipt, VerifyOptions};
use runstone_store::{
    Append, CreateOptions, Disclose, Durability, Erase, ErrorKind, EvidenceError, Log, OpenOptions,
    Query, Read, Sealing,
};
use runstone_tests::tamper::Outcome;

fn log(sealing: Sealing) -> Outcome<Log> {
    let mut create = CreateOptions::default();
    create.sealing = sealing;
    let mut open = OpenOptions::default();
    open.options.maintenance_commits = 7;
    Ok(Log::memory(&create, open)?)
}

fn event(n: u64) -> NewEvent {
    NewEvent::new("tool.called", format!("run-{}", n % 3))
        .scope(["ann", "bob", "eve"][usize::try_from(n % 3).unwrap_or(0)])
        .fields(true)
        .payload(format!(
            "{{\"amount\":{n},\"to\":\"account-{n}\",\"note\":null}}"
        ))
}

fn policy(log: &Log) -> Outcome<Policy> {
    // As an auditor has it: a file.
    let policy = Policy::of_logs(log.vkeys()?)?;
    Ok(Policy::parse(policy.to_text().as_bytes())?)
}

/// Position and type that a receipt proves, from its bytes alone.
fn verified(file: &[u8], policy: &Policy) -> Outcome<(u64, String)> {
    let receipt = Receipt::parse(file)?;
    let verified = receipt.verify(policy, &VerifyOptions::new())?;
    Ok((
        verified.position(),
        verified.header().event_type.to_string(),
    ))
}

/// Across the boundaries of tiles, of what is stored and of what is only in memory.
#[test]
fn every_event_has_a_receipt_at_every_size() -> Outcome {
    let log = log(Sealing::Plain)?;
    let policy = policy(&log)?;
    for round in 0..40_u64 {
        let events: Vec<_> = (0..=round * 3).map(|n| event(round * 1000 + n)).collect();
        log.append_blocking(Append::new(events))?;
        let mut prover = log.prover()?;
        let size = prover.size();
        assert_eq!(size, log.size());
        let all = size < 300 || round == 39;
        for position in (0..size).filter(|at| all || at % 251 < 2 || at + 3 > size) {
            let receipt = prover.receipt(Position::new(position))?;
            let (found, event_type) = verified(&receipt.encode(), &policy)?;
            assert_eq!(found, position);
            assert_eq!(event_type == "log.genesis", position == 0);
        }
        assert!(prover.receipt(Position::new(size)).is_err());
        for index in 0..=size / 256 {
            let hashes = prover.tile(0, index)?;
            assert_eq!(hashes.len() as u64, (size - index * 256).min(256));
        }
        assert!(prover.tile(3, 0)?.is_empty());
    }
    assert!(log.size() > 2_000);
    Ok(())
}

#[test]
fn every_checkpoint_leads_to_every_later_one() -> Outcome {
    let log = log(Sealing::Required)?;
    let policy = policy(&log)?;
    let mut earlier = vec![log.checkpoint()?];
    for n in 0..60 {
        log.append_blocking(Append::new((0..=n % 9).map(event)))?;
        for old in &earlier {
            let file = log.consistency(old.text())?.encode();
            let later = Consistency::parse(&file)?.verify(old, &policy)?;
            assert_eq!(later.checkpoint().root, log.root());
        }
        earlier.push(log.checkpoint()?);
    }
    // One of another log, and one of another history under the same keys.
    let other = self::log(Sealing::Required)?;
    let error = log.consistency(other.checkpoint()?.text()).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("foreign_checkpoint", ErrorKind::Keys)
    );
    for text in ["", "nonsense\n", &"x".repeat(1 << 20)] {
        assert_eq!(
            log.consistency(text).unwrap_err().code(),
            "foreign_checkpoint"
        );
    }
    Ok(())
}

/// What was only buffered is durable before anybody gets a proof of it.
#[test]
fn proofs_are_of_what_is_durable() -> Outcome {
    let log = log(Sealing::Required)?;
    log.append_blocking(Append::new([event(1)]).durability(Durability::Buffered))?;
    assert!(log.durable_size() < log.size());
    let receipt = log.receipt(Position::new(1))?;
    assert_eq!(log.durable_size(), log.size());
    assert_eq!(verified(&receipt.encode(), &policy(&log)?)?.0, 1);
    Ok(())
}

#[test]
fn a_log_with_another_history_is_contradicted_by_its_own_checkpoint() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let log = Log::create(&path, &CreateOptions::default(), OpenOptions::default())?;
    log.append_blocking(event(0))?;
    log.close_blocking()?;
    drop(log);
    let older = (
        std::fs::read(&path)?,
        std::fs::read(folder.path().join("log.head"))?,
    );
    let mut checkpoints: Vec<String> = Vec::new();
    for n in [1, 2] {
        std::fs::write(&path, &older.0)?;
        std::fs::write(folder.path().join("log.head"), &older.1)?;
        let log = Log::open(&path, OpenOptions::default())?;
        if let Some(other) = checkpoints.first() {
            let error = log.consistency(other).unwrap_err();
            assert_eq!(
                (error.code(), error.kind()),
                ("log_behind", ErrorKind::Corrupt)
            );
        }
        log.append_blocking(event(n))?;
        if let Some(other) = checkpoints.first() {
            let error = log.consistency(other).unwrap_err();
            assert_eq!(
                (error.code(), error.kind()),
                ("log_diverged", ErrorKind::Corrupt)
            );
        }
        checkpoints.push(log.checkpoint()?.text().to_owned());
        log.close_blocking()?;
    }
    Ok(())
}

#[test]
fn single_fields_are_shown_and_everything_is_recorded() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let log = log(sealing)?;
        log.append_blocking(event(7))?;
        let whole = NewEvent::new("tool.called", "run-1")
            .scope("bob")
            .payload("[1,2,3]");
        log.append_blocking(whole)?;
        let policy = policy(&log)?;
        let disclosed = log.disclose(&Disclose::fields(1_u64, ["amount"]).to("auditor-7"))?;
        let file = disclosed.encode();
        let disclosure = Disclosure::parse(&file)?;
        let receipt = Receipt::parse(&log.receipt(Position::new(1))?.encode())?;
        let options = VerifyOptions::new().disclosure(&disclosure);
        receipt.verify(&policy, &options)?;
        let shown: Vec<_> = disclosure
            .disclosed()
            .iter()
            .map(|field| (field.name(), field.value()))
            .collect();
        assert_eq!(shown, [("amount", b"7".as_slice())]);
        assert!(!file.windows(9).any(|window| window == b"account-7"));
        let again = Receipt::parse(&log.receipt(Position::new(2))?.encode())?;
        assert!(
            again.verify(&policy, &options).is_err(),
            "it is of another event"
        );
        let all = log.disclose(&Disclose::whole(2_u64))?;
        let all = Disclosure::parse(&all.encode())?;
        again.verify(&policy, &VerifyOptions::new().disclosure(&all))?;
        // Both are on record, refusals are not.
        let refused = [
            (Disclose::fields(1_u64, ["iban"]), ErrorKind::Refused),
            (Disclose::fields(2_u64, ["amount"]), ErrorKind::Refused),
            (Disclose::whole(99_u64), ErrorKind::NotFound),
            (Disclose::whole(1_u64).to("Ann Example"), ErrorKind::Usage),
        ];
        for (disclose, kind) in refused {
            assert_eq!(
                log.disclose(&disclose).unwrap_err().kind(),
                kind,
                "{disclose:?}"
            );
        }
        let recorded: Vec<String> = log
            .read(Read::new(Query::of_type("log.disclosed")))?
            .map(|record| {
                Ok(String::from_utf8(
                    record?.payload.bytes().unwrap_or_default().to_vec(),
                )?)
            })
            .collect::<Outcome<_>>()?;
        assert_eq!(
            recorded,
            [
                r#"{"position":1,"segments":[0],"of":3,"recipient":"auditor-7"}"#,
                r#"{"position":2,"segments":[0],"of":1,"recipient":null}"#,
            ]
        );
    }
    Ok(())
}

/// A receipt and a disclosure that somebody has go on to verify; a new disclosure is refused.
#[test]
fn an_erasure_leaves_receipts_and_takes_content() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let log = log(sealing)?;
        log.append_blocking(event(0))?;
        let policy = policy(&log)?;
        let issued = log.receipt(Position::new(1))?.encode();
        let shown = log.disclose(&Disclose::fields(1_u64, ["to"]))?.encode();
        let erasure = log.erase(&Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})?;
        assert_eq!(verified(&issued, &policy)?.0, 1);
        let receipt = Receipt::parse(&issued)?;
        let disclosure = Disclosure::parse(&shown)?;
        receipt.verify(&policy, &VerifyOptions::new().disclosure(&disclosure))?;
        let error = log.disclose(&Disclose::whole(1_u64)).unwrap_err();
        assert!(matches!(error, EvidenceError::Erased { .. }), "{error}");
        // A receipt is issued for what was erased, and the certificate is one.
        assert_eq!(
            verified(&log.receipt(Position::new(1))?.encode(), &policy)?.0,
            1
        );
        let certificate = log.receipt(erasure.completed.ok_or("it is pending")?)?;
        assert_eq!(
            verified(&certificate.encode(), &policy)?.1,
            "log.erasure_completed"
        );
    }
    Ok(())
}

#[test]
fn a_receipt_of_another_log_does_not_pass() -> Outcome {
    let (log, other) = (log(Sealing::Plain)?, log(Sealing::Plain)?);
    for log in [&log, &other] {
        log.append_blocking(event(0))?;
    }
    let file = log.receipt(Position::new(1))?.encode();
    assert!(verified(&file, &policy(&log)?).is_ok());
    assert!(verified(&file, &policy(&other)?).is_err());
    Ok(())
}
