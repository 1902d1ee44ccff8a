//! Runs helm. It reads and writes nothing outside of the chart and a directory that goes with the test.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::tools::HELM;
use serde_json::Value;

/// The release that is rendered.
pub(crate) const RELEASE: [&str; 4] = ["edge", "--namespace", "metrics", "--kube-version=1.34"];

/// Values that turn everything on.
pub(crate) const EVERYTHING: &str = "
replicas: 3
tokenKey: {existingSecret: mine}
namespaces: [shop, data]
deploy: {kong: true, gatewayClasses: [kong=konghq.com/kic-gateway-controller]}
metricsAPI: {enabled: true}
imagePullSecrets: [pull]
recording:
  dimensions: []
  objectLabels: [app.kubernetes.io/version]
  classicBuckets: [5ms, 50ms, 1s]
kongMetric: true
kongMetricsExtensions: true
persistence: {enabled: true, storageClass: fast}
nodeSelector: {disk: ssd}
tolerations: [{operator: Exists}]
affinity: {podAntiAffinity: {}}
priorityClassName: system-cluster-critical
podAnnotations: {note: x}
podLabels: {team: edge}
serviceAccount: {annotations: {note: x}}
prometheus:
  scrapeAnnotations: true
  serviceMonitor: {enabled: true, classicHistograms: true, labels: {release: prometheus}}
  rules: {enabled: true}
  dashboards: {enabled: true}
datadog: {enabled: true}
networkPolicy:
  gateways: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}]
  controlPlanes: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: istio-system}}}]
  apis: [{ipBlock: {cidr: 10.0.0.1/32}}]
  prometheus: [{podSelector: {matchLabels: {app: prometheus}}}]
extraArgs: [--json]
";

pub(crate) fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/gaugeway")
}

/// Runs `helm ARGUMENTS` with these values on standard input's file.
pub(crate) fn helm(arguments: &[&str], values: &str) -> Result<Output> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("values.yaml");
    std::fs::write(&file, values)?;
    let mut command = Command::new(HELM.find()?);
    command
        .args(arguments)
        .arg("--values")
        .arg(&file)
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_DATA_HOME", home.path());
    command.output().context("cannot run helm")
}

/// What `helm template` prints for these values.
pub(crate) fn text(values: &str) -> Result<String> {
    let chart = chart();
    let arguments = ["template", RELEASE[0], &chart.to_string_lossy()];
    let output = helm(&[&arguments, &RELEASE[1..]].concat(), values)?;
    ensure!(
        output.status.success(),
        "helm: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The objects that the chart makes of these values.
pub(crate) fn render(values: &str) -> Result<Vec<Value>> {
    let text = text(values)?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    Ok(objects)
}

/// The only object of a kind.
pub(crate) fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = objects.iter().filter(|o| o["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "one {kind}");
    found[0]
}
