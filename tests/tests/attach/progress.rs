//! Work that takes long tells how far it is, also from afar; nothing that is told on the way harms who
//! waits, and nobody who is told harms the holder.

use runstone::attach::{Limits, connect};
use runstone::{Erase, Log, NewEvent, Runstone, VerifyLevel};
use runstone_tests::held::{PATIENCE, Site, post, raw};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

/// More than work does before it tells how far it is.
const ROWS: u64 = 3_000;

fn filled(site: &Site, limits: Limits) -> Outcome<Runstone> {
    let here = Runstone::options().serve(limits).create(&site.log)?;
    let row = |row: u64| {
        let half = if row.is_multiple_of(2) { "even" } else { "odd" };
        NewEvent::new("data.row", half).scope(half)
    };
    let rows = (0..ROWS).map(|number| Ok(row(number).json(&number)?.into()));
    for appended in here.append_many_blocking(rows.collect::<Outcome<_>>()?) {
        appended?;
    }
    Ok(here)
}

/// What was told on the way, and what came of it.
fn watched<T>(work: impl FnOnce(&dyn Fn(u64, u64)) -> T) -> (Vec<(u64, u64)>, T) {
    let told = RefCell::new(Vec::new());
    let done = work(&|done, all| told.borrow_mut().push((done, all)));
    (told.into_inner(), done)
}

#[test]
fn long_work_from_afar_tells_how_far_it_is() -> Outcome {
    let site = Site::new()?;
    let here = filled(&site, Limits::default())?;
    let there = Runstone::open(&site.log)?;
    assert!(there.is_attached());
    let size = here.size();

    let (told, report) = watched(|told| there.verify(VerifyLevel::Commitments, told));
    assert!(report.valid && report.size == size, "{report:?}");
    assert_eq!(told.last(), Some(&(size, size)));
    let (told, checks) = watched(|told| there.check_folds(None, told));
    assert!(checks?.iter().all(runstone::FoldCheck::is_equal));
    assert_eq!(told.last(), Some(&(size, size)));
    let (told, copied) = watched(|told| there.backup(&site.path("copy.redb"), told));
    assert_eq!(copied?.events, size);
    assert_eq!(told.last(), Some(&(size, size)));
    let (told, rebuilt) = watched(|told| there.rebuild_folds(None, told));
    assert!(rebuilt?.iter().all(runstone::FoldCheck::is_equal));
    assert_eq!(told.last(), Some(&(size, size)));
    for (scope, is_deferred) in [("even", false), ("odd", true)] {
        let mut erase = Erase::new(scope, "gdpr-17");
        erase.defer_rewrite = is_deferred;
        let (told, erased) = watched(|told| there.erase(&erase, told));
        assert_eq!(erased?.rewritten, !is_deferred);
        assert_eq!(told.is_empty(), is_deferred);
    }
    let (told, resumed) = watched(|told| there.resume_erasures(told));
    assert_eq!(resumed?.len(), 1);
    assert!(
        told.last().is_some_and(|(done, all)| done == all),
        "{told:?}"
    );

    // What is refused on the way is refused as ever.
    let refused = there.check_folds(Some("none"), &|_, _| {}).unwrap_err();
    assert_eq!(refused.code(), "not_found");
    Ok(())
}

/// What a stream says to whoever accepts one: names and data. HTTP/1.0 knows no chunks.
fn streamed(site: &Site, name: &str, body: &str) -> Outcome<Vec<(String, Value)>> {
    let request = format!(
        "POST /v1/{name} HTTP/1.0\r\nhost: x\r\naccept: application/json;q=0.1, Text/Event-Stream;q=1\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(&site.socket(), request.as_bytes())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    assert!(
        head.contains("200 OK") && head.contains("text/event-stream"),
        "{head}"
    );
    let events = body.strip_suffix("\n\n").ok_or("no end")?.split("\n\n");
    let events = events.map(|event| {
        let lines = event
            .strip_prefix("event: ")
            .and_then(|event| event.split_once("\ndata: "));
        let (name, data) = lines.ok_or_else(|| format!("no event: {event}"))?;
        Ok((name.to_owned(), serde_json::from_str(data)?))
    });
    events.collect()
}

#[test]
fn whoever_accepts_events_is_told_and_everybody_else_answered() -> Outcome {
    let site = Site::new()?;
    let mut limits = Limits::default();
    limits.workers = 1;
    let here = filled(&site, limits)?;
    let size = here.size();
    let (status, plain) = post(&site.socket(), "verify", "{}")?;
    assert_eq!((status, &plain["valid"]), (200, &json!(true)));
    let mut events = streamed(&site, "verify", "{}")?;
    let last = events.pop().ok_or("nothing was told")?;
    assert_eq!(last, ("answer".to_owned(), plain));
    let (name, last) = events.pop().ok_or("no progress was told")?;
    assert_eq!(
        (name.as_str(), &last),
        ("progress", &json!({"done": size, "all": size}))
    );
    assert!(
        events.iter().all(|(name, _)| name == "progress"),
        "{events:?}"
    );
    for (name, body) in [
        ("backup", r#"{"path":"copy"}"#),
        ("verify", "["),
        ("verify", r#"{"a":1}"#),
    ] {
        let refused = streamed(&site, name, body)?;
        let [(last, told)] = refused.as_slice() else {
            return Err(format!("{refused:?}").into());
        };
        assert_eq!(
            (last.as_str(), &told["code"]),
            ("refusal", &json!("bad_request"))
        );
    }
    // What does not take long is answered as it is, and so is who wants no events.
    let request =
        "POST /v1/count HTTP/1.0\r\naccept: text/event-stream\r\ncontent-length: 2\r\n\r\n{}";
    let answer = raw(&site.socket(), request.as_bytes())?;
    assert!(answer.ends_with(&format!("\r\n\r\n{size}")), "{answer}");

    let refusing = request
        .replace("count", "verify")
        .replace("stream", "stream; q=0.0");
    let answer = raw(&site.socket(), refusing.as_bytes())?;
    assert!(answer.contains("\r\n\r\n{\"valid\":true"), "{answer}");

    // Whoever takes nothing, or goes, keeps nobody from a turn.
    let request = request.replace("count", "verify");
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut stream = UnixStream::connect(site.socket())?;
        stream.write_all(request.as_bytes())?;
        idle.push(stream);
        drop(UnixStream::connect(site.socket())?.write_all(request.as_bytes()));
        assert_eq!(post(&site.socket(), "count", "{}")?, (200, json!(size)));
    }
    for mut stream in idle {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut told = String::new();
        stream.read_to_string(&mut told)?;
        assert!(told.contains("event: answer\ndata: {"), "{told}");
    }
    assert!(here.health().is_ok());
    Ok(())
}

/// Says something else than a holder does, of a log that it knows how it stands.
fn impostor(site: &Site, facts: &Value, said: Vec<u8>) -> Outcome {
    let listener = UnixListener::bind(site.socket())?;
    let facts = facts.to_string();
    let json = format!(
        "content-type: application/json\r\ncontent-length: {}\r\n\r\n{facts}",
        facts.len()
    );
    // Where there was a reply, the connection stays open: nobody waits for its end.
    let is_replied = [&b"event: answer\n"[..], b"event: refusal\n"]
        .iter()
        .any(|name| said.windows(name.len()).any(|part| part == *name) && said.ends_with(b"\n\n"));
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while stream.read_line(&mut head).is_ok_and(|read| read > 0) {
                if !head.ends_with("\r\n\r\n") {
                    continue;
                }
                // What is asked here is short, and not looked at.
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
                let _ = stream.read_exact(&mut vec![0; length]);
                let out = stream.get_mut();
                let _ = out.write_all(b"HTTP/1.1 200 OK\r\n");
                if head.starts_with("POST /v1/facts ") {
                    let _ = out.write_all(json.as_bytes());
                    head.clear();
                } else {
                    let kind = b"content-type: text/event-stream\r\nconnection: close\r\n\r\n";
                    let _ = out.write_all(&[&kind[..], &said].concat());
                    break;
                }
            }
            if is_replied {
                open.push(stream);
            }
        }
    });
    Ok(())
}

#[test]
fn nothing_that_is_told_on_the_way_harms_who_waits() -> Outcome {
    let origin = Site::new()?;
    let here = Runstone::create(&origin.log)?;
    let (_, facts) = post(&origin.socket(), "facts", "{}")?;
    let strange = "event: weather\ndata: rain\n\n: comment\n\nevent: progress\ndata: {\"done\":1}\n\n\
                   event: progress\ndata: {\"done\":9,\"all\":2}\n\n\0\n\u{1b}[2J\nevent: progress\n\n";
    let answer =
        |told: &str| format!("{strange}event: answer\ndata: {told}\n\n{strange}event: refusal\n\n");
    let refusal = r#"{"code":"not_found","kind":"not_found","message":"m","retryable":false}"#;
    let refused = format!("{strange}event: refusal\ndata: {refusal}\n\n");
    let many = "event: progress\ndata: {\"done\":1,\"all\":2}\n\n".repeat(50_000);
    let ask = |log: &Log| watched(|told| log.check_folds(None, told));
    for (said, code) in [
        (answer("[]"), None),
        (many + &answer("[]"), None),
        (answer("{"), Some("internal")),
        (refused, Some("not_found")),
        (strange.to_owned(), Some("holder_lost")),
        (
            format!("{strange}event: answer\ndata: []\n"),
            Some("holder_lost"),
        ),
        (String::new(), Some("holder_lost")),
    ] {
        let site = Site::new()?;
        impostor(&site, &facts, said.into_bytes())?;
        let (told, checked) = ask(&connect(&site.socket())?);
        assert_eq!(checked.err().map(|error| error.code()), code);
        assert!(
            told.iter().all(|told| [(9, 2), (1, 2)].contains(told)),
            "{told:?}"
        );
    }
    here.close_blocking()?;
    Ok(())
}
