//! Copies for others: every kind of sink.

mod archive;
mod command;
mod contract;
mod kill;
mod mirror;
mod otlp;
mod webhook;
