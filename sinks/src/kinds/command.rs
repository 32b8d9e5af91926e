//! A command that takes lines on its standard input: begun anew for each batch, without a shell.
//!
//! What it comes to is told by its exit code, as sysexits.h has them: 0 everything is taken, 65 it is
//! refused for itself, 77 the credentials are, 78 the command cannot go on before somebody changes
//! something. Anything else is an outage.

use crate::config::CommandConfig;
use crate::sink::{Batch, Delivery, Event, Rejection, Sink};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::{ExitStatus, Stdio};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};

/// `EX_DATAERR`.
const REFUSED: i32 = 65;
/// `EX_NOPERM`.
const UNAUTHORISED: i32 = 77;
/// `EX_CONFIG`.
const UNUSABLE: i32 = 78;

/// A command.
#[derive(Debug)]
pub(super) struct Piped {
    config: CommandConfig,
}

impl Piped {
    pub(super) fn new(config: CommandConfig) -> Self {
        Self { config }
    }

    async fn give(&self, lines: Vec<u8>) -> Result<(), Rejection> {
        let Some((program, arguments)) = self.config.command.split_first() else {
            return Err(Rejection::unusable("there is no command"));
        };
        let spawned = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            // What it says may quote what it was given.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // So that it can be ended with what it began.
            .process_group(0)
            .spawn();
        let child = spawned.map_err(|error| {
            Rejection::unavailable(format!("`{program}` cannot be started: {}", error.kind()))
        })?;
        let mut running = Running::new(child);
        let input = running.child.stdin.take();
        let (is_written, status) = tokio::join!(write(input, &lines), running.child.wait());
        let status = status.map_err(|error| {
            Rejection::unavailable(format!("`{program}` is lost: {}", error.kind()))
        })?;
        told(program, status, is_written)
    }
}

/// What a command that ended has said.
fn told(program: &str, status: ExitStatus, is_written: bool) -> Result<(), Rejection> {
    let ended = match status.code() {
        Some(code) => format!("`{program}` ended with {code}"),
        None => format!("`{program}` was killed"),
    };
    match status.code() {
        Some(0) if is_written => Ok(()),
        Some(0) => Err(Rejection::unavailable(format!(
            "{ended} before it had read everything"
        ))),
        Some(REFUSED) => Err(Rejection::Refused(ended)),
        Some(UNAUTHORISED) => Err(Rejection::Unauthorised(ended)),
        Some(UNUSABLE) => Err(Rejection::Unusable(ended)),
        _ => Err(Rejection::Unavailable(ended)),
    }
}

/// Writes all lines and closes; whether they were taken.
async fn write(input: Option<ChildStdin>, lines: &[u8]) -> bool {
    let Some(mut input) = input else {
        return false;
    };
    let written = input.write_all(lines).await;
    written.is_ok() && input.shutdown().await.is_ok()
}

/// A command under way, and the group of processes that it began. When it is over, or nobody waits for
/// it any more, they end with it.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            child,
            group: group.and_then(Pid::from_raw),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // There may be nobody left in it. Its number is nobody else's as long as there is, and is
            // not given out again so soon.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Sink for Piped {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        let lines = batch.events().iter().flat_map(Event::line).collect();
        Box::pin(self.give(lines))
    }
}
