//! Says what a run would do, and does nothing.

use std::path::Path;

use super::selection::narrow_nodes;
use super::templates::without_carrier;
use super::{
    CommandError, SUCCESS, WORK_TO_DO, connect_options, load_config, renderer, run_id, some_of, write_stdout,
};
use crate::cli::{GlobalArgs, Output, PlanArgs, Selection};
use crate::cluster::{self, Cluster};
use crate::config::load::{self, Loaded};
use crate::plan::node::{distinct, nodes_from_text};
use crate::plan::{Node, Plan, RunId, RunIdentity};
use crate::report::{PlanCounts, PlanReport};

pub async fn plan(global: &GlobalArgs, args: &PlanArgs) -> Result<u8, CommandError> {
    let loaded = load_config(global, &args.selection)?;
    renderer(&loaded, global)?;
    let plan = plan_offline_or_not(global, &loaded, &args.selection, args.nodes.as_deref()).await?;
    let report = foreseen(&plan);
    print(&report, args.output)?;
    let PlanCounts { create, skip: _, failed } = report.counts();
    // A node that is going to fail lacks its images as well.
    let work = args.detailed_exitcode && create + failed > 0;
    Ok(if work { WORK_TO_DO } else { SUCCESS })
}

/// What a run would do, as far as that can be told without asking the API server about each Job.
pub fn foreseen(plan: &Plan) -> PlanReport {
    PlanReport::new(plan, without_carrier(plan))
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
    loaded: &Loaded,
    selection: &Selection,
    nodes: Option<&Path>,
) -> Result<Plan, CommandError> {
    let run_id = run_id(global, RunId::render)?;
    let options = connect_options(global, loaded);
    let (nodes, default_namespace) = match nodes {
        Some(path) => {
            // A file of nodes needs no cluster, so only a kubeconfig that was asked for is read.
            let asked_for = options.kubeconfig.is_some() || options.context.is_some();
            let namespace =
                if asked_for { cluster::default_namespace(&options).await? } else { "default".to_owned() };
            (nodes_of_file(path)?, namespace)
        }
        None => {
            let cluster = Cluster::connect(&options).await?;
            (
                cluster.list_nodes(only_selector(loaded, selection).as_deref()).await?,
                cluster.default_namespace,
            )
        }
    };
    plan_over(loaded, selection, nodes, run_id, default_namespace)
}

/// The plan over `nodes`.
pub fn plan_over(
    loaded: &Loaded,
    selection: &Selection,
    nodes: Vec<Node>,
    run_id: RunId,
    default_namespace: String,
) -> Result<Plan, CommandError> {
    let nodes = narrow_nodes(nodes, selection)?;
    let instance = loaded.config.instance.clone();
    let namespace = loaded.config.namespace.clone().unwrap_or(default_namespace);
    Ok(crate::plan::plan(&loaded.config, nodes, RunIdentity { instance, run_id, namespace }))
}

/// The selector that all groups share, for the API server to apply; with several, one unfiltered
/// list is the cheaper question. Nodes asked for by name must be in the list to be known.
pub fn only_selector(loaded: &Loaded, selection: &Selection) -> Option<String> {
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
