//! Asking whether a call may be made.

use super::decide::{self, Asked, MODES};
use super::fold::{APPROVE, ESCALATE, REJECT};
use super::{Approval, ApprovalError, Approvals};
use crate::asks::RequestApproval;
use crate::command::{Command, Waiting, asked, at_once};
use crate::effects::Claim;
use crate::events::ApprovalRequested;
use crate::events::control::approval as field;
use crate::settings::{self, ApprovalMode, OnTimeout, Settings};
use runstone_codec::{Authority, Control, Draft, NewEvent};
use runstone_store::{AppendError, whole_seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most bytes of the pseudonyms of all reviewers together, commas counted.
pub const MAX_REVIEWERS_LEN: usize = 512;
/// How often a request is decided again because the settings changed meanwhile.
const REDECIDED: usize = 16;
const SECOND_US: u64 = 1_000_000;

/// A question to people: may this call be made?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ApprovalRequest {
    /// The claim that would make it.
    pub claim: Claim,
    /// What is to be done, in the words of whoever asks.
    pub action: Option<String>,
    /// How reviewers decide. Default: as the settings say. Where these ask for more than one vote,
    /// only a person or a commander may ask so that one decides.
    pub mode: Option<ApprovalMode>,
    /// Pseudonyms of the reviewers: `ada`, or `human:ada`. Default: any person or commander.
    pub reviewers: Vec<String>,
    /// Seconds after which it expires; 0 is never. Default: as the settings say.
    pub timeout_s: Option<u64>,
    /// What follows then. Default: as the settings say. That silence is consent, or consent sooner,
    /// only a person or a commander may ask for, where the settings do not say so.
    pub on_timeout: Option<OnTimeout>,
    /// Whom it goes to if it is escalated. Default: as the settings say.
    pub escalate_to: Option<String>,
}

impl ApprovalRequest {
    /// Asks for a call, as the settings say.
    pub fn new(claim: &Claim, action: impl Into<String>) -> Self {
        Self {
            claim: claim.clone(),
            action: Some(action.into()),
            mode: None,
            reviewers: Vec::new(),
            timeout_s: None,
            on_timeout: None,
            escalate_to: None,
        }
    }

    /// These reviewers decide, in this way.
    #[must_use]
    pub fn reviewers<R: Into<String>>(
        mut self,
        mode: ApprovalMode,
        reviewers: impl IntoIterator<Item = R>,
    ) -> Self {
        self.mode = Some(mode);
        self.reviewers = reviewers.into_iter().map(Into::into).collect();
        self
    }

    /// It expires after so long, in whole seconds, and this follows then. A part of a second counts
    /// whole; [`Duration::ZERO`] is never.
    #[must_use]
    pub fn timeout(mut self, after: Duration, on_timeout: OnTimeout) -> Self {
        self.timeout_s = Some(whole_seconds(after));
        self.on_timeout = Some(on_timeout);
        self
    }

    fn check(&self, mode: ApprovalMode) -> Result<(), ApprovalError> {
        let refuse = |why| Err(ApprovalError::Reviewers { why });
        let len: usize = self.reviewers.iter().map(|name| name.len() + 1).sum();
        if len > MAX_REVIEWERS_LEN {
            return refuse("their names are too long".into());
        }
        let is_bad = |name: &String| {
            name.is_empty() || name.contains(',') || name.chars().any(char::is_control)
        };
        if self.reviewers.iter().any(is_bad) {
            return refuse("a name is empty, or has a comma or a control character".into());
        }
        let mut names: Vec<&str> = self
            .reviewers
            .iter()
            .map(|name| name.split_once(':').map_or(name.as_str(), |(_, name)| name))
            .collect();
        names.sort_unstable();
        if names
            .windows(2)
            .any(|pair| matches!(pair, [one, next] if one == next))
        {
            return refuse("a name is there twice".into());
        }
        if self.reviewers.is_empty() && mode != ApprovalMode::One {
            return refuse("only where one vote decides can they be left out".into());
        }
        Ok(())
    }
}

/// How a request would be decided.
struct Terms<'a> {
    mode: ApprovalMode,
    reviewers: usize,
    on_timeout: OnTimeout,
    escalate_to: &'a str,
    timeout_s: u64,
}

impl Terms<'_> {
    /// Whether less would decide than the settings ask for: fewer votes, or silence, or one vote
    /// because nobody spoke for a while.
    fn is_laxer_than(&self, settings: &settings::Approvals) -> bool {
        let wants_several = settings.mode != ApprovalMode::One;
        let strictness = |mode| match mode {
            ApprovalMode::One => 0,
            ApprovalMode::Quorum => 1,
            ApprovalMode::All => 2,
            ApprovalMode::Sequential => 3,
        };
        if wants_several
            && (self.reviewers < 2 || strictness(self.mode) < strictness(settings.mode))
        {
            return true;
        }
        // Never is longest.
        let length = |timeout_s: u64| timeout_s.checked_sub(1).unwrap_or(u64::MAX);
        let is_as_allowed = self.on_timeout == settings.on_timeout
            && length(self.timeout_s) >= length(settings.timeout_s);
        match self.on_timeout {
            OnTimeout::Reject => false,
            OnTimeout::Approve => !is_as_allowed,
            // Whoever it goes to decides alone.
            OnTimeout::Escalate => {
                wants_several && !(is_as_allowed && self.escalate_to == settings.escalate_to)
            }
        }
    }
}

impl Approvals {
    /// Asks whether a call may be made. The same question again is the first one, as long as that
    /// counts: until it is rejected, or spent.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`]; then nothing is asked.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, people may be asked.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn request(&self, request: &ApprovalRequest) -> Result<Approval, ApprovalError> {
        self.request_by(request, Waiting::Async).await
    }

    /// [`request`](Self::request) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn request_blocking(&self, request: &ApprovalRequest) -> Result<Approval, ApprovalError> {
        at_once(self.request_by(request, Waiting::Blocking))
    }

    async fn request_by(
        &self,
        request: &ApprovalRequest,
        waiting: Waiting,
    ) -> Result<Approval, ApprovalError> {
        let ask = || RequestApproval {
            request: request.clone(),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        for _ in 0..REDECIDED {
            let asked = self.asking(request)?.run_by(&self.log, waiting).await?;
            let of = |found| Approval::of(found, self.log.steady_us());
            match asked {
                Asked::New(found) | Asked::Was(found) => return Ok(of(*found)),
                Asked::Other(found) => {
                    return Err(ApprovalError::Pending(Box::new(of(*found))));
                }
                // Whoever records it: what follows is seen next.
                Asked::Over(before) => drop(self.expire_by(before, waiting).await?),
                Asked::Reconfigured => {}
            }
        }
        Err(AppendError::Contended { times: REDECIDED }.into())
    }

    fn asking(&self, request: &ApprovalRequest) -> Result<Command<Asked>, ApprovalError> {
        let in_force = Settings::in_force(&self.log)?;
        let settings = &in_force.settings.approvals;
        let mode = request.mode.unwrap_or(settings.mode);
        request.check(mode)?;
        let on_timeout = request.on_timeout.unwrap_or(settings.on_timeout);
        let escalate_to = request
            .escalate_to
            .as_ref()
            .unwrap_or(&settings.escalate_to);
        let timeout_s = request.timeout_s.unwrap_or(settings.timeout_s);
        let (_, authority) = self.log.principal();
        let is_entitled = matches!(authority, Authority::Human | Authority::Commander);
        let asks = Terms {
            mode,
            reviewers: request.reviewers.len(),
            on_timeout,
            escalate_to,
            timeout_s,
        };
        if !is_entitled && asks.is_laxer_than(settings) {
            return Err(ApprovalError::TooLax { authority });
        }
        let subject = request.claim.subject()?;
        let content = ApprovalRequested {
            action: request.action.clone(),
            name: request.claim.name().to_owned(),
            key: subject.key,
            args: subject.args,
        };
        let mode = MODES
            .iter()
            .position(|one| *one == mode)
            .unwrap_or_default();
        let mut control = Control::new().u64(field::MODE, mode as u64).u64(
            field::ON_TIMEOUT,
            match on_timeout {
                OnTimeout::Reject => REJECT,
                OnTimeout::Approve => APPROVE,
                OnTimeout::Escalate => ESCALATE,
            },
        );
        if !request.reviewers.is_empty() {
            control = control.text(field::REVIEWERS, request.reviewers.join(","));
        }
        if on_timeout == OnTimeout::Escalate && !escalate_to.is_empty() {
            control = control.text(field::ESCALATE_TO, escalate_to.as_str());
        }
        let mut event = NewEvent::typed(&content, request.claim.stream())?;
        event.scope = subject.scope;
        let draft = subject
            .keyed
            .into_iter()
            .fold(Draft::new(event).control(control), Draft::keyed);
        let settings_at = in_force.position;
        let lasts_us = (timeout_s > 0).then(|| timeout_s.saturating_mul(SECOND_US));
        Ok(Command::new(&self.log, vec![draft], move |context| {
            decide::request(context, settings_at, lasts_us)
        })?)
    }
}
