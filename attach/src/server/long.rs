//! Work that takes long, answered to whoever wants to know how far it is.

use super::Shared;
use super::answer::{begun, refusal};
use super::follow::{Frame, event_stream};
use crate::progress::{ANSWER, AT_WORK, EVENT_STREAM, PROGRESS, REFUSAL, event};
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::ACCEPT;
use axum::response::Response;
use runstone_store::holder::{Endpoint, Progress, Told};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

/// How often something is told.
#[derive(Clone, Copy)]
struct Pace {
    /// How far it is, if it is further.
    progress: Duration,
    /// That it is at work, if nothing else was told.
    at_work: Duration,
}

const PACE: Pace = Pace {
    progress: Duration::from_millis(100),
    at_work: Duration::from_secs(15),
};

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
        let is_refused = |part: &str| {
            let split = part.split_once('=');
            split.is_some_and(|(name, weight)| name.eq_ignore_ascii_case("q") && is_nothing(weight))
        };
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
            () = send_events(work, seen, &frames, PACE) => {}
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
    pace: Pace,
) {
    let send = async |bytes: Vec<u8>| frames.send(Ok(Bytes::from(bytes))).await.is_ok();
    let mut work = pin!(work);
    let (mut last, mut told) = (Progress::default(), Instant::now());
    loop {
        let ended = tokio::select! {
            ended = &mut work => Some(ended),
            () = sleep(pace.progress) => None,
        };
        let now = *seen.borrow();
        let next = if now != last {
            last = now;
            // Numbers always serialise.
            let now = serde_json::to_vec(&now).unwrap_or_default();
            Some(event(PROGRESS, &now))
        } else if ended.is_none() && told.elapsed() >= pace.at_work {
            Some(AT_WORK.to_vec())
        } else {
            None
        };
        if let Some(next) = next {
            told = Instant::now();
            if !send(next).await {
                return;
            }
        }
        match ended {
            None => {}
            Some(Ok(answer)) => {
                send(event(ANSWER, &answer)).await;
                return;
            }
            Some(Err(refused)) => {
                // A `Told` always serialises.
                let refused = serde_json::to_vec(&refused).unwrap_or_default();
                send(event(REFUSAL, &refused)).await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::HeaderValue;

    #[test]
    fn a_stream_is_sent_to_who_accepts_one() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("text/event-stream; q=0.001", true),
            ("text/event-stream;level=1", true),
            ("application/json", false),
            ("text/*", false),
            ("text/event-stream;q=0", false),
            ("text/event-stream; Q=0.000", false),
            ("", false),
        ] {
            let mut request = Request::new(Body::empty());
            let accept = HeaderValue::from_static(accept);
            request.headers_mut().insert(ACCEPT, accept.clone());
            assert_eq!(is_wanted(&request), expected, "{accept:?}");
        }
    }

    /// Work that tells nothing of itself is not taken for a holder that is gone.
    #[tokio::test]
    async fn who_waits_is_told_that_silent_work_goes_on() {
        let (reached, seen) = watch::channel(Progress::default());
        let (frames, mut taken) = mpsc::channel(1);
        let (end, ended) = tokio::sync::oneshot::channel();
        let work = async move { Ok(ended.await.unwrap_or_default()) };
        let pace = Pace {
            progress: Duration::ZERO,
            at_work: Duration::ZERO,
        };
        let sending = tokio::spawn(async move { send_events(work, seen, &frames, pace).await });
        let mut next = async || taken.recv().await.map(Result::unwrap_or_default);
        assert_eq!(next().await.as_deref(), Some(AT_WORK));
        assert_eq!(next().await.as_deref(), Some(AT_WORK));
        reached.send_replace(Progress { done: 1, all: 2 });
        let mut after = next().await;
        while after.as_deref() == Some(AT_WORK) {
            after = next().await;
        }
        let progress = event(PROGRESS, br#"{"done":1,"all":2}"#);
        assert_eq!(after.as_deref(), Some(progress.as_slice()));
        assert_eq!(next().await.as_deref(), Some(AT_WORK));
        end.send(b"{}".to_vec()).unwrap_or_default();
        let mut last = next().await;
        while last.as_deref() == Some(AT_WORK) {
            last = next().await;
        }
        assert_eq!(last.as_deref(), Some(event(ANSWER, b"{}").as_slice()));
        assert_eq!(next().await, None);
        sending.await.unwrap_or_default();
    }
}
