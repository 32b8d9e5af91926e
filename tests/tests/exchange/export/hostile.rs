//! Exports that were changed, cut off, or never were any.

use super::{Site, exported, fill, whole};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use runstone::{Erase, Log, Query, Sealing};
use runstone_tests::tamper::Outcome;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// An export with everything that lines have: a few runs, one erased, one withheld.
fn sample(sealing: Sealing) -> Outcome<(Site, Vec<u8>)> {
    let (site, log) = Site::new(sealing)?;
    fill(&log)?;
    log.checkpoint()?;
    log.erase(&Erase::new("bob", "test"), &|_, _| {})?;
    fill(&log)?;
    let (bytes, report) = exported(&log, &Query::parse("tag=n:1 or tag=n:2")?)?;
    assert!(report.erased > 0 && report.withheld > 0);
    Ok((site, bytes))
}

pub(super) fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

/// Puts the right checksum at the end of what was changed.
pub(super) fn mended(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = lines[..lines.len() - 1].concat();
    let digits: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    bytes.extend(format!("{{\"sha256\":\"{digits}\"}}\n").into_bytes());
    bytes
}

/// Nothing is left of what was refused.
fn refused(site: &Site, bytes: &[u8]) -> String {
    let error = site.load("copy", bytes).unwrap_err();
    for name in ["copy", "copy.head", "copy.loading"] {
        assert!(!site.path(name).exists(), "{name} is left: {error}");
    }
    assert!(
        !error.to_string().contains("of\\\":\\\""),
        "content is told: {error}"
    );
    error.code().to_owned()
}

fn removed(site: &Site) -> Outcome {
    for name in ["copy", "copy.head"] {
        std::fs::remove_file(site.path(name))?;
    }
    Ok(())
}

/// Whatever one byte of an export becomes, it is refused.
#[test]
fn every_byte_counts() -> Outcome {
    let (site, bytes) = sample(Sealing::Required)?;
    let mut changed = bytes.clone();
    let all = lines(&bytes);
    let is_event = |at: usize| (all[0].len()..bytes.len() - all[all.len() - 1].len()).contains(&at);
    // Loading takes a few milliseconds: in the events every eleventh byte, whatever it is of.
    let places = (0..bytes.len()).filter(|at| !is_event(*at) || at % 11 == 0);
    for at in places {
        let bit = 1 << (at % 8);
        changed[at] ^= bit;
        let code = refused(&site, &changed);
        let known = [
            "not_an_export",
            "newer_format",
            "export_malformed",
            "export_contradicted",
        ];
        assert!(known.contains(&code.as_str()), "{at}: {code}");
        changed[at] ^= bit;
    }
    site.load("copy", &bytes)?;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Somebody changes a byte and makes the checksum right again, without the keys: it is refused,
    /// or what is loaded is refused by whoever has the keys, or it is another choice of the same log.
    #[test]
    fn nobody_changes_a_log_by_its_export(at in any::<prop::sample::Index>(), byte in 1..=255_u8) {
        thread_local! {
            static SAMPLE: (Site, Vec<u8>) = sample(Sealing::Required).unwrap();
        }
        SAMPLE.with(|(site, bytes)| {
            let mut changed = bytes.clone();
            let at = at.index(bytes.len());
            changed[at] ^= byte;
            still_the_log(site, bytes, &mended(&lines(&changed))).unwrap();
        });
    }
}

fn still_the_log(site: &Site, bytes: &[u8], changed: &[u8]) -> Outcome {
    let Ok(loaded) = site.load("copy", changed) else {
        return Ok(());
    };
    let first: Value = serde_json::from_slice(&lines(bytes)[0])?;
    assert_eq!(first["log_id"], loaded.log_id.to_string());
    match Log::open(&site.path("copy"), site.opening()) {
        Ok(copy) => {
            let root = loaded.root.map(|byte| format!("{byte:02x}")).concat();
            assert_eq!(first["root"], root, "another history");
            assert_eq!(whole(&copy)?, changed);
        }
        Err(error) => assert_eq!(error.code(), "corrupt", "{error}"),
    }
    removed(site)
}

#[test]
fn what_is_no_export_is_told_so() -> Outcome {
    let (site, bytes) = sample(Sealing::Plain)?;
    let text = String::from_utf8(bytes.clone())?;
    let codes = [
        ("", "not_an_export"),
        ("\n", "not_an_export"),
        ("PK\u{3}\u{4}", "not_an_export"),
        (
            "{\"position\":0,\"id\":\"x\",\"data\":null}\n",
            "not_an_export",
        ),
        ("{\"format\":\"runstone/receipt@v1\"}\n", "not_an_export"),
        (
            "{\"format\":\"runstone/export@v2\",\"more\":[]}\n",
            "newer_format",
        ),
        ("{\"format\":\"runstone/export@v1\"}\n", "export_malformed"),
    ];
    for (given, code) in codes {
        assert_eq!(refused(&site, given.as_bytes()), code, "{given:?}");
    }
    // White space, members in another order, or twice, say the same and are not the same.
    for (from, to) in [
        ("{\"format\"", "{ \"format\""),
        (",\"size\":", ",\"size\": "),
        ("{\"entry\"", "{\"absent\":\"withheld\",\"entry\""),
        ("{\"entry\"", "{\"more\":1,\"entry\""),
        ("\n{\"entry\"", "\n\n{\"entry\""),
        ("\n", "\r\n"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let changed = mended(&lines(changed.as_bytes()));
        assert_eq!(refused(&site, &changed), "export_malformed", "{from} {to}");
    }
    Ok(())
}

#[test]
fn lines_that_are_missing_doubled_or_moved_are_found() -> Outcome {
    let (site, bytes) = sample(Sealing::Required)?;
    let all = lines(&bytes);
    for at in 0..all.len() {
        let cut = all[..at].concat();
        assert!(["not_an_export", "export_malformed"].contains(&refused(&site, &cut).as_str()));
        let half = [&cut[..], &all[at][..all[at].len() / 2]].concat();
        refused(&site, &half);
    }
    let last = all.len() - 1;
    for at in 0..last {
        let mut less = all.clone();
        less.remove(at);
        refused(&site, &mended(&less));
        let mut twice = all.clone();
        twice.insert(at, all[at].clone());
        refused(&site, &mended(&twice));
        if at + 1 < last {
            let mut moved = all.clone();
            moved.swap(at, at + 1);
            refused(&site, &mended(&moved));
        }
    }
    // Something behind the end.
    for more in [&b"\n"[..], b"{}\n", &all[last]] {
        assert_eq!(refused(&site, &[&bytes, more].concat()), "export_malformed");
    }
    Ok(())
}

/// Each member of each kind of line, made into something else.
#[test]
fn no_value_of_a_line_is_believed() -> Outcome {
    let (site, bytes) = sample(Sealing::Required)?;
    let all = lines(&bytes);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(u64::MAX),
        json!(1.5),
        json!(""),
        json!("AA=="),
        json!("AB=="),
        json!("0".repeat(64)),
        json!("\u{0}\u{1b}[2J"),
        json!([]),
        json!({}),
        json!([[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]),
    ];
    for (at, line) in all.iter().enumerate() {
        let line: Value = serde_json::from_slice(line)?;
        for name in line.as_object().ok_or("no object")?.keys() {
            for value in &values {
                let text = String::from_utf8(all[at].clone())?;
                let (from, to) = (line[name].to_string(), value.to_string());
                if from == to || (name == "stored_us" || name == "head_mac") {
                    continue;
                }
                let changed = text.replacen(
                    &format!("\"{name}\":{from}"),
                    &format!("\"{name}\":{to}"),
                    1,
                );
                assert_ne!(changed, text);
                let mut changed_lines = all.clone();
                changed_lines[at] = changed.into_bytes();
                let is_end = at + 1 == all.len();
                let changed = if is_end {
                    changed_lines.concat()
                } else {
                    mended(&changed_lines)
                };
                let code = refused(&site, &changed);
                assert!(code != "internal", "{name} {value}");
            }
        }
    }
    Ok(())
}

/// A mark in place of content is checked against what the log tells of erasures.
#[test]
fn marks_are_what_the_log_says() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let (site, bytes) = sample(sealing)?;
        let text = String::from_utf8(bytes)?;
        for (from, to) in [("erased", "withheld"), ("withheld", "erased")] {
            let changed = text.replacen(
                &format!("\"absent\":\"{from}\""),
                &format!("\"absent\":\"{to}\""),
                1,
            );
            let changed = mended(&lines(changed.as_bytes()));
            assert_eq!(refused(&site, &changed), "export_contradicted", "{from}");
        }
    }
    Ok(())
}

/// What a line says of lengths is nothing that memory is taken for; a line that never ends is given
/// up.
#[test]
fn lines_are_bounded() -> Outcome {
    let (site, bytes) = sample(Sealing::Required)?;
    let all = lines(&bytes);
    let first = String::from_utf8(all[0].clone())?;
    let many = first.replacen("\"checkpoints\":", "\"checkpoints\":9", 1);
    let mut changed = all.clone();
    changed[0] = many.into_bytes();
    refused(&site, &mended(&changed));
    struct Endless(u64);
    impl std::io::Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            out.fill(b'A');
            self.0 += out.len() as u64;
            assert!(self.0 < 1 << 28, "it reads on and on");
            Ok(out.len())
        }
    }
    let endless = std::io::BufReader::new(Endless(0));
    let error = Log::load(endless, &site.path("copy"), &|_, _| {}).unwrap_err();
    assert_eq!(error.code(), "not_an_export");
    let entry = std::io::Read::chain(
        &bytes[..all[..all.len() - 2].concat().len()],
        &b"{\"entry\":\""[..],
    );
    let endless = std::io::BufReader::new(std::io::Read::chain(entry, Endless(0)));
    let error = Log::load(endless, &site.path("copy"), &|_, _| {}).unwrap_err();
    assert!(error.to_string().contains("94371840 bytes"), "{error}");
    Ok(())
}

/// An envelope in the place of another, with every digest outside the tree made right.
#[test]
fn envelopes_are_those_of_their_entries() -> Outcome {
    let (site, bytes) = sample(Sealing::Required)?;
    let all = lines(&bytes);
    let values: Vec<Value> = all
        .iter()
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let there: Vec<usize> = (0..values.len())
        .filter(|at| values[*at]["envelope"].is_string())
        .collect();
    let (one, other) = (there[there.len() - 1], there[there.len() - 2]);
    let envelope = STANDARD.decode(values[other]["envelope"].as_str().ok_or("no text")?)?;
    let own = values[one]["envelope"].to_string();
    let text = String::from_utf8(all[one].clone())?
        .replace(&own, &json!(STANDARD.encode(envelope)).to_string());
    let mut changed = all.clone();
    changed[one] = text.into_bytes();
    assert_eq!(refused(&site, &mended(&changed)), "export_malformed");
    Ok(())
}
