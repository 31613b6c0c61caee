//! Looking after the node of a Job that gets nowhere, or that has run into its deadline without a cause.

use tokio::time::Instant;

use super::super::ClusterError;
use super::flight::Look;
use super::{Answer, Runner};
use crate::outcome::Failure;
use crate::plan::JobIndex;

impl Runner<'_> {
    /// Looks after the node of a Job whose pod gets nowhere.
    pub(super) fn look_if_lost(&mut self, index: JobIndex, now: Instant) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        flight.looked_at(now);
        if flight.posted && flight.evidence.is_lost() {
            self.look(index);
        }
    }

    pub(super) fn look(&mut self, index: JobIndex) {
        let cluster = self.cluster;
        let Some(node) = self.batches.job(index).map(|job| job.node.clone()) else { return };
        self.answers.push(Box::pin(async move { Answer::Looked(index, cluster.look_at(&node).await) }));
    }

    pub(super) fn on_looked(&mut self, index: JobIndex, looked: Result<Option<Failure>, ClusterError>) {
        // Also where the Job was judged without this answer: a refusal is believed late.
        if let Err(error) = &looked {
            self.warn_once(format!("cannot look after a node: {error}"));
        }
        let Some(flight) = self.flights.get_mut(&index) else { return };
        if let Ok(failure) = looked {
            flight.evidence.observe_node(failure);
        }
        match (&flight.look, &flight.over) {
            (Look::Last, Some((ending, _))) => {
                let ending = ending.clone();
                flight.look = Look::Done;
                self.conclude(index, ending);
            }
            _ => self.decide(index),
        }
    }
}
