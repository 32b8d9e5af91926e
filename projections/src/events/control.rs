//! What these events say in control, which is never erased: the part that folds read.

/// `run.started`: the stream of the run that spawned this one, as text.
pub const PARENT: u16 = 1;
/// `run.finished`: how it ended, as text.
pub const STATUS: u16 = 1;
/// `llm.call.completed`: keyed digest of the call's id, 16 bytes.
pub const CALL: u16 = 1;
/// `llm.call.completed`: tokens read.
pub const INPUT_TOKENS: u16 = 2;
/// `llm.call.completed`: tokens written.
pub const OUTPUT_TOKENS: u16 = 3;
/// `llm.call.completed`: tokens read from the cache.
pub const CACHE_READ_TOKENS: u16 = 4;
/// `llm.call.completed`: tokens written to the cache.
pub const CACHE_WRITE_TOKENS: u16 = 5;
/// `llm.call.completed`: price in millionths of a dollar.
pub const USD_MICROS: u16 = 6;
/// Label of the keyed digest of a model call's id.
pub const CALL_LABEL: &str = "llm-call";
/// Key of the tag that every imported event carries; its value is the format of the recording.
pub const IMPORTED: &str = "imported";
