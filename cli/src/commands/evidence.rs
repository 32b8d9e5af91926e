//! `evidence`: proofs of events, as a directory for somebody outside.

use crate::args::EvidenceArgs;
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{Output, Progress, bytes, count};
use crate::session::{Access, Session};
use runstone::Query;
use runstone::pack::{FILES, Pack, PackReport, PackStep};
use runstone::receipt::MAX_FILE_LEN;
use serde::Serialize;
use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// A file of the pack.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a Path,
    sha256: &'a str,
}

pub(crate) fn run(session: &Session, args: &EvidenceArgs) -> Result<Exit, Failure> {
    let pack = pack_of(args)?;
    // Disclosures are recorded.
    let access = if args.payloads {
        Access::Write
    } else {
        Access::Events
    };
    let output = &session.output;
    let bars = RefCell::new(None::<(PackStep, Progress)>);
    let report = session.with(access, |log| {
        let written = pack.write(log, &args.dir, &|progress| {
            let mut bars = bars.borrow_mut();
            if bars.as_ref().is_none_or(|(step, _)| *step != progress.step) {
                *bars = None;
            }
            let (_, bar) =
                bars.get_or_insert_with(|| (progress.step, bar_of(output, progress.step)));
            bar.set(progress.done, progress.all);
        });
        Ok(written?)
    });
    drop(bars);
    let report = report?;
    if output.json {
        list(&args.dir)?;
    } else {
        Output::text(&format!("{}\n", summary(&args.dir, &report)))?;
    }
    if report.withheld > 0 {
        let left_out = count(report.withheld);
        let message =
            format!("{left_out} payloads are not in this copy of the log: see `withheld`");
        output.warn("payloads_withheld", &message);
    }
    output.note("keep its checkpoint elsewhere; it shows a history that was rewritten later");
    Ok(Exit::Done)
}

fn pack_of(args: &EvidenceArgs) -> Result<Pack, Failure> {
    let query = match (&args.query, &args.stream) {
        (Some(query), _) => query.clone(),
        (None, Some(stream)) => Query::stream(stream),
        (None, None) => Query::everything(),
    };
    let mut pack = Pack::of(query);
    (pack.from, pack.to) = (args.from, args.to);
    if let Some(path) = &args.since {
        pack.since = Some(files::read_text(path, MAX_FILE_LEN)?);
    }
    pack.payloads = args.payloads;
    pack.recipient.clone_from(&args.recipient);
    pack.entries = args.entries;
    Ok(pack)
}

fn bar_of(output: &Output, step: PackStep) -> Progress {
    let what = match step {
        PackStep::Disclosures => "disclosing",
        PackStep::Tiles => "tiles",
        _ => "receipts",
    };
    Progress::events(output, what)
}

/// One line a file, as the pack itself lists them.
fn list(dir: &Path) -> Result<(), Failure> {
    let path = dir.join(FILES);
    let failed = |error| Failure::from(Report::file(&path, &error));
    let sums = BufReader::new(File::open(&path).map_err(failed)?);
    let mut results = Output::results();
    for line in sums.lines() {
        let line = line.map_err(failed)?;
        if let Some((sha256, name)) = line.split_once("  ") {
            results.json(&Line {
                file: &dir.join(name),
                sha256,
            })?;
        }
    }
    results.flush()
}

fn summary(dir: &Path, report: &PackReport) -> String {
    let parts = [
        (report.disclosed, "payloads disclosed"),
        (report.erased, "erased"),
        (report.erasures, "erasures"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let mut parts: Vec<String> = parts
        .map(|(number, what)| format!(", {} {what}", count(*number)))
        .collect();
    if let Some(previous) = report.previous {
        parts.push(format!(
            ", consistent with {} events before",
            count(previous)
        ));
    }
    format!(
        "{}: receipts of {} events of {}{}; {} files, {}",
        dir.display(),
        count(report.events),
        count(report.size),
        parts.concat(),
        count(report.files),
        bytes(report.bytes)
    )
}
