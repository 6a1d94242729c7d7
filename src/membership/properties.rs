//! `java.util.Properties`, as its documentation of `load` describes the format, with line numbers kept.
//!
//! Lines end with LF, CR or CR LF. A line whose first visible character is `#` or `!` is a comment. A line that ends in
//! an odd number of backslashes goes on in the next one, whose leading blanks are dropped. A key ends at the first
//! `=`, `:` or blank that has no backslash before it; blanks, at most one `=` or `:`, and blanks again part it from its
//! value. `\t \n \r \f` and `\uXXXX` are characters, any other `\x` is `x`. ZooKeeper then trims key and value.

/// One key with its value, and the number of the line on which the key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Trimmed, escapes replaced.
    pub key: String,
    /// Trimmed, escapes replaced.
    pub value: String,
    /// Counted from 1.
    pub line: u32,
}

/// An escape that is no character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscapeError {
    /// Where it stands, counted from 1.
    pub line: u32,
    /// The key, and what is wrong; the value is not shown: it may be a password.
    pub text: String,
}

/// The entries in the order of the file, repeated keys included.
pub fn parse(text: &str) -> Result<Vec<Entry>, EscapeError> {
    let mut entries = Vec::new();
    for (line, text) in logical_lines(text) {
        let (raw_key, value) = split(&text);
        let unescaped = |raw: &str| {
            unescape(raw).map_err(|problem| EscapeError { line, text: format!("{raw_key}: {problem}") })
        };
        let (key, value) = (trimmed(&unescaped(raw_key)?), trimmed(&unescaped(value)?));
        entries.push(Entry { key, value, line });
    }
    Ok(entries)
}

/// The text without the entries whose keys `is_dropped` names. All else stays as it is, comments included.
pub fn without(text: &str, is_dropped: impl Fn(&str) -> bool) -> Result<String, EscapeError> {
    let mut lines: Vec<Option<&str>> = natural_lines(text).into_iter().map(Some).collect();
    for entry in parse(text)?.into_iter().filter(|entry| is_dropped(&entry.key)) {
        for line in &mut lines[entry.line as usize - 1..] {
            if line.take().is_none_or(|line| !goes_on(line)) {
                break;
            }
        }
    }
    Ok(lines.into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Java's `String.trim`: everything up to the space goes, control characters included.
fn trimmed(text: &str) -> String {
    text.trim_matches(|c| c <= ' ').to_string()
}

/// The lines with comments and empty ones left out and continuations joined, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut lines = Vec::new();
    let mut current = (0, String::new());
    for (index, natural) in natural_lines(text).into_iter().enumerate() {
        let part = natural.trim_start_matches(is_blank);
        if current.1.is_empty() {
            if part.is_empty() || part.starts_with(['#', '!']) {
                continue;
            }
            current.0 = u32::try_from(index + 1).unwrap_or(u32::MAX);
        }
        if goes_on(part) {
            current.1.push_str(&part[..part.len() - 1]);
        } else {
            current.1.push_str(part);
            lines.push(std::mem::take(&mut current));
        }
    }
    if !current.1.is_empty() {
        lines.push(current);
    }
    lines
}

/// True if the next line continues this one.
fn goes_on(line: &str) -> bool {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    backslashes % 2 == 1
}

/// The text between line ends. CR LF is one end.
fn natural_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\n', '\r']) {
        lines.push(&rest[..at]);
        let end = if rest[at..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[at + end..];
    }
    lines.push(rest);
    lines
}

/// Key and value of a logical line, escapes still in place.
fn split(line: &str) -> (&str, &str) {
    let key = &line[..key_length(line)];
    let mut value = line[key.len()..].trim_start_matches(is_blank);
    if value.starts_with(['=', ':']) {
        value = value[1..].trim_start_matches(is_blank);
    }
    (key, value)
}

/// The bytes before the first separator that has no backslash before it.
fn key_length(line: &str) -> usize {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if !escaped && (is_blank(c) || c == '=' || c == ':') {
            return at;
        }
        escaped = c == '\\' && !escaped;
    }
    line.len()
}

/// The text with its escapes replaced. `\uXXXX` are UTF-16 units, so characters beyond the first 65,536 come as two.
fn unescape(raw: &str) -> Result<String, &'static str> {
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        let unit = if c == '\\' { escape(&mut rest)? } else { Escape::Char(c) };
        match unit {
            Escape::Char(c) => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
            Escape::Unit(unit) => units.push(unit),
            Escape::Nothing => {}
        }
    }
    String::from_utf16(&units).map_err(|_| "\\u escapes that are half a character (an unpaired surrogate)")
}

enum Escape {
    Char(char),
    Unit(u16),
    /// A backslash at the very end of the file.
    Nothing,
}

/// What follows a backslash.
fn escape(rest: &mut std::str::Chars<'_>) -> Result<Escape, &'static str> {
    Ok(match rest.next() {
        Some('t') => Escape::Char('\t'),
        Some('n') => Escape::Char('\n'),
        Some('r') => Escape::Char('\r'),
        Some('f') => Escape::Char('\u{c}'),
        Some('u') => Escape::Unit(hex_unit(rest).ok_or("\\u needs four hexadecimal digits")?),
        Some(other) => Escape::Char(other),
        None => Escape::Nothing,
    })
}

fn hex_unit(rest: &mut std::str::Chars<'_>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit * 16 + rest.next()?.to_digit(16)?;
    }
    u16::try_from(unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` as `line key=value` lines.
    fn parsed(text: &str) -> Vec<String> {
        let entries = parse(text).expect("must parse");
        entries.iter().map(|entry| format!("{} {}={}", entry.line, entry.key, entry.value)).collect()
    }

    #[test]
    fn keys_end_at_the_first_separator() {
        assert_eq!(
            parsed("a=1\nb:2\nc 3\nd\t=\t4\ne  :  5\nf= =6\ng"),
            ["1 a=1", "2 b=2", "3 c=3", "4 d=4", "5 e=5", "6 f==6", "7 g="]
        );
        assert_eq!(parsed("server.1=h:2888:3888"), ["1 server.1=h:2888:3888"]);
    }

    #[test]
    fn a_backslash_takes_the_meaning_from_a_separator() {
        assert_eq!(parsed(r"a\=b\:c\ d=e\=f"), ["1 a=b:c d=e=f"]);
        assert_eq!(parsed(r"C\:\\dir=x"), [r"1 C:\dir=x"]);
        assert_eq!(parsed(r"dir=C:\data\new"), ["1 dir=C:data\new"]);
    }

    #[test]
    fn comments_and_empty_lines_are_skipped_and_counted() {
        assert_eq!(parsed("# one\n\n  ! two\n \t\u{c}\na=1 # no comment\n"), ["5 a=1 # no comment"]);
    }

    #[test]
    fn comments_do_not_continue() {
        assert_eq!(parsed("# one \\\na=1"), ["2 a=1"]);
    }

    #[test]
    fn lines_continue_after_an_odd_number_of_backslashes() {
        assert_eq!(parsed("a=1,\\\n    2,\\\r\n\t3\nb=4"), ["1 a=1,2,3", "4 b=4"]);
        assert_eq!(parsed("a=1\\\\\nb=2"), ["1 a=1\\", "2 b=2"]);
        assert_eq!(parsed("a=1\\\n# part of it"), ["1 a=1# part of it"]);
        assert_eq!(parsed("a=1\\\n\nb=2"), ["1 a=1", "3 b=2"]);
        assert_eq!(parsed("a=1\\"), ["1 a=1"]);
    }

    #[test]
    fn a_continuation_of_nothing_is_a_new_line() {
        assert_eq!(parsed("\\\n# comment\na=1"), ["3 a=1"]);
    }

    #[test]
    fn all_three_line_ends_count_once() {
        assert_eq!(parsed("a=1\rb=2\r\nc=3\n\rd=4"), ["1 a=1", "2 b=2", "3 c=3", "5 d=4"]);
    }

    #[test]
    fn entries_are_taken_out_and_all_else_stays() {
        let text = "# first\n a = 1\nserver.1=x,\\\n  y\r\n\n! b\nb=2\\\\\nserver.2=z";
        let is_server = |key: &str| key.starts_with("server.");
        assert_eq!(without(text, is_server).unwrap(), "# first\n a = 1\n\n! b\nb=2\\\\");
        assert_eq!(without("a=1\nserver.1=\\", is_server).unwrap(), "a=1");
        assert_eq!(without("a=1\n", is_server).unwrap(), "a=1\n");
    }

    #[test]
    fn escapes_are_characters() {
        assert_eq!(parsed(r"a=x\ty\u00e9\ud83d\ude00\q"), ["1 a=x\ty\u{e9}\u{1f600}q"]);
    }

    #[test]
    fn escapes_that_are_no_characters_are_errors_with_their_line() {
        let error = parse("a=1\nb=\\u12g4").unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (2, "b: \\u needs four hexadecimal digits"));
        let error = parse(r"b=\ud83d").unwrap_err();
        assert_eq!(error.line, 1);
        assert!(error.text.starts_with("b: \\u escapes that are half a character"), "{error:?}");
    }

    #[test]
    fn keys_and_values_are_trimmed_as_zookeeper_trims_them() {
        assert_eq!(parsed("dataDir = /data \t\n"), ["1 dataDir=/data"]);
        assert_eq!(parsed(r"a=\ x\t"), ["1 a=x"]);
    }
}
