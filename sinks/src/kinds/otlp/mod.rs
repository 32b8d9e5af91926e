//! Runs as traces: spans and log records over OTLP/HTTP, in protobuf.
//!
//! ```text
//!  run.finished                            span of the run             trace: the stream of the run
//!  step.completed, .failed                  + span of the step
//!  effect.completed, tool.call.completed       + span of the call, from its claim or request on
//!  llm.call.completed                          + span of the call, without a length
//!  every other event                       a log record in the span where it happened
//! ```
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

mod attributes;
mod ids;
mod tell;

use super::http::{Answer, Client, End};
use crate::config::OtlpConfig;
use crate::sink::{Batch, Delivery, Event, Rejection, Sink};
use attributes::Attributes;
use ids::Ids;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use reqwest::header::HeaderMap;
use runstone_codec::LogId;
use tell::{Told, tell};

/// A place that takes spans and log records.
#[derive(Debug)]
pub(super) struct Otlp {
    client: Client,
    ids: Ids,
    resource: Resource,
    scope: InstrumentationScope,
}

impl Otlp {
    /// Reads the secrets that it needs.
    pub(super) fn new(config: &OtlpConfig, log: LogId) -> Result<Self, Rejection> {
        let mut attributes = Attributes::default();
        attributes.text("service.name", config.service.as_str());
        attributes.text("runstone.log", log.to_string());
        Ok(Self {
            client: Client::new(config.place())?,
            ids: Ids { log },
            resource: Resource {
                attributes: attributes.into_inner(),
                ..Resource::default()
            },
            scope: InstrumentationScope {
                name: "runstone".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            },
        })
    }

    async fn give(&self, events: &[Event]) -> Result<(), Rejection> {
        let (mut spans, mut logs) = (Vec::new(), Vec::new());
        for event in events {
            match tell(self.ids, event) {
                Told::Span(span) => spans.push(*span),
                Told::Log(log) => logs.push(*log),
            }
        }
        if !spans.is_empty() {
            self.post_spans(spans).await?;
        }
        if !logs.is_empty() {
            self.post_logs(logs).await?;
        }
        Ok(())
    }

    async fn post_spans(&self, spans: Vec<Span>) -> Result<(), Rejection> {
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(self.scope.clone()),
                    spans,
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let answer = self.post("v1/traces", &request).await?;
        taken(&answer, |said: ExportTraceServiceResponse| {
            said.partial_success.map(|partial| partial.rejected_spans)
        })
    }

    async fn post_logs(&self, log_records: Vec<LogRecord>) -> Result<(), Rejection> {
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs {
                    scope: Some(self.scope.clone()),
                    log_records,
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        let answer = self.post("v1/logs", &request).await?;
        taken(&answer, |said: ExportLogsServiceResponse| {
            let partial = said.partial_success;
            partial.map(|partial| partial.rejected_log_records)
        })
    }

    async fn post(&self, path: &str, request: &impl Message) -> Result<Answer, Rejection> {
        let body = request.encode_to_vec();
        self.client
            .post(path, "application/x-protobuf", HeaderMap::new(), body)
            .await
    }
}

/// Whether everything was taken. What was rejected is found when each event is given alone: ids are
/// the same then, so what was taken stays once.
fn taken<T: Message + Default>(
    answer: &Answer,
    rejected: impl FnOnce(T) -> Option<i64>,
) -> Result<(), Rejection> {
    match answer.end {
        End::Whole => {}
        End::BrokenOff => {
            return Err(Rejection::unavailable(
                "the answer broke off before it said what was taken",
            ));
        }
        End::TooLong => {
            return Err(Rejection::Refused(
                "the answer is too long to say that everything was taken".to_owned(),
            ));
        }
    }
    let answer = answer.body.as_slice();
    // Some answer in JSON, whatever they were asked in.
    let count = match answer.first() {
        Some(b'{') => serde_json::from_slice(answer)
            .ok()
            .map(|said| in_json(&said)),
        _ => T::decode(answer)
            .ok()
            .map(|said| rejected(said).unwrap_or(0)),
    };
    match count {
        Some(count) if count <= 0 => Ok(()),
        Some(_) => Err(Rejection::Refused(
            "the receiver took a part of it, and rejected the rest".to_owned(),
        )),
        None => Err(Rejection::unavailable(
            "what answers there does not speak OTLP: look where the endpoint leads",
        )),
    }
}

/// What an answer in JSON says was rejected: 64-bit numbers are text there.
fn in_json(said: &serde_json::Value) -> i64 {
    let partial = said.get("partialSuccess");
    let count = |name| {
        let count = partial?.get(name)?;
        let text = count.as_str().and_then(|text| text.parse().ok());
        count.as_i64().or(text)
    };
    let counts = ["rejectedSpans", "rejectedLogRecords"].map(count);
    counts.into_iter().flatten().fold(0, i64::saturating_add)
}

impl Sink for Otlp {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(self.give(batch.events()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    fn said(answer: &[u8]) -> Result<(), Rejection> {
        ended(answer, End::Whole)
    }

    fn ended(answer: &[u8], end: End) -> Result<(), Rejection> {
        let body = answer.to_vec();
        taken(&Answer { body, end }, |said: ExportTraceServiceResponse| {
            said.partial_success.map(|partial| partial.rejected_spans)
        })
    }

    #[test]
    fn an_answer_says_whether_everything_was_taken() {
        let partial = |rejected_spans| {
            let partial_success = Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message: "planted".to_owned(),
            });
            ExportTraceServiceResponse { partial_success }.encode_to_vec()
        };
        for fine in [&b""[..], &partial(0), b"{}", b"{\"partialSuccess\":{}}"] {
            assert_eq!(said(fine), Ok(()));
        }
        let cut = ended(b"", End::BrokenOff);
        assert!(matches!(cut, Err(Rejection::Unavailable(_))), "{cut:?}");
        let long = ended(b"", End::TooLong);
        assert!(matches!(long, Err(Rejection::Refused(_))), "{long:?}");
        let text = br#"{"partialSuccess":{"rejectedSpans":"2"}}"#;
        for refused in [&partial(1), &text[..]] {
            let why = said(refused).unwrap_err();
            assert!(matches!(&why, Rejection::Refused(_)), "{why}");
            assert!(!why.to_string().contains("planted"));
        }
        for other in [&b"<html>"[..], b"{"] {
            assert!(matches!(said(other), Err(Rejection::Unavailable(_))));
        }
    }
}
