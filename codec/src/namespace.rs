//! Which event types belong to the log's own commands.
//!
//! The first segment of a type is its namespace. Owned namespaces are written by commands only; a
//! caller's raw append is refused there, so that a transcript cannot forge an order, a vote or a
//! spend. Every other namespace is free.

use crate::event::{DEFAULT_SCOPE, LOG_SCOPE};

/// The namespaces that only commands write, sorted.
pub const OWNED: [&str; 15] = [
    "agent", "approval", "budget", "effect", "llm", "log", "message", "receipt", "run", "session",
    "sink", "step", "task", "tray", "verdict",
];

/// Key of the tag of what was recorded elsewhere.
pub const IMPORTED: &str = "imported";

/// The log's own evidence: sorted types whose payload is never sealed, so that it reads without
/// keys. They carry pseudonyms and codes only.
pub const EVIDENCE: [&str; 8] = [
    "log.disclosed",
    "log.encryption_required",
    "log.epoch_started",
    "log.erasure_completed",
    "log.erasure_requested",
    "log.genesis",
    "log.key_rotated",
    "log.principal_added",
];

/// What a stream takes that commands write, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedStream<'a> {
    /// Namespaces of its events.
    pub namespaces: &'static [&'static str],
    /// Its scope; `None`: that of its first event.
    pub scope: Option<&'a str>,
}

impl OwnedStream<'_> {
    /// Whether events of this type stand there.
    pub fn takes(&self, event_type: &str) -> bool {
        self.namespaces.contains(&of(event_type))
    }
}

/// What the stream of this name takes if commands write it; `None` for any other, which takes
/// everything. A stream has the scope of its first event, so whoever might append that first would
/// say in which scope commands record.
pub fn owned_stream(name: &str) -> Option<OwnedStream<'_>> {
    let owned = |namespaces, scope| Some(OwnedStream { namespaces, scope });
    match name {
        "budgets" => return owned(&["budget"], Some(DEFAULT_SCOPE)),
        "messages" => return owned(&["message"], Some(DEFAULT_SCOPE)),
        "sinks" => return owned(&["sink"], Some(LOG_SCOPE)),
        "tasks" => return owned(&["task"], Some(DEFAULT_SCOPE)),
        _ => {}
    }
    if let Some(scope) = name.strip_prefix("budgets/") {
        return owned(&["budget"], Some(scope));
    }
    match name.split_once(':') {
        Some(("agent", _)) => owned(&["agent", "message"], Some(DEFAULT_SCOPE)),
        Some(("tray", _)) => owned(&["task", "tray"], None),
        _ => None,
    }
}

/// The namespace of a type: its first segment.
pub fn of(event_type: &str) -> &str {
    let dot = event_type.bytes().position(|byte| byte == b'.');
    dot.and_then(|dot| event_type.get(..dot))
        .unwrap_or(event_type)
}

/// Whether only commands may write this type.
pub fn is_owned(event_type: &str) -> bool {
    OWNED.binary_search(&of(event_type)).is_ok()
}

/// Whether the type is evidence of the log itself, which is codec 0 in every log.
pub fn is_evidence(event_type: &str) -> bool {
    EVIDENCE.binary_search(&event_type).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_the_search_finds_all() {
        assert!(OWNED.is_sorted() && EVIDENCE.is_sorted());
        assert!(
            OWNED
                .iter()
                .all(|name| is_owned(name) && is_owned(&format!("{name}.x")))
        );
        assert!(
            EVIDENCE
                .iter()
                .all(|name| is_evidence(name) && is_owned(name))
        );
    }

    #[test]
    fn streams_that_commands_write_take_owned_namespaces() {
        for (name, scope) in [
            ("budgets", Some("default")),
            ("budgets/ann", Some("ann")),
            ("messages", Some("default")),
            ("sinks", Some("_log")),
            ("tasks", Some("default")),
            ("agent:scout", Some("default")),
            ("tray:inbox", None),
        ] {
            let stream = owned_stream(name).unwrap();
            assert_eq!(stream.scope, scope, "{name}");
            assert!(stream.namespaces.iter().all(|name| OWNED.contains(name)));
        }
        for free in [
            "run-1",
            "tasks/1",
            "messages/a",
            "agent",
            "agents:a",
            "budget",
        ] {
            assert_eq!(owned_stream(free), None, "{free}");
        }
    }

    #[test]
    fn the_first_segment_decides() {
        for free in [
            "chat.message",
            "tool.call.requested",
            "messages.sent",
            "data.log",
            "lo.g",
        ] {
            assert!(!is_owned(free), "{free}");
        }
        assert!(!is_evidence("log.configured"));
        assert_eq!(of("tool.call.requested"), "tool");
    }
}
