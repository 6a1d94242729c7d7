//! The part of the tree that a client sees as the whole.

use std::borrow::Cow;
use std::sync::Arc;

use super::Error;
use crate::jute::{Create, ErrorCode, MultiOp};

/// What stands before every path at the server; empty for the whole tree.
#[derive(Clone, Debug)]
pub(super) struct Chroot(Arc<str>);

impl Chroot {
    /// `prefix` has no slash at its end.
    pub fn new(prefix: &str) -> Chroot {
        assert!(!prefix.ends_with('/'), "a chroot has no slash at its end: {prefix}");
        Chroot(prefix.into())
    }

    /// The server's path of what the client calls `path`. Without a chroot any path goes through, so that it is the
    /// server who judges it; with one, a path that does not begin at the root must not end up beside the chroot.
    pub fn join<'p>(&self, path: &'p str) -> Result<Cow<'p, str>, Error> {
        if self.0.is_empty() {
            return Ok(Cow::Borrowed(path));
        }
        match path {
            "/" => Ok(Cow::Owned(self.0.to_string())),
            _ if path.starts_with('/') => Ok(Cow::Owned(format!("{}{path}", self.0))),
            _ => Err(Error::Server(ErrorCode::BadArguments)),
        }
    }

    /// What the client calls the server's `path`.
    pub fn strip<'p>(&self, path: &'p str) -> &'p str {
        match path.strip_prefix(&*self.0) {
            _ if self.0.is_empty() => path,
            Some("") => "/",
            Some(stripped) if stripped.starts_with('/') => stripped,
            _ => path,
        }
    }

    /// The paths of all `ops`, joined.
    pub fn join_ops<'p>(&self, ops: &[MultiOp<'p>]) -> Result<Vec<Cow<'p, str>>, Error> {
        ops.iter()
            .map(|op| match op {
                MultiOp::Create(Create { path, .. })
                | MultiOp::Delete { path, .. }
                | MultiOp::SetData { path, .. }
                | MultiOp::Check { path, .. } => self.join(path),
                MultiOp::Keeper(op) => self.join(op.path()),
                MultiOp::Unimplemented { .. } => Ok(Cow::Borrowed("")),
            })
            .collect()
    }
}

/// `op` with `path` in place of its own.
pub(super) fn with_path<'p>(op: &MultiOp<'p>, path: &'p str) -> MultiOp<'p> {
    match op.clone() {
        MultiOp::Create(create) => MultiOp::Create(Create { path, ..create }),
        MultiOp::Delete { version, .. } => MultiOp::Delete { path, version },
        MultiOp::SetData { data, version, .. } => MultiOp::SetData { path, data, version },
        MultiOp::Check { version, .. } => MultiOp::Check { path, version },
        MultiOp::Keeper(op) => MultiOp::Keeper(op.with_path(path)),
        MultiOp::Unimplemented { op } => MultiOp::Unimplemented { op },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_under_the_chroot_and_comes_back() {
        let chroot = Chroot::new("/app");
        for (seen, real) in [("/", "/app"), ("/a", "/app/a")] {
            assert_eq!(chroot.join(seen).unwrap(), real);
            assert_eq!(chroot.strip(real), seen);
        }
        assert!(chroot.join("a").is_err());
        assert_eq!(chroot.strip("/apple"), "/apple");
        assert_eq!(Chroot::new("").join("a").unwrap(), "a");
        assert_eq!(Chroot::new("").strip("/"), "/");
    }
}
