//! The module paths that a file names.

/// A path such as `crate::zab::Role`, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedPath {
    pub offset: usize,
    pub segments: Vec<String>,
}

/// All paths of two segments and more that begin with `first`; the groups of `use` are taken apart.
pub fn paths_from(code: &str, first: &str) -> Vec<NamedPath> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices(first) {
        let before = code[..offset].chars().next_back();
        if before.is_some_and(|c| is_word(c) || c == ':' || c == '$') && !code[..offset].ends_with(" ::") {
            continue;
        }
        let mut tail = Tail { rest: &code[offset + first.len()..] };
        let mut paths = Vec::new();
        tail.read(vec![first.to_string()], &mut paths);
        let long = paths.into_iter().filter(|segments| segments.len() > 1);
        found.extend(long.map(|segments| NamedPath { offset, segments }));
    }
    found
}

pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The offsets at which `word` stands by itself.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let open_before = !word.starts_with(is_word) || !before.is_some_and(is_word);
        let open_after = !word.ends_with(is_word) || !after.is_some_and(is_word);
        open_before && open_after
    })
}

struct Tail<'a> {
    rest: &'a str,
}

impl Tail<'_> {
    /// Reads `::a::b` or `::{a, b::{c}}` behind `prefix` and adds every path that it makes.
    fn read(&mut self, prefix: Vec<String>, paths: &mut Vec<Vec<String>>) {
        let mut path = prefix;
        while self.eat("::") {
            if self.eat("{") {
                while !self.eat("}") && !self.rest.is_empty() {
                    self.read_branch(&path, paths);
                }
                return;
            }
            match self.word() {
                Some(word) => path.push(word),
                None => break,
            }
        }
        paths.push(path);
    }

    fn read_branch(&mut self, path: &[String], paths: &mut Vec<Vec<String>>) {
        let mut branch = path.to_vec();
        match self.word() {
            Some(word) if word == "self" => paths.push(branch),
            Some(word) => {
                branch.push(word);
                self.read(branch, paths);
            }
            None if self.eat("*") => paths.push(branch),
            // What is no use tree at all.
            None => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                return;
            }
        }
        if self.eat("as ") {
            self.word();
        }
        self.eat(",");
    }

    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let length = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_string())
    }
}

#[test]
fn groups_are_taken_apart() {
    let named = |code: &str, first: &str| -> Vec<String> {
        paths_from(code, first).into_iter().map(|path| path.segments.join("::")).collect()
    };
    assert_eq!(
        named("use crate::{ids::{Zxid, Epoch as E}, jute, zab::{self, *}};", "crate"),
        ["crate::ids::Zxid", "crate::ids::Epoch", "crate::jute", "crate::zab", "crate::zab"]
    );
    assert_eq!(named("let x = crate::tree::Tree::new();", "crate"), ["crate::tree::Tree::new"]);
    assert_eq!(named("pub(crate) fn f() {} a::crate::b", "crate"), [""; 0]);
}

#[test]
fn words_stand_by_themselves() {
    assert_eq!(words("unsafe_code, unsafe { }", "unsafe").count(), 1);
    assert_eq!(words("stop!() my_stop!()", "stop!").count(), 1);
}
