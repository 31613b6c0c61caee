use super::super::fixtures::*;
use super::*;
use crate::outcome::{Reason, Verdict};
use crate::plan::JobIndex;
use crate::runner::{AppliedJob, ApplyError};
use crate::watch_event::ObservedJob;

const DEADLINE: u64 = 1_000;
const FIRST: JobIndex = JobIndex { group: 0, job: 0 };

fn begin(plan: Plan, forbidden: Vec<ClusterError>, now: Now) -> (SingleRun<'static>, Vec<Effect>) {
    let inputs = RunInputs {
        plan,
        concurrency: 20,
        deadline: now.instant + Duration::from_secs(DEADLINE),
        deadline_is_computed: false,
        replace: false,
        render: render(),
    };
    SingleRun::new(inputs, RunStart { listed: vec![], forbidden, server: "s".into() }, now)
}

/// One Job, whose create is on its way.
fn one(now: Now) -> (SingleRun<'static>, ObservedJob) {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(&plan.groups[0].jobs[0], 0);
    let (run, effects) = begin(plan, vec![], now);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Create { .. })));
    (run, own)
}

fn created(job: &ObservedJob, result: Result<AppliedJob, ApplyError>) -> RunEvent {
    RunEvent::Runner(Event::Created { index: FIRST, key: job.key.clone(), result, throttled: false })
}

fn applied() -> Result<AppliedJob, ApplyError> {
    Ok(AppliedJob { adopted: None, first_try: true, warnings: vec![] })
}

fn watch(job: ObservedJob) -> RunEvent {
    RunEvent::Runner(Event::Watch(watched(job)))
}

fn forbidden_in(namespace: &str) -> ClusterError {
    let namespace = Some(namespace.to_owned());
    ClusterError::Forbidden { verb: "create", resource: "jobs", namespace, cause: "no".into() }
}

fn unreachable() -> ClusterError {
    ClusterError::Unreachable { server: "s".into(), cause: "no".into() }
}

fn reasons(end: &RunEnd) -> Vec<Option<Reason>> {
    let reason = |result: &JobResult| match &result.outcome.verdict {
        Verdict::Succeeded => None,
        Verdict::Failed(failure) => Some(failure.reason),
    };
    end.results.iter().flatten().map(reason).collect()
}

/// Its end, where it is over by now and was not a moment before.
fn end(mut run: SingleRun<'static>, now: Now) -> RunEnd {
    assert!(run.is_over(now));
    run.abandon(now);
    run.into_end(now)
}

#[test]
fn a_run_is_done_with_its_last_job_and_when_everything_is_answered() {
    let now = start();
    let (mut run, job) = one(now);
    run.on(watch(complete(&job)), now);
    let later = after(now, 1);
    run.on(RunEvent::Runner(Event::Timer), later);
    assert!(!run.is_over(later), "its create is not answered");
    assert_eq!(run.next_timer(later), later.instant + RETRY_TIMEOUT);
    run.on(created(&job, applied()), later);
    let end = end(run, later);
    assert_eq!((reasons(&end), end.created, end.finished.len()), (vec![None], 1, 1));
    assert!(end.error.is_none());
}

#[test]
fn an_answer_that_never_comes_holds_a_run_up_for_as_long_as_calls_are_tried() {
    let now = start();
    let (mut run, job) = one(now);
    run.on(watch(complete(&job)), now);
    run.on(RunEvent::Runner(Event::Timer), after(now, 1));
    assert!(!run.is_over(after(now, 90)) && run.is_over(after(now, 91)));
    // What all Jobs would have met is told, though all of them are done.
    run.on(created(&job, Err(ApplyError::Cluster(unreachable()))), after(now, 50));
    assert!(matches!(end(run, after(now, 50)).error, Some(ClusterError::Unreachable { .. })));
}

#[test]
fn a_plan_without_jobs_is_over_at_once() {
    let now = start();
    let (run, effects) = begin(plan_of("a", 0, |_| {}), vec![], now);
    assert!(effects.is_empty());
    let end = end(run, now);
    assert!(end.error.is_none() && end.results == [vec![]]);
}

#[test]
fn a_signal_creates_nothing_more_and_waits_two_seconds() {
    let now = start();
    let (mut run, job) = one(now);
    run.on(created(&job, applied()), now);
    run.on(watch(started(&job, 0)), now);
    let effects = run.on(RunEvent::Stop, now);
    assert!(!effects.iter().any(Effect::is_request), "{effects:?}");
    let end_now = end(run, now);
    assert_eq!(reasons(&end_now), [Some(Reason::Interrupted)]);
    assert!(end_now.error.is_none());
    let (mut run, job) = one(now);
    run.on(RunEvent::Stop, now);
    assert!(!run.is_over(after(now, 1)) && run.is_over(after(now, 2)));
    run.on(created(&job, applied()), after(now, 1));
    assert_eq!(reasons(&end(run, after(now, 1))), [Some(Reason::Interrupted)], "it is known to be there");
}

/// A run at its deadline, with a live Job that it has told to end.
fn at_deadline(now: Now) -> SingleRun<'static> {
    let plan = plan_of("a", 1, |group| group.deadline_seconds = 2_000);
    let own = seen(&plan.groups[0].jobs[0], 0);
    let (mut run, _) = begin(plan, vec![], now);
    run.on(created(&own, applied()), now);
    run.on(watch(started(&own, 0)), now);
    let effects = run.on(RunEvent::Runner(Event::Timer), after(now, DEADLINE));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::ProbeServer)));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Annotate { end_now: true, .. })));
    run
}

#[test]
fn at_the_deadline_what_the_probe_says_tells_a_slow_cluster_from_one_that_is_gone() {
    let now = start();
    let at = after(now, DEADLINE + 1);
    let probed = |answers, last_answer: Option<&str>| RunEvent::ServerProbed {
        answers,
        last_answer: last_answer.map(str::to_owned),
    };
    let patched = || RunEvent::Runner(Event::Annotated { index: Some(FIRST), result: Ok(()) });
    // All of it is answered.
    let mut run = at_deadline(now);
    run.on(patched(), at);
    assert!(!run.is_over(at));
    run.on(probed(true, None), at);
    let done = end(run, at);
    assert_eq!(reasons(&done), [Some(Reason::DeadlineExceeded)]);
    assert!(done.error.is_none());
    // It answers the probe, and not what was asked.
    let late = after(now, DEADLINE + 5);
    for (answers, last_answer, is_api) in
        [(true, Some("429"), true), (true, None, false), (false, None, false)]
    {
        let mut run = at_deadline(now);
        run.on(probed(answers, last_answer), at);
        assert!(!run.is_over(at));
        match end(run, late).error {
            Some(ClusterError::Api { cause, .. }) => assert!(is_api && cause == "429"),
            Some(ClusterError::Unreachable { .. }) => assert!(!is_api),
            error => panic!("{error:?}"),
        }
    }
    // It answers nothing.
    let run = at_deadline(now);
    assert!(!run.is_over(after(now, DEADLINE + 4)));
    assert!(matches!(end(run, late).error, Some(ClusterError::Unreachable { .. })));
}

#[test]
fn a_signal_at_the_deadline_hurries_and_gives_no_time() {
    let now = start();
    let at = after(now, DEADLINE);
    let mut run = at_deadline(now);
    run.on(RunEvent::Stop, at);
    assert_eq!(run.next_timer(at), at.instant + SHUTDOWN_GRACE);
    let mut run = at_deadline(now);
    run.on(RunEvent::Stop, after(now, DEADLINE + 4));
    assert_eq!(run.next_timer(at), at.instant + DEADLINE_GRACE);
}

#[test]
fn what_comes_free_at_the_deadline_starts_nothing() {
    let now = start();
    let plan = plan_of("a", 2, |group| {
        group.concurrency = std::num::NonZeroUsize::new(1).map(crate::config::Limit::Nodes);
    });
    let own = seen(&plan.groups[0].jobs[0], 0);
    let (mut run, effects) = begin(plan, vec![], now);
    let is_create = |effect: &Effect| matches!(effect, Effect::Create { .. });
    assert_eq!(effects.iter().filter(|effect| is_create(effect)).count(), 1, "one of two has its turn");
    run.on(created(&own, applied()), now);
    let effects = run.on(watch(complete(&own)), after(now, DEADLINE));
    assert!(!effects.iter().any(is_create));
    // Only answers count now.
    assert!(run.on(RunEvent::Runner(Event::Timer), after(now, DEADLINE + 1)).is_empty());
}

#[test]
fn what_all_jobs_meet_ends_the_run_and_what_one_namespace_does_only_its_groups() {
    let now = start();
    let (mut run, job) = one(now);
    run.on(created(&job, Err(ApplyError::Cluster(unreachable()))), now);
    let fatal = end(run, now);
    assert!(matches!(fatal.error, Some(ClusterError::Unreachable { .. })));
    assert_eq!(reasons(&fatal), [Some(Reason::ApiError)]);

    let (run, effects) = begin(plan_of("a", 1, |_| {}), vec![forbidden_in("ns")], now);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Create { .. })));
    let fatal = end(run, now);
    assert!(matches!(fatal.error, Some(ClusterError::Forbidden { .. })));
    assert_eq!(reasons(&fatal), [Some(Reason::Forbidden)]);

    let mut plan = plan_of("a", 1, |_| {});
    let mut other =
        plan_of("a", 1, |group| (group.name, group.namespace) = ("h".into(), Some("other".into())));
    plan.groups.push(other.groups.remove(0));
    let (run, effects) = begin(plan, vec![forbidden_in("other")], now);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Create { index, .. } if *index == FIRST)));
    let logged = effects
        .iter()
        .any(|effect| matches!(effect, Effect::Log(LogLevel::Error, text) if text.contains("given up")));
    assert!(logged && !run.is_over(now));
}
