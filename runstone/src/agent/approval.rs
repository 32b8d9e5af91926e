//! Calls that wait for people, and runs that pause for them.

use super::Runstone;
use super::block::{block_on, within};
use super::run::Run;
use runstone_codec::{Draft, Position, TypedEvent as _};
use runstone_projections::DecodeRecord as _;
use runstone_projections::approvals::{Approval, ApprovalError, ApprovalRequest, ApprovalState};
use runstone_projections::effects::Claim;
use runstone_projections::events::RunPaused;
use runstone_projections::runs::{RunError, Told};
use runstone_store::{AppendError, Item, Query, Read};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_stream::StreamExt as _;

/// How a question to people is worded.
pub(super) type Ask = Box<dyn FnOnce(ApprovalRequest) -> ApprovalRequest + Send>;

/// Asks people about a call.
pub(super) async fn request(
    log: &Runstone,
    claim: &Claim,
    ask: Ask,
) -> Result<Approval, ApprovalError> {
    let mut request = ApprovalRequest::new(claim, "");
    request.action = None;
    let asked = log.approvals().request(&ask(request)).await?;
    tracing::info!(
        call = claim.name(),
        request = asked.position.get(),
        "people are asked"
    );
    Ok(asked)
}

/// Waits until a request is decided, or its time is over.
pub(super) async fn decided(log: &Runstone, request: Position) -> Result<(), ApprovalError> {
    let approvals = log.approvals();
    let approval = approvals.get(request)?;
    let votes = Read::new(Query::tag(approval.effect.tag()))
        .from(Position::new(request.get().saturating_add(1)))
        .without_payloads();
    let mut events = log.subscribe(votes)?;
    if approvals.get(request)?.state != ApprovalState::Pending {
        return Ok(());
    }
    let decided = Box::pin(async {
        while let Some(event) = events.next().await {
            let event_type = event?.header.event_type;
            if matches!(event_type.as_str(), "approval.decided" | "approval.expired") {
                return Ok(());
            }
        }
        // The log is closed.
        Err(ApprovalError::Append(AppendError::Closed))
    });
    match approval.expires_at_us {
        None => decided.await,
        Some(at_us) => {
            let left = Duration::from_micros(at_us.saturating_sub(log.steady_us()).max(1000));
            within(decided, left).await.unwrap_or(Ok(()))
        }
    }
}

impl Run {
    /// Lets go of it until people decide a request. Whoever resumes it then finds what they decided
    /// in the session: `approved`, `human_decision` (`approved` or `rejected`), `human_comment` and
    /// `comment`, `decided_by`, and `approval_id`.
    ///
    /// # Errors
    ///
    /// As [`llm_call`](Self::llm_call).
    ///
    /// # Cancel safety
    ///
    /// As [`pause`](Self::pause).
    pub async fn pause_for(
        self,
        node: Option<String>,
        approval: &Approval,
    ) -> Result<Position, RunError> {
        let paused = RunPaused {
            node,
            approval_id: Some(approval.event_id.to_string()),
        };
        let at = self.record(Draft::new(self.event(&paused)?)).await?;
        self.inner.has_ended.store(true, Ordering::Relaxed);
        Ok(at)
    }

    /// [`pause_for`](Self::pause_for) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`pause_for`](Self::pause_for).
    pub fn pause_for_blocking(
        self,
        node: Option<String>,
        approval: &Approval,
    ) -> Result<Position, RunError> {
        block_on(self.pause_for(node, approval))
    }

    /// Brings into the session what people decided while it was paused, once.
    pub(super) async fn hear_decision(&self) -> Result<(), RunError> {
        let log = &self.inner.runstone;
        let item = Item::new().of_type(RunPaused::TYPE);
        let told = Told::of(log, self.id(), None)?;
        let Some(newest) = told.newest(log, &item).next().transpose()? else {
            return Ok(());
        };
        let record = log.record(newest.position)?;
        let paused = record.decode::<RunPaused>();
        let Some(id) = paused.ok().and_then(|paused| paused.approval_id) else {
            return Ok(());
        };
        if self.session().document().await?.get("approval_id") == Some(&json!(id)) {
            return Ok(());
        }
        let approvals = log.approvals();
        let approval = id.parse().map(|id| approvals.by_id(id));
        // A request of another log, as in a copy of a run, says nothing here.
        let approval = match approval {
            Ok(Ok(approval)) if approval.stream == self.id() => approval,
            _ => return Ok(()),
        };
        let approval = if approval.is_expired {
            // What follows is recorded by whoever asks first.
            match approvals.expire(approval.position).await {
                Ok(expired) => expired,
                Err(ApprovalError::Append(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(code = error.code(), "an expired request is left as it is");
                    return Ok(());
                }
            }
        } else {
            approval
        };
        let Some(verdict) = approvals.verdict(&approval)? else {
            return Ok(());
        };
        self.session()
            .patch(&json!({
                "approved": verdict.approved,
                "human_decision": approval.state.as_str(),
                "human_comment": verdict.comment,
                "comment": verdict.comment,
                "decided_by": verdict.decided_by,
                "approval_id": id,
            }))
            .await?;
        Ok(())
    }
}
