use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

const US: &str = "us_1";

/// One elector, the time as tests set it, and what the Lease was like.
struct Bed {
    elector: LeaderElector,
    start: Instant,
    seconds: f64,
    wall_clock: &'static str,
}

fn bed() -> Bed {
    // Any moment will do: only differences count.
    let start = Instant::now();
    let elector = LeaderElector::new(US.to_owned(), start);
    Bed { elector, start, seconds: 0.0, wall_clock: "2026-11-29T12:00:00Z" }
}

impl Bed {
    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    fn on(&mut self, seconds: f64, event: Event) -> Vec<Effect> {
        assert!(seconds >= self.seconds, "time goes on");
        self.seconds = seconds;
        let now = Now { instant: self.at(seconds), time: self.wall_clock.parse().unwrap() };
        self.elector.on(event, now)
    }

    fn tick(&mut self, seconds: f64) -> Vec<Effect> {
        self.on(seconds, Event::Tick)
    }

    fn answer(&mut self, seconds: f64, answer: Answer) -> Vec<Effect> {
        self.on(seconds, Event::Answer(answer))
    }

    /// When it wants to be woken.
    fn timer(&self) -> Option<f64> {
        let timer = self.elector.next_timer()?;
        Some(timer.duration_since(self.start).as_secs_f64())
    }

    /// Has taken a free Lease: the replacement was sent at 0.1 s and answered at 0.2 s.
    fn leading(mut self) -> Bed {
        assert_eq!(self.tick(0.0), [GET]);
        let sent = self.answer(0.1, lease("1", &LeaseSpec::default()));
        let spec = replacement(&sent);
        assert_eq!(self.answer(0.2, lease("2", &spec)), [Effect::LeadsUntil(self.at(10.1))]);
        self
    }

    /// Has seen at 0.1 s that another holds version 1.
    fn standing_by(mut self) -> Bed {
        assert_eq!(self.tick(0.0), [GET]);
        assert_eq!(self.answer(0.1, lease("1", &held_by("other"))), []);
        self
    }
}

const GET: Effect = Effect::Call(Request::Get);

fn lease(version: &str, spec: &LeaseSpec) -> Answer {
    let metadata = ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() };
    Answer::Lease(Box::new(Lease { metadata, spec: Some(spec.clone()) }))
}

fn held_by(holder: &str) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(15),
        lease_transitions: Some(3),
        acquire_time: time("2020-01-01T00:00:00Z"),
        renew_time: time("2020-01-01T00:00:00Z"),
        ..LeaseSpec::default()
    }
}

fn time(text: &str) -> Option<MicroTime> {
    Some(MicroTime(text.parse().unwrap()))
}

/// The one effect, which replaces a version.
#[track_caller]
fn replacement(effects: &[Effect]) -> LeaseSpec {
    match effects {
        [Effect::Call(Request::Replace { spec, .. })] => spec.clone(),
        other => panic!("no replacement: {other:?}"),
    }
}

#[track_caller]
fn replaced_version(effects: &[Effect]) -> &str {
    match effects {
        [.., Effect::Call(Request::Replace { version, .. })] => version,
        other => panic!("no replacement: {other:?}"),
    }
}

#[test]
fn a_free_lease_is_taken_at_once_and_renewed_without_a_look() {
    let mut bed = bed();
    assert_eq!(bed.timer(), Some(0.0));
    assert_eq!(bed.tick(0.0), [GET]);
    assert_eq!(bed.timer(), None, "it waits for the answer");
    let sent = bed.answer(0.1, lease("7", &LeaseSpec::default()));
    assert_eq!(replaced_version(&sent), "7");
    let taken = replacement(&sent);
    assert_eq!(taken.holder_identity.as_deref(), Some(US));
    assert_eq!((taken.lease_duration_seconds, taken.lease_transitions), (Some(15), Some(1)));
    assert_eq!((&taken.acquire_time, &taken.renew_time), (&time(bed.wall_clock), &time(bed.wall_clock)));

    assert_eq!(
        bed.answer(1.5, lease("8", &taken)),
        [Effect::LeadsUntil(bed.at(10.1))],
        "from when it was sent"
    );
    assert_eq!(bed.timer(), Some(5.1));
    assert_eq!(bed.tick(5.0), [], "woken too early");
    bed.wall_clock = "2026-11-29T12:00:05Z";
    let sent = bed.tick(5.1);
    assert_eq!(replaced_version(&sent), "8");
    let renewed = LeaseSpec { renew_time: time(bed.wall_clock), ..taken };
    assert_eq!(replacement(&sent), renewed);
    assert_eq!(bed.timer(), Some(10.1), "the time that is left");
    assert_eq!(bed.answer(5.2, lease("9", &renewed)), [Effect::LeadsUntil(bed.at(15.1))]);
}

#[test]
fn a_lease_without_a_holder_is_free_whatever_else_it_says() {
    let empty = LeaseSpec { holder_identity: Some(String::new()), ..held_by("") };
    for free in [empty, LeaseSpec { holder_identity: None, ..held_by("") }] {
        let mut bed = bed();
        bed.tick(0.0);
        let taken = replacement(&bed.answer(0.1, lease("1", &free)));
        assert_eq!(taken.lease_transitions, Some(4));
        assert_eq!(taken.acquire_time, time(bed.wall_clock));
    }
    let mut bed = bed();
    bed.tick(0.0);
    let metadata = ObjectMeta { resource_version: Some("1".into()), ..ObjectMeta::default() };
    let without_spec = Answer::Lease(Box::new(Lease { metadata, spec: None }));
    assert_eq!(replacement(&bed.answer(0.1, without_spec)).lease_transitions, Some(1));
}

#[test]
fn anothers_lease_is_looked_at_every_two_seconds_and_taken_when_it_has_not_changed_for_its_duration() {
    let mut bed = bed().standing_by();
    for n in 1..=7 {
        assert_eq!(bed.timer(), Some(2.0 * f64::from(n)));
        assert_eq!(bed.tick(2.0 * f64::from(n)), [GET]);
        assert_eq!(bed.answer(2.0 * f64::from(n) + 0.05, lease("1", &held_by("other"))), []);
    }
    assert_eq!(bed.tick(15.08), [], "not before its turn");
    assert_eq!(bed.tick(16.0), [GET]);
    let sent = bed.answer(16.1, lease("1", &held_by("other")));
    assert_eq!(replaced_version(&sent), "1");
    assert_eq!(replacement(&sent).lease_transitions, Some(4));
    assert_eq!(bed.answer(16.2, lease("2", &replacement(&sent))), [Effect::LeadsUntil(bed.at(26.1))]);
}

#[test]
fn each_change_of_the_version_begins_the_wait_anew() {
    let mut bed = bed().standing_by();
    for n in 1..=20 {
        // Its times stand still: a clock that is wrong, or a label that was set.
        let at = 14.0 * f64::from(n);
        assert_eq!(bed.tick(at), [GET]);
        assert_eq!(bed.answer(at + 0.05, lease(&n.to_string(), &held_by("other"))), []);
    }
}

#[test]
fn a_look_that_fails_does_not_begin_the_wait_anew() {
    let mut bed = bed().standing_by();
    bed.tick(2.0);
    assert_eq!(bed.answer(4.0, Answer::Failed), []);
    assert_eq!(bed.timer(), Some(4.0), "at once: that took its time");
    bed.tick(4.0);
    assert_eq!(bed.answer(4.1, Answer::Failed), []);
    assert_eq!(bed.timer(), Some(6.0));
    bed.tick(15.2);
    assert_eq!(replaced_version(&bed.answer(15.3, lease("1", &held_by("other")))), "1");
}

#[test]
fn the_holders_own_duration_counts_and_ours_where_it_cannot_be_read() {
    for (seconds, wait) in [(Some(60), 60.0), (Some(1), 1.0), (None, 15.0), (Some(-4), 15.0)] {
        let spec = LeaseSpec { lease_duration_seconds: seconds, ..held_by("other") };
        let mut bed = bed();
        bed.tick(0.0);
        assert_eq!(bed.answer(0.5, lease("1", &spec)), [], "{seconds:?}");
        let before = bed.at(wait + 0.4);
        let observed = bed.elector.observed.as_ref().unwrap();
        assert!(!observed.is_expired(before), "{seconds:?}");
        bed.tick(wait.max(2.0) + 0.5);
        replacement(&bed.answer(wait.max(2.0) + 0.5, lease("1", &spec)));
    }
}

#[test]
fn whoever_is_beaten_to_a_lease_looks_again_after_a_pause() {
    let mut bed = bed();
    bed.tick(0.0);
    replacement(&bed.answer(0.1, lease("1", &LeaseSpec::default())));
    assert_eq!(bed.answer(0.2, Answer::Conflict), []);
    assert_eq!(bed.timer(), Some(2.1));
    assert_eq!(bed.tick(2.1), [GET]);
    assert_eq!(bed.answer(2.2, lease("2", &held_by("other"))), []);
}

#[test]
fn a_renewal_that_fails_is_tried_again_from_a_look_until_the_deadline() {
    let mut bed = bed().leading();
    replacement(&bed.tick(5.1));
    assert_eq!(bed.answer(7.1, Answer::Failed), [], "it leads on");
    assert_eq!(bed.timer(), Some(7.1));
    assert_eq!(bed.tick(7.1), [GET], "it may have been carried out");
    assert_eq!(bed.answer(7.2, Answer::Failed), []);
    assert_eq!(bed.timer(), Some(9.1));
    assert_eq!(bed.tick(9.1), [GET]);
    assert_eq!(bed.tick(10.1), [Effect::Lost]);
    assert_eq!(bed.answer(11.1, Answer::Failed), []);
    assert_eq!(bed.tick(11.1), [GET], "and goes on trying");
}

#[test]
fn a_renewal_that_was_carried_out_without_an_answer_is_gone_on_from() {
    let mut bed = bed().leading();
    let lost = replacement(&bed.tick(5.1));
    bed.answer(7.1, Answer::Failed);
    bed.tick(7.1);
    let sent = bed.answer(7.2, lease("3", &lost));
    assert_eq!(replaced_version(&sent), "3");
    let renewed = replacement(&sent);
    assert_eq!((renewed.lease_transitions, &renewed.acquire_time), (Some(1), &lost.acquire_time));
    assert_eq!(bed.answer(7.3, lease("4", &renewed)), [Effect::LeadsUntil(bed.at(17.2))]);
}

#[test]
fn a_conflict_is_looked_into_at_once() {
    for code in [Answer::Conflict, Answer::Missing] {
        // Somebody has set a label.
        let mut bed = bed().leading();
        let spec = replacement(&bed.tick(5.1));
        assert_eq!(bed.answer(5.2, code), [GET]);
        let sent = bed.answer(5.3, lease("3", &spec));
        assert_eq!(replaced_version(&sent), "3");
        assert_eq!(bed.answer(5.4, lease("4", &spec)), [Effect::LeadsUntil(bed.at(15.3))]);
    }
    // Once more, and it waits.
    let mut bed = bed().leading();
    let spec = replacement(&bed.tick(5.1));
    bed.answer(5.2, Answer::Conflict);
    replacement(&bed.answer(5.3, lease("3", &spec)));
    assert_eq!(bed.answer(5.4, Answer::Conflict), []);
    assert_eq!(bed.timer(), Some(7.3));
    assert_eq!(bed.tick(7.3), [GET]);
}

#[test]
fn a_leader_whose_lease_is_anothers_or_nobodys_leads_no_longer() {
    let mut bed1 = bed().leading();
    bed1.tick(5.1);
    bed1.answer(5.2, Answer::Conflict);
    assert_eq!(bed1.answer(5.3, lease("3", &held_by("thief"))), [Effect::Lost], "and takes nothing back");
    assert_eq!(bed1.timer(), Some(7.2));

    let mut bed2 = bed().leading();
    bed2.tick(5.1);
    bed2.answer(5.2, Answer::Conflict);
    let effects = bed2.answer(5.3, lease("3", &LeaseSpec::default()));
    assert_eq!(effects[0], Effect::Lost, "another may be about to take it");
    assert_eq!(replaced_version(&effects), "3");

    let mut bed3 = bed().leading();
    bed3.tick(5.1);
    assert_eq!(bed3.answer(5.2, lease("3", &held_by("webhook"))), [Effect::Lost]);
}

#[test]
fn a_lease_that_was_deleted_is_made_anew_as_nobodys() {
    let mut bed = bed().leading();
    bed.tick(5.1);
    assert_eq!(bed.answer(5.2, Answer::Missing), [GET]);
    let nobodys = of_nobody();
    assert_eq!(
        bed.answer(5.3, Answer::Missing),
        [Effect::Lost, Effect::Call(Request::Create(nobodys.clone()))]
    );
    assert_eq!((nobodys.lease_duration_seconds, nobodys.renew_time.is_some()), (Some(15), false));
    assert_eq!(bed.answer(5.4, lease("9", &nobodys)), []);
    assert_eq!(bed.timer(), Some(7.3));
    bed.tick(20.3);
    assert_eq!(bed.answer(20.39, lease("9", &nobodys)), [], "others may have seen it last");
    bed.tick(22.3);
    assert_eq!(replacement(&bed.answer(22.4, lease("9", &nobodys))).lease_transitions, Some(1));
}

#[test]
fn a_create_that_fails_is_followed_by_a_look() {
    for answer in [Answer::Conflict, Answer::Missing, Answer::Failed] {
        let mut bed = bed();
        bed.tick(0.0);
        assert_eq!(bed.answer(0.1, Answer::Missing), [Effect::Call(Request::Create(of_nobody()))]);
        assert_eq!(bed.answer(0.2, answer), []);
        assert_eq!(bed.tick(2.1), [GET]);
    }
}

#[test]
fn what_an_earlier_request_has_left_is_no_leadership_until_renewed() {
    let mut bed = bed();
    bed.tick(0.0);
    let taken = replacement(&bed.answer(0.1, lease("1", &LeaseSpec::default())));
    bed.answer(2.1, Answer::Failed);
    bed.tick(2.1);
    assert_eq!(bed.answer(2.2, lease("1", &LeaseSpec::default())).len(), 1, "not carried out yet");
    bed.answer(4.2, Answer::Failed);
    bed.tick(4.2);
    // Now the first one was.
    let sent = bed.answer(4.3, lease("2", &taken));
    assert_eq!(replaced_version(&sent), "2", "no `LeadsUntil`");
    assert_eq!(replacement(&sent).lease_transitions, Some(1));
    assert_eq!(bed.answer(4.4, lease("3", &taken)), [Effect::LeadsUntil(bed.at(14.3))]);
}

#[test]
fn a_process_that_was_stopped_does_not_lead_on_what_was_answered_long_ago() {
    let mut bed1 = bed().leading();
    let spec = replacement(&bed1.tick(5.1));
    assert_eq!(bed1.answer(15.1, lease("3", &spec)), [Effect::Lost], "sent 10 s ago");
    assert_eq!(bed1.tick(15.1), [GET]);

    let mut bed2 = bed().leading();
    assert_eq!(bed2.tick(30.0), [Effect::Lost, GET]);
}

#[test]
fn a_late_answer_to_a_timely_renewal_gives_what_is_left() {
    let mut bed = bed().leading();
    let spec = replacement(&bed.tick(9.0));
    assert_eq!(bed.tick(10.1), [Effect::Lost]);
    assert_eq!(bed.answer(10.5, lease("3", &spec)), [Effect::LeadsUntil(bed.at(19.0))]);
}

#[test]
fn a_lease_without_a_version_is_no_answer() {
    for version in [None, Some(String::new())] {
        let metadata = ObjectMeta { resource_version: version, ..ObjectMeta::default() };
        let unreadable = Answer::Lease(Box::new(Lease { metadata, spec: None }));
        let mut bed = bed();
        bed.tick(0.0);
        assert_eq!(bed.answer(0.1, unreadable.clone()), [], "to replace it would be without a condition");
        assert_eq!(bed.tick(2.0), [GET]);
        bed.on(2.1, Event::Release);
        assert_eq!(bed.timer(), None);
    }
}

#[test]
fn a_release_frees_the_lease_and_keeps_its_count() {
    let mut bed = bed().leading();
    let effects = bed.on(3.0, Event::Release);
    assert_eq!(effects[0], Effect::Lost, "first");
    assert_eq!(replaced_version(&effects), "2");
    let Some(Effect::Call(Request::Replace { spec, .. })) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(*spec, LeaseSpec { lease_transitions: Some(1), ..LeaseSpec::default() });
    assert_eq!(bed.on(3.1, Event::Release), [], "once");
    assert_eq!(bed.timer(), None);
    assert_eq!(bed.answer(3.2, lease("3", spec)), [Effect::Ended]);
    assert_eq!(bed.timer(), None);
    assert_eq!(bed.tick(100.0), [Effect::Ended]);
}

#[test]
fn a_release_during_a_renewal_looks_first_and_does_not_mind_that_it_comes_between() {
    let mut bed = bed().leading();
    let renewed = replacement(&bed.tick(5.1));
    assert_eq!(bed.on(5.2, Event::Release), [Effect::Lost, GET]);
    let freed = replacement(&bed.answer(5.3, lease("2", &renewed)));
    assert_eq!(freed.holder_identity, None);
    assert_eq!(bed.answer(5.4, Answer::Conflict), [GET], "the renewal was carried out after all");
    replacement(&bed.answer(5.5, lease("3", &renewed)));
    assert_eq!(bed.answer(5.6, lease("4", &freed)), [Effect::Ended]);
}

#[test]
fn a_release_touches_nothing_of_others_and_ends_where_it_cannot_go_on() {
    assert_eq!(bed().on(0.0, Event::Release), [Effect::Ended]);
    assert_eq!(bed().standing_by().on(1.0, Event::Release), [Effect::Ended]);
    for (answer, effects) in [
        (lease("3", &held_by("other")), vec![Effect::Ended]),
        (Answer::Missing, vec![Effect::Ended]),
        (Answer::Failed, vec![Effect::Ended]),
    ] {
        let mut bed = bed().leading();
        bed.tick(5.1);
        assert_eq!(bed.on(5.2, Event::Release), [Effect::Lost, GET]);
        assert_eq!(bed.answer(5.3, answer), effects);
    }
    let mut bed = bed().leading();
    bed.on(3.0, Event::Release);
    assert_eq!(bed.answer(3.1, Answer::Failed), [Effect::Ended]);
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut bed = bed().leading();
    assert_eq!(bed.answer(1.0, lease("9", &held_by("other"))), []);
    assert_eq!(bed.timer(), Some(5.1));
}

#[test]
fn no_count_overflows() {
    let spec = LeaseSpec { lease_transitions: Some(i32::MAX), ..LeaseSpec::default() };
    let mut bed = bed();
    bed.tick(0.0);
    let taken = replacement(&bed.answer(0.1, lease("1", &spec)));
    assert_eq!(taken.lease_transitions, Some(i32::MAX));
}
