use super::*;
use crate::outcome::{ContainerFacts, JobFacts, Reason, Verdict};
use crate::runner::fixtures::*;

const DEADLINE: u64 = 300;

fn new(now: Now) -> TrackedJob {
    let job = job();
    let key = (job.namespace.clone(), job.name.clone());
    TrackedJob::new(key, evidence_of(&manifest(&job)), now, Duration::from_secs(DEADLINE))
}

/// The watch has shown it, taken up by the Job controller.
fn live(now: Now) -> TrackedJob {
    let mut tracked = new(now);
    tracked.mark_created(now.instant, DEADLINE as u32);
    tracked.mark_answered();
    assert_eq!(observe(&mut tracked, &started(&seen(&job(), 0), 0), now), Change::Live);
    tracked
}

fn observe(tracked: &mut TrackedJob, job: &ObservedJob, now: Now) -> Change {
    tracked.observe_job(job, ["quay.io/team/app:1.0".to_owned()].into_iter(), now.instant)
}

fn found(job: ObservedJob, is_ours: bool) -> Result<Option<FoundJob>, ()> {
    Ok(Some(FoundJob { job: Box::new(job), is_ours }))
}

fn refusal() -> Failure {
    Failure::new(Reason::ApiError, "no answer")
}

fn due_ending(tracked: &TrackedJob, now: Now) -> Option<Ending> {
    match tracked.due(now.instant) {
        Some(Due::Complete(ending)) => Some(ending),
        _ => None,
    }
}

fn reason(tracked: &TrackedJob, ending: &Ending) -> Option<Reason> {
    match tracked.judge(ending).0.verdict {
        Verdict::Succeeded => None,
        Verdict::Failed(failure) => Some(failure.reason),
    }
}

#[test]
fn a_create_holds_its_slot_while_it_is_tried_and_its_job_from_when_it_is_there() {
    let begun = start();
    let mut tracked = new(begun);
    assert!(!tracked.is_live() && !tracked.may_give_way());
    assert_eq!(tracked.timer(), begun.instant + RETRY_TIMEOUT + Duration::from_secs(DEADLINE) + SLOT_GRACE);
    tracked.mark_created(after(begun, 5).instant, DEADLINE as u32);
    assert!(tracked.is_live() && !tracked.may_give_way(), "its uid is not known yet");
    assert!(matches!(tracked.due(after(begun, 35).instant), Some(Due::CheckNode)));
    // Told again it is no news.
    tracked.mark_created(after(begun, 50).instant, 1);
    assert_eq!(tracked.timer(), after(begun, 35).instant);
}

#[test]
fn a_deadline_runs_from_the_job_controllers_start_and_a_retold_start_is_no_news() {
    let begun = start();
    let mut tracked = live(begun);
    assert!(tracked.take_node_check(after(begun, 290).instant));
    let slot = slot_time(DEADLINE as u32);
    assert_eq!(observe(&mut tracked, &started(&seen(&job(), 0), 0), after(begun, 100)), Change::Live);
    assert_eq!(tracked.timer(), begun.instant + slot);
    observe(&mut tracked, &started(&seen(&job(), 0), 120), after(begun, 120));
    assert!(due_ending(&tracked, after(begun, 320)).is_none());
    assert!(matches!(due_ending(&tracked, after(begun, 120 + slot.as_secs())), Some(Ending::GaveUp)));
}

#[test]
fn a_create_without_an_answer_is_asked_for_and_then_believed() {
    let begun = start();
    let mut tracked = new(begun);
    tracked.mark_unanswered(refusal(), begun.instant);
    let now = after(begun, SLOT_GRACE.as_secs());
    let ending = due_ending(&tracked, now).unwrap();
    assert_eq!(ending, Ending::NotCreated(refusal()));
    assert!(matches!(tracked.complete(&ending, now.instant), Completion::ReadJob));
    assert!(tracked.begin_read(Read::NoEvents, now.instant));
    assert_eq!(tracked.timer(), now.instant + RETRY_TIMEOUT + NODE_CHECK_LIMIT);
    for answer in [Ok(None), Err(())] {
        let mut tracked = new(begun);
        tracked.mark_unanswered(refusal(), begun.instant);
        tracked.begin_read(Read::NoEvents, now.instant);
        assert!(tracked.end_read(answer, false, now.instant).is_none());
        tracked.stop_reading();
        assert_eq!(due_ending(&tracked, now), Some(Ending::NotCreated(refusal())));
        assert!(matches!(tracked.complete(&ending, now.instant), Completion::Judge));
        assert_eq!(reason(&tracked, &ending), Some(Reason::ApiError));
        assert!(!tracked.is_left_behind(&ending));
    }
}

#[test]
fn a_create_without_an_answer_whose_job_is_there_goes_on() {
    let begun = start();
    let mut tracked = new(begun);
    observe(&mut tracked, &seen(&job(), 0), begun);
    tracked.mark_unanswered(refusal(), after(begun, 90).instant);
    assert!(tracked.is_live(), "the watch was faster");
    let mut tracked = new(begun);
    tracked.mark_unanswered(refusal(), begun.instant);
    tracked.begin_read(Read::NoEvents, after(begun, 30).instant);
    let answer = found(seen(&job(), 0), true);
    let Some(job) = tracked.end_read(answer, true, after(begun, 31).instant) else { panic!("found") };
    observe(&mut tracked, &job, after(begun, 31));
    assert!(tracked.is_live() && due_ending(&tracked, after(begun, 300)).is_none());
}

#[test]
fn one_that_is_taken_over_is_there() {
    let begun = start();
    let adopted = Adopted { job: "other".into(), run_id: "b".into() };
    let job = job();
    let tracked =
        TrackedJob::adopted(&seen(&job, 0), evidence_of(&manifest(&job)), Some(adopted.clone()), begun);
    assert!(tracked.is_live() && !tracked.is_disowned());
    assert_eq!(tracked.adopted_from(), Some(&adopted));
    assert!(matches!(tracked.due(after(begun, 30).instant), Some(Due::CheckNode)));
}

#[test]
fn no_time_runs_while_a_queue_holds_it_and_all_of_it_once_it_is_admitted() {
    let begun = start();
    let mut tracked = live(begun);
    observe(&mut tracked, &suspended(&seen(&job(), 0)), after(begun, 100));
    assert_eq!(tracked.suspended(), Some(after(begun, 100).instant));
    assert!(tracked.due(after(begun, 100_000).instant).is_none());
    assert!(!tracked.take_node_check(after(begun, 100_000).instant), "it has no pod");
    observe(&mut tracked, &seen(&job(), 0), after(begun, 1_000));
    assert_eq!(tracked.suspended(), None);
    assert_eq!(tracked.timer(), after(begun, 1_060).instant.min(tracked.timer()));
    assert!(due_ending(&tracked, after(begun, 1_000 + 600)).is_none(), "it may be taken up late");
    observe(&mut tracked, &started(&seen(&job(), 0), 1_100), after(begun, 1_100));
    let until = 1_100 + slot_time(DEADLINE as u32).as_secs();
    assert!(due_ending(&tracked, after(begun, until - 1)).is_none());
    assert!(due_ending(&tracked, after(begun, until)).is_some());
}

#[test]
fn what_we_have_ended_gets_no_time_by_a_suspension() {
    let begun = start();
    let mut tracked = live(begun);
    assert!(tracked.mark_ended() && !tracked.mark_ended());
    tracked.confirm_end(after(begun, 10).instant);
    observe(&mut tracked, &suspended(&seen(&job(), 0)), after(begun, 11));
    assert!(due_ending(&tracked, after(begun, 10 + SLOT_GRACE.as_secs())).is_some());
    assert!(!tracked.may_give_way());
}

#[test]
fn a_complete_job_is_judged_once_its_pod_has_told_all_or_after_a_second() {
    let begun = start();
    let mut tracked = live(begun);
    assert_eq!(observe(&mut tracked, &complete(&seen(&job(), 0)), begun), Change::None);
    assert!(!tracked.is_live());
    assert!(matches!(tracked.evaluate(begun.instant), Evaluation::Nothing));
    assert!(tracked.due(begun.instant).is_none());
    assert_eq!(due_ending(&tracked, after(begun, 1)), Some(Ending::Complete));
    // It may be deleted by its TTL, or told of once more as something else: the first end counts.
    assert!(!tracked.begin_read(Read::LeftWatch, begun.instant));
    observe(&mut tracked, &failed(&seen(&job(), 0)), begun);
    tracked.observe_pod(&pod(&[container("image-0", true)]));
    assert!(matches!(tracked.evaluate(begun.instant), Evaluation::Complete(Ending::Complete)));
    assert_eq!(reason(&tracked, &Ending::Complete), None);
}

#[test]
fn a_deadline_without_a_cause_is_checked_on_the_node_once() {
    let begun = start();
    let job = job();
    for (images, expected) in
        [(vec!["quay.io/team/app:1.0".to_owned()], None), (vec![], Some(Reason::DeadlineExceeded))]
    {
        let mut tracked = live(begun);
        tracked.observe_pod(&pod(&[container("image-0", false)]));
        observe(&mut tracked, &failed(&seen(&job, 0)), begun);
        let ending = due_ending(&tracked, after(begun, 1)).unwrap();
        assert!(matches!(tracked.complete(&ending, begun.instant), Completion::CheckNode));
        assert!(matches!(tracked.evaluate(begun.instant), Evaluation::Nothing), "its answer is waited for");
        assert_eq!(tracked.timer(), begun.instant + NODE_CHECK_LIMIT);
        let state = NodeState { failure: None, images };
        assert_eq!(tracked.observe_node(Some(state), Some(&job)), Some(ending.clone()));
        assert!(matches!(tracked.complete(&ending, begun.instant), Completion::Judge));
        assert_eq!(reason(&tracked, &ending), expected);
    }
    // Nothing is checked where we have ended it, or a cause is known.
    let mut tracked = live(begun);
    tracked.mark_ended();
    let ending = Ending::Failed { reason: "DeadlineExceeded".into(), message: String::new() };
    assert!(matches!(tracked.complete(&ending, begun.instant), Completion::Judge));
    let mut tracked = live(begun);
    tracked.observe_node(
        Some(NodeState { failure: Some(Failure::new(Reason::NodeNotReady, "m")), images: vec![] }),
        Some(&job),
    );
    assert!(matches!(tracked.complete(&ending, begun.instant), Completion::Judge));
    assert_eq!(reason(&tracked, &ending), Some(Reason::NodeNotReady));
}

#[test]
fn a_node_is_checked_where_a_pod_gets_nowhere_and_one_that_has_gone_ends_its_job() {
    let begun = start();
    let mut tracked = live(begun);
    assert!(matches!(tracked.due(after(begun, 30).instant), Some(Due::CheckNode)));
    assert!(tracked.take_node_check(after(begun, 30).instant));
    assert!(matches!(tracked.due(after(begun, 90).instant), Some(Due::CheckNode)), "again");
    let gone = NodeState { failure: Some(Failure::new(Reason::NodeGone, "m")), images: vec![] };
    assert_eq!(tracked.observe_node(Some(gone), Some(&job())), None);
    assert!(matches!(tracked.evaluate(begun.instant), Evaluation::End { injected: None }));
    assert!(matches!(tracked.evaluate(begun.instant), Evaluation::Nothing), "once");
    let mut tracked = live(begun);
    tracked.observe_pod(&pod(&[container("image-0", false)]));
    assert!(!tracked.take_node_check(after(begun, 30).instant), "its pod works");
    assert_eq!(tracked.observe_node(None, None), None);
}

#[test]
fn a_job_that_left_the_watch_is_asked_for_and_what_is_found_decides() {
    let begun = start();
    let asked = || {
        let mut tracked = live(begun);
        assert!(tracked.begin_read(Read::LeftWatch, begun.instant));
        assert!(!tracked.begin_read(Read::LeftWatch, begun.instant), "it is being asked for");
        tracked
    };
    let own = started(&seen(&job(), 0), 0);
    // There, and ours: a watch that was wrong.
    let mut tracked = asked();
    assert!(tracked.end_read(found(own.clone(), true), true, begun.instant).is_some());
    assert!(tracked.is_live() && !tracked.is_disowned());
    // Gone, unknown, or another one in its place that does something else.
    let other = ObservedJob { uid: "another".into(), ..own.clone() };
    for answer in [Ok(None), Err(()), found(other.clone(), true)] {
        let mut tracked = asked();
        assert!(tracked.end_read(answer, false, begun.instant).is_none());
        assert!(!tracked.is_live());
        assert_eq!(due_ending(&tracked, after(begun, 1)), Some(Ending::JobDeleted));
        assert!(!tracked.is_left_behind(&Ending::JobDeleted));
    }
    // Made anew in its place: it stands as one that was just created.
    let mut tracked = asked();
    let now = after(begun, 200);
    let Some(job) = tracked.end_read(found(other, true), true, now.instant) else { panic!("found") };
    observe(&mut tracked, &ObservedJob { facts: JobFacts::default(), ..*job }, now);
    assert!(tracked.is_live() && tracked.uid() == "another");
    assert!(due_ending(&tracked, after(begun, 200 + slot_time(DEADLINE as u32).as_secs())).is_none());
}

#[test]
fn a_job_that_is_gone_before_its_create_is_answered_is_asked_for_then() {
    let begun = start();
    let mut tracked = new(begun);
    observe(&mut tracked, &seen(&job(), 0), begun);
    tracked.begin_read(Read::LeftWatch, begun.instant);
    assert!(tracked.end_read(Ok(None), false, begun.instant).is_none());
    assert!(
        !tracked.is_live() && due_ending(&tracked, after(begun, 90)).is_none(),
        "the next try may make it"
    );
    assert!(tracked.mark_answered() && !tracked.mark_answered());
    tracked.mark_created(after(begun, 20).instant, DEADLINE as u32);
    assert!(tracked.begin_read(Read::LeftWatch, after(begun, 20).instant));
    tracked.end_read(Ok(None), false, after(begun, 21).instant);
    assert_eq!(due_ending(&tracked, after(begun, 22)), Some(Ending::JobDeleted));
}

#[test]
fn a_job_that_nobody_heard_of_is_given_up_where_it_is_found_as_it_was() {
    let begun = start();
    let now = after(begun, 320);
    let own = started(&seen(&job(), 0), 0);
    for answer in [found(own, true), Err(())] {
        let mut tracked = live(begun);
        tracked.take_node_check(now.instant);
        assert_eq!(due_ending(&tracked, now), Some(Ending::GaveUp));
        assert!(matches!(tracked.complete(&Ending::GaveUp, now.instant), Completion::ReadJob));
        tracked.begin_read(Read::NoEvents, now.instant);
        assert!(tracked.due(after(now, 99).instant).is_none_or(|due| matches!(due, Due::CheckNode)));
        if let Some(job) = tracked.end_read(answer, true, after(now, 5).instant) {
            observe(&mut tracked, &job, after(now, 5));
        }
        assert_eq!(due_ending(&tracked, after(now, 5)), Some(Ending::GaveUp));
        tracked.stop_reading();
        assert!(matches!(tracked.complete(&Ending::GaveUp, now.instant), Completion::CheckNode));
    }
}

#[test]
fn what_the_watch_tells_while_it_is_asked_for_counts_more_than_the_answer() {
    let begun = start();
    let now = after(begun, 320);
    let again = started(&seen(&job(), 0), 110);
    let mut tracked = live(begun);
    tracked.begin_read(Read::NoEvents, now.instant);
    observe(&mut tracked, &again, now);
    assert!(tracked.end_read(found(again, true), true, now.instant).is_none());
    assert!(due_ending(&tracked, after(now, 300)).is_none(), "admitted anew, it has its whole deadline");
}

#[test]
fn a_job_that_lost_a_label_is_followed_by_its_pod_and_not_touched() {
    let begun = start();
    let mut tracked = live(begun);
    tracked.begin_read(Read::LeftWatch, begun.instant);
    tracked.end_read(found(started(&seen(&job(), 0), 0), false), false, begun.instant);
    assert!(tracked.is_disowned() && !tracked.may_give_way());
    assert!(matches!(tracked.evaluate(begun.instant), Evaluation::Nothing));
    tracked.observe_pod(&pod(&[container("image-0", true)]));
    assert!(matches!(tracked.evaluate(begun.instant), Evaluation::Complete(Ending::EndedEarly)));
    assert!(!tracked.is_left_behind(&Ending::EndedEarly));
    assert_eq!(reason(&tracked, &Ending::EndedEarly), None);
    // The watch shows it again: it bears its labels once more.
    tracked.mark_labelled(&("ns".into(), "another".into()));
    assert!(tracked.is_disowned());
    tracked.mark_labelled(&tracked.key().clone());
    assert!(!tracked.is_disowned());
}

#[test]
fn one_that_another_process_has_ended_for_another_run_has_yielded() {
    let begun = start();
    let own = seen(&job(), 0);
    let mut tracked = live(begun);
    assert_eq!(observe(&mut tracked, &noted(&own, "yielded"), begun), Change::Yielded);
    // Spent: ended while a queue holds it.
    let mut tracked = live(begun);
    assert_eq!(observe(&mut tracked, &noted(&suspended(&own), "suspended"), begun), Change::Yielded);
    // By us it is over: nothing comes after that.
    let mut tracked = live(begun);
    tracked.mark_ended();
    observe(&mut tracked, &noted(&suspended(&own), "suspended"), begun);
    assert_eq!(due_ending(&tracked, after(begun, 1)), Some(Ending::RunOver));
}

#[test]
fn what_an_earlier_process_of_the_run_has_found_out_stands() {
    let begun = start();
    let mut tracked = live(begun);
    observe(&mut tracked, &noted(&failed(&seen(&job(), 0)), "image-not-found"), begun);
    let Evaluation::Complete(ending) = tracked.evaluate(begun.instant) else { panic!("it is judged") };
    assert_eq!(reason(&tracked, &ending), Some(Reason::ImageNotFound));
    assert!(tracked.judge(&ending).1, "it is written there already");
}

#[test]
fn what_others_put_into_a_pod_has_five_seconds_to_end_with_it() {
    let begun = start();
    let proxy = |is_over| ContainerFacts { is_over, ..container("proxy", true) };
    let mut tracked = live(begun);
    tracked.observe_pod(&pod(&[container("image-0", true), proxy(false)]));
    assert!(matches!(tracked.evaluate(begun.instant), Evaluation::Nothing));
    let now = after(begun, INJECTED_CONTAINERS_GRACE.as_secs());
    assert!(matches!(tracked.due(now.instant), Some(Due::Evaluate)));
    let Evaluation::End { injected: Some(names) } = tracked.evaluate(now.instant) else { panic!("ended") };
    assert_eq!(names, "proxy");
    assert!(!matches!(tracked.due(after(now, 1).instant), Some(Due::Evaluate)), "once");
    let mut tracked = live(begun);
    tracked.observe_pod(&pod(&[container("image-0", true), proxy(false)]));
    tracked.evaluate(begun.instant);
    tracked.observe_pod(&pod(&[container("image-0", true), proxy(true)]));
    tracked.evaluate(after(begun, 3).instant);
    assert!(!matches!(tracked.due(now.instant), Some(Due::Evaluate)));
}

#[test]
fn an_event_of_the_jobs_namesake_of_yesterday_says_nothing_of_it() {
    let begun = start();
    let rejection =
        || Rejection::of_message("pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\"");
    let mut tracked = live(begun);
    tracked.observe_rejection("another".into(), rejection());
    assert!(matches!(tracked.evaluate(begun.instant), Evaluation::Nothing));
    tracked.observe_rejection(tracked.uid().to_owned(), rejection());
    let ending = Ending::Failed { reason: "DeadlineExceeded".into(), message: String::new() };
    assert_eq!(reason(&tracked, &ending), Some(Reason::PodRejected));
}

#[test]
fn what_nobody_follows_any_longer_is_judged_by_what_is_known() {
    let begun = start();
    let verdict = |tracked: &TrackedJob, run_is_over| match tracked.abandon(run_is_over).verdict {
        Verdict::Succeeded => None,
        Verdict::Failed(failure) => Some(failure.reason),
    };
    assert_eq!(verdict(&new(begun), true), Some(Reason::NotStarted));
    let mut tracked = live(begun);
    assert_eq!(verdict(&tracked, true), Some(Reason::DeadlineExceeded));
    assert_eq!(verdict(&tracked, false), Some(Reason::Interrupted));
    observe(&mut tracked, &complete(&seen(&job(), 0)), begun);
    assert_eq!(verdict(&tracked, false), None);
}
