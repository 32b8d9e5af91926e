//! Runstone whole, while another process follows it.

use super::{Reply, Seen, Store, runstone};
use crate::event::Request;
use ::runstone::store::line::write_record;
use ::runstone::{Query, Read, Runstone};
use anyhow::{Context as _, Result, ensure};
use std::io::{BufRead as _, BufReader, Write as _, sink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A log, and the process that follows it.
struct Followed {
    log: Box<dyn Store>,
    _follower: Follower,
}

/// A process that does not outlive the log.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let log = runstone::whole(folder)?;
    // Standard output is that of the table.
    let mut child = Command::new(std::env::current_exe()?)
        .arg("follow")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let told = child.stderr.take().context("no stderr")?;
    let follower = Follower(child);
    let mut first = String::new();
    BufReader::new(told).read_line(&mut first)?;
    ensure!(first == "following\n", "nobody follows: {first}");
    Ok(Box::new(Followed {
        log,
        _follower: follower,
    }))
}

/// Follows the whole log as `runstone log --follow --all --json` does, and shows it to nobody.
pub(crate) fn follow(folder: &Path) -> Result<()> {
    let log = Runstone::open(runstone::path(folder))?;
    ensure!(log.is_attached(), "nobody holds it");
    let mut followed = log.subscribe(Read::new(Query::everything()))?;
    let mut line = Vec::new();
    let mut is_told = false;
    while let Some(record) = followed.next_blocking() {
        line.clear();
        write_record(&record?, &mut line);
        sink().write_all(std::hint::black_box(&line))?;
        if !is_told {
            is_told = true;
            writeln!(std::io::stderr(), "following")?;
        }
    }
    Ok(())
}

impl Store for Followed {
    fn append_alone(&self, request: Request) -> Result<bool> {
        self.log.append_alone(request)
    }

    fn append_shared(&self, request: Request) -> Result<bool> {
        self.log.append_shared(request)
    }

    fn submit(&self, request: Request) -> Reply {
        self.log.submit(request)
    }

    fn scan(&self) -> Result<Seen> {
        self.log.scan()
    }

    fn read_run(&self, stream: &str) -> Result<Seen> {
        self.log.read_run(stream)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.log.close()
    }
}
