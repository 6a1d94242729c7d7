//! What happened, in words.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use zabra::ids::{ServerId, Zxid};
use zabra::replica::{Input, Output, PeerMessage};
use zabra::zab::{DiskDone, DiskOp, HistorySummary, Message, Notification, PeerState, Proposal, Role};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::disk::Disk;

/// The newest lines of the story.
#[derive(Default)]
pub struct Trace {
    lines: VecDeque<String>,
    lines_max: usize,
    /// Messages and operations of the disk as well.
    in_detail: bool,
    /// Of all lines so far.
    hash: u64,
    /// What each server told the others last.
    told: BTreeMap<ServerId, String>,
}

impl Trace {
    /// What fits on a few screens.
    pub fn short() -> Trace {
        Trace { lines_max: 150, ..Trace::default() }
    }

    /// Everything of late.
    pub fn long() -> Trace {
        Trace { lines_max: 4_000, in_detail: true, ..Trace::default() }
    }

    /// Everything of late, so many lines.
    pub fn newest(lines_max: usize) -> Trace {
        Trace { lines_max, ..Trace::long() }
    }

    /// Everything.
    pub fn story() -> Trace {
        Trace { lines_max: usize::MAX, ..Trace::long() }
    }

    /// Nothing is kept but a hash of everything.
    pub fn hashed() -> Trace {
        Trace { lines_max: 1, in_detail: true, ..Trace::default() }
    }

    /// Of everything that was noted.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn note(&mut self, now: u64, line: String) {
        if self.in_detail {
            self.hash = xxh3_64_with_seed(line.as_bytes(), self.hash ^ now);
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{now:>6} {line}"));
    }

    /// The lines since the last call, without their times.
    pub fn take(&mut self) -> Vec<String> {
        self.lines.drain(..).map(|line| line[7..].to_string()).collect()
    }

    /// A server gives something out.
    pub fn output(&mut self, now: u64, id: ServerId, output: &Output) {
        match output {
            Output::Role(role) => self.note(now, format!("server {id} {}", role_in_words(*role))),
            Output::CloseLink { reason, .. } => {
                self.note(now, format!("server {id} closes a link: {reason}"))
            }
            Output::CloseConn { reason, .. } => {
                self.note(now, format!("server {id} closes a client: {reason}"))
            }
            Output::Halt { reason } => self.note(now, format!("server {id} halts: {reason}")),
            Output::HandedOver { to: Some(to) } => {
                self.note(now, format!("server {id} left the lead to {to}"))
            }
            Output::HandedOver { to: None } => self.note(now, format!("server {id} left no lead to anybody")),
            _ if !self.in_detail => {}
            Output::Notify { notification, .. } => {
                let words = notification_in_words(notification);
                if self.told.insert(id, words.clone()).as_ref() != Some(&words) {
                    self.note(now, format!("server {id} tells all: {words}"));
                }
            }
            Output::Disk { op, .. } => self.note(now, format!("server {id} -> disk: {}", op_in_words(op))),
            _ => {}
        }
    }

    /// A client is told something.
    pub fn client(&mut self, now: u64, line: String) {
        if self.in_detail {
            self.note(now, line);
        }
    }

    /// Something arrives from another server.
    pub fn arrival(&mut self, now: u64, from: ServerId, to: ServerId, input: &Input) {
        if !self.in_detail {
            return;
        }
        match input {
            Input::Peer { message, .. } => {
                if let Some(words) = message_in_words(message) {
                    self.note(now, format!("{from}->{to} {words}"));
                }
            }
            Input::LinkDown { .. } => self.note(now, format!("{from}->{to} closed")),
            _ => {}
        }
    }

    /// The disk of a server has done something.
    pub fn disk_done(&mut self, now: u64, id: ServerId, disk: &Disk, input: &Input) {
        if !self.in_detail {
            return;
        }
        let what = match input {
            Input::Disk(DiskDone::InstallFailed { .. }) => "the received snapshot is no good".to_string(),
            Input::Installed { state, .. } => format!("snapshot of {} installed", state.zxid()),
            _ => format!(
                "log through {}, accepted {}, current {}",
                disk.synced, disk.epoch.accepted_epoch, disk.epoch.current_epoch
            ),
        };
        self.note(now, format!("disk of {id}: {what}"));
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn role_in_words(role: Role) -> String {
    match role {
        Role::Looking => "is looking".to_string(),
        Role::Leading { epoch } => format!("leads in epoch {epoch}"),
        Role::Following { leader, epoch, .. } => format!("follows server {leader} in epoch {epoch}"),
    }
}

fn notification_in_words(notification: &Notification) -> String {
    let Notification { state, round, vote, may_vote, abstains, .. } = notification;
    let leader = vote.server_id;
    let what = match state {
        PeerState::Looking => {
            format!("round {round}, vote for {leader} with epoch {}, {}", vote.current_epoch, vote.last_zxid)
        }
        PeerState::Following => format!("round {round}, following {leader}"),
        PeerState::Leading => format!("round {round}, leading"),
    };
    match (may_vote, abstains) {
        (true, false) => what,
        (true, true) => format!("{what}, abstaining"),
        (false, _) => format!("{what}, not to be counted"),
    }
}

fn op_in_words(op: &DiskOp) -> String {
    match op {
        DiskOp::Append { proposals, committed, .. } => {
            format!("append {}, decided through {committed}", range(proposals))
        }
        DiskOp::Truncate { through } => format!("cut behind {through}"),
        DiskOp::SaveEpoch(record) => {
            let vote = if record.may_vote { "" } else { ", no vote" };
            format!("epochs accepted {}, current {}{vote}", record.accepted_epoch, record.current_epoch)
        }
        DiskOp::ReceiveSnapshot { first, .. } => {
            format!("{} of a snapshot", if *first { "the beginning" } else { "a piece" })
        }
        DiskOp::InstallSnapshot { zxid } => format!("install the snapshot of {zxid}"),
    }
}

/// `None` for what comes all the time.
fn message_in_words(message: &PeerMessage) -> Option<String> {
    Some(match message {
        PeerMessage::Zab(message) => return zab_message_in_words(message),
        PeerMessage::Requests(requests) => format!("{} requests", requests.len()),
        PeerMessage::Answers(answers) => {
            let word = |moved| if moved { "moved" } else { "synced" };
            let words: Vec<&str> = answers.iter().map(|answer| word(answer.moved)).collect();
            format!("answers: {}", words.join(", "))
        }
        PeerMessage::Touched(_) | PeerMessage::TreeDigest { .. } => return None,
    })
}

fn zab_message_in_words(message: &Message) -> Option<String> {
    Some(match message {
        Message::FollowerInfo { accepted_epoch, may_vote } => {
            let vote = if *may_vote { "" } else { ", no vote" };
            format!("FOLLOWERINFO accepted {accepted_epoch}{vote}")
        }
        Message::LeaderInfo { epoch } => format!("LEADERINFO epoch {epoch}"),
        Message::AckEpoch { promised, current_epoch, history } => {
            let before = if *promised { "" } else { ", promised before" };
            format!("ACKEPOCH current {current_epoch}, log {}{before}", summary(history))
        }
        Message::Sync { truncate_to: Some(zxid), .. } => format!("TRUNC {zxid}"),
        Message::Sync { snapshot_zxid: Some(zxid), .. } => format!("SNAP {zxid}"),
        Message::Sync { .. } => "DIFF".to_string(),
        Message::SnapshotChunk { last, .. } => format!("snapshot{}", if *last { ", the end" } else { "" }),
        Message::Proposals { proposals, committed, .. } => {
            format!("PROPOSAL {}, decided through {committed}", range(proposals))
        }
        Message::NewLeader { epoch, .. } => format!("NEWLEADER {epoch}"),
        Message::AckNewLeader { epoch } => format!("ACK of NEWLEADER {epoch}"),
        Message::UpToDate { committed } => format!("UPTODATE {committed}"),
        Message::Ack { through } => format!("ACK {through}"),
        Message::Commit { through } => format!("COMMIT {through}"),
        Message::HandOver { to, last_zxid } => format!("HANDOVER to {to}, log {last_zxid}"),
        Message::Subscribe { epoch, after } => format!("SUBSCRIBE in epoch {epoch} after {after}"),
        Message::Fed => "FED".to_string(),
        Message::Unfed { after } => format!("UNFED after {after}"),
        Message::Ping { .. } | Message::Pong { .. } | Message::Feeding => return None,
    })
}

fn summary(history: &HistorySummary) -> String {
    let ends: Vec<String> = history.epoch_ends.iter().map(Zxid::to_string).collect();
    match ends.is_empty() {
        true => "empty".to_string(),
        false => ends.join(" "),
    }
}

fn range(proposals: &[Proposal]) -> String {
    match proposals {
        [] => "nothing".to_string(),
        [only] => only.zxid.to_string(),
        [first, .., last] => format!("{} to {}", first.zxid, last.zxid),
    }
}
