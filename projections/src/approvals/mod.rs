//! Approvals: calls that wait for people.
//!
//! ```text
//!  request --> pending --votes--> approved   the call may be made, once, with exactly these arguments
//!                 |               rejected   its claims are refused
//!                 '--expires----> as the settings or the request say
//! ```
//!
//! A request is about one call, by the key that a claim of it would have. Claims of a call that was
//! asked about are refused until it is approved, and again when the approval is spent.
//!
//! ```
//! use runstone_projections::approvals::{ApprovalRequest, Approvals, Vote};
//! use runstone_projections::effects::{Claim, Effects};
//! use runstone_store::{CreateOptions, Log, OpenOptions};
//!
//! let mut options = OpenOptions::default();
//! options.folds = runstone_projections::standard_folds();
//! let log = Log::memory(&CreateOptions::default(), options)?;
//!
//! let pay = Claim::tool("run-7", "pay").request("inv-42").args(&serde_json::json!({"usd": 12}))?;
//! let asked = Approvals::new(&log).request_blocking(&ApprovalRequest::new(&pay, "pay the invoice"))?;
//! assert_eq!(Effects::new(&log).claim_blocking(&pay).unwrap_err().code(), "not_approved");
//! // Nobody votes on his own request, and nobody at all without a credential.
//! let vote = Approvals::new(&log).vote_blocking(asked.position, Vote::Approve, None);
//! assert_eq!(vote.unwrap_err().code(), "not_allowed");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decide;
mod error;
mod fold;
mod list;
mod request;
mod vote;

pub use crate::events::{ApprovalState, Vote};
pub use error::ApprovalError;
pub use fold::ApprovalsFold;
pub use list::{ApprovalFilter, Asked, Verdict};
pub use request::{ApprovalRequest, MAX_REVIEWERS_LEN};
pub use vote::CastVote;

pub(crate) use decide::{Asks, Blocked, gate_of_fork};

use crate::asks::{ExpireApproval, VoteApproval, WithdrawApproval};
use crate::command::{Command, Waiting, asked, at_once};
use crate::effects::EffectId;
use crate::events::{ApprovalDecided, ApprovalExpired, ApprovalVoted};
use crate::rows::ApprovalRow;
use crate::settings::{ApprovalMode, OnTimeout};
use decide::{MODES, Voted, Why};
use fold::{APPROVE, ESCALATE};
use runstone_codec::{Draft, NewEvent, Position, Uuid};
use runstone_store::Log;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a call may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotApproved {
    /// Nobody was asked.
    NotAsked,
    /// Nobody decided yet.
    Pending,
    /// It was rejected.
    Rejected,
    /// It was approved with other arguments.
    OtherArguments,
    /// It was approved, and an attempt was made that may have been executed.
    Spent,
    /// Nobody decided in time, and nobody recorded yet what follows.
    Expired,
}

impl NotApproved {
    /// Stable word for it.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::OtherArguments => "other_arguments",
            Self::Spent => "spent",
            Self::Expired => "expired",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::NotAsked => "nobody was asked",
            Self::Pending => "nobody decided yet",
            Self::Rejected => "it was rejected",
            Self::OtherArguments => "it was approved with other arguments",
            Self::Spent => "its approval was spent by an attempt that may have been executed",
            Self::Expired => "nobody decided in time",
        }
    }
}

impl std::fmt::Display for NotApproved {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.sentence())
    }
}

/// A request for approval, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Approval {
    /// Where it is recorded.
    pub position: Position,
    /// Id of the event that records it: the id of the approval for programs elsewhere.
    #[schemars(with = "String")]
    pub event_id: Uuid,
    /// How it stands.
    pub state: ApprovalState,
    /// Nobody decided it in time; the next command on it records what follows.
    pub is_expired: bool,
    /// The call that it is about.
    pub effect: EffectId,
    /// The stream of the request.
    pub stream: String,
    /// How reviewers decide.
    pub mode: ApprovalMode,
    /// Pseudonyms of the reviewers; none: any person or commander.
    pub reviewers: Vec<String>,
    /// Principals that voted, in their order, and how.
    pub votes: Vec<CastVote>,
    /// Who asks.
    pub requester: String,
    /// When it was asked, Unix microseconds.
    pub requested_at_us: u64,
    /// When it expires, Unix microseconds.
    pub expires_at_us: Option<u64>,
    /// What follows then.
    pub on_timeout: OnTimeout,
    /// To whom it goes then, if it does.
    pub escalate_to: Option<String>,
    /// Position of what decided it.
    pub decided: Option<Position>,
    /// Who did; empty if nobody.
    pub decided_by: String,
    /// An attempt was made with it that may have been executed.
    pub is_spent: bool,
}

impl Approval {
    fn of((position, row): (u64, ApprovalRow), steady_us: u64) -> Self {
        let digest = row.effect.as_slice().try_into();
        Self {
            position: Position::new(position),
            event_id: Uuid::from_bytes(row.event_id),
            state: row.state(),
            is_expired: row.is_over(steady_us),
            effect: EffectId {
                digest: digest.unwrap_or_default(),
                scope: row.scope.clone(),
            },
            mode: MODES
                .get(usize::from(row.mode))
                .copied()
                .unwrap_or(ApprovalMode::One),
            on_timeout: match decide::follows(&row) {
                APPROVE => OnTimeout::Approve,
                ESCALATE => OnTimeout::Escalate,
                _ => OnTimeout::Reject,
            },
            stream: row.stream,
            reviewers: row.reviewers,
            votes: row.votes.into_iter().map(CastVote::from).collect(),
            requester: row.requester,
            requested_at_us: row.requested_at_us,
            expires_at_us: row.expires_at_us,
            escalate_to: Some(row.escalate_to).filter(|to| !to.is_empty()),
            decided: row.decided.map(Position::new),
            decided_by: row.decided_by,
            is_spent: row.is_spent,
        }
    }

    fn decided_at(&self) -> String {
        self.decided
            .map_or_else(|| "?".to_owned(), |position| position.to_string())
    }
}

/// The requests for approval of a log.
#[derive(Debug, Clone)]
pub struct Approvals {
    log: Log,
}

impl Approvals {
    /// The requests of a log that was opened with [`ApprovalsFold`].
    pub fn new(log: &Log) -> Self {
        Self { log: log.clone() }
    }

    /// Votes on a request, and decides it if that is enough; answers how it stands then.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`]: it was decided already, or the caller may not vote. Nothing is counted
    /// then.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn vote(
        &self,
        request: Position,
        vote: Vote,
        comment: Option<&str>,
    ) -> Result<Approval, ApprovalError> {
        self.vote_by(request, vote, comment, Waiting::Async).await
    }

    /// [`vote`](Self::vote) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`vote`](Self::vote).
    pub fn vote_blocking(
        &self,
        request: Position,
        vote: Vote,
        comment: Option<&str>,
    ) -> Result<Approval, ApprovalError> {
        at_once(self.vote_by(request, vote, comment, Waiting::Blocking))
    }

    async fn vote_by(
        &self,
        request: Position,
        vote: Vote,
        comment: Option<&str>,
        waiting: Waiting,
    ) -> Result<Approval, ApprovalError> {
        let ask = || VoteApproval {
            request,
            is_yes: vote == Vote::Approve,
            comment: comment.map(str::to_owned),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let voted = self
            .voting(request, vote, comment)?
            .run_by(&self.log, waiting)
            .await?;
        self.voted(voted)
    }

    /// Records what follows from a request that expired; answers how it stands then. One that did
    /// not expire stays as it is.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`] if it is not recorded.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn expire(&self, request: Position) -> Result<Approval, ApprovalError> {
        self.expire_by(request, Waiting::Async).await
    }

    /// [`expire`](Self::expire) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`expire`](Self::expire).
    pub fn expire_blocking(&self, request: Position) -> Result<Approval, ApprovalError> {
        at_once(self.expire_by(request, Waiting::Blocking))
    }

    pub(crate) async fn expire_by(
        &self,
        request: Position,
        waiting: Waiting,
    ) -> Result<Approval, ApprovalError> {
        let ask = || ExpireApproval { request };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let expired = self.expiring(request)?.run_by(&self.log, waiting).await?;
        match expired {
            Voted::Expired(found) => Ok(Approval::of(*found, self.log.steady_us())),
            other => self.voted(other),
        }
    }

    /// Takes a request back, which rejects it: whoever asked, a person or a commander may. Answers how
    /// it stands then.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`]: it was decided already, or is not the caller's to take back.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, the command may be recorded.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub async fn withdraw(
        &self,
        request: Position,
        comment: Option<&str>,
    ) -> Result<Approval, ApprovalError> {
        self.withdraw_by(request, comment, Waiting::Async).await
    }

    /// [`withdraw`](Self::withdraw) for callers without a runtime.
    ///
    /// # Errors
    ///
    /// As [`withdraw`](Self::withdraw).
    pub fn withdraw_blocking(
        &self,
        request: Position,
        comment: Option<&str>,
    ) -> Result<Approval, ApprovalError> {
        at_once(self.withdraw_by(request, comment, Waiting::Blocking))
    }

    async fn withdraw_by(
        &self,
        request: Position,
        comment: Option<&str>,
        waiting: Waiting,
    ) -> Result<Approval, ApprovalError> {
        let ask = || WithdrawApproval {
            request,
            comment: comment.map(str::to_owned),
        };
        if let Some(told) = asked(&self.log, waiting, ask).await {
            return told;
        }

        let command = self.withdrawing(request, comment)?;
        self.voted(command.run_by(&self.log, waiting).await?)
    }

    /// Records what follows from every request that expired; answers how many did.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`] if one is not recorded.
    pub fn sweep_blocking(&self) -> Result<usize, ApprovalError> {
        let pending = self.list(&ApprovalFilter::new().state(ApprovalState::Pending))?;
        let expired = pending.iter().filter(|approval| approval.is_expired);
        let mut count = 0;
        for approval in expired {
            self.expire_blocking(approval.position)?;
            count += 1;
        }
        Ok(count)
    }

    fn voting(
        &self,
        request: Position,
        vote: Vote,
        comment: Option<&str>,
    ) -> Result<Command<Voted>, ApprovalError> {
        let approval = self.get(request)?;
        let stream = approval.stream.as_str();
        let comment = comment.map(str::to_owned);
        let voted = ApprovalVoted {
            comment: comment.clone(),
        };
        let candidates = [
            NewEvent::typed(&voted, stream)?,
            NewEvent::typed(&ApprovalDecided { comment }, stream)?,
            NewEvent::typed(&ApprovalExpired {}, stream)?,
        ];
        let candidates = candidates.map(|event| Draft::new(event.tag(approval.effect.tag())));
        let request = request.get();
        Ok(Command::new(
            &self.log,
            candidates.into(),
            move |context| decide::vote(context, request, vote == Vote::Approve),
        )?)
    }

    fn withdrawing(
        &self,
        request: Position,
        comment: Option<&str>,
    ) -> Result<Command<Voted>, ApprovalError> {
        let approval = self.get(request)?;
        let comment = comment.map(str::to_owned);
        let decided = NewEvent::typed(&ApprovalDecided { comment }, approval.stream.as_str())?;
        let candidates = vec![Draft::new(decided.tag(approval.effect.tag()))];
        let request = request.get();
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::withdraw(context, request)
        })?)
    }

    fn expiring(&self, request: Position) -> Result<Command<Voted>, ApprovalError> {
        let approval = self.get(request)?;
        let expired = NewEvent::typed(&ApprovalExpired {}, approval.stream.as_str())?;
        let candidates = vec![Draft::new(expired.tag(approval.effect.tag()))];
        let request = request.get();
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::expire(context, request)
        })?)
    }

    /// How it stands is told as it was decided: what is recorded is never answered by an error.
    fn voted(&self, voted: Voted) -> Result<Approval, ApprovalError> {
        let of = |found| Box::new(Approval::of(found, self.log.steady_us()));
        match voted {
            Voted::Counted(found) | Voted::NotExpired(found) => Ok(*of(*found)),
            Voted::NotFound => Err(ApprovalError::NotFound),
            Voted::AlreadyDecided(found) => Err(ApprovalError::AlreadyDecided(of(*found))),
            Voted::Superseded => Err(ApprovalError::Superseded),
            Voted::Expired(found) => Err(ApprovalError::Expired(of(*found))),
            Voted::NotAllowed(why) => Err(match why {
                Why::Authority(authority) => ApprovalError::NotAllowed { authority },
                Why::OwnRequest => ApprovalError::OwnRequest,
                Why::NotReviewer => ApprovalError::NotReviewer,
                Why::VotedAlready => ApprovalError::VotedAlready,
                Why::NotYourTurn => ApprovalError::NotYourTurn,
                Why::NotYours => ApprovalError::NotYours,
            }),
        }
    }
}
