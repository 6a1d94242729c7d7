//! The files that TLS is made of: keys and certificates as PEM and PKCS12, authorities, revocation lists. Who writes them
//! is the operator, and a copy that broke off, or a file of another kind, is told and is no more than that.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use zabra::config::{ClientAuth, PasswordSource, Secret, StoreFile, StoreKind, TlsSettings, TlsVersions};
use zabra::tls::Tls;
use zabra_fuzz::memory::{Bound, bounded};

/// A key with its certificate, which are nobody's: so that what else is named gets to be read.
const OWN: &[u8] = include_bytes!("../src/own.pem");

/// What rustls keeps for both sides of a connection; a file is there as text, decoded, and parsed.
const BOUND: Bound = Bound { constant_bytes: 1 << 20, factor: 256 };

/// A folder of this process.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("zabra-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("own"), OWN).expect("a file");
    folder
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, file)) = data.split_first() else { return };
    let path = FOLDER.join("given");
    std::fs::write(&path, file).expect("a file");
    let store = |path: &Path, kind| StoreFile {
        path: path.to_owned(),
        kind,
        password: PasswordSource::Given(Secret::new("changeit")),
    };
    let own = || store(&FOLDER.join("own"), StoreKind::Pem);
    let (key_store, trust_store, crl) = match kind % 5 {
        0 => (store(&path, StoreKind::Pem), None, None),
        1 => (store(&path, StoreKind::Pkcs12), None, None),
        2 => (own(), Some(store(&path, StoreKind::Pem)), None),
        3 => (own(), Some(store(&path, StoreKind::Pkcs12)), None),
        _ => (own(), Some(own()), Some(path.clone())),
    };
    let settings = TlsSettings {
        prefix: "ssl.",
        key_store,
        trust_store,
        crl,
        versions: TlsVersions { v1_2: true, v1_3: true },
        cipher_suites: None,
        client_auth: if kind % 5 < 2 { ClientAuth::None } else { ClientAuth::Need },
        hostname_verification: true,
        client_hostname_verification: false,
        detection_ms_max: 5000,
        reload: false,
    };
    bounded(BOUND, file.len(), || {
        if let Err(error) = Tls::load(settings) {
            let line = error.to_string();
            assert!(!line.contains("changeit"), "a password is in the message: {line:?}");
            assert!(line.starts_with("ssl.") && line.len() < 4096, "{line:?}");
        }
    });
});
