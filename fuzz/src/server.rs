//! A server in memory: the real replica over the real storage over simulated disks. What it sends to clients and to
//! other servers is left to the target.

use std::collections::VecDeque;

use zabra::ids::{ServerId, Tick};
use zabra::prep::Limits;
use zabra::replica::{AclRules, Config, Image, Input, LimitedConfig, Output, Replica, State, ZabConfig};
use zabra::server::{Carried, OnDamage, carry_out, recover_from};
use zabra::storage::testing::{SimDisk, SimWorld};
use zabra::storage::{Options, SnapshotEncoder, Storage, decode_snapshot};
use zabra::zab::{DiskDone, DiskOp, Ensemble, EpochRecord};

/// Seeds the hash tables.
pub const HASH_SEED: u64 = 7;

/// Between two heartbeats, ms.
pub const HEARTBEAT_MS: u64 = 40;

/// Silence after which another server is taken for dead, ms.
const PEER_TIMEOUT_MS: u64 = 240;

/// The wall clock at the first tick, ms.
const WALL_MS: i64 = 1_700_000_000_000;

/// The longest session, ms: [`Server::forget_clients`] waits for longer.
const SESSION_TIMEOUT_MS_MAX: u32 = 4000;

/// The longest frame of a client, bytes.
pub const FRAME_BYTES_MAX: usize = 32 << 10;

const OPTIONS: Options =
    Options { segment_bytes: 16384, spare_segments_max: 0, snapshots_kept: 2, snapshot_step_bytes: 4096 };

/// One server.
pub struct Server {
    /// the server without its edges
    pub replica: Replica,
    /// the milliseconds since it started
    pub now: u64,
    /// it stopped itself: nothing may happen any more
    pub halted: Option<String>,
    world: SimWorld,
    storage: Storage<SimDisk>,
    jobs: VecDeque<(u64, DiskOp)>,
    told: Vec<Output>,
}

impl Server {
    /// A new server that never ran before, with an empty disk, of an ensemble of so many.
    pub fn new(id: u8, servers: u8) -> Server {
        let world = SimWorld::default();
        let new = EpochRecord { data_dir_id: id.into(), may_vote: true, ..EpochRecord::default() };
        let config = config(id, servers);
        let found = recover_from(
            world.disks(),
            OPTIONS,
            HASH_SEED,
            config.zab.recent_bytes_max,
            new,
            OnDamage::Refuse,
        );
        let found = found.expect("an empty disk");
        let mut server = Server {
            replica: Replica::new(config, found.zab, found.state, Tick(0)),
            now: 0,
            halted: None,
            world,
            storage: found.storage,
            jobs: VecDeque::new(),
            told: Vec::new(),
        };
        server.flush();
        server
    }

    /// Something happens.
    pub fn step(&mut self, input: Input) {
        if self.halted.is_some() {
            return;
        }
        let mut outputs = Vec::new();
        self.replica.step(Tick(self.now), WALL_MS + self.now as i64, input, &mut outputs);
        self.take(outputs);
    }

    /// What gathered is judged, written and sent.
    pub fn flush(&mut self) {
        if self.halted.is_some() {
            return;
        }
        let mut outputs = Vec::new();
        self.replica.flush(&mut outputs);
        self.take(outputs);
    }

    /// Time passes.
    pub fn tick(&mut self, ms: u64) {
        self.now += ms;
        self.step(Input::Tick);
        self.flush();
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Disk { seq, op } => self.jobs.push_back((seq, op)),
                Output::WriteSnapshot { image } => self.write_snapshot(&image),
                Output::Halt { reason } => self.halted = Some(reason),
                Output::Discard(state) => drop(state),
                output => self.told.push(output),
            }
        }
    }

    /// What is to be told to clients and other servers, in order.
    pub fn take_told(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.told)
    }

    /// True if the disk has nothing to do.
    pub fn disk_is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The disk does the oldest of what it was asked for, and the server is told.
    pub fn do_disk(&mut self, operations: usize) {
        let mut buffered = None;
        let mut done = Vec::new();
        for _ in 0..operations {
            let Some((seq, op)) = self.jobs.pop_front() else { break };
            match carry_out(&mut self.storage, HASH_SEED, seq, op) {
                Ok(Carried::Buffered) => buffered = Some(seq),
                Ok(Carried::Done(input)) => {
                    buffered = None;
                    done.push(input);
                }
                Err(fault) => return self.halted = Some(fault.to_string()),
            }
        }
        if let Some(seq) = buffered {
            self.storage.sync().expect("memory");
            done.push(Input::Disk(DiskDone::Synced { seq }));
        }
        done.into_iter().for_each(|input| self.step(input));
        self.flush();
    }

    /// Everything that can be done without another server or the clock is done.
    pub fn settle(&mut self) {
        self.flush();
        while !self.disk_is_idle() && self.halted.is_none() {
            self.do_disk(usize::MAX);
        }
    }

    /// Ticks until it serves; an ensemble of one needs nobody for it.
    pub fn until_it_serves(&mut self) {
        for _ in 0..100 {
            if self.replica.serves() {
                return;
            }
            self.settle();
            self.tick(HEARTBEAT_MS);
        }
        panic!("a server alone does not serve: {:?}", self.halted);
    }

    /// Lets all sessions expire whose clients are silent.
    pub fn forget_clients(&mut self) {
        // No longer than a peer may be silent: a process that stood still gives every session its time anew.
        for _ in 0..=2 * u64::from(SESSION_TIMEOUT_MS_MAX) / PEER_TIMEOUT_MS {
            self.tick(PEER_TIMEOUT_MS);
            self.settle();
        }
    }

    fn write_snapshot(&mut self, image: &Image) {
        let snapshots = self.storage.snapshots();
        let mut writer = snapshots.begin(image.zxid(), image.digest(), image.version()).expect("memory");
        for block in image.blocks() {
            writer.block(&block).expect("memory");
        }
        let is_kept = writer.finish().expect("memory");
        if is_kept && let Some(oldest) = snapshots.purge().expect("memory") {
            self.storage.purge_log(oldest).expect("memory");
        }
        self.step(Input::SnapshotWritten { zxid: image.zxid() });
    }

    /// What the state is, it is as a snapshot too, and after a restart from the disk.
    ///
    /// # Panics
    /// If it is not.
    pub fn check_state(&self) {
        let state = self.replica.state();
        let file = snapshot_of(&state.image());
        let (summary, blocks) = decode_snapshot(&file).expect("it was just encoded");
        assert_eq!((summary.zxid, summary.digest), (state.zxid(), state.digest()));
        let blocks = blocks.into_iter().map(Ok::<_, String>);
        // This computes the digest anew.
        let loaded = State::from_blocks(HASH_SEED, state.zxid(), state.digest(), state.version(), blocks)
            .expect("a state");
        assert_eq!(loaded.digest(), state.digest());
    }

    /// Starts again from the disk: everything that was applied is there, and the same.
    ///
    /// # Panics
    /// If it is not.
    pub fn check_restart(&self) {
        assert!(self.disk_is_idle(), "what is not written is not there");
        let found = recover_from(
            self.world.disks(),
            OPTIONS,
            HASH_SEED,
            1 << 20,
            EpochRecord::default(),
            OnDamage::Refuse,
        );
        let mut found = found.expect("a server that stopped");
        let applied = self.replica.state();
        for proposal in found.zab.recent.iter().filter(|it| it.zxid > found.zab.committed) {
            let txn = zabra::txn::Txn::from_bytes(proposal.txn.clone()).expect("it was applied");
            found.state.apply(proposal.zxid, &txn).expect("it was applied");
        }
        assert_eq!((found.state.zxid(), found.state.digest()), (applied.zxid(), applied.digest()));
    }
}

/// The file of a snapshot.
pub fn snapshot_of(image: &Image) -> Vec<u8> {
    let encoder =
        SnapshotEncoder::new(image.zxid(), image.digest(), image.version(), image.blocks()).expect("memory");
    encoder.collect::<Result<Vec<_>, _>>().expect("memory").concat()
}

fn config(id: u8, servers: u8) -> Config {
    Config {
        zab: ZabConfig {
            id: ServerId(id),
            ensemble: Ensemble::of_equals((1..=servers).map(ServerId)),
            ensemble_of: zabra::replica::ensemble_of,
            records_ensemble: false,
            heartbeat_ms: HEARTBEAT_MS,
            peer_timeout_ms: PEER_TIMEOUT_MS,
            sync_timeout_ms: 2000,
            disk_timeout_ms: 500,
            observer_delay_ms: 0,
            is_fed: true,
            settle_ms: 5,
            recent_bytes_max: 4096,
            batch_bytes_max: 400,
            unacked_bytes_max: 2000,
            epoch_txns_max: 64,
            new_ensemble_id: 77 + u64::from(id),
        },
        hash_seed: HASH_SEED,
        secret_seed: [id; 32],
        started_wall_ms: 1_000_000,
        session_timeout_ms_min: 500,
        session_timeout_ms_max: SESSION_TIMEOUT_MS_MAX,
        expiry_bucket_ms: 100,
        park_ms_max: 1000,
        local: Default::default(),
        reconfig: Default::default(),
        acl_rules: AclRules { has_x509: true, ..AclRules::default() },
        audits: false,
        leader_serves: true,
        limits: Limits {
            frame_bytes_max: FRAME_BYTES_MAX,
            txn_bytes_max: 4 * FRAME_BYTES_MAX,
            has_ttls: true,
            enforces_quotas: true,
            keeper_operations: true,
            ephemerals_per_session_max: 5,
            ephemerals_max: 8,
        },
        watches_per_conn_max: 1000,
        watches_max: 0,
        limited: LimitedConfig {
            check_interval_ms: 500,
            deletions_per_minute_max: 60_000,
            unused_ms_max: 900,
        },
        snapshot_txns: 24,
        snapshot_log_bytes: 1 << 30,
    }
}
