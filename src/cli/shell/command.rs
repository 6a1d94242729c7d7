//! The commands: what each is called, what it takes, and what the words of a line ask for.

use std::num::NonZeroUsize;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ids::Zxid;
use crate::jute::{Acl, AddWatchMode, CreateMode, CreateOp, WatcherType};

use super::format::parse_acl;
use super::quota::Kind;

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
        "delquota",
        ("nbNB", ""),
        (1, 1),
        "[-n|-b|-N|-B] path",
        "take a limit of a quota away, or the whole quota",
    ),
    Spec::new(
        "get",
        ("swbx", ""),
        (1, 2),
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
        ("swR?", ""),
        (1, 2),
        "[-s] [-w] [-R] [-?] path",
        "show the children; -R all descendants, -s the Stat too, -w leave a watch, -? this",
    ),
    Spec::new("listquota", ("", ""), (1, 1), "path", "show a quota, and how much there is below the znode"),
    Spec::new("printwatches", ("", ""), (0, 1), "[on|off]", "whether events are shown"),
    Spec::new("quit", ("", ""), (0, 0), "", "close the session and leave"),
    Spec::new(
        "reconfig",
        ("s", "vfmar"),
        (0, 0),
        "[-s] [-v version] [-file path | -members servers | -add servers -remove ids]",
        "change the servers of the ensemble: server.N=host:port:port[:role];port with commas between them, or a file of \
         such lines; -v the version they must have, -s show the Stat",
    ),
    Spec::new("redo", ("", ""), (1, 1), "number", "carry out a command of the history again"),
    Spec::new(
        "removewatches",
        ("cdpral", ""),
        (1, 1),
        "path [-c|-d|-p|-r|-a] [-l]",
        "take watches away: -c on children, -d on data, -p persistent, -r recursive ones, -a or nothing for all; -l here \
         alone if no server answers",
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
    Spec::new(
        "setquota",
        ("", "nbNB"),
        (1, 1),
        "-n|-b|-N|-B limit path",
        "limit what is below a znode: -n znodes, -b bytes of data; -N and -B are refused beyond (enforceQuota)",
    ),
    Spec::new("stat", ("w", ""), (1, 2), "[-w] path", "show the Stat; -w leave a watch"),
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
    DelQuota { path: String, kind: Option<Kind> },
    GetAcl { path: String, stat: bool },
    GetAllChildrenNumber { path: String },
    GetEphemerals { path: String },
    Help { command: Option<String> },
    History,
    Ls { path: String, stat: bool, watch: bool, recursive: bool, help: bool },
    ListQuota { path: String },
    PrintWatches { on: Option<bool> },
    Quit,
    Reconfig { change: ServerChange, version: Option<Zxid>, stat: bool },
    Redo { number: usize },
    RemoveWatches { path: String, watches: WatcherType, without_server: bool },
    Set { path: String, data: Vec<u8>, version: Option<i32>, stat: bool },
    SetAcl { path: String, acl: Vec<Acl>, version: Option<i32>, stat: bool, recursive: bool },
    SetQuota { path: String, kind: Kind, limit: i64 },
    Stat { path: String, watch: bool },
    Sync { path: String },
    Version,
    WhoAmI,
}

/// How the servers of the ensemble are to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerChange {
    /// These come, and those go; one of the two may be nothing
    Some { joining: Option<String>, leaving: Option<String> },
    /// These are all
    All { members: String },
    /// All are in a file
    File { path: String },
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
    /// the options that have a value
    values: Vec<(char, String)>,
    words: std::vec::IntoIter<String>,
}

impl Parsed {
    /// Options may stand anywhere; what follows `--` is none.
    fn new(spec: &Spec, words: &[String]) -> Result<Parsed, String> {
        let mut parsed = Parsed { flags: Vec::new(), values: Vec::new(), words: Vec::new().into_iter() };
        let mut others = Vec::new();
        let mut left = words.iter();
        while let Some(word) = left.next() {
            match word.strip_prefix('-') {
                Some("-") => {
                    others.extend(left.by_ref().cloned());
                    break;
                }
                Some(option) if !option.is_empty() => parsed.take_option(spec, option, &mut left)?,
                _ => others.push(word.clone()),
            }
        }
        let shows_help = parsed.flag('?') && others.is_empty();
        if others.len() < spec.words.0 && !shows_help {
            return Err(spec.wrong("something is missing"));
        }
        if others.len() > spec.words.1 {
            return Err(spec.wrong(&format!("{:?} is too much", others[spec.words.1])));
        }
        parsed.words = others.into_iter();
        Ok(parsed)
    }

    /// Takes what stands behind a dash: an option, or several letters, of which the last may have its value in the same
    /// word or in the next of `left`.
    fn take_option(
        &mut self,
        spec: &Spec,
        option: &str,
        left: &mut std::slice::Iter<'_, String>,
    ) -> Result<(), String> {
        // zkCli has these as words, and in no other command.
        let letters = match option {
            "add" if spec.valued.contains('a') => "a",
            "remove" if spec.valued.contains('r') => "r",
            "members" if spec.valued.contains('m') => "m",
            "file" if spec.valued.contains('f') => "f",
            option => option,
        };
        for (at, letter) in letters.char_indices() {
            if spec.valued.contains(letter) {
                let same = &letters[at + letter.len_utf8()..];
                let value = match same.strip_prefix('=').unwrap_or(same) {
                    "" => left.next().ok_or_else(|| spec.wrong(&format!("-{option} needs a value")))?.clone(),
                    value => value.to_owned(),
                };
                self.values.push((letter, value));
                self.flags.push(letter);
                return Ok(());
            }
            if !spec.flags.contains(letter) {
                return Err(spec.wrong(&format!("unknown option -{option} (data may follow --)")));
            }
            self.flags.push(letter);
        }
        Ok(())
    }

    /// Whether a watch is to be left: by the option, or by a word behind the path, as old scripts have it.
    fn watch(&mut self) -> bool {
        self.flag('w') | self.words.next().is_some()
    }

    fn flag(&self, letter: char) -> bool {
        self.flags.contains(&letter)
    }

    /// The value of an option: the last, if it was given more often.
    fn value(&self, option: char) -> Option<&str> {
        self.values.iter().rfind(|(letter, _)| *letter == option).map(|(_, value)| value.as_str())
    }

    /// The value of an option that has a number.
    fn number<T: FromStr>(&self, option: char, what: &str, spec: &Spec) -> Result<Option<T>, String> {
        let Some(value) = self.value(option) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| spec.wrong(&format!("{value:?} is not {what}")))
    }

    /// What `addWatch` is to leave.
    fn watch_mode(&self, spec: &Spec) -> Result<AddWatchMode, String> {
        match self.value('m') {
            None | Some("PERSISTENT_RECURSIVE") => Ok(AddWatchMode::PersistentRecursive),
            Some("PERSISTENT") => Ok(AddWatchMode::Persistent),
            Some(mode) => Err(spec.wrong(&format!("{mode:?} is not a mode"))),
        }
    }

    /// What `removewatches` is to take away: as in zkCli the first of these, whatever else is given.
    fn watches(&self) -> WatcherType {
        let kinds = [
            ('c', WatcherType::Children),
            ('d', WatcherType::Data),
            ('p', WatcherType::Persistent),
            ('r', WatcherType::PersistentRecursive),
        ];
        kinds.into_iter().find(|(flag, _)| self.flag(*flag)).map_or(WatcherType::Any, |(_, watches)| watches)
    }

    /// A whole `ls`; without a path, which only `-?` allows, its help.
    fn ls(&mut self) -> Result<Command, String> {
        if self.words.len() == 0 {
            return Ok(Command::Help { command: Some("ls".to_owned()) });
        }
        let (stat, recursive, help) = (self.flag('s'), self.flag('R'), self.flag('?'));
        Ok(Command::Ls { path: self.path()?, stat, watch: self.watch(), recursive, help })
    }

    /// A whole `removewatches`.
    fn remove_watches(&mut self) -> Result<Command, String> {
        let (watches, without_server) = (self.watches(), self.flag('l'));
        Ok(Command::RemoveWatches { watches, path: self.path()?, without_server })
    }

    /// Which limit of a quota is meant, if one is.
    fn quota_kind(&self, spec: &Spec) -> Result<Option<Kind>, String> {
        match self.flags[..] {
            [] => Ok(None),
            [option] => Ok(Kind::of(option)),
            _ => Err(spec.wrong("only one of -n, -b, -N and -B")),
        }
    }

    /// What `setquota` is to set.
    fn quota_limit(&self, spec: &Spec) -> Result<(Kind, i64), String> {
        let kind = self.quota_kind(spec)?.ok_or_else(|| spec.wrong("one of -n, -b, -N and -B is missing"))?;
        let text = self.values.last().map(|(_, value)| value.as_str()).unwrap_or_default();
        match text.parse() {
            Ok(limit) if limit >= kind.least() => Ok((kind, limit)),
            _ => Err(spec.wrong(&format!("{text:?} is not a number from {} on", kind.least()))),
        }
    }

    /// A whole `reconfig`: its version is no number like others.
    fn reconfig(&self, spec: &Spec) -> Result<Command, String> {
        let (change, version) = (self.server_change(spec)?, self.servers_version(spec)?);
        Ok(Command::Reconfig { change, version, stat: self.flag('s') })
    }

    /// What `reconfig` is to do. As in zkCli, letters become small ones.
    fn server_change(&self, spec: &Spec) -> Result<ServerChange, String> {
        let text = |option| self.value(option).map(str::to_lowercase);
        let path = self.value('f').map(str::to_owned);
        match (text('a'), text('r'), text('m'), path) {
            (None, None, None, None) => Err(spec.wrong("what is to change is missing")),
            (joining, leaving, None, None) => Ok(ServerChange::Some { joining, leaving }),
            (None, None, Some(members), None) => Ok(ServerChange::All { members }),
            (None, None, None, Some(path)) => Ok(ServerChange::File { path }),
            (None, None, ..) => Err(spec.wrong("only one of -file and -members")),
            _ => Err(spec.wrong("-file and -members say who is there, so there is no -add and -remove")),
        }
    }

    /// The version of the servers, in hexadecimal digits.
    fn servers_version(&self, spec: &Spec) -> Result<Option<Zxid>, String> {
        let Some(text) = self.value('v') else { return Ok(None) };
        let version = u64::from_str_radix(text, 16).map(Zxid);
        version.map(Some).map_err(|_| spec.wrong(&format!("{text:?} is not a version in hexadecimal digits")))
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
    let stat = parsed.flag('s');
    if spec.name == "reconfig" {
        return parsed.reconfig(spec);
    }
    let version = parsed.number('v', "a version", spec)?;
    Ok(match spec.name {
        "addauth" => Command::AddAuth { scheme: parsed.word(), auth: parsed.word() },
        "addWatch" => Command::AddWatch { mode: parsed.watch_mode(spec)?, path: parsed.path()? },
        "close" => Command::Close,
        "config" => Command::Config { for_clients: parsed.flag('c'), stat, watch: parsed.flag('w') },
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
        "get" => Command::Get { shown: parsed.shown(), path: parsed.path()?, stat, watch: parsed.watch() },
        "delquota" => Command::DelQuota { kind: parsed.quota_kind(spec)?, path: parsed.path()? },
        "getAcl" => Command::GetAcl { path: parsed.path()?, stat },
        "getAllChildrenNumber" => Command::GetAllChildrenNumber { path: parsed.path()? },
        "getEphemerals" => {
            let path = if parsed.words.len() == 0 { "/".to_owned() } else { parsed.path()? };
            Command::GetEphemerals { path }
        }
        "help" => Command::Help { command: parsed.words.next() },
        "history" => Command::History,
        "ls" => parsed.ls()?,
        "printwatches" => Command::PrintWatches { on: parsed.switch(spec)? },
        "listquota" => Command::ListQuota { path: parsed.path()? },
        "quit" => Command::Quit,
        "redo" => {
            let number = parsed.word();
            let wrong = |_| spec.wrong(&format!("{number:?} is not a number of a command"));
            Command::Redo { number: number.parse().map_err(wrong)? }
        }
        "removewatches" => parsed.remove_watches()?,
        "set" => Command::Set { path: parsed.path()?, data: parsed.data(spec)?, version, stat },
        "setAcl" => {
            let recursive = parsed.flag('R');
            let (path, acl) = (parsed.path()?, parse_acl(&parsed.word())?);
            Command::SetAcl { path, acl, version, stat, recursive }
        }
        "setquota" => {
            let (kind, limit) = parsed.quota_limit(spec)?;
            Command::SetQuota { path: parsed.path()?, kind, limit }
        }
        "stat" => Command::Stat { path: parsed.path()?, watch: parsed.watch() },
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
    fn letters_may_share_a_dash_and_the_last_may_have_its_value_there() {
        let create = |line: &str| match parsed(line) {
            Ok(Command::Create { mode, op, .. }) => (mode, op),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(create("create -se /a"), (CreateMode::EphemeralSequential, CreateOp::Create2));
        let with_ttl = (CreateMode::PersistentSequentialWithTtl, CreateOp::Ttl { ttl_ms: 5 });
        for line in ["create -st5 /a", "create -st=5 /a", "create -st 5 /a"] {
            assert_eq!(create(line), with_ttl, "{line}");
        }
        let expected = Command::Get { path: "/a".into(), stat: true, watch: false, shown: Shown::Base64 };
        assert_eq!(parsed("get -bs /a"), Ok(expected));
        let set = Command::Set { path: "/a".into(), data: b"x".into(), version: Some(-1), stat: true };
        assert_eq!(parsed("set -sv-1 /a x"), Ok(set));
        assert!(parsed("create -sx /a").unwrap_err().starts_with("unknown option -sx"));
        assert!(parsed("set -sv").unwrap_err().starts_with("-sv needs a value"));
    }

    #[test]
    fn ls_has_help_and_reads_take_a_word_for_a_watch() {
        assert_eq!(parsed("ls -?"), Ok(Command::Help { command: Some("ls".into()) }));
        let Ok(Command::Ls { help, watch, .. }) = parsed("ls -? /a") else { panic!() };
        assert!(help && !watch);
        for line in ["ls /a watch", "get /a true", "stat /a 1"] {
            let watch = match parsed(line) {
                Ok(Command::Ls { watch, .. } | Command::Get { watch, .. } | Command::Stat { watch, .. }) => {
                    watch
                }
                other => panic!("{line}: {other:?}"),
            };
            assert!(watch, "{line}");
        }
        assert!(parsed("ls").unwrap_err().contains("something is missing"));
    }

    #[test]
    fn servers_change_one_by_one_or_all_at_once() {
        let reconfig = |line: &str| match parsed(&format!("reconfig {line}")) {
            Ok(Command::Reconfig { change, version, stat }) => Ok((change, version.map(|it| it.0), stat)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        let some = |joining: Option<&str>, leaving: Option<&str>| ServerChange::Some {
            joining: joining.map(str::to_owned),
            leaving: leaving.map(str::to_owned),
        };
        let line = "server.4=d:1:2;3";
        assert_eq!(
            reconfig("-s -v 10000000a -add server.4=D:1:2;3 -remove 1,2"),
            Ok((some(Some(line), Some("1,2")), Some(0x1_0000_000a), true))
        );
        assert_eq!(reconfig("-remove 3"), Ok((some(None, Some("3")), None, false)));
        assert_eq!(reconfig("-members x"), Ok((ServerChange::All { members: "x".into() }, None, false)));
        assert_eq!(reconfig("-file X"), Ok((ServerChange::File { path: "X".into() }, None, false)));
        for (line, expected) in [
            ("", "what is to change is missing"),
            ("-file a -members b", "only one of -file and -members"),
            ("-add a -members b", "-file and -members say who is there"),
            ("-add", "-add needs a value"),
            ("-v x -add a", "\"x\" is not a version in hexadecimal digits"),
            ("-add a b", "\"b\" is too much"),
        ] {
            let error = reconfig(line).unwrap_err();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
        assert!(parsed("ls -remove /a").is_err());
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
            let needed: &[&str] = match spec.name {
                "setquota" => &["-n", "1"],
                "reconfig" => &["-remove", "1"],
                _ => &[],
            };
            let words = std::iter::once(spec.name)
                .chain(needed.iter().copied())
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
        assert!(parsed("get /a /b c").unwrap_err().contains("\"c\" is too much"));
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
        assert!(parsed("setquota /a").unwrap_err().contains("is missing"));
        assert!(parsed("setquota -n 0 /a").unwrap_err().contains("from 1 on"));
        assert!(parsed("setquota -B -1 /a").unwrap_err().contains("from 0 on"));
        assert!(parsed("setquota -n 1 -b 1 /a").unwrap_err().contains("only one of"));
        assert!(parsed("delquota -n -b /a").unwrap_err().contains("only one of"));
        assert!(parsed("set /a b -v").unwrap_err().contains("needs a value"));
        assert!(parsed("get a").unwrap_err().contains("Path must start with /"));
        assert!(parsed("dance").unwrap_err().contains("Command not found: dance"));
    }
}
