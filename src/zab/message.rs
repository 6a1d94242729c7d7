//! What servers say to each other to agree on a leader and on the order of transactions.

use bytes::Bytes;

use crate::ids::{Epoch, ServerId, Zxid};

/// A transaction in flight: its place in the order and its bytes, which mean nothing here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// the place in the order
    pub zxid: Zxid,
    /// the encoded transaction
    pub txn: Bytes,
}

impl Proposal {
    /// Bytes of memory it takes in a queue. A place there is 40 bytes, and up to as much again while the queue has
    /// room to grow; that the bytes are shared costs an allocation of 32, and rounding their own up another 16.
    pub fn memory_bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 112;
        self.txn.len() + OVERHEAD_BYTES
    }
}

/// Who should lead, and how much it has. Ordered: the greatest vote wins an election.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Vote {
    /// the epoch whose history the candidate holds
    pub current_epoch: Epoch,
    /// the durable end of the candidate's log
    pub last_zxid: Zxid,
    /// the candidate
    pub server_id: ServerId,
}

/// What a server does at the moment, as it tells the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerState {
    /// electing
    Looking,
    /// follows the leader of its vote
    Following,
    /// is the leader
    Leading,
}

/// The state of a server in an election; each replaces the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// what the sender does
    pub state: PeerState,
    /// the election round the vote belongs to
    pub round: u64,
    /// whom the sender wants, follows or is
    pub vote: Vote,
    /// false: the vote must not be counted, since the sender's disk is unexpectedly empty
    pub may_vote: bool,
    /// the sender votes: by what it knows of the ensemble, or since another server told it so
    pub voter: bool,
    /// the receiver votes, by what the sender knows of the ensemble
    pub receiver_votes: bool,
    /// which transaction made the ensemble that is in force for the sender; 0: none
    pub config: Zxid,
    /// true of a server that looks, and does not want to lead for now: it takes part, but is no candidate
    pub abstains: bool,
    /// the sender has no data at all
    pub empty: bool,
    /// of the established leader that the sender follows or is; 0 while it looks
    pub epoch: Epoch,
}

/// Where a history ends in every epoch it has transactions of, and how far back it can be cut.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HistorySummary {
    /// the last zxid of each epoch, oldest first
    pub epoch_ends: Vec<Zxid>,
    /// the log cannot be cut behind this point
    pub floor: Zxid,
}

/// A message between a learner and a leader, on the learner's connection to the quorum port; or between an observer and
/// the follower that feeds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// learner: who I am, and what I promised
    FollowerInfo {
        /// the newest epoch the learner promised to take part in
        accepted_epoch: Epoch,
        /// false: the learner's disk is unexpectedly empty; it is synchronized, but nothing it says is counted
        may_vote: bool,
    },
    /// leader: the epoch I propose
    LeaderInfo {
        /// newer than any that a quorum had accepted
        epoch: Epoch,
    },
    /// learner: I promise, and this is what I have
    AckEpoch {
        /// false: the learner had promised this epoch before, perhaps to another; the answer does not count
        promised: bool,
        /// the epoch whose history the learner holds
        current_epoch: Epoch,
        /// that history
        history: HistorySummary,
    },
    /// leader: how your history becomes mine
    Sync {
        /// cut the log behind this first
        truncate_to: Option<Zxid>,
        /// throw away what you have: a snapshot of this zxid follows
        snapshot_zxid: Option<Zxid>,
    },
    /// leader: a piece of the snapshot
    SnapshotChunk {
        /// bytes of the snapshot file
        data: Bytes,
        /// nothing follows
        last: bool,
    },
    /// leader: write these to the log
    Proposals {
        /// the zxid before the first
        previous: Zxid,
        /// in order, without a gap
        proposals: Vec<Proposal>,
        /// the leader's commit point
        committed: Zxid,
    },
    /// leader: that was my history
    NewLeader {
        /// of the leader
        epoch: Epoch,
        /// the ensemble the history belongs to
        ensemble_id: u64,
    },
    /// learner: the history is on my disk
    AckNewLeader {
        /// of the leader
        epoch: Epoch,
    },
    /// leader: a quorum has it; serve clients
    UpToDate {
        /// the leader's commit point
        committed: Zxid,
    },
    /// learner: everything through this zxid is on my disk
    Ack {
        /// the durable end of the learner's log
        through: Zxid,
    },
    /// leader: everything through this zxid is decided
    Commit {
        /// the commit point
        through: Zxid,
    },
    /// leader: I live
    Ping {
        /// rises with every ping
        sequence: u64,
        /// how long ago the leader last knew of a quorum behind it
        quorum_age_ms: u32,
        /// the commit point
        committed: Zxid,
    },
    /// leader: I lead no longer; look for a leader now, and begin with this vote (rule 20 of docs/zab.md)
    HandOver {
        /// who has everything
        to: ServerId,
        /// the end of its log, and of the leader's
        last_zxid: Zxid,
    },
    /// learner: I heard it
    Pong {
        /// of the ping
        sequence: u64,
    },
    /// observer to a follower: send me what is proposed (rule 24 of docs/zab.md)
    Subscribe {
        /// in which both of them follow
        epoch: Epoch,
        /// the end of the observer's log
        after: Zxid,
    },
    /// follower to an observer that subscribed, again and again: I do, and I live
    Feeding,
    /// observer to the leader: a follower sends me what is proposed
    Fed,
    /// observer to the leader: nobody does any more, go on
    Unfed {
        /// the end of the observer's log
        after: Zxid,
    },
}
