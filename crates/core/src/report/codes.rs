//! The stable codes of verdicts, reasons and states: of reports, and of labels in metrics.

use serde::{Serialize, Serializer};

use super::{ImageStatus, NodeReason, RunVerdict, Tally};

impl RunVerdict {
    /// Every one.
    pub const ALL: [RunVerdict; 3] = [RunVerdict::Aborted, RunVerdict::Failed, RunVerdict::Succeeded];

    pub fn code(self) -> &'static str {
        match self {
            RunVerdict::Succeeded => "succeeded",
            RunVerdict::Failed => "failed",
            RunVerdict::Aborted => "aborted",
        }
    }
}

impl Tally {
    /// Every one.
    pub const ALL: [Tally; 5] =
        [Tally::Failed, Tally::Interrupted, Tally::NotStarted, Tally::Skipped, Tally::Succeeded];

    pub fn code(self) -> &'static str {
        match self {
            Tally::Succeeded => "succeeded",
            Tally::Failed => "failed",
            Tally::Skipped => "skipped",
            Tally::Interrupted => "interrupted",
            Tally::NotStarted => "not-started",
        }
    }
}

impl NodeReason {
    pub fn code(self) -> &'static str {
        match self {
            NodeReason::Skipped(reason) => reason.code(),
            NodeReason::Failed(reason) => reason.code(),
        }
    }
}

impl Serialize for NodeReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl ImageStatus {
    /// Every one.
    pub const ALL: [ImageStatus; 4] =
        [ImageStatus::Failed, ImageStatus::Pulled, ImageStatus::Present, ImageStatus::Unknown];

    pub fn code(self) -> &'static str {
        match self {
            ImageStatus::Pulled => "pulled",
            ImageStatus::Present => "present",
            ImageStatus::Failed => "failed",
            ImageStatus::Unknown => "unknown",
        }
    }
}

impl Serialize for ImageStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
