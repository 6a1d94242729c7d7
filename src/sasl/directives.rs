//! Lists of `key=value` or `key="value"` with commas between them, as DIGEST-MD5 writes them and Java reads them.

use super::SaslError;

/// Key and value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// The pairs, in their order. Keys are as they came; what is unknown is for the caller to pass over.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Pair>, SaslError> {
    let mut rest = skip_blanks(text);
    let mut pairs = Vec::new();
    while let Some(&first) = rest.first() {
        if first == b',' {
            rest = skip_blanks(&rest[1..]);
            continue;
        }
        let key_end = rest.iter().position(|&byte| byte == b'=' || byte == b',' || is_blank(byte));
        let key_end = key_end.ok_or(SaslError::Malformed("a directive without a value"))?;
        let (key, behind) = rest.split_at(key_end);
        let [b'=', behind @ ..] = skip_blanks(behind) else {
            return Err(SaslError::Malformed("expected = behind the name of a directive"));
        };
        if key.is_empty() {
            return Err(SaslError::Malformed("a directive without a name"));
        }
        let (value, behind) = value(skip_blanks(behind))?;
        pairs.push((key.to_vec(), value));
        rest = behind;
    }
    Ok(pairs)
}

/// One value, and what is behind its separator.
fn value(text: &[u8]) -> Result<(Vec<u8>, &[u8]), SaslError> {
    let [b'"', quoted @ ..] = text else {
        if text.is_empty() {
            return Err(SaslError::Malformed("a directive without a value"));
        }
        let end = text.iter().position(|&byte| byte == b',' || is_blank(byte)).unwrap_or(text.len());
        return Ok((text[..end].to_vec(), after_separator(&text[end..])));
    };
    let (mut value, mut rest) = (Vec::new(), quoted);
    loop {
        match rest {
            [b'"', behind @ ..] => {
                if behind.first().is_some_and(|&byte| byte != b',' && !is_blank(byte)) {
                    return Err(SaslError::Malformed("expected a comma behind a quoted value"));
                }
                return Ok((value, after_separator(behind)));
            }
            [b'\\', byte, behind @ ..] | [byte, behind @ ..] => {
                if *byte == b'\\' && behind.is_empty() {
                    return Err(SaslError::Malformed("a quote without an end"));
                }
                value.push(*byte);
                rest = behind;
            }
            [] => return Err(SaslError::Malformed("a quote without an end")),
        }
    }
}

fn after_separator(text: &[u8]) -> &[u8] {
    skip_blanks(text.get(1..).unwrap_or_default())
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|&&byte| is_blank(byte)).count();
    &text[blanks..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A value with what a quote must not hold escaped.
pub(super) fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        let pairs = parse(text.as_bytes()).ok()?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Some(pairs.iter().map(|(key, value)| format!("{}:{};", text(key), text(value))).collect())
    }

    #[test]
    fn values_are_plain_or_quoted() {
        for (text, pairs) in [
            ("", ""),
            (" , ,", ""),
            ("a=b", "a:b;"),
            ("a=b,c=\"d\"", "a:b;c:d;"),
            ("a = \"b,\\\"c\\\\\" , d=e\tf=g,", "a:b,\"c\\;d:e;f:g;"),
            ("a=\"\"", "a:;"),
            ("a=,b=c", "a:;b:c;"),
            ("a=b=c", "a:b=c;"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(pairs), "{text}");
        }
        for text in ["a", "a,b=c", "=b", "a=", "a=\"b", "a=\"b\\", "a=\"b\"c", "a b=c"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        for value in ["", "plain", "with \"quotes\" and \\", "a,b"] {
            let text = format!("k={}", quoted(value));
            assert_eq!(parse(text.as_bytes()), Ok(vec![(b"k".to_vec(), value.as_bytes().to_vec())]));
        }
    }
}
