//! Which event is shown: by time and by keys.

use super::ending::Ending;
use super::page::Page;
use super::scene::Scene;
use super::{Found, happened_us, pause};
use crate::args::ReplayArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::Screen;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use runstone::{Log, Position, Query, Read, ReadError, Record};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Events between two scenes that are kept, so that going back folds no more than these.
const KEPT_EVERY: u64 = 1024;
/// Events fetched at once, and those between two looks whether somebody wants this to end.
const PAGE: u64 = 64;
/// How often it is looked whether somebody wants this to end.
const LOOK: Duration = Duration::from_millis(100);
/// Lines of a page up or down.
const SCROLL: usize = 10;

/// A run that is being played.
pub(super) struct Player<'a> {
    log: &'a Log,
    stream: &'a str,
    /// The last revision that is played.
    last: u64,
    found: Found,
    scene: Scene,
    /// Scenes before events of these revisions.
    kept: BTreeMap<u64, Scene>,
    /// Events after the one that is shown.
    ahead: VecDeque<Result<Record, ReadError>>,
    /// Keys that were pressed on a long way, for when it is gone.
    waiting: VecDeque<Event>,
    ended: Arc<AtomicBool>,
    speed: f64,
    is_playing: bool,
    scrolled: usize,
    /// Where to go, as far as it is typed, or what was wrong with it.
    typed: Option<String>,
    said: Option<String>,
}

impl std::fmt::Debug for Player<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Player")
            .field("stream", &self.stream)
            .field("revision", &self.found.revision)
            .finish_non_exhaustive()
    }
}

impl<'a> Player<'a> {
    pub(super) fn new(log: &'a Log, args: &'a ReplayArgs, last: u64) -> Result<Self, Failure> {
        let found = Found::at(log, &args.stream, 0)?;
        let mut scene = Scene::default();
        let kept = BTreeMap::from([(0, scene.kept())]);
        scene.take(&found)?;
        Ok(Self {
            log,
            stream: &args.stream,
            last,
            found,
            scene,
            kept,
            ahead: VecDeque::new(),
            waiting: VecDeque::new(),
            ended: Arc::new(AtomicBool::new(false)),
            speed: args.speed.unwrap_or(1.0),
            is_playing: !args.step,
            scrolled: 0,
            typed: None,
            said: None,
        })
    }

    fn revision(&self) -> u64 {
        self.found.revision
    }

    /// The event after the one that is shown.
    fn next(&mut self) -> Result<Option<&Result<Record, ReadError>>, ReadError> {
        if self.revision() >= self.last {
            return Ok(None);
        }
        if self.ahead.is_empty() {
            let read = Read::new(Query::stream(self.stream));
            let from = self.found.position.get() + 1;
            self.ahead = self.log.read(read.from(from).limit(PAGE))?.collect();
        }
        Ok(self.ahead.front())
    }

    /// Goes on by one event; answers whether there was one.
    fn forward(&mut self) -> Result<bool, ReadError> {
        if self.next()?.is_none() {
            return Ok(false);
        }
        let Some(next) = self.ahead.pop_front() else {
            return Ok(false);
        };
        let next = Found::of(self.revision() + 1, next)?;
        if next.revision.is_multiple_of(KEPT_EVERY) {
            let scene = &self.scene;
            self.kept
                .entry(next.revision)
                .or_insert_with(|| scene.kept());
        }
        self.scene.take(&next)?;
        self.found = next;
        self.scrolled = 0;
        Ok(true)
    }

    /// Shows the event of this revision, or one on the way there if somebody wants this to end.
    fn go_to(&mut self, revision: u64) -> Result<(), Failure> {
        let nearest = self.kept.range(..=revision).next_back();
        let behind = nearest.filter(|(at, _)| revision < self.revision() || **at > self.revision());
        if let Some((at, scene)) = behind {
            (self.scene, self.ahead) = (scene.kept(), VecDeque::new());
            self.found = Found::at(self.log, self.stream, *at)?;
            self.scene.take(&self.found)?;
            self.scrolled = 0;
        }
        while self.revision() < revision && self.forward()? {
            if self.revision().is_multiple_of(PAGE) && self.is_ended().map_err(failed)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether somebody wants this to end; what else was typed waits.
    fn is_ended(&mut self) -> io::Result<bool> {
        while poll(Duration::ZERO)? {
            let event = read()?;
            if matches!(event, Event::Key(key) if key.kind == KeyEventKind::Press && ends(key)) {
                self.ended.store(true, Ordering::SeqCst);
                break;
            }
            self.waiting.push_back(event);
        }
        Ok(self.ended.load(Ordering::SeqCst))
    }

    /// Plays from an event until somebody ends it.
    pub(super) fn play(mut self, from: u64) -> Result<(), Failure> {
        let _ending = Ending::watch(Arc::clone(&self.ended)).map_err(failed)?;
        let screen = Screen::take().map_err(failed)?;
        self.go_to(from)?;
        let mut shown_at = now();
        let (mut drawn, mut due) = (None, None);
        while !self.ended.load(Ordering::SeqCst) {
            let size = Screen::size().map_err(failed)?;
            if drawn != Some(size) {
                Screen::draw(&self.lines(size)?).map_err(failed)?;
                drawn = Some(size);
                due = self.due(shown_at)?;
            }
            let wait = due.map_or(LOOK, |due: Instant| {
                due.saturating_duration_since(now()).min(LOOK)
            });
            let event = match self.waiting.pop_front() {
                Some(event) => Some(event),
                None if poll(wait).map_err(failed)? => Some(read().map_err(failed)?),
                None => None,
            };
            if let Some(event) = event {
                let before = self.revision();
                match event {
                    Event::Key(key) if key.kind == KeyEventKind::Press => {
                        if self.key(key)? {
                            break;
                        }
                        drawn = None;
                    }
                    Event::Resize(..) => drawn = None,
                    _ => {}
                }
                if before != self.revision() {
                    shown_at = now();
                }
            } else if due.is_some_and(|due| due <= now()) {
                self.is_playing = self.forward()?;
                (shown_at, drawn) = (now(), None);
            }
        }
        drop(screen);
        Ok(())
    }

    /// When the next event is due.
    fn due(&mut self, shown_at: Instant) -> Result<Option<Instant>, ReadError> {
        if !self.is_playing || self.typed.is_some() {
            return Ok(None);
        }
        let before = self.found.record.as_ref().ok().map(happened_us);
        let speed = self.speed;
        let wait = match (before, self.next()?) {
            (Some(before), Some(Ok(next))) => pause(before, next, speed),
            _ => Duration::ZERO,
        };
        Ok(Some(shown_at + wait))
    }

    fn lines(&mut self, (columns, rows): (usize, usize)) -> Result<Vec<String>, ReadError> {
        let summary = self.scene.summary(self.log)?;
        let calls = self.scene.calls();
        let status = self.status();
        let damaged = self.scene.damaged();
        let at = self.found.position;
        let session = self.scene.session(self.log, self.stream, at)?;
        let page = Page {
            stream: self.stream,
            found: &self.found,
            last: self.last,
            summary: summary.as_ref(),
            calls: &calls,
            damaged,
            session,
            status,
            scrolled: self.scrolled,
        };
        Ok(page.lines(columns, rows))
    }

    fn status(&self) -> String {
        if let Some(typed) = &self.typed {
            return format!("go to: {typed}_");
        }
        let doing = match (self.is_playing, self.revision() == self.last) {
            (_, true) => "end",
            (true, false) => "playing",
            (false, false) => "paused",
        };
        let said = self.said.as_deref().unwrap_or_default();
        format!("{doing} x{}  {said}", self.speed)
    }

    /// Does what a key says; answers whether that is to end.
    fn key(&mut self, key: KeyEvent) -> Result<bool, Failure> {
        self.said = None;
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if self.typed.is_some() && !is_control {
            self.type_key(key.code)?;
            return Ok(false);
        }
        if is_control || ends(key) {
            return Ok(ends(key));
        }
        match key.code {
            KeyCode::Char(' ') => self.is_playing = !self.is_playing,
            KeyCode::Char('n' | 'l') | KeyCode::Right => {
                self.is_playing = false;
                self.forward()?;
            }
            KeyCode::Char('p' | 'h') | KeyCode::Left => {
                self.is_playing = false;
                self.go_to(self.revision().saturating_sub(1))?;
            }
            KeyCode::Home => self.go_to(0)?,
            KeyCode::End | KeyCode::Char('G') => self.go_to(self.last)?,
            KeyCode::Char('g') => self.typed = Some(String::new()),
            KeyCode::Char('@') => self.typed = Some("@".to_owned()),
            KeyCode::Char('+' | '=') => self.speed = (self.speed * 2.0).min(1_000_000.0),
            KeyCode::Char('-') => self.speed = (self.speed / 2.0).max(0.001),
            KeyCode::Down | KeyCode::Char('j') => self.scrolled += 1,
            KeyCode::Up | KeyCode::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::PageDown => self.scrolled += SCROLL,
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_sub(SCROLL),
            _ => {}
        }
        Ok(false)
    }

    /// A key while it is typed where to go.
    fn type_key(&mut self, code: KeyCode) -> Result<(), Failure> {
        let mut typed = self.typed.take().unwrap_or_default();
        match code {
            KeyCode::Esc => return Ok(()),
            KeyCode::Enter => return self.go_to_typed(&typed),
            KeyCode::Backspace => {
                typed.pop();
            }
            KeyCode::Char(one) if one.is_ascii_digit() || (one == '@' && typed.is_empty()) => {
                typed.push(one);
            }
            _ => {}
        }
        self.typed = Some(typed);
        Ok(())
    }

    fn go_to_typed(&mut self, typed: &str) -> Result<(), Failure> {
        self.is_playing = false;
        let revision = match typed.strip_prefix('@') {
            None => typed.parse().ok(),
            Some(position) => match position.parse() {
                Ok(position) => self.by_then(Position::new(position))?,
                Err(_) => None,
            },
        };
        match revision {
            Some(revision) if revision <= self.last => self.go_to(revision)?,
            _ => self.said = Some("there is no such event".to_owned()),
        }
        Ok(())
    }

    /// The newest event of the run at or before a position.
    fn by_then(&self, position: Position) -> Result<Option<u64>, ReadError> {
        let read = Read::new(Query::stream(self.stream)).to(position);
        let mut damaged = 0;
        for found in self.log.read(read.reverse().without_payloads())? {
            match found {
                Ok(record) => return Ok(Some(record.revision.get() + damaged)),
                Err(error) if error.position().is_some() => damaged += 1,
                Err(error) => return Err(error),
            }
        }
        // Each is damaged.
        Ok(damaged.checked_sub(1))
    }
}

/// Whether a key ends the player, where it is not typed where to go.
fn ends(key: KeyEvent) -> bool {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c' | 'd'));
    }
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn failed(error: io::Error) -> Report {
    Report::of(Exit::Storage, "storage_io", &error)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time that somebody waits for the next event"
)]
fn now() -> Instant {
    Instant::now()
}
