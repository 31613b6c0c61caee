//! Our state machines in worlds that are made up: one thread, one seed, virtual time.
//!
//! * `election`: several electors and one Lease.
//! * `runs`: whole runs in a `world` with an API server, the Job controller, kubelets and a registry.
//!
//! `SIM_SEED=7 cargo test --test sim -- --nocapture` replays seed 7 and prints what happens;
//! `SIM_SEEDS=1000000` tries that many.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test that cannot go on panics, and tests touch the world"
)]

mod election;
mod found_by_hand;
mod run;
mod runs;
mod scenario;
mod world;
