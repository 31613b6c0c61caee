//! Whole runs, by the state machine that the program drives, in a [`World`] with a [`Scenario`]'s faults.
//!
//! Checked after every event: no two live Jobs of the instance on a node, no limit exceeded by one, no
//! foreign object touched, nothing created after the deadline or a signal. At the end: each planned node has
//! exactly one verdict, which is what the world holds, and the run has ended by its deadline and its grace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use quayctl_core::cluster_error::ClusterError;
use quayctl_core::config::{ImageRef, Limit, PullPolicy};
use quayctl_core::now::Now;
use quayctl_core::outcome::{Failure, JobResult, Reason, Verdict};
use quayctl_core::plan::fixtures::{config, group, ready_node};
use quayctl_core::plan::{JobIndex, Plan, PlannedJob, RunId, RunIdentity, plan};
use quayctl_core::render::Manifest;
use quayctl_core::runner::fixtures::{EPOCH_SECONDS, render, seen};
use quayctl_core::runner::{
    AppliedJob, ApplyError, Effect, Event, FoundJob, NodeState, RunEnd, RunEvent, RunInputs, RunStart,
    SingleRun,
};
use quayctl_core::watch_event::{JobKey, ObservedJob, WatchEvent};

use super::scenario::{Happening, Image, Scenario};
use super::world::{Ending, Millis, World};

/// A rule that a broken copy of the runner does not keep: what goes in or out of it is changed accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    NoSlotLimit,
    NoAdoptionAfterConflict,
    VerdictBeforeProof,
    CreatesAfterTheDeadline,
}

/// How long a call is tried again.
const RETRY: Millis = 90_000;
/// How long it is where it is refused.
const REFUSAL: Millis = 30_000;
/// From its deadline to a run's end.
const GRACE: Millis = 5_000;
/// How long two runs that have created Jobs for one node at once may take until one has given way, beside
/// what the watches and calls of the scenario take.
const YIELD: Millis = 40_000;
/// From its deadline, a Job holds its slot for so long at least.
const SLOT_GRACE: Millis = 20_000;
/// A run that goes on for longer does not end.
const EVENTS_MAX: usize = 200_000;

/// What has become of a scenario.
pub struct Tried {
    /// How each process that was not killed has ended, or which rule was broken.
    pub result: Result<Vec<RunEnd>, String>,
    /// As it is then.
    pub world: World,
    pub log: Vec<String>,
}

pub fn try_out(scenario: &Scenario, seed: u64, broken: Broken, log: bool) -> Tried {
    let mut sim = Sim::new(scenario.clone(), seed, broken);
    sim.world.log = log.then(Vec::new);
    let result = sim.run();
    let log = sim.world.log.take().unwrap_or_default();
    Tried { result, world: sim.world, log }
}

struct Sim {
    scenario: Scenario,
    broken: Broken,
    world: World,
    base: Instant,
    wall_offset: i64,
    processes: Vec<Process>,
    calls: BTreeMap<(Millis, u64), Call>,
    count: u64,
    api_up_at: Millis,
    /// Until when it refuses everything.
    refuses_until: Millis,
    script: Vec<(Millis, Happening)>,
    starts: BTreeMap<(Millis, u64), Start>,
    resumes: BTreeMap<(Millis, u64), JobKey>,
    nodes_back: BTreeMap<(Millis, u64), String>,
    /// Nodes on which an image was at some time.
    ever: BTreeSet<(String, String)>,
    /// Since when a node has had more than one live Job.
    doubled: BTreeMap<String, Millis>,
    ends: Vec<RunEnd>,
    /// What makes more than one live Job on a node possible for a while.
    runs_overlap: bool,
    is_disturbed: bool,
    foreign: BTreeSet<JobKey>,
    /// Jobs of which a process knows that they are not its own to change.
    known_foreign: BTreeSet<(usize, JobKey)>,
    /// Jobs that were to make room for others, whose patch was refused: nobody counts on what cannot be ended.
    unended: BTreeSet<JobKey>,
    /// Jobs for which a process has asked in vain.
    unread: BTreeSet<(usize, JobKey)>,
}

struct Process {
    id: usize,
    run: Option<SingleRun<'static>>,
    /// It waits for its lists.
    listed: Option<Vec<WatchEvent>>,
    run_id: String,
    deadline: Millis,
    stopped: bool,
    watch: Watch,
    timer: Millis,
    /// Creates whose commit is not known to the world yet.
    creating: usize,
    plan: Plan,
}

/// A process begins in two steps.
enum Start {
    /// It lists what there is for the run of this id.
    List(String),
    /// All lists are there, and what was told since.
    Begin(usize),
}

/// Two streams, each in order.
#[derive(Default)]
struct Watch {
    queue: BTreeMap<(Millis, u64), WatchEvent>,
    last: [Millis; 2],
    known_jobs: BTreeSet<JobKey>,
    known_pods: BTreeMap<String, JobKey>,
    broken_until: Option<Millis>,
}

enum Call {
    Create {
        process: usize,
        index: JobIndex,
        manifest: Box<Manifest>,
        then: After,
    },
    Annotate {
        process: usize,
        index: Option<JobIndex>,
        key: JobKey,
        outcome: String,
        end_now: bool,
        fails: bool,
    },
    ReadJob {
        process: usize,
        index: JobIndex,
        key: JobKey,
        fails: bool,
    },
    ReadNode {
        process: usize,
        index: JobIndex,
        node: String,
        fails: bool,
    },
    Probe {
        process: usize,
    },
    Answer {
        process: usize,
        event: RunEvent,
    },
}

/// What the client does once a create is committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Answer,
    /// It sends it again.
    LoseAnswer,
    /// It has given up.
    Nothing,
}

impl Sim {
    fn new(scenario: Scenario, seed: u64, broken: Broken) -> Sim {
        let world = World::new(&scenario, seed);
        let runs_overlap = !scenario.foreign_at_start.is_empty()
            || scenario.script.iter().any(|(_, happening)| {
                matches!(
                    happening,
                    Happening::SecondRun
                        | Happening::ForeignJob(..)
                        | Happening::ProcessKilled(_, false)
                        | Happening::ProcessLost
                )
            });
        let is_disturbed = !scenario.script.is_empty()
            || !scenario.foreign_at_start.is_empty()
            || scenario.quota.is_some()
            || scenario.keep_seconds < 3_600
            || scenario.chances != super::scenario::Chances::default();
        Sim {
            script: scenario.script.clone(),
            scenario,
            broken,
            world,
            base: Instant::now(),
            wall_offset: 0,
            processes: Vec::new(),
            calls: BTreeMap::new(),
            count: 0,
            api_up_at: 0,
            refuses_until: 0,
            starts: BTreeMap::new(),
            resumes: BTreeMap::new(),
            nodes_back: BTreeMap::new(),
            ever: BTreeSet::new(),
            doubled: BTreeMap::new(),
            ends: Vec::new(),
            runs_overlap,
            is_disturbed,
            foreign: BTreeSet::new(),
            known_foreign: BTreeSet::new(),
            unread: BTreeSet::new(),
            unended: BTreeSet::new(),
        }
    }

    fn now(&self) -> Now {
        let millis = self.world.now;
        let wall = EPOCH_SECONDS + self.wall_offset + (millis / 1000) as i64;
        Now {
            instant: self.base + Duration::from_millis(millis),
            time: Timestamp::from_second(wall).expect("within a century"),
        }
    }

    fn instant(&self, millis: Millis) -> Instant {
        self.base + Duration::from_millis(millis)
    }

    fn millis(&self, instant: Instant) -> Millis {
        let since = instant.saturating_duration_since(self.base);
        // A timer is never early.
        u64::try_from(since.as_nanos().div_ceil(1_000_000)).expect("within a century")
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn happens(&mut self, chance: u16) -> bool {
        chance > 0 && self.world.rng.u16(0..1000) < chance
    }

    fn run(&mut self) -> Result<Vec<RunEnd>, String> {
        for (node, same) in self.scenario.foreign_at_start.clone() {
            self.add_foreign(node, same);
        }
        // Its lists show what is there for a while.
        self.world.changes.clear();
        self.list("a");
        for _ in 0..EVENTS_MAX {
            if self.processes.iter().all(|process| process.run.is_none()) && self.starts.is_empty() {
                return Ok(std::mem::take(&mut self.ends));
            }
            self.step()?;
            self.publish();
            self.check()?;
        }
        Err(format!("the run does not end: {EVENTS_MAX} events until {} s", self.world.now / 1000))
    }

    /// Does whatever is next.
    fn step(&mut self) -> Result<(), String> {
        let live = self.processes.iter().filter(|process| process.run.is_some());
        let timer = live.clone().map(|process| (process.timer, process.id)).min();
        let told = live.filter_map(|process| Some((process.watch.next_at()?, process.id))).min();
        let times = [
            self.world.next_at(),
            self.calls.keys().next().map(|(at, _)| *at),
            self.script.first().map(|(at, _)| *at),
            self.starts.keys().next().map(|(at, _)| *at),
            self.resumes.keys().next().map(|(at, _)| *at),
            self.nodes_back.keys().next().map(|(at, _)| *at),
            told.map(|(at, _)| at),
            timer.map(|(at, _)| at),
        ];
        let due: Vec<usize> = {
            let next = times.iter().flatten().min().copied().ok_or("nothing happens any more")?;
            self.world.now = self.world.now.max(next);
            (0..times.len()).filter(|n| times[*n].is_some_and(|at| at <= self.world.now)).collect()
        };
        // Of what happens at the same time any may be first.
        match due[self.world.rng.usize(0..due.len())] {
            0 => self.world.act(),
            1 => {
                if let Some((_, call)) = self.calls.pop_first() {
                    self.call(call)?;
                }
            }
            2 => {
                let (_, happening) = self.script.remove(0);
                self.happen(&happening)?;
            }
            3 => match self.starts.pop_first() {
                Some((_, Start::List(run_id))) => self.list(&run_id),
                Some((_, Start::Begin(id))) => self.begin(id)?,
                None => {}
            },
            4 => {
                if let Some((_, key)) = self.resumes.pop_first() {
                    self.world.set_suspended(&key, false);
                }
            }
            5 => {
                if let Some((_, node)) = self.nodes_back.pop_first() {
                    self.world.set_node(&node, true, true);
                }
            }
            6 => {
                if let Some((_, id)) = told {
                    self.tell(id)?;
                }
            }
            _ => {
                if let Some((_, id)) = timer {
                    self.give(id, RunEvent::Runner(Event::Timer))?;
                }
            }
        }
        Ok(())
    }

    // Processes.

    fn plan(&self, run_id: &str) -> Plan {
        let groups = self.scenario.groups.iter().enumerate().map(|(n, of)| {
            let mut group = group(&format!("g{n}"));
            group.images = of.images.iter().map(|image| ImageRef::parse(image).expect("valid")).collect();
            group.concurrency = of.concurrency.and_then(std::num::NonZeroUsize::new).map(Limit::Nodes);
            group.deadline_seconds = of.deadline_seconds;
            group.keep_jobs_seconds = self.scenario.keep_seconds;
            if of.always {
                group.pull_policy = PullPolicy::Always;
            }
            group
        });
        let nodes =
            self.world.nodes.iter().filter(|(_, node)| node.exists && node.ready).map(|(name, node)| {
                let mut ready = ready_node(name);
                ready.uid.clone_from(&node.uid);
                ready
            });
        let run_id = RunId::parse(run_id).expect("valid");
        let identity = RunIdentity { instance: "default".into(), run_id, namespace: "ns".into() };
        plan(&config(groups.collect()), nodes.collect(), identity)
    }

    /// A process of this run lists what there is, and its watches begin.
    fn list(&mut self, run_id: &str) {
        let id = self.processes.len();
        let plan = self.plan(run_id);
        let own: BTreeSet<JobKey> =
            plan.jobs().map(|job| (job.namespace.clone(), job.name.clone())).collect();
        let mut watch = Watch::default();
        let mut listed = Vec::new();
        let mut wanted = BTreeSet::new();
        for event in self.world.list() {
            match &event {
                WatchEvent::Job(job) if job.is_live() || own.contains(&job.key) => {
                    wanted.insert(job.key.clone());
                }
                WatchEvent::Pod(key, _) if wanted.contains(key) => {}
                _ => continue,
            }
            watch.learn(&event);
            listed.push(event);
        }
        self.world.say(|| format!("process {id} of run {run_id} starts, {} listed", listed.len()));
        self.processes.push(Process {
            id,
            run: None,
            listed: Some(listed),
            run_id: run_id.to_owned(),
            deadline: 0,
            stopped: false,
            watch,
            timer: 0,
            creating: 0,
            plan,
        });
        let lag = self.world.rng.u64(0..=self.scenario.api_lag);
        let number = self.number();
        self.starts.insert((self.world.now + lag, number), Start::Begin(id));
    }

    /// All of its lists are there.
    fn begin(&mut self, id: usize) -> Result<(), String> {
        let (now, deadline) = (self.world.now, self.world.now + self.scenario.run_deadline);
        let process = &mut self.processes[id];
        let Some(mut listed) = process.listed.take() else { return Ok(()) };
        process.deadline = deadline;
        // What the watches told meanwhile is part of it.
        while process.watch.queue.keys().next().is_some_and(|(at, _)| *at <= now) {
            listed.extend(process.watch.queue.pop_first().map(|(_, event)| event));
        }
        listed.iter().for_each(|event| process.watch.learn(event));
        let plan = process.plan.clone();
        let believed = match self.broken {
            Broken::CreatesAfterTheDeadline => deadline * 2,
            _ => deadline,
        };
        let inputs = RunInputs {
            plan,
            concurrency: match self.broken {
                Broken::NoSlotLimit => 1_000,
                _ => self.scenario.concurrency,
            },
            deadline: self.instant(believed),
            deadline_is_computed: false,
            replace: self.scenario.replace,
            render: render(),
        };
        let start = RunStart { listed, forbidden: Vec::new(), server: "https://sim".into() };
        let (run, effects) = SingleRun::new(inputs, start, self.now());
        self.processes[id].run = Some(run);
        self.execute(id, effects)
    }

    fn give(&mut self, id: usize, event: RunEvent) -> Result<(), String> {
        let now = self.now();
        if self.processes[id].run.is_some() {
            self.world.say(|| format!("process {id} is told: {}", in_short(&event)));
        }
        let Some(run) = self.processes[id].run.as_mut() else { return Ok(()) };
        let effects = run.on(event, now);
        self.execute(id, effects)
    }

    fn execute(&mut self, id: usize, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            self.request(id, effect)?;
        }
        let now = self.now();
        let Some(run) = self.processes[id].run.as_mut() else { return Ok(()) };
        if run.is_over(now) {
            let at = self.world.now;
            let process = &mut self.processes[id];
            let Some(mut run) = process.run.take() else { return Ok(()) };
            run.abandon(now);
            let (end, latest) = (run.into_end(now), process.deadline + GRACE);
            self.world.say(|| format!("process {id} is over"));
            if at > latest {
                return Err(format!("the run ends at {at} ms, later than {latest}"));
            }
            self.judge(id, &end)?;
            self.ends.push(end);
            return Ok(());
        }
        let timer = run.next_timer(now);
        // One that has passed is due at once, and again and again: the machine must not spin.
        self.processes[id].timer = self.millis(timer).max(self.world.now + 1);
        Ok(())
    }

    // Requests.

    fn request(&mut self, id: usize, effect: Effect) -> Result<(), String> {
        let chances = self.scenario.chances;
        let lag = self.world.rng.u64(1..=self.scenario.api_lag);
        let at = self.world.now.max(self.api_up_at).max(self.refuses_until) + lag;
        let is_refused = self.refuses_until > self.world.now + REFUSAL;
        let gives_up = self.world.now + if is_refused { REFUSAL } else { RETRY };
        let fails = self.happens(chances.others_fail) || at > gives_up;
        let answers_at = at.min(gives_up);
        let call = match effect {
            Effect::Create { index, manifest } => {
                self.check_create(id, &manifest)?;
                self.processes[id].creating += 1;
                let key = (manifest.job.namespace.clone(), manifest.job.name.clone());
                if is_refused {
                    // Believed by then.
                    let result = Err(ApplyError::Cluster(forbidden()));
                    let event = RunEvent::Runner(Event::Created { index, key, result, throttled: false });
                    self.schedule(gives_up, Call::Answer { process: id, event });
                    return Ok(());
                }
                let is_committed = self.happens(chances.unanswered_committed);
                if is_committed || self.happens(chances.unanswered) || at > gives_up {
                    let failure = Failure::new(Reason::ApiError, "no answer");
                    let result = Err(ApplyError::Unanswered(failure));
                    let event = RunEvent::Runner(Event::Created { index, key, result, throttled: false });
                    self.schedule(gives_up, Call::Answer { process: id, event });
                    if is_committed {
                        let call = Call::Create { process: id, index, manifest, then: After::Nothing };
                        self.schedule(at, call);
                    }
                    return Ok(());
                }
                if self.happens(chances.refused) {
                    let failure = Failure::new(Reason::Forbidden, "admission webhook denied the request");
                    let result = Err(ApplyError::Refused(failure));
                    let event = RunEvent::Runner(Event::Created { index, key, result, throttled: false });
                    self.schedule(at, Call::Answer { process: id, event });
                    return Ok(());
                }
                let then = if self.happens(chances.answer_lost) { After::LoseAnswer } else { After::Answer };
                self.schedule(at, Call::Create { process: id, index, manifest, then });
                return Ok(());
            }
            Effect::Annotate { index, key, outcome, end_now } => {
                if self.foreign.contains(&key) && !self.world.jobs.get(&key).is_some_and(|job| job.ours) {
                    return Err(format!("a foreign object is touched: {}", key.1));
                }
                if self.known_foreign.contains(&(id, key.clone())) {
                    return Err(format!("{} has lost a label, that is known, and it is touched", key.1));
                }
                Call::Annotate { process: id, index, key, outcome, end_now, fails }
            }
            Effect::ReadJob { index, key, .. } => Call::ReadJob { process: id, index, key, fails },
            Effect::ReadNode { index, node } => {
                Call::ReadNode { process: id, index, node: node.name.clone(), fails }
            }
            Effect::ProbeServer => Call::Probe { process: id },
            Effect::Log(_, text) => {
                self.world.say(|| format!("process {id} logs: {text}"));
                return Ok(());
            }
            Effect::RecordFailure(_) | Effect::Step(..) | Effect::Fail(_) => return Ok(()),
        };
        self.schedule(answers_at, call);
        Ok(())
    }

    fn schedule(&mut self, at: Millis, call: Call) {
        let number = self.number();
        self.calls.insert((at, number), call);
    }

    fn call(&mut self, call: Call) -> Result<(), String> {
        let failure = || ClusterError::Api { server: "sim".into(), what: "it".into(), cause: "no".into() };
        match call {
            Call::Answer { process, event } => {
                if let RunEvent::Runner(Event::Created { .. }) = &event {
                    let process = &mut self.processes[process];
                    process.creating = process.creating.saturating_sub(1);
                }
                self.give(process, event)
            }
            Call::Create { process, index, manifest, then } => self.create(process, index, manifest, then),
            Call::Annotate { process, index, key, outcome, end_now, fails } => {
                let found = !fails && self.world.annotate(&key, &outcome, end_now);
                if !found && index.is_none() {
                    self.unended.insert(key.clone());
                }
                let result = if found { Ok(()) } else { Err(failure()) };
                self.give(process, RunEvent::Runner(Event::Annotated { index, result }))
            }
            Call::ReadJob { process, index, key, fails } => {
                let found = self.world.jobs.get(&key);
                let found = found.map(|job| FoundJob { job: Box::new(job.seen.clone()), is_ours: job.ours });
                if !fails && found.as_ref().is_some_and(|found| !found.is_ours) {
                    self.known_foreign.insert((process, key.clone()));
                }
                if fails {
                    self.unread.insert((process, key.clone()));
                }
                let result = if fails { Err(failure()) } else { Ok(found) };
                self.give(process, RunEvent::Runner(Event::JobRead { index, key, result }))
            }
            Call::ReadNode { process, index, node, fails } => {
                let result = if fails { Err(failure()) } else { Ok(self.node_state(process, index, &node)) };
                self.give(process, RunEvent::Runner(Event::NodeRead { index, result }))
            }
            Call::Probe { process } => {
                let answers = self.api_up_at <= self.world.now;
                self.give(process, RunEvent::ServerProbed { answers, last_answer: None })
            }
        }
    }

    fn node_state(&self, process: usize, index: JobIndex, name: &str) -> NodeState {
        let planned = &self.processes[process].plan.groups[index.group].jobs[index.job];
        let node = &self.world.nodes[name];
        let failure = match () {
            () if !node.exists || node.uid != planned.node.uid => Some(Reason::NodeGone),
            () if !node.ready => Some(Reason::NodeNotReady),
            () => None,
        };
        let failure = failure.map(|reason| Failure::new(reason, "as it is"));
        NodeState { failure, images: node.listed.iter().cloned().collect() }
    }

    fn create(
        &mut self,
        id: usize,
        index: JobIndex,
        manifest: Box<Manifest>,
        then: After,
    ) -> Result<(), String> {
        let job = &manifest.job;
        let key = (job.namespace.clone(), job.name.clone());
        let is_taken = self.world.jobs.contains_key(&key);
        let is_full = self.scenario.quota.is_some_and(|quota| self.world.jobs.len() >= quota);
        let result = if !is_taken && is_full {
            Err(ApplyError::Refused(Failure::new(Reason::Quota, "exceeded quota: one")))
        } else {
            if !is_taken {
                let images = job.group.images.iter().map(ToString::to_string).collect();
                let always = job.group.pull_policy == PullPolicy::Always;
                self.world.create(seen(job, 0), images, always, true, Some(id));
            }
            let found = self.world.jobs.get(&key).filter(|_| is_taken);
            match found.map(|found| (found.ours && *found.seen.content == *job.content, found.seen.clone())) {
                None => Ok(AppliedJob { adopted: None, first_try: true, warnings: Vec::new() }),
                Some((true, _)) if self.broken == Broken::NoAdoptionAfterConflict => {
                    Err(ApplyError::Refused(Failure::new(Reason::NameTaken, "already exists")))
                }
                Some((true, seen)) => {
                    let first_try = then == After::Answer;
                    Ok(AppliedJob { adopted: Some(Box::new(seen)), first_try, warnings: Vec::new() })
                }
                Some((false, _)) => Err(ApplyError::Refused(Failure::new(Reason::NameTaken, "in the way"))),
            }
        };
        let lag = self.world.rng.u64(1..=self.scenario.api_lag);
        let throttled = self.happens(self.scenario.chances.throttled);
        let at = self.world.now + lag;
        match then {
            After::Answer => {
                let event = RunEvent::Runner(Event::Created { index, key, result, throttled });
                self.schedule(at, Call::Answer { process: id, event });
            }
            After::LoseAnswer => {
                // Its client waits for the answer, and asks again.
                let pause = self.world.rng.u64(100..=20_000);
                self.schedule(at + pause, Call::Create { process: id, index, manifest, then: After::Answer });
            }
            After::Nothing => {}
        }
        Ok(())
    }

    // Watches.

    /// Brings what has changed onto the way to everybody.
    fn publish(&mut self) {
        for (name, node) in &self.world.nodes {
            for image in &node.images {
                if !self.ever.contains(&(name.clone(), image.clone())) {
                    self.ever.insert((name.clone(), image.clone()));
                }
            }
        }
        for event in std::mem::take(&mut self.world.changes) {
            for id in 0..self.processes.len() {
                let process = &self.processes[id];
                let is_watching = process.run.is_some() || process.listed.is_some();
                if !is_watching || process.watch.broken_until.is_some() {
                    continue;
                }
                let times = 1 + usize::from(self.happens(self.scenario.chances.repeated));
                for _ in 0..times {
                    let delay = self.world.rng.u64(1..=self.scenario.watch_lag);
                    let number = self.number();
                    let at = self.world.now + delay;
                    self.processes[id].watch.push(at, number, event.clone());
                }
            }
        }
    }

    fn tell(&mut self, id: usize) -> Result<(), String> {
        let now = self.world.now;
        let watch = &mut self.processes[id].watch;
        if watch.broken_until.is_some_and(|until| until <= now) {
            return self.relist(id);
        }
        let Some((_, mut event)) = watch.queue.pop_first() else { return Ok(()) };
        watch.learn(&event);
        if self.broken == Broken::VerdictBeforeProof
            && let WatchEvent::Pod(_, pod) = &mut event
        {
            pod.containers.iter_mut().for_each(|container| (container.ran, container.is_over) = (true, true));
        }
        self.give(id, RunEvent::Runner(Event::Watch(event)))
    }

    /// A watch that had to list again says what there is; what has gone follows from what was there.
    fn relist(&mut self, id: usize) -> Result<(), String> {
        if self.refuses_until > self.world.now {
            // Believed by now, and tried again all the same.
            self.processes[id].watch.broken_until = Some(self.refuses_until + 1);
            return self.give(id, RunEvent::Runner(Event::Watch(WatchEvent::Forbidden(forbidden()))));
        }
        self.world.say(|| format!("process {id} lists again"));
        let listed = self.world.list();
        let jobs = self.world.jobs.iter().filter(|(_, job)| job.ours);
        let jobs: BTreeSet<JobKey> = jobs.map(|(key, _)| key.clone()).collect();
        let watch = &mut self.processes[id].watch;
        watch.broken_until = None;
        let mut events = listed;
        let gone = watch.known_jobs.iter().filter(|key| !jobs.contains(*key));
        events.extend(gone.map(|key| WatchEvent::JobGone(key.clone())));
        let gone = watch.known_pods.iter().filter(|(uid, _)| !self.world.pods.contains_key(*uid));
        events.extend(gone.map(|(uid, key)| WatchEvent::PodGone(key.clone(), uid.clone())));
        for event in &events {
            watch.learn(event);
        }
        for event in events {
            self.give(id, RunEvent::Runner(Event::Watch(event)))?;
        }
        Ok(())
    }

    // What goes wrong.

    fn happen(&mut self, happening: &Happening) -> Result<(), String> {
        self.world.say(|| format!("{happening:?}"));
        let now = self.world.now;
        match *happening {
            Happening::WatchBreaks(millis) => {
                for process in &mut self.processes {
                    process.watch.queue.clear();
                    process.watch.broken_until = Some(now + millis);
                }
            }
            Happening::ApiIsDown(millis) => {
                self.api_up_at = self.api_up_at.max(now + millis);
                self.happen(&Happening::WatchBreaks(millis))?;
            }
            Happening::JobDeleted(n) => {
                if let Some(key) = self.live_job(n) {
                    self.world.delete_job(&key);
                }
            }
            Happening::JobSuspended(n, millis) => {
                if let Some(key) = self.live_job(n) {
                    self.world.set_suspended(&key, true);
                    let number = self.number();
                    self.resumes.insert((now + millis, number), key);
                }
            }
            Happening::LabelTaken(n) => {
                if let Some(key) = self.live_job(n) {
                    self.world.take_label(&key);
                }
            }
            Happening::AccessRefused(millis) => {
                self.refuses_until = self.refuses_until.max(now + millis);
                self.happen(&Happening::WatchBreaks(millis.min(REFUSAL)))?;
            }
            Happening::PodKilled(n) => {
                let pods: Vec<String> = self.world.pods.keys().cloned().collect();
                if !pods.is_empty() {
                    self.world.kill_pod(&pods[n % pods.len()]);
                }
            }
            Happening::NodeDown(n, millis) => {
                let name = format!("n{}", n % self.scenario.nodes);
                let exists = self.world.nodes[&name].exists;
                self.world.set_node(&name, exists, false);
                let number = self.number();
                self.nodes_back.insert((now + millis, number), name);
            }
            Happening::NodeReplaced(n) => {
                let name = format!("n{}", n % self.scenario.nodes);
                self.world.set_node(&name, false, false);
                let number = self.number();
                self.nodes_back.insert((now + 20_000, number), name);
            }
            Happening::ForeignJob(n, same) => self.add_foreign(n % self.scenario.nodes, same),
            Happening::ProcessKilled(millis, same_run) => {
                if let Some(run_id) = self.kill() {
                    let run_id = if same_run { run_id } else { format!("{run_id}-again") };
                    let number = self.number();
                    self.starts.insert((now + millis, number), Start::List(run_id));
                }
            }
            Happening::ProcessLost => drop(self.kill()),
            // Of one id there is one process at a time: two are warned of, and each takes the other's Jobs for its own.
            Happening::SecondRun => {
                let number = self.number();
                self.list(&format!("z{number}"));
            }
            Happening::Signal => {
                for id in 0..self.processes.len() {
                    // Before it has listed it ends at once.
                    self.processes[id].listed = None;
                    self.processes[id].stopped = true;
                    self.give(id, RunEvent::Stop)?;
                }
            }
            Happening::ClockJumps(seconds) => self.wall_offset += seconds,
        }
        Ok(())
    }

    /// Gives which run's process was killed.
    fn kill(&mut self) -> Option<String> {
        let process = self.processes.iter_mut().find(|process| process.run.is_some())?;
        process.run = None;
        let (id, run_id) = (process.id, process.run_id.clone());
        // What was on the wire may still be carried out.
        let calls = std::mem::take(&mut self.calls);
        for (at, call) in calls {
            let call = match call {
                Call::Create { process, index, manifest, .. } if process == id => {
                    if self.world.rng.bool() {
                        continue;
                    }
                    Call::Create { process, index, manifest, then: After::Nothing }
                }
                Call::Annotate { process, .. } if process == id && self.world.rng.bool() => continue,
                call => call,
            };
            self.calls.insert(at, call);
        }
        Some(run_id)
    }

    fn live_job(&self, n: usize) -> Option<JobKey> {
        let live: Vec<&JobKey> = self
            .world
            .jobs
            .iter()
            .filter(|(_, job)| job.ours && job.over.is_none())
            .map(|(key, _)| key)
            .collect();
        Some((*live.get(n % live.len().max(1))?).clone())
    }

    /// Of an earlier run of the instance; and one that only looks like it, which nobody may touch.
    fn add_foreign(&mut self, node: usize, same: bool) {
        let number = self.number();
        let plan = self.plan(&format!("earlier{number}"));
        let name = format!("n{node}");
        let Some(job) = plan.jobs().find(|job| job.node.name == name) else { return };
        let mut seen = seen(job, 0);
        if !same {
            seen.content = "other".into();
        }
        let images: Vec<String> = job.group.images.iter().map(ToString::to_string).collect();
        self.world.create(seen.clone(), images.clone(), false, true, None);
        let key = (seen.key.0.clone(), format!("{}-by-hand", seen.key.1));
        self.foreign.insert(key.clone());
        self.world.create(ObservedJob { key, ..seen }, images, false, false, None);
    }

    // Rules.

    fn check_create(&self, id: usize, manifest: &Manifest) -> Result<(), String> {
        let process = &self.processes[id];
        let now = self.world.now;
        if process.stopped || now >= process.deadline {
            return Err(format!(
                "Job {} is created at {now} ms, after the deadline or a signal",
                manifest.job.name
            ));
        }
        // As far as this process can know: its own that are live, and those on their way.
        let own = |job: &&super::world::Job| {
            let is_own = job.ours && job.process == Some(id);
            is_own && is_working(job, now) && !self.unended.contains(&job.seen.key)
        };
        let live = self.world.jobs.values().filter(own).count();
        // What it has asked for and the world has not seen is counted by `creating`, which also counts what it
        // has seen and not answered yet: so only what is surely too many is found.
        let limit = self.scenario.concurrency;
        if live + 1 > limit {
            return Err(format!("{live} Jobs are live, and one more is created; the limit is {limit}"));
        }
        let group = &manifest.job.group;
        let of_group =
            self.world.jobs.values().filter(own).filter(|job| job.seen.group == group.name).count();
        let limit = self.scenario.groups[manifest.job.group.name[1..].parse::<usize>().expect("a number")]
            .concurrency;
        match limit {
            Some(limit) if of_group + 1 > limit => Err(format!(
                "{of_group} Jobs of {} are live, and one more is created: limit {limit}",
                group.name
            )),
            _ => Ok(()),
        }
    }

    /// After every event.
    fn check(&mut self) -> Result<(), String> {
        let now = self.world.now;
        let mut live: BTreeMap<&str, Vec<&JobKey>> = BTreeMap::new();
        let jobs = self.world.jobs.iter().filter(|(key, _)| !self.unended.contains(*key));
        // One that a queue holds does nothing: another run waits for it no longer than its deadline, and gives way
        // once it is admitted.
        let is_held = |job: &super::world::Job| self.runs_overlap && job.seen.suspended;
        for (key, job) in jobs.filter(|(_, job)| job.ours && is_working(job, now) && !is_held(job)) {
            live.entry(&job.seen.node).or_default().push(key);
        }
        // Of two that were both made by others neither is ours to end: one is taken over, the other waited for.
        let is_own = |key: &&JobKey| {
            let made_by = self.world.jobs[*key].process;
            // Its own, or those of its run by the names that it uses: where a node was replaced those are others.
            self.processes.iter().filter(|process| process.run.is_some()).any(|process| {
                made_by == Some(process.id)
                    || process.plan.jobs().any(|job| made_by.is_some() && job.name == key.1)
            })
        };
        live.retain(|_, jobs| jobs.iter().any(is_own));
        if self.runs_overlap && self.processes.iter().any(|process| process.watch.broken_until.is_some()) {
            // Nobody can see it.
            self.doubled.clear();
            return Ok(());
        }
        self.doubled.retain(|node, _| live.get(node.as_str()).is_some_and(|jobs| jobs.len() > 1));
        let patience = YIELD + 4 * self.scenario.watch_lag + 4 * self.scenario.api_lag;
        let patience = match self.runs_overlap {
            false => 0,
            true => patience,
        };
        for (node, jobs) in live.iter().filter(|(_, jobs)| jobs.len() > 1) {
            let since = *self.doubled.entry((*node).to_owned()).or_insert(now);
            // Who reaches nobody cannot give way.
            let cannot_end = self.api_up_at.max(self.refuses_until) + RETRY > since;
            let is_excused = self.runs_overlap && cannot_end;
            if now - since >= patience
                && !is_excused
                && self.processes.iter().any(|process| process.run.is_some())
            {
                return Err(format!("live Jobs on {node} at once for {} ms: {jobs:?}", now - since));
            }
        }
        Ok(())
    }

    /// At the end of a run.
    fn judge(&self, id: usize, end: &RunEnd) -> Result<(), String> {
        let planned = &self.processes[id].plan;
        for (group, (planned, results)) in planned.groups.iter().zip(&end.results).enumerate() {
            if planned.jobs.len() != results.len() {
                return Err(format!(
                    "group {group}: {} Jobs, {} verdicts",
                    planned.jobs.len(),
                    results.len()
                ));
            }
            for (job, result) in planned.jobs.iter().zip(results) {
                self.judge_node(id, job, result, end.error.is_some())?;
            }
        }
        Ok(())
    }

    fn judge_node(
        &self,
        id: usize,
        job: &PlannedJob,
        result: &JobResult,
        could_not_go_on: bool,
    ) -> Result<(), String> {
        let node = &job.node.name;
        let images: Vec<String> = job.group.images.iter().map(ToString::to_string).collect();
        let is_there = images.iter().all(|image| self.ever.contains(&(node.clone(), image.clone())));
        let failure = match &result.outcome.verdict {
            Verdict::Succeeded if !is_there => {
                return Err(format!("{node} is said to have {images:?}, and has not"));
            }
            Verdict::Succeeded => return Ok(()),
            Verdict::Failed(failure) => failure,
        };
        let reason = failure.reason;
        // A Job that is Complete has succeeded. With other runs about, the verdict may be on one of theirs.
        let is_complete = self.world.jobs.iter().any(|(key, found)| {
            // Neither the watch nor an answer told of one that was asked for in vain.
            found.ours
                && !self.unread.contains(&(id, key.clone()))
                // Of another node of its name it has another name.
                && *key == (job.namespace.clone(), job.name.clone())
                && found.over == Some(Ending::Complete)
        });
        let ended_by_itself =
            !self.processes[id].stopped && self.world.now < self.processes[id].deadline && !could_not_go_on;
        if is_complete && ended_by_itself && !self.runs_overlap && !self.is_excused(reason) {
            return Err(format!("the Job of {node} is Complete, and its verdict is {}", reason.code()));
        }
        if self.is_disturbed {
            return Ok(());
        }
        let registry: Vec<Image> = images.iter().map(|image| self.scenario.registry[image]).collect();
        let expected = match () {
            () if !ended_by_itself => return Ok(()),
            () if registry.iter().any(|image| matches!(image, Image::Stuck | Image::Flaky)) => return Ok(()),
            () if registry.contains(&Image::NotFound) => ["image-not-found", "deadline-exceeded"],
            // Its images may take longer than its deadline.
            () => ["deadline-exceeded", "deadline-exceeded"],
        };
        match expected.contains(&reason.code()) {
            true => Ok(()),
            false => Err(format!("{node} failed with {}: {}", reason.code(), failure.message)),
        }
    }

    /// What a verdict may be besides, though the Job goes on.
    fn is_excused(&self, reason: Reason) -> bool {
        // The Job was given up, or another one stood for it, before it came to its end.
        matches!(reason, Reason::Forbidden | Reason::NameTaken | Reason::Quota | Reason::ApiError)
            || reason.code() == "job-deleted"
    }
}

/// It is live, nobody has ended it, and its deadline and the grace for its end have not passed: a dead node
/// keeps a pod terminating for ever.
fn is_working(job: &super::world::Job, now: Millis) -> bool {
    let is_given_up =
        job.started_at.is_some_and(|at| now >= at + u64::from(job.seen.deadline_seconds) * 1000 + SLOT_GRACE);
    job.over.is_none() && !job.seen.is_being_ended() && !is_given_up
}

impl Watch {
    fn push(&mut self, at: Millis, number: u64, event: WatchEvent) {
        let stream = usize::from(matches!(event, WatchEvent::Pod(..) | WatchEvent::PodGone(..)));
        // In order.
        let at = at.max(self.last[stream]);
        self.last[stream] = at;
        self.queue.insert((at, number), event);
    }

    fn next_at(&self) -> Option<Millis> {
        self.broken_until.or_else(|| self.queue.keys().next().map(|(at, _)| *at))
    }

    fn learn(&mut self, event: &WatchEvent) {
        match event {
            WatchEvent::Job(job) => drop(self.known_jobs.insert(job.key.clone())),
            WatchEvent::JobGone(key) => drop(self.known_jobs.remove(key)),
            WatchEvent::Pod(key, pod) => drop(self.known_pods.insert(pod.uid.clone(), key.clone())),
            WatchEvent::PodGone(_, uid) => drop(self.known_pods.remove(uid)),
            _ => {}
        }
    }
}

fn forbidden() -> ClusterError {
    let cause = "no role allows it".to_owned();
    ClusterError::Forbidden { verb: "create", resource: "jobs", namespace: Some("ns".to_owned()), cause }
}

fn in_short(event: &RunEvent) -> String {
    match event {
        RunEvent::Runner(Event::Watch(WatchEvent::Job(job))) => {
            let (name, deadline) = (&job.key.1, job.deadline_seconds);
            format!("Job {name}, deadline {deadline}, suspended {}, {:?}", job.suspended, job.facts)
        }
        RunEvent::Runner(Event::Watch(WatchEvent::Pod(key, pod))) => format!("pod {} of {}", pod.uid, key.1),
        event => format!("{event:?}").chars().take(200).collect(),
    }
}
