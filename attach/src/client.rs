//! Whoever asks.

use crate::AttachError;
use crate::path::Address;
use crate::progress::{CBOR, EVENT_STREAM, Waiting};
use crate::server::{ATTACHED, Attached, BASE, CHALLENGE, Challenge, FOLLOW, LOG, PROVE, Proof};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use runstone_store::holder::{
    Base64, Closing, Holder, Lost, Refusal as _, Reply, Replying, Telling, Told, Written,
};
use runstone_store::keys::Credential;
use runstone_store::{AppendError, ErrorKind, Log};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

/// How long an answer may take, or who answers say nothing: a holder that is stopped and not ended answers
/// nobody.
const ANSWER_TIME: Duration = Duration::from_secs(600);
/// How long a holder may take to be reached, to take a proof, and to say how the log stands.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// What is accepted, where nobody wants to know how far it is.
const PACKED: &str = "application/cbor, application/json";
/// What is asked first.
const FACTS: &str = "facts";
/// What waits for everything that was asked before and that nobody waits for any more.
const SYNC: &str = "sync";
/// Connections that are kept for the next request.
const KEPT: usize = 4;

type Sender = SendRequest<Full<Bytes>>;

/// Attaches to a log that another process serves.
///
/// # Errors
///
/// [`AttachError::NotServed`] if nobody does, [`AttachError::Foreign`] if somebody else's process
/// answers; [`AppendError`] as the holder tells it.
pub fn connect(socket: &Path) -> Result<Log, ConnectError> {
    let client = Client::start(Line::to(socket))?;
    Ok(Log::attached(Arc::new(client))?)
}

/// Who is attached to a log that another process serves, this caller included.
///
/// # Errors
///
/// As [`connect`].
pub fn attached(socket: &Path) -> Result<Vec<Attached>, ConnectError> {
    let client = Client::start(Line::to(socket))?;
    let reply = runstone_store::holder::wait(client.ask(ATTACHED, Vec::new()));
    Ok(told(reply)?)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Attaching failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody could be reached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The holder refused, or went away.
    #[error(transparent)]
    Told(#[from] AppendError),
}

impl ConnectError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Attach(error) => error.code(),
            Self::Told(error) => error.code(),
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Attach(error) => error.kind(),
            Self::Told(error) => error.kind(),
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Attach(error) => error.is_retryable(),
            Self::Told(error) => error.is_retryable(),
        }
    }
}

/// A way to the holder, as one principal.
#[derive(Debug)]
struct Client {
    line: Arc<Line>,
    orders: mpsc::UnboundedSender<Order>,
}

/// What the thread of a client is told.
enum Order {
    Ask(Call),
    /// To answer what was asked before, end the connections, and say so.
    Close(oneshot::Sender<()>),
}

struct Call {
    name: &'static str,
    body: Vec<u8>,
    reply: oneshot::Sender<Result<Reply, Lost>>,
    /// As long as somebody waits for the reply.
    asker: Weak<()>,
    /// Wants to know meanwhile how far it is.
    telling: Option<Telling>,
}

/// A call under way.
struct Flight {
    asker: Weak<()>,
    /// Closed when it ends.
    end: watch::Receiver<()>,
}

impl Flight {
    fn has_ended(&self) -> bool {
        self.end.has_changed().is_err()
    }
}

fn not_sent(why: impl Into<String>) -> Lost {
    Lost {
        is_sent: false,
        why: why.into(),
    }
}

fn sent(why: impl Into<String>) -> Lost {
    Lost {
        is_sent: true,
        why: why.into(),
    }
}

impl Client {
    /// Starts it, with one connection made.
    fn start(line: Line) -> Result<Self, ConnectError> {
        let line = Arc::new(line);
        let io = |error: io::Error| AttachError::io(&line.socket, &error);
        let carried = Arc::clone(&line);
        let (orders, taken) = mpsc::unbounded_channel();
        let (connected, is_connected) = std::sync::mpsc::channel();
        let runtime = runtime().map_err(io)?;
        // A thread of its own also for the first connection: the caller may be in a runtime.
        std::thread::Builder::new()
            .name("runstone-attach".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    match carried.open().await {
                        Ok(first) => {
                            // Whoever waits for it takes it.
                            let _ = connected.send(Ok(()));
                            carry(carried, first, taken).await;
                        }
                        Err(error) => {
                            let _ = connected.send(Err(error));
                        }
                    }
                });
            })
            .map_err(io)?;
        let gone = || ConnectError::from(io(io::ErrorKind::BrokenPipe.into()));
        is_connected.recv().map_err(|_| gone())??;
        Ok(Self { line, orders })
    }

    fn call(&self, name: &'static str, body: Vec<u8>, telling: Option<Telling>) -> Replying {
        let (reply, replied) = oneshot::channel();
        let waiting = Arc::new(());
        let call = Call {
            name,
            body,
            reply,
            asker: Arc::downgrade(&waiting),
            telling,
        };
        let is_taken = self.orders.send(Order::Ask(call)).is_ok();
        Box::pin(async move {
            let replied = if is_taken {
                let lost = || Err(sent("the connection was closed"));
                replied.await.unwrap_or_else(|_| lost())
            } else {
                Err(not_sent("the connection was closed"))
            };
            drop(waiting);
            replied
        })
    }
}

impl Holder for Client {
    fn ask(&self, name: &'static str, body: Vec<u8>) -> Replying {
        self.call(name, body, None)
    }

    fn ask_telling(&self, name: &'static str, body: Vec<u8>, telling: Telling) -> Replying {
        self.call(name, body, Some(telling))
    }

    fn close(&self) -> Closing {
        let (close, closed) = oneshot::channel();
        // Closed already, if nobody takes it.
        let _ = self.orders.send(Order::Close(close));
        Box::pin(async move {
            let _ = closed.await;
        })
    }

    fn acting_as(&self, credential: &Credential) -> Result<Arc<dyn Holder>, AppendError> {
        let line = Line {
            credential: Some(credential.clone()),
            ..Line::clone(&self.line)
        };
        match Self::start(line) {
            Ok(client) => Ok(Arc::new(client)),
            Err(ConnectError::Told(error)) => Err(error),
            Err(ConnectError::Attach(error)) => {
                Err(AppendError::of(Told::from(not_sent(error.to_string()))))
            }
        }
    }
}

/// Carries calls until nobody calls any more, or it is closed.
async fn carry(line: Arc<Line>, first: Sender, mut orders: mpsc::UnboundedReceiver<Order>) {
    let (free, mut freed) = mpsc::unbounded_channel::<Sender>();
    let mut kept = vec![first];
    let mut flights: Vec<Flight> = Vec::new();
    let (following, stop_following) = watch::channel(());
    loop {
        tokio::select! {
            // Those that are free first: the next call needs no other.
            biased;
            Some(sender) = freed.recv() => {
                if kept.len() < KEPT {
                    kept.push(sender);
                }
            }
            order = orders.recv() => match order {
                None => return,
                Some(Order::Ask(call)) => {
                    flights.retain(|flight| !flight.has_ended());
                    let mut given_up = Vec::new();
                    if call.name == SYNC {
                        let before = flights.iter().filter(|flight| flight.asker.strong_count() == 0);
                        given_up.extend(before.map(|flight| flight.end.clone()));
                    }
                    let (ends, end) = watch::channel(());
                    flights.push(Flight { asker: Weak::clone(&call.asker), end });
                    let stop = stop_following.clone();
                    let carried = carry_one(Arc::clone(&line), call, kept.pop(), free.clone(), stop);
                    tokio::spawn(async move {
                        for mut flight in given_up {
                            // It never changes; it closes.
                            let _ = flight.changed().await;
                        }
                        carried.await;
                        drop(ends);
                    });
                }
                Some(Order::Close(closed)) => {
                    // Whoever asks after this is told that nobody takes it.
                    orders.close();
                    drop(following);
                    for mut flight in flights {
                        let _ = flight.end.changed().await;
                    }
                    // Whoever closes may have gone on.
                    let _ = closed.send(());
                    return;
                }
            },
        }
    }
}

/// Carries one call, on a connection that is free if there is one.
async fn carry_one(
    line: Arc<Line>,
    call: Call,
    sender: Option<Sender>,
    free: mpsc::UnboundedSender<Sender>,
    mut following: watch::Receiver<()>,
) {
    let Call {
        name,
        body,
        mut reply,
        telling,
        ..
    } = call;
    let limit = if name == FACTS {
        CONNECT_TIME
    } else {
        ANSWER_TIME
    };
    let waiting = Waiting::of(telling);
    let asked = line.ask(sender, name, body, &waiting);
    let replied = tokio::select! {
        replied = waiting.answer(limit, asked) => replied,
        // Nobody waits for what follows any more: the connection goes with it. What may change
        // something is asked to its end.
        () = reply.closed(), if name == FOLLOW => return,
        Err(_) = following.changed(), if name == FOLLOW => return,
    };
    let told = match replied {
        Some((told, sender)) => {
            if let Some(sender) = sender {
                // Whoever takes it back may be gone.
                let _ = free.send(sender);
            }
            told
        }
        None => Err(sent(format!("no answer in {} s", limit.as_secs()))),
    };
    // Whoever asked may not want to know any more.
    let _ = reply.send(told);
}

/// Where the holder is, and who calls.
#[derive(Debug, Clone)]
struct Line {
    socket: PathBuf,
    credential: Option<Credential>,
    /// The log that answered first, and that every later request is meant for.
    log: OnceLock<HeaderValue>,
}

impl Line {
    fn to(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            credential: None,
            log: OnceLock::new(),
        }
    }

    /// A connection that acts as whoever calls, made in time.
    async fn open(&self) -> Result<Sender, ConnectError> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let opened = tokio::time::timeout(CONNECT_TIME, self.connect()).await;
        opened.map_err(|passed| AttachError::io(&self.socket, &late(passed)))?
    }

    async fn connect(&self) -> Result<Sender, ConnectError> {
        let path = &self.socket;
        let address = Address::of(path)?;
        let stream = UnixStream::connect(&address.path).await;
        let stream = stream.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AttachError::NotServed { path: path.clone() }
            }
            _ => AttachError::io(path, &error),
        })?;
        let peer = stream
            .peer_cred()
            .map_err(|error| AttachError::io(path, &error))?;
        if peer.uid() != rustix::process::geteuid().as_raw() {
            return Err(AttachError::Foreign {
                path: path.clone(),
                uid: peer.uid(),
            }
            .into());
        }
        let io_error = |error: hyper::Error| AttachError::io(path, &io::Error::other(error));
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io_error)?;
        tokio::spawn(connection);
        if let Some(credential) = &self.credential {
            self.prove(&mut sender, credential).await?;
        }
        Ok(sender)
    }

    /// Asks on a connection that was kept, or on a new one if that was closed meanwhile.
    async fn ask(
        &self,
        kept: Option<Sender>,
        name: &str,
        body: Vec<u8>,
        waiting: &Waiting,
    ) -> (Result<Reply, Lost>, Option<Sender>) {
        let body = Bytes::from(body);
        if let Some(mut sender) = kept.filter(|sender| !sender.is_closed()) {
            match self.send(&mut sender, name, body.clone(), waiting).await {
                Err(Lost { is_sent: false, .. }) => {}
                Err(lost) => return (Err(lost), None),
                reply => return (reply, Some(sender)),
            }
        }
        let mut sender = match self.open().await {
            Ok(sender) => sender,
            Err(ConnectError::Told(error)) => {
                let refusal = serde_json::to_vec(&error.told()).unwrap_or_default();
                return (Ok(Reply::Refusal(refusal)), None);
            }
            Err(ConnectError::Attach(error)) => return (Err(not_sent(error.to_string())), None),
        };
        match self.send(&mut sender, name, body, waiting).await {
            Err(lost) => (Err(lost), None),
            reply => (reply, Some(sender)),
        }
    }

    async fn send(
        &self,
        sender: &mut Sender,
        name: &str,
        body: Bytes,
        waiting: &Waiting,
    ) -> Result<Reply, Lost> {
        if let Err(error) = sender.ready().await {
            return Err(not_sent(error.to_string()));
        }
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{BASE}{name}"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| not_sent(error.to_string()))?;
        if let Some(log) = self.log.get() {
            request.headers_mut().insert(LOG, log.clone());
        }
        let accepted = if waiting.telling.is_some() {
            EVENT_STREAM
        } else {
            PACKED
        };
        let accepted = HeaderValue::from_static(accepted);
        request.headers_mut().insert(ACCEPT, accepted);
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                // What was given back was not sent.
                let is_sent = error.take_message().is_none();
                let why = error.into_error().to_string();
                return Err(Lost { is_sent, why });
            }
        };
        let status = response.status();
        if let Some(log) = response.headers().get(LOG) {
            // The first one stays.
            let _ = self.log.set(log.clone());
        }
        let kind = response.headers().get(CONTENT_TYPE);
        let is = |of: &str| kind.is_some_and(|kind| kind == of);
        let is_packed = is(CBOR);
        if status == StatusCode::OK && is(EVENT_STREAM) {
            return waiting.hear(response.into_body()).await;
        }
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| sent(error.to_string()))?.to_bytes();
        match status {
            StatusCode::OK if is_packed => Ok(Reply::Answer(Written::Cbor(body.into()))),
            StatusCode::OK => Ok(Reply::Answer(Written::Json(body.into()))),
            // Turned away at the door.
            _ if body.is_empty() => Err(not_sent(status.to_string())),
            _ => Ok(Reply::Refusal(body.into())),
        }
    }

    /// Signs the challenge of a connection.
    async fn prove(&self, sender: &mut Sender, credential: &Credential) -> Result<(), AppendError> {
        let waiting = Waiting::default();
        let challenge = self.send(sender, CHALLENGE, Bytes::new(), &waiting).await;
        let challenge: Challenge = told(challenge)?;
        let proof = Proof {
            id: credential.id().to_owned(),
            signature: Base64(credential.prove(&challenge.challenge.0).to_vec()),
        };
        let body = serde_json::to_vec(&proof).map_err(|error| unreadable(&error))?;
        told::<serde_json::Value>(self.send(sender, PROVE, body.into(), &waiting).await)?;
        Ok(())
    }
}

fn unreadable(error: &serde_json::Error) -> AppendError {
    AppendError::of(Told::new(
        "bad_answer",
        ErrorKind::Storage,
        error.to_string(),
    ))
}

fn told<T: serde::de::DeserializeOwned>(reply: Result<Reply, Lost>) -> Result<T, AppendError> {
    match reply {
        Ok(Reply::Answer(Written::Json(body))) => {
            serde_json::from_slice(&body).map_err(|error| unreadable(&error))
        }
        Ok(Reply::Refusal(body)) => match serde_json::from_slice::<Told>(&body) {
            Ok(told) => Err(AppendError::of(told)),
            Err(error) => Err(unreadable(&error)),
        },
        Ok(_) => Err(AppendError::Closed),
        Err(lost) => Err(AppendError::of(Told::from(lost))),
    }
}
