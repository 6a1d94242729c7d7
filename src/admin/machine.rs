//! The machine and the process that a server runs in.

use std::env;
use std::fmt::{self, Write as _};
use std::path::Path;

use super::text::Text;

/// What ZooKeeper tells of its environment, without what is Java's. Of the environment's variables only two: others hold
/// secrets.
pub(super) fn envi(version: &str) -> String {
    Text::of(|out| {
        writeln!(out, "Environment:")?;
        let system = rustix::system::uname();
        let mut line = |key: &str, value: &dyn fmt::Display| writeln!(out, "{key}={value}");
        line("zookeeper.version", &version)?;
        line("host.name", &system.nodename().to_string_lossy())?;
        line("os.name", &system.sysname().to_string_lossy())?;
        line("os.arch", &system.machine().to_string_lossy())?;
        line("os.version", &system.release().to_string_lossy())?;
        let variable = |name: &str| env::var(name).unwrap_or_else(|_| "<NA>".to_owned());
        line("user.name", &variable("USER"))?;
        line("user.home", &variable("HOME"))?;
        line("user.dir", &env::current_dir().unwrap_or_default().display())
    })
}

/// Bytes of the files in a folder; what cannot be read counts nothing.
pub(super) fn files_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let files = entries.flatten().filter_map(|entry| entry.metadata().ok());
    files.filter(|metadata| metadata.is_file()).map(|metadata| metadata.len()).sum()
}

/// File descriptors in use, the one that counts them left out; -1 where the system does not tell.
pub(super) fn open_files() -> i64 {
    std::fs::read_dir("/proc/self/fd").map_or(-1, |entries| entries.count() as i64 - 1)
}

/// File descriptors that may be in use; -1 if there is no bound.
pub(super) fn open_files_max() -> i64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|max| i64::try_from(max).ok()).unwrap_or(-1)
}
