//! What may follow what. Each function runs at the writer: it sees everything before, and what it
//! chooses is recorded in the same step.

use super::NotApproved;
use super::fold::{ESCALATE, FOLD, REJECT, effect_key, request_key};
use crate::events::ApprovalState;
use crate::events::control::approval as field;
use crate::rows::ApprovalRow;
use crate::seen::Seen;
use crate::settings::{ApprovalMode, Settings};
use crate::view;
use runstone_codec::{Authority, Control, Position, TypedEvent as _};
use runstone_store::{AppendError, DecideContext, Decision};

/// How reviewers decide, in the order of the numbers in control.
pub(super) const MODES: [ApprovalMode; 4] = [
    ApprovalMode::One,
    ApprovalMode::All,
    ApprovalMode::Sequential,
    ApprovalMode::Quorum,
];

/// Equal refusals for one request within this many microseconds are recorded once.
const REFUSAL_WINDOW_US: u64 = 1_000_000;

/// A request as it stands, with its position.
pub(super) type Found = (u64, ApprovalRow);

/// What asking comes to.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is recorded.
    New(Box<Found>),
    /// The same was asked before and still counts.
    Was(Box<Found>),
    /// Something else is asked under the key of the call, and not decided yet.
    Other(Box<Found>),
    /// Nobody decided the request before this one in time: what follows is recorded first, and may be
    /// the answer.
    Over(Position),
    /// Other settings came into force meanwhile.
    Reconfigured,
}

pub(super) fn request_at(
    context: &DecideContext<'_>,
    position: u64,
) -> Result<Option<ApprovalRow>, AppendError> {
    view::row(context, FOLD, &request_key(position))
}

/// The newest request for a call.
fn newest(
    context: &DecideContext<'_>,
    digest: &[u8],
    scope: &str,
) -> Result<Option<Found>, AppendError> {
    let position: Option<u64> = view::row(context, FOLD, &effect_key(digest, scope))?;
    let Some(position) = position else {
        return Ok(None);
    };
    Ok(request_at(context, position)?.map(|row| (position, row)))
}

/// Whether a request is recorded.
pub(super) fn request(
    context: &mut DecideContext<'_>,
    settings_at: Option<Position>,
    lasts_us: Option<u64>,
) -> Result<Decision<Asked>, AppendError> {
    if context.last_of_type(Settings::TYPE)? != settings_at {
        return Ok(Decision::nothing(Asked::Reconfigured));
    }
    let (header, control) = context.candidate(0).ok_or(AppendError::Empty)?;
    let digest = control.get_bytes(field::KEY).unwrap_or_default();
    let what = control.get_bytes(field::WHAT).unwrap_or_default();
    if let Some(found) = newest(context, digest, &header.scope)? {
        let (position, row) = &found;
        if row.is_over(context.steady_us()) {
            return Ok(Decision::nothing(Asked::Over(Position::new(*position))));
        }
        let is_open = row.state() == ApprovalState::Pending;
        let counts = is_open || row.state() == ApprovalState::Approved && !row.is_spent;
        if counts && row.what == what {
            return Ok(Decision::nothing(Asked::Was(Box::new(found))));
        }
        if is_open {
            return Ok(Decision::nothing(Asked::Other(Box::new(found))));
        }
    }
    let mut control = Control::new();
    if let Some(lasts_us) = lasts_us {
        let expires_at_us = context.steady_us().saturating_add(lasts_us);
        control = control
            .u64(field::EXPIRES_AT_US, expires_at_us)
            .u64(field::LASTS_US, lasts_us);
    }
    let row = foreseen(context, (0, 0), &control, |seen| {
        ApprovalRow::requested(seen)
    })?;
    let new = Asked::New(Box::new((context.next_position().get(), row)));
    Ok(Decision::record(0, control, new))
}

/// What comes of a candidate, that is recorded with this control behind so many others.
fn foreseen<T>(
    context: &DecideContext<'_>,
    (candidate, behind): (usize, u64),
    control: &Control,
    take: impl FnOnce(&Seen<'_>) -> T,
) -> Result<T, AppendError> {
    let (header, said) = context.candidate(candidate).ok_or(AppendError::Empty)?;
    let control = said.clone().merge(control.clone());
    Ok(take(&Seen {
        position: context.next_position().get().saturating_add(behind),
        recorded_at_us: context.now_us(),
        header,
        control: &control,
    }))
}

/// What a vote or an expiry comes to, and how the request stands then.
#[derive(Debug)]
pub(super) enum Voted {
    Counted(Box<Found>),
    NotFound,
    AlreadyDecided(Box<Found>),
    /// Time ran out: it is recorded by this, and there was no vote.
    Expired(Box<Found>),
    NotAllowed(Why),
    /// A newer request for the same call took its place.
    Superseded,
    /// There is nothing to record.
    NotExpired(Box<Found>),
}

/// Why somebody may not vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Authority(Authority),
    OwnRequest,
    NotReviewer,
    VotedAlready,
    NotYourTurn,
    NotYours,
}

/// Candidates of a vote.
const VOTED: usize = 0;
const DECIDED: usize = 1;
const EXPIRED: usize = 2;

/// Whether a reviewer of a list is a principal: by its full name, or by that without its authority.
fn is_reviewer(listed: &str, principal: &str) -> bool {
    listed == principal
        || principal
            .split_once(':')
            .is_some_and(|(_, name)| name == listed)
}

fn may_vote(row: &ApprovalRow, principal: &str, authority: Authority) -> Result<(), Why> {
    if !matches!(authority, Authority::Human | Authority::Commander) {
        return Err(Why::Authority(authority));
    }
    if row.requester == principal {
        return Err(Why::OwnRequest);
    }
    if row.votes.iter().any(|(voter, _)| voter == principal) {
        return Err(Why::VotedAlready);
    }
    let seat = |listed: &&String| is_reviewer(listed, principal);
    let listed = row.reviewers.iter().position(|listed| seat(&listed));
    // A seat has one vote, whoever is meant by its name.
    let has_voted = |listed: &String| {
        row.votes
            .iter()
            .any(|(voter, _)| is_reviewer(listed, voter))
    };
    if row.reviewers.iter().filter(seat).any(has_voted) {
        return Err(Why::VotedAlready);
    }
    match (listed, MODES.get(usize::from(row.mode))) {
        (None, _) if !row.reviewers.is_empty() => Err(Why::NotReviewer),
        (Some(place), Some(ApprovalMode::Sequential)) if place != row.votes.len() => {
            Err(Why::NotYourTurn)
        }
        _ => Ok(()),
    }
}

/// What the votes decide, with one more.
fn outcome(row: &ApprovalRow, is_yes: bool) -> Option<bool> {
    let all = row.reviewers.len().max(1);
    let yes = row.votes.iter().filter(|(_, vote)| *vote).count() + usize::from(is_yes);
    let no = row.votes.len() + 1 - yes;
    let majority = all / 2 + 1;
    match MODES.get(usize::from(row.mode)) {
        Some(ApprovalMode::All | ApprovalMode::Sequential) => {
            if no > 0 {
                Some(false)
            } else {
                (yes >= all).then_some(true)
            }
        }
        Some(ApprovalMode::Quorum) if yes >= majority => Some(true),
        // A majority cannot be reached any more.
        Some(ApprovalMode::Quorum) => (all - no < majority).then_some(false),
        _ => Some(is_yes),
    }
}

/// What follows when a request was not decided in time.
fn expiry(row: &ApprovalRow, request: u64, steady_us: u64) -> Control {
    let control = Control::new()
        .bytes(field::KEY, row.effect.as_slice())
        .u64(field::REQUEST, request)
        .u64(field::ON_TIMEOUT, follows(row));
    match row.lasts_us {
        // As long again for whoever it goes to.
        Some(lasts_us) if follows(row) == ESCALATE => {
            control.u64(field::EXPIRES_AT_US, steady_us.saturating_add(lasts_us))
        }
        _ => control,
    }
}

/// What follows when it expires; to nobody it cannot go.
pub(super) fn follows(row: &ApprovalRow) -> u64 {
    match u64::from(row.on_timeout) {
        ESCALATE if row.escalate_to.is_empty() => REJECT,
        follows => follows,
    }
}

/// Counts a vote, and records a decision if it decides.
pub(super) fn vote(
    context: &mut DecideContext<'_>,
    request: u64,
    is_yes: bool,
) -> Result<Decision<Voted>, AppendError> {
    let Some(row) = request_at(context, request)? else {
        return Ok(Decision::nothing(Voted::NotFound));
    };
    if row.state() != ApprovalState::Pending {
        return Ok(Decision::nothing(Voted::AlreadyDecided(Box::new((
            request, row,
        )))));
    }
    if newest(context, &row.effect, &row.scope)?.is_none_or(|(newest, _)| newest != request) {
        return Ok(Decision::nothing(Voted::Superseded));
    }
    let steady_us = context.steady_us();
    if row.is_over(steady_us) {
        return expired(context, EXPIRED, (request, row));
    }
    let (header, _) = context.candidate(VOTED).ok_or(AppendError::Empty)?;
    if let Err(why) = may_vote(&row, &header.principal, header.authority) {
        return Ok(Decision::nothing(Voted::NotAllowed(why)));
    }
    let control = |is_yes: bool| {
        Control::new()
            .bytes(field::KEY, row.effect.as_slice())
            .u64(field::REQUEST, request)
            .u64(field::APPROVED, u64::from(is_yes))
    };
    let decided = outcome(&row, is_yes);
    let mut next = row.clone();
    let mut record = vec![(VOTED, control(is_yes))];
    foreseen(context, (VOTED, 0), &control(is_yes), |seen| {
        next.change("voted", seen);
    })?;
    if let Some(is_approved) = decided {
        let control = control(is_approved);
        foreseen(context, (DECIDED, 1), &control, |seen| {
            next.change("decided", seen);
        })?;
        record.push((DECIDED, control));
    }
    let mut decision = Decision::nothing(Voted::Counted(Box::new((request, next))));
    decision.record = record;
    Ok(decision)
}

/// Records that time ran out, by this candidate.
fn expired(
    context: &DecideContext<'_>,
    candidate: usize,
    (request, mut row): Found,
) -> Result<Decision<Voted>, AppendError> {
    let control = expiry(&row, request, context.steady_us());
    foreseen(context, (candidate, 0), &control, |seen| {
        row.change("expired", seen);
    })?;
    let expired = Voted::Expired(Box::new((request, row)));
    Ok(Decision::record(candidate, control, expired))
}

/// Takes a request back, which rejects it; its only candidate is the decision.
pub(super) fn withdraw(
    context: &mut DecideContext<'_>,
    request: u64,
) -> Result<Decision<Voted>, AppendError> {
    let Some(mut row) = request_at(context, request)? else {
        return Ok(Decision::nothing(Voted::NotFound));
    };
    if row.state() != ApprovalState::Pending {
        return Ok(Decision::nothing(Voted::AlreadyDecided(Box::new((
            request, row,
        )))));
    }
    let (header, _) = context.candidate(0).ok_or(AppendError::Empty)?;
    let is_entitled = matches!(header.authority, Authority::Human | Authority::Commander);
    if header.principal != row.requester && !is_entitled {
        return Ok(Decision::nothing(Voted::NotAllowed(Why::NotYours)));
    }
    let control = Control::new()
        .bytes(field::KEY, row.effect.as_slice())
        .u64(field::REQUEST, request)
        .u64(field::APPROVED, 0);
    foreseen(context, (0, 0), &control, |seen| {
        row.change("decided", seen);
    })?;
    let counted = Voted::Counted(Box::new((request, row)));
    Ok(Decision::record(0, control, counted))
}

/// Records that a request was not decided in time; its only candidate is that event.
pub(super) fn expire(
    context: &mut DecideContext<'_>,
    request: u64,
) -> Result<Decision<Voted>, AppendError> {
    let Some(row) = request_at(context, request)? else {
        return Ok(Decision::nothing(Voted::NotFound));
    };
    if !row.is_over(context.steady_us()) {
        let stands = Box::new((request, row));
        return Ok(Decision::nothing(Voted::NotExpired(stands)));
    }
    expired(context, 0, (request, row))
}

/// A call as approvals see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks<'a> {
    /// Digest of its key, and its scope.
    pub(crate) digest: &'a [u8],
    pub(crate) scope: &'a str,
    /// Digest of its name and arguments.
    pub(crate) what: &'a [u8],
    /// Whether it needs an approval if nobody was asked.
    pub(crate) needs_one: bool,
}

/// Why a call may not be made, as far as approvals go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// The request that blocks it; `None` if nobody was asked.
    pub(crate) request: Option<Position>,
    pub(crate) why: NotApproved,
    /// Whether a refusal for this was recorded a moment ago.
    pub(crate) is_told: bool,
}

/// Looks whether a call is approved; `None` if it may be made.
fn gate(context: &DecideContext<'_>, asks: &Asks<'_>) -> Result<Option<Blocked>, AppendError> {
    let Some((position, row)) = newest(context, asks.digest, asks.scope)? else {
        return Ok(asks.needs_one.then_some(Blocked {
            request: None,
            why: NotApproved::NotAsked,
            is_told: true,
        }));
    };
    let why = match row.state() {
        ApprovalState::Pending if row.is_over(context.steady_us()) => NotApproved::Expired,
        ApprovalState::Pending => NotApproved::Pending,
        ApprovalState::Approved if row.is_spent => NotApproved::Spent,
        ApprovalState::Approved if row.what != asks.what => NotApproved::OtherArguments,
        ApprovalState::Approved => return Ok(None),
        _ => NotApproved::Rejected,
    };
    let now_us = context.now_us();
    let is_recent = |(code, since_us): &(String, u64)| {
        code == why.code() && now_us.saturating_sub(*since_us) < REFUSAL_WINDOW_US
    };
    // Waiting for people is daily business.
    let is_waiting = matches!(why, NotApproved::Pending | NotApproved::Expired);
    Ok(Some(Blocked {
        request: Some(Position::new(position)),
        why,
        is_told: is_waiting || row.refused.as_ref().is_some_and(is_recent),
    }))
}

/// [`gate`] for a call of a fork, of which people may have been asked in the runs before: digests of
/// its key there, and their scopes. What they refused stays refused, and what they have not decided
/// stays undecided. What they granted was for the run that asked: the fork asks anew.
pub(crate) fn gate_of_fork<'a>(
    context: &DecideContext<'_>,
    asks: &Asks<'_>,
    before: impl Iterator<Item = (&'a [u8], &'a str)>,
) -> Result<Option<Blocked>, AppendError> {
    let mut needs_one = asks.needs_one;
    if newest(context, asks.digest, asks.scope)?.is_none() {
        for (digest, scope) in before {
            if newest(context, digest, scope)?.is_none() {
                continue;
            }
            needs_one = true;
            let there = Asks {
                digest,
                scope,
                ..*asks
            };
            if let Some(blocked) = gate(context, &there)?
                && matches!(
                    blocked.why,
                    NotApproved::Rejected | NotApproved::Pending | NotApproved::Expired
                )
            {
                return Ok(Some(blocked));
            }
        }
    }
    gate(context, &Asks { needs_one, ..*asks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mode: ApprovalMode, reviewers: &[&str], votes: &[bool]) -> ApprovalRow {
        let given = reviewers.iter().zip(votes);
        ApprovalRow {
            event_id: [0; 16],
            effect: vec![0; 16],
            scope: "default".to_owned(),
            stream: "s".to_owned(),
            what: vec![0; 16],
            state: 0,
            mode: u8::try_from(MODES.iter().position(|one| *one == mode).unwrap()).unwrap(),
            reviewers: reviewers.iter().map(|name| (*name).to_owned()).collect(),
            votes: given
                .map(|(voter, vote)| (format!("human:{voter}"), *vote))
                .collect(),
            requester: "system:keyring".to_owned(),
            requested_at_us: 0,
            expires_at_us: None,
            lasts_us: None,
            on_timeout: 0,
            escalate_to: String::new(),
            decided: None,
            decided_by: String::new(),
            is_spent: false,
            refused: None,
        }
    }

    #[test]
    fn votes_decide_by_the_mode() {
        use ApprovalMode::{All, One, Quorum, Sequential};
        let five = ["a", "b", "c", "d", "e"];
        for (mode, reviewers, votes, vote, decided) in [
            (One, &[][..], &[][..], true, Some(true)),
            (One, &["a", "b"], &[], false, Some(false)),
            (All, &["a", "b"], &[], true, None),
            (All, &["a", "b"], &[true], true, Some(true)),
            (All, &["a", "b"], &[], false, Some(false)),
            (Sequential, &["a", "b"], &[true], true, Some(true)),
            (Sequential, &["a", "b"], &[true], false, Some(false)),
            (Quorum, &five, &[true, true], true, Some(true)),
            (Quorum, &five, &[true, true], false, None),
            (Quorum, &five, &[false, false], false, Some(false)),
            // Half is not more than half.
            (Quorum, &["a", "b"], &[], true, None),
            (Quorum, &["a", "b"], &[], false, Some(false)),
            (Quorum, &five[..4], &[true], true, None),
            (Quorum, &five[..4], &[true, false], false, Some(false)),
        ] {
            let row = row(mode, reviewers, votes);
            assert_eq!(
                outcome(&row, vote),
                decided,
                "{mode:?} {reviewers:?} {votes:?} {vote}"
            );
        }
    }

    #[test]
    fn reviewers_vote_once_in_their_turn_and_not_on_their_own() {
        let of = |row: &ApprovalRow, who: &str| may_vote(row, who, Authority::Human);
        let open = row(ApprovalMode::One, &[], &[]);
        assert_eq!(of(&open, "human:ada"), Ok(()));
        assert_eq!(
            may_vote(&open, "agent:bot", Authority::Agent),
            Err(Why::Authority(Authority::Agent))
        );
        let mut own = open.clone();
        own.requester = "human:ada".to_owned();
        assert_eq!(of(&own, "human:ada"), Err(Why::OwnRequest));
        let listed = row(ApprovalMode::Sequential, &["a", "human:b"], &[]);
        assert_eq!(of(&listed, "human:c"), Err(Why::NotReviewer));
        assert_eq!(of(&listed, "human:b"), Err(Why::NotYourTurn));
        assert_eq!(of(&listed, "human:a"), Ok(()));
        let second = row(ApprovalMode::Sequential, &["a", "human:b"], &[true]);
        assert_eq!(of(&second, "human:a"), Err(Why::VotedAlready));
        assert_eq!(of(&second, "human:b"), Ok(()));
    }
}
