//! `zabra snapshot`: what a snapshot holds, and whether all of it verifies.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::replica::State;
use crate::storage::{SnapshotFault, SnapshotReader, open_file, verify_snapshot};
use crate::tree::Lifetime;

/// Print the sessions and znodes of a snapshot and verify every checksum and the digest
///
/// The exit code is 1 if something is damaged.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  zabra snapshot /var/lib/zabra/snapshot.100000f3a\n  \
                        zabra snapshot --summary /var/lib/zabra/snapshot.100000f3a")]
pub struct SnapshotArgs {
    /// A snapshot file, `snapshot.<zxid>`
    path: PathBuf,
    /// Only counts, not every session and znode
    #[arg(long)]
    summary: bool,
}

impl SnapshotArgs {
    /// Prints to the standard output.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        super::print_findings(|out| self.print(out))
    }

    /// True if everything verifies.
    fn print(&self, out: &mut impl Write) -> anyhow::Result<bool> {
        let path = &self.path;
        let in_file = || path.display().to_string();
        writeln!(out, "{}", in_file())?;
        let summary = match verify_snapshot(open_file(path).with_context(in_file)?) {
            Ok(summary) => summary,
            Err(SnapshotFault::Io(error)) => return Err(error).with_context(in_file),
            Err(fault) => {
                writeln!(out, "  DAMAGED: {fault}")?;
                return Ok(false);
            }
        };
        writeln!(
            out,
            "  state after {}, digest {:016x}: {} blocks, {} bytes before compression",
            summary.zxid, summary.digest, summary.blocks, summary.raw_bytes
        )?;
        let state = match load(path)? {
            Ok(state) => state,
            Err(reason) => {
                writeln!(out, "  DAMAGED: {reason}")?;
                return Ok(false);
            }
        };
        writeln!(
            out,
            "  {} sessions, {} znodes of which {} are ephemeral, {} bytes of names and data",
            state.sessions.len(),
            state.tree.len(),
            state.tree.ephemerals_count(),
            state.tree.approximate_data_size()
        )?;
        if !self.summary {
            print_sessions(out, &state)?;
            print_znodes(out, &state)?;
        }
        Ok(true)
    }
}

/// The state in a file that verifies; or why it holds none.
fn load(path: &Path) -> anyhow::Result<Result<State, String>> {
    let reader = SnapshotReader::open(open_file(path)?)?;
    let (zxid, digest, version) = (reader.zxid(), reader.digest(), reader.version());
    // The tool has no secret to keep: any seed will do.
    Ok(State::from_blocks(0, zxid, digest, version, reader).map_err(|error| error.to_string()))
}

fn print_sessions(out: &mut impl Write, state: &State) -> io::Result<()> {
    for (id, session) in state.sessions.iter() {
        writeln!(
            out,
            "  session {id} timeout {} ms, generation {:x}, {} ephemerals",
            session.timeout_ms,
            session.generation,
            state.tree.ephemerals_of(id)
        )?;
    }
    Ok(())
}

/// Every znode, parents first. Paths are quoted: they may hold what would confuse a terminal.
fn print_znodes(out: &mut impl Write, state: &State) -> io::Result<()> {
    let mut paths = vec!["/".to_owned()];
    while let Some(path) = paths.pop() {
        let Some(znode) = state.tree.node(&path) else { continue };
        let stat = znode.stat();
        write!(
            out,
            "  {path:?} {} bytes, created {} {}, set {} {}, version {}, {} children",
            stat.data_length,
            stat.czxid,
            super::utc(stat.ctime_ms),
            stat.mzxid,
            super::utc(stat.mtime_ms),
            stat.version,
            stat.num_children
        )?;
        match znode.lifetime() {
            Lifetime::Unlimited => {}
            Lifetime::Session(owner) => write!(out, ", ephemeral of {owner}")?,
            Lifetime::Container => write!(out, ", container")?,
            Lifetime::Ttl { ms } => write!(out, ", ttl {ms} ms")?,
        }
        writeln!(out)?;
        let base = if path == "/" { "" } else { path.as_str() };
        let mut children: Vec<String> = znode.children().map(|name| format!("{base}/{name}")).collect();
        // The last one is printed first.
        children.sort_unstable_by(|a, b| b.cmp(a));
        paths.append(&mut children);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SnapshotEncoder;

    #[test]
    fn a_snapshot_is_printed_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot.0");
        let image = State::new(1).image();
        let encoder =
            SnapshotEncoder::new(image.zxid(), image.digest(), image.version(), image.blocks()).unwrap();
        let mut bytes = encoder.collect::<Result<Vec<_>, _>>().unwrap().concat();
        std::fs::write(&path, &bytes).unwrap();

        let print = || {
            let mut out = Vec::new();
            let sound = SnapshotArgs { path: path.clone(), summary: false }.print(&mut out).unwrap();
            (sound, String::from_utf8(out).unwrap())
        };
        let (sound, text) = print();
        assert!(sound && text.contains("0 sessions") && text.contains(r#""/zookeeper/quota""#), "{text}");

        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (sound, text) = print();
        assert!(!sound && text.contains("DAMAGED"), "{text}");
    }
}
