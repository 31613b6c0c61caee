//! Whole processes without a cluster: what is told, in which order, and what is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::config::{Config, Group, Overlap, Schedule};
use crate::outcome::{ContainerFacts, JobFacts, PodFacts};
use crate::plan::fixtures::{config, group, ready_node};
use crate::plan::{JobIndex, ListedNode, Node, PlannedJob};
use crate::render::{Manifest, Renderer};
use crate::runner::fixtures::seen;
use crate::runner::{self, AppliedJob};
use crate::scheduler::{NodeChange, NodePatch, NodePatchError, RunHistory, Trigger};
use crate::watch_event::{ObservedJob, WatchEvent};

const NOON: &str = "2026-11-25T12:00:00Z";

fn active(config: Config) -> ActiveConfig {
    let renderer = Renderer::new(&config.templates).unwrap();
    let render = Arc::new(move |job: &_| {
        let failed = |error: crate::render::RenderError| {
            crate::outcome::Failure::new(crate::outcome::Reason::ApiError, error.to_string())
        };
        renderer.render(job).map_err(failed)
    });
    ActiveConfig::new(config, render, "here")
}

fn in_namespace(name: &str, namespace: &str) -> Group {
    Group { namespace: Some(namespace.into()), ..group(name) }
}

fn forbidden(namespace: &str) -> ClusterError {
    let (verb, resource) = ("list", "jobs.batch");
    ClusterError::Forbidden { verb, resource, namespace: Some(namespace.into()), cause: "no".into() }
}

fn opened(namespaces: &[&str]) -> OpenedWatches {
    let namespaces: BTreeSet<String> = namespaces.iter().map(|name| (*name).to_owned()).collect();
    OpenedWatches { namespaces, ..OpenedWatches::default() }
}

fn refused(namespace: &str) -> OpenedWatches {
    let forbidden = BTreeMap::from([(namespace.to_owned(), forbidden(namespace))]);
    OpenedWatches { forbidden, ..OpenedWatches::default() }
}

fn listed(node: Node) -> ListedNode {
    ListedNode { node, resource_version: String::new(), created_at: None }
}

/// A process with all that it has asked for.
struct World {
    process: Process,
    now: Now,
    /// Notices that are short enough to be compared, in words.
    told: Vec<String>,
    /// What is asked of the driver, in words.
    asked: Vec<String>,
    creates: Vec<(JobIndex, Box<Manifest>)>,
    logged: Vec<(runner::LogLevel, String)>,
    patches: Vec<NodePatch>,
    exit: Option<Result<(), ClusterError>>,
}

impl World {
    fn new(config: Config) -> World {
        let now = Now { instant: Instant::now(), time: NOON.parse().unwrap() };
        World {
            process: Process::new(active(config)),
            now,
            told: Vec::new(),
            asked: Vec::new(),
            creates: Vec::new(),
            logged: Vec::new(),
            patches: Vec::new(),
            exit: None,
        }
    }

    /// One that leads over these nodes, with nothing else there.
    fn leading(config: Config, nodes: &[&str]) -> World {
        let mut world = World::new(config);
        world.on(ServeEvent::Leads(true));
        let namespaces = world.process.config.namespaces();
        let watches = OpenedWatches { namespaces, ..OpenedWatches::default() };
        let nodes = nodes.iter().map(|name| listed(ready_node(name))).collect();
        world.started(InitialState { watches, history: RunHistory::default(), nodes });
        world
    }

    fn started(&mut self, initial: InitialState) {
        self.on(ServeEvent::Started(Ok(Box::new(initial))));
    }

    fn on(&mut self, event: ServeEvent) {
        for effect in self.process.on(event, self.now) {
            match effect {
                ServeEffect::Notice(notice) => self.told.extend(words(&notice)),
                ServeEffect::Runner(runner::Effect::Create { index, manifest }) => {
                    self.creates.push((index, manifest));
                }
                ServeEffect::Runner(runner::Effect::Log(level, text)) => self.logged.push((level, text)),
                ServeEffect::Runner(_) => {}
                ServeEffect::PatchNode(patch) => self.patches.push(patch),
                ServeEffect::Exit(result) => self.exit = Some(result),
                ServeEffect::StartLeading { namespaces, .. } => {
                    self.asked.push(format!("start {}", namespaces.join(",")));
                }
                ServeEffect::Watch { purpose, namespaces, .. } => {
                    self.asked.push(format!("{purpose:?} {}", namespaces.join(",")));
                }
                ServeEffect::AcceptWatches => self.asked.push("accept".to_owned()),
                ServeEffect::KeepWatches(namespaces) => {
                    self.asked.push(format!("keep {}", namespaces.join(",")));
                }
                ServeEffect::ReadConfig => self.asked.push("read config".to_owned()),
                ServeEffect::StopLeading => self.asked.push("stop leading".to_owned()),
            }
        }
    }

    /// Lets both clocks go on, and rings.
    fn pass(&mut self, seconds: u64) {
        self.now.instant += Duration::from_secs(seconds);
        self.set_clock(seconds as i64);
    }

    /// Moves the wall clock alone, and rings.
    fn set_clock(&mut self, seconds: i64) {
        self.now.time += jiff::SignedDuration::from_secs(seconds);
        self.on(ServeEvent::Timer);
    }

    fn reload(&mut self, config: Config) {
        self.on(ServeEvent::ConfigTried(Ok(active(config))));
    }

    fn created(&mut self, index: JobIndex, manifest: &Manifest) {
        let applied = AppliedJob { adopted: None, first_try: true, warnings: Vec::new() };
        let key = (manifest.job.namespace.clone(), manifest.job.name.clone());
        self.on(ServeEvent::Runner(runner::Event::Created {
            index,
            key,
            result: Ok(applied),
            throttled: false,
        }));
    }

    fn observed(&self, job: &PlannedJob, status: serde_json::Value) -> ObservedJob {
        ObservedJob {
            uid: job.name.clone(),
            created_at: Some(self.now.time),
            facts: JobFacts::new(&serde_json::from_value(status).unwrap()),
            ..seen(job, 0)
        }
    }

    /// All Jobs that were asked for are created and succeed, and those that follow from that too.
    fn succeed_all(&mut self) {
        while !self.creates.is_empty() {
            for (index, manifest) in std::mem::take(&mut self.creates) {
                self.created(index, &manifest);
                let job = &manifest.job;
                let key = (job.namespace.clone(), job.name.clone());
                let ran =
                    |name: &String| ContainerFacts { name: name.clone(), ran: true, ..Default::default() };
                let containers = manifest.image_containers.iter().flatten().map(ran).collect();
                let pod = PodFacts { uid: job.name.clone(), on_node: true, containers, ..Default::default() };
                self.on(ServeEvent::Runner(runner::Event::Watch(WatchEvent::Pod(key.clone(), pod))));
                let status = serde_json::json!({"conditions": [{"type": "Complete", "status": "True"}]});
                let job = self.observed(job, status);
                self.on(ServeEvent::Runner(runner::Event::Watch(WatchEvent::Job(Box::new(job)))));
            }
        }
    }

    fn node(&mut self, node: Node) {
        self.on(ServeEvent::Node(NodeEvent::Node(Box::new(listed(node)))));
    }

    fn take_told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    fn take_asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked)
    }
}

/// `None` for what changes all the time.
fn words(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::StandingBy => "standing by".to_owned(),
        Notice::Elected => "elected".to_owned(),
        Notice::LeadershipLost => "leadership lost".to_owned(),
        Notice::StartFailed(_) => "start failed".to_owned(),
        Notice::Ready { groups, nodes } => format!("ready: {groups} groups, {nodes} nodes"),
        Notice::NamespaceForbidden { namespace, .. } => format!("{namespace} forbidden"),
        Notice::NamespaceWatched(namespace) => format!("{namespace} watched"),
        Notice::NodeWatchInterrupted(_) => "nodes interrupted".to_owned(),
        Notice::NodeWatchResumed => "nodes resumed".to_owned(),
        Notice::RunStarted { group, trigger, jobs, .. } => format!("{group} started: {trigger:?}, {jobs}"),
        Notice::RunSkipped(group) => format!("{group} skipped"),
        Notice::Finished(FinishedRun { group, is_run, report }) => {
            let what = if *is_run { "run" } else { "nodes" };
            format!("{group} {what} finished: {}", report.exit_code)
        }
        Notice::HandedOver { run, not_started } => format!("{} handed over: {not_started} left", run.group),
        Notice::RunnerFailed { runs, .. } => format!("error for {runs} runs"),
        Notice::NewNode { group, node } => format!("{group}: new node {node}"),
        Notice::NodePatchFailed { node, .. } => format!("{node} not patched"),
        Notice::ConfigApplied { groups, .. } => format!("applied: {groups} groups"),
        Notice::ReloadFailed(error) => format!("refused: {}", error.shown(false)),
        Notice::GroupRemoved(group) => format!("{group} removed"),
        Notice::NextRun { .. } | Notice::Queue { .. } | Notice::JobStep { .. } => return None,
    })
}

#[test]
fn a_process_without_election_starts_runs_and_ends_at_a_signal() {
    let mut world = World::leading(config(vec![group("g")]), &["a", "b"]);
    assert_eq!(world.take_asked(), ["start here", "accept"]);
    assert_eq!(world.take_told(), ["elected", "ready: 1 groups, 2 nodes", "g started: Started, 2"]);
    world.succeed_all();
    assert_eq!(world.take_told(), ["g run finished: 0"]);
    world.on(ServeEvent::Hangup);
    assert_eq!(world.take_asked(), ["read config"]);
    world.on(ServeEvent::Stop);
    assert!(matches!(world.exit, Some(Ok(()))), "nothing is under way, so nothing is waited for");
}

#[test]
fn who_cannot_start_ends_with_the_reason_and_who_has_stood_by_goes_on_trying() {
    let mut first = World::new(config(vec![group("g")]));
    first.on(ServeEvent::Leads(true));
    first.on(ServeEvent::Started(Err(forbidden("here"))));
    assert!(matches!(first.exit, Some(Err(ClusterError::Forbidden { .. }))));

    let mut second = World::new(config(vec![group("g")]));
    second.on(ServeEvent::Leads(false));
    second.on(ServeEvent::Leads(true));
    second.on(ServeEvent::Started(Err(forbidden("here"))));
    assert_eq!(second.take_told(), ["standing by", "elected", "start failed"]);
    second.pass(29);
    assert_eq!(second.take_asked(), ["start here"]);
    assert_eq!(second.process.next_timer(second.now), second.now.instant + Duration::from_secs(1));
    second.pass(1);
    assert_eq!(second.take_asked(), ["start here"]);
    second.on(ServeEvent::Started(Err(forbidden("here"))));
    second.on(ServeEvent::Leads(false));
    second.pass(60);
    assert_eq!(second.take_asked(), [""; 0], "another leads");
    second.on(ServeEvent::Stop);
    assert!(matches!(second.exit, Some(Ok(()))));
}

#[test]
fn leadership_that_is_lost_hands_runs_over_and_begins_anew_when_it_comes_back() {
    let mut world = World::leading(config(vec![group("g")]), &["a", "b"]);
    let creates = std::mem::take(&mut world.creates);
    world.take_told();
    world.take_asked();
    world.on(ServeEvent::Leads(false));
    assert_eq!(world.take_told(), [""; 0], "answers are on their way");
    world.created(creates[0].0, &creates[0].1);
    world.pass(1);
    assert_eq!(world.take_asked(), [""; 0]);
    world.pass(1);
    assert_eq!(world.take_told(), ["g handed over: 0 left", "leadership lost", "standing by"]);
    assert_eq!(world.take_asked(), ["stop leading"]);
    // Nobody waits for it any longer.
    world.created(creates[1].0, &creates[1].1);
    world.pass(3600);
    assert_eq!((world.take_told(), world.take_asked()), (vec![], vec![]));

    world.on(ServeEvent::Leads(true));
    assert_eq!(world.take_asked(), ["start here"]);
    world.on(ServeEvent::Leads(false));
    assert_eq!(world.take_asked(), ["stop leading"], "lost before it began");
    world.started(InitialState::default());
    assert_eq!(world.take_told(), ["elected", "standing by"]);
}

#[test]
fn leadership_that_comes_back_while_answers_are_awaited_begins_after_them() {
    let mut world = World::leading(config(vec![group("g")]), &["a"]);
    let (index, manifest) = world.creates.pop().unwrap();
    world.take_asked();
    world.on(ServeEvent::Leads(false));
    world.on(ServeEvent::Leads(true));
    assert_eq!(world.take_asked(), [""; 0]);
    world.created(index, &manifest);
    assert_eq!(world.take_asked(), ["stop leading", "start here"]);
}

#[test]
fn a_signal_waits_two_seconds_for_answers_and_creates_nothing_more() {
    let narrow =
        Group { concurrency: Some(crate::config::Limit::Nodes(1.try_into().unwrap())), ..group("g") };
    let mut world = World::leading(config(vec![narrow]), &["a", "b"]);
    assert_eq!(world.creates.len(), 1);
    world.on(ServeEvent::Stop);
    assert!(world.exit.is_none());
    assert_eq!(world.process.next_timer(world.now), world.now.instant + Duration::from_secs(2));
    world.succeed_all();
    assert_eq!(world.told.last().unwrap(), "g handed over: 1 left");
    assert!(matches!(world.exit, Some(Ok(()))));

    let mut unanswered = World::leading(config(vec![group("g")]), &["a"]);
    unanswered.on(ServeEvent::Leads(false));
    unanswered.on(ServeEvent::Stop);
    unanswered.pass(2);
    assert!(matches!(unanswered.exit, Some(Ok(()))), "a signal while it steps down ends it");
}

#[test]
fn a_node_that_comes_goes_and_returns_is_served_once_for_each_node_that_it_is() {
    let mut world = World::leading(config(vec![group("g")]), &["a"]);
    world.succeed_all();
    world.take_told();
    world.node(ready_node("b"));
    world.node(ready_node("b"));
    world.succeed_all();
    assert_eq!(world.take_told(), ["g: new node b", "g nodes finished: 0"]);
    world.node(Node { ready: false, ..ready_node("b") });
    world.node(ready_node("b"));
    assert_eq!(world.take_told(), [""; 0], "its Job is there");
    world.on(ServeEvent::Node(NodeEvent::Gone("b".into())));
    world.node(Node { uid: "another".into(), ..ready_node("b") });
    assert_eq!(world.take_told(), ["g: new node b"]);
    world.on(ServeEvent::Node(NodeEvent::Interrupted(forbidden("here"))));
    world.on(ServeEvent::Node(NodeEvent::Interrupted(forbidden("here"))));
    world.on(ServeEvent::Node(NodeEvent::Gone("c".into())));
    assert_eq!(world.take_told(), ["nodes interrupted", "nodes resumed"]);
}

#[test]
fn nodes_that_come_within_a_minute_are_one_batch() {
    let mut world = World::leading(config(vec![group("g")]), &[]);
    world.take_told();
    for name in ["a", "b"] {
        world.node(ready_node(name));
    }
    world.pass(61);
    world.node(ready_node("c"));
    world.succeed_all();
    let expected =
        ["g: new node a", "g: new node b", "g: new node c", "g nodes finished: 0", "g nodes finished: 0"];
    assert_eq!(world.take_told(), expected);
}

#[test]
fn a_namespace_that_is_forbidden_at_the_start_is_tried_again_and_its_run_with_it() {
    let groups = vec![group("g"), in_namespace("other", "there")];
    let mut world = World::new(config(groups));
    world.on(ServeEvent::Leads(true));
    let watches = OpenedWatches { forbidden: refused("there").forbidden, ..opened(&["here"]) };
    let nodes = vec![listed(ready_node("a"))];
    world.started(InitialState { watches, history: RunHistory::default(), nodes });
    // What has failed is tried again at once for the first time.
    assert_eq!(world.take_asked(), ["start here,there", "accept", "Retry there"]);
    assert!(world.told.contains(&"there forbidden".to_owned()));
    assert!(world.told.contains(&"other run finished: 1".to_owned()), "{:?}", world.told);
    world.succeed_all();
    world.take_told();
    world.on(ServeEvent::Watched(WatchPurpose::Retry, Ok(refused("there"))));
    world.pass(30);
    assert_eq!(world.take_asked(), ["accept", "Retry there"]);
    assert_eq!(world.take_told(), [""; 0], "it is no news");
    world.on(ServeEvent::Watched(WatchPurpose::Retry, Ok(opened(&["there"]))));
    assert_eq!(world.take_asked(), ["accept"]);
    assert_eq!(world.take_told(), ["there watched"]);
    world.pass(30);
    assert_eq!(world.take_told(), ["other started: Continued, 1"]);
    world.succeed_all();
    assert_eq!(world.take_told(), ["other run finished: 0"]);
}

#[test]
fn an_error_that_one_run_cannot_get_over_ends_that_run_and_is_retried_ever_more_rarely() {
    let mut world = World::leading(config(vec![group("g")]), &["a"]);
    world.take_told();
    let mut started = Vec::new();
    for second in (0..900).step_by(30) {
        for (index, manifest) in std::mem::take(&mut world.creates) {
            let key = (manifest.job.namespace.clone(), manifest.job.name.clone());
            let result = Err(runner::ApplyError::Cluster(ClusterError::NamespaceMissing("here".into())));
            let event = runner::Event::Created { index, key, result, throttled: false };
            world.on(ServeEvent::Runner(event));
            started.push(second);
        }
        world.pass(30);
    }
    assert_eq!(started, [0, 60, 180, 420]);
    let errors = world.told.iter().filter(|told| told.starts_with("error")).count();
    assert_eq!(errors, 1, "said once: {:?}", world.told);
}

#[test]
fn a_changed_config_is_in_force_once_its_namespaces_are_watched() {
    let mut world = World::leading(config(vec![group("g")]), &["a"]);
    world.succeed_all();
    world.take_told();
    world.take_asked();
    world.reload(config(vec![in_namespace("h", "there")]));
    assert_eq!((world.take_told(), world.take_asked()), (vec![], vec!["Reload there".to_owned()]));
    world.on(ServeEvent::Watched(WatchPurpose::Reload, Ok(opened(&["there"]))));
    assert_eq!(world.take_told(), ["g removed", "applied: 1 groups", "h started: Changed, 1"]);
    assert_eq!(world.take_asked(), ["accept"], "its run is active");
    world.succeed_all();
    assert_eq!(world.take_told(), ["h run finished: 0"]);
    assert_eq!(world.take_asked(), ["keep there"]);
}

#[test]
fn a_config_whose_namespace_cannot_be_watched_is_refused_once_and_gives_way_to_another() {
    let mut world = World::leading(config(vec![group("g")]), &["a"]);
    world.succeed_all();
    world.take_told();
    world.take_asked();
    world.reload(config(vec![in_namespace("h", "there")]));
    for _ in 0..3 {
        world.on(ServeEvent::Watched(WatchPurpose::Reload, Ok(refused("there"))));
        world.pass(30);
    }
    assert_eq!(world.take_asked(), ["Reload there"; 4]);
    let told = world.take_told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("refused: error: not allowed to list jobs.batch in namespace \"there\""));
    // Another reason is news.
    let unreachable = ClusterError::Unreachable { server: "s".into(), cause: "refused".into() };
    world.on(ServeEvent::Watched(WatchPurpose::Reload, Err(unreachable)));
    assert_eq!(world.take_told().len(), 1);

    world.reload(config(vec![in_namespace("h", "elsewhere")]));
    world.reload(config(vec![group("g"), group("h")]));
    assert_eq!(world.take_asked(), ["Reload elsewhere"]);
    assert_eq!(world.take_told(), ["applied: 2 groups", "h started: Changed, 1"]);
    // Too late: its config was superseded.
    world.on(ServeEvent::Watched(WatchPurpose::Reload, Ok(opened(&["elsewhere"]))));
    world.pass(30);
    assert_eq!((world.take_told(), world.take_asked()), (vec![], vec![]));
}

#[test]
fn files_that_are_refused_withdraw_what_was_on_its_way() {
    let mut world = World::leading(config(vec![group("g")]), &["a"]);
    world.take_told();
    world.reload(config(vec![in_namespace("h", "there")]));
    let summary = Some("no config file".to_owned());
    world.on(ServeEvent::ConfigTried(Err(ReloadError::Invalid { problems: vec![], summary })));
    assert_eq!(world.take_told(), ["refused: error: no config file"]);
    world.on(ServeEvent::Watched(WatchPurpose::Reload, Ok(opened(&["there"]))));
    assert_eq!(world.take_told(), [""; 0]);

    world.reload(Config { instance: "other".into(), ..config(vec![group("g")]) });
    let told = world.take_told();
    assert!(told[0].starts_with("refused: error: `instance` was \"default\" and is \"other\""), "{told:?}");
}

#[test]
fn a_signal_while_a_config_waits_for_its_namespace_leaves_it_out() {
    let mut world = World::leading(config(vec![group("g")]), &["a"]);
    world.succeed_all();
    world.take_told();
    world.reload(config(vec![in_namespace("h", "there")]));
    world.on(ServeEvent::Stop);
    world.on(ServeEvent::Watched(WatchPurpose::Reload, Ok(opened(&["there"]))));
    assert_eq!(world.take_told(), [""; 0]);
    assert!(matches!(world.exit, Some(Ok(()))));
}

#[test]
fn a_config_is_in_force_at_once_where_nothing_runs_and_after_the_start_where_one_begins() {
    let mut world = World::new(config(vec![group("g")]));
    world.on(ServeEvent::Leads(false));
    world.reload(config(vec![in_namespace("g", "there")]));
    world.on(ServeEvent::Leads(true));
    assert_eq!(world.take_told(), ["standing by", "applied: 1 groups", "elected"]);
    assert_eq!(world.take_asked(), ["start there"]);
    world.reload(config(vec![group("h"), in_namespace("g", "there")]));
    assert_eq!(world.take_told(), [""; 0]);
    let nodes = vec![listed(ready_node("a"))];
    world.started(InitialState { watches: opened(&["there"]), history: RunHistory::default(), nodes });
    assert_eq!(world.take_asked(), ["accept", "Reload here"]);
    // Another leads before its namespace is watched: nothing runs by it here, so nothing holds it up.
    world.succeed_all();
    world.take_told();
    world.on(ServeEvent::Leads(false));
    assert_eq!(world.take_told(), ["leadership lost", "standing by", "applied: 2 groups"]);
    world.on(ServeEvent::Leads(true));
    assert_eq!(world.take_asked(), ["stop leading", "start here,there"]);
}

#[test]
fn a_run_that_is_due_is_started_caught_up_or_skipped_whatever_the_clock_does() {
    let hourly = Group {
        schedule: Some(Schedule::parse("@hourly").unwrap()),
        overlap: Overlap::Skip,
        catch_up_limit_seconds: 3600,
        ..group("g")
    };
    let mut world = World::leading(config(vec![hourly]), &["a"]);
    world.succeed_all();
    assert_eq!(world.take_told()[2..], ["g started: Started, 1", "g run finished: 0"]);
    let timer = world.process.next_timer(world.now);
    assert!(timer <= world.now.instant + MAX_WAIT, "the wall clock may be set");
    world.pass(3600);
    assert_eq!(world.take_told(), ["g started: Scheduled, 1"]);
    world.pass(3600);
    assert_eq!(world.take_told(), ["g skipped"], "its last run is active");
    world.succeed_all();
    world.take_told();
    // A laptop sleeps.
    world.set_clock(3 * 3600 + 600);
    assert_eq!(world.take_told(), ["g started: CatchUp, 1"]);
    world.succeed_all();
    world.take_told();
    // The clock was ahead by years.
    world.set_clock(10 * 365 * 86_400);
    world.succeed_all();
    world.set_clock(-10 * 365 * 86_400);
    world.take_told();
    world.pass(3600);
    let told = world.take_told();
    assert!(matches!(&told[..], [one] if one.starts_with("g started:")), "{told:?}");
}

#[test]
fn a_node_is_marked_once_its_images_are_there_and_a_patch_that_fails_is_retried() {
    let marking = Group { ready_label: true, ..group("g") };
    let mut world = World::leading(config(vec![marking]), &["a"]);
    world.succeed_all();
    let patch = world.patches.pop().unwrap();
    assert!(matches!(&patch.change, NodeChange::MarkReady { label: true, taint: None, .. }), "{patch:?}");
    world.take_told();
    let failure = || {
        let (node, key) = ("a".to_owned(), "k".to_owned());
        NodePatchError::Label { node, key, cause: forbidden("here") }
    };
    world.on(ServeEvent::NodePatched(patch.clone(), Err(failure())));
    assert_eq!(world.take_told(), ["a not patched"]);
    let mut retried = Vec::new();
    for second in (30..600).step_by(30) {
        world.pass(30);
        for patch in std::mem::take(&mut world.patches) {
            world.on(ServeEvent::NodePatched(patch, Err(failure())));
            retried.push(second);
        }
    }
    assert_eq!(retried, [30, 60, 120, 240, 480]);
    assert_eq!(world.take_told(), [""; 0], "reported once");
    // The node is another by then.
    world.node(Node { uid: "another".into(), ..ready_node("a") });
    world.succeed_all();
    world.patches.clear();
    world.pass(3600);
    assert!(world.patches.is_empty());
    // A group that is gone takes its label with it.
    let labels = [("quayctl-controller/g".to_owned(), "x".to_owned())];
    world.node(Node { uid: "another".into(), labels: labels.into(), ..ready_node("a") });
    world.reload(config(vec![group("h")]));
    assert_eq!(world.patches.last().unwrap().change, NodeChange::RemoveLabel);
}

#[test]
fn runs_of_an_earlier_process_are_continued_under_their_ids() {
    let daily = Group { schedule: Some(Schedule::parse("0 3 * * *").unwrap()), ..group("g") };
    let mut world = World::new(config(vec![daily]));
    world.on(ServeEvent::Leads(true));
    let mut history = RunHistory::default();
    history.add("g", "20261125t030000z", true);
    let nodes = vec![listed(ready_node("a"))];
    world.started(InitialState { watches: opened(&["here"]), history, nodes });
    assert_eq!(world.take_told()[2], format!("g started: {:?}, 1", Trigger::Continued));
    assert_eq!(world.creates[0].1.job.identity.run_id.as_str(), "20261125t030000z");
}

#[test]
fn another_process_that_works_for_the_same_runs_is_noticed_once() {
    let mut world = World::leading(config(vec![group("g")]), &["a", "b"]);
    for (index, manifest) in std::mem::take(&mut world.creates) {
        let job = world.observed(&manifest.job, serde_json::json!({}));
        let applied = AppliedJob { adopted: Some(Box::new(job)), first_try: true, warnings: Vec::new() };
        let key = (manifest.job.namespace.clone(), manifest.job.name.clone());
        let created = runner::Event::Created { index, key, result: Ok(applied), throttled: false };
        world.on(ServeEvent::Runner(created));
    }
    let noticed = |(level, text): &&(runner::LogLevel, String)| {
        *level == runner::LogLevel::Warn
            && text.starts_with("another process seems to work for the same instance")
    };
    assert_eq!(world.logged.iter().filter(noticed).count(), 1, "{:?}", world.logged);
}

#[test]
fn nothing_more_of_a_run_is_created_once_one_create_says_that_none_can_be() {
    let one_at_a_time = Config { concurrency: std::num::NonZeroUsize::MIN, ..config(vec![group("g")]) };
    let mut world = World::leading(one_at_a_time, &["a", "b", "c"]);
    let (index, manifest) = world.creates.pop().unwrap();
    let key = (manifest.job.namespace.clone(), manifest.job.name.clone());
    let result = Err(runner::ApplyError::Cluster(forbidden("here")));
    world.on(ServeEvent::Runner(runner::Event::Created { index, key, result, throttled: false }));
    assert!(world.creates.is_empty(), "{}", world.creates.len());
}
