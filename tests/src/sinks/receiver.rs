//! A server of the foreign libraries that takes what sinks post: tests/foreign/receiver.py.

use super::site::Site;
use super::strange::Seen;
use crate::command::workspace;
use crate::pack::command;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// A receiver under way. It ends when it is let go of.
#[derive(Debug)]
pub struct Receiver {
    child: Child,
    out: PathBuf,
    behaviour: PathBuf,
    /// Where it takes what is posted.
    pub url: String,
}

impl Receiver {
    /// One of a kind, with its files in the folder of a site.
    pub fn start(site: &Site, kind: &str, options: &[&str]) -> Self {
        let (out, behaviour) = (site.path("out.jsonl"), site.path("behaviour"));
        let mut child = command("python3")
            .arg(workspace().join("tests/foreign/receiver.py"))
            .arg(kind)
            .args([&out, &behaviour])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        Self {
            child,
            out,
            behaviour,
            url: url.trim_end().to_owned(),
        }
    }

    /// Says how it answers from now on.
    pub fn behave(&self, behaviour: &Value) {
        // In one step, for it may be read at this moment.
        let new = self.behaviour.with_extension("new");
        std::fs::write(&new, behaviour.to_string()).unwrap();
        std::fs::rename(new, &self.behaviour).unwrap();
    }

    /// Every request that it got.
    pub fn requests(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.out).unwrap_or_default();
        // The last line may be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }

    /// Every event that it kept, in the order in which they came.
    pub fn events(&self) -> Vec<Value> {
        let requests = self.requests().into_iter();
        let events = requests.flat_map(|request| request["events"].as_array().unwrap().clone());
        events.collect()
    }

    /// Every event that it kept, as the contract looks at them.
    pub fn seen(&self) -> Vec<Seen> {
        let events = self.events().into_iter();
        let seen = events.map(|event| Seen {
            position: event["position"].as_u64().unwrap(),
            is_duplicate: event["attributes"]["duplicate"] == "True",
            line: event.to_string(),
        });
        seen.collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
