//! The formats of recordings, and how to tell them by their content.

use std::fmt;
use std::str::FromStr;

/// How many bytes of a recording [`detect`] wants to see.
pub const DETECT_BYTES: usize = 64 << 10;

/// How many records of the head are looked at.
const DETECT_RECORDS: usize = 16;

/// How the names of members begin that stand first in a container of Inspect.
const INSPECT_MEMBERS: [&[u8]; 5] = [
    b"_journal/",
    b"samples/",
    b"header.json",
    b"summaries.json",
    b"reductions.json",
];

/// A format of recordings.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Chat transcripts in the manner of OpenAI, with tool calls, as tau-bench stores them: an array
    /// of runs, one run, an array of messages, or any of these one a line.
    Messages,
    /// Session transcripts of Claude Code, JSONL.
    ClaudeCode,
    /// Sessions of the coding agent pi, JSONL.
    Pi,
    /// Telemetry of `OpenClaw`'s gateway, JSONL.
    OpenClaw,
    /// Trajectories of SWE-agent: a run, an array of runs, or one a line.
    SweAgent,
    /// `CloudEvents` 1.0 in their JSON format: one, one a line, or a batch.
    CloudEvents,
    /// OpenTelemetry spans of agents, as any-agent writes them.
    OtelGenai,
    /// Logs of Inspect evaluations: JSON, or the zip container `.eval`.
    Inspect,
    /// Ledgers of mycelium, of tools or of tasks, JSON: they are taken over, so that their keys are
    /// claimed as they stand there.
    MyceliumLedger,
    /// Signed receipts of mycelium, JSONL.
    MyceliumReceipts,
    /// Runs that meshflow exported, JSON with a hash chain.
    MeshflowRun,
    /// Event stores of zu, JSONL.
    ZuJsonl,
}

impl Format {
    /// Its name on the command line and in the tag `imported:NAME`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ClaudeCode => "claude-code",
            Self::Pi => "pi",
            Self::OpenClaw => "openclaw",
            Self::SweAgent => "swe-agent",
            Self::CloudEvents => "cloudevents",
            Self::OtelGenai => "otel-genai",
            Self::Inspect => "inspect",
            Self::MyceliumLedger => "mycelium-ledger",
            Self::MyceliumReceipts => "mycelium-receipts",
            Self::MeshflowRun => "meshflow-run",
            Self::ZuJsonl => "zu-jsonl",
        }
    }

    /// Its name as a segment of an event type.
    pub const fn segment(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ClaudeCode => "claude_code",
            Self::Pi => "pi",
            Self::OpenClaw => "openclaw",
            Self::SweAgent => "swe_agent",
            Self::CloudEvents => "cloudevents",
            Self::OtelGenai => "otel_genai",
            Self::Inspect => "inspect",
            Self::MyceliumLedger => "mycelium_ledger",
            Self::MyceliumReceipts => "mycelium_receipts",
            Self::MeshflowRun => "meshflow_run",
            Self::ZuJsonl => "zu_jsonl",
        }
    }

    /// Every format.
    pub const fn all() -> &'static [Self] {
        &[
            Self::Messages,
            Self::ClaudeCode,
            Self::Pi,
            Self::OpenClaw,
            Self::SweAgent,
            Self::CloudEvents,
            Self::OtelGenai,
            Self::Inspect,
            Self::MyceliumLedger,
            Self::MyceliumReceipts,
            Self::MeshflowRun,
            Self::ZuJsonl,
        ]
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// No format has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no import format is called '{name}'")]
#[non_exhaustive]
pub struct UnknownFormat {
    /// The name.
    pub name: String,
}

impl UnknownFormat {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        "import_unknown_format"
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::all().iter().find(|format| format.as_str() == name);
        found.copied().ok_or_else(|| UnknownFormat {
            name: name.to_owned(),
        })
    }
}

/// Tells a format by the first bytes of a recording, [`DETECT_BYTES`] of them if it is that long.
///
/// The head may end anywhere: only names of members are looked at, of the first few records. The
/// first record that speaks for a format decides.
pub fn detect(head: &[u8]) -> Option<Format> {
    if let Some(name) = first_member(head) {
        let known = INSPECT_MEMBERS.iter().any(|known| name.starts_with(known));
        return known.then_some(Format::Inspect);
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let mut scan = Scan { bytes: head, at: 0 };
    let in_array = scan.enter_array();
    (0..DETECT_RECORDS).find_map(|_| {
        scan.record()
            .and_then(|names| judge_deep(&names).or_else(|| judge(&names.top, in_array)))
    })
}

/// The name of the first member, if the recording is a zip file (APPNOTE 4.3.7).
fn first_member(head: &[u8]) -> Option<&[u8]> {
    let header = head.strip_prefix(b"PK\x03\x04")?;
    let (header, rest) = header.split_at_checked(26)?;
    let length = header.get(22..24)?.try_into().map(u16::from_le_bytes);
    rest.get(..usize::from(length.ok()?))
}

/// Tells the formats that show by names below the top as well.
fn judge_deep(names: &Names<'_>) -> Option<Format> {
    let all =
        |names: &[&[u8]], list: &[&str]| list.iter().all(|name| names.contains(&name.as_bytes()));
    let entry = ["request_id", "args", "kwargs", "status"];
    let is_ledger = |kind| all(&names.deep, &entry) && all(&names.deep, &[kind]);
    if !all(&names.top, &["request_id"]) && (is_ledger("tool") || is_ledger("task")) {
        return Some(Format::MyceliumLedger);
    }
    if all(&names.top, &["receipt_id", "request_id", "signature"]) {
        return Some(Format::MyceliumReceipts);
    }
    let step = ["step_id", "node_id", "prev_hash", "entry_hash"];
    if all(&names.top, &["run_id", "steps"]) && all(&names.deep, &step) {
        return Some(Format::MeshflowRun);
    }
    let event = ["event_id", "trace_id", "task_id", "type", "payload"];
    all(&names.top, &event).then_some(Format::ZuJsonl)
}

fn judge(names: &[&[u8]], in_array: bool) -> Option<Format> {
    let has = |name: &str| names.contains(&name.as_bytes());
    let any = |list: &[&str]| list.iter().any(|name| has(name));
    if has("eval") && any(&["version", "plan", "samples", "status"]) {
        return Some(Format::Inspect);
    }
    if has("spans") && !any(&["role", "messages", "traj"]) {
        return Some(Format::OtelGenai);
    }
    if has("specversion") && any(&["id", "source", "type"]) {
        return Some(Format::CloudEvents);
    }
    if !in_array && has("type") && any(&["sessionId", "parentUuid", "leafUuid", "isSnapshotUpdate"])
    {
        return Some(Format::ClaudeCode);
    }
    let on_channel = has("channel") && any(&["from", "to"]);
    if !in_array && has("type") && (has("sessionKey") || on_channel) {
        return Some(Format::OpenClaw);
    }
    if !in_array && has("type") && has("timestamp") && any(&["cwd", "message", "parentId"]) {
        return Some(Format::Pi);
    }
    if any(&["trajectory", "history"]) && !any(&["role", "traj", "messages"]) {
        return Some(Format::SweAgent);
    }
    let message = has("role") && any(&["content", "tool_calls", "function_call"]);
    let run = any(&["traj", "messages"]) || (has("task_id") && has("reward"));
    (message || run).then_some(Format::Messages)
}

/// How many names below the top are looked at, and how deep they may be.
const DEEP_NAMES: usize = 64;
const DEEP: usize = 3;

/// Names of the members of a record.
struct Names<'a> {
    top: Vec<&'a [u8]>,
    /// The first ones in the values of those, and in values of these.
    deep: Vec<&'a [u8]>,
}

/// Names of members at the top of records, without parsing what may be cut off.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_whitespace() || byte == b',')
        {
            self.at += 1;
        }
    }

    /// Steps into arrays that stand around the records.
    fn enter_array(&mut self) -> bool {
        self.space();
        let before = self.at;
        while self.peek() == Some(b'[') {
            self.at += 1;
            self.space();
        }
        self.at > before
    }

    /// The names of the next object's members, as far as they can be seen.
    fn record(&mut self) -> Option<Names<'a>> {
        self.space();
        while self.peek() == Some(b'[') || self.peek() == Some(b']') {
            self.at += 1;
            self.space();
        }
        if self.peek() != Some(b'{') {
            return None;
        }
        let (mut top, mut deep, mut depth) = (Vec::new(), Vec::new(), 0_usize);
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                b'"' => {
                    let text = self.string();
                    self.space();
                    if self.peek() != Some(b':') {
                        continue;
                    }
                    if depth == 1 {
                        top.push(text);
                    } else if depth <= DEEP && deep.len() < DEEP_NAMES {
                        deep.push(text);
                    }
                }
                _ => {}
            }
        }
        Some(Names { top, deep })
    }

    fn string(&mut self) -> &'a [u8] {
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        self.at += 1;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for format in Format::all() {
            assert_eq!(format.as_str().parse(), Ok(*format));
        }
        assert_eq!(
            "zip".parse::<Format>().unwrap_err().code(),
            "import_unknown_format"
        );
    }

    #[test]
    fn content_tells_the_format() {
        let claude = br#"{"type":"summary","summary":"x","leafUuid":"a"}"#;
        assert_eq!(detect(claude), Some(Format::ClaudeCode));
        let late =
            b"\xef\xbb\xbf{\"type\":\"x\"}\r\n{\"parentUuid\":null,\"type\":\"user\",\"message";
        assert_eq!(detect(late), Some(Format::ClaudeCode));
        for messages in [
            r#"[{"role":"user","content":"hi"}]"#,
            r#"[ { "task_id": 1, "reward": 0.0, "info": {"#,
            r#"{"messages":[{"role":"user"}]}"#,
            r#"{"role":"user","content":null}"#,
            r#"[[{"role":"assistant","tool_calls":[]"#,
        ] {
            assert_eq!(
                detect(messages.as_bytes()),
                Some(Format::Messages),
                "{messages}"
            );
        }
        for other in [
            "",
            "{",
            "[",
            "[]",
            "\"\\",
            "role,content",
            r#"{"type":"session","id":1}"#,
        ] {
            assert_eq!(detect(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn pi_is_told_by_its_header_or_its_tree() {
        for pi in [
            r#"{"type":"session","version":3,"id":"s","timestamp":"2025-12-09T00:53:29Z","cwd":"/"}"#,
            r#"{"type":"message","timestamp":"2025-12-09T00:53:29Z","message":{"role":"user"}}"#,
            r#"{"type":"label","id":"b","parentId":"a","timestamp":"2025-12-09T00:53:29Z"}"#,
        ] {
            assert_eq!(detect(pi.as_bytes()), Some(Format::Pi), "{pi}");
        }
    }

    #[test]
    fn telemetry_is_told_by_its_sessions_or_channels() {
        for record in [
            r#"{"type":"message.in","channel":"telegram","from":"x","content":"hi","timestamp":1}"#,
            r#"{"type":"tool.start","toolName":"exec","params":{},"sessionKey":"agent:main:main"}"#,
        ] {
            assert_eq!(
                detect(record.as_bytes()),
                Some(Format::OpenClaw),
                "{record}"
            );
        }
    }

    #[test]
    fn trajectories_are_told_by_their_parts() {
        for run in [
            r#"{"environment": "main", "trajectory": [{"action": "#,
            r#"[{"history": [{"role": "user", "content": "x"}]}]"#,
        ] {
            assert_eq!(detect(run.as_bytes()), Some(Format::SweAgent), "{run}");
        }
    }

    #[test]
    fn evaluations_and_spans_are_told_by_their_parts() {
        let zip = |name: &str| {
            let mut bytes = b"PK\x03\x04".to_vec();
            bytes.extend([0; 22]);
            bytes.extend([u8::try_from(name.len()).unwrap(), 0, 0, 0]);
            bytes.extend(name.as_bytes());
            bytes
        };
        let eval = r#"{"version": 2, "status": "error", "eval": {"run_id""#;
        let spans = r#"{ "spans": [ {"name": "call_llm", "attributes": {"messages": ["#;
        for (head, format) in [
            (eval.as_bytes().to_vec(), Some(Format::Inspect)),
            (zip("_journal/start.json"), Some(Format::Inspect)),
            (zip("samples/1_epoch_1.json"), Some(Format::Inspect)),
            (zip("word/document.xml"), None),
            (b"PK\x03\x04".to_vec(), None),
            (spans.as_bytes().to_vec(), Some(Format::OtelGenai)),
        ] {
            assert_eq!(detect(&head), format, "{}", String::from_utf8_lossy(&head));
        }
    }

    #[test]
    fn what_other_packages_left_is_told_by_its_records() {
        let entry =
            r#"{"request_id": "a", "tool": "f", "args": [], "kwargs": {}, "status": "done""#;
        let step =
            r#""step_id": "a", "node_id": "b", "input_task": "", "prev_hash": "", "entry_hash""#;
        for (head, format) in [
            (format!("{{\"a\": {entry}}}}}"), Some(Format::MyceliumLedger)),
            // A key may be the name of a member elsewhere.
            (
                format!("{{\"messages\": {}", entry.replace("tool", "task")),
                Some(Format::MyceliumLedger),
            ),
            (entry.to_owned(), None),
            (
                r#"{"receipt_id": "r", "agent_id": "a", "request_id": "b"}"#.to_owned(),
                None,
            ),
            (
                r#"{"receipt_id": "r", "agent_id": "a", "request_id": "b", "signature": "00"}"#
                    .to_owned(),
                Some(Format::MyceliumReceipts),
            ),
            (
                format!("{{\"run_id\": \"r\", \"steps\": [{{{step}: 1}}]}}"),
                Some(Format::MeshflowRun),
            ),
            (r#"{"run_id": "r", "steps": []}"#.to_owned(), None),
            (
                r#"{"event_id":"1","trace_id":"t","task_id":"t","type":"data.x","payload":{"messages":[]}}"#
                    .to_owned(),
                Some(Format::ZuJsonl),
            ),
        ] {
            assert_eq!(detect(head.as_bytes()), format, "{head}");
        }
    }

    #[test]
    fn a_head_cut_anywhere_is_scanned() {
        let whole = br#"[{"a\"":[{"b":"\\"}],"role":"x","content":1}, {"traj":[]}]"#;
        for end in 0..whole.len() {
            detect(&whole[..end]);
        }
        assert_eq!(detect(whole), Some(Format::Messages));
    }
}
