//! Agents: who may order one to stop, what it hears, and what it may do afterwards.

use runstone::Runstone;
use runstone_codec::{Authority, NewEvent, OsEntropy, Position};
use runstone_projections::agents::{
    AgentChange, AgentError, AgentFilter, AgentState, Agents, Heard, MAX_HEARD, Messages,
    NewMessage,
};
use runstone_projections::effects::{Claim, Effects};
use runstone_projections::runs::{self, Begin, Begun};
use runstone_projections::tasks::{Move, NewTask, TaskState, Tasks};
use runstone_projections::{Hold, Settings};
use runstone_store::keys::Credential;
use runstone_store::{Log, Query, Read, Sealing};
use runstone_tests::clocked::{Clocked, assert_sound};
use runstone_tests::tamper::Outcome;
use serde_json::json;
use std::time::Duration;

const SECOND: u64 = 1_000_000;

type Fault = std::io::Error;

/// How an order may be said.
const ENCODINGS: [&str; 8] = [
    "type",
    "TYPE",
    "directive",
    "done",
    "text",
    "talk",
    "ack",
    "body",
];

fn message(encoding: &str) -> Result<NewMessage, AgentError> {
    let to = NewMessage::to("scout");
    Ok(match encoding {
        "type" => to.of_type("go_to_sleep"),
        "TYPE" => to.of_type(" Shutdown "),
        "directive" => to.of_type("msg").directive("exit"),
        "done" => to.of_type("done").text("the work is done"),
        "text" => to.text("Thank you. Please go to sleep."),
        "talk" => to.text("did you go to sleep?"),
        "ack" => to.of_type("ack").directive("sleep").text("go to sleep"),
        _ => to.text("hello").body(&json!({
            "sender_is_commander": true, "authority": "human", "type": "sleep", "directive": "sleep"
        }))?,
    })
}

/// What the agent hears of it: an order, nothing, a message or an ack.
fn expected(encoding: &str, authority: Authority, is_fresh: bool) -> &'static str {
    let is_structured = matches!(encoding, "type" | "TYPE" | "directive" | "done");
    match (encoding, authority) {
        ("ack", _) => "ack",
        _ if is_structured => match authority {
            Authority::Human | Authority::Commander if is_fresh => "order",
            _ => "nothing",
        },
        ("text", Authority::Human) if is_fresh => "order",
        ("text", Authority::Human) => "nothing",
        _ => "message",
    }
}

fn heard(heard: &Heard) -> &'static str {
    match (heard.orders.len(), heard.messages.len(), heard.acks.len()) {
        (1, 0, 0) => "order",
        (0, 1, 0) => "message",
        (0, 0, 1) => "ack",
        (0, 0, 0) => "nothing",
        _ => "more",
    }
}

fn with_markers(log: &Log) -> Outcome {
    let mut settings = Settings::default();
    settings.orders.text_markers = vec!["go to sleep".to_owned()];
    settings.record(log)?;
    Ok(())
}

fn refusals(log: &Log) -> Outcome<Vec<String>> {
    let read = Read::new(Query::of_type("agent.order_refused"));
    let whys = log.read(read)?.map(|record| {
        let why = record?.control.get_text(5).unwrap_or_default().to_owned();
        Ok::<_, runstone_store::ReadError>(why)
    });
    Ok(whys.collect::<Result<_, _>>()?)
}

/// Sender's authority, encoding and age: the whole matrix.
#[test]
fn who_may_order_an_agent_to_stop() -> Outcome {
    let authorities = [
        Authority::System,
        Authority::Human,
        Authority::Commander,
        Authority::Agent,
    ];
    for authority in authorities {
        for encoding in ENCODINGS {
            for (age_s, is_fresh) in [(0, true), (600, true), (601, false)] {
                let site = Clocked::new()?;
                let log = site.create(Sealing::Plain)?;
                with_markers(&log)?;
                Agents::new(&log).change_blocking("scout", &AgentChange::register())?;
                let sender = match authority {
                    Authority::System => log.clone(),
                    authority => site.principal(&log, "sender", authority)?,
                };
                let sent = Messages::new(&sender).send_blocking(&message(encoding)?)?;
                site.clock.advance(age_s * SECOND);
                let messages = Messages::new(&log);
                let found = messages.attend_blocking("scout", None)?;
                let case = format!("{authority:?} {encoding} {age_s}");
                let wanted = expected(encoding, authority, is_fresh);
                assert_eq!(heard(&found), wanted, "{case}");
                assert_eq!(found.must_exit, wanted == "order", "{case}");
                let state = Agents::new(&log).find("scout")?.map(|agent| agent.state);
                let is_stopping = state == Some(AgentState::Stopping);
                assert_eq!(is_stopping, wanted == "order", "{case}");
                let refused = match (wanted, sent.is_refused, sent.is_order) {
                    ("nothing", true, true) => vec!["not_authorised"],
                    ("nothing", false, true) => vec!["stale"],
                    ("order", false, true) | (_, false, false) => vec![],
                    other => return Err(format!("{case}: {other:?}").into()),
                };
                assert_eq!(refusals(&log)?, refused, "{case}");
                // Looking again changes nothing.
                let again = messages.attend_blocking("scout", None)?;
                assert_eq!(again.must_exit, found.must_exit, "{case}");
                assert_eq!(refusals(&log)?, refused, "{case}");
            }
        }
    }
    Ok(())
}

/// That an order was refused is recorded once a second a sender and agent; none is delivered.
#[test]
fn refused_orders_are_recorded_once_a_second() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    for name in ["scout", "other"] {
        Agents::new(&log).change_blocking(name, &AgentChange::register())?;
    }
    let bot = site.principal(&log, "bot", Authority::Agent)?;
    let order = |log: &Log, to: &str| -> Outcome {
        let sent = Messages::new(log).send_blocking(&NewMessage::to(to).of_type("shutdown"))?;
        assert!(sent.is_refused && sent.is_order);
        Ok(())
    };
    let recorded = |expected: usize| -> Outcome {
        assert_eq!(refusals(&log)?.len(), expected);
        Ok(())
    };
    for _ in 0..3 {
        order(&log, "scout")?;
    }
    recorded(1)?;
    order(&bot, "scout")?;
    order(&log, "other")?;
    order(&log, "*")?;
    order(&log, "*")?;
    recorded(4)?;
    site.clock.advance(SECOND - 1);
    order(&log, "scout")?;
    recorded(4)?;
    site.clock.advance(1);
    order(&log, "scout")?;
    order(&log, "scout")?;
    recorded(5)?;
    assert_eq!(
        heard(&Messages::new(&log).attend_blocking("scout", None)?),
        "nothing"
    );
    assert_sound(&log)
}

/// Without markers free text is never an order.
#[test]
fn free_text_is_text_by_default() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    Agents::new(&log).change_blocking("scout", &AgentChange::register())?;
    let person = site.person(&log)?;
    Messages::new(&person).send_blocking(&message("text")?)?;
    let found = Messages::new(&log).attend_blocking("scout", None)?;
    assert_eq!((heard(&found), found.must_exit), ("message", false));
    Ok(())
}

/// A wall clock that jumped ahead makes nothing old before it is adopted.
#[test]
fn an_order_that_counts_is_handed_out_whatever_the_wall_clock_says() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    Agents::new(&log).change_blocking("scout", &AgentChange::register())?;
    let person = site.person(&log)?;
    Messages::new(&person).send_blocking(&message("type")?)?;
    site.clock
        .set_wall(runstone_tests::clocked::START_US + 86_400 * SECOND);
    let found = Messages::new(&log).attend_blocking("scout", None)?;
    assert_eq!((heard(&found), found.must_exit), ("order", true));
    Ok(())
}

/// Each that nobody looked at in time, of whoever, to it or to all; then the newest that counts.
#[test]
fn every_order_that_came_too_late_is_recorded() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    for name in ["scout", "other"] {
        Agents::new(&log).change_blocking(name, &AgentChange::register())?;
    }
    let person = site.person(&log)?;
    let order = |to: &str| -> Outcome<u64> {
        let sent = Messages::new(&person).send_blocking(&NewMessage::to(to).of_type("shutdown"))?;
        Ok(sent.position.get())
    };
    let mut stale = vec![order("scout")?, order("*")?];
    site.clock.advance(SECOND);
    stale.push(order("scout")?);
    order("other")?;
    site.clock.advance(601 * SECOND);
    let counts = [order("*")?, order("scout")?];
    let scout = Messages::new(&log);
    let found = scout.attend_blocking("scout", None)?;
    assert!(found.must_exit);
    let told: Vec<u64> = found.orders.iter().map(|one| one.position.get()).collect();
    assert_eq!(told, counts);
    let refused = log.read(Read::new(Query::of_type("agent.order_refused")))?;
    let passed: Vec<u64> = refused
        .map(|record| Ok(record?.control.get_u64(4).unwrap_or_default()))
        .collect::<Outcome<_>>()?;
    assert_eq!(passed, stale);
    assert_eq!(refusals(&log)?, ["stale"; 3]);
    // As many as are remembered, and no more than once.
    scout.attend_blocking("scout", None)?;
    assert_eq!(refusals(&log)?.len(), stale.len());
    for _ in 0..70 {
        order("other")?;
    }
    site.clock.advance(601 * SECOND);
    assert!(!scout.attend_blocking("other", None)?.must_exit);
    assert_eq!(refusals(&log)?.len(), stale.len() + 66);
    assert_sound(&log)
}

#[test]
fn an_order_to_all_reaches_those_who_are_there_and_stays_taken() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let (agents, messages) = (Agents::new(&log), Messages::new(&log));
    for name in ["one", "two"] {
        agents.change_blocking(name, &AgentChange::register())?;
    }
    let person = site.person(&log)?;
    Messages::new(&person).send_blocking(&NewMessage::to("*").of_type("shutdown"))?;
    agents.change_blocking("late", &AgentChange::register())?;
    assert!(messages.attend_blocking("one", None)?.must_exit);
    assert!(!messages.attend_blocking("late", None)?.must_exit);
    let log = site.reopen(log)?;
    let messages = Messages::new(&log);
    site.clock.advance(3600 * SECOND);
    // What was taken counts after its window too; what nobody looked at does not any more.
    assert!(messages.attend_blocking("one", None)?.must_exit);
    assert!(!messages.attend_blocking("two", None)?.must_exit);
    let stopping = Agents::new(&log).list(&AgentFilter::new().state(AgentState::Stopping))?;
    assert_eq!(stopping.len(), 1);
    // A person powers it on again.
    let ada = Credential::load(&site.file("ada"))?;
    let person = log.with_credential(&ada)?;
    let on = AgentChange::Power {
        runs: true,
        reason: None,
    };
    let refused = Agents::new(&log).change_blocking("one", &on);
    assert_eq!(refused.unwrap_err().code(), "not_allowed");
    Agents::new(&person).change_blocking("one", &on)?;
    assert!(!messages.attend_blocking("one", None)?.must_exit);
    assert_sound(&log)
}

#[test]
fn sleeping_and_waking_are_recorded_once() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let agents = Agents::new(&log);
    let nobody = agents.change_blocking("scout", &AgentChange::Wake);
    assert_eq!(nobody.unwrap_err().code(), "agent_not_found");
    for name in ["", "a b", "*", "-x", &"x".repeat(65)] {
        let refused = agents.change_blocking(name, &AgentChange::register());
        assert_eq!(refused.unwrap_err().code(), "bad_name", "{name}");
    }
    agents.change_blocking("scout", &AgentChange::register())?;
    let sleep = AgentChange::sleep("no_tasks", Duration::from_secs(30));
    let first = agents.change_blocking("scout", &sleep)?;
    assert_eq!(agents.change_blocking("scout", &sleep)?, first);
    let agent = agents.find("scout")?.ok_or("it is there")?;
    assert_eq!((agent.state, agent.timeout_s), (AgentState::Idle, Some(30)));
    agents.change_blocking("scout", &AgentChange::Wake)?;
    let woke = log.size();
    agents.change_blocking("scout", &AgentChange::Wake)?;
    agents.change_blocking("scout", &AgentChange::register())?;
    assert_eq!(log.size(), woke);
    let agent = agents.find("scout")?.ok_or("it is there")?;
    assert_eq!((agent.state, agent.timeout_s), (AgentState::Running, None));
    assert_sound(&log)
}

/// An agent acts for itself alone, is known by its first command, and gives none once it was revoked.
#[test]
fn agents_with_credentials() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let scout = site.principal(&log, "scout", Authority::Agent)?;
    let agents = Agents::new(&log);
    assert_eq!(agents.find("scout")?, None);
    let claim = |key: &str| Claim::tool("run-1", "pay").request(key);
    let before = log.size();
    Effects::new(&scout).claim_blocking(&claim("a"))?;
    assert_eq!(log.size(), before + 2);
    assert_eq!(agents.list(&AgentFilter::new())?.len(), 1);
    Effects::new(&scout).claim_blocking(&claim("b"))?;
    assert_eq!(log.size(), before + 3);

    agents.change_blocking("other", &AgentChange::register())?;
    let by_scout = Agents::new(&scout);
    for change in [
        AgentChange::Wake,
        AgentChange::sleep("x", Duration::from_secs(1)),
    ] {
        let refused = by_scout.change_blocking("other", &change);
        assert_eq!(refused.unwrap_err().code(), "not_allowed");
    }
    let read = Messages::new(&scout).attend_blocking("other", None);
    assert_eq!(read.unwrap_err().code(), "not_allowed");
    let read = Messages::new(&scout).mark_read_blocking("other", Position::new(1));
    assert_eq!(read.unwrap_err().code(), "not_allowed");

    let revoke = AgentChange::Revoke {
        reason: "gone wild".to_owned(),
    };
    for who in [&log, &scout] {
        let refused = Agents::new(who).change_blocking("scout", &revoke);
        assert_eq!(refused.unwrap_err().code(), "not_allowed");
    }
    let person = site.person(&log)?;
    Agents::new(&person).change_blocking("scout", &revoke)?;
    let size = log.size();
    assert_eq!(
        Effects::new(&scout)
            .claim_blocking(&claim("c"))
            .unwrap_err()
            .code(),
        "agent_revoked"
    );
    assert_eq!(
        by_scout
            .change_blocking("scout", &AgentChange::Wake)
            .unwrap_err()
            .code(),
        "agent_revoked"
    );
    assert_eq!(log.size(), size);
    assert!(
        Messages::new(&log)
            .attend_blocking("scout", None)?
            .must_exit
    );
    assert_sound(&log)
}

#[test]
fn messages_are_read_on_from_a_mark() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let (agents, messages) = (Agents::new(&log), Messages::new(&log));
    let nobody = messages.send_blocking(&NewMessage::to("scout").text("hello"));
    assert_eq!(nobody.unwrap_err().code(), "agent_not_found");
    messages.send_blocking(&NewMessage::to("*").text("before its time"))?;
    agents.change_blocking("scout", &AgentChange::register())?;
    let count = MAX_HEARD + 10;
    for n in 0..count {
        messages.send_blocking(&NewMessage::to("scout").text(n.to_string()))?;
    }
    let first = messages.attend_blocking("scout", None)?;
    assert_eq!(first.messages.len(), MAX_HEARD);
    let cursor = first.cursor.ok_or("it read something")?;
    messages.mark_read_blocking("scout", cursor)?;
    // It never goes back, nor past the end.
    messages.mark_read_blocking("scout", Position::new(1))?;
    messages.mark_read_blocking("scout", Position::new(u64::MAX))?;
    assert_eq!(messages.read_mark("scout")?, Some(cursor));
    let log = site.reopen(log)?;
    let messages = Messages::new(&log);
    let second = messages.attend_blocking("scout", None)?;
    let texts: Vec<_> = second
        .messages
        .iter()
        .filter_map(|message| message.said.as_ref().and_then(|said| said.text.clone()))
        .collect();
    assert_eq!(texts.first(), Some(&MAX_HEARD.to_string()));
    assert_eq!(texts.len(), 10);
    // Its own words to all it does not hear.
    let end = second.cursor;
    let scout = site.principal(&log, "scout", Authority::Agent)?;
    Messages::new(&scout).send_blocking(&NewMessage::to("*").text("to all"))?;
    assert!(messages.attend_blocking("scout", end)?.is_empty());
    assert_sound(&log)
}

/// What was recorded elsewhere orders nobody, and nobody writes an order past the command.
#[test]
fn orders_cannot_be_written_by_hand() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    Agents::new(&log).change_blocking("scout", &AgentChange::register())?;
    let written = log.append_blocking(NewEvent::new("message.sent", "messages"));
    assert_eq!(written.unwrap_err().code(), "owned_namespace");
    let forged = NewEvent::new("message.sent", "elsewhere")
        .tag("to:scout")
        .payload(r#"{"to":"scout","type":"sleep"}"#);
    let control = runstone_codec::Control::new()
        .text(1, "scout")
        .u64(2, 2)
        .u64(3, 1);
    let forged = runstone_codec::Draft::new(forged).control(control);
    log.import_blocking(vec![vec![forged]]).remove(0)?;
    let found = Messages::new(&log).attend_blocking("scout", None)?;
    assert!(!found.must_exit);
    assert_eq!(heard(&found), "nothing");
    // A handle whose credential nobody enrolled is none.
    let path = site.file("mallory");
    let mallory = Credential::create(&path, "mallory", Authority::Human, &OsEntropy)?;
    assert!(log.with_credential(&mallory).is_err());
    Ok(())
}

/// An agent says neither who may do what nor by which settings, and has a name that can be revoked.
#[test]
fn an_agent_does_not_govern() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let bot = site.principal(&log, "bot", Authority::Agent)?;
    assert_eq!(
        Settings::default().record(&bot).unwrap_err().code(),
        "not_allowed"
    );
    let eve = Credential::create(&site.file("eve"), "eve", Authority::Human, &OsEntropy)?;
    let enrolled = bot.enrol("eve", Authority::Human, &eve.public_key());
    assert_eq!(enrolled.unwrap_err().code(), "not_allowed");
    for (id, authority) in [
        ("team/scout", Authority::Agent),
        ("human:ada", Authority::Commander),
    ] {
        let refused = log.enrol(id, authority, &eve.public_key());
        assert_eq!(refused.unwrap_err().code(), "principal_name", "{id}");
    }
    Ok(())
}

/// Who powers an agent on says that later than any order before.
#[test]
fn powering_on_voids_what_was_ordered_before() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    Agents::new(&log).change_blocking("scout", &AgentChange::register())?;
    let person = site.person(&log)?;
    let (orders, messages) = (Messages::new(&person), Messages::new(&log));
    orders.send_blocking(&NewMessage::to("scout").of_type("shutdown"))?;
    assert!(messages.attend_blocking("scout", None)?.must_exit);
    orders.send_blocking(&NewMessage::to("scout").of_type("shutdown"))?;
    let on = AgentChange::Power {
        runs: true,
        reason: None,
    };
    Agents::new(&person).change_blocking("scout", &on)?;
    assert!(!messages.attend_blocking("scout", None)?.must_exit);
    assert_sound(&log)
}

/// What a revoked agent was doing is not lost, and what it held is free.
#[test]
fn a_revoked_agent_ends_what_it_began() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let bot = Runstone::from(site.principal(&log, "bot", Authority::Agent)?);
    let run = bot.run("bot").resume_or_start_blocking("run-1")?;
    let paid = run.effect("pay").request_id("a").call_blocking(|| {
        let person = site
            .person(&log)
            .map_err(|error| Fault::other(error.to_string()))?;
        let revoke = AgentChange::Revoke {
            reason: "gone wild".to_owned(),
        };
        let revoked = Agents::new(&person).change_blocking("bot", &revoke);
        revoked.map_err(|error| Fault::other(error.to_string()))?;
        Ok::<_, Fault>(7)
    });
    assert_eq!(paid?, 7);
    let more = run
        .effect("pay")
        .request_id("b")
        .call_blocking(|| Ok::<_, Fault>(7));
    assert_eq!(more.unwrap_err().code(), "agent_revoked");
    // It holds the run no more, whether it lets go or not.
    let other = Runstone::from(log.clone());
    other.run("bot").resume_or_start_blocking("run-1")?;
    drop(run);
    assert_sound(&log)
}

/// A run is free when the agent that holds it is revoked, not when it is called so.
#[test]
fn a_run_is_held_by_whoever_began_it() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let bot = site.principal(&log, "bot", Authority::Agent)?;
    let person = site.person(&log)?;
    for (who, stream, holder) in [
        (&bot, "run-1", "someone-else"),
        (&person, "run-2", "bot"),
        (&log, "run-3", "agent:bot#7"),
    ] {
        let mut begin = Begin::new(stream, "bot");
        holder.clone_into(&mut begin.holder);
        runs::begin_blocking(who, &begin)?;
    }
    let again = |stream: &str| runs::begin_blocking(&log, &Begin::new(stream, "bot"));
    for stream in ["run-1", "run-2", "run-3"] {
        assert_eq!(again(stream).unwrap_err().code(), "run_held", "{stream}");
    }
    let revoke = AgentChange::Revoke {
        reason: "gone wild".to_owned(),
    };
    Agents::new(&person).change_blocking("bot", &revoke)?;
    assert_eq!(again("run-2").unwrap_err().code(), "run_held");
    for stream in ["run-1", "run-3"] {
        assert!(matches!(again(stream)?, Begun::Resumed(_)), "{stream}");
    }
    assert_sound(&log)
}

/// While an agent sleeps, no task is made through it, by whichever way it is named.
#[test]
fn whoever_sleeps_makes_no_work() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let scout = site.principal(&log, "scout", Authority::Agent)?;
    let agents = Agents::new(&log);
    agents.change_blocking("scout", &AgentChange::register())?;
    let new = |id: &str| NewTask::new(id).title("Tidy up");
    agents.change_blocking(
        "scout",
        &AgentChange::sleep("no_tasks", Duration::from_secs(30)),
    )?;
    let through = [
        Tasks::new(&scout).create_blocking(&new("a")),
        Tasks::new(&scout).actor("desk").create_blocking(&new("a")),
        Tasks::new(&log)
            .actor("agent:scout")
            .create_blocking(&new("a")),
        Tasks::new(&log).create_blocking(&new("a").created_by("scout")),
    ];
    for refused in through {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), "agent_idle");
        assert_eq!(
            refused.to_string(),
            "Cannot create_task('Tidy up') while in idle mode. No speculative execution or self-generated busywork allowed."
        );
    }
    // One of each caller in a second is recorded.
    let refusals = || -> Outcome<Vec<String>> {
        let read = Read::new(Query::of_type("task.refused"));
        let whys = log.read(read)?.map(|record| {
            let why = record?.control.get_text(15).unwrap_or_default().to_owned();
            Ok::<_, runstone_store::ReadError>(why)
        });
        Ok(whys.collect::<Result<_, _>>()?)
    };
    assert_eq!(refusals()?, ["agent_idle"; 2]);
    assert_eq!(Tasks::new(&log).find("a")?, None);
    // A loop is told after that, and what the task does not say before.
    let cycle = Tasks::new(&scout).create_blocking(&new("b").creator("b"));
    assert_eq!(cycle.unwrap_err().code(), "agent_idle");
    let mut settings = Settings::default();
    settings.admission.enabled = true;
    settings.record(&log)?;
    let incomplete = Tasks::new(&scout).create_blocking(&new("c"));
    assert_eq!(incomplete.unwrap_err().code(), "admission_incomplete");
    Settings::default().record(&log)?;
    // What is for it, others may make; what it held it may go on with.
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&new("d").agent("scout"))?;
    let held = Tasks::new(&scout).claim_blocking("d", "scout", Hold::Opening)?;
    Tasks::new(&scout).complete_blocking("d", held.fence, "done")?;
    agents.change_blocking("scout", &AgentChange::Wake)?;
    Tasks::new(&scout).create_blocking(&new("a"))?;
    let odd = tasks.create_blocking(&new("e").created_by("a b"));
    assert_eq!(odd.unwrap_err().code(), "bad_name");
    assert_sound(&log)
}

/// Of every scope, counted as they come and go.
#[test]
fn an_agent_is_told_how_many_tasks_are_open() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    for name in ["scout", "other"] {
        Agents::new(&log).change_blocking(name, &AgentChange::register())?;
    }
    let open = |log: &Log, agent: &str| Messages::new(log).attend_blocking(agent, None);
    assert_eq!(open(&log, "scout")?.open_tasks, Some(0));
    let tasks = Tasks::new(&log);
    for id in ["a", "b", "c"] {
        tasks.create_blocking(&NewTask::new(id).agent("scout"))?;
    }
    tasks.create_blocking(&NewTask::new("d").agent("other"))?;
    tasks.create_blocking(&NewTask::new("e"))?;
    let elsewhere = Tasks::new(&log).stream("elsewhere").scope("customer-7");
    elsewhere.create_blocking(&NewTask::new("a").agent("scout"))?;
    assert_eq!(open(&log, "scout")?.open_tasks, Some(4));
    assert_eq!(open(&log, "other")?.open_tasks, Some(1));
    let held = tasks.claim_blocking("a", "anybody", Hold::Opening)?;
    assert_eq!(open(&log, "scout")?.open_tasks, Some(4));
    tasks.complete_blocking("a", held.fence, "done")?;
    tasks.move_to_blocking(&Move::new("b", TaskState::Cancelled))?;
    assert_eq!(open(&log, "scout")?.open_tasks, Some(2));
    // Another life, of another agent.
    tasks.create_blocking(&NewTask::new("b").agent("other"))?;
    assert_eq!(open(&log, "other")?.open_tasks, Some(2));
    let log = site.reopen(log)?;
    let told = open(&log, "scout")?;
    assert_eq!(told.open_tasks, Some(2));
    // Work alone does not wake it.
    assert!(told.is_empty());
    assert_sound(&log)
}
