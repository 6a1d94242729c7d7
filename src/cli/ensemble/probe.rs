//! Asking a server for its role, with the four-letter word `srvr`, again and again.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::process::{Orders, Report};
use super::story::Mode;

/// Between two questions: short enough that lines come when things happen.
const PAUSE: Duration = Duration::from_millis(50);

/// A server that says nothing for so long does not serve.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(1);

const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Reports the role whenever it changes, until the ensemble is stopped.
pub(super) async fn watch_mode(
    server: u8,
    client: SocketAddr,
    report: mpsc::Sender<Report>,
    mut orders: watch::Receiver<Orders>,
) {
    let mut last = None;
    while *orders.borrow_and_update() == Orders::Run {
        let mode = tokio::time::timeout(ANSWER_WAIT_MAX, mode_of(client)).await.unwrap_or_default();
        // A role is reported each time: the story forgets it when the process ends.
        if (mode.is_some() || mode != last) && report.send(Report::Mode { server, mode }).await.is_err() {
            return;
        }
        last = mode;
        let _ = tokio::time::timeout(PAUSE, orders.changed()).await;
    }
}

/// `None` while there is no server, or one that does not serve.
async fn mode_of(client: SocketAddr) -> Option<Mode> {
    let mut connection = TcpStream::connect(client).await.ok()?;
    connection.write_all(b"srvr").await.ok()?;
    let mut answer = Vec::new();
    connection.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.ok()?;
    mode_in(&String::from_utf8_lossy(&answer))
}

fn mode_in(answer: &str) -> Option<Mode> {
    match answer.lines().find_map(|line| line.strip_prefix("Mode: "))?.trim() {
        "leader" => Some(Mode::Leader),
        "follower" | "observer" => Some(Mode::Follower),
        "standalone" => Some(Mode::Standalone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_stands_in_a_line_of_the_answer() {
        assert_eq!(mode_in("Zookeeper version: x\nMode: follower\nNode count: 5\n"), Some(Mode::Follower));
        assert_eq!(mode_in("This ZooKeeper instance is not currently serving requests\n"), None);
        assert_eq!(mode_in(""), None);
    }
}
