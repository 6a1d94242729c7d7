//! The way back from a server that is cut off: which of the others follows or leads?

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::tls::{self, Stream};

/// The pause before each question: doubled each time from the first to the second, as in ZooKeeper.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// How long one server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// What a server answers that is not read-only, to the four-letter word `isro`.
const FULL: &[u8] = b"rw";
/// A longer answer is none.
const ANSWER_BYTES_MAX: u64 = 64;

/// Asks one server after the other, from `first` on, until one is not read-only; its place in the list. Servers that are
/// not allowed to answer `isro` are not found.
pub(super) async fn find(servers: &[String], first: usize, tls: Option<&TlsConnector>) -> usize {
    let (mut pause, pause_max) = PAUSE;
    let mut next = first;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(pause_max);
        // One that cannot be asked is none; another is asked next.
        if let Ok(Ok(true)) = timeout(ANSWER_TIMEOUT, is_full(&servers[next], tls)).await {
            return next;
        }
        next = (next + 1) % servers.len();
    }
}

async fn is_full(server: &str, tls: Option<&TlsConnector>) -> io::Result<bool> {
    let socket = TcpStream::connect(server).await?;
    let (mut reader, mut writer) = tls::connected(server, socket, tls).await.map(Stream::split)?;
    writer.write_all(b"isro").await?;
    writer.flush().await?;
    let mut answer = Vec::new();
    (&mut reader).take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer.trim_ascii() == FULL)
}
