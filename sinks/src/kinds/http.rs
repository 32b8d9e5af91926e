//! The HTTP client of every sink that speaks HTTP: no redirects, no cookies, no proxies, HTTP/1.1, and
//! TLS by rustls with what the system trusts.
//!
//! What an answer says may quote what was sent, so only its status is told.

use crate::config::{HttpPlace, header_name};
use crate::secret::Secret;
use crate::sink::Rejection;
use percent_encoding::percent_decode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Time that a connection has to come about.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Time after which a connection is not used again: shorter than servers keep one.
const IDLE_TIME: Duration = Duration::from_secs(4);
/// Time that the rest of an answer has to come, and most bytes that are read of it.
const ANSWER_TIME: Duration = Duration::from_secs(5);
const ANSWER_BYTES: usize = 64 << 10;
/// Most bytes of a file of certificates.
const MAX_CA_BYTES: u64 = 1 << 20;

/// What came with an answer that accepts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    pub(super) end: End,
}

/// How the body of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All of it came.
    Whole,
    /// There is more than is read.
    TooLong,
    /// The rest did not come, or not in time.
    BrokenOff,
}

/// A client of one place.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    /// Scheme, host and port, to be told.
    host: String,
    headers: Vec<(HeaderName, Secret)>,
}

impl Client {
    /// Reads what the place names: secrets, certificates.
    pub(super) fn new(place: HttpPlace<'_>) -> Result<Self, Rejection> {
        let url = place.url().map_err(Rejection::Unusable)?;
        let mut headers = Vec::new();
        for (name, source) in place.headers {
            let Some(name) = header_name(name) else {
                return Err(Rejection::Unusable(format!("`{name}` cannot be a header")));
            };
            let secret = source.read()?;
            if value(&secret).is_none() {
                return Err(Rejection::Unavailable(format!(
                    "{source} cannot be the value of a header"
                )));
            }
            headers.push((name, secret));
        }
        if let Some(source) = place.header_list {
            let list = source.read()?;
            let listed = listed(&list).ok_or_else(|| {
                Rejection::Unavailable(format!(
                    "{source} is no list of headers: name=value,name=value"
                ))
            })?;
            headers.extend(listed);
        }
        Ok(Self {
            http: client(place.ca)?,
            host: shown(&url),
            url,
            headers,
        })
    }

    /// Posts a body to a path below the place, and answers what came if it was accepted (2xx).
    ///
    /// # Cancel safety
    ///
    /// The place may have taken what was posted.
    pub(super) async fn post(
        &self,
        path: &str,
        content_type: &'static str,
        more: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, Rejection> {
        let mut url = self.url.clone();
        if !path.is_empty()
            && let Ok(mut segments) = url.path_segments_mut()
        {
            segments.pop_if_empty().extend(path.split('/'));
        }
        let mut request = self.http.post(url).headers(more);
        request = request.header(reqwest::header::CONTENT_TYPE, content_type);
        for (name, secret) in &self.headers {
            if let Some(value) = value(secret) {
                request = request.header(name, value);
            }
        }
        let mut answer = request.body(body).send().await.map_err(|error| {
            let why = cause(&error.without_url());
            Rejection::Unavailable(format!("no answer from {}: {why}", self.host))
        })?;
        let said = match answer.status() {
            status if status.is_success() => Ok(()),
            _ => Err(self.rejection(&answer)),
        };
        // A connection that is left with bytes on it cannot be used again.
        let came = read(&mut answer).await;
        said.map(|()| came)
    }

    /// What an answer says that is no success (RFC 9110, section 15).
    fn rejection(&self, answer: &Response) -> Rejection {
        let status = answer.status();
        let said = format!("{} answered {status}", self.host);
        if status.is_redirection() {
            let to = answer.headers().get(LOCATION);
            let to = to.and_then(|to| self.url.join(to.to_str().ok()?).ok());
            let to = to.map_or_else(String::new, |to| format!(" and points to {}", shown(&to)));
            return Rejection::Unusable(format!(
                "{said}{to}; redirects are not followed, so add the sink anew with the place where it is"
            ));
        }
        match status {
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Rejection::Unauthorised(said),
            StatusCode::GONE | StatusCode::METHOD_NOT_ALLOWED => Rejection::Unusable(said),
            // The place is not there, which is no fault of what was to be put there.
            StatusCode::NOT_FOUND
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS => Rejection::Unavailable(said),
            status if status.is_client_error() => Rejection::Refused(said),
            _ => Rejection::Unavailable(said),
        }
    }
}

/// What speaks HTTP, and trusts the certificates of a file too.
pub(crate) fn client(ca: Option<&Path>) -> Result<reqwest::Client, Rejection> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls(ca)?)
        .user_agent(concat!("runstone/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIME)
        .pool_idle_timeout(IDLE_TIME)
        .build()
        .map_err(|error| Rejection::Unavailable(cause(&error)))
}

/// The body of an answer, as far as it comes.
async fn read(answer: &mut Response) -> Answer {
    let mut body = Vec::new();
    let reading = async {
        loop {
            let Ok(chunk) = answer.chunk().await else {
                return End::BrokenOff;
            };
            let Some(chunk) = chunk else {
                return End::Whole;
            };
            let room = ANSWER_BYTES - body.len();
            body.extend(chunk.iter().take(room));
            if chunk.len() > room {
                return End::TooLong;
            }
        }
    };
    let end = tokio::time::timeout(ANSWER_TIME, reading).await;
    Answer {
        body,
        end: end.unwrap_or(End::BrokenOff),
    }
}

/// A secret as the value of a header that nobody prints.
fn value(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(secret.bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The headers of a list: W3C Baggage without properties, as OTLP exporters are configured.
fn listed(list: &Secret) -> Option<Vec<(HeaderName, Secret)>> {
    let entries = list.bytes().split(|byte| *byte == b',');
    let entries = entries.map(<[u8]>::trim_ascii);
    let headers = entries.filter(|entry| !entry.is_empty()).map(|entry| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        let (name, text) = entry.split_at_checked(at)?;
        let name = header_name(std::str::from_utf8(name.trim_ascii()).ok()?)?;
        let text = text.strip_prefix(b"=")?.trim_ascii();
        let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
        decoded.extend(percent_decode(text));
        let secret = Secret::new(decoded);
        value(&secret).map(|_| (name, secret))
    });
    headers.collect()
}

/// A URL without what may be secret in it.
fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// The first cause of an error: those above it only say that something failed.
fn cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// TLS with the certificates that the system trusts, and those of a file.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, Rejection> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let more = ca.map(certificates).transpose()?.unwrap_or_default();
    let wrong = |error: rustls::Error| Rejection::Unavailable(format!("TLS: {error}"));
    let verifier = Verifier::new_with_extra_roots(more, Arc::clone(&provider)).map_err(wrong)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(wrong)?;
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Rejection> {
    let wrong = |why: &dyn std::fmt::Display| {
        let place = path.display();
        Rejection::Unavailable(format!("the certificates of {place} cannot be read: {why}"))
    };
    let about = std::fs::metadata(path).map_err(|error| wrong(&error))?;
    if !about.is_file() || about.len() > MAX_CA_BYTES {
        return Err(wrong(&"it is no file, or too long"));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| wrong(&error))?;
    if found.is_empty() {
        return Err(wrong(&"it has none"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_headers_is_read_as_exporters_read_theirs() {
        let read = |text: &str| {
            let list = Secret::new(Zeroizing::new(text.as_bytes().to_vec()));
            let headers = listed(&list)?.into_iter().map(|(name, secret)| {
                let value = String::from_utf8(secret.bytes().to_vec()).unwrap();
                (name.to_string(), value)
            });
            Some(headers.collect::<Vec<_>>())
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("Authorization=Basic%20YQ==, x-tenant = 7 ,"),
            Some(vec![
                header("authorization", "Basic YQ=="),
                header("x-tenant", "7")
            ])
        );
        for wrong in ["a", "=b", "a b=c", "host=x", "a=%0A"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_told_of_a_url_has_no_path_and_no_secret() {
        for (url, told) in [
            ("https://a.b/planted?planted#planted", "https://a.b"),
            ("http://planted:planted@[::1]:8080/x", "http://[::1]:8080"),
        ] {
            assert_eq!(shown(&url.parse().unwrap()), told);
        }
    }
}
