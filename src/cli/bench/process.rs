//! What a process costs: CPU time and memory, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Linux counts CPU time for user space in hundredths of a second, whatever the kernel's own clock.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has cost so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// user and system time of all its threads
    pub cpu: Duration,
    /// resident memory
    pub rss_bytes: u64,
    /// the most there has been
    pub rss_bytes_peak: u64,
}

/// Asks the kernel about process `pid`.
pub fn cost(pid: u32) -> Result<Cost> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("process {pid}: cannot read {path}"))
    };
    let cpu =
        cpu_time(&read("stat")?).with_context(|| format!("process {pid}: its stat is not understood"))?;
    let status = read("status")?;
    let kib = |key| status_kib(&status, key).unwrap_or(0) * 1024;
    Ok(Cost { cpu, rss_bytes: kib("VmRSS:"), rss_bytes_peak: kib("VmHWM:") })
}

/// Fields 14 and 15 of `stat`, which are user and system time. The name in field 2 may hold anything, so counting
/// begins behind its closing parenthesis, at field 3.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

fn status_kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu_time("42 (short) S 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_a_process_that_is_not_there_is_an_error() {
        assert!(cost(std::process::id()).unwrap().rss_bytes > 0);
        assert!(cost(u32::MAX).is_err());
    }
}
