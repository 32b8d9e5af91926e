//! `checkpoint`, `consistency` and `policy`: what auditors take with them.

use super::verdict::{self, Rejection};
use crate::args::{
    CheckpointArgs, CheckpointCommand, ConsistencyArgs, ConsistencyCommand, ConsistencyVerifyArgs,
    PolicyArgs,
};
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::Output;
use crate::session::{Access, Session};
use runstone::receipt::MAX_FILE_LEN;
use runstone::receipt::note::Vkey;
use runstone::{Consistency, Policy, SignedCheckpoint};
use serde::Serialize;
use std::fmt::Write as _;
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
    let old = args.old.as_deref().unwrap_or(Path::new("-"));
    let old = files::read_text(old, MAX_FILE_LEN)?;
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
    let old_policy = args
        .old_policy
        .as_deref()
        .map(verdict::policy)
        .transpose()?;
    let (old, proof) = (read(&args.old)?, read(&args.file)?);
    let outcome = verdict::checkpoint(old_policy.as_ref().unwrap_or(&policy), &old, None)
        .map_err(|rejection| rejection.of(&args.old));
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

/// Whom to trust, a C2SP tlog-policy: every key of the log, and no witness.
pub(crate) fn policy(session: &Session, args: &PolicyArgs) -> Result<Exit, Failure> {
    let (vkeys, now) = session.with(Access::Events, |log| Ok((log.vkeys(), log.info().origin)))?;
    let origin = args.origin.as_ref().unwrap_or(&now);
    let text = policy_of(&vkeys, origin).ok_or_else(|| {
        let message = format!("the log never had the origin `{origin}`");
        Report::new(Exit::NotFound, "origin_unknown", message)
    })?;
    Output::text(&text)?;
    Ok(Exit::Done)
}

/// The keys under one origin. A policy holds each public key once, so other origins under which the
/// same keys signed are named in comments.
fn policy_of(vkeys: &[Vkey], origin: &str) -> Option<String> {
    let (these, others): (Vec<&Vkey>, Vec<&Vkey>) =
        vkeys.iter().partition(|vkey| vkey.name() == origin);
    if these.is_empty() {
        return None;
    }
    let mut text = String::new();
    let mut named = Vec::new();
    for other in others {
        if !named.contains(&other.name()) {
            named.push(other.name());
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "# checkpoints of another epoch: runstone policy --origin {}",
                other.name()
            );
        }
    }
    for vkey in these {
        let _ = writeln!(text, "log {vkey}");
    }
    text.push_str("quorum none\n");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone::receipt::note::Signer;

    #[test]
    fn a_policy_holds_each_public_key_once() {
        let vkeys: Vec<Vkey> = ["a/log", "b/log"]
            .into_iter()
            .flat_map(|name| {
                [[1; 32], [2; 32]].map(|seed| Signer::new(name, &seed).unwrap().vkey())
            })
            .collect();
        for origin in ["a/log", "b/log"] {
            let text = policy_of(&vkeys, origin).unwrap();
            let policy = Policy::parse(text.as_bytes()).unwrap();
            assert_eq!(policy.logs().len(), 2);
            assert!(policy.logs().iter().all(|log| log.key().name() == origin));
            assert_eq!(text.matches("--origin").count(), 1);
        }
        assert_eq!(policy_of(&vkeys, "c/log"), None);
    }
}
