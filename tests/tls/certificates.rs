//! Certificates that are made for one test.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

/// An authority, and the folder that its files are in.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate to be made.
pub struct Wanted<'a> {
    /// the common name of the subject, and the name of the file
    pub name: &'a str,
    /// the hosts it is for
    pub hosts: &'a [&'a str],
    /// its time is over
    pub is_over: bool,
    /// its number
    pub serial: u8,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Wanted { name: "server", hosts: &["localhost", "127.0.0.1"], is_over: false, serial: 1 }
    }
}

impl Authority {
    /// A new one. Its certificate is `name.pem` in the folder.
    pub fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let issuer = issuer.expect("a certificate");
        std::fs::write(folder.join(format!("{name}.pem")), issuer.pem()).expect("a file");
        Authority { folder: folder.to_owned(), issuer }
    }

    /// Key and certificate in one file.
    pub fn make(&self, wanted: &Wanted<'_>) -> PathBuf {
        let hosts: Vec<String> = wanted.hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        let organization = DnValue::Utf8String("Ex, Inc.".to_owned());
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, wanted.name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from_slice(&[wanted.serial]));
        if wanted.is_over {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = self.folder.join(format!("{}.pem", wanted.name));
        std::fs::write(&path, certificate.pem() + &key.serialize_pem()).expect("a file");
        path
    }

    /// A file with its list of revoked certificates.
    pub fn revoke(&self, serials: &[u8]) -> PathBuf {
        self.revoke_until(serials, 2100)
    }

    /// The same, valid until the beginning of a year.
    pub fn revoke_until(&self, serials: &[u8], year: i32) -> PathBuf {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        let path = self.folder.join("crl.pem");
        std::fs::write(&path, list.pem().expect("PEM")).expect("a file");
        path
    }
}
