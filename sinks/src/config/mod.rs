//! What a sink is: the payload of `sink.added`.

mod destination;
#[cfg(feature = "client")]
mod http;
mod otlp;
mod part;
mod webhook;

pub use destination::{CommandConfig, CustomConfig, Destination, JsonlConfig};
#[cfg(feature = "client")]
pub(crate) use http::{HttpPlace, header_name};
pub use otlp::OtlpConfig;
pub(crate) use part::Pace;
pub use part::{
    ArchiveConfig, CheckpointsConfig, MirrorConfig, Payloads, S3Config, SegmentsConfig,
};
pub use webhook::{WebhookConfig, WebhookMode};

use crate::error::SinkError;
use runstone_codec::LogId;
use runstone_store::{Query, whole_seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest name of a sink in bytes.
const MAX_NAME_LEN: usize = 64;
/// Most events of a batch.
const MAX_BATCH: u64 = 4_096;
/// Longest time of one delivery in seconds.
const MAX_TIMEOUT_S: u64 = 3_600;
/// Most tries of an event that is refused for itself.
const MAX_TRIES: u64 = 100;
/// Most members of payloads that are let out.
const MAX_FIELDS: usize = 256;

/// A sink: where to, what, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SinkConfig {
    /// Its name, which is also that of its files: lower-case letters, digits, `_` and `-`.
    pub name: String,
    /// Where it lies.
    pub to: Destination,
    /// The first event that it gets. Default: the first one of the log.
    #[serde(default)]
    pub from: Start,
    /// Which events it gets; events of the namespace `sink` are given to none. Default: all.
    #[serde(default)]
    pub query: Query,
    /// Members of payloads that it gets, by name. Default: none, that is headers alone.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Most events that it is given at once. Default 512.
    #[serde(default = "batch_events")]
    pub batch_events: u64,
    /// Seconds that it has for what it is given. Default 30.
    #[serde(default = "timeout_s")]
    pub timeout_s: u64,
    /// How often an event that is refused for itself is tried before it is parked. Default 5.
    #[serde(default = "tries")]
    pub tries: u64,
}

fn batch_events() -> u64 {
    512
}

fn timeout_s() -> u64 {
    30
}

fn tries() -> u64 {
    5
}

/// Where a sink begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "StartForm", into = "StartForm")]
#[schemars(with = "StartForm")]
#[non_exhaustive]
pub enum Start {
    /// With the first event of the log.
    #[default]
    Beginning,
    /// With what is recorded after it was added.
    Now,
    /// With the event at this position.
    At(u64),
}

/// As it is written: a word or a position.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Start")]
enum StartForm {
    At(u64),
    Word(String),
}

impl From<Start> for StartForm {
    fn from(start: Start) -> Self {
        match start {
            Start::Beginning => Self::Word("beginning".to_owned()),
            Start::Now => Self::Word("now".to_owned()),
            Start::At(position) => Self::At(position),
        }
    }
}

impl TryFrom<StartForm> for Start {
    type Error = String;

    fn try_from(form: StartForm) -> Result<Self, String> {
        match form {
            StartForm::At(position) => Ok(Self::At(position)),
            StartForm::Word(word) => word.parse(),
        }
    }
}

impl std::str::FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("beginning", _) => Ok(Self::Beginning),
            ("now", _) => Ok(Self::Now),
            (_, Ok(position)) => Ok(Self::At(position)),
            _ => Err(format!(
                "`{text}` is not where a sink begins: beginning, now or a position"
            )),
        }
    }
}

/// Whether it can be the name of a sink.
pub(crate) fn is_sink_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let rest = |byte: u8| is_fine(byte) || byte == b'_' || byte == b'-';
    name.len() <= MAX_NAME_LEN && name.bytes().next().is_some_and(is_fine) && name.bytes().all(rest)
}

impl SinkConfig {
    /// A sink that gets everything but content, from the first event on.
    pub fn new(name: impl Into<String>, to: Destination) -> Self {
        Self {
            name: name.into(),
            to,
            from: Start::default(),
            query: Query::default(),
            fields: Vec::new(),
            batch_events: batch_events(),
            timeout_s: timeout_s(),
            tries: tries(),
        }
    }

    /// Begins elsewhere.
    #[must_use]
    pub fn from(mut self, from: Start) -> Self {
        self.from = from;
        self
    }

    /// Gets these events alone.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Gets these members of payloads too.
    #[must_use]
    pub fn fields<T: Into<String>>(mut self, fields: impl IntoIterator<Item = T>) -> Self {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Is given at most so many events at once.
    #[must_use]
    pub fn batch_events(mut self, most: u64) -> Self {
        self.batch_events = most;
        self
    }

    /// Has so long for what it is given, up to an hour. A part of a second counts whole.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout_s = whole_seconds(limit);
        self
    }

    /// Tries an event that is refused for itself so often.
    #[must_use]
    pub fn tries(mut self, tries: u64) -> Self {
        self.tries = tries;
        self
    }

    /// A sink of parts of the log gets the log as it is.
    fn check_parts(&self) -> Result<(), String> {
        if self.to.pace().is_none() {
            return Ok(());
        }
        let kind = self.to.kind();
        if self.from != Start::Beginning {
            return Err(format!("a sink of the kind {kind} begins with the log"));
        }
        if !self.fields.is_empty() {
            return Err(format!(
                "fields are named, and a sink of the kind {kind} has content as it is stored"
            ));
        }
        Ok(())
    }

    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), SinkError> {
        if !is_sink_name(&self.name) {
            let name = self.name.clone();
            return Err(SinkError::BadName { name });
        }
        let wrong = |why: String| Err(SinkError::BadConfig { why });
        for (member, value, most) in [
            ("batch_events", self.batch_events, MAX_BATCH),
            ("timeout_s", self.timeout_s, MAX_TIMEOUT_S),
            ("tries", self.tries, MAX_TRIES),
        ] {
            if value == 0 || value > most {
                return wrong(format!("{member} is {value}, and must be 1 to {most}"));
            }
        }
        if self.fields.len() > MAX_FIELDS {
            return wrong(format!(
                "{} fields are named, and at most {MAX_FIELDS} can be",
                self.fields.len()
            ));
        }
        if let Err(why) = self.check_parts() {
            return wrong(why);
        }
        if self.batch_events > 1 && self.to.takes_one() {
            return wrong(format!(
                "batch_events is {}, and must be 1 where a request has one event",
                self.batch_events
            ));
        }
        self.to.check().or_else(wrong)
    }

    /// What its credentials are, as far as anything is kept of them: see [`mark`](crate::secret::mark).
    #[cfg(feature = "client")]
    pub(crate) fn mark_of_secrets(&self, log: LogId, added: u64) -> Option<u16> {
        let salt = [log.as_bytes().as_slice(), &added.to_le_bytes()].concat();
        crate::secret::mark(&self.to.secrets(), &salt)
    }

    /// There are no credentials where nothing reaches a network.
    #[cfg(not(feature = "client"))]
    #[expect(clippy::unused_self, reason = "a feature needs it")]
    pub(crate) fn mark_of_secrets(&self, _: LogId, _: u64) -> Option<u16> {
        None
    }
}

/// Sinks as they are written in a file: one table `[[sink]]` each.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SinkFile {
    #[serde(default)]
    sink: Vec<SinkConfig>,
}

/// What is wrong with a TOML text, and where, without what stands there: that may be a secret which was
/// written in the place of its name.
fn wrong_toml(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().and_then(|span| text.get(..span.start));
    let place = place.map_or_else(String::new, |before| {
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|it| *it != '\n').count() + 1;
        format!("line {line}, column {column}: ")
    });
    let message = error.message();
    let quotes = ["invalid type", "invalid value", "unknown variant"];
    let Some(wrong) = quotes.iter().find(|wrong| message.starts_with(**wrong)) else {
        return format!("{place}{message}");
    };
    let expected = message
        .rfind(", expected ")
        .and_then(|at| message.get(at..));
    format!("{place}{wrong}{}", expected.unwrap_or_default())
}

/// The sinks that a TOML text names.
///
/// ```
/// let sinks = runstone_sinks::from_toml(
///     r#"
///     [[sink]]
///     name = "audit"
///     query = "type=effect.*"
///     fields = ["status"]
///     [sink.to.jsonl]
///     path = "/var/log/audit.jsonl"
///     rotate_daily = true
///     "#,
/// )?;
/// assert_eq!((sinks.len(), sinks[0].timeout_s), (1, 30));
/// # Ok::<(), runstone_sinks::SinkError>(())
/// ```
///
/// # Errors
///
/// [`SinkError::BadConfig`] says what is wrong with it, and where.
pub fn from_toml(text: &str) -> Result<Vec<SinkConfig>, SinkError> {
    let file: SinkFile = toml::from_str(text).map_err(|error| SinkError::BadConfig {
        why: wrong_toml(text, &error),
    })?;
    let mut names = BTreeSet::new();
    for sink in &file.sink {
        sink.check()?;
        if !names.insert(&sink.name) {
            let name = sink.name.clone();
            return Err(SinkError::Exists { name });
        }
    }
    Ok(file.sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jsonl(path: &str) -> SinkConfig {
        SinkConfig::new("a", Destination::jsonl(path))
    }

    #[test]
    fn what_is_left_out_is_the_default_and_what_is_unknown_is_an_error() {
        let text = "[[sink]]\nname = \"a\"\n[sink.to.jsonl]\npath = \"/a\"\n";
        assert_eq!(from_toml(text).unwrap(), [jsonl("/a")]);
        for wrong in [
            "[[sink]]\nname = \"a\"\n",
            "[[sinks]]\n",
            "[[sink]]\nname = \"a\"\ntime = 1\n[sink.to.jsonl]\npath = \"/a\"\n",
            "[[sink]]\nname = \"a\"\n[sink.to.jsonl]\npath = \"/a\"\nrotate = 1\n",
            "[[sink]]\nname = \"a\"\nfrom = \"soon\"\n[sink.to.jsonl]\npath = \"/a\"\n",
        ] {
            let error = from_toml(wrong).unwrap_err();
            assert_eq!(error.code(), "sink_config", "{wrong}: {error}");
        }
        let twice = text.repeat(2);
        assert_eq!(from_toml(&twice).unwrap_err().code(), "sink_exists");
    }

    #[test]
    fn a_secret_in_the_place_of_its_name_is_not_quoted() {
        let begin = "[[sink]]\nname = \"a\"\n[sink.to.webhook]\nurl = \"https://a.b\"\n";
        for wrong in [
            "secrets = [\"planted\"]",
            "secrets = \"planted\"",
            "secrets = [{ env = [\"planted\"] }]",
            "headers = { Authorization = \"Bearer planted\" }",
            "headers = { Authorization = { planted = \"planted\" ",
            "secrets = [planted]",
            "mode = \"planted\"",
        ] {
            let error = from_toml(&format!("{begin}{wrong}\n"))
                .unwrap_err()
                .to_string();
            assert!(!error.contains("planted"), "{error}");
            assert!(error.contains("line 5"), "{error}");
        }
        let error = from_toml("[[sink]]\nnam = \"a\"\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2, column 1: unknown field `nam`"),
            "{error}"
        );
    }

    #[test]
    fn a_configuration_comes_back_from_json() {
        let config = jsonl("/a")
            .from(Start::At(7))
            .query(Query::parse("type=a.*").unwrap())
            .fields(["b"])
            .tries(2);
        let json = serde_json::to_string(&config).unwrap();
        let back: SinkConfig = serde_json::from_str(&json).unwrap();
        assert_eq!(back, config);
        assert!(json.contains("\"from\":7"), "{json}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(jsonl("/a").check().is_ok());
        for wrong in [
            jsonl("a"),
            jsonl("/"),
            jsonl("/a").tries(0),
            jsonl("/a").timeout(Duration::from_secs(MAX_TIMEOUT_S + 1)),
            jsonl("/a").batch_events(0),
            SinkConfig::new("a", Destination::custom("")),
            SinkConfig::new("a", Destination::command([""; 0])),
            SinkConfig::new("a", Destination::command(["a", "b\0"])),
        ] {
            let error = wrong.check().unwrap_err();
            assert_eq!(error.code(), "sink_config", "{wrong:?}");
        }
        for name in ["", "A", "-a", "a/b", "..", &"a".repeat(MAX_NAME_LEN + 1)] {
            let config = SinkConfig::new(name, Destination::jsonl("/a"));
            assert_eq!(config.check().unwrap_err().code(), "sink_name", "{name}");
        }
    }
}
