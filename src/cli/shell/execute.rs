//! Carrying out commands.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::command::{Command, help};
use super::{format, quota, walk};
use crate::client::{Client, Credentials, Error, Options, SessionState, Watch, WatchStream, Watched};
use crate::jute::{AuthId, CreateOp, ErrorCode, WatchEvent};

/// Events that wait to be shown at most; a user does not read more.
const EVENTS_MAX: usize = 1024;

/// A session, and what belongs to it.
pub struct Shell {
    connect: String,
    options: Options,
    client: Client,
    events: mpsc::Sender<WatchEvent>,
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
        let client = Client::connect(&connect, options.clone()).await?;
        let (events, events_rx) = mpsc::channel(EVENTS_MAX);
        Ok((Shell { connect, options, client, events, watches_left: 0 }, events_rx))
    }

    /// A handle of the session, to look things up with.
    pub fn client(&self) -> &Client {
        &self.client
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
    pub fn prompt(&self, number: usize) -> String {
        let status = self.client.status();
        let server = status.server.map_or(self.connect.clone(), |server| server.to_string());
        let state = format!("{:?}", status.state).to_uppercase();
        format!("[zabra: {server}({state}) {number}] ")
    }

    /// Ends the session.
    pub async fn close(self) -> Result<(), Error> {
        self.client.close().await
    }

    /// Carries out `command`. `Err` tells a person what went wrong.
    pub async fn execute(&mut self, command: &Command) -> Result<Outcome, String> {
        self.watches_left = 0;
        self.renew().await.map_err(|error| error.to_string())?;
        if let Command::Quit = command {
            return Ok(Outcome::Quit);
        }
        if let Command::Help { command } = command {
            return help(command.as_deref()).map(|text| Outcome::Output(text.into_bytes()));
        }
        if let Some(told) = self.about_quotas(command).await {
            let told = told.map_err(|error| explain(&error, command))?;
            return told.map(|text| Outcome::Output(text.into_bytes()));
        }
        let output = match command {
            Command::GetAllChildrenNumber { .. } | Command::GetEphemerals { .. } | Command::WhoAmI => {
                self.look_up(command).await.map(String::into_bytes)
            }
            Command::Get { .. } | Command::Ls { .. } | Command::Stat { .. } | Command::GetAcl { .. } => {
                self.read(command).await
            }
            _ => self.write(command).await.map(String::into_bytes),
        };
        output.map(Outcome::Output).map_err(|error| explain(&error, command))
    }

    /// Carries out a command about quotas; `None` if it is another.
    async fn about_quotas(&self, command: &Command) -> Option<Result<Result<String, String>, Error>> {
        Some(match command {
            Command::SetQuota { path, kind, limit } => quota::set(&self.client, path, *kind, *limit).await,
            Command::ListQuota { path } => quota::list(&self.client, path).await,
            Command::DelQuota { path, kind } => quota::delete(&self.client, path, *kind).await,
            _ => return None,
        })
    }

    /// Opens a new session if the old one is over.
    async fn renew(&mut self) -> Result<(), Error> {
        if self.client.status().state == SessionState::Expired {
            self.client = Client::connect(&self.connect, self.options.clone()).await?;
            eprintln!("The session had expired; this is a new one, without ephemeral znodes and watches.");
        }
        Ok(())
    }

    async fn read(&mut self, command: &Command) -> Result<Vec<u8>, Error> {
        let client = self.client.clone();
        let mut output = Vec::new();
        let (stat, watch) = match command {
            Command::Get { path, stat: show, watch } => {
                let (data, stat, watch) = if *watch {
                    let (data, stat, watch) = client.get_data_watched(path).await?;
                    (data, stat, Some(watch))
                } else {
                    let (data, stat) = client.get_data(path).await?;
                    (data, stat, None)
                };
                output.extend_from_slice(&data);
                output.push(b'\n');
                (show.then_some(stat), watch)
            }
            Command::Ls { path, recursive: true, .. } => {
                for path in walk::descendants(&client, path).await? {
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

    /// What is told in a few words.
    async fn look_up(&self, command: &Command) -> Result<String, Error> {
        let client = &self.client;
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

    async fn write(&mut self, command: &Command) -> Result<String, Error> {
        let client = &self.client;
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
                let set = client.set_data(path, data.as_bytes(), *version).await?;
                stat.then_some(set)
            }
            Command::SetAcl { path, acl, version, stat } => {
                let set = client.set_acl(path, acl, *version).await?;
                stat.then_some(set)
            }
            Command::Delete { path, version } => {
                client.delete(path, *version).await?;
                None
            }
            Command::DeleteAll { path } => {
                walk::delete_all(client, path).await?;
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
        let events = self.events.clone();
        tokio::spawn(async move {
            // A watch that ends with its session has nothing to say.
            if let Ok(event) = watch.event().await {
                let _ = events.send(event).await;
            }
        });
    }

    /// Passes the events on while the watch is there.
    fn report_all(&mut self, mut stream: WatchStream) {
        self.watches_left += 1;
        let events = self.events.clone();
        tokio::spawn(async move {
            loop {
                let is_wanted = match stream.next().await {
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
    pub async fn complete_path(client: &Client, typed: &str) -> Vec<String> {
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

/// What went wrong, in the words of ZooKeeper's shell where it has some: scripts look for them.
fn explain(error: &Error, command: &Command) -> String {
    let path = match command {
        Command::AddWatch { path, .. }
        | Command::Create { path, .. }
        | Command::Delete { path, .. }
        | Command::DeleteAll { path }
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
        Command::AddAuth { .. } | Command::Help { .. } | Command::Quit | Command::WhoAmI => "",
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
