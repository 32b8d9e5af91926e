//! Replay, states at a point, forks and rollbacks.

mod forks;
mod replay;
mod rollbacks;
mod states;
