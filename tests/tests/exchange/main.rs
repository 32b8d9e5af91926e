//! Files that come in and go out: recordings, exports, ledgers of other makers.

mod export;
mod import;
mod migration;
mod recordings;
