//! `zabra shell`: commands to an ensemble, typed, given as arguments, or read from a file.

mod command;
mod configuration;
mod editor;
mod execute;
mod format;
mod history;
mod quota;
mod walk;
mod words;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tokio::sync::mpsc;

use self::editor::Ask;
use self::execute::{Outcome, Shell};
use super::tls::TlsArgs;
use crate::client::{Options, SaslLogin, SaslMechanism, SessionEvent, SessionState};

/// How long a completion may take; then there is none.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(1);

/// What a session tells without having been asked.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    /// of its watches
    Watch(SessionEvent),
    /// of itself
    State(SessionState),
}

/// How a password is proved.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mechanism {
    /// as in ZooKeeper
    #[value(name = "digest-md5")]
    DigestMd5,
    /// only in Zabra
    #[value(name = "scram-sha-256")]
    ScramSha256,
}

/// Look at znodes and change them. Without a command: interactively, or line by line from standard input.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  zabra shell                                     interactively, with a server on this machine
  zabra shell -s a:2181,b:2181/app ls /           one command; /app is taken for the root
  zabra shell create /config 'a b'                words are quoted for your own shell only once
  zabra shell get -w /config                      shows the data, then waits until it changes
  zabra shell < commands                          line by line; # begins a comment
  zabra shell help                                the commands

-server, -timeout, -client-configuration and -waitforconnection, which is always so here, are understood too.
The exit code is 1 if a command failed.")]
pub struct ShellArgs {
    /// Servers and the path taken for the root: host:port,host:port/chroot
    #[arg(short, long, default_value = "127.0.0.1:2181")]
    pub servers: String,
    /// Session timeout to ask for, in milliseconds
    #[arg(long, default_value_t = 30_000)]
    pub session_timeout_ms: u64,
    /// Give up if no server can be reached in so many milliseconds
    #[arg(long, default_value_t = 10_000)]
    pub connect_timeout_ms: u64,
    /// Be content with a server that is cut off and lets clients read what it has, until one is found that is not
    #[arg(short, long)]
    pub read_only: bool,
    /// A file for ZooKeeper's Java clients: TLS with PEM files, and the time a request may take
    #[arg(long, value_name = "FILE")]
    pub client_configuration: Option<PathBuf>,
    /// Prove by SASL to be this user; the password is that of the environment's ZABRA_SASL_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub sasl_user: Option<String>,
    /// How: digest-md5, which ZooKeeper has too, or scram-sha-256
    #[arg(long, value_enum, default_value = "digest-md5")]
    pub sasl_mechanism: Mechanism,
    /// For servers that speak TLS
    #[command(flatten)]
    pub tls: TlsArgs,
    /// One command, such as: get -s /path
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Runs one command, those of standard input, or a conversation.
pub async fn run(args: ShellArgs) -> Result<ExitCode> {
    if let [name, ..] = &args.command[..]
        && name == "help"
    {
        return Ok(match command::help(args.command.get(1).map(String::as_str)) {
            Ok(text) => {
                show(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(reason) => failed(&reason),
        });
    }
    // What cannot be understood needs no server to be refused.
    let command = match args.command.is_empty() {
        true => None,
        false => match command::parse(&args.command) {
            Ok(command) => Some(command),
            Err(reason) => return Ok(failed(&reason)),
        },
    };
    let mut options = Options {
        session_timeout: Duration::from_millis(args.session_timeout_ms),
        connect_timeout: Duration::from_millis(args.connect_timeout_ms),
        sasl: sasl_login(&args)?,
        tls: args.tls.files(),
        read_only: args.read_only,
        ..Options::default()
    };
    if let Some(file) = &args.client_configuration {
        for needless in configuration::apply(file, &mut options).map_err(anyhow::Error::msg)? {
            eprintln!("{}: {needless}", file.display());
        }
    }
    let (mut shell, mut events) = Shell::connect(args.servers, options).await?;
    let code = match command {
        Some(command) => match shell.execute(&command).await {
            Ok(Outcome::Output(output)) => {
                show(&output);
                if shell.watches_left() > 0 {
                    show_first(&mut events).await;
                }
                ExitCode::SUCCESS
            }
            Ok(Outcome::Quit) => ExitCode::SUCCESS,
            Err(reason) => failed(&reason),
        },
        None if std::io::stdin().is_terminal() => converse(&mut shell, events).await?,
        None => from_stdin(&mut shell, events).await?,
    };
    // The session ends by itself if the servers are gone.
    let _ = shell.close().await;
    Ok(code)
}

/// The words of a command line, with the options of ZooKeeper's shell in the place of which there are others here.
pub fn as_here(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    if words.get(1).is_none_or(|name| name != "shell") {
        return words;
    }
    let mut at = 2;
    // The command itself begins with a word without a dash.
    while let Some(option) = words.get(at).and_then(|word| word.to_str()).filter(|word| word.starts_with('-'))
    {
        let here = match option {
            "-server" => Some("--servers"),
            "-timeout" => Some("--session-timeout-ms"),
            "-client-configuration" => Some("--client-configuration"),
            "-waitforconnection" => {
                words.remove(at);
                continue;
            }
            _ => None,
        };
        // All others but these have a value, in the same word or the next.
        let has_value = !matches!(option, "-r" | "--read-only") && !option.contains('=');
        if let Some(here) = here {
            words[at] = here.into();
        }
        at += if has_value { 2 } else { 1 };
    }
    words
}

/// Waits for the first event of a watch, and shows it.
async fn show_first(events: &mut mpsc::Receiver<Told>) {
    while let Some(told) = events.recv().await {
        if let Told::Watch(_) = told {
            show(format::told(&told).as_bytes());
            return;
        }
    }
}

/// Who to be, if anybody. The password does not stand among the arguments, which every user of a machine can see.
fn sasl_login(args: &ShellArgs) -> Result<Option<SaslLogin>> {
    let Some(user) = args.sasl_user.clone() else { return Ok(None) };
    let password = std::env::var("ZABRA_SASL_PASSWORD")
        .context("--sasl-user needs the password in the environment's ZABRA_SASL_PASSWORD")?;
    let mechanism = match args.sasl_mechanism {
        Mechanism::DigestMd5 => SaslMechanism::DigestMd5,
        Mechanism::ScramSha256 => SaslMechanism::ScramSha256,
    };
    Ok(Some(SaslLogin { mechanism, user, password }))
}

/// Every line is a command; one that fails does not keep the next from being tried.
async fn from_stdin(shell: &mut Shell, mut events: mpsc::Receiver<Told>) -> Result<ExitCode> {
    tokio::spawn(async move {
        while let Some(told) = events.recv().await {
            show(format::told(&told).as_bytes());
        }
    });
    let (lines, mut lines_rx) = mpsc::channel(1);
    // Reading blocks, and the session has to be kept alive meanwhile.
    std::thread::spawn(move || {
        std::io::stdin().lines().try_for_each(|line| lines.blocking_send(line).map_err(drop))
    });
    let mut code = ExitCode::SUCCESS;
    while let Some(line) = lines_rx.recv().await {
        let line = line?;
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match shell.execute_line(&line).await {
            Ok(Outcome::Output(output)) => show(&output),
            Ok(Outcome::Quit) => break,
            Err(reason) => code = failed(&reason),
        }
    }
    Ok(code)
}

/// Answers what the line editor asks, until the person leaves.
async fn converse(shell: &mut Shell, mut events: mpsc::Receiver<Told>) -> Result<ExitCode> {
    println!("Connected to {}. help lists the commands.", shell.connect_string());
    let (mut asks, mut printer) = editor::start(shell.prompt())?;
    loop {
        tokio::select! {
            ask = asks.recv() => match ask {
                None => return Ok(ExitCode::SUCCESS),
                Some(Ask::Line(line, answer)) => {
                    let next = match shell.execute_line(&line).await {
                        Ok(Outcome::Output(output)) => {
                            show(&output);
                            Some(shell.prompt())
                        }
                        Ok(Outcome::Quit) => None,
                        Err(reason) => {
                            failed(&reason);
                            Some(shell.prompt())
                        }
                    };
                    // Without an answer the editor ends, which is seen above.
                    let _ = answer.send(next);
                }
                Some(Ask::Complete(typed, answer)) => {
                    let paths = shell.complete_path(&typed);
                    let paths = tokio::time::timeout(COMPLETION_TIMEOUT, paths).await;
                    let _ = answer.send(paths.unwrap_or_default());
                }
            },
            Some(told) = events.recv() => printer.print(format::told(&told))?,
        }
    }
}

/// Writes to standard output; whoever closed it does not want more.
fn show(output: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(output).and_then(|()| stdout.flush());
}

/// Tells what went wrong.
fn failed(reason: &str) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_for_zookeepers_shell_is_understood() {
        let as_here = |line: &str| {
            let words = as_here(line.split(' ').map(OsString::from));
            words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            as_here(
                "zabra shell -r --tls-ca a -server h:1 -timeout 5000 -waitforconnection -client-configuration f ls -R /"
            ),
            "zabra shell -r --tls-ca a --servers h:1 --session-timeout-ms 5000 --client-configuration f ls -R /"
        );
        for line in [
            "zabra shell -s h:1 get -server",
            "zabra shell create -server x",
            "zabra bench -server x",
            "zabra",
        ] {
            assert_eq!(as_here(line), line);
        }
    }
}
