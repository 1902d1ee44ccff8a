//! The flags of the port for callers from anywhere.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use gaugeway_controller::config::{Answers, Apis, CertificateFiles};

#[derive(Debug, Args)]
pub(super) struct ApisFlags {
    /// Where callers from anywhere ask what --api-listen shows: by https, as a user of the cluster, within what the API
    /// server allows that user. Off unless given.
    #[arg(
        long,
        env = "GAUGEWAY_APIS_LISTEN",
        value_name = "ADDR:PORT",
        requires_all = ["kubernetes", "apis_tls_cert"]
    )]
    apis_listen: Option<SocketAddr>,
    /// Certificate of that port, in PEM, with what signed it. Read again when it changes.
    #[arg(
        long,
        env = "GAUGEWAY_APIS_TLS_CERT",
        value_name = "FILE",
        requires_all = ["apis_listen", "apis_tls_key"]
    )]
    apis_tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(
        long,
        env = "GAUGEWAY_APIS_TLS_KEY",
        value_name = "FILE",
        requires = "apis_tls_cert"
    )]
    apis_tls_key: Option<PathBuf>,
}

impl ApisFlags {
    /// Clap has made sure that what it needs is there.
    pub(super) fn apis(self) -> Result<Option<Apis>> {
        let Some(listen) = self.apis_listen else {
            return Ok(None);
        };
        Ok(Some(Apis {
            listen,
            certificate: CertificateFiles {
                certificate: self.apis_tls_cert.context("--apis-tls-cert is missing")?,
                key: self.apis_tls_key.context("--apis-tls-key is missing")?,
            },
            answers: Answers::default(),
        }))
    }
}
