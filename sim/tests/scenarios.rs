//! Stories in text, one for each rule of docs/zab.md: commands, and behind `----` what came of them. `ZABRA_UPDATE=1`
//! writes down what comes of them now; the difference is for a human to judge. A paragraph without `----` leads up to
//! what the story is about, and what comes of it is not shown.
//!
//! | command | what it does |
//! |---|---|
//! | `servers 5 recent=200 snapshots=5 epoch=3 empty` | an ensemble of five; recent transactions in bytes, transactions between snapshots and in an epoch; `empty`: nobody said that the disks are new; `local`: sessions are |
//! | `servers 4 observers=1`, `servers 3 weights=1*2,1*1,1*1` | the last one observes; the group and the weight of each |
//! | `servers 5 joiners=2` | the last two are no members at first, and clients may change who is |
//! | `start 1 2`, `kill 1`, `kill 1 keeping 2` | the power fails after so many operations of the disk |
//! | `wipe 1`, `stop 1`, `continue 1` | a lost disk, a stopped process |
//! | `spoil 1 log`, `spoil 1 tail`, `spoil 1 epoch`, `initialize 1` | what a dead server has decays; the operator lets it vote |
//! | `hand over 1` | it is to leave the lead to another |
//! | `cut 1 2`, `cut 1->2`, `close port 1`, `heal` | nothing arrives any more; nobody can connect to the quorum port |
//! | `hold 1->2`, `hold disk 1`, `release ...` | `run` leaves these to `deliver` and `disk` |
//! | `deliver 1->2`, `deliver 1->2 3`, `disk 1`, `disk 1 2` | messages arrive, operations are done |
//! | `progress 1` | its link to the leader is not read, because its disk is behind |
//! | `tick 50` | time passes, and nothing else |
//! | `run`, `run 500`, `run until leader`, `run until quiet` | everything that can happen, happens; time passes |
//! | `client 1 connects 2` | likewise `creates`, `writes`, `writes 5`, `makes an ephemeral`, `syncs`, `reads`, `closes`, `leaves` |
//! | `client 1 reconfigures +4 +5o -1` | servers join, the second as an observer, and leave |
//! | `expect leader 3`, `expect no leader`, `expect 1 applied 0x1_00000002` | likewise `log`, `config`, `voter`, `voteless`, `observer` |

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use zabra::ids::ServerId;
use zabra::jute::CreateMode;
use zabra::replica::{Input, LocalConfig};
use zabra::zab::Member;

use zabra_sim::configs::Change;
use zabra_sim::disk::{Disk, Part};
use zabra_sim::ensemble::{Ensemble, LIMITED, Settings};
use zabra_sim::op::{Op, Read};
use zabra_sim::shape::Roles;
use zabra_sim::trace::Trace;

/// Time passes in steps of so many ms.
const STEP_MS: u64 = 5;

/// `run until` gives up after so long, ms.
const PATIENCE_MS: u64 = 20_000;

struct Scenario {
    ensemble: Ensemble,
    /// Servers whose disks wait for `disk`.
    held_disks: Vec<ServerId>,
}

fn ensemble(words: &[&str]) -> Result<Ensemble, String> {
    let mut settings = Settings {
        joiners: 0,
        reconfigures: false,
        servers: 3,
        roles: Roles::Equal,
        feeds: false,
        recent_bytes_max: 1 << 20,
        snapshot_txns: 1 << 40,
        epoch_txns_max: u32::MAX,
        sync_timeout_ms: 2_000,
        segment_bytes: 8192,
        batch_bytes_max: 400,
        limited: LIMITED,
        local: LocalConfig::default(),
    };
    let mut is_new = true;
    for word in words {
        match word.split_once('=') {
            Some(("recent", value)) => settings.recent_bytes_max = number(value)? as usize,
            Some(("snapshots", value)) => settings.snapshot_txns = number(value)?,
            Some(("observers", value)) => settings.roles = Roles::Observers(number(value)? as u8),
            Some(("weights", value)) => settings.roles = Roles::Groups(shares(value)?),
            Some(("joiners", value)) => {
                settings.joiners = number(value)? as u8;
                settings.reconfigures = true;
            }
            Some(("epoch", value)) => settings.epoch_txns_max = number(value)? as u32,
            Some(_) => return Err(format!("no such setting: {word}")),
            None if *word == "feeds" => settings.feeds = true,
            None if *word == "empty" => is_new = false,
            None if *word == "local" => (settings.local.enabled, settings.local.upgrading) = (true, true),
            None => settings.servers = number(word)? as u8,
        }
    }
    let mut ensemble = Ensemble::new(settings, Trace::story());
    for server in ensemble.servers.values_mut() {
        let votes = !server.observes && server.id.0 <= settings.servers - settings.joiners;
        server.disk = Disk::new(u64::from(server.id.0), is_new && votes);
    }
    Ok(ensemble)
}

/// The group and the weight of each server: `1*2,1*1`.
fn shares(text: &str) -> Result<&'static [(u32, u32)], String> {
    let share = |word: &str| {
        let (group, weight) =
            word.split_once('*').ok_or_else(|| format!("not a group and a weight: {word}"))?;
        Ok((number(group)? as u32, number(weight)? as u32))
    };
    Ok(Vec::leak(text.split(',').map(share).collect::<Result<_, String>>()?))
}

impl Scenario {
    fn command(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["servers", ref rest @ ..] => self.ensemble = ensemble(rest)?,
            ["start", ref ids @ ..] => {
                ids.iter().try_for_each(|id| server(id).map(|id| self.ensemble.start(id)))?;
            }
            ["kill", id] => self.ensemble.kill_keeping(server(id)?, 0),
            ["kill", id, "keeping", kept] => {
                self.ensemble.kill_keeping(server(id)?, number(kept)? as usize);
            }
            ["wipe", id] => self.ensemble.wipe(server(id)?),
            ["spoil", id, "log"] => self.ensemble.spoil(server(id)?, Part::Log),
            ["spoil", id, "tail"] => self.ensemble.spoil(server(id)?, Part::Tail),
            ["spoil", id, "epoch"] => self.ensemble.spoil(server(id)?, Part::Epoch),
            ["hand", "over", id] => {
                self.ensemble.input(server(id)?, Input::HandOver);
                self.ensemble.flush(server(id)?);
            }
            ["initialize", id] => self.ensemble.server(server(id)?).disk.initialize(),
            ["stop", id] => self.ensemble.pause(server(id)?),
            ["continue", id] => self.ensemble.resume(server(id)?),
            ["cut", one, other] => {
                let (one, other) = (server(one)?, server(other)?);
                self.ensemble.network.cut(one, other);
                self.ensemble.network.cut(other, one);
            }
            ["cut", way] => way_of(way).map(|(from, to)| self.ensemble.network.cut(from, to))?,
            ["close", "port", id] => self.ensemble.network.close_port(server(id)?),
            ["heal"] => self.ensemble.network.heal(),
            ["hold", "disk", id] => self.held_disks.push(server(id)?),
            ["release", "disk", id] => {
                let id = server(id)?;
                self.held_disks.retain(|held| *held != id);
            }
            ["hold", way] => way_of(way).map(|(from, to)| self.ensemble.network.hold(from, to))?,
            ["release", way] => way_of(way).map(|(from, to)| self.ensemble.network.release(from, to))?,
            ["deliver", way] => self.deliver(way_of(way)?, 1)?,
            ["deliver", way, count] => self.deliver(way_of(way)?, number(count)?)?,
            ["disk", id] => self.disk(server(id)?, 1),
            ["disk", id, count] => self.disk(server(id)?, number(count)? as usize),
            ["progress", id] => self.progress(server(id)?),
            ["tick", ms] => self.ensemble.tick(number(ms)?),
            ["run"] => self.run_ms(0),
            ["run", "until", "leader"] => self.run_until(|ensemble| ensemble.leader().is_some())?,
            ["run", "until", "quiet"] => self.run_until(is_quiet)?,
            ["run", ms] => self.run_ms(number(ms)?),
            ["client", index, ref rest @ ..] => self.client(number(index)? as usize, rest)?,
            ["expect", ref rest @ ..] => self.expect(rest)?,
            _ => return Err(format!("no such command: {line}")),
        }
        Ok(())
    }

    fn deliver(&mut self, (from, to): (ServerId, ServerId), count: u64) -> Result<(), String> {
        for _ in 0..count {
            let arrival = self.ensemble.network.arrival_between(from, to);
            self.ensemble
                .arrive(arrival.ok_or_else(|| format!("nothing is on its way from {from} to {to}"))?);
        }
        self.ensemble.flush(to);
        Ok(())
    }

    fn progress(&mut self, id: ServerId) {
        for link in self.ensemble.network.dialled_by(id) {
            self.ensemble.input(id, Input::LinkProgress { link });
        }
    }

    fn disk(&mut self, id: ServerId, count: usize) {
        self.ensemble.do_disk(id, count);
        self.ensemble.flush(id);
    }

    /// Everything that can happen without the clock, happens, in a fixed order.
    fn run(&mut self) {
        loop {
            let arrivals = self.ensemble.network.free_arrivals();
            for arrival in &arrivals {
                if let Some(id) = self.ensemble.arrive(*arrival) {
                    self.ensemble.flush(id);
                }
            }
            let mut any = !arrivals.is_empty();
            for id in self.ensemble.ids().filter(|id| !self.held_disks.contains(id)).collect::<Vec<_>>() {
                let server = &self.ensemble.servers[&id];
                if self.ensemble.runs(id) && !server.paused && server.disk.has_work() {
                    self.ensemble.do_background(id);
                    self.disk(id, usize::MAX);
                    any = true;
                }
            }
            if !any {
                return;
            }
        }
    }

    fn run_ms(&mut self, ms: u64) {
        self.run();
        for _ in 0..ms / STEP_MS {
            self.ensemble.tick(STEP_MS);
            self.run();
        }
    }

    fn run_until(&mut self, is_reached: impl Fn(&Ensemble) -> bool) -> Result<(), String> {
        self.run();
        for _ in 0..PATIENCE_MS / STEP_MS {
            if is_reached(&self.ensemble) {
                return Ok(());
            }
            self.ensemble.tick(STEP_MS);
            self.run();
        }
        Err(format!("it does not happen:\n{}", self.ensemble.trace))
    }

    fn client(&mut self, index: usize, words: &[&str]) -> Result<(), String> {
        let ensemble = &mut self.ensemble;
        let client = ensemble.clients.client(index);
        let home = match words {
            ["connects", id] => {
                let id = server(id)?;
                ensemble.connect_client(index, id);
                id
            }
            _ => client.server.ok_or("the client is not connected")?,
        };
        let client = ensemble.clients.client(index);
        let path = client.own_path();
        match words {
            ["connects", _] => {}
            ["creates"] => ensemble.ask(index, Op::create(path, "")),
            ["writes"] => {
                let op = client.next_write();
                ensemble.ask(index, op);
            }
            ["writes", count] => {
                return (0..number(count)?).try_for_each(|_| self.client(index, &["writes"]));
            }
            ["makes", "an", "ephemeral"] => ensemble.ask(index, Op::make(path, "", CreateMode::Ephemeral)),
            ["reconfigures", servers @ ..] => ensemble.ask(index, Op::Reconfig(change(servers)?)),
            ["syncs"] => ensemble.ask(index, Op::Sync),
            ["closes"] => ensemble.ask(index, Op::Close),
            ["leaves"] => ensemble.leave(index, true),
            ["reads"] => {
                ensemble.read(index, Read::Data { path, watch: true });
                return Ok(());
            }
            _ => return Err(format!("a client cannot do this: {}", words.join(" "))),
        }
        ensemble.flush(home);
        Ok(())
    }

    fn expect(&self, words: &[&str]) -> Result<(), String> {
        let found = match words {
            ["no", "leader"] => self.ensemble.leader().map_or(String::new(), |id| format!("{id} leads")),
            ["leader", id] => match self.ensemble.leader() {
                Some(leader) if leader == server(id)? => String::new(),
                other => format!("{other:?}"),
            },
            [id, what, rest @ ..] => {
                let server = &self.ensemble.servers[&server(id)?];
                let replica = server.replica.as_ref().ok_or("the server does not run")?;
                let status = replica.status();
                match (*what, rest) {
                    ("applied", [zxid]) => unless_equal(status.zxid, zxid),
                    ("config", [zxid]) => unless_equal(replica.config_in_force(), zxid),
                    ("log", [zxid]) => unless_equal(server.disk.synced, zxid),
                    ("voter", []) => unless_equal(server.disk.epoch.may_vote, "true"),
                    ("voteless", []) => unless_equal(server.disk.epoch.may_vote, "false"),
                    _ => return Err(format!("nothing to expect: {}", words.join(" "))),
                }
            }
            _ => return Err(format!("nothing to expect: {}", words.join(" "))),
        };
        if found.is_empty() { Ok(()) } else { Err(format!("expected {}: {found}", words.join(" "))) }
    }
}

/// `+4` joins, `+4o` as an observer, and `-1` leaves.
fn change(words: &[&str]) -> Result<Change, String> {
    let mut change = Change::default();
    for word in words {
        match (word.strip_prefix('-'), word.strip_prefix('+')) {
            (Some(id), _) => change.leaving.extend([server(id)?]),
            (_, Some(id)) => {
                let role = if id.ends_with('o') { Member::Observer } else { Member::EQUAL };
                change.joining.insert(server(id.trim_end_matches('o'))?, role);
            }
            _ => return Err(format!("neither joins nor leaves: {word}")),
        }
    }
    Ok(change)
}

/// All servers that run have come to the same state.
fn is_quiet(ensemble: &Ensemble) -> bool {
    let running: Vec<ServerId> = ensemble.ids().filter(|id| ensemble.runs(*id)).collect();
    ensemble.is_quiet(&running)
}

fn unless_equal(found: impl ToString, expected: &str) -> String {
    let found = found.to_string();
    if found == expected { String::new() } else { found }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("not a number: {word}"))
}

fn server(word: &str) -> Result<ServerId, String> {
    word.parse().map(ServerId).map_err(|_| format!("not a server: {word}"))
}

fn way_of(word: &str) -> Result<(ServerId, ServerId), String> {
    let (from, to) = word.split_once("->").ok_or_else(|| format!("not a direction: {word}"))?;
    Ok((server(from)?, server(to)?))
}

/// Plays a story; the same story with what came of it.
fn play(text: &str) -> Result<String, String> {
    let mut scenario = Scenario { ensemble: ensemble(&[])?, held_disks: Vec::new() };
    let mut told = String::new();
    for paragraph in text.trim_end().split("\n\n") {
        let (commands, shows) = match paragraph.split_once("\n----") {
            Some((commands, _)) => (commands, true),
            None => (paragraph, false),
        };
        for line in commands.lines().filter(|line| !line.starts_with('#')) {
            scenario.command(line).map_err(|why| format!("{line}: {why}"))?;
        }
        let lines = scenario.ensemble.trace.take();
        told.push_str(commands);
        told.push('\n');
        if shows {
            told.push_str("----\n");
            lines.iter().for_each(|line| writeln!(told, "{line}").expect("memory is enough"));
        }
        told.push('\n');
    }
    told.truncate(told.trim_end().len());
    told.push('\n');
    Ok(told)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn scenarios() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder()).expect("there are scenarios");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().expect("a file").to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("text"))).collect()
}

/// Where two texts part.
fn difference(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let same = expected.iter().zip(&found).take_while(|(one, other)| one == other).count();
    let part = |lines: &[&str], mark: &str| {
        let shown = lines.iter().skip(same).take(12);
        shown.map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    format!("from line {} on\n{}{}", same + 1, part(&expected, "-"), part(&found, "+"))
}

#[test]
fn every_story_goes_as_it_is_told() {
    let update = std::env::var("ZABRA_UPDATE").is_ok();
    let mut failures = Vec::new();
    for (name, text) in scenarios() {
        println!("{name}");
        match play(&text) {
            Ok(told) if told == text => {}
            Ok(told) if update => std::fs::write(folder().join(&name), told).expect("it can be written"),
            Ok(told) => failures.push(format!("{name} differs {}", difference(&text, &told))),
            Err(why) => failures.push(format!("{name}: {why}")),
        }
    }
    assert!(failures.is_empty(), "{}\nZABRA_UPDATE=1 takes over what differs\n", failures.join("\n"));
}

#[test]
fn every_rule_has_a_story_that_begins_with_it() {
    let document = include_str!("../../docs/zab.md");
    let rules = document.lines().filter_map(|line| line.strip_prefix("### "));
    let scenarios = scenarios();
    for rule in rules.filter(|rule| rule.starts_with("Rule ")) {
        let first = format!("# {rule}\n");
        assert!(scenarios.iter().any(|(_, text)| text.starts_with(&first)), "no story begins with {first}");
    }
}
