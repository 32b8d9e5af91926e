//! A task as it is shown.

use crate::output::{
    Align, Fields, Output, Table, Tone, count, now, paint, preview, printable, relative, rfc3339,
};
use runstone::codec::Position;
use runstone::events::TaskCreated;
use runstone::tasks::{HistoryEntry, Task};
use runstone::{TaskError, TaskState, Tasks};
use serde::Serialize;
use std::collections::BTreeMap;

/// Longest text shown in a cell, in characters.
const SHOWN: usize = 60;
/// Most entries of a history that are shown: the newest.
const ENTRIES: usize = 1_000;

/// A task as other programs see it.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    id: Option<String>,
    title: Option<String>,
    state: &'static str,
    #[serde(rename = "type")]
    task_type: Option<String>,
    agent: Option<String>,
    parent: Option<String>,
    creator: Option<String>,
    depth: u64,
    attempt: u64,
    fence: Option<Position>,
    holder: Option<String>,
    lease_expires_at: Option<String>,
    position: Position,
    #[serde(skip)]
    lease_expires_at_us: Option<u64>,
    #[serde(skip)]
    is_held: bool,
}

/// How a task stands, as a word: one whose lease is over is in progress until a command records it.
fn word(task: &Task) -> &'static str {
    if task.is_expired {
        "expired"
    } else {
        task.state.as_str()
    }
}

/// What cannot be read of it is left out, and said: it must not hide how the task stands.
fn readable(said: Result<Option<TaskCreated>, TaskError>, output: &Output) -> Option<TaskCreated> {
    said.unwrap_or_else(|error| {
        output.warn(error.code(), &error.to_string());
        None
    })
}

impl Line {
    pub(crate) fn of(tasks: &Tasks, task: &Task, output: &Output) -> Self {
        Self::with(task, readable(tasks.content(task), output))
    }

    pub(super) fn all(
        tasks: &Tasks,
        found: &[Task],
        output: &Output,
    ) -> Result<Vec<Self>, TaskError> {
        let contents = tasks.contents(found)?;
        let lines = found.iter().zip(contents);
        Ok(lines
            .map(|(task, said)| Self::with(task, readable(said, output)))
            .collect())
    }

    fn with(task: &Task, said: Option<TaskCreated>) -> Self {
        let lease_expires_at_us = task.lease_expires_at_us;
        let said = said.unwrap_or_default();
        // Content that was erased is left out: a task always has an id and a title.
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            id: text(said.id),
            title: text(said.title),
            state: word(task),
            task_type: said.task_type,
            agent: said.agent,
            parent: said.parent,
            creator: said.creator,
            depth: task.depth,
            attempt: task.attempt,
            fence: task.fence,
            holder: task.is_held.then(|| task.holder.clone()),
            lease_expires_at: lease_expires_at_us.and_then(rfc3339),
            position: task.moved,
            lease_expires_at_us,
            is_held: task.is_held,
        }
    }

    fn name(&self) -> &str {
        self.id.as_deref().unwrap_or("(erased)")
    }

    /// In a few words.
    pub(super) fn sentence(&self, output: &Output) -> String {
        let state = paint(output.color, tone(self.state), self.state);
        let held = match (&self.holder, self.fence) {
            (Some(_), Some(fence)) => {
                let lease = match &self.lease_expires_at {
                    Some(at) => format!(", lease until {at}"),
                    None => String::new(),
                };
                format!(": fence {fence}, attempt {}{lease}", self.attempt)
            }
            _ => String::new(),
        };
        format!("{} is {state}{held}", printable(self.name()))
    }
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Entry {
    from: Option<TaskState>,
    to: TaskState,
    reason: &'static str,
    actor: String,
    principal: String,
    position: Position,
    time: Option<String>,
    attempt: Option<u64>,
    why: Option<String>,
    comment: Option<String>,
    #[serde(skip)]
    at_us: u64,
}

impl From<HistoryEntry> for Entry {
    fn from(entry: HistoryEntry) -> Self {
        Self {
            from: entry.from,
            to: entry.to,
            reason: entry.reason,
            actor: entry.actor,
            principal: entry.principal,
            position: entry.position,
            time: rfc3339(entry.at_us),
            attempt: entry.attempt,
            why: entry.why,
            comment: entry.comment,
            at_us: entry.at_us,
        }
    }
}

/// A task with everything that is known of it.
#[derive(Debug, Serialize)]
pub(super) struct Whole {
    #[serde(flatten)]
    line: Line,
    description: Option<String>,
    admission: BTreeMap<String, String>,
    stream: String,
    scope: String,
    history: Vec<Entry>,
}

impl Whole {
    pub(super) fn of(
        tasks: &Tasks,
        id: &str,
        task: &Task,
        output: &Output,
    ) -> Result<Self, TaskError> {
        let said = readable(tasks.content(task), output);
        let description = said.as_ref().and_then(|said| said.description.clone());
        let admission = said.as_ref().map(|said| said.admission.clone());
        let mut line = Line::with(task, said);
        // Whoever asks knows it.
        line.id.get_or_insert_with(|| id.to_owned());
        let mut history = std::collections::VecDeque::new();
        for entry in tasks.history(id)? {
            if history.len() == ENTRIES {
                history.pop_front();
            }
            history.push_back(Entry::from(entry?));
        }
        Ok(Self {
            line,
            description,
            admission: admission.unwrap_or_default(),
            stream: task.stream.clone(),
            scope: task.id.scope.clone(),
            history: history.into(),
        })
    }

    pub(super) fn text(&self, output: &Output) -> String {
        let line = &self.line;
        let mut text = Fields::new(output);
        text.line("task", &printable(line.name()));
        text.toned("state", tone(line.state), line.state);
        let optional = [
            ("title", &line.title),
            ("description", &self.description),
            ("type", &line.task_type),
            ("agent", &line.agent),
            ("parent", &line.parent),
            ("creator", &line.creator),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                text.line(name, &printable(value));
            }
        }
        for (field, said) in &self.admission {
            text.line(&printable(field), &printable(said));
        }
        text.line("depth", &count(line.depth));
        text.line("attempt", &count(line.attempt));
        if let Some(fence) = line.fence {
            text.line("fence", &fence.to_string());
        }
        if let Some(holder) = &line.holder {
            text.line("holder", &printable(holder));
        }
        if line.is_held {
            match line.lease_expires_at_us {
                Some(at_us) => text.time("lease ends", at_us, ""),
                None => text.line("lease ends", "with the process that holds it"),
            }
        }
        text.line("stream", &printable(&self.stream));
        text.line("scope", &printable(&self.scope));
        let history = history(&self.history, output);
        format!("{}\n{history}", text.into_text().trim_end())
    }
}

fn history(entries: &[Entry], output: &Output) -> String {
    let columns = [
        ("position", Align::Right),
        ("when", Align::Left),
        ("from", Align::Left),
        ("to", Align::Left),
        ("reason", Align::Left),
        ("actor", Align::Cut),
        ("comment", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    let now = now();
    for entry in entries {
        let when = if output.terminal {
            relative(entry.at_us, now)
        } else {
            entry.time.clone().unwrap_or_default()
        };
        let comment = entry.comment.as_deref().or(entry.why.as_deref());
        table.row(vec![
            (entry.position.to_string(), Tone::Plain),
            (when, Tone::Dim),
            (
                entry.from.map_or("-", TaskState::as_str).to_owned(),
                Tone::Plain,
            ),
            (entry.to.as_str().to_owned(), tone(entry.to.as_str())),
            (entry.reason.to_owned(), Tone::Plain),
            (entry.actor.clone(), Tone::Dim),
            (preview(comment.unwrap_or("-"), SHOWN), Tone::Plain),
        ]);
    }
    table.text()
}

/// What needs somebody stands out.
fn tone(state: &str) -> Tone {
    match state {
        "done" => Tone::Good,
        "blocked" | "expired" => Tone::Warn,
        "cancelled" | "backlog" => Tone::Dim,
        _ => Tone::Plain,
    }
}

/// Tasks under each other.
pub(crate) fn table(lines: &[Line], output: &Output) -> String {
    let columns = [
        ("task", Align::Left),
        ("state", Align::Left),
        ("title", Align::Left),
        ("type", Align::Left),
        ("agent", Align::Left),
        ("parent", Align::Left),
        ("attempt", Align::Right),
        ("fence", Align::Right),
        ("holder", Align::Cut),
        ("lease ends", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    let now = now();
    let or_none = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or("-");
        (preview(text, SHOWN), Tone::Plain)
    };
    for line in lines {
        let lease = match line.lease_expires_at_us {
            Some(at_us) if output.terminal => relative(at_us, now),
            Some(_) => line.lease_expires_at.clone().unwrap_or_default(),
            None => "-".to_owned(),
        };
        let fence = line.fence.map(|fence| fence.to_string());
        table.row(vec![
            (preview(line.name(), SHOWN), Tone::Plain),
            (line.state.to_owned(), tone(line.state)),
            or_none(&line.title),
            or_none(&line.task_type),
            or_none(&line.agent),
            or_none(&line.parent),
            (count(line.attempt), Tone::Plain),
            (fence.unwrap_or_else(|| "-".to_owned()), Tone::Plain),
            or_none(&line.holder),
            (lease, Tone::Plain),
        ]);
    }
    table.text()
}
