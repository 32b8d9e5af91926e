//! Where OTLP goes, as the environment of OpenTelemetry's exporters says it:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use crate::error::{Failure, Report};
use runstone::sinks::{OtlpConfig, SecretSource};
use std::path::{Path, PathBuf};

/// Where a receiver is that runs on this machine.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// The one protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";

/// What the environment says; variables without a value say nothing.
pub(super) struct Environment {
    endpoint: Option<String>,
    pub(super) ca: Option<PathBuf>,
    service: Option<String>,
    has_headers: bool,
    /// Seconds that a delivery has.
    pub(super) timeout_s: Option<u64>,
}

fn variable(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line reads the environment for the library"
    )]
    let value = std::env::var(name).ok();
    value.filter(|value| !value.is_empty())
}

impl Environment {
    /// Reads it.
    pub(super) fn read() -> Result<Self, Failure> {
        let wrong = |name: &str, why: &str| Failure::from(Report::usage(format!("{name} {why}")));
        let name = "OTEL_EXPORTER_OTLP_PROTOCOL";
        if variable(name).is_some_and(|protocol| protocol != PROTOCOL) {
            return Err(wrong(
                name,
                "is not http/protobuf, which alone is spoken here",
            ));
        }
        let name = "OTEL_EXPORTER_OTLP_TIMEOUT";
        let timeout_s = variable(name).map(|text| {
            let ms: Option<u64> = text.parse().ok();
            ms.map(|ms| ms.div_ceil(1_000).max(1))
                .ok_or_else(|| wrong(name, "is not a number of milliseconds"))
        });
        Ok(Self {
            endpoint: variable("OTEL_EXPORTER_OTLP_ENDPOINT"),
            ca: variable("OTEL_EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from),
            service: variable("OTEL_SERVICE_NAME"),
            has_headers: variable(HEADERS).is_some(),
            timeout_s: timeout_s.transpose()?,
        })
    }

    /// A receiver at this endpoint, else at the one that the environment names, with the headers that it
    /// names: they may be credentials, which are for no other place.
    pub(super) fn receiver(&self, given: String, ca: Option<&Path>) -> OtlpConfig {
        let given = Some(given).filter(|given| !given.is_empty());
        let is_theirs = given.is_none() || given == self.endpoint;
        let endpoint = given.or_else(|| self.endpoint.clone());
        let config = OtlpConfig::new(endpoint.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()));
        // The variable is named, and read by whoever holds the log.
        let list = (self.has_headers && is_theirs).then(|| SecretSource::Env(HEADERS.to_owned()));
        let config = config.header_list(list).ca(ca.map(Path::to_owned));
        match &self.service {
            Some(service) => config.service(service),
            None => config,
        }
    }
}
