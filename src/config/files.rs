//! The only place of this room that opens files.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::settings::Settings;

/// A configuration that is longer is not one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The text of a configuration file: UTF-8, with or without a byte order mark; bytes that are not UTF-8 are read as
/// ISO-8859-1, as Java reads them.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "longer than {FILE_BYTES_MAX} bytes: not a configuration file"
        )));
    }
    Ok(decoded(bytes))
}

fn decoded(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text),
        Err(error) => error.into_bytes().into_iter().map(char::from).collect(),
    }
}

/// The content of `myid` in the data directory, if there is such a file.
pub(super) fn read_myid(data_dir: &Path) -> io::Result<Option<String>> {
    match read_text(&data_dir.join("myid")) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file by one with this content: whoever reads it finds the old one or the new one, also after a crash.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // A link stays one.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let temporary = folder.join(name);
    let mut file = File::create(&temporary)?;
    if let Ok(old) = fs::metadata(path) {
        // There may be passwords in it.
        file.set_permissions(old.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// True if there is such a file.
pub(super) fn is_there(path: &Path) -> bool {
    path.exists()
}

/// Makes the directories independent of the current one. A path that cannot be resolved stays as it is.
pub(super) fn make_absolute(settings: &mut Settings) {
    let audit_file = settings.audit.as_mut().map(|audit| &mut audit.file);
    let config_files = [settings.config_file.as_mut(), settings.dynamic_config_file.as_mut()];
    let others = config_files.into_iter().flatten().chain(audit_file);
    for path in [&mut settings.data_dir, &mut settings.data_log_dir].into_iter().chain(others) {
        if let Ok(absolute) = std::path::absolute(&*path) {
            *path = absolute;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_is_read_as_such_and_anything_else_as_iso_8859_1() {
        assert_eq!(decoded("dataDir=/d\u{e9}".as_bytes().to_vec()), "dataDir=/d\u{e9}");
        assert_eq!(decoded(b"dataDir=/d\xe9".to_vec()), "dataDir=/d\u{e9}");
        assert_eq!(decoded(b"\xef\xbb\xbftickTime=1".to_vec()), "tickTime=1");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = read_text(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "longer than 1048576 bytes: not a configuration file");
    }
}
