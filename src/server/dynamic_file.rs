//! Writes down the configuration of the ensemble that is in force, beside the file of this server's settings.

use std::sync::Arc;

use super::peer::PeerContext;
use crate::config;
use crate::ids::Zxid;

/// Keeps the file true, until the task is aborted. That it cannot be written is told, and no more: the state has it.
pub async fn keep_written(context: Arc<PeerContext>) {
    let Some(file) = context.settings.config_file.clone().filter(|_| context.settings.reconfig_enabled)
    else {
        return;
    };
    let own = context.settings.server_id;
    let mut changes = context.directory().changes();
    loop {
        let active = Arc::clone(changes.borrow_and_update().active());
        // A server that is none of them could not start from that file: it may be about to be added.
        if active.version != Zxid::ZERO && active.servers.contains_key(&own) {
            let (name, file) = (file.display().to_string(), file.clone());
            let version = active.version.0;
            let writing = move || config::write_membership(&file, &active, own);
            match tokio::task::spawn_blocking(writing).await {
                Ok(Ok(true)) => {
                    tracing::info!(
                        "the servers are written to {name}.dynamic.{version:x}, to which {name} points"
                    );
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::error!(
                    "the servers of version {version:x} cannot be written to {name}.dynamic.{version:x}, or {name} \
                     not be pointed to it: {error}"
                ),
                Err(error) => tracing::error!("writing {name}.dynamic.{version:x}: {error}"),
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
