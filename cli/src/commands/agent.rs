//! `agent`: agents by name.

use crate::args::{AgentCommand, Power};
use crate::error::{Exit, Failure};
use crate::output::{Align, Output, Table, Tone, now, printable, relative, rfc3339};
use crate::session::{Access, Session};
use runstone::Log;
use runstone::agents::{Agent, AgentChange, AgentError, AgentFilter, AgentState, Agents};
use runstone::events::AgentRegistered;
use serde::Serialize;
use std::fmt::Write as _;

/// An agent as other programs see it.
#[derive(Serialize)]
struct Line {
    name: String,
    state: &'static str,
    role: Option<String>,
    labels: Vec<String>,
    stopped: bool,
    revoked: bool,
    timeout_s: Option<u64>,
    since: Option<String>,
    #[serde(skip)]
    since_us: u64,
    position: u64,
    registered: u64,
}

impl Line {
    fn of(log: &Log, agent: Agent, output: &Output) -> Self {
        // A description that cannot be read must not hide the agent.
        let described = Agents::new(log)
            .description(&agent)
            .unwrap_or_else(|error| {
                output.warn(
                    error.code(),
                    &format!("the description of `{}`: {error}", agent.name),
                );
                AgentRegistered::default()
            });
        Self {
            state: agent.state.as_str(),
            role: described.role,
            labels: described.labels,
            stopped: agent.is_stopped,
            revoked: agent.is_revoked,
            timeout_s: agent.timeout_s,
            since: rfc3339(agent.since_us),
            since_us: agent.since_us,
            position: agent.since.get(),
            registered: agent.registered.get(),
            name: agent.name,
        }
    }

    fn sentence(&self) -> String {
        let mut text = format!("{} is {}", self.name, self.state);
        if self.revoked {
            text.push_str(" and revoked: its commands are refused");
        } else if self.state == AgentState::Stopping.as_str() {
            text.push_str(": it must exit");
        }
        text.push('\n');
        text
    }
}

pub(crate) fn run(session: &Session, command: AgentCommand) -> Result<Exit, Failure> {
    let (name, change) = match command {
        AgentCommand::List { status } => return list(session, status),
        AgentCommand::Show { name } => return show(session, &name),
        AgentCommand::Register { name, role, labels } => {
            (name, AgentChange::Register { role, labels })
        }
        AgentCommand::Sleep {
            name,
            reason,
            timeout,
        } => return sleep(session, &name, reason, timeout),
        AgentCommand::Wake { name } => (name, AgentChange::Wake),
        AgentCommand::Power {
            name,
            state,
            reason,
        } => {
            let runs = state == Power::Running;
            (name, AgentChange::Power { runs, reason })
        }
        AgentCommand::Revoke { name, reason } => (name, AgentChange::Revoke { reason }),
    };
    let line = changed(session, &name, &change)?;
    session.output.answer(&line, || line.sentence())?;
    Ok(Exit::Done)
}

fn changed(session: &Session, name: &str, change: &AgentChange) -> Result<Line, Failure> {
    session.with(Access::Write, |log| {
        Agents::new(log).change_blocking(name, change)?;
        found(session, log, name)
    })
}

fn found(session: &Session, log: &Log, name: &str) -> Result<Line, Failure> {
    let agent = Agents::new(log).find(name)?;
    let agent = agent.ok_or_else(|| AgentError::NotFound {
        name: name.to_owned(),
    })?;
    Ok(Line::of(log, agent, &session.output))
}

fn sleep(session: &Session, name: &str, reason: String, timeout: u64) -> Result<Exit, Failure> {
    let text = format!(
        "SLEEP:idle agent={name} reason={} timeout={timeout}s\n",
        printable(&reason)
    );
    let change = AgentChange::Sleep {
        reason,
        timeout_s: Some(timeout),
    };
    let line = changed(session, name, &change)?;
    let is_idle = line.state == AgentState::Idle.as_str();
    session
        .output
        .answer(&line, || if is_idle { text } else { line.sentence() })?;
    Ok(if is_idle { Exit::Done } else { Exit::No })
}

fn show(session: &Session, name: &str) -> Result<Exit, Failure> {
    let line = session.with(Access::Folds, |log| found(session, log, name))?;
    session.output.answer(&line, || {
        let mut text = line.sentence();
        let mut told = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name}: {}", printable(value));
        };
        if let Some(role) = &line.role {
            told("role", role);
        }
        if !line.labels.is_empty() {
            told("labels", &line.labels.join(", "));
        }
        if let Some(since) = &line.since {
            told("since", since);
        }
        text
    })?;
    Ok(Exit::Done)
}

fn list(session: &Session, status: Option<AgentState>) -> Result<Exit, Failure> {
    let output = &session.output;
    let mut filter = AgentFilter::new();
    filter.state = status;
    let lines: Vec<Line> = session.with(Access::Folds, |log| {
        let agents = Agents::new(log).list(&filter)?;
        let lines = agents.into_iter().map(|agent| Line::of(log, agent, output));
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
        output.note("there is no such agent");
        return Ok(Exit::Done);
    }
    let columns = [
        ("name", Align::Left),
        ("state", Align::Left),
        ("since", Align::Left),
        ("role", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    let now = now();
    for line in &lines {
        let (state, tone) = match line.state {
            _ if line.revoked => ("revoked", Tone::Bad),
            "stopping" => ("stopping", Tone::Bad),
            state => (state, Tone::Plain),
        };
        table.row(vec![
            (line.name.clone(), Tone::Plain),
            (state.to_owned(), tone),
            (
                if output.terminal {
                    relative(line.since_us, now)
                } else {
                    line.since.clone().unwrap_or_default()
                },
                Tone::Dim,
            ),
            (
                printable(line.role.as_deref().unwrap_or_default()).into_owned(),
                Tone::Plain,
            ),
        ]);
    }
    Output::text(&format!("{}\n", table.text()))?;
    Ok(Exit::Done)
}
