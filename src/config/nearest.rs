//! The key that a mistyped one was probably meant to be.

/// Longer words are no slip of the fingers, and comparing them would take long.
const WORD_BYTES_MAX: usize = 100;

/// The candidate with the fewest edits from `word`, if that is few enough to be a slip of the fingers: at most a third
/// of its length. Upper and lower case count as half a difference. The first of equals wins.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    for candidate in candidates {
        if candidate.eq_ignore_ascii_case(word) {
            return Some(candidate);
        }
        let half_edits_max = 2 * (candidate.len() / 3).max(1);
        let half_edits = half_edits(word, candidate);
        if half_edits <= half_edits_max && best.is_none_or(|(fewest, _)| half_edits < fewest) {
            best = Some((half_edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, twice: a change of case costs 1, an insertion, a deletion or another change costs 2.
fn half_edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).map(|column| 2 * column).collect();
    for (index, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = 2 * (index + 1);
        for (column, b) in to.iter().enumerate() {
            let change = match (a == *b, a.eq_ignore_ascii_case(b)) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => 2,
            };
            let cost = (diagonal + change).min(row[column] + 2).min(row[column + 1] + 2);
            diagonal = std::mem::replace(&mut row[column + 1], cost);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["dataDir", "dataLogDir", "clientPort", "tickTime", "maxClientCnxns"];

    fn nearest_key(word: &str) -> Option<&'static str> {
        nearest(word, KEYS.into_iter())
    }

    #[test]
    fn a_slip_of_the_fingers_finds_its_key() {
        assert_eq!(nearest_key("dataDri"), Some("dataDir"));
        assert_eq!(nearest_key("datadir"), Some("dataDir"));
        assert_eq!(nearest_key("DATALOGDIR"), Some("dataLogDir"));
        assert_eq!(nearest_key("client_port"), Some("clientPort"));
        assert_eq!(nearest_key("maxClientConns"), Some("maxClientCnxns"));
    }

    #[test]
    fn a_word_of_its_own_finds_nothing() {
        assert_eq!(nearest_key("colour"), None);
        assert_eq!(nearest_key(""), None);
        assert_eq!(nearest_key(&"dataDir".repeat(1_000_000)), None);
    }

    #[test]
    fn distances_are_counted_in_half_edits() {
        assert_eq!(half_edits("tickTime", "tickTime"), 0);
        assert_eq!(half_edits("ticktime", "tickTime"), 1);
        assert_eq!(half_edits("tickTim", "tickTime"), 2);
        assert_eq!(half_edits("", "abc"), 6);
    }
}
