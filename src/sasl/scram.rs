//! SCRAM-SHA-256, without channel binding. Both sides prove that they know the password, or what was derived from it.
//!
//! Names and passwords are taken as they are, in UTF-8: whoever uses other characters than those of ASCII writes them in
//! the same way on both sides (SASLprep is not applied).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use super::{Proved, SaslError, Users, same_secret};

/// How often the password is hashed: what RFC 7677 asks for.
pub(super) const ROUNDS: u32 = 4096;

/// A server that asks for more wants to keep its clients busy.
const ROUNDS_MAX: u32 = 200_000;

pub(super) const SALT_BYTES: usize = 16;

type Key = [u8; 32];

/// What is derived from a password. A server needs no more of it, and with the client's key it can be proved.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    client: Key,
    stored: Key,
    server: Key,
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys")
    }
}

impl ScramKeys {
    /// Takes some milliseconds at the usual number of rounds.
    pub fn new(password: &str, salt: &[u8], rounds: u32) -> ScramKeys {
        let salted: Key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, rounds);
        let client = hmac(&salted, &[b"Client Key"]);
        ScramKeys { client, stored: Sha256::digest(client).into(), server: hmac(&salted, &[b"Server Key"]) }
    }

    /// Keys that no password has.
    pub(super) fn nobodys(stored: Key, server: Key) -> ScramKeys {
        ScramKeys { client: [0; 32], stored, server }
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// What both sides sign: all that was said, without the proof.
fn said(client_first_bare: &str, server_first: &str, final_without_proof: &str) -> String {
    format!("{client_first_bare},{server_first},{final_without_proof}")
}

fn xor(one: Key, other: Key) -> Key {
    std::array::from_fn(|n| one[n] ^ other[n])
}

/// The value of the attribute that must come next, and what is behind it.
fn attribute<'a>(text: &'a str, name: &str, what: &'static str) -> Result<(&'a str, &'a str), SaslError> {
    let value = text.strip_prefix(name).and_then(|text| text.strip_prefix('='));
    let value = value.ok_or(SaslError::Malformed(what))?;
    Ok(value.split_once(',').unwrap_or((value, "")))
}

fn text(token: &[u8]) -> Result<&str, SaslError> {
    std::str::from_utf8(token).map_err(|_| SaslError::Malformed("not UTF-8"))
}

/// A name with the two characters escaped that mean something here.
fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

fn unescaped(name: &str) -> Result<String, SaslError> {
    let mut parts = name.split('=');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (c, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(SaslError::Malformed("a name with = that escapes nothing")),
        };
        plain.push(c);
        plain.push_str(rest);
    }
    Ok(plain)
}

/// A server that has sent its first message.
#[derive(Debug)]
pub(super) struct Server {
    proved: Proved,
    keys: ScramKeys,
    gs2_header: String,
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

impl Server {
    /// Reads `n,a=authzid,n=user,r=nonce` and answers `r=nonce,s=salt,i=rounds`.
    pub fn begin(token: &[u8], nonce: &str, users: &Users) -> Result<(Server, Vec<u8>), SaslError> {
        let token = text(token)?;
        let malformed = SaslError::Malformed("expected gs2-header,n=user,r=nonce");
        let mut parts = token.splitn(3, ',');
        let (Some(binding), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed);
        };
        if !matches!(binding, "n" | "y") {
            return Err(SaslError::Malformed("channel binding is not offered"));
        }
        let authzid = match authzid {
            "" => None,
            authzid => Some(unescaped(authzid.strip_prefix("a=").ok_or(malformed)?)?),
        };
        let (user, rest) = attribute(bare, "n", "expected n=user")?;
        let (client_nonce, _extensions) = attribute(rest, "r", "expected r=nonce behind n=user")?;
        let user = unescaped(user)?;
        let is_nonce = |nonce: &str| !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic());
        if user.is_empty() || !is_nonce(client_nonce) {
            return Err(SaslError::Malformed("a name or nonce of nothing"));
        }
        let nonce = format!("{client_nonce}{nonce}");
        let salt = STANDARD.encode(users.salt(&user));
        let server_first = format!("r={nonce},s={salt},i={ROUNDS}");
        let token_out = server_first.clone().into_bytes();
        let server = Server {
            keys: users.scram(&user),
            proved: Proved { user, authzid },
            gs2_header: token[..token.len() - bare.len()].to_owned(),
            client_first_bare: bare.to_owned(),
            server_first,
            nonce,
        };
        Ok((server, token_out))
    }

    /// Reads `c=gs2-header,r=nonce,p=proof` and answers `v=signature`.
    pub fn finish(self, token: &[u8]) -> Result<(Vec<u8>, Proved), SaslError> {
        let token = text(token)?;
        let (without_proof, proof) =
            token.rsplit_once(",p=").ok_or(SaslError::Malformed("expected ,p=proof at the end"))?;
        let (binding, rest) = attribute(without_proof, "c", "expected c=gs2-header")?;
        let (nonce, _extensions) = attribute(rest, "r", "expected r=nonce behind c=gs2-header")?;
        if STANDARD.decode(binding).ok().as_deref() != Some(self.gs2_header.as_bytes()) {
            return Err(SaslError::Malformed("c is not the gs2-header that was sent"));
        }
        if nonce != self.nonce {
            return Err(SaslError::Malformed("another nonce"));
        }
        let proof: Key = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(SaslError::Malformed("a proof that is not 32 bytes in base64"))?;
        let said = said(&self.client_first_bare, &self.server_first, without_proof);
        let client_key = xor(proof, hmac(&self.keys.stored, &[said.as_bytes()]));
        if !same_secret(&Sha256::digest(client_key), &self.keys.stored) {
            return Err(SaslError::denied(&self.proved.user));
        }
        let signature = STANDARD.encode(hmac(&self.keys.server, &[said.as_bytes()]));
        Ok((format!("v={signature}").into_bytes(), self.proved))
    }
}

/// A client's side.
#[derive(Debug)]
pub struct ScramClient {
    gs2_header: String,
    first_bare: String,
    nonce: String,
}

/// What the server must answer to prove that it knows the user.
#[derive(Debug)]
pub struct ScramCheck {
    signature: Key,
}

impl ScramClient {
    /// `nonce` is one that nobody can guess, of letters and digits; `authzid` whom it wants to act for.
    pub fn new(user: &str, nonce: &str, authzid: Option<&str>) -> ScramClient {
        let authzid = authzid.map(|authzid| format!("a={}", escaped(authzid))).unwrap_or_default();
        ScramClient {
            gs2_header: format!("n,{authzid},"),
            first_bare: format!("n={},r={nonce}", escaped(user)),
            nonce: nonce.to_owned(),
        }
    }

    /// The first token.
    pub fn first(&self) -> String {
        format!("{}{}", self.gs2_header, self.first_bare)
    }

    /// The second token, for what the server said to the first. `keys` derives the keys from salt and rounds.
    pub fn respond(
        &self,
        server_first: &[u8],
        keys: impl FnOnce(&[u8], u32) -> ScramKeys,
    ) -> Result<(Vec<u8>, ScramCheck), SaslError> {
        let server_first = text(server_first)?;
        let (nonce, rest) = attribute(server_first, "r", "expected r=nonce")?;
        let (salt, rest) = attribute(rest, "s", "expected s=salt behind r=nonce")?;
        let (rounds, _extensions) = attribute(rest, "i", "expected i=rounds behind s=salt")?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(SaslError::Malformed("the server has not added to the nonce"));
        }
        let salt = STANDARD.decode(salt).map_err(|_| SaslError::Malformed("a salt that is not base64"))?;
        let rounds = rounds.parse().ok().filter(|rounds| (ROUNDS..=ROUNDS_MAX).contains(rounds));
        let rounds = rounds.ok_or(SaslError::Malformed("a number of rounds out of bounds"))?;
        let keys = keys(&salt, rounds);
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(&self.gs2_header));
        let said = said(&self.first_bare, server_first, &without_proof);
        let proof = STANDARD.encode(xor(keys.client, hmac(&keys.stored, &[said.as_bytes()])));
        let check = ScramCheck { signature: hmac(&keys.server, &[said.as_bytes()]) };
        Ok((format!("{without_proof},p={proof}").into_bytes(), check))
    }
}

impl ScramCheck {
    /// Looks at the server's last token.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), SaslError> {
        let (signature, _extensions) = attribute(text(server_final)?, "v", "expected v=signature")?;
        let signature = STANDARD.decode(signature).map_err(|_| SaslError::ServerUnproved)?;
        if same_secret(&signature, &self.signature) { Ok(()) } else { Err(SaslError::ServerUnproved) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_client_speaks_as_the_example_of_the_rfc() {
        let client = ScramClient::new("user", "rOprNGfwEbeRWgbNEkqO", None);
        assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server_first =
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (token, check) =
            client.respond(server_first, |salt, rounds| ScramKeys::new("pencil", salt, rounds)).unwrap();
        assert_eq!(
            token,
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
              p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(check.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert_eq!(
            check.verify(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Err(SaslError::ServerUnproved)
        );
    }

    static USERS: LazyLock<Users> = LazyLock::new(|| Users::new([("a,b=c", "x")], &[1; 32]));

    fn begin(token: &str) -> Result<Server, SaslError> {
        Server::begin(token.as_bytes(), "s", &USERS).map(|(server, _)| server)
    }

    #[test]
    fn names_with_commas_and_whom_it_acts_for_are_told() {
        let client = ScramClient::new("a,b=c", "c", Some("2,1"));
        assert_eq!(client.first(), "n,a=2=2C1,n=a=2Cb=3Dc,r=c");
        let (server, first) = Server::begin(client.first().as_bytes(), "s", &USERS).unwrap();
        let (token, check) =
            client.respond(&first, |salt, rounds| ScramKeys::new("x", salt, rounds)).unwrap();
        let (token, proved) = server.finish(&token).unwrap();
        assert_eq!(check.verify(&token), Ok(()));
        assert_eq!(proved, Proved { user: "a,b=c".to_owned(), authzid: Some("2,1".to_owned()) });
    }

    #[test]
    fn whom_it_acts_for_is_part_of_the_proof() {
        let client = ScramClient::new("a,b=c", "c", Some("2"));
        let (server, first) = Server::begin(b"n,a=3,n=a=2Cb=3Dc,r=c", "s", &USERS).unwrap();
        let (token, _) = client.respond(&first, |salt, rounds| ScramKeys::new("x", salt, rounds)).unwrap();
        assert_eq!(
            server.finish(&token).map(|_| ()),
            Err(SaslError::Malformed("c is not the gs2-header that was sent"))
        );
    }

    #[test]
    fn a_first_token_against_the_rules_is_refused() {
        for token in [
            "n,",
            "n,,",
            "n,,n=u",
            "n,,r=x",
            "n,,n=,r=x",
            "n,,n=u,r=",
            "n,,n=a=b,r=x",
            "n,b=x,n=u,r=x",
            "n,,m=x,n=u,r=x",
            "p=tls-unique,,n=u,r=x",
            "n,,n=u,r=x\u{7f}",
        ] {
            assert!(begin(token).is_err(), "{token}");
        }
        for token in ["y,,n=u,r=x", "n,,n=u,r=x,ext=1", "n,a=z,n=u,r=x"] {
            assert!(begin(token).is_ok(), "{token}");
        }
    }

    #[test]
    fn a_server_cannot_ask_for_any_number_of_rounds_or_keep_the_nonce() {
        let client = ScramClient::new("u", "c", None);
        for first in [
            "r=c,s=AA==,i=4096",
            "r=xs,s=AA==,i=4096",
            "r=cs,s=AA==,i=4095",
            "r=cs,s=AA==,i=200001",
            "r=cs,s=?,i=4096",
        ] {
            let responded = client.respond(first.as_bytes(), |_, _| unreachable!("refused before"));
            assert!(responded.is_err(), "{first}");
        }
    }
}
