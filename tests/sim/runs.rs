//! Thousands of made-up runs, those that were found by hand, and broken copies that must be found.

use std::ops::Range;

use super::run::{Broken, try_out};
use super::scenario::Scenario;

const SEEDS: u64 = 2_000;

#[test]
fn runs_keep_their_rules_whatever_the_cluster_does() {
    for seed in seeds() {
        if let Err(violation) = try_out(&Scenario::of_seed(seed), seed, Broken::Nothing, false).0 {
            report(seed, violation);
        }
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
        let violation = try_out(&Scenario::of_seed(seed), seed, broken, false).0.err()?;
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
    let (mut scenario, mut violation) = (Scenario::of_seed(seed), violation);
    while let Some((simpler, of_it)) = scenario.simpler().into_iter().find_map(|simpler| {
        let of_it = try_out(&simpler, seed, Broken::Nothing, false).0.err()?;
        Some((simpler, of_it))
    }) {
        (scenario, violation) = (simpler, of_it);
    }
    let (_, log) = try_out(&scenario, seed, Broken::Nothing, true);
    panic!("SIM_SEED={seed}: {violation}\n{}\n{scenario:#?}", log.join("\n"));
}
