//! Who may do what: the schemes `world`, `auth`, `digest`, `ip`, `sasl` and `x509`, as ZooKeeper's providers understand
//! them.

use super::x500;
use crate::jute::{Acl, AuthId, ErrorCode};

/// Bytes of an address, as many as its family has.
type Address = Vec<u8>;

/// What the configuration says about lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// everybody may do everything (`skipACL`); lists are kept all the same
    pub skip: bool,
    /// the scheme `digest` means something (`DigestAuthenticationProvider.enabled`)
    pub has_digest: bool,
    /// the scheme `sasl` means something (`authProvider.*`)
    pub has_sasl: bool,
    /// the scheme `x509` means something (there is a port for TLS)
    pub has_x509: bool,
    /// an entry of the scheme `sasl` with this name is for whoever has proved any name (`letAnySaslUserDoX`)
    pub any_sasl_user: Option<String>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { skip: false, has_digest: true, has_sasl: false, has_x509: false, any_sasl_user: None }
    }
}

/// True if the list grants one of the permissions in `perm` to one of the identities of a connection.
///
/// An empty list protects nothing, and the identity `super` may do everything, as in ZooKeeper.
pub fn permits(acl: &[Acl], perm: i32, ids: &[AuthId], rules: &Rules) -> bool {
    acl.is_empty()
        || rules.skip
        || ids.iter().any(|id| id.scheme == "super")
        || acl
            .iter()
            .any(|entry| entry.perms & perm != 0 && (is_anyone(&entry.id) || rules.is_one_of(&entry.id, ids)))
}

/// True if the list grants the permission to everybody, whatever the rules.
pub(super) fn permits_everyone(acl: &[Acl], perm: i32) -> bool {
    acl.is_empty() || acl.iter().any(|entry| entry.perms & perm != 0 && is_anyone(&entry.id))
}

/// The list as it is stored: without duplicates, and with `auth` replaced by who the client is.
///
/// `InvalidAcl` if nothing is left, or an entry can never mean anyone.
pub fn fix_acl(acl: &[Acl], ids: &[AuthId], rules: &Rules) -> Result<Vec<Acl>, ErrorCode> {
    let mut fixed: Vec<Acl> = Vec::with_capacity(acl.len());
    for (n, entry) in acl.iter().enumerate() {
        if acl[..n].contains(entry) {
            continue;
        }
        if is_anyone(&entry.id) {
            fixed.push(entry.clone());
        } else if entry.id.scheme == "auth" {
            let before = fixed.len();
            let authenticated = ids.iter().filter(|id| rules.is_authenticated(id));
            fixed.extend(authenticated.map(|id| Acl { perms: entry.perms, id: id.clone() }));
            if fixed.len() == before {
                return Err(ErrorCode::InvalidAcl);
            }
        } else if rules.is_valid(&entry.id) {
            fixed.push(entry.clone());
        } else {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    if fixed.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(fixed) }
}

fn is_anyone(id: &AuthId) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

impl Rules {
    fn is_one_of(&self, granted: &AuthId, ids: &[AuthId]) -> bool {
        ids.iter().filter(|id| id.scheme == granted.scheme).any(|id| match &*granted.scheme {
            "digest" => self.has_digest && id.id == granted.id,
            "ip" => ip_matches(&id.id, &granted.id),
            "sasl" => self.has_sasl && self.sasl_matches(&id.id, &granted.id),
            "x509" => self.has_x509 && id.id == granted.id,
            _ => false,
        })
    }

    /// The user `super` is all of them, as in ZooKeeper.
    fn sasl_matches(&self, user: &str, granted: &str) -> bool {
        user == "super" || user == granted || self.any_sasl_user.as_deref() == Some(granted)
    }

    /// An identity that the client has proved. An address proves nothing, and `super` is not for lists.
    fn is_authenticated(&self, id: &AuthId) -> bool {
        match &*id.scheme {
            "digest" => self.has_digest,
            "sasl" => self.has_sasl,
            "x509" => self.has_x509,
            _ => false,
        }
    }

    fn is_valid(&self, id: &AuthId) -> bool {
        match &*id.scheme {
            "digest" => self.has_digest && is_valid_digest(&id.id),
            "ip" => parse_network(&id.id).is_some(),
            "sasl" => self.has_sasl && is_valid_principal(&id.id),
            "x509" => self.has_x509 && x500::is_name(&id.id),
            _ => false,
        }
    }
}

/// Any name, or `service/host@REALM` with each of its parts empty or not: ZooKeeper takes it for one of Kerberos.
fn is_valid_principal(id: &str) -> bool {
    match id.split_once('@') {
        None => true,
        Some((service, realm)) => !realm.contains(['/', '@']) && service.matches('/').count() <= 1,
    }
}

/// Two parts around a colon, as Java's `split` counts them: empty ones at the end are none.
fn is_valid_digest(id: &str) -> bool {
    id.trim_end_matches(':').matches(':').count() == 1
}

fn ip_matches(address: &str, network: &str) -> bool {
    let Some((network, bits)) = parse_network(network) else {
        return false;
    };
    parse_address(address).is_some_and(|address| {
        address.len() == network.len() && masked(address, bits) == masked(network, bits)
    })
}

/// `address` or `address/bits`.
fn parse_network(text: &str) -> Option<(Address, usize)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address = parse_address(address)?;
    let bits_max = address.len() * 8;
    let bits = match bits {
        Some(bits) => bits.parse::<i32>().ok().and_then(|bits| usize::try_from(bits).ok())?,
        None => bits_max,
    };
    (bits <= bits_max).then_some((address, bits))
}

fn parse_address(text: &str) -> Option<Address> {
    if text.contains(':') { parse_v6(text) } else { parse_v4(text) }
}

/// Four numbers. Not `std`'s parser, because ZooKeeper takes `127.0.0.01` too.
fn parse_v4(text: &str) -> Option<Address> {
    let parts: Vec<_> = text.split('.').collect();
    if parts.len() != 4 {
        return None;
    }
    parts.into_iter().map(|part| u8::try_from(part.parse::<i32>().ok()?).ok()).collect()
}

/// Eight groups of at most four digits, or fewer around one `::`. Not `std`'s parser, because ZooKeeper knows no
/// dotted end.
fn parse_v6(text: &str) -> Option<Address> {
    let groups = |text: &str| -> Option<Vec<[u8; 2]>> {
        if text.is_empty() { Some(Vec::new()) } else { text.split(':').map(parse_group).collect() }
    };
    let mut halves = text.split("::");
    let (first, second, more) = (halves.next()?, halves.next(), halves.next());
    if more.is_some() {
        return None;
    }
    let head = groups(first)?;
    let address = match second {
        None if head.len() == 8 => head,
        None => return None,
        Some(second) => {
            let tail = groups(second)?;
            let zeros = 8usize.checked_sub(head.len() + tail.len()).filter(|&zeros| zeros > 0)?;
            [head, vec![[0, 0]; zeros], tail].concat()
        }
    };
    Some(address.concat())
}

fn parse_group(text: &str) -> Option<[u8; 2]> {
    if text.len() > 4 {
        return None;
    }
    // Signed, because ZooKeeper parses it so.
    i32::from_str_radix(text, 16).ok().map(|group| (group as u16).to_be_bytes())
}

/// The first bits of an address, the rest zero.
fn masked(mut address: Address, bits: usize) -> Address {
    for (n, byte) in address.iter_mut().enumerate() {
        let kept = bits.saturating_sub(n * 8).min(8);
        *byte &= !(0xff_u16 >> kept) as u8;
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::perms::{ADMIN, ALL, CREATE, READ, WRITE};

    fn permits(acl: &[Acl], perm: i32, ids: &[AuthId]) -> bool {
        super::permits(acl, perm, ids, &Rules { has_x509: true, ..Rules::default() })
    }

    fn fix_acl(acl: &[Acl], ids: &[AuthId]) -> Result<Vec<Acl>, ErrorCode> {
        super::fix_acl(acl, ids, &Rules { has_x509: true, ..Rules::default() })
    }

    fn id(scheme: &str, id: &str) -> AuthId {
        AuthId { scheme: scheme.into(), id: id.into() }
    }

    fn acl(perms: i32, scheme: &str, name: &str) -> Acl {
        Acl { perms, id: id(scheme, name) }
    }

    #[test]
    fn anyone_is_everyone() {
        assert!(permits(&[acl(READ, "world", "anyone")], READ, &[]));
        assert!(!permits(&[acl(READ, "world", "anyone")], WRITE, &[]));
        assert!(!permits(&[acl(ALL, "world", "someone")], READ, &[id("world", "someone")]));
    }

    #[test]
    fn one_of_several_permissions_is_enough() {
        assert!(permits(&[acl(ADMIN, "world", "anyone")], READ | ADMIN, &[]));
    }

    #[test]
    fn an_empty_list_and_a_super_user_know_no_limits() {
        assert!(permits(&[], CREATE, &[]));
        assert!(permits(&[acl(READ, "digest", "me:x")], CREATE, &[id("super", "")]));
    }

    #[test]
    fn a_digest_must_be_equal_and_of_the_same_scheme() {
        let list = [acl(READ, "digest", "me:x"), acl(WRITE, "digest", "you:y")];
        assert!(permits(&list, READ, &[id("ip", "127.0.0.1"), id("digest", "me:x")]));
        assert!(!permits(&list, WRITE, &[id("digest", "me:x")]));
        assert!(!permits(&list, READ, &[id("digest", "me:y")]));
        assert!(!permits(&list, READ, &[id("ip", "me:x")]));
    }

    #[test]
    fn a_subject_must_be_equal_letter_by_letter() {
        let list = [acl(READ, "x509", "CN=a,O=b")];
        assert!(permits(&list, READ, &[id("x509", "CN=a,O=b")]));
        for other in ["CN=a, O=b", "cn=a,O=b", "O=b,CN=a", "CN=a"] {
            assert!(!permits(&list, READ, &[id("x509", other)]), "{other}");
        }
        assert!(!permits(&list, READ, &[id("digest", "CN=a,O=b")]));
        assert_eq!(fix_acl(&[acl(READ, "x509", "a")], &[]), Err(ErrorCode::InvalidAcl));
        let certified = [id("ip", "10.0.0.1"), id("x509", "CN=a")];
        assert_eq!(fix_acl(&[acl(READ, "auth", "")], &certified), Ok(vec![acl(READ, "x509", "CN=a")]));
    }

    #[test]
    fn a_network_holds_the_addresses_with_its_first_bits() {
        for (network, address, holds) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.0/8", "127.200.3.4", true),
            ("127.0.0.0/8", "128.0.0.0", false),
            ("10.1.2.0/23", "10.1.3.255", true),
            ("10.1.2.0/23", "10.1.4.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("10.0.0.0/32", "10.0.0.0", true),
            ("::1", "0:0:0:0:0:0:0:1", true),
            ("::1", "0:0:0:0:0:0:0:2", false),
            ("fe80::/10", "fe80:0:0:0:1:2:3:4", true),
            ("fe80::/10", "fec0:0:0:0:1:2:3:4", false),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "127.0.0.1", false),
            ("nonsense", "127.0.0.1", false),
            ("127.0.0.1", "nonsense", false),
        ] {
            assert_eq!(
                permits(&[acl(READ, "ip", network)], READ, &[id("ip", address)]),
                holds,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn only_well_formed_ids_are_stored() {
        let well_formed = |scheme, name| fix_acl(&[acl(READ, scheme, name)], &[]).is_ok();
        for name in ["user:hash", ":hash", "user:hash:", "user:hash::", "user:h/a+s="] {
            assert!(well_formed("digest", name), "{name}");
        }
        for name in ["", ":", "user", "user:", "a:b:c", "::x"] {
            assert!(!well_formed("digest", name), "{name}");
        }
        for name in [
            "1.2.3.4",
            "1.2.3.4/0",
            "1.2.3.4/32",
            "1.2.3.04",
            "::",
            "::1",
            "1::",
            "1:2:3:4:5:6:7:8",
            "a::b/128",
        ] {
            assert!(well_formed("ip", name), "{name}");
        }
        for name in [
            "",
            "1",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.-1",
            "1.2.3.4/33",
            "1.2.3.4/-1",
            "1.2.3.4/",
            "1.2.3.4/8/8",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            "1:2:3:4:5:6:7::8",
            "12345::",
            "g::",
            ":::",
            "::/129",
            "::ffff:1.2.3.4",
            "localhost",
        ] {
            assert!(!well_formed("ip", name), "{name}");
        }
        for (scheme, name) in [("world", "someone"), ("world", ""), ("super", ""), ("sasl", "me"), ("", "")] {
            assert!(!well_formed(scheme, name), "{scheme} {name}");
        }
    }

    #[test]
    fn an_empty_list_is_refused() {
        assert_eq!(fix_acl(&[], &[]), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn duplicates_are_stored_once() {
        let anyone = acl(ALL, "world", "anyone");
        let read = acl(READ, "world", "anyone");
        assert_eq!(fix_acl(&[anyone.clone(), read.clone(), anyone.clone()], &[]), Ok(vec![anyone, read]));
    }

    #[test]
    fn auth_means_every_identity_that_was_proved() {
        let ids = [id("ip", "127.0.0.1"), id("digest", "me:x"), id("super", ""), id("digest", "you:y")];
        let fixed = fix_acl(&[acl(READ, "auth", "ignored")], &ids);
        assert_eq!(fixed, Ok(vec![acl(READ, "digest", "me:x"), acl(READ, "digest", "you:y")]));
        assert_eq!(fix_acl(&[acl(READ, "auth", "")], &ids[..1]), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn a_user_of_sasl_counts_only_where_the_scheme_is_configured() {
        let rules = Rules { has_sasl: true, ..Rules::default() };
        let (list, bob) = ([acl(READ, "sasl", "bob")], [id("sasl", "bob")]);
        assert!(super::permits(&list, READ, &bob, &rules));
        assert!(super::permits(&list, READ, &[id("sasl", "super")], &rules), "as in ZooKeeper");
        assert!(!super::permits(&list, READ, &[id("sasl", "eve"), id("digest", "bob")], &rules));
        assert!(!permits(&list, READ, &bob));
        assert_eq!(super::fix_acl(&[acl(READ, "auth", "")], &bob, &rules), Ok(list.to_vec()));
        assert_eq!(fix_acl(&[acl(READ, "auth", "")], &bob), Err(ErrorCode::InvalidAcl));
        for name in ["", "bob", "a/b", "a/b/c", "bob@R", "a/b@R", "@", "/@", "a/@"] {
            assert!(super::fix_acl(&[acl(READ, "sasl", name)], &[], &rules).is_ok(), "{name}");
        }
        for name in ["a@b@c", "a@b/c", "a/b/c@R"] {
            assert!(super::fix_acl(&[acl(READ, "sasl", name)], &[], &rules).is_err(), "{name}");
        }
    }

    #[test]
    fn one_name_can_stand_for_all_users_of_sasl() {
        let any_sasl_user = Some("everybody".to_owned());
        let rules = Rules { has_sasl: true, any_sasl_user, ..Rules::default() };
        let list = [acl(READ, "sasl", "everybody")];
        assert!(super::permits(&list, READ, &[id("sasl", "eve")], &rules));
        assert!(!super::permits(&list, READ, &[id("digest", "eve:x")], &rules));
        assert!(!super::permits(&[acl(READ, "sasl", "bob")], READ, &[id("sasl", "eve")], &rules));
    }

    #[test]
    fn a_scheme_that_is_switched_off_means_nobody() {
        let rules = Rules { has_digest: false, ..Rules::default() };
        let (list, me) = ([acl(READ, "digest", "me:x")], [id("digest", "me:x")]);
        assert!(!super::permits(&list, READ, &me, &rules));
        assert_eq!(super::fix_acl(&list, &me, &rules), Err(ErrorCode::InvalidAcl));
        assert_eq!(super::fix_acl(&[acl(READ, "auth", "")], &me, &rules), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn with_lists_skipped_everybody_may_do_everything_and_lists_are_still_checked() {
        let rules = Rules { skip: true, ..Rules::default() };
        assert!(super::permits(&[acl(READ, "digest", "me:x")], CREATE, &[], &rules));
        assert_eq!(super::fix_acl(&[acl(READ, "x", "y")], &[], &rules), Err(ErrorCode::InvalidAcl));
    }
}
