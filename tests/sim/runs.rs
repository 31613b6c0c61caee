//! Thousands of made-up runs, those that were found by hand, and broken copies that must be found.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::run::{Broken, try_out};
use super::scenario::Scenario;

/// What `make test` tries; `make sim` takes as many as it is told.
const SEEDS: u64 = 2_000;
/// Once so many have failed no more are tried.
const FAILURES_MAX: usize = 20;

#[test]
fn runs_keep_their_rules_whatever_the_cluster_does() {
    let (seeds, begun) = (seeds(), Instant::now());
    let failures = failures(seeds.clone());
    let (count, seconds) = (seeds.end - seeds.start, begun.elapsed().as_secs_f64());
    println!("{count} seeds in {seconds:.1} s, {:.0} a second", count as f64 / seconds);
    for (seed, violation) in &failures {
        println!("SIM_SEED={seed}: {violation}");
    }
    if let Some((seed, violation)) = failures.into_iter().next() {
        report(seed, violation);
    }
}

/// Which of the seeds fail, and with what. They are taken in order by as many threads as there are cores, so
/// the first is the lowest.
fn failures(seeds: Range<u64>) -> BTreeMap<u64, String> {
    let (next, failures) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Some(violation) = violation(&Scenario::of_seed(seed), seed) {
                let mut failures = failures.lock().expect("no thread panics with it");
                failures.insert(seed, violation);
                if failures.len() >= FAILURES_MAX {
                    next.store(seeds.end, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    failures.into_inner().expect("no thread panics with it")
}

/// Which rule a run has broken; a panic is one.
fn violation(scenario: &Scenario, seed: u64) -> Option<String> {
    let tried = catch_unwind(AssertUnwindSafe(|| try_out(scenario, seed, Broken::Nothing, false).result));
    match tried {
        Ok(result) => result.err(),
        Err(_) => Some("the run panics".to_owned()),
    }
}

#[test]
fn a_run_without_a_limit_of_slots_is_caught() {
    caught(Broken::NoSlotLimit, "the limit is");
}

#[test]
fn a_run_that_adopts_nothing_after_a_conflict_is_caught() {
    caught(Broken::NoAdoptionAfterConflict, "");
}

#[test]
fn a_verdict_before_its_proof_is_caught() {
    caught(Broken::VerdictBeforeProof, "and has not");
}

#[test]
fn a_create_after_the_deadline_is_caught() {
    caught(Broken::CreatesAfterTheDeadline, "after the deadline");
}

fn caught(broken: Broken, words: &str) {
    let found = (0..SEEDS).find_map(|seed| {
        let violation = try_out(&Scenario::of_seed(seed), seed, broken, false).result.err()?;
        violation.contains(words).then_some((seed, violation))
    });
    let (seed, violation) = found.unwrap_or_else(|| panic!("{broken:?} is not caught"));
    println!("{broken:?} is caught by seed {seed}: {violation}");
}

fn seeds() -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    }
}

/// Makes the scenario as small as it can be, and tells its story.
fn report(seed: u64, violation: String) -> ! {
    let violation_of = |scenario: &Scenario| self::violation(scenario, seed);
    let (mut scenario, mut violation) = (Scenario::of_seed(seed), violation);
    while let Some((simpler, of_it)) = scenario.simpler().into_iter().find_map(|simpler| {
        let of_it = violation_of(&simpler)?;
        Some((simpler, of_it))
    }) {
        (scenario, violation) = (simpler, of_it);
    }
    let log = catch_unwind(AssertUnwindSafe(|| try_out(&scenario, seed, Broken::Nothing, true).log));
    let log = log.unwrap_or_default().join("\n");
    panic!("SIM_SEED={seed}: {violation}\n{log}\n{scenario:#?}");
}
