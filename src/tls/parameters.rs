//! Versions and cipher suites, by the names that ZooKeeper's users know.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::TlsError;
use crate::config::TlsVersions;

/// What the connections are made with; `cipher_suites` are IANA names, in the order of preference, and `key` is what the
/// configuration calls them.
pub(super) fn provider(
    key: String,
    cipher_suites: Option<&[String]>,
) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = ring::default_provider();
    if let Some(names) = cipher_suites {
        let offered = std::mem::take(&mut provider.cipher_suites);
        for name in names {
            let Some(suite) = offered.iter().find(|suite| iana_name(suite) == *name) else {
                let all: Vec<String> = offered.iter().map(iana_name).collect();
                let all = all.join(", ");
                return Err(TlsError::new(key, name, format!("not offered here: expected some of {all}")));
            };
            provider.cipher_suites.push(*suite);
        }
    }
    Ok(Arc::new(provider))
}

/// rustls marks those of TLS 1.3, IANA does not.
fn iana_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

/// The versions in rustls' words.
pub(super) fn versions(versions: TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    let v1_3 = versions.v1_3.then_some(&rustls::version::TLS13);
    let v1_2 = versions.v1_2.then_some(&rustls::version::TLS12);
    v1_3.into_iter().chain(v1_2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(names: &[&str]) -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let provider =
            provider("ssl.ciphersuites".to_owned(), Some(&names)).map_err(|error| error.to_string())?;
        Ok(provider.cipher_suites.iter().map(iana_name).collect())
    }

    #[test]
    fn suites_are_known_by_their_iana_names_and_kept_in_order() {
        let names = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
        assert_eq!(suites(&names).unwrap(), names);
    }

    #[test]
    fn a_suite_that_is_not_offered_is_an_error_that_names_those_that_are() {
        for name in ["TLS_RSA_WITH_AES_128_CBC_SHA", "nonsense"] {
            let error = suites(&["TLS_AES_128_GCM_SHA256", name]).unwrap_err();
            assert!(error.starts_with(&format!("ssl.ciphersuites={name}: not offered here: ")), "{error}");
            assert!(
                error.contains("TLS_AES_256_GCM_SHA384") && error.contains("TLS_ECDHE_ECDSA_"),
                "{error}"
            );
        }
    }
}
