//! A changed config on its way from the files into force. Half a config is never in force: it is read,
//! checked and tried as a whole, and its namespaces are watched before its first run.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::{CommandError, renderer, told_in_full};
use super::lead::Lead;
use super::{Active, Station};
use crate::cli::GlobalArgs;
use crate::cluster::{ClusterError, Wanted, Watches};
use crate::config::Config;
use crate::config_source::load::{LoadError, Loaded};
use crate::telemetry::use_color;

/// A candidate, and the watches of the namespaces that it adds.
pub type Opened = (Active, Result<Watches, ClusterError>);

impl Active {
    /// A config that was read, checked and tried. `Err` says for people why it cannot be used.
    pub fn tried(
        changed: Result<Loaded, LoadError>,
        before: &Active,
        global: &GlobalArgs,
    ) -> Result<Active, String> {
        let loaded =
            told_in_full(changed).map_err(|error| error.shown(use_color(global, &std::io::stderr())))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let renderer = renderer(&loaded, global).map_err(|error: CommandError| error.to_string())?;
        let (old, new) = (&before.loaded.config.instance, &loaded.config.instance);
        if old != new {
            return Err(format!(
                "error: `instance` was {old:?} and is {new:?}: it tells which Jobs are ours and cannot change while \
                 serving; restart the process"
            ));
        }
        Ok(Active { loaded: Arc::new(loaded), renderer: Arc::new(renderer) })
    }
}

/// Where the Jobs of a config live, each namespace once.
pub fn namespaces(config: &Config, default: &str) -> Vec<String> {
    let own = config.namespace.as_deref().unwrap_or(default);
    let all = config.groups.iter().map(|group| group.namespace.as_deref().unwrap_or(own));
    let all: std::collections::BTreeSet<&str> = all.collect();
    all.into_iter().map(str::to_owned).collect()
}

impl<'a> Lead<'a> {
    pub fn on_config(&mut self, changed: Result<Loaded, LoadError>, station: &mut Station<'_>) {
        // Whatever was on its way is older.
        (self.opening, self.shut, self.shut_text) = (None, None, None);
        let candidate = match Active::tried(changed, &self.active, station.global) {
            Ok(candidate) => candidate,
            Err(error) => return station.mark_stale(&error),
        };
        self.consider(candidate, station);
    }

    /// Puts a config in force once its namespaces are watched.
    pub fn consider(&mut self, candidate: Active, station: &mut Station<'_>) {
        let mut namespaces = namespaces(&candidate.loaded.config, &self.cluster.default_namespace);
        // One that was denied before is no news, and tried again by itself.
        let known = |namespace: &String| {
            self.watches.is_watching(namespace) || self.watches.denied().contains_key(namespace)
        };
        namespaces.retain(|namespace| !known(namespace));
        if namespaces.is_empty() {
            return self.put_in_force(candidate, station);
        }
        let cluster = self.cluster;
        self.opening = Some(Box::pin(async move {
            let instance = candidate.loaded.config.instance.clone();
            let watches = cluster.watch(&namespaces, &instance, Wanted::LastRuns).await;
            // Half a config is never in force.
            let denied = |watches: Watches| match watches.denied().values().next() {
                Some(error) => Err(error.clone()),
                None => Ok(watches),
            };
            (candidate, watches.and_then(denied))
        }));
    }

    pub fn on_opened(&mut self, (candidate, watches): Opened, station: &mut Station<'_>) {
        self.opening = None;
        match watches {
            Ok(watches) => {
                self.watches.join(watches);
                // Others may have been left meanwhile.
                self.consider(candidate, station);
            }
            Err(error) => {
                let text = format!("error: {error}");
                if self.shut_text.as_ref() != Some(&text) {
                    station.mark_stale(&text);
                }
                self.shut_text = Some(text);
                self.shut = Some(candidate);
            }
        }
    }

    /// Namespaces that may not be watched: rights are given after the process has started, too.
    pub fn try_denied_again(&mut self) {
        if self.reopening.is_some() || self.watches.denied().is_empty() {
            return;
        }
        let namespaces: Vec<String> = self.watches.denied().keys().cloned().collect();
        let (cluster, instance) = (self.cluster, self.active.loaded.config.instance.clone());
        self.reopening =
            Some(Box::pin(async move { cluster.watch(&namespaces, &instance, Wanted::LastRuns).await }));
    }

    pub fn on_reopened(&mut self, watches: Result<Watches, ClusterError>) {
        self.reopening = None;
        // Why not was said when it was denied.
        let Ok(watches) = watches else { return };
        let before: Vec<String> = self.watches.denied().keys().cloned().collect();
        self.watches.join(watches);
        for namespace in before.iter().filter(|namespace| self.watches.is_watching(namespace)) {
            tracing::info!("Jobs in namespace {namespace:?} are watched now");
        }
        let listed = self.watches.take_listed();
        self.take_in_listed(listed);
        let own = self.active.loaded.config.namespace.clone();
        let own = own.unwrap_or_else(|| self.cluster.default_namespace.clone());
        for group in &self.groups {
            let namespace = group.namespace.as_deref().unwrap_or(&own);
            if before.iter().any(|denied| denied == namespace) && self.watches.is_watching(namespace) {
                self.retries.retry_now(&group.name, Instant::now().into_std());
            }
        }
        self.watch_only_what_is_needed();
    }

    fn put_in_force(&mut self, active: Active, station: &mut Station<'_>) {
        let now = (self.now)();
        let before = std::mem::replace(&mut self.active, active);
        let config = &self.active.loaded.config;
        self.groups = config.groups.iter().cloned().map(Arc::new).collect();
        let gone = self.scheduler.apply_config(config, now);
        // A group that was gone for a while may still have a run under way.
        for run in self.under_way.values().filter(|run| run.is_run) {
            self.scheduler.mark_started(&run.group);
        }
        self.tracker.apply_config(config);
        self.runner.runner.set_concurrency(config.concurrency.get());
        for group in &gone {
            station.metrics.forget_group(group);
        }
        // Nodes that are there are no tracker for a group that did not follow nodes until now.
        let followed = |name: &str| {
            before.loaded.config.groups.iter().any(|group| group.name == name && group.new_nodes)
        };
        for group in self.groups.iter().filter(|group| !followed(&group.name)) {
            for node in self.nodes.values() {
                self.tracker.mark_known(group, node);
            }
        }
        station.mark_current(&self.active);
        self.begin_what_is_due(station);
        let listed = self.watches.take_listed();
        self.take_in_listed(listed);
        self.shut_text = None;
        // A selector may take more nodes in than before.
        let pairs: Vec<_> = self
            .groups
            .iter()
            .flat_map(|group| self.nodes.keys().map(move |name| (group.clone(), name.clone())))
            .collect();
        self.serve_nodes(&pairs, station);
        self.close_gates_of(&before);
        self.watch_only_what_is_needed();
    }

    /// Namespaces that are no longer named are followed until nothing of ours is under way there.
    pub fn watch_only_what_is_needed(&mut self) {
        if self.under_way.is_empty() && self.opening.is_none() && self.reopening.is_none() {
            let needed = namespaces(&self.active.loaded.config, &self.cluster.default_namespace);
            self.watches.keep_only(&needed);
        }
    }
}
