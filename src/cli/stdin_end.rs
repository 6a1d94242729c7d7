//! The convention `--exit-with-stdin`: whoever starts a process holds the other end of its stdin, and the process ends
//! when that end closes. So it never outlives its starter, not even one that was killed with kill -9.

use std::io::{Read, stdin};

use tokio::sync::oneshot;

/// Completes when stdin ends. The thread that waits for it is left behind when the process ends.
pub fn stdin_end() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while stdin().lock().read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
        let _ = ended.send(());
    });
    end
}
