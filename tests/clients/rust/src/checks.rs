//! What a program of checks needs: telling of each check, waiting for what must come, asking for servers to be killed.

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::io::BufRead;
use std::time::Duration;

pub const DEADLINE: Duration = Duration::from_secs(30);

pub type Checked<T = ()> = Result<T, Box<dyn Error>>;

/// Tells how each check went, and keeps whether one failed.
#[derive(Default)]
pub struct Report {
    pub failed: bool,
}

impl Report {
    /// Runs one check.
    pub async fn check(&mut self, name: &str, body: impl Future<Output = Checked>) {
        let outcome = match tokio::time::timeout(DEADLINE * 2, body).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(elapsed.into()),
        };
        match outcome {
            Ok(()) => println!("passed {name}"),
            Err(error) => {
                self.failed = true;
                println!("failed {name}: {error}");
            }
        }
    }
}

/// Fails with both sides unless they are equal.
pub fn equal<T: PartialEq + Debug>(expected: T, found: T) -> Checked {
    if expected == found { Ok(()) } else { Err(format!("expected {expected:?}, found {found:?}").into()) }
}

/// Fails with `what` unless the condition holds.
pub fn holds(condition: bool, what: &str) -> Checked {
    if condition { Ok(()) } else { Err(what.into()) }
}

/// The error that an operation ends with; it is a failure if it ends well.
pub fn error<T, E>(outcome: Result<T, E>) -> Checked<E> {
    match outcome {
        Ok(_) => Err("no error".into()),
        Err(error) => Ok(error),
    }
}

/// Waits for what must come.
pub async fn soon<T>(coming: impl Future<Output = T>) -> Checked<T> {
    Ok(tokio::time::timeout(DEADLINE, coming).await?)
}

/// Lets something happen to the servers, and waits until it has. The client goes on meanwhile.
pub async fn please(request: String) -> Checked {
    println!("please {request}");
    let answer = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next()).await?;
    equal("done", answer.transpose()?.unwrap_or_default().as_str())
}
