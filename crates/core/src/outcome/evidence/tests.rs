//! Each test is a story of one pod, told in the states that a real kubelet (1.37, containerd 2.4)
//! was seen to report.

use super::*;
use crate::outcome::{ContainerFacts, Ending, ImageOutcome, ImageState, JobOutcome, Verdict};

const NOT_FOUND: &str = "failed to pull and unpack image \"h.example/team/b:1\": failed to resolve image: h.example/team/b:1: not found";

/// Images `h.example/team/a:1`, `…/b:1`, … each in a container `image-N`.
fn names(images: usize) -> Vec<String> {
    (0..images).map(|i| format!("h.example/team/{}", char::from(b'a' + i as u8))).collect()
}

/// As `image-volume` has it: each image mounted by its own carrier.
fn volumes(images: usize) -> Evidence {
    evidence(images, false, (0..images).map(|i| format!("image-{i}")).collect())
}

/// As `helper` has it: an init container of the carrier image, then each image runs.
fn helper(images: usize) -> Evidence {
    evidence(images, true, vec!["install".into()])
}

fn evidence(images: usize, runs: bool, carriers: Vec<String>) -> Evidence {
    let matchers = names(images)
        .into_iter()
        .enumerate()
        .map(|(i, name)| ImageMatcher {
            references: vec![format!("{name}:1")],
            names: vec![name],
            containers: vec![format!("image-{i}")],
            runs,
        })
        .collect();
    Evidence::new(matchers, CarrierMatcher { names: vec!["k8s.io/pause".into()], containers: carriers })
}

fn waiting(name: &str, reason: &str, message: &str) -> ContainerFacts {
    ContainerFacts {
        name: name.into(),
        waiting: Some((reason.into(), message.into())),
        ..ContainerFacts::default()
    }
}

fn ran(name: &str) -> ContainerFacts {
    let image_id = format!("h.example/x@sha256:{name}");
    ContainerFacts { name: name.into(), image_id, ran: true, ..ContainerFacts::default() }
}

fn creating(name: &str) -> ContainerFacts {
    waiting(name, "ContainerCreating", "")
}

fn back_off(cause: &str) -> String {
    format!("Back-off pulling image \"h.example/team/b:1\": ErrImagePull: {cause}")
}

fn pod(containers: Vec<ContainerFacts>) -> PodFacts {
    PodFacts { uid: "p".into(), on_node: true, containers, ..PodFacts::default() }
}

fn deadline() -> Ending {
    Ending::Failed {
        reason: "DeadlineExceeded".into(),
        message: "Job was active longer than specified deadline".into(),
    }
}

fn states(outcome: &JobOutcome) -> Vec<String> {
    let word = |image: &ImageOutcome| match &image.state {
        ImageState::Pulled => "pulled".to_owned(),
        ImageState::Present => "present".to_owned(),
        ImageState::Unknown => "unknown".to_owned(),
        ImageState::Failed(failure) => failure.reason.to_string(),
    };
    outcome.images.iter().map(word).collect()
}

fn reason(outcome: &JobOutcome) -> Option<Reason> {
    match &outcome.verdict {
        Verdict::Succeeded => None,
        Verdict::Failed(failure) => Some(failure.reason),
    }
}

#[test]
fn containers_that_ran_prove_their_images() {
    let mut evidence = helper(2);
    evidence.observe_pod(&pod(vec![ran("install"), ran("image-0"), ran("image-1")]));
    assert!(evidence.final_status_seen());
    let outcome = evidence.outcome(&Ending::Complete);
    assert_eq!(reason(&outcome), None);
    assert_eq!(states(&outcome), ["present", "present"]);
    assert_eq!(outcome.images[0].digest.as_deref(), Some("sha256:image-0"));
}

#[test]
fn a_carriers_image_id_is_no_digest_of_the_volumes_image() {
    let mut evidence = volumes(1);
    evidence.observe_pod(&pod(vec![ran("image-0")]));
    assert_eq!(evidence.outcome(&Ending::Complete).images[0].digest, None);
}

#[test]
fn a_complete_job_vouches_for_images_whose_pod_was_not_seen() {
    let outcome = volumes(2).outcome(&Ending::Complete);
    assert_eq!((reason(&outcome), states(&outcome)), (None, vec!["present".into(), "present".into()]));
}

#[test]
fn a_missing_image_is_named_and_ends_the_job_once_confirmed() {
    let mut evidence = volumes(3);
    let first =
        pod(vec![creating("image-0"), waiting("image-1", "ErrImagePull", NOT_FOUND), creating("image-2")]);
    evidence.observe_pod(&first);
    // The watch delivers the same state again: that is no second attempt.
    evidence.observe_pod(&first);
    assert_eq!(evidence.decide(), Decision::Wait);
    let backed_off = waiting("image-1", "ImagePullBackOff", &back_off(NOT_FOUND));
    evidence.observe_pod(&pod(vec![ran("image-0"), backed_off.clone(), creating("image-2")]));
    assert_eq!(evidence.decide(), Decision::Wait, "the third image is not decided yet");
    evidence.observe_pod(&pod(vec![ran("image-0"), backed_off, ran("image-2")]));
    assert_eq!(evidence.decide(), Decision::EndEarly);
    let outcome = evidence.outcome(&Ending::EndedEarly);
    assert_eq!(states(&outcome), ["present", "image-not-found", "present"]);
    let expected = Failure::new(Reason::ImageNotFound, NOT_FOUND);
    assert_eq!(outcome.verdict, Verdict::Failed(expected), "the back-off's wrapping is gone");
}

#[test]
fn a_back_off_without_its_cause_confirms_nothing() {
    let mut evidence = helper(1);
    let bare = "Back-off pulling image \"h.example/team/a:1\"";
    evidence.observe_pod(&pod(vec![waiting("image-0", "ImagePullBackOff", bare)]));
    assert_eq!(evidence.decide(), Decision::Wait);
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", NOT_FOUND)]));
    evidence.observe_pod(&pod(vec![waiting("image-0", "ImagePullBackOff", bare)]));
    assert_eq!(evidence.decide(), Decision::Wait);
    // The next attempt ends alike.
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", NOT_FOUND)]));
    assert_eq!(evidence.decide(), Decision::EndEarly);
}

#[test]
fn transient_causes_never_end_a_job_early() {
    for cause in ["pull QPS exceeded", "dial tcp 10.0.0.1:443: i/o timeout", "toomanyrequests: slow down"] {
        let mut evidence = volumes(1);
        for _ in 0..3 {
            evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", cause)]));
            evidence.observe_pod(&pod(vec![waiting("image-0", "ImagePullBackOff", &back_off(cause))]));
        }
        assert_eq!(evidence.decide(), Decision::Wait, "{cause}");
        evidence.observe_pod(&pod(vec![ran("image-0")]));
        assert_eq!(reason(&evidence.outcome(&Ending::Complete)), None, "{cause}");
    }
}

#[test]
fn a_transient_cause_after_a_permanent_one_takes_the_confirmation_back() {
    let mut evidence = volumes(1);
    evidence.observe_pod(&pod(vec![waiting("image-0", "ImagePullBackOff", &back_off(NOT_FOUND))]));
    evidence.observe_pod(&pod(vec![waiting(
        "image-0",
        "ErrImagePull",
        "dial tcp 10.0.0.1:443: i/o timeout",
    )]));
    assert_eq!(evidence.decide(), Decision::Wait);
}

#[test]
fn at_the_deadline_the_last_cause_counts_although_the_pod_is_gone() {
    let mut evidence = volumes(2);
    let cause = "dial tcp 10.0.0.1:443: connect: connection refused";
    evidence.observe_pod(&pod(vec![creating("image-0"), waiting("image-1", "ErrImagePull", cause)]));
    assert!(!evidence.final_status_seen());
    evidence.observe_pod_gone("p");
    assert!(evidence.final_status_seen());
    let outcome = evidence.outcome(&deadline());
    assert_eq!(states(&outcome), ["deadline-exceeded", "registry-unreachable"]);
    assert_eq!(reason(&outcome), Some(Reason::DeadlineExceeded), "the first failed image in file order");
}

#[test]
fn a_slow_pull_fails_at_the_deadline_and_its_proven_neighbours_do_not() {
    let mut evidence = helper(2);
    evidence.observe_pod(&pod(vec![ran("install"), ran("image-0"), creating("image-1")]));
    let outcome = evidence.outcome(&deadline());
    assert_eq!(states(&outcome), ["present", "deadline-exceeded"]);
}

#[test]
fn a_node_whose_images_are_all_proven_succeeds_whatever_its_job_does() {
    let mut evidence = helper(1);
    evidence.observe_pod(&pod(vec![ran("image-0")]));
    for ending in [deadline(), Ending::JobDeleted, Ending::GaveUp, Ending::Interrupted] {
        assert_eq!(reason(&evidence.outcome(&ending)), None, "{ending:?}");
    }
}

#[test]
fn an_image_without_a_shell_is_proven_by_the_error_that_comes_after_its_pull() {
    let mut evidence = helper(1);
    evidence.observe_pod(&pod(vec![waiting("image-0", "CreateContainerError", "no such file")]));
    assert_eq!(states(&evidence.outcome(&deadline())), ["present"]);
}

#[test]
fn a_job_whose_containers_are_never_created_is_ended_once_all_images_are_there() {
    let words = "container has runAsNonRoot and image will run as root";
    let mut evidence = volumes(2);
    let refused = |name: &str| waiting(name, "CreateContainerConfigError", words);
    evidence.observe_pod(&pod(vec![refused("image-0"), creating("image-1")]));
    assert_eq!(evidence.decide(), Decision::Wait, "the second image may still come");
    evidence.observe_pod(&pod(vec![refused("image-0"), refused("image-1")]));
    assert_eq!((evidence.decide(), evidence.never_created()), (Decision::EndEarly, Some(words)));
    assert_eq!(reason(&evidence.outcome(&Ending::EndedEarly)), None);
    // What the kubelet lacked has come.
    evidence.observe_pod(&pod(vec![ran("image-0"), ran("image-1")]));
    assert_eq!((evidence.decide(), evidence.never_created()), (Decision::Wait, None));
    // Of other errors some pass.
    let mut evidence = helper(1);
    evidence.observe_pod(&pod(vec![waiting("image-0", "CreateContainerError", "context deadline exceeded")]));
    assert_eq!(evidence.decide(), Decision::Wait);
}

#[test]
fn a_carrier_that_cannot_be_pulled_is_not_the_users_images_fault() {
    let words = "failed to resolve image: k8s.io/pause:3.10.1: not found";
    let mut in_volumes = volumes(2);
    in_volumes.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", words), creating("image-1")]));
    let mut in_helper = helper(2);
    in_helper.observe_pod(&pod(vec![
        waiting("install", "ImagePullBackOff", &back_off(words)),
        creating("image-0"),
    ]));
    for evidence in [in_volumes, in_helper] {
        assert_eq!(evidence.decide(), Decision::Wait);
        let outcome = evidence.outcome(&deadline());
        assert_eq!(reason(&outcome), Some(Reason::CarrierImageFailed));
        assert_eq!(states(&outcome), ["unknown", "unknown"]);
    }
}

#[test]
fn a_carrier_that_is_pulled_after_all_is_forgiven() {
    let mut evidence = helper(1);
    evidence.observe_pod(&pod(vec![waiting("install", "ErrImagePull", "pull QPS exceeded")]));
    evidence.observe_pod(&pod(vec![ran("install"), waiting("image-0", "ErrImagePull", NOT_FOUND)]));
    assert_eq!(states(&evidence.outcome(&deadline())), ["image-not-found"]);
}

#[test]
fn a_pull_failure_that_names_no_image_is_the_images_and_passes() {
    let mut evidence = volumes(1);
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", "pull QPS exceeded")]));
    assert_eq!(states(&evidence.outcome(&deadline())), ["pull-failed"]);
}

#[test]
fn a_pod_that_found_no_place_is_unschedulable_until_it_finds_one() {
    let mut evidence = volumes(1);
    let words = "0/50 nodes are available: 1 Insufficient cpu";
    let pending = PodFacts { uid: "p".into(), unschedulable: Some(words.into()), ..PodFacts::default() };
    evidence.observe_pod(&pending);
    let outcome = evidence.outcome(&deadline());
    assert_eq!(outcome.verdict, Verdict::Failed(Failure::new(Reason::Unschedulable, words)));
    assert_eq!(states(&outcome), ["unknown"]);
    evidence.observe_pod(&pod(vec![creating("image-0")]));
    assert_eq!(reason(&evidence.outcome(&deadline())), Some(Reason::DeadlineExceeded));
}

#[test]
fn an_evicted_pod_is_said_where_its_replacement_does_not_make_it() {
    let mut evidence = volumes(1);
    let failed = Some("Evicted: The node was low on resource: ephemeral-storage".to_owned());
    evidence.observe_pod(&PodFacts { failed, ..pod(vec![]) });
    let ending = Ending::Failed { reason: "BackoffLimitExceeded".into(), message: "x".into() };
    let outcome = evidence.outcome(&ending);
    assert_eq!(reason(&outcome), Some(Reason::PodFailed));
    evidence.observe_pod(&PodFacts { uid: "q".into(), ..pod(vec![ran("image-0")]) });
    assert_eq!(reason(&evidence.outcome(&ending)), None);
}

#[test]
fn images_that_no_container_shows_stand_and_fall_with_the_job() {
    let evidence = Evidence::unseen(2);
    let complete = evidence.outcome(&Ending::Complete);
    assert_eq!((reason(&complete), states(&complete)), (None, vec!["unknown".into(), "unknown".into()]));
    let failed = Ending::Failed { reason: "BackoffLimitExceeded".into(), message: "m".into() };
    let outcome = evidence.outcome(&failed);
    assert_eq!(outcome.verdict, Verdict::Failed(Failure::new(Reason::JobFailed, "BackoffLimitExceeded: m")));
}

#[test]
fn a_job_that_never_was_says_why() {
    let refused = Failure::new(Reason::Quota, "exceeded quota");
    for (ending, expected) in [
        (Ending::NotCreated(refused), Reason::Quota),
        (Ending::NotStarted, Reason::NotStarted),
        (Ending::JobDeleted, Reason::JobDeleted),
        (Ending::Interrupted, Reason::Interrupted),
        (Ending::GaveUp, Reason::DeadlineExceeded),
    ] {
        assert_eq!(reason(&volumes(1).outcome(&ending)), Some(expected), "{ending:?}");
    }
}

fn pull_of(image: &str, pulled: Option<Pull>) -> PullFacts {
    PullFacts { image: image.into(), pulled }
}

#[test]
fn a_pulled_event_may_be_the_only_proof_at_a_deadline() {
    // While the second image is pulled, the kubelet does not publish that the first one ran.
    let mut evidence = helper(2);
    evidence.observe_pod(&pod(vec![creating("image-0"), creating("image-1")]));
    let pull = Pull { seconds: Some(0.25), bytes: Some(7) };
    assert!(evidence.observe_pull(&pull_of("h.example/team/a:1", Some(pull))));
    assert!(!evidence.observe_pull(&pull_of("h.example/team/a:12", Some(pull))), "another tag");
    assert!(!evidence.observe_pull(&pull_of("k8s.io/pause", Some(pull))), "the carrier");
    let JobOutcome { images, .. } = evidence.outcome(&deadline());
    assert_eq!(
        (&images[0].state, images[0].seconds, images[0].bytes),
        (&ImageState::Pulled, Some(0.25), Some(7))
    );
    assert!(
        matches!(&images[1].state, ImageState::Failed(failure) if failure.reason == Reason::DeadlineExceeded)
    );
}

#[test]
fn an_image_that_was_there_before_is_present() {
    let mut evidence = volumes(1);
    evidence.observe_pull(&pull_of("h.example/team/a:1", None));
    assert_eq!(evidence.outcome(&deadline()).images[0].state, ImageState::Present);
    assert_eq!(evidence.outcome(&deadline()).verdict, Verdict::Succeeded);
}

#[test]
fn a_pod_that_admission_refuses_ends_the_node_at_once() {
    let refused = Rejection::of_message("Error creating: pods \"g\" is forbidden: violates PodSecurity");
    let quota = Rejection::of_message("Error creating: pods \"g\" is forbidden: exceeded quota: one");
    let mut evidence = volumes(1);
    evidence.observe_rejection(quota);
    assert_eq!(evidence.decide(), Decision::Wait, "other pods may end");
    evidence.observe_rejection(refused.clone());
    assert_eq!(evidence.decide(), Decision::EndEarly);
    let outcome = evidence.outcome(&Ending::EndedEarly);
    assert_eq!(outcome.verdict, Verdict::Failed(refused.failure.clone()));
    assert_eq!(outcome.images[0].state, ImageState::Unknown);

    // An old event of a Job whose pod was made after all.
    evidence.observe_pod(&pod(vec![ran("image-0")]));
    evidence.observe_rejection(refused);
    assert_eq!(evidence.decide(), Decision::Wait);
    assert_eq!(evidence.outcome(&Ending::Complete).verdict, Verdict::Succeeded);
}

#[test]
fn a_node_that_is_gone_is_the_reason_and_no_image_is_blamed() {
    let mut evidence = volumes(2);
    evidence.observe_pod(&pod(vec![creating("image-0"), creating("image-1")]));
    assert!(!evidence.no_active_pod() && evidence.unexplained());
    evidence.observe_pod_gone("p");
    assert!(evidence.no_active_pod());
    evidence.observe_node(Some(Failure::new(Reason::NodeNotReady, "Ready is Unknown")));
    assert_eq!(evidence.decide(), Decision::Wait, "it may come back");
    evidence.observe_node(Some(Failure::new(Reason::NodeGone, "the node was deleted")));
    assert_eq!(evidence.decide(), Decision::EndEarly);
    let outcome = evidence.outcome(&Ending::EndedEarly);
    assert!(matches!(&outcome.verdict, Verdict::Failed(failure) if failure.reason == Reason::NodeGone));
    assert!(outcome.images.iter().all(|image| image.state == ImageState::Unknown));
}

#[test]
fn a_tag_or_a_repository_is_not_taken_for_a_cause() {
    let matcher = |reference: &str, name: &str| ImageMatcher {
        names: vec![name.into()],
        references: vec![reference.into()],
        containers: vec!["image-0".into()],
        runs: false,
    };
    for (reference, name, cause, expected) in [
        (
            "q.io/a:20260429",
            "q.io/a",
            "failed to resolve image: q.io/a:20260429: not found",
            Reason::ImageNotFound,
        ),
        (
            "q.io/signature-svc:1",
            "q.io/signature-svc",
            "failed to pull \"q.io/signature-svc:1\": dial tcp 10.0.0.1:443: connect: connection refused",
            Reason::RegistryUnreachable,
        ),
        (
            "q.io/denied:404",
            "q.io/denied",
            "unexpected status from HEAD request to https://q.io/v2/denied/manifests/404: 503 Service Unavailable",
            Reason::RegistryError,
        ),
    ] {
        let mut evidence = Evidence::new(vec![matcher(reference, name)], CarrierMatcher::default());
        evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", cause)]));
        let outcome = evidence.outcome(&deadline());
        assert!(
            matches!(&outcome.verdict, Verdict::Failed(f) if f.reason == expected),
            "{cause}: {outcome:?}"
        );
    }
}

#[test]
fn a_carrier_whose_name_begins_like_an_image_is_blamed_itself() {
    let matcher = ImageMatcher {
        names: vec!["q.io/team/app".into()],
        references: vec!["q.io/team/app:1".into()],
        containers: vec!["image-0".into()],
        runs: false,
    };
    let carrier =
        CarrierMatcher { names: vec!["q.io/team/app-carrier:1".into()], containers: vec!["image-0".into()] };
    let mut evidence = Evidence::new(vec![matcher], carrier);
    let words = "failed to pull and unpack image \"q.io/team/app-carrier:1\": not found";
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", words)]));
    let outcome = evidence.outcome(&deadline());
    assert!(
        matches!(&outcome.verdict, Verdict::Failed(f) if f.reason == Reason::CarrierImageFailed),
        "{outcome:?}"
    );
    assert_eq!(outcome.images[0].state, ImageState::Unknown);
}

#[test]
fn a_node_that_came_back_is_no_cause_any_longer() {
    let mut evidence = volumes(1);
    evidence.observe_node(Some(Failure::new(Reason::NodeNotReady, "Ready is Unknown")));
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", "h.example/team/a:1: not found")]));
    let outcome = evidence.outcome(&deadline());
    assert!(
        matches!(&outcome.verdict, Verdict::Failed(f) if f.reason == Reason::ImageNotFound),
        "{outcome:?}"
    );
}

fn named(image: &str, cause: &str) -> String {
    format!("failed to pull and unpack image \"{image}\": {cause}")
}

#[test]
fn a_throttled_carrier_is_neither_broken_nor_makes_its_images_unknown() {
    let throttled = "Back-off pulling image \"k8s.io/pause\": ErrImagePull: pull QPS exceeded";
    let mut evidence = volumes(3);
    evidence.observe_pod(&pod(vec![
        waiting("image-0", "ImagePullBackOff", throttled),
        waiting("image-1", "ErrImagePull", "pull QPS exceeded"),
        creating("image-2"),
    ]));
    evidence.observe_pull(&pull_of("h.example/team/c:1", Some(Pull::default())));
    assert!(evidence.unexplained(), "the node may be asked what it has");
    assert_eq!(evidence.broken_carrier(), None);
    let outcome = evidence.outcome(&deadline());
    assert_eq!(states(&outcome), ["deadline-exceeded", "pull-failed", "pulled"]);
}

#[test]
fn a_throttled_attempt_hides_no_cause_and_takes_no_confirmation_back() {
    let mut evidence = helper(1);
    let cause = named("h.example/team/a:1", "failed to resolve image: h.example/team/a:1: not found");
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", &cause)]));
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", "pull QPS exceeded")]));
    assert_eq!(states(&evidence.outcome(&deadline())), ["image-not-found"]);
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", &cause)]));
    assert_eq!(evidence.decide(), Decision::EndEarly);
}

#[test]
fn a_carrier_is_broken_once_one_container_has_failed_for_it_twice() {
    let words = named("k8s.io/pause:3.10.1", "failed to resolve image: k8s.io/pause:3.10.1: not found");
    let mut evidence = volumes(2);
    let both = ["image-0", "image-1"].map(|name| waiting(name, "ErrImagePull", &words));
    evidence.observe_pod(&pod(both.to_vec()));
    assert_eq!(evidence.broken_carrier(), None, "two containers that fail alike are one attempt");
    let backed_off = format!("Back-off pulling image \"k8s.io/pause:3.10.1\": ErrImagePull: {words}");
    evidence.observe_pod(&pod(vec![waiting("image-0", "ImagePullBackOff", &backed_off)]));
    let expected = Failure::new(Reason::CarrierImageFailed, words);
    assert_eq!(evidence.broken_carrier(), Some(expected));
}

#[test]
fn a_carrier_that_one_container_got_is_there_although_others_still_show_its_failure() {
    let words = "failed to resolve image: k8s.io/pause:3.10.1: dial tcp 10.0.0.1:443: i/o timeout";
    let mut evidence = volumes(3);
    let failing =
        [waiting("image-0", "ErrImagePull", words), waiting("image-2", "ImagePullBackOff", &back_off(words))];
    let [first, last] = failing;
    evidence.observe_pod(&pod(vec![first.clone(), creating("image-1"), last.clone()]));
    evidence.observe_pod(&pod(vec![first, ran("image-1"), last]));
    let outcome = evidence.outcome(&deadline());
    assert_eq!(states(&outcome), ["deadline-exceeded", "present", "deadline-exceeded"]);
    // The kubelet says so itself.
    let mut evidence = volumes(1);
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", words)]));
    evidence.observe_pull(&pull_of("k8s.io/pause", None));
    assert_eq!(states(&evidence.outcome(&deadline())), ["deadline-exceeded"]);
}

#[test]
fn an_images_own_cause_is_told_although_the_carrier_fails_too() {
    let own = named("h.example/team/a:1", "failed to copy: write /var/lib/x: no space left on device");
    let carriers = named("k8s.io/pause", "write /var/lib/y: no space left on device");
    let mut evidence = volumes(2);
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", &own), creating("image-1")]));
    evidence.observe_pod(&pod(vec![
        waiting("image-0", "ErrImagePull", &carriers),
        waiting("image-1", "ErrImagePull", &carriers),
    ]));
    let outcome = evidence.outcome(&deadline());
    assert_eq!(states(&outcome), ["disk-full", "unknown"]);
    assert_eq!(reason(&outcome), Some(Reason::DiskFull));
}

#[test]
fn a_cause_without_a_name_is_the_carriers_once_the_back_off_says_so() {
    let cause = "Error response from daemon: Get \"https://k8s.io/v2/\": dial tcp 10.0.0.1:443: i/o timeout";
    let mut evidence = volumes(1);
    evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", cause)]));
    let named = format!("Back-off pulling image \"k8s.io/pause\": ErrImagePull: {cause}");
    evidence.observe_pod(&pod(vec![waiting("image-0", "ImagePullBackOff", &named)]));
    let outcome = evidence.outcome(&deadline());
    assert_eq!(
        (reason(&outcome), states(&outcome)),
        (Some(Reason::CarrierImageFailed), vec!["unknown".into()])
    );
    evidence.observe_pull(&pull_of("k8s.io/pause", None));
    assert_eq!(states(&evidence.outcome(&deadline())), ["deadline-exceeded"]);
}

#[test]
fn a_message_that_names_one_image_of_a_container_blames_no_other() {
    let mut matchers = names(2).into_iter().map(|name| ImageMatcher {
        references: vec![format!("{name}:1")],
        names: vec![name],
        containers: vec!["all".into()],
        runs: false,
    });
    let images = vec![matchers.next().unwrap(), matchers.next().unwrap()];
    let mut evidence = Evidence::new(images, CarrierMatcher::default());
    evidence.observe_pod(&pod(vec![waiting("all", "ErrImagePull", NOT_FOUND)]));
    assert_eq!(states(&evidence.outcome(&deadline())), ["deadline-exceeded", "image-not-found"]);
}

#[test]
fn a_carrier_of_the_images_own_repository_is_told_apart_by_its_tag() {
    let matcher = ImageMatcher {
        names: vec!["q.io/ctl".into()],
        references: vec!["q.io/ctl:2".into()],
        containers: vec!["image-0".into()],
        runs: false,
    };
    let carrier = CarrierMatcher { names: vec!["q.io/ctl:1".into()], containers: vec!["image-0".into()] };
    for (image, expected) in [("q.io/ctl:1", "unknown"), ("q.io/ctl:2", "image-not-found")] {
        let mut evidence = Evidence::new(vec![matcher.clone()], carrier.clone());
        let words = named(image, &format!("failed to resolve image: {image}: not found"));
        evidence.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", &words)]));
        assert_eq!(states(&evidence.outcome(&deadline())), [expected], "{image}");
    }
}

#[test]
fn an_absent_pull_secret_is_the_reason_where_the_registry_refuses() {
    let refused = "failed to resolve image: unexpected status from HEAD request to https://h.example/v2/: 401 Unauthorized";
    let mut evidence = helper(2);
    evidence.observe_pod_event("p", &PodEvent::SecretsMissing("absent".into()));
    evidence.observe_pod(&pod(vec![
        waiting("image-0", "ErrImagePull", &named("h.example/team/a:1", refused)),
        waiting("image-1", "ErrImagePull", NOT_FOUND),
    ]));
    let outcome = evidence.outcome(&deadline());
    assert_eq!(states(&outcome), ["pull-secret-missing", "image-not-found"]);
    let Verdict::Failed(failure) = outcome.verdict else { panic!("{outcome:?}") };
    assert!(failure.message.contains("absent") && failure.message.contains("401"), "{failure:?}");
}

#[test]
fn a_pod_that_cannot_be_set_up_is_the_reason_until_it_can() {
    let words = "FailedCreatePodSandBox: failed to set up network";
    let event = PodEvent::Trouble(Failure::new(Reason::PodFailed, words));
    let mut evidence = helper(1);
    evidence.observe_pod(&pod(vec![creating("install"), creating("image-0")]));
    evidence.observe_pod_event("p", &event);
    assert!(evidence.unexplained(), "the node may be at fault");
    let outcome = evidence.outcome(&deadline());
    assert_eq!(outcome.verdict, Verdict::Failed(Failure::new(Reason::PodFailed, words)));
    // Nothing else explains a Job whose pod shows no image.
    let mut unseen = Evidence::unseen(1);
    unseen.observe_pod(&pod(vec![]));
    unseen.observe_pod_event("p", &event);
    assert_eq!(reason(&unseen.outcome(&deadline())), Some(Reason::PodFailed));

    evidence.observe_pod(&PodFacts { is_set_up: true, ..pod(vec![ran("install"), creating("image-0")]) });
    for _ in 0..2 {
        let outcome = evidence.outcome(&deadline());
        assert_eq!(reason(&outcome), Some(Reason::DeadlineExceeded));
        assert!(matches!(&outcome.verdict, Verdict::Failed(f) if f.message.contains(words)), "{outcome:?}");
        // The event comes late.
        evidence.observe_pod_event("p", &event);
    }
    evidence.observe_node(Some(Failure::new(Reason::NodeNotReady, "Ready is Unknown")));
    assert_eq!(reason(&evidence.outcome(&deadline())), Some(Reason::NodeNotReady));
}

#[test]
fn an_evicted_or_preempted_pod_is_the_reason_where_no_other_gets_further() {
    let words = |word: &str| Some(format!("{word}: low on memory"));
    for lost in [
        PodFacts { failed: words("Evicted"), ..pod(vec![creating("image-0")]) },
        PodFacts { disrupted: words("PreemptionByScheduler"), ..pod(vec![creating("image-0")]) },
    ] {
        let mut evidence = volumes(1);
        evidence.observe_pod(&lost);
        evidence.observe_pod_gone("p");
        assert_eq!(states(&evidence.outcome(&deadline())), ["pod-failed"], "{lost:?}");
        evidence.observe_pod(&PodFacts { uid: "q".into(), ..pod(vec![creating("image-0")]) });
        assert_eq!(states(&evidence.outcome(&deadline())), ["deadline-exceeded"], "{lost:?}");
    }
}

#[test]
fn what_fails_after_the_pull_proves_the_image() {
    for reason in ["CreateContainerConfigError", "RunContainerError", "PreStartHookError", "CrashLoopBackOff"]
    {
        let mut evidence = helper(1);
        evidence.observe_pod(&pod(vec![waiting("image-0", reason, "x")]));
        assert_eq!(states(&evidence.outcome(&deadline())), ["present"], "{reason}");
    }
}

#[test]
fn a_broken_carrier_ends_a_job_all_of_whose_images_are_there() {
    let words = "failed to resolve image: k8s.io/pause:3.10.1: not found";
    let broken = |reason: &str, message: &str| {
        pod(vec![waiting("image-0", reason, message), waiting("image-1", reason, message)])
    };
    let mut evidence = volumes(2);
    evidence.observe_pull(&pull_of("h.example/team/a:1", Some(Pull::default())));
    evidence.observe_pod(&broken("ErrImagePull", words));
    evidence.observe_pod(&broken("ErrImagePull", words));
    let backed_off = format!("Back-off pulling image \"k8s.io/pause:3.10.1\": ErrImagePull: {words}");
    evidence.observe_pod(&broken("ImagePullBackOff", &backed_off));
    assert_eq!(evidence.decide(), Decision::Wait, "the second image is not there yet");
    evidence.observe_pull(&pull_of("h.example/team/b:1", None));
    assert_eq!(evidence.decide(), Decision::EndEarly);
    assert_eq!(evidence.broken_carrier().unwrap().message, words);
    let outcome = evidence.outcome(&Ending::EndedEarly);
    assert_eq!((reason(&outcome), states(&outcome)), (None, vec!["pulled".into(), "present".into()]));
}

/// The kubelet looks at what a container mounts before it pulls the container's own image
/// (kuberuntime's `startWithInitState`).
#[test]
fn a_volume_that_cannot_be_pulled_says_nothing_of_its_carrier() {
    let mut evidence = volumes(2);
    let carriers = "failed to pull and unpack image \"k8s.io/pause:3.10.1\": k8s.io/pause:3.10.1: not found";
    let own = "failed to pull and unpack image \"h.example/team/b:1\": h.example/team/b:1: not found";
    evidence.observe_pod(&pod(vec![
        waiting("image-0", "ErrImagePull", carriers),
        waiting("image-1", "ErrImagePull", own),
    ]));
    // The event that would prove the first image was rationed.
    let outcome = evidence.outcome(&deadline());
    assert_eq!(states(&outcome), vec!["unknown".to_owned(), "image-not-found".to_owned()]);
}

#[test]
fn a_carrier_is_broken_once_one_container_has_failed_twice_and_never_by_the_kubelets_own_limit() {
    let there = |evidence: &mut Evidence| {
        for image in ["h.example/team/a:1", "h.example/team/b:1"] {
            evidence.observe_pull(&pull_of(image, None));
        }
    };
    let words = "failed to resolve image: k8s.io/pause:3.10.1: i/o timeout";
    let mut once = volumes(2);
    there(&mut once);
    // Two containers in the same state are one attempt, not two.
    once.observe_pod(&pod(vec![
        waiting("image-0", "ErrImagePull", words),
        waiting("image-1", "ErrImagePull", words),
    ]));
    assert_eq!(once.decide(), Decision::Wait);
    // Kubelets before 1.32 do not carry the cause along.
    once.observe_pod(&pod(vec![waiting(
        "image-0",
        "ImagePullBackOff",
        "Back-off pulling image \"k8s.io/pause:3.10.1\"",
    )]));
    assert_eq!(once.decide(), Decision::Wait);
    once.observe_pod(&pod(vec![waiting("image-0", "ErrImagePull", words)]));
    assert_eq!(once.decide(), Decision::EndEarly);

    let mut limited = helper(2);
    there(&mut limited);
    for _ in 0..3 {
        limited.observe_pod(&pod(vec![waiting("install", "ErrImagePull", "pull QPS exceeded")]));
        limited.observe_pod(&pod(vec![waiting(
            "install",
            "ImagePullBackOff",
            &back_off("pull QPS exceeded"),
        )]));
    }
    assert_eq!(limited.decide(), Decision::Wait);
}

#[test]
fn an_image_that_its_node_lists_is_there_and_one_that_it_does_not_is_not_said_to_be_missing() {
    let mut evidence = volumes(2);
    evidence.observe_pod(&pod(vec![creating("image-0"), creating("image-1")]));
    let outcome = evidence.outcome(&deadline());
    let message = |outcome: &JobOutcome, image: usize| match &outcome.images[image].state {
        ImageState::Failed(failure) => failure.message.clone(),
        state => panic!("{state:?}"),
    };
    assert_eq!(message(&outcome, 0), "the image was not heard of before the deadline passed");
    evidence.observe_node_images(&[true, false]);
    let outcome = evidence.outcome(&deadline());
    assert_eq!(states(&outcome), ["present", "deadline-exceeded"]);
    assert!(message(&outcome, 1).ends_with("and the node does not list it"), "{outcome:?}");
    evidence.observe_node_images(&[false, true]);
    assert_eq!(reason(&evidence.outcome(&deadline())), None, "what was there once was there");
}

#[test]
fn a_job_that_a_queue_holds_is_suspended_at_the_runs_deadline_and_not_before() {
    let mut evidence = volumes(1);
    evidence.observe_suspension(true);
    let outcome = evidence.outcome(&Ending::RunOver);
    assert_eq!((reason(&outcome), states(&outcome)), (Some(Reason::Suspended), vec!["unknown".into()]));
    assert_eq!(reason(&evidence.outcome(&Ending::Interrupted)), Some(Reason::Interrupted));
    evidence.observe_suspension(false);
    assert_eq!(reason(&evidence.outcome(&Ending::RunOver)), Some(Reason::DeadlineExceeded));
}
