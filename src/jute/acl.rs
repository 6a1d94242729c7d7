//! Access control lists.

/// The bits of [`Acl::perms`].
pub mod perms {
    /// getData, getChildren, exists
    pub const READ: i32 = 1;
    /// setData
    pub const WRITE: i32 = 2;
    /// create of a child
    pub const CREATE: i32 = 4;
    /// delete of a child
    pub const DELETE: i32 = 8;
    /// setACL
    pub const ADMIN: i32 = 16;
    /// all of them
    pub const ALL: i32 = 31;
}

/// Who: a scheme and an identity within it, such as `world`, `anyone` or `digest`, `user:hash`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AuthId {
    /// `world`, `auth`, `digest`, `ip` ...
    pub scheme: String,
    /// what the scheme makes of a user
    pub id: String,
}

/// One entry of a znode's access control list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Acl {
    /// a combination of [`perms`]
    pub perms: i32,
    /// to whom they are granted
    pub id: AuthId,
}

impl Acl {
    /// Everything for everyone: what a client gives a znode without thinking about it.
    pub fn open() -> Vec<Acl> {
        vec![Acl { perms: perms::ALL, id: AuthId { scheme: "world".into(), id: "anyone".into() } }]
    }
}
