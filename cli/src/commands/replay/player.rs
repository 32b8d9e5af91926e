//! Which event is shown: by time and by keys.

use super::page::Page;
use super::scene::Scene;
use super::{happened_us, pause};
use crate::args::ReplayArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::Screen;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use runstone::{Log, Position, Query, Read, ReadError, Record};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Events between two scenes that are kept, so that going back folds no more than these.
const KEPT_EVERY: u64 = 1024;
/// Events fetched at once.
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
    record: Record,
    scene: Scene,
    /// Scenes before events of these revisions.
    kept: BTreeMap<u64, Scene>,
    /// Events after the one that is shown.
    ahead: VecDeque<Record>,
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
            .field("revision", &self.record.revision)
            .finish_non_exhaustive()
    }
}

impl<'a> Player<'a> {
    pub(super) fn new(log: &'a Log, args: &'a ReplayArgs, last: u64) -> Result<Self, Failure> {
        let record = log.record_by_revision(&args.stream, 0)?;
        let mut scene = Scene::default();
        let kept = BTreeMap::from([(0, scene.clone())]);
        scene.take(&record)?;
        let mut this = Self {
            log,
            stream: &args.stream,
            last,
            record,
            scene,
            kept,
            ahead: VecDeque::new(),
            speed: args.speed.unwrap_or(1.0),
            is_playing: !args.step,
            scrolled: 0,
            typed: None,
            said: None,
        };
        this.go_to(args.revision.min(last))?;
        Ok(this)
    }

    fn revision(&self) -> u64 {
        self.record.revision.get()
    }

    /// The event after the one that is shown.
    fn next(&mut self) -> Result<Option<&Record>, ReadError> {
        if self.ahead.is_empty() && self.revision() < self.last {
            let read = Read::new(Query::stream(self.stream));
            let from = self.record.position.get() + 1;
            let read = read.from(from).limit(PAGE);
            self.ahead = self.log.read(read)?.collect::<Result<_, _>>()?;
        }
        let next = self.ahead.front();
        Ok(next.filter(|next| next.revision.get() <= self.last))
    }

    /// Goes on by one event; answers whether there was one.
    fn forward(&mut self) -> Result<bool, ReadError> {
        if self.next()?.is_none() {
            return Ok(false);
        }
        let Some(next) = self.ahead.pop_front() else {
            return Ok(false);
        };
        let revision = next.revision.get();
        if revision.is_multiple_of(KEPT_EVERY) {
            let scene = &self.scene;
            self.kept.entry(revision).or_insert_with(|| scene.clone());
        }
        self.scene.take(&next)?;
        self.record = next;
        self.scrolled = 0;
        Ok(true)
    }

    /// Shows the event of this revision.
    fn go_to(&mut self, revision: u64) -> Result<(), ReadError> {
        let nearest = self.kept.range(..=revision).next_back();
        let behind = nearest.filter(|(at, _)| revision < self.revision() || **at > self.revision());
        if let Some((at, scene)) = behind {
            (self.scene, self.ahead) = (scene.clone(), VecDeque::new());
            self.record = self.log.record_by_revision(self.stream, *at)?;
            self.scene.take(&self.record)?;
            self.scrolled = 0;
        }
        while self.revision() < revision && self.forward()? {}
        Ok(())
    }

    /// Plays until somebody ends it.
    pub(super) fn play(mut self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Report::of(Exit::Storage, "storage_io", &error);
        let ended = Arc::new(AtomicBool::new(false));
        // A terminal that hangs up ends the process: there is nothing to give back.
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(failed)?;
        }
        let screen = Screen::take().map_err(failed)?;
        let mut shown_at = now();
        let (mut drawn, mut due) = (None, None);
        while !ended.load(Ordering::SeqCst) {
            let size = Screen::size().map_err(failed)?;
            if drawn != Some(size) {
                Screen::draw(&self.lines(size)?).map_err(failed)?;
                drawn = Some(size);
                due = self.due(shown_at)?;
            }
            let wait = due.map_or(LOOK, |due: Instant| {
                due.saturating_duration_since(now()).min(LOOK)
            });
            if poll(wait).map_err(failed)? {
                let event = read().map_err(failed)?;
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
        let (before, speed) = (happened_us(&self.record), self.speed);
        let next = self.next()?;
        let wait = next.map_or(Duration::ZERO, |next| pause(before, next, speed));
        Ok(Some(shown_at + wait))
    }

    fn lines(&mut self, (columns, rows): (usize, usize)) -> Result<Vec<String>, ReadError> {
        let summary = self.scene.summary(self.log)?;
        let calls = self.scene.calls();
        let status = self.status();
        let session = self.scene.session(self.log, &self.record)?;
        let page = Page {
            record: &self.record,
            last: self.last,
            summary: summary.as_ref(),
            calls: &calls,
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
    fn key(&mut self, key: KeyEvent) -> Result<bool, ReadError> {
        self.said = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return Ok(matches!(key.code, KeyCode::Char('c' | 'd')));
        }
        if self.typed.is_some() {
            self.type_key(key.code)?;
            return Ok(false);
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
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
    fn type_key(&mut self, code: KeyCode) -> Result<(), ReadError> {
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

    fn go_to_typed(&mut self, typed: &str) -> Result<(), ReadError> {
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
        let newest = read.reverse().limit(1).without_payloads();
        let found = self.log.read(newest)?.next().transpose()?;
        Ok(found.map(|record| record.revision.get()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time that somebody waits for the next event"
)]
fn now() -> Instant {
    Instant::now()
}
