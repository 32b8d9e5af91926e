//! A held log, open to other processes.

mod attach;
mod foreign_http;
mod runs;
mod workers;
