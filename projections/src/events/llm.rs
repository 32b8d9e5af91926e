//! Calls of models.

use runstone_codec::{Control, Keyed, TypedEvent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::control;

/// A model answered. A call may be reported several times, as streaming does: the last report
/// counts, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct LlmCallCompleted {
    /// Id of the call, unique within its stream.
    pub call_id: String,
    /// The model, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens read, those of the cache apart.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the cache.
    #[serde(default)]
    pub cache_read_tokens: u64,
    /// Tokens written to the cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// Price in millionths of a dollar, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_micros: Option<u64>,
}

impl LlmCallCompleted {
    /// The report of a call, by its id; nothing was used yet.
    pub fn new(call_id: impl Into<String>) -> Self {
        Self {
            call_id: call_id.into(),
            ..Self::default()
        }
    }

    /// Which model answered.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Tokens read, those of the cache apart.
    #[must_use]
    pub fn input_tokens(mut self, input_tokens: u64) -> Self {
        self.input_tokens = input_tokens;
        self
    }

    /// Tokens written.
    #[must_use]
    pub fn output_tokens(mut self, output_tokens: u64) -> Self {
        self.output_tokens = output_tokens;
        self
    }

    /// Tokens read from the cache.
    #[must_use]
    pub fn cache_read_tokens(mut self, cache_read_tokens: u64) -> Self {
        self.cache_read_tokens = cache_read_tokens;
        self
    }

    /// Tokens written to the cache.
    #[must_use]
    pub fn cache_write_tokens(mut self, cache_write_tokens: u64) -> Self {
        self.cache_write_tokens = cache_write_tokens;
        self
    }

    /// Price in millionths of a dollar.
    #[must_use]
    pub fn usd_micros(mut self, usd_micros: u64) -> Self {
        self.usd_micros = Some(usd_micros);
        self
    }

    /// The control of this event: its amounts. The digest of the call's id is the log's to make:
    /// see [`keyed`](Self::keyed).
    pub fn control(&self) -> Control {
        let amounts = Control::new()
            .u64(control::INPUT_TOKENS, self.input_tokens)
            .u64(control::OUTPUT_TOKENS, self.output_tokens)
            .u64(control::CACHE_READ_TOKENS, self.cache_read_tokens)
            .u64(control::CACHE_WRITE_TOKENS, self.cache_write_tokens);
        match self.usd_micros {
            Some(usd_micros) => amounts.u64(control::USD_MICROS, usd_micros),
            None => amounts,
        }
    }

    /// The digest by which the reports of one call are known as such, without its id.
    pub fn keyed(&self) -> Keyed {
        Keyed::control(
            control::CALL,
            control::CALL_LABEL,
            [self.call_id.as_bytes()],
        )
    }

    /// The digest by which a report is known as one of a step, without the name of its node.
    pub fn keyed_of_step(node: &str) -> Keyed {
        Keyed::control(control::CALL_NODE, control::STEP_LABEL, [node.as_bytes()])
    }
}

impl TypedEvent for LlmCallCompleted {
    const TYPE: &'static str = "llm.call.completed";
    const VERSION: u32 = 1;
}
