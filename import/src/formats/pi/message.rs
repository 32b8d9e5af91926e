//! Messages as pi's agents keep them, and other tools that build on these agents.

use serde_json::value::RawValue;

use crate::content;
use crate::events::{LlmCallCompleted, Part, ToolCallRequested};
use crate::json::{Object, array, keep_or_null, string};
use crate::numbers::{Prices, unix_us};
use crate::reject::RejectReason;

/// One message.
#[derive(Debug)]
pub(in crate::formats) struct Message<'a> {
    object: Object<'a>,
    pub(in crate::formats) role: String,
    pub(in crate::formats) model: Option<String>,
    pub(in crate::formats) occurred_at_us: Option<u64>,
    pub(in crate::formats) parts: Vec<Part>,
    pub(in crate::formats) calls: Vec<ToolCallRequested>,
}

/// What a message says that a tool answered.
#[derive(Debug)]
pub(in crate::formats) struct Answer {
    pub(in crate::formats) call_id: String,
    pub(in crate::formats) name: Option<String>,
    pub(in crate::formats) content: Box<RawValue>,
    pub(in crate::formats) failed: bool,
}

impl<'a> Message<'a> {
    pub(in crate::formats) fn parse(message: &'a RawValue) -> Result<Self, RejectReason> {
        let object = Object::parse(message.get(), "message")?;
        let (mut parts, mut calls) = (Vec::new(), Vec::new());
        let role = object.required("role")?;
        match object.get("content") {
            Some(_) if role == "toolResult" => {}
            Some(content) => read(content, &mut parts, &mut calls)?,
            None => {}
        }
        Ok(Self {
            role,
            model: object.text("model").map(String::from),
            occurred_at_us: object.get("timestamp").and_then(unix_us),
            parts,
            calls,
            object,
        })
    }

    /// Whether somebody said it: a user, the model, or a tool.
    pub(in crate::formats) fn is_turn(&self) -> bool {
        matches!(self.role.as_str(), "user" | "assistant" | "toolResult")
    }

    /// The answer of a tool, if it is one. Its content is no part of the turn.
    pub(in crate::formats) fn answer(&mut self) -> Result<Option<Answer>, RejectReason> {
        if self.role != "toolResult" {
            return Ok(None);
        }
        let call_id = self.object.required("toolCallId")?;
        self.parts.push(Part::ToolResult {
            call_id: call_id.clone(),
        });
        Ok(Some(Answer {
            call_id,
            name: self.object.text("toolName").map(String::from),
            content: keep_or_null(self.object.get("content")),
            failed: self.object.is_true("isError"),
        }))
    }

    /// What the message says of its model call, whose id is `call_id` unless it has one.
    pub(in crate::formats) fn usage(
        &self,
        call_id: &str,
        prices: &mut Prices,
    ) -> Result<Option<LlmCallCompleted>, RejectReason> {
        usage(&self.object, call_id, prices)
    }

    /// The role as a transcript names it.
    pub(in crate::formats) fn speaker(&self) -> &str {
        match self.role.as_str() {
            "toolResult" => "tool",
            role => role,
        }
    }
}

fn read(
    content: &RawValue,
    parts: &mut Vec<Part>,
    calls: &mut Vec<ToolCallRequested>,
) -> Result<(), RejectReason> {
    if let Some(text) = string(content) {
        parts.push(Part::Text {
            text: text.into_owned(),
        });
        return Ok(());
    }
    for block in array(content.get(), "content")? {
        let block = Object::parse(block.get(), "content")?;
        if block.text("type").as_deref() != Some("toolCall") {
            parts.push(content::part(&block));
            continue;
        }
        let (call_id, name) = (block.required("id")?, block.required("name")?);
        parts.push(Part::ToolCall {
            call_id: call_id.clone(),
            name: name.clone(),
        });
        let mut call = ToolCallRequested::new(call_id, name);
        call.arguments = keep_or_null(block.get("arguments"));
        calls.push(call);
    }
    Ok(())
}

/// What `holder` says in `usage` of a model call, whose id is `call_id` unless it has one.
pub(in crate::formats) fn usage(
    holder: &Object<'_>,
    call_id: &str,
    prices: &mut Prices,
) -> Result<Option<LlmCallCompleted>, RejectReason> {
    let Some(usage) = holder.object("usage")? else {
        return Ok(None);
    };
    let count = |name| usage.count(name).map(|count| count.unwrap_or(0));
    let call_id = holder.text("responseId").unwrap_or_else(|| call_id.into());
    let mut call = LlmCallCompleted::new(call_id.into_owned())
        .input_tokens(count("input")?)
        .output_tokens(count("output")?)
        .cache_read_tokens(count("cacheRead")?)
        .cache_write_tokens(count("cacheWrite")?);
    call.model = holder.text("model").map(String::from);
    let cost = usage.object("cost")?.and_then(|cost| cost.number("total"));
    call.usd_micros = cost.and_then(|cost| prices.usd_micros(cost));
    Ok(Some(call))
}
