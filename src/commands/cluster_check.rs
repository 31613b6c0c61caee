//! `check --cluster`: what a run would need of the cluster, asked without changing anything.

use std::collections::BTreeSet;

use super::plan::plan_over;
use super::templates::nodes_without_carrier;
use super::{CommandError, NO_CLUSTER, SUCCESS, USAGE, connect_options, write_stderr};
use crate::cli::{GlobalArgs, Selection};
use crate::cluster::{Cluster, ImageRewrite, Permission};
use crate::config::go_duration;
use crate::config_source::load::LoadedConfig;
use crate::outcome::Failure;
use crate::outside_text::one_line;
use crate::plan::{Plan, PlannedJob, RunId};
use crate::render::{Manifest, RenderError, Renderer};
use crate::runner::ApplyError;
use crate::words::counted;

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

/// Prints what was found to stderr. The exit code: 2 where the cluster does not take a Job or its pod,
/// else 3 where a permission, a namespace or a pull secret is missing, else 2 for a warning where it is
/// `strict`.
pub async fn ask(
    global: &GlobalArgs,
    loaded: &LoadedConfig,
    renderer: &Renderer,
    strict: bool,
) -> Result<u8, CommandError> {
    let cluster = Cluster::connect(&connect_options(global, loaded)).await?;
    let asked = Asked { cluster, quiet: global.quiet };
    let default_namespace = asked.cluster.default_namespace.clone();
    let own_namespace = loaded.config.namespace_or(&default_namespace);
    let mut namespaces = loaded.config.namespaces(&default_namespace);

    let mut missing = asked.permissions(&namespaces).await?;
    for namespace in std::mem::take(&mut namespaces) {
        if asked.cluster.namespace_exists(&namespace).await? == Some(false) {
            missing = true;
            write_stderr(&format!("namespace {namespace:?} does not exist; create it\n"));
        } else {
            namespaces.insert(namespace);
        }
    }
    // A namespace that is missing has no Secrets either, and that is told by now.
    let secrets = loaded.config.groups.iter().flat_map(|group| {
        let namespace = group.namespace_or(own_namespace);
        group.pull_secrets.iter().map(move |secret| (namespace.to_owned(), secret.clone()))
    });
    let mut secrets: BTreeSet<_> = secrets.filter(|(namespace, _)| namespaces.contains(namespace)).collect();
    let mut lacks_secret = asked.lacks_one_of(&secrets).await?;
    if missing {
        return Ok(NO_CLUSTER);
    }

    let nodes = asked.cluster.list_nodes(None).await?;
    let selection = Selection::default();
    let plan = plan_over(loaded, &selection, nodes, RunId::render(), default_namespace.clone())?;
    if let Some(warning) = nodes_without_carrier(&plan) {
        let help = "set `carrier_image`, or QUAYCTL_CARRIER_IMAGE where it runs";
        write_stderr(&format!("{warning}; {help}\n"));
    }
    asked.deadlines(&plan).await?;
    let (mut refused, mut renamed) = (false, false);
    for job in one_of_each(&plan) {
        let manifest = match renderer.render(job) {
            Ok(manifest) => manifest,
            Err(RenderError::NoCarrierImage { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let more = pull_secrets(&manifest).filter(|secret| secrets.insert(secret.clone()));
        let more: BTreeSet<_> = more.collect();
        lacks_secret |= asked.lacks_one_of(&more).await?;
        let taken = asked.taken(&manifest).await?;
        refused |= taken == Taken::Refused;
        renamed |= taken == Taken::AsAnotherImage;
    }
    Ok(match (refused, lacks_secret, renamed && strict) {
        (true, _, _) | (false, false, true) => USAGE,
        (false, true, _) => NO_CLUSTER,
        (false, false, false) => SUCCESS,
    })
}

/// The Secrets that the pod names, its template's own included, each with its namespace.
fn pull_secrets(manifest: &Manifest) -> impl Iterator<Item = (String, String)> {
    let named =
        manifest.body["spec"]["template"]["spec"]["imagePullSecrets"].as_array().into_iter().flatten();
    let names = named.filter_map(|secret| secret["name"].as_str());
    names.map(|name| (manifest.job.namespace.clone(), name.to_owned()))
}

/// One Job of each template of each group: what differs between nodes is not admission's business.
fn one_of_each(plan: &Plan) -> impl Iterator<Item = &PlannedJob> {
    plan.groups.iter().flat_map(|planned| {
        let mut seen = BTreeSet::new();
        planned.jobs.iter().filter(move |job| seen.insert(job.template.as_str().to_owned()))
    })
}

/// What the cluster would do with a Job and its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    AsItIs,
    /// What it makes present is not what workloads ask for.
    AsAnotherImage,
    Refused,
}

/// A cluster, and how much is said of what it answers: what is wrong is said always.
struct Asked {
    cluster: Cluster,
    quiet: bool,
}

impl Asked {
    fn say(&self, line: &str) {
        if !self.quiet {
            write_stderr(line);
        }
    }

    /// Prints a table of verbs; true where one is missing.
    async fn permissions(&self, namespaces: &BTreeSet<String>) -> Result<bool, CommandError> {
        let everywhere = IN_CLUSTER.iter().map(|permission| (*permission, None));
        let within = namespaces.iter().flat_map(|namespace| {
            IN_NAMESPACE.iter().map(move |permission| (*permission, Some(namespace.as_str())))
        });
        let mut missing = false;
        for ((verb, group, resource), namespace) in everywhere.chain(within) {
            let permission = Permission { verb, group, resource, name: None, namespace };
            let place = namespace
                .map_or("the whole cluster".to_owned(), |namespace| format!("namespace {namespace}"));
            let what = format!("{verb:<6} {resource:<6} in {place}\n");
            match self.cluster.can_i(&permission).await? {
                true => self.say(&format!("yes  {what}")),
                false => {
                    missing = true;
                    write_stderr(&format!("NO   {what}"));
                }
            }
        }
        Ok(missing)
    }

    /// Prints what is known of each pull secret; true where one is missing. The kubelet pulls without one
    /// that is not there, so the registry's refusal would be blamed on the image.
    async fn lacks_one_of(&self, secrets: &BTreeSet<(String, String)>) -> Result<bool, CommandError> {
        let mut missing = false;
        for (namespace, secret) in secrets {
            match self.cluster.secret_exists(namespace, secret).await? {
                Some(true) => self.say(&format!("pull secret {secret:?} exists in namespace {namespace}\n")),
                Some(false) => {
                    missing = true;
                    write_stderr(&format!(
                        "pull secret {secret:?} does not exist in namespace {namespace}; create it, or correct `pull_secrets`\n"
                    ));
                }
                None => self.say(&format!(
                    "pull secret {secret:?} in namespace {namespace} is not checked: you may not get it\n"
                )),
            }
        }
        Ok(missing)
    }

    /// Warns of deadlines that are short for what earlier runs took. Nothing is wrong with the config, so it
    /// decides nothing.
    async fn deadlines(&self, plan: &Plan) -> Result<(), CommandError> {
        let mut earlier = Vec::new();
        for namespace in plan.namespaces() {
            earlier.extend(self.cluster.list_timed(&namespace, &plan.identity.instance).await?);
        }
        for short in plan.short_deadlines(&earlier) {
            let took = go_duration(short.slowest.seconds.into());
            let took = match short.slowest.ran_into_deadline {
                true => format!("ran into its deadline of {took}"),
                false => format!("took {took}"),
            };
            write_stderr(&format!(
                "group {:?}: its deadline of {} is short: of {}, the slowest ({}) {took}, and {} ran into a deadline; a kubelet \
                 goes on with a pull when its Job has ended, while the next node begins; use {} or more\n",
                short.group,
                go_duration(short.deadline_seconds.into()),
                counted(short.jobs, "earlier Job"),
                short.slowest.name,
                short.cut,
                go_duration(short.enough_seconds()),
            ));
        }
        Ok(())
    }

    /// Whether the API server would take the Job, and the pod that the Job controller would make of it.
    async fn taken(&self, manifest: &Manifest) -> Result<Taken, CommandError> {
        let job = &manifest.job;
        let what = format!("group {:?}, template {}", job.group.name, job.template.as_str());
        let mut taken = Taken::AsItIs;
        match self.cluster.apply(manifest, crate::cluster::Mode::DryRun).await {
            Ok(applied) => {
                for warning in applied.warnings {
                    write_stderr(&format!("{what}: the API server warns: {warning}\n"));
                }
            }
            Err(ApplyError::Refused(failure) | ApplyError::Unanswered(failure)) => {
                let Failure { reason, message } = failure;
                taken = Taken::Refused;
                write_stderr(&format!("{what}: the Job is refused: {reason}: {message}\n"));
            }
            Err(ApplyError::Cluster(error)) => return Err(error.into()),
        }
        let namespace = Some(job.namespace.as_str());
        let create_pods = Permission { verb: "create", group: "", resource: "pods", name: None, namespace };
        if !self.cluster.can_i(&create_pods).await? {
            self.say(&format!(
                "{what}: the pod is not checked: you may not create pods in {}\n",
                job.namespace
            ));
            return Ok(taken);
        }
        if let Some(refusal) = self.cluster.pod_refusal(manifest).await? {
            taken = Taken::Refused;
            write_stderr(&format!("{what}: the pod is refused: {refusal}\n"));
        }
        if taken == Taken::AsItIs {
            self.say(&format!("{what}: the cluster takes its Job and its pod\n"));
            if self.renames_images(manifest, &what).await? {
                taken = Taken::AsAnotherImage;
            }
        }
        Ok(taken)
    }

    /// Prints which images containers get under another name than the Job's volumes; true where one does.
    async fn renames_images(&self, manifest: &Manifest, what: &str) -> Result<bool, CommandError> {
        let Some(rewrites) = self.cluster.image_rewrites(manifest).await? else {
            self.say(&format!(
                "{what}: whether admission renames images is not checked: it refuses a pod that names them in containers\n"
            ));
            return Ok(false);
        };
        for ImageRewrite { in_volume, in_container } in &rewrites {
            write_stderr(&one_line(&format!(
                "{what}: warning: admission turns the image {in_volume} of a container into {in_container}, and leaves \
                 image volumes alone"
            )));
            write_stderr("\n");
        }
        if !rewrites.is_empty() {
            write_stderr(&format!(
                "{what}: workloads would not find what its Jobs make present; set `template = \"helper\"`, whose \
                 containers are renamed as theirs are\n"
            ));
        }
        Ok(!rewrites.is_empty())
    }
}
