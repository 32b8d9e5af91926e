//! One process that is attached.

use super::answer::{LOG, refusal};
use super::stall::Stalling;
use super::{Attached, Shared};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use runstone_store::holder::Told;
use runstone_store::{ErrorKind, Log};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tower_service::Service as _;

/// What is taken of one that is turned away, at most.
const LINGER_BYTES: u64 = 1 << 20;
/// How long one that is turned away may take to go.
const LINGER_TIME: Duration = Duration::from_millis(250);

/// One process that is attached.
#[derive(Debug)]
pub(super) struct Connection {
    process: Option<i32>,
    uid: Option<u32>,
    /// Acts as whoever proved himself on it.
    log: Mutex<Log>,
    /// Made for it, and taken once.
    pub(super) challenge: Mutex<Option<Vec<u8>>>,
    requests: AtomicU64,
    is_busy: AtomicBool,
    idle_since: Mutex<Instant>,
    close: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a connection is idle is measured where it is idle"
)]
fn instant() -> Instant {
    Instant::now()
}

impl Connection {
    pub(super) fn of(stream: &UnixStream, log: &Log) -> Arc<Self> {
        let peer = stream.peer_cred().ok();
        Arc::new(Self {
            process: peer.as_ref().and_then(tokio::net::unix::UCred::pid),
            uid: peer.map(|peer| peer.uid()),
            log: Mutex::new(log.clone()),
            challenge: Mutex::new(None),
            requests: AtomicU64::new(0),
            is_busy: AtomicBool::new(false),
            idle_since: Mutex::new(instant()),
            close: Notify::new(),
        })
    }

    pub(super) fn log(&self) -> Log {
        lock(&self.log).clone()
    }

    pub(super) fn act_as(&self, log: Log) {
        *lock(&self.log) = log;
    }

    /// A request is under way as long as the answer is held.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.is_busy.store(true, Ordering::SeqCst);
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// A request that is being answered.
pub(super) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        *lock(&self.0.idle_since) = instant();
        self.0.is_busy.store(false, Ordering::SeqCst);
    }
}

/// Who is attached.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<BTreeMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    ended: Notify,
}

impl Connections {
    /// Lets one in; if there are too many, the one that has been idle longest goes. `None`: all are
    /// busy.
    fn enter(&self, connection: &Arc<Connection>, limit: usize) -> Option<u64> {
        let mut open = lock(&self.open);
        if open.len() >= limit {
            let idle = open
                .iter()
                .filter(|(_, one)| !one.is_busy.load(Ordering::SeqCst));
            let longest = idle.min_by_key(|(_, one)| *lock(&one.idle_since));
            let longest = longest.map(|(id, _)| *id)?;
            if let Some(gone) = open.remove(&longest) {
                gone.close.notify_one();
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(id, Arc::clone(connection));
        Some(id)
    }

    fn leave(&self, id: u64) {
        lock(&self.open).remove(&id);
        self.ended.notify_waiters();
    }

    pub(super) fn list(&self) -> Vec<Attached> {
        let open = lock(&self.open);
        let all = open.values().map(|connection| Attached {
            process: connection.process,
            principal: connection.log().principal().0.to_owned(),
            requests: connection.requests.load(Ordering::Relaxed),
            is_busy: connection.is_busy.load(Ordering::SeqCst),
        });
        all.collect()
    }

    /// Waits until nobody is attached.
    pub(super) async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            if lock(&self.open).is_empty() {
                return;
            }
            ended.await;
        }
    }
}

/// Leaves when it is over, however that is.
struct Entered<'a>(&'a Connections, u64);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// Answers one connection until it ends.
pub(super) async fn serve_one(
    mut stream: UnixStream,
    connection: Arc<Connection>,
    shared: Arc<Shared>,
    router: Router,
) {
    if connection.uid != Some(rustix::process::geteuid().as_raw()) {
        turn_away(&mut stream, "403 Forbidden").await;
        return;
    }
    let Some(id) = shared
        .connections
        .enter(&connection, shared.limits.connections)
    else {
        turn_away(&mut stream, "503 Service Unavailable").await;
        return;
    };
    let _entered = Entered(&shared.connections, id);
    let limits = &shared.limits;
    let mut stopping = shared.stopping.subscribe();
    let of_connection = Arc::clone(&connection);
    let which = Arc::clone(&shared);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&of_connection));
        let (mut router, shared) = (router.clone(), Arc::clone(&which));
        Box::pin(async move {
            let asked = request.headers().get(LOG);
            let mut response = if asked.is_some_and(|asked| *asked != shared.log_id) {
                refusal(&other_log())
            } else {
                router.call(request).await?
            };
            response.headers_mut().insert(LOG, shared.log_id.clone());
            Ok::<_, Infallible>(response)
        })
    });
    let io = TokioIo::new(Stalling::new(stream, limits.stall_time));
    let mut served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_time)
        .serve_connection(io, service);
    let ending = async {
        tokio::select! {
            () = connection.close.notified() => {}
            _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
        }
    };
    let (ended, is_sent_away) = tokio::select! {
        ended = poll_fn(|context| served.poll_without_shutdown(context)) => (ended, false),
        () = ending => {
            let is_idle = !connection.is_busy.load(Ordering::SeqCst);
            Pin::new(&mut served).graceful_shutdown();
            let rest = poll_fn(|context| served.poll_without_shutdown(context));
            match tokio::time::timeout(limits.stop_time, rest).await {
                Ok(ended) => (ended, is_idle),
                // What is under way is cut, and nobody knows what becomes of it.
                Err(_) => return,
            }
        }
    };
    let is_late = ended.as_ref().is_err_and(hyper::Error::is_timeout);
    let mut stream = served.into_parts().io.into_inner();
    if is_sent_away || is_late {
        // Nothing of it is read any more: whoever asks at this moment was not heard, and is told so.
        turn_away(&mut stream, "408 Request Timeout").await;
        return;
    }
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    // Whoever does not listen is gone.
    let _ = stream.shutdown().await;
}

/// Another log stands where the one stood that is asked.
fn other_log() -> Told {
    Told::new(
        "other_log",
        ErrorKind::Conflict,
        "another log stands in the place of the one that was opened; open it again",
    )
}

/// Says no in the least that a client understands, and takes what it was about to ask: a client that is
/// cut off while it writes would not know whether it was heard.
async fn turn_away(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), status: &str) {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whoever does not listen is gone.
    let _ = tokio::time::timeout(LINGER_TIME, told).await;
}
