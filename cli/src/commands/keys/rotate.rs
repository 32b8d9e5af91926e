//! New keys in place of old ones.

use crate::error::{Exit, Failure};
use crate::session::{Access, Session};
use runstone::codec::keys::Destroyed;
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Serialize)]
struct Rotated<'a> {
    destroyed: Vec<Answered<'a>>,
    remaining: &'a [String],
}

/// What the provider answered when it was to destroy a key.
#[derive(Serialize)]
struct Answered<'a> {
    kek_id: &'a str,
    destroyed: &'static str,
}

#[derive(Serialize)]
struct Signing {
    old: String,
    new: String,
}

#[derive(Serialize)]
struct Ended {
    vkey: String,
}

pub(super) fn kek(session: &Session) -> Result<Exit, Failure> {
    let rotation = session.with(Access::Write, |log| Ok(log.rotate_kek()?))?;
    let answered = rotation.destroyed.iter().map(|(kek_id, answer)| Answered {
        kek_id,
        destroyed: answer.as_str(),
    });
    let answer = Rotated {
        destroyed: answered.collect(),
        remaining: &rotation.remaining,
    };
    session.output.answer(&answer, || {
        let mut text = "every key is wrapped under the newest key-encryption key".to_owned();
        // Writing to a string cannot fail.
        for (kek_id, answer) in &rotation.destroyed {
            let _ = write!(text, "\n{kek_id}: {}", meaning(*answer));
        }
        text
    })?;
    if rotation.remaining.is_empty() {
        return Ok(Exit::Done);
    }
    for kek_id in &rotation.remaining {
        let message =
            format!("{kek_id} is still there: destroy it where it is kept, then run this again");
        session.output.warn("kek_remains", &message);
    }
    Ok(Exit::Incomplete)
}

fn meaning(answer: Destroyed) -> &'static str {
    match answer {
        Destroyed::Proven => "destroyed, as its provider proves",
        Destroyed::BestEffort => "destroyed, as far as its provider can tell",
        Destroyed::Unsupported => "its provider cannot destroy it",
    }
}

pub(super) fn signing(session: &Session) -> Result<Exit, Failure> {
    let (old, new) = session.with(Access::Write, |log| Ok(log.rotate_signing()?))?;
    let answer = Signing {
        old: old.to_string(),
        new: new.to_string(),
    };
    let output = &session.output;
    output.answer(&answer, || {
        format!(
            "both keys sign from now on\nformer  {}\nnew     {}",
            answer.old, answer.new
        )
    })?;
    output.note(
        "give auditors what runstone policy prints, then run runstone keys rotate-signing --end",
    );
    Ok(Exit::Done)
}

pub(super) fn end_overlap(session: &Session) -> Result<Exit, Failure> {
    let vkey = session.with(Access::Write, |log| {
        log.end_signing_overlap()?;
        Ok(log.info().vkey.to_string())
    })?;
    let answer = Ended { vkey };
    session.output.answer(&answer, || {
        format!("one key signs from now on\nvkey  {}", answer.vkey)
    })?;
    Ok(Exit::Done)
}
