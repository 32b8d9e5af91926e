//! How far long work is, and in the end what is answered: server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), each of one line of data.
//!
//! ```text
//! event: progress   data: {"done":512,"all":4096}    now and then
//! : at work                                          a comment, where nothing was told for a while
//! event: answer     data: the answer                 last, or
//! event: refusal    data: why not                    last
//! ```

use hyper::body::{Bytes, Incoming};
use runstone_store::holder::{Lost, Progress, Reply, Telling, Written};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// What a client accepts that wants to know how far it is.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
/// What a client accepts that reads packed pages.
pub(crate) const CBOR: &str = "application/cbor";
/// Names of events.
pub(crate) const PROGRESS: &str = "progress";
pub(crate) const ANSWER: &str = "answer";
pub(crate) const REFUSAL: &str = "refusal";
/// Says nothing, but that somebody is there to say it.
pub(crate) const AT_WORK: &[u8] = b": at work\n\n";
/// Bytes of one event, at most.
const EVENT_BYTES: usize = 64 << 20;

/// An event, of data on one line.
pub(crate) fn event(name: &str, data: &[u8]) -> Vec<u8> {
    let head = format!("event: {name}\ndata: ");
    [head.as_bytes(), data, b"\n\n"].concat()
}

/// What was heard of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// The newest.
    progress: Option<Progress>,
    reply: Option<Reply>,
}

/// Hears events as their bytes come. What it does not know it passes over.
#[derive(Debug, Default)]
struct Hearing {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
}

impl Hearing {
    /// `None` if an event is too long.
    fn hear(&mut self, bytes: &[u8]) -> Option<Heard> {
        let mut heard = Heard::default();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.data.len() + part.len() > EVENT_BYTES {
                return None;
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.line_ended(&mut heard);
            }
        }
        Some(heard)
    }

    fn line_ended(&mut self, heard: &mut Heard) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.event_ended(heard);
        } else if let Some(name) = line.strip_prefix(b"event: ") {
            self.name = name.to_vec();
        } else if let Some(data) = line.strip_prefix(b"data: ") {
            self.data = data.to_vec();
        }
    }

    fn event_ended(&mut self, heard: &mut Heard) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if heard.reply.is_some() {
            // Nothing that comes after the reply counts.
        } else if name == PROGRESS.as_bytes() {
            // What cannot be read says nothing.
            heard.progress = serde_json::from_slice(&data).ok().or(heard.progress);
        } else if name == ANSWER.as_bytes() {
            heard.reply = Some(Reply::Answer(Written::Json(data)));
        } else if name == REFUSAL.as_bytes() {
            heard.reply = Some(Reply::Refusal(data));
        }
    }
}

/// Whoever waits for an answer, and whether there is more of it.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Wants to know how far it is.
    pub(crate) telling: Option<Telling>,
    further: Notify,
}

impl Waiting {
    pub(crate) fn of(telling: Option<Telling>) -> Self {
        Self {
            telling,
            further: Notify::new(),
        }
    }

    /// Waits for an answer as long as something comes now and then; `None` if for so long nothing did.
    pub(crate) async fn answer<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let mut answer = pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                () = self.further.notified() => {}
                () = sleep(limit) => return None,
            }
        }
    }

    /// Tells how far it is until there is a reply.
    pub(crate) async fn hear(&self, mut body: Incoming) -> Result<Reply, Lost> {
        use http_body_util::BodyExt as _;
        let lost = |why: String| Lost { is_sent: true, why };
        let mut hearing = Hearing::default();
        while let Some(frame) = body.frame().await {
            let bytes: Option<Bytes> = frame
                .map_err(|error| lost(error.to_string()))?
                .into_data()
                .ok();
            let Some(bytes) = bytes else {
                continue;
            };
            let heard = hearing.hear(&bytes);
            let heard = heard.ok_or_else(|| lost("an event is too long".to_owned()))?;
            // Also where nothing is further: whoever says so is there.
            self.further.notify_one();
            if let (Some(telling), Some(now)) = (&self.telling, heard.progress) {
                telling.tell(now);
            }
            // Whatever becomes of the connection then, this was the whole of it.
            if let Some(reply) = heard.reply {
                return Ok(reply);
            }
        }
        Err(lost("the answer ended early".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, all: u64) -> Progress {
        Progress { done, all }
    }

    fn heard(bytes: &[u8]) -> Heard {
        Hearing::default().hear(bytes).unwrap_or_default()
    }

    #[test]
    fn events_are_heard_however_their_bytes_come() {
        let bytes = [
            event(PROGRESS, br#"{"done":1,"all":9}"#),
            event(PROGRESS, br#"{"done":2,"all":9}"#),
            event(ANSWER, br#"{"valid":true}"#),
        ]
        .concat();
        let answer = Written::Json(br#"{"valid":true}"#.to_vec());
        let reply = Some(Reply::Answer(answer));
        for size in 1..=bytes.len() {
            let mut hearing = Hearing::default();
            let mut all = Heard::default();
            for part in bytes.chunks(size) {
                let heard = hearing.hear(part).unwrap_or_default();
                all.progress = heard.progress.or(all.progress);
                all.reply = heard.reply.or(all.reply);
            }
            assert_eq!(all.progress, Some(progress(2, 9)), "by {size}");
            assert_eq!(all.reply, reply, "by {size}");
        }
        let refused = event(REFUSAL, b"{}");
        assert_eq!(heard(&refused).reply, Some(Reply::Refusal(b"{}".to_vec())));
        let late = [
            &bytes,
            &refused[..],
            &event(PROGRESS, br#"{"done":3,"all":9}"#),
        ]
        .concat();
        let late = heard(&late);
        assert_eq!((late.progress, late.reply), (Some(progress(2, 9)), reply));
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        for unknown in [
            &b"event: weather\ndata: {\"done\":1,\"all\":2}\n\n"[..],
            b"event: progress\ndata: [\n\n",
            b"event: progress\ndata: {\"done\":-1,\"all\":2}\n\n",
            b"event: progress\n\n",
            b"data: {\"done\":1,\"all\":2}\n\n",
            b": a comment\n\nid: 7\nretry: 1\n\n\n\n\0\xff\n\n",
        ] {
            assert_eq!(heard(unknown), Heard::default(), "{unknown:?}");
            let known = [unknown, &event(PROGRESS, b"{\"done\":3,\"all\":4}")].concat();
            assert_eq!(heard(&known).progress, Some(progress(3, 4)), "{unknown:?}");
        }
        // An event that is cut off is none.
        assert_eq!(heard(b"event: answer\ndata: {}\n"), Heard::default());
        // Other line breaks, and members that come later.
        let later = b"event: progress\r\ndata: {\"done\":5,\"all\":6,\"of\":\"events\"}\r\n\r\n";
        assert_eq!(heard(later).progress, Some(progress(5, 6)));
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut hearing = Hearing::default();
        let part = vec![b'x'; 1 << 20];
        let taken = (0..100).take_while(|_| hearing.hear(&part).is_some());
        assert_eq!(taken.count(), EVENT_BYTES >> 20);
    }
}
