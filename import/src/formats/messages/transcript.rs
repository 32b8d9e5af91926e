//! From messages to events.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::calls::OpenCalls;
use crate::content;
use crate::drafting::{Drafting, PRIMARY};
use crate::events::{
    ChatMessage, HarnessRecord, LlmCallCompleted, Part, RunFinished, RunStarted, ToolCallCompleted,
    ToolCallFailed, ToolCallRequested, VerdictGiven,
};
use crate::format::Format;
use crate::identity::{hex, name_part, short_digest};
use crate::json::{Object, is_array, keep, keep_or_null, string, unquoted};
use crate::numbers::{unix_us, usd_micros};
use crate::output::Output;
use crate::reject::RejectReason;

/// Members that may hold the id of a run.
const IDS: [&str; 5] = ["id", "run_id", "conversation_id", "session_id", "trace_id"];
/// The one id of the simulated user's calls, of which the whole price is recorded.
const USER_CALL: &str = "info.user_cost";

type Drafts = Vec<runstone_codec::event::Draft>;

/// What is recorded of a run besides its messages.
#[derive(Debug, Default)]
pub(super) struct Run<'a> {
    object: Option<(&'a Object<'a>, &'static str)>,
}

impl<'a> Run<'a> {
    /// A run whose messages are in the member `messages`.
    pub(super) fn new(object: &'a Object<'a>, messages: &'static str) -> Self {
        Self {
            object: Some((object, messages)),
        }
    }

    /// Its id: that of task and trial, or what is called its id.
    pub(super) fn id(&self) -> Option<String> {
        let (object, _) = self.object?;
        let scalar = |name: &str| object.get(name).and_then(scalar);
        if let (Some(task), Some(trial)) = (scalar("task_id"), scalar("trial")) {
            return Some(format!("{task}-{trial}"));
        }
        IDS.into_iter().find_map(scalar)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.object
            .and_then(|(object, _)| object.text(name))
            .map(String::from)
    }

    fn info(&self) -> Option<Object<'a>> {
        self.object
            .and_then(|(object, _)| object.object("info").ok().flatten())
    }

    /// What a simulated user was told to ask for.
    fn instruction(&self) -> Option<Box<RawValue>> {
        let task = self.info()?.object("task").ok().flatten()?;
        task.get("instruction").map(keep)
    }

    /// The run without its messages, every value byte for byte.
    fn rest(&self) -> Result<Option<Box<RawValue>>, RejectReason> {
        let Some((object, messages)) = self.object else {
            return Ok(None);
        };
        object.without(&[messages])
    }
}

/// A number or a short string as part of a stream's name.
fn scalar(value: &RawValue) -> Option<String> {
    let text = match string(value) {
        Some(text) => text.into_owned(),
        None if is_array(value) || value.get().starts_with('{') => return None,
        None => value.get().to_owned(),
    };
    Some(name_part(&text))
}

/// A run whose messages become events one after the other.
#[derive(Debug)]
pub(super) struct Transcript {
    stream: String,
    model: Option<String>,
    messages: u64,
    previous: Uuid,
    calls: OpenCalls,
}

impl Transcript {
    /// Begins the run's stream.
    pub(super) fn begin(
        stream: String,
        run: &Run<'_>,
        line: u64,
        output: &mut Output,
    ) -> Result<Self, RejectReason> {
        let drafting = drafting(&stream, "run");
        let name = run
            .id()
            .unwrap_or_else(|| Format::Messages.as_str().to_owned());
        let started = RunStarted {
            name,
            input: run.instruction(),
            ..RunStarted::default()
        };
        let draft = drafting.started("started", None, None, &started)?;
        let previous = drafting.id("started");
        output.emit(line, &stream, vec![draft])?;
        let (model, calls) = (run.text("model"), OpenCalls::default());
        Ok(Self {
            stream,
            model,
            messages: 0,
            previous,
            calls,
        })
    }

    /// Hands on the next message, or why it cannot be read.
    pub(super) fn push(&mut self, message: &RawValue, line: u64, output: &mut Output) {
        let at = self.messages;
        self.messages = self.messages.saturating_add(1);
        let handed = self
            .message(message, at)
            .and_then(|(id, drafts)| output.emit(line, &self.stream, drafts).map(|()| id));
        match handed {
            Ok(id) => self.previous = id,
            Err(reason) => output.reject(line, reason),
        }
    }

    /// Hands on what is recorded of the run besides its messages.
    pub(super) fn end(
        &self,
        run: &Run<'_>,
        line: u64,
        output: &mut Output,
    ) -> Result<(), RejectReason> {
        let Some(original) = run.rest()? else {
            return Ok(());
        };
        let record = format!("rest:{}", hex(&short_digest(original.get().as_bytes())));
        let drafting = drafting(&self.stream, &record);
        let primary = Some(drafting.id(PRIMARY));
        let mut drafts = vec![drafting.of_type(
            "harness.messages.run",
            PRIMARY,
            Some(self.previous),
            &HarnessRecord { original },
        )?];
        let info = run.info();
        let number = |name| info.as_ref().and_then(|info| info.number(name));
        if let Some(usd_micros) = number("user_cost").and_then(usd_micros) {
            let usage = Usage {
                usd_micros: Some(usd_micros),
                ..Usage::default()
            };
            drafts.push(drafting.llm_call("cost", primary, &usage.call(USER_CALL, None))?);
        }
        if let Some(verdict) = self.verdict(run) {
            drafts.push(drafting.draft("verdict", primary, &verdict)?);
        }
        let error = [run.object.map(|(object, _)| object), info.as_ref()];
        if let Some(error) = error
            .into_iter()
            .flatten()
            .find_map(|object| object.get("error"))
        {
            let reason = string(error).map(String::from);
            let finished = RunFinished {
                status: "error".to_owned(),
                reason,
                ..RunFinished::default()
            };
            drafts.push(drafting.finished("finished", primary, &finished)?);
        }
        output.emit(line, &self.stream, drafts)
    }

    /// The grade, if there is one.
    fn verdict(&self, run: &Run<'_>) -> Option<VerdictGiven> {
        let (object, _) = run.object?;
        let (reward, grade) = (object.get("reward")?, object.number("reward")?);
        let detail = run
            .info()
            .and_then(|info| info.get("reward_info"))
            .unwrap_or(reward);
        Some(VerdictGiven {
            subject: self.stream.clone(),
            by: "reward".to_owned(),
            verdict: if grade >= 1.0 { "pass" } else { "fail" }.to_owned(),
            severity: "info".to_owned(),
            detail: keep(detail),
        })
    }

    fn message(&mut self, message: &RawValue, at: u64) -> Result<(Uuid, Drafts), RejectReason> {
        let object = Object::parse(message.get(), "message")?;
        let role = object.required("role")?;
        let model = object
            .text("model")
            .map(String::from)
            .or_else(|| self.model.clone());
        let name = object.text("name").map(String::from);
        let is_result = matches!(role.as_str(), "tool" | "function");
        let digest = hex(&short_digest(message.get().as_bytes()));
        let record = format!("{at}:{digest}");
        let stream = self.stream.clone();
        let times = ["timestamp", "created_at", "created"];
        let mut drafting = drafting(&stream, &record);
        drafting.occurred_at_us = times
            .into_iter()
            .find_map(|time| object.get(time).and_then(unix_us));
        drafting.source = match role.as_str() {
            "assistant" => model.as_deref(),
            _ if is_result => name.as_deref(),
            _ => None,
        };
        let mut turn = Turn {
            drafting,
            primary: drafting.id(PRIMARY),
            rest: Vec::new(),
            parts: Vec::new(),
        };
        if is_result {
            turn.result(&object, &mut self.calls)?;
        } else {
            turn.say(&object)?;
        }
        turn.requests(&object, at, &mut self.calls)?;
        if let Some(usage) = object.object("usage")? {
            let id = object
                .text("id")
                .map_or_else(|| format!("message-{at}"), String::from);
            let call = Usage::read(&usage)?.call(&id, model.clone());
            turn.rest
                .push(drafting.llm_call("usage", Some(turn.primary), &call)?);
        }
        let original = Some(keep(message));
        let mut payload = ChatMessage::new(role).parts(turn.parts);
        payload.original = original;
        let mut drafts = vec![drafting.draft(PRIMARY, Some(self.previous), &payload)?];
        drafts.append(&mut turn.rest);
        Ok((turn.primary, drafts))
    }
}

/// Events of one message.
struct Turn<'a> {
    drafting: Drafting<'a>,
    primary: Uuid,
    parts: Vec<Part>,
    rest: Drafts,
}

impl Turn<'_> {
    /// What is said.
    fn say(&mut self, message: &Object<'_>) -> Result<(), RejectReason> {
        let Some(content) = message.get("content") else {
            return Ok(());
        };
        self.parts = content::parts(content)?;
        Ok(())
    }

    /// The result of a tool. It is an error if it says so: by a flag, or in its first word, which is
    /// all that tau-bench records of one.
    fn result(&mut self, message: &Object<'_>, calls: &mut OpenCalls) -> Result<(), RejectReason> {
        let name = message.text("name").map(String::from);
        let id = message
            .string("tool_call_id")?
            .map(String::from)
            .or_else(|| name.clone());
        let call_id = id.unwrap_or_default();
        self.parts.push(Part::ToolResult {
            call_id: call_id.clone(),
        });
        let content = message.get("content");
        let failed = message.is_true("is_error")
            || content
                .and_then(string)
                .is_some_and(|text| text.starts_with("Error"));
        let answer = keep_or_null(content);
        let causation = calls.answer(&call_id).or(Some(self.primary));
        self.rest.push(if failed {
            let mut failed = ToolCallFailed::new(call_id);
            failed.name = name;
            failed.error = answer;
            self.drafting.draft("result", causation, &failed)?
        } else {
            let mut completed = ToolCallCompleted::new(call_id);
            completed.name = name;
            completed.result = answer;
            self.drafting.draft("result", causation, &completed)?
        });
        Ok(())
    }

    /// The calls of tools.
    fn requests(
        &mut self,
        message: &Object<'_>,
        at: u64,
        calls: &mut OpenCalls,
    ) -> Result<(), RejectReason> {
        let listed = message.array("tool_calls")?.unwrap_or_default();
        for (nth, call) in listed.into_iter().enumerate() {
            let call = Object::parse(call.get(), "tool_calls")?;
            let id = call
                .string("id")?
                .map_or_else(|| format!("{at}.{nth}"), String::from);
            let function = match call.object("function")? {
                Some(function) => Some(function),
                None => call.object("custom")?,
            };
            self.request(id, &function.unwrap_or(call), nth, calls)?;
        }
        // Before there were ids, a message had one call, and its result the name.
        if let Some(function) = message.object("function_call")? {
            let id = function.text("name").unwrap_or_default().into_owned();
            self.request(id, &function, 0, calls)?;
        }
        Ok(())
    }

    fn request(
        &mut self,
        call_id: String,
        function: &Object<'_>,
        nth: usize,
        calls: &mut OpenCalls,
    ) -> Result<(), RejectReason> {
        let name = function.required("name")?;
        let part = format!("tool/{nth}");
        calls.request(&call_id, self.drafting.id(&part));
        self.parts.push(Part::ToolCall {
            call_id: call_id.clone(),
            name: name.clone(),
        });
        let given = function.get("arguments").or_else(|| function.get("input"));
        let arguments = given.map_or_else(|| keep_or_null(None), unquoted);
        let mut payload = ToolCallRequested::new(call_id, name);
        payload.arguments = arguments;
        self.rest
            .push(self.drafting.draft(&part, Some(self.primary), &payload)?);
        Ok(())
    }
}

/// What a message says about its model call.
#[derive(Debug, Default)]
struct Usage {
    input: u64,
    output: u64,
    cache_read: u64,
    usd_micros: Option<u64>,
}

impl Usage {
    /// Tokens of the cache are among the prompt's here.
    fn read(usage: &Object<'_>) -> Result<Self, RejectReason> {
        let details = usage.object("prompt_tokens_details")?;
        let cached = match details {
            Some(details) => details.count("cached_tokens")?,
            None => None,
        };
        let (cache_read, prompt) = (cached.unwrap_or(0), usage.count("prompt_tokens")?);
        let input = match prompt {
            Some(prompt) => prompt.saturating_sub(cache_read),
            None => usage.count("input_tokens")?.unwrap_or(0),
        };
        let written = match usage.count("completion_tokens")? {
            Some(written) => Some(written),
            None => usage.count("output_tokens")?,
        };
        Ok(Self {
            input,
            output: written.unwrap_or(0),
            cache_read,
            usd_micros: None,
        })
    }

    fn call(&self, call_id: &str, model: Option<String>) -> LlmCallCompleted {
        let mut call = LlmCallCompleted::new(call_id)
            .input_tokens(self.input)
            .output_tokens(self.output)
            .cache_read_tokens(self.cache_read);
        (call.model, call.usd_micros) = (model, self.usd_micros);
        call
    }
}

fn drafting<'a>(stream: &'a str, record: &'a str) -> Drafting<'a> {
    Drafting {
        format: Format::Messages,
        stream,
        domain: stream,
        record,
        occurred_at_us: None,
        source: None,
    }
}
