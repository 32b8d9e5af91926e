//! Following the log.

use super::Shared;
use super::answer::{
    FOLLOW, answer, blocking, body_of, connection_of, form_for, refusal, turn, unreadable,
};
use crate::progress::EVENT_STREAM;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use runstone_store::holder::{Page, Refusal as _, Told};
use runstone_store::line::write_record;
use runstone_store::{ErrorKind, Log, Read, ReadError, Record};
use serde::Deserialize;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;

/// As many new events are no coincidence.
const MANY: u64 = 8;
/// How long whoever follows then waits for more.
const LINGER: Duration = Duration::from_millis(10);

/// How long whoever follows waits until what cannot be read now is tried again.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Follow {
    #[serde(default)]
    read: Read,
}

/// A page of what follows; waited for if there is nothing yet.
pub(super) async fn follow(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let form = form_for(&request);
    match followed(&shared, request).await {
        Ok(page) => answer(&page, form),
        Err(told) => refusal(&told),
    }
}

async fn followed(shared: &Arc<Shared>, request: Request) -> Result<Page, Told> {
    let connection = connection_of(&request)?;
    let _busy = connection.busy();
    let body = body_of(shared, request).await?;
    let ask: Follow = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    let late = sleep(shared.limits.follow_time);
    next_page(shared, &connection.log(), ask.read, late).await
}

/// The next events; none after a time, or when the holder stops. The log is searched by a worker, and
/// only what is new is waited for here.
async fn next_page(
    shared: &Shared,
    log: &Log,
    mut read: Read,
    late: impl Future<Output = ()>,
) -> Result<Page, Told> {
    let mut stopping = shared.stopping.subscribe();
    let ended = async {
        tokio::select! {
            () = late => {}
            _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
        }
    };
    let mut ended = std::pin::pin!(ended);
    let asked = Instant::now();
    // What comes while the log is searched wakes it, too.
    let news = log.news(&read).map_err(|error| error.told())?;
    loop {
        let lingers = lingers(log, &read).saturating_sub(asked.elapsed());
        if !lingers.is_zero() {
            sleep(lingers).await;
        }
        let (log_of_page, wanted) = (log.clone(), read.clone());
        let permit = turn(shared, FOLLOW).await;
        let page = blocking(move || {
            let _permit = permit;
            let page = log_of_page.followed(wanted);
            page.map_err(|error| error.told())
        });
        let mut page = match page.await {
            // The log is being opened again.
            Err(told) if told.retryable => tokio::select! {
                () = sleep(AGAIN) => continue,
                () = ended.as_mut() => return Err(told),
            },
            page => page?,
        };
        let Some(next) = page.next.filter(|_| page.is_empty()) else {
            return Ok(page);
        };
        read.from = Some(next);
        tokio::select! {
            size = news.beyond(next) => {
                if size.is_none() {
                    // The log was closed.
                    page.next = None;
                    return Ok(page);
                }
            }
            () = ended.as_mut() => return Ok(page),
        }
    }
}

/// How long after it was asked for a page is filled: where many events are new and they fill none, more
/// are coming, and a page costs as much as tens of events.
fn lingers(log: &Log, read: &Read) -> Duration {
    let size = log.durable_size();
    let new = size.saturating_sub(read.from.unwrap_or(0));
    let is_bounded = read.to.is_some_and(|to| to < size);
    if is_bounded || !(MANY..Page::EVENTS as u64).contains(&new) {
        return Duration::ZERO;
    }
    LINGER
}

/// What is followed, in an address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Which events; all without it.
    #[serde(default)]
    query: Option<String>,
    /// First position.
    #[serde(default)]
    from: Option<u64>,
    /// Last position.
    #[serde(default)]
    to: Option<u64>,
}

/// Events as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>),
/// each with its position as id: first what is there, then what comes.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Response {
    let usage = |why: String| refusal(&Told::new("bad_request", ErrorKind::Usage, why));
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return usage(error.body_text()),
    };
    let query = match wanted
        .query
        .as_deref()
        .map(runstone_store::Query::parse)
        .transpose()
    {
        Ok(query) => query.unwrap_or_default(),
        Err(error) => return usage(error.to_string()),
    };
    let last = request.headers().get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok()?.parse::<u64>().ok());
    let mut read = Read::new(query);
    read.from = last.map(|last| last.saturating_add(1)).or(wanted.from);
    read.to = wanted.to;
    match connection_of(&request) {
        Ok(connection) => stream(shared, connection.log(), read),
        Err(told) => refusal(&told),
    }
}

/// Pages of events as frames, until the log is closed or the holder stops. The connection counts as
/// idle: a client that is sent away comes back with the id of its last event.
fn stream(shared: Arc<Shared>, log: Log, read: Read) -> Response {
    // One page at a time: whoever takes nothing holds nothing.
    let (frames, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = send_pages(&shared, &log, read, &frames) => {}
            () = frames.closed() => {}
        }
    });
    event_stream(taken)
}

/// Some of a stream, as it is sent.
pub(super) type Frame = Result<Bytes, Infallible>;

/// Server-sent events as they come.
pub(super) fn event_stream(taken: mpsc::Receiver<Frame>) -> Response {
    let kind = [
        (header::CONTENT_TYPE, EVENT_STREAM),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let body = Body::from_stream(ReceiverStream::new(taken));
    (StatusCode::OK, kind, body).into_response()
}

async fn send_pages(shared: &Shared, log: &Log, mut read: Read, frames: &mpsc::Sender<Frame>) {
    let stopping = || *shared.stopping.borrow();
    while !stopping() {
        let (bytes, next) = match next_page(shared, log, read.clone(), pending()).await {
            Ok(page) => {
                let frames = page.items().flat_map(frame);
                (frames.collect(), page.next)
            }
            Err(told) => (frame(Err(&ReadError::of(told))), None),
        };
        if frames.send(Ok(Bytes::from(bytes))).await.is_err() || next.is_none() {
            return;
        }
        read.from = next;
    }
}

fn frame(item: Result<&Record, &ReadError>) -> Vec<u8> {
    let mut frame = match item {
        Ok(record) => {
            let mut frame = format!("id: {}\ndata: ", record.position).into_bytes();
            // One line, with its line break.
            write_record(record, &mut frame);
            frame
        }
        Err(error) => {
            let mut frame = b"event: error\ndata: ".to_vec();
            // A `Told` always serialises, to one line.
            frame.extend(serde_json::to_vec(&error.told()).unwrap_or_default());
            frame.push(b'\n');
            frame
        }
    };
    frame.push(b'\n');
    frame
}
