//! A cluster that is made up: an API server with watches, the Job controller, kubelets and a registry. It
//! does what Kubernetes may do, each at a time of its own choosing, and remembers what is true.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use quayctl_core::outcome::{ContainerFacts, JobFacts, PodFacts};
use quayctl_core::runner::fixtures::{self, EPOCH_SECONDS};
use quayctl_core::watch_event::{ENDED_BY_US_SECONDS, JobKey, ObservedJob, WatchEvent};

use super::scenario::{Image, Scenario};

/// Milliseconds since the world began.
pub type Millis = u64;

/// A Job as it truly is.
#[derive(Clone, Debug)]
pub struct Job {
    pub seen: ObservedJob,
    /// It bears our labels.
    pub ours: bool,
    /// Of the process that created it; `None`: it was there before, or is somebody else's.
    pub process: Option<usize>,
    pub started_at: Option<Millis>,
    pub pod: Option<String>,
    pub over: Option<Ending>,
    /// Its deadline has passed (the condition `FailureTarget`): nothing but its pod keeps it from its end.
    is_failing: bool,
    images: Vec<String>,
    always: bool,
    pods_made: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Complete,
    Failed(&'static str),
}

#[derive(Clone, Debug)]
pub struct Pod {
    pub facts: PodFacts,
    pub job: JobKey,
    pub node: String,
    terminating_since: Option<Millis>,
}

#[derive(Clone, Debug, Default)]
pub struct Node {
    pub uid: String,
    pub exists: bool,
    pub ready: bool,
    /// What is truly there.
    pub images: BTreeSet<String>,
    /// What its status says.
    pub listed: BTreeSet<String>,
}

/// Something that the cluster does by itself.
#[derive(Clone, Debug)]
enum Act {
    /// The Job controller takes a Job up.
    Start(JobKey),
    MakePod(JobKey),
    /// The kubelet gets to this image of a pod.
    Pull(String, usize),
    Pulled(String, usize, Image),
    /// The Job controller sees that a Job's pod is done.
    Finish(JobKey),
    /// A Job's deadline passes; of the start that was counted from.
    Deadline(JobKey, Millis),
    PodGone(String),
    JobFailed(JobKey, &'static str),
    /// The time that a Job of this uid is kept is over.
    Ttl(JobKey, String),
    ListImages(String),
}

pub struct World {
    pub rng: Rng,
    pub now: Millis,
    pub jobs: BTreeMap<JobKey, Job>,
    pub pods: BTreeMap<String, Pod>,
    pub nodes: BTreeMap<String, Node>,
    registry: BTreeMap<String, Image>,
    acts: BTreeMap<(Millis, u64), Act>,
    count: u64,
    /// What the watches have to tell, in the order in which it became so.
    pub changes: Vec<WatchEvent>,
    /// How long the Job controller and the kubelet take at most for a step.
    lag: Millis,
    keep: Millis,
    pub log: Option<Vec<String>>,
}

impl World {
    pub fn new(scenario: &Scenario, seed: u64) -> World {
        let nodes = (0..scenario.nodes).map(|n| {
            let node = Node { uid: format!("uid-n{n}"), exists: true, ready: true, ..Node::default() };
            (format!("n{n}"), node)
        });
        World {
            rng: Rng::with_seed(seed),
            now: 0,
            jobs: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: nodes.collect(),
            registry: scenario.registry.clone(),
            acts: BTreeMap::new(),
            count: 0,
            changes: Vec::new(),
            lag: scenario.lag,
            keep: u64::from(scenario.keep_seconds) * 1000,
            log: None,
        }
    }

    pub fn say(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9.3} {}", now as f64 / 1000.0, text()));
        }
    }

    pub fn next_at(&self) -> Option<Millis> {
        self.acts.keys().next().map(|(at, _)| *at)
    }

    fn later(&mut self, millis: Millis, act: Act) {
        self.count += 1;
        self.acts.insert((self.now + millis, self.count), act);
    }

    fn soon(&mut self) -> Millis {
        self.rng.u64(1..=self.lag)
    }

    // What clients do.

    /// Takes a Job, and says whether there was one of its name.
    pub fn create(
        &mut self,
        seen: ObservedJob,
        images: Vec<String>,
        always: bool,
        ours: bool,
        process: Option<usize>,
    ) -> bool {
        let key = seen.key.clone();
        if self.jobs.contains_key(&key) {
            return false;
        }
        self.count += 1;
        let seconds = EPOCH_SECONDS + (self.now / 1000) as i64;
        let seen = ObservedJob {
            uid: format!("uid-{}-{}", key.1, self.count),
            created_at: jiff::Timestamp::from_second(seconds).ok(),
            facts: JobFacts::default(),
            ..seen
        };
        self.say(|| format!("Job {} of run {} created for {}", key.1, seen.run_id, seen.node));
        let suspended = seen.suspended;
        self.jobs.insert(
            key.clone(),
            Job {
                seen,
                ours,
                process,
                started_at: None,
                pod: None,
                over: None,
                is_failing: false,
                images,
                always,
                pods_made: 0,
            },
        );
        self.tell_job(&key);
        if !suspended {
            let soon = self.soon();
            self.later(soon, Act::Start(key));
        }
        true
    }

    /// Our merge patch.
    pub fn annotate(&mut self, key: &JobKey, outcome: &str, end_now: bool) -> bool {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(key) else { return false };
        job.seen.annotation = Some(outcome.to_owned());
        if end_now {
            job.seen.deadline_seconds = ENDED_BY_US_SECONDS;
        }
        let started_at = job.started_at.filter(|_| end_now && job.over.is_none());
        self.say(|| format!("Job {} annotated, end_now {end_now}", key.1));
        self.tell_job(key);
        if let Some(started_at) = started_at {
            let due = (started_at + 1000).saturating_sub(now);
            let soon = self.soon();
            self.later(due + soon, Act::Deadline(key.clone(), started_at));
        }
        true
    }

    pub fn set_suspended(&mut self, key: &JobKey, suspended: bool) {
        let Some(job) = self
            .jobs
            .get_mut(key)
            .filter(|job| !job.is_failing && job.over.is_none() && job.seen.suspended != suspended)
        else {
            return;
        };
        job.seen.suspended = suspended;
        let pod = job.pod.clone();
        if suspended {
            // The Job controller deletes the pods and counts the deadline anew.
            job.started_at = None;
            job.seen.facts = JobFacts::default();
        }
        self.say(|| format!("Job {} suspended {suspended}", key.1));
        self.tell_job(key);
        match pod {
            Some(pod) if suspended => self.terminate(&pod),
            _ if !suspended => {
                let soon = self.soon();
                self.later(soon, Act::Start(key.clone()));
            }
            _ => {}
        }
    }

    /// Somebody deletes a Job, and its pods with it.
    pub fn delete_job(&mut self, key: &JobKey) {
        let Some(job) = self.jobs.remove(key) else { return };
        self.say(|| format!("Job {} deleted", key.1));
        if job.ours {
            self.changes.push(WatchEvent::JobGone(key.clone()));
        }
        if let Some(pod) = job.pod {
            self.terminate(&pod);
        }
    }

    /// Somebody takes a label of ours from a Job, which leaves the watch by that.
    pub fn take_label(&mut self, key: &JobKey) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.ours = false;
        self.say(|| format!("Job {} has lost a label", key.1));
        self.changes.push(WatchEvent::JobGone(key.clone()));
    }

    /// A pod is evicted or killed: the Job controller makes another, as long as its backoff limit allows.
    pub fn kill_pod(&mut self, uid: &str) {
        let Some(pod) = self.pods.get_mut(uid).filter(|pod| pod.terminating_since.is_none()) else { return };
        pod.facts.failed = Some("Evicted: The node was low on resource".to_owned());
        let (facts, key) = (pod.facts.clone(), pod.job.clone());
        self.say(|| format!("pod {uid} evicted"));
        self.changes.push(WatchEvent::Pod(key.clone(), facts));
        if let Some(job) = self.jobs.get_mut(&key)
            && job.over.is_none()
        {
            job.pod = None;
            let again = job.pods_made < 3;
            let soon = self.soon();
            match again {
                true => self.later(soon + 1000, Act::MakePod(key)),
                false => self.later(soon, Act::JobFailed(key, "BackoffLimitExceeded")),
            }
        }
    }

    pub fn set_node(&mut self, name: &str, exists: bool, ready: bool) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        if exists && !node.exists {
            // Another machine of its name has nothing.
            node.uid.push('+');
            node.images.clear();
            node.listed.clear();
        }
        (node.exists, node.ready) = (exists, ready);
        self.say(|| format!("node {name} exists {exists}, ready {ready}"));
        if !exists {
            // Nobody has its pods any longer, and the Job controller makes others.
            let pods = self.pods.iter().filter(|(_, pod)| pod.node == name);
            let pods: Vec<String> = pods.map(|(uid, _)| uid.clone()).collect();
            pods.iter().for_each(|uid| self.pod_gone(uid));
        }
    }

    fn node_works(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(|node| node.exists && node.ready)
    }

    // What the cluster does.

    /// Does what is due next.
    pub fn act(&mut self) {
        let Some((&(at, number), _)) = self.acts.iter().next() else { return };
        self.now = self.now.max(at);
        let Some(act) = self.acts.remove(&(at, number)) else { return };
        match act {
            Act::Start(key) => self.start(&key),
            Act::MakePod(key) => self.make_pod(&key),
            Act::Pull(uid, image) => self.pull(&uid, image),
            Act::Pulled(uid, index, image) => self.pulled(&uid, index, image),
            Act::Finish(key) => self.finish(&key, Ending::Complete),
            Act::Deadline(key, started_at) => self.deadline(&key, started_at),
            Act::PodGone(uid) => self.pod_gone(&uid),
            Act::Ttl(key, uid) if self.jobs.get(&key).is_some_and(|job| job.seen.uid == uid) => {
                self.delete_job(&key)
            }
            Act::Ttl(..) => {}
            Act::JobFailed(key, reason) => self.finish(&key, Ending::Failed(reason)),
            Act::ListImages(name) => {
                if let Some(node) = self.nodes.get_mut(&name).filter(|node| node.exists && node.ready) {
                    node.listed = node.images.clone();
                }
            }
        }
    }

    fn start(&mut self, key: &JobKey) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(key) else { return };
        if job.seen.suspended || job.started_at.is_some() || job.over.is_some() {
            return;
        }
        job.started_at = Some(now);
        job.seen.facts = facts(None, now);
        let deadline = u64::from(job.seen.deadline_seconds) * 1000;
        self.tell_job(key);
        let (soon, late) = (self.soon(), self.soon());
        self.later(soon, Act::MakePod(key.clone()));
        self.later(deadline + late, Act::Deadline(key.clone(), now));
    }

    fn make_pod(&mut self, key: &JobKey) {
        self.count += 1;
        let uid = format!("pod-{}", self.count);
        let Some(job) = self.jobs.get_mut(key) else { return };
        if job.over.is_some() || job.is_failing || job.pod.is_some() || job.started_at.is_none() {
            return;
        }
        if !self.nodes.get(&job.seen.node).is_some_and(|node| node.exists) {
            // It is made, and waits for a node to be bound to.
            return self.later(5_000, Act::MakePod(key.clone()));
        }
        job.pods_made += 1;
        job.pod = Some(uid.clone());
        let (node, images) = (job.seen.node.clone(), job.images.len());
        let container =
            |index| ContainerFacts { name: format!("image-{index}"), ..ContainerFacts::default() };
        let facts = PodFacts {
            uid: uid.clone(),
            on_node: true,
            containers: (0..images).map(container).collect(),
            ..PodFacts::default()
        };
        self.say(|| format!("pod {uid} of {} bound to {node}", key.1));
        self.changes.push(WatchEvent::Pod(key.clone(), facts.clone()));
        self.pods.insert(uid.clone(), Pod { facts, job: key.clone(), node, terminating_since: None });
        let soon = self.soon();
        self.later(soon, Act::Pull(uid, 0));
    }

    fn image_of(&self, uid: &str, index: usize) -> Option<(String, bool)> {
        let job = self.jobs.get(&self.pods.get(uid)?.job)?;
        Some((job.images.get(index)?.clone(), job.always))
    }

    fn pull(&mut self, uid: &str, index: usize) {
        let Some(pod) =
            self.pods.get(uid).filter(|pod| pod.terminating_since.is_none() && pod.facts.failed.is_none())
        else {
            return;
        };
        let node = pod.node.clone();
        if !self.node_works(&node) {
            // A kubelet that is back goes on where it was.
            return self.later(5_000, Act::Pull(uid.to_owned(), index));
        }
        let Some((reference, always)) = self.image_of(uid, index) else { return };
        let is_there = self.nodes.get(&node).is_some_and(|node| node.images.contains(&reference));
        let image = match is_there && !always {
            true => Image::Present(1),
            false => self.registry.get(&reference).copied().unwrap_or(Image::NotFound),
        };
        let time = match image {
            Image::Present(millis) => millis,
            Image::NotFound | Image::Flaky => 200,
            Image::Stuck => return,
        };
        self.later(time, Act::Pulled(uid.to_owned(), index, image));
    }

    fn pulled(&mut self, uid: &str, index: usize, image: Image) {
        let Some((reference, _)) = self.image_of(uid, index) else { return };
        let is_flake = image == Image::Flaky && self.rng.u8(0..3) > 0;
        let Some(pod) = self
            .pods
            .get_mut(uid)
            .filter(|pod| pod.terminating_since.is_none() && pod.facts.failed.is_none())
        else {
            return;
        };
        let (key, node) = (pod.job.clone(), pod.node.clone());
        if !self.nodes.get(&node).is_some_and(|node| node.exists && node.ready) {
            // Nothing is heard of it until the node is back.
            return self.later(5_000, Act::Pulled(uid.to_owned(), index, image));
        }
        let Some(container) = pod.facts.containers.get_mut(index) else { return };
        let is_pulled = match image {
            Image::Present(_) => true,
            Image::Flaky => !is_flake,
            Image::NotFound | Image::Stuck => false,
        };
        pod.facts.is_set_up = true;
        if is_pulled {
            container.waiting = None;
            (container.ran, container.is_over) = (true, true);
            if let Some(node) = self.nodes.get_mut(&node) {
                node.images.insert(reference.clone());
            }
        } else {
            let cause = match image {
                Image::NotFound => "not found",
                _ => "unexpected status from HEAD request: 503 Service Unavailable",
            };
            let message = format!(
                "Back-off pulling image \"{reference}\": ErrImagePull: rpc error: code = NotFound desc = failed to \
                 pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\": {reference}: {cause}"
            );
            container.waiting = Some(("ImagePullBackOff".to_owned(), message));
        }
        let is_done = pod.facts.containers.iter().all(|container| container.is_over);
        let facts = pod.facts.clone();
        let next =
            facts.containers.iter().position(|container| !container.is_over && container.waiting.is_none());
        self.say(|| format!("pod {uid}: {reference} {}", if is_pulled { "pulled" } else { "not pulled" }));
        self.changes.push(WatchEvent::Pod(key.clone(), facts));
        if is_pulled {
            let late = self.rng.u64(1..=60_000);
            self.later(late, Act::ListImages(node));
        } else {
            let backoff = 10_000 + self.soon();
            self.later(backoff, Act::Pull(uid.to_owned(), index));
        }
        let soon = self.soon();
        match next {
            _ if is_done => self.later(soon, Act::Finish(key)),
            Some(next) => self.later(soon, Act::Pull(uid.to_owned(), next)),
            None => {}
        }
    }

    fn deadline(&mut self, key: &JobKey, started_at: Millis) {
        let now = self.now;
        let Some(job) = self.jobs.get(key) else { return };
        let is_due = job.started_at == Some(started_at)
            && job.over.is_none()
            && now >= started_at + u64::from(job.seen.deadline_seconds) * 1000;
        if !is_due {
            return;
        }
        let pod = job.pod.clone();
        if let Some(job) = self.jobs.get_mut(key) {
            job.is_failing = true;
        }
        if let Some(pod) = &pod {
            self.terminate(pod);
        }
        // `Failed` is set once the pod is gone, on a dead node for ever not.
        match pod.filter(|uid| self.pods.contains_key(uid)) {
            Some(_) => {}
            None => self.finish(key, Ending::Failed("DeadlineExceeded")),
        }
    }

    fn terminate(&mut self, uid: &str) {
        let now = self.now;
        let Some(pod) = self.pods.get_mut(uid).filter(|pod| pod.terminating_since.is_none()) else { return };
        pod.terminating_since = Some(now);
        pod.facts.terminating = true;
        let (key, facts) = (pod.job.clone(), pod.facts.clone());
        self.changes.push(WatchEvent::Pod(key, facts));
        let soon = self.soon();
        self.later(soon, Act::PodGone(uid.to_owned()));
    }

    fn pod_gone(&mut self, uid: &str) {
        let Some(pod) = self.pods.get(uid) else { return };
        if self.nodes.get(&pod.node).is_some_and(|node| node.exists && !node.ready) {
            // Nobody on the node confirms it.
            return self.later(10_000, Act::PodGone(uid.to_owned()));
        }
        let Some(pod) = self.pods.remove(uid) else { return };
        self.changes.push(WatchEvent::PodGone(pod.job.clone(), uid.to_owned()));
        let is_its_last = self.jobs.get(&pod.job).is_some_and(|job| job.pod.as_deref() == Some(uid));
        if !is_its_last {
            return;
        }
        if let Some(job) = self.jobs.get_mut(&pod.job) {
            job.pod = None;
            let is_failing = job.is_failing;
            let soon = self.soon();
            match is_failing {
                true => self.later(soon, Act::JobFailed(pod.job, "DeadlineExceeded")),
                false => self.later(soon, Act::MakePod(pod.job)),
            }
        }
    }

    fn finish(&mut self, key: &JobKey, ending: Ending) {
        let Some(job) = self.jobs.get_mut(key).filter(|job| job.over.is_none() && job.started_at.is_some())
        else {
            return;
        };
        if ending == Ending::Complete
            && !job.pod.as_ref().and_then(|uid| self.pods.get(uid)).is_some_and(|pod| {
                pod.terminating_since.is_none()
                    && pod.facts.containers.iter().all(|container| container.is_over)
            })
        {
            return;
        }
        let uid = job.seen.uid.clone();
        job.over = Some(ending);
        job.seen.facts = facts(Some(ending), job.started_at.unwrap_or_default());
        self.say(|| format!("Job {} {ending:?}", key.1));
        self.tell_job(key);
        let late = self.soon();
        self.later(self.keep + late, Act::Ttl(key.clone(), uid));
    }

    fn tell_job(&mut self, key: &JobKey) {
        if let Some(job) = self.jobs.get(key).filter(|job| job.ours) {
            self.changes.push(WatchEvent::Job(Box::new(job.seen.clone())));
        }
    }

    /// What a list gives now: Jobs, then pods.
    pub fn list(&self) -> Vec<WatchEvent> {
        let jobs = self.jobs.values().filter(|job| job.ours);
        let jobs = jobs.map(|job| WatchEvent::Job(Box::new(job.seen.clone())));
        let pods = self.pods.values().map(|pod| WatchEvent::Pod(pod.job.clone(), pod.facts.clone()));
        jobs.chain(pods).collect()
    }
}

/// Of a Job that was started.
fn facts(ending: Option<Ending>, started_at: Millis) -> JobFacts {
    let condition = ending.map(|ending| match ending {
        Ending::Complete => ("Complete", "CompletionsReached"),
        Ending::Failed(reason) => ("Failed", reason),
    });
    fixtures::facts(Some((started_at / 1000) as i64), condition)
}
