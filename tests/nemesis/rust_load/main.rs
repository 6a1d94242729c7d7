//! Load from the Rust client that writes down what it was told: one line of JSON for each request, with the times
//! before and after it. `tests/nemesis/history.py` says what the lines mean. Ends with SIGTERM.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use zabra::client::{Client, Error, Options};
use zabra::jute::{Acl, Create, CreateMode, CreateOp, Request, Response};

/// A batch of requests that travel without waiting for each other's answers.
const BATCH_MAX: usize = 4;
/// The pause between two batches: a load, not a flood.
const PAUSE: Duration = Duration::from_millis(8);

/// A load that writes down its history.
#[derive(Parser, Debug)]
struct Args {
    /// host:port,host:port
    connect: String,
    /// Where the history goes
    history: PathBuf,
    /// Chooses the requests
    #[arg(long)]
    seed: u64,
    /// How many sessions
    #[arg(long, default_value_t = 2)]
    clients: usize,
    /// How many registers `/nemesis/r0` ... there are
    #[arg(long)]
    registers: usize,
}

/// What all clients of this process share.
struct Shared {
    args: Args,
    out: RefCell<BufWriter<File>>,
    stop: watch::Receiver<bool>,
}

/// One client, and its sessions one after the other.
struct Recorder {
    shared: Rc<Shared>,
    name: String,
    random: StdRng,
    number: u64,
    order: u64,
}

/// A request to come, and what its line says before it is sent.
struct Planned {
    path: String,
    kind: Kind,
    value: String,
}

#[derive(Clone, Copy)]
enum Kind {
    Set,
    Cas(i32),
    Append,
    Get,
}

/// CLOCK_MONOTONIC in seconds: the clock that Python's `time.monotonic` shows, so that histories can be compared.
fn now() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

impl Shared {
    fn write(&self, line: &Map<String, Value>) -> Result<()> {
        let mut out = self.out.borrow_mut();
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n").context("cannot write the history")
    }
}

impl Recorder {
    /// One session after the other until the end.
    async fn run(mut self) -> Result<()> {
        let mut stop = self.shared.stop.clone();
        while !*stop.borrow() {
            let options = Options { session_timeout: Duration::from_secs(15), ..Options::default() };
            let connecting = Client::connect(&self.shared.args.connect, options);
            let Ok(client) = connecting.await else { continue };
            loop {
                let over = self.batch(&client).await?;
                let stopped = tokio::time::timeout(PAUSE, stop.wait_for(|stop| *stop)).await.is_ok();
                if over || stopped {
                    break;
                }
            }
            // An expired session cannot be closed, and need not be.
            let _ = client.close().await;
        }
        Ok(())
    }

    /// Some requests at once. True if the session is over.
    async fn batch(&mut self, client: &Client) -> Result<bool> {
        let register = format!("/nemesis/r{}", self.random.random_range(0..self.shared.args.registers));
        match self.random.random_range(0..10) {
            0..4 => {
                let count = self.random.random_range(1..=BATCH_MAX);
                let plans = (0..count).map(|_| self.write_somewhere()).collect();
                Ok(self.send(client, plans, None).await?.1)
            }
            4..6 => {
                let (version, over) = self.send(client, vec![self.get(&register)], None).await?;
                let Some(version) = version else { return Ok(over) };
                let cas = Planned { path: register, kind: Kind::Cas(version), value: self.value() };
                Ok(self.send(client, vec![cas], None).await?.1)
            }
            6..9 => {
                let began = now();
                let sync = client.send(&Request::Sync { path: Some("/nemesis") });
                let Ok(reply) = sync.await else { return Ok(true) };
                match reply.await {
                    Ok(_) => Ok(self.send(client, vec![self.get(&register)], Some(began)).await?.1),
                    Err(error) => Ok(is_over(&error)),
                }
            }
            _ => Ok(self.send(client, vec![self.get(&register)], None).await?.1),
        }
    }

    fn write_somewhere(&mut self) -> Planned {
        if self.random.random_range(0..4) == 0 {
            let path = format!("/nemesis/{}/s-", self.name);
            return Planned { path, kind: Kind::Append, value: self.value() };
        }
        let path = format!("/nemesis/r{}", self.random.random_range(0..self.shared.args.registers));
        Planned { path, kind: Kind::Set, value: self.value() }
    }

    fn get(&self, path: &str) -> Planned {
        Planned { path: path.to_owned(), kind: Kind::Get, value: String::new() }
    }

    /// A value that nobody else writes.
    fn value(&mut self) -> String {
        self.number += 1;
        format!("{}-{}", self.name, self.number)
    }

    /// Sends requests without waiting, then writes down all answers. `synced_from`: a sync began then, and was answered.
    /// Returns the version that was read last, and whether the session is over.
    async fn send(
        &mut self,
        client: &Client,
        plans: Vec<Planned>,
        synced_from: Option<f64>,
    ) -> Result<(Option<i32>, bool)> {
        let session = client.status().id.to_string();
        let mut sent = Vec::new();
        for plan in plans {
            self.order += 1;
            let mut line = Map::new();
            line.insert("client".to_owned(), json!(self.name));
            line.insert("session".to_owned(), json!(session));
            line.insert("order".to_owned(), json!(self.order));
            line.insert("path".to_owned(), json!(plan.path));
            line.insert("invoked".to_owned(), json!(synced_from.unwrap_or_else(now)));
            plan.describe(synced_from.is_some(), &mut line);
            sent.push((line, client.send(&plan.request()).await));
        }
        let (mut version, mut over) = (None, false);
        for (mut line, reply) in sent {
            let outcome = match reply {
                Ok(reply) => reply.await,
                Err(error) => Err(error),
            };
            line.insert("returned".to_owned(), json!(now()));
            match outcome {
                Ok(answer) => {
                    line.insert("outcome".to_owned(), json!("ok"));
                    line.insert("zxid".to_owned(), json!(answer.zxid.0));
                    version = tell(answer.response, &mut line)?;
                }
                Err(error) => {
                    let definite = matches!(error, Error::Server(_));
                    line.insert("outcome".to_owned(), json!(if definite { "failed" } else { "unknown" }));
                    line.insert("error".to_owned(), json!(error.to_string()));
                    over |= is_over(&error);
                }
            }
            self.shared.write(&line)?;
        }
        Ok((version, over))
    }
}

impl Planned {
    fn describe(&self, synced: bool, line: &mut Map<String, Value>) {
        let op = match self.kind {
            Kind::Set => "set",
            Kind::Cas(expected) => {
                line.insert("expected".to_owned(), json!(expected));
                "cas"
            }
            Kind::Append => "append",
            Kind::Get if synced => "synced_get",
            Kind::Get => "get",
        };
        line.insert("op".to_owned(), json!(op));
        if !matches!(self.kind, Kind::Get) {
            line.insert("value".to_owned(), json!(self.value));
        }
    }

    fn request(&self) -> Request<'_> {
        let (path, data) = (self.path.as_str(), Some(self.value.as_bytes()));
        match self.kind {
            Kind::Set => Request::SetData { path, data, version: -1 },
            Kind::Cas(version) => Request::SetData { path, data, version },
            Kind::Get => Request::GetData { path, watch: false },
            Kind::Append => Request::Create(Create {
                path,
                data,
                acl: Acl::open(),
                flags: CreateMode::PersistentSequential as i32,
                op: CreateOp::Create2,
            }),
        }
    }
}

/// Adds what an answer says. Returns the version that it tells.
fn tell(response: Response, line: &mut Map<String, Value>) -> Result<Option<i32>> {
    let stat = match response {
        Response::Stat(stat) => stat,
        Response::Create2 { path, stat } => {
            line.insert("name".to_owned(), json!(path));
            stat
        }
        Response::Data { data, stat } => {
            let data = data.unwrap_or_default();
            line.insert("value".to_owned(), json!(String::from_utf8_lossy(&data)));
            stat
        }
        other => return Err(anyhow!("not an answer to what was asked: {other:?}")),
    };
    line.insert("version".to_owned(), json!(stat.version));
    line.insert("mzxid".to_owned(), json!(stat.mzxid.0));
    Ok(Some(stat.version))
}

fn is_over(error: &Error) -> bool {
    matches!(error, Error::SessionExpired | Error::Closed | Error::AuthFailed)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let out =
        File::create(&args.history).with_context(|| format!("cannot make {}", args.history.display()))?;
    let (stop_tx, stop) = watch::channel(false);
    let mut terminated = signal(SignalKind::terminate())?;
    let shared = Rc::new(Shared { args, out: RefCell::new(BufWriter::new(out)), stop });
    let mut clients = JoinSet::new();
    let local = LocalSet::new();
    for number in 0..shared.args.clients {
        let random = StdRng::seed_from_u64(shared.args.seed.wrapping_add(number as u64));
        let name = format!("rust{number}");
        let recorder = Recorder { shared: Rc::clone(&shared), name, random, number: 0, order: 0 };
        clients.spawn_local_on(recorder.run(), &local);
    }
    local
        .run_until(async {
            terminated.recv().await;
            stop_tx.send_replace(true);
            while let Some(ended) = clients.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        })
        .await?;
    shared.out.borrow_mut().flush()?;
    Ok(())
}
