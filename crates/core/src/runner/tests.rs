use super::fixtures::*;
use super::*;
use crate::outcome::{ContainerFacts, JobResult};
use crate::plan::Plan;

const FIRST: JobIndex = JobIndex { group: 0, job: 0 };

/// A runner with one batch of run `a`, and what it asks for first.
struct Story {
    runner: Runner<'static>,
    now: Now,
    /// Its Jobs, as the watch would show them.
    jobs: Vec<ObservedJob>,
}

impl Story {
    fn of(plan: Plan, concurrency: usize, replace: bool) -> Story {
        let now = start();
        let mut runner = Runner::new(RunnerInputs { concurrency, replace, log_other_processes: true });
        let jobs = plan.jobs().map(|job| seen(job, 5)).collect();
        for planned in plan.groups {
            runner.add(Batch::new(planned, render(), None), now);
        }
        runner.take_in(Vec::new(), now);
        Story { runner, now, jobs }
    }

    fn new(nodes: usize, concurrency: usize) -> Story {
        Story::of(plan_of("a", nodes, |_| {}), concurrency, false)
    }

    fn proceed(&mut self) -> Vec<Effect> {
        self.runner.proceed(self.now)
    }

    fn watch(&mut self, job: ObservedJob) -> Vec<Effect> {
        self.runner.on(Event::Watch(watched(job)), self.now)
    }

    fn created(&mut self, job: usize) -> Vec<Effect> {
        self.answer(job, Ok(AppliedJob { adopted: None, first_try: true, warnings: vec![] }))
    }

    fn answer(&mut self, job: usize, result: Result<AppliedJob, ApplyError>) -> Vec<Effect> {
        let key = self.jobs[job].key.clone();
        let index = JobIndex { group: 0, job };
        self.runner.on(Event::Created { index, key, result, throttled: false }, self.now)
    }

    fn annotated(&mut self, result: Result<(), ClusterError>) -> Vec<Effect> {
        self.runner.on(Event::Annotated { index: Some(FIRST), result }, self.now)
    }

    fn pass(&mut self, seconds: u64) -> Vec<Effect> {
        self.now = after(self.now, seconds);
        self.runner.on(Event::Timer, self.now)
    }

    fn results(&mut self) -> Vec<JobResult> {
        self.runner.take_finished().into_iter().flat_map(|batch| batch.results).collect()
    }
}

fn creates(effects: &[Effect]) -> Vec<&str> {
    let names = effects.iter().filter_map(|effect| match effect {
        Effect::Create { manifest, .. } => Some(manifest.job.name.as_str()),
        _ => None,
    });
    names.collect()
}

/// Names of the Jobs that are ended.
fn ends(effects: &[Effect]) -> Vec<&str> {
    let names = effects.iter().filter_map(|effect| match effect {
        Effect::Annotate { key, end_now: true, .. } => Some(key.1.as_str()),
        _ => None,
    });
    names.collect()
}

fn steps(effects: &[Effect]) -> Vec<Step> {
    let steps = effects.iter().filter_map(|effect| match effect {
        Effect::Step(_, step) => Some(*step),
        _ => None,
    });
    steps.collect()
}

fn reason(result: &JobResult) -> Option<Reason> {
    match &result.outcome.verdict {
        Verdict::Succeeded => None,
        Verdict::Failed(failure) => Some(failure.reason),
    }
}

fn other(run_id: &str, second: i64) -> ObservedJob {
    started(&seen(&plan_of(run_id, 1, |_| {}).groups[0].jobs[0], second), second)
}

fn other_content(second: i64) -> ObservedJob {
    ObservedJob { content: "other".into(), ..other("b", second) }
}

fn api_error() -> ClusterError {
    ClusterError::Api { server: "s".into(), what: "it".into(), cause: "no".into() }
}

fn not_found() -> Event {
    let words =
        "Back-off pulling image \"quay.io/team/app:1.0\": ErrImagePull: quay.io/team/app:1.0: not found";
    let waiting = Some(("ImagePullBackOff".to_owned(), words.to_owned()));
    let key = ("ns".to_owned(), job().name);
    let container = ContainerFacts { waiting, ..container("image-0", false) };
    Event::Watch(WatchEvent::Pod(key, pod(&[container])))
}

#[test]
fn a_slot_that_comes_free_starts_the_next_job_at_once() {
    let mut story = Story::new(2, 1);
    let jobs = story.jobs.clone();
    let effects = story.proceed();
    assert_eq!((creates(&effects), steps(&effects)), (vec![jobs[0].key.1.as_str()], vec![Step::Started]));
    assert_eq!(story.runner.load(), (1, 1));
    assert!(creates(&story.created(0)).is_empty());
    story.watch(complete(&jobs[0]));
    let effects = story.pass(1);
    assert_eq!(
        (creates(&effects), steps(&effects)),
        (vec![jobs[1].key.1.as_str()], vec![Step::Finished, Step::Started])
    );
    assert_eq!(story.runner.counts(0), Some((2, 1)));
    assert!(story.results().is_empty());
    story.watch(complete(&jobs[1]));
    story.pass(1);
    assert!(story.runner.is_idle());
    assert_eq!(story.results().iter().map(reason).collect::<Vec<_>>(), [None, None]);
    assert!(!story.runner.is_under_way(&job()));
}

#[test]
fn a_full_namespace_puts_a_job_back_and_one_create_asks_again() {
    let mut story = Story::new(3, 3);
    assert_eq!(creates(&story.proceed()).len(), 3);
    let full = || Err(ApplyError::Refused(Failure::new(Reason::Quota, "exceeded quota")));
    for job in 0..3 {
        let effects = story.answer(job, full());
        assert_eq!((creates(&effects).len(), steps(&effects)), (0, vec![Step::PutBack]));
    }
    assert_eq!(story.runner.load(), (3, 0));
    assert_eq!(creates(&story.pass(5)).len(), 1);
    // One that is refused for another reason is over.
    let effects = story.answer(0, Err(ApplyError::Refused(Failure::new(Reason::Forbidden, "m"))));
    assert!(steps(&effects).contains(&Step::Finished));
}

#[test]
fn another_runs_job_that_does_the_same_is_taken_over_in_the_place_of_ours() {
    let mut story = Story::new(1, 1);
    let theirs = other("b", 0);
    let effects = story.watch(theirs.clone());
    assert_eq!((creates(&effects).len(), steps(&effects)), (0, vec![Step::Started]));
    story.watch(complete(&theirs));
    story.pass(1);
    let results = story.results();
    assert_eq!(results[0].adopted, Some(Adopted { job: theirs.key.1.clone(), run_id: "b".into() }));
    assert_eq!(reason(&results[0]), None);
}

#[test]
fn the_next_job_by_the_name_of_one_that_was_taken_over_and_is_gone_has_its_node() {
    let mut plan = plan_of("a", 1, |_| {});
    plan.groups.extend(plan_of("a", 1, |group| group.name = "h".into()).groups);
    let mut story = Story::of(plan, 1, false);
    let theirs = other("b", 0);
    story.watch(theirs.clone());
    story.watch(complete(&theirs));
    let last = story.jobs[1].key.1.clone();
    assert_eq!(creates(&story.pass(1)), [last.as_str()]);
    let event = Event::Watch(WatchEvent::JobGone(theirs.key.clone()));
    story.runner.on(event, story.now);
    story.watch(ObservedJob { uid: "another".into(), ..theirs });
    assert_eq!(story.runner.foreign.jobs().count(), 1);
}

#[test]
fn another_runs_job_that_does_something_else_has_the_node_until_it_is_over_or_given_up() {
    for is_given_up in [false, true] {
        let mut story = Story::new(1, 1);
        let theirs = other_content(0);
        assert!(creates(&story.watch(theirs.clone())).is_empty());
        let effects = match is_given_up {
            true => story.pass(tracked_job::slot_time(300).as_secs()),
            false => story.watch(complete(&theirs)),
        };
        assert_eq!((creates(&effects).len(), ends(&effects).len()), (1, 0));
    }
    let mut story = Story::of(plan_of("a", 1, |_| {}), 1, true);
    let theirs = other_content(0);
    assert_eq!(ends(&story.watch(theirs.clone())), [theirs.key.1.as_str()], "told to replace");
}

#[test]
fn the_younger_of_two_jobs_gives_way_and_has_the_next_name_afterwards() {
    let mut story = Story::new(1, 1);
    story.proceed();
    story.created(0);
    let own = story.jobs[0].clone();
    story.watch(own.clone());
    let elder = other_content(3);
    let effects = story.watch(elder.clone());
    assert_eq!((ends(&effects), steps(&effects)), (vec![own.key.1.as_str()], vec![Step::PutBack]));
    assert!(story.runner.is_under_way(&job()), "by its first name, too");
    assert!(creates(&story.watch(failed(&noted(&own, "yielded")))).is_empty());
    let effects = story.watch(complete(&elder));
    let mut again = job();
    again.take_next_name();
    assert_eq!(creates(&effects), [again.name.as_str()]);
}

#[test]
fn the_elder_stays_and_ends_a_younger_one_that_does_not_give_way() {
    let mut story = Story::new(1, 1);
    story.proceed();
    story.created(0);
    let own = story.jobs[0].clone();
    story.watch(started(&own, 5));
    let younger = other_content(7);
    assert!(ends(&story.watch(younger.clone())).is_empty());
    assert!(ends(&story.pass(29)).is_empty());
    assert_eq!(ends(&story.pass(1)), [younger.key.1.as_str()]);
    assert!(ends(&story.pass(30)).is_empty(), "once");
}

#[test]
fn two_runs_do_not_take_over_each_others_jobs_of_two_groups() {
    // Ours of one group is on its way when the elder of another run shows that does what our other is to do.
    let mut plan = plan_of("a", 1, |group| group.name = "f".into());
    plan.groups.extend(plan_of("a", 1, |_| {}).groups);
    let mut story = Story::of(plan, 5, false);
    let own = story.jobs[0].clone();
    assert_eq!(creates(&story.proceed()), [own.key.1.as_str()]);
    let elder = other("b", 3);
    assert!(steps(&story.watch(elder.clone())).is_empty(), "it is not taken over beside ours");
    story.created(0);
    let effects = story.watch(own.clone());
    assert_eq!(ends(&effects), [own.key.1.as_str()]);
    assert_eq!(steps(&effects), [Step::PutBack, Step::Started], "now it is");
}

#[test]
fn a_job_that_cannot_be_ended_keeps_its_slot_to_its_own_end() {
    let mut story = Story::new(2, 1);
    story.proceed();
    story.created(0);
    let own = story.jobs[0].clone();
    story.watch(started(&own, 0));
    let effects = story.runner.on(not_found(), story.now);
    assert_eq!(ends(&effects), [own.key.1.as_str()]);
    story.annotated(Err(api_error()));
    assert!(ends(&story.runner.on(not_found(), story.now)).is_empty(), "once");
    // It is the elder all the same.
    let younger = other_content(7);
    story.watch(younger.clone());
    assert_eq!(ends(&story.pass(30)), [younger.key.1.as_str()]);
    story.watch(failed(&noted(&younger, "yielded")));
    assert!(creates(&story.pass(170)).is_empty());
    // A queue that holds it stops its time, as with any.
    story.watch(suspended(&own));
    assert!(creates(&story.pass(3_000)).is_empty());
    story.watch(started(&own, 3_200));
    assert!(creates(&story.pass(200)).is_empty());
    let effects = story.watch(failed(&own));
    let effects: Vec<Effect> = effects.into_iter().chain(story.pass(1)).collect();
    assert_eq!(creates(&effects).len(), 1);
    let is_noted = |effect: &Effect| matches!(effect, Effect::Annotate { end_now: false, outcome, .. } if outcome.contains("image-not-found"));
    assert!(effects.iter().any(is_noted), "what was not written then is now");
}

#[test]
fn one_that_was_ended_holds_its_slot_for_no_longer_than_an_end_takes() {
    let mut story = Story::new(2, 1);
    story.proceed();
    story.created(0);
    let own = story.jobs[0].clone();
    story.watch(started(&own, 0));
    story.runner.on(not_found(), story.now);
    story.annotated(Ok(()));
    assert!(creates(&story.pass(SLOT_GRACE.as_secs() - 1)).is_empty());
    // Nothing told of its end: it is asked for.
    let effects = story.pass(1);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::ReadJob { .. })));
    let event = Event::JobRead { index: FIRST, key: own.key.clone(), result: Err(api_error()) };
    assert_eq!(creates(&story.runner.on(event, story.now)).len(), 1);
}

#[test]
fn a_batch_that_is_given_up_creates_nothing_more_and_follows_what_is_live() {
    let mut story = Story::new(2, 1);
    story.proceed();
    story.created(0);
    story.runner.give_up(0, &Failure::new(Reason::Forbidden, "m"));
    assert_eq!(story.runner.counts(0), Some((2, 1)));
    let own = story.jobs[0].clone();
    story.watch(complete(&own));
    assert!(creates(&story.pass(1)).is_empty());
    assert_eq!(story.results().iter().map(reason).collect::<Vec<_>>(), [None, Some(Reason::Forbidden)]);
}

#[test]
fn a_batch_takes_more_jobs_until_it_is_over() {
    let mut story = Story::new(1, 5);
    story.proceed();
    let more = group_of(2).jobs.remove(1);
    let name = more.name.clone();
    assert!(story.runner.extend(0, more.clone(), 5, None, story.now));
    assert_eq!(creates(&story.proceed()), [name.as_str()]);
    let (own, more_seen) = (story.jobs[0].clone(), seen(&more, 0));
    story.watch(complete(&own));
    story.watch(complete(&more_seen));
    story.pass(1);
    assert!(!story.runner.extend(0, more, 5, None, story.now));
    assert_eq!(story.results().len(), 2);
}

#[test]
fn what_is_out_when_all_batches_are_taken_is_judged_by_what_is_known() {
    let mut story = Story::new(2, 1);
    story.proceed();
    story.created(0);
    let batches = story.runner.into_batches(story.now);
    let reasons: Vec<_> = batches[0].results.iter().map(reason).collect();
    assert_eq!(reasons, [Some(Reason::Interrupted), Some(Reason::NotStarted)]);
}

#[test]
fn a_job_that_cannot_be_rendered_fails_and_holds_nothing() {
    let render: Render<'static> = std::sync::Arc::new(|job| match job.node.name.as_str() {
        "n0" => Err(Failure::new(Reason::JobFailed, "m")),
        _ => Ok(manifest(job)),
    });
    let mut runner = Runner::new(RunnerInputs { concurrency: 1, replace: false, log_other_processes: false });
    let now = start();
    runner.add(Batch::new(group_of(2), render, None), now);
    let effects = runner.proceed(now);
    assert_eq!(creates(&effects).len(), 1);
    assert_eq!(steps(&effects), [Step::Started, Step::Finished, Step::Started]);
}
