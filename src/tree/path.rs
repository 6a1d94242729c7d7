//! What a znode's path may look like, and how it is taken apart. The rules are those of ZooKeeper's `PathUtils`.

use thiserror::Error;

/// The root of every tree.
pub const ROOT: &str = "/";
/// The parent of what the ensemble tells about itself.
pub const ZOOKEEPER: &str = "/zookeeper";
/// Holds the ensemble's configuration.
pub const CONFIG: &str = "/zookeeper/config";
/// What ClickHouse Keeper tells of itself, where its operations are enabled.
pub const KEEPER: &str = "/keeper";
/// The parent of the quotas.
pub const QUOTA: &str = "/zookeeper/quota";

/// Why a path is none. Positions are counted in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PathError {
    /// nothing at all
    #[error("the path is empty")]
    Empty,
    /// does not begin at the root
    #[error("the path does not begin with /")]
    NotAbsolute,
    /// ends with a slash and is not the root
    #[error("the path ends with /")]
    TrailingSlash,
    /// two slashes in a row
    #[error("an empty name at byte {0}")]
    EmptyName(usize),
    /// a name that is `.` or `..`
    #[error("a relative name at byte {0}")]
    RelativeName(usize),
    /// a character that no path may hold
    #[error("a character that is not allowed at byte {0}")]
    InvalidCharacter(usize),
}

/// Checks a whole path, as ZooKeeper does before every create, setData, setACL and check.
///
/// A sequential create is checked with its number: `/queue/` is the beginning of a good path then.
pub fn validate(path: &str) -> Result<(), PathError> {
    let Some(names) = path.strip_prefix('/') else {
        return Err(if path.is_empty() { PathError::Empty } else { PathError::NotAbsolute });
    };
    if names.is_empty() {
        return Ok(());
    }
    if names.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    let mut at = 1;
    for name in names.split('/') {
        validate_name_at(name, at)?;
        at += name.len() + 1;
    }
    Ok(())
}

/// Checks one name of a path.
pub fn validate_name(name: &str) -> Result<(), PathError> {
    match name.find('/') {
        Some(at) => Err(PathError::InvalidCharacter(at)),
        None => validate_name_at(name, 0),
    }
}

fn validate_name_at(name: &str, at: usize) -> Result<(), PathError> {
    match name {
        "" => Err(PathError::EmptyName(at)),
        "." | ".." => Err(PathError::RelativeName(at)),
        // Nearly every name, looked at faster.
        _ if name.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Ok(()),
        _ => match name.char_indices().find(|&(_, c)| !is_allowed(c)) {
            Some((offset, _)) => Err(PathError::InvalidCharacter(at + offset)),
            None => Ok(()),
        },
    }
}

/// ZooKeeper looks at UTF-16 units: whatever needs a surrogate pair is refused with the surrogates, and the private
/// use area with them.
fn is_allowed(c: char) -> bool {
    !matches!(
        c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}' | '\u{10000}'..
    )
}

/// The parent's path and the last name; `None` for the root and for what has no slash.
pub fn split(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = path.rsplit_once('/')?;
    if name.is_empty() && parent.is_empty() {
        return None;
    }
    Some((if parent.is_empty() { ROOT } else { parent }, name))
}

/// The path of a sequential znode: the number is signed and at least ten characters wide, as Java's `%010d` has it.
pub fn sequential(prefix: &str, number: i32) -> String {
    format!("{prefix}{number:010}")
}

/// True for [`KEEPER`] and everything below it.
pub fn is_of_keeper(path: &str) -> bool {
    path.strip_prefix(KEEPER).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// True for the znodes that every tree has and that cannot be deleted.
pub fn is_fixed(path: &str) -> bool {
    matches!(path, ROOT | ZOOKEEPER | CONFIG | QUOTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_paths_pass() {
        for path in [
            "/",
            "/a",
            "/a/b",
            "/a.b",
            "/.a",
            "/a/...",
            "/..a",
            "/a/b..",
            "/a b",
            "/\u{e4}\u{4e2d}",
            "/\u{fb00}",
        ] {
            assert_eq!(validate(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn bad_paths_are_refused_with_their_reason() {
        use PathError::*;
        for (path, error) in [
            ("", Empty),
            ("a", NotAbsolute),
            ("a/b", NotAbsolute),
            ("/a/", TrailingSlash),
            ("//", TrailingSlash),
            ("//a", EmptyName(1)),
            ("/a//b", EmptyName(3)),
            ("/.", RelativeName(1)),
            ("/..", RelativeName(1)),
            ("/a/./b", RelativeName(3)),
            ("/a/../b", RelativeName(3)),
            ("/a/..", RelativeName(3)),
            ("/a\0", InvalidCharacter(2)),
            ("/a\u{1}", InvalidCharacter(2)),
            ("/\u{1f}", InvalidCharacter(1)),
            ("/\u{7f}", InvalidCharacter(1)),
            ("/\u{9f}", InvalidCharacter(1)),
            ("/\u{e000}", InvalidCharacter(1)),
            ("/\u{f8ff}", InvalidCharacter(1)),
            ("/\u{fff0}", InvalidCharacter(1)),
            ("/\u{ffff}", InvalidCharacter(1)),
            ("/b/\u{1f600}", InvalidCharacter(3)),
        ] {
            assert_eq!(validate(path), Err(error), "{path:?}");
        }
    }

    #[test]
    fn a_name_is_a_path_without_slashes() {
        assert_eq!(validate_name("a"), Ok(()));
        assert_eq!(validate_name(""), Err(PathError::EmptyName(0)));
        assert_eq!(validate_name(".."), Err(PathError::RelativeName(0)));
        assert_eq!(validate_name("a/b"), Err(PathError::InvalidCharacter(1)));
    }

    #[test]
    fn a_path_is_split_at_its_last_slash() {
        assert_eq!(split("/"), None);
        assert_eq!(split("a"), None);
        assert_eq!(split(""), None);
        assert_eq!(split("/a"), Some(("/", "a")));
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/a/"), Some(("/a", "")));
    }

    #[test]
    fn sequence_numbers_are_formatted_as_java_does() {
        assert_eq!(sequential("/q/n-", 0), "/q/n-0000000000");
        assert_eq!(sequential("/q/", 42), "/q/0000000042");
        assert_eq!(sequential("/q/", i32::MAX), "/q/2147483647");
        assert_eq!(sequential("/q/", -1), "/q/-000000001");
        assert_eq!(sequential("/q/", i32::MIN), "/q/-2147483648");
    }
}
