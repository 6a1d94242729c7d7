//! The audit log: who changed what, one line each, in ZooKeeper's form: `key=value` with tabs between them.
//!
//! A thread of its own writes it, so that a slow disk holds up nobody. What it cannot take is counted and told in the log
//! itself. No value can end a line or add a key to it: whatever could is escaped.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::quiet::Quiet;
use crate::admin::User;
use crate::config::AuditSettings;
use crate::ids::SessionId;
use crate::jute::AuthId;
use crate::replica::{AuditEntry, Audited};

/// Lines that wait to be written; what comes beyond is counted as lost.
const LINES_MAX: usize = 16 << 10;

/// Lines written at once.
const BATCH_MAX: usize = 1024;

/// Only for whoever runs the server: names and paths are nobody else's business.
const FILE_MODE: u32 = 0o600;

/// Takes lines for the audit log.
#[derive(Debug)]
pub struct AuditLog {
    lines: Mutex<Option<SyncSender<String>>>,
    lost: Arc<AtomicU64>,
    /// who runs the server
    server_user: String,
    writing: Mutex<Option<JoinHandle<()>>>,
}

impl AuditLog {
    /// Opens the file, or fails as long as nobody counts on it.
    pub fn start(settings: &AuditSettings) -> io::Result<AuditLog> {
        let (lines, receiver) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let mut file = LogFile::new(settings.clone());
        file.open()?;
        let thread_lost = Arc::clone(&lost);
        let writing = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_all(file, &receiver, &thread_lost))?;
        let server_user = User::of_process().name;
        let (lines, writing) = (Mutex::new(Some(lines)), Mutex::new(Some(writing)));
        Ok(AuditLog { lines, lost, server_user, writing })
    }

    /// Adds what a client did.
    pub fn tell(&self, audited: &Audited) {
        for entry in &audited.entries {
            self.push(line(audited.session_id, &audited.identities, &self.server_user, entry));
        }
    }

    /// Adds what the server did: `serverStart`, `serverStop`.
    pub fn tell_server(&self, operation: &str, result: &str) {
        let mut text = String::new();
        add(&mut text, "user", &self.server_user);
        add(&mut text, "operation", operation);
        add(&mut text, "result", result);
        self.push(stamped(result != "failure", &text));
    }

    /// Takes no more lines. The thread ends when it has written what waits.
    pub fn end(&self) {
        drop(self.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The thread, to be waited for after [`AuditLog::end`]; once.
    pub fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn push(&self, line: String) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.as_ref().is_none_or(|lines| lines.try_send(line).is_err()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn line(session: SessionId, identities: &[AuthId], server_user: &str, entry: &AuditEntry) -> String {
    let mut text = String::new();
    add(&mut text, "session", &format!("0x{:x}", session.0));
    if identities.is_empty() {
        add(&mut text, "user", server_user);
    } else {
        let users = identities.iter().map(user_of).filter(|user| !user.trim().is_empty());
        // What stands between them must not be in them.
        let users: Vec<String> = users.map(|user| escaped(user).replace(',', "\\u{2c}")).collect();
        if !users.is_empty() {
            add_escaped(&mut text, "user", &users.join(","));
        }
        if let Some(ip) = identities.iter().find(|identity| identity.scheme == "ip") {
            add(&mut text, "ip", &ip.id);
        }
    }
    add(&mut text, "operation", entry.operation);
    if let Some(path) = &entry.path {
        add(&mut text, "znode", path);
    }
    if let Some(znode_type) = entry.znode_type {
        add(&mut text, "znode_type", znode_type);
    }
    if let Some(acl) = &entry.acl {
        add(&mut text, "acl", acl);
    }
    add(&mut text, "result", if entry.succeeded { "success" } else { "failure" });
    stamped(entry.succeeded, &text)
}

/// Of a digest the name without the hash; elsewhere who it is.
fn user_of(identity: &AuthId) -> &str {
    match &*identity.scheme {
        "digest" => identity.id.split(':').next().unwrap_or_default(),
        _ => &identity.id,
    }
}

fn add(text: &mut String, key: &str, value: &str) {
    add_escaped(text, key, &escaped(value));
}

fn add_escaped(text: &mut String, key: &str, value: &str) {
    if !text.is_empty() {
        text.push('\t');
    }
    text.push_str(key);
    text.push('=');
    text.push_str(value);
}

/// Nothing that ends a line or a value, that looks like another key, or that a terminal obeys.
fn escaped(value: &str) -> String {
    let is_plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\\' | '=' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
            && !('\u{202a}'..='\u{202e}').contains(&c)
            && !('\u{2066}'..='\u{2069}').contains(&c)
    };
    value.chars().fold(String::with_capacity(value.len()), |mut text, c| {
        match c {
            '\\' => text.push_str("\\\\"),
            c if is_plain(c) => text.push(c),
            c => text.extend(c.escape_unicode()),
        }
        text
    })
}

fn stamped(succeeded: bool, text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 48);
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut line));
    let _ = writeln!(line, " {} audit: {text}", if succeeded { "INFO" } else { "ERROR" });
    line
}

/// Writes what comes until nobody sends any more.
fn write_all(mut file: LogFile, lines: &Receiver<String>, lost: &AtomicU64) {
    let quiet = Quiet::default();
    while let Ok(first) = lines.recv() {
        let (mut batch, mut count) = (first, 1);
        while count < BATCH_MAX
            && let Ok(line) = lines.try_recv()
        {
            batch.push_str(&line);
            count += 1;
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            batch.push_str(&stamped(false, &format!("lost={missing}")));
        }
        if let Err(error) = file.write(&batch) {
            lost.fetch_add(missing + count as u64, Ordering::Relaxed);
            let path = file.settings.file.display().to_string();
            quiet.say("audit", |more| {
                tracing::error!("the audit log {path} cannot be written: {error}{more}")
            });
        }
    }
}

/// A file that gives way to a new one when it is full.
struct LogFile {
    settings: AuditSettings,
    open: Option<(File, u64)>,
}

impl LogFile {
    fn new(settings: AuditSettings) -> LogFile {
        LogFile { settings, open: None }
    }

    fn open(&mut self) -> io::Result<&mut (File, u64)> {
        if self.open.is_none() {
            let file =
                OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(&self.settings.file)?;
            let bytes = file.metadata()?.len();
            self.open = Some((file, bytes));
        }
        Ok(self.open.as_mut().expect("opened just now"))
    }

    fn write(&mut self, batch: &str) -> io::Result<()> {
        let bytes_max = self.settings.file_bytes_max;
        let (_, bytes) = self.open()?;
        if *bytes > 0 && *bytes + batch.len() as u64 > bytes_max {
            self.rotate()?;
        }
        let (file, bytes) = self.open()?;
        let written = file.write_all(batch.as_bytes());
        *bytes += batch.len() as u64;
        // What was written of it is not known; the next try begins with what the file is then.
        if written.is_err() {
            self.open = None;
        }
        written
    }

    /// `audit.log.1` is the one before, and so on.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        let kept = self.settings.files_kept;
        if kept == 0 {
            return fs::remove_file(&self.settings.file);
        }
        for number in (1..kept).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.settings.file, self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.settings.file.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(scheme: &str, id: &str) -> AuthId {
        AuthId { scheme: scheme.to_owned(), id: id.to_owned() }
    }

    fn shown(identities: &[AuthId], entry: &AuditEntry) -> String {
        let line = line(SessionId(0x1f), identities, "runner", entry);
        let (stamp, text) = line.strip_suffix('\n').unwrap().split_once(" audit: ").unwrap();
        assert!(stamp.ends_with(if entry.succeeded { "Z INFO" } else { "Z ERROR" }), "{stamp}");
        text.to_owned()
    }

    #[test]
    fn a_line_has_the_keys_of_zookeeper_in_its_order() {
        let client = [id("ip", "10.0.0.1"), id("super", ""), id("digest", "me:hash"), id("sasl", "bob")];
        let entry = AuditEntry {
            znode_type: Some("persistent"),
            acl: Some("world:anyone:r".to_owned()),
            ..AuditEntry::of("create", true).on("/a")
        };
        assert_eq!(
            shown(&client, &entry),
            "session=0x1f\tuser=10.0.0.1,me,bob\tip=10.0.0.1\toperation=create\tznode=/a\tznode_type=persistent\t\
             acl=world:anyone:r\tresult=success"
        );
        assert_eq!(
            shown(&[], &AuditEntry::of("delete", false).on("/a")),
            "session=0x1f\tuser=runner\toperation=delete\tznode=/a\tresult=failure"
        );
    }

    #[test]
    fn no_value_can_forge_a_line_or_a_key() {
        let hostile = "x\nsession=0x0\tuser=root\r\u{85}\u{2028}\u{202e}\u{1b}[2J\\";
        let client = [id("ip", "10.0.0.1"), id("digest", "a,root\tresult=success\n:hash")];
        let entry =
            AuditEntry { acl: Some(hostile.to_owned()), ..AuditEntry::of("setAcl", true).on(hostile) };
        let line = shown(&client, &entry);
        assert!(!line.contains(|c: char| c != '\t' && c.is_control()), "{line:?}");
        let keys: Vec<&str> = line.split('\t').map(|pair| pair.split_once('=').unwrap().0).collect();
        assert_eq!(keys, ["session", "user", "ip", "operation", "znode", "acl", "result"]);
        assert!(line.split('\t').all(|pair| pair.matches('=').count() == 1), "{line}");
        assert!(line.contains("user=10.0.0.1,a\\u{2c}root\\u{9}result\\u{3d}success\\u{a}\t"), "{line}");
    }

    #[test]
    fn files_are_bounded_in_size_and_number() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.log");
        let settings = AuditSettings { file: file.clone(), file_bytes_max: 1000, files_kept: 2 };
        let audit = AuditLog::start(&settings).unwrap();
        for number in 0..100 {
            let entries = vec![AuditEntry::of("delete", true).on(&format!("/{number}"))];
            audit.tell(&Audited { session_id: SessionId(1), identities: Arc::from([]), entries });
            // Each by itself, so that none is bigger than a file.
            while !last_line(&file).contains(&format!("znode=/{number}\t")) {
                thread::yield_now();
            }
        }
        audit.tell_server("serverStop", "invoked");
        audit.end();
        audit.take_thread().unwrap().join().unwrap();
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2"]);
        for name in &names {
            assert!(fs::metadata(folder.path().join(name)).unwrap().len() <= 1000, "{name}");
        }
        assert!(last_line(&file).ends_with("\toperation=serverStop\tresult=invoked"));
    }

    fn last_line(file: &PathBuf) -> String {
        fs::read_to_string(file).unwrap_or_default().lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_could_not_be_taken_is_counted_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.log");
        let settings = AuditSettings { file: file.clone(), file_bytes_max: 1000, files_kept: 1 };
        let audit = AuditLog::start(&settings).unwrap();
        audit.lost.fetch_add(3, Ordering::Relaxed);
        audit.tell_server("serverStart", "success");
        audit.end();
        audit.take_thread().unwrap().join().unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains(" ERROR audit: lost=3\n"));
        audit.tell_server("serverStop", "invoked");
        assert_eq!(audit.lost.load(Ordering::Relaxed), 1, "nobody takes it any more");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
        let file = PathBuf::from("/nowhere/at/all/audit.log");
        assert!(AuditLog::start(&AuditSettings { file, file_bytes_max: 1000, files_kept: 1 }).is_err());
    }
}
