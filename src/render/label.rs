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
