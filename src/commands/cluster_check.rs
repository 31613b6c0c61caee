//! `check --cluster`: what a run would need of the cluster, asked without changing anything.

use std::collections::BTreeSet;

use super::plan::plan_over;
use super::{CommandError, NO_CLUSTER, SUCCESS, USAGE, connect_options, write_stderr};
use crate::cli::{GlobalArgs, Selection};
use crate::cluster::{ApplyError, Cluster, Permission};
use crate::config::load::Loaded;
use crate::outcome::Failure;
use crate::plan::{Plan, PlannedJob, RunId};
use crate::render::Renderer;

/// What a run does in each namespace of Jobs. `deploy/rbac.yaml` grants the same.
const IN_NAMESPACE: [(&str, &str, &str); 9] = [
    ("create", "batch", "jobs"),
    ("get", "batch", "jobs"),
    ("list", "batch", "jobs"),
    ("watch", "batch", "jobs"),
    ("patch", "batch", "jobs"),
    ("list", "", "pods"),
    ("watch", "", "pods"),
    ("list", "", "events"),
    ("watch", "", "events"),
];
const IN_CLUSTER: [(&str, &str, &str); 2] = [("get", "", "nodes"), ("list", "", "nodes")];

/// Prints what was found to stderr. The exit code: 3 where a permission or a namespace is missing, 2
/// where the cluster does not take a Job or its pod.
pub async fn ask(global: &GlobalArgs, loaded: &Loaded, renderer: &Renderer) -> Result<u8, CommandError> {
    let cluster = Cluster::connect(&connect_options(global, loaded)).await?;
    let default_namespace = cluster.default_namespace.clone();
    let groups = loaded.config.groups.iter();
    let configured = loaded.config.namespace.clone().unwrap_or_else(|| default_namespace.clone());
    let namespaces: BTreeSet<String> =
        groups.map(|group| group.namespace.clone().unwrap_or_else(|| configured.clone())).collect();

    let mut missing = permissions(&cluster, &namespaces).await?;
    for namespace in &namespaces {
        if cluster.namespace_exists(namespace).await? == Some(false) {
            missing = true;
            write_stderr(&format!("namespace {namespace:?} does not exist; create it\n"));
        }
    }
    if missing {
        return Ok(NO_CLUSTER);
    }
    let nodes = cluster.list_nodes(None).await?;
    let selection = Selection::default();
    let plan = plan_over(loaded, &selection, nodes, RunId::render(), default_namespace)?;
    let mut refused = false;
    for job in one_of_each(&plan) {
        refused |= !taken(&cluster, renderer, job).await?;
    }
    Ok(if refused { USAGE } else { SUCCESS })
}

/// Prints a table of verbs; true where one is missing.
async fn permissions(cluster: &Cluster, namespaces: &BTreeSet<String>) -> Result<bool, CommandError> {
    let everywhere = IN_CLUSTER.iter().map(|permission| (*permission, None));
    let within = namespaces.iter().flat_map(|namespace| {
        IN_NAMESPACE.iter().map(move |permission| (*permission, Some(namespace.as_str())))
    });
    let mut missing = false;
    for ((verb, group, resource), namespace) in everywhere.chain(within) {
        let allowed = cluster.may(&Permission { verb, group, resource, namespace }).await?;
        missing |= !allowed;
        let place =
            namespace.map_or("the whole cluster".to_owned(), |namespace| format!("namespace {namespace}"));
        let answer = if allowed { "yes" } else { "NO " };
        write_stderr(&format!("{answer}  {verb:<6} {resource:<6} in {place}\n"));
    }
    Ok(missing)
}

/// One Job of each template of each group: what differs between nodes is not admission's business.
fn one_of_each(plan: &Plan) -> impl Iterator<Item = &PlannedJob> {
    plan.groups.iter().flat_map(|planned| {
        let mut seen = BTreeSet::new();
        planned.jobs.iter().filter(move |job| seen.insert(job.template.as_str().to_owned()))
    })
}

/// Whether the API server would take the Job, and the pod that the Job controller would make of it.
async fn taken(cluster: &Cluster, renderer: &Renderer, job: &PlannedJob) -> Result<bool, CommandError> {
    let manifest = renderer.render(job)?;
    let what = format!("group {:?}, template {}", job.group.name, job.template.as_str());
    let mut fine = true;
    match cluster.apply(&manifest, crate::cluster::Mode::DryRun).await {
        Ok(applied) => {
            for warning in applied.warnings {
                write_stderr(&format!("{what}: the API server warns: {warning}\n"));
            }
        }
        Err(ApplyError::Refused(failure) | ApplyError::Unanswered(failure)) => {
            let Failure { reason, message } = failure;
            fine = false;
            write_stderr(&format!("{what}: the Job is refused: {reason}: {message}\n"));
        }
        Err(ApplyError::Cluster(error)) => return Err(error.into()),
    }
    let create_pods =
        Permission { verb: "create", group: "", resource: "pods", namespace: Some(&job.namespace) };
    if !cluster.may(&create_pods).await? {
        write_stderr(&format!(
            "{what}: the pod is not checked: you may not create pods in {}\n",
            job.namespace
        ));
        return Ok(fine);
    }
    if let Some(refusal) = cluster.pod_refusal(&manifest).await? {
        fine = false;
        write_stderr(&format!("{what}: the pod is refused: {refusal}\n"));
    }
    if fine {
        write_stderr(&format!("{what}: the cluster takes its Job and its pod\n"));
    }
    Ok(fine)
}
