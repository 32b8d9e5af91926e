//! Logs in segments: the same log when they are loaded, or added to a mirror one by one; and whatever
//! is not as it was written is refused, and named.

use super::{Site, Step, done, fill, seen, step, whole};
use proptest::prelude::*;
use runstone::{
    EpochStart, Erase, LoadError, LoadReport, Log, NewEvent, OpenOptions, Query, Read, Sealing,
    VerifyLevel, verify_file,
};
use runstone_store::{
    Segment, SegmentEnd, SegmentError, SegmentInput, SegmentPlan, SegmentSource, UnsignedTail,
    read_segment,
};
use runstone_tests::tamper::Outcome;
use sha2::{Digest as _, Sha256};
use std::io::Cursor;

/// Segments in memory, by their first positions.
#[derive(Clone, Default)]
struct Kept(Vec<(u64, u64, Vec<u8>)>);

impl Kept {
    fn push(&mut self, segment: &Segment) {
        let (from, to) = (segment.from, segment.end.events);
        self.0.push((from, to, segment.bytes.clone()));
    }

    /// Takes everything that is not there yet.
    fn take(&mut self, log: &Log, query: &Query, most: u64) -> Outcome<Option<SegmentEnd>> {
        let mut end = None;
        if let Some((from, _, bytes)) = self.0.last() {
            let read = read_segment(bytes.as_slice())?;
            assert_eq!(read.from, *from);
            end = Some(read.end);
        }
        while let Some(segment) = log.segment(&plan(end.as_ref(), query, most))? {
            assert!(segment.end.events - segment.from <= most);
            self.push(&segment);
            end = Some(segment.end);
        }
        Ok(end)
    }
}

fn plan(after: Option<&SegmentEnd>, query: &Query, most: u64) -> SegmentPlan {
    let mut plan = SegmentPlan::new(after.copied());
    plan.query = query.clone();
    plan.max_events = most;
    plan
}

impl SegmentSource for Kept {
    fn open(&mut self, from: u64) -> Result<Option<SegmentInput>, LoadError> {
        let found = self.0.iter().find(|(first, ..)| *first == from);
        match found {
            Some((first, _, bytes)) => {
                let input = Box::new(Cursor::new(bytes.clone()));
                Ok(Some(SegmentInput::new(format!("at {first}"), input)))
            }
            None if self.events() > from => Err(LoadError::SegmentMissing { from }),
            None => Ok(None),
        }
    }

    fn events(&self) -> u64 {
        self.0
            .iter()
            .map(|(_, to, _)| *to)
            .max()
            .unwrap_or_default()
    }
}

fn load(site: &Site, name: &str, kept: &Kept) -> Result<LoadReport, LoadError> {
    load_with(UnsignedTail::Refused, site, name, kept)
}

fn load_with(
    tail: UnsignedTail,
    site: &Site,
    name: &str,
    kept: &Kept,
) -> Result<LoadReport, LoadError> {
    Log::load_segments(&mut kept.clone(), &site.path(name), tail, &|_, _| {})
}

/// Adds to a mirror what it has not, and makes one where there is none.
fn mirror(site: &Site, name: &str, log: &Log, query: &Query, most: u64) -> Outcome<SegmentEnd> {
    let path = site.path(name);
    let mut end = match Log::replica_end(&path) {
        Ok(end) => Some(end),
        Err(error) if error.code() == "log_not_found" => None,
        Err(error) => return Err(error.into()),
    };
    while let Some(segment) = log.segment(&plan(end.as_ref(), query, most))? {
        if segment.from == 0 {
            let mut first = Kept::default();
            first.push(&segment);
            load_with(UnsignedTail::Taken, site, name, &first)?;
        } else {
            let told = Log::append_segment(segment.bytes.as_slice(), &path)?;
            assert_eq!(told, segment.end);
        }
        end = Some(segment.end);
    }
    end.ok_or_else(|| "nothing to mirror".into())
}

/// A replica that is like the log, as far as the log lets content go.
fn is_like(site: &Site, name: &str, log: &Log) -> Outcome {
    let copy = site.open(name)?;
    assert_eq!((copy.size(), copy.root()), (log.size(), log.root()));
    assert_eq!(seen(&copy)?, seen(log)?);
    copy.close_blocking()?;
    drop(copy);
    let report = site.verified(name)?;
    assert!(report.valid, "{report:?}");
    let open = OpenOptions::default();
    let report = verify_file(&site.path(name), open, VerifyLevel::Payloads, &|_, _| {})?;
    assert!(report.valid, "without keys: {report:?}");
    Ok(())
}

#[test]
fn a_log_comes_back_from_its_segments() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let (site, log) = Site::new(sealing)?;
        let mut kept = Kept::default();
        for _ in 0..3 {
            fill(&log)?;
            let end = kept.take(&log, &Query::everything(), 5)?;
            assert_eq!(end.map(|end| end.root), Some(log.root()));
            assert_eq!(
                kept.take(&log, &Query::everything(), 5)?
                    .map(|end| end.events),
                Some(log.size())
            );
        }
        assert_eq!(kept.0.len(), 6);
        let loaded = load(&site, "copy", &kept)?;
        assert_eq!((loaded.root, loaded.signed), (log.root(), log.size()));
        is_like(&site, "copy", &log)?;
        mirror(&site, "mirror", &log, &Query::everything(), 4)?;
        is_like(&site, "mirror", &log)?;
        // A mirror goes on from what was loaded, from an export too.
        site.load("third", &whole(&log)?)?;
        fill(&log)?;
        for name in ["copy", "mirror", "third"] {
            let end = mirror(&site, name, &log, &Query::everything(), 3)?;
            assert_eq!((end.events, end.root), (log.size(), log.root()));
            is_like(&site, name, &log)?;
        }
        let started = Log::start_epoch(&site.path("copy"), &EpochStart::default(), site.opening())?;
        started
            .log
            .append_blocking(NewEvent::new("data.noted", "run-ann"))?;
    }
    Ok(())
}

#[test]
fn segments_end_after_so_many_bytes() -> Outcome {
    let (_site, log) = Site::new(Sealing::Plain)?;
    for n in 0..40_u64 {
        let digests = (0..500).map(|m: u64| Sha256::digest((n * 1_000 + m).to_be_bytes()));
        let digits =
            digests.map(|digest| format!("{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2]));
        let text = format!("\"{}\"", digits.collect::<String>());
        log.append_blocking(NewEvent::new("data.noted", "run").payload(text))?;
    }
    let mut plan = SegmentPlan::new(None);
    plan.max_bytes = 16 << 10;
    let mut segments = 0;
    while let Some(segment) = log.segment(&plan)? {
        assert!(segment.bytes.len() < 24 << 10, "{}", segment.bytes.len());
        plan.after = Some(segment.end);
        segments += 1;
    }
    assert!((5..40).contains(&segments), "{segments}");
    Ok(())
}

#[test]
fn what_is_left_out_is_withheld() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    fill(&log)?;
    log.configure(b"{}".to_vec())?;
    let query = Query::stream("run-ann");
    let mut kept = Kept::default();
    kept.take(&log, &query, 4)?;
    let loaded = load(&site, "copy", &kept)?;
    assert_eq!(
        (loaded.root, loaded.withheld, loaded.erased),
        (log.root(), 4, 0)
    );
    assert!(site.open("copy")?.settings()?.is_some());
    let worst = site
        .verified("copy")?
        .worst()
        .map(runstone::ProblemKind::as_str);
    assert_eq!(worst, Some("incomplete"));
    Ok(())
}

/// Whatever is erased after its segment was written is not in what is loaded, and goes out of a mirror.
#[test]
fn what_is_erased_later_is_gone() -> Outcome {
    for sealing in [Sealing::Required, Sealing::Plain] {
        let (site, log) = Site::new(sealing)?;
        fill(&log)?;
        let (all, mut kept) = (Query::everything(), Kept::default());
        kept.take(&log, &all, 3)?;
        mirror(&site, "mirror", &log, &all, 3)?;
        log.erase(&Erase::new("ann", "gdpr-17-1-b"), &|_, _| {})?;
        fill(&log)?;
        kept.take(&log, &all, 3)?;
        mirror(&site, "mirror", &log, &all, 3)?;
        let loaded = load(&site, "copy", &kept)?;
        assert_eq!((loaded.erased, loaded.withheld), (4, 0));
        for name in ["copy", "mirror"] {
            is_like(&site, name, &log)?;
            let bytes = std::fs::read(site.path(name))?;
            let content = b"{\"n\":2,\"of\":\"ann\"}";
            let is_there = bytes
                .windows(content.len())
                .filter(|at| at == content)
                .count();
            // The second one is of after the erasure.
            assert_eq!(is_there, usize::from(sealing == Sealing::Plain), "{name}");
        }
        // What is written only now has it no more, and is not told of the erasure before it was.
        let mut late = Kept::default();
        late.take(&log, &all, 3)?;
        let loaded = load(&site, "late", &late)?;
        assert_eq!((loaded.erased, loaded.withheld), (4, 0));
        is_like(&site, "late", &log)?;
    }
    Ok(())
}

#[test]
fn what_was_signed_with_a_later_key_is_taken_and_signed_for_by_what_names_it() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    fill(&log)?;
    log.rotate_signing()?;
    log.end_signing_overlap()?;
    fill(&log)?;
    let (all, mut kept) = (Query::everything(), Kept::default());
    kept.take(&log, &all, 4)?;
    let loaded = load(&site, "copy", &kept)?;
    assert_eq!((loaded.signed, loaded.root), (log.size(), log.root()));
    mirror(&site, "mirror", &log, &all, 4)?;
    is_like(&site, "copy", &log)?;
    is_like(&site, "mirror", &log)?;
    // The first of them name none of the keys that signed them.
    kept.0.truncate(1);
    let error = load(&site, "part", &kept).unwrap_err();
    assert_eq!(error.code(), "segments_unsigned", "{error}");
    assert!(!site.path("part").exists());
    let loaded = load_with(UnsignedTail::Taken, &site, "part", &kept)?;
    assert_eq!((loaded.events, loaded.signed), (4, 0));
    // What nobody can check the signature of tells of these events all the same.
    let (_other, other) = Site::new(Sealing::Required)?;
    let mut of_other = Kept::default();
    fill(&other)?;
    of_other.take(&other, &all, 4)?;
    kept.0[0].2 = with_checkpoint_of(&kept.0[0].2, &of_other.0[0].2)?;
    let error = load_with(UnsignedTail::Taken, &site, "other", &kept).unwrap_err();
    assert_eq!(error.code(), "export_contradicted", "{error}");
    Ok(())
}

/// A segment with the checkpoint of another one, and the digest of what it is then.
fn with_checkpoint_of(segment: &[u8], other: &[u8]) -> Outcome<Vec<u8>> {
    let lines = |bytes| -> Outcome<Vec<String>> {
        Ok(std::str::from_utf8(bytes)?
            .lines()
            .map(str::to_owned)
            .collect())
    };
    let (mut lines, other) = (lines(segment)?, lines(other)?);
    let checkpoint = |line: &str| -> Outcome<String> {
        let (_, rest) = line.split_once("\"checkpoint\":\"").ok_or("none")?;
        Ok(rest.split_once('"').ok_or("none")?.0.to_owned())
    };
    lines[0] = lines[0].replace(&checkpoint(&lines[0])?, &checkpoint(&other[0])?);
    lines.pop();
    let mut bytes = lines.join("\n").into_bytes();
    bytes.push(b'\n');
    let digest = Sha256::digest(&bytes);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.extend_from_slice(format!("{{\"sha256\":\"{digits}\"}}\n").as_bytes());
    Ok(bytes)
}

#[test]
fn a_log_that_did_not_grow_from_what_is_there_makes_no_segment() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    fill(&log)?;
    let (all, mut kept) = (Query::everything(), Kept::default());
    let backup = whole(&log)?;
    fill(&log)?;
    let end = kept.take(&log, &all, 5)?.ok_or("nothing")?;
    log.close_blocking()?;
    drop(log);
    site.load("restored", &backup)?;
    let restored = Log::start_epoch(
        &site.path("restored"),
        &EpochStart::default(),
        site.opening(),
    )?;
    let restored = restored.log;
    let error = restored.segment(&plan(Some(&end), &all, 5)).unwrap_err();
    assert!(
        matches!(error, SegmentError::Ahead { known: 17, .. }),
        "{error}"
    );
    fill(&restored)?;
    let error = restored.segment(&plan(Some(&end), &all, 5)).unwrap_err();
    assert!(
        matches!(error, SegmentError::Diverged { events: 17 }),
        "{error}"
    );
    let (_other, other) = Site::new(Sealing::Required)?;
    let error = other.segment(&plan(Some(&end), &all, 5)).unwrap_err();
    assert!(matches!(error, SegmentError::OtherLog { .. }), "{error}");

    // And a mirror takes nothing of what did not grow from it.
    load(&site, "mirror", &kept)?;
    let before = seen(&site.open("mirror")?)?;
    let mut others = Kept::default();
    others.take(&restored, &all, 17)?;
    fill(&restored)?;
    others.take(&restored, &all, 17)?;
    let error = Log::append_segment(others.0[1].2.as_slice(), &site.path("mirror")).unwrap_err();
    assert_eq!(error.code(), "segment_unfit", "{error}");
    assert_eq!(seen(&site.open("mirror")?)?, before);
    Ok(())
}

#[test]
fn only_a_replica_goes_on() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    fill(&log)?;
    let (all, mut kept) = (Query::everything(), Kept::default());
    kept.take(&log, &all, 5)?;
    let bytes = kept.0[1].2.as_slice();
    let refused = |name: &str| Log::append_segment(bytes, &site.path(name)).unwrap_err();
    assert_eq!(refused("log").code(), "busy");
    assert_eq!(refused("none").code(), "log_not_found");
    log.close_blocking()?;
    drop(log);
    assert_eq!(refused("log").code(), "not_a_replica");
    assert!(
        site.open("log")?
            .append_blocking(NewEvent::new("data.noted", "x"))
            .is_ok()
    );
    std::fs::write(site.path("other"), b"something else")?;
    assert_eq!(refused("other").code(), "not_a_log");
    Ok(())
}

/// A few segments, with an erasure.
fn sample(site: &Site, log: &Log) -> Outcome<Kept> {
    let mut kept = Kept::default();
    fill(log)?;
    kept.take(log, &Query::everything(), 4)?;
    log.erase(&Erase::new("bob", "test"), &|_, _| {})?;
    kept.take(log, &Query::everything(), 4)?;
    load(site, "fine", &kept)?;
    Ok(kept)
}

fn refused(site: &Site, kept: &Kept) -> LoadError {
    let error = load(site, "copy", kept).unwrap_err();
    for name in ["copy", "copy.head", "copy.loading"] {
        assert!(!site.path(name).exists(), "{name} is left: {error}");
    }
    error
}

#[test]
fn what_is_missing_or_in_another_place_is_named() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    let kept = sample(&site, &log)?;
    assert!(kept.0.len() >= 4);
    for at in 0..kept.0.len() - 1 {
        let mut without = kept.clone();
        let (from, ..) = without.0.remove(at);
        let error = refused(&site, &without);
        assert_eq!(error.code(), "segment_missing");
        assert!(
            error.to_string().contains(&format!("position {from} ")),
            "{error}"
        );
    }
    let mut swapped = kept.clone();
    (swapped.0[1].2, swapped.0[2].2) = (kept.0[2].2.clone(), kept.0[1].2.clone());
    let error = refused(&site, &swapped);
    assert_eq!(error.code(), "segment_unfit");
    assert!(error.to_string().starts_with("segment at 4: "), "{error}");
    // One of the same positions, which is well-formed: content of it was left out.
    let mut other = kept.clone();
    let end = read_segment(kept.0[0].2.as_slice())?.end;
    let mut plan = plan(Some(&end), &Query::stream("run-none"), 4);
    other.0[1].2 = log.segment(&plan)?.ok_or("nothing")?.bytes;
    let error = refused(&site, &other);
    assert!(error.to_string().starts_with("segment at 8: "), "{error}");
    assert!(
        error
            .to_string()
            .contains("the segment before it is another one"),
        "{error}"
    );
    // The last one is followed by none that names it; it is what it says.
    plan.after = None;
    assert_eq!(refused(&site, &Kept::default()).code(), "segment_missing");
    Ok(())
}

#[test]
fn every_byte_of_a_segment_counts() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    let kept = sample(&site, &log)?;
    let middle = &kept.0[1].2;
    let mirror = site.path("mirror");
    let mut first = kept.clone();
    first.0.truncate(1);
    load(&site, "mirror", &first)?;
    let begun = Log::replica_end(&mirror)?;
    // Taking one costs some milliseconds: the first line and the last, and some of the rest.
    let start = middle
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or_default();
    let places =
        (0..middle.len()).filter(|at| *at < start || at % 37 == 0 || at + 90 > middle.len());
    for at in places {
        let mut changed = kept.clone();
        changed.0[1].2[at] ^= 1 << (at % 8);
        let error = refused(&site, &changed);
        assert!(
            error.to_string().starts_with("segment at 4: "),
            "{at}: {error}"
        );
        let known = [
            "not_a_segment",
            "newer_format",
            "export_malformed",
            "export_contradicted",
            "segment_unfit",
        ];
        assert!(known.contains(&error.code()), "{at}: {}", error.code());
        let error = Log::append_segment(changed.0[1].2.as_slice(), &mirror).unwrap_err();
        assert!(known.contains(&error.code()), "{at}: {}", error.code());
    }
    for at in (0..middle.len()).step_by(97) {
        let mut cut = kept.clone();
        cut.0[1].2.truncate(at);
        refused(&site, &cut);
    }
    assert_eq!(Log::replica_end(&mirror)?, begun);
    for (.., bytes) in &kept.0[1..] {
        Log::append_segment(bytes.as_slice(), &mirror)?;
    }
    is_like(&site, "mirror", &log)
}

/// Whoever can make the checksum right still cannot change what the log says.
#[test]
fn a_segment_that_was_made_again_is_refused() -> Outcome {
    let (site, log) = Site::new(Sealing::Required)?;
    let kept = sample(&site, &log)?;
    let text = String::from_utf8(kept.0[1].2.clone())?;
    let (_, body) = text.split_once('\n').ok_or("one line")?;
    let envelope = body
        .split("\"envelope\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let envelope = envelope.ok_or("no envelope")?.to_owned();
    let changes = [
        (
            format!("\"envelope\":\"{envelope}\""),
            "\"absent\":\"erased\"".to_owned(),
        ),
        (envelope.clone(), format!("BB{}", &envelope[2..])),
        ("\"stored_us\":".to_owned(), "\"stored_us\":1".to_owned()),
        ("\"to\":8".to_owned(), "\"to\":9".to_owned()),
        (
            "\"to\":8".to_owned(),
            "\"to\":18446744073709551615".to_owned(),
        ),
        ("\"from\":4".to_owned(), "\"from\":3".to_owned()),
    ];
    for (from, to) in changes {
        let changed = text.replacen(&from, &to, 1);
        assert_ne!(changed, text, "{from}");
        let mut made = kept.clone();
        made.0[1].2 = super::hostile::mended(&super::hostile::lines(changed.as_bytes()));
        let error = refused(&site, &made);
        // What is not under the root is under the digest that the next one names.
        let named = error.to_string();
        let names = ["segment at 4: ", "segment at 8: "];
        assert!(
            names.iter().any(|name| named.starts_with(name)),
            "{from}: {named}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever is done to a log between its segments, they make the same log; a mirror too.
    #[test]
    fn any_log_comes_back(is_sealed in any::<bool>(), steps in prop::collection::vec(step(), 1..10), most in 1..12_u64) {
        let sealing = if is_sealed { Sealing::Required } else { Sealing::Plain };
        comes_back(sealing, &steps, most).unwrap();
    }
}

fn comes_back(sealing: Sealing, steps: &[Step], most: u64) -> Outcome {
    let (site, mut log) = Site::new(sealing)?;
    let (all, mut kept) = (Query::everything(), Kept::default());
    for step in steps {
        log = done(&site, log, step)?;
        kept.take(&log, &all, most)?;
        mirror(&site, "mirror", &log, &all, most)?;
    }
    let loaded = load(&site, "copy", &kept)?;
    assert_eq!(loaded.withheld, 0);
    let erased = log.read(Read::new(all))?.map(Result::unwrap);
    let erased = erased.filter(|record| record.payload == runstone::Payload::Erased);
    assert_eq!(loaded.erased, erased.count() as u64);
    is_like(&site, "copy", &log)?;
    is_like(&site, "mirror", &log)
}
