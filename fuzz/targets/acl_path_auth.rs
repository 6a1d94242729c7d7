//! Access lists as they travel, paths and proofs of identity, as any client may send them: what is stored is what was checked, grants
//! what it says to whom it says, and stays the same when it is stored again.

#![no_main]

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use zabra::config::AuthSettings;
use zabra::jute::{Acl, AuthId, ErrorCode, Reader, perms};
use zabra::server::{IDENTITIES_MAX, authenticated};
use zabra::tree::acl::{self, Rules};
use zabra::tree::path;
use zabra_fuzz::memory::{Bound, bounded};
use zabra_fuzz::script::Script;

/// More are for the judge of requests to refuse.
const ENTRIES_MAX: usize = 64;

/// An entry with the scheme `auth` becomes as many as the client has identities, of about 4 KiB each at most; which is
/// what the constant is for.
const BOUND: Bound = Bound { constant_bytes: 3 * ENTRIES_MAX * IDENTITIES_MAX * 4200, factor: 64 };

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let acl = Reader::new(script.bytes()).nullable_acl().ok().flatten().unwrap_or_default();
    let acl = &acl[..acl.len().min(ENTRIES_MAX)];
    let ip = Ipv6Addr::from(std::array::from_fn(|_| script.byte()));
    let proofs: Vec<_> = (0..script.byte() % 32).map(|_| (script.byte(), script.bytes())).collect();
    let text = String::from_utf8_lossy(script.bytes());
    bounded(BOUND, data.len(), || {
        let identities = identities(&proofs, ip.into());
        judge_acl(acl, &identities);
        judge_path(&text);
    });
});

const SCHEMES: [&str; 8] = ["world", "auth", "digest", "ip", "super", "sasl", "", "x509"];

fn scheme(number: u8) -> String {
    SCHEMES[usize::from(number) % SCHEMES.len()].to_owned()
}

fn identities(proofs: &[(u8, &[u8])], ip: IpAddr) -> Arc<[AuthId]> {
    let settings = AuthSettings::default();
    let authenticated = |identities: &Arc<[AuthId]>, scheme: &str, proof: &[u8]| {
        authenticated(identities, scheme, proof, ip, &settings)
    };
    let mut identities = authenticated(&Arc::from([]), "ip", b"").expect("an address proves itself");
    for (number, proof) in proofs {
        let scheme = scheme(*number);
        if let Ok(more) = authenticated(&identities, &scheme, proof) {
            assert!(more.len() <= IDENTITIES_MAX && more.starts_with(&identities));
            assert!(scheme == "digest" || scheme == "ip", "nobody proves to be {scheme:?}");
            let again = authenticated(&more, &scheme, proof).expect("it was proved once");
            assert!(Arc::ptr_eq(&again, &more), "the same proof is one identity");
            identities = more;
        }
    }
    identities
}

/// By every rule that a configuration can make.
fn all_rules() -> impl Iterator<Item = Rules> {
    (0..8).map(|bits| Rules {
        has_digest: bits & 1 != 0,
        has_sasl: bits & 2 != 0,
        any_sasl_user: (bits & 2 != 0).then(|| "x".to_owned()),
        skip: false,
        has_x509: bits & 4 != 0,
    })
}

fn judge_acl(acl: &[Acl], identities: &[AuthId]) {
    all_rules().for_each(|rules| judge_acl_by(&rules, acl, identities));
}

fn judge_acl_by(rules: &Rules, acl: &[Acl], identities: &[AuthId]) {
    let permits = |acl: &[Acl], perm, ids: &[AuthId]| acl::permits(acl, perm, ids, rules);
    let fix_acl =
        |acl: &[Acl], ids: &[AuthId]| -> Result<Vec<Acl>, ErrorCode> { acl::fix_acl(acl, ids, rules) };
    let _ = permits(acl, perms::READ, identities);
    let Ok(fixed) = fix_acl(acl, identities) else { return };
    assert!(!fixed.is_empty() && fixed.iter().all(|entry| entry.id.scheme != "auth"));
    assert_eq!(fix_acl(&fixed, identities).map(|again| fix_acl(&again, &[])), Ok(Ok(deduplicated(&fixed))));
    let everyone = fixed.iter().any(|entry| entry.id.scheme == "world" && entry.perms & perms::WRITE != 0);
    assert!(!everyone || permits(&fixed, perms::WRITE, &[]), "a list that grants something to all does so");
    if fixed.iter().all(|entry| entry.perms & perms::ALL == 0) {
        assert!(!permits(&fixed, perms::ALL, identities), "a list that grants nothing grants nothing");
    }
}

fn deduplicated(acl: &[Acl]) -> Vec<Acl> {
    let mut kept: Vec<Acl> = Vec::new();
    for entry in acl {
        if !kept.contains(entry) {
            kept.push(entry.clone());
        }
    }
    kept
}

fn judge_path(text: &str) {
    let is_valid = path::validate(text).is_ok();
    let numbered = path::sequential(text, text.len() as i32);
    assert!(numbered.starts_with(text));
    match path::split(text) {
        Some((parent, name)) if is_valid => {
            assert!(path::validate(parent).is_ok() && path::validate_name(name).is_ok());
            let whole = if parent == path::ROOT { format!("/{name}") } else { format!("{parent}/{name}") };
            assert_eq!(whole, text);
            assert!(path::validate(&numbered).is_ok(), "a number makes no good path bad");
        }
        Some(_) => {}
        None => assert!(text == path::ROOT || !is_valid),
    }
}
