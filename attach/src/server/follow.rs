//! Following the log.

use super::Shared;
use super::answer::{body_of, connection_of, refusal, unreadable};
use crate::line::write_record;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use runstone_store::holder::{Page, Refusal as _, Told};
use runstone_store::{ErrorKind, Read, Subscription};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt as _};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Follow {
    #[serde(default)]
    read: Read,
}

/// A page of what follows; waited for if there is nothing yet.
pub(super) async fn follow(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match followed(&shared, request).await {
        Ok(page) => super::answer::answer(&page),
        Err(told) => refusal(&told),
    }
}

async fn followed(shared: &Shared, request: Request) -> Result<Page, Told> {
    let connection = connection_of(&request)?;
    let _busy = connection.busy();
    let body = body_of(shared, request).await?;
    let ask: Follow = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    let subscription = connection.log().subscribe(ask.read);
    let mut subscription = subscription.map_err(|error| error.told())?;
    let mut page = Page::default();
    let mut stopping = shared.stopping.subscribe();
    let first = tokio::select! {
        first = timeout(shared.limits.follow_time, subscription.next()) => first.ok(),
        _ = stopping.wait_for(|is_stopping| *is_stopping) => None,
    };
    let mut item = first;
    let mut is_over = false;
    while let Some(found) = item {
        let Some(found) = found else {
            is_over = true;
            break;
        };
        page.push(found);
        if page.is_full() {
            break;
        }
        // What is there already.
        let next = timeout(std::time::Duration::ZERO, subscription.next());
        item = next.await.ok();
    }
    page.next = (!is_over).then(|| subscription.cursor().get());
    Ok(page)
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
    let subscribed = connection_of(&request).and_then(|connection| {
        connection
            .log()
            .subscribe(read)
            .map_err(|error| error.told())
    });
    match subscribed {
        Ok(subscription) => stream(subscription),
        Err(told) => refusal(&told),
    }
}

fn stream(subscription: Subscription) -> Response {
    let kind = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (
        StatusCode::OK,
        kind,
        Body::from_stream(frames(subscription)),
    )
        .into_response()
}

fn frames(subscription: Subscription) -> impl Stream<Item = Result<Bytes, Infallible>> {
    subscription.map(|item| {
        let mut frame = Vec::new();
        let written = item.as_ref().map(|record| {
            frame.extend_from_slice(format!("id: {}\ndata: ", record.position).as_bytes());
            // One line, with its line break.
            write_record(record, &mut frame)
        });
        if !matches!(written, Ok(Ok(()))) {
            frame = b"event: error\ndata: ".to_vec();
            let told = item.err().map(|error| error.told());
            // A `Told` always serialises, to one line.
            frame.extend(serde_json::to_vec(&told).unwrap_or_default());
            frame.push(b'\n');
        }
        frame.push(b'\n');
        Ok(Bytes::from(frame))
    })
}
