//! The certificate that a client or another server shows: its subject becomes an identity, its names say who it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;
use zabra::tls::{check_host, subject};
use zabra_fuzz::memory::{Bound, bounded};

/// A value that is no text is written as digits, with a sign of its own before each part.
const BOUND: Bound = Bound { constant_bytes: 64 << 10, factor: 64 };

fuzz_target!(|data: &[u8]| {
    bounded(BOUND, data.len(), || {
        for host in ["localhost", "127.0.0.1", "::1"] {
            if let Err(why) = check_host(&CertificateDer::from(data), host) {
                assert!(!why.contains('\n'), "it stands in a line of the log: {why:?}");
            }
        }
        match subject(data) {
            // In the log it is quoted; in an ACL it is compared as a whole.
            Ok(subject) => assert!(subject.len() <= data.len() * 8),
            Err(why) => assert!(!why.contains('\n'), "it stands in a line of the log: {why:?}"),
        }
    });
});
