//! What every contender is given: the same events, the same conditions.

use runstone::Uuid;
use runstone::codec::Draft;

/// An event as all contenders can hold it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "as in Runstone's header")]
pub(crate) struct Event {
    /// The run. Stores without streams take it as a tag.
    pub(crate) stream: String,
    pub(crate) event_type: String,
    pub(crate) tags: Vec<String>,
    /// Given by recordings only; Runstone mints one where there is none.
    pub(crate) id: Option<Uuid>,
    /// What else a recording says about an event: source, times, causes.
    pub(crate) meta: Vec<(String, String)>,
    pub(crate) payload: Vec<u8>,
}

impl Event {
    /// The claim of a call and its outcome, with arguments and result of 256 bytes, as types that
    /// anybody may append.
    pub(crate) fn of_call(key: &str) -> [Self; 2] {
        ["tool.claimed", "tool.completed"].map(|event_type| Self {
            stream: "run-1".to_owned(),
            event_type: event_type.to_owned(),
            tags: vec![format!("effect:{key}")],
            id: None,
            meta: Vec::new(),
            payload: call_payload(key),
        })
    }

    /// An event of a recording, with everything that is said about it.
    pub(crate) fn of_draft(draft: Draft) -> Self {
        let event = draft.event;
        let said = [
            ("source", Some(event.source)),
            ("occurred_at", event.occurred_at_us.map(|at| at.to_string())),
            ("causation", event.causation.map(|id| id.to_string())),
            ("correlation", event.correlation.map(|id| id.to_string())),
        ];
        let said = said.into_iter();
        Self {
            stream: event.stream,
            event_type: event.event_type,
            tags: event.tags,
            id: event.event_id,
            meta: said
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect(),
            payload: event.payload,
        }
    }

    /// The tags of stores without streams.
    pub(crate) fn all_tags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.stream.as_str()).chain(self.tags.iter().map(String::as_str))
    }
}

/// Fails a request if it is so.
#[derive(Clone, Debug)]
pub(crate) enum Unless {
    /// Any event with this tag.
    Tag(String),
    /// An event of this type after this many events.
    TypeAfter { event_type: String, after: u64 },
    /// The last event of a stream is not of this revision.
    Moved { stream: String, revision: u64 },
}

/// Events that are recorded together or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) events: Vec<Event>,
    pub(crate) unless: Option<Unless>,
}

impl Request {
    pub(crate) fn new(events: Vec<Event>) -> Self {
        Self {
            events,
            unless: None,
        }
    }

    pub(crate) fn unless(mut self, unless: Unless) -> Self {
        self.unless = Some(unless);
        self
    }
}

/// Distinct payloads that a [`Synthetic`] repeats.
const PAYLOADS: usize = 64;
/// Events of one synthetic run.
pub(crate) const RUN_EVENTS: u64 = 60;
/// Synthetic runs that go on side by side.
const RUNS_AT_ONCE: u64 = 64;
/// The type of the first few events of a synthetic log, and of no others.
pub(crate) const RARE: &str = "data.rare";
const RARE_EVENTS: u64 = 10;
const TYPES: [&str; 3] = ["chat.message", "tool.call.requested", "tool.call.completed"];

/// Makes synthetic events.
#[derive(Clone, Debug)]
pub(crate) struct Synthetic {
    payloads: Vec<Vec<u8>>,
}

impl Synthetic {
    /// Payloads of `bytes` random letters and digits in a JSON object: hardly compressible.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut random = Random::new(bytes as u64);
        let text = |random: &mut Random| {
            let mut payload = br#"{"d":""#.to_vec();
            payload
                .extend(std::iter::repeat_with(|| random.letter()).take(bytes.saturating_sub(8)));
            payload.extend_from_slice(br#""}"#);
            payload
        };
        Self {
            payloads: (0..PAYLOADS).map(|_| text(&mut random)).collect(),
        }
    }

    /// These payloads, in turn.
    pub(crate) fn of(payloads: Vec<Vec<u8>>) -> Self {
        Self { payloads }
    }

    fn event(&self, number: u64, stream: String, event_type: &str, tag: String) -> Event {
        let count = self.payloads.len().max(1) as u64;
        let at = usize::try_from(number % count).unwrap_or_default();
        Event {
            stream,
            event_type: event_type.to_owned(),
            tags: vec![tag],
            id: None,
            meta: Vec::new(),
            payload: self.payloads.get(at).cloned().unwrap_or_default(),
        }
    }

    /// The event `number` of a client that writes one run after the other. Its tag is of no other
    /// event.
    pub(crate) fn of_client(&self, client: usize, number: u64) -> Event {
        let stream = format!("run-{client}-{}", number / RUN_EVENTS);
        let event_type = type_of(number);
        self.event(
            number,
            stream,
            event_type,
            format!("order:{client}-{number}"),
        )
    }

    /// The event `number` of a log in which many runs go on side by side.
    pub(crate) fn of_log(&self, number: u64) -> Event {
        let block = number / (RUN_EVENTS * RUNS_AT_ONCE);
        let run = block * RUNS_AT_ONCE + number % RUNS_AT_ONCE;
        let event_type = if number < RARE_EVENTS {
            RARE
        } else {
            type_of(number / RUNS_AT_ONCE)
        };
        self.event(number, run_name(run), event_type, format!("order:{number}"))
    }

    /// The event `number` of a log, in a stream of this name.
    pub(crate) fn of_stream(&self, stream: &str, number: u64) -> Event {
        let tag = format!("order:{number}");
        self.event(number, stream.to_owned(), type_of(number), tag)
    }
}

fn type_of(number: u64) -> &'static str {
    match number % 3 {
        0 => TYPES[0],
        1 => TYPES[1],
        _ => TYPES[2],
    }
}

/// The name of a run of [`Synthetic::of_log`].
pub(crate) fn run_name(run: u64) -> String {
    format!("run-{run}")
}

/// Whole runs in the first `events` events of [`Synthetic::of_log`].
pub(crate) fn whole_runs(events: u64) -> u64 {
    events / (RUN_EVENTS * RUNS_AT_ONCE) * RUNS_AT_ONCE
}

/// Splitmix64: the same numbers in every run.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// So many bytes of these numbers.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            for (byte, number) in part.iter_mut().zip(number) {
                *byte = number;
            }
        }
    }

    fn letter(&mut self) -> u8 {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = usize::try_from(self.next() % 64).unwrap_or_default();
        LETTERS.get(at).copied().unwrap_or(b'-')
    }
}

/// Arguments, or the result, of a call: 256 bytes of JSON.
pub(crate) fn call_payload(key: &str) -> Vec<u8> {
    let filler = "x".repeat(240_usize.saturating_sub(key.len()));
    format!(r#"{{"key":"{key}","d":"{filler}"}}"#).into_bytes()
}
