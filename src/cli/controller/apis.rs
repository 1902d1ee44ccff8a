//! The flags of the port for callers from anywhere.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;
use gaugeway_controller::{
    cluster_domain,
    config::{Answers, Apis, Certificate, CertificateFiles, Home, Made},
};

/// Between two looks at the Secret, and at the registration.
const EVERY: Duration = Duration::from_secs(10);
/// Port of the Service.
const PORT: u16 = 443;

#[derive(Debug, Args)]
pub(super) struct ApisFlags {
    /// Where callers from anywhere ask what --api-listen shows: by https, as a user of the cluster, within what the API
    /// server allows that user. Off unless given; needs a certificate, of one kind or the other.
    #[arg(
        long,
        env = "GAUGEWAY_APIS_LISTEN",
        value_name = "ADDR:PORT",
        requires_all = ["kubernetes", "apis_certificate"]
    )]
    apis_listen: Option<SocketAddr>,
    /// Certificate of that port, in PEM, with what signed it. Read again when it changes.
    #[arg(
        long,
        env = "GAUGEWAY_APIS_TLS_CERT",
        value_name = "FILE",
        group = "apis_certificate",
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
    /// Secret in --own-namespace with a certificate of that port, made and rotated by the controller and shared by its
    /// replicas; its entry ca.crt is what clients are to trust.
    #[arg(
        long,
        env = "GAUGEWAY_APIS_TLS_SECRET",
        value_name = "NAME",
        group = "apis_certificate",
        requires_all = ["apis_listen", "own_namespace"]
    )]
    apis_tls_secret: Option<String>,
    /// Service of that port, 443.
    #[arg(
        long,
        env = "GAUGEWAY_APIS_SERVICE",
        default_value = "gaugeway-apis",
        value_name = "NAME"
    )]
    apis_service: String,
    /// Answer the cluster's autoscalers: register custom.metrics.k8s.io with the API server, in both versions, unless
    /// another server has it.
    #[arg(long, env = "GAUGEWAY_METRICS_API", requires = "apis_tls_secret")]
    metrics_api: bool,
}

impl ApisFlags {
    /// Clap has made sure that what it needs is there.
    pub(super) fn apis(
        self,
        own_namespace: Option<&str>,
        domain: Option<String>,
    ) -> Result<Option<Apis>> {
        let Some(listen) = self.apis_listen else {
            return Ok(None);
        };
        let certificate = match self.apis_tls_secret {
            Some(secret) => Certificate::Made(Made {
                secret,
                home: Home {
                    namespace: own_namespace
                        .context("--own-namespace is missing")?
                        .to_owned(),
                    service: self.apis_service,
                    port: PORT,
                },
                cluster_domain: domain
                    .or_else(cluster_domain)
                    .unwrap_or_else(|| "cluster.local".to_owned()),
                metrics_api: self.metrics_api,
                every: EVERY,
            }),
            None => Certificate::Files(CertificateFiles {
                certificate: self.apis_tls_cert.context("--apis-tls-cert is missing")?,
                key: self.apis_tls_key.context("--apis-tls-key is missing")?,
            }),
        };
        Ok(Some(Apis {
            listen,
            certificate,
            answers: Answers::default(),
        }))
    }
}
