//! The streams of a recording, and which of its records belong to which.

use std::collections::BTreeMap;

use crate::format::Format;
use crate::records::Records;
use crate::reject::RejectReason;

/// Longest name of a session or a sub-agent.
const MAX_NAME_BYTES: usize = 80;

/// Uuids tell records apart whatever stream they are in.
const ANY_STREAM: &str = "";

/// Number of a stream within a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId(usize);

/// The streams of a recording.
#[derive(Debug)]
pub(super) struct Streams {
    prefix: String,
    list: Vec<Stream>,
    by_name: BTreeMap<String, StreamId>,
    /// The records, with the streams of those that have a uuid.
    records: Records<StreamId>,
    max: usize,
}

#[derive(Debug)]
struct Stream {
    name: String,
    session: StreamId,
    begun: bool,
}

impl Streams {
    pub(super) fn new(prefix: String, max: usize) -> Self {
        Self {
            prefix,
            list: Vec::new(),
            by_name: BTreeMap::new(),
            records: Records::new(max),
            max,
        }
    }

    /// The stream of a session.
    pub(super) fn session_named(&mut self, session: &str) -> Result<StreamId, RejectReason> {
        check(session, "sessionId")?;
        Ok(self.named(
            format!("{}{}/{session}", self.prefix, Format::ClaudeCode),
            None,
        ))
    }

    /// The stream of a sub-agent.
    pub(super) fn agent(
        &mut self,
        session: StreamId,
        agent: &str,
    ) -> Result<StreamId, RejectReason> {
        check(agent, "agentId")?;
        Ok(self.named(
            format!("{}/agent-{agent}", self.name(session)),
            Some(session),
        ))
    }

    fn named(&mut self, name: String, session: Option<StreamId>) -> StreamId {
        if let Some(known) = self.by_name.get(&name) {
            return *known;
        }
        let id = StreamId(self.list.len());
        self.by_name.insert(name.clone(), id);
        self.list.push(Stream {
            name,
            session: session.unwrap_or(id),
            begun: false,
        });
        id
    }

    pub(super) fn name(&self, stream: StreamId) -> &str {
        self.list.get(stream.0).map_or("", |stream| &stream.name)
    }

    /// The session of a stream: itself, unless it is a sub-agent's.
    pub(super) fn session(&self, stream: StreamId) -> StreamId {
        self.list
            .get(stream.0)
            .map_or(stream, |stream| stream.session)
    }

    pub(super) fn is_agent(&self, stream: StreamId) -> bool {
        self.session(stream) != stream
    }

    /// Notes that a stream begins. Answers whether it had not begun before.
    pub(super) fn begin(&mut self, stream: StreamId) -> bool {
        let Some(stream) = self.list.get_mut(stream.0) else {
            return false;
        };
        !std::mem::replace(&mut stream.begun, true)
    }

    /// Notes a record. Answers its identity; none if uuid and bytes were there before.
    pub(super) fn see(
        &mut self,
        uuid: Option<&str>,
        text: &str,
        stream: StreamId,
    ) -> Result<Option<String>, RejectReason> {
        if self.list.len() > self.max {
            return Err(RejectReason::TooManyRecords { max: self.max });
        }
        let scope = match uuid {
            Some(_) => ANY_STREAM,
            None => self.list.get(stream.0).map_or(ANY_STREAM, |one| &one.name),
        };
        self.records
            .identity(scope, uuid.map(uuid_record), text, stream)
    }

    /// The stream of the record with this uuid.
    pub(super) fn of_uuid(&self, uuid: &str) -> Option<StreamId> {
        self.records.get(ANY_STREAM, &uuid_record(uuid))
    }

    /// The stream within which the record with this uuid is unique: its session's, which is
    /// `session` unless the recording says otherwise.
    pub(super) fn domain_of(&self, uuid: &str, session: StreamId) -> &str {
        self.name(
            self.of_uuid(uuid)
                .map_or(session, |stream| self.session(stream)),
        )
    }
}

fn check(name: &str, field: &'static str) -> Result<(), RejectReason> {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    let expected = "a name of 1 to 80 bytes without control characters";
    if fits {
        Ok(())
    } else {
        Err(RejectReason::WrongType { field, expected })
    }
}

/// The identity of a record that has a uuid.
pub(super) fn uuid_record(uuid: &str) -> String {
    format!("uuid:{uuid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart() {
        let mut streams = Streams::new("p/".to_owned(), 9);
        let session = streams.session_named("s").unwrap();
        let agent = streams.agent(session, "a").unwrap();
        assert_eq!(streams.name(agent), "p/claude-code/s/agent-a");
        assert!(streams.is_agent(agent) && !streams.is_agent(session));
        assert_eq!(streams.agent(session, "a").unwrap(), agent);
        let mut see = |uuid, text| streams.see(uuid, text, agent).unwrap();
        assert_eq!(see(Some("u"), "1").unwrap(), "uuid:u");
        assert_eq!(see(Some("u"), "1"), None);
        assert!(see(Some("u"), "2").unwrap().starts_with("uuid:u:"));
        assert!(see(None, "1").unwrap().ends_with(":0"));
        assert_eq!(streams.of_uuid("u"), Some(agent));
        assert_eq!(streams.domain_of("u", agent), "p/claude-code/s");
        assert!(streams.begin(agent) && !streams.begin(agent));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut streams = Streams::new(String::new(), 2);
        let session = streams.session_named("s").unwrap();
        assert!(streams.see(Some("1"), "1", session).is_ok());
        assert!(streams.see(Some("2"), "2", session).is_ok());
        assert_eq!(
            streams.see(Some("3"), "3", session),
            Err(RejectReason::TooManyRecords { max: 2 })
        );
        assert!(streams.session_named("").is_err());
        assert!(streams.session_named(&"x".repeat(81)).is_err());
        assert!(streams.agent(session, "a\n").is_err());
    }
}
