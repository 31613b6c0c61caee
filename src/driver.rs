//! Executes what a [`Runner`](crate::runner::Runner) wants done against a cluster, and brings the answers back.
//!
//! One task, one loop: it alone holds the state of a run, so nothing needs a lock. It decides nothing.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::cluster::{Cluster, Mode, Watches};
use crate::runner::{
    DEADLINE_GRACE, Effect, Event, JobStep, LogLevel, RETRY_TIMEOUT, RunEnd, RunEvent, RunInputs, RunStart,
    SingleRun,
};

/// What has been asked of a cluster and is not answered yet.
#[expect(missing_debug_implementations, reason = "it holds futures")]
pub struct Driver<'a> {
    cluster: &'a Cluster,
    answers: FuturesUnordered<BoxFuture<'a, RunEvent>>,
    /// How often the API server had asked us to slow down.
    throttled: u64,
}

impl<'a> Driver<'a> {
    pub fn new(cluster: &'a Cluster) -> Driver<'a> {
        Driver { cluster, answers: FuturesUnordered::new(), throttled: cluster.throttled() }
    }

    /// Does what is asked. Steps and errors are the caller's.
    pub fn execute(&mut self, effect: Effect) {
        let cluster = self.cluster;
        let answer: BoxFuture<'a, RunEvent> = match effect {
            Effect::Create { index, manifest } => Box::pin(async move {
                let key = (manifest.job.namespace.clone(), manifest.job.name.clone());
                let result = cluster.apply(&manifest, Mode::Create).await;
                RunEvent::Runner(Event::Created { index, key, result, throttled: false })
            }),
            Effect::Annotate { index, key, outcome, end_now } => Box::pin(async move {
                let result = cluster.annotate_outcome(&key, outcome, end_now).await;
                RunEvent::Runner(Event::Annotated { index, result })
            }),
            Effect::ReadJob { index, key, instance } => Box::pin(async move {
                let result = cluster.read_job(&key, &instance).await;
                RunEvent::Runner(Event::JobRead { index, key, result })
            }),
            Effect::ReadNode { index, node } => Box::pin(async move {
                RunEvent::Runner(Event::NodeRead { index, result: cluster.read_node(&node).await })
            }),
            Effect::ProbeServer => Box::pin(async move {
                let answers = timeout(DEADLINE_GRACE, cluster.answers()).await.unwrap_or(false);
                let last_answer = cluster.request_metrics().last_answer(clock::now().instant, RETRY_TIMEOUT);
                RunEvent::ServerProbed { answers, last_answer }
            }),
            Effect::RecordFailure(failure) => return cluster.record_failure(failure),
            Effect::Log(level, text) => return log(level, &text),
            Effect::Step(..) | Effect::Fail(_) => return,
        };
        self.answers.push(answer);
    }

    /// The next answer; waits for ever where none is due.
    pub async fn next(&mut self) -> RunEvent {
        let mut answer = match self.answers.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        };
        if let RunEvent::Runner(Event::Created { throttled, .. }) = &mut answer {
            let before = std::mem::replace(&mut self.throttled, self.cluster.throttled());
            *throttled = self.throttled > before;
        }
        answer
    }
}

fn log(level: LogLevel, text: &str) {
    match level {
        LogLevel::Error => tracing::error!("{text}"),
        LogLevel::Warn => tracing::warn!("{text}"),
        LogLevel::Info => tracing::info!("{text}"),
    }
}

/// Runs a whole plan to its end, or until `stop` is cancelled. `on_step` is told of each Job's steps.
pub async fn run(
    cluster: &Cluster,
    mut watches: Watches,
    inputs: RunInputs<'_>,
    stop: CancellationToken,
    mut on_step: impl FnMut(JobStep<'_>),
) -> RunEnd {
    let mut driver = Driver::new(cluster);
    let start = RunStart {
        listed: watches.take_listed(),
        forbidden: watches.forbidden().values().cloned().collect(),
        server: cluster.server.clone(),
    };
    let (mut run, mut effects) = SingleRun::new(inputs, start, clock::now());
    let mut stopped = false;
    loop {
        let now = clock::now();
        let is_over = run.is_over(now);
        if is_over {
            effects.extend(run.abandon(now));
        }
        for effect in effects {
            if let Effect::Step(index, step) = effect {
                run.runner().step(index, step).into_iter().for_each(&mut on_step);
            }
            driver.execute(effect);
        }
        if is_over {
            return run.into_end(now);
        }
        let timer = Instant::from_std(run.next_timer(now));
        let event = tokio::select! {
            biased;
            () = stop.cancelled(), if !stopped => {
                stopped = true;
                RunEvent::Stop
            }
            event = async {
                // Fair: a watch that never rests must not keep a timer from its turn.
                tokio::select! {
                    event = driver.next() => event,
                    event = watches.next() => RunEvent::Runner(Event::Watch(event)),
                    () = sleep_until(timer) => RunEvent::Runner(Event::Timer),
                }
            } => event,
        };
        effects = run.on(event, clock::now());
    }
}

#[cfg(test)]
mod tests;
