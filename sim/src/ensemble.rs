//! An ensemble of servers: what happens to them, and what they do.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use zabra::ids::{ServerId, Tick, Zxid};
use zabra::membership::Membership;
use zabra::replica::{
    self, AclRules, Config, Image, Input, LimitedConfig, Limits, LocalConfig, Output, PeerMessage,
    ReconfigConfig, Replica, Status, ZabConfig,
};
use zabra::server::OnDamage;
use zabra::storage::SnapshotEncoder;
use zabra::txn::Txn;
use zabra::zab::{self, LinkId, Member, Message, Role};

use super::checkers::limited::Limited;
use super::checkers::local::Locals;
use super::clients::Clients;
use super::configs::{self, Members, Quorums};
use super::coverage::Coverage;
use super::disk::{Disk, End, HASH_SEED, Part, Refusal, Started};
use super::failure::fail;
use super::judge::Judge;
use super::network::{Arrival, Network};
use super::shape::{Roles, Shape};
use super::trace::Trace;

pub const HEARTBEAT_MS: u64 = 40;
pub const PEER_TIMEOUT_MS: u64 = 240;
const DISK_TIMEOUT_MS: u64 = 500;
/// Longer than requests wait for a leader, and what they become for a log.
const ON_THEIR_WAY_MS: u64 = 4_000;
/// Between two tries of an observer to be fed.
const FEED_PAUSE_MS: u64 = 20;
const WALL_MS: i64 = 1_700_000_000_000;

/// How containers and znodes with a time to live end where nothing is drawn.
pub const LIMITED: LimitedConfig =
    LimitedConfig { check_interval_ms: 100, deletions_per_minute_max: 60_000, unused_ms_max: 0 };

/// How much of a snapshot travels in one message, bytes.
const CHUNK_BYTES: usize = 300;

/// What differs between runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// all that there are, those included that are to join
    pub servers: u8,
    /// the last so many are no members at first
    pub joiners: u8,
    /// clients may change who is a member
    pub reconfigures: bool,
    pub roles: Roles,
    /// followers feed observers
    pub feeds: bool,
    pub recent_bytes_max: usize,
    pub snapshot_txns: u64,
    pub epoch_txns_max: u32,
    pub sync_timeout_ms: u64,
    /// length of a segment of the log
    pub segment_bytes: u64,
    /// how much is sent at once
    pub batch_bytes_max: usize,
    /// how containers and znodes with a time to live end
    pub limited: LimitedConfig,
    /// which sessions only one server knows
    pub local: LocalConfig,
}

impl Settings {
    /// What the servers are at first, without those that are to join.
    pub fn shape(&self) -> Shape {
        Shape { servers: self.servers - self.joiners, roles: self.roles }
    }
}

/// When a process ends in the middle of a step.
#[derive(Clone, Copy, Debug)]
pub struct Doom {
    /// so many more things it does
    pub outputs_left: u32,
    pub end: End,
    /// what the disk keeps is drawn from this
    pub seed: u64,
}

pub struct Server {
    pub id: ServerId,
    pub observes: bool,
    /// What its file says of the ensemble: who joins is in its own list, and in no other.
    pub listed: Members,
    pub disk: Disk,
    pub replica: Option<Replica>,
    pub role: Role,
    /// A stopped process: it does nothing, and what comes in waits.
    pub paused: bool,
    pub doom: Option<Doom>,
    /// It ends as soon as it has left the lead to another, or could not; what its disk keeps is drawn from this.
    pub leaves: Option<u64>,
    /// How far its wall clock is off.
    pub wall_offset_ms: i64,
    /// How fast its monotonic clock goes: 1000 is right.
    pub clock_per_mille: u64,
    /// It cannot be started: its disk is damaged, and to be replaced.
    pub is_refused: bool,
    incarnation: u64,
    follow: Option<ServerId>,
    /// It looks for somebody to feed it, other than this leader.
    seeks_feed: Option<ServerId>,
    /// Whom it dialled last for that, and when, ms.
    fed_by: (ServerId, u64),
    inbox: VecDeque<Input>,
}

pub struct Ensemble {
    pub settings: Settings,
    /// Clients ask for other servers.
    pub asks_for_servers: bool,
    /// When one did last, ms.
    pub asked_for_servers: Option<u64>,
    pub now: u64,
    pub servers: BTreeMap<ServerId, Server>,
    pub clients: Clients,
    pub network: Network,
    pub judge: Judge,
    pub coverage: Coverage,
    pub trace: Trace,
}

/// Whoever panics while it lives wants to know what happened.
impl Drop for Ensemble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.trace);
        }
    }
}

impl Ensemble {
    /// Servers with empty disks, none of them started.
    pub fn new(settings: Settings, trace: Trace) -> Ensemble {
        let shape = settings.shape();
        let servers = (1..=settings.servers).map(ServerId).map(|id| {
            let joins = id.0 > shape.servers;
            let observes = !joins && shape.member(id) == Member::Observer;
            let mut disk = Disk::new(u64::from(id.0), !observes && !joins);
            let mut listed = shape.members();
            listed.entry(id).or_insert(Member::EQUAL);
            disk.options.segment_bytes = settings.segment_bytes;
            let server = Server {
                id,
                observes,
                listed,
                disk,
                replica: None,
                role: Role::Looking,
                paused: false,
                doom: None,
                leaves: None,
                wall_offset_ms: 0,
                clock_per_mille: 1000,
                is_refused: false,
                incarnation: 0,
                follow: None,
                seeks_feed: None,
                fed_by: (ServerId(0), 0),
                inbox: VecDeque::new(),
            };
            (id, server)
        });
        let mut judge = Judge::new(settings.shape());
        judge.witness.limited = Limited::new(settings.limited);
        judge.witness.locals = Locals::new(settings.local);
        Ensemble {
            settings,
            asks_for_servers: settings.reconfigures,
            asked_for_servers: None,
            now: 0,
            servers: servers.collect(),
            clients: Clients::default(),
            network: Network::default(),
            judge,
            coverage: Coverage::default(),
            trace,
        }
    }

    /// What was told on the election ports arrives, connections are made that should be there, and heartbeats pass.
    pub fn say_at_once(&mut self) {
        loop {
            self.connect_all(false);
            let arrivals = self.network.arrivals();
            let Some(beat) = arrivals.into_iter().find(|arrival| self.network.is_heartbeat(*arrival)) else {
                return;
            };
            if let Some(id) = self.arrive(beat) {
                self.flush(id);
            }
        }
    }

    pub fn ids(&self) -> impl Iterator<Item = ServerId> + use<> {
        (1..=self.settings.servers).map(ServerId)
    }

    pub fn note(&mut self, line: String) {
        self.trace.note(self.now, line);
    }

    pub fn server(&mut self, id: ServerId) -> &mut Server {
        self.servers.get_mut(&id).expect("a server of the ensemble")
    }

    pub fn runs(&self, id: ServerId) -> bool {
        self.servers[&id].replica.is_some()
    }

    fn config(&self, id: ServerId) -> Config {
        let incarnation = self.servers[&id].incarnation;
        let listed = &self.servers[&id].listed;
        let reconfigures = self.settings.reconfigures;
        // Of every process its own: the numbers of requests begin with it.
        let mut secret_seed = [id.0; 32];
        secret_seed[..8].copy_from_slice(&incarnation.to_le_bytes());
        Config {
            zab: ZabConfig {
                id,
                ensemble: zab::Ensemble::new(0, listed.clone()),
                ensemble_of: replica::ensemble_of,
                records_ensemble: reconfigures,
                heartbeat_ms: HEARTBEAT_MS,
                peer_timeout_ms: PEER_TIMEOUT_MS,
                sync_timeout_ms: self.settings.sync_timeout_ms,
                disk_timeout_ms: DISK_TIMEOUT_MS,
                observer_delay_ms: 0,
                is_fed: self.settings.feeds,
                settle_ms: 20,
                recent_bytes_max: self.settings.recent_bytes_max,
                batch_bytes_max: self.settings.batch_bytes_max,
                unacked_bytes_max: 2_000,
                epoch_txns_max: self.settings.epoch_txns_max,
                new_ensemble_id: 77 + u64::from(id.0),
            },
            hash_seed: HASH_SEED,
            secret_seed,
            started_wall_ms: self.wall_ms(id).unsigned_abs(),
            session_timeout_ms_min: 500,
            session_timeout_ms_max: 60_000,
            expiry_bucket_ms: 100,
            park_ms_max: 2_000,
            local: self.settings.local,
            reconfig: ReconfigConfig {
                members: reconfigures.then(|| Arc::new(configs::listed(listed))),
                enabled: reconfigures,
                standalone_enabled: false,
            },
            // Nobody proves to be anybody, and to change the servers takes a permission that nobody has.
            acl_rules: AclRules { skip: reconfigures, ..AclRules::default() },
            audits: false,
            leader_serves: true,
            limited: self.settings.limited,
            limits: Limits {
                frame_bytes_max: 1 << 20,
                txn_bytes_max: 2 << 20,
                has_ttls: true,
                enforces_quotas: true,
                keeper_operations: true,
                ephemerals_per_session_max: 1000,
                ephemerals_max: 10_000,
            },
            watches_per_conn_max: 1000,
            watches_max: 0,
            snapshot_txns: self.settings.snapshot_txns,
            snapshot_log_bytes: 1 << 30,
        }
    }

    /// What a server's monotonic clock shows.
    pub fn tick_of(&self, id: ServerId) -> Tick {
        Tick(self.now * self.servers[&id].clock_per_mille / 1000)
    }

    /// What a server's wall clock shows.
    pub fn wall_ms(&self, id: ServerId) -> i64 {
        WALL_MS + self.now as i64 + self.servers[&id].wall_offset_ms
    }

    /// Starts a server, if its disk lets it.
    pub fn start(&mut self, id: ServerId) {
        let (config, now) = (self.config(id), self.tick_of(id));
        let recent_bytes_max = self.settings.recent_bytes_max;
        let is_only_voter = Quorums(vec![self.servers[&id].listed.clone()]).voters().into_iter().eq([id]);
        let on_damage = if is_only_voter { OnDamage::Refuse } else { OnDamage::Heal };
        let server = self.server(id);
        assert!(server.replica.is_none(), "the server runs already");
        let started = server.disk.start(recent_bytes_max, on_damage);
        self.note_failed(id);
        let Started { zab, state, snapshot, is_new, damage, notes } = match started {
            Ok(started) => started,
            Err(refusal) => return self.refused(id, refusal),
        };
        if zab.epoch.current_epoch.0 > 0 {
            self.coverage.count("recovery of a server with data");
        }
        self.coverage.recovery(is_new, damage.as_deref(), &notes);
        self.judge.on_start(&self.servers[&id], &state, snapshot);
        let (applied, synced) = (state.zxid(), self.server(id).disk.synced);
        if synced > applied {
            self.coverage.count("rule 13: a start left a tail that may not be decided");
        }
        let server = self.server(id);
        server.replica = Some(Replica::new(config, zab, state, now));
        server.role = Role::Looking;
        server.follow = None;
        server.seeks_feed = None;
        self.note(format!("server {id} starts: applied {applied}, log through {synced}"));
        self.flush(id);
    }

    /// A server says that it cannot start, which it may only if something is wrong with its disk.
    fn refused(&mut self, id: ServerId, refusal: Refusal) {
        self.note(format!("server {id} does not start: {refusal:?}"));
        let server = self.server(id);
        match refusal {
            Refusal::Damage(case) if server.disk.damaged => {
                server.is_refused = true;
                self.coverage.recovery(false, Some(&case), &[]);
            }
            Refusal::Failure(_) => self.coverage.count("start ended by a disk that failed"),
            Refusal::Damage(case) => fail("recovery", format!("what a crash leaves is refused: {case}")),
        }
    }

    /// Counts what failed on a server's disk.
    fn note_failed(&mut self, id: ServerId) {
        for failed in self.servers[&id].disk.take_failed() {
            self.coverage.disk(failed);
        }
    }

    /// A server's process ends, and what was on its way to the disk is left to chance.
    pub fn kill(&mut self, id: ServerId, end: End, chance: &mut StdRng) {
        self.note(format!("server {id} is killed ({end:?})"));
        self.server(id).disk.crash(end, chance);
        self.gone(id, end);
    }

    /// The power of a server fails once its disk has carried out the `kept` oldest operations.
    pub fn kill_keeping(&mut self, id: ServerId, kept: usize) {
        self.note(format!("server {id} is killed"));
        self.server(id).disk.crash_keeping(kept);
        self.gone(id, End::Process);
    }

    /// What others notice of it.
    fn gone(&mut self, id: ServerId, end: End) {
        let server = self.server(id);
        server.replica = None;
        server.paused = false;
        server.doom = None;
        server.leaves = None;
        server.incarnation += 1;
        server.inbox.clear();
        for link in self.network.links_of(id) {
            match end {
                End::Process => self.network.close(id, link),
                End::Power => self.network.vanish(id, link),
            }
        }
        self.judge.on_stop(id);
        self.lose_server(id);
        let is_noticed = end == End::Process;
        self.network.forget(id, is_noticed);
        if is_noticed {
            for other in self.ids().filter(|other| *other != id) {
                self.input(other, Input::PeerGone { peer: id });
            }
        }
    }

    /// A disk may only be lost while all the others vote, and are a quorum without it: that a quorum loses its disks is
    /// another matter.
    pub fn all_vote_but(&self, lost: ServerId) -> bool {
        // Of what is on its way nobody knows yet whose disks it will need.
        if self.asked_for_servers.is_some_and(|asked| self.now - asked < ON_THEIR_WAY_MS) {
            return false;
        }
        let quorums = self.quorums();
        let mut voters = quorums.voters();
        voters.remove(&lost);
        let mut others = voters.iter().copied();
        quorums.is_quorum(others.clone()) && others.all(|voter| self.servers[&voter].disk.epoch.may_vote)
    }

    /// Of which configurations servers must be a quorum to work.
    pub fn quorums(&self) -> Quorums {
        let end = self.judge.end();
        let in_logs = self.servers.values().flat_map(|server| server.disk.logged(end, Zxid(u64::MAX)));
        let in_logs = in_logs.filter(|proposal| Txn::begins_as_reconfiguration(&proposal.txn));
        let txns = in_logs.filter_map(|proposal| Txn::from_bytes(proposal.txn.clone()).ok());
        let undecided = txns.filter_map(|txn| configs::text_of(&txn));
        self.judge.configs.needed_with(undecided.map(|text| configs::members_of(&text)))
    }

    /// A server writes down who the servers are, as its dynamic file has it.
    fn note_members(&mut self, id: ServerId, active: &Membership) {
        if active.version > Zxid::ZERO {
            self.server(id).listed = configs::members_of(&active.text());
        }
    }

    /// All the others have applied everything that anybody has, and have taken the epoch that it is of: a snapshot of it
    /// does not count in an election before NEWLEADER.
    pub fn all_hold_all_but(&self, lost: ServerId) -> bool {
        let end = self.judge.end();
        let mut others = self.servers.values().filter(|server| server.id != lost);
        others.all(|server| {
            server.disk.epoch.current_epoch >= end.epoch()
                && server.replica.as_ref().is_some_and(|replica| replica.state().zxid() == end)
        })
    }

    /// Replaces a dead server's disk by an empty one.
    pub fn wipe(&mut self, id: ServerId) {
        self.note(format!("server {id} loses its disk"));
        self.judge.on_wipe(id);
        let (reconfigures, newest) = (self.settings.reconfigures, self.judge.configs.newest().1.clone());
        let server = self.server(id);
        assert!(server.replica.is_none(), "only a dead server is wiped");
        if reconfigures {
            // Whoever sets a server up anew gives it the newest list.
            server.listed = newest;
            server.listed.entry(id).or_insert(Member::EQUAL);
        }
        server.disk = server.disk.replaced(u64::from(id.0) + 1000 * (server.incarnation + 1));
        server.is_refused = false;
    }

    /// Part of what a dead server has on its disk decays.
    pub fn spoil(&mut self, id: ServerId, part: Part) {
        self.note(format!("server {id}: damage ({part:?})"));
        self.coverage.count("damaged disk");
        self.judge.on_decay(id, part);
        self.server(id).disk.spoil(part);
    }

    pub fn pause(&mut self, id: ServerId) {
        self.note(format!("server {id} is stopped"));
        self.server(id).paused = true;
    }

    pub fn resume(&mut self, id: ServerId) {
        self.note(format!("server {id} goes on"));
        self.server(id).paused = false;
        let inbox = std::mem::take(&mut self.server(id).inbox);
        self.input(id, Input::Tick);
        for input in inbox {
            self.input(id, input);
        }
        self.flush(id);
    }

    /// Something happens to a server, and it does what there is to do.
    pub fn input(&mut self, id: ServerId, input: Input) {
        let (now, wall_ms) = (self.tick_of(id), self.wall_ms(id));
        let server = self.servers.get_mut(&id).expect("a server of the ensemble");
        if server.paused && server.replica.is_some() {
            return server.inbox.push_back(input);
        }
        if let Some(replica) = &server.replica {
            self.judge.on_input(server, replica, self.now, &input);
        }
        let Some(replica) = &mut server.replica else { return };
        let mut outputs = Vec::new();
        let is_told = matches!(input, Input::Notification { .. });
        replica.step(now, wall_ms, input, &mut outputs);
        if is_told && outputs.iter().any(|output| matches!(output, Output::Membership { .. })) {
            self.coverage.count("rule 23: a configuration was known to be decided by what another told");
        }
        self.after(id, outputs);
    }

    /// Lets a server send and write what has gathered.
    pub fn flush(&mut self, id: ServerId) {
        let server = self.server(id);
        let Some(replica) = server.replica.as_mut().filter(|_| !server.paused) else { return };
        let mut outputs = Vec::new();
        replica.flush(&mut outputs);
        self.after(id, outputs);
    }

    fn after(&mut self, id: ServerId, outputs: Vec<Output>) {
        let server = &self.servers[&id];
        let replica = server.replica.as_ref().expect("it did something just now");
        self.judge.on_step(server, replica, &mut self.coverage);
        for output in outputs {
            if let Some(doom) = &mut self.server(id).doom {
                if doom.outputs_left == 0 {
                    let Doom { end, seed, .. } = *doom;
                    self.coverage.count("process ended in the middle of a step");
                    return self.kill(id, end, &mut StdRng::seed_from_u64(seed));
                }
                doom.outputs_left -= 1;
            }
            let has_left = matches!(output, Output::HandedOver { .. });
            self.carry_out(id, output);
            if let Some(seed) = self.server(id).leaves.filter(|_| has_left) {
                return self.kill(id, End::Process, &mut StdRng::seed_from_u64(seed));
            }
        }
    }

    fn carry_out(&mut self, id: ServerId, output: Output) {
        self.judge.on_output(&self.servers, id, self.now, &output, &mut self.coverage);
        self.trace.output(self.now, id, &output);
        match output {
            Output::Disk { seq, op } => self.server(id).disk.submit(seq, op),
            Output::WriteSnapshot { image } => self.server(id).disk.begin_snapshot(&image),
            Output::Notify { to, notification } => self.network.notify(id, to, notification),
            Output::Follow(leader) => {
                self.server(id).follow = leader;
                for link in self.network.dialled_by(id) {
                    self.network.close(id, link);
                }
            }
            Output::SeekFeed(leader) => {
                self.server(id).seeks_feed = leader;
                for link in self.network.feeds_of(id) {
                    self.network.close(id, link);
                }
            }
            Output::Send { link, message } => self.network.send(id, link, message),
            Output::StreamSnapshot { link, image } => self.stream(id, link, &image),
            Output::CloseLink { link, .. } => self.network.close(id, link),
            Output::Discard(state) => {
                self.coverage.count("replaced state given away");
                drop(state);
            }
            Output::Role(role) => self.server(id).role = role,
            Output::HandedOver { .. } => {}
            Output::Membership { active, .. } => self.note_members(id, &active),
            Output::Halt { reason } => fail("no halt", format!("server {id} halts: {reason}")),
            for_clients => self.tell_clients(id, for_clients),
        }
    }

    fn stream(&mut self, id: ServerId, link: LinkId, image: &Image) {
        let encoder = SnapshotEncoder::new(image.zxid(), image.digest(), image.version(), image.blocks());
        let file: Vec<u8> =
            encoder.expect("memory is enough").flat_map(|piece| piece.expect("it is")).collect();
        let count = file.chunks(CHUNK_BYTES).count();
        for (index, chunk) in file.chunks(CHUNK_BYTES).enumerate() {
            let message = Message::SnapshotChunk { data: chunk.to_vec().into(), last: index + 1 == count };
            self.network.send(id, link, PeerMessage::Zab(message));
        }
    }

    /// What arrives next on a connection, arrives.
    pub fn arrive(&mut self, arrival: Arrival) -> Option<ServerId> {
        let (from, to, input) = self.network.arrive(arrival)?;
        self.trace.arrival(self.now, from, to, &input);
        self.input(to, input);
        Some(to)
    }

    /// A server's disk carries out its oldest operations. If it fails, the process ends.
    pub fn do_disk(&mut self, id: ServerId, count: usize) {
        let server = self.server(id);
        if server.replica.is_none() || server.paused {
            return;
        }
        let done = server.disk.perform(count);
        self.note_failed(id);
        match done {
            Ok(inputs) => {
                self.judge.on_disk(&self.servers[&id]);
                for input in inputs {
                    self.trace.disk_done(self.now, id, &self.servers[&id].disk, &input);
                    self.input(id, input);
                }
            }
            Err(_) => self.end_with_disk(id),
        }
    }

    /// A server ends because its disk failed.
    pub fn end_with_disk(&mut self, id: ServerId) {
        self.coverage.count("failed disk");
        self.note(format!("server {id} ends: its disk failed"));
        self.note_failed(id);
        self.server(id).disk.end();
        self.gone(id, End::Process);
    }

    /// True if a server may answer reads.
    pub fn serves(&self, id: ServerId) -> bool {
        let server = &self.servers[&id];
        !server.paused && server.replica.as_ref().is_some_and(Replica::serves)
    }

    /// A server's background work goes on.
    pub fn do_background(&mut self, id: ServerId) {
        let server = self.server(id);
        if server.replica.is_none() || server.paused {
            return;
        }
        if let Some(written) = server.disk.write_snapshot() {
            self.coverage.count("snapshot written");
            self.input(id, written);
        }
    }

    /// A server's disk does what it does when there is nothing else to do.
    pub fn do_idle(&mut self, id: ServerId) {
        let server = self.server(id);
        if server.replica.is_some() && !server.paused && server.disk.idle().is_err() {
            self.end_with_disk(id);
        }
    }

    /// Lets time pass, and the connections that should be there come up.
    pub fn tick(&mut self, ms: u64) {
        let beats = (self.now + ms) / HEARTBEAT_MS - self.now / HEARTBEAT_MS;
        self.now += ms;
        self.network.set_now(self.now);
        for id in self.ids() {
            if beats > 0 {
                let heard = self.clients.heard(id);
                self.input(id, Input::Heard(heard));
            }
            self.input(id, Input::Tick);
            self.flush(id);
        }
        self.connect_all(beats > 0);
    }

    /// What was told on the election ports arrives, and the connections that should be there come up.
    fn connect_all(&mut self, is_heartbeat: bool) {
        for from in self.ids() {
            for to in self.ids().filter(|to| *to != from) {
                self.tell(from, to, is_heartbeat);
            }
        }
        for id in self.ids() {
            self.maybe_dial(id);
            self.maybe_dial_feed(id);
        }
    }

    fn maybe_dial(&mut self, id: ServerId) {
        let Some(leader) = self.servers[&id].follow else { return };
        if !self.network.dialled_by(id).is_empty() || !self.can_connect(id, leader) {
            return;
        }
        let (link, opens_late) = self.network.connect(id, leader, false);
        self.input(id, Input::LinkUp { link, peer: leader, dialled: true });
        if !opens_late {
            self.input(leader, Input::LinkUp { link, peer: id, dialled: false });
        }
        self.flush(id);
    }

    fn can_connect(&self, from: ServerId, to: ServerId) -> bool {
        let is_there = |id: ServerId| self.runs(id) && !self.servers[&id].paused;
        let is_cut = self.network.is_cut(from, to) || self.network.is_cut(to, from);
        is_there(from) && is_there(to) && !is_cut && !self.network.is_port_closed(to)
    }

    /// An observer that is to be fed tries one voter after the other, with a pause between.
    fn maybe_dial_feed(&mut self, id: ServerId) {
        let server = &self.servers[&id];
        let (last, dialled) = server.fed_by;
        let Some(leader) = server.seeks_feed else { return };
        if !self.network.feeds_of(id).is_empty() || self.now - dialled < FEED_PAUSE_MS {
            return;
        }
        let votes = |member: &Member| matches!(member, Member::Participant { weight: 1.., .. });
        let voters = server.listed.iter().filter(|(_, member)| votes(member)).map(|(voter, _)| *voter);
        let others: Vec<ServerId> = voters.filter(|voter| *voter != leader && *voter != id).collect();
        let next = others.iter().find(|voter| **voter > last).or(others.first());
        let Some(feeder) = next.copied() else { return };
        self.server(id).fed_by = (feeder, self.now);
        if self.can_connect(id, feeder) {
            let (link, opens_late) = self.network.connect(id, feeder, true);
            self.input(id, Input::FeedUp { link, peer: feeder, dialled: true });
            if !opens_late {
                self.input(feeder, Input::FeedUp { link, peer: id, dialled: false });
            }
            self.flush(id);
        }
    }

    /// Tells the newest notification, the same again at a heartbeat, and notices silence.
    fn tell(&mut self, from: ServerId, to: ServerId, is_heartbeat: bool) {
        let alive = self.runs(from) && !self.servers[&from].paused && self.runs(to);
        let is_unheard = self.network.is_unheard(from, to, PEER_TIMEOUT_MS);
        if alive && !self.network.is_cut(from, to) && !is_unheard {
            if let Some(notification) = self.network.told(from, to, is_heartbeat) {
                self.input(to, Input::Notification { from, notification });
            }
        } else if self.network.fell_silent(from, to, PEER_TIMEOUT_MS) {
            self.input(to, Input::PeerGone { peer: from });
        }
    }

    /// The established leader of the newest epoch.
    pub fn leader(&self) -> Option<ServerId> {
        let leaders = self.servers.values().filter(|server| server.replica.is_some() && !server.paused);
        let leaders = leaders.filter_map(|server| match server.role {
            Role::Leading { epoch } => Some((epoch, server.id)),
            Role::Following { .. } | Role::Looking => None,
        });
        leaders.max().map(|(_, id)| id)
    }

    /// All of these servers serve, have applied the same and all of their logs, and keep nothing of clients that are gone.
    pub fn is_quiet(&self, ids: &[ServerId]) -> bool {
        let replicas = ids.iter().map(|id| self.servers[id].replica.as_ref());
        let statuses: Option<Vec<_>> =
            replicas.map(|replica| replica.map(|replica| (replica.serves(), replica.status()))).collect();
        statuses.is_some_and(|statuses| {
            let is_at_rest = |status: &Status| status.zxid == status.last_logged && status.left_behind == 0;
            statuses.iter().all(|(serves, status)| *serves && is_at_rest(status))
                && statuses.windows(2).all(|pair| pair[0].1.zxid == pair[1].1.zxid)
        })
    }
}
