//! An observer that is to be fed keeps a link to a voter other than the leader, as long as the core wants it.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::link::{FollowTarget, Kind, link_once};
use super::{Backoff, PeerContext};
use crate::ids::ServerId;
use crate::server::net::Ways;

/// The longest pause between dials: meanwhile the leader sends everything.
const DIAL_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Keeps a link to a voter other than the leader that the core names, one after the other, until the core is gone.
pub async fn be_fed(context: Arc<PeerContext>, mut target: FollowTarget, mut chance: StdRng) {
    loop {
        let leader = *target.borrow_and_update();
        let changed = match leader {
            Some(leader) => seek(&context, leader, &mut target, &mut chance).await,
            None => target.changed().await.is_ok(),
        };
        if !changed {
            return;
        }
    }
}

/// Dials the voters in an order of chance, so that observers spread over them. False: the core is gone.
async fn seek(
    context: &Arc<PeerContext>,
    leader: ServerId,
    target: &mut FollowTarget,
    chance: &mut StdRng,
) -> bool {
    let mut backoff = Backoff::new(DIAL_PAUSE_MAX);
    loop {
        let mut voters = context.directory().known().other_voters();
        voters.retain(|voter| *voter != leader);
        voters.shuffle(chance);
        if voters.is_empty() {
            tokio::select! {
                () = backoff.pause() => continue,
                changed = target.changed() => return changed.is_ok(),
            }
        }
        for voter in voters {
            let mut ways = Ways::default();
            let feeder = (voter, Kind::Feed);
            if let Some(is_there) = link_once(context, feeder, &mut ways, &mut backoff, target).await {
                return is_there;
            }
        }
    }
}
