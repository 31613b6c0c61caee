//! Prints the Jobs of a run and creates none: for review in Git, and for `kubectl apply`.

use super::plan::plan_offline_or_not;
use super::templates::TemplateInputs;
use super::{CommandError, load_config, refuse_manifests, renderer, write_stdout};
use crate::cli::{GlobalArgs, RenderArgs};

pub async fn render(global: &GlobalArgs, args: &RenderArgs) -> Result<u8, CommandError> {
    let loaded = load_config(global, &args.selection)?;
    let renderer = renderer(&loaded, global)?;
    let planned = plan_offline_or_not(global, &loaded, &args.selection, args.nodes.as_deref()).await?;

    let mut stream = String::new();
    for job in planned.plan.jobs() {
        let manifest = match renderer.render(job) {
            Ok(manifest) => manifest,
            Err(error) => {
                refuse_manifests(global, TemplateInputs::from(&loaded), &renderer, &planned.plan)?;
                return Err(error.into());
            }
        };
        stream.push_str(&manifest.to_yaml()?);
    }
    write_stdout(&stream)?;
    Ok(super::SUCCESS)
}
