//! Faults that were found by hand and were a matter of order or of a lost answer: each is a scenario of its own,
//! tried with many timings, and has to end as it says.

use std::collections::BTreeSet;

use quayctl_core::outcome::{Reason, Verdict};
use quayctl_core::runner::RunEnd;

use super::run::{Broken, Tried, try_out};
use super::scenario::{Chances, Happening, Image, Scenario};
use super::world::{Ending, Job, Millis, World};
use quayctl_core::runner::fixtures::EPOCH_SECONDS;

/// Timings of each.
const TIMINGS: u64 = 100;
const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
/// Why a node has failed; `None`: it has not.
type Reasons = Vec<Option<Reason>>;

/// One image that takes so long, and an API server and watches that are fast.
fn pulling(nodes: usize, image: Image) -> Scenario {
    let mut scenario = Scenario::calm(nodes);
    scenario.registry.values_mut().for_each(|of| *of = image);
    (scenario.lag, scenario.api_lag, scenario.watch_lag) = (100, 10, 50);
    scenario
}

fn with(mut scenario: Scenario, script: &[(Millis, Happening)]) -> Scenario {
    scenario.script = script.to_vec();
    scenario
}

/// The world and what its one run has come to, for each timing.
fn each(scenario: &Scenario, mut check: impl FnMut(&World, &RunEnd)) {
    each_of_many(scenario, |world, ends| match ends {
        [end] => check(world, end),
        _ => panic!("{} runs have ended", ends.len()),
    });
}

fn each_of_many(scenario: &Scenario, mut check: impl FnMut(&World, &[RunEnd])) {
    for seed in 0..TIMINGS {
        let Tried { result, world, log } = try_out(scenario, seed, Broken::Nothing, true);
        let checked = result.map(|ends| {
            let check = std::panic::AssertUnwindSafe(|| check(&world, &ends));
            std::panic::catch_unwind(check)
        });
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(_)) => panic!("timing {seed}:\n{}", log.join("\n")),
            Err(violation) => panic!("timing {seed}: {violation}\n{}", log.join("\n")),
        }
    }
}

fn reasons(end: &RunEnd) -> Reasons {
    let results = end.results.iter().flatten();
    let reasons = results.map(|result| match &result.outcome.verdict {
        Verdict::Succeeded => None,
        Verdict::Failed(failure) => Some(failure.reason),
    });
    reasons.collect()
}

/// Of which run's Jobs the nodes' results tell, where they were taken over.
fn adopted(end: &RunEnd) -> Vec<Option<&str>> {
    let results = end.results.iter().flatten();
    results.map(|result| result.adopted.as_ref().map(|adopted| adopted.run_id.as_str())).collect()
}

/// Those that bear our labels, and how they have ended.
fn ours(world: &World) -> Vec<(&Job, Option<Ending>)> {
    world.jobs.values().filter(|job| job.ours).map(|job| (job, job.over)).collect()
}

fn count_complete(world: &World) -> usize {
    ours(world).iter().filter(|(_, over)| *over == Some(Ending::Complete)).count()
}

fn has_yielded(job: &Job) -> bool {
    job.seen.annotation.as_ref().is_some_and(|text| text.contains("yielded"))
}

#[test]
fn the_end_of_an_adopted_job_that_is_told_of_before_its_adoption_counts() {
    // It ends while the lists are still out.
    let mut scenario = pulling(1, Image::Present(SECOND));
    (scenario.api_lag, scenario.foreign_at_start) = (4 * SECOND, vec![(0, true)]);
    each(&scenario, |world, end| {
        assert_eq!((reasons(end), adopted(end)), (vec![None], vec![Some("earlier1")]));
        assert_eq!(ours(world).len(), 1);
        assert!(world.now < 20 * SECOND, "{} ms", world.now);
    });
}

#[test]
fn a_refusal_by_an_api_server_that_has_just_started_is_not_believed() {
    let refused = |millis| with(pulling(2, Image::Present(SECOND)), &[(0, Happening::AccessRefused(millis))]);
    each(&refused(25 * SECOND), |world, end| {
        assert_eq!(reasons(end), [None, None]);
        assert!(end.error.is_none() && count_complete(world) == 2);
    });
    // One that lasts is; where its creates had gone through it does not see what has become of them.
    each(&refused(5 * MINUTE), |world, end| {
        let reason = if ours(world).is_empty() { Reason::Forbidden } else { Reason::Interrupted };
        assert!(end.error.is_some() && world.now < 40 * SECOND, "{} ms", world.now);
        assert_eq!(reasons(end), [Some(reason); 2]);
    });
}

#[test]
fn of_two_runs_at_the_same_moment_one_does_the_work_and_the_other_follows_it() {
    let mut scenario = with(pulling(1, Image::Present(30 * SECOND)), &[(0, Happening::SecondRun)]);
    // Both create theirs within two seconds, and the watches tell of it afterwards.
    (scenario.api_lag, scenario.watch_lag) = (900, 5 * SECOND);
    let mut winners = BTreeSet::new();
    let mut quarrels = 0;
    each_of_many(&scenario, |world, ends| {
        assert_eq!(ends.len(), 2);
        let done: Vec<&Job> = ours(world)
            .into_iter()
            .filter(|(_, over)| *over == Some(Ending::Complete))
            .map(|(job, _)| job)
            .collect();
        let [done] = done[..] else { panic!("{} are Complete", done.len()) };
        for end in ends {
            let own = end.plan.identity.run_id.as_str();
            let expected = (own != done.seen.run_id).then_some(done.seen.run_id.as_str());
            assert_eq!((reasons(end), adopted(end)), (vec![None], vec![expected]));
        }
        for (other, over) in ours(world).into_iter().filter(|(job, _)| job.seen.key != done.seen.key) {
            assert!(has_yielded(other) && over == Some(Ending::Failed("DeadlineExceeded")), "{other:?}");
            assert!(other.seen.age() > done.seen.age());
            quarrels += 1;
        }
        winners.insert(done.seen.run_id.clone());
    });
    assert_eq!(winners.len(), 2, "either may be first");
    assert!(quarrels > 20, "{quarrels}");
}

#[test]
fn after_an_outage_longer_than_its_deadline_a_job_is_asked_for_before_it_is_given_up() {
    let outage = [(2 * SECOND, Happening::ApiIsDown(6 * MINUTE))];
    each(&with(pulling(1, Image::Present(10 * SECOND)), &outage), |_, end| {
        assert_eq!((reasons(end), adopted(end)), (vec![None], vec![None]));
    });
    each(&with(pulling(1, Image::Stuck), &outage), |world, end| {
        assert_eq!(reasons(end), [Some(Reason::DeadlineExceeded)]);
        assert!(world.now < 7 * MINUTE, "{} ms", world.now);
    });
}

#[test]
fn a_job_that_is_suspended_goes_on_when_it_is_admitted() {
    let suspended = [(2 * SECOND, Happening::JobSuspended(0, 20 * MINUTE))];
    each(&with(pulling(1, Image::Present(10 * SECOND)), &suspended), |world, end| {
        assert_eq!((reasons(end), ours(world).len()), (vec![None], 1));
        assert!(world.now > 20 * MINUTE);
    });
}

#[test]
fn a_job_that_was_suspended_and_admitted_in_an_outage_has_its_whole_deadline() {
    // Its pull takes 250 s of its 300 s, and begins anew 110 s after it was created.
    for outage in [200 * SECOND, 330 * SECOND] {
        let script = [
            (2 * SECOND, Happening::ApiIsDown(outage)),
            (10 * SECOND, Happening::JobSuspended(0, 100 * SECOND)),
        ];
        each(&with(pulling(1, Image::Present(250 * SECOND)), &script), |world, end| {
            assert_eq!((reasons(end), ours(world).len()), (vec![None], 1));
            assert!(world.now > 360 * SECOND);
        });
    }
}

#[test]
fn a_create_without_an_answer_is_looked_for() {
    let mut scenario = pulling(2, Image::Present(10 * SECOND));
    scenario.chances = Chances { unanswered_committed: 1_000, ..Chances::default() };
    each(&scenario, |world, end| {
        assert_eq!((reasons(end), ours(world).len()), (vec![None, None], 2));
        let at = end.results.iter().flatten().filter_map(|result| result.finished_at).max();
        let at = at.map(|at| at.as_second() - EPOCH_SECONDS);
        assert!(at.is_some_and(|at| at < 20), "its watch shows it: {at:?} s");
    });
    scenario.chances = Chances { unanswered: 1_000, ..Chances::default() };
    each(&scenario, |world, end| {
        assert_eq!((reasons(end), ours(world).len()), (vec![Some(Reason::ApiError); 2], 0));
        assert!(world.now < 3 * MINUTE, "{} ms", world.now);
    });
}

#[test]
fn a_create_without_an_answer_that_no_watch_shows_is_asked_for() {
    let mut scenario = with(pulling(1, Image::Present(SECOND)), &[(0, Happening::WatchBreaks(150 * SECOND))]);
    scenario.chances = Chances { unanswered_committed: 1_000, ..Chances::default() };
    each(&scenario, |world, end| {
        assert_eq!((reasons(end), ours(world).len()), (vec![None], 1));
    });
}

#[test]
fn a_create_whose_answer_was_lost_is_its_own_when_it_is_sent_again() {
    let mut scenario = pulling(3, Image::Present(40 * SECOND));
    scenario.chances = Chances { answer_lost: 1_000, ..Chances::default() };
    each(&scenario, |world, end| {
        assert_eq!((reasons(end), adopted(end)), (vec![None; 3], vec![None; 3]));
        assert_eq!((ours(world).len(), count_complete(world), end.created), (3, 3, 3));
    });
}

#[test]
fn a_job_that_lost_its_label_is_followed_by_its_pod_and_left_alone() {
    let taken = [(100, Happening::LabelTaken(0))];
    for (image, reason) in
        [(Image::Present(30 * SECOND), None), (Image::NotFound, Some(Reason::ImageNotFound))]
    {
        each(&with(pulling(1, image), &taken), |world, end| {
            assert_eq!((reasons(end), adopted(end)), (vec![reason], vec![None]));
            let job = world.jobs.values().next().expect("one");
            assert!(!job.ours && job.seen.annotation.is_none() && job.seen.deadline_seconds == 300);
        });
    }
}

#[test]
fn a_node_that_was_replaced_by_another_of_its_name_is_gone() {
    let replaced = [(2 * SECOND, Happening::NodeReplaced(0))];
    each(&with(pulling(1, Image::Present(100 * SECOND)), &replaced), |_, end| {
        assert_eq!(reasons(end), [None]);
    });
    each(&with(pulling(1, Image::Stuck), &replaced), |world, end| {
        assert_eq!(reasons(end), [Some(Reason::NodeGone)]);
        assert!(world.now < 6 * MINUTE, "{} ms", world.now);
    });
}

#[test]
fn a_dead_node_gives_its_slot_back() {
    let mut scenario =
        with(pulling(2, Image::Present(10 * SECOND)), &[(2 * SECOND, Happening::NodeDown(0, HOUR))]);
    scenario.concurrency = 1;
    each(&scenario, |world, end| {
        assert_eq!(reasons(end), [Some(Reason::NodeNotReady), None]);
        assert!(world.now < 6 * MINUTE, "{} ms", world.now);
    });
}

#[test]
fn a_quota_that_is_full_is_waited_out_while_there_is_hope() {
    let mut scenario = pulling(3, Image::Present(10 * SECOND));
    (scenario.quota, scenario.keep_seconds) = (Some(1), 30);
    each(&scenario, |_, end| assert_eq!(reasons(end), [None; 3]));
    scenario.keep_seconds = 86_400;
    each(&scenario, |world, end| {
        let (done, refused): (Reasons, Reasons) = reasons(end).into_iter().partition(Option::is_none);
        assert_eq!((done.len(), refused), (1, vec![Some(Reason::Quota); 2]));
        assert!(world.now < 5 * MINUTE && ours(world).len() == 1, "{} ms", world.now);
    });
}

#[test]
fn what_a_killed_process_has_sent_last_is_its_successors() {
    let mut scenario = pulling(1, Image::Present(MINUTE));
    scenario.api_lag = 2 * SECOND;
    for same_run in [true, false] {
        let mut jobs = BTreeSet::new();
        each(&with(scenario.clone(), &[(1_200, Happening::ProcessKilled(1, same_run))]), |world, end| {
            assert_eq!(reasons(end), [None]);
            assert_eq!(count_complete(world), 1);
            assert!(
                ours(world).iter().all(
                    |(job, over)| over.is_some() && (has_yielded(job) || *over == Some(Ending::Complete))
                )
            );
            jobs.insert(ours(world).len());
        });
        // With another run's name both are there for a moment.
        assert_eq!(jobs.last(), Some(if same_run { &1 } else { &2 }));
    }
}

#[test]
fn a_younger_job_whose_process_died_is_ended_by_the_elders_run() {
    let mut scenario = pulling(1, Image::Present(2 * MINUTE));
    (scenario.api_lag, scenario.watch_lag) = (2 * SECOND, 5 * SECOND);
    let script = [(0, Happening::SecondRun), (4_100, Happening::ProcessLost)];
    let mut ended = 0;
    each(&with(scenario, &script), |world, end| {
        assert_eq!(reasons(end), [None]);
        let done = ours(world).into_iter().filter(|(_, over)| *over == Some(Ending::Complete)).count();
        assert_eq!(done, 1);
        let own = end.plan.identity.run_id.as_str();
        ended += usize::from(ours(world).iter().any(|(job, _)| job.seen.run_id != own && has_yielded(job)));
    });
    assert!(ended > 10, "{ended}");
}

#[test]
fn a_live_job_of_an_earlier_run_with_other_content_is_waited_for_or_replaced() {
    let mut scenario = pulling(1, Image::Present(30 * SECOND));
    scenario.foreign_at_start = vec![(0, false)];
    each(&scenario, |world, end| {
        assert_eq!((reasons(end), adopted(end), count_complete(world)), (vec![None], vec![None], 2));
    });
    scenario.replace = true;
    each(&scenario, |world, end| {
        assert_eq!((reasons(end), adopted(end), count_complete(world)), (vec![None], vec![None], 1));
        let replaced = ours(world).into_iter().find(|(_, over)| *over != Some(Ending::Complete));
        let note = replaced.and_then(|(job, _)| job.seen.annotation.as_ref());
        assert!(note.is_some_and(|note| note.contains("replaced")), "{note:?}");
    });
}

#[test]
fn a_job_that_is_deleted_is_told_from_one_that_is_done() {
    each(
        &with(pulling(1, Image::Present(30 * SECOND)), &[(2 * SECOND, Happening::JobDeleted(0))]),
        |_, end| {
            assert_eq!(reasons(end), [Some(Reason::JobDeleted)]);
        },
    );
    // It is over, and its time is over before the watch works again.
    let mut scenario =
        with(pulling(1, Image::Present(5 * SECOND)), &[(2 * SECOND, Happening::WatchBreaks(100 * SECOND))]);
    scenario.keep_seconds = 10;
    each(&scenario, |_, end| assert_eq!(reasons(end), [None]));
}

#[test]
fn after_a_signal_nothing_is_created_and_the_report_is_there_in_seconds() {
    let mut scenario = with(pulling(3, Image::Present(30 * SECOND)), &[(5 * SECOND, Happening::Signal)]);
    scenario.concurrency = 1;
    each(&scenario, |world, end| {
        let expected = [Reason::Interrupted, Reason::NotStarted, Reason::NotStarted].map(Some);
        assert_eq!((reasons(end), ours(world).len()), (expected.to_vec(), 1));
        assert!(world.now <= 7 * SECOND, "{} ms", world.now);
        // Its successor goes on with it.
        assert!(ours(world).iter().all(|(job, over)| over.is_none() && job.seen.annotation.is_none()));
    });
}

#[test]
fn at_the_runs_deadline_what_is_live_is_ended() {
    let mut scenario = pulling(2, Image::Stuck);
    (scenario.concurrency, scenario.run_deadline) = (1, MINUTE);
    each(&scenario, |world, end| {
        assert_eq!(reasons(end), [Some(Reason::DeadlineExceeded), Some(Reason::NotStarted)]);
        assert_eq!(ours(world).len(), 1);
        assert!(ours(world).iter().all(|(job, _)| job.seen.deadline_seconds == 1));
    });
}
