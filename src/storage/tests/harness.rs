//! A script of operations, the storage that carries it out, and a plain model of what must come of it.

use bytes::Bytes;

use crate::ids::{Epoch, Version, Zxid};
use crate::storage::testing::{Chance, SimDisk, SimWorld};
use crate::storage::{Executed, Options, Recovered, SnapshotEncoder, Storage, StorageError, Tail};
use crate::zab::{DiskOp, EpochRecord, Proposal};

/// Segments that hold a dozen records.
pub const OPTIONS: Options =
    Options { segment_bytes: 8192, spare_segments_max: 2, snapshots_kept: 3, snapshot_step_bytes: 300 };

/// One operation. Numbers are taken modulo what is possible.
#[derive(Clone, Debug)]
pub enum Step {
    /// Save another epoch record.
    Epoch,
    /// Append records of these lengths, in a new epoch or in the one of the last record, and sync.
    Append { lengths: Vec<u16>, new_epoch: bool },
    /// Cut behind the record with this number.
    Truncate { keep: u16 },
    /// Write a snapshot of the state after the last record.
    Snapshot,
    /// Keep some of the history, go on in a new epoch, and install that as a snapshot.
    Install { keep: u16, add: u8 },
    /// Send something that is no such snapshot.
    InstallBroken,
    /// Remove old snapshots and segments.
    Purge,
    /// Mark the end.
    MarkEnd,
    /// Prepare a segment.
    PrepareSpare,
    /// End the process cleanly and start it again.
    Reopen,
}

/// What storage must hold.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Model {
    /// every transaction since the beginning
    pub history: Vec<Proposal>,
    /// the last saved record
    pub epoch: Option<EpochRecord>,
}

impl Model {
    /// The end of the history.
    pub fn last(&self) -> Zxid {
        self.history.last().map_or(Zxid::ZERO, |proposal| proposal.zxid)
    }

    /// The zxid that stands before another one.
    fn before(&self, zxid: Zxid) -> Zxid {
        let older = self.history.iter().take_while(|proposal| proposal.zxid < zxid);
        older.last().map_or(Zxid::ZERO, |proposal| proposal.zxid)
    }

    fn extend(&mut self, length: usize, new_epoch: bool) {
        let last = self.last();
        let zxid = match last.next() {
            Some(next) if !new_epoch && last != Zxid::ZERO => next,
            _ => Zxid::new(Epoch(last.epoch().0 + 1), 1),
        };
        let fill = (zxid.0 as u8).wrapping_mul(31) ^ (zxid.epoch().0 as u8);
        self.history.push(Proposal { zxid, txn: vec![fill; length].into() });
    }

    /// Stands in for a tree: the blocks of the snapshot of this state.
    pub fn blocks(&self) -> Vec<Vec<u8>> {
        let block = |proposals: &[Proposal]| {
            proposals.iter().fold(Vec::new(), |mut block, proposal| {
                block.extend_from_slice(&proposal.zxid.0.to_le_bytes());
                block.extend_from_slice(&(proposal.txn.len() as u64).to_le_bytes());
                block.extend_from_slice(&proposal.txn);
                block
            })
        };
        self.history.chunks(5).map(block).collect()
    }

    /// Adds what a block of a snapshot holds.
    pub fn load(&mut self, block: &[u8]) {
        let mut rest = block;
        while !rest.is_empty() {
            let zxid = Zxid(u64::from_le_bytes(rest[..8].try_into().unwrap()));
            let length = u64::from_le_bytes(rest[8..16].try_into().unwrap()) as usize;
            self.history.push(Proposal { zxid, txn: Bytes::copy_from_slice(&rest[16..16 + length]) });
            rest = &rest[16 + length..];
        }
    }
}

/// Storage and its model, side by side.
pub struct Pair {
    pub storage: Storage<SimDisk>,
    pub model: Model,
    world: SimWorld,
}

/// Opens what is in `world`; returns what it holds as a model, built as a server would: snapshot, then replay.
pub fn open(world: &SimWorld) -> Result<(Storage<SimDisk>, Recovered<SimDisk>, Model), StorageError> {
    let (storage, mut recovered) = Storage::open(world.disks(), OPTIONS)?;
    let mut model = Model { history: Vec::new(), epoch: recovered.epoch.clone() };
    if let Some(snapshot) = recovered.snapshot.take() {
        let (zxid, digest) = (snapshot.zxid(), snapshot.digest());
        for block in snapshot {
            model.load(&block.unwrap());
        }
        assert_eq!(model.last(), zxid);
        assert_eq!(digest, model.history.len() as u64);
    }
    for bytes_max in [0, 3000, usize::MAX] {
        let Tail { before, proposals, .. } = storage.tail(bytes_max);
        assert!(proposals.iter().map(Proposal::memory_bytes).sum::<usize>() <= bytes_max);
        let (_, held) = model.history.split_at(model.history.len() - proposals.len());
        assert_eq!(proposals, held);
        assert_eq!(held.first().map_or(recovered.floor, |first| model.before(first.zxid)), before);
    }
    let mut ends = Vec::from_iter((recovered.floor != Zxid::ZERO).then_some(recovered.floor));
    assert_eq!(model.last(), recovered.floor);
    storage.replay(|proposal, committed| {
        assert!(proposal.zxid.may_follow(model.last()));
        assert!(committed <= proposal.zxid);
        ends.pop_if(|end| end.epoch() == proposal.zxid.epoch());
        ends.push(proposal.zxid);
        model.history.push(proposal);
    })?;
    assert_eq!(recovered.last_zxid, model.last());
    assert_eq!(recovered.epoch_ends, ends);
    assert!(recovered.committed <= recovered.last_zxid && recovered.committed >= recovered.floor);
    Ok((storage, recovered, model))
}

impl Pair {
    /// Begins with empty disks.
    pub fn new(world: &SimWorld) -> Pair {
        let (storage, _, model) = open(world).unwrap();
        assert_eq!(model, Model::default());
        Pair { storage, model, world: world.clone() }
    }

    /// Goes on with what the disks hold.
    pub fn resume(world: &SimWorld) -> Pair {
        let (storage, _, model) = open(world).unwrap();
        Pair { storage, model, world: world.clone() }
    }

    /// Does a step on both; afterwards both agree on the end of the log.
    pub fn run(&mut self, step: &Step) -> Result<(), StorageError> {
        let before = self.model.last();
        match step {
            Step::Epoch => {
                let promised = self.model.epoch.as_ref().map_or(0, |record| record.accepted_epoch.0);
                let record = EpochRecord {
                    data_dir_id: 1,
                    accepted_epoch: Epoch(promised + 1),
                    ..EpochRecord::default()
                };
                assert_eq!(self.storage.execute(DiskOp::SaveEpoch(record.clone()))?, Executed::Durable);
                self.model.epoch = Some(record);
            }
            Step::Append { lengths, new_epoch } => {
                let from = self.model.history.len();
                for (index, length) in lengths.iter().enumerate() {
                    self.model.extend(usize::from(*length), *new_epoch && index == 0);
                }
                let proposals = self.model.history[from..].to_vec();
                let op = DiskOp::Append { previous: before, proposals, committed: before };
                assert_eq!(self.storage.execute(op)?, Executed::Buffered);
                self.storage.sync()?;
            }
            Step::Truncate { keep } => self.truncate(usize::from(*keep) % (self.model.history.len() + 1))?,
            Step::Snapshot if before == Zxid::ZERO => {}
            Step::Snapshot => {
                let digest = self.model.history.len() as u64;
                let mut writer = self.storage.snapshots().begin(before, digest, Version::OLDEST)?;
                for block in self.model.blocks() {
                    writer.block(&block)?;
                }
                assert!(writer.finish()?);
            }
            Step::Install { keep, add } => self.install(usize::from(*keep), *add)?,
            Step::InstallBroken => {
                self.storage.receive_snapshot(Bytes::from_static(b"nothing of that kind"), true)?;
                let op = DiskOp::InstallSnapshot { zxid: Zxid(5) };
                assert_eq!(self.storage.execute(op)?, Executed::InstallFailed);
            }
            Step::Purge => {
                if let Some(oldest) = self.storage.snapshots().purge()? {
                    self.storage.purge_log(oldest)?;
                }
            }
            Step::MarkEnd => self.storage.mark_end()?,
            Step::PrepareSpare => self.storage.spares().prepare()?,
            Step::Reopen => {
                let (storage, recovered, model) = open(&self.world)?;
                assert!(recovered.notes.is_empty(), "{:?}", recovered.notes);
                assert_eq!(model, self.model);
                self.storage = storage;
            }
        }
        assert_eq!(self.storage.synced(), self.model.last());
        Ok(())
    }

    fn truncate(&mut self, keep: usize) -> Result<(), StorageError> {
        let kept = Model { history: self.model.history[..keep].to_vec(), epoch: None };
        let expected = self.storage.snapshots().oldest().is_none_or(|oldest| oldest <= kept.last());
        assert_eq!(self.storage.truncate(kept.last())?, expected);
        if expected {
            self.model.history = kept.history;
        }
        let missing = Zxid(self.model.last().0 + 1);
        assert!(!self.storage.truncate(missing)?);
        Ok(())
    }

    fn install(&mut self, keep: usize, add: u8) -> Result<(), StorageError> {
        let keep = keep % (self.model.history.len() + 1);
        // In the new epoch of a leader: no zxid is given twice.
        let newest = self.model.last().epoch();
        let mut leader =
            Model { history: self.model.history[..keep].to_vec(), epoch: self.model.epoch.clone() };
        for index in 0..u32::from(add % 4) + 1 {
            let zxid = Zxid::new(Epoch(newest.0 + 1), index + 1);
            leader.history.push(Proposal { zxid, txn: vec![0x77; 40].into() });
        }
        let digest = leader.history.len() as u64;
        let blocks = leader.blocks().into_iter();
        let encoder = SnapshotEncoder::new(leader.last(), digest, Version::OLDEST, blocks).unwrap();
        for (index, chunk) in encoder.enumerate() {
            let op = DiskOp::ReceiveSnapshot { chunk: chunk.unwrap(), first: index == 0 };
            assert_eq!(self.storage.execute(op)?, Executed::Buffered);
        }
        let installed = self.storage.execute(DiskOp::InstallSnapshot { zxid: leader.last() })?;
        assert_eq!(installed, Executed::Durable);
        assert_eq!(self.storage.open_snapshot(leader.last())?.digest(), digest);
        self.model = leader;
        Ok(())
    }
}

/// A step, drawn by chance.
pub fn random_step(chance: &mut Chance) -> Step {
    match chance.below(20) {
        0 => Step::Epoch,
        1..=8 => {
            let count = chance.below(7) + 1;
            let lengths = (0..count).map(|_| chance.below(900) as u16).collect();
            Step::Append { lengths, new_epoch: chance.below(6) == 0 }
        }
        9 | 10 => Step::Truncate { keep: chance.draw() as u16 },
        11 | 12 => Step::Snapshot,
        13 => Step::Install { keep: chance.draw() as u16, add: chance.draw() as u8 },
        14 => Step::InstallBroken,
        15 | 16 => Step::Purge,
        17 => Step::MarkEnd,
        18 => Step::PrepareSpare,
        _ => Step::Reopen,
    }
}
