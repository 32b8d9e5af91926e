//! Payloads of the events that recordings become.
//!
//! Raw members hold JSON byte for byte as the recording has it: recordings hold numbers that no
//! common number type can.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A payload with its event type.
pub trait Payload: Serialize {
    /// The event type.
    const TYPE: &'static str;
}

/// A run, or a sub-agent's part of one, begins: the first event of its stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunStarted {
    /// What ran.
    pub name: String,
    /// What it was given to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<RawValue>>,
}

/// A turn of a transcript, said by whoever `role` names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, `tool`, or what the recording says.
    pub role: String,
    /// What was said. Calls and results of tools are named here, and told by events of their own.
    pub content: Vec<Part>,
    /// The record, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Box<RawValue>>,
}

/// A part of what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// Text that the model wrote for itself.
    Thinking {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// Its bytes in base64.
        data: String,
        /// Its media type.
        mime: String,
    },
    /// Something that is kept elsewhere.
    Ref {
        /// Where.
        uri: String,
    },
    /// The call of a tool; see [`ToolCallRequested`].
    ToolCall {
        /// Its id, unique only among calls that are open at one time.
        call_id: String,
        /// The tool.
        name: String,
    },
    /// The result of a call; see [`ToolCallCompleted`] and [`ToolCallFailed`].
    ToolResult {
        /// The id of the call.
        call_id: String,
    },
    /// A part that only the record itself spells out.
    Other {
        /// What the recording calls it.
        name: String,
    },
}

/// A tool is called.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCallRequested {
    /// Id of the call. Recordings reuse ids: the causation of a result says which call it answers.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// Its arguments: JSON, or a string where the recording holds no valid JSON.
    pub arguments: Box<RawValue>,
}

/// A tool answered. Its causation is the call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCallCompleted {
    /// Id of the call.
    pub call_id: String,
    /// The tool, if the result names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it answered.
    pub result: Box<RawValue>,
}

/// A tool answered with an error. Its causation is the call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCallFailed {
    /// Id of the call.
    pub call_id: String,
    /// The tool, if the result names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it answered.
    pub error: Box<RawValue>,
}

/// A model was called. A recording may report one call several times: the last report counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LlmCallCompleted {
    /// Id of the call.
    pub call_id: String,
    /// The model, if the recording names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens read, those of the cache apart.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the cache.
    pub cache_write_tokens: u64,
    /// Price in millionths of a dollar, if the recording says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_micros: Option<u64>,
}

/// A run ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunFinished {
    /// `success` or `error`.
    pub status: String,
    /// Why, if the recording says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Somebody judged a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerdictGiven {
    /// The stream of the run.
    pub subject: String,
    /// Who judged.
    pub by: String,
    /// `pass` or `fail`.
    pub verdict: String,
    /// How grave it is.
    pub severity: String,
    /// What the recording says of it.
    pub detail: Box<RawValue>,
}

/// A record of the tool that recorded, kept as it is. Its type is
/// `harness.FORMAT.RECORD_TYPE`, or one segment longer for a record with a subtype.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HarnessRecord {
    /// The record, byte for byte.
    pub original: Box<RawValue>,
}

macro_rules! payloads {
    ($($type:ty => $name:literal,)*) => {
        $(impl Payload for $type {
            const TYPE: &'static str = $name;
        })*
    };
}

payloads! {
    RunStarted => "run.started",
    ChatMessage => "chat.message",
    ToolCallRequested => "tool.call.requested",
    ToolCallCompleted => "tool.call.completed",
    ToolCallFailed => "tool.call.failed",
    LlmCallCompleted => "llm.call.completed",
    RunFinished => "run.finished",
    VerdictGiven => "verdict.given",
}

/// Fields of the control of imported events.
pub mod control {
    /// `run.started`: the stream of the run that spawned this one.
    pub const PARENT: u16 = 1;
    /// `run.finished`: the status.
    pub const STATUS: u16 = 1;
    /// `llm.call.completed`: keyed digest of the call's id.
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
}
