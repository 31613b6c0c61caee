//! Prints the Jobs of a run and creates none: for review in Git, and for `kubectl apply`.

use super::{CommandError, connect_options, load_config, renderer, run_id, write_stdout};
use crate::cli::{GlobalArgs, RenderArgs};
use crate::cluster::Cluster;
use crate::config::load;
use crate::plan::node::nodes_from_text;
use crate::plan::{Node, RunId, RunIdentity, plan};

pub async fn render(global: &GlobalArgs, args: &RenderArgs) -> Result<u8, CommandError> {
    let loaded = load_config(global)?;
    let renderer = renderer(&loaded.config)?;
    let run_id = run_id(global, RunId::render)?;

    let (nodes, default_namespace) = match &args.nodes {
        Some(path) => (nodes_of_file(path)?, "default".to_owned()),
        None => {
            let cluster = Cluster::connect(&connect_options(global, &loaded)).await?;
            (cluster.list_nodes(None).await?, cluster.default_namespace)
        }
    };
    let instance = loaded.config.instance.clone();
    let namespace = loaded.config.namespace.clone().unwrap_or(default_namespace);
    let plan = plan(&loaded.config, nodes, RunIdentity { instance, run_id, namespace });

    let mut stream = String::new();
    for job in plan.jobs() {
        stream.push_str(&renderer.render(job)?.to_yaml()?);
    }
    write_stdout(&stream)?;
    Ok(super::SUCCESS)
}

fn nodes_of_file(path: &std::path::Path) -> Result<Vec<Node>, CommandError> {
    let name = path.display();
    let text = load::read_input(path)
        .map_err(|error| CommandError::Usage(format!("cannot read the nodes of {name}: {error}")))?;
    nodes_from_text(&text).map_err(|error| CommandError::Usage(format!("{name}: {error}")))
}
