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
        let user = User::of_process();
        line("user.name", &user.name)?;
        line("user.home", &user.home)?;
        line("user.dir", &env::current_dir().unwrap_or_default().display())
    })
}

/// Who runs the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// the name; the number of one that has none
    pub name: String,
    /// the folder
    home: String,
}

impl User {
    /// As the environment says; what it leaves out stands in the machine's list of users, where Java looks for it.
    pub fn of_process() -> User {
        let uid = rustix::process::getuid().as_raw();
        let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        User::new(|variable| env::var(variable).ok(), uid, &list)
    }

    fn new(variable: impl Fn(&str) -> Option<String>, uid: u32, list: &str) -> User {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let listed = list.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let listed = listed.into_iter().find(|fields| fields.get(2) == Some(&uid.to_string().as_str()));
        let field = |index: usize| Some((*listed.as_ref()?.get(index)?).to_owned());
        User {
            name: set("USER").or_else(|| set("LOGNAME")).or_else(|| field(0)).unwrap_or(uid.to_string()),
            home: set("HOME").or_else(|| field(5)).unwrap_or_else(|| "<NA>".to_owned()),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_in_the_environment_is_in_the_list_of_users() {
        let list = "root:x:0:0:root:/root:/bin/sh\nbroken\nzoo:x:17:17::/var/zoo:/bin/false\n";
        let user = |variables: &[(&str, &str)], uid| {
            let of = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted);
            let User { name, home } =
                User::new(|name| of(name).map(|(_, value)| (*value).to_owned()), uid, list);
            format!("{name} {home}")
        };
        assert_eq!(user(&[], 17), "zoo /var/zoo");
        assert_eq!(user(&[("USER", "me"), ("LOGNAME", "other"), ("HOME", "/srv/me")], 17), "me /srv/me");
        assert_eq!(user(&[("USER", ""), ("LOGNAME", "me")], 17), "me /var/zoo");
        assert_eq!(user(&[], 18), "18 <NA>");
    }
}
