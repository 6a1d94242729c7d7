//! Any texts as the servers of an ensemble, and as what a reconfiguration makes of them: each result survives its own
//! text, whoever joins is there, whoever leaves is not, and somebody votes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zabra::membership::Membership;
use zabra_fuzz::memory::{Bound, bounded};

/// Every line may be a server, which is kept several times over here.
const BOUND: Bound = Bound { constant_bytes: 64 << 10, factor: 512 };

fuzz_target!(|data: (bool, &str, &str, &str)| {
    let (standalone_enabled, servers, joining, leaving) = data;
    let bytes = servers.len() + joining.len() + leaving.len();
    bounded(BOUND, bytes, || judge(standalone_enabled, servers, joining, leaving));
});

fn judge(standalone_enabled: bool, servers: &str, joining: &str, leaving: &str) {
    let Ok(membership) = Membership::parse(servers) else { return };
    assert_eq!(Membership::parse(&membership.text()).as_ref(), Ok(&membership));
    if let Ok(replaced) = membership.replaced(joining, standalone_enabled) {
        check(&replaced);
    }
    let Ok(changed) = membership.changed(joining, leaving, standalone_enabled) else { return };
    check(&changed);
    if joining.is_empty() {
        for id in leaving.split(',').filter_map(|id| id.trim().parse().ok()) {
            assert!(!changed.servers.contains_key(&zabra::ids::ServerId(id)));
        }
    }
}

fn check(changed: &Membership) {
    assert_eq!(Membership::parse(&changed.text()).as_ref(), Ok(changed));
    assert!(changed.servers.values().any(|server| server.role.votes()));
}
