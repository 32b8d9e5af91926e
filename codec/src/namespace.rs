//! Which event types belong to the log's own commands.
//!
//! The first segment of a type is its namespace. Owned namespaces are written by commands only; a
//! caller's raw append is refused there, so that a transcript cannot forge an order, a vote or a
//! spend. Every other namespace is free.

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

/// The namespace of a type: its first segment.
pub fn of(event_type: &str) -> &str {
    event_type
        .split_once('.')
        .map_or(event_type, |(first, _)| first)
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
