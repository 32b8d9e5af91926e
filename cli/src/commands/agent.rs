//! `agent`: agents by name.

use crate::args::{AgentCommand, Power, SpawnArgs};
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Fields, Output, Table, Tone, now, printable, relative, rfc3339};
use crate::session::{Access, Session};
use runstone::Log;
use runstone::agents::{
    Agent, AgentChange, AgentError, AgentFilter, AgentState, Agents, Description, MAX_REAPED,
    NewHelper, RetireReason,
};
use serde::Serialize;
use std::fmt::Write as _;

/// An agent as other programs see it.
#[derive(Serialize)]
struct Line {
    name: String,
    kind: &'static str,
    state: &'static str,
    /// Of a helper: whose it is, where it works, and how long it lives.
    parent: Option<String>,
    tray: Option<String>,
    expires_at: Option<String>,
    #[serde(skip)]
    expires_at_us: Option<u64>,
    expired: bool,
    auto_retire: Option<bool>,
    retired: Option<&'static str>,
    spawned_for: Option<String>,
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
                Description::default()
            });
        let kind = agent.kind().as_str();
        let helper = agent.helper;
        let expires_at_us = helper.as_ref().map(|helper| helper.expires_at_us);
        Self {
            kind,
            expires_at: expires_at_us.and_then(rfc3339),
            expires_at_us,
            expired: helper.as_ref().is_some_and(|helper| helper.is_expired),
            auto_retire: helper.as_ref().map(|helper| helper.auto_retire),
            retired: helper
                .as_ref()
                .and_then(|helper| helper.retired)
                .map(RetireReason::as_str),
            parent: helper.as_ref().map(|helper| helper.parent.clone()),
            tray: helper.map(|helper| helper.tray),
            spawned_for: described.spawned_for,
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
        if let Some(why) = self.retired {
            let _ = write!(text, ": {why}");
        } else if self.expired {
            text.push_str(", and its time is over");
        }
        if self.revoked {
            text.push_str(" and revoked: its commands are refused");
        } else if self.state == AgentState::Stopping.as_str() {
            text.push_str(": it must exit");
        }
        text.push('\n');
        text
    }

    /// How it stands, in one word.
    fn stands(&self) -> &'static str {
        if self.revoked {
            "revoked"
        } else if self.expired {
            "expired"
        } else {
            self.state
        }
    }

    fn tone(&self) -> Tone {
        if self.revoked || self.expired || self.state == AgentState::Stopping.as_str() {
            Tone::Bad
        } else {
            Tone::Plain
        }
    }

    /// The agent with everything that is known of it.
    fn whole(&self, output: &Output) -> String {
        let mut text = Fields::new(output);
        text.line("agent", &self.name);
        text.line("kind", self.kind);
        text.toned("state", self.tone(), self.state);
        if self.revoked {
            text.toned("revoked", Tone::Bad, "its commands are refused");
        }
        if self.expired {
            text.toned(
                "expired",
                Tone::Bad,
                "its time is over; `runstone sweep` lets it go",
            );
        }
        if let Some(why) = self.retired {
            text.line("retired", why);
        }
        let labels = Some(self.labels.join(", ")).filter(|labels| !labels.is_empty());
        for (name, value) in [
            ("role", &self.role),
            ("labels", &labels),
            ("parent", &self.parent),
            ("tray", &self.tray),
            ("spawned for", &self.spawned_for),
        ] {
            if let Some(value) = value {
                text.line(name, value);
            }
        }
        text.time("since", self.since_us, "");
        if let Some(expires_at_us) = self.expires_at_us {
            text.time("lives until", expires_at_us, "");
        }
        text.into_text()
    }
}

/// What a cell shows.
fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

pub(crate) fn run(session: &Session, command: AgentCommand) -> Result<Exit, Failure> {
    let (name, change) = match command {
        AgentCommand::List {
            status,
            kind,
            parent,
        } => {
            let mut filter = AgentFilter::new();
            (filter.state, filter.kind, filter.parent) = (status, kind, parent);
            return list(session, &filter);
        }
        AgentCommand::Spawn(args) => return spawn(session, args),
        AgentCommand::Retire { name, reason } => return retire(session, &name, reason),
        AgentCommand::Reap => return reap(session),
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
    let act = |log: &Log| Ok(Agents::new(log).change_blocking(name, change)?);
    let (_, line) = session.record(act, |log, _| found(session, log, name))?;
    Ok(line)
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
    session
        .output
        .answer(&line, || line.whole(&session.output))?;
    Ok(Exit::Done)
}

fn spawn(session: &Session, args: SpawnArgs) -> Result<Exit, Failure> {
    let mut helper = NewHelper::new(args.name).auto_retire(!args.no_auto_retire);
    helper.tray = args.tray;
    helper.role = args.role;
    helper.ttl_s = args.ttl;
    helper.spawned_for = args.spawned_for;
    let (spawned, line) = session.record(
        |log| Ok(Agents::new(log).spawn_blocking(&helper)?),
        |log, spawned| found(session, log, &spawned.name),
    )?;
    let is_running = spawned.is_running;
    if !is_running {
        session.output.error(&Report::new(
            Exit::No,
            "helper_cap_reached",
            format!(
                "`{}` is there and does not run: helpers.max_running allows no more",
                line.name
            ),
        ));
    }
    session.output.answer(&line, || line.sentence())?;
    Ok(if is_running { Exit::Done } else { Exit::No })
}

fn retire(session: &Session, name: &str, why: RetireReason) -> Result<Exit, Failure> {
    let (_, line) = session.record(
        |log| Ok(Agents::new(log).retire_blocking(name, why)?),
        |log, _| found(session, log, name),
    )?;
    session.output.answer(&line, || line.sentence())?;
    Ok(Exit::Done)
}

/// A helper that was let go, as other programs see it.
#[derive(Serialize)]
struct Gone {
    name: String,
    reason: &'static str,
    /// Tasks that are to be done again.
    released: usize,
}

fn reap(session: &Session) -> Result<Exit, Failure> {
    let gone = session.with(Access::Write, |log| {
        let mut gone = Vec::new();
        loop {
            let reaped = Agents::new(log).reap_blocking()?;
            let is_all = reaped.len() < MAX_REAPED;
            gone.extend(reaped.into_iter().map(|reaped| Gone {
                name: reaped.name,
                reason: reaped.why.as_str(),
                released: reaped.released.len(),
            }));
            if is_all {
                return Ok(gone);
            }
        }
    })?;
    if gone.is_empty() {
        session.output.note("no helper is past its time");
    }
    let mut results = Output::results();
    for one in &gone {
        if session.output.json {
            results.json(one)?;
        } else {
            results.line(&format!(
                "{} is gone: {}; tasks to be done again: {}",
                one.name, one.reason, one.released
            ))?;
        }
    }
    results.flush()?;
    Ok(Exit::Done)
}

fn list(session: &Session, filter: &AgentFilter) -> Result<Exit, Failure> {
    let output = &session.output;
    let lines: Vec<Line> = session.with(Access::Folds, |log| {
        let agents = Agents::new(log).list(filter)?;
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
        ("kind", Align::Left),
        ("parent", Align::Left),
        ("tray", Align::Left),
        ("lives until", Align::Left),
        ("role", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    let now = now();
    let when = |us: u64, stamp: &Option<String>| {
        if output.terminal {
            relative(us, now)
        } else {
            stamp.clone().unwrap_or_default()
        }
    };
    for line in &lines {
        let state = line.stands();
        table.row(vec![
            (line.name.clone(), Tone::Plain),
            (state.to_owned(), line.tone()),
            (when(line.since_us, &line.since), Tone::Dim),
            (line.kind.to_owned(), Tone::Plain),
            (or_dash(line.parent.clone()), Tone::Plain),
            (or_dash(line.tray.clone()), Tone::Plain),
            (
                or_dash(line.expires_at_us.map(|us| when(us, &line.expires_at))),
                if line.expired { Tone::Bad } else { Tone::Dim },
            ),
            (or_dash(line.role.clone()), Tone::Plain),
        ]);
    }
    Output::text(&format!("{}\n", table.text()))?;
    Ok(Exit::Done)
}
