//! A webhook: events as CloudEvents 1.0 in JSON, signed as Standard Webhooks are.
//!
//! ```text
//!  webhook-id: msg_LOG_SINK_FIRST_LAST         the same whenever this batch is posted
//!  webhook-timestamp: 1764000000
//!  webhook-signature: v1,BASE64 v1,BASE64      HMAC-SHA256 of "id.timestamp.body", for each secret
//! ```
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>,
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use super::http::Client;
use crate::config::{WebhookConfig, WebhookMode};
use crate::secret::{Secret, SecretSource};
use crate::sink::{Batch, Delivery, Event, Rejection, Sink};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use runstone_codec::LogId;
use runstone_store::line::rfc3339;
use runstone_store::{Clock, Payload, SystemClock};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

/// Bytes of a secret that signs.
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;
/// What a secret begins with.
const SECRET_PREFIX: &[u8] = b"whsec_";
const SECOND_US: u64 = 1_000_000;

/// A place that takes CloudEvents.
#[derive(Debug)]
pub(super) struct Webhook {
    client: Client,
    mode: WebhookMode,
    secrets: Vec<Secret>,
    /// The log, as CloudEvents name it.
    source: String,
    /// What the ids of requests begin with.
    prefix: String,
    clock: SystemClock,
}

impl Webhook {
    /// Reads the secrets that it needs.
    pub(super) fn new(
        config: &WebhookConfig,
        sink: &str,
        log: LogId,
        added: u64,
    ) -> Result<Self, Rejection> {
        let secrets: Result<Vec<_>, _> = config.secrets.iter().map(signing).collect();
        Ok(Self {
            client: Client::new(config.place())?,
            mode: config.mode,
            secrets: secrets?,
            source: format!("urn:runstone:log:{log}"),
            prefix: format!("msg_{log}_{sink}_{added}"),
            clock: SystemClock::default(),
        })
    }

    async fn give(&self, events: &[Event]) -> Result<(), Rejection> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Ok(());
        };
        let each: Vec<_> = events.iter().map(|event| self.event(event)).collect();
        let (content_type, body) = match (self.mode, each.as_slice()) {
            (WebhookMode::Batched, all) => (
                "application/cloudevents-batch+json; charset=utf-8",
                serde_json::to_vec(all),
            ),
            (WebhookMode::Structured, [one]) => (
                "application/cloudevents+json; charset=utf-8",
                serde_json::to_vec(one),
            ),
            (WebhookMode::Structured, _) => {
                return Err(Rejection::unusable(
                    "batch_events must be 1 where a request has one event",
                ));
            }
        };
        let body = body.map_err(|_| Rejection::Refused("it is no JSON".to_owned()))?;
        let (first, last) = (first.position(), last.position());
        let id = format!("{}_{first}_{last}", self.prefix);
        let headers = self.headers(&id, &body)?;
        // Whatever it answers besides: it has taken them.
        self.client.post("", content_type, headers, body).await?;
        Ok(())
    }

    fn headers(&self, id: &str, body: &[u8]) -> Result<HeaderMap, Rejection> {
        let timestamp = (self.clock.wall_us() / SECOND_US).to_string();
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).map_err(Rejection::unusable)?;
            headers.insert(HeaderName::from_static(name), value);
            Ok::<_, Rejection>(())
        };
        put("webhook-id", id)?;
        put("webhook-timestamp", &timestamp)?;
        if !self.secrets.is_empty() {
            let signatures: Result<Vec<_>, _> = self
                .secrets
                .iter()
                .map(|secret| signature(secret, id, &timestamp, body))
                .collect();
            put("webhook-signature", &signatures?.join(" "))?;
        }
        Ok(headers)
    }

    fn event<'a>(&'a self, event: &'a Event) -> CloudEvent<'a> {
        let record = event.record();
        let header = &record.header;
        let data = match &record.payload {
            Payload::Open(bytes) => serde_json::from_slice(bytes).ok(),
            _ => None,
        };
        CloudEvent {
            specversion: "1.0",
            id: header.event_id.to_string(),
            source: &self.source,
            event_type: &header.event_type,
            subject: &header.stream,
            time: rfc3339(header.occurred_at_us.unwrap_or(record.recorded_at_us)),
            sequence: format!("{:020}", record.position.get()),
            revision: record.revision.to_string(),
            schemaversion: header.schema_version.to_string(),
            recordedtime: rfc3339(record.recorded_at_us),
            producer: &header.source,
            authority: header.authority.as_str(),
            causationid: header.causation.map(|id| id.to_string()),
            correlationid: header.correlation.map(|id| id.to_string()),
            scope: &header.scope,
            // A list of texts always serialises.
            tags: (!header.tags.is_empty())
                .then(|| serde_json::to_string(&header.tags).unwrap_or_default()),
            duplicate: event.is_duplicate(),
            erased: record.payload == Payload::Erased,
            withheld: record.payload == Payload::Withheld,
            datacontenttype: data.is_some().then_some("application/json"),
            data,
        }
    }
}

impl Sink for Webhook {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(self.give(batch.events()))
    }
}

/// An event in the JSON format. Integers of CloudEvents have 32 bits, so larger ones are text.
#[derive(Debug, Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// The position, as the extension `sequence` has it: ordered as text is.
    sequence: String,
    revision: String,
    schemaversion: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recordedtime: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    producer: &'a str,
    authority: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    /// A list of texts, in JSON: no attribute can be a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    duplicate: bool,
    #[serde(skip_serializing_if = "is_false")]
    erased: bool,
    #[serde(skip_serializing_if = "is_false")]
    withheld: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks so whether a member is left out"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// A secret to sign with: base64, after `whsec_`.
fn signing(source: &SecretSource) -> Result<Secret, Rejection> {
    let secret = source.read()?;
    let text = secret.bytes();
    let text = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
    let key = STANDARD.decode(text).map(Zeroizing::new).ok();
    let key = key.filter(|key| SECRET_BYTES.contains(&key.len()));
    key.map(Secret::new).ok_or_else(|| {
        Rejection::Unavailable(format!(
            "{source} is no secret of a webhook: whsec_ and the base64 of 24 to 64 bytes"
        ))
    })
}

/// A signature of the version `v1`.
fn signature(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Result<String, Rejection> {
    // It takes keys of any length.
    let mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).map_err(Rejection::unusable)?;
    let mac = mac
        .chain_update(id)
        .chain_update(".")
        .chain_update(timestamp)
        .chain_update(".")
        .chain_update(body);
    let code = mac.finalize().into_bytes();
    Ok(format!("v1,{}", STANDARD.encode(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn a_signature_is_that_of_the_reference() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = Secret::new(Zeroizing::new(key));
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = signature(&secret, id, "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(
            signed.unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_is_base64_of_24_to_64_bytes() {
        let read = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("secret");
            runstone_store::write_whole(&path, text.as_bytes()).unwrap();
            signing(&SecretSource::File(path))
        };
        let of = |bytes: usize| STANDARD.encode(vec![7; bytes]);
        for bytes in [24, 64] {
            assert_eq!(read(&of(bytes)).unwrap().bytes().len(), bytes);
            let long = format!("whsec_{}\n", of(bytes));
            assert_eq!(read(&long).unwrap().bytes().len(), bytes);
        }
        for wrong in [of(23), of(65), "whsec_planted!".to_owned()] {
            let why = read(&wrong).unwrap_err();
            assert!(matches!(why, Rejection::Unavailable(_)));
            assert!(!why.to_string().contains("planted"), "{why}");
        }
    }
}
