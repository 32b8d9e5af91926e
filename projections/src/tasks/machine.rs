//! Which state may follow which. The texts are part of the contract.

use super::TaskState;
use TaskState::{Backlog, Blocked, Cancelled, Done, InProgress, InReview, Todo};

/// Every move that is allowed, and what it means.
pub const MOVES: [(TaskState, TaskState, &str); 15] = [
    (Backlog, Todo, "Ready for work"),
    (Todo, InProgress, "Work started"),
    (Todo, Cancelled, "Cancelled before start"),
    (Todo, Blocked, "Blocked before start"),
    (InProgress, Done, "Work completed"),
    (InProgress, Blocked, "Blocked during work"),
    (InProgress, Cancelled, "Cancelled during work"),
    (InProgress, InReview, "Sent for review"),
    (InReview, Done, "Review approved"),
    (InReview, InProgress, "Changes requested"),
    (InReview, Blocked, "Blocked during review"),
    (InReview, Cancelled, "Cancelled during review"),
    (Blocked, InProgress, "Unblocked, resuming work"),
    (Blocked, Cancelled, "Cancelled while blocked"),
    (Blocked, Todo, "Unblocked, needs fresh start"),
];

/// What a move means; `None` if it is not allowed.
pub fn reason(from: TaskState, to: TaskState) -> Option<&'static str> {
    let is_it = |known: &&(TaskState, TaskState, _)| (known.0, known.1) == (from, to);
    MOVES.iter().find(is_it).map(|known| known.2)
}

/// The states from which a state can be reached by one move.
pub fn sources(to: TaskState) -> impl Iterator<Item = TaskState> {
    let leads = move |known: &&(TaskState, TaskState, _)| known.1 == to;
    MOVES.iter().filter(leads).map(|known| known.0)
}

/// Whether nothing follows a state.
pub fn is_terminal(state: TaskState) -> bool {
    matches!(state, Done | Cancelled)
}

/// What a pair of states means, by their names: a look at the table. An end is a state like any
/// other here, from which no move is known.
///
/// ```
/// use runstone_projections::tasks::machine::validate;
///
/// assert_eq!(validate("todo", "in_progress"), Ok("Work started"));
/// assert_eq!(validate("todo", "done").unwrap_err(), "No valid transition from todo to done");
/// ```
///
/// # Errors
///
/// Why it is not allowed: the current state is unknown, both are the same, there is no such move.
pub fn validate(from: &str, to: &str) -> Result<&'static str, String> {
    let Ok(current) = from.parse() else {
        return Err(format!("Unknown current state: {from}"));
    };
    if from == to {
        return Err("Transition to same state is not allowed".to_owned());
    }
    to.parse()
        .ok()
        .and_then(|target| reason(current, target))
        .ok_or_else(|| format!("No valid transition from {from} to {to}"))
}

/// What a move of a task means. Unlike in [`validate`], an end is told to be one.
///
/// ```
/// use runstone_projections::tasks::{TaskState, machine::step};
///
/// let refused = step(TaskState::Done, TaskState::Todo).unwrap_err();
/// assert_eq!(refused, "Cannot transition from terminal state done");
/// ```
///
/// # Errors
///
/// Why it is not allowed: the task has ended, both states are the same, there is no such move.
pub fn step(from: TaskState, to: TaskState) -> Result<&'static str, String> {
    if is_terminal(from) {
        return Err(format!("Cannot transition from terminal state {from}"));
    }
    validate(from.as_str(), to.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_of_the_pairs_are_moves() {
        let pairs = || {
            let all = TaskState::ALL.iter().copied();
            all.flat_map(|from| TaskState::ALL.iter().map(move |to| (from, *to)))
        };
        assert_eq!(pairs().count(), 49);
        let mut count = 0;
        for (from, to) in pairs() {
            let told = validate(from.as_str(), to.as_str());
            assert_eq!(told.clone().ok(), reason(from, to));
            assert_eq!(sources(to).any(|source| source == from), told.is_ok());
            count += usize::from(told.is_ok());
            let expected = if is_terminal(from) {
                Err(format!("Cannot transition from terminal state {from}"))
            } else if from == to {
                Err("Transition to same state is not allowed".to_owned())
            } else {
                told
            };
            assert_eq!(step(from, to), expected);
        }
        assert_eq!(count, MOVES.len());
        let mut texts: Vec<_> = MOVES.iter().map(|known| known.2).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), MOVES.len(), "each means something else");
    }

    #[test]
    fn unknown_states_are_told_in_the_order_of_the_checks() {
        assert_eq!(
            validate("foo", "foo").unwrap_err(),
            "Unknown current state: foo"
        );
        assert_eq!(validate("", "todo").unwrap_err(), "Unknown current state: ");
        assert_eq!(
            validate("Todo", "done").unwrap_err(),
            "Unknown current state: Todo"
        );
        assert_eq!(
            validate("todo", "foo").unwrap_err(),
            "No valid transition from todo to foo"
        );
        assert_eq!(
            validate("done", "foo").unwrap_err(),
            "No valid transition from done to foo"
        );
    }
}
