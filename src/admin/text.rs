//! The text of an answer, as long as it may be.

use std::fmt;

/// The longest answer. A million watches make more than any operator reads, and the server has other things to do.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Grows to a bound; what does not fit any more ends whoever writes it.
#[derive(Debug, Default)]
pub struct Text(String);

impl fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.0.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

impl Text {
    /// What `write` writes; if that is too much, as many whole lines as fit and one that says so.
    pub fn of(write: impl FnOnce(&mut Text) -> fmt::Result) -> String {
        let mut text = Text::default();
        let is_whole = write(&mut text).is_ok();
        let Text(mut text) = text;
        if !is_whole {
            text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
            text.push_str("... and more: an answer is cut after 4 MiB\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn an_answer_that_is_too_long_ends_with_a_whole_line_and_says_so() {
        assert_eq!(Text::of(|out| writeln!(out, "all")), "all\n");
        let long = Text::of(|out| (0..).try_for_each(|number| writeln!(out, "line {number}")));
        let mut lines = long.lines().rev();
        assert_eq!(lines.next(), Some("... and more: an answer is cut after 4 MiB"));
        let last: u32 =
            lines.next().expect("there are lines").strip_prefix("line ").unwrap().parse().unwrap();
        assert!(last > 300_000 && long.len() <= ANSWER_BYTES_MAX + 50, "{last}");
    }
}
