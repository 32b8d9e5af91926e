//! What is answered, and how.

use super::Shared;
use super::accept::accepts;
use super::connection::{Busy, Connection};
use super::follow::{events, follow};
use super::long;
use crate::progress::{CBOR, EVENT_STREAM};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use runstone_store::ErrorKind;
use runstone_store::holder::{Base64, Endpoint, Form, Refusal as _, Told, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use tokio::sync::OwnedSemaphorePermit;

/// Path of everything that is asked.
pub(crate) const BASE: &str = "/v1/";
/// Header of every answer, and of a request that is meant for one log alone: the log's id, in
/// hexadecimal.
pub(crate) const LOG: &str = "runstone-log";
/// Names that are not answered by the log alone.
pub(crate) const FOLLOW: &str = "follow";
pub(crate) const EVENTS: &str = "events";
pub(crate) const ATTACHED: &str = "attached";
pub(crate) const CHALLENGE: &str = "principal/challenge";
pub(crate) const PROVE: &str = "principal/prove";

/// Something to sign, once, on this connection.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Challenge {
    /// What is signed, with `DS("principal")` before it (docs/FORMAT.md).
    pub(crate) challenge: Base64,
}

/// Who one is, proven.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proof {
    /// The principal.
    pub(crate) id: String,
    /// Ed25519 signature of this connection's challenge.
    pub(crate) signature: Base64,
}

/// Who acts on this connection from now on.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Proven {
    /// As it stands on events.
    pub(crate) principal: String,
}

/// Everything that is answered.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let mut router = Router::new();
    for endpoint in shared.endpoints.values() {
        if endpoint.name == FOLLOW {
            continue;
        }
        let endpoint = *endpoint;
        let route =
            post(move |state: State<Arc<Shared>>, request: Request| ask(state, endpoint, request));
        router = router.route(&format!("{BASE}{}", endpoint.name), route);
    }
    router
        .route(&format!("{BASE}{FOLLOW}"), post(follow))
        .route(&format!("{BASE}{EVENTS}"), get(events))
        .route(&format!("{BASE}{ATTACHED}"), get(attached).post(attached))
        .route(&format!("{BASE}{CHALLENGE}"), post(challenge))
        .route(&format!("{BASE}{PROVE}"), post(prove))
        .route("/openapi.json", get(openapi))
        .fallback(unknown)
        .method_not_allowed_fallback(not_so)
        .with_state(Arc::clone(shared))
}

/// An answer that is ready.
fn ready(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, kind)], body.into()).into_response()
}

/// An answer that is ready as JSON.
pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    ready(status, "application/json", body)
}

pub(super) fn answer<T: Serialize + 'static>(value: &T, form: Form) -> Response {
    replied(Written::of(value, form))
}

/// A refusal, by what kind it is.
pub(super) fn refusal(told: &Told) -> Response {
    let status = match told.kind {
        ErrorKind::Usage => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Keys => StatusCode::FORBIDDEN,
        ErrorKind::Busy => StatusCode::LOCKED,
        ErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Storage if told.code() == "storage_full" => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Storage => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    // A `Told` always serialises.
    json(status, serde_json::to_vec(told).unwrap_or_default())
}

pub(super) fn too_large(limit: usize) -> Told {
    Told::new(
        "request_too_large",
        ErrorKind::Usage,
        format!("the request is over the limit {limit} of option request_bytes"),
    )
}

/// The connection that a request came on.
pub(super) fn connection_of(request: &Request) -> Result<Arc<Connection>, Told> {
    let connection = request.extensions().get::<Arc<Connection>>();
    let missing = || Told::new("internal", ErrorKind::Storage, "nobody is connected");
    connection.cloned().ok_or_else(missing)
}

/// All of a request, within its limits.
pub(super) async fn body_of(shared: &Shared, request: Request) -> Result<Bytes, Told> {
    let limits = &shared.limits;
    let body = Limited::new(request.into_body(), limits.request_bytes).collect();
    match tokio::time::timeout(limits.request_time, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limits.request_bytes)),
        Ok(Err(error)) => Err(Told::new(
            "bad_request",
            ErrorKind::Usage,
            format!("the request did not arrive whole: {error}"),
        )),
        Err(_) => Err(Told::new(
            "request_too_slow",
            ErrorKind::Usage,
            format!(
                "the request took longer than {} s (option request_time)",
                limits.request_time.as_secs()
            ),
        )),
    }
}

async fn ask(State(shared): State<Arc<Shared>>, endpoint: Endpoint, request: Request) -> Response {
    if endpoint.is_long && accepts(&request, EVENT_STREAM) {
        return long::told(&shared, endpoint, request).await;
    }
    replied(answered(&shared, endpoint, request).await)
}

async fn answered(shared: &Shared, endpoint: Endpoint, request: Request) -> Result<Written, Told> {
    let form = form_for(&request);
    let (_busy, work) = begun(shared, endpoint, request, form, |_, _| {}).await?;
    work.await
}

/// How a client reads answers.
pub(super) fn form_for(request: &Request) -> Form {
    if accepts(request, CBOR) {
        Form::Packed
    } else {
        Form::Json
    }
}

/// What was answered, as the kind that it is.
fn replied(answer: Result<Written, Told>) -> Response {
    match answer {
        Ok(Written::Json(body)) => json(StatusCode::OK, body),
        Ok(Written::Cbor(body)) => ready(StatusCode::OK, CBOR, body),
        Err(told) => refusal(&told),
    }
}

/// What was asked for, when it is its turn.
pub(super) async fn begun<P: Fn(u64, u64) + Send + 'static>(
    shared: &Shared,
    endpoint: Endpoint,
    request: Request,
    form: Form,
    progress: P,
) -> Result<(Busy, impl Future<Output = Result<Written, Told>> + use<P>), Told> {
    let connection = connection_of(&request)?;
    let busy = connection.busy();
    let body = body_of(shared, request).await?;
    let log = connection.log();
    let permit = turn(shared, endpoint.name).await;
    let work = blocking(move || {
        let _permit = permit;
        (endpoint.answer)(&log, &body, form, &progress)
    });
    Ok((busy, work))
}

/// Waits for a turn: a client that goes away meanwhile gives it up. How the log stands is always
/// told.
pub(super) async fn turn(shared: &Shared, name: &str) -> Option<OwnedSemaphorePermit> {
    if name == "facts" {
        return None;
    }
    // The semaphore is never closed.
    Arc::clone(&shared.workers).acquire_owned().await.ok()
}

/// Does something that blocks, and survives it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Told> + Send + 'static,
) -> Result<T, Told> {
    let done = tokio::task::spawn_blocking(|| catch_unwind(AssertUnwindSafe(work)));
    match done.await {
        Ok(Ok(answer)) => answer,
        _ => Err(Told::new(
            "internal",
            ErrorKind::Storage,
            "answering it failed",
        )),
    }
}

async fn attached(State(shared): State<Arc<Shared>>) -> Response {
    answer(&shared.connections.list(), Form::Json)
}

async fn openapi(State(shared): State<Arc<Shared>>) -> Response {
    let document = shared.openapi.get_or_init(|| {
        let mut endpoints: Vec<_> = shared.endpoints.values().copied().collect();
        endpoints.sort_unstable_by_key(|endpoint| endpoint.name);
        crate::openapi(&endpoints).to_string()
    });
    json(StatusCode::OK, document.clone())
}

async fn challenge(request: Request) -> Response {
    let made = connection_of(&request).and_then(|connection| {
        let challenge = connection.log().challenge().map_err(|error| error.told())?;
        let mut kept = connection
            .challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *kept = Some(challenge.clone());
        Ok(challenge)
    });
    match made {
        Ok(challenge) => {
            let challenge = Challenge {
                challenge: Base64(challenge),
            };
            answer(&challenge, Form::Json)
        }
        Err(told) => refusal(&told),
    }
}

async fn prove(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match proven(&shared, request).await {
        Ok(proven) => answer(&proven, Form::Json),
        Err(told) => refusal(&told),
    }
}

async fn proven(shared: &Shared, request: Request) -> Result<Proven, Told> {
    let connection = connection_of(&request)?;
    let body = body_of(shared, request).await?;
    let proof: Proof = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    // Each is taken once, whatever comes of it.
    let challenge = {
        let kept = connection.challenge.lock();
        kept.unwrap_or_else(PoisonError::into_inner).take()
    };
    let challenge = challenge.ok_or_else(|| {
        let message = "ask for a challenge on this connection first; each is good for one proof";
        Told::new("no_challenge", ErrorKind::Keys, message)
    })?;
    let signature = proof
        .signature
        .array()
        .ok_or_else(|| Told::new("bad_proof", ErrorKind::Keys, "a signature has 64 bytes"))?;
    let log = shared.log.clone();
    let proven = blocking(move || {
        let proven = log.proven(&proof.id, &challenge, &signature);
        proven.map_err(|error| error.told())
    });
    let log = proven.await?;
    let principal = log.principal().0.to_owned();
    connection.act_as(log);
    Ok(Proven { principal })
}

/// What was asked cannot be read.
pub(super) fn unreadable(error: &serde_json::Error) -> Told {
    Told::new(
        "bad_request",
        ErrorKind::Usage,
        format!("the request cannot be read: {error}"),
    )
}

async fn unknown(uri: Uri) -> Response {
    refusal(&Told::new(
        "unknown_path",
        ErrorKind::NotFound,
        format!(
            "there is nothing at {}; /openapi.json lists what there is",
            uri.path()
        ),
    ))
}

async fn not_so(method: Method, uri: Uri) -> Response {
    let told = Told::new(
        "bad_method",
        ErrorKind::Usage,
        format!(
            "{} is not asked by {method}; /openapi.json says how",
            uri.path()
        ),
    );
    let body = serde_json::to_vec(&told).unwrap_or_default();
    json(StatusCode::METHOD_NOT_ALLOWED, body)
}
