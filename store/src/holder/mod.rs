//! A log that another process holds.
//!
//! ```text
//!  Log --+-- here:  the file
//!        +-- there: Ask --> Holder (a connection) --> the process that holds the file
//! ```
//!
//! The database gives its file to one process. Whoever else wants the log asks that one. What is
//! asked is data ([`Ask`]); how it gets there is not this crate's ([`Holder`]). Deciders run where
//! the file is: nothing that an asker says is believed without them.

mod asks;
mod declare;
mod packed;
mod page;
mod progress;
mod there;
mod told;
mod wire;

pub use crate::read::News;
pub use asks::{Facts, endpoints};
/// As it travels; its form is that of the socket.
#[doc(hidden)]
pub use page::Page;
pub use progress::{Progress, Telling};
pub use told::{Refusal, Told};
/// As it travels; its form is that of the socket.
#[doc(hidden)]
pub use wire::{Base64, WireDraft, WireEvent, WireItem, WireRecord};

pub(crate) use asks::{
    AcceptClock, AppendMany, AppendOne, BackupKeysTo, BackupTo, CheckFolds, ConfigureBy,
    ConsistencyFrom, CountOf, DiscloseOf, DiscloseOwn, EndOverlap, Enrol, EntryOf, EnvelopeOf,
    EraseScopes, ErasuresOf, ExportBegin, ExportOpen, ExportPart, FactsOf, FoldRowOf, FoldStatusOf,
    FollowPage, HoldOn, HoldsOf, ImportMany, KeyedDigestOf, KeysOf, ReadPage, RebuildFolds,
    ReceiptOf, ReleaseHold, ResumeErasures, RotateKek, ScopeOf, StatsOf, SyncNow, TreeNode,
    Verdict, VerifyAll, Which,
};
pub(crate) use there::{There, odd};
pub(crate) use told::{Word, elsewhere, word};
pub(crate) use wire::hex32;

use crate::error::AppendError;
use crate::keys::Credential;
use crate::log::{Backing, Here, Log};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::{Any, TypeId};
use std::fmt::Debug;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// Something that is asked of a log: what it is about, and how it is answered where the file is.
pub trait Ask: Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// Its name: `[a-z_]+(/[a-z_]+)*`, the last part of its address.
    const NAME: &'static str;
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
    /// Why it is not.
    type Error: Refusal;
    /// Whether it may take long: then it is told meanwhile how far it is.
    const IS_LONG: bool;

    /// Answers it, on the thread of the caller, who may have to wait; `progress` is told how many are done,
    /// of how many, if it may take long.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or with the log.
    fn answer(self, log: &Log, progress: &dyn Fn(u64, u64)) -> Result<Self::Answer, Self::Error>;
}

/// How an answer may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a choice of who carries requests")]
pub enum Form {
    /// As JSON.
    Json,
    /// As JSON, but a [`Page`] as CBOR.
    Packed,
}

/// An answer, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever carries it says which")]
pub enum Written {
    /// JSON.
    Json(Vec<u8>),
    /// A [`Page`] as CBOR.
    Cbor(Vec<u8>),
}

impl Written {
    /// Writes an answer.
    ///
    /// # Errors
    ///
    /// `internal`: it cannot be written.
    pub fn of<T: Serialize + 'static>(answer: &T, form: Form) -> Result<Self, Told> {
        let page = (answer as &dyn Any).downcast_ref::<Page>();
        match page.filter(|_| form == Form::Packed) {
            Some(page) => Ok(Self::Cbor(page.to_cbor())),
            None => serde_json::to_vec(answer)
                .map(Self::Json)
                .map_err(|error| Told::internal(&error)),
        }
    }

    /// What was written.
    fn read<T: DeserializeOwned + 'static>(self) -> Result<T, Told> {
        let page = match self {
            Self::Json(body) => {
                return serde_json::from_slice(&body).map_err(|error| Told::internal(&error));
            }
            Self::Cbor(body) => Page::from_cbor(&body).map_err(|error| Told::internal(&error))?,
        };
        let page: Box<dyn Any> = Box::new(page);
        let page = page.downcast().map(|page| *page);
        page.map_err(|_| Told::internal(&"a page was not asked for"))
    }
}

/// A reply, as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The answer.
    Answer(Written),
    /// A [`Told`], JSON.
    Refusal(Vec<u8>),
}

/// Whoever was asked went away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by those who carry requests"
)]
pub struct Lost {
    /// Whether it may have been asked: what it would have changed is changed or not.
    pub is_sent: bool,
    /// What happened.
    pub why: String,
}

/// A reply on its way.
pub type Replying = Pin<Box<dyn Future<Output = Result<Reply, Lost>> + Send>>;

/// A way to a holder that is on its way to its end.
pub type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Carries requests to whoever holds a log, as one principal.
pub trait Holder: Debug + Send + Sync {
    /// Sends what is asked, JSON; the reply comes in the order of who answers.
    fn ask(&self, name: &'static str, body: Vec<u8>) -> Replying;

    /// The same for what may take long: how far it is is told meanwhile, by a holder that says so.
    fn ask_telling(&self, name: &'static str, body: Vec<u8>, telling: Telling) -> Replying {
        drop(telling);
        self.ask(name, body)
    }

    /// Takes no more requests, waits for the replies that are on their way, and lets go of the holder.
    /// Whoever follows is not waited for.
    fn close(&self) -> Closing;

    /// The same way, as the principal of a credential.
    ///
    /// # Errors
    ///
    /// [`AppendError::Keys`] if it is not theirs.
    fn acting_as(&self, credential: &Credential) -> Result<Arc<dyn Holder>, AppendError>;
}

/// Answers what is asked, JSON; tells meanwhile how many are done, of how many, if it may take long.
pub type Answering = fn(&Log, &[u8], Form, &dyn Fn(u64, u64)) -> Result<Written, Told>;

/// How an [`Ask`] is answered and described, whatever its type.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Endpoint {
    /// Its name.
    pub name: &'static str,
    /// Answers it.
    pub answer: Answering,
    /// Whether it may take long.
    pub is_long: bool,
    /// Whether a [`Page`] is answered, which may be packed.
    pub is_page: bool,
    /// JSON Schema of what is asked.
    pub request: fn(&mut SchemaGenerator) -> Schema,
    /// JSON Schema of the answer.
    pub response: fn(&mut SchemaGenerator) -> Schema,
}

impl Debug for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Endpoint")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The endpoint of a type.
    pub fn of<A: Ask>() -> Self {
        Self {
            name: A::NAME,
            answer: |log, body, form, progress| {
                let ask: A = serde_json::from_slice(body).map_err(|error| Told::usage(&error))?;
                let answer = ask.answer(log, progress).map_err(|error| error.told())?;
                Written::of(&answer, form)
            },
            is_long: A::IS_LONG,
            is_page: TypeId::of::<A::Answer>() == TypeId::of::<Page>(),
            request: SchemaGenerator::subschema_for::<A>,
            response: SchemaGenerator::subschema_for::<A::Answer>,
        }
    }
}

fn body_of<A: Ask>(ask: &A) -> Result<Vec<u8>, A::Error> {
    serde_json::to_vec(ask).map_err(|error| A::Error::of(Told::internal(&error)))
}

fn send<A: Ask>(holder: &dyn Holder, ask: &A) -> Result<Replying, A::Error> {
    Ok(holder.ask(A::NAME, body_of(ask)?))
}

/// What a reply says.
pub(crate) fn answer_of<A: Ask>(reply: Result<Reply, Lost>) -> Result<A::Answer, A::Error> {
    match reply {
        Ok(Reply::Answer(answer)) => answer.read().map_err(A::Error::of),
        Ok(Reply::Refusal(body)) => {
            let told = serde_json::from_slice(&body);
            Err(A::Error::of(
                told.unwrap_or_else(|error| Told::internal(&error)),
            ))
        }
        Err(lost) => Err(A::Error::lost(lost)),
    }
}

impl Log {
    /// A log that somebody else holds, as one's own.
    ///
    /// # Errors
    ///
    /// [`AppendError`] if the holder does not answer.
    pub fn attached(holder: Arc<dyn Holder>) -> Result<Self, AppendError> {
        Ok(Self {
            backing: Backing::There(Arc::new(There::new(holder)?)),
        })
    }

    /// Whether another process holds the file, and is asked.
    pub fn is_attached(&self) -> bool {
        matches!(self.backing, Backing::There(_))
    }

    /// Whether this handle was closed, here or, by another handle, the log itself.
    pub fn is_closed(&self) -> bool {
        match &self.backing {
            Backing::Here(here) => here.is_closed(),
            Backing::There(there) => there.is_closed(),
        }
    }

    /// The next events of what is followed, of those that survive a crash: a page of them, none if
    /// there are none yet. Its `next` says where to go on; `None` after the last one that was asked
    /// for.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn followed(&self, read: crate::read::Read) -> Result<Page, crate::error::ReadError> {
        asks::followed(self, read)
    }

    /// Who waits for events that a read may want; what is there already does not count.
    ///
    /// # Errors
    ///
    /// [`ReadError`](crate::error::ReadError) `held_elsewhere` if another process holds the file.
    pub fn news(&self, read: &crate::read::Read) -> Result<News, crate::error::ReadError> {
        Ok(self.here()?.shared.board.wait(read))
    }

    /// The process that holds the file, if it is another one.
    pub fn holder_process(&self) -> Option<u32> {
        match &self.backing {
            Backing::Here(_) => None,
            Backing::There(there) => Some(there.facts().process),
        }
    }

    /// Asks the log something: answered here if the file is held here, else where it is.
    ///
    /// # Errors
    ///
    /// Those of the question.
    pub fn ask_blocking<A: Ask>(&self, ask: A) -> Result<A::Answer, A::Error> {
        match &self.backing {
            Backing::Here(_) => ask.answer(self, &|_, _| {}),
            Backing::There(there) => there.ask_blocking(&ask),
        }
    }

    /// Asks whoever else holds the log, without blocking; `None` if it is held here.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have been asked, and done there.
    pub async fn ask_there<A: Ask + Sync>(&self, ask: &A) -> Option<Result<A::Answer, A::Error>> {
        match &self.backing {
            Backing::Here(_) => None,
            Backing::There(there) => Some(there.ask(ask).await),
        }
    }

    /// As [`ask_there`](Self::ask_there), for callers without a runtime.
    pub fn ask_there_blocking<A: Ask>(&self, ask: &A) -> Option<Result<A::Answer, A::Error>> {
        match &self.backing {
            Backing::Here(_) => None,
            Backing::There(there) => Some(there.ask_blocking(ask)),
        }
    }

    /// The log, if its file is held here.
    pub(crate) fn here(&self) -> Result<&Here, Told> {
        match &self.backing {
            Backing::Here(here) => Ok(here),
            Backing::There(_) => Err(elsewhere()),
        }
    }
}

/// Blocks this thread until a future is done. The caller may be in a task of a runtime that shares
/// its time out: nothing of that counts here, since the task does not go on until this returns.
pub fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(tokio::task::unconstrained(future));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
