//! Says what a run would do, and does nothing.

use std::collections::HashSet;
use std::path::Path;

use super::selection::narrow_nodes;
use super::templates::without_carrier;
use super::{
    CommandError, SUCCESS, WORK_TO_DO, connect_options, load_config, renderer, run_id, some_of, write_stdout,
};
use crate::cli::{GlobalArgs, Output, PlanArgs, Selection};
use crate::cluster::{self, Cluster, ClusterError, Mode, Permission};
use crate::config_source::load::{self, LoadedConfig};
use crate::plan::node::{distinct, nodes_from_text};
use crate::plan::{JobIndex, Node, Plan, RunId, RunIdentity};
use crate::render::Renderer;
use crate::report::PlanReport;
use crate::runner::ApplyError;

pub async fn plan(global: &GlobalArgs, args: &PlanArgs) -> Result<u8, CommandError> {
    let loaded = load_config(global, &args.selection)?;
    let renderer = renderer(&loaded, global)?;
    let Planned { plan, cluster } =
        plan_offline_or_not(global, &loaded, &args.selection, args.nodes.as_deref()).await?;
    let (namespaces, present) = match &cluster {
        Some(cluster) => {
            (check_namespaces(cluster, &plan, &renderer).await, completed_earlier(cluster, &plan).await?)
        }
        None => (Ok(()), HashSet::new()),
    };
    let report = foreseen(&plan, &present);
    let printed = print(&report, args.output);
    namespaces?;
    printed?;
    let work = args.detailed_exitcode && report.has_work();
    Ok(if work { WORK_TO_DO } else { SUCCESS })
}

/// A plan, and the cluster whose nodes it is over.
pub struct Planned {
    pub plan: Plan,
    pub cluster: Option<Cluster>,
}

/// Names a namespace that is missing: a plan is right without it, and none of its Jobs could be created.
pub async fn check_namespaces(
    cluster: &Cluster,
    plan: &Plan,
    renderer: &Renderer,
) -> Result<(), CommandError> {
    for namespace in plan.namespaces() {
        let exists = match cluster.namespace_exists(&namespace).await? {
            Some(exists) => exists,
            // Who may create Jobs need not be allowed to look at namespaces, and is told so by a create.
            None => {
                // Asked first: a refusal is not believed before it has been repeated for a while.
                if !cluster.can_i(&jobs_in(&namespace, "create")).await? {
                    continue;
                }
                let mut jobs = plan.jobs().filter(|job| job.namespace == namespace);
                let Some(manifest) = jobs.find_map(|job| renderer.render(job).ok()) else { continue };
                let answer = cluster.apply(&manifest, Mode::DryRun).await;
                !matches!(answer, Err(ApplyError::Cluster(ClusterError::NamespaceMissing(_))))
            }
        };
        if !exists {
            return Err(ClusterError::NamespaceMissing(namespace).into());
        }
    }
    Ok(())
}

fn jobs_in<'a>(namespace: &'a str, verb: &'static str) -> Permission<'a> {
    Permission { verb, group: "batch", resource: "jobs", name: None, namespace: Some(namespace) }
}

/// The planned Jobs that an earlier run has done, as far as we may see its Jobs.
pub async fn completed_earlier(cluster: &Cluster, plan: &Plan) -> Result<HashSet<JobIndex>, CommandError> {
    let mut completed = Vec::new();
    for namespace in plan.namespaces() {
        // Asked first: a refusal is not believed before it has been repeated for a while.
        if !cluster.can_i(&jobs_in(&namespace, "list")).await? {
            tracing::info!(
                "which images earlier runs have pulled is not known: you may not list jobs.batch in namespace {namespace:?}"
            );
            continue;
        }
        match cluster.list_completed(&namespace, &plan.identity.instance).await {
            Ok(jobs) => completed.extend(jobs),
            Err(error @ ClusterError::Forbidden { .. }) => {
                tracing::info!("which images earlier runs have pulled is not known: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(plan.completed_earlier(&completed))
}

/// What a run would do, as far as that can be told without asking the API server about each Job.
pub fn foreseen(plan: &Plan, present: &HashSet<JobIndex>) -> PlanReport {
    PlanReport::new(plan, without_carrier(plan), present)
}

pub fn print(report: &PlanReport, output: Output) -> Result<(), CommandError> {
    let text = match output {
        Output::Json => report.to_json(),
        Output::Yaml => report.to_yaml(),
        Output::Table => report.to_table(),
    };
    write_stdout(&text)
}

/// The plan over the nodes of a file, or over those of the cluster.
pub async fn plan_offline_or_not(
    global: &GlobalArgs,
    loaded: &LoadedConfig,
    selection: &Selection,
    nodes: Option<&Path>,
) -> Result<Planned, CommandError> {
    let run_id = run_id(global, RunId::render)?;
    let options = connect_options(global, loaded);
    let (nodes, default_namespace, cluster) = match nodes {
        Some(path) => {
            // A file of nodes needs no cluster, so only a kubeconfig that was asked for is read.
            let asked_for = options.kubeconfig.is_some() || options.context.is_some();
            let namespace =
                if asked_for { cluster::default_namespace(&options).await? } else { "default".to_owned() };
            (nodes_of_file(path)?, namespace, None)
        }
        None => {
            let cluster = Cluster::connect(&options).await?;
            let nodes = cluster.list_nodes(only_selector(loaded, selection).as_deref()).await?;
            (nodes, cluster.default_namespace.clone(), Some(cluster))
        }
    };
    let plan = plan_over(loaded, selection, nodes, run_id, default_namespace)?;
    Ok(Planned { plan, cluster })
}

/// The plan over `nodes`.
pub fn plan_over(
    loaded: &LoadedConfig,
    selection: &Selection,
    nodes: Vec<Node>,
    run_id: RunId,
    default_namespace: String,
) -> Result<Plan, CommandError> {
    let nodes = narrow_nodes(nodes, selection)?;
    let instance = loaded.config.instance.clone();
    let namespace = loaded.config.namespace_or(&default_namespace).to_owned();
    Ok(crate::plan::plan(&loaded.config, nodes, RunIdentity { instance, run_id, namespace }))
}

/// The selector that all groups share, for the API server to apply; with several, one unfiltered
/// list is the cheaper question. Nodes asked for by name must be in the list to be known.
pub fn only_selector(loaded: &LoadedConfig, selection: &Selection) -> Option<String> {
    let mut selectors = loaded.config.groups.iter().map(|group| group.node_selector.as_query());
    let first = selectors.next().filter(|selector| !selector.is_empty() && selection.node.is_empty())?;
    selectors.all(|selector| selector == first).then_some(first)
}

pub fn nodes_of_file(path: &Path) -> Result<Vec<Node>, CommandError> {
    let name = path.display();
    let text = load::read_input(path)
        .map_err(|error| CommandError::Usage(format!("cannot read the nodes of {name}: {error}")))?;
    let nodes = nodes_from_text(&text).map_err(|error| CommandError::Usage(format!("{name}: {error}")))?;
    let (nodes, repeated) = distinct(nodes);
    match repeated.len() {
        0 => {}
        1 => tracing::warn!(
            "{name}: a node is listed more than once, and the first is used: {}",
            some_of(&repeated)
        ),
        count => tracing::warn!(
            "{name}: {count} nodes are listed more than once, and the first of each is used: {}",
            some_of(&repeated)
        ),
    }
    Ok(nodes)
}
