//! The crate `zookeeper-client` against an ensemble, also while its servers are killed.

mod checks;
mod operations;

use std::time::Duration;

use checks::{Checked, Report};
use operations::*;
use zookeeper_client::Client;

const SESSION: Duration = Duration::from_secs(15);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Checked {
    let servers = std::env::args().nth(1).ok_or("the servers are missing")?;
    let (mine, other) = (&connected(&servers).await?, &connected(&servers).await?);
    let mut report = Report::default();
    report.check("versions and error codes", errors(mine)).await;
    report.check("modes of create", modes(mine)).await;
    report.check("multi", multi(mine)).await;
    report.check("multi that fails", multi_fails(mine)).await;
    report.check("multi that reads", multi_read(mine)).await;
    report.check("access lists", access_lists(&servers, other)).await;
    report.check("one-shot watches", one_shot(mine, other)).await;
    report.check("persistent watches", persistent(mine, other)).await;
    report.check("watches taken away", removed(mine, other)).await;
    report.check("counts and ephemerals", counts(mine)).await;
    report.check("chroot", chroot(&servers, mine)).await;
    report.check("lock", lock(mine, other)).await;
    report.check("a session outlives its server", outlives(mine, other, "/server", false)).await;
    report.check("a session outlives the leader", outlives(mine, other, "/leader", true)).await;
    println!("finished");
    std::process::exit(i32::from(report.failed));
}

async fn connected(servers: &str) -> Checked<Client> {
    Ok(Client::connector().with_session_timeout(SESSION).connect(servers).await?)
}
