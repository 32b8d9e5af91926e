//! Approvals: people decide once, and what they did not approve is not claimed.

use runstone_codec::{Authority, Position};
use runstone_projections::approvals::{
    Approval, ApprovalError, ApprovalFilter, ApprovalRequest, ApprovalState, Approvals, Vote,
};
use runstone_projections::effects::{
    Change, Claim, Claimed, Class, EffectError, Effects, Executed, Held,
};
use runstone_projections::events::ErrorSaid;
use runstone_projections::settings::{ApprovalFrom, ApprovalMode, OnTimeout};
use runstone_projections::{Hold, Settings};
use runstone_store::keys::Credential;
use runstone_store::{Log, Query, Read, Sealing};
use runstone_tests::clocked::{Clocked, assert_sound};
use runstone_tests::tamper::Outcome;
use serde_json::json;
use std::sync::{Arc, Barrier};
use std::time::Duration;

const SECOND: u64 = 1_000_000;

fn pay(key: &str, usd: u64) -> Outcome<Claim> {
    let hold = Hold::For(Duration::from_secs(60));
    Ok(Claim::tool("run-1", "pay")
        .request(key)
        .hold(hold)
        .args(&json!({ "usd": usd }))?)
}

fn ask(log: &Log, claim: &Claim) -> Outcome<Approval> {
    Ok(Approvals::new(log).request_blocking(&ApprovalRequest::new(claim, "pay"))?)
}

fn people<const N: usize>(site: &Clocked, log: &Log, names: [&str; N]) -> Outcome<[Approvals; N]> {
    let handles = names.map(|name| site.principal(log, name, Authority::Human));
    let mut found = Vec::new();
    for handle in handles {
        found.push(Approvals::new(&handle?));
    }
    found.try_into().map_err(|_| "as many as names".into())
}

fn refused(claimed: Result<Claimed, EffectError>) -> String {
    match claimed {
        Err(EffectError::NotApproved { why, .. }) => why.code().to_owned(),
        Err(error) => error.code().to_owned(),
        Ok(_) => "claimed".to_owned(),
    }
}

fn held(claimed: Result<Claimed, EffectError>) -> Outcome<Held> {
    match claimed? {
        Claimed::Held(held) => Ok(held),
        Claimed::Completed(outcome) => Err(format!("{outcome:?}").into()),
    }
}

fn code(voted: Result<Approval, ApprovalError>) -> &'static str {
    voted.unwrap_err().code()
}

#[test]
fn exactly_what_was_approved_is_claimed_once() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let effects = Effects::new(&log);
    let [ada] = people(&site, &log, ["ada"])?;
    let claim = pay("inv-1", 12)?;
    let asked = ask(&log, &claim)?;
    assert_eq!(asked.state, ApprovalState::Pending);
    // The same question is the same request; another one under its key must wait.
    assert_eq!(ask(&log, &claim)?.position, asked.position);
    let other =
        Approvals::new(&log).request_blocking(&ApprovalRequest::new(&pay("inv-1", 13)?, "pay"));
    assert_eq!(code(other), "approval_pending");
    let size = log.size();
    assert_eq!(refused(effects.claim_blocking(&claim)), "pending");
    assert_eq!(log.size(), size, "waiting is not recorded");

    let decided = ada.vote_blocking(asked.position, Vote::Approve, Some("go on"))?;
    assert_eq!(decided.state, ApprovalState::Approved);
    let verdict = ada.verdict(&decided)?.ok_or("it is decided")?;
    assert_eq!(
        (
            verdict.approved,
            verdict.decided_by.as_str(),
            verdict.comment.as_deref()
        ),
        (true, "human:ada", Some("go on"))
    );
    let size = log.size();
    assert_eq!(
        refused(effects.claim_blocking(&pay("inv-1", 13)?)),
        "other_arguments"
    );
    assert_eq!(
        refused(effects.claim_blocking(&pay("inv-1", 13)?)),
        "other_arguments"
    );
    assert_eq!(log.size(), size + 1, "one refusal a second");
    let loose = pay("inv-1", 13)?.bound_to_key_only();
    assert_eq!(refused(effects.claim_blocking(&loose)), "other_arguments");

    // What was not executed does not spend it.
    let first = held(effects.claim_blocking(&claim))?;
    let failed = Change::Fail {
        error: ErrorSaid::default(),
        executed: Some(Executed::No),
    };
    effects.change_blocking(&first.target(), &failed)?;
    let second = held(effects.claim_blocking(&claim))?;
    let unknown = Change::Fail {
        error: ErrorSaid::default(),
        executed: Some(Executed::Unknown),
    };
    effects.change_blocking(&second.target(), &unknown)?;
    let spent = Approvals::new(&log).get(asked.position)?;
    assert!(spent.is_spent);
    // Found not to have been executed after all, it needs to be asked again.
    let found = Change::Reconcile {
        found: runstone_projections::effects::Found::NotExecuted,
        evidence: None,
        by_program: true,
    };
    effects.change_blocking(&second.target(), &found)?;
    assert_eq!(refused(effects.claim_blocking(&claim)), "spent");
    let again = ask(&log, &claim)?;
    assert_ne!(again.position, asked.position);
    ada.vote_blocking(again.position, Vote::Approve, None)?;
    held(effects.claim_blocking(&claim))?;
    assert_sound(&log)
}

#[test]
fn a_rejected_call_is_not_claimed_until_it_is_asked_again() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let [ada] = people(&site, &log, ["ada"])?;
    let claim = pay("inv-1", 12)?;
    let asked = ask(&log, &claim)?;
    ada.vote_blocking(asked.position, Vote::Reject, None)?;
    assert_eq!(
        code(ada.vote_blocking(asked.position, Vote::Approve, None)),
        "already_decided"
    );
    let log = site.reopen(log)?;
    assert_eq!(
        refused(Effects::new(&log).claim_blocking(&claim)),
        "rejected"
    );
    let again = ask(&log, &claim)?;
    assert_eq!(
        refused(Effects::new(&log).claim_blocking(&claim)),
        "pending"
    );
    let ada = log.with_credential(&Credential::load(&site.file("ada"))?)?;
    let ada = Approvals::new(&ada);
    assert_eq!(
        code(ada.vote_blocking(asked.position, Vote::Approve, None)),
        "already_decided"
    );
    ada.vote_blocking(again.position, Vote::Approve, None)?;
    held(Effects::new(&log).claim_blocking(&claim))?;
    assert_sound(&log)
}

#[test]
fn who_may_vote() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let claim = pay("inv-1", 12)?;
    let [ada, bob, eve] = people(&site, &log, ["ada", "bob", "eve"])?;
    let request = ApprovalRequest::new(&claim, "pay")
        .reviewers(ApprovalMode::Sequential, ["ada", "human:bob"]);
    // Whoever asks does not vote.
    let asked = ada.request_blocking(&request)?;
    assert_eq!(
        code(ada.vote_blocking(asked.position, Vote::Approve, None)),
        "own_request"
    );
    assert_eq!(
        code(Approvals::new(&log).vote_blocking(asked.position, Vote::Approve, None)),
        "not_allowed"
    );
    let agent = site.principal(&log, "bot", Authority::Agent)?;
    assert_eq!(
        code(Approvals::new(&agent).vote_blocking(asked.position, Vote::Approve, None)),
        "not_allowed"
    );
    assert_eq!(
        code(eve.vote_blocking(asked.position, Vote::Approve, None)),
        "not_reviewer"
    );
    assert_eq!(
        code(bob.vote_blocking(asked.position, Vote::Approve, None)),
        "not_your_turn"
    );
    assert_eq!(
        code(bob.vote_blocking(Position::new(1), Vote::Approve, None)),
        "approval_not_found"
    );

    let claim = pay("inv-2", 12)?;
    let request = ApprovalRequest::new(&claim, "pay")
        .reviewers(ApprovalMode::Sequential, ["ada", "human:bob"]);
    let asked = Approvals::new(&log).request_blocking(&request)?;
    let once = ada.vote_blocking(asked.position, Vote::Approve, None)?;
    assert_eq!((once.state, once.votes.len()), (ApprovalState::Pending, 1));
    assert_eq!(
        code(ada.vote_blocking(asked.position, Vote::Approve, None)),
        "voted_already"
    );
    let twice = bob.vote_blocking(asked.position, Vote::Approve, None)?;
    assert_eq!(twice.state, ApprovalState::Approved);

    for (mode, names) in [
        (ApprovalMode::Quorum, vec![]),
        (ApprovalMode::All, vec!["ada", "human:ada"]),
        (ApprovalMode::All, vec!["ada,bob"]),
        (ApprovalMode::All, vec![""]),
    ] {
        let request = ApprovalRequest::new(&claim, "pay").reviewers(mode, names);
        assert_eq!(
            code(Approvals::new(&log).request_blocking(&request)),
            "bad_reviewers"
        );
    }
    assert_sound(&log)
}

#[test]
fn of_many_deciders_one_decides() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    let claim = pay("inv-1", 12)?;
    let asked = ask(&log, &claim)?;
    let mut voters = Vec::new();
    for n in 0..100 {
        let handle = site.principal(&log, &format!("p{n}"), Authority::Human)?;
        voters.push(Approvals::new(&handle));
    }
    let barrier = Arc::new(Barrier::new(voters.len()));
    let threads: Vec<_> = voters
        .into_iter()
        .enumerate()
        .map(|(n, voter)| {
            let (barrier, at) = (Arc::clone(&barrier), asked.position);
            let vote = [Vote::Approve, Vote::Reject][n % 2];
            std::thread::spawn(move || {
                barrier.wait();
                voter.vote_blocking(at, vote, None)
            })
        })
        .collect();
    let mut decided = Vec::new();
    for thread in threads {
        match thread.join().map_err(|_| "it panicked")? {
            Ok(approval) => decided.push(approval),
            Err(ApprovalError::AlreadyDecided(first)) => {
                assert_ne!(first.state, ApprovalState::Pending);
            }
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!(decided.len(), 1);
    let events = log.read(Read::new(Query::of_type("approval.decided")))?;
    assert_eq!(events.count(), 1);
    assert_sound(&log)
}

#[test]
fn what_nobody_decides_in_time_goes_by_the_request() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let [ada, bob, eve] = people(&site, &log, ["ada", "bob", "eve"])?;
    let approvals = Approvals::new(&log);
    let effects = Effects::new(&log);
    let ask = |key: &str, on_timeout, escalate_to: Option<&str>| -> Outcome<(Claim, Approval)> {
        let claim = pay(key, 12)?;
        let mut request = ApprovalRequest::new(&claim, "pay")
            .reviewers(ApprovalMode::One, ["ada"])
            .timeout(Duration::from_secs(60), on_timeout);
        request.escalate_to = escalate_to.map(str::to_owned);
        let asked = eve.request_blocking(&request)?;
        Ok((claim, asked))
    };
    let (rejected, _) = ask("a", OnTimeout::Reject, None)?;
    let (approved, _) = ask("b", OnTimeout::Approve, None)?;
    let (escalated, escalating) = ask("c", OnTimeout::Escalate, Some("bob"))?;
    let (nobody, _) = ask("d", OnTimeout::Escalate, None)?;
    site.clock.advance(60 * SECOND);
    let expired = ApprovalFilter::new().state(ApprovalState::Pending);
    assert!(
        approvals
            .list(&expired)?
            .iter()
            .all(|approval| approval.is_expired)
    );
    // A claim records what follows.
    assert_eq!(refused(effects.claim_blocking(&rejected)), "rejected");
    held(effects.claim_blocking(&approved))?;
    assert_eq!(refused(effects.claim_blocking(&nobody)), "rejected");
    // So does a vote that comes too late.
    assert_eq!(
        code(ada.vote_blocking(escalating.position, Vote::Approve, None)),
        "approval_expired"
    );
    let now = approvals.get(escalating.position)?;
    assert_eq!(
        (now.state, now.reviewers.as_slice()),
        (ApprovalState::Pending, &["bob".to_owned()][..])
    );
    assert_eq!(
        code(ada.vote_blocking(escalating.position, Vote::Approve, None)),
        "not_reviewer"
    );
    assert_eq!(refused(effects.claim_blocking(&escalated)), "pending");
    bob.vote_blocking(escalating.position, Vote::Approve, None)?;
    held(effects.claim_blocking(&escalated))?;
    // It goes to somebody else once; a sweep records the rest.
    let (late, lapsing) = ask("e", OnTimeout::Escalate, Some("bob"))?;
    site.clock.advance(60 * SECOND);
    assert_eq!(approvals.sweep_blocking()?, 1);
    site.clock.advance(60 * SECOND);
    assert_eq!(approvals.sweep_blocking()?, 1);
    assert_eq!(approvals.sweep_blocking()?, 0);
    assert_eq!(
        approvals.get(lapsing.position)?.state,
        ApprovalState::Rejected
    );
    assert_eq!(refused(effects.claim_blocking(&late)), "rejected");
    assert_sound(&log)
}

/// Whoever it goes to has as long, whatever was done to the wall clock before it was asked.
#[test]
fn an_escalated_request_lasts_as_long_again() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    let [bob] = people(&site, &log, ["bob"])?;
    // Half an hour ahead is adopted at once.
    site.clock
        .set_wall(runstone_tests::clocked::START_US + 1_800 * SECOND);
    let claim = pay("a", 12)?;
    let mut request = ApprovalRequest::new(&claim, "pay")
        .reviewers(ApprovalMode::One, ["ada"])
        .timeout(Duration::from_secs(60), OnTimeout::Escalate);
    request.escalate_to = Some("bob".to_owned());
    let approvals = Approvals::new(&log);
    let asked = approvals.request_blocking(&request)?;
    site.clock.advance(60 * SECOND);
    assert_eq!(approvals.sweep_blocking()?, 1);
    site.clock.advance(59 * SECOND);
    assert!(!approvals.get(asked.position)?.is_expired);
    bob.vote_blocking(asked.position, Vote::Approve, None)?;
    held(Effects::new(&log).claim_blocking(&claim))?;
    assert_sound(&log)
}

#[test]
fn classes_of_calls_need_an_approval_by_the_settings() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let effects = Effects::new(&log);
    held(effects.claim_blocking(&pay("before", 1)?))?;
    let mut settings = Settings::default();
    settings.approvals.approval_from = ApprovalFrom::Write;
    settings.record(&log)?;
    for (class, answer) in [
        (Class::Read, "claimed"),
        (Class::Idempotent, "claimed"),
        (Class::Write, "not_asked"),
        (Class::Irreversible, "not_asked"),
    ] {
        let claim = pay(class.as_str(), 1)?.class(class);
        assert_eq!(refused(effects.claim_blocking(&claim)), answer);
    }
    // A claim can ask for it itself.
    let claim = pay("other", 1)?.class(Class::Read).needs_approval();
    assert_eq!(refused(effects.claim_blocking(&claim)), "not_asked");
    assert_sound(&log)
}

/// Whoever asks does not decide by asking.
#[test]
fn asking_is_not_approving() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let approvals = Approvals::new(&log);
    let claim = pay("inv-1", 12)?;
    let silent =
        ApprovalRequest::new(&claim, "pay").timeout(Duration::from_secs(1), OnTimeout::Approve);
    assert_eq!(
        code(approvals.request_blocking(&silent)),
        "approval_too_lax"
    );
    let mut settings = Settings::default();
    settings.approvals.mode = ApprovalMode::Quorum;
    settings.record(&log)?;
    let single = ApprovalRequest::new(&claim, "pay").reviewers(ApprovalMode::One, ["ada"]);
    assert_eq!(
        code(approvals.request_blocking(&single)),
        "approval_too_lax"
    );
    // One vote by another name: a quorum or all of one, and one who is asked after a second.
    let of = |mode, reviewers: &[&str]| {
        ApprovalRequest::new(&claim, "pay").reviewers(mode, reviewers.iter().copied())
    };
    let second = Duration::from_secs(1);
    let mut goes_on = of(ApprovalMode::All, &["ada", "ben"]).timeout(second, OnTimeout::Escalate);
    goes_on.escalate_to = Some("bob".to_owned());
    for lax in [
        of(ApprovalMode::Quorum, &["bob"]),
        of(ApprovalMode::All, &["bob"]),
        of(ApprovalMode::Sequential, &["bob"]),
        goes_on.clone(),
    ] {
        assert_eq!(code(approvals.request_blocking(&lax)), "approval_too_lax");
    }
    settings.approvals.mode = ApprovalMode::All;
    settings.approvals.on_timeout = OnTimeout::Escalate;
    settings.approvals.escalate_to = "bob".to_owned();
    settings.record(&log)?;
    let fewer = of(ApprovalMode::Quorum, &["ada", "ben"]);
    // Sooner than the settings say, and to somebody else.
    let mut elsewhere = of(ApprovalMode::All, &["ada", "ben"]);
    elsewhere.escalate_to = Some("eve".to_owned());
    for lax in [fewer, goes_on, elsewhere] {
        assert_eq!(code(approvals.request_blocking(&lax)), "approval_too_lax");
    }
    settings.approvals.on_timeout = OnTimeout::Approve;
    settings.record(&log)?;
    let sooner = of(ApprovalMode::All, &["ada", "ben"]).timeout(second, OnTimeout::Approve);
    assert_eq!(
        code(approvals.request_blocking(&sooner)),
        "approval_too_lax"
    );
    let never =
        of(ApprovalMode::Sequential, &["ada", "ben"]).timeout(Duration::ZERO, OnTimeout::Approve);
    approvals.request_blocking(&never)?;
    let [ada] = people(&site, &log, ["ada"])?;
    let mut single = single;
    single.claim = pay("inv-2", 12)?;
    ada.request_blocking(&single)?;
    assert_sound(&log)
}

/// What follows from a request that nobody decided in time follows, though it is asked again.
#[test]
fn asking_again_does_not_undo_what_follows() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let [ada, eve] = people(&site, &log, ["ada", "eve"])?;
    let minute = Duration::from_secs(60);
    let asks = |key: &str, on_timeout| -> Outcome<ApprovalRequest> {
        let mut request = ApprovalRequest::new(&pay(key, 12)?, "pay")
            .reviewers(ApprovalMode::One, ["ada"])
            .timeout(minute, on_timeout);
        request.escalate_to = Some("eve".to_owned());
        Ok(request)
    };
    let consents = asks("inv-1", OnTimeout::Approve)?;
    let goes_on = asks("inv-2", OnTimeout::Escalate)?;
    let rejects = asks("inv-3", OnTimeout::Reject)?;
    let first = [&consents, &goes_on, &rejects].map(|request| ada.request_blocking(request));
    let [consented, went_on, rejected] = first;
    let (consented, went_on, rejected) = (consented?, went_on?, rejected?);
    site.clock.advance(60 * SECOND);

    let again = eve.request_blocking(&consents)?;
    assert_eq!(again.position, consented.position);
    assert_eq!(again.state, ApprovalState::Approved);
    Effects::new(&log).claim_blocking(&consents.claim)?;
    let again = ada.request_blocking(&goes_on)?;
    assert_eq!(again.position, went_on.position);
    assert_eq!(
        (again.state, again.reviewers),
        (ApprovalState::Pending, vec!["eve".to_owned()])
    );
    // Another question is told that this one waits for somebody else now.
    let mut other = goes_on.clone();
    other.claim = pay("inv-2", 13)?;
    assert_eq!(code(ada.request_blocking(&other)), "approval_pending");
    let again = ada.request_blocking(&rejects)?;
    assert_ne!(again.position, rejected.position);
    assert_eq!(again.state, ApprovalState::Pending);
    assert_eq!(ada.get(rejected.position)?.state, ApprovalState::Rejected);
    assert_sound(&log)
}

/// A request that nobody can decide does not block its call for ever.
#[test]
fn a_request_is_taken_back() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let approvals = Approvals::new(&log);
    let claim = pay("inv-1", 12)?;
    let absent = ApprovalRequest::new(&claim, "pay")
        .reviewers(ApprovalMode::One, ["nobody"])
        .timeout(Duration::ZERO, OnTimeout::Reject);
    let asked = approvals.request_blocking(&absent)?;
    let bot = site.principal(&log, "bot", Authority::Agent)?;
    let not_its = Approvals::new(&bot).withdraw_blocking(asked.position, None);
    assert_eq!(code(not_its), "not_your_request");
    let taken = approvals.withdraw_blocking(asked.position, Some("wrong reviewer"))?;
    assert_eq!(taken.state, ApprovalState::Rejected);
    assert_eq!(
        code(approvals.withdraw_blocking(asked.position, None)),
        "already_decided"
    );
    let again = approvals.request_blocking(&ApprovalRequest::new(&claim, "pay"))?;
    let [ada] = people(&site, &log, ["ada"])?;
    ada.withdraw_blocking(again.position, None)?;
    assert_eq!(
        refused(Effects::new(&log).claim_blocking(&claim)),
        "rejected"
    );
    assert_sound(&log)
}

/// What a vote answers is how the request stands after it: what is read later says the same.
#[test]
fn the_answer_of_a_vote_is_what_it_came_to() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let [ada, ben, eve] = people(&site, &log, ["ada", "ben", "eve"])?;
    let approvals = Approvals::new(&log);
    let stands = |told: &Approval| -> Outcome {
        assert_eq!(*told, approvals.get(told.position)?);
        Ok(())
    };
    let asked = |key: &str, on_timeout: OnTimeout| -> Outcome<Approval> {
        let request = ApprovalRequest::new(&pay(key, 12)?, "pay");
        let request = request.reviewers(ApprovalMode::All, ["ada", "ben"]);
        let mut request = request.timeout(Duration::from_secs(60), on_timeout);
        request.escalate_to = Some("eve".to_owned());
        Ok(eve.request_blocking(&request)?)
    };
    let request = asked("a", OnTimeout::Reject)?;
    stands(&request)?;
    let first = ada.vote_blocking(request.position, Vote::Approve, None)?;
    assert_eq!(
        (first.state, first.votes.len()),
        (ApprovalState::Pending, 1)
    );
    stands(&first)?;
    let last = ben.vote_blocking(request.position, Vote::Approve, Some("go"))?;
    assert_eq!(
        (last.state, last.decided_by.as_str()),
        (ApprovalState::Approved, "human:ben")
    );
    stands(&last)?;
    let taken = asked("b", OnTimeout::Reject)?;
    let taken = eve.withdraw_blocking(taken.position, None)?;
    assert_eq!(taken.state, ApprovalState::Rejected);
    stands(&taken)?;
    let late = asked("c", OnTimeout::Escalate)?;
    stands(&approvals.expire_blocking(late.position)?)?;
    site.clock.advance(61 * SECOND);
    let Err(ApprovalError::Expired(told)) = ada.vote_blocking(late.position, Vote::Approve, None)
    else {
        return Err("it is too late".into());
    };
    assert_eq!(
        (told.state, told.reviewers.as_slice()),
        (ApprovalState::Pending, &["eve".to_owned()][..])
    );
    stands(&told)?;
    site.clock.advance(61 * SECOND);
    let ended = approvals.expire_blocking(late.position)?;
    assert_eq!(ended.state, ApprovalState::Rejected);
    stands(&ended)?;
    assert_sound(&log)
}
