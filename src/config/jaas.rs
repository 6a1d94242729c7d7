//! A JAAS login configuration, as Java reads it: the file in which users of ZooKeeper keep names and passwords.
//!
//! ```text
//! Server {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_bob="secret";
//! };
//! ```
//!
//! Words and quoted texts are those of Java's `StreamTokenizer`: comments are `//`, `/* */` and everything behind a
//! `/`, quotes are `"`, with the escapes of C. Java also expands `${...}` to system properties, of which there are
//! none here: a value that asks for it is an error.

use std::collections::BTreeMap;
use std::fmt;

use super::secret::Secret;

/// The sections by name.
pub(super) type Sections = BTreeMap<String, Vec<Module>>;

/// One login module of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// the Java class
    pub class: String,
    /// where it stands, counted from 1
    pub line: u32,
    /// the options; of a key that stands twice the last value
    pub options: BTreeMap<String, Secret>,
}

/// Where a file is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JaasError {
    /// counted from 1
    pub line: u32,
    /// what was expected; no value of the file is in it
    pub text: String,
}

/// The longest word, quoted or not.
const WORD_CHARS_MAX: usize = 64 << 10;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(String),
    Quoted(Secret),
    Mark(char),
    End,
}

impl fmt::Display for Token {
    /// Not what is quoted, and no word: it may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(_) => f.write_str("another word"),
            Token::Quoted(_) => f.write_str("a quoted text"),
            Token::Mark(mark) => write!(f, "{mark:?}"),
            Token::End => f.write_str("the end of the file"),
        }
    }
}

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<Sections, JaasError> {
    let mut parser = Parser { rest: text, line: 1, next: Token::End, next_line: 1 };
    parser.advance()?;
    let mut sections = Sections::new();
    loop {
        let line = parser.next_line;
        let name = match parser.take()? {
            Token::End => return Ok(sections),
            Token::Word(name) => name,
            Token::Quoted(name) => name.expose().to_owned(),
            other => return Err(expected(line, "the name of a section", &other)),
        };
        let modules = parser.section()?;
        if sections.insert(name, modules).is_some() {
            let text = "a section with the name of another: every name stands once".to_owned();
            return Err(JaasError { line, text });
        }
    }
}

fn expected(line: u32, what: &str, found: &Token) -> JaasError {
    JaasError { line, text: format!("expected {what}, found {found}") }
}

struct Parser<'a> {
    rest: &'a str,
    /// of `rest`
    line: u32,
    next: Token,
    /// of `next`
    next_line: u32,
}

impl Parser<'_> {
    /// `{ class flag key=value ...; ... };`
    fn section(&mut self) -> Result<Vec<Module>, JaasError> {
        self.mark('{', "{ behind the name of a section")?;
        let mut modules = Vec::new();
        while self.next != Token::Mark('}') {
            modules.push(self.module()?);
        }
        self.mark('}', "}")?;
        self.mark(';', "; behind the } of a section")?;
        Ok(modules)
    }

    fn module(&mut self) -> Result<Module, JaasError> {
        let line = self.next_line;
        let class = self.word("the class of a login module, or }")?;
        let flag_line = self.next_line;
        let flag = self.word("required, requisite, sufficient or optional behind the class")?;
        if !["required", "requisite", "sufficient", "optional"].contains(&&*flag.to_ascii_lowercase()) {
            let what = "required, requisite, sufficient or optional behind the class";
            return Err(expected(flag_line, what, &Token::Word(flag)));
        }
        let mut options = BTreeMap::new();
        while self.next != Token::Mark(';') {
            let key = self.word("key=\"value\", or ; behind the last one")?;
            self.mark('=', "= behind the key of an option")?;
            options.insert(key, self.value()?);
        }
        self.advance()?;
        Ok(Module { class, line, options })
    }

    fn value(&mut self) -> Result<Secret, JaasError> {
        let line = self.next_line;
        let value = match self.take()? {
            Token::Word(word) => Secret::new(word),
            Token::Quoted(text) => text,
            other => return Err(expected(line, "the value of an option", &other)),
        };
        if value.expose().contains("${") {
            let text = "a value with ${: there are no system properties to put in its place".to_owned();
            return Err(JaasError { line, text });
        }
        Ok(value)
    }

    fn word(&mut self, what: &str) -> Result<String, JaasError> {
        let line = self.next_line;
        match self.take()? {
            Token::Word(word) => Ok(word),
            Token::Quoted(text) => Ok(text.expose().to_owned()),
            other => Err(expected(line, what, &other)),
        }
    }

    fn mark(&mut self, mark: char, what: &str) -> Result<(), JaasError> {
        let line = self.next_line;
        match self.take()? {
            Token::Mark(found) if found == mark => Ok(()),
            other => Err(expected(line, what, &other)),
        }
    }

    fn take(&mut self) -> Result<Token, JaasError> {
        let token = std::mem::replace(&mut self.next, Token::End);
        self.advance()?;
        Ok(token)
    }

    fn advance(&mut self) -> Result<(), JaasError> {
        self.skip_blanks_and_comments();
        self.next_line = self.line;
        let Some(first) = self.rest.chars().next() else {
            self.next = Token::End;
            return Ok(());
        };
        self.next = match first {
            '"' => self.quoted()?,
            _ if is_word(first) => {
                let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
                if end > WORD_CHARS_MAX {
                    return Err(JaasError { line: self.line, text: "a word without end".to_owned() });
                }
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                Token::Word(word.to_owned())
            }
            _ => {
                self.rest = &self.rest[first.len_utf8()..];
                Token::Mark(first)
            }
        };
        Ok(())
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let blanks = self.rest.find(|c| c > ' ').unwrap_or(self.rest.len());
            self.skip(blanks);
            if self.rest.starts_with("/*") {
                self.skip(self.rest.find("*/").map_or(self.rest.len(), |at| at + 2));
            } else if self.rest.starts_with('/') {
                self.skip(self.rest.find(['\n', '\r']).unwrap_or(self.rest.len()));
            } else {
                return;
            }
        }
    }

    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at(bytes);
        // CR LF is one end of a line.
        let ends = skipped.matches('\n').count() + skipped.replace("\r\n", "").matches('\r').count();
        self.line = self.line.saturating_add(u32::try_from(ends).unwrap_or(u32::MAX));
        self.rest = rest;
    }

    /// A text in quotes, which ends with its line at the latest. Java would take what it has until there for the whole;
    /// a password without its end is rather an error.
    fn quoted(&mut self) -> Result<Token, JaasError> {
        let unended = JaasError { line: self.line, text: "a quoted text without its end".to_owned() };
        let mut text = String::new();
        let mut rest = self.rest[1..].chars();
        loop {
            match rest.next() {
                None | Some('\n' | '\r') => return Err(unended),
                Some('"') => break,
                Some('\\') => {
                    let c =
                        rest.next().filter(|c| !matches!(c, '\n' | '\r')).ok_or_else(|| unended.clone())?;
                    text.push(escaped(c, &mut rest));
                }
                Some(c) => text.push(c),
            }
            if text.len() > WORD_CHARS_MAX {
                return Err(unended);
            }
        }
        self.rest = rest.as_str();
        Ok(Token::Quoted(Secret::new(text)))
    }
}

/// What stands for itself and its like: no mark, and no blank.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '$' | '_' | '*') || c >= '\u{a0}'
}

/// The character that `c` behind a backslash stands for; up to three octal digits are a number.
fn escaped(c: char, rest: &mut std::str::Chars<'_>) -> char {
    let octal = |c: char| c.to_digit(8);
    match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        _ => match octal(c) {
            None => c,
            Some(first) => {
                let mut number = first;
                // The third one only if the number stays below 256.
                for _ in 0..if first <= 3 { 2 } else { 1 } {
                    let Some(digit) = rest.clone().next().and_then(octal) else { break };
                    rest.next();
                    number = number * 8 + digit;
                }
                char::from_u32(number).unwrap_or(c)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> String {
        let sections = parse(text).unwrap_or_else(|error| panic!("{error:?}"));
        let mut shown = String::new();
        for (name, modules) in sections {
            for module in modules {
                let options: Vec<String> =
                    module.options.iter().map(|(key, value)| format!("{key}={}", value.expose())).collect();
                shown += &format!("{name} {}:{} [{}]\n", module.class, module.line, options.join(" "));
            }
        }
        shown
    }

    fn error(text: &str) -> String {
        let error = parse(text).expect_err("it is refused");
        format!("{}: {}", error.line, error.text)
    }

    #[test]
    fn sections_have_modules_with_options() {
        let text = "// users\nServer {\n  /* of\n clients */ org.apache.zookeeper.server.auth.DigestLoginModule required\n\
                    \tuser_super=\"adminsecret\"\n user_bob=\"bob\"\"s\" user_x=plain-1.0;\n};\n/ a comment to Java\n\
                    QuorumLearner { M OPTIONAL username=\"a\\\"b\\\\\\t\\101\\7x\"; N sufficient; };\nEmpty{};";
        assert!(parse(text).is_err(), "two texts side by side are not one");
        assert_eq!(
            options(&text.replace("\"\"", "")),
            "QuorumLearner M:9 [username=a\"b\\\tA\u{7}x]\n\
             QuorumLearner N:9 []\n\
             Server org.apache.zookeeper.server.auth.DigestLoginModule:4 [user_bob=bobs user_super=adminsecret user_x=plain-1.0]\n"
        );
        assert_eq!(options(""), "");
        assert_eq!(options("A{};\r\n\r\nB{M required a=1 a=2;};"), "B M:3 [a=2]\n");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_was_expected() {
        for (text, expected) in [
            ("Server", "1: expected { behind the name of a section, found the end of the file"),
            ("\n;", "2: expected the name of a section, found ';'"),
            (
                "Server {\n M\n};",
                "3: expected required, requisite, sufficient or optional behind the class, found '}'",
            ),
            (
                "Server {\n M needed;\n};",
                "2: expected required, requisite, sufficient or optional behind the class, found another word",
            ),
            ("Server { M required user_a };", "1: expected = behind the key of an option, found '}'"),
            ("Server { M required user_a=; };", "1: expected the value of an option, found ';'"),
            (
                "Server { M required\nuser_a=\"x\"\n};",
                "3: expected key=\"value\", or ; behind the last one, found '}'",
            ),
            (
                "Server { M required a=\"b\"; }",
                "1: expected ; behind the } of a section, found the end of the file",
            ),
            (
                "Server { M required a=\"b\"; }\nNext {};",
                "2: expected ; behind the } of a section, found another word",
            ),
            ("Server { M required\na=\"b;\n}; \"", "2: a quoted text without its end"),
            ("S { M required a='b'; };", "1: expected the value of an option, found '\\''"),
            ("A{};\nA{};", "2: a section with the name of another: every name stands once"),
            (
                "A{M required a=\"${x}\";};",
                "1: a value with ${: there are no system properties to put in its place",
            ),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn no_error_tells_a_password() {
        let text = "Server {\n org.M required user_bob=\"pass,word\" user_eve=\"pass;word\";\n};\nLearner { M required password=pass+word; };";
        for cut in 0..text.len() {
            for broken in [text[..cut].to_owned(), format!("{}{}", &text[..cut], &text[cut + 1..])] {
                if let Err(error) = parse(&broken) {
                    assert!(
                        !error.text.contains("pass") && !error.text.contains("word\""),
                        "{broken}: {error:?}"
                    );
                }
            }
        }
    }
}
