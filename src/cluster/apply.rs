//! Creates a Job, or recognises the one that an earlier try of ours has created.
//!
//! Create-only: a POST can never change an object of somebody else, as a forced server-side apply
//! would. A name that is taken is looked at once, and adopted only if instance and content are ours.

use http_body_util::BodyExt;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::error::{Access, api_status, call_error, describe, refusal};
use super::refusal::{is_access_refused, is_object_refused};
use super::watch::observed_job;
use super::wire::WatchedJob;
use super::{Cluster, ClusterError};
use crate::outcome::{Failure, Reason, is_of_quota};
use crate::render::Manifest;
use crate::render::label::{self, annotation};
use crate::runner::{AppliedJob, ApplyError, FoundJob};
use crate::watch_event::{ENDED_BY_US_SECONDS, JobKey};

pub(super) const FIELD_MANAGER: &str = "quayctl-controller";

/// Whether anything is kept of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Create,
    DryRun,
}

impl Cluster {
    /// Creates `manifest`'s Job, strictly validated; or, as a dry run, asks whether it would be.
    pub async fn apply(&self, manifest: &Manifest, mode: Mode) -> Result<AppliedJob, ApplyError> {
        let (namespace, name) = (&manifest.job.namespace, &manifest.job.name);
        let body = serde_json::to_vec(&manifest.body).map_err(|e| refused(Reason::ApiError, &e))?;
        let mut tries = 0;
        let post = || {
            tries += 1;
            self.post_job(namespace, body.clone(), mode)
        };
        let error = match self.patiently(post).await {
            Ok(warnings) => return Ok(AppliedJob { adopted: None, first_try: true, warnings }),
            Err(error) => error,
        };
        match api_status(&error) {
            Some(status) if status.is_already_exists() => {
                let found = self.adopt(manifest).await?;
                let adopted = observed_job(&found).map(Box::new);
                Ok(AppliedJob { adopted, first_try: tries == 1, warnings: Vec::new() })
            }
            // The only thing in the path that can be missing: Jobs are in every cluster.
            Some(status) if status.code == 404 => {
                Err(ApplyError::Cluster(ClusterError::NamespaceMissing(namespace.clone())))
            }
            Some(status) if is_access_refused(status) => {
                Err(ApplyError::Cluster(self.refusal(namespace, &error)))
            }
            Some(status) if is_object_refused(status) => {
                let reason = if is_of_quota(&status.message) { Reason::Quota } else { Reason::Forbidden };
                Err(refused(reason, &status.message))
            }
            // These are of `retry`, a gateway or an API server in trouble: nobody knows what became of it.
            Some(status) if !matches!(status.code, 500 | 502..=504) => {
                Err(refused(Reason::ApiError, &describe(&error)))
            }
            Some(_) | None => {
                let message = format!("creating Job {name} failed: {}", describe(&error));
                Err(ApplyError::Unanswered(Failure::new(Reason::ApiError, message)))
            }
        }
    }

    /// Ends a live Job early, or only leaves a note on one that is over; never deletes. The pod
    /// goes, the Job ends as failed and stays readable until its TTL.
    pub async fn annotate_outcome(
        &self,
        (namespace, name): &JobKey,
        outcome: String,
        end_now: bool,
    ) -> Result<(), ClusterError> {
        let mut patch = json!({"metadata": {"annotations": {annotation::OUTCOME: outcome}}});
        if end_now {
            patch["spec"] = json!({"activeDeadlineSeconds": ENDED_BY_US_SECONDS});
        }
        let jobs = Api::<WatchedJob>::namespaced(self.client.clone(), namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&patch);
        match self.patiently(|| jobs.patch(name, &params, &patch)).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let access = Access { verb: "patch", resource: "jobs.batch", namespace: Some(namespace) };
                Err(call_error(&self.server, access, &error))
            }
        }
    }

    /// The Job of this name, whoever's it is; `None` where there is none.
    pub async fn read_job(
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
                return Err(call_error(&self.server, access, &error));
            }
        };
        let labels = found.metadata.labels.as_ref();
        let label_is = |key: &str, value: &str| labels.and_then(|l| l.get(key)).is_some_and(|v| v == value);
        let is_ours =
            label_is(label::MANAGED_BY, label::MANAGED_BY_VALUE) && label_is(label::INSTANCE, instance);
        Ok(observed_job(&found).map(|job| FoundJob { job: Box::new(job), is_ours }))
    }

    /// Deletes a Job and its pods; one that is gone already is fine.
    pub async fn delete(&self, namespace: &str, name: &str) -> Result<(), ClusterError> {
        let jobs = Api::<WatchedJob>::namespaced(self.client.clone(), namespace);
        // The API server's own default for Jobs leaves their pods behind.
        let background = DeleteParams::background();
        match self.patiently(|| jobs.delete(name, &background)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => {
                let access = Access { verb: "delete", resource: "jobs.batch", namespace: Some(namespace) };
                Err(call_error(&self.server, access, &error))
            }
        }
    }

    /// `Api::create` can neither ask for strict validation nor show `Warning` headers (kube 5.0), so
    /// the request is made by hand.
    async fn post_job(&self, namespace: &str, body: Vec<u8>, mode: Mode) -> Result<Vec<String>, kube::Error> {
        let dry_run = if mode == Mode::DryRun { "&dryRun=All" } else { "" };
        let path = format!(
            "/apis/batch/v1/namespaces/{namespace}/jobs?fieldManager={FIELD_MANAGER}&fieldValidation=Strict{dry_run}"
        );
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .map_err(kube::Error::HttpError)?;
        let response = self.client.send(request).await?;
        let code = response.status();
        if code.is_success() {
            let headers = response.headers().get_all(http::header::WARNING);
            return Ok(headers.iter().filter_map(|value| warning_text(value.to_str().ok()?)).collect());
        }
        let body = response.into_body().collect().await?.to_bytes();
        Err(refusal(code, &body))
    }

    async fn adopt(&self, manifest: &Manifest) -> Result<WatchedJob, ApplyError> {
        let job = &manifest.job;
        let jobs = Api::<WatchedJob>::namespaced(self.client.clone(), &job.namespace);
        let found = self.patiently(|| jobs.get(&job.name)).await.map_err(|error| {
            let access = Access { verb: "get", resource: "jobs.batch", namespace: Some(&job.namespace) };
            match call_error(&self.server, access, &error) {
                error @ ClusterError::Forbidden { .. } => ApplyError::Cluster(error),
                error => refused(Reason::ApiError, &error),
            }
        })?;
        let meta = &found.metadata;
        let label_is = |key: &str, value: &str| {
            meta.labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
        };
        let ours = label_is(label::MANAGED_BY, label::MANAGED_BY_VALUE)
            && label_is(label::INSTANCE, &job.identity.instance);
        let content = meta.annotations.as_ref().and_then(|a| a.get(annotation::CONTENT));
        if !ours {
            let message = format!("a Job {} that is not ours is in the way", job.name);
            return Err(refused(Reason::NameTaken, &message));
        }
        if content.map(String::as_str) != Some(&*job.content) {
            let message = format!("a Job {} of ours with other content is in the way", job.name);
            return Err(refused(Reason::NameTaken, &message));
        }
        Ok(found)
    }

    fn refusal(&self, namespace: &str, error: &kube::Error) -> ClusterError {
        let access = Access { verb: "create", resource: "jobs.batch", namespace: Some(namespace) };
        call_error(&self.server, access, error)
    }
}

fn refused(reason: Reason, message: &dyn std::fmt::Display) -> ApplyError {
    ApplyError::Refused(Failure { reason, message: message.to_string() })
}

/// The text of `299 - "text"` (RFC 7234 §5.5, as the API server writes it).
fn warning_text(header: &str) -> Option<String> {
    let (_, quoted) = header.split_once('"')?;
    let (text, _) = quoted.rsplit_once('"')?;
    Some(text.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[cfg(test)]
mod tests {
    use super::warning_text;

    #[test]
    fn warning_headers_give_their_text() {
        for (header, text) in [
            (r#"299 - "unknown field \"spec.x\"""#, Some(r#"unknown field "spec.x""#)),
            (r#"299 - """#, Some("")),
            ("299 - plain", None),
            ("\"", None),
            ("", None),
        ] {
            assert_eq!(warning_text(header).as_deref(), text, "{header}");
        }
    }
}
