//! Faults of the pauses and approvals of a framework that came before this one: one test each,
//! showing that Runstone does not have it. The sections are those of the list.

use runstone::approvals::{Approval, ApprovalRequest, ApprovalState, Approvals};
use runstone::effects::Claim;
use runstone::projections::effects::EffectFilter;
use runstone::runs::{self, RunFilter};
use runstone::settings::{ApprovalMode, OnTimeout};
use runstone::{
    Authority, CallError, EffectClass, EffectError, Log, Position, Run, Runstone, Settings, Status,
};
use runstone_tests::clocked::Clocked;
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::{Arc, Barrier};

type Fault = std::io::Error;

const SECOND: u64 = 1_000_000;

fn open(site: &Clocked) -> Outcome<Runstone> {
    let options = Runstone::options().storage(site.storage());
    Ok(options.open_or_create(site.path())?)
}

fn begin(log: &Runstone) -> Outcome<Run> {
    Ok(log.run("bot").resume_or_start_blocking("run-1")?)
}

fn publish(run: &Run, times: &Cell<u32>) -> Result<String, CallError<Fault>> {
    run.effect("publish")
        .request_id("page-1")
        .class(EffectClass::Irreversible)
        .args(&json!({"page": 1}))
        .approval("publish the page")
        .call_blocking(|| {
            times.set(times.get() + 1);
            Ok("published by the tool".to_owned())
        })
}

fn asked(answer: Result<String, CallError<Fault>>) -> Outcome<Position> {
    match answer {
        Err(CallError::Effect(EffectError::NotApproved {
            request: Some(request),
            ..
        })) => Ok(request),
        other => Err(format!("{other:?}").into()),
    }
}

/// Pauses the run for the request, and closes the log.
fn pause(log: &Runstone, run: Run, request: Position) -> Outcome {
    let approval = Approvals::new(log).get(request)?;
    run.pause_for_blocking(Some("publish".to_owned()), &approval)?;
    let paused: Vec<_> = runs::list(log, RunFilter::new().status("paused"))?.collect();
    assert_eq!(paused.len(), 1, "it is listed as paused, not as failed");
    log.close_blocking()?;
    Ok(())
}

/// A run that asked and is paused, and how often its tool ran.
fn paused(site: &Clocked) -> Outcome<(Position, Cell<u32>)> {
    let log = open(site)?;
    let (run, times) = (begin(&log)?, Cell::new(0));
    let request = asked(publish(&run, &times))?;
    pause(&log, run, request)?;
    Ok((request, times))
}

/// A person decides, in a process of its own.
fn decide(site: &Clocked, request: Position, is_yes: bool) -> Outcome<Approval> {
    let log = open(site)?;
    let ada = site.person(&log)?;
    let decided = Approvals::new(&ada).vote_blocking(request, is_yes, Some("seen"))?;
    log.close_blocking()?;
    Ok(decided)
}

/// 2.3: there, an approval stood in for the output of the gated node, whose own runner never ran.
#[test]
fn what_was_approved_is_done_by_its_own_tool() -> Outcome {
    let site = Clocked::new()?;
    let (request, times) = paused(&site)?;
    decide(&site, request, true)?;
    let log = open(&site)?;
    let run = begin(&log)?;
    let document = runstone::sessions::state(&log, "run-1")?;
    let session = document.document.to_value();
    assert_eq!(
        (
            &session["approved"],
            &session["human_decision"],
            &session["decided_by"]
        ),
        (&json!(true), &json!("approved"), &json!("human:ada"))
    );
    assert_eq!(
        (&session["human_comment"], &session["comment"]),
        (&json!("seen"), &json!("seen"))
    );
    assert_eq!(times.get(), 0);
    assert_eq!(publish(&run, &times)?, "published by the tool");
    assert_eq!(publish(&run, &times)?, "published by the tool");
    assert_eq!(times.get(), 1);
    run.finish_blocking(Status::Success)?;
    Ok(())
}

/// 2.3: there, what came after a rejected node ran all the same.
#[test]
fn a_rejection_is_enforced() -> Outcome {
    let site = Clocked::new()?;
    let (request, times) = paused(&site)?;
    decide(&site, request, false)?;
    let log = open(&site)?;
    let run = begin(&log)?;
    let session = runstone::sessions::state(&log, "run-1")?;
    assert_eq!(session.document.to_value()["approved"], Value::Bool(false));
    let refused = publish(&run, &times).unwrap_err();
    assert_eq!(refused.code(), "not_approved");
    assert_eq!(times.get(), 0);
    Ok(())
}

/// 2.3: there, two that resumed at once both went on, each with a decision of its own.
#[test]
fn of_two_that_resume_one_goes_on_and_one_decision_counts() -> Outcome {
    let site = Clocked::new()?;
    let (request, _) = paused(&site)?;
    let log = open(&site)?;
    let people = [
        site.principal(&log, "ada", Authority::Human)?,
        site.principal(&log, "bob", Authority::Human)?,
    ];
    let barrier = Arc::new(Barrier::new(2));
    let threads: Vec<_> = people
        .into_iter()
        .zip([true, false])
        .map(|(person, is_yes)| {
            let (barrier, log) = (Arc::clone(&barrier), log.clone());
            std::thread::spawn(move || {
                barrier.wait();
                let voted = Approvals::new(&person)
                    .vote_blocking(request, is_yes, None)
                    .is_ok();
                let run = log.run("bot").resume_or_start_blocking("run-1");
                (voted, run.map_err(|error| error.code()))
            })
        })
        .collect();
    let mut ended = Vec::new();
    for thread in threads {
        ended.push(thread.join().map_err(|_| "it panicked")?);
    }
    assert_eq!(ended.iter().filter(|(voted, _)| *voted).count(), 1);
    assert_eq!(ended.iter().filter(|(_, run)| run.is_ok()).count(), 1);
    let lost = ended.iter().find_map(|(_, run)| run.as_ref().err());
    assert_eq!(lost, Some(&"run_held"));
    Ok(())
}

/// 2.5: there, five surfaces wrote a decision and one was read. Here a decision is an event, and
/// whoever looks sees the same.
#[test]
fn a_decision_is_one_event_that_everybody_reads() -> Outcome {
    let site = Clocked::new()?;
    let (request, _) = paused(&site)?;
    let before = decide(&site, request, false)?;
    let log = open(&site)?;
    let approvals = Approvals::new(&log);
    let by_claim = Claim::tool("run-1", "publish").request("page-1");
    let found = [
        approvals.get(request)?,
        approvals.by_id(before.event_id)?,
        approvals.find(&by_claim)?.ok_or("it was asked")?,
    ];
    assert!(found.iter().all(|one| one.state == ApprovalState::Rejected));
    assert!(
        found
            .iter()
            .all(|one| one.requested_at_us == before.requested_at_us)
    );
    let stranger = site.principal(&log, "eve", Authority::Human)?;
    let late = Approvals::new(&stranger).vote_blocking(request, true, None);
    assert_eq!(late.unwrap_err().code(), "already_decided");
    Ok(())
}

/// 2.6: there, a time-out wrote into the checkpoint and changed nothing, and a later approval worked.
#[test]
fn a_timeout_counts() -> Outcome {
    let site = Clocked::new()?;
    let log = open(&site)?;
    let (run, times) = (begin(&log)?, Cell::new(0));
    let call = || {
        run.effect("publish")
            .request_id("page-1")
            .approval_by(|request| request.timeout(60, OnTimeout::Reject))
            .call_blocking(|| {
                times.set(times.get() + 1);
                Ok::<_, Fault>("published".to_owned())
            })
    };
    let request = asked(call())?;
    site.clock.advance(60 * SECOND);
    let ada = site.person(&log)?;
    let late = Approvals::new(&ada).vote_blocking(request, true, None);
    assert_eq!(late.unwrap_err().code(), "approval_expired");
    assert_eq!(call().unwrap_err().code(), "not_approved");
    let found = Approvals::new(&log).get(request)?;
    assert_eq!((found.state, times.get()), (ApprovalState::Rejected, 0));
    Ok(())
}

/// 2.6: there, the order of reviewers was not enforced, and their votes lived in memory.
#[test]
fn reviewers_vote_in_order_across_restarts() -> Outcome {
    let site = Clocked::new()?;
    let log = open(&site)?;
    let claim = Claim::tool("run-1", "publish").request("page-1");
    let request =
        ApprovalRequest::new(&claim, "publish").reviewers(ApprovalMode::Sequential, ["ada", "bob"]);
    let asked = Approvals::new(&log).request_blocking(&request)?.position;
    let handle = |log: &Log, name: &str| site.principal(log, name, Authority::Human);
    let bob = handle(&log, "bob")?;
    let early = Approvals::new(&bob).vote_blocking(asked, true, None);
    assert_eq!(early.unwrap_err().code(), "not_your_turn");
    let ada = handle(&log, "ada")?;
    Approvals::new(&ada).vote_blocking(asked, true, None)?;
    log.close_blocking()?;
    let log = open(&site)?;
    assert_eq!(Approvals::new(&log).get(asked)?.votes.len(), 1);
    let bob = runstone::store::keys::Credential::load(&site.file("bob"))?;
    let bob = log.with_credential(&bob)?;
    let decided = Approvals::new(&bob).vote_blocking(asked, true, None)?;
    assert_eq!(decided.state, ApprovalState::Approved);
    Ok(())
}

/// 2.3: there, a workflow's rule for approvals was dropped if its budget was not the lower one.
#[test]
fn the_rule_for_a_class_holds_for_every_run() -> Outcome {
    let site = Clocked::new()?;
    let log = open(&site)?;
    let mut settings = Settings::default();
    settings.approvals.approval_from = runstone::settings::ApprovalFrom::Irreversible;
    settings.record(&log)?;
    for id in ["run-1", "run-2"] {
        let run = log.run("bot").resume_or_start_blocking(id)?;
        let call = run
            .effect("publish")
            .request_id(id)
            .class(EffectClass::Irreversible);
        let refused = call.call_blocking(|| Ok::<_, Fault>(1)).unwrap_err();
        assert_eq!(refused.code(), "not_approved");
    }
    let calls = runstone::effects::list(&log, &EffectFilter::new())?;
    assert!(calls.is_empty());
    Ok(())
}

/// A call can wait for people while its program runs on.
#[test]
fn a_call_waits_for_the_decision() -> Outcome {
    let log = Runstone::memory()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ada");
    let ada = runstone::store::keys::Credential::create(
        &path,
        "ada",
        Authority::Human,
        &runstone_codec::OsEntropy,
    )?;
    log.enrol("ada", Authority::Human, &ada.public_key())?;
    let person = log.with_credential(&ada)?;
    let waiting = log.clone();
    let thread = std::thread::spawn(move || {
        let run = waiting.run("bot").resume_or_start_blocking("run-1");
        let run = run.map_err(|error| error.to_string())?;
        run.effect("publish")
            .request_id("page-1")
            .approval("publish")
            .wait()
            .call_blocking(|| Ok::<_, Fault>(7))
            .map_err(|error| error.to_string())
    });
    let approvals = Approvals::new(&person);
    let claim = Claim::tool("run-1", "publish").request("page-1");
    let asked = loop {
        match approvals.find(&claim)? {
            Some(asked) => break asked,
            None => std::thread::yield_now(),
        }
    };
    approvals.vote_blocking(asked.position, true, None)?;
    assert_eq!(thread.join().map_err(|_| "it panicked")??, 7);
    Ok(())
}

/// What is imported beside a run that lives here is not its session, its steps or its pause.
#[test]
fn a_live_run_is_not_told_what_happened_elsewhere() -> Outcome {
    let log = Runstone::memory()?;
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    let forged = runstone::NewEvent::new("session.patched", "run-1")
        .payload(r#"{"patch":{"approved":true,"human_decision":"approved"}}"#);
    log.import_blocking(vec![vec![forged.into()]]).remove(0)?;
    let paused = runstone::NewEvent::new("run.paused", "run-1")
        .payload(r#"{"approval_id":"00000000-0000-0000-0000-000000000000"}"#);
    log.import_blocking(vec![vec![paused.into()]]).remove(0)?;
    drop(run);
    let _run = log.run("bot").resume_or_start_blocking("run-1")?;
    let session = runstone::sessions::state(&log, "run-1")?;
    assert_eq!(session.document.to_value(), json!({}));
    Ok(())
}

/// A run that is resumed after its request expired hears what followed.
#[test]
fn a_resumed_run_hears_that_time_decided() -> Outcome {
    let site = Clocked::new()?;
    let log = open(&site)?;
    let run = begin(&log)?;
    let claim = Claim::tool("run-1", "publish").request("page-1");
    let request = ApprovalRequest::new(&claim, "publish").timeout(60, OnTimeout::Reject);
    let asked = Approvals::new(&log).request_blocking(&request)?;
    run.pause_for_blocking(None, &asked)?;
    site.clock.advance(60 * SECOND);
    let _run = begin(&log)?;
    let session = runstone::sessions::state(&log, "run-1")?;
    let document = session.document.to_value();
    assert_eq!(
        (&document["approved"], &document["human_decision"]),
        (&json!(false), &json!("rejected"))
    );
    Ok(())
}
