//! Whether every replica that gateways may ask serves a module: they go through a Service, which takes any.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Method, Request};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;

use super::cluster::Cluster;
use crate::source::kubernetes::Failure;

/// A replica that is slower does not serve it.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module's documentation.
pub(crate) struct Replicas {
    client: Client<HttpConnector, Empty<Bytes>>,
    /// The Service for modules.
    service: String,
}

impl Replicas {
    pub(crate) fn new(service: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            service: service.to_owned(),
        }
    }

    /// All that are ready, and at least one.
    pub(super) async fn serve(&self, cluster: &Cluster, sha256: &str) -> Result<bool, Failure> {
        let addresses = cluster.endpoints(&self.service).await?;
        for address in &addresses {
            if !self.serves(address, sha256).await {
                return Ok(false);
            }
        }
        Ok(!addresses.is_empty())
    }

    /// Asked as gateways ask: without a token.
    async fn serves(&self, address: &str, sha256: &str) -> bool {
        let request = Request::builder()
            .method(Method::HEAD)
            .uri(format!("http://{address}/v1/filter/{sha256}.wasm"))
            .body(Empty::new());
        let Ok(request) = request else {
            return false;
        };
        let answered = timeout(PATIENCE, self.client.request(request)).await;
        matches!(answered, Ok(Ok(answer)) if answer.status().is_success())
    }
}
