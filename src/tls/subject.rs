//! The subject of a certificate as `getSubjectX500Principal().getName()` prints it in Java, by RFC 2253: ACLs hold that
//! text, so it has to be the same to the last backslash.

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The attributes that have a name there; all others are numbers.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The subject of a certificate (DER). The error says what is wrong with it.
pub fn subject(certificate: &[u8]) -> Result<String, String> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let parts = certificate.subject().iter_rdn().map(|rdn| {
        let attributes = rdn.iter().map(|it| attribute(&it.attr_type().to_id_string(), it.attr_value()));
        attributes.collect::<Vec<_>>().join("+")
    });
    let mut parts: Vec<String> = parts.collect();
    parts.reverse();
    Ok(parts.join(","))
}

fn attribute(oid: &str, value: &Any<'_>) -> String {
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid);
    match keyword.zip(text_of(value)) {
        Some(((_, keyword), text)) => format!("{keyword}={}", escaped(&text)),
        None => {
            let name = keyword.map_or(oid, |(_, keyword)| keyword);
            format!("{name}=#{}", hex(value))
        }
    }
}

/// The value if it is one of the kinds of text.
fn text_of(value: &Any<'_>) -> Option<String> {
    let latin = |bytes: &[u8]| bytes.iter().map(|&byte| char::from(byte)).collect();
    match value.tag() {
        Tag::PrintableString | Tag::Ia5String | Tag::Utf8String | Tag::GeneralString => {
            Some(String::from_utf8_lossy(value.data).into_owned())
        }
        Tag::T61String => Some(latin(value.data)),
        Tag::BmpString => {
            let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            Some(char::decode_utf16(units).map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    let is_blank = |c: char| c == ' ' || c == '\r';
    let lead = text.len() - text.trim_start_matches(is_blank).len();
    let trail = text.trim_end_matches(is_blank).len();
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\0' => out.push_str("\\00"),
            _ => {
                if ",=+<>#;\"\\".contains(c) || at < lead || at >= trail {
                    out.push('\\');
                }
                out.push(c);
            }
        }
    }
    out
}

/// The value as it is encoded.
fn hex(value: &Any<'_>) -> String {
    let header = value.header.class() as u8;
    let tag = value.tag().0;
    let constructed = if value.header.is_constructed() { 0x20 } else { 0 };
    // Attributes have small tags: what is bigger is no value of one.
    let mut bytes = vec![header << 6 | constructed | (tag & 0x1f) as u8];
    match value.data.len() {
        length @ 0..=0x7f => bytes.push(length as u8),
        length => {
            let length = length.to_be_bytes();
            let zeros = length.iter().take_while(|&&byte| byte == 0).count();
            bytes.push(0x80 | (length.len() - zeros) as u8);
            bytes.extend_from_slice(&length[zeros..]);
        }
    }
    bytes.extend_from_slice(value.data);
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::subject;

    fn certificate(parts: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, text) in parts {
            params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*text).to_owned()));
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    /// `tests/python/test_tls.py` compares with Java itself.
    #[test]
    fn a_subject_is_printed_as_java_prints_it() {
        let title = || DnType::CustomDnType(vec![2, 5, 4, 12]);
        for (parts, printed) in [
            (vec![(DnType::OrganizationName, "Ex, Inc."), (DnType::CommonName, "a")], "CN=a,O=Ex\\, Inc."),
            (vec![(DnType::CommonName, "#a;b=\"c\"+\\ ")], "CN=\\#a\\;b\\=\\\"c\\\"\\+\\\\\\ "),
            (
                vec![(DnType::CommonName, " J\u{fc}rgen  <x> "), (title(), "T")],
                "2.5.4.12=#0c0154,CN=\\ J\u{fc}rgen  \\<x\\>\\ ",
            ),
        ] {
            assert_eq!(subject(&certificate(&parts)).as_deref(), Ok(printed));
        }
    }

    #[test]
    fn damaged_certificates_are_errors_or_have_a_subject() {
        let whole = certificate(&[(DnType::CommonName, "a"), (DnType::OrganizationName, "b")]);
        for at in 0..whole.len() {
            for byte in [0, 1, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let printed = subject(&damaged);
                assert!(
                    printed.is_err() || printed.is_ok_and(|it| it.len() < 10 * whole.len()),
                    "{at} {byte}"
                );
            }
            assert!(subject(&whole[..at]).is_err(), "cut at {at}");
        }
    }
}
