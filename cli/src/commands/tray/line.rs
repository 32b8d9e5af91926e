//! Trays and their tasks as they are shown.

use crate::output::{
    Align, Fields, Output, Table, Tone, count, now, paint, preview, printable, relative, rfc3339,
};
use runstone::codec::Position;
use runstone::events::TaskCreated;
use runstone::trays::{NotClaimed, Tray, TrayError, TrayTask, Trays};
use serde::Serialize;

/// Longest text shown in a cell, in characters.
const SHOWN: usize = 60;

/// A tray as other programs see it.
#[derive(Debug, Serialize)]
pub(super) struct TrayLine {
    tray: String,
    closed: bool,
    open: u64,
    ready: u64,
    in_progress: u64,
    done: u64,
    cancelled: u64,
    dead_letters: u64,
    scope: String,
    opened_at: Option<String>,
    position: Position,
}

impl From<Tray> for TrayLine {
    fn from(tray: Tray) -> Self {
        Self {
            tray: tray.name,
            closed: tray.closed.is_some(),
            open: tray.open,
            ready: tray.ready,
            in_progress: tray.in_progress,
            done: tray.done,
            cancelled: tray.cancelled,
            dead_letters: tray.dead_letters,
            scope: tray.scope,
            opened_at: rfc3339(tray.opened_at_us),
            position: tray.closed.unwrap_or(tray.opened),
        }
    }
}

impl TrayLine {
    pub(super) fn sentence(&self) -> String {
        let closed = if self.closed { "closed, " } else { "" };
        format!(
            "{}: {closed}{} open, {} of them ready, {} in progress; {} done, {} dead letters",
            self.tray, self.open, self.ready, self.in_progress, self.done, self.dead_letters
        )
    }
}

pub(super) fn trays_table(lines: &[TrayLine], output: &Output) -> String {
    let columns = [
        ("tray", Align::Left),
        ("", Align::Left),
        ("open", Align::Right),
        ("ready", Align::Right),
        ("in progress", Align::Right),
        ("done", Align::Right),
        ("cancelled", Align::Right),
        ("dead letters", Align::Right),
    ];
    let mut table = Table::new(output, &columns);
    for line in lines {
        let closed = if line.closed { "closed" } else { "open" };
        let dead = if line.dead_letters > 0 {
            Tone::Bad
        } else {
            Tone::Plain
        };
        table.row(vec![
            (line.tray.clone(), Tone::Plain),
            (closed.to_owned(), Tone::Dim),
            (count(line.open), Tone::Plain),
            (count(line.ready), Tone::Plain),
            (count(line.in_progress), Tone::Plain),
            (count(line.done), Tone::Plain),
            (count(line.cancelled), Tone::Plain),
            (count(line.dead_letters), dead),
        ]);
    }
    table.text()
}

/// That nothing was claimed, as other programs see it.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {
    claimed: bool,
    drained: bool,
    closed: bool,
    open: u64,
    in_progress: u64,
}

impl From<NotClaimed> for Nothing {
    fn from(nothing: NotClaimed) -> Self {
        Self {
            claimed: false,
            drained: nothing.drained,
            closed: nothing.is_closed,
            open: nothing.open,
            in_progress: nothing.in_progress,
        }
    }
}

impl Nothing {
    pub(super) fn sentence(&self) -> String {
        if self.drained {
            let closed = if self.closed { ", and closed" } else { "" };
            return format!("drained{closed}: every task has ended");
        }
        format!(
            "nothing can be claimed: {} open, {} of them in progress",
            self.open, self.in_progress
        )
    }
}

/// A task of a tray as other programs see it.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    tray: String,
    id: Option<String>,
    title: Option<String>,
    description: Option<String>,
    state: &'static str,
    ready: bool,
    stuck: bool,
    priority: u64,
    depends_on: Vec<String>,
    attempt: u64,
    fence: Option<Position>,
    holder: Option<String>,
    lease_expires_at: Option<String>,
    dead_letter: Option<Position>,
    position: Position,
    #[serde(skip)]
    lease_expires_at_us: Option<u64>,
}

impl Line {
    pub(super) fn of(trays: &Trays, found: &TrayTask, output: &Output) -> Self {
        Self::with(found, trays.content(found), output)
    }

    /// What cannot be read of it is left out, and said.
    fn with(
        found: &TrayTask,
        said: Result<Option<TaskCreated>, TrayError>,
        output: &Output,
    ) -> Self {
        let said = said.unwrap_or_else(|error| {
            output.warn(error.code(), &error.to_string());
            None
        });
        let task = &found.task;
        let tags = || found.depends_on.iter().map(|earlier| earlier.id.tag());
        let depends_on = match &said {
            Some(said) => said.depends_on.clone(),
            None => tags().collect(),
        };
        let said = said.unwrap_or_default();
        // Content that was erased is left out: a task always has an id and a title.
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            tray: found.tray.clone(),
            id: text(said.id),
            title: text(said.title),
            description: said.description,
            state: if task.is_expired {
                "expired"
            } else {
                task.state.as_str()
            },
            ready: found.is_ready,
            stuck: found.is_stuck,
            priority: found.priority,
            depends_on,
            attempt: task.attempt,
            fence: task.fence,
            holder: task.is_held.then(|| task.holder.clone()),
            lease_expires_at: task.lease_expires_at_us.and_then(rfc3339),
            dead_letter: found.dead_letter,
            position: task.moved,
            lease_expires_at_us: task.lease_expires_at_us,
        }
    }

    pub(super) fn all(
        trays: &Trays,
        found: &[TrayTask],
        output: &Output,
    ) -> Result<Vec<Self>, TrayError> {
        let contents = trays.contents(found)?;
        let lines = found.iter().zip(contents);
        Ok(lines
            .map(|(task, said)| Self::with(task, said, output))
            .collect())
    }

    fn name(&self) -> &str {
        self.id.as_deref().unwrap_or("(erased)")
    }

    /// How it stands, with why it is not claimed.
    fn word(&self) -> &'static str {
        match (self.dead_letter, self.stuck, self.ready, self.state) {
            (Some(_), ..) => "dead letter",
            (_, true, ..) => "stuck",
            (_, _, false, "todo") => "waiting",
            _ => self.state,
        }
    }

    fn tone(&self) -> Tone {
        match self.word() {
            "done" => Tone::Good,
            "dead letter" | "stuck" | "expired" => Tone::Bad,
            _ => Tone::Plain,
        }
    }

    /// In a few words.
    pub(super) fn sentence(&self, output: &Output) -> String {
        let state = paint(output.color, self.tone(), self.word());
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

    pub(super) fn text(&self, output: &Output) -> String {
        let mut text = Fields::new(output);
        text.line("task", &printable(self.name()));
        text.line("tray", &self.tray);
        text.toned("state", self.tone(), self.word());
        for (name, value) in [("title", &self.title), ("description", &self.description)] {
            if let Some(value) = value {
                text.line(name, &printable(value));
            }
        }
        text.line("priority", &count(self.priority));
        if !self.depends_on.is_empty() {
            text.line("depends on", &printable(&self.depends_on.join(", ")));
        }
        text.line("attempt", &count(self.attempt));
        if let Some(fence) = self.fence {
            text.line("fence", &fence.to_string());
        }
        if let Some(holder) = &self.holder {
            text.line("holder", &printable(holder));
        }
        if let Some(at_us) = self.lease_expires_at_us {
            text.time("lease ends", at_us, "");
        }
        if let Some(dead) = self.dead_letter {
            text.line("dead letter", &format!("since position {dead}"));
        }
        text.into_text().trim_end().to_owned()
    }
}

pub(super) fn table(lines: &[Line], output: &Output) -> String {
    let columns = [
        ("task", Align::Left),
        ("state", Align::Left),
        ("priority", Align::Right),
        ("title", Align::Left),
        ("depends on", Align::Left),
        ("attempt", Align::Right),
        ("fence", Align::Right),
        ("holder", Align::Cut),
        ("lease ends", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    let now = now();
    for line in lines {
        let lease = match line.lease_expires_at_us {
            Some(at_us) if output.terminal => relative(at_us, now),
            Some(_) => line.lease_expires_at.clone().unwrap_or_default(),
            None => "-".to_owned(),
        };
        let or_none = |text: Option<String>| {
            let text = text.filter(|text| !text.is_empty());
            let text = text.unwrap_or_else(|| "-".to_owned());
            (preview(&text, SHOWN), Tone::Plain)
        };
        table.row(vec![
            (preview(line.name(), SHOWN), Tone::Plain),
            (line.word().to_owned(), line.tone()),
            (count(line.priority), Tone::Plain),
            or_none(line.title.clone()),
            or_none(Some(line.depends_on.join(", "))),
            (count(line.attempt), Tone::Plain),
            or_none(line.fence.map(|fence| fence.to_string())),
            or_none(line.holder.clone()),
            (lease, Tone::Plain),
        ]);
    }
    table.text()
}
