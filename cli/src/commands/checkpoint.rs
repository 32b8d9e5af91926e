//! `checkpoint`, `consistency` and `policy`: what auditors take with them.

use super::verdict::{self, Rejection};
use crate::args::{
    CheckpointArgs, CheckpointCommand, ConsistencyArgs, ConsistencyCommand, ConsistencyVerifyArgs,
};
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::Output;
use crate::session::{Access, Session};
use runstone::receipt::MAX_FILE_LEN;
use runstone::{Consistency, Policy, SignedCheckpoint};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Written<'a> {
    file: &'a Path,
    old_size: u64,
    size: u64,
}

/// The signed checkpoint of everything recorded, a C2SP tlog-checkpoint; or whether one holds.
pub(crate) fn checkpoint(session: &Session, args: &CheckpointArgs) -> Result<Exit, Failure> {
    if let Some(CheckpointCommand::Verify {
        file,
        policy,
        origin,
    }) = &args.command
    {
        let policy = verdict::policy(policy)?;
        let bytes = read(file)?;
        let outcome = verdict::checkpoint(&policy, &bytes, origin.as_deref());
        return verdict::answer_checkpoint(&session.output, file, &outcome, None);
    }
    let signed = session.with(Access::Events, |log| Ok(log.checkpoint()?))?;
    Output::text(signed.text())?;
    Ok(Exit::Done)
}

/// That the log has only grown, in the shape of a request to a C2SP witness; or whether that holds.
pub(crate) fn consistency(session: &Session, args: &ConsistencyArgs) -> Result<Exit, Failure> {
    if let Some(ConsistencyCommand::Verify(verify)) = &args.command {
        if args.old.is_some() || args.output.is_some() {
            return Err(Report::usage("what is to be issued is not said to verify").into());
        }
        return verify_consistency(&session.output, verify);
    }
    let old = args.old.as_deref();
    let old = files::read_text(old.unwrap_or_else(|| Path::new("-")), MAX_FILE_LEN)?;
    let (proof, size) = session.with(Access::Events, |log| {
        Ok((log.consistency(&old)?, log.size()))
    })?;
    let Some(file) = &args.output else {
        Output::text(&proof.to_string())?;
        return Ok(Exit::Done);
    };
    files::write(file, &proof.encode(), files::OPEN)?;
    let old_size = proof.old();
    let answer = Written {
        file,
        old_size,
        size,
    };
    session.output.answer(&answer, || {
        format!("{}: from {old_size} events to {size}", file.display())
    })?;
    Ok(Exit::Done)
}

fn verify_consistency(output: &Output, args: &ConsistencyVerifyArgs) -> Result<Exit, Failure> {
    let policy = verdict::policy(&args.policy)?;
    let (old, proof) = (read(&args.old)?, read(&args.file)?);
    let outcome =
        verdict::checkpoint(&policy, &old, None).map_err(|rejection| rejection.of(&args.old));
    let outcome = outcome.and_then(|old| {
        let grown = grown(&proof, &old, &policy, args.across_epochs)?;
        Ok((grown, old.checkpoint().size))
    });
    let old_size = outcome.as_ref().ok().map(|(_, size)| *size);
    let outcome = outcome.map(|(grown, _)| grown);
    verdict::answer_checkpoint(output, &args.file, &outcome, old_size)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    files::read(file, MAX_FILE_LEN).map_err(|error| Report::file(file, &error).into())
}

fn grown(
    proof: &[u8],
    old: &SignedCheckpoint,
    policy: &Policy,
    across_epochs: bool,
) -> Result<SignedCheckpoint, Rejection> {
    let proof = Consistency::parse(proof)?;
    Ok(if across_epochs {
        proof.verify_across_epochs(old, policy)?
    } else {
        proof.verify(old, policy)?
    })
}

/// Whom to trust, a C2SP tlog-policy: every key of the log under the name that it had, no witness.
pub(crate) fn policy(session: &Session) -> Result<Exit, Failure> {
    let vkeys = session.with(Access::Events, |log| Ok(log.vkeys()?))?;
    let policy = Policy::of_logs(vkeys);
    let policy = policy.map_err(|rule| Report::of(Exit::No, rule.code(), &rule))?;
    Output::text(&policy.to_text())?;
    Ok(Exit::Done)
}
