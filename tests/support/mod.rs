//! Servers for tests, started as processes of their own and ended with the test.
//!
//! The tests that need Apache ZooKeeper are ignored unless they are asked for. The step `apache` of `./test` asks for them
//! where the package is installed, and elsewhere is skipped with the reason.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Apache ZooKeeper as Debian's package installs it.
const CLASS_PATH: &str = "/etc/zookeeper/conf:/usr/share/java/*";

/// A standalone Apache ZooKeeper on a free port, ended when dropped.
pub struct ApacheZooKeeper {
    process: Child,
    port: u16,
    _data: TempDir,
}

impl ApacheZooKeeper {
    /// Starts one. It may not serve yet: whoever connects tries again until it does.
    pub fn start() -> ApacheZooKeeper {
        let jar = std::path::Path::new("/usr/share/java/zookeeper.jar");
        assert!(jar.exists(), "Apache ZooKeeper is not installed: apt-get install zookeeper");
        let port = free_port();
        let data = TempDir::new().expect("a folder for the server's data");
        let process = Command::new("java")
            .args(["-Xmx256m", "-Dzookeeper.admin.enableServer=false", "-cp", CLASS_PATH])
            .arg("org.apache.zookeeper.server.ZooKeeperServerMain")
            .arg(port.to_string())
            .arg(data.path())
            .arg("2000")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("java starts");
        ApacheZooKeeper { process, port, _data: data }
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where clients connect.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for ApacheZooKeeper {
    fn drop(&mut self) {
        // A process that has ended already is what we want.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody listened on a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
