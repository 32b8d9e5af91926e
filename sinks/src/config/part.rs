//! Sinks that take parts of the log itself instead of events: segments, and checkpoints.

use crate::secret::SecretSource;
use runstone_store::whole_seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most events of a segment.
const MAX_EVENTS: u64 = 1_000_000;
/// Bytes after which a segment ends, at most.
const MAX_BYTES: u64 = 128 << 20;
/// Longest time that events wait for a segment, in seconds.
const MAX_SECONDS: u64 = 86_400;

/// Which content goes with segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Payloads {
    /// Sealed content alone: of a log that is not encrypted there is none, and the sink is refused.
    #[default]
    Sealed,
    /// Content in the clear too, if the log is not encrypted.
    Plain,
}

/// When segments end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SegmentsConfig {
    /// Most events of one, up to 1,000,000. Default 65,536.
    #[serde(default = "events")]
    pub events: u64,
    /// Bytes after which one ends, up to 128 MiB. Default 8 MiB.
    #[serde(default = "bytes")]
    pub bytes: u64,
    /// Seconds that an event waits for others, up to a day. Default: 300 for an archive, 10 for a
    /// mirror, 60 for checkpoints.
    #[serde(default)]
    pub seconds: Option<u64>,
}

fn events() -> u64 {
    65_536
}

fn bytes() -> u64 {
    8 << 20
}

impl Default for SegmentsConfig {
    fn default() -> Self {
        Self {
            events: events(),
            bytes: bytes(),
            seconds: None,
        }
    }
}

impl SegmentsConfig {
    /// Ends after so many events.
    #[must_use]
    pub fn events(mut self, most: u64) -> Self {
        self.events = most;
        self
    }

    /// Ends after so many bytes.
    #[must_use]
    pub fn bytes(mut self, most: u64) -> Self {
        self.bytes = most;
        self
    }

    /// Ends so long after its first event came, whatever it has. A part of a second counts whole.
    #[must_use]
    pub fn wait(mut self, most: Duration) -> Self {
        self.seconds = Some(whole_seconds(most));
        self
    }

    fn check(&self) -> Result<(), String> {
        for (member, value, least, most) in [
            ("events", self.events, 1, MAX_EVENTS),
            ("bytes", self.bytes, 1, MAX_BYTES),
            ("seconds", self.seconds.unwrap_or(0), 0, MAX_SECONDS),
        ] {
            if value < least || value > most {
                return Err(format!(
                    "{member} of segments is {value}, and must be {least} to {most}"
                ));
            }
        }
        Ok(())
    }
}

/// How an S3-compatible store is reached. What is left out is as the usual `AWS_` variables of the
/// environment of whoever holds the log say; secrets stand there, or where they are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct S3Config {
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// Where it is, if it is not that of AWS.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Whether `http://` may lead off this machine.
    #[serde(default)]
    pub plain_http: bool,
    /// Certificates in PEM that are trusted besides those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The id of the key.
    #[serde(default)]
    pub access_key: Option<SecretSource>,
    /// The key.
    #[serde(default)]
    pub secret_key: Option<SecretSource>,
    /// The token of a session.
    #[serde(default)]
    pub session_token: Option<SecretSource>,
}

impl S3Config {
    /// In this region.
    #[must_use]
    pub fn region(mut self, region: Option<String>) -> Self {
        self.region = region;
        self
    }

    /// Of another provider.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Option<String>) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// With credentials that are named.
    #[must_use]
    pub fn credentials(mut self, access_key: SecretSource, secret_key: SecretSource) -> Self {
        (self.access_key, self.secret_key) = (Some(access_key), Some(secret_key));
        self
    }

    /// A place in it, in the one way to write it.
    pub(super) fn place(&self, url: &str) -> String {
        #[cfg(feature = "archive")]
        let url = crate::place::normal(url).unwrap_or_else(|_| url.to_owned());
        format!("{url} {}", self.endpoint.as_deref().unwrap_or_default())
    }

    /// Where its credentials stand.
    #[cfg(feature = "client")]
    pub(crate) fn secrets(&self) -> Vec<SecretSource> {
        if self.access_key.is_none() {
            let usual = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"];
            return usual
                .map(|name| SecretSource::Env(format!("AWS_{name}")))
                .to_vec();
        }
        let named = [&self.access_key, &self.secret_key, &self.session_token];
        named.into_iter().flatten().cloned().collect()
    }

    #[cfg(feature = "archive")]
    fn check(&self, url: &str) -> Result<(), String> {
        crate::place::normal(url)?;
        if *self != Self::default() && !url.starts_with("s3://") {
            return Err("s3 is for places that begin with s3://".to_owned());
        }
        if self.access_key.is_some() != self.secret_key.is_some() {
            return Err("access_key and secret_key go together".to_owned());
        }
        let secrets = [&self.access_key, &self.secret_key, &self.session_token];
        for secret in secrets.into_iter().flatten() {
            secret.check()?;
        }
        match &self.endpoint {
            Some(endpoint) => self.check_endpoint(endpoint),
            None => Ok(()),
        }
    }

    /// What is wrong with where it is.
    #[cfg(feature = "archive")]
    pub(crate) fn check_endpoint(&self, endpoint: &str) -> Result<(), String> {
        let place = super::HttpPlace {
            url: endpoint,
            headers: &std::collections::BTreeMap::new(),
            header_list: None,
            ca: self.ca.as_deref(),
            plain_http: self.plain_http,
        };
        place.check()
    }
}

/// An archive: write-once segments in a folder or an object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ArchiveConfig {
    /// Where it is: `file:///folder` or `s3://bucket/prefix`.
    pub url: String,
    /// Which content it has.
    #[serde(default)]
    pub payloads: Payloads,
    /// When segments end.
    #[serde(default)]
    pub segments: SegmentsConfig,
    /// How the store is reached.
    #[serde(default)]
    pub s3: S3Config,
}

impl ArchiveConfig {
    /// An archive of sealed content.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            payloads: Payloads::default(),
            segments: SegmentsConfig::default(),
            s3: S3Config::default(),
        }
    }

    /// In a store that is reached so.
    #[must_use]
    pub fn s3(mut self, s3: S3Config) -> Self {
        self.s3 = s3;
        self
    }

    /// Has this content.
    #[must_use]
    pub fn payloads(mut self, payloads: Payloads) -> Self {
        self.payloads = payloads;
        self
    }

    /// Ends segments so.
    #[must_use]
    pub fn segments(mut self, segments: SegmentsConfig) -> Self {
        self.segments = segments;
        self
    }

    #[cfg(feature = "archive")]
    pub(super) fn check(&self) -> Result<(), String> {
        self.s3.check(&self.url)?;
        self.segments.check()
    }
}

/// A mirror: another file with the same log, which is a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MirrorConfig {
    /// The file, from the root of the file system.
    pub path: PathBuf,
    /// Which content it has.
    #[serde(default)]
    pub payloads: Payloads,
    /// How much is added at once.
    #[serde(default)]
    pub segments: SegmentsConfig,
}

impl MirrorConfig {
    /// A mirror of sealed content.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            payloads: Payloads::default(),
            segments: SegmentsConfig::default(),
        }
    }

    /// Has this content.
    #[must_use]
    pub fn payloads(mut self, payloads: Payloads) -> Self {
        self.payloads = payloads;
        self
    }

    /// Adds so much at once.
    #[must_use]
    pub fn segments(mut self, segments: SegmentsConfig) -> Self {
        self.segments = segments;
        self
    }

    pub(super) fn check(&self) -> Result<(), String> {
        is_file(&self.path)?;
        self.segments.check()
    }
}

/// Signed checkpoints in a folder or an object store, without any event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CheckpointsConfig {
    /// Where they go: `file:///folder` or `s3://bucket/prefix`.
    pub url: String,
    /// Seconds between two, if the log grew, up to a day. Default 60.
    #[serde(default)]
    pub seconds: Option<u64>,
    /// How the store is reached.
    #[serde(default)]
    pub s3: S3Config,
}

impl CheckpointsConfig {
    /// A checkpoint a minute, if the log grew.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            seconds: None,
            s3: S3Config::default(),
        }
    }

    /// In a store that is reached so.
    #[must_use]
    pub fn s3(mut self, s3: S3Config) -> Self {
        self.s3 = s3;
        self
    }

    /// One in so long, if the log grew. A part of a second counts whole.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.seconds = Some(whole_seconds(time));
        self
    }

    fn pace(&self) -> SegmentsConfig {
        SegmentsConfig {
            events: MAX_EVENTS,
            seconds: self.seconds,
            ..SegmentsConfig::default()
        }
    }

    #[cfg(feature = "archive")]
    pub(super) fn check(&self) -> Result<(), String> {
        self.s3.check(&self.url)?;
        self.pace().check()
    }
}

/// What is wrong with the name of a file.
pub(super) fn is_file(path: &Path) -> Result<(), String> {
    if path.is_absolute() && path.file_name().is_some() {
        return Ok(());
    }
    Err(format!(
        "`{}` is not a file, named from the root of the file system",
        path.display()
    ))
}

/// How a sink of parts is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Checkpoints instead of segments.
    pub(crate) is_checkpoints: bool,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: u64,
}

impl Pace {
    fn of(segments: &SegmentsConfig, seconds: u64) -> Self {
        Self {
            is_checkpoints: false,
            events: segments.events,
            bytes: segments.bytes,
            seconds: segments.seconds.unwrap_or(seconds),
        }
    }

    pub(super) fn of_archive(config: &ArchiveConfig) -> Self {
        Self::of(&config.segments, 300)
    }

    pub(super) fn of_mirror(config: &MirrorConfig) -> Self {
        Self::of(&config.segments, 10)
    }

    pub(super) fn of_checkpoints(config: &CheckpointsConfig) -> Self {
        Self {
            is_checkpoints: true,
            ..Self::of(&config.pace(), 60)
        }
    }
}
