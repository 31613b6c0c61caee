//! Questions that change nothing: may I, is it there, would you take it.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::{DynamicObject, GetParams, PostParams};
use kube::core::{ApiResource, PartialObjectMeta, Request};
use serde_json::Value;

use super::error::{Access, api_status, call_error, describe};
use super::{Cluster, ClusterError};
use crate::outcome::with_admission_help;
use crate::render::Manifest;

/// One verb on one resource.
#[derive(Clone, Copy, Debug)]
pub struct Permission<'a> {
    pub verb: &'static str,
    /// "" for the core group.
    pub group: &'static str,
    pub resource: &'static str,
    /// `None` for all of them.
    pub name: Option<&'a str>,
    /// `None` for the whole cluster.
    pub namespace: Option<&'a str>,
}

impl Cluster {
    /// Whether whoever we are may do it. Everybody may ask.
    pub async fn can_i(&self, permission: &Permission<'_>) -> Result<bool, ClusterError> {
        let Permission { verb, group, resource, name, namespace } = *permission;
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            name: name.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let reviews = Api::<SelfSubjectAccessReview>::all(self.client.clone());
        let params = PostParams::default();
        match self.patiently(|| reviews.create(&params, &review)).await {
            Ok(review) => Ok(review.status.is_some_and(|status| status.allowed)),
            Err(error) => {
                let access = Access { verb: "create", resource: "selfsubjectaccessreviews", namespace: None };
                Err(call_error(&self.server, access, &error))
            }
        }
    }

    /// `None` where we may not look: that says nothing about the namespace.
    pub async fn namespace_exists(&self, name: &str) -> Result<Option<bool>, ClusterError> {
        // Asked first: a refusal is not believed before it has been repeated for a while.
        let permission =
            Permission { verb: "get", group: "", resource: "namespaces", name: Some(name), namespace: None };
        if !self.can_i(&permission).await? {
            return Ok(None);
        }
        let get = || async {
            let request = Request::new("/api/v1/namespaces").get(name, &GetParams::default());
            let request = request.map_err(kube::Error::BuildRequest)?;
            self.client.request::<PartialObjectMeta>(request).await
        };
        match self.patiently(get).await {
            Ok(_) => Ok(Some(true)),
            Err(error) => match api_status(&error) {
                Some(status) if status.is_not_found() => Ok(Some(false)),
                Some(status) if status.is_forbidden() => Ok(None),
                _ => {
                    let access = Access { verb: "get", resource: "namespaces", namespace: Some(name) };
                    Err(call_error(&self.server, access, &error))
                }
            },
        }
    }

    /// Whether the Secret is there; `None` where we may not look. Neither its data nor its type is asked
    /// for, and of the metadata that comes nothing is kept: `kubectl apply` leaves all of a Secret in an
    /// annotation.
    pub async fn secret_exists(&self, namespace: &str, name: &str) -> Result<Option<bool>, ClusterError> {
        let permission = Permission {
            verb: "get",
            group: "",
            resource: "secrets",
            name: Some(name),
            namespace: Some(namespace),
        };
        if !self.can_i(&permission).await? {
            return Ok(None);
        }
        let get = || async {
            let request = secret_metadata(namespace, name).map_err(kube::Error::BuildRequest)?;
            self.client.request::<Nothing>(request).await
        };
        match self.patiently(get).await {
            Ok(Nothing {}) => Ok(Some(true)),
            Err(error) => match api_status(&error) {
                Some(status) if status.is_not_found() => Ok(Some(false)),
                Some(status) if status.is_forbidden() => Ok(None),
                _ => {
                    let access = Access { verb: "get", resource: "secrets", namespace: Some(namespace) };
                    Err(call_error(&self.server, access, &error))
                }
            },
        }
    }

    /// Why the API server would not take the pod that the Job controller makes of this Job; `None`
    /// where it would. Pod Security, LimitRanges and quotas act on pods and not on Jobs.
    pub async fn pod_refusal(&self, manifest: &Manifest) -> Result<Option<String>, ClusterError> {
        let taken = self.dry_run_of_pod(&manifest.job.namespace, manifest.pod()).await?;
        Ok(taken.err())
    }

    /// The pod as admission would leave it, or why it would not be taken.
    pub(super) async fn dry_run_of_pod(
        &self,
        namespace: &str,
        pod: Value,
    ) -> Result<Result<Value, String>, ClusterError> {
        let Ok(pod) = serde_json::from_value::<DynamicObject>(pod) else {
            return Ok(Err("it is no object".to_owned()));
        };
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
        let pods = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        let params = PostParams { dry_run: true, ..PostParams::default() };
        match self.patiently(|| pods.create(&params, &pod)).await {
            Ok(taken) => Ok(Ok(taken.data)),
            Err(error) => match api_status(&error) {
                Some(status) if matches!(status.code, 400 | 403 | 409 | 422) => {
                    Ok(Err(with_admission_help(&describe(&error)).into_owned()))
                }
                _ => {
                    let access = Access { verb: "create", resource: "pods", namespace: Some(namespace) };
                    Err(call_error(&self.server, access, &error))
                }
            },
        }
    }
}

/// An answer that was one, and is not looked at.
#[derive(serde::Deserialize)]
struct Nothing {}

/// Asks for a Secret's metadata alone: the API server leaves out the rest, or refuses.
fn secret_metadata(
    namespace: &str,
    name: &str,
) -> Result<http::Request<Vec<u8>>, kube::core::request::Error> {
    let secrets = Request::new(format!("/api/v1/namespaces/{namespace}/secrets"));
    secrets.get_metadata(name, &GetParams::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_secret_only_metadata_is_asked_for() {
        let request = secret_metadata("team-a", "registry").unwrap();
        assert_eq!(request.uri(), "/api/v1/namespaces/team-a/secrets/registry");
        let accepted: Vec<&str> =
            request.headers().get_all("accept").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(accepted, ["application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"]);
    }
}
