//! The holder's side.

mod accept;
mod answer;
mod connection;
mod follow;
mod long;
mod stall;

use crate::path::Address;
use crate::{AttachError, Limits};
use answer::router;
pub(crate) use answer::{
    ATTACHED, BASE, CHALLENGE, Challenge, EVENTS, FOLLOW, LOG, PROVE, Proof, Proven,
};
use axum::http::HeaderValue;
use connection::{Connection, Connections, serve_one};
use runstone_store::Log;
use runstone_store::holder::Endpoint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore, watch};

/// Who is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Attached {
    /// Its process, as far as the system says.
    pub process: Option<i32>,
    /// As whom.
    pub principal: String,
    /// Requests so far.
    pub requests: u64,
    /// Whether one is being answered.
    pub is_busy: bool,
}

/// What every connection shares.
#[derive(Debug)]
struct Shared {
    log: Log,
    /// Its id, as it stands in headers.
    log_id: HeaderValue,
    endpoints: HashMap<&'static str, Endpoint>,
    /// Made when somebody asks for it.
    openapi: OnceLock<String>,
    limits: Limits,
    connections: Connections,
    /// Requests that may be answered at once.
    workers: Arc<Semaphore>,
    /// Whether connections are to end.
    stopping: watch::Sender<bool>,
}

/// A log that is served as long as this lives.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// Of the socket: another one in its place is not ours.
    inode: u64,
    shared: Arc<Shared>,
    stop: Arc<Notify>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Serves a log of this process on a socket, with everything that can be asked of it. A socket
    /// that is there is one that was left: only who holds the log serves it.
    ///
    /// # Errors
    ///
    /// [`AttachError`] if the socket cannot be made.
    pub fn start(
        log: &Log,
        path: &Path,
        endpoints: Vec<Endpoint>,
        limits: Limits,
    ) -> Result<Self, AttachError> {
        let io = |error: io::Error| AttachError::io(path, &error);
        let workers = limits.workers.max(1);
        let (listener, inode) = listen(path)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // One more, for what is always answered.
            .max_blocking_threads(workers + 1)
            .thread_name("runstone-answer")
            .build()
            .map_err(io)?;
        let shared = Arc::new(Shared {
            // Whoever opened it may be a person; who connects is nobody yet.
            log: log.as_keyring(),
            log_id: HeaderValue::from_str(&log.info().log_id.to_string())
                .map_err(|error| io(io::Error::other(error)))?,
            openapi: OnceLock::new(),
            endpoints: endpoints
                .into_iter()
                .map(|endpoint| (endpoint.name, endpoint))
                .collect(),
            connections: Connections::default(),
            limits,
            workers: Arc::new(Semaphore::new(workers)),
            stopping: watch::Sender::new(false),
        });
        let stop = Arc::new(Notify::new());
        let (served, stopped) = (Arc::clone(&shared), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("runstone-serve".to_owned())
            .spawn(move || {
                let stop_time = served.limits.stop_time;
                runtime.block_on(accept(listener, served, stopped));
                // Whoever is still being answered by then keeps nobody waiting.
                runtime.shutdown_timeout(stop_time);
            })
            .map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            inode,
            shared,
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who is attached.
    pub fn attached(&self) -> Vec<Attached> {
        self.shared.connections.list()
    }

    /// Takes the socket away, gives requests under way their time, and ends every connection.
    /// Stopping again does nothing.
    pub fn stop(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.take() else {
            return;
        };
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|at| at.ino() == self.inode);
        if is_ours {
            // One that is left is found stale.
            let _ = fs::remove_file(&self.path);
        }
        self.stop.notify_one();
        if thread.join().is_err() {
            tracing::error!("the thread that serves the log panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes the socket under another name, for its owner alone, and puts it in its place.
fn listen(path: &Path) -> Result<(StdListener, u64), AttachError> {
    let io = |error: io::Error| AttachError::io(path, &error);
    if fs::symlink_metadata(path).is_ok_and(|at| !at.file_type().is_socket()) {
        return Err(AttachError::InTheWay {
            path: path.to_owned(),
        });
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let address = Address::of(&new)?;
    let listener = StdListener::bind(&address.path).map_err(io)?;
    let placed = fs::set_permissions(&new, fs::Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| fs::symlink_metadata(path));
    match placed {
        Ok(at) => Ok((listener, at.ino())),
        Err(error) => {
            let _ = fs::remove_file(&new);
            Err(io(error))
        }
    }
}

async fn accept(listener: StdListener, shared: Arc<Shared>, stop: Arc<Notify>) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the log cannot be served");
            return;
        }
    };
    let router = router(&shared);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.notified() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = Connection::of(&stream, &shared.log);
                let (shared, router) = (Arc::clone(&shared), router.clone());
                tokio::spawn(serve_one(stream, connection, shared, router));
            }
            Err(error) => {
                // Too many files, say: whoever is there goes on, and later ones come in again.
                tracing::warn!(%error, "somebody could not attach");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    shared.stopping.send_replace(true);
    let ended = shared.connections.ended();
    let _ = tokio::time::timeout(shared.limits.stop_time, ended).await;
}
