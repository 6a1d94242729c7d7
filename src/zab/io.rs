//! What goes into and comes out of the atomic broadcast.

use bytes::Bytes;

use super::message::{HistorySummary, Message, Notification, Proposal};
use super::quorum::Ensemble;
use crate::ids::{Epoch, ServerId, Zxid};

/// A connection between a learner and a leader, or between an observer and a follower that feeds it; never used twice while the process lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// What the broadcast must know of the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// this server
    pub id: ServerId,
    /// all servers, and what they are, as the recovered state says, or else the operator
    pub ensemble: Ensemble,
    /// which ensemble a transaction makes, if it makes one: a look at its first byte tells most of them apart
    pub ensemble_of: fn(&Bytes) -> Option<Ensemble>,
    /// the first leader puts the ensemble into the history; until it is there, nobody who was synchronized gets a vote
    pub records_ensemble: bool,
    /// between two pings of a leader, ms
    pub heartbeat_ms: u64,
    /// silence after which a server is taken for dead, ms
    pub peer_timeout_ms: u64,
    /// how long a candidate goes on without any progress towards a quorum that has its history, ms
    pub sync_timeout_ms: u64,
    /// how long a disk may do nothing of what it was asked for before the server leaves its role to others, ms
    pub disk_timeout_ms: u64,
    /// how long a server that does not vote waits, when it has lost its leader, before it looks for one, ms
    pub observer_delay_ms: u64,
    /// while this server observes, a follower is to send it what is proposed, if there is one that does
    pub is_fed: bool,
    /// how long a quorum that agrees waits for others to bring a better vote, ms
    pub settle_ms: u64,
    /// bytes of memory for recent transactions, from which learners are synchronized
    pub recent_bytes_max: usize,
    /// bytes of transactions in one message; a larger transaction goes alone
    pub batch_bytes_max: usize,
    /// bytes of transactions sent to a learner that it has not acknowledged
    pub unacked_bytes_max: usize,
    /// the most transactions that an epoch may have; `u32::MAX`: as many as a zxid can count
    pub epoch_txns_max: u32,
    /// the id of the ensemble if this server is its first leader; not 0
    pub new_ensemble_id: u64,
}

impl Config {
    /// How long a candidate or a follower waits for a first sign of the others, ms.
    pub(super) fn discovery_timeout_ms(&self) -> u64 {
        self.peer_timeout_ms * 2
    }
}

/// What a server finds on its disk when it starts.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// the epoch file
    pub epoch: EpochRecord,
    /// what the log and the snapshot hold
    pub history: HistorySummary,
    /// the newest part of the log
    pub recent: Vec<Proposal>,
    /// the zxid before the first of `recent`
    pub before_recent: Zxid,
    /// everything through this zxid is known to be decided, and is in the state
    pub committed: Zxid,
}

/// What a server must never forget about its promises: one small file, replaced atomically.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct EpochRecord {
    /// drawn when the data directory was made; tells a new disk from the old one
    pub data_dir_id: u64,
    /// the ensemble the data belongs to; 0 while it belongs to none
    pub ensemble_id: u64,
    /// a quorum is known to have taken that id, so it can never change
    pub ensemble_confirmed: bool,
    /// the server takes part in elections: its disk was empty by intention, or was synchronized since
    pub may_vote: bool,
    /// what it promised before was lost with the epoch file, so a candidate may count on a promise nobody here knows of
    pub promises_lost: bool,
    /// the data was found damaged, and not all of it is put aside yet: nothing of it counts
    pub condemned: bool,
    /// the newest epoch promised to a leader
    pub accepted_epoch: Epoch,
    /// the epoch whose history the log holds
    pub current_epoch: Epoch,
}

/// Something for the disk. Operations are carried out one after the other in the order they were given out; several
/// appends may share one sync. An operation that fails ends the process, a truncation to a zxid that the log does not
/// hold included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskOp {
    /// add to the log
    Append {
        /// the zxid before the first
        previous: Zxid,
        /// in order, without a gap
        proposals: Vec<Proposal>,
        /// the commit point when they were written; recovery may apply up to the newest one it finds
        committed: Zxid,
    },
    /// cut the log behind this zxid, which it holds or which is the zxid of its snapshot
    Truncate {
        /// the new end
        through: Zxid,
    },
    /// replace the epoch file
    SaveEpoch(EpochRecord),
    /// a piece of a snapshot that a leader sends
    ReceiveSnapshot {
        /// bytes of a snapshot file
        chunk: Bytes,
        /// true for the first: whatever an earlier, unfinished one left is thrown away
        first: bool,
    },
    /// verify the received snapshot, make it the state, and begin an empty log behind it
    InstallSnapshot {
        /// the zxid it must be of
        zxid: Zxid,
    },
}

/// What the disk says. A failing disk says nothing: it ends the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskDone {
    /// every operation through this number is durable; not told of an `InstallSnapshot`, but `Input::Installed`
    Synced {
        /// number of the last one
        seq: u64,
    },
    /// the received snapshot is not what was announced; it was thrown away, and nothing changed
    InstallFailed {
        /// its number
        seq: u64,
    },
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// time has passed
    Tick,
    /// a server told its state in the election
    Notification {
        /// who
        from: ServerId,
        /// its state
        notification: Notification,
    },
    /// nothing more is known of a server: its connection to our election port ended
    PeerGone {
        /// who
        peer: ServerId,
    },
    /// a connection to a leader (dialled by us) or from a learner is open
    LinkUp {
        /// the connection
        link: LinkId,
        /// the server at the other end
        peer: ServerId,
        /// we dialled it
        dialled: bool,
    },
    /// a connection between an observer that is to be fed (which dialled it) and another server is open
    FeedUp {
        /// the connection
        link: LinkId,
        /// the server at the other end
        peer: ServerId,
        /// we dialled it: we are to be fed
        dialled: bool,
    },
    /// a connection is closed; what was sent last may be lost
    LinkDown {
        /// the connection
        link: LinkId,
    },
    /// a snapshot that is being sent moves on; or nothing is read because the own disk is behind
    LinkProgress {
        /// the connection
        link: LinkId,
    },
    /// a message came
    Message {
        /// on this connection
        link: LinkId,
        /// what it says
        message: Message,
    },
    /// the disk has done something
    Disk(DiskDone),
    /// an `InstallSnapshot` is done
    Installed {
        /// its number
        seq: u64,
        /// the ensemble as the snapshot says, or else the operator
        ensemble: Ensemble,
    },
    /// this server is to lead no longer, if it does: it is to end, for example. `Output::HandedOver` answers
    HandOver,
}

/// Something to do, in the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// for the disk
    Disk {
        /// rises by one with every operation
        seq: u64,
        /// what to do
        op: DiskOp,
    },
    /// tell a server the state in the election; replaces what was not sent yet, and is sent again after a reconnect
    Notify {
        /// to whom
        to: ServerId,
        /// the state
        notification: Notification,
    },
    /// keep a connection to this server's quorum port, again and again until told otherwise; `None`: close it
    Follow(Option<ServerId>),
    /// keep a connection over which a voter other than this one, the leader, can feed this server: to one after the other,
    /// again and again until told otherwise; `None`: close it
    SeekFeed(Option<ServerId>),
    /// send a message
    Send {
        /// on this connection
        link: LinkId,
        /// what to say
        message: Message,
    },
    /// send a snapshot of the state at exactly `zxid`, the last delivered transaction; what is sent later comes after it
    SendSnapshot {
        /// on this connection
        link: LinkId,
        /// the last delivered transaction
        zxid: Zxid,
    },
    /// close a connection
    CloseLink {
        /// which
        link: LinkId,
        /// for the log
        reason: String,
    },
    /// apply these: they are decided, and on the own disk
    Deliver(Vec<Proposal>),
    /// a snapshot from the leader is on disk and replaces the state; everything through `zxid` counts as delivered
    Installed {
        /// of the snapshot
        zxid: Zxid,
    },
    /// the role changed
    Role(Role),
    /// a barrier is passed: when it was asked for, no other leader had decided anything that is not decided here
    Barrier {
        /// as asked for
        token: u64,
    },
    /// the answer to `Input::HandOver`: this server does not lead, or not any more
    HandedOver {
        /// who was named to the others; `None`: nobody, since this server did not lead, or since nobody had everything in
        /// time
        to: Option<ServerId>,
    },
    /// the server must stop: going on could harm
    Halt {
        /// for the operator
        reason: String,
    },
}

/// What a server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// no leader is known; nothing can be decided
    Looking,
    /// an established leader is followed, and its history is here
    Following {
        /// who leads
        leader: ServerId,
        /// its epoch
        epoch: Epoch,
        /// the connection to it
        link: LinkId,
    },
    /// this server is the established leader
    Leading {
        /// its epoch
        epoch: Epoch,
    },
}
