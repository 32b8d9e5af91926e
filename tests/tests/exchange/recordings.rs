//! Recordings for programs that run again: by the command, and of transcripts made elsewhere.

use runstone::replay::again::{Answer, DivergenceKind, Recording, Tape, What};
use runstone::store::keys::KeyError;
use runstone::{NotAnswered, RunAgainError, Runstone, Status, run_again_blocking};
use runstone_tests::command::{Runstone as Command, recordings};
use runstone_tests::tamper::Outcome;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::path::Path;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn agent(log: &Runstone, usd: u32) -> Outcome<u32> {
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    let helper = log.run("helper").parent(&run);
    let helper = helper.resume_or_start_blocking("run-1/helper")?;
    let call = helper.effect("look").args(&json!({"invoice": "inv-1"}));
    let found = call.call_blocking(|| Ok::<_, KeyError>(json!({"usd": usd})))?;
    helper.finish_blocking(Status::Success)?;
    let call = run.effect("pay").args(&found);
    let paid = call.call_blocking(|| Ok::<_, KeyError>(7))?;
    run.finish_blocking(Status::Success)?;
    Ok(paid)
}

#[test]
fn the_command_writes_a_recording_of_a_run_and_those_that_it_spawned() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (path, file) = (folder.path().join("log"), folder.path().join("run-1.jsonl"));
    let command = Command::on(path.clone());
    let log = Runstone::create(&path)?;
    agent(&log, 12)?;
    // While a program holds the log.
    let args = ["export", "--calls", "run-1", "-o", text(&file)];
    let written = command.value([&args[..], &["--recipient", "ci-1"]].concat());
    assert_eq!(
        (&written["runs"], &written["items"]),
        (&json!(2), &json!(2))
    );
    log.close_blocking()?;
    drop(log);
    let disclosed = command.values(["log", "--type", "log.disclosed"]);
    assert_eq!(disclosed.len(), 1, "{disclosed:?}");

    assert_eq!(
        run_again_blocking(Recording::open(&file)?, |log| agent(&log, 99))??,
        7
    );
    let found = |line: &str| line.contains(r#""name":"look""#);
    let lines = std::fs::read_to_string(&file)?;
    let changed: String = lines
        .lines()
        .map(|line| {
            let line = if found(line) {
                line.replace(r#""usd":12"#, r#""usd":13"#)
            } else {
                line.to_owned()
            };
            line + "\n"
        })
        .collect();
    let other = run_again_blocking(Recording::read(changed.as_bytes())?, |log| {
        agent(&log, 12).is_ok()
    });
    let Err(RunAgainError::Diverged(report)) = other else {
        return Err("another answer makes another call".into());
    };
    assert_eq!(report.divergences[0].kind, DivergenceKind::ChangedArguments);

    let (exit, _, error) = command.ended(&args);
    assert_eq!(exit, 2, "{error}");
    let (exit, _, error) = command.ended(&["export", "--calls", "run-9"]);
    assert_eq!(exit, 5, "{error}");
    let (exit, _, error) = command.ended(&["export", "--recipient", "ci-1"]);
    assert_eq!(exit, 2, "{error}");
    // To stdout, without a file.
    let whole = command.values(["export", "--calls", "run-1"]);
    assert_eq!(whole.len(), lines.lines().count());
    Ok(())
}

/// A fork begins with what its parent said: that is shown, and recorded so.
#[test]
fn all_that_is_shown_is_recorded_as_disclosed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let log = Runstone::create(&path)?;
    let run = log.run("bot").resume_or_start_blocking("run-1")?;
    let said = run.session().append_blocking("/messages", &"hello")?;
    run.finish_blocking(Status::Success)?;
    let fork = log.run("bot").fork_of("run-1", said);
    fork.resume_or_start_blocking("run-2")?
        .finish_blocking(Status::Success)?;
    log.close_blocking()?;
    drop(log);
    let command = Command::on(path);
    let lines = command.values(["export", "--calls", "run-2"]);
    assert_eq!(lines[1]["run"]["document"], json!({"messages": ["hello"]}));
    let disclosed = command.values(["log", "--type", "log.disclosed"]);
    let ranges = disclosed[0]["data"]["positions"].as_array().unwrap();
    let is_shown = |at: u64| {
        let mut ranges = ranges.iter();
        ranges.any(|range| range[0].as_u64() <= Some(at) && Some(at) <= range[1].as_u64())
    };
    let whole = command.values(["log", "--all"]);
    let at = |event_type: &str| {
        let found = whole.iter().find(|line| line["type"] == event_type);
        found.and_then(|line| line["position"].as_u64()).unwrap()
    };
    assert_eq!(at("session.appended"), said.get());
    assert!(is_shown(said.get()), "{ranges:?}");
    Ok(())
}

/// Makes the calls of a run in an order.
fn calling(
    log: &Runstone,
    stream: &str,
    calls: &[(String, Option<Box<RawValue>>)],
) -> Outcome<Vec<Value>> {
    let run = log.run("again").resume_or_start_blocking(stream)?;
    let mut answers = Vec::new();
    for (n, (name, args)) in calls.iter().enumerate() {
        let call = run
            .effect(name.as_str())
            .request_id(n.to_string())
            .args(args);
        let answer = call.call_blocking(|| -> Result<Value, KeyError> { panic!("it is not made") });
        answers.push(match answer {
            Err(runstone::CallError::Again(NotAnswered::Failed { error, .. })) => {
                json!({"failed": error.message})
            }
            answer => answer?,
        });
    }
    run.finish_blocking(Status::Success)?;
    Ok(answers)
}

#[test]
fn transcripts_made_elsewhere_run_again() -> Outcome {
    let mut runs = 0;
    for folder in ["tau-bench", "claude-code", "pi-sessions"] {
        let Some(folder) = recordings(folder) else {
            return Ok(());
        };
        let site = tempfile::tempdir()?;
        let path = site.path().join("log");
        let command = Command::on(path.clone());
        command.value(["init"]);
        command.ended(&["import", text(&folder)]);
        let log = Runstone::open(&path)?;
        let streams = command.values(["runs"]);
        let mut of_folder = 0;
        for stream in streams.iter().filter_map(|run| run["stream"].as_str()) {
            let recording = Recording::of(&log, [stream])?;
            let items = &recording.runs[stream].items;
            let calls = items.iter().filter_map(|item| match &item.what {
                What::Call {
                    name, args, answer, ..
                } if !matches!(answer, Answer::Unknown) => Some((name.clone()?, args.clone())),
                _ => None,
            });
            let calls: Vec<_> = calls.collect();
            // Long ones take long, and tell no more.
            if !(2..30).contains(&calls.len()) || calls.len() != items.len() {
                continue;
            }
            let again =
                run_again_blocking(recording.clone(), |log| calling(&log, stream, &calls))??;
            assert_eq!(again.len(), calls.len());
            // The last call is left out.
            let short = &calls[..calls.len() - 1];
            let tape = Tape::new(recording);
            let short = run_again_blocking(tape, |log| calling(&log, stream, short).is_ok());
            let Err(RunAgainError::Diverged(report)) = short else {
                return Err("a call is missing".into());
            };
            assert_eq!(report.divergences[0].kind, DivergenceKind::Missing);
            (of_folder, runs) = (of_folder + 1, runs + 1);
            if of_folder == 3 {
                break;
            }
        }
    }
    assert!(runs > 5, "{runs} runs with calls");
    Ok(())
}
