//! Values that cannot work are refused before anything reaches a cluster, and the message names them.

use anyhow::Result;
use gaugeway_rig::tools::HELM;

use crate::{
    helm::{chart, helm, render},
    matrix::matrix,
};

#[test]
fn helm_lints_it() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    for values in matrix() {
        let output = helm(&["lint", "--strict", &chart().to_string_lossy()], &values)?;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{values}: {said}");
    }
    Ok(())
}

#[test]
fn impossible_values_are_refused_by_name() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    for (values, named) in [
        ("replicas: 11", "replicas"),
        ("replica: 1", "replica"),
        ("recording: {schema: 6}", "schema"),
        ("recording: {dimensions: [node, moon]}", "dimensions"),
        ("recording: {reportInterval: 5}", "reportInterval"),
        ("recording: {classicBuckets: [5ms, fast]}", "classicBuckets"),
        ("series: {max: 0}", "max"),
        ("image: {digest: latest}", "digest"),
        ("persistence: {size: large}", "size"),
        ("networkPolicy: {gateways: [{}]}", "gateways"),
        ("networkPolicy: {gateways: [{selector: {}}]}", "gateways"),
        ("namespaces: [Shop]", "namespaces"),
        ("namespaces: shop", "namespaces"),
        ("fullnameOverride: The Gauge", "fullnameOverride"),
        ("nameOverride: -x", "nameOverride"),
        ("tokenKey: {existingSecret: 'a b'}", "existingSecret"),
        ("recording: {objectLabels: ['']}", "objectLabels"),
        ("kongMetric: 'yes'", "kongMetric"),
        ("kongMetricsExtensions: 'yes'", "kongMetricsExtensions"),
        ("resources: {limits: 512Mi}", "resources"),
        ("resources: {limit: {memory: 512Mi}}", "resources"),
        ("podAnnotations: {count: 1}", "podAnnotations"),
        ("prometheus: {serviceMonitor: {interval: fast}}", "interval"),
        ("priorityClassName: [high]", "priorityClassName"),
        ("apis: {existingSecret: Mine}", "existingSecret"),
        (
            "metricsAPI: {enabled: true}\napis: {existingSecret: mine}",
            "not both",
        ),
    ] {
        let error = render(values).unwrap_err().to_string();
        assert!(error.contains(named), "{values}: {error}");
    }
    Ok(())
}
