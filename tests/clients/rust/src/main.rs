//! The crate `zookeeper-client` against an ensemble, also while its servers are killed.

mod checks;
mod door;
mod operations;

use checks::{Checked, Report};
use door::Door;
use operations::*;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Checked {
    let door = &Door::from_args()?;
    let (mine, other) = (&door.client().await?, &door.client().await?);
    let mut report = Report::default();
    report.check("versions and error codes", errors(mine)).await;
    report.check("modes of create", modes(mine)).await;
    report.check("multi", multi(mine)).await;
    report.check("multi that fails", multi_fails(mine)).await;
    report.check("multi that reads", multi_read(mine)).await;
    report.check("access lists", access_lists(door, other)).await;
    if let Some(user) = &door.user {
        report.check("known by certificate and by password", known(mine, user)).await;
    }
    report.check("one-shot watches", one_shot(mine, other)).await;
    report.check("persistent watches", persistent(mine, other)).await;
    report.check("watches taken away", removed(mine, other)).await;
    report.check("counts and ephemerals", counts(mine)).await;
    report.check("chroot", chroot(door, mine)).await;
    report.check("lock", lock(mine, other)).await;
    report.check("a session outlives its server", outlives(mine, other, "/server", false)).await;
    report.check("a session outlives the leader", outlives(mine, other, "/leader", true)).await;
    println!("finished");
    std::process::exit(i32::from(report.failed));
}
