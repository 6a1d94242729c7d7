//! `--client-configuration`: what a file for ZooKeeper's Java clients says to this shell.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{Options, TlsFiles};
use crate::membership::properties;

/// Keys that a Java client needs for what this one does anyway.
const NEEDLESS: [&str; 4] = [
    "zookeeper.clientCnxnSocket",
    "zookeeper.sasl.client.canonicalize.hostname",
    "zookeeper.ssl.trustStore.password",
    "zookeeper.fips-mode",
];

/// What the file sets.
#[derive(Default, Debug)]
struct Given {
    is_secure: bool,
    trust_store: Option<PathBuf>,
    key_store: Option<PathBuf>,
    request_timeout: Option<Duration>,
    frame_bytes_max: Option<usize>,
}

/// Reads the file into `options`; the keys that mean nothing here, with the reason. What the command line says about TLS
/// counts more than the file. `Err` tells a person what is wrong.
pub fn apply(path: &Path, options: &mut Options) -> Result<Vec<String>, String> {
    let wrong = |reason: String| format!("{}: {reason}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    parse(&text, options).map_err(wrong)
}

fn parse(text: &str, options: &mut Options) -> Result<Vec<String>, String> {
    let (mut given, mut unknown) = (Given::default(), Vec::new());
    for properties::Entry { key, value, .. } in properties::parse(text).map_err(|error| error.text)? {
        if !given.take(&key, &value)? && !NEEDLESS.contains(&key.as_str()) {
            unknown.push(format!("{key} means nothing to this shell"));
        }
    }
    options.request_timeout = given.request_timeout;
    options.frame_bytes_max = given.frame_bytes_max.unwrap_or(options.frame_bytes_max);
    if given.is_secure && options.tls.is_none() {
        let ca =
            given.trust_store.ok_or("zookeeper.client.secure needs zookeeper.ssl.trustStore.location")?;
        options.tls = Some(TlsFiles { ca, identity: given.key_store.map(|file| (file.clone(), file)) });
    }
    Ok(unknown)
}

impl Given {
    /// Takes what `key` says; false if it says nothing to this client.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match key {
            "zookeeper.client.secure" => self.is_secure = value.eq_ignore_ascii_case("true"),
            "zookeeper.ssl.trustStore.location" => self.trust_store = pem(key, value)?,
            "zookeeper.ssl.keyStore.location" => self.key_store = pem(key, value)?,
            "zookeeper.ssl.trustStore.type" | "zookeeper.ssl.keyStore.type" => {
                if !matches!(value, "" | "PEM") {
                    return Err(format!("{key}={value}: expected PEM; openssl pkcs12 converts others"));
                }
            }
            // 0 is none, as in ZooKeeper.
            "zookeeper.request.timeout" => {
                let limit_ms = number(key, value)?;
                self.request_timeout = (limit_ms > 0).then(|| Duration::from_millis(limit_ms));
            }
            "jute.maxbuffer" => {
                let bytes = number(key, value)?;
                self.frame_bytes_max =
                    Some(usize::try_from(bytes).map_err(|_| format!("{key}={value}: too many"))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A file that is PEM, as far as its name tells.
fn pem(key: &str, value: &str) -> Result<Option<PathBuf>, String> {
    let path = Path::new(value);
    let extension = path.extension().map(|it| it.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("jks" | "p12" | "pfx" | "bcfks") => {
            Err(format!("{key}={value}: expected a PEM file; openssl pkcs12 converts others"))
        }
        _ => Ok((!value.is_empty()).then(|| path.to_owned())),
    }
}

/// A number as Java reads it: decimal, or hexadecimal behind `0x`.
fn number(key: &str, value: &str) -> Result<u64, String> {
    let number = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => value.parse(),
    };
    number.map_err(|_| format!("{key}={value}: expected a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_java_clients_says_what_this_one_needs_and_the_rest_is_named() {
        let mut options = Options::default();
        let text = "zookeeper.client.secure=true\nzookeeper.ssl.trustStore.location=/ca.pem\n\
                    zookeeper.ssl.keyStore.location=/me.pem\nzookeeper.ssl.keyStore.type=PEM\n\
                    zookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty\n\
                    zookeeper.request.timeout=250\njute.maxbuffer=0x1000\nzookeeper.nonsense=1\n";
        let unknown = parse(text, &mut options).unwrap();
        assert_eq!(unknown, ["zookeeper.nonsense means nothing to this shell"]);
        let me = PathBuf::from("/me.pem");
        assert_eq!(options.tls, Some(TlsFiles { ca: "/ca.pem".into(), identity: Some((me.clone(), me)) }));
        assert_eq!(options.request_timeout, Some(Duration::from_millis(250)));
        assert_eq!(options.frame_bytes_max, 4096);
        let given = options.tls.clone();
        parse("zookeeper.client.secure=true\nzookeeper.ssl.trustStore.location=/other.pem\n", &mut options)
            .unwrap();
        assert_eq!((options.tls, options.request_timeout), (given, None));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        for (text, expected) in [
            ("zookeeper.client.secure=true", "needs zookeeper.ssl.trustStore.location"),
            ("zookeeper.ssl.trustStore.location=/t.jks", "expected a PEM file"),
            ("zookeeper.ssl.keyStore.type=JKS", "expected PEM"),
            ("zookeeper.request.timeout=soon", "expected a number"),
        ] {
            let error = parse(text, &mut Options::default()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let plain = "zookeeper.ssl.trustStore.location=/t.pem";
        let mut options = Options::default();
        assert_eq!(parse(plain, &mut options), Ok(Vec::new()));
        assert_eq!(options.tls, None, "not secure");
    }
}
