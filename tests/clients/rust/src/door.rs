//! The way to the servers: in plain text, or by TLS with a certificate and a password.

use std::fs;
use std::path::Path;
use std::time::Duration;

use zookeeper_client::{Client, Connector, SaslOptions, TlsOptions};

use crate::checks::Checked;

const SESSION: Duration = Duration::from_secs(15);

pub struct Door {
    servers: String,
    secured: Option<(TlsOptions, SaslOptions)>,
    /// Whom the password makes its clients.
    pub user: Option<String>,
}

impl Door {
    /// From the words `SERVERS [FOLDER USER PASSWORD]`. The folder has the authority's certificate `ca.pem`, and
    /// the client's own `client.crt` with its key `client.key`.
    pub fn from_args() -> Checked<Self> {
        let words: Vec<String> = std::env::args().skip(1).collect();
        match words.as_slice() {
            [servers] => Ok(Self { servers: servers.clone(), secured: None, user: None }),
            [servers, folder, user, password] => {
                let read = |name| fs::read_to_string(Path::new(folder).join(name));
                let tls = TlsOptions::new().with_pem_ca(&read("ca.pem")?)?;
                let tls = tls.with_pem_identity(&read("client.crt")?, &read("client.key")?)?;
                let sasl = SaslOptions::digest_md5(user.clone(), password.clone()).into();
                Ok(Self { servers: servers.clone(), secured: Some((tls, sasl)), user: Some(user.clone()) })
            }
            _ => Err("expected SERVERS, or SERVERS FOLDER USER PASSWORD".into()),
        }
    }

    pub async fn client(&self) -> Checked<Client> {
        self.open("", |connector| connector).await
    }

    /// A client below `chroot`, with what else it is to be.
    pub async fn open(&self, chroot: &str, more: impl FnOnce(Connector) -> Connector) -> Checked<Client> {
        let connector = more(Client::connector().with_session_timeout(SESSION));
        let servers = format!("{}{chroot}", self.servers);
        Ok(match &self.secured {
            Some((tls, sasl)) => {
                connector.with_tls(tls.clone()).with_sasl(sasl.clone()).secure_connect(&servers).await?
            }
            None => connector.connect(&servers).await?,
        })
    }
}
