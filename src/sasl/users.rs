//! Who there is.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::scram::{ROUNDS, SALT_BYTES, ScramKeys};

/// The users of a server, and what it keeps of each. Passwords are not shown.
pub struct Users {
    known: BTreeMap<String, User>,
    /// Makes salts: of the users there are, and of those there are not.
    seed: [u8; 32],
}

struct User {
    password: String,
    scram: ScramKeys,
}

impl Users {
    /// Names and passwords. `seed` is one that nobody can guess. Takes some milliseconds for each.
    pub fn new<'a>(known: impl IntoIterator<Item = (&'a str, &'a str)>, seed: &[u8; 32]) -> Users {
        let mut users = Users { known: BTreeMap::new(), seed: *seed };
        for (name, password) in known {
            let scram = ScramKeys::new(password, &users.salt(name), ROUNDS);
            users.known.insert(name.to_owned(), User { password: password.to_owned(), scram });
        }
        users
    }

    /// The password, if there is such a user.
    pub(super) fn password(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(|user| &*user.password)
    }

    /// What SCRAM needs of a user; of one that does not exist something that no password fits, and that looks the same
    /// at every try.
    pub(super) fn scram(&self, name: &str) -> ScramKeys {
        match self.known.get(name) {
            Some(user) => user.scram.clone(),
            None => ScramKeys::nobodys(self.derived("stored", name), self.derived("server", name)),
        }
    }

    pub(super) fn salt(&self, name: &str) -> [u8; SALT_BYTES] {
        *self.derived("salt", name).first_chunk().expect("a hash is longer")
    }

    fn derived(&self, what: &str, name: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.seed).expect("any length is a key");
        mac.update(what.as_bytes());
        mac.update(&[0]);
        mac.update(name.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.known.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(format!("{:?}", Users::new([("bob", "secret")], &[0; 32])), "1 users");
    }
}
