//! What a client missed while it was not connected.

use crate::ids::Zxid;
use crate::jute::{EventKind, Stat};
use crate::mutants::{Mutant, has};

/// A watch as a client lists it in `setWatches`: it knows for what it waits, the server keeps less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetWatch {
    /// on a znode that was there
    Data,
    /// for a znode to appear
    Exist,
    /// on the children of a znode
    Child,
}

/// The event to send at once for a watch that a client still had when it saw `relative_zxid` last, and that is set
/// again now that the znode is as `node` says; `None`: nothing was missed, the watch is to be registered.
pub fn missed(watch: SetWatch, node: Option<&Stat>, relative_zxid: Zxid) -> Option<EventKind> {
    if has(Mutant::WatchNotResumed) {
        return None;
    }
    match (watch, node) {
        (SetWatch::Exist, None) => None,
        (SetWatch::Exist, Some(_)) => Some(EventKind::NodeCreated),
        (SetWatch::Data | SetWatch::Child, None) => Some(EventKind::NodeDeleted),
        (SetWatch::Data, Some(stat)) => {
            stat.mzxid.is_newer_than(relative_zxid).then_some(EventKind::NodeDataChanged)
        }
        (SetWatch::Child, Some(stat)) => {
            stat.pzxid.is_newer_than(relative_zxid).then_some(EventKind::NodeChildrenChanged)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_change_is_told_and_all_else_is_watched() {
        use EventKind::*;
        let stat = Stat { mzxid: Zxid(10), pzxid: Zxid(20), ..Stat::default() };
        for (watch, node, zxid, event) in [
            (SetWatch::Data, Some(&stat), 9, Some(NodeDataChanged)),
            (SetWatch::Data, Some(&stat), 10, None),
            (SetWatch::Data, None, 99, Some(NodeDeleted)),
            (SetWatch::Exist, Some(&stat), 99, Some(NodeCreated)),
            (SetWatch::Exist, None, 0, None),
            (SetWatch::Child, Some(&stat), 19, Some(NodeChildrenChanged)),
            (SetWatch::Child, Some(&stat), 20, None),
            (SetWatch::Child, None, 99, Some(NodeDeleted)),
            (SetWatch::Data, Some(&stat), u64::MAX, Some(NodeDataChanged)),
            (SetWatch::Child, Some(&stat), 1 << 63, Some(NodeChildrenChanged)),
        ] {
            assert_eq!(missed(watch, node, Zxid(zxid)), event, "{watch:?} {node:?} {zxid}");
        }
    }
}
