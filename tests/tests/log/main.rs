//! The log: what it promises, against models, faults of the machine, and whoever changes its files.

mod chain;
mod concurrency;
mod contract;
mod erasure;
mod faults;
mod format;
mod hostile;
mod keys_away;
mod kill;
mod model;
mod recovery;
mod sealing;
mod succession;
mod tamper;
