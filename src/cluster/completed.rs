//! Lists what earlier runs have done. What it is good for is `plan`'s to say.

use kube::Api;
use kube::api::ListParams;

use super::error::{Access, call_error};
use super::watch::observed_job;
use super::wire::WatchedJob;
use super::{Cluster, ClusterError};
use crate::outcome::{Ending, Verdict, read_annotation};
use crate::plan::{CompletedJob, TimedJob};
use crate::render::label;
use crate::watch_event::ObservedJob;

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
        self.list_earlier(namespace, instance, |job| completed_job(observed_job(job)?)).await
    }

    /// What the Jobs of `instance` in `namespace` took that are Complete, or that ran into their deadline. A
    /// list that outlives the API server's history gives what came until then.
    pub async fn list_timed(&self, namespace: &str, instance: &str) -> Result<Vec<TimedJob>, ClusterError> {
        self.list_earlier(namespace, instance, timed_job).await
    }

    async fn list_earlier<T>(
        &self,
        namespace: &str,
        instance: &str,
        keep: impl Fn(&WatchedJob) -> Option<T>,
    ) -> Result<Vec<T>, ClusterError> {
        let jobs = Api::<WatchedJob>::namespaced(self.client.clone(), namespace);
        let ours =
            format!("{}={},{}={instance}", label::MANAGED_BY, label::MANAGED_BY_VALUE, label::INSTANCE);
        let mut params = ListParams::default().labels(&ours).limit(PAGE_SIZE);
        let mut kept = Vec::new();
        loop {
            let page = match self.patiently(|| jobs.list(&params)).await {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 410 => return Ok(kept),
                Err(error) => {
                    let access = Access { verb: "list", resource: "jobs.batch", namespace: Some(namespace) };
                    return Err(call_error(&self.server, access, &error));
                }
            };
            kept.extend(page.items.iter().filter_map(&keep));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(kept);
            }
        }
    }
}

fn completed_job(job: ObservedJob) -> Option<CompletedJob> {
    let ObservedJob { key: (namespace, name), group, run_id, node, content, annotation, facts, .. } = job;
    let is_done = match annotation.as_deref() {
        None => facts.ending() == Some(Ending::Complete),
        Some(annotation) => read_annotation(annotation, std::iter::empty())
            .is_some_and(|outcome| outcome.verdict == Verdict::Succeeded),
    };
    is_done.then_some(CompletedJob { namespace, name, group, node, run_id, content })
}

fn timed_job(job: &WatchedJob) -> Option<TimedJob> {
    let seen = observed_job(job)?;
    let seconds = match seen.facts.ending()? {
        Ending::Complete => {
            let (start, end) = (job.status.start_time.as_ref()?, job.status.completion_time.as_ref()?);
            u32::try_from(end.0.duration_since(start.0).as_secs()).ok()?
        }
        _ if seen.has_run_into_its_deadline() => seen.deadline_seconds,
        _ => return None,
    };
    let ran_into_deadline = seen.facts.ending() != Some(Ending::Complete);
    let ObservedJob { key: (namespace, name), group, .. } = seen;
    Some(TimedJob { namespace, name, group, seconds, ran_into_deadline })
}
