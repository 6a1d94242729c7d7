//! What a reconfiguration leaves on the disk, as ZooKeeper does: the servers in a file of their own, named after their
//! version, and the configuration pointed to it. A server starts from what its state says of the ensemble; these files
//! are for the operator, for a server that has lost its state, and for the way back to ZooKeeper.

use std::io;
use std::path::{Path, PathBuf};

use super::files;
use crate::ids::ServerId;
use crate::membership::Membership;
use crate::membership::properties;

/// Writes `membership` to `<config_file>.dynamic.<version>` and points `dynamicConfigFile` of `config_file` to it. What
/// the configuration held of servers is taken out of it, and the client ports that the line of `own` has; a copy of how
/// it was before its first change is kept as `<config_file>.bak`. False: all of it is there already.
pub fn write_membership(config_file: &Path, membership: &Membership, own: ServerId) -> io::Result<bool> {
    let dynamic_file = with_suffix(config_file, &format!(".dynamic.{:x}", membership.version.0));
    let text = files::read_text(config_file)?;
    let edited = edited(&text, &dynamic_file, membership, own)?;
    if edited == text && files::is_there(&dynamic_file) {
        return Ok(false);
    }
    files::replace(&dynamic_file, membership.lines().as_bytes())?;
    if settles_its_servers_itself(&text) {
        files::replace(&with_suffix(config_file, ".bak"), text.as_bytes())?;
    }
    files::replace(config_file, edited.as_bytes())?;
    Ok(true)
}

const POINTER: &str = "dynamicConfigFile";

/// True of a configuration that no reconfiguration has changed yet.
fn settles_its_servers_itself(text: &str) -> bool {
    properties::parse(text).is_ok_and(|entries| entries.iter().all(|entry| entry.key != POINTER))
}

/// The text of a configuration that has its servers in `dynamic_file`.
fn edited(text: &str, dynamic_file: &Path, membership: &Membership, own: ServerId) -> io::Result<String> {
    let own = membership.servers.get(&own);
    let is_listed = own.is_some_and(|own| own.client.is_some());
    let is_secure_listed = own.is_some_and(|own| own.secure_client.is_some());
    let mut edited = properties::without(text, |key| {
        ["server.", "group.", "weight."].iter().any(|start| key.starts_with(start))
            || [POINTER, "peerType"].contains(&key)
            || (is_listed && ["clientPort", "clientPortAddress"].contains(&key))
            || (is_secure_listed && ["secureClientPort", "secureClientPortAddress"].contains(&key))
    })
    .map_err(|error| io::Error::other(format!("line {}: {}", error.line, error.text)))?;
    if !edited.is_empty() && !edited.ends_with('\n') {
        edited.push('\n');
    }
    let path = dynamic_file.to_str().ok_or_else(|| io::Error::other("its path is not UTF-8"))?;
    edited.push_str(&format!("{POINTER}={}\n", path.replace('\\', "\\\\")));
    Ok(edited)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config;
    use crate::ids::Zxid;

    const SERVERS: &str = "server.1=a:1:2;9\nserver.2=b:1:2:observer;9\n";

    fn membership(lines: &str, version: u64) -> Membership {
        Membership::parse(lines).expect("it is in order").with_version(Zxid(version))
    }

    #[test]
    fn the_configuration_keeps_all_but_its_servers() {
        let text = "# mine\ndataDir=/d\nserver.1=a:1:2\nclientPort=9\nclientPortAddress=h\npeerType=observer\n\
                    group.1=1\nweight.1=1\ntickTime=5";
        let edit =
            |own| edited(text, Path::new("/c/zoo.cfg.dynamic.7"), &membership(SERVERS, 7), ServerId(own));
        assert_eq!(
            edit(1).unwrap(),
            "# mine\ndataDir=/d\ntickTime=5\ndynamicConfigFile=/c/zoo.cfg.dynamic.7\n"
        );
        assert_eq!(
            edit(3).unwrap(),
            "# mine\ndataDir=/d\nclientPort=9\nclientPortAddress=h\ntickTime=5\ndynamicConfigFile=/c/zoo.cfg.dynamic.7\n"
        );
    }

    #[test]
    fn a_membership_is_written_once_and_found_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("zoo.cfg");
        let before = format!("dataDir=/d\nreconfigEnabled=true\nclientPort=9\n{SERVERS}");
        fs::write(&file, &before).unwrap();
        let first = membership(SERVERS, 0x1_0000_0007);
        assert!(write_membership(&file, &first, ServerId(1)).unwrap());
        assert!(!write_membership(&file, &first, ServerId(1)).unwrap());
        let dynamic_file = folder.path().join("zoo.cfg.dynamic.100000007");
        assert_eq!(
            fs::read_to_string(&dynamic_file).unwrap(),
            "server.1=a:1:2:participant;0.0.0.0:9\nserver.2=b:1:2:observer;0.0.0.0:9\n"
        );
        let loaded = config::load(&file, Some(1), true).unwrap().settings;
        assert!(loaded.membership().same_members(&first));
        assert_eq!(loaded.dynamic_config_file.as_ref(), Some(&dynamic_file));
        assert_eq!((loaded.config_file.as_ref(), loaded.client_addr.unwrap().port), (Some(&file), 9));
        let second = membership("server.1=a:1:2;9\nserver.2=b:3:4;9\n", 0x2_0000_0001);
        assert!(write_membership(&file, &second, ServerId(1)).unwrap());
        assert!(config::load(&file, Some(2), true).unwrap().settings.membership().same_members(&second));
        assert_eq!(fs::read_to_string(folder.path().join("zoo.cfg.bak")).unwrap(), before);
    }
}
