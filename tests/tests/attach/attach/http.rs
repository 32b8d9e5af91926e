//! Whoever speaks HTTP to a held log, well or ill.

use runstone::attach::Limits;
use runstone::{NewEvent, Runstone};
use runstone_tests::held::{Dialogue, PATIENCE, Site, parsed, post, raw};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[test]
fn hostile_clients_harm_nobody() -> Outcome {
    let site = Site::new()?;
    let mut limits = Limits::default();
    limits.connections = 8;
    limits.request_bytes = 4_096;
    limits.request_time = Duration::from_millis(200);
    let here = Runstone::options().serve(limits).create(&site.log)?;
    let socket = site.socket();

    for request in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/facts HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/facts HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n{}",
    ] {
        let answer = raw(&socket, request)?;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    for (name, body, status, code) in [
        ("nothing", "{}", 404, "unknown_path"),
        ("facts", "", 400, "bad_request"),
        ("facts", "[", 400, "bad_request"),
        ("facts", r#"{"unknown":1}"#, 400, "bad_request"),
        ("count", r#"{"query":"colour=red"}"#, 400, "bad_request"),
        ("record", r#"{"which":{"position":999}}"#, 404, "not_found"),
        (
            "fold_rows",
            r#"{"fold":"none","prefix":"","from":"","limit":99}"#,
            422,
            "fold_stopped",
        ),
        (
            "tree/node",
            r#"{"level":255,"index":18446744073709551615}"#,
            404,
            "not_found",
        ),
        (
            "entry",
            r#"{"position":18446744073709551615}"#,
            404,
            "not_found",
        ),
        (
            "principal/prove",
            r#"{"id":"x","signature":"AA=="}"#,
            403,
            "no_challenge",
        ),
    ] {
        let (found, told) = post(&socket, name, body)?;
        assert_eq!(
            (found, &told["code"]),
            (status, &json!(code)),
            "{name} {told}"
        );
    }
    let nested = format!(
        "{{\"events\":[{{\"type\":\"a.b\",\"stream\":\"s\",\"data\":{}1{}}}]}}",
        "[".repeat(500),
        "]".repeat(500)
    );
    let (status, told) = post(&socket, "append", &nested)?;
    assert!(status == 400 || status == 422, "{status} {told}");
    let (status, told) = post(&socket, "facts", &" ".repeat(5_000))?;
    assert_eq!((status, &told["code"]), (400, &json!("request_too_large")));
    let (status, _) = parsed(&raw(
        &socket,
        b"GET /v1/facts HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )?)?;
    assert_eq!(status, 405);

    // Half a request is given up; what is idle makes way, however many there are.
    let half =
        b"POST /v1/facts HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n{";
    assert!(raw(&socket, half)?.contains("request_too_slow"));
    let idle: Vec<UnixStream> = (0..1_000)
        .map(|_| UnixStream::connect(&socket))
        .collect::<Result<_, _>>()?;
    assert_eq!(post(&socket, "facts", "{}")?.0, 200);
    drop(idle);

    here.append_blocking(NewEvent::new("chat.message", "s"))?;
    assert_eq!(here.size(), 2);
    assert!(here.health().is_ok());
    Ok(())
}

/// I65.
#[test]
fn whoever_is_sent_away_is_told_that_nobody_heard_him() -> Outcome {
    let site = Site::new()?;
    let mut limits = Limits::default();
    limits.connections = 1;
    limits.idle_time = Duration::from_millis(300);
    let here = Runstone::options().serve(limits).create(&site.log)?;
    let socket = site.socket();
    let is_unheard = |answer: &str| answer.starts_with("HTTP/1.1 408 ");

    // One makes way for another one.
    let first = UnixStream::connect(&socket)?;
    first.set_read_timeout(Some(PATIENCE))?;
    assert_eq!(post(&socket, "facts", "{}")?.0, 200);
    let mut told = String::new();
    BufReader::new(&first).read_to_string(&mut told)?;
    assert!(is_unheard(&told), "{told}");
    // Half a head, and nothing more.
    let half = raw(&socket, b"POST /v1/facts HTTP/1.1\r\nhost:")?;
    assert!(is_unheard(&half), "{half}");
    // Nothing more, while the holder stops.
    let mut idle = Dialogue::new(&socket)?;
    assert_eq!(idle.ask("facts", "{}")?.0, 200);
    here.close_blocking()?;
    let told = idle.rest()?;
    assert!(is_unheard(&told), "{told}");
    Ok(())
}

#[test]
fn a_body_without_an_end_is_given_up() -> Outcome {
    let site = Site::new()?;
    let mut limits = Limits::default();
    limits.request_bytes = 4_096;
    let _here = Runstone::options().serve(limits).create(&site.log)?;
    let mut endless = UnixStream::connect(site.socket())?;
    endless.set_read_timeout(Some(PATIENCE))?;
    endless
        .write_all(b"POST /v1/facts HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let chunk = [b"400\r\n".as_slice(), &[b' '; 1_024], b"\r\n"].concat();
    // Whoever gives it up closes the connection, so that writing fails in the end.
    while endless.write_all(&chunk).is_ok() {}
    let mut told = String::new();
    // What was said before that may be lost with it.
    let _ = endless.read_to_string(&mut told);
    assert!(
        told.is_empty() || told.contains("request_too_large"),
        "{told}"
    );
    assert_eq!(post(&site.socket(), "facts", "{}")?.0, 200);
    Ok(())
}

/// What a client says of itself makes it nobody.
#[test]
fn nobody_is_a_person_by_saying_so() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let socket = site.socket();
    let claim = runstone::effects::Claim::tool("s", "pay").request("k");
    let request = runstone::approvals::ApprovalRequest::new(&claim, "pay");
    let asked = runstone::approvals::Approvals::new(&here).request_blocking(&request)?;
    let vote = json!({ "request": asked.position, "is_yes": true }).to_string();
    let event = |more: &str| {
        format!(r#"{{"events":[{{"type":"chat.message","stream":"s","data":{{}}{more}}}]}}"#)
    };
    for (name, body, code) in [
        ("approval/vote", vote.clone(), "not_allowed"),
        (
            "append",
            event(r#","principal":"human:ann""#),
            "bad_request",
        ),
        ("append", event(r#","authority":"human""#), "bad_request"),
        (
            "append",
            r#"{"events":[{"type":"approval.voted","stream":"s","data":{}}]}"#.to_owned(),
            "owned_namespace",
        ),
        (
            "approval/vote",
            vote.replace('{', r#"{"principal":"human:ann","#),
            "bad_request",
        ),
    ] {
        let (status, told) = post(&socket, name, &body)?;
        assert!(status >= 400 && told["code"] == code, "{status} {told}");
    }
    // A header says as little, and a tag is a tag.
    let tagged = event(r#","tags":["authority:human"]"#);
    let request = format!(
        "POST /v1/append HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: human:ann\r\n\
         x-principal: human:ann\r\ncontent-length: {}\r\n\r\n{tagged}",
        tagged.len()
    );
    let (status, recorded) = parsed(&raw(&socket, request.as_bytes())?)?;
    assert_eq!(status, 200, "{recorded}");
    let last = here.record(runstone::Position::new(here.size() - 1))?;
    assert_eq!(last.header.authority, runstone::Authority::System);
    Ok(())
}

#[test]
fn events_are_streamed_to_whoever_speaks_http() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    here.append_blocking(NewEvent::new("chat.message", "s").payload("{\n\"a\":1}"))?;
    let mut stream = UnixStream::connect(site.socket())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /v1/events?query=stream%3Ds HTTP/1.1\r\nhost: x\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let mut next = |prefix: &str| -> Outcome<String> {
        loop {
            let line = lines.next().ok_or("it ended")??;
            if let Some(rest) = line.strip_prefix(prefix) {
                return Ok(rest.to_owned());
            }
        }
    };
    assert_eq!(next("id: ")?, "1");
    let first: Value = serde_json::from_str(&next("data: ")?)?;
    assert_eq!(
        (&first["type"], &first["data"]),
        (&json!("chat.message"), &json!({"a": 1}))
    );
    here.append_blocking(NewEvent::new("chat.message", "s"))?;
    assert_eq!(next("id: ")?, "2");
    // It ends with the log, and keeps nobody waiting.
    here.close_blocking()?;
    assert!(next("id: ").is_err());
    Ok(())
}

/// Pages are CBOR for whoever accepts that, and JSON for everybody else; what is no page is JSON for both.
#[test]
fn pages_are_packed_for_whoever_reads_that() -> Outcome {
    let site = Site::new()?;
    let here = Runstone::create(&site.log)?;
    let appended = here.append_blocking(NewEvent::new("chat.message", "s").payload("[ 1 ]"))?;
    let asked = |name: &str, body: &str, accept: &str| -> Outcome<(bool, String)> {
        let length = body.len();
        let request = format!(
            "POST /v1/{name} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{accept}content-length: {length}\r\n\r\n{body}"
        );
        let answer = raw(&site.socket(), request.as_bytes())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        let is_packed = head.contains("content-type: application/cbor");
        assert_ne!(
            is_packed,
            head.contains("content-type: application/json"),
            "{head}"
        );
        Ok((is_packed, body.to_owned()))
    };
    let read = r#"{"read":{"query":"stream=s"}}"#;
    let at = format!(r#"{{"positions":[{}]}}"#, appended.last);
    let packs = "accept: application/json;q=0.1, Application/CBOR\r\n";
    for (name, body) in [("read", read), ("follow", read), ("records", &at)] {
        let (is_packed, packed) = asked(name, body, packs)?;
        assert!(is_packed && packed.contains("[ 1 ]"), "{packed}");
        for accept in ["", "accept: */*\r\n", "accept: application/cbor;q=0\r\n"] {
            let (is_packed, page) = asked(name, body, accept)?;
            assert!(!is_packed, "{accept}");
            let page: Value = serde_json::from_str(&page)?;
            assert_eq!(page["items"][0]["record"]["payload"]["open"], "WyAxIF0=");
        }
    }
    let (is_packed, facts) = asked("facts", "{}", packs)?;
    assert!(!is_packed && facts.starts_with('{'), "{facts}");
    Ok(())
}

#[test]
fn what_the_documentation_says_to_curl_works() -> Outcome {
    let site = Site::named("runstone.redb")?;
    let _here = Runstone::create(&site.log)?;
    let page = fs::read_to_string(runstone_tests::command::workspace().join("docs/ATTACH.md"))?;
    let commands: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert!(commands.len() >= 7);
    for command in commands {
        let ended = std::process::Command::new("sh")
            .args(["-c", command])
            .current_dir(site.path(""))
            .output()?;
        let said = String::from_utf8(ended.stdout)?;
        let is_stream = command.contains("/v1/events");
        if is_stream {
            // It follows until its time is over.
            assert_eq!(ended.status.code(), Some(28), "{command}");
            assert!(said.starts_with("id: 1\ndata: {\"position\":1,"), "{said}");
        } else if command.contains("text/event-stream") {
            let is_answered =
                said.starts_with("event: ") && said.contains("event: answer\ndata: {");
            assert!(ended.status.success() && is_answered, "{command} {said}");
        } else {
            let answer: Value = serde_json::from_str(&said)?;
            assert!(
                ended.status.success() && answer.get("code").is_none(),
                "{command} {said}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_document_of_what_can_be_asked_is_whole() -> Outcome {
    let document = runstone::attach::openapi(&runstone::endpoints());
    let paths = document["paths"].as_object().ok_or("no paths")?;
    assert!(paths.len() > 70 && paths.contains_key("/v1/effect/claim"));
    let text = document.to_string();
    let mut references = 0;
    for part in text.split("\"$ref\":\"").skip(1) {
        let name = part.split('"').next().ok_or("no end")?;
        let name = name.strip_prefix("#/components/schemas/").ok_or(name)?;
        assert!(!document["components"]["schemas"][name].is_null(), "{name}");
        references += 1;
    }
    assert!(references > 100);
    let mut names: Vec<_> = runstone::endpoints().iter().map(|one| one.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "each name stands for one question");
    Ok(())
}
