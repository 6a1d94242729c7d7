//! DIGEST-MD5 without a security layer: the server's realm is ZooKeeper's, the quality of protection `auth`.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use super::directives::{Pair, parse, quoted};
use super::{DIGEST_URI, Proved, REALM, SaslError, Users, same_secret};

/// A nonce is used once, so this is the first time. What the client says of it is not looked at, as in Java.
const NONCE_COUNT: &str = "00000001";

/// A server that has sent its challenge.
#[derive(Debug)]
pub(super) struct Server {
    nonce: String,
}

impl Server {
    /// Word for word the challenge of Java's server.
    pub fn begin(nonce: String) -> (Server, Vec<u8>) {
        let challenge = format!("realm=\"{REALM}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
        (Server { nonce }, challenge.into_bytes())
    }

    /// Looks at what Java's server looks at, in the same order; answers with the proof that the server knows the password.
    pub fn finish(self, token: &[u8], users: &Users) -> Result<(Vec<u8>, Proved), SaslError> {
        let directives = Directives::parse(token)?;
        if directives.get("charset").is_some_and(|charset| charset != b"utf-8") {
            return Err(SaslError::Malformed("a charset other than utf-8"));
        }
        let username = directives.text("username").ok_or(SaslError::Malformed("no username"))?;
        if directives.get("realm") != Some(REALM.as_bytes()) {
            return Err(SaslError::Malformed("another realm than zk-sasl-md5"));
        }
        if directives.get("nonce") != Some(self.nonce.as_bytes()) {
            return Err(SaslError::Malformed("another nonce"));
        }
        let cnonce = directives.get("cnonce").ok_or(SaslError::Malformed("no cnonce"))?;
        if directives.get("qop").is_some_and(|qop| qop != b"auth") {
            return Err(SaslError::Malformed("another quality of protection than auth"));
        }
        let digest_uri = directives.text("digest-uri").filter(|uri| uri.eq_ignore_ascii_case(DIGEST_URI));
        let digest_uri =
            digest_uri.ok_or(SaslError::Malformed("another digest-uri than zookeeper/zk-sasl-md5"))?;
        let response = directives.get("response").ok_or(SaslError::Malformed("no response"))?;
        let authzid = directives.get("authzid");
        // Whoever does not exist is hashed like everybody else, so that the time does not tell.
        let password = users.password(&username);
        let proof = Proof {
            username: &username,
            password: password.unwrap_or_default(),
            nonce: self.nonce.as_bytes(),
            cnonce,
            authzid,
        };
        let expected = proof.of("AUTHENTICATE", &digest_uri);
        if !same_secret(expected.as_bytes(), response) || password.is_none() {
            return Err(SaslError::denied(&username));
        }
        let token = format!("rspauth={}", proof.of("", &digest_uri)).into_bytes();
        let authzid = authzid.map(|authzid| String::from_utf8_lossy(authzid).into_owned());
        Ok((token, Proved { user: username, authzid }))
    }
}

/// The directives of a token. None that means something stands twice.
struct Directives {
    pairs: Vec<Pair>,
}

impl Directives {
    const KNOWN: [&str; 14] = [
        "username",
        "realm",
        "nonce",
        "cnonce",
        "nc",
        "qop",
        "digest-uri",
        "response",
        "maxbuf",
        "charset",
        "cipher",
        "authzid",
        "algorithm",
        "stale",
    ];

    fn parse(token: &[u8]) -> Result<Directives, SaslError> {
        let directives = Directives { pairs: parse(token)? };
        for name in Directives::KNOWN {
            let named = directives.pairs.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
            if named.count() > 1 {
                return Err(SaslError::Malformed("a directive that stands twice"));
            }
        }
        Ok(directives)
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        let mut pairs = self.pairs.iter();
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| &**value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// What both sides compute.
struct Proof<'a> {
    username: &'a str,
    password: &'a str,
    nonce: &'a [u8],
    cnonce: &'a [u8],
    authzid: Option<&'a [u8]>,
}

impl Proof<'_> {
    /// The response: `AUTHENTICATE` from the client, nothing from the server.
    fn of(&self, method: &str, digest_uri: &str) -> String {
        let secret = Md5::new()
            .chain_update(narrow(self.username))
            .chain_update(b":")
            .chain_update(narrow(REALM))
            .chain_update(b":")
            .chain_update(narrow(self.password))
            .finalize();
        let mut a1 = Md5::new();
        a1.update(secret);
        for part in [self.nonce, self.cnonce].into_iter().chain(self.authzid) {
            a1.update(b":");
            a1.update(part);
        }
        let a2 = Md5::digest(format!("{method}:{digest_uri}"));
        let response = Md5::new()
            .chain_update(hex(&a1.finalize()))
            .chain_update(b":")
            .chain_update(self.nonce)
            .chain_update(format!(":{NONCE_COUNT}:"))
            .chain_update(self.cnonce)
            .chain_update(format!(":auth:{}", hex(&a2)))
            .finalize();
        hex(&response)
    }
}

/// ISO-8859-1 if that has all of its characters, UTF-8 if not: the rule of RFC 2831.
fn narrow(text: &str) -> Vec<u8> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
    bytes.unwrap_or_else(|_| text.as_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A client's side. Its first token is empty.
#[derive(Clone)]
pub struct DigestMd5Client {
    user: String,
    password: String,
}

/// What the server must answer to prove that it knows the password.
#[derive(Debug)]
pub struct DigestMd5Check {
    rspauth: String,
}

impl DigestMd5Client {
    /// Who it is.
    pub fn new(user: &str, password: &str) -> DigestMd5Client {
        DigestMd5Client { user: user.to_owned(), password: password.to_owned() }
    }

    /// The second token, for the server's challenge. `cnonce` is one that nobody can guess, of letters and digits.
    pub fn respond(&self, challenge: &[u8], cnonce: &str) -> Result<(Vec<u8>, DigestMd5Check), SaslError> {
        let directives = Directives::parse(challenge)?;
        let nonce = directives.text("nonce").ok_or(SaslError::Malformed("a challenge without a nonce"))?;
        if directives.get("realm") != Some(REALM.as_bytes()) {
            return Err(SaslError::Malformed("another realm than zk-sasl-md5"));
        }
        let proof = Proof {
            username: &self.user,
            password: &self.password,
            nonce: nonce.as_bytes(),
            cnonce: cnonce.as_bytes(),
            authzid: None,
        };
        let token = format!(
            "charset=utf-8,username={},realm=\"{REALM}\",nonce={},nc={NONCE_COUNT},cnonce=\"{cnonce}\",\
             digest-uri=\"{DIGEST_URI}\",maxbuf=65536,qop=auth,response={}",
            quoted(&self.user),
            quoted(&nonce),
            proof.of("AUTHENTICATE", DIGEST_URI),
        );
        Ok((token.into_bytes(), DigestMd5Check { rspauth: proof.of("", DIGEST_URI) }))
    }
}

impl DigestMd5Check {
    /// Looks at the server's last token.
    pub fn verify(&self, token: &[u8]) -> Result<(), SaslError> {
        let directives = Directives::parse(token)?;
        let rspauth = directives.get("rspauth").ok_or(SaslError::ServerUnproved)?;
        if same_secret(rspauth, self.rspauth.as_bytes()) { Ok(()) } else { Err(SaslError::ServerUnproved) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// Computed by the formula of RFC 2831, elsewhere.
    #[test]
    fn the_proof_is_that_of_the_rfc() {
        let proof =
            Proof { username: "bob", password: "secret", nonce: b"nonce", cnonce: b"cnonce", authzid: None };
        assert_eq!(proof.of("AUTHENTICATE", DIGEST_URI), "bb2a01debe16e8bbf90f0c4576479b96");
        assert_eq!(proof.of("", DIGEST_URI), "2b7f95923330d0d6726fbbc2ea2e5922");
    }

    static USERS: LazyLock<Users> = LazyLock::new(|| Users::new([("bob", "secret")], &[7; 32]));

    fn finish(token: &str) -> Result<Proved, SaslError> {
        let (server, _) = Server::begin("nonce".to_owned());
        server.finish(token.as_bytes(), &USERS).map(|(_, proved)| proved)
    }

    fn good() -> String {
        let (_, challenge) = Server::begin("nonce".to_owned());
        let (token, _) = DigestMd5Client::new("bob", "secret").respond(&challenge, "cnonce").unwrap();
        String::from_utf8(token).unwrap()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert!(finish(&good()).is_ok());
        for left_out in ["charset=utf-8,", "nc=00000001,", "maxbuf=65536,", "qop=auth,"] {
            assert!(finish(&good().replace(left_out, "")).is_ok(), "{left_out}");
        }
        assert!(finish(&good().replace("zookeeper/", "ZooKeeper/")).is_err(), "it is part of the proof");
    }

    #[test]
    fn whatever_does_not_fit_is_refused() {
        for (part, other) in [
            ("charset=utf-8", "charset=latin"),
            ("username=\"bob\",", ""),
            ("realm=\"zk-sasl-md5\",", ""),
            ("realm=\"zk-sasl-md5\"", "realm=\"other\""),
            ("nonce=\"nonce\"", "nonce=\"other\""),
            (",cnonce=\"cnonce\"", ""),
            ("qop=auth", "qop=auth-int"),
            ("qop=auth", "qop=auth,authzid=\"super\""),
            ("digest-uri=\"zookeeper/zk-sasl-md5\"", "digest-uri=\"ldap/zk-sasl-md5\""),
            ("response=", "response=0"),
            ("username=\"bob\"", "username=\"bob\",username=\"bob\""),
        ] {
            assert!(good().contains(part));
            assert!(finish(&good().replace(part, other)).is_err(), "{part} {other}");
        }
    }
}
