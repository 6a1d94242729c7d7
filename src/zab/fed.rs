//! An observer is fed: a follower sends it what is proposed; everything else it hears from the leader (rule 24 of
//! docs/zab.md).

use super::core::Core;
use super::io::{LinkId, Output};
use super::message::{Message, Proposal};
use crate::ids::{Epoch, ServerId, Tick, Zxid};
use crate::mutants::{Mutant, has};

/// Where a learner of a leader gets its proposals from, beside the leader.
#[derive(Debug, Default)]
pub struct Fed {
    is_sought: bool,
    source: Option<Source>,
    /// It was fed by somebody since it follows the leader.
    pub was_fed: bool,
    /// The newest commit point that the leader told; it may be ahead of the log.
    decided: Zxid,
    /// A commit point that the log has not reached yet, and since when.
    behind: Option<(Zxid, Tick)>,
}

/// The follower at the other end.
#[derive(Debug)]
struct Source {
    link: LinkId,
    server: ServerId,
    heard: Tick,
    /// It said that it sends, and the leader knows.
    feeds: bool,
    told_ack: Zxid,
}

impl Fed {
    /// Has a follower looked for, or leaves it, as `wanted` says. `leader`: who and where the leader is.
    pub fn keep(&mut self, core: &mut Core, wanted: bool, leader: (ServerId, LinkId)) {
        if std::mem::replace(&mut self.is_sought, wanted) != wanted {
            core.output(Output::SeekFeed(wanted.then_some(leader.0)));
            if !wanted {
                self.leave(core, leader.1, "this server is to be fed no longer");
            }
        }
    }

    /// A connection to a follower is open.
    pub fn on_link_up(&mut self, core: &mut Core, link: LinkId, server: ServerId, epoch: Option<Epoch>) {
        let Some(epoch) = epoch.filter(|_| self.is_sought && self.source.is_none()) else {
            let reason = "this server is not to be fed".to_string();
            return core.output(Output::CloseLink { link, reason });
        };
        self.behind = None;
        self.source = Some(Source { link, server, heard: core.now, feeds: false, told_ack: core.synced });
        core.send(link, Message::Subscribe { epoch, after: core.history.last() });
    }

    /// True if this is the connection to the follower.
    pub fn is_from(&self, link: LinkId) -> bool {
        self.source.as_ref().is_some_and(|source| source.link == link)
    }

    /// The connection to the follower is closed: the leader is to go on.
    pub fn on_link_down(&mut self, core: &mut Core, to_leader: LinkId) {
        if self.source.take().is_some_and(|source| source.feeds) {
            core.send(to_leader, Message::Unfed { after: core.history.last() });
        }
    }

    /// Nothing is read, because the own disk is behind: it is not the follower who is silent or late, and it must know
    /// that this server lives.
    pub fn on_link_progress(&mut self, core: &mut Core) {
        self.behind = None;
        if let Some(source) = &mut self.source {
            source.heard = core.now;
            core.send(source.link, Message::Ack { through: source.told_ack });
        }
    }

    /// The follower said something.
    pub fn on_message(&mut self, core: &mut Core, epoch: Epoch, to_leader: LinkId, message: Message) {
        let Some(source) = &mut self.source else { return };
        source.heard = core.now;
        let taken = match message {
            Message::Feeding => {
                if !std::mem::replace(&mut source.feeds, true) {
                    self.was_fed = true;
                    tracing::info!(server = %source.server, "fed by a follower");
                    core.send(to_leader, Message::Fed);
                }
                core.send(source.link, Message::Ack { through: source.told_ack });
                Ok(())
            }
            Message::Proposals { previous, proposals, .. } if source.feeds => {
                take(core, epoch, previous, proposals)
            }
            message => Err(format!("a follower that feeds may not say {message:?}")),
        };
        match taken {
            Ok(()) => self.on_appended(core),
            Err(reason) => self.leave(core, to_leader, &reason),
        }
    }

    /// The leader says that this is decided, and maybe more than the log holds.
    pub fn on_decided(&mut self, core: &mut Core, through: Zxid) {
        self.decided = self.decided.max(through);
        self.on_appended(core);
    }

    /// The log is longer than before: more of it may be known to be decided.
    pub fn on_appended(&mut self, core: &mut Core) {
        let last = core.history.last();
        let known = if has(Mutant::FedKnowsAll) && self.source.is_some() { last } else { self.decided };
        core.commit(known.min(last));
        if self.behind.is_some_and(|(zxid, _)| zxid <= last) {
            self.behind = None;
        }
        if self.behind.is_none() && self.decided > last {
            self.behind = Some((self.decided, core.now));
        }
    }

    /// Time has passed: a follower that is silent is left, and one that does not have what is decided for so long.
    pub fn on_tick(&mut self, core: &mut Core, to_leader: LinkId) {
        let Some(source) = &self.source else { return };
        let patience_ms = core.config.peer_timeout_ms;
        let silent_ms = core.now.ms_since(source.heard);
        let behind_ms = self.behind.map_or(0, |(_, since)| core.now.ms_since(since));
        if silent_ms > patience_ms {
            self.leave(core, to_leader, &format!("it was silent for {silent_ms} ms"));
        } else if behind_ms > patience_ms / 2 {
            self.leave(core, to_leader, &format!("it is {behind_ms} ms behind the leader"));
        }
    }

    /// Tells the follower what is on the disk.
    pub fn flush(&mut self, core: &mut Core) {
        if let Some(source) = &mut self.source
            && source.feeds
            && core.synced > source.told_ack
        {
            source.told_ack = core.synced;
            core.send(source.link, Message::Ack { through: core.synced });
        }
    }

    /// Leaves the follower; the leader is to go on.
    fn leave(&mut self, core: &mut Core, to_leader: LinkId, reason: &str) {
        let Some(source) = &self.source else { return };
        tracing::info!(server = %source.server, reason, "fed by that follower no longer");
        core.output(Output::CloseLink { link: source.link, reason: reason.to_string() });
        self.on_link_down(core, to_leader);
    }

    /// The leader is not followed any more.
    pub fn end(&mut self, core: &mut Core) {
        if let Some(source) = self.source.take() {
            let reason = "the leader is not followed any more".to_string();
            core.output(Output::CloseLink { link: source.link, reason });
        }
        if self.is_sought {
            core.output(Output::SeekFeed(None));
        }
    }
}

/// Appends what a follower sends: of the own epoch, and the very next after what is there. What is there already came from
/// the leader.
fn take(core: &mut Core, epoch: Epoch, previous: Zxid, proposals: Vec<Proposal>) -> Result<(), String> {
    let mut last = core.history.last();
    if previous > last {
        return Err(format!("proposals continue {previous}, but the log ends at {last}"));
    }
    for proposal in proposals {
        if proposal.zxid <= last {
            continue;
        }
        let is_next = proposal.zxid.may_follow(last);
        if !is_next || proposal.zxid.epoch() != epoch {
            return Err(format!("a proposal with {} may not follow {last} in epoch {epoch}", proposal.zxid));
        }
        last = proposal.zxid;
        core.append(proposal);
    }
    Ok(())
}
