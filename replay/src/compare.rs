//! Two runs beside each other.

use crate::diff::{Change, diff};
use crate::steps::{content, steps_of};
use runstone_codec::{Position, TypedEvent, Uuid};
use runstone_projections::events::control::effect as field;
use runstone_projections::events::{
    ChatMessage, EffectClaimed, ToolCallCompleted, ToolCallFailed, ToolCallRequested,
};
use runstone_projections::runs::Told;
use runstone_store::{Item, Log, ReadError, Record};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What kind of thing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MoveKind {
    /// A step of a workflow.
    Step,
    /// A call of a tool, as a transcript tells it.
    Tool,
    /// A call that happens once.
    Effect,
    /// A turn of the transcript.
    Message,
}

impl MoveKind {
    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Tool => "tool",
            Self::Effect => "effect",
            Self::Message => "message",
        }
    }
}

impl fmt::Display for MoveKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// Something that a run did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Move {
    /// What kind of thing.
    pub kind: MoveKind,
    /// The node, the tool, or the role; empty if that was erased.
    pub node: String,
    /// Which attempt of the step, else which one of this kind and node, from 1.
    pub attempt: u64,
    /// What went in and what came out.
    pub said: Value,
    /// Where it began.
    pub position: Position,
}

type Key = (MoveKind, String, u64);

impl Move {
    fn key(&self) -> Key {
        (self.kind, self.node.clone(), self.attempt)
    }
}

/// What became of a move from one run to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "it is in both, or in one")]
pub enum Matched {
    /// Both made it alike.
    Same,
    /// Both made it, and something else went in or came out.
    Changed,
    /// Only the first run made it.
    First,
    /// Only the second run made it.
    Second,
}

/// A move of one run or of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pair {
    /// What kind of thing.
    pub kind: MoveKind,
    /// The node, the tool, or the role.
    pub node: String,
    /// Which attempt, from 1.
    pub attempt: u64,
    /// What became of it.
    pub matched: Matched,
    /// Where it began in the first run.
    pub a: Option<Position>,
    /// Where it began in the second run.
    pub b: Option<Position>,
    /// What differs in what went in and came out: members `input` and `output`.
    pub patch: Vec<Change>,
}

/// Two runs, move by move.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Compared {
    /// Moves of both in the order of the first, and between them those of the second alone.
    pub pairs: Vec<Pair>,
    /// Which of them is the first at which the runs part: there they did not do the same thing with
    /// the same outcome next. `None`: they are alike from beginning to end.
    pub first: Option<usize>,
}

/// What a run did as of a position, in the order in which it began: steps, calls and turns. What was
/// rolled back by then is not among it, and what a fork shares is.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn moves(log: &Log, stream: &str, at: Option<Position>) -> Result<Vec<Move>, ReadError> {
    let told = Told::of(log, stream, at)?;
    let mut all = Vec::new();
    for step in steps_of(log, &told)? {
        let Some(position) = step.began.or(step.ended) else {
            continue;
        };
        let mut said = Map::new();
        said.insert("status".to_owned(), step.status.as_str().into());
        let outcome = step.outcome.clone();
        said.extend(outcome.map(|outcome| ("output".to_owned(), outcome)));
        all.push(Move {
            kind: MoveKind::Step,
            node: step.node.clone().unwrap_or_default(),
            attempt: step.attempt,
            said: said.into(),
            position,
        });
    }
    calls(log, &told, &mut all)?;
    all.sort_by_key(|one| one.position);
    // What has no attempts of its own is counted.
    let mut counts: BTreeMap<(MoveKind, String), u64> = BTreeMap::new();
    for one in all.iter_mut().filter(|one| one.kind != MoveKind::Step) {
        let count = counts.entry((one.kind, one.node.clone())).or_default();
        *count = count.saturating_add(1);
        one.attempt = *count;
    }
    Ok(all)
}

/// Calls and turns; results stand with what they answer.
fn calls(log: &Log, told: &Told, all: &mut Vec<Move>) -> Result<(), ReadError> {
    let item = Item::new()
        .of_type(ChatMessage::TYPE)
        .of_type("tool.call.*")
        .of_type("effect.*");
    let mut asked: BTreeMap<Uuid, usize> = BTreeMap::new();
    let mut claimed: BTreeMap<u64, usize> = BTreeMap::new();
    for record in told.read(log, &item) {
        let record = record?;
        let said = content(&record).unwrap_or_default();
        let at = match record.header.event_type.as_str() {
            ChatMessage::TYPE => {
                all.push(begun(
                    &record,
                    MoveKind::Message,
                    (&said, "role", "content"),
                ));
                continue;
            }
            ToolCallRequested::TYPE => {
                asked.insert(record.header.event_id, all.len());
                all.push(begun(&record, MoveKind::Tool, (&said, "name", "arguments")));
                continue;
            }
            EffectClaimed::TYPE => {
                claimed.insert(record.position.get(), all.len());
                all.push(begun(&record, MoveKind::Effect, (&said, "name", "args")));
                continue;
            }
            ToolCallCompleted::TYPE | ToolCallFailed::TYPE => {
                let cause = record.header.causation;
                cause.and_then(|cause| asked.get(&cause))
            }
            _ => {
                let fence = record.control.get_u64(field::FENCE);
                fence.and_then(|fence| claimed.get(&fence))
            }
        };
        let one = at.and_then(|at| all.get_mut(*at));
        if let Some(Value::Object(members)) = one.map(|one| &mut one.said) {
            for name in ["result", "error", "rejected", "reason"] {
                if let Some(value) = said.get(name) {
                    let name = if name == "result" { "output" } else { name };
                    members.insert(name.to_owned(), value.clone());
                }
            }
        }
    }
    Ok(())
}

fn begun(record: &Record, kind: MoveKind, (said, node, input): (&Value, &str, &str)) -> Move {
    let mut members = Map::new();
    let given = said.get(input).cloned();
    members.extend(given.map(|given| ("input".to_owned(), given)));
    Move {
        kind,
        node: said
            .get(node)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        attempt: 1,
        said: members.into(),
        position: record.position,
    }
}

/// Two runs as they stand, matched by kind, node and attempt.
///
/// # Errors
///
/// [`ReadError`] if the log cannot be read.
pub fn compare(log: &Log, first: &str, second: &str) -> Result<Compared, ReadError> {
    Ok(matched(
        &moves(log, first, None)?,
        &moves(log, second, None)?,
    ))
}

/// The keys of moves, and how many of the same key came before: names that were erased are all the
/// same.
fn keys(moves: &[Move]) -> Vec<(Key, usize)> {
    let mut counts: BTreeMap<Key, usize> = BTreeMap::new();
    let numbered = moves.iter().map(|one| {
        let count = counts.entry(one.key()).or_default();
        *count += 1;
        (one.key(), *count)
    });
    numbered.collect()
}

fn matched(a: &[Move], b: &[Move]) -> Compared {
    let (keys_a, keys_b) = (keys(a), keys(b));
    let places: BTreeMap<_, usize> = keys_b.iter().zip(0..).collect();
    let of_a: BTreeSet<_> = keys_a.iter().collect();
    let apart = a
        .iter()
        .zip(b)
        .take_while(|(a, b)| a.key() == b.key() && a.said == b.said)
        .count();
    let is_apart = apart < a.len().max(b.len());
    let (mut pairs, mut first, mut shown) = (Vec::new(), None, 0);
    let mut only_b = |upto: usize, pairs: &mut Vec<Pair>, first: &mut Option<usize>| {
        for (at, (one, key)) in b.iter().zip(&keys_b).enumerate().take(upto).skip(shown) {
            if !of_a.contains(key) {
                if is_apart && at >= apart {
                    first.get_or_insert(pairs.len());
                }
                pairs.push(pair(None, Some(one)));
            }
        }
        shown = shown.max(upto);
    };
    for (at, (one, key)) in a.iter().zip(&keys_a).enumerate() {
        let place = places.get(key).copied();
        if let Some(place) = place {
            only_b(place, &mut pairs, &mut first);
        }
        if is_apart && at >= apart {
            first.get_or_insert(pairs.len());
        }
        pairs.push(pair(Some(one), place.and_then(|place| b.get(place))));
    }
    only_b(b.len(), &mut pairs, &mut first);
    Compared { pairs, first }
}

fn pair(a: Option<&Move>, b: Option<&Move>) -> Pair {
    let null = Value::Null;
    let patch = diff(a.map_or(&null, |a| &a.said), b.map_or(&null, |b| &b.said));
    let matched = match (a, b) {
        (Some(_), Some(_)) if patch.is_empty() => Matched::Same,
        (Some(_), Some(_)) => Matched::Changed,
        (Some(_), None) => Matched::First,
        (None, _) => Matched::Second,
    };
    let (kind, node, attempt) = a
        .or(b)
        .map_or_else(|| (MoveKind::Step, String::new(), 0), Move::key);
    Pair {
        kind,
        node,
        attempt,
        matched,
        a: a.map(|a| a.position),
        b: b.map(|b| b.position),
        patch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(moves: &[(&str, u64, i64)]) -> Vec<Move> {
        let moves = moves.iter().zip(0_u64..);
        moves
            .map(|((node, attempt, output), at)| Move {
                kind: MoveKind::Step,
                node: (*node).to_owned(),
                attempt: *attempt,
                said: serde_json::json!({ "output": output }),
                position: Position::new(at),
            })
            .collect()
    }

    fn told(a: &[(&str, u64, i64)], b: &[(&str, u64, i64)]) -> (Vec<String>, Option<usize>) {
        let compared = matched(&run(a), &run(b));
        let pairs = compared.pairs.iter();
        let told = pairs.map(|pair| format!("{}{} {:?}", pair.node, pair.attempt, pair.matched));
        (told.collect(), compared.first)
    }

    #[test]
    fn loops_and_retries_are_told_apart_and_the_first_difference_is_found() {
        let a = [("gen", 1, 1), ("crit", 1, 1), ("gen", 2, 2)];
        assert_eq!(told(&a, &a).1, None);
        let b = [
            ("gen", 1, 1),
            ("look", 1, 0),
            ("crit", 1, 1),
            ("gen", 2, 3),
            ("gen", 3, 4),
        ];
        let (pairs, first) = told(&a, &b);
        let all = [
            "gen1 Same",
            "look1 Second",
            "crit1 Same",
            "gen2 Changed",
            "gen3 Second",
        ];
        assert_eq!(
            (pairs.as_slice(), first),
            (&all.map(str::to_owned)[..], Some(1))
        );
        let (pairs, first) = told(&b, &a);
        assert_eq!((pairs[1].as_str(), first), ("look1 First", Some(1)));
        // The same moves in another order.
        let swapped = [("gen", 1, 1), ("gen", 2, 2), ("crit", 1, 1)];
        assert_eq!(told(&a, &swapped).1, Some(1));
        assert_eq!(
            told(&a, &a[..2]),
            (
                vec!["gen1 Same".into(), "crit1 Same".into(), "gen2 First".into()],
                Some(2)
            )
        );
        assert_eq!(told(&[], &a[..1]), (vec!["gen1 Second".into()], Some(0)));
    }
}
