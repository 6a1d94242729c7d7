//! Who a client is. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::{Digest as _, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};
use subtle::ConstantTimeEq;

use crate::config::{AuthSettings, DigestAlg};
use crate::jute::AuthId;

/// Identities of one connection. Each request carries them to the leader.
pub const IDENTITIES_MAX: usize = 16;

/// The longest name of a user. ZooKeeper has no bound; but each request carries it to the leader.
pub const USER_BYTES_MAX: usize = 4096;

/// What every client is by its address.
pub fn initial(ip: IpAddr) -> Arc<[AuthId]> {
    Arc::from([address(ip)])
}

/// Why an `auth` packet is not answered with success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthError {
    /// it proves nothing, or one identity too many
    Refused,
    /// the client looks for another ensemble: without an answer it tries another server
    OtherEnsemble,
}

/// The identities of a client that has shown a certificate with this subject: in ZooKeeper's order.
pub fn certified(identities: &Arc<[AuthId]>, subject: String, is_super: bool) -> Arc<[AuthId]> {
    let superb = is_super.then(|| AuthId { scheme: "super".to_owned(), id: subject.clone() });
    let own = AuthId { scheme: "x509".to_owned(), id: subject };
    identities.iter().cloned().chain(superb).chain([own]).collect()
}

/// The identities after an `auth` packet.
pub fn authenticated(
    identities: &Arc<[AuthId]>,
    scheme: &str,
    auth: &[u8],
    ip: IpAddr,
    settings: &AuthSettings,
) -> Result<Arc<[AuthId]>, AuthError> {
    let proved = match (scheme, &settings.ensemble_names) {
        ("digest", _) if settings.digest => digests(auth, settings).ok_or(AuthError::Refused)?,
        ("ip", _) => vec![address(ip)],
        ("ensemble", Some(names)) if is_ours(names, auth) => Vec::new(),
        ("ensemble", Some(_)) => return Err(AuthError::OtherEnsemble),
        // The handshake has proved it, or nothing does.
        ("x509", _) if identities.iter().any(|identity| identity.scheme == scheme) => Vec::new(),
        _ => return Err(AuthError::Refused),
    };
    with_more(identities, proved).ok_or(AuthError::Refused)
}

/// The identities of a client that has proved by SASL to be `user`. `None`: one too many.
pub fn with_sasl_user(
    identities: &Arc<[AuthId]>,
    user: &str,
    settings: &AuthSettings,
) -> Option<Arc<[AuthId]>> {
    let mut proved = vec![AuthId { scheme: "sasl".to_owned(), id: user.to_owned() }];
    if settings.sasl_super_users.iter().any(|super_user| super_user == user) {
        proved.push(super_user());
    }
    with_more(identities, proved)
}

/// True if a client with these identities is served (`enforce.auth.*`, `sessionRequireClientSASLAuth`).
pub fn are_enough(identities: &[AuthId], settings: &AuthSettings) -> bool {
    settings.required_schemes.is_empty()
        || identities.iter().any(|identity| settings.required_schemes.contains(&identity.scheme))
}

fn with_more(identities: &Arc<[AuthId]>, mut proved: Vec<AuthId>) -> Option<Arc<[AuthId]>> {
    proved.retain(|identity| !identities.contains(identity));
    if proved.is_empty() {
        return Some(Arc::clone(identities));
    }
    let count = identities.len() + proved.len();
    (count <= IDENTITIES_MAX).then(|| identities.iter().cloned().chain(proved).collect())
}

/// True if the client expects any of the names, or does not say which.
fn is_ours(names: &[String], expected: &[u8]) -> bool {
    is_any(names, expected) || names.iter().any(|name| name.as_bytes() == expected)
}

/// True if it does not matter which ensemble a client expects.
fn is_any(names: &[String], expected: &[u8]) -> bool {
    names.is_empty() || expected.is_empty()
}

/// True if an `auth` packet of the scheme `ensemble` that was accepted said nothing.
pub fn named_no_ensemble(expected: &[u8], settings: &AuthSettings) -> bool {
    settings.ensemble_names.as_ref().is_none_or(|names| is_any(names, expected))
}

/// Whom no ACL binds.
fn super_user() -> AuthId {
    AuthId { scheme: "super".to_owned(), id: String::new() }
}

fn address(ip: IpAddr) -> AuthId {
    AuthId { scheme: "ip".to_owned(), id: ip.to_canonical().to_string() }
}

/// `user:` and the hash of `user:password`; before it the super user, if it is that. Without a colon everything is the
/// user, as in ZooKeeper. `None` if the user's name is too long.
fn digests(auth: &[u8], settings: &AuthSettings) -> Option<Vec<AuthId>> {
    let text = String::from_utf8_lossy(auth);
    let user = text.split_once(':').map_or(&*text, |(user, _password)| user);
    if user.len() > USER_BYTES_MAX {
        return None;
    }
    let id = format!("{user}:{}", STANDARD.encode(hash(settings.digest_alg, text.as_bytes())));
    let is_super = settings
        .super_digest
        .as_ref()
        .is_some_and(|digest| digest.expose().as_bytes().ct_eq(id.as_bytes()).into());
    let identity = AuthId { scheme: "digest".to_owned(), id };
    Some(if is_super { vec![super_user(), identity] } else { vec![identity] })
}

fn hash(alg: DigestAlg, text: &[u8]) -> Vec<u8> {
    match alg {
        DigestAlg::Md5 => Md5::digest(text).to_vec(),
        DigestAlg::Sha1 => Sha1::digest(text).to_vec(),
        DigestAlg::Sha224 => Sha224::digest(text).to_vec(),
        DigestAlg::Sha256 => Sha256::digest(text).to_vec(),
        DigestAlg::Sha384 => Sha384::digest(text).to_vec(),
        DigestAlg::Sha512 => Sha512::digest(text).to_vec(),
        DigestAlg::Sha3_224 => Sha3_224::digest(text).to_vec(),
        DigestAlg::Sha3_256 => Sha3_256::digest(text).to_vec(),
        DigestAlg::Sha3_384 => Sha3_384::digest(text).to_vec(),
        DigestAlg::Sha3_512 => Sha3_512::digest(text).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn authenticated(
        identities: &Arc<[AuthId]>,
        scheme: &str,
        auth: &[u8],
        ip: IpAddr,
    ) -> Option<Arc<[AuthId]>> {
        super::authenticated(identities, scheme, auth, ip, &AuthSettings::default()).ok()
    }

    fn ids(identities: &[AuthId]) -> Vec<String> {
        identities.iter().map(|it| format!("{}:{}", it.scheme, it.id)).collect()
    }

    #[test]
    fn a_digest_is_that_of_zookeeper() {
        let identities = authenticated(&initial(IP), "digest", b"super:test", IP).unwrap();
        assert_eq!(ids(&identities), ["ip:10.0.0.1", "digest:super:D/InIHSb7yEEbrWz8b9l71RjZJU="]);
    }

    #[test]
    fn the_same_proof_twice_is_one_identity_and_an_unknown_scheme_proves_nothing() {
        let identities = authenticated(&initial(IP), "digest", b"a:b", IP).unwrap();
        assert!(Arc::ptr_eq(&authenticated(&identities, "digest", b"a:b", IP).unwrap(), &identities));
        assert!(Arc::ptr_eq(&authenticated(&identities, "ip", b"", IP).unwrap(), &identities));
        assert_eq!(authenticated(&identities, "sasl", b"a:b", IP), None);
        assert_eq!(authenticated(&identities, "world", b"anyone", IP), None);
    }

    #[test]
    fn a_name_longer_than_any_user_has_proves_nothing() {
        let longest = [b'u'; USER_BYTES_MAX];
        assert!(authenticated(&initial(IP), "digest", &[&longest[..], b":p"].concat(), IP).is_some());
        assert_eq!(authenticated(&initial(IP), "digest", &[&longest[..], b"u:p"].concat(), IP), None);
    }

    #[test]
    fn a_certificate_is_an_identity_that_no_packet_can_claim() {
        let plain = initial(IP);
        assert_eq!(authenticated(&plain, "x509", b"CN=a", IP), None);
        let certified = certified(&plain, "CN=a".to_owned(), false);
        assert_eq!(ids(&certified), ["ip:10.0.0.1", "x509:CN=a"]);
        assert!(Arc::ptr_eq(&authenticated(&certified, "x509", b"CN=b", IP).unwrap(), &certified));
        let root = super::certified(&plain, "CN=a".to_owned(), true);
        assert_eq!(ids(&root), ["ip:10.0.0.1", "super:CN=a", "x509:CN=a"]);
    }

    #[test]
    fn identities_are_bounded() {
        let mut identities = initial(IP);
        for user in 1..IDENTITIES_MAX {
            identities = authenticated(&identities, "digest", format!("{user}:p").as_bytes(), IP).unwrap();
        }
        assert_eq!(authenticated(&identities, "digest", b"one:more", IP), None);
        assert!(authenticated(&identities, "digest", b"1:p", IP).is_some());
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_has_its_ipv4_address() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(ids(&initial(mapped)), ["ip:10.0.0.1"]);
    }

    #[test]
    fn the_super_digest_is_its_user_and_the_super_user() {
        let super_digest = Some(Secret::new("super:D/InIHSb7yEEbrWz8b9l71RjZJU="));
        let settings = AuthSettings { super_digest, ..AuthSettings::default() };
        let identities = super::authenticated(&initial(IP), "digest", b"super:test", IP, &settings).unwrap();
        assert_eq!(ids(&identities), ["ip:10.0.0.1", "super:", "digest:super:D/InIHSb7yEEbrWz8b9l71RjZJU="]);
        let identities = super::authenticated(&initial(IP), "digest", b"super:no", IP, &settings).unwrap();
        assert!(!identities.iter().any(|identity| identity.scheme == "super"));
    }

    #[test]
    fn the_super_user_is_not_lost_among_many_identities() {
        let super_digest = Some(Secret::new("super:D/InIHSb7yEEbrWz8b9l71RjZJU="));
        let settings = AuthSettings { super_digest, ..AuthSettings::default() };
        let mut identities = initial(IP);
        for user in 1..IDENTITIES_MAX - 1 {
            identities = authenticated(&identities, "digest", format!("{user}:p").as_bytes(), IP).unwrap();
        }
        let refused = super::authenticated(&identities, "digest", b"super:test", IP, &settings);
        assert_eq!(refused, Err(AuthError::Refused), "both or none");
    }

    #[test]
    fn digests_are_by_the_algorithm_of_the_configuration() {
        // Computed with Python's hashlib.
        for (digest_alg, id) in [
            (DigestAlg::Md5, "wj9ntl1lUHd6RGlGHs+1Hg=="),
            (DigestAlg::Sha224, "buY2RDLG1qb161QWn3zO7zdHv1Jw5JzOzvoq8w=="),
            (DigestAlg::Sha256, "/Y8xRBngpX5duYn15uUqIRaIaCviy5TEwSk419hCwuA="),
            (DigestAlg::Sha384, "joW9fAMExHHjPTquSoLHR7yNt+hmUQSWOdXLQ1YgEw4t89oJD5tqLNcOJbpOm3hr"),
            (
                DigestAlg::Sha512,
                "JuOwXdmk4f1omXNJj7k4ILDOHOlc+8PMyEaxl9nrWl6OmV83jKYivSqJWsp5PsMTda6BtnipueoU1r5DtBd7CA==",
            ),
            (DigestAlg::Sha3_224, "VetFxgqKhf3M+E8Pj5X4NLMXFF7lPCr+KjMt9g=="),
            (DigestAlg::Sha3_256, "3+U94Pf1dSrKR/q5qu/huTFf1Fha6TtpdtpSdhWvIS0="),
            (DigestAlg::Sha3_384, "d4zgobLcJSLRER2rxMYl64bQqLziPCVxzKEWJoX+pEfq/zm0wPI8ZyXDgZrO/jZl"),
            (
                DigestAlg::Sha3_512,
                "CxK7PYZe5JmbxbczQTl9zOaNZXrjA0kC+0x9tzWMsGKrpYRMUAdSUKhye+ylfkRhhXm3ReL68pT1mUct81OUyQ==",
            ),
        ] {
            let settings = AuthSettings { digest_alg, ..AuthSettings::default() };
            let identities = super::authenticated(&Arc::from([]), "digest", b"u:p", IP, &settings).unwrap();
            assert_eq!(ids(&identities), [format!("digest:u:{id}")], "{digest_alg:?}");
        }
    }

    #[test]
    fn a_client_that_looks_for_another_ensemble_is_told_nothing() {
        let named = |names: &[&str]| AuthSettings {
            ensemble_names: Some(names.iter().map(|name| name.to_string()).collect()),
            ..AuthSettings::default()
        };
        let ask = |settings: &AuthSettings, name: &[u8]| {
            super::authenticated(&initial(IP), "ensemble", name, IP, settings)
                .map(|identities| identities.len())
        };
        assert_eq!(ask(&AuthSettings::default(), b"a"), Err(AuthError::Refused), "there is no such scheme");
        assert_eq!(ask(&named(&[]), b"a"), Ok(1));
        assert_eq!(ask(&named(&["a", "b"]), b"b"), Ok(1), "it proves nothing");
        assert_eq!(ask(&named(&["a", "b"]), b""), Ok(1));
        assert_eq!(ask(&named(&["a", "b"]), b"c"), Err(AuthError::OtherEnsemble));
    }

    #[test]
    fn who_must_authenticate_is_served_with_one_of_the_schemes() {
        let required_schemes = vec!["sasl".to_owned(), "digest".to_owned()];
        let settings = AuthSettings { required_schemes, ..AuthSettings::default() };
        assert!(are_enough(&initial(IP), &AuthSettings::default()));
        assert!(!are_enough(&initial(IP), &settings));
        assert!(are_enough(&authenticated(&initial(IP), "digest", b"a:b", IP).unwrap(), &settings));
        assert!(are_enough(&with_sasl_user(&initial(IP), "bob", &settings).unwrap(), &settings));
    }

    #[test]
    fn a_super_user_of_sasl_is_both() {
        let settings = AuthSettings { sasl_super_users: vec!["root".to_owned()], ..AuthSettings::default() };
        let user = |name| ids(&with_sasl_user(&initial(IP), name, &settings).unwrap());
        assert_eq!(user("root"), ["ip:10.0.0.1", "sasl:root", "super:"]);
        assert_eq!(user("bob"), ["ip:10.0.0.1", "sasl:bob"]);
    }

    #[test]
    fn a_scheme_that_is_switched_off_proves_nothing() {
        let settings = AuthSettings { digest: false, ..AuthSettings::default() };
        let refused = super::authenticated(&initial(IP), "digest", b"a:b", IP, &settings);
        assert_eq!(refused, Err(AuthError::Refused));
    }
}
