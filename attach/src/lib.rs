//! A held log, open to other processes: HTTP and JSON on a Unix socket beside its file.
//!
//! ```text
//!  holder:  Log --> Server -- LOG.sock (0600, the owner's uid only) -- Client --> Log :others
//! ```
//!
//! The process that holds the file serves it; another process attaches and has a
//! [`Log`](runstone_store::Log) that does the same. One connection is one principal: without a
//! credential `system:keyring`, with one whoever signed this connection's challenge.

mod client;
mod error;
mod limits;
mod openapi;
mod path;
mod progress;
mod server;

pub use client::{ConnectError, attached, connect};
pub use error::AttachError;
pub use limits::Limits;
pub use openapi::openapi;
pub use path::socket_of;
pub use server::{Attached, Server};
