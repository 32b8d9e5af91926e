//! The simulator over many seeds.
//!
//! `RUNSTONE_SEEDS=10000` runs the seeds from 0 to 9,999, `RUNSTONE_SEEDS=42..43` seed 42 alone, with a trace. By
//! default a fixed slice runs, and a few seeds that nobody has run before, which are printed.

use runstone_codec::{Entropy as _, OsEntropy};
use runstone_projections::agents::RetireReason;
use runstone_tests::simulator::{Tally, run, run_guided};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds that always run.
const FIXED: std::ops::Range<u64> = 856..932;
/// Seeds that are new each time.
const FRESH: u64 = 12;

/// What agents and people are refused in those that always run, among others.
const ANSWERS: [&str; 43] = [
    "admission_incomplete",
    "agent_idle",
    "agent_not_found",
    "agent_retired",
    "agent_revoked",
    "already_decided",
    "approval_expired",
    "auto_retire_disabled",
    "bad_lease",
    "bad_ttl",
    "budget_exceeded",
    "budget_not_found",
    "call_unknown",
    "cycle_detected",
    "dependency_cycle",
    "dependency_not_found",
    "helper_cap_reached",
    "helper_chain_forbidden",
    "identity_loop",
    "in_flight",
    "key_conflict",
    "name_taken",
    "not_a_helper",
    "not_allowed",
    "not_asked",
    "not_your_turn",
    "other_arguments",
    "own_request",
    "pending",
    "rejected",
    "reprocess_detected",
    "reservation_ended",
    "run_held",
    "stale_claim",
    "task_exists",
    "task_held",
    "task_in_tray",
    "task_move_refused",
    "task_not_claimable",
    "task_not_in_tray",
    "tier_limit",
    "tray_closed",
    "tray_not_found",
];

/// How helpers at work end in those that always run.
const ENDS: [&str; 12] = [
    "claim_errors",
    "dropped",
    "helper_cap_reached",
    "max_tasks",
    "panicked",
    "reaped",
    "reaped_with_task",
    "revoked",
    "stopped_by_parent",
    "stopped_by_person",
    "tray_drained",
    "ttl_expired",
];

#[expect(clippy::disallowed_methods, reason = "a test may be told its seeds")]
fn asked() -> Option<std::ops::Range<u64>> {
    let text = std::env::var("RUNSTONE_SEEDS").ok()?;
    let range = match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..text.parse().unwrap(),
    };
    Some(range)
}

fn add(total: &mut Tally, tally: &Tally) {
    total.requests += tally.requests;
    total.crashes += tally.crashes;
    total.recovery_crashes += tally.recovery_crashes;
    total.faults += tally.faults;
    total.detected += tally.detected;
    total.erasures += tally.erasures;
    total.epochs += tally.epochs;
    total.replicas_read += tally.replicas_read;
    total.successions += tally.successions;
    total.calls += tally.calls;
    total.taken += tally.taken;
    total.drained += tally.drained;
    total.dead += tally.dead;
    add_each(&mut total.ended, &tally.ended);
    add_each(&mut total.retired, &tally.retired);
    total.copied += tally.copied;
    total.copied_again += tally.copied_again;
    total.followed += tally.followed;
    total.cut += tally.cut;
    total.events += tally.events;
    add_each(&mut total.refused, &tally.refused);
}

fn add_each(total: &mut BTreeMap<&'static str, u64>, counts: &BTreeMap<&'static str, u64>) {
    for (word, count) in counts {
        *total.entry(word).or_default() += count;
    }
}

fn run_all(seeds: std::ops::Range<u64>) -> Tally {
    // One that is asked for alone tells what it does.
    let trace = seeds.end == seeds.start + 1;
    let mut total = Tally::default();
    let mut failed = 0;
    for seed in seeds {
        let why = match catch_unwind(AssertUnwindSafe(|| run(seed, trace))) {
            Ok(Ok(tally)) => {
                add(&mut total, &tally);
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked, see above".to_owned(),
        };
        failed += 1;
        let again = format!("RUNSTONE_SEEDS={seed}..{}", seed + 1);
        println!("{again} cargo test -p runstone-tests --test simulator fixed: {why}");
    }
    println!("{total:?}");
    assert!(failed == 0, "{failed} seeds failed");
    total
}

#[test]
fn a_fixed_slice_of_seeds() {
    let total = run_all(asked().unwrap_or(FIXED));
    let met = [
        total.detected,
        total.cut,
        total.taken,
        total.drained,
        total.dead,
        total.copied,
        total.copied_again,
        total.followed,
    ];
    let is_met = total.crashes > 100 && !met.contains(&0);
    assert!(asked().is_some() || is_met, "{total:?}");
    let is_gone = |why: &RetireReason| total.retired.contains_key(why.as_str());
    let gone = RetireReason::ALL.iter().all(is_gone);
    assert!(asked().is_some() || gone, "{total:?}");
    for end in ENDS {
        let is_met = total.ended.contains_key(end);
        assert!(asked().is_some() || is_met, "{end}: {total:?}");
    }
    // A walk that never comes to an answer proves nothing about it.
    for code in ANSWERS {
        let is_given = total.refused.contains_key(code);
        assert!(asked().is_some() || is_given, "{code}: {total:?}");
    }
}

#[test]
fn seeds_that_nobody_has_run() {
    if asked().is_none() {
        let mut first = [0; 8];
        OsEntropy.fill(&mut first).unwrap();
        let first = u64::from_le_bytes(first);
        let first = first >> 16;
        println!("seeds {first}..{}", first + FRESH);
        run_all(first..first + FRESH);
    }
}

/// A seed is a promise: the same again.
#[test]
fn a_seed_repeats_exactly() {
    for seed in [3, 7, 11] {
        assert_eq!(run(seed, false).unwrap(), run(seed, false).unwrap());
    }
}

/// What a fuzzer chooses decides what happens, again and again.
#[test]
fn choices_are_followed() {
    let tally = |choices: &[u8]| run_guided(choices, false).unwrap();
    // Sealed, fields, three sizes of maintenance, two lives; no crash and no fault is planned.
    let calm = [0, 0, 0, 0, 0, 0, 0, 9, 9];
    assert_eq!(tally(&calm), tally(&calm));
    assert_ne!(tally(&calm), tally(&[7; 40]));
}
