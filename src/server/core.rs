//! The core task: it gives the replica everything that has gathered, and carries out what the replica wants, in order.
//!
//! Replies and events are queued for their connections while the replica is still locked: whoever reads the changed
//! state afterwards finds them in its outbox first.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::client::{ClientContext, Closing, ConnTable, SWEEP_MS};
use super::clock::Clock;
use super::disk::{DiskQueue, Job, halt};
use super::peer::{Electors, PeerContext, approximate_bytes};
use super::progress::Progress;
use crate::admin::{Count, Stats, Sum};
use crate::ids::{ConnId, ServerId, Tick};
use crate::jute::{
    ConnectResponse, EventKind, WatchEvent, encode_connect_response, encode_error_reply, encode_event,
    encode_reply, frame,
};
use crate::replica::{Image, Input, Output, PeerMessage, Status};
use crate::zab::{DiskOp, LinkId, Message, Proposal, Role};

/// Inputs taken at once. More would hold the lock for long; fewer would make small groups for the disk.
const BATCH_MAX: usize = 1024;

/// Bytes of requests and transactions that one turn takes; one input more may begin below this. Each is copied several
/// times, so that many big ones in one turn would take longer than others wait for a heartbeat.
const TURN_BYTES_MAX: usize = 1 << 20;

/// Between two ticks while there is no leader: an election is as fast as its clock.
const TICK_MS_LOOKING: u64 = 5;

/// Without a leader for so long, the operator is told what is missing, ms; and again once in a while.
const NO_LEADER_MS: u64 = 10_000;

/// Where the outputs go.
pub struct Outlets {
    /// the disk thread
    pub disk: Arc<DiskQueue>,
    /// the snapshot thread
    pub images: std_mpsc::SyncSender<Image>,
    /// the election ports of the others
    pub electors: Electors,
    /// the links to and from the others, and what this server tells them of itself
    pub peers: Arc<PeerContext>,
    /// whom to dial
    pub follow: watch::Sender<Option<ServerId>>,
    /// where to be fed: by anybody who votes but this one, the leader
    pub feed: watch::Sender<Option<ServerId>>,
    /// what this server is
    pub role: watch::Sender<Role>,
    /// told of every answer to [`Input::HandOver`]
    pub handed_over: watch::Sender<Option<ServerId>>,
}

/// The core task.
pub struct Core {
    context: Arc<ClientContext>,
    clock: Clock,
    inputs: mpsc::Receiver<Input>,
    outlets: Outlets,
    role: Role,
    progress: Progress,
    next_tick: Tick,
    next_heartbeat: Tick,
    next_sweep: Tick,
    /// taken, and not given to the replica yet
    batch: VecDeque<Input>,
    /// of one turn; kept to be used again
    taken: Vec<Input>,
    outputs: Vec<Output>,
    jobs: Vec<Job>,
    wakers: Vec<Waker>,
}

impl Core {
    /// A core that has done nothing yet.
    pub fn new(
        context: Arc<ClientContext>,
        clock: Clock,
        inputs: mpsc::Receiver<Input>,
        outlets: Outlets,
    ) -> Core {
        let progress = Progress::begin(&context);
        Core {
            context,
            clock,
            inputs,
            outlets,
            role: Role::Looking,
            progress,
            next_tick: Tick(0),
            next_heartbeat: Tick(0),
            next_sweep: Tick(0),
            batch: VecDeque::with_capacity(BATCH_MAX),
            taken: Vec::with_capacity(BATCH_MAX),
            outputs: Vec::new(),
            jobs: Vec::new(),
            wakers: Vec::new(),
        }
    }

    /// Works until the task is dropped.
    pub async fn run(mut self) {
        loop {
            if self.batch.is_empty() {
                let now = self.clock.now();
                let tick = Instant::now() + Duration::from_millis(self.next_tick.ms_since(now));
                // What gathered is all there is to a batch; a tick comes with it when it is due.
                let _ = timeout_at(tick, self.inputs.recv_many(&mut self.taken, BATCH_MAX)).await;
                line_up(&mut self.batch, self.taken.drain(..));
            } else {
                // The connections send and hear between two turns.
                tokio::task::yield_now().await;
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        let now = self.clock.now();
        let is_heartbeat = now >= self.next_heartbeat;
        self.add_what_is_due(now);
        let wall_ms = Clock::wall_ms();
        let context = Arc::clone(&self.context);
        let mut outputs = mem::take(&mut self.outputs);
        {
            let mut replica = context.write();
            take_turn(&mut self.batch, |input| {
                count_asked(&context.stats, &input);
                replica.step(now, wall_ms, input, &mut outputs);
            });
            replica.flush(&mut outputs);
            // Before anything leaves that may need more: who speaks less is not let in from here on.
            self.outlets.peers.identity.set_needed_version(replica.state().version());
            self.progress.applied(&context.stats, self.role, replica.state().zxid());
            self.progress.set_observes(replica.observes());
            self.carry_out(&mut outputs);
            if is_heartbeat && self.role == Role::Looking {
                let voters = replica.membership().map_or(1, |members| members.voters().count());
                self.tell_what_is_missing(&replica.status(), voters);
            }
        }
        self.outputs = outputs;
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Adds what the time brings, ahead of what waits: heartbeats do not wait for requests, and a process that stood still
    /// notices that before it believes what came meanwhile (rule 16 of docs/zab.md). What waits here may be as old as the
    /// pause, and an acknowledgement in it does not say that this server still leads. So a server that was not heard of
    /// for `peerTimeoutMs` is given up although its messages may be here, and has to connect again. The broadcast asks for
    /// the time in each of its steps; the tick is for what is no step of it: to judge what other servers forward.
    ///
    /// Sessions are the other way around. Only this server can expire them, so a client's ping counts however long it
    /// waited here, and one that is overlooked costs the client its ephemerals. The replica looks who was silent when the
    /// turn is over, and what tells who was not goes ahead of what can take longer than a turn: [`line_up`].
    fn add_what_is_due(&mut self, now: Tick) {
        if now < self.next_tick {
            return;
        }
        let heartbeat_ms = u64::from(self.context.settings.peer_heartbeat_ms);
        self.next_tick = now.after_ms(match self.role {
            Role::Looking => TICK_MS_LOOKING,
            Role::Following { .. } | Role::Leading { .. } => (heartbeat_ms / 2).max(1),
        });
        let mut heard = Vec::new();
        if now >= self.next_heartbeat {
            self.next_heartbeat = now.after_ms(heartbeat_ms);
            heard = self.context.conns.take_heard();
        }
        if now >= self.next_sweep {
            self.next_sweep = now.after_ms(SWEEP_MS);
            self.context.conns.close_overdue();
        }
        self.batch.push_front(Input::Tick);
        if !heard.is_empty() {
            self.batch.push_front(Input::Heard(heard));
        }
    }

    /// There should be a leader, and there is none.
    fn tell_what_is_missing(&self, status: &Status, voters: usize) {
        if status.looking_ms < NO_LEADER_MS {
            return;
        }
        let names = |servers: &[ServerId]| match servers {
            [] => "none".to_owned(),
            servers => servers.iter().map(ServerId::to_string).collect::<Vec<_>>().join(" "),
        };
        let (voteless, unheard) = (names(&status.voters_without_vote), names(&status.voters_unheard));
        let subject = format!("no leader {voteless} {unheard}");
        self.context.quiet.say(&subject, |more| {
            let seconds = status.looking_ms / 1000;
            if !status.quorum_is_left {
                tracing::error!(
                    "no leader for {seconds} s, and there can be none: without the servers that do not vote ({voteless}), \
                     because their disks are or were empty or damaged, no quorum is left of {voters} voters. Not heard: \
                     {unheard}. docs/faults.md tells the way out under \"Wiped majority\"{more}"
                );
            } else {
                tracing::warn!(
                    "no leader for {seconds} s. Of {voters} voters, not heard: {unheard}; heard, but without a vote: \
                     {voteless}{more}"
                );
            }
        });
    }

    fn carry_out(&mut self, outputs: &mut Vec<Output>) {
        if outputs.is_empty() {
            return;
        }
        let context = Arc::clone(&self.context);
        let conns = context.conns.table();
        for output in outputs.drain(..) {
            match output {
                Output::Disk { seq, op } => self.write(seq, op),
                Output::WriteSnapshot { image } => self.write_snapshot(image),
                Output::Notify { to, notification } => self.outlets.electors.notify(to, notification),
                Output::Follow(leader) => {
                    self.progress.follows(&context.stats, leader);
                    self.outlets.follow.send_replace(leader);
                }
                Output::SeekFeed(leader) => {
                    self.outlets.feed.send_replace(leader);
                }
                Output::Send { link, message } => {
                    count_sync(&context.stats, &message);
                    self.with_link(link, |queue| queue.send(message));
                }
                Output::StreamSnapshot { link, image } => {
                    tracing::info!("link {}: sending a snapshot of {}", link.0, image.zxid());
                    self.with_link(link, |queue| queue.send_snapshot(image));
                }
                Output::CloseLink { link, reason } => self.with_link(link, |queue| queue.close(reason)),
                Output::Connected { conn, response } => self.connected(&conns, conn, response),
                Output::Reply { conn, xid, zxid, result } => {
                    self.with_conn(&conns, conn, |conn| {
                        conn.tally.shown(zxid);
                        conn.outbox.push_reply(|out| {
                            let before = out.len();
                            match result {
                                Ok(response) => encode_reply(out, xid, zxid, &response),
                                Err(code) => encode_error_reply(out, xid, zxid, code),
                            }
                            context.stats.count_response(out.len() - before);
                        })
                    });
                }
                Output::Event { conns: watchers, event } => self.tell_watchers(&conns, watchers, &event),
                Output::Audit(audited) => {
                    if let Some(audit) = &context.audit {
                        audit.tell(&audited);
                    }
                }
                Output::CloseConn { conn, reason } => {
                    self.with_conn(&conns, conn, |conn| conn.outbox.close(Closing::Behind(reason)));
                }
                // Nobody waits for it: the replica is locked here.
                Output::Discard(state) => drop(tokio::task::spawn_blocking(move || drop(state))),
                Output::Membership { active, pending } => self.outlets.electors.update(active, pending),
                Output::Role(role) => self.become_role(role),
                Output::HandedOver { to } => {
                    self.outlets.handed_over.send_replace(to);
                }
                Output::Halt { reason } => halt(&reason),
            }
        }
        if !self.jobs.is_empty() {
            self.outlets.disk.push(self.jobs.drain(..));
        }
    }

    fn write_snapshot(&self, image: Image) {
        if self.outlets.images.try_send(image).is_err() {
            halt("the snapshot thread is gone, or was asked for two at once");
        }
    }

    fn write(&mut self, seq: u64, op: DiskOp) {
        if let DiskOp::Append { proposals, .. } = &op {
            self.count_proposals(proposals);
        }
        self.jobs.push(Job::Op { seq, op });
    }

    fn count_proposals(&mut self, proposals: &[Proposal]) {
        let stats = &self.context.stats;
        match (self.role, proposals.last()) {
            (Role::Leading { .. }, Some(newest)) => {
                proposals.iter().for_each(|proposal| stats.count_proposal(proposal.txn.len()));
                self.progress.proposed(newest.zxid);
            }
            (Role::Following { .. }, _) => stats.metrics.add(Count::LearnerProposal, proposals.len() as u64),
            _ => {}
        }
    }

    /// What is for a link that is gone is for nobody.
    fn with_link(&self, link: LinkId, act: impl FnOnce(&super::peer::LinkQueue)) {
        if let Some(queue) = self.outlets.peers.links.get(link) {
            act(&queue);
        }
    }

    /// What is for a connection that is gone is for nobody.
    fn with_conn(
        &mut self,
        conns: &ConnTable,
        conn: ConnId,
        act: impl FnOnce(&super::client::Conn) -> Option<Waker>,
    ) {
        if let Some(conn) = conns.get(conn) {
            self.wakers.extend(act(conn));
        }
    }

    fn tell_watchers(&mut self, conns: &ConnTable, watchers: Vec<ConnId>, event: &WatchEvent) {
        count_watchers(&self.context.stats, event.kind, watchers.len());
        let mut frame = BytesMut::new();
        encode_event(&mut frame, event);
        for conn in watchers {
            self.with_conn(conns, conn, |conn| conn.outbox.push_event(&frame));
        }
    }

    fn connected(&mut self, conns: &ConnTable, conn: ConnId, mut response: ConnectResponse) {
        let Some(conn) = conns.get(conn) else { return };
        response.read_only = response.read_only.filter(|_| conn.asked_read_only());
        let encode = |out: &mut BytesMut| frame(out, |out| encode_connect_response(&response, out));
        self.wakers.extend(conn.outbox.push_reply(encode));
        if response.timeout_ms == 0 {
            self.wakers.extend(conn.outbox.close(Closing::Behind("its session has expired")));
        } else {
            conn.established(response.session_id, response.timeout_ms.unsigned_abs());
        }
    }

    fn become_role(&mut self, role: Role) {
        match role {
            Role::Looking => tracing::info!("looking for a leader"),
            Role::Following { leader, epoch, .. } => {
                tracing::info!("following server {leader} in epoch {epoch}");
            }
            Role::Leading { epoch } => tracing::info!("leading in epoch {epoch}"),
        }
        self.progress.became(&self.context, role);
        self.role = role;
        // An election is soon over: the next tick comes quickly.
        self.next_tick = Tick(0);
        self.outlets.role.send_replace(role);
    }
}

/// What other servers ask the leader for.
fn count_asked(stats: &Stats, input: &Input) {
    if let Input::Peer { message: PeerMessage::Requests(requests), .. } = input {
        let renewals = requests.iter().filter(|request| request.continues_session()).count();
        if renewals > 0 {
            stats.metrics.add(Count::Revalidate, renewals as u64);
        }
    }
}

fn count_sync(stats: &Stats, message: &PeerMessage) {
    if let PeerMessage::Zab(Message::Sync { snapshot_zxid, .. }) = message {
        stats.metrics.count(if snapshot_zxid.is_some() { Count::Snap } else { Count::Diff });
    }
}

/// So many clients are told of a change.
fn count_watchers(stats: &Stats, kind: EventKind, watchers: usize) {
    let what = match kind {
        EventKind::NodeCreated => Sum::NodeCreated,
        EventKind::NodeDeleted => Sum::NodeDeleted,
        EventKind::NodeDataChanged => Sum::NodeChanged,
        EventKind::NodeChildrenChanged => Sum::NodeChildren,
    };
    stats.metrics.note(what, watchers as u64);
}

/// Adds what has come, in order, except that what other servers tell of their clients' lives goes ahead of all: behind
/// requests it could wait for many turns, and a session would expire that is known here to live. It changes nothing else,
/// so nothing has to come before it.
fn line_up(batch: &mut VecDeque<Input>, come: impl Iterator<Item = Input>) {
    for input in come {
        match input {
            Input::Peer { message: PeerMessage::Touched(_), .. } => batch.push_front(input),
            _ => batch.push_back(input),
        }
    }
}

/// Gives `step` what one turn takes.
fn take_turn(batch: &mut VecDeque<Input>, mut step: impl FnMut(Input)) {
    let mut bytes = 0;
    while bytes < TURN_BYTES_MAX
        && let Some(input) = batch.pop_front()
    {
        bytes += input_bytes(&input);
        step(input);
    }
}

/// About how much of an input is copied and written while it is handled, bytes.
fn input_bytes(input: &Input) -> usize {
    match input {
        Input::Request { body, .. } => body.len(),
        // All that come together are of one turn, however many sessions there are: see `line_up`.
        Input::Peer { message: PeerMessage::Touched(_), .. } => 0,
        Input::Peer { message, .. } => approximate_bytes(message),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::jute::OpCode;

    fn request(bytes: usize) -> Input {
        let (op, body, auth) = (OpCode::SetData as i32, vec![0; bytes].into(), Arc::from([]));
        Input::Request { conn: ConnId(1), xid: 1, op, body, auth }
    }

    #[test]
    fn what_tells_of_sessions_goes_ahead_of_requests_and_all_else_stays_in_order() {
        let touched = Input::Peer { link: LinkId(1), message: PeerMessage::Touched(Vec::new()) };
        let mut batch = VecDeque::from([request(1)]);
        line_up(&mut batch, [request(2), touched, request(3)].into_iter());
        let lengths = batch.iter().map(|input| match input {
            Input::Request { body, .. } => body.len(),
            _ => 0,
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [0, 1, 2, 3]);
        let many = PeerMessage::Touched(vec![SessionId(1); 2 * TURN_BYTES_MAX]);
        let many = Input::Peer { link: LinkId(1), message: many };
        assert_eq!(turns([many, request(TURN_BYTES_MAX), Input::Tick]), [2, 1], "however many there are");
    }

    fn turns(batch: impl IntoIterator<Item = Input>) -> Vec<usize> {
        let mut batch: VecDeque<Input> = batch.into_iter().collect();
        let mut turns = Vec::new();
        while !batch.is_empty() {
            turns.push(0);
            take_turn(&mut batch, |_| *turns.last_mut().expect("pushed just now") += 1);
        }
        turns
    }

    #[test]
    fn small_inputs_are_taken_at_once_and_big_ones_a_few_at_a_time() {
        assert_eq!(turns((0..BATCH_MAX).map(|_| request(1000))), [BATCH_MAX]);
        assert_eq!(turns((0..10).map(|_| request(TURN_BYTES_MAX / 4))), [4, 4, 2]);
        assert_eq!(turns([request(2 * TURN_BYTES_MAX), Input::Tick]), [1, 1]);
    }
}
