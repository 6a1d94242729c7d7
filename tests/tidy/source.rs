//! Reading Rust source well enough to hold rules over it: comments and literals told from code, tests from the rest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One source file in three views of equal shape: what is not part of a view is blanks, so that lines agree.
pub struct SourceFile {
    /// Relative to the package.
    pub path: PathBuf,
    /// As it is on disk.
    pub text: String,
    /// Without comments and without what stands in literals.
    pub code: String,
    /// Only what stands in comments.
    pub comments: String,
    /// `code` without what is compiled for tests only.
    pub production: String,
}

impl SourceFile {
    fn new(path: PathBuf, text: String, test_only: bool) -> SourceFile {
        let (code, comments) = separated(&text);
        let production = if test_only { blanked(&code) } else { without_tests(&code) };
        SourceFile { path, text, code, comments, production }
    }

    /// The first-level module of `src/` that the file belongs to; `None` outside and for `lib.rs` and `main.rs`.
    pub fn room(&self) -> Option<&str> {
        let first = self.path.strip_prefix("src").ok()?.iter().next()?.to_str()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!matches!(name, "lib" | "main")).then_some(name)
    }

    /// `path:line` of a byte offset, for messages.
    pub fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path.display(), line_of(&self.text, offset))
    }
}

pub fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files of the package's own, in the order of their paths.
pub fn rust_files() -> Vec<SourceFile> {
    let mut paths = Vec::new();
    for folder in ["src", "sim", "tests", "benches", "fuzz", "examples"] {
        collect(&root().join(folder), &mut paths, &|path| path.extension().is_some_and(|end| end == "rs"));
    }
    let texts: Vec<(PathBuf, String)> =
        paths.into_iter().map(|path| (relative(&path), read(&path))).collect();
    let test_only: BTreeSet<PathBuf> =
        texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test = |path: &Path| path.ancestors().any(|part| test_only.contains(&part.with_extension("")));
    texts.into_iter().map(|(path, text)| SourceFile::new(path.clone(), text, is_test(&path))).collect()
}

/// The files with text in them, for rules about words: sources, documents, scripts, samples.
pub fn text_files() -> Vec<(PathBuf, String)> {
    let ends = ["rs", "md", "toml", "cfg", "py", "sh", "proto", "txt", "yml", "yaml"];
    let mut paths = Vec::new();
    collect(root(), &mut paths, &|path| match path.extension() {
        Some(end) => ends.iter().any(|known| end == *known),
        None => path.file_name().is_some_and(|name| name == "test" || name == "run"),
    });
    paths.into_iter().map(|path| (relative(&path), read(&path))).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix(root()).expect("below the package").to_path_buf()
}

/// Files below `folder` that `wanted` accepts; build output and hidden folders are left out.
fn collect(folder: &Path, found: &mut Vec<PathBuf>, wanted: &dyn Fn(&Path) -> bool) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = std::fs::symlink_metadata(&path).expect("a readable file").file_type();
        if kind.is_dir() {
            let skipped = ["target", "venv", "node_modules", "__pycache__", "zabra-data", "zabra-ensemble"];
            if !skipped.contains(&name.as_str()) && (!name.starts_with('.') || name == ".ci") {
                collect(&path, found, wanted);
            }
        } else if kind.is_file() && wanted(&path) {
            found.push(path);
        }
    }
}

/// The files, without their ending, of modules that `#[cfg(test)] mod name;` lines in `path` declare.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let (code, _) = separated(text);
    let stem = path.file_stem().unwrap_or_default();
    let folder = match stem.to_str() {
        Some("mod" | "lib" | "main") => path.parent().unwrap_or(Path::new("")).to_path_buf(),
        _ => path.with_extension(""),
    };
    let mut modules = Vec::new();
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let item = code[at + "#[cfg(test)]".len()..].trim_start();
        let item = item.strip_prefix("pub(crate) ").or(item.strip_prefix("pub ")).unwrap_or(item);
        if let Some((name, _)) = item.strip_prefix("mod ").and_then(|rest| rest.split_once([';', '{', ' '])) {
            modules.push(folder.join(name));
        }
    }
    modules
}

/// The code and the comments of a text, each with blanks in place of everything else. The quotes of literals stay in
/// the code.
fn separated(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let mut code = vec![b' '; bytes.len()];
    let mut comments = vec![b' '; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let comment = comment_length(rest);
        let literal = if comment == 0 && !is_in_word(bytes, at) { literal_length(rest) } else { 0 };
        let length = comment.max(literal).max(rest.chars().next().map_or(1, char::len_utf8));
        let view = if comment > 0 { &mut comments } else { &mut code };
        if literal > 0 {
            view[at] = b'"';
            view[at + length - 1] = b'"';
        } else {
            view[at..at + length].copy_from_slice(&bytes[at..at + length]);
        }
        at += length;
    }
    for (index, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        code[index] = *byte;
        comments[index] = *byte;
    }
    let ascii = |bytes: Vec<u8>| -> String {
        bytes.into_iter().map(|byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect()
    };
    (ascii(code), ascii(comments))
}

/// True if the byte before continues a word, so that `r"` in `for"` is no raw string.
fn is_in_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && bytes[at] != b'"' && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

/// The length of the comment at the start of `rest`, 0 if there is none.
fn comment_length(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if !rest.starts_with("/*") {
        return 0;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character literal at the start of `rest`, 0 if there is none.
fn literal_length(rest: &str) -> usize {
    let prefix = rest.bytes().take_while(|byte| matches!(byte, b'b' | b'c' | b'r')).count().min(2);
    let hashes = rest[prefix..].bytes().take_while(|byte| *byte == b'#').count();
    let raw = rest[..prefix].contains('r');
    let quote = prefix + hashes;
    match rest.as_bytes().get(quote) {
        Some(b'"') if raw => {
            let end = format!("\"{}", "#".repeat(hashes));
            rest[quote + 1..].find(&end).map_or(rest.len(), |at| quote + 1 + at + end.len())
        }
        Some(b'"') if hashes == 0 => quoted_length(rest, quote, b'"'),
        Some(b'\'') if hashes == 0 && is_char_literal(&rest[quote..]) => quoted_length(rest, quote, b'\''),
        _ => 0,
    }
}

/// `'x'` and `'\n'`, but not the lifetime `'a`.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

fn quoted_length(rest: &str, quote: usize, end: u8) -> usize {
    let mut at = quote + 1;
    while let Some(byte) = rest.as_bytes().get(at) {
        match byte {
            b'\\' => at += 2,
            byte if *byte == end => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Blanks in place of everything but line ends.
fn blanked(code: &str) -> String {
    code.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

/// The code without items under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut production = code.to_string();
    while let Some(at) = production.find("#[cfg(test)]").or_else(|| production.find("#[cfg(all(test")) {
        let end = at + item_length(&production[at..]);
        production.replace_range(at..end, &blanked(&code[at..end]));
    }
    production
}

/// Up to the semicolon or closing brace that ends the item; attributes before it count as part of it.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' | ',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_and_literals_are_told_from_code() {
    let text = "let a = \"// n\u{f6}\"; // y\u{e9}s \"\nlet b = r#\"un\"safe\"#; /* x /* y */ z */ let c: &'a u8 = b'\\'';\n";
    let (code, comments) = separated(text);
    assert_eq!(code.split_whitespace().collect::<String>(), "leta=\"\";letb=\"\";letc:&'au8=\"\";");
    assert_eq!(comments.split_whitespace().collect::<String>(), "//y??s\"/*x/*y*/z*/");
    assert_eq!(code.len(), text.len());
}

#[test]
fn what_is_compiled_for_tests_only_is_not_production() {
    let code = "fn a() {}\n#[cfg(test)]\nuse b::c;\n#[cfg(test)]\nmod tests {\n fn d() {}\n}\nfn e() {}\n";
    assert_eq!(without_tests(code).split_whitespace().collect::<String>(), "fna(){}fne(){}");
    assert_eq!(
        test_modules(Path::new("src/a/b.rs"), "#[cfg(test)]\nmod tests;"),
        [Path::new("src/a/b/tests")]
    );
    assert_eq!(
        test_modules(Path::new("src/a/mod.rs"), "#[cfg(test)]\nmod tests;"),
        [Path::new("src/a/tests")]
    );
}
