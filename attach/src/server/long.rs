//! Work that takes long, answered to whoever wants to know how far it is.

use super::Shared;
use super::answer::{begun, refusal};
use super::follow::{Frame, event_stream};
use crate::progress::{ANSWER, EVENT_STREAM, PROGRESS, REFUSAL, event};
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::ACCEPT;
use axum::response::Response;
use runstone_store::holder::{Endpoint, Progress, Told};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// How often it is told how far it is.
const EVERY: Duration = Duration::from_millis(100);

/// Whether a client accepts a stream of events (RFC 9110 section 12.5.1): only who does is told.
pub(super) fn is_wanted(request: &Request) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter();
    let mut ranges = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        // A weight of 0 says that it is not accepted.
        let is_nothing = |weight: &str| weight.trim_matches(['0', '.']).is_empty();
        let is_refused = |part: &str| part.strip_prefix("q=").is_some_and(is_nothing);
        kind.eq_ignore_ascii_case(EVENT_STREAM) && !parts.any(is_refused)
    })
}

/// How far it is, and then the answer.
pub(super) async fn told(shared: &Shared, endpoint: Endpoint, request: Request) -> Response {
    let (reached, seen) = watch::channel(Progress::default());
    let tell = move |done, all| {
        reached.send_replace(Progress { done, all });
    };
    let (busy, work) = match begun(shared, endpoint, request, tell).await {
        Ok(begun) => begun,
        Err(told) => return refusal(&told),
    };
    // One event at a time: whoever takes nothing holds neither the work nor more than that.
    let (frames, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        let _busy = busy;
        tokio::select! {
            () = send_events(work, seen, &frames) => {}
            // The work goes on.
            () = frames.closed() => {}
        }
    });
    event_stream(taken)
}

async fn send_events(
    work: impl Future<Output = Result<Vec<u8>, Told>>,
    seen: watch::Receiver<Progress>,
    frames: &mpsc::Sender<Frame>,
) {
    let send = async |name: &str, data: &[u8]| {
        let sent = frames.send(Ok(Bytes::from(event(name, data)))).await;
        sent.is_ok()
    };
    let mut work = pin!(work);
    let mut last = Progress::default();
    loop {
        let ended = tokio::select! {
            ended = &mut work => Some(ended),
            () = sleep(EVERY) => None,
        };
        let now = *seen.borrow();
        if now != last {
            last = now;
            // Numbers always serialise.
            let now = serde_json::to_vec(&now).unwrap_or_default();
            if !send(PROGRESS, &now).await {
                return;
            }
        }
        match ended {
            None => {}
            Some(Ok(answer)) => {
                send(ANSWER, &answer).await;
                return;
            }
            Some(Err(told)) => {
                // A `Told` always serialises.
                let told = serde_json::to_vec(&told).unwrap_or_default();
                send(REFUSAL, &told).await;
                return;
            }
        }
    }
}
