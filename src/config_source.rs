//! Where a config comes from: files, the environment and flags, and the word that one of them has changed.

pub mod input;
pub mod load;
pub mod snapshot;
pub mod watch;
