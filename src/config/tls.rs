//! TLS: the keys `ssl.*` for clients, and the same after `ssl.quorum.` for the connections between servers.

use std::path::PathBuf;

use super::given::{Given, Value};
use super::known_keys;
use super::report::Severity;
use super::secret::Secret;

/// What one side of TLS is made of. The files are read when the server starts, not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Before every key, for messages: `ssl.` or `ssl.quorum.`.
    pub prefix: &'static str,
    /// `keyStore.*`: the own key, and the certificates for it. Required.
    pub key_store: StoreFile,
    /// `trustStore.*`: the authorities that sign the certificates of others. Required unless nobody is asked for one.
    pub trust_store: Option<StoreFile>,
    /// `crl.location` (Zabra's own): a file of revocation lists, PEM or DER. None by default: nothing is looked up.
    pub crl: Option<PathBuf>,
    /// `protocol`, `enabledProtocols`: 1.2 and 1.3 by default.
    pub versions: TlsVersions,
    /// `ciphersuites`: IANA names. All that are offered by default.
    pub cipher_suites: Option<Vec<String>>,
    /// `clientAuth`: need by default, as in ZooKeeper; between servers nothing else is possible.
    pub client_auth: ClientAuth,
    /// `hostnameVerification`: a server that is dialled has to have a certificate for the name it is dialled by. True by
    /// default, as in ZooKeeper.
    pub hostname_verification: bool,
    /// `clientHostnameVerification`: who dials has to have one too, for its address, or between servers for the host of
    /// the server that it says it is. False for clients and true between servers by default, as in ZooKeeper.
    pub client_hostname_verification: bool,
    /// `handshakeDetectionTimeoutMillis`: on a port for both, how long the first byte may take, which tells TLS from plain
    /// text. 5000 by default, as in ZooKeeper.
    pub detection_ms_max: u32,
    /// `client.certReload`, `sslQuorumReloadCertFiles`: files that change are read again. False by default, as in ZooKeeper.
    pub reload: bool,
}

/// A file with keys or certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFile {
    /// `location`
    pub path: PathBuf,
    /// `type`, or else what the name ends in
    pub kind: StoreKind,
    /// `password`, `passwordPath`
    pub password: PasswordSource,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Base64 between `-----BEGIN` and `-----END` lines.
    Pem,
    /// What `openssl pkcs12 -export` and `keytool` write.
    Pkcs12,
}

/// Where the password of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// In the configuration; empty if it has none.
    Given(Secret),
    /// In a file of its own; its line end is not part of it.
    File(PathBuf),
}

/// Which versions of TLS are spoken; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsVersions {
    /// TLSv1.2
    pub v1_2: bool,
    /// TLSv1.3
    pub v1_3: bool,
}

/// Whether who dials is asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// It is not asked.
    None,
    /// It is asked, and may have none.
    Want,
    /// Without one there is no connection.
    Need,
}

/// Whose keys are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Clients,
    Quorum,
}

/// The keys of one side, by their names without the prefix.
struct Keys<'a> {
    given: &'a mut Given,
    prefix: &'static str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> &'static str {
        known_keys::used(&format!("{}{name}", self.prefix)).expect("every name is listed for both sides")
    }

    fn value(&self, name: &str) -> Option<Value> {
        self.given.value(self.key(name)).filter(|value| !value.text.is_empty())
    }

    fn boolean(&mut self, slot: &mut bool, name: &str) {
        let key = self.key(name);
        self.given.boolean(slot, key);
    }

    fn unexpected(&mut self, name: &str, expected: &str) {
        let key = self.key(name);
        self.given.unexpected(key, expected);
    }
}

impl Side {
    /// Before every key of it.
    fn prefix(self) -> &'static str {
        match self {
            Side::Clients => "ssl.",
            Side::Quorum => "ssl.quorum.",
        }
    }
}

/// The first line of the file with a key of `side`, if there is one.
pub(super) fn first_given(given: &Given, side: Side) -> Option<(&'static str, u32)> {
    let is_of_side = |key: &str| match side {
        Side::Clients => key.starts_with("ssl.") && !key.starts_with(Side::Quorum.prefix()),
        Side::Quorum => key.starts_with(Side::Quorum.prefix()),
    };
    given.lines().filter(|(key, _)| is_of_side(key)).min_by_key(|(_, line)| *line)
}

/// Reads the keys of `side`, which `wanted_by` needs, or nobody. `None` if a file that it cannot do without is not named,
/// which is noted in `given` if it is needed.
pub(super) fn settings(given: &mut Given, side: Side, wanted_by: Option<&str>) -> Option<TlsSettings> {
    let prefix = side.prefix();
    let reload_key = match side {
        Side::Clients => "client.certReload",
        Side::Quorum => "sslQuorumReloadCertFiles",
    };
    let mut keys = Keys { given, prefix };
    let mut detection_ms_max = 5000;
    let detection = keys.key("handshakeDetectionTimeoutMillis");
    keys.given.number(&mut detection_ms_max, detection, "milliseconds", 1..=60 * 60 * 1000);
    let (mut hostname, mut client_hostname, mut reload) = (true, side == Side::Quorum, false);
    keys.boolean(&mut hostname, "hostnameVerification");
    keys.boolean(&mut client_hostname, "clientHostnameVerification");
    keys.given.boolean(&mut reload, reload_key);
    let client_auth = client_auth(&mut keys, side);
    let crl = crl(&mut keys);
    let versions = versions(&mut keys);
    let cipher_suites = keys.value("ciphersuites").map(|value| list(&value.text));
    let trust_store = store(&mut keys, "trustStore");
    if trust_store.is_none() && client_auth != ClientAuth::None {
        let instead = if side == Side::Clients { ", or ssl.clientAuth=none" } else { "" };
        missing(&mut keys, "trustStore.location", wanted_by, "whose certificates are trusted", instead);
    }
    let Some(key_store) = store(&mut keys, "keyStore") else {
        missing(&mut keys, "keyStore.location", wanted_by, "with the own key and certificate", "");
        return None;
    };
    Some(TlsSettings {
        prefix,
        key_store,
        trust_store,
        crl,
        versions,
        cipher_suites,
        client_auth,
        hostname_verification: hostname,
        client_hostname_verification: hostname && client_hostname,
        detection_ms_max,
        reload,
    })
}

fn missing(keys: &mut Keys<'_>, name: &str, wanted_by: Option<&str>, what: &str, instead: &str) {
    let (Some(wanted_by), key) = (wanted_by, keys.key(name)) else { return };
    if !keys.given.has(key) {
        let text = format!("{key} is not set, but {wanted_by} needs it: expected the file {what}{instead}");
        keys.given.problem(None, text);
    }
}

fn client_auth(keys: &mut Keys<'_>, side: Side) -> ClientAuth {
    let Some(value) = keys.value("clientAuth") else { return ClientAuth::Need };
    match value.text.to_ascii_lowercase().as_str() {
        "need" => return ClientAuth::Need,
        "want" if side == Side::Clients => return ClientAuth::Want,
        "none" if side == Side::Clients => return ClientAuth::None,
        _ if side == Side::Clients => keys.unexpected("clientAuth", "expected none, want or need"),
        _ => keys.unexpected("clientAuth", "expected need: servers always prove to one another who they are"),
    }
    ClientAuth::Need
}

fn crl(keys: &mut Keys<'_>) -> Option<PathBuf> {
    let (mut crl, mut ocsp) = (true, false);
    keys.boolean(&mut crl, "crl");
    keys.boolean(&mut ocsp, "ocsp");
    if ocsp {
        keys.unexpected("ocsp", "expected false: no server is asked about a certificate, see crl.location");
    }
    let location = keys.value("crl.location");
    let (key, location_key) = (keys.key("crl"), keys.key("crl.location"));
    if crl && keys.given.has(key) && location.is_none() {
        let text = format!("{key}=true: expected {location_key} too: revocation lists are not fetched");
        let line = keys.given.line(key);
        keys.given.problem(line, text);
    }
    location.filter(|_| crl).map(|value| PathBuf::from(value.text))
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn versions(keys: &mut Keys<'_>) -> TlsVersions {
    const BOTH: TlsVersions = TlsVersions { v1_2: true, v1_3: true };
    const OLD: &str = "expected TLSv1.2 or TLSv1.3: nothing older is spoken, it can be broken";
    let mut versions = BOTH;
    if let Some(value) = keys.value("protocol") {
        match value.text.as_str() {
            "TLSv1.2" => versions.v1_3 = false,
            "TLSv1.3" | "TLS" => {}
            _ => keys.unexpected("protocol", OLD),
        }
    }
    if let Some(value) = keys.value("enabledProtocols") {
        let names = list(&value.text);
        versions = TlsVersions {
            v1_2: names.iter().any(|name| name == "TLSv1.2"),
            v1_3: names.iter().any(|name| name == "TLSv1.3"),
        };
        if names.is_empty() || names.iter().any(|name| !["TLSv1.2", "TLSv1.3"].contains(&name.as_str())) {
            keys.unexpected("enabledProtocols", OLD);
        }
    }
    versions
}

fn store(keys: &mut Keys<'_>, store: &str) -> Option<StoreFile> {
    let location = keys.value(&format!("{store}.location"))?;
    let path = PathBuf::from(&location.text);
    let given_kind = keys.value(&format!("{store}.type")).map(|value| value.text);
    let extension = path.extension().map(|it| it.to_string_lossy().to_ascii_lowercase());
    let (by, name) = match &given_kind {
        Some(kind) => (format!("{store}.type"), kind.to_ascii_uppercase()),
        None => (format!("{store}.location"), extension.unwrap_or_default().to_ascii_uppercase()),
    };
    let kind = match name.as_str() {
        "PEM" => StoreKind::Pem,
        "PKCS12" => StoreKind::Pkcs12,
        "P12" | "PFX" if given_kind.is_none() => StoreKind::Pkcs12,
        "JKS" | "BCFKS" => {
            let into = "keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 -deststoretype PKCS12";
            keys.unexpected(&by, &format!("{name} is not read, expected PEM or PKCS12: convert it, {into}"));
            return None;
        }
        _ if given_kind.is_some() => {
            keys.unexpected(&by, "expected PEM or PKCS12");
            return None;
        }
        _ => {
            let key = keys.key(&format!("{store}.type"));
            keys.unexpected(&by, &format!("expected a name that ends in .pem or .p12, or {key}"));
            return None;
        }
    };
    let password_path = keys.value(&format!("{store}.passwordPath"));
    let password = keys.value(&format!("{store}.password"));
    if let (Some(file), Some(_)) = (&password_path, &password) {
        let (key, path_key) =
            (format!("{}{store}.password", keys.prefix), keys.key(&format!("{store}.passwordPath")));
        keys.given.notice(Severity::Warning, Some(file.line), format!("{path_key} counts, not {key}"));
    }
    let password = match password_path {
        Some(file) => PasswordSource::File(PathBuf::from(file.text)),
        None => PasswordSource::Given(Secret::new(password.map(|value| value.text).unwrap_or_default())),
    };
    Some(StoreFile { path, kind, password })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Format, Settings, Source, parse_text};

    const STORES: &str = "ssl.keyStore.location=/k.pem\nssl.trustStore.location=/t.p12\n";

    fn parsed(text: &str) -> Result<Settings, String> {
        let text = format!("dataDir=/d\nclientPort=1\n{text}");
        let source =
            Source { name: "z", text: &text, format: Format::Properties, myid: Some(1), strict: true };
        parse_text(&source).map(|loaded| loaded.settings).map_err(|error| error.to_string())
    }

    fn of_clients(text: &str) -> TlsSettings {
        parsed(&format!("secureClientPort=2\n{STORES}{text}")).unwrap().client_tls.unwrap()
    }

    #[test]
    fn the_defaults_are_those_of_zookeeper() {
        let tls = of_clients("");
        assert_eq!((tls.key_store.kind, tls.trust_store.unwrap().kind), (StoreKind::Pem, StoreKind::Pkcs12));
        assert_eq!(tls.client_auth, ClientAuth::Need);
        assert_eq!(tls.versions, TlsVersions { v1_2: true, v1_3: true });
        assert!(tls.hostname_verification && !tls.client_hostname_verification && !tls.reload);
        let text = format!("sslQuorum=true\n{}", STORES.replace("ssl.", "ssl.quorum."));
        let settings = parsed(&text).unwrap();
        let tls = settings.quorum_tls.unwrap();
        assert!(tls.hostname_verification && tls.client_hostname_verification && !tls.reload);
        assert!(settings.ssl_quorum && !settings.port_unification && settings.client_tls.is_none());
    }

    #[test]
    fn every_key_reaches_its_setting() {
        let tls = of_clients(
            "zookeeper.ssl.keyStore.password=a\nssl.keyStore.type=pkcs12\nssl.trustStore.passwordPath=/p\n\
             ssl.crl.location=/c.pem\nssl.enabledProtocols=TLSv1.2\nssl.ciphersuites=A, B\nssl.clientAuth=WANT\n\
             ssl.clientHostnameVerification=true\nssl.handshakeDetectionTimeoutMillis=7\nclient.certReload=true\n",
        );
        assert_eq!(tls.key_store.kind, StoreKind::Pkcs12);
        assert_eq!(tls.key_store.password, PasswordSource::Given(Secret::new("a")));
        assert_eq!(tls.trust_store.unwrap().password, PasswordSource::File("/p".into()));
        assert_eq!(tls.crl, Some("/c.pem".into()));
        assert_eq!(tls.versions, TlsVersions { v1_2: true, v1_3: false });
        assert_eq!(tls.cipher_suites, Some(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!((tls.client_auth, tls.detection_ms_max), (ClientAuth::Want, 7));
        assert!(tls.client_hostname_verification && tls.reload);
        assert!(
            !of_clients("ssl.hostnameVerification=false\nssl.clientHostnameVerification=true\n")
                .client_hostname_verification
        );
        assert_eq!(of_clients("ssl.protocol=TLSv1.2\n").versions, TlsVersions { v1_2: true, v1_3: false });
        assert_eq!(of_clients("ssl.crl=false\nssl.crl.location=/c\n").crl, None);
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_key() {
        for (text, problem) in [
            ("secureClientPort=2\n", "ssl.keyStore.location is not set, but secureClientPort needs it"),
            ("secureClientPort=2\n", "or ssl.clientAuth=none"),
            (
                "client.portUnification=true\n",
                "ssl.keyStore.location is not set, but client.portUnification needs it",
            ),
            (
                "portUnification=true\n",
                "ssl.quorum.keyStore.location is not set, but portUnification needs it",
            ),
            ("ssl.clientAuth=maybe\n", "ssl.clientAuth=maybe: expected none, want or need"),
            ("ssl.protocol=SSLv3\n", "ssl.protocol=SSLv3: expected TLSv1.2 or TLSv1.3"),
            (
                "ssl.enabledProtocols=TLSv1.1,TLSv1.2\n",
                "ssl.enabledProtocols=TLSv1.1,TLSv1.2: expected TLSv1.2",
            ),
            ("ssl.crl=true\n", "ssl.crl=true: expected ssl.crl.location too"),
            ("ssl.ocsp=true\n", "ssl.ocsp=true: expected false"),
            (
                "ssl.keyStore.type=jks\n",
                "ssl.keyStore.type=jks: JKS is not read, expected PEM or PKCS12: convert it",
            ),
            ("ssl.keyStore.location=/k.jks\n", "ssl.keyStore.location=/k.jks: JKS is not read"),
            ("ssl.keyStore.location=/k\n", "expected a name that ends in .pem or .p12, or ssl.keyStore.type"),
            ("ssl.handshakeDetectionTimeoutMillis=0\n", "ssl.handshakeDetectionTimeoutMillis=0: expected"),
            ("secureClientPortAddress=::1\n", "secureClientPortAddress is set, but secureClientPort is not"),
        ] {
            let wanted = if text.contains("needs")
                || problem.contains("ssl.clientAuth=none")
                || problem.contains("not set")
                || problem.contains("but secureClientPort is not")
            {
                ""
            } else {
                STORES
            };
            let port = if wanted.is_empty() { "" } else { "secureClientPort=2\n" };
            let error = parsed(&format!("{port}{wanted}{text}")).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let text =
            format!("sslQuorum=true\nssl.quorum.clientAuth=want\n{}", STORES.replace("ssl.", "ssl.quorum."));
        assert!(parsed(&text).unwrap_err().contains("ssl.quorum.clientAuth=want: expected need"));
    }

    #[test]
    fn keys_that_nothing_uses_are_checked_and_told_of() {
        let notices = |text: &str| {
            let text = format!("dataDir=/d\nclientPort=1\n{text}");
            let (format, myid) = (Format::Properties, Some(1));
            let source = Source { name: "z", text: &text, format, myid, strict: true };
            let loaded = parse_text(&source).unwrap();
            assert_eq!((loaded.settings.client_tls, loaded.settings.quorum_tls), (None, None));
            loaded.notices.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            notices("ssl.clientAuth=none\nssl.keyStore.location=/k.pem\nssl.quorum.clientAuth=need\n"),
            [
                "z:3: ssl.clientAuth is not used: none of secureClientPort, client.portUnification is set",
                "z:5: ssl.quorum.clientAuth is not used: none of sslQuorum, portUnification is set"
            ]
        );
        for text in
            ["ssl.clientAuth=nonsense\n", "ssl.quorum.hostnameVerification=2\n", "ssl.protocol=SSLv3\n"]
        {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(&format!("{}: expected", text.trim_end())), "{error}");
            assert!(!error.contains("is not set"), "{error}");
        }
    }

    #[test]
    fn a_password_is_in_no_message() {
        let tls = of_clients("ssl.keyStore.password=geheim\nssl.trustStore.password=geheim\n");
        assert!(!format!("{tls:?}").contains("geheim"));
        let text = format!(
            "{STORES}ssl.keyStore.password=geheim\nssl.keyStore.password=geheim2\nssl.clientAuth=x\n"
        );
        assert!(!parsed(&format!("secureClientPort=2\n{text}")).unwrap_err().contains("geheim"));
    }
}
