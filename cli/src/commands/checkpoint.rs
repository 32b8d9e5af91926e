//! `checkpoint` and `policy`: what auditors take with them.

use crate::error::{Exit, Failure};
use crate::output::Output;
use crate::session::{Access, Session};

/// The signed checkpoint of everything recorded, a C2SP tlog-checkpoint.
pub(crate) fn checkpoint(session: &Session) -> Result<Exit, Failure> {
    let signed = session.with(Access::Events, |log| Ok(log.checkpoint()?))?;
    Output::text(signed.text())?;
    Ok(Exit::Done)
}

/// Whom to trust, a C2SP tlog-policy: the log's key, and no witness.
pub(crate) fn policy(session: &Session) -> Result<Exit, Failure> {
    let info = session.with(Access::Events, |log| Ok(log.info()))?;
    Output::text(&format!("log {}\nquorum none\n", info.vkey))?;
    Ok(Exit::Done)
}
