//! Keys, certificates and revocation lists, from files.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p12_keystore::{KeyStore, Pkcs12Archive, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::TlsError;
use crate::config::{PasswordSource, StoreFile, StoreKind};

/// A longer file holds no keys.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// How the part of a PEM file begins and ends that is a key with a password.
const ENCRYPTED: (&str, &str) =
    ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----");

/// A key, and the certificates for it: the own one first.
pub(super) struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// A store, and what the settings are called that describe it.
pub(super) struct Source<'a> {
    pub file: &'a StoreFile,
    /// that names the file
    pub key: String,
    /// that has its password
    pub password_key: String,
}

impl Source<'_> {
    pub fn error(&self, reason: impl Into<String>) -> TlsError {
        TlsError::new(self.key.clone(), self.file.path.display(), reason)
    }

    fn read(&self) -> Result<Vec<u8>, TlsError> {
        read(&self.file.path).map_err(|reason| self.error(reason))
    }

    fn password(&self) -> Result<String, TlsError> {
        let path = match &self.file.password {
            PasswordSource::Given(secret) => return Ok(secret.expose().to_owned()),
            PasswordSource::File(path) => path,
        };
        let key = format!("{}Path", self.password_key);
        let error = |reason: String| TlsError::new(key.clone(), path.display(), reason);
        let text = String::from_utf8(read(path).map_err(error)?);
        let text = text.map_err(|_| error("expected text in UTF-8".to_owned()))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// What it holds as the own key and certificates.
    pub fn identity(&self) -> Result<Identity, TlsError> {
        match self.file.kind {
            StoreKind::Pem => Ok(Identity { chain: self.pem_chain()?, key: self.pem_key()? }),
            StoreKind::Pkcs12 => self.pkcs12_identity(),
        }
    }

    /// The certificates of a PEM file, for the own key.
    pub fn pem_chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain = certificates(&self.read()?).map_err(|reason| self.error(reason))?;
        if chain.is_empty() {
            return Err(self.error("it holds no certificate: expected the one for the key"));
        }
        Ok(chain)
    }

    /// The key of a PEM file.
    pub fn pem_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let bytes = self.read()?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Ok(key),
            Err(pem::Error::NoItemsFound) => self.encrypted_key(&bytes),
            Err(error) => Err(self.error(format!("its private key cannot be read: {}", reason(&error)))),
        }
    }

    fn encrypted_key(&self, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = String::from_utf8_lossy(bytes);
        let Some((_, rest)) = text.split_once(ENCRYPTED.0) else {
            return Err(self.error("it holds no private key: expected one, as PEM"));
        };
        let encoded: String = rest.split(ENCRYPTED.1).next().unwrap_or_default().split_whitespace().collect();
        let damaged = |_| self.error("its private key cannot be read: damaged");
        let der = STANDARD.decode(encoded).map_err(damaged)?;
        let info = EncryptedPrivateKeyInfoRef::try_from(&*der);
        let info = info.map_err(|error| self.error(format!("its private key cannot be read: {error}")))?;
        let key = info.decrypt(self.password()?).map_err(|_| {
            self.error(format!(
                "its private key cannot be decrypted: {} is not its password",
                self.password_key
            ))
        })?;
        Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
    }

    fn pkcs12_identity(&self) -> Result<Identity, TlsError> {
        let store = KeyStore::from_pkcs12(&self.read()?, &self.password()?, Pkcs12ImportPolicy::Relaxed);
        let store = store.map_err(|error| self.unreadable_pkcs12(&error))?;
        let none = || self.error("it holds no private key: expected one");
        let (_, chain) = store.private_key_chain().ok_or_else(none)?;
        if chain.certs().is_empty() {
            return Err(self.error("it holds no certificate: expected the one for the key"));
        }
        Ok(Identity {
            chain: chain.certs().iter().map(|it| CertificateDer::from(it.as_der().to_vec())).collect(),
            key: PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec()).into(),
        })
    }

    fn unreadable_pkcs12(&self, error: &p12_keystore::error::Error) -> TlsError {
        self.error(format!("no PKCS12 file that {} opens: {error}", self.password_key))
    }

    /// What it holds as authorities.
    pub fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let bytes = self.read()?;
        let found = match self.file.kind {
            StoreKind::Pem => certificates(&bytes).map_err(|reason| self.error(reason))?,
            StoreKind::Pkcs12 => {
                let archive = Pkcs12Archive::from_pkcs12(&bytes, &self.password()?);
                let archive = archive.map_err(|error| self.unreadable_pkcs12(&error))?;
                let others = archive.certs.into_iter().filter(|it| it.local_key_id.is_none());
                others.map(|it| CertificateDer::from(it.cert.as_der().to_vec())).collect()
            }
        };
        if found.is_empty() {
            return Err(self.error("it holds no certificate: expected those of the authorities"));
        }
        let mut roots = RootCertStore::empty();
        for (n, certificate) in found.into_iter().enumerate() {
            let number = n + 1;
            roots.add(certificate).map_err(|error| {
                self.error(format!("certificate {number} of it is none of an authority: {error}"))
            })?;
        }
        Ok(roots)
    }
}

/// The revocation lists of a file: PEM, or one as DER.
pub(super) fn revocation_lists(
    key: String,
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let error = |reason: String| TlsError::new(key.clone(), path.display(), reason);
    let bytes = read(path).map_err(error)?;
    if !bytes.starts_with(b"-----") && bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let lists = lists.map_err(|problem| error(format!("it cannot be read as PEM: {}", reason(&problem))))?;
    if lists.is_empty() {
        return Err(error("it holds no revocation list: expected PEM or DER".to_owned()));
    }
    Ok(lists)
}

/// The error in words: its own show the line, which may be a key.
fn reason(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a line begins with -----BEGIN and does not end with -----",
        pem::Error::Base64Decode(_) => "a section is not base64",
        pem::Error::SectionTooLarge => "a section is too long",
        _ => "damaged",
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    let length = fs::metadata(path).map_err(cannot)?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("it has {length} bytes: expected at most {FILE_BYTES_MAX}"));
    }
    fs::read(path).map_err(cannot)
}

/// All certificates of a PEM file, which may hold other things too.
fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        match section {
            Ok((SectionKind::Certificate, der)) => found.push(CertificateDer::from(der)),
            Ok(_) => {}
            Err(error) => return Err(format!("it cannot be read as PEM: {}", reason(&error))),
        }
    }
    Ok(found)
}
