//! Stores that are slow, hostile, or do not do what S3 does.

use super::s3::{KEY, archive, value, with_s3};
use super::{commanded, run};
use runstone::sinks::{Destination, Kinds, SinkState};
use runstone_tests::command::Runstone;
use runstone_tests::sinks::{BUCKET, Between, Bucket, Site, Turn, until};
use runstone_tests::tamper::Outcome;

/// An answer of this length, whatever it has.
fn answer(status: &str, length: u64, body: &str) -> Turn {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    Turn::Answer(head.into_bytes())
}

fn is_list(lines: &[String]) -> bool {
    lines
        .first()
        .is_some_and(|line| line.contains("list-type=2"))
}

/// How loading from there ends.
fn refused(decide: impl Fn(Vec<String>) -> Turn + Send + Sync + 'static) -> Outcome<String> {
    let folder = tempfile::tempdir()?;
    let between = Between::start("http://127.0.0.1:9", decide);
    let copy = Runstone::on(folder.path().join("copy"));
    let place = format!("s3://{BUCKET}/prod");
    let output = with_s3(&copy, &between.endpoint, &["load", &place]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{told}");
    assert!(!told.contains("planted"), "{told}");
    Ok(told)
}

#[test]
fn an_answer_that_says_it_is_endless_is_refused() -> Outcome {
    for status in ["200 OK", "403 Forbidden"] {
        let told = refused(move |_| answer(status, 1 << 60, &"<a>".repeat(100)))?;
        assert!(told.contains("storage_io"), "{told}");
    }
    let told = refused(|_| answer("200 OK", 1 << 60, ""))?;
    assert!(told.contains("longer than it may be"), "{told}");
    // Or that is endless without saying so.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let told = refused(move |_| Turn::Answer((head.to_owned() + &chunk.repeat(100)).into_bytes()))?;
    assert!(told.contains("longer than it may be"), "{told}");
    Ok(())
}

#[test]
fn of_an_error_only_its_code_is_told() -> Outcome {
    let error = format!(
        "<Error><Code>SignatureDoesNotMatch</Code><StringToSign>planted {KEY}</StringToSign></Error>"
    );
    let told = refused(move |_| answer("403 Forbidden", error.len() as u64, &error))?;
    assert!(
        told.contains("403 Forbidden: SignatureDoesNotMatch"),
        "{told}"
    );
    let error = "<Error><Code>planted code</Code></Error>";
    let told = refused(move |_| answer("400 Bad Request", error.len() as u64, error))?;
    assert!(told.contains("it answered 400 Bad Request"), "{told}");
    let told = refused(|_| answer("200 OK", 7, "planted"))?;
    assert!(told.contains("cannot be understood"), "{told}");
    Ok(())
}

#[test]
fn a_listing_that_does_not_end_is_given_up() -> Outcome {
    let told = refused(|lines| {
        let token = lines.first().map_or(0, String::len);
        let page = format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken></ListBucketResult>",
            "t".repeat(token % 999 + 1)
        );
        answer("200 OK", page.len() as u64, &page)
    })?;
    assert!(told.contains("its listing does not end"), "{told}");
    Ok(())
}

/// It would overwrite what is there, and say that it was created.
#[test]
fn a_store_that_knows_no_conditions_gets_nothing() {
    let (bucket, site) = (Bucket::default(), Site::default());
    let between = Between::start(&bucket.endpoint, |mut lines| {
        lines.retain(|line| !line.to_ascii_lowercase().starts_with("if-none-match"));
        Turn::On(lines)
    });
    site.append(30);
    site.add(&archive(&site, &between.endpoint));
    let runner = site.run(&Kinds::new());
    until(|| site.status("archive").state == SinkState::Stopped, || {});
    runner.stop();
    let advice = site.status("archive").advice().unwrap_or_default();
    assert!(advice.contains("If-None-Match"), "{advice}");
    assert!(!bucket.ask("GET", "?list-type=2", "").contains("segments"));
}

/// It says that it took what it did not keep, or kept otherwise.
#[test]
fn what_a_store_did_not_keep_is_not_passed_over() {
    for (kept, state) in [
        (None, SinkState::Running),
        (Some("something else"), SinkState::Stopped),
    ] {
        let site = Site::default();
        let between = Between::start("http://127.0.0.1:9", move |lines| {
            let first = lines.first().map(String::as_str).unwrap_or_default();
            let is_probe = first.contains("created-once");
            match (first.split(' ').next(), kept) {
                _ if is_list(&lines) => {
                    let page = "<ListBucketResult></ListBucketResult>";
                    answer("200 OK", page.len() as u64, page)
                }
                (Some("PUT"), _) if is_probe => answer("412 Precondition Failed", 0, ""),
                (Some("PUT"), _) => answer("200 OK\r\nETag: x", 0, ""),
                (_, Some(kept)) => {
                    let head = "200 OK\r\nETag: x\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT";
                    answer(head, kept.len() as u64, kept)
                }
                _ => answer("404 Not Found", 0, ""),
            }
        });
        site.append(30);
        site.add(&archive(&site, &between.endpoint));
        let runner = site.run(&Kinds::new());
        until(|| site.status("archive").is_failing, || {});
        until(|| site.status("archive").state == state, || {});
        runner.stop();
        let seen = between.seen();
        let is_put = |line: &&String| line.starts_with("PUT ") && line.contains("/segments/");
        assert!(seen.iter().any(|line| is_put(&line)), "{seen:?}");
        assert_eq!(site.status("archive").position, 0);
    }
}

/// However long the archive is.
#[test]
fn what_is_long_known_is_not_listed_again() {
    let (bucket, site) = (Bucket::default(), Site::default());
    let between = Between::start(&bucket.endpoint, Turn::On);
    let mut config = archive(&site, &between.endpoint);
    if let Destination::Archive(archive) = &mut config.to {
        archive.segments = archive.segments.clone().events(5);
    }
    site.append(100);
    site.add(&config);
    run(&site);
    site.append(5);
    let before = between.seen().len();
    let next = site.status("archive").position;
    run(&site);
    let again = between.seen().split_off(before);
    let lists: Vec<_> = again
        .iter()
        .filter(|line| line.contains("list-type=2"))
        .collect();
    assert_eq!(lists.len(), 1, "{again:?}");
    let after = format!("start-after=a%2Fb%2F{}", site.log().info().log_id);
    let name = format!("{:020}.jsonl", next - 11);
    assert!(
        lists[0].contains(&after) && lists[0].contains(&name),
        "{lists:?}"
    );
    // Nor is what is there already tried out again.
    assert!(!again.iter().any(|line| line.contains("created-once")));
}

#[test]
fn a_url_with_credentials_is_not_repeated() -> Outcome {
    let (folder, runstone, _) = commanded(50, 5)?;
    for place in [
        "s3://planted:planted@bucket/a",
        "ftp://planted:planted@a/b",
        "file://planted:planted@/a",
        "s3://planted:planted@[/a",
    ] {
        for args in [
            ["load", place].as_slice(),
            &["sink", "archive", "s1", place],
            &["sink", "add", "x", "--archive", place],
        ] {
            let output = runstone.run(args);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                !output.status.success() && !told.contains("planted"),
                "{args:?}: {told}"
            );
        }
    }
    drop(folder);
    Ok(())
}

/// Of the object too, which is told to be one of 5 bytes.
#[test]
fn an_object_is_no_longer_than_the_longest_segment() -> Outcome {
    let page = "<ListBucketResult><Contents><Key>prod/a/segments/00000000000000000000.jsonl</Key><Size>5</Size><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>x</ETag></Contents></ListBucketResult>";
    let told = refused(move |lines| {
        if is_list(&lines) {
            return answer("200 OK", page.len() as u64, page);
        }
        answer(
            "200 OK\r\nETag: x\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
            1 << 60,
            "",
        )
    })?;
    assert!(told.contains("has more than"), "{told}");
    Ok(())
}

#[test]
fn two_at_once_archive_their_own() -> Outcome {
    let (folder, runstone, out) = commanded(50, 60)?;
    let to = out.display().to_string();
    for _ in 0..3 {
        let streams = ["s0", "s1", "s2"];
        let children = streams.map(|stream| {
            let mut command = runstone.command(["sink", "archive", stream, &to, "--json"]);
            let piped = command.stdout(std::process::Stdio::piped());
            piped.stderr(std::process::Stdio::piped()).spawn()
        });
        for child in children {
            let put = value(&child?.wait_with_output()?);
            assert_eq!(put["withheld"], 41, "{put}");
        }
    }
    let names = std::fs::read_dir(folder.path())?.map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    assert!(
        !names.iter().any(|name| name.contains("archiving")),
        "{names:?}"
    );
    Ok(())
}
