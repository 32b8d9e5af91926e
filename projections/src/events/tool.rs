//! Calls of tools.

use runstone_codec::{EventError, TypedEvent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// A tool is called.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ToolCallRequested {
    /// Id of the call. Models reuse ids within a run: the causation of a result says which call
    /// it answers.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, byte for byte: JSON, or a string where there is no valid JSON.
    #[schemars(with = "Value")]
    pub arguments: Box<RawValue>,
}

impl ToolCallRequested {
    /// A call of a tool without arguments: they are `null`.
    ///
    /// ```
    /// use runstone_projections::events::ToolCallRequested;
    /// use serde_json::json;
    ///
    /// let call = ToolCallRequested::new("c1", "pay").arguments(&json!({"usd": 12}))?;
    /// assert_eq!(call.arguments.get(), r#"{"usd":12}"#);
    /// # Ok::<(), runstone_codec::EventError>(())
    /// ```
    pub fn new(call_id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            call_id: call_id.into(),
            name: name.into(),
            ..Self::default()
        }
    }

    /// Its arguments; JSON text ([`RawValue`]) is kept byte for byte.
    ///
    /// # Errors
    ///
    /// [`EventError::Serialize`] if the value does not serialise to JSON.
    pub fn arguments<T: Serialize + ?Sized>(mut self, arguments: &T) -> Result<Self, EventError> {
        self.arguments = raw(arguments)?;
        Ok(self)
    }
}

impl TypedEvent for ToolCallRequested {
    const TYPE: &'static str = "tool.call.requested";
    const VERSION: u32 = 1;
}

/// A tool answered. Its causation is the call.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ToolCallCompleted {
    /// Id of the call.
    pub call_id: String,
    /// The tool, if the result names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it answered, byte for byte.
    #[schemars(with = "Value")]
    pub result: Box<RawValue>,
}

impl ToolCallCompleted {
    /// A call that answered `null`.
    pub fn new(call_id: impl Into<String>) -> Self {
        Self {
            call_id: call_id.into(),
            ..Self::default()
        }
    }

    /// The tool.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What it answered; JSON text ([`RawValue`]) is kept byte for byte.
    ///
    /// # Errors
    ///
    /// [`EventError::Serialize`] if the value does not serialise to JSON.
    pub fn result<T: Serialize + ?Sized>(mut self, result: &T) -> Result<Self, EventError> {
        self.result = raw(result)?;
        Ok(self)
    }
}

impl TypedEvent for ToolCallCompleted {
    const TYPE: &'static str = "tool.call.completed";
    const VERSION: u32 = 1;
}

/// A tool answered with an error. Its causation is the call.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ToolCallFailed {
    /// Id of the call.
    pub call_id: String,
    /// The tool, if the result names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it answered, byte for byte.
    #[schemars(with = "Value")]
    pub error: Box<RawValue>,
}

impl ToolCallFailed {
    /// A call that failed with `null`.
    pub fn new(call_id: impl Into<String>) -> Self {
        Self {
            call_id: call_id.into(),
            ..Self::default()
        }
    }

    /// The tool.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What it answered; JSON text ([`RawValue`]) is kept byte for byte.
    ///
    /// # Errors
    ///
    /// [`EventError::Serialize`] if the value does not serialise to JSON.
    pub fn error<T: Serialize + ?Sized>(mut self, error: &T) -> Result<Self, EventError> {
        self.error = raw(error)?;
        Ok(self)
    }
}

impl TypedEvent for ToolCallFailed {
    const TYPE: &'static str = "tool.call.failed";
    const VERSION: u32 = 1;
}

/// JSON of a value.
fn raw<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, EventError> {
    to_raw_value(value).map_err(|error| EventError::Serialize {
        reason: error.to_string(),
    })
}
