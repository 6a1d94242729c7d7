//! A leader leaves the lead to another server: before a planned end, or because an operator wants it.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::client::ClientContext;
use crate::ids::ServerId;
use crate::replica::Input;
use crate::zab::Role;

/// How often a server that left the lead looks whether there can be another leader.
const LOOK: Duration = Duration::from_millis(20);

/// SIGUSR1: a leader leaves the lead to another server, and follows it.
pub fn when_asked(inputs: mpsc::Sender<Input>) -> std::io::Result<()> {
    let mut asked = signal(SignalKind::user_defined1())?;
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            tracing::info!("SIGUSR1: if this server leads, it leaves the lead to another");
            if inputs.send(Input::HandOver).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// If this server leads, another one takes over before anybody can miss it (rule 20 of docs/zab.md). Waits until it
/// follows that one, as long as there can be one, and not for long. `answers` tells of every answer to
/// [`Input::HandOver`], `roles` what this server is.
pub async fn before_the_end(
    clients: &ClientContext,
    mut answers: watch::Receiver<Option<ServerId>>,
    mut roles: watch::Receiver<Role>,
) {
    let left = async {
        answers.mark_unchanged();
        if clients.inputs.send(Input::HandOver).await.is_err() || answers.changed().await.is_err() {
            return;
        }
        let Some(successor) = *answers.borrow() else { return };
        tracing::info!("server {successor} is to lead");
        let follows = |role: &Role| matches!(role, Role::Following { .. });
        while timeout(LOOK, roles.wait_for(follows)).await.is_err() {
            if !clients.read().hears_quorum() {
                return tracing::warn!("too few servers are left to elect a leader");
            }
        }
    };
    // As long as a leader waits for a successor, and the others for the end of their election.
    let limit = Duration::from_millis(2 * u64::from(clients.settings.peer_timeout_ms));
    if timeout(limit, left).await.is_err() {
        tracing::warn!("no other server took over the lead in time");
    }
}
