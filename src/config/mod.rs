//! What a server is told at its start: a `zoo.cfg` as ZooKeeper's users have it, or the same keys as TOML, read into
//! [`Settings`].
//!
//! | step | file | in -> out |
//! |---|---|---|
//! | read | `files` | path -> text; the only place that opens files |
//! | split | `membership::properties`, `toml_file` | text -> key, value, line |
//! | sort | `given` | entries -> keys we use, keys we only know, keys nobody knows |
//! | members | `given` | the file that `dynamicConfigFile` names -> its lines in place of those of this one |
//! | build | `build`, `tls` | values -> [`Settings`], every value checked against its range |
//! | authentication | `auth`, `jaas` | its keys, and the file with users that one of them names |
//! | group | `groups` | `group.N`, `weight.N` -> what each participant counts for |
//! | cross-check | `check` | server list, ports, `myid` and limits against one another |
//!
//! Everything that is wrong is reported at once, each with file, line and what was expected; what is merely odd
//! becomes a [`Notice`] for the log. Nothing is created or changed on disk, but for the members of the ensemble, which a
//! reconfiguration changes: `dynamic` writes them down.

mod audit;
mod auth;
mod build;
mod check;
mod conf_word;
mod dynamic;
mod files;
mod given;
mod groups;
mod jaas;
mod known_keys;
mod nearest;
mod report;
mod secret;
mod settings;
mod throttle;
mod tls;
mod toml_file;

use std::path::Path;

pub use audit::AuditSettings;
pub use auth::{AuthSettings, DigestAlg, QuorumAuth};
pub use dynamic::write_membership;
pub use report::{ConfigError, Notice, Place, Problem, Severity};
pub use secret::Secret;
pub use settings::{FourLetterWords, Settings};
pub use throttle::{RequestThrottle, ThrottleSettings};
pub use tls::{ClientAuth, PasswordSource, StoreFile, StoreKind, TlsSettings, TlsVersions};

use crate::membership::properties;

/// Settings that can be used, and what the log should say about the file they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Checked, and complete: what the file left out has its default.
    pub settings: Settings,
    /// In the order of the file's lines; each is one line of the log.
    pub notices: Vec<Notice>,
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `key=value` lines, by the rules of `java.util.Properties`: zoo.cfg.
    Properties,
    /// TOML with the same keys; `server.1` and `[server]` tables are the same thing.
    Toml,
}

impl Format {
    /// TOML for names that end in `.toml`, properties for everything else.
    pub fn of(path: &Path) -> Format {
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("toml") => Format::Toml,
            _ => Format::Properties,
        }
    }
}

/// A text to be parsed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What messages call the text: normally its path as the user wrote it.
    pub name: &'a str,
    /// The whole content.
    pub text: &'a str,
    /// How the content is written.
    pub format: Format,
    /// The server's own id, if given on the command line: it outranks the `myid` file.
    pub myid: Option<u8>,
    /// Keys that nobody knows are errors, not warnings.
    pub strict: bool,
}

/// Reads the file at `path` and the `myid` file in the data directory it names. Relative directories are made absolute
/// against the current one.
pub fn load(path: &Path, myid: Option<u8>, strict: bool) -> Result<Loaded, ConfigError> {
    let name = path.display().to_string();
    let text = files::read_text(path).map_err(|error| ConfigError::unreadable(&name, &error))?;
    let source = Source { name: &name, text: &text, format: Format::of(path), myid, strict };
    let mut loaded = parse_with(&source, &files::read_myid, &files::read_text)?;
    if source.format == Format::Properties {
        loaded.settings.config_file = Some(path.to_path_buf());
    }
    files::make_absolute(&mut loaded.settings);
    Ok(loaded)
}

/// Parses a text without touching the disk: the server's id is `source.myid`, as if there were no `myid` file, and no
/// other file can be read.
pub fn parse_text(source: &Source<'_>) -> Result<Loaded, ConfigError> {
    parse_text_with(source, "")
}

/// The same; whatever other file the text names has the content `other`.
pub fn parse_text_with(source: &Source<'_>, other: &str) -> Result<Loaded, ConfigError> {
    let read_text = |_: &Path| match other {
        "" => Err(std::io::ErrorKind::NotFound.into()),
        other => Ok(other.to_owned()),
    };
    parse_with(source, &|_| Ok(None), &read_text)
}

/// What `dataDir/myid` holds: `Ok(None)` if there is no such file.
type ReadMyid<'a> = &'a dyn Fn(&Path) -> std::io::Result<Option<String>>;

/// What another file holds that the configuration names.
type ReadText<'a> = &'a dyn Fn(&Path) -> std::io::Result<String>;

fn parse_with(
    source: &Source<'_>,
    read_myid: ReadMyid<'_>,
    read_text: ReadText<'_>,
) -> Result<Loaded, ConfigError> {
    let entries = match source.format {
        Format::Properties => properties::parse(source.text)
            .map_err(|error| ConfigError::one(source.name, Some(error.line), error.text)),
        Format::Toml => toml_file::parse(source.name, source.text),
    }?;
    let mut given = given::Given::sort(source.name, entries, source.strict);
    given.read_servers(read_text);
    let settings = build::settings(&mut given, source.myid, read_myid, read_text);
    given.finish(settings)
}

#[cfg(test)]
mod tests;
