//! Commands, one per line over a Unix socket; each is answered with one line that begins with `ok` or `error`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use wildmatch::WildMatch;

use crate::faults::{LIE, Op, Rule};
use crate::survivors::Survivors;
use crate::volume::Volume;

/// All commands.
pub const HELP: &str = "\
cut                             forget everything that was not synced (end its users first)
cut SEED                        forget about half of it: sectors of 512 bytes and changes of names, drawn from the seed
fail OP COUNT ERROR PATTERN     the next COUNT (or `all`) of OP on files whose path matches fail;
                                OP is read, write, sync or syncfolder; ERROR is EIO or ENOSPC, or LIE: a sync
                                that says it is done and is not; * and ? are wild
room BYTES | room any           ENOSPC after so many bytes more; as much as is wanted
delay MS                        each sync takes so long
flip PATH OFFSET MASK           change bits of a byte, as decay would
clear                           order no more failures, delays or limits
stats                           what was done, as key=value";

/// Answers connections until the process ends.
pub fn serve(listener: &UnixListener, volume: &Arc<Mutex<Volume>>) -> Result<()> {
    for stream in listener.incoming() {
        // A caller that went away hurts nobody else.
        if let Err(error) = converse(&stream?, volume) {
            eprintln!("a connection to the control socket ended: {error}");
        }
    }
    Ok(())
}

fn converse(stream: &UnixStream, volume: &Mutex<Volume>) -> Result<()> {
    for line in BufReader::new(stream).lines() {
        let mut volume = volume.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match carry_out(&line?, &mut volume) {
            Ok(text) if text.is_empty() => "ok\n".to_owned(),
            Ok(text) => format!("ok {text}\n"),
            Err(error) => format!("error {error:#}\n"),
        };
        let mut stream = stream;
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Does what a line says and gives what there is to tell.
fn carry_out(line: &str, volume: &mut Volume) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["cut"] => Ok(cut(volume, &mut Survivors::nothing())),
        ["cut", seed] => Ok(cut(volume, &mut Survivors::some(number(seed)?))),
        ["fail", op, count, error, pattern] => {
            volume.fail(rule(op, count, error, pattern)?);
            Ok(String::new())
        }
        ["room", "any"] => {
            volume.limit_room(None);
            Ok(String::new())
        }
        ["room", bytes] => {
            volume.limit_room(Some(number(bytes)?));
            Ok(String::new())
        }
        ["delay", ms] => {
            volume.delay_syncs(Duration::from_millis(number(ms)?));
            Ok(String::new())
        }
        ["flip", path, offset, mask] => {
            let mask = u8::try_from(number(mask)?).context("a mask is of one byte")?;
            volume.flip(path, number(offset)?, mask).map_err(std::io::Error::from_raw_os_error)?;
            Ok(String::new())
        }
        ["clear"] => {
            volume.clear_faults();
            Ok(String::new())
        }
        ["stats"] => Ok(volume.stats()),
        _ => bail!("not a command: {line:?}"),
    }
}

fn cut(volume: &mut Volume, survivors: &mut Survivors) -> String {
    let (unsynced_files, unsynced_names) = volume.unsynced();
    let (bytes, names) = volume.cut(survivors);
    format!(
        "unsynced_files={unsynced_files} unsynced_names={unsynced_names} forgotten_bytes={bytes} forgotten_names={names}"
    )
}

fn rule(op: &str, count: &str, error: &str, pattern: &str) -> Result<Rule> {
    let op = match op {
        "read" => Op::Read,
        "write" => Op::Write,
        "sync" => Op::Sync,
        "syncfolder" => Op::SyncFolder,
        _ => bail!("{op:?} is not read, write, sync or syncfolder"),
    };
    let left = match count {
        "all" => None,
        _ => Some(number(count)?),
    };
    if left == Some(0) {
        bail!("a failure of no operation is none");
    }
    let errno = match error {
        "EIO" => libc::EIO,
        "ENOSPC" => libc::ENOSPC,
        "LIE" if matches!(op, Op::Sync | Op::SyncFolder) => LIE,
        _ => bail!("{error:?} is not EIO or ENOSPC, or LIE for a sync"),
    };
    Ok(Rule { op, pattern: WildMatch::new(pattern), errno, left })
}

fn number(text: &str) -> Result<u64> {
    text.parse().with_context(|| format!("{text:?} is not a number"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::volume::ROOT;

    fn told(volume: &mut Volume, line: &str) -> String {
        carry_out(line, volume).unwrap_or_else(|error| format!("error {error:#}"))
    }

    #[test]
    fn commands_do_what_they_say() {
        let mut volume = Volume::default();
        let node = volume.make(ROOT, OsStr::new("log.1"), false).unwrap().node;
        assert_eq!(told(&mut volume, "fail write 1 EIO log.*"), "");
        assert_eq!(volume.write(node, 0, b"x", false).unwrap_err(), libc::EIO);
        assert_eq!(told(&mut volume, "room 0"), "");
        assert_eq!(volume.write(node, 0, b"x", false).unwrap_err(), libc::ENOSPC);
        assert_eq!(told(&mut volume, "room any"), "");
        volume.write(node, 0, b"x", false).unwrap();
        assert_eq!(told(&mut volume, "flip log.1 0 255"), "");
        assert_eq!(told(&mut volume, "delay 20"), "");
        assert_eq!(volume.sync_delay(), Duration::from_millis(20));
        assert_eq!(told(&mut volume, "clear"), "");
        assert_eq!(volume.sync_delay(), Duration::ZERO);
        assert!(told(&mut volume, "cut 7").starts_with("unsynced_files=1 unsynced_names=1 "));
        assert!(told(&mut volume, "cut").ends_with("forgotten_bytes=0 forgotten_names=0"));
        let stats = told(&mut volume, "stats");
        for pair in ["failed_writes=1", "refused_full=1", "cuts=2", "flipped=1", "delayed_syncs=1"] {
            assert!(stats.contains(pair), "{pair} in {stats}");
        }
    }

    #[test]
    fn what_is_not_a_command_is_told() {
        let mut volume = Volume::default();
        let wrong = [
            "",
            "cut it",
            "fail",
            "fail write 0 EIO *",
            "fail jump 1 EIO *",
            "fail read 1 EBADF *",
            "room -1",
            "flip none 0 1",
            "flip a 0 256",
        ];
        for line in wrong {
            assert!(told(&mut volume, line).starts_with("error"), "{line}");
        }
    }
}
