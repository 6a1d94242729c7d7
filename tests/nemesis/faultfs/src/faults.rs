//! Failures that were ordered, and what came of them.

use std::time::Duration;

use wildmatch::WildMatch;

use crate::content::PAGE_BYTES;

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// of a file's contents
    Read,
    /// of a file's contents
    Write,
    /// of a file's contents
    Sync,
    /// of a folder's names
    SyncFolder,
}

/// The `errno` of a sync that says it is done and is not: what a disk does that lies.
pub const LIE: i32 = 0;

/// So many operations fail, or all.
#[derive(Clone, Debug)]
pub struct Rule {
    /// which operations
    pub op: Op,
    /// of which files: a pattern of the path from the root, with `*` and `?`; the root itself is `.`
    pub pattern: WildMatch,
    /// the number of the error they give, or [`LIE`]
    pub errno: i32,
    /// how many more; `None`: all
    pub left: Option<u64>,
}

/// All failures that are ordered.
#[derive(Debug, Default)]
pub struct Faults {
    /// those that were not used up
    pub rules: Vec<Rule>,
    /// how long each sync takes
    pub sync_delay: Duration,
    /// how many pages there are room for; `None`: any number
    pub pages_max: Option<u64>,
}

/// What was done since the start. Every line of it is told by `stats`.
#[derive(Debug, Default)]
pub struct Counts {
    /// requests of each kind that came, failed ones included
    pub ops: PerOp,
    /// of these, those that a rule made fail
    pub failed: PerOp,
    /// writes refused because the volume was full
    pub refused_full: u64,
    /// syncs that were delayed
    pub delayed_syncs: u64,
    /// losses of power
    pub cuts: u64,
    /// what they made forget
    pub forgotten_bytes: u64,
    /// changes of names that they made forget
    pub forgotten_names: u64,
    /// bytes changed by `flip`
    pub flipped: u64,
}

/// A number for each kind of operation.
#[derive(Debug, Default)]
pub struct PerOp([u64; 4]);

impl PerOp {
    /// One more.
    pub fn add(&mut self, op: Op) {
        self.0[op as usize] += 1;
    }

    /// So many so far.
    pub fn of(&self, op: Op) -> u64 {
        self.0[op as usize]
    }
}

impl Faults {
    /// The error that this operation is to give, if any; uses up a rule.
    pub fn strike(&mut self, op: Op, path: &str) -> Option<i32> {
        let hits = |rule: &&mut Rule| rule.op == op && rule.pattern.matches(path);
        let rule = self.rules.iter_mut().find(hits)?;
        let errno = rule.errno;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        self.rules.retain(|rule| rule.left != Some(0));
        Some(errno)
    }

    /// True if there is room for so many pages in all.
    pub fn has_room(&self, pages: u64) -> bool {
        self.pages_max.is_none_or(|max| pages <= max)
    }
}

impl Counts {
    /// `key=value`, one after the other.
    pub fn text(&self) -> String {
        let Counts { ops, failed, .. } = self;
        let pairs = [
            ("reads", ops.of(Op::Read)),
            ("writes", ops.of(Op::Write)),
            ("syncs", ops.of(Op::Sync)),
            ("folder_syncs", ops.of(Op::SyncFolder)),
            ("failed_reads", failed.of(Op::Read)),
            ("failed_writes", failed.of(Op::Write)),
            ("failed_syncs", failed.of(Op::Sync)),
            ("failed_folder_syncs", failed.of(Op::SyncFolder)),
            ("refused_full", self.refused_full),
            ("delayed_syncs", self.delayed_syncs),
            ("cuts", self.cuts),
            ("forgotten_bytes", self.forgotten_bytes),
            ("forgotten_names", self.forgotten_names),
            ("flipped", self.flipped),
        ];
        pairs.map(|(key, value)| format!("{key}={value}")).join(" ")
    }
}

/// Bytes as pages, rounded up.
pub fn pages_of(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES as u64)
}
