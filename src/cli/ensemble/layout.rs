//! Folders, ports and configuration files of an ensemble on one machine.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::EnsembleArgs;
use crate::config::{Format, Source, parse_text};
use crate::ids::ServerId;
use crate::membership::{ListenAddr, PeerRole, ServerAddr};

/// The clients' port of the first server if nothing else is asked for.
const CLIENT_PORT: u16 = 2181;

/// Where free ports are looked for: below those that Linux gives to outgoing connections, so that none of these takes
/// a port between our choosing it and the server's binding it.
const FREE_PORTS: std::ops::Range<u16> = 10_000..32_000;

/// One server of the ensemble.
#[derive(Clone, Debug)]
pub(super) struct ServerPlan {
    pub id: u8,
    pub folder: PathBuf,
    pub config: PathBuf,
    pub log: PathBuf,
    pub client: SocketAddr,
    pub quorum_port: u16,
    pub election_port: u16,
}

impl ServerPlan {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The `server.N` line.
    fn address(&self) -> ServerAddr {
        ServerAddr {
            id: ServerId(self.id),
            host: self.client.ip().to_string(),
            quorum_port: self.quorum_port,
            election_port: self.election_port,
            also: Vec::new(),
            role: PeerRole::EQUAL,
            client: Some(ListenAddr { host: Some(self.client.ip().to_string()), port: self.client.port() }),
            secure_client: None,
        }
    }
}

/// The whole ensemble, its folder locked against a second one.
#[derive(Debug)]
pub(super) struct Layout {
    pub dir: PathBuf,
    pub servers: Vec<ServerPlan>,
    _lock: File,
}

impl Layout {
    /// Chooses ports, and writes what the servers need into their folders. Data that is there is kept.
    pub fn prepare(args: &EnsembleArgs) -> anyhow::Result<Layout> {
        let dir = &args.dir;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let lock = locked(dir)?;
        let found = server_folders(dir)?;
        ensure!(
            found == 0 || found == usize::from(args.servers),
            "{} holds an ensemble of {found}: expected --servers {found}, or another --dir",
            dir.display()
        );
        let ports = Ports::choose(args)?;
        let plan = |id: u8| {
            let folder = dir.join(format!("server-{id}"));
            let index = usize::from(id - 1);
            ServerPlan {
                id,
                config: folder.join("zoo.cfg"),
                log: folder.join("server.log"),
                folder,
                client: SocketAddr::new(args.host, ports.client[index]),
                quorum_port: ports.peer[2 * index],
                election_port: ports.peer[2 * index + 1],
            }
        };
        let servers: Vec<ServerPlan> = (1..=args.servers).map(plan).collect();
        write(&servers, &args.set)?;
        Ok(Layout { dir: dir.clone(), servers, _lock: lock })
    }
}

/// Holds the folder for this process; the lock ends with it.
fn locked(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => bail!("{} is in use by another ensemble: expected another --dir", dir.display()),
    }
}

/// How many servers' folders there are.
fn server_folders(dir: &Path) -> anyhow::Result<usize> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()?;
    Ok(names.iter().filter(|name| name.to_string_lossy().starts_with("server-")).count())
}

/// Writes `zoo.cfg` and `myid` of every server. If none of them has data yet, this is a new ensemble, and each is told
/// by the file `initialize` that its empty disk is as it should be. A disk that is empty beside others that are not
/// has lost its data: that server gets no such file, and will not vote before the others have brought it up to date.
fn write(servers: &[ServerPlan], extra_lines: &[String]) -> anyhow::Result<()> {
    for server in servers {
        fs::create_dir_all(server.data())
            .with_context(|| format!("cannot create {}", server.data().display()))?;
    }
    let mut all_fresh = true;
    for server in servers {
        all_fresh &= is_fresh(&server.data())?;
    }
    for server in servers {
        let text = config_text(server, servers, extra_lines)?;
        let name = server.config.display().to_string();
        let source = Source {
            name: &name,
            text: &text,
            format: Format::Properties,
            myid: Some(server.id),
            strict: true,
        };
        parse_text(&source)?;
        write_file(&server.config, &text)?;
        write_file(&server.data().join("myid"), &format!("{}\n", server.id))?;
        if all_fresh {
            write_file(&server.data().join("initialize"), "")?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// True if no server has ever written to the folder.
fn is_fresh(data: &Path) -> anyhow::Result<bool> {
    let entries = fs::read_dir(data).with_context(|| format!("cannot list {}", data.display()))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()?;
    Ok(names.iter().all(|name| name == "myid" || name == "initialize"))
}

/// The zoo.cfg of `server`. `extra_lines` come last, so that they count.
fn config_text(
    server: &ServerPlan,
    servers: &[ServerPlan],
    extra_lines: &[String],
) -> anyhow::Result<String> {
    let data = std::path::absolute(server.data())?;
    let data = data.to_str().context("the path of --dir is not UTF-8")?;
    let mut lines = vec![
        "# Written by `zabra ensemble` at every start.".to_string(),
        format!("dataDir={}", data.replace('\\', "\\\\")),
        "tickTime=2000".to_string(),
        "initLimit=10".to_string(),
        "syncLimit=5".to_string(),
        "# All clients come from one address here.".to_string(),
        "maxClientCnxns=0".to_string(),
        "4lw.commands.whitelist=srvr,ruok,stat,mntr,isro,conf".to_string(),
    ];
    // A server list of one would be right too; without it the server does what a standalone zoo.cfg makes it do.
    if servers.len() == 1 {
        lines.push(format!("clientPort={}", server.client.port()));
        lines.push(format!("clientPortAddress={}", server.client.ip()));
    } else {
        lines.extend(servers.iter().map(|server| format!("server.{}={}", server.id, server.address())));
    }
    for line in extra_lines {
        ensure!(line.contains('=') && !line.contains('\n'), "--set {line}: expected KEY=VALUE");
        let key = line.split('=').next().unwrap_or_default().trim();
        lines.retain(|earlier| earlier.split('=').next() != Some(key));
        lines.push(line.clone());
    }
    Ok(lines.join("\n") + "\n")
}

/// One clients' port per server, and two among the servers.
struct Ports {
    client: Vec<u16>,
    peer: Vec<u16>,
}

impl Ports {
    fn choose(args: &EnsembleArgs) -> anyhow::Result<Ports> {
        let count = usize::from(args.servers);
        // Ports stay bound until all are chosen, so that none is chosen twice.
        let mut bound = Vec::new();
        let client = match args.client_port {
            Some(0) => free(args.host, count, &mut bound)?,
            Some(first) => row(args.host, first, count, &mut bound).with_context(|| {
                "clients' ports: expected another --client-port, or 0 for free ones".to_string()
            })?,
            None => match row(args.host, CLIENT_PORT, count, &mut bound) {
                Ok(ports) => ports,
                Err(_) => free(args.host, count, &mut bound)?,
            },
        };
        let peer = match args.base_port {
            None | Some(0) => free(args.host, 2 * count, &mut bound)?,
            Some(first) => row(args.host, first, 2 * count, &mut bound)
                .with_context(|| "servers' ports: expected another --base-port".to_string())?,
        };
        Ok(Ports { client, peer })
    }
}

/// `count` ports from `first` on, all of them free.
fn row(host: IpAddr, first: u16, count: usize, bound: &mut Vec<TcpListener>) -> anyhow::Result<Vec<u16>> {
    let mut ports = Vec::new();
    for port in (u32::from(first)..).take(count) {
        let port = u16::try_from(port).with_context(|| format!("port {port} is beyond 65535"))?;
        let listener = TcpListener::bind((host, port));
        bound.push(listener.with_context(|| format!("port {port} of {host} cannot be used"))?);
        ports.push(port);
    }
    Ok(ports)
}

/// `count` free ports; the search begins at another place in every process.
fn free(host: IpAddr, count: usize, bound: &mut Vec<TcpListener>) -> anyhow::Result<Vec<u16>> {
    let size = u32::from(FREE_PORTS.end - FREE_PORTS.start);
    let offset = std::process::id().wrapping_mul(97) % size;
    let mut ports = Vec::new();
    for step in 0..size {
        let port = FREE_PORTS.start + u16::try_from((offset + step) % size).unwrap_or_default();
        if let Ok(listener) = TcpListener::bind((host, port)) {
            bound.push(listener);
            ports.push(port);
        }
        if ports.len() == count {
            return Ok(ports);
        }
    }
    bail!("{host} has no {count} free ports: expected an address of this machine as --host")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::load;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: EnsembleArgs,
    }

    /// The arguments as a user writes them, for an ensemble in `dir` on free ports.
    fn args(dir: &Path, more: &[&str]) -> EnsembleArgs {
        let dir = dir.to_str().unwrap();
        let line = ["ensemble", "--dir", dir, "--client-port", "0"].into_iter().chain(more.iter().copied());
        Command::parse_from(line).args
    }

    fn error_of(args: &EnsembleArgs) -> String {
        format!("{:#}", Layout::prepare(args).unwrap_err())
    }

    #[test]
    fn every_server_gets_a_file_that_loads_strictly_and_knows_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let layout =
            Layout::prepare(&args(dir.path(), &["--servers", "3", "--set", "tickTime=500"])).unwrap();
        let mut ports = Vec::new();
        for server in &layout.servers {
            let settings = load(&server.config, None, true).unwrap().settings;
            assert_eq!(settings.server_id, ServerId(server.id));
            assert_eq!((settings.servers.len(), settings.tick_ms), (3, 500));
            assert_eq!(settings.client_addr.unwrap().to_string(), server.client.to_string());
            assert!(settings.data_dir.join("initialize").exists());
            ports.extend([server.client.port(), server.quorum_port, server.election_port]);
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 9);
    }

    #[test]
    fn a_single_server_is_standalone() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::prepare(&args(dir.path(), &["--servers", "1", "--host", "::1"])).unwrap();
        let settings = load(&layout.servers[0].config, None, true).unwrap().settings;
        assert!(settings.is_standalone() && settings.servers.is_empty());
        assert_eq!(settings.client_addr.unwrap().to_string(), layout.servers[0].client.to_string());
    }

    #[test]
    fn only_a_new_ensemble_is_told_that_its_disks_are_empty() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::prepare(&args(dir.path(), &[])).unwrap();
        for server in &layout.servers {
            fs::remove_file(server.data().join("initialize")).unwrap();
            fs::write(server.data().join("epoch"), "x").unwrap();
        }
        fs::remove_dir_all(layout.servers[1].data()).unwrap();
        drop(layout);
        let layout = Layout::prepare(&args(dir.path(), &[])).unwrap();
        assert!(layout.servers.iter().all(|server| !server.data().join("initialize").exists()));
        assert!(layout.servers[1].data().join("myid").exists());
    }

    #[test]
    fn what_does_not_fit_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::prepare(&args(dir.path(), &[])).unwrap();
        assert!(
            error_of(&args(dir.path(), &[])).ends_with("in use by another ensemble: expected another --dir")
        );
        drop(layout);
        let error = error_of(&args(dir.path(), &["--servers", "5"]));
        assert!(error.ends_with("holds an ensemble of 3: expected --servers 3, or another --dir"), "{error}");
        let error = error_of(&args(dir.path(), &["--set", "tikTime=5"]));
        assert!(error.ends_with("tikTime is not a known key: did you mean tickTime?"), "{error}");
    }

    #[test]
    fn ports_that_are_taken_are_refused_if_they_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut args = args(dir.path(), &["--servers", "1"]);
        args.client_port = Some(port);
        let error = error_of(&args);
        let expected = "clients' ports: expected another --client-port, or 0 for free ones";
        assert!(
            error.starts_with(&format!("{expected}: port {port} of 127.0.0.1 cannot be used")),
            "{error}"
        );
    }
}
