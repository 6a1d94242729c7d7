//! Log lines that a stranger or a broken network can cause again and again are said once in a while only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a line about the same thing is kept back after it was said.
const PAUSE: Duration = Duration::from_secs(30);

/// Things remembered at once; beyond that all are forgotten, which says some lines earlier than due.
const SUBJECTS_MAX: usize = 256;

/// Remembers what was said when.
#[derive(Debug, Default)]
pub struct Quiet {
    said: Mutex<HashMap<String, Said>>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    kept_back: u32,
}

impl Quiet {
    /// Calls `say` unless it was called for the same `subject` a short while ago, with an addition for the line that
    /// tells how many were kept back since: empty, or ` (and 12 times more)`.
    pub fn say(&self, subject: &str, say: impl FnOnce(&str)) {
        if let Some(kept_back) = self.due(subject, Instant::now()) {
            match kept_back {
                0 => say(""),
                times => say(&format!(" (and {times} times more)")),
            }
        }
    }

    /// How many were kept back if the line is due.
    fn due(&self, subject: &str, now: Instant) -> Option<u32> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = said.get_mut(subject) {
            if now.duration_since(before.at) < PAUSE {
                before.kept_back = before.kept_back.saturating_add(1);
                return None;
            }
            let kept_back = std::mem::take(&mut before.kept_back);
            before.at = now;
            return Some(kept_back);
        }
        if said.len() >= SUBJECTS_MAX {
            said.clear();
        }
        said.insert(subject.to_owned(), Said { at: now, kept_back: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_about_the_same_thing_is_kept_back_for_a_while_and_counted() {
        let quiet = Quiet::default();
        let start = Instant::now();
        assert_eq!(quiet.due("a", start), Some(0));
        assert_eq!(quiet.due("a", start), None);
        assert_eq!(quiet.due("b", start), Some(0));
        assert_eq!(quiet.due("a", start + PAUSE / 2), None);
        assert_eq!(quiet.due("a", start + PAUSE), Some(2));
        assert_eq!(quiet.due("a", start + PAUSE), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let quiet = Quiet::default();
        for subject in 0..10 * SUBJECTS_MAX {
            quiet.say(&subject.to_string(), |_| {});
        }
        assert!(quiet.said.lock().unwrap().len() <= SUBJECTS_MAX);
    }
}
