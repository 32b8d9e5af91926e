//! Work that takes long, answered to whoever wants to know how far it is.

use super::Shared;
use super::answer::{begun, refusal};
use super::follow::{Frame, event_stream};
use crate::progress::{ANSWER, AT_WORK, PROGRESS, REFUSAL, event};
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;
use runstone_store::holder::{Endpoint, Form, Progress, Told, Written};
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

/// How far it is, and then the answer.
pub(super) async fn told(shared: &Shared, endpoint: Endpoint, request: Request) -> Response {
    let (reached, seen) = watch::channel(Progress::default());
    let tell = move |done, all| {
        reached.send_replace(Progress { done, all });
    };
    let (busy, work) = match begun(shared, endpoint, request, Form::Json, tell).await {
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
    work: impl Future<Output = Result<Written, Told>>,
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
            Some(Ok(Written::Json(answer) | Written::Cbor(answer))) => {
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

    /// Work that tells nothing of itself is not taken for a holder that is gone.
    #[tokio::test]
    async fn who_waits_is_told_that_silent_work_goes_on() {
        let (reached, seen) = watch::channel(Progress::default());
        let (frames, mut taken) = mpsc::channel(1);
        let (end, ended) = tokio::sync::oneshot::channel();
        let work = async move { Ok(Written::Json(ended.await.unwrap_or_default())) };
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
