//! What the events of a sample tell.

use runstone_codec::event::Draft;
use serde_json::value::RawValue;

use crate::drafting::{Drafting, PRIMARY};
use crate::events::{LlmCallCompleted, ToolCallCompleted, ToolCallFailed, ToolCallRequested};
use crate::json::{Object, keep, keep_or_null};
use crate::numbers::unix_us;
use crate::reject::RejectReason;

/// The call of a model, if the event tells of one that was made and answered.
pub(super) fn model_call(
    event: &Object<'_>,
    drafting: &Drafting<'_>,
) -> Result<Option<Draft>, RejectReason> {
    let was_made = !event.is_true("pending") && event.text("cache").as_deref() != Some("read");
    let output = event.object("output")?.unwrap_or_default();
    let (true, Some(usage)) = (was_made, output.object("usage")?) else {
        return Ok(None);
    };
    let model = event.text("model").map(String::from);
    let drafting = Drafting {
        occurred_at_us: completed_us(event).or(drafting.occurred_at_us),
        source: model.as_deref(),
        ..*drafting
    };
    let call = usage_of(&usage, drafting.record.to_owned(), model.clone())?;
    let cause = Some(drafting.id(PRIMARY));
    drafting.llm_call("usage", cause, &call).map(Some)
}

/// Tokens of a call. Some models count those of the cache among what is read, others apart: the
/// sum tells.
pub(super) fn usage_of(
    usage: &Object<'_>,
    call_id: String,
    model: Option<String>,
) -> Result<LlmCallCompleted, RejectReason> {
    let count = |name| usage.count(name).map(Option::unwrap_or_default);
    let (input, output) = (count("input_tokens")?, count("output_tokens")?);
    let cache_read_tokens = count("input_tokens_cache_read")?;
    let cache_write_tokens = count("input_tokens_cache_write")?;
    let cached = cache_read_tokens.saturating_add(cache_write_tokens);
    let apart = input.saturating_add(output).saturating_add(cached);
    let input_tokens = if count("total_tokens")? >= apart {
        input
    } else {
        input.saturating_sub(cached)
    };
    let mut call = LlmCallCompleted::new(call_id)
        .input_tokens(input_tokens)
        .output_tokens(output)
        .cache_read_tokens(cache_read_tokens)
        .cache_write_tokens(cache_write_tokens);
    call.model = model;
    Ok(call)
}

/// The call of a tool, and how it ended unless it is under way.
pub(super) fn tool_call(
    event: &Object<'_>,
    drafting: &Drafting<'_>,
    asked_by: Option<uuid::Uuid>,
    result: Option<&RawValue>,
) -> Result<Vec<Draft>, RejectReason> {
    let (call_id, name) = (event.required("id")?, event.required("function")?);
    let mut requested = ToolCallRequested::new(call_id.clone(), name.clone());
    requested.arguments = keep_or_null(event.get("arguments"));
    let cause = asked_by.or_else(|| Some(drafting.id(PRIMARY)));
    let mut drafts = vec![drafting.draft("call", cause, &requested)?];
    if !event.is_true("pending") {
        let drafting = Drafting {
            occurred_at_us: completed_us(event).or(drafting.occurred_at_us),
            ..*drafting
        };
        let cause = Some(drafting.id("call"));
        let error = event.get("error");
        drafts.push(tool_result(
            &drafting,
            cause,
            call_id,
            Some(name),
            error,
            result,
        )?);
    }
    Ok(drafts)
}

/// How the call of a tool ended.
pub(super) fn tool_result(
    drafting: &Drafting<'_>,
    cause: Option<uuid::Uuid>,
    call_id: String,
    name: Option<String>,
    error: Option<&RawValue>,
    result: Option<&RawValue>,
) -> Result<Draft, RejectReason> {
    if let Some(error) = error {
        let mut failed = ToolCallFailed::new(call_id);
        failed.name = name;
        failed.error = keep(error);
        return drafting.draft("result", cause, &failed);
    }
    let mut completed = ToolCallCompleted::new(call_id);
    completed.name = name;
    completed.result = keep_or_null(result);
    drafting.draft("result", cause, &completed)
}

fn completed_us(event: &Object<'_>) -> Option<u64> {
    event.get("completed").and_then(unix_us)
}
