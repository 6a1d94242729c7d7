//! Between servers: roles, requests and answers, what was heard of sessions, digests.

use std::collections::BTreeSet;

use super::Replica;
use super::digests::Mismatch;
use super::io::{Answer, ForwardedRequest, Output, PeerMessage};
use super::leading::{Judged, Leading, Scene};
use super::state::State;
use crate::ids::{ServerId, Zxid};
use crate::mutants::{Mutant, has};
use crate::txn::Txn;
use crate::zab::{self, LinkId, Role};

impl Replica {
    /// The role changed.
    pub(super) fn on_role(&mut self, role: Role) {
        let previous = std::mem::replace(&mut self.role, role);
        self.leading = None;
        self.answers.clear();
        self.clients.forget_answers();
        if role != Role::Looking {
            self.end_read_only();
        }
        if !self.leader_knows_local_sessions() {
            self.end_local_sessions();
        }
        match role {
            Role::Looking if previous == Role::Looking => {}
            Role::Looking => self.looking_since = self.now,
            Role::Following { .. } => self.resend_requests(),
            Role::Leading { epoch } => {
                self.leading = Some(Leading::new(epoch, &self.state, &self.config, self.now));
                self.touch_heard();
                self.close_if_only_leading();
                self.resend_requests();
            }
        }
        self.tell_held();
        self.output(Output::Role(role));
    }

    /// What was sent to an older leader and is neither applied nor in the log came to nothing, and is sent again.
    fn resend_requests(&mut self) {
        let logged = match self.logged_requests() {
            Ok(logged) => logged,
            Err(reason) => return self.output(Output::Halt { reason }),
        };
        for conn in self.clients.resend(&logged) {
            self.drop_conn(conn, "the outcome of an earlier request is not known");
        }
    }

    /// The requests of this server that stand in the log and are not applied yet.
    fn logged_requests(&self) -> Result<BTreeSet<u64>, String> {
        let own = u32::from(self.config.zab.id.0);
        let mut logged = BTreeSet::new();
        for proposal in self.zab.undelivered() {
            let txn = Txn::from_bytes(proposal.txn.clone())
                .map_err(|error| format!("transaction {} in the log: {error}", proposal.zxid))?;
            if txn.origin == own && txn.request_id != 0 && !has(Mutant::RequestTwice) {
                logged.insert(txn.request_id);
            }
        }
        Ok(logged)
    }

    /// A leader's snapshot replaced the state. What happened in between is not known here one by one: clients are sent
    /// to find out anew, their sessions live on.
    pub(super) fn on_installed(&mut self, zxid: Zxid) {
        let state: Box<State> = self.installed.take().expect("a snapshot is installed with its state");
        assert_eq!(state.zxid(), zxid, "the installed snapshot is the one that was announced");
        let replaced = std::mem::replace(&mut self.state, *state);
        if has(Mutant::QuotaOfOldState) {
            self.state.tree.limit_as(&replaced.tree);
        }
        self.output(Output::Discard(Box::new(replaced)));
        self.digests.clear();
        self.digests.push(zxid, self.state.digest());
        for conn in self.clients.all() {
            self.drop_conn(conn, "this server's state was replaced by a snapshot");
        }
    }

    /// Hands what clients asked for to the leader: this server, or the one it follows.
    pub(super) fn hand_over_requests(&mut self) {
        if self.serves() {
            self.open_local_sessions();
        }
        match self.role {
            Role::Looking => {}
            Role::Following { link, .. } => {
                let requests = self.clients.take_unsent();
                if !requests.is_empty() {
                    self.output(Output::Send { link, message: PeerMessage::Requests(requests) });
                }
            }
            Role::Leading { .. } => {
                while let Some(request) = self.clients.next_unsent() {
                    self.judge(self.config.zab.id, &request);
                }
                self.tell_answers();
            }
        }
    }

    /// A leader's own state, and what it judges by.
    pub(super) fn scene(&mut self) -> Option<(&mut Leading, Scene<'_>)> {
        let version = self.ensemble_version();
        let leading = self.leading.as_mut()?;
        let scene = Scene {
            zab: &mut self.zab,
            state: &self.state,
            now: self.now,
            wall_ms: self.wall_ms,
            digest: self.digests.newest(),
            version,
        };
        Some((leading, scene))
    }

    /// Judges a request. Its answer, if there is one at once, goes the way the request came.
    fn judge(&mut self, origin: ServerId, request: &ForwardedRequest) {
        let Some((leading, mut scene)) = self.scene() else { return };
        match leading.judge(&mut scene, origin, request) {
            Judged::Proposed | Judged::Waiting => {}
            Judged::Answered(answer) => self.answer(origin, answer),
            Judged::ZxidsUsedUp => self.resign(),
        }
    }

    pub(super) fn resign(&mut self) {
        self.zab.resign("the zxids of this epoch are used up");
        self.follow_zab();
    }

    fn answer(&mut self, origin: ServerId, answer: Answer) {
        if origin == self.config.zab.id {
            return self.clients.answer(answer);
        }
        let link = self.links.iter().rev().find(|(_, server)| **server == origin).map(|(link, _)| *link);
        if let Some(link) = link {
            self.answers.entry(link).or_default().push(answer);
        }
    }

    /// A barrier is passed: the `sync` that waited for it is answered.
    pub(super) fn on_barrier(&mut self, token: u64) {
        let passed = self.leading.as_mut().and_then(|leading| leading.on_barrier(token));
        if let Some((origin, answer)) = passed {
            self.answer(origin, answer);
            self.tell_answers();
        }
    }

    pub(super) fn send_answers(&mut self) {
        for (link, answers) in std::mem::take(&mut self.answers) {
            self.output(Output::Send { link, message: PeerMessage::Answers(answers) });
        }
    }

    /// A message of another server.
    pub(super) fn on_peer_message(&mut self, link: LinkId, message: PeerMessage) {
        let from_leader = matches!(self.role, Role::Following { link: to_leader, .. } if to_leader == link);
        match message {
            PeerMessage::Zab(message) => self.tell_zab(zab::Input::Message { link, message }),
            PeerMessage::Requests(requests) => {
                if let (Some(_), Some(origin)) = (&self.leading, self.links.get(&link).copied()) {
                    requests.iter().for_each(|request| self.judge(origin, request));
                }
            }
            PeerMessage::Answers(answers) if from_leader => {
                answers.into_iter().for_each(|answer| self.clients.answer(answer));
                self.tell_answers();
            }
            PeerMessage::Touched(sessions) => {
                if let Some(leading) = &mut self.leading {
                    sessions.into_iter().for_each(|session| leading.touch(session, self.now));
                }
            }
            PeerMessage::TreeDigest { zxid, digest } if from_leader => self.compare_digest(zxid, digest),
            PeerMessage::Answers(_) | PeerMessage::TreeDigest { .. } => {}
        }
    }

    /// A server whose state differs from the leader's serves nobody, and takes the leader's state.
    pub(super) fn compare_digest(&mut self, zxid: Zxid, leader: u64) {
        if let Err(Mismatch { zxid, own, leader }) = self.digests.compare(zxid, leader) {
            tracing::error!(
                %zxid, own = format!("{own:016x}"), leader = format!("{leader:016x}"),
                "the state of this server differs from the leader's: taking a snapshot of the leader's. \
                 Please report this, with the log and the snapshots of both servers"
            );
            self.digest_mismatches += 1;
            self.digests.clear();
            for conn in self.clients.all() {
                self.drop_conn(conn, "this server's state cannot be trusted");
            }
            self.zab.distrust_state();
        }
    }

    /// A new leader knows of the sessions that were heard of here.
    fn touch_heard(&mut self) {
        let heard = std::mem::take(&mut self.touched);
        if let Some(leading) = &mut self.leading {
            heard.into_iter().for_each(|session| leading.touch(session, self.now));
        }
    }

    /// This process stood still, and heard nobody meanwhile: what clients sent in that time is still to be read.
    pub(super) fn renew_sessions(&mut self, stalled_ms: u64) {
        self.local.renew_all(self.now);
        if let Some(leading) = &mut self.leading {
            tracing::warn!(stalled_ms, "this process stood still; all sessions get a full timeout");
            leading.renew_all(self.now);
        }
    }

    /// As far as this server leads, sessions whose clients were silent end, and so do containers and znodes with a time to
    /// live whose time has come.
    pub(super) fn end_what_is_due(&mut self) {
        let id = self.config.zab.id;
        let Some((leading, mut scene)) = self.scene() else { return };
        let expired = leading.expire(&mut scene, id);
        let has_zxids = expired.is_some() && leading.delete_limited(&mut scene, id);
        self.sessions_expired += expired.unwrap_or(0);
        if !has_zxids {
            self.resign();
        }
    }

    /// A follower tells the leader which sessions it heard of, a leader the followers what its state's digest is.
    pub(super) fn maybe_send_heartbeat(&mut self) {
        if self.now.ms_since(self.last_heartbeat) < self.config.zab.heartbeat_ms {
            return;
        }
        self.last_heartbeat = self.now;
        match self.role {
            Role::Following { link, .. } if !self.touched.is_empty() => {
                let sessions = std::mem::take(&mut self.touched).into_iter().collect();
                if has(Mutant::TouchesForgotten) {
                    return;
                }
                self.output(Output::Send { link, message: PeerMessage::Touched(sessions) });
            }
            Role::Leading { .. } => {
                let Some((zxid, digest)) = self.digests.newest() else { return };
                for link in self.zab.active_links() {
                    self.output(Output::Send { link, message: PeerMessage::TreeDigest { zxid, digest } });
                }
            }
            Role::Following { .. } | Role::Looking => {}
        }
    }
}
