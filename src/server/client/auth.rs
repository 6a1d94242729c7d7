//! Who a client is. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::jute::AuthId;

/// Identities of one connection. Each request carries them to the leader.
pub const IDENTITIES_MAX: usize = 16;

/// The longest name of a user. ZooKeeper has no bound; but each request carries it to the leader.
pub const USER_BYTES_MAX: usize = 4096;

/// What every client is by its address.
pub fn initial(ip: IpAddr) -> Arc<[AuthId]> {
    Arc::from([address(ip)])
}

/// The identities of a client that has shown a certificate with this subject: in ZooKeeper's order.
pub fn certified(identities: &Arc<[AuthId]>, subject: String, is_super: bool) -> Arc<[AuthId]> {
    let superb = is_super.then(|| AuthId { scheme: "super".to_owned(), id: subject.clone() });
    let own = AuthId { scheme: "x509".to_owned(), id: subject };
    identities.iter().cloned().chain(superb).chain([own]).collect()
}

/// The identities after an `auth` packet; `None` if it does not prove any, or one too many.
pub fn authenticated(
    identities: &Arc<[AuthId]>,
    scheme: &str,
    auth: &[u8],
    ip: IpAddr,
) -> Option<Arc<[AuthId]>> {
    let proved = match scheme {
        "digest" => AuthId { scheme: scheme.to_owned(), id: digest(auth)? },
        "ip" => address(ip),
        // The handshake has proved it, or nothing does.
        "x509" => identities.iter().find(|it| it.scheme == scheme)?.clone(),
        _ => return None,
    };
    if identities.contains(&proved) {
        return Some(Arc::clone(identities));
    }
    if identities.len() >= IDENTITIES_MAX {
        return None;
    }
    Some(identities.iter().cloned().chain([proved]).collect())
}

fn address(ip: IpAddr) -> AuthId {
    AuthId { scheme: "ip".to_owned(), id: ip.to_canonical().to_string() }
}

/// `user:` and the hash of `user:password`. Without a colon everything is the user, as in ZooKeeper. `None` if the user's
/// name is too long.
fn digest(auth: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(auth);
    let user = text.split_once(':').map_or(&*text, |(user, _password)| user);
    (user.len() <= USER_BYTES_MAX)
        .then(|| format!("{user}:{}", STANDARD.encode(Sha1::digest(text.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

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
}
