//! Connects to the API server.

use anyhow::{Context as _, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::config::Cluster;

/// A client, and where it goes.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) address: String,
}

/// # Errors
/// When there is no configuration, or it cannot be used. Nothing is asked of the server yet.
pub(crate) async fn connect(cluster: &Cluster) -> Result<Connected> {
    let config = match &cluster.kubeconfig {
        Some(file) => {
            let options = KubeConfigOptions::default();
            let read = Kubeconfig::read_from(file)
                .with_context(|| format!("cannot read --kubeconfig {}", file.display()))?;
            Config::from_custom_kubeconfig(read, &options)
                .await
                .with_context(|| format!("--kubeconfig {} names no cluster", file.display()))?
        }
        None => Config::infer().await.context(
            "no cluster: neither inside a Pod with a service account, nor a kubeconfig in KUBECONFIG or the home \
             directory; name one with --kubeconfig FILE",
        )?,
    };
    let address = config.cluster_url.to_string();
    let client = Client::try_from(config)
        .with_context(|| format!("cannot use the credentials for the cluster at {address}"))?;
    Ok(Connected { client, address })
}
