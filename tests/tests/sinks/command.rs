//! Commands as sinks: what their exit codes come to, and that none outlives its time.

use runstone::sinks::{Destination, Kinds, SinkChange, SinkState};
use runstone::{Query, SinkConfig};
use runstone_tests::sinks::{CONTRACT, Made, Site, lines, until};
use std::fs;
use std::time::Duration;

/// Seconds that a delivery has that nothing may cut short.
const PATIENT: Duration = Duration::from_secs(3_600);

#[test]
fn commands_keep_the_contract() {
    for (property, check) in CONTRACT {
        eprintln!("{property}");
        check(&|site| {
            let path = site.path("out.jsonl");
            Made {
                to: Destination::command(["tee", "-a", path.to_str().unwrap()]),
                kinds: Kinds::new(),
                seen: Box::new(move || lines(&path)),
            }
        });
    }
}

/// A command that keeps what it reads, and ends as a file says.
fn ending(site: &Site) -> Destination {
    let (out, code) = (site.path("out.jsonl"), site.path("code"));
    let script = format!(
        "cat > read; code=$(cat {}); [ $code = 0 ] && cat read >> {}; exit $code",
        code.display(),
        out.display()
    );
    let script = script.replace("read", &site.path("read").display().to_string());
    Destination::command(["sh", "-c", &script])
}

#[test]
fn its_exit_code_says_what_became_of_a_batch() {
    for code in [65, 77, 78, 1, 127] {
        let site = Site::default();
        let says = |code: i32| fs::write(site.path("code"), code.to_string()).unwrap();
        says(code);
        site.add(
            &SinkConfig::new("ship", ending(&site))
                .timeout(PATIENT)
                .tries(2),
        );
        site.append(2);
        let everything = site.positions(Query::everything());
        let runner = site.run(&Kinds::new());
        let failures = || site.sinks().failures("ship").unwrap();
        let is_stopped = || site.status("ship").state == SinkState::Stopped;
        match code {
            65 => site.pass_until(60, || site.status("ship").parked == everything.len() as u64),
            77 => {
                site.pass_until(300, is_stopped);
                assert_eq!(failures().len(), 5);
            }
            78 => {
                site.pass_until(0, is_stopped);
                assert_eq!(failures().len(), 1);
            }
            _ => site.pass_until(60, || failures().len() > 8),
        }
        assert_eq!(lines(&site.path("out.jsonl")).len(), 0, "{code}");
        says(0);
        if is_stopped() {
            until(|| runner.running() == 0, || {});
        }
        let change = match code {
            65 => SinkChange::ReplayParked,
            _ => SinkChange::Resume,
        };
        site.sinks().change_blocking("ship", change).unwrap();
        site.pass_until(60, || {
            lines(&site.path("out.jsonl")).len() == everything.len()
        });
        let seen = lines(&site.path("out.jsonl"));
        let positions: Vec<_> = seen.iter().map(|seen| seen.position).collect();
        assert_eq!(positions, everything, "{code}");
    }
}

#[test]
fn one_that_does_not_read_everything_has_not_taken_it() {
    let site = Site::default();
    site.add(&SinkConfig::new("ship", Destination::command(["true"])).timeout(PATIENT));
    // More than a pipe holds.
    site.append(1_000);
    let _runner = site.run(&Kinds::new());
    site.pass_until(60, || site.sinks().failures("ship").unwrap().len() > 3);
    let status = site.status("ship");
    assert_eq!(
        (status.parked, status.delivered, status.is_failing),
        (0, 0, true)
    );
}

/// Whether a process ended. Whoever it was given to may take a moment to see that.
fn is_gone(process: u32) -> bool {
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    }
}

#[test]
fn what_it_leaves_behind_ends_with_it() {
    let site = Site::default();
    let (pid, pipe) = (site.path("pid"), site.path("pipe"));
    let (pipe, file) = (pipe.display(), pid.display());
    let script =
        format!("cat > /dev/null; mkfifo {pipe} && {{ cat <> {pipe} & echo $! > {file}; }}; true");
    let command = Destination::command(["sh", "-c", &script]);
    site.add(&SinkConfig::new("ship", command).timeout(PATIENT));
    let runner = site.run(&Kinds::new());
    runner.caught_up_blocking(site.log().durable_size());
    let begun = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    until(|| is_gone(begun), || {});
    runner.stop();
}

#[test]
fn one_that_takes_too_long_is_killed_with_what_it_began() {
    let site = Site::default();
    let pid = site.path("pid");
    // It waits for bytes that nobody writes.
    let pipe = site.path("pipe");
    let (pipe, file) = (pipe.display(), pid.display());
    let script = format!("mkfifo {pipe}; cat <> {pipe} & echo $! > {file}; wait");
    let slow = Destination::command(["sh", "-c", &script]);
    site.add(&SinkConfig::new("slow", slow).timeout(Duration::from_secs(30)));
    let runner = site.run(&Kinds::new());
    let begun = || fs::read_to_string(&pid).ok()?.trim().parse::<u32>().ok();
    until(|| begun().is_some(), || {});
    let process = begun().unwrap();
    assert!(!is_gone(process));
    site.timer.advance(30_000_000);
    until(|| is_gone(process), || {});
    until(|| !site.sinks().failures("slow").unwrap().is_empty(), || {});
    assert_eq!(site.sinks().failures("slow").unwrap()[0].code, "timed_out");
    drop(runner);
}
