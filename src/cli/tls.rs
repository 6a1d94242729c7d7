//! The options of the tools for servers that speak TLS.

use std::path::PathBuf;

use clap::Args;

use crate::client::TlsFiles;

/// What to speak TLS with.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsArgs {
    /// Speak TLS, and trust servers whose certificates these authorities have signed: a PEM file
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The own certificate, for servers that ask who the client is: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_cert: Option<PathBuf>,
    /// The key of it [default: the same file]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

impl TlsArgs {
    /// For the client; `None` for plain text.
    pub fn files(&self) -> Option<TlsFiles> {
        let identity = self.tls_cert.clone().map(|certificate| {
            let key = self.tls_key.clone().unwrap_or_else(|| certificate.clone());
            (certificate, key)
        });
        self.tls_ca.clone().map(|ca| TlsFiles { ca, identity })
    }
}
