//! What leaves a log as proof, and whoever doubts it.

mod attacks;
mod commands;
mod foreign;
mod pack;
mod proofs;
