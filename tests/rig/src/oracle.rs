//! What Envoy itself says about each request: its access log as JSON lines, and quantiles over it.
//!
//! Quantiles follow Prometheus's rank rule: `q × count` samples lie at or below the answer, so it is the sample at
//! position ⌈q × count⌉ from one. A histogram of the same samples answers within the bucket of that very sample.
//! Two clocks that differ by at most `d` per request give order statistics that differ by at most `d`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::wait::{PATIENCE, until};

/// One request as Envoy saw it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AccessLine {
    /// The header [`crate::client::ID_HEADER`].
    #[serde(default, deserialize_with = "text")]
    pub id: String,
    /// Request path.
    #[serde(deserialize_with = "text")]
    pub path: String,
    /// Response code; 0 when there was none.
    pub code: u16,
    /// Short response flags (`UF,URX`), empty for none.
    #[serde(deserialize_with = "text")]
    pub flags: String,
    /// Response code details.
    #[serde(deserialize_with = "text")]
    pub details: String,
    /// The upstream address, when one was chosen.
    #[serde(deserialize_with = "address")]
    pub upstream: Option<SocketAddr>,
    /// The upstream cluster.
    #[serde(deserialize_with = "text")]
    pub cluster: String,
    /// Upstream attempts.
    #[serde(deserialize_with = "number")]
    pub attempts: Option<u64>,
    /// Request received → first upstream byte, microseconds: upstream latency where our filter is the only one and
    /// nothing was retried.
    #[serde(rename = "latency_us", deserialize_with = "number")]
    latency_us: Option<u64>,
    /// Last attempt sent → first upstream byte, microseconds.
    #[serde(rename = "attempt_us", deserialize_with = "number")]
    attempt_us: Option<u64>,
    /// Whole request, milliseconds.
    #[serde(default, deserialize_with = "number")]
    pub duration_ms: Option<u64>,
}

impl AccessLine {
    /// Request received → first upstream byte; absent without one.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency_us.map(Duration::from_micros)
    }

    /// Last attempt sent → first upstream byte; absent without one.
    #[must_use]
    pub fn last_attempt(&self) -> Option<Duration> {
        self.attempt_us.map(Duration::from_micros)
    }
}

/// The `json_format` that [`AccessLine`] reads. What `gaugeway render envoy` writes has the same fields, without the
/// request's id and whole duration.
#[must_use]
pub fn access_log_format() -> Value {
    json!({
        "id": "%REQ(X-RIG-ID)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "code": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "upstream": "%UPSTREAM_HOST%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "latency_us": "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%",
        "attempt_us": "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%",
        "duration_ms": "%DURATION%",
    })
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.filter(|t| t != "-").unwrap_or_default())
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    Ok(text(from)?.parse().ok())
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    })
}

/// Envoy's access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    path: PathBuf,
}

impl AccessLog {
    /// The log at `path`, which need not be there yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// All lines that are complete.
    ///
    /// # Errors
    /// When a line is not what [`access_log_format`] makes.
    pub fn lines(&self) -> Result<Vec<AccessLine>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| self.path.display().to_string()),
        };
        let complete = text
            .rfind('\n')
            .map_or("", |end| text.get(..end).unwrap_or_default());
        complete
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect()
    }

    /// Waits until there are `count` lines, and errs if there are more.
    ///
    /// # Errors
    /// When there are too few in time or too many.
    pub async fn exactly(&self, count: usize) -> Result<Vec<AccessLine>> {
        let lines = self.at_least(count).await?;
        if lines.len() > count {
            bail!("{} lines in the access log instead of {count}", lines.len());
        }
        Ok(lines)
    }

    /// Waits until there are `count` lines or more.
    ///
    /// # Errors
    /// When there are too few in time.
    pub async fn at_least(&self, count: usize) -> Result<Vec<AccessLine>> {
        until("envoy's access log", PATIENCE, || async {
            let lines = self.lines()?;
            if lines.len() < count {
                bail!("{} of {count} lines", lines.len());
            }
            Ok(lines)
        })
        .await
    }

    /// Waits for the line of the request `id`.
    ///
    /// # Errors
    /// When it does not come in time.
    pub async fn line(&self, id: &str) -> Result<AccessLine> {
        until(
            &format!("request {id} in envoy's access log"),
            PATIENCE,
            || async {
                let lines = self.lines()?;
                let count = lines.len();
                let line = lines.into_iter().find(|line| line.id == id);
                line.with_context(|| format!("{count} other lines"))
            },
        )
        .await
    }
}

/// The sample that Prometheus's rank rule asks for; `None` without samples.
#[must_use]
pub fn quantile(samples: &mut [Duration], q: f64) -> Option<Duration> {
    samples.sort_unstable();
    let last = samples.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "sample counts are far below 2^52"
    )]
    let rank = (q.clamp(0.0, 1.0) * samples.len() as f64).ceil() as usize;
    samples.get(rank.saturating_sub(1).min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_envoy_writes() {
        let line: AccessLine = serde_json::from_str(
            r#"{"id":"a","path":"/","code":503,"flags":"UH","details":"no_healthy_upstream","upstream":null,
                "cluster":"c","attempts":1,"latency_us":null,"attempt_us":"-","duration_ms":0}"#,
        )
        .unwrap();
        assert_eq!(
            (line.code, line.upstream, line.latency()),
            (503, None, None)
        );
    }

    #[test]
    fn quantile_is_the_sample_of_the_rank() {
        let mut samples: Vec<_> = (1..=10).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&mut samples, 0.5), Some(Duration::from_millis(5)));
        assert_eq!(
            quantile(&mut samples, 0.95),
            Some(Duration::from_millis(10))
        );
        assert_eq!(quantile(&mut samples, 0.0), Some(Duration::from_millis(1)));
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
