//! Arguments of sinks.

use super::command_line::{self, CommandLine};
use super::values::parse_whole;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use runstone::Query;
use runstone::sinks::Start;
use std::fmt::Write as _;
use std::path::PathBuf;

const SINKS: &str = "A sink gets copies of events, as far as its configuration lets them out: headers, and members of \
content that are named. Which sinks a log has is recorded in it. Whoever holds the log runs them: a runtime, runstone \
serve, or runstone sink run. Each goes on where it was; what is out of reach is tried again for ever, and what a sink \
refuses for itself is parked.

What is not given with --otlp is read from OTEL_EXPORTER_OTLP_ENDPOINT, _CERTIFICATE and _TIMEOUT, and from \
OTEL_SERVICE_NAME, when the sink is added. OTEL_EXPORTER_OTLP_HEADERS is recorded by name, and read by whoever holds the \
log.

Exit codes: 1 the sink stopped and needs somebody; 3 there is a sink of that name; 5 there is none.

With --json each sink is one line: name, kind, to, state, why, failing, position, lag_events, lag_s, rate, delivered, \
parked, accepted_at, last_failure, since, from, query, fields, advice.";

/// Copies of events for others: files, commands, and what a program brings
#[derive(Debug, Subcommand)]
#[command(after_long_help = SINKS)]
pub(crate) enum SinkCommand {
    Add(Box<AddSinkArgs>),
    /// List the sinks
    List,
    Status(SinkStatusArgs),
    /// Give a sink nothing until it is resumed
    Pause(SinkName),
    /// Let a sink go on where it was
    Resume(SinkName),
    /// Give a sink once more what it refused
    ReplayParked(SinkName),
    /// Remove a sink; what it has stays there
    Remove(SinkName),
    Archive(ArchiveRunArgs),
    Run(RunSinksArgs),
}

/// A sink.
#[derive(Debug, Args)]
pub(crate) struct SinkName {
    /// Its name
    pub(crate) name: String,
}

/// Add a sink, or those of a file
#[derive(Debug, Args)]
#[command(after_long_help = SINKS)]
#[command(group(ArgGroup::new("destination").required(true).args(["jsonl", "command", "webhook", "otlp", "archive", "mirror", "checkpoints", "custom", "config"])))]
pub(crate) struct AddSinkArgs {
    /// Its name: lower-case letters, digits, _ and -
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub(crate) name: Option<String>,
    /// A file of lines, one an event
    #[arg(long, value_name = "FILE")]
    pub(crate) jsonl: Option<PathBuf>,
    /// A command that reads lines on its standard input, begun for each batch. Words as a shell splits
    /// them, or a JSON array; no shell is run. It ends with 0 if it took everything, with 65 if it
    /// refuses what it read, with 77 if its credentials were refused, and with 78 if it needs somebody
    #[arg(long, value_name = "WORDS", value_parser = command_line::parse)]
    pub(crate) command: Option<CommandLine>,
    /// A place that takes events as CloudEvents 1.0, by HTTP POST
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// A place that takes spans and log records over OTLP/HTTP, without v1/traces [default: as the
    /// environment says]
    #[arg(long, value_name = "ENDPOINT", num_args = 0..=1, default_missing_value = "")]
    pub(crate) otlp: Option<String>,
    /// An archive: write-once segments of the log in a folder, or in a bucket of S3, which is named
    /// as s3: URL; runstone load reads them
    #[arg(long, value_name = "URL", value_parser = parse_place)]
    pub(crate) archive: Option<String>,
    /// Another file with the same log: a replica
    #[arg(long, value_name = "FILE")]
    pub(crate) mirror: Option<PathBuf>,
    /// Signed checkpoints alone, in a folder or a bucket of S3
    #[arg(long, value_name = "URL", value_parser = parse_place)]
    pub(crate) checkpoints: Option<String>,
    /// A kind that the program brings which holds the log
    #[arg(long, value_name = "KIND")]
    pub(crate) custom: Option<String>,
    /// The sinks that this TOML file names, a table [[sink]] each; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) how: How,
    #[command(flatten)]
    pub(crate) segments: SegmentArgs,
    #[command(flatten)]
    pub(crate) s3: S3Args,
    #[command(flatten)]
    pub(crate) signing: SigningArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    /// Put the file aside once it has so many bytes
    #[arg(long, value_name = "BYTES", value_parser = parse_whole::<u64>, conflicts_with_all = ["command", "webhook", "otlp", "archive", "mirror", "checkpoints", "custom", "config"])]
    pub(crate) rotate_bytes: Option<u64>,
    /// Put the file aside after each day of UTC
    #[arg(long, conflicts_with_all = ["command", "webhook", "otlp", "archive", "mirror", "checkpoints", "custom", "config"])]
    pub(crate) rotate_daily: bool,
}

/// How a webhook posts.
#[derive(Debug, Args)]
#[group(conflicts_with_all = ["jsonl", "command", "otlp", "archive", "mirror", "checkpoints", "custom", "config"])]
pub(crate) struct SigningArgs {
    /// Sign with the secret in this variable of the environment of whoever holds the log: whsec_ and
    /// base64. May be given twice, while one takes the place of the other
    #[arg(long, value_name = "NAME")]
    pub(crate) secret_env: Vec<String>,
    /// Sign with the secret in this file, which its owner alone may read
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Vec<PathBuf>,
    /// Post one event a request instead of a batch
    #[arg(long, conflicts_with = "batch")]
    pub(crate) structured: bool,
}

/// How a place is reached over HTTP.
#[derive(Debug, Args)]
#[group(conflicts_with_all = ["jsonl", "command", "archive", "mirror", "checkpoints", "custom", "config"])]
pub(crate) struct HttpArgs {
    /// Send this header, as Authorization, with what a variable of the environment of whoever holds
    /// the log has: the whole value
    #[arg(long, value_name = "HEADER=NAME", value_parser = parse_header)]
    pub(crate) header_env: Vec<(String, String)>,
    /// Send this header with what a file has, which its owner alone may read
    #[arg(long, value_name = "HEADER=FILE", value_parser = parse_header)]
    pub(crate) header_file: Vec<(String, String)>,
    /// Trust the certificates of this file (PEM) too
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Let http:// lead off this machine, where everybody on the way reads what it carries
    #[arg(long)]
    pub(crate) plain_http: bool,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (header, place) = text
        .split_once('=')
        .ok_or_else(|| "it is a header, = and where its value stands".to_owned())?;
    Ok((header.to_owned(), place.to_owned()))
}

/// How an archive or a mirror is fed.
#[derive(Debug, Args)]
pub(crate) struct SegmentArgs {
    /// Let content leave in the clear, if the log is not encrypted [default: sealed]
    #[arg(long, value_name = "HOW", conflicts_with_all = ["jsonl", "command", "webhook", "otlp", "checkpoints", "custom", "config"])]
    pub(crate) payloads: Option<PayloadsArg>,
    /// Most events of a segment [default: 65536]
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>, conflicts_with_all = ["jsonl", "command", "webhook", "otlp", "checkpoints", "custom", "config"])]
    pub(crate) segment_events: Option<u64>,
    /// Bytes after which a segment ends [default: 8388608]
    #[arg(long, value_name = "BYTES", value_parser = parse_whole::<u64>, conflicts_with_all = ["jsonl", "command", "webhook", "otlp", "checkpoints", "custom", "config"])]
    pub(crate) segment_bytes: Option<u64>,
    /// Seconds that an event waits for others [default: 300; a mirror 10, checkpoints 60]
    #[arg(long, value_name = "SECONDS", value_parser = parse_whole::<u64>, conflicts_with_all = ["jsonl", "command", "webhook", "otlp", "custom", "config"])]
    pub(crate) every: Option<u64>,
}

/// Which S3-compatible store, if it is not that of AWS.
#[derive(Debug, Args)]
pub(crate) struct S3Args {
    /// Where an S3-compatible store is; plain HTTP on this machine alone. Credentials are those of the
    /// usual AWS variables of whoever holds the log, or named in a file of --config
    #[arg(long, value_name = "URL", conflicts_with_all = ["jsonl", "command", "webhook", "otlp", "mirror", "custom", "config"])]
    pub(crate) s3_endpoint: Option<String>,
    /// Its region [default: that of the environment]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["jsonl", "command", "webhook", "otlp", "mirror", "custom", "config"])]
    pub(crate) s3_region: Option<String>,
}

/// Which content goes with segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PayloadsArg {
    /// Sealed content alone
    Sealed,
    /// Content in the clear too
    Plain,
}

/// Put one run into an archive: an export with the content of its events, written once
///
/// Its name has its digest, so the same export again is there already. A log that is not encrypted
/// takes --payloads plain. runstone load reads it, from a copy of the file.
///
/// With --json: url, sha256, events, bytes, root, erased, withheld.
#[derive(Debug, Args)]
pub(crate) struct ArchiveRunArgs {
    /// The stream of the run
    pub(crate) stream: String,
    /// Where it goes: a folder, or a bucket of S3 as s3: URL
    #[arg(value_parser = parse_place)]
    pub(crate) url: String,
    /// Let content leave in the clear, if the log is not encrypted [default: sealed]
    #[arg(long, value_name = "HOW")]
    pub(crate) payloads: Option<PayloadsArg>,
}

/// A folder is a place too.
fn parse_place(text: &str) -> Result<String, String> {
    place_of(text).map_err(|error| error.to_string())
}

/// The URL of a place that is named as a URL or as a folder.
pub(crate) fn place_of(text: &str) -> std::io::Result<String> {
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    let path = std::path::absolute(text)?;
    let mut url = "file://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => url.push(char::from(*byte)),
            byte => {
                // A string takes everything.
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    Ok(url)
}

/// What a sink gets, and how.
#[derive(Debug, Args)]
#[group(conflicts_with = "config")]
pub(crate) struct How {
    /// Where it begins: beginning, now, or a position [default: beginning]
    #[arg(long, value_name = "WHERE")]
    pub(crate) from: Option<Start>,
    /// Which events it gets [default: all]
    #[arg(long, value_name = "QUERY")]
    pub(crate) query: Option<Query>,
    /// Let this member of content out; may be given more than once [default: none]
    #[arg(long = "field", value_name = "NAME")]
    pub(crate) fields: Vec<String>,
    /// Most events that it is given at once [default: 512]
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>)]
    pub(crate) batch: Option<u64>,
    /// Seconds that it has for what it is given [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = parse_whole::<u64>)]
    pub(crate) timeout: Option<u64>,
    /// How often an event that it refuses is tried before it is parked [default: 5]
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>)]
    pub(crate) tries: Option<u64>,
}

/// Show how a sink stands
#[derive(Debug, Args)]
#[command(after_long_help = SINKS)]
pub(crate) struct SinkStatusArgs {
    /// Its name
    pub(crate) name: String,
    /// Its last thousand failures instead
    #[arg(long, conflicts_with = "parked")]
    pub(crate) failures: bool,
    /// The events that it refused instead
    #[arg(long)]
    pub(crate) parked: bool,
}

/// Hold the log and run its sinks, until ctrl-c or SIGTERM
#[derive(Debug, Args)]
#[command(after_long_help = SINKS)]
pub(crate) struct RunSinksArgs {
    /// End when every sink that runs has what the log had at the beginning
    #[arg(long)]
    pub(crate) until_caught_up: bool,
}
