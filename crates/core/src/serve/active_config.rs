//! A config in force, or about to be, with what every event asks of it worked out once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::cluster_error::ClusterError;
use crate::config::problem::{self, Problem};
use crate::config::{Config, Group};
use crate::outside_text::block;
use crate::plan::{RunId, RunIdentity, content_of};
use crate::runner::Render;

/// A config that was read, checked and tried as a whole. Clones share it.
#[derive(Clone)]
pub struct ActiveConfig {
    config: Arc<Config>,
    /// In file order.
    groups: Vec<Arc<Group>>,
    /// By group.
    contents: Arc<BTreeMap<String, Arc<str>>>,
    render: Render<'static>,
    /// Where Jobs of groups without a namespace of their own live.
    namespace: String,
}

/// Why changed files cannot be used. What was in force before stays so.
#[derive(Clone, Debug, Error)]
pub enum ReloadError {
    /// The files cannot be read, or what they say is wrong.
    #[error("{}", shown(problems, summary.as_deref(), false))]
    Invalid {
        /// Warnings too.
        problems: Vec<Problem>,
        /// One sentence on all of it.
        summary: Option<String>,
    },
    #[error(
        "`instance` was {before:?} and is {after:?}: it tells which Jobs are ours and cannot change while serving; \
         restart the process"
    )]
    InstanceChanged { before: String, after: String },
    /// A namespace that it adds cannot be watched.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
}

impl ActiveConfig {
    /// `render` makes manifests of this config's templates; `default_namespace` is the cluster's.
    pub fn new(config: Config, render: Render<'static>, default_namespace: &str) -> ActiveConfig {
        let content = |group: &Group| (group.name.clone(), content_of(&config, group).into());
        ActiveConfig {
            groups: config.groups.iter().cloned().map(Arc::new).collect(),
            contents: Arc::new(config.groups.iter().map(content).collect()),
            namespace: config.namespace_or(default_namespace).to_owned(),
            render,
            config: Arc::new(config),
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    pub fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// What the group puts on a node, as 64 hex digits.
    pub fn content(&self, group: &str) -> Option<&Arc<str>> {
        self.contents.get(group)
    }

    pub fn render(&self) -> Render<'static> {
        self.render.clone()
    }

    /// Where the group's Jobs live.
    pub fn namespace_of<'g>(&'g self, group: &'g Group) -> &'g str {
        group.namespace_or(&self.namespace)
    }

    /// Where the Jobs of all groups live.
    pub fn namespaces(&self) -> BTreeSet<String> {
        self.config.namespaces(&self.namespace)
    }

    pub fn identity(&self, run_id: RunId) -> Arc<RunIdentity> {
        let (instance, namespace) = (self.config.instance.clone(), self.namespace.clone());
        Arc::new(RunIdentity { instance, run_id, namespace })
    }

    /// Whether it may follow `before` in one process.
    pub fn check_successor_of(&self, before: &ActiveConfig) -> Result<(), ReloadError> {
        let (before, after) = (&before.config.instance, &self.config.instance);
        match before == after {
            true => Ok(()),
            false => Err(ReloadError::InstanceChanged { before: before.clone(), after: after.clone() }),
        }
    }
}

impl fmt::Debug for ActiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveConfig").field("hash", &self.config.hash).finish_non_exhaustive()
    }
}

impl ReloadError {
    /// For people, every problem with its place; colour is only for a terminal.
    pub fn shown(&self, color: bool) -> String {
        match self {
            ReloadError::Invalid { problems, summary } => shown(problems, summary.as_deref(), color),
            ReloadError::InstanceChanged { .. } | ReloadError::Cluster(_) => {
                format!("error: {}", block(&self.to_string()))
            }
        }
    }
}

fn shown(problems: &[Problem], summary: Option<&str>, color: bool) -> String {
    let problems = problem::render(problems, color);
    match summary {
        Some(summary) => format!("{problems}error: {}", block(summary)),
        None => problems,
    }
}
