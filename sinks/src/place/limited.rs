//! HTTP to a store whose answers are no longer than they may be, and come without a long silence.
//!
//! A store may quote what was sent in what it says of an error, credentials too, so of that only the
//! code is handed on.

use hyper::body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// Most bytes of what is no object: a page of a listing, an error.
const ANSWER_BYTES: u64 = 4 << 20;
/// Longest time without a byte.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes that go out in a second, at least.
const BYTES_A_SECOND: u64 = 32 << 10;
/// Longest code of an error.
const CODE_BYTES: usize = 64;

/// Most bytes of an object that is asked for. It goes with the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct MaxBytes(pub(super) u64);

/// Speaks HTTP as all sinks do.
#[derive(Debug, Clone)]
pub(super) struct Limited(pub(super) reqwest::Client);

impl HttpConnector for Limited {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Limited {
    fn call<'service, 'answer>(&'service self, request: HttpRequest) -> Answering<'answer>
    where
        'service: 'answer,
        Self: 'answer,
    {
        Box::pin(ask(&self.0, request))
    }
}

async fn ask(client: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let object = request.extensions().get::<MaxBytes>();
    let most = object.map_or(ANSWER_BYTES, |most| most.0);
    let going_out = request.body().content_length() as u64 / BYTES_A_SECOND;
    let late = SILENCE.saturating_add(Duration::from_secs(going_out));
    let answered = timeout(late, client.call(request)).await;
    let (parts, body) = answered.map_err(|_| silent())??.into_parts();
    if parts.status.is_success() {
        let body = HttpResponseBody::new(Watched::new(body, most));
        return Ok(HttpResponse::from_parts(parts, body));
    }
    let body = HttpResponseBody::new(Watched::new(body, ANSWER_BYTES));
    // What cannot be read says nothing: the status is known.
    let said = body.bytes().await.unwrap_or_default();
    let code = code_of(&said).unwrap_or_default().to_owned();
    Ok(HttpResponse::from_parts(parts, code.into()))
}

/// The code in what S3 says of an error (Amazon S3 API Reference, "REST error responses").
fn code_of(said: &[u8]) -> Option<&str> {
    let said = std::str::from_utf8(said).ok()?;
    let (code, _) = said.split_once("<Code>")?.1.split_once("</Code>")?;
    let is_code = (1..=CODE_BYTES).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then_some(code)
}

fn silent() -> HttpError {
    let seconds = SILENCE.as_secs();
    let why = io::Error::new(
        io::ErrorKind::TimedOut,
        format!("nothing came for {seconds} seconds"),
    );
    HttpError::new(HttpErrorKind::Timeout, why)
}

/// A body that is watched while it comes.
struct Watched {
    body: HttpResponseBody,
    /// Bytes that may still come.
    left: u64,
    late: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(body: HttpResponseBody, most: u64) -> Self {
        Self {
            body,
            left: most,
            late: Box::pin(sleep(SILENCE)),
        }
    }

    fn too_long(&self) -> Option<HttpError> {
        let is_longer = self.body.size_hint().lower() > self.left;
        let why = io::Error::other("the answer is longer than it may be");
        is_longer.then(|| HttpError::new(HttpErrorKind::Decode, why))
    }
}

impl Body for Watched {
    type Data = <HttpResponseBody as Body>::Data;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Some(error) = self.too_long() {
            return Poll::Ready(Some(Err(error)));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            ready!(self.late.as_mut().poll(context));
            return Poll::Ready(Some(Err(silent())));
        };
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame);
        };
        let bytes = frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
        let Some(left) = self.left.checked_sub(bytes) else {
            let why = io::Error::other("the answer is longer than it may be");
            let error = HttpError::new(HttpErrorKind::Decode, why);
            return Poll::Ready(Some(Err(error)));
        };
        self.left = left;
        self.late.as_mut().reset(Instant::now() + SILENCE);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        if hint.lower() > self.left {
            // What is told is not what may come.
            hint = SizeHint::new();
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_error_its_code_is_told_alone() {
        let error = |code: &str| format!("<Error><Code>{code}</Code><Message>planted</Message>");
        assert_eq!(code_of(error("NoSuchKey").as_bytes()), Some("NoSuchKey"));
        for other in [
            String::new(),
            error(""),
            error("a b"),
            error("planted/token"),
            error(&"a".repeat(65)),
            "<Code>planted".to_owned(),
        ] {
            assert_eq!(code_of(other.as_bytes()), None, "{other}");
        }
    }
}
