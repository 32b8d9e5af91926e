//! Which event is shown: by time and by keys.

use super::ending::Ending;
use super::page::{Page, SHOWN_CALLS};
use super::scene::{Scene, Told, told};
use super::source::{self, Moment, Source, unless_busy};
use super::{Found, happened_us, pause};
use crate::args::ReplayArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::Screen;
use crate::session::instant;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use runstone::{Position, Query, Read};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Events between two scenes that are kept, so that going back folds no more than these.
const KEPT_EVERY: u64 = 1024;
/// Events fetched at once to be shown.
const PAGE: u64 = 64;
/// Those that are fetched at once on a long way, between two looks whether somebody wants this to end.
const WAY: u64 = 512;
/// How often it is looked whether somebody wants this to end.
const LOOK: Duration = Duration::from_millis(100);
/// Lines of a page up or down.
const SCROLL: usize = 10;

/// A run that is being played.
pub(super) struct Player<'a> {
    source: Source<'a>,
    stream: &'a str,
    /// The last revision that is played.
    last: u64,
    found: Found,
    scene: Scene,
    /// Where events of these revisions stand, and the scenes before them.
    kept: BTreeMap<u64, (Position, Scene)>,
    /// Events after the one that is shown.
    ahead: VecDeque<source::Event>,
    /// When what is held of content was read, at the earliest.
    read_at: Moment,
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
    pub(super) fn new(
        mut source: Source<'a>,
        args: &'a ReplayArgs,
        last: u64,
    ) -> Result<Self, Failure> {
        let read_at = source.moment()?;
        let found = source.read(|log| Found::at(log, &args.stream, 0))?;
        let mut scene = Scene::default();
        let kept = BTreeMap::from([(0, (found.position, scene.kept()))]);
        scene.take(found.record.as_ref().ok())?;
        Ok(Self {
            source,
            stream: &args.stream,
            last,
            found,
            scene,
            kept,
            ahead: VecDeque::new(),
            read_at,
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

    /// Lets go of content that was read at another moment, and may be erased by now. What is shown is
    /// read again.
    fn refresh(&mut self) -> Result<(), Failure> {
        let now = self.source.moment()?;
        if now != self.read_at {
            let (stream, at) = (self.stream, self.revision());
            self.found = self.source.read(|log| Found::at(log, stream, at))?;
            self.scene.forget_content();
            self.ahead.clear();
            self.read_at = now;
        }
        Ok(())
    }

    /// The event after the one that is shown.
    fn next(&mut self) -> Result<Option<&source::Event>, Failure> {
        if self.revision() >= self.last {
            return Ok(None);
        }
        if self.ahead.is_empty() {
            let read = Read::new(Query::stream(self.stream)).limit(PAGE);
            let from = self.found.position.get() + 1;
            self.ahead = self.source.page(&read.from(from))?;
        }
        Ok(self.ahead.front())
    }

    /// Goes on by one event; answers whether there was one.
    fn forward(&mut self) -> Result<bool, Failure> {
        self.refresh()?;
        match self.next()? {
            None => return Ok(false),
            // What of it can be read without its content is taken.
            Some(Err(_)) => return self.go_to(self.revision() + 1).map(|()| true),
            Some(Ok(_)) => {}
        }
        let Some(next) = self.ahead.pop_front() else {
            return Ok(false);
        };
        let next = Found::of(self.revision() + 1, next)?;
        keep(&mut self.kept, &next, &self.scene);
        self.scene.take(next.record.as_ref().ok())?;
        self.found = next;
        self.scrolled = 0;
        Ok(true)
    }

    /// Shows the event of this revision, or one on the way there if somebody wants this to end.
    fn go_to(&mut self, revision: u64) -> Result<(), Failure> {
        let nearest = self.kept.range(..=revision).next_back();
        let behind = nearest.filter(|(at, _)| revision < self.revision() || **at > self.revision());
        // The next event that the scene takes, and where it stands at the earliest.
        let (mut next, mut from, mut scene) = if let Some((at, (position, scene))) = behind {
            (*at, position.get(), scene.kept())
        } else {
            let after = self.found.position.get() + 1;
            (self.revision() + 1, after, self.scene.kept())
        };
        while next <= revision && !self.ended.load(Ordering::SeqCst) {
            let read = Read::new(Query::stream(self.stream)).without_payloads();
            let read = read.from(from).limit(WAY.min(revision + 1 - next));
            let page = self.source.page(&read)?;
            if page.is_empty() {
                break;
            }
            for event in page {
                let found = Found::of(next, event)?;
                keep(&mut self.kept, &found, &scene);
                scene.take(found.record.as_ref().ok())?;
                (next, from) = (found.revision + 1, found.position.get() + 1);
            }
            scene.settle(&mut self.source)?;
            self.look_whether_ended().map_err(failed)?;
        }
        let (stream, at) = (self.stream, next.saturating_sub(1));
        if at != self.revision() {
            self.found = self.source.read(|log| Found::at(log, stream, at))?;
            (self.scene, self.scrolled) = (scene, 0);
            self.ahead.clear();
        }
        Ok(())
    }

    /// Looks whether somebody wants this to end; what else was typed waits.
    fn look_whether_ended(&mut self) -> io::Result<()> {
        while poll(Duration::ZERO)? {
            let event = read()?;
            if matches!(event, Event::Key(key) if key.kind == KeyEventKind::Press && ends(key)) {
                self.ended.store(true, Ordering::SeqCst);
                break;
            }
            self.waiting.push_back(event);
        }
        Ok(())
    }

    /// Plays from an event until somebody ends it.
    pub(super) fn play(mut self, from: u64) -> Result<(), Failure> {
        let _ending = Ending::watch(Arc::clone(&self.ended)).map_err(failed)?;
        let screen = Screen::take().map_err(failed)?;
        self.go_to(from)?;
        let mut shown_at = instant();
        let (mut drawn, mut due) = (None, None);
        while !self.ended.load(Ordering::SeqCst) {
            let size = Screen::size().map_err(failed)?;
            if drawn != Some(size) {
                Screen::draw(&self.lines(size)?).map_err(failed)?;
                due = self.due(shown_at)?;
                // What another process keeps from being shown is looked for again.
                drawn = Some(size).filter(|_| !self.source.is_busy());
            }
            let wait = due.map_or(LOOK, |due: Instant| {
                due.saturating_duration_since(instant()).min(LOOK)
            });
            self.source.rest(wait)?;
            let event = match self.waiting.pop_front() {
                Some(event) => Some(event),
                None if poll(wait).map_err(failed)? => Some(read().map_err(failed)?),
                None => None,
            };
            if let Some(event) = event {
                let before = self.revision();
                match event {
                    Event::Key(key) if key.kind == KeyEventKind::Press => {
                        if unless_busy(self.key(key))? == Some(true) {
                            break;
                        }
                        drawn = None;
                    }
                    Event::Resize(..) => drawn = None,
                    _ => {}
                }
                if before != self.revision() {
                    shown_at = instant();
                }
            } else if due.is_some_and(|due| due <= instant()) {
                if let Some(is_playing) = unless_busy(self.forward())? {
                    (self.is_playing, shown_at) = (is_playing, instant());
                }
                drawn = None;
            }
        }
        drop(screen);
        self.source.close()
    }

    /// When the next event is due; `None`: never, or it cannot be told now.
    fn due(&mut self, shown_at: Instant) -> Result<Option<Instant>, Failure> {
        if !self.is_playing || self.typed.is_some() {
            return Ok(None);
        }
        let before = self.found.record.as_ref().ok().map(happened_us);
        let speed = self.speed;
        let Some(next) = unless_busy(self.next())? else {
            return Ok(None);
        };
        let wait = match (before, next) {
            (Some(before), Some(Ok(next))) => pause(before, next, speed),
            _ => Duration::ZERO,
        };
        Ok(Some(shown_at + wait))
    }

    fn lines(&mut self, (columns, rows): (usize, usize)) -> Result<Vec<String>, Failure> {
        unless_busy(self.refresh())?;
        unless_busy(self.scene.settle(&mut self.source))?;
        let summary = self.scene.summary(&mut self.source)?;
        unless_busy(self.scene.name_calls(&mut self.source, SHOWN_CALLS))?;
        let calls = self.scene.calls();
        let damaged = self.scene.damaged();
        let status = self.status();
        let (stream, at) = (self.stream, self.found.position);
        let session = self
            .scene
            .session(|| self.source.read(|log| told(log, stream, at)));
        let unknown = Told::default();
        let session = unless_busy(session)?.unwrap_or(&unknown);
        let page = Page {
            stream,
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
        let said = match &self.said {
            _ if self.source.is_busy() => "held by another process",
            Some(said) => said,
            None => "",
        };
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
    fn by_then(&mut self, position: Position) -> Result<Option<u64>, Failure> {
        let read = Read::new(Query::stream(self.stream)).to(position);
        let read = read.reverse().without_payloads();
        self.source.read(|log| {
            let mut damaged = 0;
            for found in log.read(read.clone())? {
                match found {
                    Ok(record) => return Ok(Some(record.revision.get() + damaged)),
                    Err(error) if error.position().is_some() => damaged += 1,
                    Err(error) => return Err(error),
                }
            }
            // Each is damaged.
            Ok(damaged.checked_sub(1))
        })
    }
}

/// Keeps the scene before an event now and then.
fn keep(kept: &mut BTreeMap<u64, (Position, Scene)>, found: &Found, scene: &Scene) {
    if found.revision.is_multiple_of(KEPT_EVERY) {
        let place = kept.entry(found.revision);
        place.or_insert_with(|| (found.position, scene.kept()));
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
