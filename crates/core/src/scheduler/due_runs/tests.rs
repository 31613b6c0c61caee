use super::*;
use crate::plan::fixtures::{config, group};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn scheduled(name: &str, schedule: &str, zone: &str) -> Group {
    let mut group = group(name);
    group.schedule = Some(Schedule::parse(schedule).unwrap());
    group.time_zone = zone.into();
    group
}

fn scheduler(groups: Vec<Group>, now: &str) -> Scheduler {
    Scheduler::new(&config(groups), time(now), &RunHistory::default())
}

/// Run ids and causes of what is due.
fn due(scheduler: &mut Scheduler, now: &str) -> Vec<(String, Trigger)> {
    let due_runs = scheduler.take_due(time(now));
    due_runs.due.into_iter().map(|due| (due.run_id.as_str().to_owned(), due.trigger)).collect()
}

#[test]
fn a_group_without_schedule_runs_once_at_the_start() {
    let mut scheduler = scheduler(vec![group("g")], "2026-11-25T12:00:00Z");
    let due_runs = due(&mut scheduler, "2026-11-25T12:00:00Z");
    assert!(
        matches!(&due_runs[..], [(id, Trigger::Started)] if id.starts_with("c-") && id.len() == 18),
        "{due_runs:?}"
    );
    assert_eq!(due(&mut scheduler, "2027-11-25T12:00:00Z"), []);
    assert_eq!(scheduler.next_due(), None);
}

#[test]
fn a_schedule_is_due_at_its_times_and_names_its_runs_by_them() {
    let mut scheduler = scheduler(vec![scheduled("g", "0 3 * * *", "Europe/Berlin")], "2026-11-25T12:00:00Z");
    assert_eq!(due(&mut scheduler, "2026-11-25T12:00:00Z"), [], "the last time is nine hours ago");
    assert_eq!(scheduler.run_id("g").unwrap().as_str(), "20261125t020000z");
    assert_eq!(scheduler.next_due(), Some(time("2026-11-26T02:00:00Z")));
    assert_eq!(due(&mut scheduler, "2026-11-26T01:59:59Z"), []);
    let expected = [("20261126t020000z".to_owned(), Trigger::Scheduled)];
    assert_eq!(due(&mut scheduler, "2026-11-26T02:00:00Z"), expected);
    assert_eq!(due(&mut scheduler, "2026-11-26T02:00:01Z"), []);
}

#[test]
fn a_year_of_hours_and_days_passes_with_both_clock_changes() {
    for zone in ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York"] {
        let start = time("2026-01-01T00:00:00Z");
        let groups = vec![scheduled("daily", "30 2 * * *", zone), scheduled("hourly", "@hourly", zone)];
        let mut scheduler = Scheduler::new(&config(groups), start, &RunHistory::default());
        let mut ran: Vec<(String, String)> = Vec::new();
        let end = time("2027-01-01T00:00:00Z");
        while let Some(next) = scheduler.next_due().filter(|next| *next < end) {
            for DueRun { group, run_id, trigger } in scheduler.take_due(next).due {
                assert_eq!(
                    trigger,
                    if ran.is_empty() && next == start { Trigger::Started } else { Trigger::Scheduled }
                );
                ran.push((group, run_id.as_str().to_owned()));
            }
        }
        for name in ["daily", "hourly"] {
            let text = if name == "daily" { "30 2 * * *" } else { "@hourly" };
            let (schedule, zone) = (Schedule::parse(text).unwrap(), schedule::time_zone(zone).unwrap());
            let mut expected = Vec::new();
            let mut now = start;
            while let Some(next) = schedule.next_after(now, &zone).filter(|next| *next < end) {
                expected.push(next.strftime("%Y%m%dt%H%M%Sz").to_string());
                now = next;
            }
            let got: Vec<String> =
                ran.iter().filter(|(group, _)| group == name).map(|(_, id)| id.clone()).collect();
            // `@hourly` was due at the very start as well.
            let got = if got.len() > expected.len() { &got[1..] } else { &got[..] };
            assert_eq!(got, expected, "{name} in {zone:?}");
            assert!(expected.len() >= 364);
        }
    }
}

#[test]
fn runs_of_one_group_never_overlap() {
    let mut skipping = scheduled("skip", "*/10 * * * *", "Etc/UTC");
    skipping.overlap = Overlap::Skip;
    let mut waiting = scheduled("wait", "*/10 * * * *", "Etc/UTC");
    waiting.overlap = Overlap::Wait;
    let mut scheduler = scheduler(vec![skipping, waiting], "2026-11-25T11:55:00Z");
    scheduler.take_due(time("2026-11-25T11:55:00Z"));
    for group in ["skip", "wait"] {
        scheduler.mark_started(group);
    }
    let due_runs = scheduler.take_due(time("2026-11-25T12:00:00Z"));
    assert_eq!(due_runs, DueRuns { due: vec![], skipped: vec!["skip".into()] });
    let due_runs = scheduler.take_due(time("2026-11-25T12:10:00Z"));
    assert_eq!(due_runs.skipped, ["skip", "wait"], "one run at most waits");
    scheduler.mark_finished("skip");
    scheduler.mark_finished("wait");
    let due_runs = scheduler.take_due(time("2026-11-25T12:10:01Z"));
    assert_eq!(due_runs.due.len(), 1);
    assert_eq!(
        (due_runs.due[0].group.as_str(), due_runs.due[0].run_id.as_str()),
        ("wait", "20261125t121000z")
    );
}

#[test]
fn after_downtime_one_missed_run_is_made_up_if_it_is_not_too_old() {
    let every_ten = || scheduled("g", "*/10 * * * *", "Etc/UTC");
    let mut fresh = scheduler(vec![every_ten()], "2026-11-25T12:09:00Z");
    let now = time("2026-11-25T12:09:00Z");
    assert_eq!(
        due(&mut fresh, "2026-11-25T12:09:00Z"),
        [("20261125t120000z".to_owned(), Trigger::Started)],
        "who starts for the first time has missed nothing"
    );
    assert_eq!(due(&mut fresh, "2026-11-25T12:09:01Z"), []);
    let mut before = RunHistory::default();
    before.add("g", "20261125t115000z", false);
    let mut again = Scheduler::new(&config(vec![every_ten()]), now, &before);
    assert_eq!(due(&mut again, "2026-11-25T12:09:00Z"), [("20261125t120000z".to_owned(), Trigger::CatchUp)]);

    let mut never = every_ten();
    never.catch_up = false;
    let mut never = scheduler(vec![never], "2026-11-25T12:09:00Z");
    assert_eq!(due(&mut never, "2026-11-25T12:09:00Z"), []);

    let mut old = scheduler(vec![scheduled("g", "0 3 * * *", "Etc/UTC")], "2026-11-25T04:00:01Z");
    assert_eq!(due(&mut old, "2026-11-25T04:00:01Z"), [], "the limit is an hour");

    // The process was there, and slept.
    let mut slept = scheduler(vec![every_ten()], "2026-11-25T12:00:00Z");
    slept.take_due(time("2026-11-25T12:00:00Z"));
    assert_eq!(due(&mut slept, "2026-11-25T15:09:00Z"), [("20261125t150000z".to_owned(), Trigger::CatchUp)]);
    assert_eq!(slept.next_due(), Some(time("2026-11-25T15:10:00Z")));
}

#[test]
fn a_run_under_way_is_continued_under_its_id() {
    let group = || {
        let mut group = scheduled("g", "0 3 * * *", "Etc/UTC");
        group.catch_up = false;
        group
    };
    let start = |found, now| {
        let mut history = RunHistory::default();
        if found != Found::None {
            history.add("g", "20261125t030000z", found == Found::Live);
        }
        due(&mut Scheduler::new(&config(vec![group()]), time(now), &history), now)
    };
    let continued = [("20261125t030000z".to_owned(), Trigger::Continued)];
    assert_eq!(start(Found::Live, "2026-11-25T09:00:00Z"), continued);
    assert_eq!(start(Found::Finished, "2026-11-25T03:30:00Z"), continued);
    assert_eq!(start(Found::Finished, "2026-11-25T09:00:00Z"), []);
    assert_eq!(start(Found::None, "2026-11-25T03:30:00Z"), []);
}

#[test]
fn an_interval_counts_from_the_start() {
    let mut scheduler = scheduler(vec![scheduled("g", "@every 90s", "Etc/UTC")], "2026-11-25T12:00:10Z");
    scheduler.take_due(time("2026-11-25T12:00:10Z"));
    assert_eq!(scheduler.next_due(), Some(time("2026-11-25T12:01:40Z")));
    assert_eq!(
        due(&mut scheduler, "2026-11-25T12:01:41Z"),
        [("20261125t120140z".to_owned(), Trigger::Scheduled)]
    );
    assert_eq!(scheduler.next_due(), Some(time("2026-11-25T12:03:10Z")));
}

#[test]
fn an_interval_goes_on_from_its_last_run_and_begins_none_at_a_start() {
    let every = || vec![scheduled("g", "@every 1h", "Etc/UTC")];
    let mut fresh = scheduler(every(), "2026-11-25T12:00:00Z");
    assert_eq!(due(&mut fresh, "2026-11-25T12:00:00Z"), []);
    let mut history = RunHistory::default();
    history.add("g", "20261125t113000z", true);
    history.add("g", "c-0123456789abcdef", false);
    let now = "2026-11-25T12:00:00Z";
    let mut continued = Scheduler::new(&config(every()), time(now), &history);
    assert_eq!(due(&mut continued, now), [("20261125t113000z".to_owned(), Trigger::Continued)]);
    assert_eq!(continued.next_due(), Some(time("2026-11-25T12:30:00Z")));
}

#[test]
fn a_clock_that_was_ahead_silences_no_group() {
    let groups = vec![scheduled("g", "0 * * * *", "Etc/UTC"), scheduled("e", "@every 1h", "Etc/UTC")];
    let mut scheduler = scheduler(groups, "2036-11-25T12:00:00Z");
    scheduler.take_due(time("2036-11-25T13:00:00Z"));
    scheduler.take_due(time("2026-11-25T12:10:00Z"));
    assert_eq!(scheduler.next_due(), Some(time("2026-11-25T13:00:00Z")));
    assert_eq!(scheduler.take_due(time("2026-11-25T13:10:00Z")).due.len(), 2);
}

#[test]
fn an_interval_goes_on_also_where_a_run_is_of_a_clock_that_was_ahead() {
    let every = || vec![scheduled("g", "@every 1h", "Etc/UTC")];
    let now = "2026-11-25T12:00:00Z";
    for (ids, expected) in [
        (&["20361125t120000z"][..], "2026-11-25T13:00:00Z"),
        (&["20261125t120001z"], "2026-11-25T13:00:00Z"),
        (&["99991231t235959z", "20261125t113000z"], "2026-11-25T12:30:00Z"),
        (&["20261125t120000z"], "2026-11-25T13:00:00Z"),
        (&["00010101t000000z"], "2026-11-25T13:00:00Z"),
    ] {
        for is_live in [true, false] {
            let mut history = RunHistory::default();
            for id in ids {
                history.add("g", id, is_live);
            }
            let mut scheduler = Scheduler::new(&config(every()), time(now), &history);
            scheduler.take_due(time(now));
            assert_eq!(scheduler.next_due(), Some(time(expected)), "{ids:?}");
            assert_eq!(scheduler.take_due(time("2026-11-25T13:00:00Z")).due.len(), 1, "{ids:?}");
        }
    }
}

#[test]
fn a_run_that_waits_and_was_due_by_a_clock_that_was_ahead_does_not_begin() {
    let mut waiting = scheduled("g", "@hourly", "Etc/UTC");
    waiting.overlap = Overlap::Wait;
    let mut scheduler = scheduler(vec![waiting.clone()], "2026-11-25T12:10:00Z");
    scheduler.take_due(time("2026-11-25T12:10:00Z"));
    scheduler.mark_started("g");
    assert_eq!(due(&mut scheduler, "2036-11-25T12:00:10Z"), [], "it waits for the one under way");
    assert_eq!(due(&mut scheduler, "2026-11-25T12:11:00Z"), []);
    scheduler.mark_finished("g");
    assert_eq!(due(&mut scheduler, "2026-11-25T12:12:00Z"), []);
    // A change waits on, as a part of the run that is current.
    scheduler.mark_started("g");
    assert_eq!(due(&mut scheduler, "2036-11-25T12:00:10Z"), []);
    waiting.images = vec![crate::config::ImageRef::parse("quay.io/team/app:2.0").unwrap()];
    scheduler.apply_config(&config(vec![waiting]), time("2036-11-25T12:00:11Z"));
    assert_eq!(due(&mut scheduler, "2026-11-25T12:13:00Z"), []);
    scheduler.mark_finished("g");
    let expected = [("20261125t120000z".to_owned(), Trigger::Changed)];
    assert_eq!(due(&mut scheduler, "2026-11-25T12:14:00Z"), expected);
}

#[test]
fn a_changed_config_runs_what_has_changed() {
    let first = vec![scheduled("kept", "0 3 * * *", "Etc/UTC"), group("gone"), group("plain")];
    let mut scheduler = scheduler(first, "2026-11-25T12:00:00Z");
    scheduler.take_due(time("2026-11-25T12:00:00Z"));
    let image = |text: &str| vec![crate::config::ImageRef::parse(text).unwrap()];

    let mut kept = scheduled("kept", "0 3 * * *", "Etc/UTC");
    let mut quiet = scheduled("quiet", "0 3 * * *", "Etc/UTC");
    quiet.run_on_change = false;
    let mut next = config(vec![kept.clone(), quiet, group("plain"), group("new")]);
    assert_eq!(scheduler.apply_config(&next, time("2026-11-25T12:01:00Z")), ["gone"]);
    let due_runs = scheduler.take_due(time("2026-11-25T12:01:00Z"));
    let names: Vec<&str> = due_runs.due.iter().map(|due| due.group.as_str()).collect();
    assert_eq!(names, ["new"], "nothing else has changed");

    next.groups[2].ready_label = true;
    scheduler.apply_config(&next, time("2026-11-25T12:01:30Z"));
    let due_runs = scheduler.take_due(time("2026-11-25T12:01:30Z"));
    let names: Vec<&str> = due_runs.due.iter().map(|due| due.group.as_str()).collect();
    assert_eq!(names, ["plain"], "its nodes are to be labelled");

    kept.images = image("quay.io/team/app:2.0");
    next.groups[0] = kept;
    next.groups[1].images = image("quay.io/team/app:2.0");
    next.groups[2].deadline_seconds = 77;
    scheduler.apply_config(&next, time("2026-11-25T12:02:00Z"));
    assert_eq!(
        due(&mut scheduler, "2026-11-25T12:02:00Z"),
        [("20261125t030000z".to_owned(), Trigger::Changed)]
    );
}

#[test]
fn a_change_during_a_run_waits_for_its_end() {
    let mut scheduler = scheduler(vec![group("g")], "2026-11-25T12:00:00Z");
    scheduler.take_due(time("2026-11-25T12:00:00Z"));
    scheduler.mark_started("g");
    let mut changed = group("g");
    changed.images = vec![crate::config::ImageRef::parse("quay.io/team/app:2.0").unwrap()];
    scheduler.apply_config(&config(vec![changed]), time("2026-11-25T12:01:00Z"));
    assert_eq!(due(&mut scheduler, "2026-11-25T12:01:00Z"), []);
    scheduler.mark_finished("g");
    assert!(matches!(&due(&mut scheduler, "2026-11-25T12:02:00Z")[..], [(_, Trigger::Changed)]));
}
