//! The subcommands of `zabra`, one file each.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::process::ExitCode;

pub mod bench;
pub mod ensemble;
pub mod hand_over;
pub mod log;
pub mod salvage;
pub mod server;
pub mod shell;
pub mod snapshot;
pub mod stdin_end;
pub mod tls;

/// Lets `print` write to the standard output. It tells whether all it printed is sound, which becomes the exit code. The
/// reader may leave before the end (`zabra log ... | head`): that is no failure.
fn print_findings(
    print: impl FnOnce(&mut BufWriter<StdoutLock>) -> anyhow::Result<bool>,
) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = print(&mut out).and_then(|sound| Ok(out.flush().map(|()| sound)?));
    match result {
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(error) if !is_broken_pipe(&error) => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A moment of the wall clock, ms since 1970, as ISO 8601 writes it.
fn utc(ms: i64) -> String {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    let (days, ms) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// Year, month and day of the day that lies `days` after the first of 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years that begin in March: then the day that may be missing is the last one. 719,468 days lie before 1970.
    let day = days + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(utc(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
