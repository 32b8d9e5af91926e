//! A log that another process holds, and whoever asks it.

use crate::command::binary;
use crate::tamper::Outcome;
use runstone::attach::socket_of;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest time that anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a log.
#[derive(Debug)]
pub struct Site {
    _folder: tempfile::TempDir,
    /// The log, which need not exist.
    pub log: PathBuf,
}

impl Site {
    /// A new one.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn new() -> Outcome<Self> {
        Self::named("log.redb")
    }

    /// A new one, with a log of this name.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn named(name: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join(name);
        Ok(Self {
            _folder: folder,
            log,
        })
    }

    /// Something beside the log.
    pub fn path(&self, name: &str) -> PathBuf {
        self.log.with_file_name(name)
    }

    /// The socket of the log.
    pub fn socket(&self) -> PathBuf {
        socket_of(&self.log)
    }

    /// A process that holds the log, once it serves it.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn holder(&self) -> Outcome<Holder> {
        let child = Command::new(binary())
            .arg("--log")
            .arg(&self.log)
            .args(["--wait", "30", "serve"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut child = Process(child);
        let mut first = String::new();
        let stdout = child.0.stdout.take().ok_or("no stdout")?;
        BufReader::new(stdout).read_line(&mut first)?;
        if first.contains("is served on") {
            return Ok(Holder(child));
        }
        let mut why = String::new();
        let stderr = child.0.stderr.take().ok_or("no stderr")?;
        BufReader::new(stderr).read_to_string(&mut why)?;
        Err(format!("nobody serves it: {first}{why}").into())
    }
}

/// A process that does not outlive its test.
#[derive(Debug)]
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that holds a log.
#[derive(Debug)]
pub struct Holder(Process);

impl Holder {
    /// Ends it as nobody can prevent.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn kill(mut self) -> Outcome {
        self.0.0.kill()?;
        self.0.0.wait()?;
        Ok(())
    }
}

/// An HTTP request as it is written, and all of the answer.
///
/// # Errors
///
/// If there is none in time.
pub fn raw(socket: &Path, request: &[u8]) -> Outcome<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Asks something on a connection of its own: status and answer.
///
/// # Errors
///
/// As [`raw`].
pub fn post(socket: &Path, name: &str, body: &str) -> Outcome<(u16, Value)> {
    let request = format!(
        "POST /v1/{name} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    parsed(&raw(socket, request.as_bytes())?)
}

/// Status and body of an answer.
///
/// # Errors
///
/// If it is none.
pub fn parsed(answer: &str) -> Outcome<(u16, Value)> {
    let status = answer.get(9..12).ok_or("no status")?.parse()?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    Ok((status, serde_json::from_str(body).unwrap_or_default()))
}

/// Several requests on one connection.
#[derive(Debug)]
pub struct Dialogue(BufReader<UnixStream>);

impl Dialogue {
    /// A new connection.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn new(socket: &Path) -> Outcome<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// What comes until the other side ends it.
    ///
    /// # Errors
    ///
    /// If it does not end in time.
    pub fn rest(&mut self) -> Outcome<String> {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest)?;
        Ok(rest)
    }

    /// Asks something: status and answer.
    ///
    /// # Errors
    ///
    /// If there is none in time.
    pub fn ask(&mut self, name: &str, body: &str) -> Outcome<(u16, Value)> {
        let request = format!(
            "POST /v1/{name} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err("the connection ended".into());
            }
        }
        let status = head.get(9..12).ok_or("no status")?.parse()?;
        let length = head.lines().find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}
