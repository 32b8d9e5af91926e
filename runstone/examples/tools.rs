//! An agent loop: a model asks for tools, here a file system and an HTTP server, until it is done.
//! Its process is really killed in the middle and started again.
//!
//! Run with `cargo run -p runstone --example tools`. The model is a script, the server a thread.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use anyhow::{Context as _, bail};
use runstone::{EffectClass, Run, Runstone, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};

/// What the model asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tool", rename_all = "snake_case")]
enum Asked {
    Fetch { path: String },
    Write { file: String, text: String },
    Done,
}

/// A model that looks at the conversation so far and says what it wants next.
fn model(messages: &[Value]) -> Asked {
    let fetch = |path: &str| Asked::Fetch {
        path: path.to_owned(),
    };
    match messages.len() {
        0 => fetch("/weather/oslo"),
        1 => fetch("/weather/lima"),
        2 => {
            let lines: Vec<_> = messages.iter().filter_map(Value::as_str).collect();
            Asked::Write {
                file: "report.txt".to_owned(),
                text: lines.join("\n"),
            }
        }
        _ => Asked::Done,
    }
}

/// One turn: the model is asked once, its tool is called once, and both are in the session.
fn turn(run: &Run, number: usize, server: &str, folder: &Path) -> anyhow::Result<bool> {
    let session = run.session().document_blocking()?;
    let messages = session.get("messages").and_then(Value::as_array);
    let messages = messages.cloned().unwrap_or_default();
    let asked = run.step(format!("model-{number}"));
    let asked = asked.run_blocking(|| Ok::<_, std::io::Error>(model(&messages)))?;
    let answer: String = match &asked {
        Asked::Done => return Ok(true),
        // Bears repeating: cut off, it is simply made again.
        Asked::Fetch { path } => {
            let call = run.effect("fetch").call_id(format!("call-{number}"));
            let call = call.class(EffectClass::Read).args(&json!({"path": path}));
            call.call_blocking(|| get(server, path))?
        }
        // Does not: cut off, the folder is asked whether it was done.
        Asked::Write { file, text } => {
            let (at, wanted) = (folder.join(file), text.clone());
            let call = run.effect("write_file").call_id(format!("call-{number}"));
            let call = call
                .class(EffectClass::Write)
                .args(&json!({"file": file, "text": text}));
            let call = call.reconcile(move |_| async move {
                let is_there = std::fs::read_to_string(at).is_ok_and(|found| found == wanted);
                Ok::<_, std::io::Error>(is_there.then(|| "written".to_owned()))
            });
            let write = || std::fs::write(folder.join(file), text).map(|()| "written".to_owned());
            call.call_blocking(write)?
        }
    };
    println!("  turn {number}: {asked:?} -> {answer}");
    if messages.len() == number {
        run.session().append_blocking("/messages", &answer)?;
    }
    Ok(false)
}

/// The agent, in a process of its own.
fn agent(server: &str, folder: &Path) -> anyhow::Result<()> {
    let log = Runstone::options().open_or_create(folder.join("agent.redb"))?;
    let run = log.run("reporter").resume_or_start_blocking("run-1")?;
    println!(
        "process {}, resumed: {}",
        std::process::id(),
        run.is_resumed()
    );
    let mut number = 0;
    while !turn(&run, number, server, folder)? {
        number += 1;
    }
    run.finish_blocking(Status::Success)?;
    log.close_blocking()?;
    Ok(())
}

/// `GET path`, as much of HTTP/1.0 as it takes.
fn get(server: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    body.ok_or_else(|| std::io::Error::other("the server went away"))
}

/// Answers until so many requests came; the one of `killed_at` kills who asks instead. Says what was
/// asked.
fn serve(
    listener: &TcpListener,
    agent: &mut Child,
    killed_at: Option<usize>,
) -> anyhow::Result<Vec<String>> {
    let mut asked = Vec::new();
    for _ in 0..killed_at.unwrap_or(1) {
        let (mut stream, _) = listener.accept()?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        let path = line.split(' ').nth(1).context("a path")?.to_owned();
        asked.push(path.clone());
        if killed_at == Some(asked.len()) {
            agent.kill()?; // SIGKILL
            break;
        }
        let place = path.rsplit('/').next().unwrap_or_default();
        write!(stream, "HTTP/1.0 200 OK\r\n\r\nfine in {place}")?;
    }
    Ok(asked)
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [server, folder] = words.as_slice() {
        return agent(server, Path::new(folder));
    }
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?.to_string();
    let start = || {
        let mut agent = Command::new(std::env::current_exe()?);
        agent.arg(&server).arg(folder.path()).spawn()
    };
    let mut first = start()?;
    let mut asked = serve(&listener, &mut first, Some(2))?;
    println!("killed: {}", first.wait()?);

    let mut second = start()?;
    asked.extend(serve(&listener, &mut second, None)?);
    if !second.wait()?.success() {
        bail!("the second life failed");
    }
    // What was answered is not asked again; what was cut off is.
    println!("the server was asked {asked:?}");
    anyhow::ensure!(asked == ["/weather/oslo", "/weather/lima", "/weather/lima"]);
    let report = std::fs::read_to_string(folder.path().join("report.txt"))?;
    println!("the report: {report:?}");
    anyhow::ensure!(report == "fine in oslo\nfine in lima");
    Ok(())
}
