//! Carrying out commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::command::{self, Command, help};
use super::history::History;
use super::{format, walk, words};
use crate::client::{Client, Credentials, Error, Options, SessionState, Watch, WatchStream, Watched};
use crate::jute::{AuthId, CreateOp, ErrorCode, WatchEvent};

/// Events that wait to be shown at most; a user does not read more.
const EVENTS_MAX: usize = 1024;

/// A session, and what belongs to it.
pub struct Shell {
    connect: String,
    options: Options,
    /// `None` behind `close`.
    client: Option<Client>,
    events: mpsc::Sender<WatchEvent>,
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
    /// Opens a session; fired watches come out of the receiver.
    pub async fn connect(
        connect: String,
        options: Options,
    ) -> Result<(Shell, mpsc::Receiver<WatchEvent>), Error> {
        let client = Some(Client::connect(&connect, options.clone()).await?);
        let (events, events_rx) = mpsc::channel(EVENTS_MAX);
        let (shows_events, history) = (Arc::new(AtomicBool::new(true)), History::default());
        Ok((Shell { connect, options, client, events, shows_events, history, watches_left: 0 }, events_rx))
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
        let output = match command {
            Command::GetAllChildrenNumber { .. } | Command::GetEphemerals { .. } | Command::WhoAmI => {
                look_up(&client, command).await.map(String::into_bytes)
            }
            Command::Get { .. }
            | Command::Ls { .. }
            | Command::Stat { .. }
            | Command::GetAcl { .. }
            | Command::Config { .. } => self.read(&client, command).await,
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
        let client = self.open().await?;
        eprintln!("The session had expired; this is a new one, without ephemeral znodes and watches.");
        Ok(client)
    }

    async fn open(&mut self) -> Result<Client, String> {
        let opened = Client::connect(&self.connect, self.options.clone()).await;
        let client = opened.map_err(|error| error.to_string())?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Ends the session, and opens another if that is wanted.
    async fn leave(&mut self, command: &Command) -> Result<Vec<u8>, String> {
        if let Some(client) = self.client.take() {
            // It ends by itself if the servers are gone.
            let _ = client.close().await;
        }
        if let Command::Connect { servers } = command {
            self.connect = servers.clone().unwrap_or_else(|| self.connect.clone());
            self.open().await?;
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
        let mut output = Vec::new();
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
            Command::Ls { path, recursive: true, .. } => {
                for path in walk::descendants(client, path).await? {
                    output.extend_from_slice(path.as_bytes());
                    output.push(b'\n');
                }
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
        self.report(watch);
        Ok(output)
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
                    CreateOp::Create | CreateOp::Create2 => {
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
                self.report_all(stream);
                None
            }
            Command::RemoveWatches { path, watches } => {
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

    /// Passes the event on when the watch fires.
    fn report(&mut self, watch: Option<Watch>) {
        let Some(watch) = watch else { return };
        self.watches_left += 1;
        let (events, shows) = (self.events.clone(), Arc::clone(&self.shows_events));
        tokio::spawn(async move {
            // A watch that ends with its session has nothing to say.
            if let Ok(event) = watch.event().await
                && shows.load(Relaxed)
            {
                let _ = events.send(event).await;
            }
        });
    }

    /// Passes the events on while the watch is there.
    fn report_all(&mut self, mut stream: WatchStream) {
        self.watches_left += 1;
        let (events, shows) = (self.events.clone(), Arc::clone(&self.shows_events));
        tokio::spawn(async move {
            loop {
                let is_wanted = match stream.next().await {
                    Watched::Event(_) if !shows.load(Relaxed) => true,
                    Watched::Event(event) => events.send(event).await.is_ok(),
                    Watched::Gap => true,
                    Watched::End(_) => false,
                };
                if !is_wanted {
                    return;
                }
            }
        });
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
        | Command::Get { path, .. }
        | Command::GetAcl { path, .. }
        | Command::GetAllChildrenNumber { path }
        | Command::GetEphemerals { path }
        | Command::Ls { path, .. }
        | Command::RemoveWatches { path, .. }
        | Command::Set { path, .. }
        | Command::SetAcl { path, .. }
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
