//! Turns of a session: what was said, calls of tools, their results, usage.

use std::collections::BTreeMap;

use runstone_codec::event::Draft;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{AGENT, Line};
use crate::calls::OpenCalls;
use crate::content;
use crate::drafting::{Drafting, PRIMARY};
use crate::events::{
    ChatMessage, LlmCallCompleted, Part, ToolCallCompleted, ToolCallFailed, ToolCallRequested,
};
use crate::format::Format;
use crate::identity::event_id;
use crate::json::{Object, array, keep_or_null, raw, string};
use crate::reject::RejectReason;

/// Tools that spawn sub-agents.
const SPAWNING: [&str; 2] = ["Task", "Agent"];

/// A call that asks for a sub-agent.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) call: Uuid,
    pub(super) prompt: String,
    pub(super) agent: String,
}

/// A call that was answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) call: Uuid,
    pub(super) result: Uuid,
    pub(super) failed: bool,
}

/// Reads one turn.
pub(super) struct Reader<'a> {
    drafting: Drafting<'a>,
    /// Domain and identity of the record whose call is answered, where the answer names it.
    asked_by: Option<(&'a str, String)>,
    calls: &'a mut OpenCalls,
    parts: Vec<Part>,
    drafts: Vec<Draft>,
    /// How often a name of a part was used: ids of calls may repeat within a record.
    used: BTreeMap<String, u32>,
    asked: Vec<Asked>,
    answered: Vec<Answered>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        drafting: Drafting<'a>,
        asked_by: Option<(&'a str, String)>,
        calls: &'a mut OpenCalls,
    ) -> Self {
        Self {
            drafting,
            asked_by,
            calls,
            parts: Vec::new(),
            drafts: Vec::new(),
            used: BTreeMap::new(),
            asked: Vec::new(),
            answered: Vec::new(),
        }
    }

    /// The events of the turn.
    pub(super) fn read(
        &mut self,
        line: &Line<'_>,
        causation: Option<Uuid>,
    ) -> Result<Vec<Draft>, RejectReason> {
        let wrong = RejectReason::WrongType {
            field: "message",
            expected: "an object",
        };
        let message = line.object.object("message")?.ok_or(wrong)?;
        let model = message.text("model").map(String::from);
        // The model speaks for its turns; everything else is said by the tool that recorded.
        let drafting = Drafting {
            source: model.as_deref(),
            ..self.drafting
        };
        let role = message
            .string("role")?
            .map_or_else(|| line.kind.clone(), String::from);
        if let Some(content) = message.get("content") {
            self.content(content, &drafting)?;
        }
        if let Some(usage) = message.object("usage")? {
            let named = [message.text("id"), line.object.text("requestId")];
            let id = named.into_iter().flatten().next().map(String::from);
            let call_id = id.or_else(|| line.uuid.clone()).unwrap_or_default();
            let call = usage_of(&usage, call_id, model.clone())?;
            self.drafts
                .push(drafting.llm_call("usage", Some(self.primary()), &call)?);
        }
        let original = Some(raw(line.text.to_owned())?);
        let mut payload = ChatMessage::new(role).parts(std::mem::take(&mut self.parts));
        payload.original = original;
        let mut drafts = vec![drafting.draft(PRIMARY, causation, &payload)?];
        drafts.append(&mut self.drafts);
        Ok(drafts)
    }

    /// Calls of the turn that ask for sub-agents.
    pub(super) fn take_asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked)
    }

    /// Calls that the turn answers.
    pub(super) fn take_answered(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.answered)
    }

    fn primary(&self) -> Uuid {
        self.drafting.id(PRIMARY)
    }

    fn content(&mut self, content: &RawValue, drafting: &Drafting<'_>) -> Result<(), RejectReason> {
        if let Some(text) = string(content) {
            self.parts.push(Part::Text {
                text: text.into_owned(),
            });
            return Ok(());
        }
        for block in array(content.get(), "content")? {
            let block = Object::parse(block.get(), "content")?;
            match block.text("type").as_deref() {
                Some("tool_use") => self.request(&block, drafting)?,
                Some("tool_result") => self.result(&block, drafting)?,
                _ => self.parts.push(content::part(&block)),
            }
        }
        Ok(())
    }

    fn request(&mut self, block: &Object<'_>, drafting: &Drafting<'_>) -> Result<(), RejectReason> {
        let (call_id, name) = (block.required("id")?, block.required("name")?);
        let part = self.part("tool", &call_id);
        let call = drafting.id(&part);
        self.calls.request(&call_id, call);
        self.parts.push(Part::ToolCall {
            call_id: call_id.clone(),
            name: name.clone(),
        });
        if SPAWNING.contains(&name.as_str()) {
            let input = block.object("input").ok().flatten();
            let text = |name| {
                input
                    .as_ref()
                    .and_then(|input| input.text(name))
                    .map(String::from)
            };
            if let Some(prompt) = text("prompt") {
                let agent = text("subagent_type").unwrap_or_else(|| AGENT.to_owned());
                self.asked.push(Asked {
                    call,
                    prompt,
                    agent,
                });
            }
        }
        let arguments = keep_or_null(block.get("input"));
        let mut payload = ToolCallRequested::new(call_id, name);
        payload.arguments = arguments;
        self.drafts
            .push(drafting.draft(&part, Some(self.primary()), &payload)?);
        Ok(())
    }

    fn result(&mut self, block: &Object<'_>, drafting: &Drafting<'_>) -> Result<(), RejectReason> {
        let call_id = block.required("tool_use_id")?;
        let part = self.part("result", &call_id);
        self.parts.push(Part::ToolResult {
            call_id: call_id.clone(),
        });
        let call = self.answer(&call_id);
        let causation = call.or_else(|| Some(self.primary()));
        let answer = keep_or_null(block.get("content"));
        let failed = block.is_true("is_error");
        self.drafts.push(if failed {
            let mut payload = ToolCallFailed::new(call_id);
            payload.error = answer;
            drafting.draft(&part, causation, &payload)?
        } else {
            let mut payload = ToolCallCompleted::new(call_id);
            payload.result = answer;
            drafting.draft(&part, causation, &payload)?
        });
        if let Some(call) = call {
            self.answered.push(Answered {
                call,
                result: drafting.id(&part),
                failed,
            });
        }
        Ok(())
    }

    /// The event of the call that a result answers: what the result names, else by order.
    fn answer(&mut self, call_id: &str) -> Option<Uuid> {
        let Some((domain, record)) = &self.asked_by else {
            return self.calls.answer(call_id);
        };
        let call = event_id(
            Format::ClaudeCode,
            domain,
            record,
            &format!("tool/{call_id}"),
        );
        self.calls.answer_call(call_id, call);
        Some(call)
    }

    /// A name for an event of this record.
    fn part(&mut self, what: &str, call_id: &str) -> String {
        let part = format!("{what}/{call_id}");
        let count = self.used.entry(part.clone()).or_default();
        *count = count.saturating_add(1);
        if *count == 1 {
            part
        } else {
            format!("{what}#{count}/{call_id}")
        }
    }
}

fn usage_of(
    usage: &Object<'_>,
    call_id: String,
    model: Option<String>,
) -> Result<LlmCallCompleted, RejectReason> {
    let count = |name| usage.count(name).map(|count| count.unwrap_or(0));
    let mut call = LlmCallCompleted::new(call_id)
        .input_tokens(count("input_tokens")?)
        .output_tokens(count("output_tokens")?)
        .cache_read_tokens(count("cache_read_input_tokens")?)
        .cache_write_tokens(count("cache_creation_input_tokens")?);
    call.model = model;
    Ok(call)
}
