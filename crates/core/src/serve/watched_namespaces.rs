//! Which namespaces are watched, and a changed config that waits for some.
//!
//! Half a config is never in force: all of its namespaces are watched before its first run. Only one that was
//! forbidden before holds nothing up: it is no news, and tried again by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{ActiveConfig, OpenedWatches};
use crate::cluster_error::ClusterError;
use crate::watch_event::WatchEvent;

#[derive(Debug)]
pub struct WatchedNamespaces {
    watched: BTreeSet<String>,
    forbidden: BTreeMap<String, ClusterError>,
    /// Of first lists that nobody has taken.
    listed: Vec<WatchEvent>,
    /// Those that are forbidden are being tried again.
    retrying: bool,
    pending: Option<PendingReload>,
}

/// A changed config some of whose namespaces are not watched.
#[derive(Debug)]
struct PendingReload {
    candidate: ActiveConfig,
    /// Its namespaces are being opened; otherwise they could not be.
    opening: bool,
    /// Why not, as it was reported.
    reported: Option<String>,
}

/// What is to be done about a changed config.
#[derive(Debug)]
pub enum Reload {
    Apply(ActiveConfig),
    Watch(Vec<String>),
    /// One of its namespaces cannot be watched, which was not reported.
    Refused(ClusterError),
}

impl WatchedNamespaces {
    pub fn new(opened: OpenedWatches) -> WatchedNamespaces {
        let OpenedWatches { namespaces, forbidden, listed } = opened;
        WatchedNamespaces { watched: namespaces, forbidden, listed, retrying: false, pending: None }
    }

    pub fn forbidden(&self) -> &BTreeMap<String, ClusterError> {
        &self.forbidden
    }

    pub fn take_listed(&mut self) -> Vec<WatchEvent> {
        std::mem::take(&mut self.listed)
    }

    /// A changed config. Whatever was on its way is older.
    pub fn propose(&mut self, candidate: ActiveConfig) -> Reload {
        self.consider(candidate, None)
    }

    /// Nothing is on its way into force any longer.
    pub fn withdraw(&mut self) -> Option<ActiveConfig> {
        Some(self.pending.take()?.candidate)
    }

    /// How opening the namespaces of the pending config went; `None` where none is, or nothing is to be done.
    pub fn on_opened(&mut self, result: Result<OpenedWatches, ClusterError>) -> Option<Reload> {
        let pending = self.pending.take_if(|pending| pending.opening)?;
        let opened = result.and_then(|opened| match opened.forbidden.values().next() {
            Some(error) => Err(error.clone()),
            None => Ok(opened),
        });
        match opened {
            Ok(opened) => {
                self.join(opened);
                // Others may have been left meanwhile.
                Some(self.consider(pending.candidate, pending.reported))
            }
            Err(error) => {
                let text = Some(error.to_string());
                let is_reported = pending.reported == text;
                self.pending = Some(PendingReload { opening: false, reported: text, ..pending });
                (!is_reported).then_some(Reload::Refused(error))
            }
        }
    }

    /// Tries a config again whose namespaces could not be watched.
    pub fn retry_pending(&mut self) -> Option<Reload> {
        let pending = self.pending.take_if(|pending| !pending.opening)?;
        Some(self.consider(pending.candidate, pending.reported))
    }

    /// Namespaces that are forbidden and are to be tried again now.
    pub fn retry_forbidden(&mut self) -> Option<Vec<String>> {
        if self.retrying || self.forbidden.is_empty() {
            return None;
        }
        self.retrying = true;
        Some(self.forbidden.keys().cloned().collect())
    }

    /// How trying them went; gives those that are watched now.
    pub fn on_retried(&mut self, result: Result<OpenedWatches, ClusterError>) -> Option<BTreeSet<String>> {
        self.retrying = false;
        // Why not was reported when it was forbidden.
        let opened = result.ok()?;
        let watched = opened.namespaces.iter().filter(|namespace| self.forbidden.contains_key(*namespace));
        let watched = watched.cloned().collect();
        self.join(opened);
        Some(watched)
    }

    /// Whether nothing is being opened.
    pub fn is_settled(&self) -> bool {
        !self.retrying && self.pending.as_ref().is_none_or(|pending| !pending.opening)
    }

    /// Whether some were left out by following only `needed`.
    pub fn keep_only(&mut self, needed: &BTreeSet<String>) -> bool {
        self.forbidden.retain(|namespace, _| needed.contains(namespace));
        let before = self.watched.len();
        self.watched.retain(|namespace| needed.contains(namespace));
        self.watched.len() < before
    }

    fn consider(&mut self, candidate: ActiveConfig, reported: Option<String>) -> Reload {
        let known = |name: &String| self.watched.contains(name) || self.forbidden.contains_key(name);
        let missing: Vec<String> = candidate.namespaces().into_iter().filter(|name| !known(name)).collect();
        if missing.is_empty() {
            self.pending = None;
            return Reload::Apply(candidate);
        }
        self.pending = Some(PendingReload { candidate, opening: true, reported });
        Reload::Watch(missing)
    }

    fn join(&mut self, opened: OpenedWatches) {
        let OpenedWatches { namespaces, forbidden, listed } = opened;
        self.forbidden.retain(|namespace, _| !namespaces.contains(namespace));
        self.forbidden.extend(forbidden);
        self.watched.extend(namespaces);
        self.listed.extend(listed);
    }
}
