//! Carrying out commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::command::{self, Command, ServerChange, help};
use super::history::History;
use super::{Told, format, quota, walk, words};
use crate::client::{Client, Credentials, Error, Options, SessionState, Watch, WatchStream, Watched};
use crate::ids::Zxid;
use crate::jute::{AuthId, CreateOp, ErrorCode, Reconfig};
use crate::membership::Membership;

/// Events that wait to be shown at most; a user does not read more.
const EVENTS_MAX: usize = 1024;

/// A session, and what belongs to it.
pub struct Shell {
    connect: String,
    options: Options,
    /// `None` behind `close`.
    client: Option<Client>,
    events: mpsc::Sender<Told>,
    shows_events: Arc<AtomicBool>,
    history: History,
    /// Watches that were left by the last command.
    watches_left: usize,
}

/// What came of a command.
#[derive(PartialEq, Eq, Debug)]
pub enum Outcome {
    /// To be shown as it is: data need not be text.
    Output(Vec<u8>),
    /// The user wants to leave.
    Quit,
}

impl Shell {
    /// Opens a session; what its watches tell comes out of the receiver, and of a read-only client its states too.
    pub async fn connect(connect: String, options: Options) -> Result<(Shell, mpsc::Receiver<Told>), Error> {
        let (events, events_rx) = mpsc::channel(EVENTS_MAX);
        let (shows_events, history) = (Arc::new(AtomicBool::new(true)), History::default());
        let mut shell =
            Shell { connect, options, client: None, events, shows_events, history, watches_left: 0 };
        shell.open().await?;
        Ok((shell, events_rx))
    }

    /// As the user gave it.
    pub fn connect_string(&self) -> &str {
        &self.connect
    }

    /// How many watches the last command has left.
    pub fn watches_left(&self) -> usize {
        self.watches_left
    }

    /// What stands before a line: the server, the state of the session, how many commands there have been.
    pub fn prompt(&self) -> String {
        let number = self.history.next_number();
        let Some(client) = &self.client else {
            return format!("[zabra: {}(CLOSED) {number}] ", self.connect);
        };
        let status = client.status();
        let server = status.server.map_or(self.connect.clone(), |server| server.to_string());
        let state = format!("{:?}", status.state).to_uppercase();
        format!("[zabra: {server}({state}) {number}] ")
    }

    /// Ends the session.
    pub async fn close(self) -> Result<(), Error> {
        match self.client {
            Some(client) => client.close().await,
            None => Ok(()),
        }
    }

    /// Carries out what a line asks for, and remembers the line.
    pub async fn execute_line(&mut self, line: &str) -> Result<Outcome, String> {
        let number = self.history.remember(line);
        let command = match command::parse(&words::split(line)?)? {
            Command::Redo { number: older } => {
                let line = self.history.get(older).filter(|_| older < number);
                let line =
                    line.ok_or_else(|| format!("there is no command {older} in the history"))?.to_owned();
                match command::parse(&words::split(&line)?)? {
                    Command::Redo { .. } => return Err("a redo cannot be redone".to_owned()),
                    command => {
                        self.history.replace(number, &line);
                        command
                    }
                }
            }
            command => command,
        };
        self.execute(&command).await
    }

    /// Carries out `command`. `Err` tells a person what went wrong.
    pub async fn execute(&mut self, command: &Command) -> Result<Outcome, String> {
        self.watches_left = 0;
        let output = match command {
            Command::Quit => return Ok(Outcome::Quit),
            Command::Help { command } => help(command.as_deref())?.into_bytes(),
            Command::Version => concat!("Zabra shell version: ", env!("CARGO_PKG_VERSION"), "\n").into(),
            Command::History => self.history.newest().into_bytes(),
            Command::Redo { .. } => return Err("there is no history of commands here".to_owned()),
            Command::PrintWatches { on } => self.show_events(*on).into_bytes(),
            Command::Close | Command::Connect { .. } => self.leave(command).await?,
            _ => return self.ask(command).await,
        };
        Ok(Outcome::Output(output))
    }

    /// Carries out a command that needs a session.
    async fn ask(&mut self, command: &Command) -> Result<Outcome, String> {
        let client = self.renewed().await?;
        if let Some(told) = about_quotas(&client, command).await {
            let told = told.map_err(|error| explain(&error, command))?;
            return told.map(|text| Outcome::Output(text.into_bytes()));
        }
        let output = match command {
            Command::GetAllChildrenNumber { .. } | Command::GetEphemerals { .. } | Command::WhoAmI => {
                look_up(&client, command).await.map(String::into_bytes)
            }
            Command::Get { .. }
            | Command::Ls { .. }
            | Command::Stat { .. }
            | Command::GetAcl { .. }
            | Command::Config { .. } => self.read(&client, command).await,
            Command::Reconfig { change, version, stat } => {
                return reconfigure(&client, change, *version, *stat).await.map(Outcome::Output);
            }
            _ => self.write(&client, command).await.map(String::into_bytes),
        };
        output.map(Outcome::Output).map_err(|error| explain(&error, command))
    }

    /// The session; a new one if the old one is over.
    async fn renewed(&mut self) -> Result<Client, String> {
        let client = self.client.clone().ok_or("Not connected: connect opens a session")?;
        if client.status().state != SessionState::Expired {
            return Ok(client);
        }
        let client = self.open().await.map_err(|error| error.to_string())?;
        eprintln!("The session had expired; this is a new one, without ephemeral znodes and watches.");
        Ok(client)
    }

    async fn open(&mut self) -> Result<Client, Error> {
        let client = Client::connect(&self.connect, self.options.clone()).await?;
        self.pass_on(&client).await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Passes on what the session tells without being asked, until it is over.
    async fn pass_on(&self, client: &Client) -> Result<(), Error> {
        let mut told = client.session_events().await?;
        let (events, shows) = (self.events.clone(), Arc::clone(&self.shows_events));
        tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                if shows.load(Relaxed) && events.send(Told::Watch(event)).await.is_err() {
                    return;
                }
            }
        });
        if !self.options.read_only {
            return Ok(());
        }
        let mut status = client.watch_status();
        let (events, shows) = (self.events.clone(), Arc::clone(&self.shows_events));
        tokio::spawn(async move {
            let mut told = SessionState::Connecting;
            loop {
                let state = status.borrow_and_update().state;
                if state != told && shows.load(Relaxed) && events.send(Told::State(state)).await.is_err() {
                    return;
                }
                told = state;
                if status.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Ends the session, and opens another if that is wanted.
    async fn leave(&mut self, command: &Command) -> Result<Vec<u8>, String> {
        if let Some(client) = self.client.take() {
            // It ends by itself if the servers are gone.
            let _ = client.close().await;
        }
        if let Command::Connect { servers } = command {
            self.connect = servers.clone().unwrap_or_else(|| self.connect.clone());
            self.open().await.map_err(|error| error.to_string())?;
        }
        Ok(Vec::new())
    }

    /// Sets whether events are shown, or tells it.
    fn show_events(&self, on: Option<bool>) -> String {
        match on {
            Some(on) => {
                self.shows_events.store(on, Relaxed);
                String::new()
            }
            None => {
                let on = self.shows_events.load(Relaxed);
                format!("printwatches is {}\n", if on { "on" } else { "off" })
            }
        }
    }

    async fn read(&mut self, client: &Client, command: &Command) -> Result<Vec<u8>, Error> {
        let mut output = match command {
            Command::Ls { help: true, .. } => help(Some("ls")).unwrap_or_default().into_bytes(),
            _ => Vec::new(),
        };
        let (stat, watch) = match command {
            Command::Config { for_clients, stat: show, watch } => {
                let (config, stat, watch) = if *watch {
                    let (config, stat, watch) = client.get_config_watched().await?;
                    (config, stat, Some(watch))
                } else {
                    let (config, stat) = client.get_config().await?;
                    (config, stat, None)
                };
                let config = String::from_utf8_lossy(&config);
                let shown = if *for_clients { format::client_servers(&config) } else { config.into_owned() };
                output.extend_from_slice(shown.as_bytes());
                output.push(b'\n');
                (show.then_some(stat), watch)
            }
            Command::Get { path, stat: show, watch, shown } => {
                let (data, stat, watch) = if *watch {
                    let (data, stat, watch) = client.get_data_watched(path).await?;
                    (data, stat, Some(watch))
                } else {
                    let (data, stat) = client.get_data(path).await?;
                    (data, stat, None)
                };
                output.extend_from_slice(&format::data(&data, *shown));
                output.push(b'\n');
                (show.then_some(stat), watch)
            }
            Command::Ls { path, recursive: true, watch, .. } => {
                output.extend(self.list_all(client, path, *watch).await?.into_bytes());
                (None, None)
            }
            Command::Ls { path, stat: show, watch, .. } => {
                let (mut children, stat, watch) = if *watch {
                    let (children, stat, watch) = client.get_children_watched(path).await?;
                    (children, stat, Some(watch))
                } else {
                    let (children, stat) = client.get_children(path).await?;
                    (children, stat, None)
                };
                children.sort_unstable();
                output.extend_from_slice(format::children(&children).as_bytes());
                (show.then_some(stat), watch)
            }
            Command::Stat { path, watch } => {
                let (stat, watch) = if *watch {
                    let (stat, watch) = client.exists_watched(path).await?;
                    (stat, Some(watch))
                } else {
                    (client.exists(path).await?, None)
                };
                (Some(stat.ok_or(Error::Server(ErrorCode::NoNode))?), watch)
            }
            Command::GetAcl { path, stat: show } => {
                let (acl, stat) = client.get_acl(path).await?;
                output.extend_from_slice(format::acl(&acl).as_bytes());
                (show.then_some(stat), None)
            }
            _ => unreachable!("not a command that reads"),
        };
        output.extend(stat.map(|stat| format::stat(&stat)).unwrap_or_default().into_bytes());
        self.keep(watch);
        Ok(output)
    }

    /// A path and all below it, one a line; each is watched if that is wanted.
    async fn list_all(&mut self, client: &Client, path: &str, watch: bool) -> Result<String, Error> {
        let paths = walk::descendants(client, path).await?;
        for path in paths.iter().filter(|_| watch) {
            let (_, _, watch) = client.get_children_watched(path).await?;
            self.keep(Some(watch));
        }
        Ok(paths.iter().map(|path| format!("{path}\n")).collect())
    }

    async fn write(&mut self, client: &Client, command: &Command) -> Result<String, Error> {
        let shown = match command {
            Command::Create { path, data, acl, mode, op } => {
                let data = data.as_bytes();
                let (path, _) = match op {
                    CreateOp::Container => client.create_container(path, data, acl).await?,
                    CreateOp::Ttl { ttl_ms } => {
                        client.create_with_ttl(path, data, acl, *mode, *ttl_ms).await?
                    }
                    CreateOp::Create | CreateOp::Create2 | CreateOp::IfNotExists => {
                        client.create_with_acl(path, data, acl, *mode).await?
                    }
                };
                return Ok(format!("Created {path}\n"));
            }
            Command::Set { path, data, version, stat } => {
                let set = client.set_data(path, data, *version).await?;
                stat.then_some(set)
            }
            Command::SetAcl { path, acl, version, recursive: true, .. } => {
                walk::set_acl_of_all(client, path, acl, *version).await?;
                None
            }
            Command::SetAcl { path, acl, version, stat, .. } => {
                let set = client.set_acl(path, acl, *version).await?;
                stat.then_some(set)
            }
            Command::Delete { path, version } => {
                client.delete(path, *version).await?;
                None
            }
            Command::DeleteAll { path, at_a_time } => {
                walk::delete_all(client, path, at_a_time.unwrap_or(walk::CONCURRENT_MAX)).await?;
                None
            }
            Command::AddWatch { path, mode } => {
                let stream = client.add_watch(path, *mode).await?;
                self.keep_all(stream);
                None
            }
            Command::RemoveWatches { path, watches, without_server: true } => {
                client.remove_watches_or_forget(path, *watches).await?;
                None
            }
            Command::RemoveWatches { path, watches, .. } => {
                client.remove_watches(path, *watches).await?;
                None
            }
            Command::Sync { path } => {
                client.sync(path).await?;
                return Ok("Sync is OK\n".to_owned());
            }
            Command::AddAuth { scheme, auth } => {
                client.add_auth(scheme, auth.as_bytes()).await?;
                let auth = Bytes::copy_from_slice(auth.as_bytes());
                self.options.credentials.push(Credentials { scheme: scheme.clone(), auth });
                None
            }
            _ => unreachable!("not a command that writes"),
        };
        Ok(shown.map(|stat| format::stat(&stat)).unwrap_or_default())
    }

    /// Keeps the watch until it fires or is over.
    fn keep(&mut self, watch: Option<Watch>) {
        let Some(watch) = watch else { return };
        self.watches_left += 1;
        // What it tells comes with the session's events.
        tokio::spawn(async move { drop(watch.event().await) });
    }

    /// Keeps the watch until it is over.
    fn keep_all(&mut self, mut stream: WatchStream) {
        self.watches_left += 1;
        tokio::spawn(async move { while !matches!(stream.next().await, Watched::End(_)) {} });
    }

    /// How the word that is being typed could go on, if it is the beginning of a path.
    pub async fn complete_path(&self, typed: &str) -> Vec<String> {
        let Some(client) = &self.client else { return Vec::new() };
        let Some((parent, beginning)) = typed.rsplit_once('/') else { return Vec::new() };
        let Ok((children, _)) = client.get_children(if parent.is_empty() { "/" } else { parent }).await
        else {
            return Vec::new();
        };
        let fitting = children.iter().filter(|name| name.starts_with(beginning));
        let mut paths: Vec<String> = fitting.map(|name| format!("{parent}/{name}")).collect();
        paths.sort_unstable();
        paths
    }
}

/// Carries out a command about quotas; `None` if it is another.
async fn about_quotas(client: &Client, command: &Command) -> Option<Result<Result<String, String>, Error>> {
    Some(match command {
        Command::SetQuota { path, kind, limit } => quota::set(client, path, *kind, *limit).await,
        Command::ListQuota { path } => quota::list(client, path).await,
        Command::DelQuota { path, kind } => quota::delete(client, path, *kind).await,
        _ => return None,
    })
}

/// Changes the servers of the ensemble.
async fn reconfigure(
    client: &Client,
    change: &ServerChange,
    version: Option<Zxid>,
    shows_stat: bool,
) -> Result<Vec<u8>, String> {
    let from_file;
    let version = version.map_or(Reconfig::ANY_VERSION, |version| version.0.cast_signed());
    let mut request = Reconfig { joining: None, leaving: None, members: None, version };
    match change {
        ServerChange::Some { joining, leaving } => {
            (request.joining, request.leaving) = (joining.as_deref(), leaving.as_deref());
        }
        ServerChange::All { members } => request.members = Some(members),
        ServerChange::File { path } => {
            let wrong = |error: &dyn std::fmt::Display| format!("{path}: {error}");
            let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
            from_file = Membership::parse(&text).map_err(|error| wrong(&error))?.lines();
            request.members = Some(&from_file);
        }
    }
    let (config, stat) = client.reconfig(request).await.map_err(|error| match error {
        Error::Server(ErrorCode::ReconfigInProgress) => {
            "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)".to_owned()
        }
        Error::Server(ErrorCode::NewConfigNoQuorum) => {
            "No quorum of new config is connected and up-to-date with the leader: start the new servers, and try again \
             when they follow"
                .to_owned()
        }
        Error::Server(ErrorCode::NoAuth) => "Insufficient permission : /zookeeper/config".to_owned(),
        Error::Server(ErrorCode::BadArguments) => "Arguments are not valid : these servers".to_owned(),
        Error::Server(ErrorCode::BadVersion) => "version No is not valid : /zookeeper/config".to_owned(),
        error => error.to_string(),
    })?;
    let mut output = b"Committed new configuration:\n".to_vec();
    output.extend_from_slice(&config);
    output.push(b'\n');
    if shows_stat {
        output.extend_from_slice(format::stat(&stat).as_bytes());
    }
    Ok(output)
}

/// What is told in a few words.
async fn look_up(client: &Client, command: &Command) -> Result<String, Error> {
    Ok(match command {
        Command::GetAllChildrenNumber { path } => format!("{}\n", client.count_descendants(path).await?),
        Command::GetEphemerals { path } => {
            let mut paths = client.get_ephemerals(path).await?;
            paths.sort_unstable();
            format::children(&paths)
        }
        Command::WhoAmI => {
            let users = client.who_am_i().await?;
            let user = |user: &AuthId| format!("{}: {}\n", user.scheme, user.id);
            std::iter::once("Auth scheme: User\n".to_owned()).chain(users.iter().map(user)).collect()
        }
        _ => unreachable!("not a command that looks something up"),
    })
}

/// What went wrong, in the words of ZooKeeper's shell where it has some: scripts look for them.
fn explain(error: &Error, command: &Command) -> String {
    let path = match command {
        Command::AddWatch { path, .. }
        | Command::Create { path, .. }
        | Command::Delete { path, .. }
        | Command::DeleteAll { path, .. }
        | Command::DelQuota { path, .. }
        | Command::Get { path, .. }
        | Command::GetAcl { path, .. }
        | Command::GetAllChildrenNumber { path }
        | Command::GetEphemerals { path }
        | Command::ListQuota { path }
        | Command::Ls { path, .. }
        | Command::RemoveWatches { path, .. }
        | Command::Set { path, .. }
        | Command::SetAcl { path, .. }
        | Command::SetQuota { path, .. }
        | Command::Stat { path, .. }
        | Command::Sync { path } => path.as_str(),
        Command::AddAuth { .. }
        | Command::Close
        | Command::Config { .. }
        | Command::Connect { .. }
        | Command::Help { .. }
        | Command::History
        | Command::PrintWatches { .. }
        | Command::Quit
        | Command::Reconfig { .. }
        | Command::Redo { .. }
        | Command::Version
        | Command::WhoAmI => "",
    };
    let words = match error {
        Error::Server(ErrorCode::NoNode) => "Node does not exist: ",
        Error::Server(ErrorCode::NodeExists) => "Node already exists: ",
        Error::Server(ErrorCode::NotEmpty) => "Node not empty: ",
        Error::Server(ErrorCode::NoChildrenForEphemerals) => "Ephemerals cannot have children: ",
        Error::Server(ErrorCode::NoAuth) => "Insufficient permission : ",
        Error::Server(ErrorCode::InvalidAcl) => "Acl is not valid : ",
        Error::Server(ErrorCode::BadArguments) => "Arguments are not valid : ",
        Error::Server(ErrorCode::BadVersion) => "version No is not valid : ",
        Error::Server(ErrorCode::QuotaExceeded) => "Quota has exceeded : ",
        error => return error.to_string(),
    };
    format!("{words}{path}")
}
