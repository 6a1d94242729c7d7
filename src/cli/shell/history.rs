//! The commands of a conversation, with their numbers.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// Commands that are remembered.
const REMEMBERED_MAX: usize = 1000;

/// Those that `history` shows.
const SHOWN_MAX: usize = 11;

/// The newest commands, numbered from 0.
#[derive(Default, Debug)]
pub struct History {
    lines: VecDeque<String>,
    forgotten: usize,
}

impl History {
    /// The number of the next command.
    pub fn next_number(&self) -> usize {
        self.forgotten + self.lines.len()
    }

    /// Adds a line; its number. Passwords are not remembered.
    pub fn remember(&mut self, line: &str) -> usize {
        if self.lines.len() == REMEMBERED_MAX {
            self.lines.pop_front();
            self.forgotten += 1;
        }
        let line = line.trim();
        let is_secret = line.get(..7).is_some_and(|name| name.eq_ignore_ascii_case("addauth"));
        self.lines.push_back(if is_secret { "addauth ...".to_owned() } else { line.to_owned() });
        self.next_number() - 1
    }

    /// The line with a number.
    pub fn get(&self, number: usize) -> Option<&str> {
        self.lines.get(number.checked_sub(self.forgotten)?).map(String::as_str)
    }

    /// Puts a line in the place of another.
    pub fn replace(&mut self, number: usize, line: &str) {
        if let Some(old) = number.checked_sub(self.forgotten).and_then(|index| self.lines.get_mut(index)) {
            line.clone_into(old);
        }
    }

    /// The newest, one a line.
    pub fn newest(&self) -> String {
        let from = self.next_number().saturating_sub(SHOWN_MAX).max(self.forgotten);
        let mut text = String::new();
        for number in from..self.next_number() {
            let _ = writeln!(text, "{number} - {}", self.get(number).unwrap_or_default());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_when_old_ones_are_forgotten() {
        let mut history = History::default();
        for number in 0..REMEMBERED_MAX + 5 {
            assert_eq!(history.remember(&format!(" get /{number}")), number);
        }
        assert_eq!(history.get(4), None);
        assert_eq!(history.get(5), Some("get /5"));
        assert_eq!(history.get(REMEMBERED_MAX + 5), None);
        history.replace(REMEMBERED_MAX + 4, "ls /");
        let newest = history.newest();
        assert!(newest.starts_with("994 - get /994\n") && newest.ends_with("1004 - ls /\n"), "{newest}");
    }

    #[test]
    fn a_password_is_not_remembered() {
        let mut history = History::default();
        history.remember("addAuth digest me:secret");
        assert_eq!(history.newest(), "0 - addauth ...\n");
    }
}
