//! A real Prometheus that scrapes one address, and its answers to instant queries.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::process::Command;

use crate::{
    Client, ReservedPort,
    client::Request,
    process::Process,
    tools,
    wait::{PATIENCE, until},
};

/// A running Prometheus. Killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    client: Client,
    _port: ReservedPort,
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Prometheus {
    /// Starts one on `dir` that scrapes `target`'s `/metrics` every `interval`. Further `flags` go to the program.
    ///
    /// # Errors
    /// When it is missing or does not become ready.
    pub async fn start(
        dir: &Path,
        target: SocketAddr,
        interval: Duration,
        flags: &[&str],
    ) -> Result<Self> {
        let binary = tools::PROMETHEUS.find()?;
        let config = dir.join("prometheus.yml");
        let every = format!("{}ms", interval.as_millis());
        let text = format!(
            "global: {{ scrape_interval: {every}, scrape_timeout: {every}, evaluation_interval: {every} }}\n\
             scrape_configs:\n- job_name: gaugeway\n  static_configs:\n  - targets: ['{target}']\n"
        );
        fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let port = ReservedPort::new()?;
        let mut command = Command::new(binary);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.join("prometheus").display()
            ))
            .arg(format!("--web.listen-address={}", port.address()))
            .args(flags);
        let process = Process::spawn("prometheus", command, &dir.join("prometheus.log"))?;
        let prometheus = Self {
            process,
            client: Client::new(port.address()),
            _port: port,
        };
        prometheus.ready().await?;
        Ok(prometheus)
    }

    /// The instant vector that `expression` gives now.
    ///
    /// # Errors
    /// When Prometheus refuses it, or it is no vector.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let path = format!("/api/v1/query?query={}", percent_encoded(expression));
        let answer = self.client.send(Request::get(&path)).await?;
        if answer.status != 200 {
            bail!("{expression}: {} {}", answer.status, answer.text());
        }
        let answer: Answer = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
        answer
            .data
            .result
            .into_iter()
            .map(Element::sample)
            .collect()
    }

    /// Asks until `look` is content with the answer.
    ///
    /// # Errors
    /// When it is not by the deadline.
    pub async fn queried<T>(
        &self,
        expression: &str,
        look: impl Fn(&[Sample]) -> Result<T>,
    ) -> Result<T> {
        until(expression, PATIENCE, || async {
            look(&self.query(expression).await?)
        })
        .await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub async fn stop(&mut self, grace: Duration) -> Result<()> {
        self.process.terminate(grace).await.map(drop)
    }

    async fn ready(&self) -> Result<()> {
        let outcome = until("prometheus is ready", PATIENCE, || async {
            let answer = self.client.send(Request::get("/-/ready")).await?;
            if answer.status == 200 {
                Ok(())
            } else {
                bail!("{}", answer.text())
            }
        })
        .await;
        outcome.with_context(|| self.process.log_tail())
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Element {
    fn sample(self) -> Result<Sample> {
        let value = self.value.1;
        let value = value
            .parse()
            .with_context(|| format!("not a number: {value:?}"))?;
        Ok(Sample {
            labels: self.metric,
            value,
        })
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
