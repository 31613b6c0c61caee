//! Lists what earlier runs have done. What it is good for is `plan`'s to say.

use kube::Api;
use kube::api::ListParams;

use super::error::Access;
use super::watch::SeenJob;
use super::wire::WatchedJob;
use super::{Cluster, ClusterError};
use crate::outcome::{Ending, Verdict, read_annotation};
use crate::plan::CompletedJob;
use crate::render::label;

/// A Job of 20 images is 12 KB of JSON.
const PAGE_SIZE: u32 = 50;

impl Cluster {
    /// The Jobs of `instance` in `namespace` that have put every image there: Complete ones that nobody has
    /// judged otherwise, and those that were ended for another reason once all was there. A
    /// list that outlives the API server's history gives what came until then.
    pub async fn list_completed(
        &self,
        namespace: &str,
        instance: &str,
    ) -> Result<Vec<CompletedJob>, ClusterError> {
        let jobs = Api::<WatchedJob>::namespaced(self.client.clone(), namespace);
        let ours =
            format!("{}={},{}={instance}", label::MANAGED_BY, label::MANAGED_BY_VALUE, label::INSTANCE);
        let mut params = ListParams::default().labels(&ours).limit(PAGE_SIZE);
        let mut completed = Vec::new();
        loop {
            let page = match self.patiently(|| jobs.list(&params)).await {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 410 => return Ok(completed),
                Err(error) => {
                    let access = Access { verb: "list", resource: "jobs.batch", namespace: Some(namespace) };
                    return Err(ClusterError::from_kube(&self.server, access, &error));
                }
            };
            let seen = page.items.iter().filter_map(SeenJob::new);
            completed.extend(seen.filter_map(completed_job));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(completed);
            }
        }
    }
}

fn completed_job(job: SeenJob) -> Option<CompletedJob> {
    let SeenJob { key: (namespace, name), group, run_id, node, content, note, facts, .. } = job;
    let is_done = match note.as_deref() {
        None => facts.ending() == Some(Ending::Complete),
        Some(note) => read_annotation(note, std::iter::empty())
            .is_some_and(|outcome| outcome.verdict == Verdict::Succeeded),
    };
    is_done.then_some(CompletedJob { namespace, name, group, node, run_id, content })
}
