//! The disk thread. It owns the log and carries out what the core asks for, in order: what gathered while the last sync
//! was on its way is the next group, with one write and one sync.
//!
//! The first failed operation ends the process, at once and without another write: what the disk holds is then known
//! only to the next start.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::disk_op::{Carried, DiskFault, carry_out};
use super::peer::Identity;
use crate::admin::{Stats, Sum};
use crate::ids::Zxid;
use crate::replica::Input;
use crate::storage::{OsDisk, Storage};
use crate::zab::{DiskDone, DiskOp};

/// The exit code of a process that could not write, or that must not go on.
pub const EXIT_HALTED: i32 = 3;

/// Links are not read while more than this waits for the disk: the sender notices, and memory stays bounded.
pub(super) const WAITING_BYTES_MAX: usize = 64 << 20;

/// The most that is written with one sync, except for a job that is bigger by itself: the core hears of it that the disk
/// still works.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// When there was nothing to do for so long, the end of the log is marked as a clean one.
const IDLE: Duration = Duration::from_secs(1);

/// Work for the disk thread.
#[derive(Debug)]
pub enum Job {
    /// an operation of the core
    Op {
        /// its number
        seq: u64,
        /// what to do
        op: DiskOp,
    },
    /// put away the log through this zxid: snapshots make it superfluous
    PurgeLog(Zxid),
    /// mark the end of the log, and end
    Stop,
}

impl Job {
    /// About how many bytes it keeps in memory.
    fn bytes(&self) -> usize {
        match self {
            Job::Op { op: DiskOp::Append { proposals, .. }, .. } => {
                proposals.iter().map(|it| it.txn.len()).sum()
            }
            Job::Op { op: DiskOp::ReceiveSnapshot { chunk, .. }, .. } => chunk.len(),
            _ => 0,
        }
    }
}

/// What waits for the disk thread. The core never waits for it.
#[derive(Debug, Default)]
pub struct DiskQueue {
    jobs: Mutex<VecDeque<Job>>,
    filled: Condvar,
    room: Arc<DiskRoom>,
}

/// Whether there is room for more to be written.
#[derive(Debug, Default)]
pub struct DiskRoom {
    waiting_bytes: AtomicUsize,
    freed: Notify,
}

impl DiskRoom {
    /// Waits until not too much waits for the disk.
    pub async fn wait(&self) {
        while self.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX {
            let freed = self.freed.notified();
            if self.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX {
                freed.await;
            }
        }
    }

    fn add(&self, bytes: usize) {
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn free(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
    }
}

impl DiskQueue {
    /// Adds work, in order.
    pub fn push(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut queue = self.jobs();
        for job in jobs {
            self.room.add(job.bytes());
            queue.push_back(job);
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// To be asked before anything is read that will have to be written.
    pub fn room(&self) -> Arc<DiskRoom> {
        Arc::clone(&self.room)
    }

    /// What has gathered, up to a bound; waits for the first. Empty if nothing came for so long.
    fn take(&self, idle: Option<Duration>) -> VecDeque<Job> {
        let queue = self.jobs();
        let is_empty = |queue: &mut VecDeque<Job>| queue.is_empty();
        let mut queue = match idle {
            None => self.filled.wait_while(queue, is_empty).unwrap_or_else(PoisonError::into_inner),
            Some(idle) => {
                self.filled
                    .wait_timeout_while(queue, idle, is_empty)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        let (mut group, mut bytes) = (VecDeque::new(), 0);
        while bytes < GROUP_BYTES_MAX
            && let Some(job) = queue.pop_front()
        {
            bytes += job.bytes();
            group.push_back(job);
        }
        group
    }

    /// Tells who waits that so many bytes were written.
    pub(super) fn free(&self, bytes: usize) {
        self.room.free(bytes);
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own.
pub struct DiskThread {
    /// the log
    pub storage: Storage<OsDisk>,
    /// what to do
    pub queue: Arc<DiskQueue>,
    /// to the core
    pub inputs: mpsc::Sender<Input>,
    /// told when the epoch file changes
    pub identity: Arc<Identity>,
    /// for the tables of a state that is loaded
    pub hash_seed: u64,
    /// for the metrics
    pub stats: Arc<Stats>,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl DiskThread {
    /// Works until it is told to stop.
    pub fn run(mut self) {
        if let Err(error) = self.work() {
            halt(&error.to_string());
        }
    }

    fn work(&mut self) -> Result<(), DiskFault> {
        let mut is_marked = true;
        loop {
            let jobs = self.queue.take((!is_marked).then_some(IDLE));
            if jobs.is_empty() {
                self.storage.mark_end()?;
                is_marked = true;
                continue;
            }
            is_marked = false;
            if self.carry_out(jobs)? == Next::Stop {
                return Ok(self.storage.mark_end()?);
            }
        }
    }

    /// Carries out a group. What is only buffered becomes durable with one sync at its end.
    fn carry_out(&mut self, jobs: VecDeque<Job>) -> Result<Next, DiskFault> {
        let mut buffered = None;
        let (mut buffered_bytes, mut buffered_txns) = (0, 0);
        let mut next = Next::Go;
        for job in jobs {
            let bytes = job.bytes();
            match job {
                Job::Op { op: DiskOp::ReceiveSnapshot { .. }, .. } => self.queue.free(bytes),
                _ => buffered_bytes += bytes,
            }
            match job {
                Job::Op { seq, op } => {
                    if let DiskOp::Append { proposals, .. } = &op {
                        buffered_txns += proposals.len() as u64;
                    }
                    buffered = self.execute(seq, op)?.then_some(seq);
                }
                Job::PurgeLog(through) => {
                    let segments = self.storage.purge_log(through)?;
                    tracing::debug!("{segments} segments of the log through {through} put away");
                }
                Job::Stop => next = Next::Stop,
            }
        }
        if let Some(seq) = buffered {
            let began = Instant::now();
            self.storage.sync()?;
            self.stats.metrics.note_time(Sum::Fsync, began.elapsed());
            self.stats.metrics.note(Sum::SyncBatch, buffered_txns);
            self.tell(Input::Disk(DiskDone::Synced { seq }));
        }
        self.queue.free(buffered_bytes);
        Ok(next)
    }

    /// Carries out one operation. If it is durable, so is everything before, and the core is told. True if it is not.
    fn execute(&mut self, seq: u64, op: DiskOp) -> Result<bool, DiskFault> {
        let saved = if let DiskOp::SaveEpoch(record) = &op { Some(record.clone()) } else { None };
        match carry_out(&mut self.storage, self.hash_seed, seq, op)? {
            Carried::Buffered => Ok(true),
            Carried::Done(input) => {
                if let Some(record) = saved {
                    self.identity.update(&record);
                }
                self.tell(input);
                Ok(false)
            }
        }
    }

    /// If the core is gone, nobody needs to know.
    fn tell(&self, input: Input) {
        let _ = self.inputs.blocking_send(input);
    }
}

/// Ends the process at once: nothing more is written, and nothing more is promised.
pub fn halt(why: &str) -> ! {
    tracing::error!("this server stops: {why}");
    std::process::exit(EXIT_HALTED);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zab::Proposal;

    fn append(bytes: usize) -> Job {
        let proposals = vec![Proposal { zxid: Zxid(1), txn: vec![0; bytes].into() }];
        Job::Op { seq: 1, op: DiskOp::Append { previous: Zxid(0), proposals, committed: Zxid(0) } }
    }

    #[test]
    fn everything_that_gathered_is_taken_at_once_and_idleness_is_told() {
        let queue = DiskQueue::default();
        queue.push([append(1), append(2)]);
        queue.push([Job::Stop]);
        assert_eq!(queue.take(None).len(), 3);
        assert!(queue.take(Some(Duration::ZERO)).is_empty());
    }

    #[test]
    fn what_gathered_is_cut_into_groups_whose_end_is_told() {
        let queue = DiskQueue::default();
        queue.push([append(GROUP_BYTES_MAX - 1), append(GROUP_BYTES_MAX), append(1), append(1)]);
        assert_eq!(queue.take(None).len(), 2);
        assert_eq!(queue.take(None).len(), 2);
    }

    #[tokio::test]
    async fn who_reads_for_the_disk_waits_while_it_is_behind() {
        let queue = DiskQueue::default();
        let room = queue.room();
        room.wait().await;
        queue.push([append(WAITING_BYTES_MAX + 1)]);
        let mut waiting = Box::pin(room.wait());
        assert!(futures_pending(&mut waiting));
        let bytes: usize = queue.take(None).iter().map(Job::bytes).sum();
        queue.free(bytes);
        waiting.await;
    }

    fn futures_pending(future: &mut std::pin::Pin<Box<impl Future<Output = ()>>>) -> bool {
        future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
    }
}
