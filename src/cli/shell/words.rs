//! A line, taken apart into words.

/// The words of `line`: separated by white space, unless it is quoted by `'`, `"` or a backslash. In double quotes a
/// backslash quotes the next character too. `Err` tells which quote is never closed.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let quoted = letters.next().ok_or("a backslash at the end of the line")?;
                word.get_or_insert_default().push(quoted);
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a {open} that is never closed"));
    }
    words.extend(word);
    Ok(words)
}

/// `word` as it has to be typed.
pub fn quoted(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len());
    for letter in word.chars() {
        if letter.is_whitespace() || matches!(letter, '\'' | '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_separates_words_unless_it_is_quoted() {
        let words = split(r#" set /a  'it is' "say \"hi\"" a\ b '' x'y'z "#).unwrap();
        assert_eq!(words, ["set", "/a", "it is", "say \"hi\"", "a b", "", "xyz"]);
        assert_eq!(split("").unwrap(), Vec::<String>::new());
        assert!(split("'open").is_err());
        assert!(split("end\\").is_err());
    }

    #[test]
    fn what_was_quoted_is_one_word_again() {
        for word in ["/a b", "/it's", "/\"", "/back\\slash", "/ä"] {
            assert_eq!(split(&quoted(word)).unwrap(), [word]);
        }
    }
}
