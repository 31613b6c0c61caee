//! The controller on real nodes: kubelets, containerd of both generations, and registries that fail as
//! they are told. `make e2e` runs these; they need root, and share one cluster (`site`).
//!
//! * `templates`: what each way of pulling leaves on a node.
//! * `disturbed`: a pull in which a disk, a deadline, a node or one of its programs fails.
//! * `installed`, `serving`: `deploy/` and `deploy/serve`, their pods on real nodes.
//! * `references`: which other reference of an image finds it on the node.
//! * `kinds`: images of every kind, and many of them.
//! * `again`: what is there already, has moved, or cannot be carried.
//! * `private`: pull secrets, and who may use what they have pulled.
//! * `refused`: what a registry will never give.
//! * `unwell`: a registry in trouble.
//! * `messages`: keeps what kubelets say as fixtures.
//! * `left_behind`: a bed that is killed leaves nothing on the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::disallowed_types,
    reason = "a test that cannot go on panics, and tests touch the world"
)]

mod again;
mod disturbed;
mod installed;
mod kinds;
mod left_behind;
mod messages;
mod private;
mod references;
mod refused;
mod registry;
mod scenario;
mod serving;
mod site;
#[allow(dead_code, reason = "shared with the tests on simulated nodes")]
#[path = "../it/support/mod.rs"]
mod support;
mod templates;
mod unwell;
