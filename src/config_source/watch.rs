//! Notices changes of the config's files and yields each new state once, good or bad.
//!
//! What is watched are folders, never files: a mounted ConfigMap changes by a rename of `..data`, which a
//! watch of a file sees once and then never again. A slow poll is the net under it, for what the operating
//! system does not tell: network file systems, templates in folders below the config's, links to files
//! elsewhere. Events only say when to check; whether anything has changed is told by the
//! fingerprint of what [`load`](super::load::load) reads.
//!
//! May touch the file system, to read, and the clock. Never keeps a config: who holds the last good one
//! decides what a bad one means.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for a burst of events to end, so it looks at the clock"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::load::{LoadError, LoadedConfig, Sources, candidates, load_state};
use super::snapshot::is_stream;

/// A swap of a mount gives seven or eight events, and an editor's save nearly as many.
const DEBOUNCE: Duration = Duration::from_millis(250);
/// Where events never end, the files are checked all the same.
const RETRY_TIMEOUT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_secs(30);
/// Where the operating system watches nothing for us.
const POLL_UNWATCHED: Duration = Duration::from_secs(5);

/// Waits for changes of the files that a config was loaded from.
#[derive(Debug)]
pub struct ConfigWatch {
    sources: Sources,
    /// The fingerprint of the state that was yielded last.
    known: String,
    /// Made anew at each check: the folders may be others by then, or others of the same name.
    watcher: Option<RecommendedWatcher>,
    /// One event is as good as many.
    events: Arc<Notify>,
    triggered: Arc<Notify>,
    /// The first and the last event since the files were checked.
    burst: Option<(Instant, Instant)>,
    poll_at: Instant,
    /// That there is no watch is said once.
    warned: bool,
}

impl ConfigWatch {
    /// `sources` as they were given to [`load`](super::load::load); `loaded` is the state already known.
    ///
    /// Where the operating system gives no watch, a warning is logged and the poll is all there is.
    pub fn new(sources: Sources, loaded: &LoadedConfig) -> ConfigWatch {
        let watch = ConfigWatch {
            sources,
            known: loaded.fingerprint.clone(),
            watcher: None,
            events: Arc::default(),
            triggered: Arc::default(),
            burst: None,
            // What has changed since it was loaded was not events.
            poll_at: Instant::now(),
            warned: false,
        };
        if watch.is_stream() {
            warn!("the config is no regular file, so changes of it are not events");
        }
        watch
    }

    /// Waits until the files differ from the state that was yielded last, and loads them. What is refused
    /// is yielded too, once. May be dropped at any time: nothing is lost.
    pub async fn changed(&mut self) -> Result<LoadedConfig, LoadError> {
        loop {
            self.until_due().await;
            if let Some(state) = self.check_files() {
                return state;
            }
        }
    }

    /// Notified, it makes [`changed`](ConfigWatch::changed) check the files at once, without waiting for an event.
    pub fn trigger(&self) -> Arc<Notify> {
        self.triggered.clone()
    }

    async fn until_due(&mut self) {
        loop {
            let settled = self.burst.map(|(first, last)| (last + DEBOUNCE).min(first + RETRY_TIMEOUT));
            let due = settled.map_or(self.poll_at, |settled| settled.min(self.poll_at));
            tokio::select! {
                biased;
                () = self.triggered.notified() => return,
                () = sleep_until(due) => return,
                () = self.events.notified() => {
                    let now = Instant::now();
                    self.burst = Some((self.burst.map_or(now, |(first, _)| first), now));
                }
            }
        }
    }

    /// Checks at once, and loads the files where they differ from the state that was yielded last.
    pub fn check_files(&mut self) -> Option<Result<LoadedConfig, LoadError>> {
        // First the watch, then the files: what happens in between is events.
        let is_watched = self.watch();
        self.burst = None;
        self.poll_at = Instant::now() + if is_watched { POLL } else { POLL_UNWATCHED };
        if self.is_stream() {
            // ConfigSnapshot it again would find nothing, or wait for somebody to write.
            return None;
        }
        let (fingerprint, loaded) = load_state(&self.sources);
        if fingerprint == self.known {
            return None;
        }
        debug!(fingerprint, "the files of the config have changed");
        self.known = fingerprint;
        Some(loaded)
    }

    fn is_stream(&self) -> bool {
        candidates(self.sources.path.as_deref()).into_iter().any(is_stream)
    }

    /// Watches the folders as they are now, and says whether that could be done.
    fn watch(&mut self) -> bool {
        let events = self.events.clone();
        let made = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if is_change(&event) {
                events.notify_one();
            }
        });
        let watched = made.and_then(|mut watcher| {
            for folder in folders(&candidates(self.sources.path.as_deref())) {
                watcher.watch(&folder, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        match watched {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                self.watcher = None;
                if !self.warned {
                    let every = POLL_UNWATCHED.as_secs();
                    warn!("cannot watch the config's folder: {error}; it is looked at every {every} s");
                    self.warned = true;
                }
            }
        }
        self.watcher.is_some()
    }
}

/// Our own reading is an event as well: who took that for a change would never rest.
fn is_change(event: &notify::Result<Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        },
        // Something was missed.
        Err(_) => true,
    }
}

/// Where changes of these files show: their folders, or what is left of the way to one that is gone, and
/// wherever a link on the way there may be turned to another folder.
fn folders(configs: &[&Path]) -> BTreeSet<PathBuf> {
    let or_here = |path: &Path| match path.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => path.to_owned(),
    };
    let mut folders = BTreeSet::new();
    for folder in configs.iter().filter_map(|config| config.parent()) {
        folders.extend(folder.ancestors().map(or_here).find(|folder| folder.is_dir()));
        let links = folder.ancestors().filter(|folder| folder.is_symlink());
        folders.extend(links.filter_map(Path::parent).map(or_here));
    }
    folders
}

#[cfg(test)]
mod tests;
