//! What one TOML file, the environment and the flags ask for, checked.
//!
//! [`Config`] is valid by construction: whoever holds one need not check any of its fields again.
//! What stands in files is handed to [`assemble`]. This room imports nothing else of ours but `outside_text`.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

pub use choice::{Overlap, PullPolicy, TaintEffect, TolerationOperator};
pub use code::Code;
pub use duration::go_duration;
pub use file::closest;
pub use image_ref::ImageRef;
pub use keys::{Config, Group, Toleration};
pub use schedule::Schedule;
pub use selector::NodeSelector;
pub use template::{HELPER, IMAGE_VOLUME, QUAYCTL, Template, TemplateName, Templates};

pub mod assemble;
mod characters;
mod choice;
pub mod code;
mod duration;
pub mod environment;
mod explain;
mod file;
mod image_ref;
pub mod keys;
mod kinds;
mod layers;
mod locate;
pub mod name;
pub mod problem;
pub mod provenance;
mod redact;
pub mod schedule;
pub mod schema;
mod selector;
mod syntax;
mod template;
mod template_files;
mod template_tables;
mod validate;
pub mod values;

/// How many nodes of a group may have a live Job at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Nodes(NonZeroUsize),
    /// 1 to 100, of the group's eligible nodes, rounded up, at least one.
    Percent(u8),
}

/// A startup taint, whatever its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedTaint {
    /// A label key.
    pub key: String,
    pub effect: TaintEffect,
}

impl Config {
    /// Where the Jobs of groups live that name no namespace; `default` is the cluster connection's.
    pub fn namespace_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(default)
    }

    /// Where all of its Jobs live, each namespace once.
    pub fn namespaces(&self, default: &str) -> BTreeSet<String> {
        let own = self.namespace_or(default);
        self.groups.iter().map(|group| group.namespace_or(own).to_owned()).collect()
    }
}

impl Group {
    /// Where its Jobs live; `configs` is [`Config::namespace_or`]'s.
    pub fn namespace_or<'a>(&'a self, configs: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(configs)
    }
}

impl std::fmt::Display for Limit {
    /// As a config writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::Nodes(nodes) => write!(f, "{nodes}"),
            Limit::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl std::fmt::Display for RemovedTaint {
    /// As a config writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RemovedTaint { key, effect } = self;
        write!(f, "{key}:{}", effect.as_str())
    }
}

/// What is written as text in the effective config is its text there too.
macro_rules! serialized_as_text {
    ($($Text:ty),+) => { $(
        impl serde::Serialize for $Text {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+ };
}

serialized_as_text!(ImageRef, Limit, NodeSelector, RemovedTaint, Schedule, TemplateName);

/// SHA-256 of `bytes` as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
