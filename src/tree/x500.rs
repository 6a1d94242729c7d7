//! Which texts are names of the directory X.500, as Java's `X500Principal` takes them: ACLs of the scheme `x509` hold one.

/// The attributes that have a word, in capitals; all others are numbers.
const WORDS: [&str; 20] = [
    "CN",
    "C",
    "L",
    "S",
    "ST",
    "O",
    "OU",
    "T",
    "IP",
    "STREET",
    "DC",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAILADDRESS",
    "UID",
    "SERIALNUMBER",
];

/// Characters that stand for themselves behind a backslash.
const ESCAPABLE: &str = ",=\n+<>#;\\\" ";

/// True if `text` is such a name: `word=value`, with commas, semicolons or pluses between several. The empty one is, too.
pub fn is_name(text: &str) -> bool {
    text.is_empty() || parts(text).iter().all(|part| is_attribute(part))
}

/// Cut where a separator has no backslash before it and stands in no quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' | ';' | '+' if !is_quoted => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

fn is_attribute(part: &str) -> bool {
    let Some((word, value)) = part.split_once('=') else { return false };
    let value = value.trim_start_matches([' ', '\n']);
    is_word(word.trim())
        && match value.as_bytes().first() {
            Some(b'#') => is_encoded(value[1..].trim_end_matches([' ', '\n'])),
            Some(b'"') => is_quoted(&value[1..]),
            _ => is_plain(value),
        }
}

fn is_word(word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    if WORDS.contains(&word.as_str()) || word == "EMAIL" {
        return true;
    }
    let numbers: Vec<&str> = word.strip_prefix("OID.").unwrap_or(&word).split('.').collect();
    let are_digits = numbers.iter().all(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()));
    let [first, second, ..] = numbers[..] else { return false };
    let below = |number: &str, limit: u32| number.parse::<u32>().is_ok_and(|number| number < limit);
    are_digits && below(first, 3) && (!below(first, 2) || below(second, 40))
}

/// Hexadecimal digits of one value in DER.
fn is_encoded(digits: &str) -> bool {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return false;
    }
    let byte = |at: usize| digits.get(2 * at..2 * at + 2).and_then(|it| usize::from_str_radix(it, 16).ok());
    let Some(first) = byte(1) else { return false };
    let (length, head) = match first {
        0..=0x7f => (Some(first), 2),
        0x81..=0x84 => {
            let more = first - 0x80;
            let length = (2..2 + more).try_fold(0, |length, at| Some(length << 8 | byte(at)?));
            (length, 2 + more)
        }
        _ => (None, 2),
    };
    length.is_some_and(|length| digits.len() / 2 == head + length)
}

/// What stands behind a quote: up to the other one, and then nothing but blanks.
fn is_quoted(text: &str) -> bool {
    let Some(end) = unescaped(text, |c| c == '"').and_then(Result::ok) else { return false };
    text[end + 1..].chars().all(|c| c == ' ' || c == '\n')
}

fn is_plain(text: &str) -> bool {
    unescaped(text, |c| ",+<>;\"".contains(c)).is_none()
}

/// Where the first character is that fits and has no backslash before it; `Err` if something before it stands behind a
/// backslash that cannot. `None`: there is nothing of both.
fn unescaped(text: &str, fits: impl Fn(char) -> bool) -> Option<Result<usize, ()>> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            match chars.next().map(|(_, c)| c) {
                Some(c) if ESCAPABLE.contains(c) => {}
                Some(c) if c.is_ascii_hexdigit() => {
                    if !chars.next().is_some_and(|(_, c)| c.is_ascii_hexdigit()) {
                        return Some(Err(()));
                    }
                }
                _ => return Some(Err(())),
            }
        } else if fits(c) {
            return Some(Ok(at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::is_name;

    /// Both lists are what Java 17 says of them.
    #[test]
    fn names_are_those_that_java_takes() {
        let names = "CN=a|cn=a|CN=a,O=b|CN=a, O=b|CN=a;O=b|CN = a , O = b|CN=a+OU=b,O=c|CN=|CN=,O=b|1.2.3.4=a|\
                     OID.1.2.3.4=a|oid.1.2.3.4=a|1.2.3.4=#0401ff|CN=#0c0161|EMAILADDRESS=a@b|EMAIL=a@b|DC=a|UID=a|\
                     C=DEU|S=x|T=x|STREET=x|SERIALNUMBER=1|DNQ=x|GENERATION=x|IP=x|CN=\"a,b\"|CN=a\\,b|CN=a\\C3\\A4|\
                     CN=\u{e4}|CN=a=b|CN=a#b|CN= a|CN=\\ a|CN=a\\ |1.2=a|CN =a||CN=a/b|CN=a\\00b|CN=a\\\"b|CN=a  b|\
                     \u{20} CN=a|CN=a\\\\|CN=a\\+b|CN=a,O=|OU=\"x\" , O=y|CN=\"a\\\"b\"|CN=\"a,b\",O=c|Uid=x";
        for name in names.split('|') {
            assert!(is_name(name), "{name:?}");
        }
    }

    #[test]
    fn other_texts_are_none() {
        let texts = "a|CN|=a|,|CN=a,|,CN=a|CN=a,,O=b|X=a|FOO=a|CN=#xx|CN=#|CN=#0|E=a@b|TITLE=x|DEPARTMENT=x|CN=\"a|\
                     CN=a\"b|CN=a\\|CN=a\\zz|CN=a<b|CN=a+b|CN=a+|CN=a>b|CN=a;b|CN=\"a\"b|CN=\"a\" b|3.2=a|0.99=a|1=a|\
                     1.2.x=a|C N=a| |CN=a\\0|CN=a,O|CN='a,b'|GN=x|SN=x|userid=x|businessCategory=x|CN=#0402ff";
        for text in texts.split('|') {
            assert!(!is_name(text), "{text:?}");
        }
    }
}
