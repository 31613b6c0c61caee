//! Changed configs, tried on a thread of their own: reading, checking and rendering a large one takes longer
//! than a Lease or a probe waits.

use std::io;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::super::templates::{self, TemplateCheck, TemplateInputs};
use super::super::with_template_problems;
use crate::config::Config;
use crate::config::problem::Problem;
use crate::config_source::load::{LoadError, LoadedConfig};
use crate::config_source::watch::ConfigWatch;
use crate::render::Renderer;
use crate::serve::ReloadError;

/// Changes while one is tried supersede it so often in a row: where they never end, one is in force at times.
const SUPERSEDED_MAX: usize = 5;

/// A config that was read, checked and tried.
pub struct TriedConfig {
    pub warnings: Vec<Problem>,
    pub result: Result<(Config, Renderer), ReloadError>,
}

/// The thread that tries changed configs, one at a time.
#[derive(Debug)]
pub struct ConfigTrials<T> {
    results: mpsc::Receiver<T>,
    trigger: Arc<Notify>,
}

impl<T: Send + 'static> ConfigTrials<T> {
    /// Makes each change that `watch` notices a `T`, by `attempt`.
    pub fn start(
        mut watch: ConfigWatch,
        attempt: impl Fn(Result<LoadedConfig, LoadError>) -> T + Send + 'static,
    ) -> io::Result<ConfigTrials<T>> {
        let (sender, results) = mpsc::channel(1);
        let trigger = watch.trigger();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name("config".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let changed = tokio::select! {
                        changed = watch.changed() => changed,
                        () = sender.closed() => return,
                    };
                    let mut tried = attempt(changed);
                    for _ in 0..SUPERSEDED_MAX {
                        let Some(newer) = watch.check_files() else { break };
                        tried = attempt(newer);
                    }
                    if sender.send(tried).await.is_err() {
                        return;
                    }
                }
            });
        })?;
        Ok(ConfigTrials { results, trigger })
    }

    /// The next one; waits for ever where nothing changes. May be dropped and called again.
    pub async fn next(&mut self) -> T {
        match self.results.recv().await {
            Some(tried) => tried,
            None => std::future::pending().await,
        }
    }

    /// Looks at the files at once, without waiting for a notice.
    pub fn trigger(&self) {
        self.trigger.notify_one();
    }
}

/// Tries a changed config as `check` does.
pub fn try_config(changed: Result<LoadedConfig, LoadError>) -> TriedConfig {
    let loaded = match with_template_problems(changed) {
        Ok(loaded) => loaded,
        Err(error) => {
            let summary = Some(error.to_string());
            let problems = match error {
                LoadError::Invalid { problems, .. } => problems,
                LoadError::NoFile | LoadError::Unreadable { .. } => Vec::new(),
            };
            let result = Err(ReloadError::Invalid { problems, summary });
            return TriedConfig { warnings: Vec::new(), result };
        }
    };
    let TemplateCheck { renderer, errors, warnings } =
        templates::try_templates(TemplateInputs::from(&loaded));
    let warnings = [&loaded.warnings[..], &warnings].concat();
    let result = match renderer {
        Some(renderer) if errors.is_empty() => Ok((loaded.config, renderer)),
        _ => Err(ReloadError::Invalid { problems: errors, summary: None }),
    };
    TriedConfig { warnings, result }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "its folders are real")]
mod tests {
    use std::sync::mpsc as std_mpsc;
    use std::time::Duration;

    use super::*;
    use crate::config_source::load::{Sources, load};

    fn write(path: &std::path::Path, namespace: &str) {
        let text =
            format!("namespace = \"{namespace}\"\n[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\n");
        std::fs::write(path, text).unwrap();
    }

    #[tokio::test]
    async fn a_trial_holds_up_nobody_and_is_superseded_by_a_newer_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quayctl.toml");
        write(&path, "v1");
        let sources = Sources { path: Some(path.clone()), ..Sources::default() };
        let watch = ConfigWatch::new(sources.clone(), &load(&sources).unwrap());
        let (started, mut has_started) = mpsc::unbounded_channel();
        let (release, released) = std_mpsc::channel::<()>();
        let mut trials = ConfigTrials::start(watch, move |changed| {
            let namespace = changed.map(|loaded| loaded.config.namespace.unwrap()).unwrap();
            started.send(namespace.clone()).unwrap();
            released.recv().unwrap();
            namespace
        })
        .unwrap();
        write(&path, "v2");
        trials.trigger();
        // This runs on the only thread that there is beside the trial's.
        assert_eq!(has_started.recv().await.unwrap(), "v2");
        write(&path, "v3");
        release.send(()).unwrap();
        assert_eq!(has_started.recv().await.unwrap(), "v3");
        release.send(()).unwrap();
        let next = tokio::time::timeout(Duration::from_secs(15), trials.next()).await;
        assert_eq!(next.unwrap(), "v3", "the one between was never given");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_without_colour() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quayctl.toml");
        std::fs::write(&path, "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\ndeadlin = \"5m\"\n")
            .unwrap();
        let sources = Sources { path: Some(path), ..Sources::default() };
        let error = try_config(load(&sources)).result.err().unwrap();
        let text = error.to_string();
        assert!(text.contains("quayctl.toml:4:") && text.contains("did you mean `deadline`?"), "{text}");
        assert!(!text.contains('\u{1b}') && error.shown(true).contains('\u{1b}'));
    }
}
