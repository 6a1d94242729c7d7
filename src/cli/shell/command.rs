//! The commands: what each is called, what it takes, and what the words of a line ask for.

use std::num::NonZeroUsize;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::jute::{Acl, AddWatchMode, CreateMode, CreateOp, WatcherType};

use super::format::parse_acl;

/// What a command takes, and what help says of it.
pub struct Spec {
    /// the first word
    pub name: &'static str,
    /// options without a value, one letter each
    flags: &'static str,
    /// options with a value
    valued: &'static str,
    /// how many other words at least and at most
    words: (usize, usize),
    /// behind the name
    pub usage: &'static str,
    /// one line
    pub about: &'static str,
}

impl Spec {
    const fn new(
        name: &'static str,
        (flags, valued): (&'static str, &'static str),
        words: (usize, usize),
        usage: &'static str,
        about: &'static str,
    ) -> Spec {
        Spec { name, flags, valued, words, usage, about }
    }

    fn wrong(&self, why: &str) -> String {
        format!("{why}; usage: {} {}", self.name, self.usage).trim_end().to_owned()
    }
}

/// All commands, in the order of the alphabet.
pub const COMMANDS: &[Spec] = &[
    Spec::new(
        "addauth",
        ("", ""),
        (2, 2),
        "scheme auth",
        "add an identity, such as: addauth digest me:secret",
    ),
    Spec::new(
        "addWatch",
        ("", "m"),
        (1, 1),
        "[-m mode] path",
        "leave a watch that stays; mode is PERSISTENT, or PERSISTENT_RECURSIVE, which is the default",
    ),
    Spec::new("close", ("", ""), (0, 0), "", "end the session, and stay"),
    Spec::new(
        "config",
        ("csw", ""),
        (0, 0),
        "[-c] [-s] [-w]",
        "show the servers of the ensemble; -c as clients name them, -s the Stat too, -w leave a watch",
    ),
    Spec::new("connect", ("", ""), (0, 1), "[host:port]", "end the session, and open one with these servers"),
    Spec::new(
        "create",
        ("sec", "t"),
        (1, 3),
        "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        "make a znode; -s with a number in its name, -e that goes with the session, -c a container, -t with a time to \
         live in ms",
    ),
    Spec::new("delete", ("", "v"), (1, 1), "[-v version] path", "remove a znode without children"),
    Spec::new(
        "deleteall",
        ("", "b"),
        (1, 1),
        "path [-b number]",
        "remove a znode and all below it, so many at a time",
    ),
    Spec::new(
        "get",
        ("swbx", ""),
        (1, 1),
        "[-s] [-w] [-b] [-x] path",
        "show the data; -b in base64, -x in hexadecimal, -s the Stat too, -w leave a watch",
    ),
    Spec::new("getAcl", ("s", ""), (1, 1), "[-s] path", "show the access control list"),
    Spec::new("getAllChildrenNumber", ("", ""), (1, 1), "path", "count all znodes below"),
    Spec::new(
        "getEphemerals",
        ("", ""),
        (0, 1),
        "[path]",
        "show the ephemerals of this session, below a path",
    ),
    Spec::new("help", ("", ""), (0, 1), "[command]", "show what can be done"),
    Spec::new("history", ("", ""), (0, 0), "", "show the newest commands with their numbers"),
    Spec::new(
        "ls",
        ("swR", ""),
        (1, 1),
        "[-s] [-w] [-R] path",
        "show the children; -R all descendants, -s the Stat too, -w leave a watch",
    ),
    Spec::new("printwatches", ("", ""), (0, 1), "[on|off]", "whether events are shown"),
    Spec::new("quit", ("", ""), (0, 0), "", "close the session and leave"),
    Spec::new("redo", ("", ""), (1, 1), "number", "carry out a command of the history again"),
    Spec::new(
        "removewatches",
        ("cdpra", ""),
        (1, 1),
        "path [-c|-d|-p|-r|-a]",
        "take watches away: -c on children, -d on data, -p persistent, -r recursive ones, -a or nothing for all",
    ),
    Spec::new(
        "set",
        ("sb", "v"),
        (2, 2),
        "[-s] [-v version] [-b] path data",
        "replace the data, given in base64 with -b; -s show the Stat",
    ),
    Spec::new(
        "setAcl",
        ("sR", "v"),
        (2, 2),
        "[-s] [-v version] [-R] path acl",
        "replace the access control list: scheme:id:permissions, such as world:anyone:cdrwa; -R below the path too",
    ),
    Spec::new("stat", ("w", ""), (1, 1), "[-w] path", "show the Stat; -w leave a watch"),
    Spec::new("sync", ("", ""), (1, 1), "path", "bring the server up to date with the leader"),
    Spec::new("version", ("", ""), (0, 0), "", "show the version of this shell"),
    Spec::new("whoami", ("", ""), (0, 0), "", "show who the server takes you for"),
];

/// What a line asks for. The fields are the words of the usage lines above.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    AddAuth { scheme: String, auth: String },
    AddWatch { path: String, mode: AddWatchMode },
    Close,
    Config { for_clients: bool, stat: bool, watch: bool },
    Connect { servers: Option<String> },
    Create { path: String, data: String, acl: Vec<Acl>, mode: CreateMode, op: CreateOp },
    Delete { path: String, version: Option<i32> },
    DeleteAll { path: String, at_a_time: Option<usize> },
    Get { path: String, stat: bool, watch: bool, shown: Shown },
    GetAcl { path: String, stat: bool },
    GetAllChildrenNumber { path: String },
    GetEphemerals { path: String },
    Help { command: Option<String> },
    History,
    Ls { path: String, stat: bool, watch: bool, recursive: bool },
    PrintWatches { on: Option<bool> },
    Quit,
    Redo { number: usize },
    RemoveWatches { path: String, watches: WatcherType },
    Set { path: String, data: Vec<u8>, version: Option<i32>, stat: bool },
    SetAcl { path: String, acl: Vec<Acl>, version: Option<i32>, stat: bool, recursive: bool },
    Stat { path: String, watch: bool },
    Sync { path: String },
    Version,
    WhoAmI,
}

/// How data is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// byte for byte
    Plain,
    /// as text that can be given back with `set -b`
    Base64,
    /// sixteen bytes a line, each with its letter
    Hexadecimal,
}

/// The options and other words behind a command's name.
struct Parsed {
    flags: Vec<char>,
    /// the value of the last option that has one
    value: Option<String>,
    words: std::vec::IntoIter<String>,
}

impl Parsed {
    /// Options may stand anywhere; what follows `--` is none.
    fn new(spec: &Spec, words: &[String]) -> Result<Parsed, String> {
        let mut parsed = Parsed { flags: Vec::new(), value: None, words: Vec::new().into_iter() };
        let mut others = Vec::new();
        let mut left = words.iter();
        while let Some(word) = left.next() {
            let letter =
                match word.strip_prefix('-').map(|option| option.chars().collect::<Vec<_>>()).as_deref() {
                    Some(['-']) => {
                        others.extend(left.by_ref().cloned());
                        break;
                    }
                    Some([letter]) => *letter,
                    Some([_, ..]) => return Err(spec.wrong(&format!("unknown option {word}"))),
                    Some([]) | None => {
                        others.push(word.clone());
                        continue;
                    }
                };
            if spec.valued.contains(letter) {
                let value = left.next().ok_or_else(|| spec.wrong(&format!("{word} needs a value")))?;
                parsed.value = Some(value.clone());
                parsed.flags.push(letter);
            } else if spec.flags.contains(letter) {
                parsed.flags.push(letter);
            } else {
                return Err(spec.wrong(&format!("unknown option {word} (data may follow --)")));
            }
        }
        if others.len() < spec.words.0 {
            return Err(spec.wrong("something is missing"));
        }
        if others.len() > spec.words.1 {
            return Err(spec.wrong(&format!("{:?} is too much", others[spec.words.1])));
        }
        parsed.words = others.into_iter();
        Ok(parsed)
    }

    fn flag(&self, letter: char) -> bool {
        self.flags.contains(&letter)
    }

    /// The value of an option that has a number.
    fn number<T: FromStr>(&self, option: char, what: &str, spec: &Spec) -> Result<Option<T>, String> {
        let Some(value) = self.value.as_ref().filter(|_| self.flag(option)) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| spec.wrong(&format!("{value:?} is not {what}")))
    }

    /// What `addWatch` is to leave.
    fn watch_mode(&self, spec: &Spec) -> Result<AddWatchMode, String> {
        match self.value.as_deref() {
            None | Some("PERSISTENT_RECURSIVE") => Ok(AddWatchMode::PersistentRecursive),
            Some("PERSISTENT") => Ok(AddWatchMode::Persistent),
            Some(mode) => Err(spec.wrong(&format!("{mode:?} is not a mode"))),
        }
    }

    /// What `removewatches` is to take away.
    fn watches(&self) -> WatcherType {
        match self.flags.last() {
            Some('c') => WatcherType::Children,
            Some('d') => WatcherType::Data,
            Some('p') => WatcherType::Persistent,
            Some('r') => WatcherType::PersistentRecursive,
            _ => WatcherType::Any,
        }
    }

    /// What `create` is to make.
    fn kind_of_znode(&self, spec: &Spec) -> Result<(CreateMode, CreateOp), String> {
        let (is_sequential, is_ephemeral) = (self.flag('s'), self.flag('e'));
        let ttl_ms: Option<i64> = self.number('t', "a time in milliseconds", spec)?;
        match (is_ephemeral, self.flag('c'), ttl_ms) {
            (false, false, None) if is_sequential => {
                Ok((CreateMode::PersistentSequential, CreateOp::Create2))
            }
            (false, false, None) => Ok((CreateMode::Persistent, CreateOp::Create2)),
            (true, false, None) if is_sequential => Ok((CreateMode::EphemeralSequential, CreateOp::Create2)),
            (true, false, None) => Ok((CreateMode::Ephemeral, CreateOp::Create2)),
            (false, true, None) if !is_sequential => Ok((CreateMode::Container, CreateOp::Container)),
            (false, false, Some(ttl_ms)) if is_sequential => {
                Ok((CreateMode::PersistentSequentialWithTtl, CreateOp::Ttl { ttl_ms }))
            }
            (false, false, Some(ttl_ms)) => Ok((CreateMode::PersistentWithTtl, CreateOp::Ttl { ttl_ms })),
            (false, true, None) => Err(spec.wrong("a container has no number in its name")),
            _ => Err(spec.wrong("only one of -e, -c and -t")),
        }
    }

    /// How `get` is to show what it finds.
    fn shown(&self) -> Shown {
        match (self.flag('b'), self.flag('x')) {
            (true, _) => Shown::Base64,
            (false, true) => Shown::Hexadecimal,
            (false, false) => Shown::Plain,
        }
    }

    /// The data of `set`.
    fn data(&mut self, spec: &Spec) -> Result<Vec<u8>, String> {
        let data = self.word();
        if !self.flag('b') {
            return Ok(data.into_bytes());
        }
        STANDARD.decode(&data).map_err(|error| spec.wrong(&format!("{data:?} is not base64: {error}")))
    }

    /// `on` or `off`.
    fn switch(&mut self, spec: &Spec) -> Result<Option<bool>, String> {
        match self.words.next().as_deref() {
            None => Ok(None),
            Some("on") => Ok(Some(true)),
            Some("off") => Ok(Some(false)),
            Some(other) => Err(spec.wrong(&format!("{other:?} is neither on nor off"))),
        }
    }

    /// The next word, or nothing where it may be left out.
    fn word(&mut self) -> String {
        self.words.next().unwrap_or_default()
    }

    fn path(&mut self) -> Result<String, String> {
        let path = self.word();
        if path.starts_with('/') {
            Ok(path)
        } else {
            Err(format!("Path must start with / character: {path}"))
        }
    }
}

/// What the words of a line ask for. `Err` tells a person what is wrong.
pub fn parse(words: &[String]) -> Result<Command, String> {
    let (name, rest) = words.split_first().ok_or("no command")?;
    let name = match name.as_str() {
        "exit" => "quit",
        name => name,
    };
    let spec = COMMANDS
        .iter()
        .find(|spec| spec.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("Command not found: {name} (help lists what there is)"))?;
    let mut parsed = Parsed::new(spec, rest)?;
    let (stat, watch) = (parsed.flag('s'), parsed.flag('w'));
    let version = parsed.number('v', "a version", spec)?;
    Ok(match spec.name {
        "addauth" => Command::AddAuth { scheme: parsed.word(), auth: parsed.word() },
        "addWatch" => Command::AddWatch { mode: parsed.watch_mode(spec)?, path: parsed.path()? },
        "close" => Command::Close,
        "config" => Command::Config { for_clients: parsed.flag('c'), stat, watch },
        "connect" => Command::Connect { servers: parsed.words.next() },
        "create" => {
            let (mode, op) = parsed.kind_of_znode(spec)?;
            let (path, data) = (parsed.path()?, parsed.word());
            let acl = parsed.words.next().map_or(Ok(Acl::open()), |text| parse_acl(&text))?;
            Command::Create { path, data, acl, mode, op }
        }
        "delete" => Command::Delete { path: parsed.path()?, version },
        "deleteall" => {
            let at_a_time: Option<NonZeroUsize> = parsed.number('b', "a number above 0", spec)?;
            Command::DeleteAll { path: parsed.path()?, at_a_time: at_a_time.map(NonZeroUsize::get) }
        }
        "get" => Command::Get { shown: parsed.shown(), path: parsed.path()?, stat, watch },
        "getAcl" => Command::GetAcl { path: parsed.path()?, stat },
        "getAllChildrenNumber" => Command::GetAllChildrenNumber { path: parsed.path()? },
        "getEphemerals" => {
            let path = if parsed.words.len() == 0 { "/".to_owned() } else { parsed.path()? };
            Command::GetEphemerals { path }
        }
        "help" => Command::Help { command: parsed.words.next() },
        "history" => Command::History,
        "ls" => Command::Ls { path: parsed.path()?, stat, watch, recursive: parsed.flag('R') },
        "printwatches" => Command::PrintWatches { on: parsed.switch(spec)? },
        "quit" => Command::Quit,
        "redo" => {
            let number = parsed.word();
            let wrong = |_| spec.wrong(&format!("{number:?} is not a number of a command"));
            Command::Redo { number: number.parse().map_err(wrong)? }
        }
        "removewatches" => Command::RemoveWatches { watches: parsed.watches(), path: parsed.path()? },
        "set" => Command::Set { path: parsed.path()?, data: parsed.data(spec)?, version, stat },
        "setAcl" => {
            let recursive = parsed.flag('R');
            let (path, acl) = (parsed.path()?, parse_acl(&parsed.word())?);
            Command::SetAcl { path, acl, version, stat, recursive }
        }
        "stat" => Command::Stat { path: parsed.path()?, watch },
        "sync" => Command::Sync { path: parsed.path()? },
        "version" => Command::Version,
        "whoami" => Command::WhoAmI,
        name => unreachable!("{name} is in the table"),
    })
}

/// What there is, or how to use `command`.
pub fn help(command: Option<&str>) -> Result<String, String> {
    let about = |spec: &Spec| format!("{:<42} {}\n", format!("{} {}", spec.name, spec.usage), spec.about);
    match command {
        None => Ok(COMMANDS.iter().map(about).collect()),
        Some(name) => COMMANDS
            .iter()
            .find(|spec| spec.name.eq_ignore_ascii_case(name))
            .map(about)
            .ok_or_else(|| format!("Command not found: {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::shell::words;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(&words::split(line).unwrap())
    }

    #[test]
    fn options_may_stand_before_and_behind_the_other_words() {
        let expected = Command::Set { path: "/a".into(), data: b"b c".into(), version: Some(-1), stat: true };
        assert_eq!(parsed("set -s -v -1 /a 'b c'"), Ok(expected.clone()));
        assert_eq!(parsed("set /a 'b c' -v -1 -s"), Ok(expected));
        let dashes = Command::Set { path: "/a".into(), data: b"-s".into(), version: None, stat: false };
        assert_eq!(parsed("set -- /a -s"), Ok(dashes));
    }

    #[test]
    fn a_create_has_a_mode_data_and_a_list() {
        let Ok(Command::Create { path, data, acl, mode, .. }) = parsed("create -s -e /a") else { panic!() };
        assert_eq!((path.as_str(), data.as_str(), acl), ("/a", "", Acl::open()));
        assert_eq!(mode, CreateMode::EphemeralSequential);
        let Ok(Command::Create { mode, op, .. }) = parsed("create -t 5000000000 -s /a") else { panic!() };
        assert_eq!(mode, CreateMode::PersistentSequentialWithTtl);
        assert_eq!(op, CreateOp::Ttl { ttl_ms: 5_000_000_000 });
        let Ok(Command::Create { acl, .. }) = parsed("create /a x world:anyone:r") else { panic!() };
        assert_eq!(acl[0].perms, 1);
    }

    fn sample_words(command: &str) -> [&'static str; 2] {
        if command == "redo" { ["0", ""] } else { ["/a", "world:anyone:r"] }
    }

    #[test]
    fn data_can_be_given_and_shown_as_text() {
        let expected = Command::Set { path: "/a".into(), data: vec![0, 255], version: None, stat: false };
        assert_eq!(parsed("set -b /a AP8="), Ok(expected));
        let Ok(Command::Get { shown, .. }) = parsed("get -x /a") else { panic!() };
        assert_eq!(shown, Shown::Hexadecimal);
        let Ok(Command::Get { shown, .. }) = parsed("get -b /a") else { panic!() };
        assert_eq!(shown, Shown::Base64);
    }

    #[test]
    fn every_command_of_the_table_can_be_parsed_and_has_help() {
        for spec in COMMANDS {
            let words = std::iter::once(spec.name)
                .chain(sample_words(spec.name).into_iter().take(spec.words.0))
                .map(str::to_owned)
                .collect::<Vec<_>>();
            assert!(parse(&words).is_ok(), "{words:?}");
            assert!(help(Some(spec.name)).unwrap().contains(spec.about));
        }
        assert_eq!(parsed("exit"), Ok(Command::Quit));
    }

    #[test]
    fn what_cannot_be_understood_is_answered_with_the_usage() {
        assert!(parsed("get").unwrap_err().contains("usage: get [-s] [-w] [-b] [-x] path"));
        assert!(parsed("get /a /b").unwrap_err().contains("\"/b\" is too much"));
        assert!(parsed("get -y /a").unwrap_err().contains("unknown option -y"));
        assert!(parsed("set -v x /a b").unwrap_err().contains("not a version"));
        assert!(parsed("addWatch -m ONCE /a").unwrap_err().contains("not a mode"));
        assert!(parsed("set -v 5000000000 /a b").unwrap_err().contains("not a version"));
        assert!(parsed("create -e -t 5 /a").unwrap_err().contains("only one of"));
        assert!(parsed("set -b /a =").unwrap_err().contains("not base64"));
        assert!(parsed("deleteall -b 0 /a").unwrap_err().contains("not a number above 0"));
        assert!(parsed("printwatches maybe").unwrap_err().contains("neither on nor off"));
        assert!(parsed("redo first").unwrap_err().contains("not a number of a command"));
        assert!(parsed("create -s -c /a").unwrap_err().contains("no number"));
        assert!(parsed("set /a b -v").unwrap_err().contains("needs a value"));
        assert!(parsed("get a").unwrap_err().contains("Path must start with /"));
        assert!(parsed("dance").unwrap_err().contains("Command not found: dance"));
    }
}
