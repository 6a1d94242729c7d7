//! Whether a certificate is for a host.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a host is called in certificates: a name, or an address. The error says why it is neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} can be in no certificate"))
}

/// The same for what stands before the port of `host:port` or `[address]:port`.
pub(super) fn dialled_name(server: &str) -> Result<ServerName<'static>, String> {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    server_name(host.trim_start_matches('[').trim_end_matches(']'))
}

/// Whether a certificate that is trusted is for `host`: one of its alternative names is it, or if it has none its common
/// name. The error says what it is for instead.
pub fn check_host(certificate: &CertificateDer<'_>, host: &str) -> Result<(), String> {
    let name = server_name(host)?;
    let parsed = ParsedCertificate::try_from(certificate).map_err(|error| on_one_line(&error))?;
    match verify_server_name(&parsed, &name) {
        Ok(()) => Ok(()),
        Err(_) if is_common_name(certificate, &name) => Ok(()),
        Err(error) => Err(on_one_line(&error)),
    }
}

/// An error may tell the names of a certificate, which hold whatever its owner wanted: in the log they make no line of
/// their own.
fn on_one_line(error: &Error) -> String {
    error.to_string().chars().map(|it| if it.is_control() { '?' } else { it }).collect()
}

/// True if the certificate has no alternative names, and its common name is `name`: as ZooKeeper takes it, whose manual
/// makes such certificates.
fn is_common_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    if !matches!(certificate.subject_alternative_name(), Ok(None)) {
        return false;
    }
    let wanted = name.to_str();
    let mut names = certificate.subject().iter_common_name();
    names.any(|it| it.as_str().is_ok_and(|common| common.eq_ignore_ascii_case(&wanted)))
}

/// Verifies the certificate of a server that was dialled.
#[derive(Debug)]
pub(super) struct Dialled {
    pub inner: Arc<WebPkiServerVerifier>,
    /// the certificate has to be for the host that was dialled
    pub checks_host: bool,
}

impl ServerCertVerifier for Dialled {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last: everything else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_host || is_common_name(end_entity, server_name) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_certificate_make_no_line_of_the_log() {
        let name = rcgen::string::Ia5String::try_from("a\nb.example").expect("seven bits each");
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let why = check_host(certificate.der(), "localhost").expect_err("it is for another");
        assert!(why.contains("a?b.example"), "{why}");
    }
}
