//! Receivers of OpenTelemetry as a destination.

#[cfg(feature = "otlp")]
use super::http::HttpPlace;
use crate::secret::SecretSource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A place that takes spans and log records over OTLP/HTTP, in protobuf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OtlpConfig {
    /// Where it is, without `v1/traces` and `v1/logs`. It is recorded in the log, and no place for
    /// secrets.
    pub endpoint: String,
    /// What the service is called that the log is of: `service.name`. Default: `runstone`.
    #[serde(default = "service")]
    pub service: String,
    /// More headers, and where their values stand.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretSource>,
    /// Where a list of headers stands, as `OTEL_EXPORTER_OTLP_HEADERS` has it: `name=value,name=value`,
    /// values percent-encoded.
    #[serde(default)]
    pub header_list: Option<SecretSource>,
    /// A file of certificates in PEM that are trusted besides those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether `http://` may lead off this machine. Default: no.
    #[serde(default)]
    pub plain_http: bool,
}

fn service() -> String {
    "runstone".to_owned()
}

impl OtlpConfig {
    /// A place that gets no headers.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            service: service(),
            headers: BTreeMap::new(),
            header_list: None,
            ca: None,
            plain_http: false,
        }
    }

    /// Calls the service so.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }

    /// Sends another header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: SecretSource) -> Self {
        self.headers.insert(name.into(), value);
        self
    }

    /// Sends the headers of a list.
    #[must_use]
    pub fn header_list(mut self, list: Option<SecretSource>) -> Self {
        self.header_list = list;
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
    #[cfg(feature = "otlp")]
    pub(crate) fn place(&self) -> HttpPlace<'_> {
        HttpPlace {
            url: &self.endpoint,
            headers: &self.headers,
            header_list: self.header_list.as_ref(),
            ca: self.ca.as_deref(),
            plain_http: self.plain_http,
        }
    }

    /// What is wrong with it.
    #[cfg(feature = "otlp")]
    pub(super) fn check(&self) -> Result<(), String> {
        self.place().check()
    }
}
