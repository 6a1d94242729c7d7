//! The only place of this room that opens files.

use std::fs::File;
use std::io::{self, Read};
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

/// Makes the directories independent of the current one. A path that cannot be resolved stays as it is.
pub(super) fn make_absolute(settings: &mut Settings) {
    let audit_file = settings.audit.as_mut().map(|audit| &mut audit.file);
    for path in [&mut settings.data_dir, &mut settings.data_log_dir].into_iter().chain(audit_file) {
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
