//! A runner and its driver, for a process that stays.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::lead::Served;
use crate::clock;
use crate::cluster::{Cluster, Watches};
use crate::driver::Driver;
use crate::outcome::Verdict;
use crate::runner::{Effect, Event, FinishedBatch, JobStep, RunEvent, Runner, RunnerError, RunnerInputs};

/// After a signal: how long answers to requests under way may take.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

pub struct LiveRunner<'a> {
    pub runner: Runner<'a>,
    driver: Driver<'a>,
    served: Rc<RefCell<Vec<Served>>>,
}

impl<'a> LiveRunner<'a> {
    pub fn new(cluster: &'a Cluster, concurrency: usize, served: Rc<RefCell<Vec<Served>>>) -> LiveRunner<'a> {
        let runner = Runner::new(RunnerInputs { concurrency, replace: false });
        LiveRunner { runner, driver: Driver::new(cluster), served }
    }

    /// Waits for the next thing to happen, and takes it in. May be dropped at any point and called again.
    pub async fn turn(&mut self, watches: &mut Watches) -> Option<RunnerError> {
        let effects = self.runner.proceed(clock::now());
        if let Some(error) = self.execute(effects) {
            return Some(error);
        }
        if self.runner.has_finished() {
            return None;
        }
        let timer = Instant::from_std(self.runner.next_timer(clock::now()));
        let event = tokio::select! {
            event = self.driver.next() => event,
            event = watches.next() => RunEvent::Runner(Event::Watch(event)),
            () = sleep_until(timer) => RunEvent::Runner(Event::Timer),
        };
        let RunEvent::Runner(event) = event else { return None };
        let effects = self.runner.on(event, clock::now());
        self.execute(effects)
    }

    fn execute(&mut self, effects: Vec<Effect>) -> Option<RunnerError> {
        let mut failed = None;
        for effect in effects {
            match effect {
                Effect::Step(index, step) => {
                    if let Some(JobStep::Finished(job, outcome)) = self.runner.step(index, step)
                        && let Verdict::Succeeded = outcome.verdict
                    {
                        self.served.borrow_mut().push(Served {
                            group: job.group.name.clone(),
                            content: job.content.clone(),
                            node: job.node.name.clone(),
                            uid: job.node.uid.clone(),
                        });
                    }
                }
                Effect::Fail(error) => failed = failed.or(Some(error)),
                effect => self.driver.execute(effect),
            }
        }
        failed
    }

    /// Waits a moment for the answers to what was sent, and gives every batch with what is known.
    pub async fn leave(mut self) -> Vec<FinishedBatch> {
        self.runner.stop();
        let until = clock::now().instant + SHUTDOWN_GRACE;
        while self.runner.requests() > 0 {
            let event = tokio::select! {
                event = self.driver.next() => event,
                () = sleep_until(Instant::from_std(until)) => break,
            };
            if let RunEvent::Runner(event) = event {
                let effects = self.runner.on(event, clock::now());
                self.execute(effects);
            }
        }
        self.runner.into_batches(clock::now())
    }
}
