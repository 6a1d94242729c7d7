//! MessageLegal: on each connection every message comes where the protocol has a place for it, and nobody is told
//! something that it may not hear.

use std::collections::{BTreeMap, BTreeSet};

use zabra::ids::ServerId;
use zabra::zab::{LinkId, Message};

use super::{Verdict, unless};

pub const NAME: &str = "MessageLegal";

/// How far a learner has come, as far as it said so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum Learner {
    #[default]
    Connected,
    Introduced,
    Promised,
    Acknowledged,
}

/// How far the leader has come with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum Leader {
    #[default]
    Connected,
    Asked,
    /// a snapshot is to be sent
    Snapshot,
    Syncing,
    Announced,
    Active,
}

#[derive(Default)]
struct Talk {
    learner: Option<ServerId>,
    said: Learner,
    told: Leader,
    /// The learner said that a follower feeds it.
    is_fed: bool,
}

/// What an observer and the follower that feeds it said.
#[derive(Default)]
struct Feed {
    observer: Option<ServerId>,
    feeds: bool,
}

#[derive(Default)]
pub struct MessageLegal {
    talks: BTreeMap<LinkId, Talk>,
    feeds: BTreeMap<LinkId, Feed>,
    /// Nobody hears what is still said there.
    closed: BTreeSet<LinkId>,
}

impl MessageLegal {
    /// A server sends a message.
    pub fn sends(&mut self, server: ServerId, link: LinkId, message: &Message) -> Verdict {
        if self.closed.contains(&link) {
            return Ok(());
        }
        if let Message::Subscribe { .. } = message {
            self.feeds.entry(link).or_default();
        }
        if let Some(feed) = self.feeds.get_mut(&link) {
            let is_legal = feed.says(server, message);
            return unless(is_legal, || format!("server {server} says {message:?} on {link:?}, a feed"));
        }
        let talk = self.talks.entry(link).or_default();
        if let Message::FollowerInfo { .. } = message {
            talk.learner.get_or_insert(server);
        }
        let before = (talk.said, talk.told);
        let is_legal =
            if talk.learner == Some(server) { talk.learner_says(message) } else { talk.leader_says(message) };
        unless(is_legal, || format!("server {server} says {message:?} on {link:?} in {before:?}"))
    }

    /// A leader streams a snapshot.
    pub fn streams(&mut self, server: ServerId, link: LinkId) -> Verdict {
        let talk = self.talks.entry(link).or_default();
        let is_legal = talk.told == Leader::Snapshot;
        talk.told = Leader::Syncing;
        unless(is_legal, || format!("server {server} sends a snapshot that it did not announce"))
    }

    /// A server closes a connection.
    pub fn closes(&mut self, server: ServerId, link: LinkId, reason: &str) -> Verdict {
        self.talks.remove(&link);
        self.feeds.remove(&link);
        self.closed.insert(link);
        let is_bad = ["may not say", "may not follow", "but the log ends at"].iter();
        unless(!is_bad.clone().any(|words| reason.contains(words)), || {
            format!("server {server} was told what it may not hear: {reason}")
        })
    }
}

impl Feed {
    fn says(&mut self, server: ServerId, message: &Message) -> bool {
        match (self.observer, message) {
            (None, Message::Subscribe { .. }) => {
                self.observer = Some(server);
                true
            }
            (Some(observer), Message::Ack { .. }) => observer == server && self.feeds,
            (Some(observer), Message::Feeding) => {
                self.feeds = true;
                observer != server
            }
            (Some(observer), Message::Proposals { .. }) => observer != server && self.feeds,
            _ => false,
        }
    }
}

impl Talk {
    fn learner_says(&mut self, message: &Message) -> bool {
        let (said, told) = (self.said, self.told);
        match message {
            Message::FollowerInfo { .. } => {
                self.said = Learner::Introduced;
                said == Learner::Connected
            }
            Message::AckEpoch { .. } => {
                self.said = Learner::Promised;
                said == Learner::Introduced && told == Leader::Asked
            }
            Message::AckNewLeader { .. } => {
                self.said = Learner::Acknowledged;
                said == Learner::Promised && told == Leader::Announced
            }
            Message::Ack { .. } => said >= Learner::Promised && told >= Leader::Syncing,
            Message::Pong { .. } => said >= Learner::Introduced,
            Message::Fed => !std::mem::replace(&mut self.is_fed, true) && told == Leader::Active,
            Message::Unfed { .. } => std::mem::replace(&mut self.is_fed, false),
            _ => false,
        }
    }

    fn leader_says(&mut self, message: &Message) -> bool {
        let (said, told) = (self.said, self.told);
        match message {
            Message::LeaderInfo { .. } => {
                self.told = Leader::Asked;
                said == Learner::Introduced && told == Leader::Connected
            }
            Message::Sync { snapshot_zxid, .. } => {
                self.told = if snapshot_zxid.is_some() { Leader::Snapshot } else { Leader::Syncing };
                said == Learner::Promised && told == Leader::Asked
            }
            Message::Proposals { .. } => told >= Leader::Syncing,
            Message::NewLeader { .. } => {
                self.told = Leader::Announced;
                told == Leader::Syncing
            }
            Message::UpToDate { .. } => {
                self.told = Leader::Active;
                said == Learner::Acknowledged && told == Leader::Announced
            }
            Message::Commit { .. } | Message::HandOver { .. } => told == Leader::Active,
            Message::Ping { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use zabra::ids::{Epoch, Zxid};
    use zabra::zab::HistorySummary;

    use super::*;

    const LINK: LinkId = LinkId(1);

    fn story() -> Vec<(u8, Message)> {
        let (epoch, committed) = (Epoch(1), Zxid::ZERO);
        vec![
            (2, Message::FollowerInfo { accepted_epoch: Epoch(0), may_vote: true }),
            (1, Message::LeaderInfo { epoch }),
            (
                2,
                Message::AckEpoch {
                    promised: true,
                    current_epoch: epoch,
                    history: HistorySummary::default(),
                },
            ),
            (1, Message::Sync { truncate_to: None, snapshot_zxid: None }),
            (1, Message::NewLeader { epoch, ensemble_id: 1 }),
            (2, Message::AckNewLeader { epoch }),
            (1, Message::UpToDate { committed }),
            (1, Message::Commit { through: committed }),
        ]
    }

    #[test]
    fn the_protocol_is_legal_and_nothing_of_it_may_be_left_out() {
        let mut legal = MessageLegal::default();
        for (server, message) in story() {
            assert_eq!(legal.sends(ServerId(server), LINK, &message), Ok(()));
        }
        for left_out in 0..story().len() - 1 {
            let mut messages = story();
            messages.remove(left_out);
            let mut legal = MessageLegal::default();
            let mut say = |(server, message): &(u8, Message)| legal.sends(ServerId(*server), LINK, message);
            let verdict = messages.iter().try_for_each(&mut say);
            verdict.expect_err("something is missing");
        }
    }

    #[test]
    fn a_follower_feeds_whoever_subscribed_and_the_leader_is_told_once() {
        let (observer, follower, feed) = (ServerId(2), ServerId(3), LinkId(2));
        let subscribe = Message::Subscribe { epoch: Epoch(1), after: Zxid::ZERO };
        let proposals =
            Message::Proposals { previous: Zxid::ZERO, proposals: Vec::new(), committed: Zxid::ZERO };
        let mut legal = MessageLegal::default();
        for (server, message) in story() {
            assert_eq!(legal.sends(ServerId(server), LINK, &message), Ok(()));
        }
        assert_eq!(legal.sends(observer, feed, &subscribe), Ok(()));
        legal.sends(follower, feed, &proposals).expect_err("it did not say that it feeds");
        assert_eq!(legal.sends(follower, feed, &Message::Feeding), Ok(()));
        assert_eq!(legal.sends(follower, feed, &proposals), Ok(()));
        legal.sends(observer, feed, &proposals).expect_err("it is fed");
        let unfed = Message::Unfed { after: Zxid::ZERO };
        legal.sends(observer, LINK, &unfed).expect_err("it was not fed");
        assert_eq!(legal.sends(observer, LINK, &Message::Fed), Ok(()));
        legal.sends(observer, LINK, &Message::Fed).expect_err("it is fed");
        assert_eq!(legal.sends(observer, LINK, &unfed), Ok(()));
        legal.closes(observer, feed, "a proposal may not follow").expect_err("a gap");
    }

    #[test]
    fn a_snapshot_is_announced_and_nobody_hears_what_it_may_not() {
        let mut legal = MessageLegal::default();
        legal.streams(ServerId(1), LINK).expect_err("it was not announced");
        assert_eq!(legal.closes(ServerId(1), LINK, "it was silent for too long"), Ok(()));
        legal.closes(ServerId(1), LINK, "a learner may not say this").expect_err("it was said");
    }
}
