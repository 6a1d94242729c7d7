//! A follower feeds observers: it sends them what the leader proposes, so that the leader need not (rule 24 of
//! docs/zab.md). What is decided they hear from the leader alone.

use std::collections::BTreeMap;

use super::core::Core;
use super::cursor::Cursor;
use super::io::{LinkId, Output};
use super::message::Message;
use crate::ids::{Epoch, ServerId, Tick, Zxid};

/// The observers that connected to a follower to be fed.
#[derive(Debug, Default)]
pub struct Feeding {
    feeds: BTreeMap<LinkId, Feed>,
    last_beat: Tick,
}

#[derive(Debug)]
struct Feed {
    observer: ServerId,
    heard: Tick,
    /// What it was sent; `None` until it subscribes.
    cursor: Option<Cursor>,
}

impl Feeding {
    /// An observer connected.
    pub fn on_link_up(&mut self, core: &mut Core, link: LinkId, observer: ServerId) {
        self.end_if(core, "the observer connected again", |feed| feed.observer == observer);
        self.feeds.insert(link, Feed { observer, heard: core.now, cursor: None });
    }

    /// An observer's connection is closed.
    pub fn on_link_down(&mut self, link: LinkId) {
        self.feeds.remove(&link);
    }

    /// Nothing is read from an observer, because the own disk is behind: it is not the observer who is silent.
    pub fn on_link_progress(&mut self, core: &Core, link: LinkId) {
        if let Some(feed) = self.feeds.get_mut(&link) {
            feed.heard = core.now;
        }
    }

    /// An observer said something. `epoch`: in which this server follows, once it has the leader's history.
    pub fn on_message(&mut self, core: &mut Core, epoch: Option<Epoch>, link: LinkId, message: Message) {
        let Some(feed) = self.feeds.get_mut(&link) else { return };
        feed.heard = core.now;
        let refusal = match (message, &mut feed.cursor) {
            (Message::Subscribe { epoch: wanted, after }, None) => {
                let is_at_hand = after >= core.history.before_recent();
                if epoch == Some(wanted) && is_at_hand && core.is_voter() {
                    feed.cursor = Some(Cursor::new(after));
                    return core.send(link, Message::Feeding);
                }
                format!("this server cannot feed from {after} on in epoch {wanted}")
            }
            (Message::Ack { through }, Some(cursor)) => return cursor.on_ack(through),
            (message, _) => format!("an observer that is fed may not say {message:?}"),
        };
        self.feeds.remove(&link);
        core.output(Output::CloseLink { link, reason: refusal });
    }

    /// Time has passed: silent observers are given up, and all if this server votes no longer.
    pub fn on_tick(&mut self, core: &mut Core) {
        let (now, silence_ms) = (core.now, core.config.peer_timeout_ms);
        let is_silent = |feed: &Feed| now.ms_since(feed.heard) > silence_ms;
        self.end_if(core, "nothing was heard of it for too long", is_silent);
        if !core.is_voter() {
            self.end_if(core, "this server is no voter any more", |_| true);
        }
    }

    /// Sends what was appended since.
    pub fn flush(&mut self, core: &mut Core) {
        core.wanted_after = self.wanted_after().unwrap_or(Zxid(u64::MAX));
        if self.feeds.is_empty() {
            return;
        }
        let before_recent = core.history.before_recent();
        let lacks = |feed: &Feed| feed.cursor.as_ref().is_some_and(|cursor| cursor.sent < before_recent);
        self.end_if(core, "it lacks transactions that are no longer at hand", lacks);
        let is_beat = core.now.ms_since(self.last_beat) >= core.config.heartbeat_ms;
        if is_beat {
            self.last_beat = core.now;
        }
        for (link, feed) in &mut self.feeds {
            let Some(cursor) = &mut feed.cursor else { continue };
            if is_beat {
                core.send(*link, Message::Feeding);
            }
            while let Some((previous, proposals)) = cursor.next_batch(core) {
                core.send(*link, Message::Proposals { previous, proposals, committed: Zxid::ZERO });
            }
        }
    }

    /// What follows this zxid is still to be sent to an observer.
    fn wanted_after(&self) -> Option<Zxid> {
        self.feeds.values().filter_map(|feed| feed.cursor.as_ref()).map(|cursor| cursor.sent).min()
    }

    /// How many observers are fed.
    pub fn count(&self) -> usize {
        self.feeds.values().filter(|feed| feed.cursor.is_some()).count()
    }

    /// This server follows no longer, or not in this epoch.
    pub fn end(&mut self, core: &mut Core) {
        self.end_if(core, "this server does not follow any more", |_| true);
    }

    fn end_if(&mut self, core: &mut Core, reason: &str, which: impl Fn(&Feed) -> bool) {
        self.feeds.retain(|link, feed| {
            let ends = which(feed);
            if ends {
                core.output(Output::CloseLink { link: *link, reason: reason.to_string() });
            }
            !ends
        });
    }
}
