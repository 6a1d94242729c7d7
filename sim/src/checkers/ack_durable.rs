//! Nothing is promised before the disk has it: acknowledgements, epochs, and votes.

use zabra::ids::{ServerId, Zxid};
use zabra::zab::{EpochRecord, Message, Notification, PeerState};

use super::{Verdict, unless};

pub const NAME: &str = "ack implies durable";

/// A server whose log is durable through `synced` says something.
pub fn says(server: ServerId, message: &Message, synced: Zxid, epoch: &EpochRecord) -> Verdict {
    let holds = match message {
        Message::Ack { through } => *through <= synced,
        Message::LeaderInfo { epoch: proposed } => *proposed <= epoch.accepted_epoch,
        Message::NewLeader { epoch: held, .. } | Message::AckNewLeader { epoch: held } => {
            *held == epoch.current_epoch
        }
        Message::AckEpoch { current_epoch, history, .. } => {
            let end = history.epoch_ends.last().copied().unwrap_or_default();
            *current_epoch == epoch.current_epoch && end <= synced
        }
        _ => true,
    };
    unless(holds, || format!("server {server} says {message:?} before its disk has it ({synced}, {epoch:?})"))
}

/// A server tells the others its state.
pub fn notifies(server: ServerId, notification: &Notification, synced: Zxid, epoch: &EpochRecord) -> Verdict {
    let vote = notification.vote;
    let is_own = notification.state == PeerState::Looking && vote.server_id == server;
    unless(!is_own || vote.last_zxid <= synced && vote.current_epoch <= epoch.current_epoch, || {
        format!("server {server} votes with {vote:?}, which its disk does not have ({synced}, {epoch:?})")
    })
}

#[cfg(test)]
mod tests {
    use zabra::ids::Epoch;
    use zabra::zab::Vote;

    use super::*;

    #[test]
    fn a_word_before_the_disk_is_found() {
        let record =
            EpochRecord { accepted_epoch: Epoch(3), current_epoch: Epoch(2), ..EpochRecord::default() };
        let says = |message: Message| says(ServerId(1), &message, Zxid(5), &record);
        assert_eq!(says(Message::Ack { through: Zxid(5) }), Ok(()));
        says(Message::Ack { through: Zxid(6) }).expect_err("6 is not there");
        assert_eq!(says(Message::LeaderInfo { epoch: Epoch(3) }), Ok(()));
        says(Message::LeaderInfo { epoch: Epoch(4) }).expect_err("4 is not promised");
        says(Message::AckNewLeader { epoch: Epoch(3) }).expect_err("3 is not held");
    }

    #[test]
    fn a_vote_with_more_than_the_disk_has_is_found() {
        let record = EpochRecord::default();
        let votes = |last_zxid| {
            let vote = Vote { current_epoch: Epoch(0), last_zxid, server_id: ServerId(1) };
            let notification = Notification {
                state: PeerState::Looking,
                round: 1,
                vote,
                may_vote: true,
                voter: true,
                receiver_votes: false,
                config: Zxid::ZERO,
                abstains: false,
                empty: false,
                epoch: Epoch(0),
            };
            notifies(ServerId(1), &notification, Zxid(5), &record)
        };
        assert_eq!(votes(Zxid(5)), Ok(()));
        votes(Zxid(6)).expect_err("6 is not there");
    }
}
