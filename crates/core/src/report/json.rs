//! The report for machines: JSON, and the same as YAML.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::RunReport;

impl RunReport {
    /// Pretty JSON with a final newline, as it is made: of 5,000 nodes with 20 images each it is 30 MB.
    pub fn write_json(&self, to: &mut dyn std::io::Write) -> std::io::Result<()> {
        serde_json::to_writer_pretty(&mut *to, self)?;
        to.write_all(b"\n")
    }

    /// The same as YAML.
    pub fn to_yaml(&self) -> String {
        yaml(self)
    }

    #[cfg(test)]
    pub fn to_json(&self) -> String {
        pretty(self)
    }
}

pub fn pretty(report: &impl Serialize) -> String {
    // Serialising to a String fails only where a map's key is not a string; there is no map here.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

pub fn yaml(report: &impl Serialize) -> String {
    // As above: the types hold nothing that YAML cannot say.
    serde_saphyr::to_string(report).unwrap_or_default()
}

/// RFC 3339 in UTC, to the second: Kubernetes' own times are no finer.
pub fn second<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

pub fn optional_second<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => second(time, serializer),
        None => serializer.serialize_none(),
    }
}
