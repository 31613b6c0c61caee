//! Questions about one Job or one node where the watches do not tell: a Job whose end was not heard of,
//! and a node whose Job gets nowhere or has run into its deadline without a cause.

use kube::Api;
use tokio::time::Instant;

use super::super::error::{Access, api_status};
use super::super::nodes::NodeState;
use super::super::watch::{JobKey, SeenJob};
use super::super::wire::WatchedJob;
use super::super::{Cluster, ClusterError};
use super::flight::{Due, Look, Search};
use super::{Answer, Runner};
use crate::config::{ImageRef, PullPolicy};
use crate::outcome::Ending;
use crate::plan::{JobIndex, PlannedJob};
use crate::render::label;

/// A Job that was asked for by name.
#[derive(Debug)]
pub struct FoundJob {
    pub job: Box<SeenJob>,
    /// It bears both of the labels without which nothing is ever changed.
    pub is_ours: bool,
}

impl Cluster {
    /// The Job of this name, whoever's it is; `None` where there is none.
    pub(super) async fn find_job(
        &self,
        (namespace, name): &JobKey,
        instance: &str,
    ) -> Result<Option<FoundJob>, ClusterError> {
        let jobs = Api::<WatchedJob>::namespaced(self.client.clone(), namespace);
        let found = match self.patiently(|| jobs.get(name)).await {
            Ok(found) => found,
            Err(error) if api_status(&error).is_some_and(|status| status.is_not_found()) => return Ok(None),
            Err(error) => {
                let access = Access { verb: "get", resource: "jobs.batch", namespace: Some(namespace) };
                return Err(ClusterError::from_kube(&self.server, access, &error));
            }
        };
        let labels = found.metadata.labels.as_ref();
        let label_is = |key: &str, value: &str| labels.and_then(|l| l.get(key)).is_some_and(|v| v == value);
        let is_ours =
            label_is(label::MANAGED_BY, label::MANAGED_BY_VALUE) && label_is(label::INSTANCE, instance);
        Ok(SeenJob::new(&found).map(|job| FoundJob { job: Box::new(job), is_ours }))
    }
}

impl Runner<'_> {
    /// Asks for the Job itself.
    pub(super) fn search(&mut self, index: JobIndex, search: Search) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        let Some(job) = self.batches.job(index) else { return };
        flight.begin_search(search, Instant::now());
        let (cluster, key, identity) = (self.cluster, flight.key.clone(), job.identity.clone());
        self.answers.push(Box::pin(async move {
            let found = cluster.find_job(&key, &identity.instance).await;
            Answer::Found(index, key, found)
        }));
    }

    pub(super) fn on_found(
        &mut self,
        index: JobIndex,
        key: &JobKey,
        found: Result<Option<FoundJob>, ClusterError>,
    ) {
        if let Err(error) = &found {
            self.warn_once(format!("cannot ask for a Job that was not heard of: {error}"));
        }
        let Some(flight) = self.flights.get_mut(&index).filter(|flight| flight.key == *key) else { return };
        let now = Instant::now();
        match found {
            _ if flight.over.is_some() => flight.search = Search::Done,
            // Another one of its name is not the one that was followed.
            Ok(Some(found)) if flight.uid.is_empty() || flight.uid == found.job.uid => {
                flight.end_search(now);
                flight.disowned = !found.is_ours;
                self.on_job(index, *found.job);
                self.warn_of_lost_label(index);
            }
            _ if !flight.posted => {
                flight.search = Search::Done;
                flight.until = now;
            }
            Err(_) if flight.search == Search::Unheard => {
                flight.search = Search::Done;
                flight.until = now;
            }
            Ok(_) | Err(_) => {
                flight.search = Search::Done;
                flight.mark_over(Ending::JobDeleted, now);
            }
        }
        match self.flights.get(&index).and_then(|flight| flight.due(now)) {
            // Asked, and found as it was.
            Some(Due::End(ending)) => self.give_up_on(index, ending),
            _ => self.decide(index),
        }
    }

    /// Nobody asks once more.
    fn give_up_on(&mut self, index: JobIndex, ending: Ending) {
        if let Some(flight) = self.flights.get_mut(&index) {
            flight.search = Search::Done;
        }
        self.conclude(index, ending);
    }

    fn warn_of_lost_label(&mut self, index: JobIndex) {
        let Some(flight) = self.flights.get(&index).filter(|flight| flight.disowned) else { return };
        let (namespace, name) = &flight.key;
        let (managed_by, instance) = (label::MANAGED_BY, label::INSTANCE);
        self.warn_once(format!(
            "Job {name} in namespace {namespace:?} has lost the label {managed_by} or {instance}: it is followed by its \
             pod and not changed any more"
        ));
    }

    /// Looks after the node of a Job whose pod gets nowhere.
    pub(super) fn look_if_lost(&mut self, index: JobIndex, now: Instant) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        flight.looked_at(now);
        if flight.posted && flight.suspended.is_none() && flight.evidence.is_lost() {
            self.look(index);
        }
    }

    pub(super) fn look(&mut self, index: JobIndex) {
        let cluster = self.cluster;
        let Some(node) = self.batches.job(index).map(|job| job.node.clone()) else { return };
        self.answers.push(Box::pin(async move { Answer::Looked(index, cluster.look_at(&node).await) }));
    }

    pub(super) fn on_looked(&mut self, index: JobIndex, looked: Result<NodeState, ClusterError>) {
        // Also where the Job was judged without this answer: a refusal is believed late.
        if let Err(error) = &looked {
            self.warn_once(format!("cannot look after a node: {error}"));
        }
        let Some(flight) = self.flights.get_mut(&index) else { return };
        if let Ok(NodeState { failure, images }) = looked {
            let job = self.batches.job(index).filter(|_| failure.is_none());
            if let (Look::Last, Some(job)) = (&flight.look, job) {
                let listed: Vec<bool> =
                    job.group.images.iter().map(|image| lists(job, &images, image)).collect();
                flight.evidence.observe_node_images(&listed);
            }
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

/// Whether a node with `images` has what `job` was to bring: a tag that is always to be asked for anew
/// may be there as it was before.
fn lists(job: &PlannedJob, images: &[String], image: &ImageRef) -> bool {
    let may_be_old = job.group.pull_policy == PullPolicy::Always && image.digest.is_empty();
    !may_be_old && images.iter().any(|name| image.is_called(name))
}
