//! The names in one folder: as they are seen, and as they are on the disk.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::survivors::Survivors;

/// The entries of a folder: name to number of the node.
#[derive(Debug, Default)]
pub struct Names {
    seen: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Link {
        name: OsString,
        node: u64,
    },
    /// One change, also if it replaces a name: a rename is atomic.
    Rename {
        from: OsString,
        to: OsString,
        node: u64,
    },
    Unlink {
        name: OsString,
    },
}

impl Names {
    /// The node of a name.
    pub fn get(&self, name: &OsStr) -> Option<u64> {
        self.seen.get(name).copied()
    }

    /// All names as seen, in order.
    pub fn seen(&self) -> &BTreeMap<OsString, u64> {
        &self.seen
    }

    /// True if the node has a name here, seen or on the disk or in between.
    pub fn may_hold(&self, node: u64) -> bool {
        let pending = |change: &Change| match change {
            Change::Link { node: it, .. } | Change::Rename { node: it, .. } => *it == node,
            Change::Unlink { .. } => false,
        };
        self.seen.values().chain(self.durable.values()).any(|it| *it == node)
            || self.unsynced.iter().any(pending)
    }

    /// How many changes a loss of power would forget.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Gives a node a name; an old one of that name loses it.
    pub fn link(&mut self, name: &OsStr, node: u64) {
        self.make(Change::Link { name: name.to_owned(), node });
    }

    /// Takes a name away.
    pub fn unlink(&mut self, name: &OsStr) {
        self.make(Change::Unlink { name: name.to_owned() });
    }

    /// Renames; false if there is no such name.
    pub fn rename(&mut self, from: &OsStr, to: &OsStr) -> bool {
        let Some(node) = self.get(from) else { return false };
        if from != to {
            self.make(Change::Rename { from: from.to_owned(), to: to.to_owned(), node });
        }
        true
    }

    /// All names are on the disk now.
    pub fn sync(&mut self) {
        self.unsynced.clear();
        self.durable.clone_from(&self.seen);
    }

    /// The power fails. Returns how many changes were forgotten.
    pub fn cut(&mut self, survivors: &mut Survivors) -> u64 {
        let mut forgotten = 0;
        let mut names = self.durable.clone();
        for change in std::mem::take(&mut self.unsynced) {
            if survivors.keeps() {
                change.apply(&mut names);
            } else {
                forgotten += 1;
            }
        }
        self.seen.clone_from(&names);
        self.durable = names;
        forgotten
    }

    fn make(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<OsString, u64>) {
        match self {
            Change::Link { name, node } => {
                names.insert(name.clone(), *node);
            }
            Change::Rename { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
            Change::Unlink { name } => {
                names.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Names {
        let mut names = Names::default();
        names.link(OsStr::new("old"), 1);
        names.link(OsStr::new("other"), 2);
        names.sync();
        names
    }

    fn text(names: &Names) -> String {
        let parts = names.seen().iter().map(|(name, node)| format!("{}={node}", name.to_string_lossy()));
        parts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_are_on_the_disk_once_the_folder_is_synced() {
        let mut names = folder();
        names.link(OsStr::new("new"), 3);
        assert!(names.rename(OsStr::new("new"), OsStr::new("old")));
        names.unlink(OsStr::new("other"));
        assert_eq!(text(&names), "old=3");
        assert!(names.may_hold(1), "its name is still on the disk");
        assert_eq!(names.cut(&mut Survivors::nothing()), 3);
        assert_eq!(text(&names), "old=1 other=2");
        names.unlink(OsStr::new("other"));
        names.sync();
        assert_eq!(names.cut(&mut Survivors::nothing()), 0);
        assert_eq!(text(&names), "old=1");
    }

    #[test]
    fn a_rename_happens_as_a_whole_or_not_at_all() {
        for seed in 0..50 {
            let mut names = folder();
            assert!(names.rename(OsStr::new("old"), OsStr::new("other")));
            names.cut(&mut Survivors::some(seed));
            assert!(["old=1 other=2", "other=1"].contains(&text(&names).as_str()), "{}", text(&names));
        }
        assert!(!folder().rename(OsStr::new("none"), OsStr::new("other")));
    }

    #[test]
    fn of_several_changes_any_may_survive() {
        let mut results = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut names = folder();
            names.link(OsStr::new("new"), 3);
            names.unlink(OsStr::new("old"));
            names.cut(&mut Survivors::some(seed));
            results.insert(text(&names));
        }
        assert_eq!(results.len(), 4, "{results:?}");
    }
}
