//! `sink`: copies of events for others.

use super::otlp::Environment;
use crate::args::{
    AddSinkArgs, ArchiveRunArgs, HttpArgs, PayloadsArg, RunSinksArgs, SigningArgs, SinkCommand,
    SinkStatusArgs,
};
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{
    Align, Fields, Output, Progress, Table, Tone, base64, count, duration, rfc3339,
};
use crate::session::{Access, Session};
use runstone::attach::Limits;
use runstone::sinks::{
    ArchiveConfig, ArchivedExport, CheckpointsConfig, Destination, Failure as SinkFailure,
    JsonlConfig, MirrorConfig, Parked, Payloads, RunOptions, S3Config, SecretSource,
    SegmentsConfig, SinkChange, SinkState, SinkStatus, WebhookConfig, WebhookMode, from_toml,
};
use runstone::{Query, Runstone, Sealing, SinkConfig, Sinks};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Most bytes of a file of sinks.
const MAX_CONFIG_BYTES: usize = 1 << 20;
const SECOND_US: u64 = 1_000_000;
/// How often it is looked at what sinks that are waited for do.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn run(session: &Session, command: SinkCommand) -> Result<Exit, Failure> {
    match command {
        SinkCommand::Add(args) => add(session, *args),
        SinkCommand::List => list(session),
        SinkCommand::Status(args) => status(session, &args),
        SinkCommand::Pause(of) => change(session, &of.name, SinkChange::Pause),
        SinkCommand::Resume(of) => change(session, &of.name, SinkChange::Resume),
        SinkCommand::ReplayParked(of) => change(session, &of.name, SinkChange::ReplayParked),
        SinkCommand::Remove(of) => remove(session, &of.name),
        SinkCommand::Archive(args) => archive_run(session, &args),
        SinkCommand::Run(args) => work(session, &args),
    }
}

/// A sink, as other programs see it.
#[derive(Serialize)]
struct Line {
    name: String,
    kind: String,
    to: String,
    state: SinkState,
    why: Option<String>,
    failing: bool,
    position: u64,
    lag_events: u64,
    lag_s: u64,
    /// Events a second.
    rate: f64,
    delivered: u64,
    parked: u64,
    accepted_at: Option<String>,
    last_failure: Option<FailureLine>,
    since: Option<String>,
    from: runstone::sinks::Start,
    query: Query,
    fields: Vec<String>,
    advice: Option<String>,
}

#[derive(Serialize)]
struct FailureLine {
    at: Option<String>,
    position: u64,
    code: String,
    why: String,
}

#[derive(Serialize)]
struct ParkedLine {
    position: u64,
    code: String,
    why: String,
    tries: u64,
    at: Option<String>,
}

impl From<SinkFailure> for FailureLine {
    fn from(failure: SinkFailure) -> Self {
        Self {
            at: rfc3339(failure.at_us),
            position: failure.position,
            code: failure.code,
            why: failure.why,
        }
    }
}

impl From<Parked> for ParkedLine {
    fn from(parked: Parked) -> Self {
        Self {
            position: parked.position,
            code: parked.code,
            why: parked.why,
            tries: parked.tries,
            at: rfc3339(parked.at_us),
        }
    }
}

impl From<SinkStatus> for Line {
    fn from(status: SinkStatus) -> Self {
        let advice = status.advice();
        let config = status.config;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is shown, not counted with"
        )]
        let rate = status.rate_milli as f64 / 1_000.0;
        Self {
            kind: config.to.kind().to_owned(),
            to: config.to.place(),
            name: config.name,
            state: status.state,
            why: status.why,
            failing: status.is_failing,
            position: status.position,
            lag_events: status.lag_events,
            lag_s: status.lag_us / SECOND_US,
            rate,
            delivered: status.delivered,
            parked: status.parked,
            accepted_at: status.accepted_at_us.and_then(rfc3339),
            last_failure: status.last_failure.map(Into::into),
            since: rfc3339(status.since_us),
            from: config.from,
            query: config.query,
            fields: config.fields,
            advice,
        }
    }
}

impl Line {
    fn tone(&self) -> Tone {
        match self.state {
            SinkState::Running if self.failing => Tone::Warn,
            SinkState::Running => Tone::Good,
            SinkState::Paused => Tone::Dim,
            _ => Tone::Bad,
        }
    }

    /// How it stands, in a word.
    fn stands(&self) -> &'static str {
        match self.state {
            SinkState::Running if self.failing => "failing",
            state => state.as_str(),
        }
    }

    fn lag(&self) -> String {
        match self.lag_events {
            0 => "none".to_owned(),
            events => format!(
                "{} events, {}",
                count(events),
                duration(self.lag_s.saturating_mul(SECOND_US))
            ),
        }
    }

    fn text(&self, output: &Output) -> String {
        let mut fields = Fields::new(output);
        fields.line("sink", &self.name);
        fields.line("to", format!("{} {}", self.kind, self.to).trim_end());
        fields.toned("state", self.tone(), self.stands());
        fields.line("position", &count(self.position));
        fields.line("lag", &self.lag());
        fields.line("rate", &format!("{:.1} events a second", self.rate));
        fields.line("delivered", &count(self.delivered));
        fields.line("parked", &count(self.parked));
        if !self.fields.is_empty() {
            fields.line("fields", &self.fields.join(", "));
        }
        if let Some(failure) = &self.last_failure {
            let at = failure.at.as_deref().unwrap_or_default();
            let said = format!("{at} {}: {}", failure.code, failure.why);
            fields.toned("last failure", Tone::Warn, &said);
        }
        if let Some(advice) = &self.advice {
            fields.toned("to do", Tone::Bad, advice);
        }
        fields.into_text()
    }
}

fn add(session: &Session, args: AddSinkArgs) -> Result<Exit, Failure> {
    let configs = match &args.config {
        Some(file) => from_toml(&files::read_text(file, MAX_CONFIG_BYTES)?)?,
        None => vec![config_of(args)?],
    };
    for config in configs {
        let (_, line) = session.record(
            |log| Ok(Sinks::new(log).add_blocking(&config)?),
            |log, _| Ok(Line::from(Sinks::new(log).get(&config.name)?)),
        )?;
        session.output.answer(&line, || {
            format!("{} is added: {} {}", line.name, line.kind, line.to)
        })?;
    }
    Ok(Exit::Done)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path).map_err(|error| Report::file(path, &error))?)
}

/// A destination that takes parts of the log, if one is named.
fn parts_of(args: &AddSinkArgs) -> Result<Option<Destination>, Failure> {
    let given = &args.segments;
    let mut segments = SegmentsConfig::default();
    if let Some(events) = given.segment_events {
        segments = segments.events(events);
    }
    if let Some(bytes) = given.segment_bytes {
        segments = segments.bytes(bytes);
    }
    if let Some(seconds) = given.every {
        segments = segments.wait(Duration::from_secs(seconds));
    }
    let payloads = payloads(given.payloads);
    let s3 = S3Config::default()
        .endpoint(args.s3.s3_endpoint.clone())
        .region(args.s3.s3_region.clone());
    if let Some(url) = &args.archive {
        let archive = ArchiveConfig::new(url)
            .payloads(payloads)
            .segments(segments)
            .s3(s3);
        return Ok(Some(Destination::Archive(archive)));
    }
    if let Some(path) = &args.mirror {
        let mirror = MirrorConfig::new(absolute(path)?).payloads(payloads);
        return Ok(Some(Destination::Mirror(mirror.segments(segments))));
    }
    let Some(url) = &args.checkpoints else {
        return Ok(None);
    };
    let mut checkpoints = CheckpointsConfig::new(url).s3(s3);
    if let Some(seconds) = given.every {
        checkpoints = checkpoints.every(Duration::from_secs(seconds));
    }
    Ok(Some(Destination::Checkpoints(checkpoints)))
}

fn payloads(given: Option<PayloadsArg>) -> Payloads {
    match given {
        Some(PayloadsArg::Plain) => Payloads::Plain,
        Some(PayloadsArg::Sealed) | None => Payloads::Sealed,
    }
}

fn secret_file(path: &Path) -> Result<SecretSource, Failure> {
    Ok(SecretSource::File(absolute(path)?))
}

/// Headers and where their values stand.
fn headers(http: &HttpArgs) -> Result<Vec<(String, SecretSource)>, Failure> {
    let named = http.header_env.iter().map(|(header, name)| {
        let source = SecretSource::Env(name.clone());
        Ok((header.clone(), source))
    });
    let filed = http.header_file.iter().map(|(header, file)| {
        let source = secret_file(Path::new(file))?;
        Ok((header.clone(), source))
    });
    named.chain(filed).collect()
}

fn webhook(url: String, signing: SigningArgs, http: &HttpArgs) -> Result<Destination, Failure> {
    let mut config = WebhookConfig::new(url).plain_http(http.plain_http);
    let variables = signing.secret_env.into_iter().map(SecretSource::Env);
    let files = signing.secret_file.iter().map(|file| secret_file(file));
    let files: Result<Vec<_>, _> = files.collect();
    config = config.secrets(variables.chain(files?));
    if signing.structured {
        config = config.mode(WebhookMode::Structured);
    }
    for (header, source) in headers(http)? {
        config = config.header(header, source);
    }
    let ca = http.ca.as_deref().map(absolute).transpose()?;
    Ok(Destination::Webhook(config.ca(ca)))
}

fn otlp(endpoint: String, http: &HttpArgs, said: &Environment) -> Result<Destination, Failure> {
    let ca = http.ca.as_deref().or(said.ca.as_deref());
    let ca = ca.map(absolute).transpose()?;
    let mut config = said.receiver(endpoint, ca.as_deref());
    config = config.plain_http(http.plain_http);
    for (header, source) in headers(http)? {
        config = config.header(header, source);
    }
    Ok(Destination::Otlp(config))
}

fn config_of(args: AddSinkArgs) -> Result<SinkConfig, Failure> {
    let parts = parts_of(&args)?;
    let (is_single, http) = (args.signing.structured, args.http);
    let mut timeout_s = args.how.timeout;
    let to = if let Some(parts) = parts {
        parts
    } else if let Some(path) = args.jsonl {
        Destination::Jsonl(
            JsonlConfig::new(absolute(&path)?)
                .rotate_bytes(args.rotate_bytes)
                .rotate_daily(args.rotate_daily),
        )
    } else if let Some(command) = args.command {
        Destination::command(command.0)
    } else if let Some(url) = args.webhook {
        webhook(url, args.signing, &http)?
    } else if let Some(endpoint) = args.otlp {
        let said = Environment::read()?;
        timeout_s = timeout_s.or(said.timeout_s);
        otlp(endpoint, &http, &said)?
    } else if let Some(kind) = args.custom {
        Destination::custom(kind)
    } else {
        return Err(Report::usage("name where the sink lies").into());
    };
    let mut config = SinkConfig::new(args.name.unwrap_or_default(), to).fields(args.how.fields);
    if let Some(from) = args.how.from {
        config = config.from(from);
    }
    if let Some(query) = args.how.query {
        config = config.query(query);
    }
    if let Some(most) = args.how.batch.or_else(|| is_single.then_some(1)) {
        config = config.batch_events(most);
    }
    if let Some(seconds) = timeout_s {
        config = config.timeout(Duration::from_secs(seconds));
    }
    if let Some(tries) = args.how.tries {
        config = config.tries(tries);
    }
    Ok(config)
}

#[derive(Serialize)]
struct ArchivedRun {
    url: String,
    sha256: String,
    events: u64,
    bytes: u64,
    root: String,
    erased: u64,
    withheld: u64,
}

/// An export of one run, in an archive.
fn archive_run(session: &Session, args: &ArchiveRunArgs) -> Result<Exit, Failure> {
    let mut spool = session.log.as_os_str().to_owned();
    spool.push(".archiving");
    let spool = PathBuf::from(spool);
    let failed = |error: std::io::Error| Report::file(&spool, &error);
    let mut file = files::unnamed(&spool).map_err(failed)?;
    let bar = Progress::events(&session.output, "exporting");
    let written = session.with(Access::Events, |log| {
        let info = log.info();
        if info.sealing == Sealing::Plain && payloads(args.payloads) == Payloads::Sealed {
            let why = "this log is not encrypted, and its content would leave in the clear; say so with --payloads plain";
            return Err(Report::usage(why).into());
        }
        let query = Query::stream(&args.stream);
        if log.count(&query)? == 0 {
            return Err(Report::of(
                Exit::NotFound,
                "run_not_found",
                &runstone::ReadError::NotFound {
                    what: format!("in the stream `{}`", args.stream),
                },
            )
            .into());
        }
        let mut out = std::io::BufWriter::new(&mut file);
        let put =
            |bytes: &[u8]| -> Result<(), Failure> { Ok(out.write_all(bytes).map_err(failed)?) };
        let report = log.export(&query, put, &|done, all| bar.set(done, all))?;
        out.flush().map_err(failed)?;
        Ok::<_, Failure>((info.log_id, report))
    });
    drop(bar);
    let (log_id, report) = written?;
    let of = (args.stream.as_str(), report.events);
    let archived = ArchivedExport::put(&args.url, &S3Config::default(), log_id, of, &mut file)?;
    let answer = ArchivedRun {
        url: archived.url,
        sha256: archived.sha256,
        events: report.events,
        bytes: report.bytes,
        root: base64(&report.root),
        erased: report.erased,
        withheld: report.withheld,
    };
    session.output.answer(&answer, || {
        format!("{}\nsha256 {}", answer.url, answer.sha256)
    })?;
    Ok(Exit::Done)
}

fn change(session: &Session, name: &str, change: SinkChange) -> Result<Exit, Failure> {
    let (_, line) = session.record(
        |log| Ok(Sinks::new(log).change_blocking(name, change)?),
        |log, _| Ok(Line::from(Sinks::new(log).get(name)?)),
    )?;
    session.output.answer(&line, || match change {
        SinkChange::ReplayParked => format!(
            "{name} is given again what it refused: {} events",
            count(line.parked)
        ),
        _ => format!("{name} is {}", line.stands()),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Removed<'a> {
    name: &'a str,
    position: u64,
}

fn remove(session: &Session, name: &str) -> Result<Exit, Failure> {
    let position = session.with(Access::Write, |log| {
        Ok(Sinks::new(log).change_blocking(name, SinkChange::Remove)?)
    })?;
    let removed = Removed {
        name,
        position: position.get(),
    };
    session
        .output
        .answer(&removed, || format!("{name} is removed"))?;
    Ok(Exit::Done)
}

fn list(session: &Session) -> Result<Exit, Failure> {
    let output = &session.output;
    let sinks = session.with(Access::Folds, |log| Ok(Sinks::new(log).list()?))?;
    let lines: Vec<_> = sinks.into_iter().map(Line::from).collect();
    if output.json {
        return each(&lines);
    }
    if lines.is_empty() {
        output.note("the log has no sink");
        return Ok(Exit::Done);
    }
    let columns = [
        ("sink", Align::Left),
        ("kind", Align::Left),
        ("state", Align::Left),
        ("position", Align::Right),
        ("lag", Align::Left),
        ("parked", Align::Right),
        ("to", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    for line in &lines {
        table.row(vec![
            (line.name.clone(), Tone::Plain),
            (line.kind.clone(), Tone::Dim),
            (line.stands().to_owned(), line.tone()),
            (count(line.position), Tone::Plain),
            (line.lag(), Tone::Plain),
            (count(line.parked), Tone::Plain),
            (line.to.clone(), Tone::Dim),
        ]);
    }
    Output::text(&format!("{}\n", table.text()))?;
    Ok(Exit::Done)
}

fn each<T: Serialize>(lines: &[T]) -> Result<Exit, Failure> {
    let mut results = Output::results();
    for line in lines {
        results.json(line)?;
    }
    results.flush()?;
    Ok(Exit::Done)
}

fn status(session: &Session, args: &SinkStatusArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    let name = &args.name;
    if args.failures {
        let found = session.with(Access::Folds, |log| Ok(Sinks::new(log).failures(name)?))?;
        let lines: Vec<FailureLine> = found.into_iter().map(Into::into).collect();
        return told(&lines, "it never failed", output, |line| {
            let at = line.at.as_deref().unwrap_or_default();
            format!("{at}  {:>9}  {}: {}", line.position, line.code, line.why)
        });
    }
    if args.parked {
        let found = session.with(Access::Folds, |log| Ok(Sinks::new(log).parked(name)?))?;
        let lines: Vec<ParkedLine> = found.into_iter().map(Into::into).collect();
        return told(&lines, "nothing is parked", output, |line| {
            let (position, tries) = (line.position, line.tries);
            format!("{position:>9}  {tries} tries  {}: {}", line.code, line.why)
        });
    }
    let line = session.with(Access::Folds, |log| {
        Ok(Line::from(Sinks::new(log).get(name)?))
    })?;
    output.answer(&line, || line.text(output))?;
    Ok(match line.state {
        SinkState::Stopped => Exit::No,
        _ => Exit::Done,
    })
}

fn told<T: Serialize>(
    lines: &[T],
    none: &str,
    output: &Output,
    text: impl Fn(&T) -> String,
) -> Result<Exit, Failure> {
    if output.json {
        return each(lines);
    }
    if lines.is_empty() {
        output.note(none);
    }
    let mut results = Output::results();
    for line in lines {
        results.line(&crate::output::printable(&text(line)))?;
    }
    results.flush()?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Working<'a> {
    log: &'a Path,
    sinks: usize,
}

/// Runs the sinks of a log that nobody holds.
fn work(session: &Session, args: &RunSinksArgs) -> Result<Exit, Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Report::of(Exit::Storage, "internal", &error))?;
    let log = session.open_file(Access::Write)?;
    let log = Runstone::serve(log, &session.log, Limits::default())?;
    let log = log.run_sinks(RunOptions::default().at_once(args.until_caught_up))?;
    if args.until_caught_up {
        wait(&log, &mut signals, &session.output)?;
    } else {
        let working = Working {
            log: &session.log,
            sinks: log.sinks().list()?.len(),
        };
        session.output.answer(&working, || {
            format!(
                "the sinks of {} run; end it with ctrl-c",
                session.log.display()
            )
        })?;
        signals.forever().next();
    }
    let sinks = log.sinks().list()?;
    log.close_blocking()?;
    let is_stopped = sinks.iter().any(|sink| sink.state == SinkState::Stopped);
    if args.until_caught_up {
        let lines: Vec<_> = sinks.into_iter().map(Line::from).collect();
        told(&lines, "the log has no sink", &session.output, |line| {
            let advice = line.advice.as_deref().unwrap_or_else(|| line.stands());
            format!("{}  {}  {advice}", line.name, count(line.position))
        })?;
    }
    Ok(if is_stopped { Exit::No } else { Exit::Done })
}

/// Waits until every sink has what the log holds now, or somebody ends it, and says meanwhile what is tried
/// again and why: a place that is not there may be waited for for ever.
fn wait(log: &Runstone, signals: &mut Signals, output: &Output) -> Result<(), Failure> {
    let size = log.durable_size();
    let (tell, caught_up) = mpsc::channel();
    let of = log.clone();
    std::thread::spawn(move || {
        if let Some(runner) = of.runner() {
            runner.caught_up_blocking(size);
        }
        // Whoever waited may be gone.
        let _ = tell.send(());
    });
    let mut told = BTreeSet::new();
    while signals.pending().next().is_none()
        && caught_up.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout)
    {
        for sink in log.sinks().list()? {
            let failure = sink.last_failure.filter(|_| sink.is_failing);
            if let Some(failure) = failure
                && told.insert((sink.config.name.clone(), failure.code.clone()))
            {
                let (name, why) = (&sink.config.name, &failure.why);
                let text = format!("sink `{name}` is tried again: {why}; ctrl-c ends the wait");
                output.warn(&failure.code, &text);
            }
        }
    }
    Ok(())
}
