//! The rules of the house, held by a test: who may import whom, what pure rooms must not know, how long things may be.
//! Each failure says where, and what to do.

#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use paths::{is_word, paths_from, words};
use source::{SourceFile, line_of, root, rust_files, text_files};

/// Which first-level modules each one may import, beside `ids` and `mutants`. `docs/ARCHITECTURE.md` shows the same table.
const IMPORTS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("mutants", &[]),
    ("jute", &[]),
    ("membership", &[]),
    ("txn", &["jute"]),
    ("tree", &["jute", "txn"]),
    ("session", &[]),
    ("watch", &["jute"]),
    ("prep", &["jute", "membership", "txn", "tree", "session"]),
    ("zab", &[]),
    ("replica", &["jute", "membership", "txn", "tree", "session", "watch", "prep", "zab"]),
    ("storage", &["membership", "txn", "zab"]),
    ("config", &["membership"]),
    ("sasl", &[]),
    ("tls", &["config"]),
    ("server", &["config", "jute", "membership", "replica", "sasl", "storage", "zab", "admin", "tls"]),
    ("admin", &["config", "jute", "membership", "session", "watch", "replica"]),
    ("client", &["jute", "membership", "sasl", "tls"]),
    (
        "sim",
        &[
            "jute",
            "membership",
            "txn",
            "tree",
            "session",
            "watch",
            "prep",
            "zab",
            "replica",
            "storage",
            "client",
        ],
    ),
    (
        "cli",
        &[
            "jute",
            "membership",
            "txn",
            "tree",
            "session",
            "watch",
            "prep",
            "zab",
            "replica",
            "storage",
            "config",
            "sasl",
            "tls",
            "server",
            "admin",
            "client",
            "sim",
        ],
    ),
];

/// Rooms that import only the types of `zab`: what these files define.
const ZAB_TYPES: [&str; 3] = ["src/zab/io.rs", "src/zab/message.rs", "src/zab/quorum.rs"];
const ZAB_TYPES_ONLY: [&str; 2] = ["storage", "server"];

/// What a server is made with; beside the types above, all that its driver names.
const ZAB_MADE_WITH: [&str; 2] = ["Config", "Recovered"];

/// Same input, same output: no clock, no chance, no thread, no file, no socket.
const PURE: [&str; 11] =
    ["ids", "jute", "membership", "txn", "tree", "session", "watch", "prep", "zab", "replica", "sasl"];

/// What a pure room must not name, and what to do instead.
const IMPURE: &[(&str, &str)] = &[
    ("std::time", "time is a `Tick` that comes in as input"),
    ("Instant", "time is a `Tick` that comes in as input"),
    ("SystemTime", "the wall clock is data that the leader stamps"),
    ("std::fs", "files are for `storage/os_disk.rs`"),
    ("std::net", "sockets are for `server/`"),
    ("std::thread", "threads are for `server/`"),
    ("std::process", "stopping the process is for `server/`"),
    ("std::env", "settings come in at construction"),
    ("tokio", "tasks and sockets are for `server/`"),
    ("thread_rng", "chance is a seed that comes in at construction"),
    ("rand::rng", "chance is a seed that comes in at construction"),
    ("OsRng", "chance is a seed that comes in at construction"),
    ("SysRng", "chance is a seed that comes in at construction"),
    (
        "RandomState",
        "a hasher's seed comes in at construction: use hashbrown with a fixed state, or a BTreeMap",
    ),
    ("DefaultHasher", "its result changes between releases: use hashbrown with a fixed state, or a BTreeMap"),
    ("std::collections::HashMap", "it seeds itself: use hashbrown with a fixed state, or a BTreeMap"),
    ("std::collections::HashSet", "it seeds itself: use hashbrown with a fixed state, or a BTreeSet"),
];

const FILE_LINES_MAX: usize = 800;
const MAIN_LINES_MAX: usize = 80;
const FUNCTION_LINES_MAX: usize = 70;

/// Fails with all violations, each on its own line.
fn hold(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}\n{}\n", violations.join("\n"));
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut violations = Vec::new();
    for file in rust_files() {
        let Some(room) = file.room() else { continue };
        let Some(allowed) = table.get(room) else {
            violations.push(format!("{}: give `{room}` a row in IMPORTS", file.path.display()));
            continue;
        };
        for path in paths_from(&file.production, "crate") {
            let target = path.segments[1].as_str();
            let is_free = target == room || ["ids", "mutants"].contains(&target) || allowed.contains(&target);
            if !is_free {
                let place = file.place(path.offset);
                violations.push(format!(
                    "{place}: `{room}` imports `{target}`: pass what it needs in, or move the code to a room that may"
                ));
            }
        }
    }
    hold("A room imports only what its row in IMPORTS allows.", violations);
}

#[test]
fn the_top_is_reached_by_its_name() {
    let mut violations = Vec::new();
    for file in rust_files().iter().filter(|file| file.room().is_some()) {
        let depth = file.path.iter().count() - if file.path.ends_with("mod.rs") { 2 } else { 1 };
        let climb = vec!["super"; depth].join("::");
        for at in words(&file.production, &climb) {
            if file.production[at + climb.len()..].starts_with("::") {
                violations.push(format!("{}: write `crate::` for {climb}", file.place(at)));
            }
        }
    }
    hold("`super` stays within a room, so that imports of others can be seen.", violations);
}

#[test]
fn storage_and_server_know_only_the_types_of_zab() {
    let files = rust_files();
    let mut types: BTreeSet<String> = BTreeSet::new();
    for file in files.iter().filter(|file| ZAB_TYPES.iter().any(|path| file.path.ends_with(path))) {
        for kind in ["struct", "enum", "type", "const", "trait", "mod"] {
            for at in words(&file.production, &format!("pub {kind} ")) {
                let name =
                    file.production[at + kind.len() + 5..].chars().take_while(|c| is_word(*c)).collect();
                types.insert(name);
            }
        }
    }
    let is_type = |name: &str| {
        types.contains(name) || ["io", "message"].contains(&name) || ZAB_MADE_WITH.contains(&name)
    };
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.room().is_some_and(|room| ZAB_TYPES_ONLY.contains(&room))) {
        let mut named = paths_from(&file.production, "crate");
        named.retain(|path| path.segments[1] == "zab");
        let imported = named.iter().any(|path| path.segments.len() == 2);
        let direct =
            named.iter().filter_map(|path| path.segments.get(2).map(|name| (path.offset, name.clone())));
        let mut names: Vec<(usize, String)> = direct.collect();
        if imported {
            let through = paths_from(&file.production, "zab").into_iter();
            names.extend(through.map(|path| (path.offset, path.segments[1].clone())));
        }
        for (offset, name) in names.into_iter().filter(|(_, name)| !is_type(name)) {
            let place = file.place(offset);
            violations
                .push(format!("{place}: `zab::{name}` is not among the types of {}", ZAB_TYPES.join(", ")));
        }
    }
    hold("`storage` and `server` use zab's types, not its decisions.", violations);
}

/// Where `name` is used, as a word or as what a `use` group makes.
fn uses(file: &SourceFile, name: &str) -> Vec<usize> {
    let mut offsets: Vec<usize> = words(&file.production, name).collect();
    if let Some((first, _)) = name.split_once("::") {
        let wanted: Vec<&str> = name.split("::").collect();
        let grouped = paths_from(&file.production, first).into_iter();
        let fits = |path: &paths::NamedPath| {
            path.segments.iter().map(String::as_str).take(wanted.len()).eq(wanted.clone())
        };
        offsets.extend(grouped.filter(fits).map(|path| path.offset));
    }
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

#[test]
fn pure_rooms_have_no_clock_chance_thread_file_or_socket() {
    let mut violations = Vec::new();
    for file in rust_files().iter().filter(|file| file.room().is_some_and(|room| PURE.contains(&room))) {
        for (name, instead) in IMPURE {
            for offset in uses(file, name) {
                violations.push(format!("{}: `{name}` in a pure room: {instead}", file.place(offset)));
            }
        }
    }
    hold("Pure rooms give the same output for the same input.", violations);
}

#[test]
fn files_are_opened_in_one_place_per_room() {
    let doors = [("storage", "src/storage/os_disk.rs"), ("config", "src/config/files.rs")];
    let mut violations = Vec::new();
    for file in rust_files() {
        let Some((room, door)) = doors.iter().find(|(room, _)| file.room() == Some(room)) else { continue };
        for name in ["std::fs", "tokio::fs", "rustix::fs", "File::open"] {
            for offset in uses(&file, name).into_iter().filter(|_| !file.path.ends_with(door)) {
                violations
                    .push(format!("{}: `{name}` in `{room}`: only {door} opens files", file.place(offset)));
            }
        }
    }
    hold("In `storage` and `config` one file each knows the file system.", violations);
}

#[test]
fn files_and_functions_are_short() {
    let mut violations = Vec::new();
    for file in rust_files() {
        let lines: Vec<&str> = file.text.lines().collect();
        let is_main = file.path.ends_with("src/main.rs");
        let lines_max = if is_main { MAIN_LINES_MAX } else { FILE_LINES_MAX };
        if lines.len() > lines_max {
            let path = file.path.display();
            violations.push(format!(
                "{path}:{}: {} lines, {lines_max} at most: split it",
                lines_max,
                lines.len()
            ));
        }
        let code: Vec<&str> = file.code.lines().collect();
        for (index, name) in functions(&code) {
            let length = function_length(&code[index..]);
            if length > FUNCTION_LINES_MAX {
                let place = format!("{}:{}", file.path.display(), index + 1);
                violations.push(format!(
                    "{place}: `{name}` has {length} lines, {FUNCTION_LINES_MAX} at most: move a step out"
                ));
            }
        }
    }
    hold("Short enough to be read at once.", violations);
}

/// The line index and the name of every function with a body.
fn functions<'a>(code: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (index, line) in code.iter().enumerate() {
        for at in words(line, "fn") {
            let name = line[at + 2..].trim_start().split(|c| !is_word(c)).next().unwrap_or_default();
            if !name.is_empty() {
                found.push((index, name));
            }
        }
    }
    found
}

/// From the line of `fn` to the closing brace below it, as rustfmt indents it.
fn function_length(code: &[&str]) -> usize {
    let indent = code[0].len() - code[0].trim_start().len();
    for (index, line) in code.iter().enumerate() {
        let ends_here = index == 0 && (line.ends_with('}') || line.ends_with(';'));
        let is_level = line.len() - line.trim_start().len() == indent;
        if ends_here || index > 0 && is_level && (line.trim_start().starts_with('}') || line.ends_with(';')) {
            return index + 1;
        }
    }
    code.len()
}

#[test]
fn the_library_root_only_lists_its_rooms() {
    let files = rust_files();
    let lib = files.iter().find(|file| file.path.ends_with("src/lib.rs")).expect("src/lib.rs");
    let mut violations = Vec::new();
    for (index, line) in lib.code.lines().enumerate() {
        let line = line.trim();
        let is_listing = line.is_empty() || line.starts_with("pub mod ") || line.starts_with("#!");
        if !is_listing {
            violations.push(format!("src/lib.rs:{}: move this into a room", index + 1));
        }
    }
    hold("src/lib.rs shows the map and holds no code.", violations);
}

#[test]
fn nothing_is_left_unfinished() {
    let markers = ["TO.DO", "FIX.ME", "XX.X"].map(|word| word.replace('.', ""));
    let macros = ["to.do!", "unimple.mented!", "d.bg!"].map(|word| word.replace('.', ""));
    let mut violations = Vec::new();
    for file in rust_files() {
        for word in &markers {
            for offset in words(&file.comments, word) {
                violations.push(format!("{}: {word}: finish it, or open an issue", file.place(offset)));
            }
        }
        for word in &macros {
            for offset in words(&file.code, word) {
                violations.push(format!("{}: {word}: finish it, or return an error", file.place(offset)));
            }
        }
    }
    hold("What is merged is finished.", violations);
}

#[test]
fn memory_safety_is_left_to_the_compiler() {
    let mut violations = Vec::new();
    for file in rust_files() {
        for offset in words(&file.code, "unsafe") {
            violations.push(format!("{}: say it in safe code", file.place(offset)));
        }
    }
    hold("There is no unsafe code.", violations);
}

#[test]
fn no_path_of_a_developers_machine_is_written_down() {
    let homes = ["/wo.rk/", "/ro.ot/", "/ho.me/", "/Us.ers/"].map(|path| path.replace('.', ""));
    let mut violations = Vec::new();
    for (path, text) in text_files() {
        for home in &homes {
            for (offset, _) in text.match_indices(home.as_str()) {
                let is_absolute =
                    !text[..offset].ends_with(|c: char| is_word(c) || matches!(c, '.' | '}' | '-'));
                if is_absolute {
                    let place = format!("{}:{}", path.display(), line_of(&text, offset));
                    violations.push(format!("{place}: {home}...: use a path relative to the package"));
                }
            }
        }
    }
    hold("A clean clone works anywhere.", violations);
}

/// The targets of the links in a markdown text that point to files.
fn file_links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (at, _) in text.match_indices("](") {
        let Some(length) = text[at + 2..].find(')') else { continue };
        let target = text[at + 2..at + 2 + length].split('#').next().unwrap_or_default();
        if !target.is_empty() && !target.contains("://") && !target.contains(char::is_whitespace) {
            links.push((at, target));
        }
    }
    links
}

#[test]
fn documents_can_be_found_and_their_links_lead_somewhere() {
    let mut violations = Vec::new();
    let mut linked = BTreeSet::new();
    let documents: Vec<_> = text_files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|end| end == "md"))
        .collect();
    for (path, text) in &documents {
        for (offset, target) in file_links(text) {
            let found = root().join(path).parent().expect("a folder").join(target);
            match found.canonicalize() {
                Ok(found) if path.ends_with("README.md") || path.ends_with("ARCHITECTURE.md") => {
                    linked.insert(found);
                }
                Ok(_) => {}
                Err(_) => {
                    let place = format!("{}:{}", path.display(), line_of(text, offset));
                    violations.push(format!("{place}: there is no {target}: correct the link"));
                }
            }
        }
    }
    for (path, _) in documents.iter().filter(|(path, _)| path.starts_with("docs")) {
        let absolute = root().join(path).canonicalize().expect("it was just read");
        if !linked.contains(&absolute) {
            violations.push(format!("{}: link it from README.md or docs/ARCHITECTURE.md", path.display()));
        }
    }
    hold("Every document is reachable, every link leads somewhere.", violations);
}

/// The numbers of the headings `### Rule N: title` of docs/zab.md.
fn zab_rules() -> BTreeSet<u32> {
    let text = std::fs::read_to_string(root().join("docs/zab.md")).unwrap_or_default();
    let headings = text.lines().filter_map(|line| line.strip_prefix("### Rule "));
    headings.filter_map(|rest| rest.split_once(':')?.0.parse().ok()).collect()
}

/// The numbers between the word "rule" and the name of the document that follows it, as in "rules 3 and 4 of ...".
fn cited_rules(file: &SourceFile) -> Vec<(usize, u32)> {
    let mut cited = Vec::new();
    for (at, _) in file.comments.match_indices("docs/zab.md") {
        let before: String = file.comments[at.saturating_sub(120)..at].replace(['/', '\n', '`', '!'], " ");
        let Some(start) = before.to_lowercase().rfind("rule") else { continue };
        let numbers =
            before[start..].split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
        cited.extend(numbers.map(|number| (at, number)));
    }
    cited
}

#[test]
fn cited_rules_of_the_protocol_exist() {
    let rules = zab_rules();
    let mut violations = Vec::new();
    for file in rust_files() {
        for (offset, number) in cited_rules(&file).into_iter().filter(|(_, number)| !rules.contains(number)) {
            violations.push(format!(
                "{}: docs/zab.md has no `### Rule {number}: ...`: cite another rule, or write it down",
                file.place(offset)
            ));
        }
    }
    for (expected, number) in (1..).zip(&rules) {
        if *number != expected {
            violations.push(format!(
                "docs/zab.md: Rule {expected} is missing before Rule {number}: number them all"
            ));
            break;
        }
    }
    hold("Rules are numbered, and code cites rules that exist.", violations);
}
