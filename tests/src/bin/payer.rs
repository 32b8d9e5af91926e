//! An agent that pays 209 invoices, and is killed while it does.
//!
//! ```text
//! payer LOG SOCKET idempotent|reconciled|plain
//! ```

use runstone::{CallError, EffectClass, EffectError, Run, RunError, Runstone, Settings, Status};
use runstone_tests::tamper::Outcome;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::sync::Notify;

const INVOICES: usize = 209;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn ask(socket: &Path, request: &str) -> Result<String, Refused> {
    let failed = |error: std::io::Error| Refused(error.to_string());
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    writeln!(stream, "{request}").map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(failed)?;
    Ok(answer.trim().to_owned())
}

/// Charges once; when the gateway is late, says so and never answers.
async fn charge(socket: PathBuf, invoice: String, late: &Notify) -> Result<u64, Refused> {
    let answer = ask(&socket, &format!("charge {invoice} {}", std::process::id()))?;
    if answer == "late" {
        late.notify_one();
        std::future::pending::<()>().await;
    }
    paid(&answer)?.ok_or(Refused(answer))
}

fn paid(answer: &str) -> Result<Option<u64>, Refused> {
    match answer.split_once(' ') {
        Some(("ok", id)) => id.parse().map(Some).map_err(|_| Refused(answer.to_owned())),
        _ if answer == "none" => Ok(None),
        _ => Err(Refused(answer.to_owned())),
    }
}

/// One try; `None` if it was dropped because the gateway was late.
async fn attempt(
    run: &Run,
    socket: &Path,
    mode: &str,
    invoice: &str,
) -> Option<Result<u64, CallError<Refused>>> {
    let late = Notify::new();
    let class = if mode == "idempotent" {
        EffectClass::Idempotent
    } else {
        EffectClass::Write
    };
    let mut call = run
        .effect("send_payment")
        .key(("invoice", invoice))
        .class(class)
        .args(&serde_json::json!({"invoice": invoice}));
    if mode == "reconciled" {
        let (socket, invoice) = (socket.to_owned(), invoice.to_owned());
        call = call
            .reconcile(move |_| async move { paid(&ask(&socket, &format!("find {invoice}"))?) });
    }
    let charging = call.call(|| charge(socket.to_owned(), invoice.to_owned(), &late));
    tokio::select! {
        answer = charging => Some(answer),
        () = late.notified() => None,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let args: Vec<String> = std::env::args().collect();
    let [_, log, socket, mode] = args.as_slice() else {
        return Err("payer LOG SOCKET MODE".into());
    };
    let is_new = !Path::new(log).exists();
    let log = Runstone::options().open_or_create(log)?;
    if is_new {
        let mut settings = Settings::default();
        settings.effects.max_attempts = 1000;
        settings.record(&log)?;
    }
    let run = match log.run("invoice-bot").resume_or_start("run-1").await {
        Err(RunError::Finished(_)) => {
            println!("done");
            return Ok(());
        }
        run => run?,
    };
    let mut out = std::io::stdout();
    for invoice in 0..INVOICES {
        let invoice = format!("inv-{invoice}");
        loop {
            match attempt(&run, Path::new(socket), mode, &invoice).await {
                Some(Ok(_)) => break,
                Some(Err(CallError::Effect(EffectError::Unknown(_)))) if mode == "plain" => break,
                // It failed or was dropped: what the ledger says of it decides the next try.
                Some(Err(CallError::Tool(_))) | None => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
        writeln!(out, "{invoice}")?;
        out.flush()?;
    }
    run.finish(Status::Success).await?;
    log.close().await?;
    writeln!(out, "done")?;
    Ok(())
}
