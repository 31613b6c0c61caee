//! Groups that cannot go on, beside others that can: their namespace is missing, or is not ours to work in.

use std::collections::BTreeSet;

use super::super::ClusterError;
use super::{Runner, Trouble};

/// Batches of one run that were given up, and why.
#[derive(Debug, Default)]
pub struct Lost(BTreeSet<usize>);

impl Lost {
    /// Takes the batches that `trouble` is about out of the run. Gives its error back where no other batch
    /// is left that has Jobs: then the run itself cannot go on.
    pub fn add(&mut self, runner: &mut Runner<'_>, trouble: Trouble) -> Option<ClusterError> {
        let lost: Vec<usize> = match trouble.error.namespace() {
            Some(_) => runner.give_up_batches_of(&trouble),
            None => return Some(trouble.error),
        };
        let new: Vec<usize> = lost.into_iter().filter(|number| self.0.insert(*number)).collect();
        let goes_on = runner
            .batches
            .iter()
            .any(|(number, batch)| !self.0.contains(&number) && !batch.planned.jobs.is_empty());
        if !goes_on {
            return Some(trouble.error);
        }
        for batch in new.into_iter().filter_map(|number| runner.batches.get(number)) {
            tracing::error!("group {:?} is given up: {}", batch.planned.group.name, trouble.error);
        }
        None
    }
}

impl Runner<'_> {
    /// Nothing more is created for the batches that `trouble` is about, which are returned: none where it is
    /// about all of them. What is live is followed to its end.
    pub fn give_up_batches_of(&mut self, trouble: &Trouble) -> Vec<usize> {
        let Trouble { batch, error } = trouble;
        let numbers: Vec<usize> = match (batch, error.namespace()) {
            (Some(number), _) => vec![*number],
            (None, Some(namespace)) => {
                // All Jobs of a group are in one namespace.
                let in_it = self.batches.iter().filter(|(_, batch)| {
                    batch.planned.jobs.first().is_some_and(|job| job.namespace == namespace)
                });
                in_it.map(|(number, _)| number).collect()
            }
            (None, None) => Vec::new(),
        };
        let failure = error.failure();
        for number in &numbers {
            self.give_up(*number, &failure);
        }
        numbers
    }
}
