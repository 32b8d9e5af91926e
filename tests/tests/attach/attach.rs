//! A held log, open to other processes: the same answers, the same guarantees, and nothing that a
//! client does harms who holds it.

mod errors;
mod http;
mod strangers;

use runstone::attach::{Limits, Server, connect};
use runstone::sinks::Runner;
use runstone::store::keys::{Credential, verify_proof};
use runstone::{
    Amounts, Append, AppendError, Authority, Budgets, Effects, Expected, Hold, Item, Log, NewEvent,
    OpenError, Query, Read, ReadError, Runstone, TaskState, Tasks, approvals, effects, tasks,
    trays,
};
use runstone_tests::command::Runstone as Command;
use runstone_tests::contract::subscriptions::follow_through_erasures;
use runstone_tests::held::{Dialogue, Process, Site};
use runstone_tests::tamper::Outcome;
use serde_json::json;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

fn read_all(log: &Log) -> Outcome<Vec<String>> {
    let records = log.read(Read::new(Query::everything()))?;
    let shown = records
        .map(|record| record.map(|record| format!("{record:?}{:?}", record.payload.bytes())));
    Ok(shown.collect::<Result<_, _>>()?)
}

#[test]
fn an_attached_handle_answers_as_the_one_that_holds_the_file() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    // White space around a payload is a part of it, and so is `null`.
    for payload in [r#"{"a":1}"#, " \n[1, 2]\t", "null", r#""\u00e4 <>""#] {
        here.append_blocking(
            NewEvent::new("chat.message", "s")
                .tag("k:v")
                .payload(payload),
        )?;
    }
    for number in 0..1_500 {
        here.append_blocking(NewEvent::new("data.row", "rows").json(&number)?)?;
    }
    let there = Runstone::options().open(&site.log)?;
    assert!(there.is_attached() && !here.is_attached());

    assert_eq!(read_all(&here)?, read_all(&there)?);
    for read in [
        Read::new(Query::stream("rows")).reverse().limit(700),
        Read::new(Query::stream("rows")).from(700_u64).to(1_400_u64),
        Read::new(Item::new().of_type("chat.*").tag("k:v").into()).without_payloads(),
        Read::new(Query::everything()).limit(0),
    ] {
        let found = |log: &Log| -> Outcome<Vec<u64>> {
            let records = log.read(read.clone())?;
            Ok(records
                .map(|record| record.map(|record| record.position.get()))
                .collect::<Result<_, _>>()?)
        };
        assert_eq!(found(&here)?, found(&there)?, "{read:?}");
    }
    let record = here.record_by_revision("s", 1)?;
    assert_eq!(
        there.record_by_id(record.header.event_id)?.payload,
        record.payload
    );
    assert_eq!(there.count(&Query::stream("rows"))?, 1_500);
    assert_eq!(there.root(), here.root());
    assert_eq!(there.size(), here.size());
    assert_eq!(
        there.opening(),
        runstone::store::Opening::clone(&there.opening())
    );
    assert_eq!(there.opening().id, here.opening().id);
    assert_eq!(there.vkeys()?, here.vkeys()?);
    assert_eq!(there.checkpoint()?.text(), here.checkpoint()?.text());
    assert_eq!(there.fold_status()?, here.fold_status()?);
    assert!(
        there
            .verify(runstone::VerifyLevel::Commitments, &|_, _| {})
            .valid
    );
    assert!(
        there
            .check_folds(None, &|_, _| {})?
            .iter()
            .all(runstone::FoldCheck::is_equal)
    );

    // A proof under one checkpoint, made of nodes that are asked for.
    let mut prover = there.prover()?;
    let mut own = here.prover()?;
    for position in [0, 1, 777, 1_504] {
        let position = runstone::Position::new(position);
        assert_eq!(
            prover.receipt(position)?.encode(),
            own.receipt(position)?.encode()
        );
        assert_eq!(
            there.receipt(position)?.encode(),
            own.receipt(position)?.encode()
        );
    }
    let backup = site.path("copy.redb");
    there.backup(&backup, &|_, _| {})?;
    assert!(backup.exists());
    Ok(())
}

#[test]
fn what_is_appended_from_afar_keeps_its_guarantees() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let there = Runstone::open(&site.log)?;
    let id = runstone::Uuid::from_u128(7);
    let event = NewEvent::new("chat.message", "s")
        .id(id)
        .payload(" {\"a\" : 1} ");
    let first =
        there.append_blocking(Append::new([event.clone()]).expect("s", Expected::NoStream))?;
    let again = there.append_blocking(event)?;
    assert!(again.duplicate && again.first == first.first);
    assert_eq!(
        here.record(first.first)?.payload.bytes(),
        Some(&b" {\"a\" : 1} "[..])
    );

    // Refusals are told by their codes, and those that programs act on as what they are.
    let stale = Append::new([NewEvent::new("chat.message", "s")]).expect("s", Expected::Exact(9));
    let refused = there.append_blocking(stale).unwrap_err();
    assert!(
        matches!(refused, AppendError::Conflict { .. }),
        "{refused:?}"
    );
    for payload in ["null", "\"null\"", "{}"] {
        let event = NewEvent::new("chat.message", "s").payload(payload);
        let at = there.append_blocking(event)?.first;
        assert_eq!(here.record(at)?.payload.bytes(), Some(payload.as_bytes()));
    }
    let taken = Append::new([NewEvent::new("chat.message", "t")])
        .condition(runstone::Condition::none(Query::stream("s")));
    let refused = there.append_blocking(taken).unwrap_err();
    assert!(
        matches!(refused, AppendError::ConditionFailed { .. }),
        "{refused:?}"
    );
    let owned = there
        .append_blocking(NewEvent::new("run.started", "s"))
        .unwrap_err();
    assert_eq!(
        (owned.code(), owned.to_string()),
        (
            "owned_namespace",
            here.append_blocking(NewEvent::new("run.started", "s"))
                .unwrap_err()
                .to_string()
        )
    );
    let many = there.append_many_blocking(vec![
        NewEvent::new("chat.message", "s").into(),
        NewEvent::new("bad type", "s").into(),
        NewEvent::new("chat.message", "s").into(),
    ]);
    assert_eq!(
        many.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, true]
    );
    Ok(())
}

#[test]
fn commands_are_decided_where_the_file_is() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let there = Runstone::open(&site.log)?;

    let claim = effects::Claim::tool("s", "pay")
        .request("k")
        .args(&json!({"a": 1}))?
        .holder("far");
    let effects::Claimed::Held(held) = there.effects().claim_blocking(&claim)? else {
        panic!("it is claimed");
    };
    // Nobody sees from here when that process ends, so the claim has a lease.
    assert!(held.lease_expires_at_us.is_some());
    let refused = here.effects().claim_blocking(&claim).unwrap_err();
    assert_eq!(refused.code(), "in_flight");
    let refused = there.effects().claim_blocking(&claim).unwrap_err();
    assert!(
        matches!(&refused, runstone::EffectError::InFlight(effect) if effect.holder == "far"),
        "{refused:?}"
    );
    let done = effects::Change::Complete {
        result: Some(br#"{"n": 1}"#.to_vec()),
        rejected: None,
    };
    there.effects().change_blocking(&held.target(), &done)?;
    for log in [&here, &there] {
        let effects::Claimed::Completed(outcome) = log.effects().claim_blocking(&claim)? else {
            panic!("it is completed");
        };
        assert_eq!(outcome.result.as_deref(), Some(&br#"{"n": 1}"#[..]));
    }

    let far = Tasks::new(&there);
    far.create_blocking(&tasks::NewTask::new("t").title("a"))?;
    let held = far.claim_blocking("t", "far", Hold::Opening)?;
    assert!(held.lease_expires_at_us.is_some());
    let late = Tasks::new(&here).move_to_blocking(&tasks::Move::new("t", TaskState::Done));
    assert_eq!(
        late.unwrap_err().code(),
        far.move_to_blocking(&tasks::Move::new("t", TaskState::Done))
            .unwrap_err()
            .code()
    );
    far.complete_blocking("t", held.fence, "done")?;
    let never = far.claim_blocking("t", "far", Hold::Default).unwrap_err();
    assert!(
        matches!(never, runstone::TaskError::NotClaimable { .. }),
        "{never:?}"
    );

    let queue = trays::Trays::new(&there);
    queue.open_blocking("in")?;
    queue.add_blocking("in", &tasks::NewTask::new("x").into())?;
    let trays::Claim::Claimed(got) = queue.claim_blocking("in", "far", Hold::Default)? else {
        panic!("there is one");
    };
    queue.complete_blocking(&got.task, got.fence, "done")?;
    let missing = queue.close_blocking("other").unwrap_err();
    assert_eq!(missing.code(), "tray_not_found");

    let purse = Budgets::new(&there);
    purse.open_blocking(
        &runstone::budgets::Open::new("team")
            .limits(runstone::BudgetLimits::new().of(runstone::Dimension::Tokens, 10)),
    )?;
    purse.charge_blocking("team", &Amounts::new().of(runstone::Dimension::Tokens, 8))?;
    let over = purse
        .spend_blocking("team", &Amounts::new().of(runstone::Dimension::Tokens, 3))
        .unwrap_err();
    let over = over.exceeded().ok_or("it says of what")?;
    assert_eq!((over.spent, over.limit), (8, 10));
    assert!(
        here.check_folds(None, &|_, _| {})?
            .iter()
            .all(runstone::FoldCheck::is_equal)
    );
    let _: &Effects = here.effects();
    Ok(())
}

#[test]
fn somebody_is_who_he_proves_to_be_on_his_connection() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let entropy = runstone::codec::OsEntropy;
    let ann = Credential::create(&site.path("ann.cred"), "ann", Authority::Human, &entropy)?;
    here.enrol("ann", Authority::Human, &ann.public_key())?;
    let mallory = Credential::create(&site.path("m.cred"), "ann", Authority::Human, &entropy)?;

    let there = Runstone::open(&site.log)?;
    let claim = effects::Claim::tool("s", "pay").request("k");
    let asked = approvals::Approvals::new(&there)
        .request_blocking(&approvals::ApprovalRequest::new(&claim, "pay"))?;
    let vote = |log: &Log| {
        approvals::Approvals::new(log).vote_blocking(asked.position, approvals::Vote::Approve, None)
    };
    assert_eq!(vote(&there).unwrap_err().code(), "not_allowed");
    // The right name, and a key of his own.
    let refused = there.with_credential(&mallory).unwrap_err();
    assert_eq!(refused.code(), "bad_proof");
    let human = there.with_credential(&ann)?;
    assert_eq!(human.principal(), ("human:ann", Authority::Human));
    assert_eq!(there.principal().1, Authority::System);
    vote(&human)?;

    // A proof is good for the challenge of its connection, once.
    let mut first = Dialogue::new(&site.socket())?;
    let mut second = Dialogue::new(&site.socket())?;
    let challenge = |dialogue: &mut Dialogue| -> Outcome<Vec<u8>> {
        let (_, made) = dialogue.ask("principal/challenge", "")?;
        Ok(decode(made["challenge"].as_str().ok_or("no challenge")?))
    };
    let proof = |challenge: &[u8]| {
        json!({ "id": "ann", "signature": encode(&ann.prove(challenge)) }).to_string()
    };
    assert_eq!(
        first.ask("principal/prove", &proof(&[0; 48]))?.1["code"],
        "no_challenge"
    );
    let (one, two) = (challenge(&mut first)?, challenge(&mut second)?);
    assert_ne!(one, two);
    assert_eq!(second.ask("principal/prove", &proof(&one))?.0, 403);
    // It was taken by that.
    assert_eq!(
        second.ask("principal/prove", &proof(&two))?.1["code"],
        "no_challenge"
    );
    let (status, proven) = first.ask("principal/prove", &proof(&one))?;
    assert_eq!((status, &proven["principal"]), (200, &json!("human:ann")));
    assert_eq!(
        first.ask("principal/prove", &proof(&one))?.1["code"],
        "no_challenge"
    );
    assert_eq!(first.ask("facts", "{}")?.1["principal"], "human:ann");
    assert_eq!(second.ask("facts", "{}")?.1["principal"], "system:keyring");
    verify_proof(&ann.public_key(), &one, &ann.prove(&one))?;

    // Whoever serves a log as a person lends nobody his name.
    here.close_blocking()?;
    drop((here, there, human, first, second));
    let own = runstone::Options::default()
        .without_serving()
        .open(&site.log)?;
    let as_ann = Log::clone(&own).with_credential(&ann)?;
    let _served = Runstone::serve(as_ann, &site.log, Limits::default())?;
    assert_eq!(
        connect(&site.socket())?.principal(),
        ("system:keyring", Authority::System)
    );
    Ok(())
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

#[test]
fn the_socket_is_its_owners_and_a_stale_one_is_replaced() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    assert_eq!(
        fs::metadata(site.socket())?.permissions().mode() & 0o777,
        0o600
    );
    here.close_blocking()?;
    assert!(!site.socket().exists());
    assert!(connect(&site.socket()).is_err());
    drop(here);

    // Nor does it stay when the log alone is closed, by another of its handles.
    let here = Runstone::open(&site.log)?;
    assert!(here.runner().is_some_and(Runner::is_running));
    here.log().as_keyring().close_blocking()?;
    assert!(!site.socket().exists());
    assert!(here.runner().is_some_and(|runner| !runner.is_running()));
    drop(here);

    // Somebody was killed and left his.
    drop(UnixListener::bind(site.socket())?);
    let here = Runstone::open(&site.log)?;
    assert!(here.server().is_some() && Runstone::open(&site.log)?.is_attached());
    drop(here);

    // What is no socket is nobody's to remove; the log is used all the same.
    fs::write(site.socket(), "mine")?;
    let here = Runstone::open(&site.log)?;
    assert!(here.server().is_none());
    assert_eq!(fs::read_to_string(site.socket())?, "mine");
    let busy = Runstone::open(&site.log).unwrap_err();
    assert!(matches!(busy, OpenError::Busy { .. }), "{busy}");
    drop(here);

    fs::remove_file(site.socket())?;
    let alone = Runstone::options().without_serving().open(&site.log)?;
    assert!(!site.socket().exists());
    drop(alone);
    let _here = Runstone::open(&site.log)?;
    let busy = Runstone::options()
        .without_attaching()
        .open(&site.log)
        .unwrap_err();
    assert!(matches!(busy, OpenError::Busy { .. }), "{busy}");
    Ok(())
}

#[test]
fn a_path_too_long_for_an_address_is_reached_all_the_same() -> Outcome {
    let folder = tempfile::tempdir()?;
    let deep = folder.path().join("d".repeat(120));
    fs::create_dir(&deep)?;
    let log = deep.join("log.redb");
    let here = Runstone::create(&log)?;
    assert!(here.server().is_some());
    assert!(Runstone::open(&log)?.is_attached());
    Ok(())
}

#[test]
fn following_from_afar_goes_on_through_erasures() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let there = Runstone::options().open(&site.log)?;
    assert!(there.is_attached());
    follow_through_erasures(&here, &there);
    Ok(())
}

#[test]
fn following_from_afar_is_whole_and_in_order() -> Outcome {
    let site = Site::new()?;
    let here = Arc::new(Runstone::create(&site.log)?);
    let there = Runstone::open(&site.log)?;
    let mut followed = there.subscribe(Read::new(Query::of_type("chat.message")))?;
    let writer = {
        let here = Arc::clone(&here);
        std::thread::spawn(move || {
            for number in 0..1_200 {
                let event = NewEvent::new("chat.message", "s").json(&number).unwrap();
                here.append_blocking(event).unwrap();
                here.append_blocking(NewEvent::new("data.row", "t"))
                    .unwrap();
            }
        })
    };
    for number in 0..1_200 {
        let record = followed.next_blocking().ok_or("it goes on")??;
        assert_eq!(record.payload.bytes(), Some(number.to_string().as_bytes()));
    }
    writer.join().map_err(|_| "the writer panicked")?;
    // Whoever follows is told when the log is closed: by the end, or since nobody answers any more.
    let waiting = std::thread::spawn(move || match followed.next_blocking() {
        None => true,
        Some(item) => item.is_err_and(|error| error.is_retryable()),
    });
    here.close_blocking()?;
    let ended = waiting.join().map_err(|_| "the follower panicked")?;
    assert!(ended);
    Ok(())
}

#[test]
fn whoever_holds_the_log_may_die_and_the_next_command_opens_the_file() -> Outcome {
    let site = Site::new()?;
    let runstone = Command::on(&site.log);
    runstone.value(["init"]);
    let holder = site.holder()?;
    let there = Runstone::open(&site.log)?;
    let acknowledged = there.append_blocking(NewEvent::new("chat.message", "s"))?;
    let line = runstone.value(["attach"]);
    assert_eq!(line["attached"].as_array().map(Vec::len), Some(1));
    holder.kill()?;

    // Nobody knows what became of a request that may have been on its way; one that was not sent
    // is said to be that.
    let lost = there
        .append_blocking(NewEvent::new("chat.message", "s"))
        .unwrap_err();
    assert!(
        ["holder_lost", "outcome_unknown"].contains(&lost.code()),
        "{lost}"
    );
    assert!(lost.is_retryable());
    let unread = there.read(Read::new(Query::everything())).unwrap_err();
    assert_eq!(unread.code(), "holder_lost");
    let gone = there
        .subscribe(Read::new(Query::everything()))?
        .next_blocking();
    assert_eq!(gone.ok_or("an error")?.unwrap_err().code(), "holder_lost");

    let shown = runstone.value(["show", &acknowledged.first.to_string()]);
    assert_eq!(shown["stream"], "s");
    // Another one takes its place, and what was left over does not stop it; the handle finds it.
    let _next = site.holder()?;
    there.append_blocking(NewEvent::new("chat.message", "s"))?;
    assert_eq!(runstone.value(["stats"])["events"], 3);
    Ok(())
}

#[test]
fn many_processes_claim_from_one_that_is_replaced() -> Outcome {
    let _alone = crate::alone();
    const CALLS: usize = 60;
    const WORKERS: usize = 4;
    let site = Site::new()?;
    let runstone = Command::on(&site.log);
    runstone.value(["init"]);
    let mut holder = Some(site.holder()?);
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let log = site.log.clone();
            std::thread::spawn(move || work(&log, worker, CALLS))
        })
        .collect();
    // It is killed while they work, and another one takes its place; or they open the file.
    for _ in 0..2 {
        let claimed = || runstone.values(["effect", "list"]).len();
        let before = claimed();
        while claimed() < (before + CALLS / 4).min(CALLS) {
            std::thread::yield_now();
        }
        if let Some(holder) = holder.take() {
            holder.kill()?;
        }
        holder = site.holder().ok();
    }
    let mut won = Vec::new();
    for worker in workers {
        won.extend(worker.join().map_err(|_| "a worker panicked")?);
    }
    won.sort_unstable();
    let once: Vec<usize> = (0..CALLS).collect();
    assert_eq!(won, once, "each call is claimed by one of them");
    drop(holder);
    runstone.check();
    Ok(())
}

/// Claims every call through the command, from its own place on; answers those that it got.
fn work(log: &Path, worker: usize, calls: usize) -> Vec<usize> {
    let runstone = Command::on(log);
    let holder = format!("worker-{worker}");
    let mut won = Vec::new();
    for turn in 0..calls {
        let call = (turn + worker * 7) % calls;
        let key = format!("call-{call}");
        let words = [
            "effect", "claim", "--name", "pay", "--key", &key, "--holder", &holder,
        ];
        loop {
            let (exit, lines, _) = runstone.ended(&words);
            // A claim whose answer was lost stands, with this holder.
            let is_own = lines.first().is_some_and(|line| {
                line["state"] == "in-flight" && line["holder"] == json!(holder)
            });
            match exit {
                0 => {
                    won.push(call);
                    break;
                }
                1 if is_own && !won.contains(&call) => {
                    won.push(call);
                    break;
                }
                1 => break,
                6 | 7 => {}
                other => panic!("exit {other}: {lines:?}"),
            }
        }
    }
    won
}

#[test]
fn a_handle_that_is_closed_has_its_answers_and_lets_go() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let there = Runstone::open(&site.log)?;
    let mut followed = there.subscribe(Read::new(Query::of_type("chat.none")))?;
    let following = std::thread::spawn(move || followed.next_blocking().is_none());
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let there = Log::clone(&there);
            std::thread::spawn(move || {
                let mut recorded = 0_u64;
                loop {
                    match there.append_blocking(NewEvent::new("chat.message", "s")) {
                        Ok(_) => recorded += 1,
                        // It was not sent any more, or was told so.
                        Err(error) => return (recorded, error.code()),
                    }
                }
            })
        })
        .collect();
    while here.size() < 200 {
        std::thread::yield_now();
    }
    there.close_blocking()?;
    let mut recorded = 1;
    for writer in writers {
        let (own, code) = writer.join().map_err(|_| "a writer panicked")?;
        assert!(["closed", "holder_lost"].contains(&code), "{code}");
        recorded += own;
    }
    assert_eq!(here.size(), recorded, "everything recorded was answered");
    assert!(following.join().map_err(|_| "the follower panicked")?);
    let late = there.append_blocking(NewEvent::new("chat.message", "s"));
    assert!(matches!(late, Err(AppendError::Closed)), "{late:?}");
    assert_eq!(
        there.count(&Query::everything()).unwrap_err().code(),
        "closed"
    );
    there.close_blocking()?;
    let server = here.server().ok_or("it is served")?;
    while !server.attached().is_empty() {
        std::thread::yield_now();
    }
    Ok(())
}

/// I65.
#[test]
fn connections_that_make_way_leave_nobody_in_doubt() -> Outcome {
    let site = Site::new()?;
    let mut limits = Limits::default();
    limits.connections = 2;
    let here = Runstone::options().serve(limits).create(&site.log)?;
    let handles: Result<Vec<_>, _> = (0..4).map(|_| Runstone::open(&site.log)).collect();
    let writers: Vec<_> = handles?
        .into_iter()
        .map(|there| {
            std::thread::spawn(move || {
                let mut recorded = 0_u64;
                while recorded < 300 {
                    match there.append_blocking(NewEvent::new("chat.message", "s")) {
                        Ok(_) => recorded += 1,
                        // All were busy, and it was turned away.
                        Err(error) => assert_eq!(error.code(), "holder_lost", "{error}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().map_err(|_| "a writer was left in doubt")?;
    }
    assert_eq!(here.size(), 1 + 4 * 300);
    Ok(())
}

/// However many tasks there are, and each its own content and those that come before it.
#[test]
fn lists_from_afar_are_few_requests() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let there = Runstone::open(&site.log)?;
    here.trays().open_blocking("in")?;
    for number in 0..1_100_u32 {
        let task = tasks::NewTask::new(format!("task-{number}")).title("do it");
        let mut task = trays::NewTrayTask::new(task);
        if let Some(before) = number.checked_sub(7) {
            task = task.depends_on(format!("task-{before}"));
        }
        here.trays().add_blocking("in", &task)?;
    }
    let requests = || -> u64 {
        let attached = here.server().map(Server::attached);
        attached.iter().flatten().map(|one| one.requests).sum()
    };
    let before = requests();
    let found = there.trays().list("in")?;
    assert_eq!(found, here.trays().list("in")?);
    assert_eq!(found.len(), 1_100);
    let told = |log: &Runstone| -> Outcome<Vec<_>> {
        let contents = log.trays().contents(&found)?;
        let contents = contents.into_iter().map(|content| Ok(content?));
        contents.collect()
    };
    let contents = told(&there)?;
    assert_eq!(contents, told(&here)?);
    let last = contents.last().cloned().flatten();
    assert_eq!(last.map(|said| said.id).as_deref(), Some("task-1099"));
    assert!(requests() - before < 30, "{}", requests() - before);

    // What is not there is so in its place.
    let places = [3, 99_999, 5].map(runstone::Position::new);
    let records = there.records(&places)?;
    let codes: Vec<_> = records
        .iter()
        .map(|record| record.as_ref().map_or_else(ReadError::code, |_| "there"))
        .collect();
    assert_eq!(codes, ["there", "not_found", "there"]);
    assert!(there.records(&[])?.is_empty());
    let rows = there.fold_rows("trays", b"", b"", 2)?;
    let keys = [
        rows[1].0.clone(),
        b"no such row".to_vec(),
        rows[0].0.clone(),
    ];
    let [second, nothing, first] = keys.each_ref().map(|key| here.fold_row("trays", key));
    assert_eq!(
        there.fold_rows_at("trays", &keys)?,
        [second?, nothing?, first?]
    );
    let none = there
        .fold_rows_at("no_fold", &keys)
        .map_err(|error| error.code());
    assert_eq!(
        none.err(),
        here.fold_row("no_fold", b"")
            .map_err(|error| error.code())
            .err()
    );
    Ok(())
}

#[test]
fn commands_that_wait_do_so_on_one_connection_and_see_their_reader_go() -> Outcome {
    let _alone = crate::alone();
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let server = here.server().ok_or("it is served")?;
    let runstone = Command::on(&site.log);

    runstone.value(["agent", "register", "bot"]);
    let mut waiting = Process(runstone.command(["message", "wait", "bot"]).spawn()?);
    while !server.attached().iter().any(|one| one.requests >= 6) {
        assert!(waiting.0.try_wait()?.is_none(), "it waits");
        std::thread::yield_now();
    }
    runstone.value(["message", "send", "bot", "--text", "hello"]);
    assert!(waiting.0.wait()?.success());

    let mut following = Process(runstone.command(["log", "--follow", "--all"]).spawn()?);
    let mut first = String::new();
    let mut output = BufReader::new(following.0.stdout.take().ok_or("no stdout")?);
    output.read_line(&mut first)?;
    assert!(first.contains("log.genesis"), "{first}");
    // Nothing more is recorded, and it ends all the same.
    drop(output);
    assert!(following.0.wait()?.success());
    Ok(())
}

#[tokio::test(flavor = "current_thread")]
async fn a_program_with_a_runtime_attaches_too() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let there = Runstone::open(&site.log)?;
    let recorded = there.append(NewEvent::new("chat.message", "s")).await?;
    assert_eq!(here.size(), recorded.first.get() + 1);
    let claim = effects::Claim::tool("s", "pay").request("k");
    let claimed = there.effects().claim(&claim).await?;
    assert!(matches!(claimed, effects::Claimed::Held(_)));
    Ok(())
}
