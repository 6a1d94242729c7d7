//! Both sides of a connection, and files that are read again when they change.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::store::{Identity, Source, revocation_lists};
use super::stream::Stream;
use super::verify::{Dialled, dialled_name};
use super::{TlsError, parameters};
use crate::config::{ClientAuth, PasswordSource, Secret, StoreFile, StoreKind, TlsSettings, TlsVersions};

/// How often the files are looked at.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// One side of TLS, `ssl.*` or `ssl.quorum.*`, with what its files said when they were last read.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    current: RwLock<Current>,
}

#[derive(Clone, Debug)]
struct Current {
    accepting: Arc<ServerConfig>,
    /// where there is a trust store
    dialling: Option<Arc<ClientConfig>>,
}

/// What a file was like: it has changed if this has.
type Stamp = Vec<Option<(i64, i64, u64, u64)>>;

impl Tls {
    /// Reads the files. A certificate whose time is over is no error, but is told of: others will refuse it.
    pub fn load(settings: TlsSettings) -> Result<Tls, TlsError> {
        let current = RwLock::new(Current::load(&settings)?);
        Ok(Tls { settings, current })
    }

    /// What it was made with.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// For whoever dials this server.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current().accepting)
    }

    /// To dial another server. `None` without a trust store.
    pub fn connector(&self) -> Option<TlsConnector> {
        self.current().dialling.map(TlsConnector::from)
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again whenever they change, if that is wanted, until the task is aborted. What cannot be read leaves
    /// everything as it was. Connections that are open stay as they are.
    pub async fn keep_fresh(self: Arc<Tls>) {
        if !self.settings.reload {
            return;
        }
        let files = files(&self.settings);
        let mut seen = stamp(files.clone()).await;
        let mut pause = tokio::time::interval(RELOAD_PAUSE);
        loop {
            pause.tick().await;
            let now = stamp(files.clone()).await;
            if now == seen {
                continue;
            }
            seen = now;
            let tls = Arc::clone(&self);
            let loaded = tokio::task::spawn_blocking(move || Current::load(&tls.settings)).await;
            let prefix = self.settings.prefix;
            match loaded {
                Ok(Ok(current)) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
                    tracing::info!("the files of {prefix}* were read again: they count from now on");
                }
                Ok(Err(error)) => tracing::error!("{error}; what was read before still counts"),
                Err(error) => tracing::error!("the files of {prefix}* were not read again: {error}"),
            }
        }
    }
}

impl Current {
    fn load(settings: &TlsSettings) -> Result<Current, TlsError> {
        let key = |name: &str| format!("{}{name}", settings.prefix);
        let source = |file, store: &str| {
            let (key, password_key) = (key(&format!("{store}.location")), key(&format!("{store}.password")));
            Source { file, key, password_key }
        };
        let own = source(&settings.key_store, "keyStore");
        let identity = own.identity()?;
        warn_if_over(&own, &identity.chain);
        let roots = match &settings.trust_store {
            Some(file) => Some(Arc::new(source(file, "trustStore").authorities()?)),
            None => None,
        };
        let lists = match &settings.crl {
            Some(path) => {
                let lists = revocation_lists(key("crl.location"), path)?;
                warn_if_lists_are_over(&key("crl.location"), path, &lists);
                lists
            }
            None => Vec::new(),
        };
        let maker = Maker {
            provider: parameters::provider(key("ciphersuites"), settings.cipher_suites.as_deref())?,
            versions: parameters::versions(settings.versions),
            lists,
        };
        let explained = |unfit| match unfit {
            Unfit::Suites(error) => {
                let names = settings.cipher_suites.as_deref().unwrap_or_default().join(",");
                TlsError::new(
                    key("ciphersuites"),
                    names,
                    format!("none fits the versions that are spoken: {error}"),
                )
            }
            Unfit::Key(error) => own.error(format!("key and certificate cannot be used: {error}")),
            Unfit::Lists(error) => {
                let path = settings.crl.as_deref().unwrap_or(Path::new(""));
                TlsError::new(key("crl.location"), path.display(), format!("it cannot be used: {error}"))
            }
        };
        let dialling = match &roots {
            Some(roots) => {
                let made = maker.dialling(roots, Some(&identity), settings.hostname_verification);
                Some(Arc::new(made.map_err(explained)?))
            }
            None => None,
        };
        let accepting = maker.accepting(roots, identity, settings.client_auth).map_err(explained)?;
        Ok(Current { accepting: Arc::new(accepting), dialling })
    }
}

/// Says that the time of the own certificate is over.
fn warn_if_over(source: &Source<'_>, chain: &[CertificateDer<'static>]) {
    let own = chain.first().and_then(|own| X509Certificate::from_der(own).ok());
    let Some((_, own)) = own else { return };
    let until = own.validity().not_after;
    if until.timestamp() < seconds_since_1970() {
        tracing::warn!(
            "{}",
            source.error(format!("the certificate was valid until {until}: others refuse it"))
        );
    }
}

/// Says that the time of a revocation list is over.
fn warn_if_lists_are_over(key: &str, path: &Path, lists: &[CertificateRevocationListDer<'static>]) {
    for (n, list) in lists.iter().enumerate() {
        let Ok((_, list)) = CertificateRevocationList::from_der(list) else { continue };
        let Some(until) = list.next_update().filter(|until| until.timestamp() < seconds_since_1970()) else {
            continue;
        };
        let (number, reason) =
            (n + 1, "who has a certificate of its authority is refused until there is a newer one");
        let error = TlsError::new(
            key.to_owned(),
            path.display(),
            format!("list {number} of it was valid until {until}: {reason}"),
        );
        tracing::warn!("{error}");
    }
}

fn seconds_since_1970() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// Makes what rustls needs.
struct Maker {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    lists: Vec<CertificateRevocationListDer<'static>>,
}

/// What does not fit together.
enum Unfit {
    /// suites and versions
    Suites(rustls::Error),
    /// a key and its certificate
    Key(rustls::Error),
    /// a revocation list
    Lists(VerifierBuilderError),
}

impl Maker {
    fn accepting(
        &self,
        roots: Option<Arc<RootCertStore>>,
        identity: Identity,
        client_auth: ClientAuth,
    ) -> Result<ServerConfig, Unfit> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_protocol_versions(&self.versions).map_err(Unfit::Suites)?;
        let builder = match roots.filter(|_| client_auth != ClientAuth::None) {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let mut verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
                        .with_crls(self.lists.iter().cloned())
                        .enforce_revocation_expiration();
                if client_auth == ClientAuth::Want {
                    verifier = verifier.allow_unauthenticated();
                }
                builder.with_client_cert_verifier(verifier.build().map_err(Unfit::Lists)?)
            }
        };
        let mut config = builder.with_single_cert(identity.chain, identity.key).map_err(Unfit::Key)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn dialling(
        &self,
        roots: &Arc<RootCertStore>,
        identity: Option<&Identity>,
        checks_host: bool,
    ) -> Result<ClientConfig, Unfit> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&self.provider))
                .with_crls(self.lists.iter().cloned())
                .enforce_revocation_expiration()
                .build()
                .map_err(Unfit::Lists)?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .map_err(Unfit::Suites)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Dialled { inner: verifier, checks_host }));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = (identity.chain.clone(), identity.key.clone_key());
                builder.with_client_auth_cert(chain, key).map_err(Unfit::Key)?
            }
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn files(settings: &TlsSettings) -> Vec<PathBuf> {
    let stores = [Some(&settings.key_store), settings.trust_store.as_ref()].into_iter().flatten();
    let mut files: Vec<PathBuf> = settings.crl.iter().cloned().collect();
    for store in stores {
        files.push(store.path.clone());
        if let PasswordSource::File(path) = &store.password {
            files.push(path.clone());
        }
    }
    files
}

/// What the files are like now. On a thread of its own: a file system can take its time.
async fn stamp(files: Vec<PathBuf>) -> Stamp {
    let looking = tokio::task::spawn_blocking(move || {
        let stamps = files.iter().map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.mtime(), found.mtime_nsec(), found.len(), found.ino()))
        });
        stamps.collect()
    });
    looking.await.unwrap_or_default()
}

/// What a client speaks with `server` (`host:port`), which it has dialled: TLS if there is a connector.
pub async fn connected(server: &str, socket: TcpStream, tls: Option<&TlsConnector>) -> io::Result<Stream> {
    let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
    let name = dialled_name(server).map_err(io::Error::other)?;
    Ok(Stream::Tls(Box::new(tls.connect(name, socket).await?.into())))
}

/// What a client dials servers with: the PEM file of the authorities, and if servers ask who the client is the PEM files of
/// its certificate and of its key, which may be the same.
pub fn dialler(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<TlsConnector, TlsError> {
    let pem = |path: &Path| {
        let password = PasswordSource::Given(Secret::new(""));
        StoreFile { path: path.to_owned(), kind: StoreKind::Pem, password }
    };
    let source = |file, key: &str| Source { file, key: key.to_owned(), password_key: "nothing".to_owned() };
    let (file, mut own) = (pem(ca), None);
    let roots = source(&file, "ca").authorities()?;
    if let Some((certificate, key)) = identity {
        let (certificate, key) = (pem(certificate), pem(key));
        let (chain, key) = (source(&certificate, "certificate").pem_chain()?, source(&key, "key").pem_key()?);
        own = Some(Identity { chain, key });
    }
    let maker = Maker {
        provider: parameters::provider(String::new(), None)?,
        versions: parameters::versions(TlsVersions { v1_2: true, v1_3: true }),
        lists: Vec::new(),
    };
    let made = maker.dialling(&Arc::new(roots), own.as_ref(), true);
    let config = made.map_err(|unfit| match unfit {
        Unfit::Suites(error) | Unfit::Key(error) => error.to_string(),
        Unfit::Lists(error) => error.to_string(),
    });
    let config = config.map_err(|reason| TlsError::new("ca".to_owned(), ca.display(), reason))?;
    Ok(TlsConnector::from(Arc::new(config)))
}
