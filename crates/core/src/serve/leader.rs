//! What a process does while it leads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::active_runs::{ActiveRun, ActiveRuns};
use super::effect::{Notice, ServeEffect};
use super::event::{InitialState, NodeEvent, ServeEvent, WatchPurpose};
use super::watched_namespaces::{Reload, WatchedNamespaces};
use super::{ActiveConfig, MAX_WAIT, ReloadError};
use crate::config::Group;
use crate::now::Now;
use crate::outcome::Verdict;
use crate::plan::{
    JobIndex, KnownNode, ListedNode, PlannedGroup, RUN_MARGIN_SECONDS, RunIdentity, limit_over, plan_one,
};
use crate::runner::{self, Batch, FinishedBatch, JobStep, Runner, RunnerError, RunnerInputs, Step};
use crate::scheduler::{
    DueRun, JobEnd, NodeTracker, PendingPatch, Readiness, RunHistory, RunRetries, Scheduler, is_half_marked,
    needs_mark,
};

/// What has failed is tried again this often.
const RETRY_INTERVAL: Duration = MAX_WAIT;
/// An error that goes on is reported this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(3600);

/// Everything that the leader holds; each part is changed by its own type alone.
pub struct LeaderLoop {
    config: ActiveConfig,
    scheduler: Scheduler,
    retries: RunRetries,
    tracker: NodeTracker,
    readiness: Readiness,
    watches: WatchedNamespaces,
    runner: Runner<'static>,
    runs: ActiveRuns,
    retry_at: Instant,
    /// The watch of nodes is down, and that was reported.
    nodes_interrupted: bool,
    /// What no Job can get over, as it was reported.
    reported_error: Option<(String, Instant)>,
    reported_queue: (usize, usize),
    effects: Vec<ServeEffect>,
}

impl LeaderLoop {
    /// Takes in what is there, and continues what an earlier process has begun.
    pub fn start(config: ActiveConfig, initial: InitialState, now: Now) -> (LeaderLoop, Vec<ServeEffect>) {
        let InitialState { mut watches, history, nodes } = initial;
        let listed = std::mem::take(&mut watches.listed);
        let mut leader = LeaderLoop::new(config, watches, &history, now);
        leader.notice(Notice::Ready { groups: leader.config.groups().len(), nodes: nodes.len() });
        let forbidden = leader.watches.forbidden().iter();
        let forbidden = forbidden.map(|(namespace, error)| Notice::NamespaceForbidden {
            namespace: namespace.clone(),
            error: error.clone(),
        });
        forbidden.collect::<Vec<_>>().into_iter().for_each(|notice| leader.notice(notice));
        let late = leader.add_initial_nodes(nodes);
        // Before what is there is taken in: then Jobs of these runs are known as theirs.
        leader.start_due_runs(now);
        leader.serve_nodes(&late, now);
        leader.runner.take_in(listed, now);
        let effects = leader.settle(now);
        (leader, effects)
    }

    fn new(
        config: ActiveConfig,
        watches: super::OpenedWatches,
        history: &RunHistory,
        now: Now,
    ) -> LeaderLoop {
        let concurrency = config.config().concurrency.get();
        let mut tracker = NodeTracker::default();
        tracker.apply_config(config.config());
        LeaderLoop {
            scheduler: Scheduler::new(config.config(), now.time, history),
            retries: RunRetries::default(),
            tracker,
            readiness: Readiness::new(now.instant),
            watches: WatchedNamespaces::new(watches),
            runner: Runner::new(RunnerInputs { concurrency, replace: false, log_other_processes: true }),
            runs: ActiveRuns::default(),
            retry_at: now.instant,
            nodes_interrupted: false,
            reported_error: None,
            reported_queue: (0, 0),
            effects: Vec::new(),
            config,
        }
    }

    pub fn config(&self) -> &ActiveConfig {
        &self.config
    }

    pub fn on(&mut self, event: ServeEvent, now: Now) -> Vec<ServeEffect> {
        match event {
            ServeEvent::Runner(event) => {
                let effects = self.runner.handle_event(event, now);
                self.pass_on(effects, now);
            }
            ServeEvent::Node(event) => self.on_node(event, now),
            ServeEvent::NodePatched(patch, result) => {
                let labels = self.config.group(&patch.group).is_some_and(|group| group.ready_label);
                let (group, node) = (patch.group.clone(), patch.node.clone());
                if let Some(error) = self.readiness.on_patched(patch, result, labels) {
                    self.notice(Notice::NodePatchFailed { group, node, error });
                }
            }
            ServeEvent::Watched(WatchPurpose::Reload, result) => {
                if let Some(reload) = self.watches.on_opened(result) {
                    if !matches!(reload, Reload::Refused(_)) {
                        self.effects.push(ServeEffect::AcceptWatches);
                    }
                    self.on_reload(reload, now);
                }
            }
            ServeEvent::Watched(WatchPurpose::Retry, result) => {
                if let Some(namespaces) = self.watches.on_retried(result) {
                    self.effects.push(ServeEffect::AcceptWatches);
                    self.on_namespaces_watched(namespaces, now);
                }
            }
            // `Process` takes these in.
            ServeEvent::Timer
            | ServeEvent::Leads(_)
            | ServeEvent::Started(_)
            | ServeEvent::Hangup
            | ServeEvent::ConfigTried(_)
            | ServeEvent::Stop => {
                let effects = self.runner.handle_event(runner::Event::Timer, now);
                self.pass_on(effects, now);
            }
        }
        self.settle(now)
    }

    /// A changed config, put in force once its namespaces are watched.
    pub fn propose(&mut self, candidate: ActiveConfig, now: Now) -> Vec<ServeEffect> {
        let reload = self.watches.propose(candidate);
        self.on_reload(reload, now);
        self.settle(now)
    }

    /// Nothing is on its way into force any longer.
    pub fn withdraw_candidate(&mut self) {
        self.watches.withdraw();
    }

    pub fn next_timer(&self, now: Now) -> Instant {
        let due = self.scheduler.next_due().map(|next| {
            let wait = Duration::try_from(next.duration_since(now.time)).unwrap_or_default();
            now.instant + wait.min(MAX_WAIT)
        });
        let timer = self.runner.next_timer(now).min(self.retry_at);
        due.map_or(timer, |due| due.min(timer))
    }

    /// Creates nothing more.
    pub fn stop(&mut self) {
        self.runner.stop();
    }

    /// Whether all that was sent is answered.
    pub fn has_answers(&self) -> bool {
        self.runner.requests() == 0
    }

    /// Takes in answers after [`LeaderLoop::stop`].
    pub fn drain(&mut self, event: ServeEvent, now: Now) -> Vec<ServeEffect> {
        if let ServeEvent::Runner(event) = event {
            let effects = self.runner.on(event, now);
            self.effects.extend(effects.into_iter().map(ServeEffect::Runner));
        }
        std::mem::take(&mut self.effects)
    }

    /// Leaves everything that is under way to the next leader, and says how far it is. Gives the config that
    /// was on its way into force, too.
    pub fn hand_over(mut self, now: Now) -> (Option<ActiveConfig>, Vec<Notice>) {
        let candidate = self.watches.withdraw();
        let mut notices = Vec::new();
        for batch in self.runner.into_batches(now) {
            let Some(run) = self.runs.remove(batch.number) else { continue };
            let not_started = batch.results.iter().filter(|result| result.finished_at.is_none()).count();
            notices.push(Notice::HandedOver { run: run.finish(batch, now.time), not_started });
        }
        (candidate, notices)
    }

    /// What follows from whatever has happened.
    fn settle(&mut self, now: Now) -> Vec<ServeEffect> {
        if self.retry_at <= now.instant {
            self.retry_at = now.instant + RETRY_INTERVAL;
            self.retry(now);
        }
        // What has finished makes room for what is due, and a run without Jobs has finished at once.
        loop {
            let effects = self.runner.proceed(now);
            self.pass_on(effects, now);
            let finished = self.runner.take_finished();
            let any_finished = !finished.is_empty();
            finished.into_iter().for_each(|batch| self.finish(batch, now));
            if !self.start_due_runs(now) && !any_finished {
                break;
            }
        }
        self.effects.extend(self.readiness.take_patches().into_iter().map(ServeEffect::PatchNode));
        for (group, at) in self.scheduler.take_changed_times() {
            self.notice(Notice::NextRun { group, at });
        }
        let queue = self.runner.load();
        if std::mem::replace(&mut self.reported_queue, queue) != queue {
            self.notice(Notice::Queue { waiting: queue.0, running: queue.1 });
        }
        std::mem::take(&mut self.effects)
    }

    /// What has failed for a reason that may pass.
    fn retry(&mut self, now: Now) {
        for ((group, node), pending) in self.readiness.take_retries(now.instant) {
            match pending {
                PendingPatch::MarkReady { content, uid } => {
                    self.mark_node_ready(&group, &content, &node, &uid)
                }
                PendingPatch::RemoveLabel => self.readiness.remove_label(&group, &node),
            }
        }
        for (group, node) in self.tracker.take_retries(now.time) {
            let group = self.config.group(&group).cloned();
            if let (Some(group), Some(node)) = (group, self.tracker.node(&node).cloned()) {
                self.serve_node(&group, &node, now);
            }
        }
        if let Some(namespaces) = self.watches.retry_forbidden() {
            self.watch(WatchPurpose::Retry, namespaces);
        }
        for group in self.retries.take_due(now.instant) {
            self.scheduler.retry(&group);
        }
        if let Some(reload) = self.watches.retry_pending() {
            self.on_reload(reload, now);
        }
    }

    /// Keeps what concerns this process of what the runner wants, and passes the rest on.
    fn pass_on(&mut self, effects: Vec<runner::Effect>, now: Now) {
        for effect in effects {
            match effect {
                runner::Effect::Fail(error) => self.on_runner_error(&error, now),
                runner::Effect::Step(index, step) => self.on_step(index, step),
                effect => self.effects.push(ServeEffect::Runner(effect)),
            }
        }
    }

    fn on_step(&mut self, index: JobIndex, step: Step) {
        match self.runner.step(index, step) {
            Some(JobStep::Finished(job, outcome)) if outcome.verdict == Verdict::Succeeded => {
                let (group, content, node) = (job.group.name.clone(), job.content.clone(), job.node.clone());
                self.mark_node_ready(&group, &content, &node.name, &node.uid);
            }
            Some(JobStep::Started(job) | JobStep::PutBack(job)) => {
                let (group, node, job) = (job.group.name.clone(), job.node.name.clone(), job.name.clone());
                self.notice(Notice::JobStep { group, node, job, step });
            }
            Some(JobStep::Finished(..)) | None => {}
        }
    }

    /// An error that a batch cannot get over ends that batch; the process goes on.
    fn on_runner_error(&mut self, error: &RunnerError, now: Now) {
        let given_up = self.runner.give_up_batches_of(error);
        for run in given_up.iter().filter_map(|number| self.runs.get(*number)) {
            self.retries.add(run.group(), now.instant);
        }
        let error = error.error.clone();
        // A watch that is refused is refused again at each of its tries.
        let text = format!("{} {error}", given_up.is_empty());
        let is_reported = self.reported_error.as_ref().is_some_and(|(reported, at)| {
            *reported == text && now.instant.saturating_duration_since(*at) < REPORT_INTERVAL
        });
        if !is_reported {
            self.reported_error = Some((text, now.instant));
            self.notice(Notice::RunnerFailed { error, runs: given_up.len() });
        }
    }

    /// Adds the nodes at the start. Gives those that have come since a group was last due: they were not
    /// there for that run.
    fn add_initial_nodes(&mut self, nodes: Vec<ListedNode>) -> Vec<(Arc<Group>, String)> {
        let mut late = Vec::new();
        for ListedNode { node, created_at, .. } in nodes {
            let node = KnownNode::new(node);
            for group in self.config.groups() {
                let is_new = |last| created_at.is_some_and(|created| created > last);
                // One that was made to wait, and came back while nobody was there, waits still.
                match self.needs_mark(group, &node)
                    || self.scheduler.last_due(&group.name).is_some_and(is_new)
                {
                    true => late.push((group.clone(), node.whole().name.clone())),
                    false => self.tracker.mark_known(group, &node),
                }
            }
            self.tracker.insert(node);
        }
        late
    }

    fn needs_mark(&self, group: &Group, node: &KnownNode) -> bool {
        self.config.content(&group.name).is_some_and(|content| needs_mark(group, content, node.whole()))
    }

    fn on_node(&mut self, event: NodeEvent, now: Now) {
        let was_interrupted = self.nodes_interrupted;
        self.nodes_interrupted = matches!(event, NodeEvent::Interrupted(_));
        match event {
            NodeEvent::Interrupted(error) if !was_interrupted => {
                self.notice(Notice::NodeWatchInterrupted(error));
            }
            NodeEvent::Interrupted(_) => {}
            NodeEvent::Gone(name) => {
                self.tracker.remove_node(&name);
                self.readiness.remove_node(&name);
            }
            NodeEvent::Node(listed) => {
                let node = KnownNode::new(listed.node);
                let name = node.whole().name.clone();
                // A heartbeat changes nothing that anybody here looks at.
                if self.tracker.insert(node) {
                    let groups = self.config.groups().iter();
                    let pairs: Vec<_> = groups.map(|group| (group.clone(), name.clone())).collect();
                    self.serve_nodes(&pairs, now);
                    self.finish_marks(&name);
                }
            }
        }
        if was_interrupted && !self.nodes_interrupted {
            self.notice(Notice::NodeWatchResumed);
        }
    }

    /// Each node that can take its group's Job only now gets it.
    fn serve_nodes(&mut self, pairs: &[(Arc<Group>, String)], now: Now) {
        for (group, name) in pairs {
            let Some(node) = self.tracker.node(name).cloned() else { continue };
            if self.tracker.take_due(group, &node, now.time) {
                self.serve_node(group, &node, now);
            }
        }
    }

    fn serve_node(&mut self, group: &Arc<Group>, node: &KnownNode, now: Now) {
        let Some(run_id) = self.scheduler.run_id(&group.name) else { return };
        let identity = self.config.identity(run_id);
        let mut planned = plan_one(self.config.config(), group, std::iter::once(node), &identity);
        // The group's limit may be a share of all of its nodes, not of this one.
        planned.limit = limit_over(self.config.config(), group, self.tracker.nodes());
        let Some(job) = planned.jobs.pop().filter(|job| !self.runner.is_under_way(job)) else { return };
        let joined = self.runs.batch_to_join(&group.name, &job.content, now.instant).is_some_and(|number| {
            let jobs = self.runner.counts(number).map_or(0, |(jobs, _)| jobs) + 1;
            self.runs.extend(number, jobs, planned.limit, group.deadline_seconds);
            // What is under way counts this batch as well.
            let deadline = Some(self.deadline(0, now));
            self.runner.extend(number, job.clone(), planned.limit, deadline, now)
        });
        if !joined {
            planned.jobs.push(job);
            self.add(planned, identity, false, now);
        }
        let (group, node) = (group.name.clone(), node.whole().name.clone());
        self.notice(Notice::NewNode { group, node });
    }

    /// All images of a group are on a node now.
    fn mark_node_ready(&mut self, group: &str, content: &Arc<str>, node: &str, uid: &str) {
        // A group that has changed meanwhile has another content, and its own run to come.
        let Some(group) = self.config.group(group).filter(|_| self.config.content(group) == Some(content))
        else {
            return;
        };
        if let Some(node) = self.tracker.node(node).map(KnownNode::whole).filter(|node| node.uid == uid) {
            self.readiness.mark_node_ready(group, content, node);
        }
    }

    /// A node that was labelled before its taint could be removed.
    fn finish_marks(&mut self, name: &str) {
        let Some(node) = self.tracker.node(name).map(KnownNode::whole) else { return };
        for group in self.config.groups() {
            let content = self.config.content(&group.name);
            if let Some(content) = content.filter(|content| is_half_marked(group, content, node)) {
                self.readiness.mark_node_ready(group, content, node);
            }
        }
    }

    /// Starts the runs that are due; whether there was one.
    fn start_due_runs(&mut self, now: Now) -> bool {
        let due_runs = self.scheduler.take_due(now.time);
        due_runs.skipped.into_iter().for_each(|group| self.notice(Notice::RunSkipped(group)));
        let any = !due_runs.due.is_empty();
        due_runs.due.into_iter().for_each(|due| self.start_run(due, now));
        any
    }

    fn start_run(&mut self, due: DueRun, now: Now) {
        let DueRun { group: name, run_id, trigger } = due;
        let Some(group) = self.config.group(&name).cloned() else { return };
        let identity = self.config.identity(run_id);
        let mut planned = plan_one(self.config.config(), &group, self.tracker.nodes(), &identity);
        // Of nodes that came a moment ago: they are reported where they are.
        planned.jobs.retain(|job| !self.runner.is_under_way(job));
        let (jobs, skipped) = (planned.jobs.len(), planned.skipped.len());
        let run_id = identity.run_id.as_str().to_owned();
        self.scheduler.mark_started(&name);
        self.notice(Notice::RunStarted { group: name, run_id, trigger, jobs, skipped });
        self.add(planned, identity, true, now);
    }

    /// Hands a group's Jobs to the runner.
    fn add(&mut self, planned: PlannedGroup, identity: Arc<RunIdentity>, is_run: bool, now: Now) {
        let group = planned.group.clone();
        let run = ActiveRun::new(&planned, identity, &self.config.config().hash, is_run, now);
        let deadline = self.deadline(run.longest_seconds(), now);
        let has_jobs = !planned.jobs.is_empty();
        let mut batch = Batch::new(planned, self.config.render(), Some(deadline));
        if self.config.config().run_deadline_seconds.is_none() {
            batch = batch.with_computed_deadline(now.instant);
        }
        let number = self.runner.add(batch, now);
        self.runs.insert(number, run);
        // Nobody would hear of its Jobs.
        let error = self.watches.forbidden().get(self.config.namespace_of(&group)).filter(|_| has_jobs);
        if let Some(error) = error.cloned() {
            self.runner.give_up_batches_of(&RunnerError { batch: Some(number), error });
            self.retries.add(&group.name, now.instant);
        }
    }

    /// When a run that begins now is to end: as configured, else after all that is under way and itself
    /// would take, as in a single run over all of these groups.
    fn deadline(&self, own_seconds: u64, now: Now) -> Instant {
        let configured = self.config.config().run_deadline_seconds.map(u64::from);
        let computed = || self.runs.longest_seconds() + own_seconds + RUN_MARGIN_SECONDS;
        now.instant + Duration::from_secs(configured.unwrap_or_else(computed))
    }

    fn finish(&mut self, finished: FinishedBatch, now: Now) {
        let Some(run) = self.runs.remove(finished.number) else { return };
        let scheduled = finished.planned.group.schedule.is_some();
        for (job, result) in finished.planned.jobs.iter().zip(&finished.results) {
            // Of a Job that never began nothing is known.
            let (Some(_), Some(at)) = (result.started_at, result.finished_at) else { continue };
            self.tracker.record_end(JobEnd {
                group: run.group(),
                node: &job.node.name,
                uid: &job.node.uid,
                content: &job.content,
                at,
                succeeded: result.outcome.verdict == Verdict::Succeeded,
                is_last: !(run.is_run() && scheduled),
            });
        }
        if run.is_run() {
            self.scheduler.mark_finished(run.group());
        }
        let run = run.finish(finished, now.time);
        if run.report.exit_code == 0 {
            self.retries.forget(&run.group);
        }
        self.notice(Notice::Finished(run));
        self.watch_only_what_is_needed();
    }

    fn on_reload(&mut self, reload: Reload, now: Now) {
        match reload {
            Reload::Apply(config) => self.apply_config(config, now),
            Reload::Watch(namespaces) => self.watch(WatchPurpose::Reload, namespaces),
            Reload::Refused(error) => self.notice(Notice::ReloadFailed(ReloadError::Cluster(error))),
        }
    }

    fn apply_config(&mut self, config: ActiveConfig, now: Now) {
        let before = std::mem::replace(&mut self.config, config);
        let config = self.config.config();
        let removed = self.scheduler.apply_config(config, now.time);
        // A group that was gone for a while may still have an active run.
        for group in self.runs.groups_with_run() {
            self.scheduler.mark_started(group);
        }
        self.tracker.apply_config(config);
        self.runner.set_concurrency(config.concurrency.get());
        removed.into_iter().for_each(|group| self.notice(Notice::GroupRemoved(group)));
        // Nodes that are there are not new for a group that did not follow nodes until now.
        let followed = |name: &str| before.group(name).is_some_and(|group| group.new_nodes);
        for group in self.config.groups().iter().filter(|group| !followed(&group.name)) {
            self.tracker.mark_all_known(group);
        }
        self.notice(Notice::config_applied(&self.config));
        self.start_due_runs(now);
        let listed = self.watches.take_listed();
        self.runner.take_in(listed, now);
        // A selector may take more nodes in than before.
        let names: Vec<String> = self.tracker.nodes().map(|node| node.whole().name.clone()).collect();
        let groups = self.config.groups().iter();
        let pairs: Vec<_> =
            groups.flat_map(|group| names.iter().map(move |name| (group.clone(), name.clone()))).collect();
        self.serve_nodes(&pairs, now);
        let labels = |name: &str| self.config.group(name).is_some_and(|group| group.ready_label);
        for old in before.groups().iter().filter(|group| group.ready_label && !labels(&group.name)) {
            self.readiness.remove_group(&old.name, self.tracker.nodes().map(KnownNode::whole));
        }
        self.watch_only_what_is_needed();
    }

    fn on_namespaces_watched(&mut self, namespaces: std::collections::BTreeSet<String>, now: Now) {
        let listed = self.watches.take_listed();
        self.runner.take_in(listed, now);
        for group in self.config.groups() {
            if namespaces.contains(self.config.namespace_of(group)) {
                self.retries.retry_now(&group.name, now.instant);
            }
        }
        namespaces.into_iter().for_each(|namespace| self.notice(Notice::NamespaceWatched(namespace)));
        self.watch_only_what_is_needed();
    }

    /// Namespaces that are no longer named are followed until nothing of ours is under way there.
    fn watch_only_what_is_needed(&mut self) {
        if self.runs.is_empty() && self.watches.is_settled() {
            let needed = self.config.namespaces();
            if self.watches.keep_only(&needed) {
                self.effects.push(ServeEffect::KeepWatches(needed.into_iter().collect()));
            }
        }
    }

    fn watch(&mut self, purpose: WatchPurpose, namespaces: Vec<String>) {
        let instance = self.config.config().instance.clone();
        self.effects.push(ServeEffect::Watch { purpose, namespaces, instance });
    }

    fn notice(&mut self, notice: Notice) {
        self.effects.push(ServeEffect::Notice(notice));
    }
}

impl Notice {
    pub fn config_applied(config: &ActiveConfig) -> Notice {
        Notice::ConfigApplied { groups: config.groups().len(), hash: config.config().hash.clone() }
    }
}
