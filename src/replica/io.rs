//! What goes into and comes out of a server without its edges.

use std::sync::Arc;

use bytes::Bytes;

use super::leading::OP_CONTINUE_SESSION;
use super::local::Standing;
use super::state::{Image, State};
use crate::ids::{ConnId, ServerId, SessionId, Version, Xid, Zxid};
use crate::jute::{AuthId, ConnectRequest, ConnectResponse, ErrorCode, Response, WatchEvent};
use crate::membership::Membership;
use crate::zab::{self, DiskDone, DiskOp, LinkId, Notification, Role};

/// A client's write, `sync` or `closeSession` on its way to the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardedRequest {
    /// the origin's own number for it, rising
    pub request_id: u64,
    /// who asks
    pub session_id: SessionId,
    /// which connection of the session asks
    pub generation: u64,
    /// the client's number for it
    pub xid: Xid,
    /// the operation code of the client protocol
    pub op: i32,
    /// the record behind the request header, as the client sent it
    pub body: Bytes,
    /// the identities of the connection
    pub auth: Arc<[AuthId]>,
    /// in which way the session is known
    pub standing: Standing,
}

impl ForwardedRequest {
    /// True if a session is to go on with another connection.
    pub fn continues_session(&self) -> bool {
        self.op == OP_CONTINUE_SESSION
    }
}

/// What becomes of a forwarded request that makes no transaction: a `sync`, or one of a connection that was left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// the origin's number of the request
    pub request_id: u64,
    /// given to the client once this is applied
    pub after: Zxid,
    /// the session continues on another connection; otherwise a `sync` is passed
    pub moved: bool,
}

/// What an audit log is told of one client, or of a session's end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audited {
    /// of the client
    pub session_id: SessionId,
    /// who it has proved to be, its address among them; empty if the server did it
    pub identities: Arc<[AuthId]>,
    /// one line each
    pub entries: Vec<AuditEntry>,
}

/// One line of an audit log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// ZooKeeper's name for it
    pub operation: &'static str,
    /// the znode; none of a multi that failed
    pub path: Option<String>,
    /// of a create: what kind
    pub znode_type: Option<&'static str>,
    /// of a setACL: the list, without hashes
    pub acl: Option<String>,
    /// or it was refused
    pub succeeded: bool,
}

impl AuditEntry {
    /// An operation on nothing in particular.
    pub fn of(operation: &'static str, succeeded: bool) -> AuditEntry {
        AuditEntry { operation, path: None, znode_type: None, acl: None, succeeded }
    }

    /// The same on a znode.
    pub fn on(self, path: &str) -> AuditEntry {
        AuditEntry { path: Some(path.to_owned()), ..self }
    }
}

/// A message on a connection between servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerMessage {
    /// of the atomic broadcast
    Zab(zab::Message),
    /// learner to leader: what clients asked for, in order
    Requests(Vec<ForwardedRequest>),
    /// leader to learner: answers without a transaction, in order
    Answers(Vec<Answer>),
    /// learner to leader: sessions whose clients were heard of
    Touched(Vec<SessionId>),
    /// leader to learner: the digest of its tree at `zxid`
    TreeDigest {
        /// when
        zxid: Zxid,
        /// of the whole tree
        digest: u64,
    },
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// time has passed
    Tick,
    /// a client sent its first frame
    Connect {
        /// its connection
        conn: ConnId,
        /// what it asks for
        request: ConnectRequest,
    },
    /// a connected client sent something that the leader must decide: a write, `sync`, `closeSession`. Behind a `sync`
    /// that is not answered yet comes nothing but another `sync`: a barrier is passed later than what is judged behind
    /// it, and a connection whose requests end out of order is closed. Behind a `reconfig` that is not answered yet
    /// comes nothing: it is answered later than it is applied
    Request {
        /// its connection
        conn: ConnId,
        /// its number for the request
        xid: Xid,
        /// the operation code
        op: i32,
        /// the record behind the header. These very bytes are kept until the request has come to its end, also if the
        /// connection is gone before, and no longer: when the last handle to them is dropped, it is under way no more
        body: Bytes,
        /// the identities of the connection
        auth: Arc<[AuthId]>,
    },
    /// clients were heard of, by whatever they sent; told at least once a heartbeat, not for every frame
    Heard(Vec<ConnId>),
    /// a client connection is gone; its session lives on
    Disconnected {
        /// which
        conn: ConnId,
    },
    /// a server told its state in the election
    Notification {
        /// who
        from: ServerId,
        /// its state
        notification: Notification,
    },
    /// a server's connection to our election port ended
    PeerGone {
        /// who
        peer: ServerId,
    },
    /// a server said what it speaks, on any connection, before anything else
    PeerSpeaks {
        /// who
        peer: ServerId,
        /// the greatest version that both speak
        version: Version,
    },
    /// a connection to a leader or from a learner is open
    LinkUp {
        /// the connection
        link: LinkId,
        /// the server at the other end
        peer: ServerId,
        /// we dialled it
        dialled: bool,
    },
    /// a connection between an observer that is to be fed (which dialled it) and another server is open; that one speaks a
    /// version that knows of it
    FeedUp {
        /// the connection
        link: LinkId,
        /// the server at the other end
        peer: ServerId,
        /// we dialled it: we are to be fed
        dialled: bool,
    },
    /// a connection is closed
    LinkDown {
        /// which
        link: LinkId,
    },
    /// a snapshot that is being sent moves on; or nothing is read because the own disk is behind
    LinkProgress {
        /// on which connection
        link: LinkId,
    },
    /// a message came
    Peer {
        /// on which connection
        link: LinkId,
        /// what it says
        message: PeerMessage,
    },
    /// the disk has done something
    Disk(DiskDone),
    /// an `InstallSnapshot` is done, and this is what the snapshot held
    Installed {
        /// the number of the operation
        seq: u64,
        /// the state at the snapshot's zxid
        state: Box<State>,
    },
    /// this server is to lead no longer, if it does: it is to end, for example. `Output::HandedOver` answers
    HandOver,
    /// a snapshot of `zxid` was written and verified, or could not be (which harms nothing)
    SnapshotWritten {
        /// of the image
        zxid: Zxid,
    },
}

/// Something to do, in the order given.
#[derive(Debug)]
pub enum Output {
    /// for the disk, strictly in order
    Disk {
        /// rises by one with every operation
        seq: u64,
        /// what to do
        op: DiskOp,
    },
    /// write a snapshot file in the background; `SnapshotWritten` answers, whatever came of it
    WriteSnapshot {
        /// what to write
        image: Image,
    },
    /// tell a server the state in the election
    Notify {
        /// to whom
        to: ServerId,
        /// the state; replaces what was not sent yet, and is sent again after a reconnect
        notification: Notification,
    },
    /// keep a connection to this server's quorum port; `None`: close it
    Follow(Option<ServerId>),
    /// keep a connection over which a voter other than this one, the leader, can feed this server: to one after the other,
    /// again and again until told otherwise; `None`: close it
    SeekFeed(Option<ServerId>),
    /// send a message
    Send {
        /// on which connection
        link: LinkId,
        /// what to say
        message: PeerMessage,
    },
    /// send this image as `SnapshotChunk`s; later messages on the connection come after it
    StreamSnapshot {
        /// on which connection
        link: LinkId,
        /// what to send
        image: Image,
    },
    /// close a connection between servers
    CloseLink {
        /// which
        link: LinkId,
        /// for the log
        reason: String,
    },
    /// a client's session is open on this connection. With `timeout_ms` 0 the session has expired: the connection is
    /// closed behind the answer
    Connected {
        /// its connection
        conn: ConnId,
        /// the answer
        response: ConnectResponse,
    },
    /// the answer to a `Request`, in the order of that connection's requests
    Reply {
        /// its connection
        conn: ConnId,
        /// the client's number for the request
        xid: Xid,
        /// the newest transaction applied here
        zxid: Zxid,
        /// the answer, or why there is none
        result: Result<Response, ErrorCode>,
    },
    /// watches fired; comes before every `Reply` that shows the change
    Event {
        /// on these connections
        conns: Vec<ConnId>,
        /// what to tell
        event: WatchEvent,
    },
    /// for the audit log, if there is one (`Config::audits`)
    Audit(Audited),
    /// close a client's connection once what was queued before is written
    CloseConn {
        /// which
        conn: ConnId,
        /// for the log
        reason: &'static str,
    },
    /// throw this state away, elsewhere: a snapshot took its place, and to free a big tree takes long
    Discard(Box<State>),
    /// who the servers are: told at the start, and whenever it changes, unless this server is alone for ever
    Membership {
        /// as the applied history says, or else the operator
        active: Arc<Membership>,
        /// as transactions say that are in the log and not applied: to be talked to as well
        pending: Vec<Arc<Membership>>,
    },
    /// the role changed
    Role(Role),
    /// the answer to `Input::HandOver`: this server does not lead, or not any more
    HandedOver {
        /// who was named to the others to lead next, if anybody
        to: Option<ServerId>,
    },
    /// stop the process: going on could harm
    Halt {
        /// for the operator
        reason: String,
    },
}
