//! `zabra salvage`: what is left of damaged data, in a new folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, ensure};
use clap::Args;

use crate::ids::Zxid;
use crate::replica::{Replay, State, StateError};
use crate::storage::{Disks, Left, OsDisk, open_folders_to_read, open_left, what_is_left, write_backup};
use crate::zab::Proposal;

/// Write what is left of damaged data into a new folder
///
/// DATA is the dataDir of a server that does not run. NEW must be empty or missing: it gets one snapshot of the newest
/// state that everything up to it verifies for, and a server can be started with it as its dataDir. DATA is only read.
/// The exit code is 1 if something was lost.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  zabra salvage /var/lib/zabra /var/lib/zabra-salvaged
  zabra salvage /var/lib/zabra --log /fast/zabra-log /var/lib/zabra-salvaged")]
pub struct SalvageArgs {
    /// The damaged dataDir
    data: PathBuf,
    /// The folder to make
    new: PathBuf,
    /// The damaged dataLogDir, if it is another folder
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,
}

/// The state that was salvaged.
struct Salvaged {
    state: State,
    left: Left,
    /// why not all that verifies was used
    doubt: Option<String>,
}

impl SalvageArgs {
    /// Prints what is left and what is lost to the standard output.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        super::print_findings(|out| self.salvage(out))
    }

    /// True if nothing is lost.
    fn salvage(&self, out: &mut impl Write) -> anyhow::Result<bool> {
        ensure!(is_empty(&self.new)?, "{} is not empty: give a new folder", self.new.display());
        let disks = open_folders_to_read(&self.data, self.log.as_ref().unwrap_or(&self.data))?;
        let Salvaged { state, left, doubt } = salvage(&disks)?;
        for damage in left.damage.iter().chain(&doubt) {
            writeln!(out, "DAMAGED: {damage}")?;
        }
        let zxid = state.zxid();
        ensure!(zxid != Zxid::ZERO, "nothing is left: no transaction can be shown");
        let image = state.image();
        let disk = OsDisk::open(&self.new)?;
        let name = write_backup(&disk, zxid, image.digest(), image.version(), image.blocks())?;
        match &left.snapshot {
            Some(name) => writeln!(out, "begun with {}", self.data.join(name).display())?,
            None => writeln!(out, "begun with the beginning of the log")?,
        }
        writeln!(
            out,
            "salvaged: everything through {zxid}, {} znodes, {} sessions, in {}",
            state.tree.len(),
            state.sessions.len(),
            self.new.join(name).display()
        )?;
        let is_whole = left.damage.is_empty() && doubt.is_none();
        if !is_whole {
            writeln!(out, "lost: whatever came behind {zxid}")?;
        }
        writeln!(out, "A server with dataDir={} (and its myid) begins with that.", self.new.display())?;
        Ok(is_whole)
    }
}

/// The newest state that can be shown; nothing that its own digests speak against.
fn salvage(disks: &Disks<OsDisk>) -> anyhow::Result<Salvaged> {
    let (salvaged, differs) = replay(disks, None)?;
    let Some((through, doubt)) = differs else { return Ok(salvaged) };
    let (salvaged, _) = replay(disks, Some(through))?;
    Ok(Salvaged { doubt: Some(doubt), ..salvaged })
}

/// Applies the log to the snapshot, up to `through`; tells the last transaction before the log and the state contradict
/// each other, and how.
fn replay(
    disks: &Disks<OsDisk>,
    through: Option<Zxid>,
) -> anyhow::Result<(Salvaged, Option<(Zxid, String)>)> {
    let snapshot = open_left(disks, &what_is_left(disks, &mut |_| {})?)?;
    // The tool has no secret to keep: any seed will do.
    let state = match snapshot {
        None => State::new(0),
        Some(reader) => {
            let (zxid, digest, version) = (reader.zxid(), reader.digest(), reader.version());
            State::from_blocks(0, zxid, digest, version, reader)
                .map_err(|error| anyhow!("the snapshot of {zxid} makes no state: {error}"))?
        }
    };
    let mut sound = state.zxid();
    let mut replay = Replay::new(state);
    let mut fault: Option<StateError> = None;
    let left = what_is_left(disks, &mut |proposal: Proposal| {
        if fault.is_none() && through.is_none_or(|through| proposal.zxid <= through) {
            match replay.apply(&proposal) {
                Ok(()) => sound = proposal.zxid,
                Err(error) => fault = Some(error),
            }
        }
    })?;
    let differs = fault.map(|error| {
        // The state differs since some time before it was noticed: what was compared last is the same.
        let through = if matches!(error, StateError::Digest { .. }) { replay.compared() } else { sound };
        (through, format!("the log does not fit the state: {error}; only {through} is beyond doubt"))
    });
    let state = replay.into_state();
    Ok((Salvaged { state, left, doubt: None }, differs))
}

fn is_empty(folder: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| folder.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, SessionId};
    use crate::storage::{Options, Storage, open_file, open_folders, verify_snapshot};
    use crate::txn::{Acl, Op, Ops, Txn, txn::Body};
    use crate::zab::EpochRecord;
    use prost::Message as _;

    const COUNT: u32 = 40;

    fn zxid(counter: u32) -> Zxid {
        Zxid::new(Epoch(3), counter)
    }

    /// Creates `/{counter}`, and tells the digest of a state.
    fn create(counter: u32, (digest_zxid, digest): (Zxid, u64)) -> Proposal {
        let acl = vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }];
        let op =
            Op::create(format!("/{counter}"), Some(vec![7; 300].into()), acl, SessionId(0), counter as i32);
        let body = Some(Body::Ops(Ops { ops: vec![op] }));
        let txn = Txn { digest_zxid: digest_zxid.0, digest, body, ..Txn::default() };
        Proposal { zxid: zxid(counter), txn: txn.encode_to_vec().into() }
    }

    /// Writes a log of forty transactions that tell the digests of the states before them, but one that lies.
    fn write(folder: &Path, lying: u32) {
        let disks = open_folders(folder, folder, true).unwrap();
        let (mut storage, _) = Storage::open(disks, Options::default()).unwrap();
        storage.save_epoch(&EpochRecord::default()).unwrap();
        let mut state = State::new(0);
        for counter in 1..=COUNT {
            let digest = state.digest() ^ u64::from(counter == lying);
            let proposal = create(counter, (state.zxid(), digest));
            let previous = if counter == 1 { Zxid::ZERO } else { zxid(counter - 1) };
            state.apply(proposal.zxid, &Txn::from_bytes(proposal.txn.clone()).unwrap()).unwrap();
            storage.append(previous, &[proposal], previous).unwrap();
        }
        storage.mark_end().unwrap();
    }

    fn salvage(data: &Path, new: &Path) -> (bool, String) {
        let mut out = Vec::new();
        let args = SalvageArgs { data: data.to_owned(), new: new.to_owned(), log: None };
        let is_whole = args.salvage(&mut out).unwrap();
        (is_whole, String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_left_of_a_damaged_log_is_written_as_a_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let (data, new) = (folder.path().join("data"), folder.path().join("new"));
        write(&data, 0);
        let (is_whole, text) = salvage(&data, &new);
        assert!(is_whole && text.contains(&format!("everything through {}", zxid(COUNT))), "{text}");
        let path = new.join(format!("snapshot.{:x}", zxid(COUNT).0));
        assert!(verify_snapshot(open_file(&path).unwrap()).is_ok());

        let log = data.join("log.1");
        let mut bytes = std::fs::read(&log).unwrap();
        bytes[4096 + 400 * 20] ^= 1;
        std::fs::write(&log, &bytes).unwrap();
        let again = folder.path().join("again");
        let (is_whole, text) = salvage(&data, &again);
        assert!(!is_whole && text.contains("DAMAGED: ") && text.contains("lost: "), "{text}");
        assert_eq!(std::fs::read(&log).unwrap(), bytes, "the damaged data is only read");
        let args = SalvageArgs { data, new: again, log: None };
        let error = args.salvage(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
    }

    #[test]
    fn nothing_behind_a_digest_that_does_not_fit_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (data, new) = (folder.path().join("data"), folder.path().join("new"));
        write(&data, 11);
        let (is_whole, text) = salvage(&data, &new);
        // The tenth transaction told the state behind the ninth.
        assert!(!is_whole && text.contains(&format!("everything through {}", zxid(9))), "{text}");
        assert!(text.contains("does not fit the state"), "{text}");
    }
}
