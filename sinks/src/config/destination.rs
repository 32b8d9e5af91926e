//! Where a sink lies.

use super::part::is_file;
use super::{
    ArchiveConfig, CheckpointsConfig, MirrorConfig, OtlpConfig, Pace, Payloads, WebhookConfig,
    WebhookMode, is_sink_name,
};
#[cfg(feature = "client")]
use crate::secret::SecretSource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where a sink lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Destination {
    /// A file of lines.
    Jsonl(JsonlConfig),
    /// The standard input of a command.
    Command(CommandConfig),
    /// A place that takes CloudEvents over HTTP.
    Webhook(WebhookConfig),
    /// A place that takes spans and log records over OTLP.
    Otlp(OtlpConfig),
    /// Segments of the log in a folder or an object store.
    Archive(ArchiveConfig),
    /// Another file with the same log.
    Mirror(MirrorConfig),
    /// Checkpoints in a folder or an object store.
    Checkpoints(CheckpointsConfig),
    /// A kind that the program brings which holds the log; see [`Kinds`](crate::Kinds).
    Custom(CustomConfig),
}

impl Destination {
    /// A file of lines, never rotated.
    pub fn jsonl(path: impl Into<PathBuf>) -> Self {
        Self::Jsonl(JsonlConfig::new(path))
    }

    /// A command and its arguments, as they are: no shell is run.
    pub fn command<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Self {
        Self::Command(CommandConfig {
            command: words.into_iter().map(Into::into).collect(),
        })
    }

    /// A place that takes CloudEvents over HTTP, in batches and unsigned.
    pub fn webhook(url: impl Into<String>) -> Self {
        Self::Webhook(WebhookConfig::new(url))
    }

    /// A kind of one's own.
    pub fn custom(kind: impl Into<String>) -> Self {
        Self::Custom(CustomConfig { kind: kind.into() })
    }

    /// What kind of destination it is, in one word.
    pub fn kind(&self) -> &str {
        match self {
            Self::Jsonl(_) => "jsonl",
            Self::Command(_) => "command",
            Self::Webhook(_) => "webhook",
            Self::Otlp(_) => "otlp",
            Self::Archive(_) => "archive",
            Self::Mirror(_) => "mirror",
            Self::Checkpoints(_) => "checkpoints",
            Self::Custom(custom) => &custom.kind,
        }
    }

    /// Where it is, as people say it.
    pub fn place(&self) -> String {
        match self {
            Self::Jsonl(jsonl) => jsonl.path.display().to_string(),
            Self::Command(command) => command.command.join(" "),
            Self::Webhook(webhook) => webhook.url.clone(),
            Self::Otlp(otlp) => otlp.endpoint.clone(),
            Self::Archive(archive) => archive.url.clone(),
            Self::Mirror(mirror) => mirror.path.display().to_string(),
            Self::Checkpoints(checkpoints) => checkpoints.url.clone(),
            Self::Custom(_) => String::new(),
        }
    }

    /// How it is fed, if it takes parts of the log instead of events.
    pub(crate) fn pace(&self) -> Option<Pace> {
        match self {
            Self::Archive(archive) => Some(Pace::of_archive(archive)),
            Self::Mirror(mirror) => Some(Pace::of_mirror(mirror)),
            Self::Checkpoints(checkpoints) => Some(Pace::of_checkpoints(checkpoints)),
            Self::Jsonl(_)
            | Self::Command(_)
            | Self::Webhook(_)
            | Self::Otlp(_)
            | Self::Custom(_) => None,
        }
    }

    /// Where the credentials stand with which it is reached.
    #[cfg(feature = "client")]
    pub(crate) fn secrets(&self) -> Vec<SecretSource> {
        match self {
            Self::Webhook(webhook) => {
                let headers = webhook.headers.values();
                webhook.secrets.iter().chain(headers).cloned().collect()
            }
            Self::Otlp(otlp) => {
                let headers = otlp.headers.values();
                headers.chain(&otlp.header_list).cloned().collect()
            }
            Self::Archive(archive) => archive.s3.secrets(),
            Self::Checkpoints(checkpoints) => checkpoints.s3.secrets(),
            // The others have none, or none that anybody here knows of.
            Self::Jsonl(_) | Self::Command(_) | Self::Mirror(_) | Self::Custom(_) => Vec::new(),
        }
    }

    /// Whether it takes content as it is stored, and may not take it in the clear.
    pub(crate) fn takes_sealed_only(&self) -> bool {
        match self {
            Self::Archive(archive) => archive.payloads == Payloads::Sealed,
            Self::Mirror(mirror) => mirror.payloads == Payloads::Sealed,
            _ => false,
        }
    }

    /// Whether it takes one event at once.
    pub(super) fn takes_one(&self) -> bool {
        matches!(self, Self::Webhook(webhook) if webhook.mode == WebhookMode::Structured)
    }

    /// Why nothing gets there from this program.
    #[cfg(not(all(feature = "archive", feature = "otlp", feature = "webhook")))]
    pub(crate) fn unbuilt(&self) -> String {
        format!(
            "the program that holds the log was built without sinks of the kind `{}`",
            self.kind()
        )
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Jsonl(jsonl) => {
                is_file(&jsonl.path)?;
                if jsonl.rotate_bytes == Some(0) {
                    return Err("rotate_bytes is 0: every file would be empty".to_owned());
                }
            }
            Self::Command(command) => {
                if command.command.first().is_none_or(String::is_empty) {
                    return Err("there is no command".to_owned());
                }
                if command.command.iter().any(|word| word.contains('\0')) {
                    return Err("a word of the command has a zero byte".to_owned());
                }
            }
            #[cfg(feature = "webhook")]
            Self::Webhook(webhook) => webhook.check()?,
            #[cfg(not(feature = "webhook"))]
            Self::Webhook(_) => return Err(self.unbuilt()),
            #[cfg(feature = "otlp")]
            Self::Otlp(otlp) => otlp.check()?,
            #[cfg(not(feature = "otlp"))]
            Self::Otlp(_) => return Err(self.unbuilt()),
            Self::Mirror(mirror) => mirror.check()?,
            #[cfg(feature = "archive")]
            Self::Archive(archive) => archive.check()?,
            #[cfg(feature = "archive")]
            Self::Checkpoints(checkpoints) => checkpoints.check()?,
            #[cfg(not(feature = "archive"))]
            Self::Archive(_) | Self::Checkpoints(_) => return Err(self.unbuilt()),
            Self::Custom(custom) => {
                if !is_sink_name(&custom.kind) {
                    return Err(format!("`{}` cannot be the name of a kind", custom.kind));
                }
            }
        }
        Ok(())
    }
}

/// A file of lines, one an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JsonlConfig {
    /// The file, from the root of the file system.
    pub path: PathBuf,
    /// Bytes from which on the file is put aside and a new one begun. Default: never.
    #[serde(default)]
    pub rotate_bytes: Option<u64>,
    /// Whether a file has the events of one day of UTC, by the time at which they were recorded.
    #[serde(default)]
    pub rotate_daily: bool,
}

impl JsonlConfig {
    /// A file that is never put aside.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            rotate_bytes: None,
            rotate_daily: false,
        }
    }

    /// Puts the file aside once it has so many bytes.
    #[must_use]
    pub fn rotate_bytes(mut self, bytes: Option<u64>) -> Self {
        self.rotate_bytes = bytes;
        self
    }

    /// Whether it is put aside after each day of UTC.
    #[must_use]
    pub fn rotate_daily(mut self, is_daily: bool) -> Self {
        self.rotate_daily = is_daily;
        self
    }
}

/// A command that is begun for each batch and reads its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CommandConfig {
    /// The program and its arguments. They are recorded in the log, and are no place for secrets.
    pub command: Vec<String>,
}

/// A kind of sink that a program brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CustomConfig {
    /// Its name among the kinds of the program.
    pub kind: String,
}
