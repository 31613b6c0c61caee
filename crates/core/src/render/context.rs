//! What a template sees of a planned Job: the names of design "Template data", nothing more.
//! Pure; decides nothing, and never hands out a secret, because the config holds only their names.

use serde_json::{Value, json};

use crate::config::{Group, ImageRef};
use crate::plan::{Node, PlannedJob, TemplateChoice};

use super::RenderError;

/// Carries image volumes where nobody configured a carrier. It runs as a numeric user that is not
/// root, and with `-v` it prints its version and ends; it cannot serve the template `helper`.
pub const DEFAULT_CARRIER_IMAGE: &str = "registry.k8s.io/pause:3.10.1";

/// The image that carries this Job's pulls, as a reference.
pub fn carrier_image(job: &PlannedJob) -> Result<String, RenderError> {
    match (&job.group.carrier_image, &job.template) {
        (Some(image), _) => Ok(image.to_string()),
        (None, TemplateChoice::Helper) => Err(RenderError::NoCarrierImage { group: job.group.name.clone() }),
        (None, TemplateChoice::ImageVolume | TemplateChoice::Quayctl | TemplateChoice::User(_)) => {
            Ok(DEFAULT_CARRIER_IMAGE.to_owned())
        }
    }
}

pub(super) fn context(job: &PlannedJob, carrier_image: &str) -> Value {
    // Destructured without `..`: a new key of a group is either for templates or it is not, and
    // somebody should decide.
    let Group {
        name,
        images,
        node_selector: _,
        tolerations: _,
        concurrency: _,
        deadline_seconds,
        namespace: _,
        template: _,
        pull_policy,
        pull_secrets,
        service_account,
        keep_jobs_seconds: _,
        carrier_image: _,
        schedule: _,
        time_zone: _,
        overlap: _,
        catch_up: _,
        catch_up_limit_seconds: _,
        run_on_change: _,
        new_nodes: _,
        ready_label: _,
        remove_taint: _,
        job_labels: _,
        job_annotations: _,
        values,
    } = &*job.group;
    json!({
        "group": name,
        "node": node(&job.node),
        "images": images.iter().enumerate().map(image).collect::<Vec<_>>(),
        "namespace": job.namespace,
        "instance": job.identity.instance,
        "run_id": job.identity.run_id,
        "deadline_seconds": deadline_seconds,
        "pull_policy": pull_policy.as_str(),
        "pull_secrets": pull_secrets,
        "service_account": service_account,
        "carrier_image": carrier_image,
        "values": values,
    })
}

fn node(node: &Node) -> Value {
    json!({
        "name": node.name,
        "uid": node.uid,
        "labels": node.labels,
        "os": node.os,
        "arch": node.arch,
        "kubelet_version": node.kubelet_version,
        "container_runtime": node.container_runtime,
    })
}

fn image((index, image): (usize, &ImageRef)) -> Value {
    json!({
        "reference": image.to_string(),
        "registry": image.registry,
        "repository": image.repository,
        "tag": image.tag,
        "digest": image.digest,
        "index": index,
    })
}
