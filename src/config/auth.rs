//! Who may connect, and who they are: what the file says about authentication.

use std::collections::BTreeMap;
use std::path::Path;

use super::ReadText;
use super::given::Given;
use super::jaas::{self, Module, Sections};
use super::report::{Place, Severity};
use super::secret::Secret;

/// The section of the JAAS file with the users of clients.
const CLIENT_SECTION: &str = "Server";

/// What every option with a user's password begins with.
const USER_PREFIX: &str = "user_";

/// How clients and servers authenticate. By default as ZooKeeper's without any of these keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    /// `DigestAuthenticationProvider.enabled`: the scheme `digest` is there. True by default, as in ZooKeeper.
    pub digest: bool,

    /// `DigestAuthenticationProvider.digestAlg`: what hashes names and passwords of the scheme `digest`. SHA-1 by default,
    /// as in ZooKeeper. What is stored in ACLs keeps the hash that it was made with.
    pub digest_alg: DigestAlg,

    /// `DigestAuthenticationProvider.superDigest`: whoever proves to be this is bound by no ACL. Nobody by default.
    pub super_digest: Option<Secret>,

    /// `skipACL`: `yes` lets everybody do everything. `no` by default, as in ZooKeeper.
    pub skip_acl: bool,

    /// `authProvider.*` with ZooKeeper's `SASLAuthenticationProvider`: the scheme `sasl` is there for ACLs.
    pub sasl: bool,

    /// `java.security.auth.login.config`: the users of the section `Server` of that file, or of the one that
    /// `sasl.serverconfig` names. `None` if nobody can authenticate by SASL.
    pub sasl_users: Option<BTreeMap<String, Secret>>,

    /// `superUser`, `superUser.*`: users of SASL that no ACL binds.
    pub sasl_super_users: Vec<String>,

    /// `letAnySaslUserDoX`: a name in ACLs of the scheme `sasl` that stands for all of its users.
    pub any_sasl_user: Option<String>,

    /// `allowSaslFailedClients`: a client whose SASL fails is served as one that did not try. False by default.
    pub allow_sasl_failed: bool,

    /// `authProvider.*` with ZooKeeper's `EnsembleAuthenticationProvider`, and the names of `ensembleAuthName`: a client
    /// that expects another ensemble is sent away. Empty: any name is right.
    pub ensemble_names: Option<Vec<String>>,

    /// `enforce.auth.schemes` with `enforce.auth.enabled`, or `sasl` with `sessionRequireClientSASLAuth`: a client that has
    /// not authenticated by one of them is not served. Empty by default: everybody is.
    pub required_schemes: Vec<String>,

    /// `quorum.auth.*`: how servers authenticate one another. `None` by default: they do not.
    pub quorum: Option<QuorumAuth>,
}

/// How servers authenticate one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumAuth {
    /// `quorum.auth.learnerRequireSasl`: this server authenticates, and asks the same of those it connects to
    pub dials: bool,
    /// `quorum.auth.serverRequireSasl`: whoever connects has to authenticate
    pub insists: bool,
    /// the users of the section `quorum.auth.server.saslLoginContext` (`QuorumServer`)
    pub users: BTreeMap<String, Secret>,
    /// name and password in the section `quorum.auth.learner.saslLoginContext` (`QuorumLearner`)
    pub login: (String, Secret),
}

impl Default for AuthSettings {
    fn default() -> AuthSettings {
        AuthSettings {
            digest: true,
            digest_alg: DigestAlg::Sha1,
            super_digest: None,
            skip_acl: false,
            sasl: false,
            sasl_users: None,
            sasl_super_users: Vec::new(),
            any_sasl_user: None,
            allow_sasl_failed: false,
            ensemble_names: None,
            required_schemes: Vec::new(),
            quorum: None,
        }
    }
}

/// The hashes that Java offers under these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlg {
    /// 16 bytes; only for data that is hashed so
    Md5,
    /// 20 bytes, ZooKeeper's default
    Sha1,
    /// 28 bytes
    Sha224,
    /// 32 bytes
    Sha256,
    /// 48 bytes
    Sha384,
    /// 64 bytes
    Sha512,
    /// 28 bytes
    Sha3_224,
    /// 32 bytes
    Sha3_256,
    /// 48 bytes
    Sha3_384,
    /// 64 bytes
    Sha3_512,
}

impl DigestAlg {
    /// By Java's name, whatever its case.
    fn parse(name: &str) -> Option<DigestAlg> {
        Some(match &*name.to_ascii_uppercase() {
            "MD5" => DigestAlg::Md5,
            "SHA" | "SHA1" | "SHA-1" => DigestAlg::Sha1,
            "SHA224" | "SHA-224" => DigestAlg::Sha224,
            "SHA256" | "SHA-256" => DigestAlg::Sha256,
            "SHA384" | "SHA-384" => DigestAlg::Sha384,
            "SHA512" | "SHA-512" => DigestAlg::Sha512,
            "SHA3-224" => DigestAlg::Sha3_224,
            "SHA3-256" => DigestAlg::Sha3_256,
            "SHA3-384" => DigestAlg::Sha3_384,
            "SHA3-512" => DigestAlg::Sha3_512,
            _ => return None,
        })
    }

    /// Length of its digests, bytes.
    fn digest_bytes(self) -> usize {
        match self {
            DigestAlg::Md5 => 16,
            DigestAlg::Sha1 => 20,
            DigestAlg::Sha224 | DigestAlg::Sha3_224 => 28,
            DigestAlg::Sha256 | DigestAlg::Sha3_256 => 32,
            DigestAlg::Sha384 | DigestAlg::Sha3_384 => 48,
            DigestAlg::Sha512 | DigestAlg::Sha3_512 => 64,
        }
    }
}

/// Reads every key about authentication.
pub(super) fn settings(given: &mut Given, read_text: ReadText<'_>) -> AuthSettings {
    let mut auth = AuthSettings::default();
    set_digest(given, &mut auth);
    set_skip_acl(given, &mut auth);
    set_providers(given, &mut auth);
    given.boolean(&mut auth.allow_sasl_failed, "allowSaslFailedClients");
    auth.any_sasl_user = given.value("letAnySaslUserDoX").map(|value| value.text);
    let super_users = given.family("superUser.").into_iter().map(|(_, value)| value);
    let super_users = given.value("superUser").into_iter().chain(super_users);
    auth.sasl_super_users = super_users.map(|value| value.text).filter(|name| !name.is_empty()).collect();
    let jaas = JaasFile::read(given, read_text);
    auth.sasl_users = client_users(given, jaas.as_ref());
    auth.quorum = quorum(given, jaas.as_ref());
    set_required_schemes(given, &mut auth);
    auth
}

fn set_digest(given: &mut Given, auth: &mut AuthSettings) {
    given.boolean(&mut auth.digest, "DigestAuthenticationProvider.enabled");
    let alg_key = "DigestAuthenticationProvider.digestAlg";
    if let Some(value) = given.value(alg_key) {
        match DigestAlg::parse(&value.text) {
            Some(alg) => auth.digest_alg = alg,
            None => given.unexpected(
                alg_key,
                "expected SHA1, SHA-224, SHA-256, SHA-384, SHA-512, one of SHA3- or MD5",
            ),
        }
    }
    let key = "DigestAuthenticationProvider.superDigest";
    let Some(value) = given.value(key).filter(|value| !value.text.is_empty()) else { return };
    let digest = value.text.split_once(':').map(|(_, digest)| digest);
    // As long as the hash is in base64, with its padding.
    if digest.is_none_or(|digest| digest.len() != auth.digest_alg.digest_bytes().div_ceil(3) * 4) {
        let text = format!(
            "{key} is not user:hash, the hash in base64 and by {alg_key}: nobody can prove to be that"
        );
        given.notice(Severity::Warning, Some(value.line), text);
    }
    auth.super_digest = Some(Secret::new(value.text));
}

/// ZooKeeper takes every word but `yes` for no. Here a word that is neither is an error: who writes `true` means yes.
fn set_skip_acl(given: &mut Given, auth: &mut AuthSettings) {
    let Some(value) = given.value("skipACL") else { return };
    match &*value.text {
        "yes" => {
            auth.skip_acl = true;
            let text = "skipACL=yes: everybody may do everything".to_owned();
            given.notice(Severity::Warning, Some(value.line), text);
        }
        "no" => {}
        _ => given.unexpected("skipACL", "expected yes or no"),
    }
}

/// ZooKeeper loads any class; what is left out here is told.
fn set_providers(given: &mut Given, auth: &mut AuthSettings) {
    let package = "org.apache.zookeeper.server.auth.";
    for (key, value) in given.family("authProvider.") {
        match value.text.strip_prefix(package).unwrap_or(&value.text) {
            "SASLAuthenticationProvider" => auth.sasl = true,
            "EnsembleAuthenticationProvider" => {
                let names = given.value("ensembleAuthName").map(|value| value.text).unwrap_or_default();
                let names = names.split(',').map(|name| name.trim().to_owned());
                auth.ensemble_names = Some(names.filter(|name| !name.is_empty()).collect());
            }
            "DigestAuthenticationProvider" => auth.digest = true,
            "IPAuthenticationProvider" | "X509AuthenticationProvider" => {}
            _ => {
                let text = format!("{key}: this class is not known here, so its scheme proves nothing");
                given.notice(Severity::Warning, Some(value.line), text);
            }
        }
    }
}

fn set_required_schemes(given: &mut Given, auth: &mut AuthSettings) {
    let (mut session_requires_sasl, mut enforce) = (false, false);
    let (sasl_key, enabled_key, schemes_key) =
        ("sessionRequireClientSASLAuth", "enforce.auth.enabled", "enforce.auth.schemes");
    given.boolean(&mut session_requires_sasl, sasl_key);
    given.boolean(&mut enforce, enabled_key);
    let line = if session_requires_sasl {
        auth.required_schemes = vec!["sasl".to_owned()];
        given.line(sasl_key)
    } else if enforce {
        let listed = given.value(schemes_key).map(|value| value.text).unwrap_or_default();
        let listed = listed.split(',').map(|scheme| scheme.trim().to_owned());
        auth.required_schemes = listed.filter(|scheme| !scheme.is_empty()).collect();
        if auth.required_schemes.is_empty() {
            let text =
                format!("{enabled_key} is set: expected {schemes_key} with the schemes, as in digest,sasl");
            given.problem(given.line(enabled_key), text);
        }
        given.line(schemes_key)
    } else {
        None
    };
    let has_client_tls = ["secureClientPort", "client.portUnification"].iter().any(|key| given.has(key))
        || given.servers().iter().any(|(server, _)| server.secure_client.is_some());
    for scheme in &auth.required_schemes {
        let text = match &**scheme {
            "digest" if auth.digest => continue,
            "ip" => continue,
            "x509" if has_client_tls => continue,
            "sasl" if auth.sasl && auth.sasl_users.is_some() => continue,
            "sasl" if auth.sasl => {
                "clients must authenticate by sasl, and nobody can: expected users in the JAAS file that \
                 java.security.auth.login.config names"
            }
            "sasl" => {
                "clients must authenticate by sasl: expected \
                 authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider as well"
            }
            _ => "expected schemes that there are: digest, ip, sasl, x509 (if they are enabled)",
        };
        given.problem(line, text.to_owned());
    }
}

/// The JAAS file, if one is named and could be read.
struct JaasFile {
    name: String,
    sections: Sections,
}

impl JaasFile {
    fn read(given: &mut Given, read_text: ReadText<'_>) -> Option<JaasFile> {
        let name = given.value("java.security.auth.login.config")?.text;
        let place = |line| Place { file: name.clone(), line };
        match read_text(Path::new(&name)) {
            Ok(text) => match jaas::parse(&text) {
                Ok(sections) => return Some(JaasFile { name, sections }),
                Err(error) => given.problem_at(place(Some(error.line)), error.text),
            },
            Err(error) => given.problem_at(place(None), format!("cannot be read: {error}")),
        }
        None
    }

    /// Options that all modules of a section have together.
    fn options(&self, given: &mut Given, modules: &[Module]) -> BTreeMap<String, Secret> {
        let mut options = BTreeMap::new();
        for module in modules {
            let class = module.class.rsplit('.').next().unwrap_or_default();
            if class != "DigestLoginModule" {
                let what = if class == "Krb5LoginModule" {
                    "GSSAPI (Kerberos) is not offered"
                } else {
                    "not known here"
                };
                let text = format!(
                    "{class}: {what}: expected org.apache.zookeeper.server.auth.DigestLoginModule, with users and passwords"
                );
                given.problem_at(Place { file: self.name.clone(), line: Some(module.line) }, text);
            }
            options.extend(module.options.clone());
        }
        options
    }

    /// The users of a section.
    fn users(&self, given: &mut Given, section: &str) -> Option<BTreeMap<String, Secret>> {
        let modules = self.sections.get(section)?;
        let options = self.options(given, modules).into_iter();
        Some(
            options
                .filter_map(|(key, value)| Some((key.strip_prefix(USER_PREFIX)?.to_owned(), value)))
                .collect(),
        )
    }
}

fn client_users(given: &mut Given, jaas: Option<&JaasFile>) -> Option<BTreeMap<String, Secret>> {
    let named = given.value("sasl.serverconfig");
    let section = named.as_ref().map_or(CLIENT_SECTION, |value| &*value.text);
    let mut users = jaas.and_then(|jaas| jaas.users(given, section));
    match (&named, jaas) {
        (Some(value), Some(jaas)) if users.is_none() => {
            let text =
                format!("sasl.serverconfig={section}: expected the name of a section of {}", jaas.name);
            given.problem(Some(value.line), text);
        }
        (Some(value), None) if !given.has("java.security.auth.login.config") => {
            let text =
                "sasl.serverconfig is set: expected java.security.auth.login.config with the JAAS file"
                    .to_owned();
            given.problem(Some(value.line), text);
        }
        _ => {}
    }
    // As in ZooKeeper only for a user that is there already.
    let super_password = given.value("SASLAuthenticationProvider.superPassword");
    if let (Some(password), Some(user)) =
        (super_password, users.as_mut().and_then(|users| users.get_mut("super")))
    {
        *user = Secret::new(password.text);
    }
    if let (Some(jaas), Some(users)) = (jaas, &users)
        && users.is_empty()
    {
        let text = format!("the section {section} has no user: expected user_NAME=\"password\"");
        given.problem_at(Place { file: jaas.name.clone(), line: None }, text);
    }
    users
}

fn quorum(given: &mut Given, jaas: Option<&JaasFile>) -> Option<QuorumAuth> {
    let (enable_key, learner_key, server_key) =
        ("quorum.auth.enableSasl", "quorum.auth.learnerRequireSasl", "quorum.auth.serverRequireSasl");
    let (mut enabled, mut dials, mut insists) = (false, false, false);
    given.boolean(&mut enabled, enable_key);
    given.boolean(&mut dials, learner_key);
    given.boolean(&mut insists, server_key);
    for (wants, key, needed, needed_key) in [
        (dials, learner_key, enabled, enable_key),
        (insists, server_key, enabled, enable_key),
        (insists, server_key, dials, learner_key),
    ] {
        if wants && !needed {
            given.problem(given.line(key), format!("{key} is set: expected {needed_key}=true as well"));
            return None;
        }
    }
    if !enabled {
        return None;
    }
    if !given.has("java.security.auth.login.config") {
        let text =
            format!("{enable_key} is set: expected java.security.auth.login.config with the JAAS file");
        given.problem(given.line(enable_key), text);
    }
    let jaas = jaas?;
    let section = |given: &Given, key, usual: &str| {
        given.value(key).map_or_else(|| usual.to_owned(), |value| value.text)
    };
    let server = section(given, "quorum.auth.server.saslLoginContext", "QuorumServer");
    let learner = section(given, "quorum.auth.learner.saslLoginContext", "QuorumLearner");
    let users = jaas.users(given, &server).filter(|users| !users.is_empty());
    let learner_modules = jaas.sections.get(&learner);
    let options = learner_modules.map(|modules| jaas.options(given, modules)).unwrap_or_default();
    let login = options.get("username").cloned().zip(options.get("password").cloned());
    let nowhere = Place { file: jaas.name.clone(), line: None };
    if users.is_none() {
        let text =
            format!("expected a section {server} with user_NAME=\"password\", for the servers that connect");
        given.problem_at(nowhere.clone(), text);
    }
    if login.is_none() {
        let text = format!(
            "expected a section {learner} with username=\"...\" and password=\"...\", for this server to connect"
        );
        given.problem_at(nowhere, text);
    }
    let (name, password) = login?;
    Some(QuorumAuth { dials, insists, users: users?, login: (name.expose().to_owned(), password) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Format, Settings, Source, parse_text_with};

    const JAAS: &str = "Server { a.DigestLoginModule required user_bob=\"pw-bob\" user_super=\"pw-super\"; };\n\
                        QuorumServer { a.DigestLoginModule required user_peer=\"pw-peer\"; };\n\
                        QuorumLearner { a.DigestLoginModule required username=\"peer\" password=\"pw-peer\"; };\n";
    const PROVIDER: &str = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n";
    const USERS: &str = "java.security.auth.login.config=users\n";

    /// The settings with what was remarked, or all that is wrong.
    fn parse(text: &str, jaas: &str) -> Result<(Settings, Vec<String>), String> {
        let text = format!("dataDir=/d\nclientPort=1\n{text}");
        let source =
            Source { name: "z", text: &text, format: Format::Properties, myid: Some(1), strict: true };
        match parse_text_with(&source, jaas) {
            Ok(loaded) => Ok((loaded.settings, loaded.notices.iter().map(ToString::to_string).collect())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn auth(text: &str) -> AuthSettings {
        parse(text, JAAS).unwrap_or_else(|error| panic!("{error}")).0.auth
    }

    fn error(text: &str) -> String {
        parse(text, JAAS).map(|_| ()).unwrap_err()
    }

    fn names(users: &BTreeMap<String, Secret>) -> Vec<&str> {
        users.keys().map(|name| &**name).collect()
    }

    #[test]
    fn every_key_reaches_its_setting() {
        let text = format!(
            "{PROVIDER}{USERS}zookeeper.DigestAuthenticationProvider.digestAlg=sha-256\nskipACL=yes\n\
             DigestAuthenticationProvider.superDigest=super:x\nsuperUser=root\nzookeeper.superUser.two=admin\n\
             SASLAuthenticationProvider.superPassword=other\nletAnySaslUserDoX=all\nallowSaslFailedClients=true\n\
             authProvider.e=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider\n\
             ensembleAuthName=a, b\nenforce.auth.enabled=true\nenforce.auth.schemes=sasl, digest\n\
             quorum.auth.enableSasl=true\nquorum.auth.learnerRequireSasl=true\n"
        );
        let auth = auth(&text);
        assert_eq!((auth.digest_alg, auth.skip_acl, auth.sasl), (DigestAlg::Sha256, true, true));
        assert_eq!(auth.super_digest, Some(Secret::new("super:x")));
        assert_eq!(auth.sasl_super_users, ["root", "admin"]);
        let users = auth.sasl_users.expect("the file has users");
        assert_eq!(names(&users), ["bob", "super"]);
        assert_eq!((users["bob"].expose(), users["super"].expose()), ("pw-bob", "other"));
        assert_eq!((auth.any_sasl_user.as_deref(), auth.allow_sasl_failed), (Some("all"), true));
        assert_eq!(auth.ensemble_names, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(auth.required_schemes, ["sasl", "digest"]);
        let quorum = auth.quorum.expect("it is enabled");
        assert_eq!((quorum.dials, quorum.insists, names(&quorum.users)), (true, false, vec!["peer"]));
        assert_eq!(quorum.login, ("peer".to_owned(), Secret::new("pw-peer")));
    }

    #[test]
    fn without_these_keys_there_are_digests_and_addresses() {
        assert_eq!(auth(""), AuthSettings::default());
        assert!(auth(USERS).sasl_users.is_some());
        assert_eq!(
            auth("sessionRequireClientSASLAuth=no\nenforce.auth.schemes=ip").required_schemes,
            [""; 0]
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_was_expected() {
        for (text, expected) in [
            ("skipACL=true", "z:3: skipACL=true: expected yes or no"),
            (
                "DigestAuthenticationProvider.digestAlg=SHA9",
                "z:3: DigestAuthenticationProvider.digestAlg=SHA9: expected SHA1, SHA-224, SHA-256, SHA-384, SHA-512, \
                 one of SHA3- or MD5",
            ),
            (
                "enforce.auth.enabled=true",
                "z:3: enforce.auth.enabled is set: expected enforce.auth.schemes with the schemes, as in digest,sasl",
            ),
            (
                "enforce.auth.enabled=true\nenforce.auth.schemes=world",
                "z:4: expected schemes that there are: digest, ip, sasl, x509 (if they are enabled)",
            ),
            (
                "sessionRequireClientSASLAuth=true",
                "z:3: clients must authenticate by sasl: expected \
                 authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider as well",
            ),
            (
                "quorum.auth.learnerRequireSasl=true",
                "z:3: quorum.auth.learnerRequireSasl is set: expected quorum.auth.enableSasl=true as well",
            ),
            (
                "quorum.auth.enableSasl=true\nquorum.auth.serverRequireSasl=true",
                "z:4: quorum.auth.serverRequireSasl is set: expected quorum.auth.learnerRequireSasl=true as well",
            ),
            (
                "quorum.auth.enableSasl=true",
                "z:3: quorum.auth.enableSasl is set: expected java.security.auth.login.config with the JAAS file",
            ),
            (
                "sasl.serverconfig=Other\njava.security.auth.login.config=users",
                "z:3: sasl.serverconfig=Other: expected the name of a section of users",
            ),
        ] {
            assert_eq!(error(text), expected);
        }
        let missing = parse(USERS, "").unwrap_err();
        assert_eq!(missing, "users: cannot be read: entity not found");
        let kerberos = "Server {\n com.sun.security.auth.module.Krb5LoginModule required user_a=b;\n};";
        let kerberos = parse(USERS, kerberos).unwrap_err();
        assert_eq!(
            kerberos,
            "users:2: Krb5LoginModule: GSSAPI (Kerberos) is not offered: expected \
             org.apache.zookeeper.server.auth.DigestLoginModule, with users and passwords"
        );
        let nobody = parse(USERS, "Server { a.DigestLoginModule required; };").unwrap_err();
        assert_eq!(nobody, "users: the section Server has no user: expected user_NAME=\"password\"");
        let quorum = parse(&format!("quorum.auth.enableSasl=true\n{USERS}"), "Server{};").unwrap_err();
        assert!(quorum.contains("expected a section QuorumServer with user_NAME"), "{quorum}");
        assert!(quorum.contains("expected a section QuorumLearner with username"), "{quorum}");
        let broken = parse(USERS, "Server {\n").unwrap_err();
        assert_eq!(broken, "users:2: expected the class of a login module, or }, found the end of the file");
    }

    #[test]
    fn an_odd_super_digest_or_provider_is_remarked() {
        let (_, notices) =
            parse("DigestAuthenticationProvider.superDigest=super:test\nauthProvider.9=my.Own\n", "")
                .unwrap();
        assert!(notices[0].contains("is not user:hash") && !notices[0].contains("super:test"), "{notices:?}");
        assert!(notices[1].starts_with("z:4: authProvider.9: this class is not known here"), "{notices:?}");
    }

    #[test]
    fn no_secret_is_part_of_a_message_or_a_debug_text() {
        let secrets = ["pw-bob", "pw-super", "pw-peer", "hunter2"];
        let text = format!(
            "{PROVIDER}{USERS}DigestAuthenticationProvider.superDigest=super:hunter2\n\
             SASLAuthenticationProvider.superPassword=hunter2\nquorum.auth.enableSasl=true\n"
        );
        let (settings, notices) = parse(&text, JAAS).unwrap();
        let mut shown = vec![
            format!("{settings:?}"),
            settings.conf_text(&settings.membership(), 1, 2),
            notices.join("\n"),
        ];
        // With something wrong in every line in turn, and with every character of the users' file missing in turn.
        for line in text.lines() {
            let broken = text.replace(line, &format!("{line}\n{line}x\ntickTime=fast"));
            shown.push(parse(&broken, JAAS).map(|_| ()).unwrap_err());
        }
        for at in 0..JAAS.len() {
            let broken = format!("{}{}", &JAAS[..at], &JAAS[at + 1..]);
            shown.extend(parse(&text, &broken).err());
        }
        for secret in secrets {
            for shown in &shown {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
    }
}
