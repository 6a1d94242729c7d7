//! SASL: how a name is proved with a password that does not travel. Pure; the caller brings the chance.
//!
//! | file | what |
//! |---|---|
//! | `directives` | `key=value` lists, as DIGEST-MD5 writes them |
//! | `digest_md5` | DIGEST-MD5 (RFC 2831) without a security layer, as Java speaks it |
//! | `scram` | SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding |
//! | `users` | who there is, and what a server keeps of each |
//!
//! ZooKeeper's protocol does not name the mechanism, so a server tells by the first token: that of SCRAM begins with `n,`,
//! `y,` or `p=`, that of GSSAPI with the byte 0x60. DIGEST-MD5 has no initial response, so its first token is empty; but
//! as in ZooKeeper any other token begins it too.

mod digest_md5;
mod directives;
mod scram;
mod users;

use subtle::ConstantTimeEq;
use thiserror::Error;

pub use digest_md5::DigestMd5Client;
pub use scram::{ScramClient, ScramKeys};
pub use users::Users;

/// A longer token is none.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// What ZooKeeper calls itself in DIGEST-MD5: the realm, and what both sides are talking about.
pub const REALM: &str = "zk-sasl-md5";
/// Likewise.
pub const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";

/// The first byte of a token of GSSAPI: the ASN.1 tag of its frame.
const GSSAPI_TAG: u8 = 0x60;

/// A user's name is cut to this in a message.
const NAME_CHARS_SHOWN: usize = 64;

/// Why nobody has proved to be anybody. Tells no secret, and can stand in a line of a log.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SaslError {
    /// Kerberos is not built.
    #[error("it speaks GSSAPI (Kerberos), which is not offered: expected DIGEST-MD5 or SCRAM-SHA-256")]
    Gssapi,
    /// More than any token.
    #[error("a token of {0} bytes")]
    TooLong(usize),
    /// Against the rules of the mechanism.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The proof is wrong. Whether there is such a user is nobody's business.
    #[error("no such user, or the wrong password: {0:?}")]
    Denied(String),
    /// The other side does not know the password either.
    #[error("the server did not prove that it knows the password")]
    ServerUnproved,
    /// Something came behind the end.
    #[error("the exchange was over")]
    Over,
}

impl SaslError {
    fn denied(user: &str) -> SaslError {
        SaslError::Denied(user.chars().take(NAME_CHARS_SHOWN).collect())
    }
}

/// What a server says to a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// for the client
    pub token: Vec<u8>,
    /// who it has proved to be, once it has
    pub user: Option<Proved>,
}

/// Who somebody has proved to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proved {
    /// whose password it knows
    pub user: String,
    /// for whom it wants to act. It asks for it under its proof; nobody has granted it
    pub authzid: Option<String>,
}

/// A server's side of one exchange.
#[derive(Debug)]
pub struct Exchange {
    state: State,
}

#[derive(Debug)]
enum State {
    Fresh { nonce: String },
    DigestMd5(digest_md5::Server),
    Scram(Box<scram::Server>),
    Over,
}

impl Exchange {
    /// Nothing was said yet. `nonce` is one that nobody can guess, of letters and digits.
    pub fn new(nonce: String) -> Exchange {
        Exchange { state: State::Fresh { nonce } }
    }

    /// Answers a client's token. After a wrong proof, or when somebody has proved to be someone, the exchange is over; a
    /// first token that makes no sense does not count, and neither does one that is too long.
    pub fn respond(&mut self, token: &[u8], users: &Users) -> Result<Answer, SaslError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(SaslError::TooLong(token.len()));
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Fresh { nonce } => self.begin(token, nonce.clone(), users).inspect_err(|_| {
                self.state = State::Fresh { nonce };
            }),
            State::DigestMd5(server) => {
                let (token, proved) = server.finish(token, users)?;
                Ok(Answer { token, user: Some(proved) })
            }
            State::Scram(server) => {
                let (token, proved) = server.finish(token)?;
                Ok(Answer { token, user: Some(proved) })
            }
            State::Over => Err(SaslError::Over),
        }
    }

    fn begin(&mut self, token: &[u8], nonce: String, users: &Users) -> Result<Answer, SaslError> {
        match token {
            [b'n' | b'y', b',', ..] | [b'p', b'=', ..] => {
                let (server, token) = scram::Server::begin(token, &nonce, users)?;
                self.state = State::Scram(Box::new(server));
                Ok(Answer { token, user: None })
            }
            [GSSAPI_TAG, ..] => Err(SaslError::Gssapi),
            _ => {
                let (server, token) = digest_md5::Server::begin(nonce);
                self.state = State::DigestMd5(server);
                Ok(Answer { token, user: None })
            }
        }
    }
}

/// Equality that takes as long whatever the difference is.
fn same_secret(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// Made once: that takes a while without optimization.
    static USERS: LazyLock<Users> =
        LazyLock::new(|| Users::new([("bob", "secret"), ("\u{fc}", "\u{20ac}")], &[7; 32]));

    fn exchange() -> Exchange {
        Exchange::new("nonce".to_owned())
    }

    #[test]
    fn the_first_token_tells_the_mechanism() {
        let first = |token: &[u8]| {
            let answer = exchange().respond(token, &USERS)?;
            Ok(String::from_utf8(answer.token[..2].to_vec()).unwrap())
        };
        assert_eq!(first(b"n,,n=bob,r=x").as_deref(), Ok("r="));
        assert_eq!(first(b"\x60\x82\x01"), Err(SaslError::Gssapi));
        for token in [&b""[..], b"x", b"n", b"\0bob\0secret", b"bob", b"p,", b"\xff"] {
            assert_eq!(first(token).as_deref(), Ok("re"), "{token:?}");
        }
    }

    #[test]
    fn whoever_knows_a_password_proves_it_by_either_mechanism() {
        for (user, password) in [("bob", "secret"), ("\u{fc}", "\u{20ac}")] {
            let mut server = exchange();
            let challenge = server.respond(b"", &USERS).unwrap().token;
            let client = DigestMd5Client::new(user, password);
            let (token, check) = client.respond(&challenge, "cnonce").unwrap();
            let answer = server.respond(&token, &USERS).unwrap();
            assert_eq!(answer.user.unwrap().user, user);
            assert_eq!(check.verify(&answer.token), Ok(()));
            assert_eq!(
                check.verify(b"rspauth=00000000000000000000000000000000"),
                Err(SaslError::ServerUnproved)
            );
            assert_eq!(server.respond(b"", &USERS), Err(SaslError::Over));

            let mut server = exchange();
            let client = ScramClient::new(user, "cnonce", None);
            let first = server.respond(client.first().as_bytes(), &USERS).unwrap().token;
            let (token, check) =
                client.respond(&first, |salt, rounds| ScramKeys::new(password, salt, rounds)).unwrap();
            let answer = server.respond(&token, &USERS).unwrap();
            assert_eq!(answer.user, Some(Proved { user: user.to_owned(), authzid: None }));
            assert_eq!(check.verify(&answer.token), Ok(()));
            assert_eq!(check.verify(b"v=AAAA"), Err(SaslError::ServerUnproved));
        }
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_cannot_be_told_apart() {
        for (user, password) in [("bob", "wrong"), ("eve", "secret"), ("eve", "")] {
            let mut server = exchange();
            let challenge = server.respond(b"", &USERS).unwrap().token;
            let (token, _) = DigestMd5Client::new(user, password).respond(&challenge, "cnonce").unwrap();
            assert_eq!(server.respond(&token, &USERS), Err(SaslError::Denied(user.to_owned())));

            let mut server = exchange();
            let client = ScramClient::new(user, "cnonce", None);
            let first = server.respond(client.first().as_bytes(), &USERS).unwrap().token;
            let again = exchange().respond(client.first().as_bytes(), &USERS).unwrap().token;
            assert_eq!(first, again, "the salt of a user that does not exist stays the same too");
            let (token, _) =
                client.respond(&first, |salt, rounds| ScramKeys::new(password, salt, rounds)).unwrap();
            assert_eq!(server.respond(&token, &USERS), Err(SaslError::Denied(user.to_owned())));
            assert_eq!(server.respond(&token, &USERS), Err(SaslError::Over));
        }
    }

    #[test]
    fn a_token_cut_anywhere_proves_nothing() {
        let mut whole = exchange();
        let challenge = whole.respond(b"", &USERS).unwrap().token;
        let (token, _) = DigestMd5Client::new("bob", "secret").respond(&challenge, "cnonce").unwrap();
        for cut in 0..token.len() {
            let mut server = exchange();
            server.respond(b"", &USERS).unwrap();
            assert!(server.respond(&token[..cut], &USERS).is_err(), "{cut}");
        }
        let client = ScramClient::new("bob", "cnonce", None);
        let first = exchange().respond(client.first().as_bytes(), &USERS).unwrap().token;
        let (token, _) =
            client.respond(&first, |salt, rounds| ScramKeys::new("secret", salt, rounds)).unwrap();
        for cut in 0..token.len() {
            let mut server = exchange();
            server.respond(client.first().as_bytes(), &USERS).unwrap();
            assert!(server.respond(&token[..cut], &USERS).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_token_has_a_bound() {
        let token = vec![b' '; TOKEN_BYTES_MAX + 1];
        assert_eq!(exchange().respond(&token, &USERS), Err(SaslError::TooLong(TOKEN_BYTES_MAX + 1)));
    }

    #[test]
    fn a_first_token_without_sense_does_not_count() {
        let mut server = exchange();
        assert!(server.respond(b"n,", &USERS).is_err());
        assert!(server.respond(b"n,,", &USERS).is_err());
        assert!(server.respond(&[b' '; TOKEN_BYTES_MAX + 1], &USERS).is_err());
        assert!(server.respond(b"", &USERS).is_ok());
    }
}
