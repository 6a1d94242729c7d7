//! The audit log.

use std::path::{Path, PathBuf};

use super::given::Given;
use super::report::Severity;

/// What there is in ZooKeeper; any other class would have to be Java's.
const KNOWN_CLASS: &str = "org.apache.zookeeper.audit.Slf4jAuditLogger";

/// Where the audit log is written, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// `auditFile`: by default `audit.log` in `dataDir`.
    pub file: PathBuf,

    /// `auditFileBytesMax`: a file that is longer gives way to a new one. 10 MiB by default, as in ZooKeeper's own
    /// configuration of its logger.
    pub file_bytes_max: u64,

    /// `auditFilesKept`: files beside the one that is written. 10 by default, for the same reason.
    pub files_kept: u32,
}

/// Reads the keys; `None` unless `audit.enable` is set.
pub(super) fn settings(given: &mut Given, data_dir: &Path) -> Option<AuditSettings> {
    let mut enabled = false;
    given.boolean(&mut enabled, "audit.enable");
    let mut audit =
        AuditSettings { file: data_dir.join("audit.log"), file_bytes_max: 10 << 20, files_kept: 10 };
    if let Some(value) = given.value("auditFile") {
        if value.text.is_empty() || value.text.contains('\0') {
            given.unexpected("auditFile", "expected the path of a file");
        }
        audit.file = PathBuf::from(value.text);
    }
    given.number(&mut audit.file_bytes_max, "auditFileBytesMax", "bytes", 4096..=1 << 40);
    given.number(&mut audit.files_kept, "auditFilesKept", "files", 0..=1000);
    if let Some(value) = given.value("audit.impl.class").filter(|value| value.text != KNOWN_CLASS) {
        let text = format!(
            "audit.impl.class: this class is not known here, the lines go to {}",
            audit.file.display()
        );
        given.notice(Severity::Warning, Some(value.line), text);
    }
    enabled.then_some(audit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Format, Source, parse_text};

    fn parse(text: &str) -> (Option<AuditSettings>, Vec<String>) {
        let text = format!("dataDir=/d\nclientPort=1\n{text}");
        let source = Source { name: "z", text: &text, format: Format::Properties, myid: None, strict: true };
        let loaded = parse_text(&source).unwrap_or_else(|error| panic!("{error}"));
        (loaded.settings.audit, loaded.notices.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn there_is_none_unless_asked_for() {
        assert_eq!(parse("auditFile=/x\naudit.enable=false"), (None, vec![]));
        let file = PathBuf::from("/d/audit.log");
        let usual = AuditSettings { file, file_bytes_max: 10 << 20, files_kept: 10 };
        assert_eq!(parse("audit.enable=true"), (Some(usual), vec![]));
    }

    #[test]
    fn every_key_reaches_its_setting() {
        let text = "zookeeper.audit.enable=true\nauditFile=/l/a\nauditFileBytesMax=5000\nauditFilesKept=0\n\
                    audit.impl.class=my.Logger";
        let (settings, notices) = parse(text);
        let file = PathBuf::from("/l/a");
        assert_eq!(settings, Some(AuditSettings { file, file_bytes_max: 5000, files_kept: 0 }));
        assert_eq!(notices, ["z:7: audit.impl.class: this class is not known here, the lines go to /l/a"]);
    }
}
