//! `zabra log`: what a segment of the log holds, and whether all of it verifies.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use prost::Message;

use crate::ids::{SessionId, Zxid};
use crate::jute::ErrorCode;
use crate::storage::{Ending, Entry, Scan, open_file, scan_segment};
use crate::tree::Lifetime;
use crate::txn::{ErrorTxn, Txn, op::Op, txn::Body};

/// Print the transactions of a log and verify every checksum and the chain
///
/// PATH is a segment, `log.<zxid>`, or the folder that holds the segments (dataLogDir). It may be that of a running
/// server: nothing is locked or changed. The exit code is 1 if something is damaged.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  zabra log /var/lib/zabra/log.1\n  zabra log --summary /var/lib/zabra")]
pub struct LogArgs {
    /// A segment of the log, or the folder that holds them
    path: PathBuf,
    /// One line for each segment instead of one for each transaction
    #[arg(long)]
    summary: bool,
}

impl LogArgs {
    /// Prints to the standard output.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        super::print_findings(|out| self.print(out))
    }

    /// True if everything verifies.
    fn print(&self, out: &mut impl Write) -> anyhow::Result<bool> {
        let segments = segments(&self.path)?;
        let mut sound = true;
        let mut before: Option<Scan> = None;
        for (index, path) in segments.iter().enumerate() {
            let is_last = index + 1 == segments.len();
            let Some(scan) = self.print_segment(out, path, is_last, &mut sound)? else {
                before = None;
                continue;
            };
            if let Some(before) = &before
                && !scan.header.base
                && (scan.header.previous != before.last || scan.header.chain != before.crc)
            {
                sound = false;
                let (previous, last) = (scan.header.previous, before.last);
                writeln!(out, "  DAMAGED: it continues {previous}, but the segment before ends with {last}")?;
            }
            before = Some(scan);
        }
        Ok(sound)
    }

    fn print_segment(
        &self,
        out: &mut impl Write,
        path: &Path,
        is_last: bool,
        sound: &mut bool,
    ) -> anyhow::Result<Option<Scan>> {
        let file = open_file(path).with_context(|| path.display().to_string())?;
        writeln!(out, "{}", path.display())?;
        let mut written = Ok(());
        let mut undecoded = 0_u64;
        let scan = scan_segment(&file, &mut |entry| {
            let txn = Txn::decode(entry.txn.clone());
            undecoded += u64::from(txn.is_err());
            if !self.summary && written.is_ok() {
                written = print_entry(out, &entry, txn.ok().as_ref());
            }
        });
        let scan = match scan.with_context(|| path.display().to_string())? {
            Ok(scan) => scan,
            Err(fault) => {
                *sound = false;
                writeln!(out, "  DAMAGED: no header of a segment: {fault:?}")?;
                return Ok(None);
            }
        };
        written?;
        *sound &= print_ending(out, &scan, is_last)? && undecoded == 0;
        if undecoded > 0 {
            writeln!(out, "  DAMAGED: {undecoded} records verify, but hold no transaction")?;
        }
        Ok(Some(scan))
    }
}

fn print_ending(out: &mut impl Write, scan: &Scan, is_last: bool) -> io::Result<bool> {
    let (header, last) = (&scan.header, scan.last);
    let origin = if header.base { "begins the log behind" } else { "continues" };
    writeln!(
        out,
        "  segment {} {origin} {}: {} transactions through {last}, committed through {}, {} bytes",
        header.id,
        header.previous,
        scan.records,
        scan.committed.min(last),
        scan.end
    )?;
    match &scan.ending {
        Ending::Clean => Ok(true),
        Ending::Torn { found, .. } if is_last => {
            writeln!(out, "  byte {}: {found}: a group that is not finished; a start cuts it off", scan.end)?;
            Ok(true)
        }
        Ending::Torn { found, .. } => {
            writeln!(out, "  DAMAGED: byte {}: {found}, in a segment that another one follows", scan.end)?;
            Ok(false)
        }
        Ending::Damaged { offset, found } => {
            writeln!(out, "  DAMAGED: byte {offset}: {found}")?;
            Ok(false)
        }
    }
}

fn print_entry(out: &mut impl Write, entry: &Entry, txn: Option<&Txn>) -> io::Result<()> {
    write!(out, "  {} byte {} ", entry.zxid, entry.offset)?;
    let Some(txn) = txn else { return writeln!(out, "{} bytes that are no transaction", entry.txn.len()) };
    write!(out, "{} session 0x{:x} xid {} ", super::utc(txn.time_ms), txn.session_id, txn.xid)?;
    match &txn.body {
        Some(Body::CreateSession(create)) => write!(out, "createSession timeout {} ms", create.timeout_ms)?,
        Some(Body::CloseSession(close)) => write!(out, "closeSession {:?}", close.paths)?,
        Some(Body::Ops(ops)) if ops.ops.len() == 1 => print_op(out, ops.ops[0].op.as_ref())?,
        Some(Body::Ops(ops)) => {
            write!(out, "multi of {}:", ops.ops.len())?;
            for (index, op) in ops.ops.iter().enumerate() {
                write!(out, "{}", if index == 0 { " " } else { "; " })?;
                print_op(out, op.op.as_ref())?;
            }
        }
        Some(Body::Error(error)) => print_refusal(out, error)?,
        None => write!(out, "nothing")?,
    }
    if txn.digest_zxid != 0 {
        write!(out, ", digest {:016x} at {}", txn.digest, Zxid(txn.digest_zxid))?;
    }
    writeln!(out)
}

fn print_refusal(out: &mut impl Write, error: &ErrorTxn) -> io::Result<()> {
    match ErrorCode::try_from(error.code) {
        Ok(code) => write!(out, "refused: {code}")?,
        Err(_) => write!(out, "refused with code {}", error.code)?,
    }
    error.failed_op.map_or(Ok(()), |op| write!(out, ", operation {op} of a multi"))
}

/// How long data is; null has no length.
fn size(data: &Option<Bytes>) -> String {
    data.as_ref().map_or_else(|| "null".to_owned(), |data| format!("{} bytes", data.len()))
}

fn print_lifetime(out: &mut impl Write, lifetime: Lifetime) -> io::Result<()> {
    match lifetime {
        Lifetime::Unlimited => Ok(()),
        Lifetime::Session(_) => write!(out, " ephemeral"),
        Lifetime::Container => write!(out, " container"),
        Lifetime::Ttl { ms } => write!(out, " ttl {ms} ms"),
    }
}

/// Paths are quoted: they may hold what would confuse a terminal.
fn print_op(out: &mut impl Write, op: Option<&Op>) -> io::Result<()> {
    match op {
        Some(Op::Create(create)) => {
            write!(out, "create {:?} {}", create.path, size(&create.data))?;
            print_lifetime(out, Lifetime::of(SessionId(create.ephemeral_owner)))
        }
        Some(Op::Delete(delete)) => write!(out, "delete {:?}", delete.path),
        Some(Op::SetData(set)) => {
            write!(out, "setData {:?} {} version {}", set.path, size(&set.data), set.version)
        }
        Some(Op::SetAcl(set)) => {
            write!(out, "setACL {:?} {} entries aversion {}", set.path, set.acl.len(), set.aversion)
        }
        Some(Op::Check(check)) => write!(out, "check {:?}", check.path),
        Some(Op::DeleteAll(all)) => write!(out, "deleteAll {:?}", all.paths),
        Some(Op::Pass(pass)) => write!(out, "pass {:?}", pass.path),
        None => write!(out, "an operation of a newer release"),
    }
}

/// The segments that `path` names, in the order of the log.
fn segments(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("log."));
        if let Some(first) = name.and_then(|first| u64::from_str_radix(first, 16).ok()) {
            segments.push((first, path));
        }
    }
    anyhow::ensure!(!segments.is_empty(), "{}: there is no segment of a log in this folder", path.display());
    segments.sort();
    Ok(segments.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::storage::{Options, Storage, open_folders};
    use crate::txn::{Create, Ops};
    use crate::zab::{EpochRecord, Proposal};

    fn print(path: &Path, summary: bool) -> (bool, String) {
        let mut out = Vec::new();
        let sound = LogArgs { path: path.to_owned(), summary }.print(&mut out).unwrap();
        (sound, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_log_is_printed_line_by_line_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let disks = open_folders(folder.path(), folder.path(), true).unwrap();
        let (mut storage, _) = Storage::open(disks, Options::default()).unwrap();
        storage.save_epoch(&EpochRecord::default()).unwrap();
        let create =
            Create { path: "/a\u{7}".to_owned(), data: Some(vec![1; 12].into()), ..Create::default() };
        let ops = Ops { ops: vec![crate::txn::Op { op: Some(Op::Create(create)) }] };
        let refusal = ErrorTxn { code: ErrorCode::NoNode as i32, failed_op: Some(2) };
        let proposals = [Body::Ops(ops), Body::Error(refusal)].into_iter().zip(1..).map(|(body, counter)| {
            let txn = Txn { time_ms: 1_000_000_000_123, body: Some(body), ..Txn::default() };
            Proposal { zxid: Zxid::new(Epoch(1), counter), txn: txn.encode_to_vec().into() }
        });
        storage.append(Zxid::ZERO, &proposals.collect::<Vec<_>>(), Zxid::ZERO).unwrap();
        storage.mark_end().unwrap();

        let (sound, text) = print(folder.path(), false);
        assert!(sound, "{text}");
        assert!(text.contains("0x1_00000001 byte 4096 2001-09-09T01:46:40.123Z"), "{text}");
        assert!(text.contains(r#"create "/a\u{7}" 12 bytes"#), "{text}");
        assert!(text.contains("refused: no such znode (NoNode, -101), operation 2 of a multi"), "{text}");
        assert_eq!(print(&folder.path().join("log.1"), true).1.lines().count(), 2);

        let path = folder.path().join("log.1");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4160] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (sound, text) = print(&path, false);
        assert!(!sound && text.contains("DAMAGED: byte 4096"), "{text}");
    }
}
