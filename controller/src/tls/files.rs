//! A certificate and its key in files, read again when they change.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tracing::{error, info};

use super::{InForce, certified};
use crate::{config::CertificateFiles, files::Followed, telemetry::Telemetry};

/// Reads them once and follows them, until nobody listens. `port` is for people and for a label.
///
/// # Errors
/// When the first read fails. A later one keeps the certificate in force, logged and counted.
pub(crate) async fn follow(
    port: &'static str,
    files: &CertificateFiles,
    poll: Duration,
    telemetry: Arc<Telemetry>,
) -> Result<InForce> {
    let CertificateFiles { certificate, key } = files;
    let said = format!(
        "--{port}-tls-cert {}, --{port}-tls-key {}",
        certificate.display(),
        key.display()
    );
    let paths = vec![certificate.to_owned(), key.to_owned()];
    let (files, texts) = Followed::start(paths, poll).await.context(said.clone())?;
    let first = parse(&texts).context(said.clone())?;
    let (sender, receiver) = watch::channel(Some(Arc::new(first)));
    telemetry.tls.read(port, "ok");
    tokio::spawn(watch_files(port, said, files, sender, telemetry));
    Ok(receiver)
}

async fn watch_files(
    port: &'static str,
    said: String,
    mut files: Followed,
    sender: watch::Sender<Option<Arc<CertifiedKey>>>,
    telemetry: Arc<Telemetry>,
) {
    loop {
        let looked = tokio::select! {
            () = sender.closed() => return,
            looked = files.news() => looked,
        };
        let new = looked.and_then(|texts| parse(&texts).map_err(|error| format!("{error:#}")));
        match new {
            Ok(new) => {
                info!(port, "the certificate was read again");
                sender.send_replace(Some(Arc::new(new)));
                telemetry.tls.read(port, "ok");
            }
            Err(error) => {
                error!(error, "{said}: the last good certificate stays in force");
                telemetry.tls.read(port, "error");
            }
        }
    }
}

fn parse(texts: &[String]) -> Result<CertifiedKey> {
    match texts {
        [certificate, key] => certified(certificate, key),
        _ => anyhow::bail!("a certificate and a key are needed"),
    }
}
