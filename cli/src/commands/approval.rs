//! `approval`: calls that wait for people.

use crate::args::{ApprovalCommand, ApprovalsArgs, AskArgs, VoteArgs};
use crate::error::{Exit, Failure, Report};
use crate::output::{
    Align, Fields, Output, Table, Tone, now, preview, printable, relative, rfc3339,
};
use crate::session::{Access, Session};
use runstone::approvals::{
    Approval, ApprovalError, ApprovalFilter, ApprovalRequest, ApprovalState, Approvals, Asked, Vote,
};
use runstone::projections::effects::{Claim, Kind};
use runstone::settings::{ApprovalMode, OnTimeout};
use runstone::{KeySource, Log, Position, Uuid};
use serde::Serialize;
use serde_json::value::RawValue;

/// Longest text shown in a cell, in characters.
const SHOWN: usize = 60;

/// A request as other programs see it.
#[derive(Serialize)]
struct Line {
    position: u64,
    id: String,
    state: &'static str,
    action: Option<String>,
    name: Option<String>,
    key: Option<String>,
    args: Option<Box<RawValue>>,
    stream: String,
    mode: ApprovalMode,
    reviewers: Vec<String>,
    votes: Vec<VoteLine>,
    requester: String,
    requested_at: Option<String>,
    expires_at: Option<String>,
    on_timeout: OnTimeout,
    escalate_to: Option<String>,
    decided_by: Option<String>,
    decided: Option<u64>,
    comment: Option<String>,
    spent: bool,
    #[serde(skip)]
    requested_at_us: u64,
    #[serde(skip)]
    expires_at_us: Option<u64>,
}

#[derive(Serialize)]
struct VoteLine {
    by: String,
    approved: bool,
}

impl Line {
    fn of(log: &Log, approval: Approval, output: &Output) -> Self {
        let approvals = Approvals::new(log);
        // What cannot be read of it must not hide how it stands.
        let said = approvals.said(&approval).unwrap_or_else(|error| {
            let what = format!("the request at position {}: {error}", approval.position);
            output.warn(error.code(), &what);
            Asked::Erased
        });
        let verdict = approvals.verdict(&approval).unwrap_or_else(|error| {
            let what = format!("what was decided at {}: {error}", approval.position);
            output.warn(error.code(), &what);
            None
        });
        let said = match said {
            Asked::Said(said) => Some(said),
            _ => None,
        };
        let state = if approval.is_expired {
            "expired"
        } else {
            approval.state.as_str()
        };
        let (action, named, args) = match said {
            Some(said) => (said.action, Some((said.name, said.key)), said.args),
            None => (None, None, None),
        };
        let (name, key) = named.unzip();
        let votes = approval.votes.into_iter().map(|cast| VoteLine {
            by: cast.by,
            approved: cast.vote == Vote::Approve,
        });
        Self {
            position: approval.position.get(),
            id: approval.event_id.to_string(),
            state,
            action,
            name,
            key,
            args,
            stream: approval.stream,
            mode: approval.mode,
            reviewers: approval.reviewers,
            votes: votes.collect(),
            requester: approval.requester,
            requested_at: rfc3339(approval.requested_at_us),
            expires_at: approval.expires_at_us.and_then(rfc3339),
            on_timeout: approval.on_timeout,
            escalate_to: approval.escalate_to,
            decided_by: Some(approval.decided_by).filter(|by| !by.is_empty()),
            decided: approval.decided.map(Position::get),
            comment: verdict.and_then(|verdict| verdict.comment),
            spent: approval.is_spent,
            requested_at_us: approval.requested_at_us,
            expires_at_us: approval.expires_at_us,
        }
    }

    fn call(&self) -> String {
        let name = self.name.as_deref().unwrap_or("(erased)");
        let args = self.args.as_deref().map_or("", RawValue::get);
        format!("{}({})", printable(name), preview(args, SHOWN))
    }

    fn sentence(&self) -> String {
        let by = match &self.decided_by {
            Some(by) => format!(" by {by}"),
            None => String::new(),
        };
        format!("{} is {}{by}\n", self.call(), self.state)
    }

    /// The request with everything that is known of it.
    fn whole(&self, output: &Output) -> String {
        let mut text = Fields::new(output);
        text.line("call", &self.call());
        text.toned("state", tone(self.state), self.state);
        text.line("key", self.key.as_deref().unwrap_or("(erased)"));
        if let Some(args) = &self.args {
            text.line("arguments", args.get());
        }
        if let Some(action) = &self.action {
            text.line("action", action);
        }
        text.line("position", &self.position.to_string());
        text.line("id", &self.id);
        text.line("asked by", &self.requester);
        text.time("asked", self.requested_at_us, "");
        if let Some(expires_at_us) = self.expires_at_us {
            text.time("expires", expires_at_us, "");
        }
        if !self.reviewers.is_empty() {
            text.line("reviewers", &self.reviewers.join(", "));
        }
        for vote in &self.votes {
            let said = if vote.approved { "yes" } else { "no" };
            text.line("vote", &format!("{}: {said}", vote.by));
        }
        if let Some(by) = &self.decided_by {
            text.line("decided by", by);
        }
        if let Some(comment) = &self.comment {
            text.line("comment", comment);
        }
        if self.spent {
            text.line("spent", "an attempt was made with it");
        }
        text.into_text()
    }
}

fn tone(state: &str) -> Tone {
    match state {
        "approved" => Tone::Good,
        "pending" => Tone::Warn,
        _ => Tone::Bad,
    }
}

pub(crate) fn run(session: &Session, command: ApprovalCommand) -> Result<Exit, Failure> {
    match command {
        ApprovalCommand::Request(args) => request(session, args),
        ApprovalCommand::List(args) => list(session, &args),
        ApprovalCommand::Show { id } => show(session, &id),
        ApprovalCommand::Approve(args) => vote(session, &args, |approvals, request, comment| {
            approvals.vote_blocking(request, Vote::Approve, comment)
        }),
        ApprovalCommand::Reject(args) => vote(session, &args, |approvals, request, comment| {
            approvals.vote_blocking(request, Vote::Reject, comment)
        }),
        ApprovalCommand::Withdraw(args) => vote(session, &args, Approvals::withdraw_blocking),
    }
}

/// The request that is meant: by its position, or by the id of its event.
fn found(log: &Log, id: &str) -> Result<Approval, Failure> {
    let approvals = Approvals::new(log);
    if let Ok(position) = id.parse() {
        return Ok(approvals.get(Position::new(position))?);
    }
    let id: Uuid = id.parse().map_err(|_| {
        Report::usage(format!(
            "`{id}` is neither a position nor the id of an event"
        ))
        .hint("runstone approval list shows what is pending")
    })?;
    Ok(approvals.by_id(id)?)
}

fn request(session: &Session, args: AskArgs) -> Result<Exit, Failure> {
    let claim = match args.kind {
        Kind::Task => Claim::task(&args.stream, &args.name),
        _ => Claim::tool(&args.stream, &args.name),
    };
    let claim = claim.key(KeySource::Request(args.key));
    let claim = match args.args {
        Some(json) => claim.args_json(json),
        None => claim,
    };
    let mut request = ApprovalRequest::new(&claim, "");
    request.action = args.action;
    request.mode = args.mode.map(Into::into);
    request.reviewers = args.reviewers;
    request.timeout_s = args.timeout;
    request.on_timeout = args.on_timeout.map(Into::into);
    request.escalate_to = args.escalate_to;
    let (_, line) = session.record(
        |log| Ok(Approvals::new(log).request_blocking(&request)?),
        |log, asked| Ok(Line::of(log, asked.clone(), &session.output)),
    )?;
    session.output.answer(&line, || {
        format!(
            "{}  runstone approval approve {}\n",
            line.sentence(),
            line.position
        )
    })?;
    Ok(Exit::Done)
}

fn vote(
    session: &Session,
    args: &VoteArgs,
    say: impl FnOnce(&Approvals, Position, Option<&str>) -> Result<Approval, ApprovalError>,
) -> Result<Exit, Failure> {
    let act = |log: &Log| {
        let request = found(log, &args.id)?.position;
        let comment = args.comment.as_deref();
        Ok(say(&Approvals::new(log), request, comment)?)
    };
    let (_, line) = session.record(act, |log, voted| {
        Ok(Line::of(log, voted.clone(), &session.output))
    })?;
    session.output.answer(&line, || line.sentence())?;
    Ok(Exit::Done)
}

fn show(session: &Session, id: &str) -> Result<Exit, Failure> {
    let line = session.with(Access::Folds, |log| {
        Ok(Line::of(log, found(log, id)?, &session.output))
    })?;
    session
        .output
        .answer(&line, || line.whole(&session.output))?;
    Ok(Exit::Done)
}

fn list(session: &Session, args: &ApprovalsArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    let mut filter = ApprovalFilter::new();
    filter.state = match args.status {
        None if args.all => None,
        status => status.or(Some(ApprovalState::Pending)),
    };
    filter.stream.clone_from(&args.stream);
    let lines: Vec<Line> = session.with(Access::Folds, |log| {
        let found = Approvals::new(log).list(&filter)?;
        let lines = found
            .into_iter()
            .map(|approval| Line::of(log, approval, output));
        Ok(lines.collect())
    })?;
    if output.json {
        let mut results = Output::results();
        for line in &lines {
            results.json(line)?;
        }
        results.flush()?;
        return Ok(Exit::Done);
    }
    if lines.is_empty() {
        output.note("there is no such request");
        return Ok(Exit::Done);
    }
    let columns = [
        ("position", Align::Right),
        ("state", Align::Left),
        ("call", Align::Left),
        ("action", Align::Left),
        ("asked by", Align::Left),
        ("since", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    let now = now();
    for line in &lines {
        let since = if output.terminal {
            relative(line.requested_at_us, now)
        } else {
            line.requested_at.clone().unwrap_or_default()
        };
        let action = line.action.as_deref().unwrap_or("-");
        table.row(vec![
            (line.position.to_string(), Tone::Plain),
            (line.state.to_owned(), tone(line.state)),
            (line.call(), Tone::Plain),
            (preview(action, SHOWN), Tone::Plain),
            (line.requester.clone(), Tone::Dim),
            (since, Tone::Dim),
        ]);
    }
    Output::text(&format!("{}\n", table.text()))?;
    Ok(Exit::Done)
}
