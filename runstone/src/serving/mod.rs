//! What other processes have of a log, and this one of theirs.

#[cfg(not(feature = "attach"))]
mod nobody;
#[cfg(feature = "attach")]
mod others;

#[cfg(not(feature = "attach"))]
pub(crate) use nobody::{Server, Serving, attached, served};
#[cfg(feature = "attach")]
pub(crate) use others::{Server, Serving, attached, served};
