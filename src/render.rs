//! Makes a Job manifest of a planned Job. Pure: no client, no clock, no files.

use crate::plan::PlannedJob;

/// A Job as it is posted or printed, and what reading its fate back needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub job: PlannedJob,
    /// The whole `batch/v1` Job, identity overlaid.
    pub body: serde_json::Value,
    /// For each image of the group, in file order, the names of the containers (init containers
    /// too) whose state tells its fate: those whose `image` equals the reference or that mount a
    /// volume whose `image.reference` does. Empty: nothing in the pod shows it.
    pub image_containers: Vec<Vec<String>>,
    /// Names of containers that run the carrier image.
    pub carrier_containers: Vec<String>,
}
