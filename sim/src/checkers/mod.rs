//! What must be true, one file for each: its name, what it holds, and a test that shows that it finds the opposite.
//! Nothing here asks the code under test whether it did well.

pub mod ack_durable;
pub mod agreement;
pub mod client_history;
pub mod client_order;
pub mod committed_log_durability;
pub mod committed_log_monotonicity;
pub mod configurations;
pub mod digests;
pub mod ephemerals;
pub mod epochs;
pub mod expiry;
pub mod generations;
pub mod global_primary_order;
pub mod integrity;
pub mod leader_log_completeness;
pub mod leadership;
pub mod limited;
pub mod linearizability;
pub mod local;
pub mod local_primary_order;
pub mod lock;
pub mod log_contiguity;
pub mod memory_durable;
pub mod message_legal;
pub mod prefix_consistency;
pub mod primary_integrity;
pub mod process_consistency;
pub mod purge;
pub mod quorum_durable;
pub mod quotas;
pub mod real_time;
pub mod resources;
pub mod snapshots;
pub mod total_order;
pub mod watches;

use crate::failure::fail;

/// What is wrong, if something is.
pub type Verdict = Result<(), String>;

/// A run ends if its checker found something.
pub fn require(checker: &str, verdict: Verdict) {
    if let Err(what) = verdict {
        fail(checker, what);
    }
}

/// Wrong unless it is so.
pub fn unless(is_so: bool, what: impl FnOnce() -> String) -> Verdict {
    if is_so { Ok(()) } else { Err(what()) }
}
