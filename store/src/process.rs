//! Running somebody's command for one question and one answer.

use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// Between two looks at a command that has answered and not ended yet.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// A command gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// There is no such program, or it may not be run.
    #[error("it could not be started")]
    NotStarted(#[source] Option<io::Error>),
    /// Reading from or writing to it failed.
    #[error("reading from or writing to it failed")]
    Io(#[source] Option<io::Error>),
    /// It ended with a failure; no code when a signal ended it.
    #[error("it failed with exit code {0:?}")]
    Failed(Option<i32>),
    /// It did not end within the limit.
    #[error("it gave no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// It answered more than it may.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
}

/// Starts `argv`, a program and its arguments, without a shell, with `input` on its standard input,
/// and answers what it wrote, at most `longest` bytes, if it ended well within the limit. What it
/// writes to standard error nobody sees: it may quote what it was given.
pub(crate) fn run(
    argv: &[String],
    input: Zeroizing<String>,
    limit: Duration,
    longest: usize,
) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(CommandError::NotStarted(None));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| CommandError::NotStarted(Some(error)))?;
    let output = talk(&mut child, input, limit, longest);
    if output.is_err() {
        // A command that has ended already cannot be killed; waiting is what matters then.
        let _ = child.kill();
        let _ = child.wait();
    }
    let output = output?;
    let status = wait(&mut child, limit)?;
    if !status.success() {
        return Err(CommandError::Failed(status.code()));
    }
    Ok(output)
}

fn talk(
    child: &mut Child,
    request: Zeroizing<String>,
    limit: Duration,
    longest: usize,
) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(CommandError::Io(None));
    };
    // On threads of their own: a command that neither reads nor writes must not hold the caller
    // beyond the limit. Both end when the command does.
    let start = |work: Box<dyn FnOnce() + Send>| {
        let started = thread::Builder::new()
            .name("runstone-command".to_owned())
            .spawn(work);
        started.map_err(|error| CommandError::Io(Some(error)))
    };
    let (answered, answer) = sync_channel(1);
    start(Box::new(move || {
        // A command may answer without reading everything.
        let _ = input.write_all(request.as_bytes());
    }))?;
    start(Box::new(move || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(longest + 2));
        let read = output.take(longest as u64 + 1).read_to_end(&mut bytes);
        let _ = answered.send(read.map(|_| bytes));
    }))?;
    match answer.recv_timeout(limit) {
        Ok(Ok(bytes)) if bytes.len() <= longest => Ok(bytes),
        Ok(Ok(_)) => Err(CommandError::TooLong(longest)),
        Ok(Err(error)) => Err(CommandError::Io(Some(error))),
        Err(RecvTimeoutError::Timeout) => Err(CommandError::TimedOut(limit)),
        Err(RecvTimeoutError::Disconnected) => Err(CommandError::Io(None)),
    }
}

/// Waits for a command that has closed its output, usually because it has ended.
fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus, CommandError> {
    let (mut waited, mut pause) = (Duration::ZERO, SHORTEST_PAUSE);
    loop {
        let ended = child.try_wait();
        if let Some(status) = ended.map_err(|error| CommandError::Io(Some(error)))? {
            return Ok(status);
        }
        if waited >= limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(CommandError::TimedOut(limit));
        }
        thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
