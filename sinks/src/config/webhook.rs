//! Webhooks as a destination.

#[cfg(feature = "webhook")]
use super::http::HttpPlace;
use crate::secret::SecretSource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A place that takes CloudEvents 1.0 as HTTP POST, signed as Standard Webhooks are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WebhookConfig {
    /// Where it is. It is recorded in the log, and no place for secrets.
    pub url: String,
    /// How many events a request has. Default: as many as a batch.
    #[serde(default)]
    pub mode: WebhookMode,
    /// Where the secrets stand that requests are signed with, `whsec_` and base64 each. Two while one
    /// takes the place of the other. Default: none, and nothing is signed.
    #[serde(default)]
    pub secrets: Vec<SecretSource>,
    /// More headers, and where their values stand: `Authorization`, say.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretSource>,
    /// A file of certificates in PEM that are trusted besides those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether `http://` may lead off this machine. Default: no.
    #[serde(default)]
    pub plain_http: bool,
}

/// How many events a request has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WebhookMode {
    /// A batch, as `application/cloudevents-batch+json`.
    #[default]
    Batched,
    /// One, as `application/cloudevents+json`. `batch_events` of the sink is 1 then.
    Structured,
}

impl WebhookConfig {
    /// A place that gets batches, unsigned.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            mode: WebhookMode::default(),
            secrets: Vec::new(),
            headers: BTreeMap::new(),
            ca: None,
            plain_http: false,
        }
    }

    /// Says how many events a request has.
    #[must_use]
    pub fn mode(mut self, mode: WebhookMode) -> Self {
        self.mode = mode;
        self
    }

    /// Signs with these secrets.
    #[must_use]
    pub fn secrets(mut self, secrets: impl IntoIterator<Item = SecretSource>) -> Self {
        self.secrets = secrets.into_iter().collect();
        self
    }

    /// Sends another header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: SecretSource) -> Self {
        self.headers.insert(name.into(), value);
        self
    }

    /// Trusts the certificates of this file too.
    #[must_use]
    pub fn ca(mut self, file: Option<PathBuf>) -> Self {
        self.ca = file;
        self
    }

    /// Whether `http://` may lead off this machine.
    #[must_use]
    pub fn plain_http(mut self, is_allowed: bool) -> Self {
        self.plain_http = is_allowed;
        self
    }

    /// The place.
    #[cfg(feature = "webhook")]
    pub(crate) fn place(&self) -> HttpPlace<'_> {
        HttpPlace {
            url: &self.url,
            headers: &self.headers,
            header_list: None,
            ca: self.ca.as_deref(),
            plain_http: self.plain_http,
        }
    }

    /// What is wrong with it.
    #[cfg(feature = "webhook")]
    pub(super) fn check(&self) -> Result<(), String> {
        /// Most secrets to sign with: the newest, and those that it takes the place of.
        const MAX_SECRETS: usize = 4;
        self.place().check()?;
        if self.secrets.len() > MAX_SECRETS {
            return Err(format!("more than {MAX_SECRETS} secrets are named"));
        }
        let is_own = |name: &&String| name.to_ascii_lowercase().starts_with("webhook-");
        if let Some(name) = self.headers.keys().find(is_own) {
            return Err(format!("`{name}` cannot be a header of a webhook"));
        }
        self.secrets.iter().try_for_each(SecretSource::check)
    }
}
