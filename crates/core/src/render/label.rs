//! The names under which Jobs and pods carry their identity. An interface: people select by them.

/// Ours: nothing without it, and without the instance beside it, is ever changed.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const MANAGED_BY_VALUE: &str = "quayctl-controller";
pub const INSTANCE: &str = "app.kubernetes.io/instance";
pub const NAME: &str = "app.kubernetes.io/name";
pub const NAME_VALUE: &str = "quayctl-puller";
pub const COMPONENT: &str = "app.kubernetes.io/component";
pub const COMPONENT_VALUE: &str = "puller";
pub const GROUP: &str = "quayctl-controller/group";
pub const RUN: &str = "quayctl-controller/run";

/// What keeps Argo CD's hands off our Jobs. Where it tracks objects by [`INSTANCE`] (its default before
/// 3.0), a Job whose instance is called like an Application is one of that Application's, and as it is not in
/// Git it would be pruned. Argo CD reads these from the live object: `Prune=false` in gitops-engine
/// (`pkg/sync/sync_context.go`, `pruneObject`), `IgnoreExtraneous` in `controller/state.go`
/// (`CompareAppState`), `ignore-healthcheck` in `controller/health.go` (`setApplicationHealth`). Pods have an
/// owner, and what has one is nobody's to prune (gitops-engine, `GetManagedLiveObjs`).
pub const ARGO_CD: [(&str, &str); 3] = [
    ("argocd.argoproj.io/compare-options", "IgnoreExtraneous"),
    ("argocd.argoproj.io/ignore-healthcheck", "true"),
    ("argocd.argoproj.io/sync-options", "Prune=false"),
];

/// Annotations: what does not fit a label's alphabet or length.
pub mod annotation {
    /// The node's full name.
    pub const NODE: &str = "quayctl-controller/node";
    /// The images as configured, a JSON list.
    pub const IMAGES: &str = "quayctl-controller/images";
    pub const CONTENT: &str = "quayctl-controller/content";
    /// What became of a Job that did not succeed, JSON.
    pub const OUTCOME: &str = "quayctl-controller/outcome";
}

#[cfg(test)]
mod tests {
    use super::annotation::{CONTENT, IMAGES, NODE, OUTCOME};
    use super::*;
    use crate::config::values::check::{OWNED_ANNOTATIONS, OWNED_LABELS};

    #[test]
    fn what_is_written_over_is_what_the_config_calls_ours() {
        let mut labels = [NAME, COMPONENT, MANAGED_BY, INSTANCE, GROUP, RUN];
        labels.sort_unstable();
        assert_eq!(labels, OWNED_LABELS);
        let mut annotations = [NODE, IMAGES, CONTENT, OUTCOME];
        annotations.sort_unstable();
        assert_eq!(annotations, OWNED_ANNOTATIONS);
    }
}
