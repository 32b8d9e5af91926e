//! Runs as operators see them: what stands still, how it stood at a point, what was never ended.

use runstone::effects::Claim;
use runstone::events::{LlmCallCompleted, StepStarted, step_keys};
use runstone::runs::{self, Begin};
use runstone::{Draft, Hold, NewEvent, Runstone as Agent, Status, StepReport};
use runstone_tests::command::{Runstone, workspace};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::convert::Infallible;

struct Site {
    folder: tempfile::TempDir,
    runstone: Runstone,
}

impl Site {
    /// Erases the scope of all runs; the certificate goes into the folder.
    fn erase(&self) {
        let certificate = self.folder.path().to_string_lossy().into_owned();
        let erase = [
            "erase",
            "default",
            "--basis",
            "gdpr-17",
            "--yes",
            "--output",
            &certificate,
        ];
        self.runstone.value(erase);
    }
}

/// A log with a run that succeeded, one that waits, one that was stopped, one whose process is gone
/// in the middle of a call, and a recording.
async fn site() -> Outcome<Site> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log.redb");
    let agent = Agent::create(&path)?;
    let done = agent.run("refunds").start("run-done").await?;
    done.session()
        .patch(&json!({"plan": "look", "n": 1}))
        .await?;
    let look = done.step("look");
    assert_eq!(look.run_blocking(|| Ok::<_, Infallible>(7))?, 7);
    let pay = done.effect("pay").request_id("inv-1");
    pay.call_blocking(|| Ok::<_, Infallible>("paid".to_owned()))?;
    done.session().patch(&json!({"plan": "pay"})).await?;
    done.finish(Status::Success).await?;
    let paused = agent.run("refunds").start("run-paused").await?;
    paused.pause(Some("approve".to_owned())).await?;
    let stopped = agent.run("refunds").start("run-stopped").await?;
    for (call_id, model, output_tokens) in
        [("1", "a", 1), ("1", "a", 5), ("2", "b", 7), ("3", "a", 2)]
    {
        stopped
            .llm_call(
                LlmCallCompleted::new(call_id)
                    .model(model)
                    .output_tokens(output_tokens)
                    .usd_micros(output_tokens * 10),
            )
            .await?;
    }
    drop(stopped);

    let mut begin = Begin::new("run-crashed", "refunds");
    begin.hold = Hold::Opening;
    let held = runs::begin_blocking(&agent, &begin)?.into_held();
    for (node, attempt) in [("look", 1), ("pay-all", 1)] {
        let started = StepStarted {
            node: node.to_owned(),
            kind: None,
            attempt,
        };
        let [tag, control] = step_keys(node);
        let step = Draft::new(NewEvent::typed(&started, "run-crashed")?);
        runs::record_blocking(&agent, &held, vec![step.keyed(tag).keyed(control)])?;
    }
    let call = Claim::tool("run-crashed", "pay").request("inv-2");
    agent.effects().claim_blocking(&call.hold(Hold::Opening))?;
    agent.log().close().await?;
    drop(agent);
    let runstone = Runstone::on(path);
    let recording = workspace().join("examples/refund-run.json");
    runstone.value(["import".as_ref(), recording.as_os_str()]);
    Ok(Site { folder, runstone })
}

#[tokio::test]
async fn what_stands_still_is_found_by_its_status() -> Outcome {
    let site = site().await?;
    for (status, stream) in [
        ("crashed", "run-crashed"),
        ("paused", "run-paused"),
        ("aborted", "run-stopped"),
        ("success", "run-done"),
    ] {
        let run = site.runstone.value(["runs", "--status", status]);
        assert_eq!(run["stream"], stream);
        assert_eq!(site.runstone.value(["run", stream])["status"], status);
    }
    Ok(())
}

#[tokio::test]
async fn what_was_begun_and_never_ended_is_listed() -> Outcome {
    let site = site().await?;
    let orphans = site.runstone.values(["orphans"]);
    let found: Vec<_> = orphans
        .iter()
        .map(|one| ["kind", "stream", "name", "state"].map(|name| one[name].as_str().unwrap()))
        .collect();
    let expected = [
        ["run", "run-stopped", "refunds", "aborted"],
        ["run", "run-crashed", "refunds", "crashed"],
        ["step", "run-crashed", "look", "started"],
        ["step", "run-crashed", "pay-all", "started"],
        ["claim", "run-crashed", "pay", "expired"],
    ];
    assert_eq!(found, expected);
    assert!(orphans.iter().all(|one| one["held"] == false));
    let claim = ["effect", "claim", "--name", "pay", "--key", "inv-3"];
    site.runstone.value(claim);
    let newest = site.runstone.values(["orphans"]).pop().unwrap();
    assert_eq!(
        (&newest["held"], &newest["state"]),
        (&json!(true), &json!("in-flight"))
    );
    Ok(())
}

#[tokio::test]
async fn a_run_is_shown_as_it_was_at_any_point() -> Outcome {
    let site = site().await?;
    let events = site.runstone.values(["log", "--stream", "run-done"]);
    let (mut sessions, mut states) = (Vec::new(), Vec::new());
    for event in &events {
        let (at, revision) = (event["position"].to_string(), event["revision"].to_string());
        let state = site.runstone.value(["state", "run-done", "--at", &at]);
        let same = site
            .runstone
            .value(["state", "run-done", "--revision", &revision]);
        assert_eq!(state, same);
        let time = event["recorded_at"].as_str().unwrap();
        let then = site.runstone.value(["state", "run-done", "--time", time]);
        assert!(then["position"].as_u64() >= state["position"].as_u64());
        assert_eq!(state["position"], event["position"]);
        sessions.push(state["session"].clone());
        let effects = state["effects"].as_array().unwrap().clone();
        let effect = effects
            .first()
            .map_or(Value::Null, |one| one["state"].clone());
        states.push((effect, state["summary"]["status"].clone()));
    }
    sessions.dedup();
    let expected = [
        json!({}),
        json!({"plan": "look", "n": 1}),
        json!({"plan": "pay", "n": 1}),
    ];
    assert_eq!(sessions, expected);
    states.dedup();
    let expected = [
        (Value::Null, json!("running")),
        (json!("in-flight"), json!("running")),
        (json!("completed"), json!("running")),
        (json!("completed"), json!("completed")),
        (json!("completed"), json!("success")),
    ];
    assert_eq!(states, expected);
    let now = site.runstone.value(["state", "run-done"]);
    assert_eq!(now["effects"][0]["result"], "paid");
    let whole = site.runstone.value(["run", "run-done"]);
    for (member, value) in now["summary"].as_object().unwrap() {
        assert_eq!(&whole[member], value, "{member}");
    }
    let first = events[0]["position"].as_u64().unwrap();
    for words in [
        vec!["state".to_owned(), "nothing".to_owned()],
        ["state", "run-crashed", "--at", &first.to_string()]
            .map(str::to_owned)
            .to_vec(),
        ["state", "run-done", "--at", "9999"]
            .map(str::to_owned)
            .to_vec(),
        ["state", "run-done", "--revision", "9999"]
            .map(str::to_owned)
            .to_vec(),
        ["state", "run-done", "--time", "2020-01-01"]
            .map(str::to_owned)
            .to_vec(),
    ] {
        assert_eq!(
            site.runstone.run(&words).status.code(),
            Some(5),
            "{words:?}"
        );
    }
    for words in [&["--time", "soon"][..], &["--at", "1", "--revision", "0"]] {
        let ended = site.runstone.run([&["state", "run-done"], words].concat());
        assert_eq!(ended.status.code(), Some(2), "{words:?}");
    }
    Ok(())
}

/// Reported twice, a call costs once.
#[tokio::test]
async fn costs_are_told_apart() -> Outcome {
    let site = site().await?;
    let costs = |by: &str| -> Vec<_> {
        let lines = site.runstone.values(["runs", "--costs", "--by", by]);
        let lines = lines.iter().map(|line| {
            assert_eq!(line["by"], by);
            (
                line["group"].clone(),
                line["calls"].clone(),
                line["usd_micros"].clone(),
            )
        });
        lines.collect()
    };
    let of = |group: &str, calls: u64, usd: u64| (json!(group), json!(calls), json!(usd));
    // The recording names neither a model nor a time.
    let recorded = (Value::Null, json!(1), json!(1200));
    let expected = [recorded, of("a", 2, 70), of("b", 1, 70)];
    assert_eq!(costs("model"), expected);
    assert_eq!(costs("scope"), [of("default", 4, 1340)]);
    let events = site
        .runstone
        .values(["log", "--type", "llm.call.completed"]);
    let mut days: Vec<_> = events
        .iter()
        .map(|event| event["recorded_at"].as_str().unwrap()[..10].to_owned())
        .collect();
    days.dedup();
    let told: Vec<_> = costs("day").into_iter().map(|day| day.0).collect();
    assert_eq!(json!(told), json!(days));
    assert!(costs("agent").iter().any(|agent| agent.1 == 3));
    Ok(())
}

/// Calls that were claimed twice under one key, a step that was stopped, a run that waited, and the
/// runs that it spawned.
async fn audited() -> Outcome<Site> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log.redb");
    let agent = Agent::create(&path)?;
    let run = agent.run("refunds").start("run").await?;
    for n in 0..30 {
        run.append(NewEvent::new("chat.message", "").json(&json!({"n": n}))?)
            .await?;
    }
    let pay = |usd: u32| {
        run.effect("pay")
            .request_id("inv-1")
            .args(&json!({"usd": usd}))
    };
    pay(1).call_blocking(|| Ok::<_, Infallible>("paid".to_owned()))?;
    assert_eq!(
        pay(2)
            .call_blocking(|| Ok::<_, Infallible>(1))
            .unwrap_err()
            .code(),
        "key_conflict"
    );
    let checked = run
        .effect("check")
        .request_id("1")
        .check(|_: &u32| Err("no".to_owned()));
    assert!(checked.call_blocking(|| Ok::<_, Infallible>(1)).is_err());
    run.step("send").block("policy").await?;
    let step = || Ok::<_, Infallible>(StepReport::new(1).tokens(10).usd_micros(20).gco2_mg(30));
    run.step("plan").run_reported_blocking(step)?;
    for child in ["run/a", "run/b"] {
        let child = agent.run("helper").parent(&run).start(child).await?;
        child.step("plan").run_reported_blocking(step)?;
        child.finish(Status::Success).await?;
    }
    run.pause(Some("approve".to_owned())).await?;
    let run = agent.run("refunds").resume("run").await?;
    run.finish(Status::Success).await?;
    agent.log().close().await?;
    drop(agent);
    Ok(Site {
        folder,
        runstone: Runstone::on(path),
    })
}

fn told<const N: usize>(all: &Value, members: [&str; N]) -> Vec<[String; N]> {
    let told = all.as_array().unwrap().iter();
    told.map(|one| members.map(|member| one[member].as_str().unwrap_or("-").to_owned()))
        .collect()
}

#[tokio::test]
async fn a_run_is_shown_with_what_was_done_and_stopped_in_it() -> Outcome {
    let site = audited().await?;
    let run = site.runstone.value(["run", "run"]);
    let expected = [
        ["blocked", "send", "policy"],
        ["paused", "approve", "-"],
        ["refused", "pay", "key_conflict"],
    ];
    let mut violations = told(&run["violations"], ["kind", "what", "why"]);
    violations.sort();
    assert_eq!(violations, expected);
    let expected = [
        ["run.started", "-", "-"],
        ["effect.claimed", "pay", "-"],
        ["effect.completed", "pay", "-"],
        ["effect.refused", "pay", "key_conflict"],
        ["effect.claimed", "check", "-"],
        ["effect.completed", "check", "rejected"],
        ["step.blocked", "send", "policy"],
        ["run.paused", "approve", "-"],
        ["run.resumed", "-", "-"],
        ["session.ended", "-", "completed/completed"],
        ["run.finished", "-", "success"],
    ];
    assert_eq!(told(&run["timeline"], ["act", "what", "how"]), expected);
    let first = &run["timeline"][0];
    assert_eq!(
        (&first["principal"], &first["authority"]),
        (&json!("system:keyring"), &json!("system"))
    );
    assert!(
        first["holder"]
            .as_str()
            .unwrap()
            .starts_with("system:keyring#")
    );
    assert_eq!(run["timeline"][1]["fence"], run["timeline"][2]["fence"]);
    assert_eq!(
        (&run["timeline_cut"], &run["violations_cut"]),
        (&json!(false), &json!(false))
    );

    // The window is of so many events, and its counts are of all.
    let events = site.runstone.values(["log", "--stream", "run"]);
    assert_eq!(run["events"], events.len());
    assert_eq!(run["turns"], 30);
    let newest: Vec<_> = events
        .iter()
        .rev()
        .take(20)
        .rev()
        .map(|event| &event["position"])
        .collect();
    let recent = run["recent"].as_array().unwrap();
    assert_eq!(
        recent
            .iter()
            .map(|event| &event["position"])
            .collect::<Vec<_>>(),
        newest
    );

    // Its own, and its tree's.
    let sums =
        |of: &Value| ["tokens", "usd_micros", "gco2_mg", "steps"].map(|member| of[member].clone());
    assert_eq!(sums(&run), [10, 20, 30, 1].map(Value::from));
    assert_eq!(sums(&run["tree"]), [30, 60, 90, 3].map(Value::from));
    assert_eq!(run["tree"]["runs"], 3);
    let child = site.runstone.value(["run", "run/a"]);
    assert_eq!(
        (&child["tree"]["runs"], &child["parent"]),
        (&json!(1), &json!("run"))
    );

    // Names in control stand, what is content does not.
    let erased = audited().await?;
    erased.erase();
    let after = erased.runstone.value(["run", "run"]);
    let acts = told(&after["timeline"], ["act", "what", "how"]);
    assert_eq!(acts[2], ["effect.completed", "pay", "-"]);
    assert_eq!(acts[6], ["step.blocked", "-", "-"]);
    assert_eq!(after["violations"].as_array().unwrap().len(), 3);
    assert_eq!(after["tree"], run["tree"]);

    let cut = site.runstone.value(["run", "run", "--limit", "2"]);
    assert_eq!(
        told(&cut["timeline"], ["act"]),
        [["session.ended"], ["run.finished"]]
    );
    assert_eq!(
        (&cut["timeline_cut"], &cut["violations_cut"]),
        (&json!(true), &json!(true))
    );
    Ok(())
}

#[tokio::test]
async fn latency_is_told_by_node_tool_and_agent() -> Outcome {
    let site = audited().await?;
    let latency = |by: &str| {
        let lines = site.runstone.values(["runs", "--latency", "--by", by]);
        for line in &lines {
            let [p50, p95, p99, max] = ["p50_us", "p95_us", "p99_us", "max_us"]
                .map(|member| line[member].as_u64().unwrap());
            assert!(p50 <= p95 && p95 <= p99 && p99 <= max, "{line}");
            assert_eq!(line["by"], by);
        }
        let told = lines
            .iter()
            .map(|line| (line["group"].clone(), line["count"].clone()));
        told.collect::<Vec<_>>()
    };
    let of = |name: &str, count: u64| (json!(name), json!(count));
    assert_eq!(latency("node"), [of("plan", 3)]);
    assert_eq!(latency("tool"), [of("check", 1), of("pay", 1)]);
    assert_eq!(latency("agent"), [of("helper", 2), of("refunds", 1)]);
    assert_eq!(site.runstone.values(["runs", "--latency"]).len(), 5);
    for words in [
        &["runs", "--latency", "--by", "day"][..],
        &["runs", "--costs", "--by", "node"],
        &["runs", "--by", "node"],
        &["runs", "--costs", "--latency"],
    ] {
        assert_eq!(site.runstone.run(words).status.code(), Some(2), "{words:?}");
    }
    let rebuilt = site.runstone.values(["rebuild", "--check"]);
    assert!(
        rebuilt.iter().all(|fold| fold["equal"] == true),
        "{rebuilt:?}"
    );
    // Names are content, durations are not.
    site.erase();
    let erased = site.runstone.values(["runs", "--latency", "--by", "node"]);
    assert_eq!(
        (
            erased.len(),
            &erased[0]["group"],
            &erased[0]["scope"],
            &erased[0]["count"]
        ),
        (1, &Value::Null, &json!("default"), &json!(3))
    );
    Ok(())
}
