//! Questions to a running controller's API port.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Uri;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;

/// Where the API port listens by default, and where `kubectl port-forward` puts it.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:7083";
/// A question that takes longer has no answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest answer.
const ANSWER_BYTES: usize = 64 << 20;

/// The answer to GET of a path: JSON.
///
/// # Errors
/// When the controller cannot be reached, or refuses; the text says what to do.
pub(super) async fn get(url: &str, path: &str) -> Result<Bytes> {
    let uri: Uri = format!("{}{path}", url.trim_end_matches('/'))
        .parse()
        .with_context(|| format!("--url {url} is no URL; it looks like {DEFAULT_URL}"))?;
    if uri.scheme_str() != Some("http") {
        bail!("--url {url}: the API port speaks plain http; it looks like {DEFAULT_URL}");
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let asked = async {
        let answer = client.get(uri).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES);
        let body = body
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!(error))?;
        anyhow::Ok((status, body.to_bytes()))
    };
    let answered = timeout(PATIENCE, asked).await;
    let (status, body) = answered
        .unwrap_or_else(|_| bail!("it did not answer within {} s", PATIENCE.as_secs()))
        .with_context(|| unreachable(url))?;
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim_end());
    }
    Ok(body)
}

fn unreachable(url: &str) -> String {
    format!(
        "no controller answers at {url}. Its API port listens on loopback: in a cluster first run, in another terminal,\n  \
         kubectl -n gaugeway port-forward gaugeway-0 7083\nor name another place with --url"
    )
}
