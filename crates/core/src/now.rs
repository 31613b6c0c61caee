//! The time, as a fact that callers bring.

use std::time::Instant;

use jiff::Timestamp;

/// What both clocks say at one moment: one to wait by, one to write down.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Never goes back; what deadlines and pauses are measured by.
    pub instant: Instant,
    /// May be set at any moment; what reports and schedules are written in.
    pub time: Timestamp,
}
