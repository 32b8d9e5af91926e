//! Names that belong to the log, and the scope of a stream.

use super::{Make, numbered, plainly, read, refused};
use runstone_codec::{Control, NewEvent, namespace};
use runstone_store::{Append, Decision, Query, Read};

/// A stream that commands write takes nothing else, from nobody, and has the scope that its name
/// says.
pub fn streams_of_commands_take_their_events_alone(make: Make<'_>) {
    let log = make(plainly());
    for (stream, owned, scope) in [
        ("budgets", "budget.opened", Some("default")),
        ("budgets/ann", "budget.opened", Some("ann")),
        ("messages", "message.sent", Some("default")),
        ("sinks", "sink.added", Some("_log")),
        ("tasks", "task.created", Some("default")),
        ("agent:scout", "agent.registered", Some("default")),
        ("agent:scout", "message.read", Some("default")),
        ("tray:in", "tray.opened", None),
        ("tray:in", "task.created", None),
    ] {
        // Whoever came first with another event would say which scope the stream has.
        let first = NewEvent::new("chat.message", stream).scope("bob");
        assert_eq!(refused(log.append_blocking(first.clone())), "owned_stream");
        let other = NewEvent::new("run.started", stream).scope("bob");
        let own = NewEvent::new(owned, stream);
        let command = |event: &NewEvent| {
            let command = log.command_blocking(vec![event.clone().into()], |_| {
                Ok(Decision::record(0, Control::new(), ()))
            });
            command.err().map(|error| error.code())
        };
        assert_eq!(command(&other), Some("owned_stream"), "{stream}");
        for event in [&first, &other, &own] {
            let import = log
                .import_blocking(vec![vec![event.clone().into()]])
                .remove(0);
            assert_eq!(import.unwrap_err().code(), "owned_stream", "{stream}");
        }
        if let Some(scope) = scope {
            let elsewhere = own.clone().scope("bob");
            assert_eq!(command(&elsewhere), Some("scope_mismatch"), "{stream}");
            assert_eq!(command(&own), None, "{stream}");
            assert_eq!(log.scope_of_stream(stream).unwrap().as_deref(), Some(scope));
        } else {
            assert_eq!(command(&own.scope("bob")), None, "{stream}");
        }
    }
}

/// Owned namespaces are written by commands and imports, never by a raw append; the namespace of
/// the log by nobody but the log.
pub fn owned_namespaces_are_not_for_raw_appends(make: Make<'_>) {
    let log = make(plainly());
    for owned in namespace::OWNED {
        let event = || NewEvent::new(format!("{owned}.thing_happened"), "s");
        assert_eq!(
            refused(log.append_blocking(event())),
            "owned_namespace",
            "{owned}"
        );
        let import = log.import_blocking(vec![vec![event().into()]]).remove(0);
        let command = log.command_blocking(vec![event().into()], |_| {
            Ok(Decision::record(0, Control::new(), ()))
        });
        let wanted = (owned == "log").then_some("owned_namespace");
        assert_eq!(import.err().map(|error| error.code()), wanted, "{owned}");
        assert_eq!(command.err().map(|error| error.code()), wanted, "{owned}");
    }
    for free in [
        "tool.called",
        "chat.message",
        "harness.x.y",
        "data.noted",
        "logs.listed",
    ] {
        log.append_blocking(NewEvent::new(free, "s")).unwrap();
    }
    assert_eq!(log.size(), 1 + 2 * 14 + 5);
}

/// What the log is and who may act cannot be claimed by events that look like the log's own.
pub fn nobody_speaks_for_the_log(make: Make<'_>) {
    let log = make(plainly());
    let key = "11".repeat(32);
    let forged = [
        (
            "log.principal_added",
            format!(r#"{{"id":"eve","authority":"human","public_key":"{key}"}}"#),
        ),
        ("log.configured", "{}".to_owned()),
        ("log.genesis", "{}".to_owned()),
    ];
    for (event_type, payload) in forged {
        let event = NewEvent::new(event_type, "s").payload(payload);
        refused(log.import_blocking(vec![vec![event.into()]]).remove(0));
    }
    assert!(log.principals().unwrap().is_empty());
    assert_eq!(log.settings().unwrap(), None);
}

/// The log's own stream and scopes are nobody else's.
pub fn reserved_names_are_refused(make: Make<'_>) {
    let log = make(plainly());
    let events = [
        numbered("log", 0),
        numbered("s", 0).scope("_log"),
        numbered("s", 0).scope("_x"),
    ];
    for event in events {
        let import = log
            .import_blocking(vec![vec![event.clone().into()]])
            .remove(0);
        assert_eq!(refused(import), "reserved");
        assert_eq!(refused(log.append_blocking(event)), "reserved");
    }
    log.append_blocking(numbered("logs", 0).scope("x_"))
        .unwrap();
    assert_eq!(log.size(), 2);
}

fn scopes(make: Make<'_>, appends: Vec<Append>) -> (Vec<Option<&'static str>>, Vec<String>) {
    let log = make(plainly());
    let answers = appends
        .into_iter()
        .map(|append| log.append_blocking(append).err().map(|error| error.code()))
        .collect();
    let scopes = read(&log, Read::new(Query::everything()).from(1_u64))
        .into_iter()
        .map(|record| record.header.scope.into())
        .collect();
    (answers, scopes)
}

/// A stream has the scope of its first event: others are refused, none takes it.
pub fn a_stream_has_one_scope(make: Make<'_>) {
    let (answers, scopes) = scopes(
        make,
        vec![
            numbered("s", 0).scope("customer-1").into(),
            numbered("s", 1).into(),
            numbered("s", 2).scope("customer-2").into(),
            numbered("s", 3).scope("customer-1").into(),
            numbered("t", 0).into(),
            numbered("t", 1).scope("customer-1").into(),
            numbered("t", 2).scope("default").into(),
        ],
    );
    let no = Some("scope_mismatch");
    assert_eq!(answers, [None, None, no, None, None, no, None]);
    assert_eq!(
        scopes,
        [
            "customer-1",
            "customer-1",
            "customer-1",
            "default",
            "default"
        ]
    );
}

/// That holds within a request too, wherever in it the events of the stream are.
pub fn a_stream_has_one_scope_within_a_request(make: Make<'_>) {
    let named = |stream: &str, scope: &str| numbered(stream, 0).scope(scope);
    let (answers, scopes) = scopes(
        make,
        vec![
            Append::new([named("a", "one"), named("a", "two")]),
            Append::new([named("a", "one"), numbered("b", 0), named("a", "two")]),
            Append::new([numbered("a", 0), numbered("b", 0), named("a", "two")]),
            Append::new([named("a", "one"), numbered("b", 0), numbered("a", 1)]),
            Append::new([numbered("c", 0), named("d", "two"), named("c", "default")]),
        ],
    );
    let no = Some("scope_mismatch");
    assert_eq!(answers, [no, no, no, None, None]);
    assert_eq!(
        scopes,
        ["one", "default", "one", "default", "two", "default"]
    );
}

/// Requests of one group that leave the scope to the stream take the one that an earlier request
/// of the group fixed.
pub fn a_stream_has_one_scope_within_a_group(make: Make<'_>) {
    let log = make(plainly());
    let first = Append::from(numbered("s", 0).scope("customer-1"));
    let later = (1..20).map(|n| Append::from(numbered("s", n)));
    for answer in log.append_many_blocking([first].into_iter().chain(later).collect()) {
        answer.unwrap();
    }
    let records = read(&log, Read::new(Query::stream("s")));
    assert_eq!(records.len(), 20);
    assert!(
        records
            .iter()
            .all(|record| record.header.scope == "customer-1")
    );
}
