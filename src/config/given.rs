//! The entries of a file, sorted into what we use, what we only know, and what nobody knows; and the values read from
//! them, each checked. Every problem is collected, so that one attempt shows all of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use super::groups::{Group, Weight};
use super::known_keys::{self, Meaning};
use super::nearest::nearest;
use super::report::{ConfigError, Notice, Place, Problem, Severity};
use super::settings::Settings;
use super::{Loaded, ReadText};
use crate::ids::ServerId;
use crate::membership::ServerAddr;
use crate::membership::properties::{self, Entry, EscapeError};

/// A text from the file, and its line.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub text: String,
    pub line: u32,
}

/// What a file gave.
pub(super) struct Given {
    name: String,
    strict: bool,
    values: BTreeMap<&'static str, Value>,
    servers: BTreeMap<ServerId, (ServerAddr, u32)>,
    /// Keys of which only the beginning is known.
    families: BTreeMap<String, Value>,
    groups: Vec<Group>,
    weights: BTreeMap<ServerId, Weight>,
    /// Where the servers, groups and weights stand, if it is another file.
    servers_file: Option<String>,
    problems: Vec<Problem>,
    notices: Vec<Notice>,
}

impl Given {
    pub fn sort(name: &str, entries: Vec<Entry>, strict: bool) -> Given {
        let mut given = Given {
            name: name.to_string(),
            strict,
            values: BTreeMap::new(),
            servers: BTreeMap::new(),
            families: BTreeMap::new(),
            groups: Vec::new(),
            weights: BTreeMap::new(),
            servers_file: None,
            problems: Vec::new(),
            notices: Vec::new(),
        };
        for entry in entries {
            given.add(entry);
        }
        given
    }

    /// Takes the servers from the file that `dynamicConfigFile` names, if it is there.
    pub fn read_servers(&mut self, read_text: ReadText<'_>) {
        let key = "dynamicConfigFile";
        let Some(file) = self.value(key) else { return };
        for (server, line) in self.servers() {
            let text = format!("server.{}: expected it in {}, as {key} says", server.id, file.text);
            self.problem(Some(line), text);
        }
        let entries = match read_text(Path::new(&file.text)).map(|text| properties::parse(&text)) {
            Ok(Ok(entries)) => entries,
            Ok(Err(EscapeError { line, text })) => {
                return self.problem_at(Place { file: file.text, line: Some(line) }, text);
            }
            Err(error) => return self.unexpected(key, &format!("it cannot be read: {error}")),
        };
        self.servers_file = Some(file.text);
        for entry in entries {
            // What a shell prints of a membership ends with its version. Which one is in force, the ensemble knows.
            if entry.key != "version" && !self.add_member(&entry) {
                let text = format!("{}: expected server.N, group.N, weight.N and version alone", entry.key);
                self.problem_of_servers(Some(entry.line), text);
            }
        }
    }

    /// Takes a line about the members of the ensemble. False: it is about something else.
    fn add_member(&mut self, entry: &Entry) -> bool {
        let line = Some(entry.line);
        if let Some(id) = entry.key.strip_prefix("server.") {
            self.add_server(id, entry);
        } else if let Some(number) = entry.key.strip_prefix("group.") {
            match Group::read(number, entry) {
                Ok(group) => self.groups.push(group),
                Err(text) => self.problem_of_servers(line, text),
            }
        } else if let Some(id) = entry.key.strip_prefix("weight.") {
            match Weight::read(id, entry) {
                Ok((id, weight)) => {
                    self.weights.insert(id, weight);
                }
                Err(text) => self.problem_of_servers(line, text),
            }
        } else {
            return false;
        }
        true
    }

    fn add(&mut self, entry: Entry) {
        if self.add_member(&entry) {
            return;
        }
        if let Some(key) = known_keys::used(&entry.key) {
            return self.add_value(key, entry);
        }
        if let Some(key) = known_keys::of_used_family(&entry.key) {
            self.families.insert(key.to_owned(), Value { text: entry.value, line: entry.line });
            return;
        }
        let Entry { key, value, line } = entry;
        match known_keys::known(&key) {
            Some(Meaning::None(reason)) => {
                self.notice(Severity::Info, Some(line), format!("{key} has no meaning here: {reason}"));
            }
            Some(Meaning::NotYet(reason)) => {
                let text = format!("{key} is not supported yet, and passed over: {reason}");
                self.notice(Severity::Warning, Some(line), text);
            }
            Some(Meaning::Refused(reason)) => {
                self.problem(Some(line), format!("{key}={value} is not supported yet: {reason}"));
            }
            None => self.add_unknown(&key, line),
        }
    }

    fn add_value(&mut self, key: &'static str, entry: Entry) {
        if let Some(earlier) = self.values.get(key) {
            let text = format!("{key} was given on line {} already: this line counts", earlier.line);
            self.notice(Severity::Warning, Some(entry.line), text);
        }
        self.values.insert(key, Value { text: entry.value, line: entry.line });
    }

    fn add_unknown(&mut self, key: &str, line: u32) {
        if key.is_empty() {
            return self.problem(Some(line), "a value without a key: expected key=value".to_string());
        }
        let plain = key.strip_prefix("zookeeper.").unwrap_or(key);
        let hint = match nearest(plain, known_keys::names()) {
            Some(candidate) => format!(": did you mean {candidate}?"),
            None => " and passed over".to_string(),
        };
        // A mistyped file can put anything here.
        let shown: String = key.chars().take(80).flat_map(char::escape_debug).collect();
        let text = format!("{shown} is not a known key{hint}");
        if self.strict {
            self.problem(Some(line), text);
        } else {
            self.notice(Severity::Warning, Some(line), text);
        }
    }

    fn add_server(&mut self, id: &str, entry: &Entry) {
        let Ok(id) = id.parse::<u8>().map(ServerId) else {
            let text = format!("{}: expected server.N with N from 0 to 255", entry.key);
            return self.problem_of_servers(Some(entry.line), text);
        };
        if let Some((_, line)) = self.servers.get(&id) {
            let text = format!("{}: server {id} is on line {line} already: every id stands once", entry.key);
            return self.problem_of_servers(Some(entry.line), text);
        }
        match ServerAddr::parse(id, &entry.value) {
            Ok(server) => {
                self.servers.insert(id, (server, entry.line));
            }
            Err(text) => {
                self.problem_of_servers(Some(entry.line), format!("{}={}: {text}", entry.key, entry.value));
            }
        }
    }

    pub fn has(&self, key: &'static str) -> bool {
        self.values.contains_key(key)
    }

    /// The line on which `key` stands.
    pub fn line(&self, key: &'static str) -> Option<u32> {
        self.values.get(key).map(|value| value.line)
    }

    /// All keys with a place of their own in the settings, each with its line.
    pub fn lines(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.values.iter().map(|(key, value)| (*key, value.line))
    }

    pub fn value(&self, key: &'static str) -> Option<Value> {
        self.values.get(key).cloned()
    }

    /// The keys that begin with `prefix`, which ends with a dot, ordered by name.
    pub fn family(&self, prefix: &str) -> Vec<(String, Value)> {
        let of_family = self.families.iter().filter(|(key, _)| key.starts_with(prefix));
        of_family.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The server list, ordered by id, each with its line.
    pub fn servers(&self) -> Vec<(ServerAddr, u32)> {
        self.servers.values().cloned().collect()
    }

    /// The groups, in the order of their lines.
    pub fn groups(&self) -> Vec<Group> {
        self.groups.clone()
    }

    /// The weights that were given.
    pub fn weights(&self) -> BTreeMap<ServerId, Weight> {
        self.weights.clone()
    }

    /// Puts a whole number, decimal or `0x...`, into `slot`, which keeps its default if the key is not there.
    pub fn number<T: TryFrom<u64>>(
        &mut self,
        slot: &mut T,
        key: &'static str,
        unit: &str,
        range: RangeInclusive<u64>,
    ) {
        let Some(value) = self.value(key) else { return };
        let number = whole_number(&value.text).filter(|number| range.contains(number));
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => *slot = number,
            None => {
                let (least, most) = (range.start(), range.end());
                self.unexpected(key, &format!("expected a whole number of {unit} from {least} to {most}"));
            }
        }
    }

    /// Puts a yes or no into `slot`.
    pub fn boolean(&mut self, slot: &mut bool, key: &'static str) {
        let Some(value) = self.value(key) else { return };
        match value.text.to_ascii_lowercase().as_str() {
            "true" | "yes" => *slot = true,
            "false" | "no" => *slot = false,
            _ => self.unexpected(key, "expected true, false, yes or no"),
        }
    }

    /// A problem with the value of `key`.
    pub fn unexpected(&mut self, key: &'static str, expected: &str) {
        if let Some(Value { text, line }) = self.value(key) {
            self.problem(Some(line), format!("{key}={text}: {expected}"));
        }
    }

    pub fn problem(&mut self, line: Option<u32>, text: String) {
        let place = self.place(line);
        self.problem_at(place, text);
    }

    /// A problem with a line about the members of the ensemble.
    pub fn problem_of_servers(&mut self, line: Option<u32>, text: String) {
        self.problem_at(self.place_of_servers(line), text);
    }

    /// A place in the file with the members of the ensemble.
    pub fn place_of_servers(&self, line: Option<u32>) -> Place {
        Place { file: self.servers_file().to_string(), line }
    }

    /// The name that messages give to the file with the members of the ensemble.
    pub fn servers_file(&self) -> &str {
        self.servers_file.as_ref().unwrap_or(&self.name)
    }

    /// True if the servers stand in a file of their own, which reconfigurations write. What one has settled is no problem
    /// at a start: the server could not come back.
    pub fn has_servers_file(&self) -> bool {
        self.servers_file.is_some()
    }

    /// What the lines of the servers lack or have too much of: a problem, unless a reconfiguration may have written them.
    pub fn doubt_of_servers(&mut self, place: Place, text: String) {
        match self.has_servers_file() {
            true => self.notices.push(Notice { severity: Severity::Warning, place, text }),
            false => self.problem_at(place, text),
        }
    }

    /// A problem in another place than this file.
    pub fn problem_at(&mut self, place: Place, text: String) {
        self.problems.push(Problem { place, text });
    }

    pub fn notice(&mut self, severity: Severity, line: Option<u32>, text: String) {
        let place = self.place(line);
        self.notices.push(Notice { severity, place, text });
    }

    /// A place in the file.
    pub fn place(&self, line: Option<u32>) -> Place {
        Place { file: self.name.clone(), line }
    }

    /// The settings if nothing is wrong with the file. Remarks come in the order of the lines, those about the file as
    /// a whole last.
    pub fn finish(mut self, settings: Settings) -> Result<Loaded, ConfigError> {
        let order = |place: &Place| (place.file != self.name, place.line.unwrap_or(u32::MAX));
        self.problems.sort_by_key(|problem| order(&problem.place));
        self.notices.sort_by_key(|notice| order(&notice.place));
        if self.problems.is_empty() {
            Ok(Loaded { settings, notices: self.notices })
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }
}

/// A decimal number, or a hexadecimal one after `0x`.
pub(super) fn whole_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
