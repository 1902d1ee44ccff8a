//! Every combination of the choices that shape objects. Each render is read to the last field by the schemas of the oldest
//! Kubernetes that the chart names and of the newest that there are schemas of, and keeps what a cluster asks of Pods.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::tools::{HELM, KUBERNETES_SCHEMAS};
use gaugeway_schemas::Schemas;
use serde_json::Value;

use crate::{
    helm::{EVERYTHING, chart, render},
    security,
};

/// Settings that exclude each other, the defaults (empty) among them. A feature that makes objects of its own gets a line.
const CHOICES: [&[&str]; 7] = [
    &["", "replicas: 1\ntokenKey: {existingSecret: mine}"],
    &["", "namespaces: [shop, data]"],
    &[
        "",
        "filtersTLS: {existingSecret: filters-tls}\napis: {enabled: true, existingSecret: apis-tls}",
    ],
    &[
        "",
        "persistence: {enabled: true, size: 5Gi, storageClass: fast}",
    ],
    &[
        "",
        "networkPolicy: {enabled: false}",
        "networkPolicy: {gateways: [{namespaceSelector: {}}], controlPlanes: [{podSelector: {}}], prometheus: [{ipBlock: {cidr: 10.0.0.0/8}}]}",
    ],
    &[
        "",
        "prometheus: {scrapeAnnotations: true, serviceMonitor: {enabled: true}, rules: {enabled: true}, dashboards: {enabled: true}}\ndatadog: {enabled: true}",
    ],
    &[
        "",
        "fullnameOverride: a-name-that-is-longer-than-what-the-names-of-objects-may-have",
    ],
];

/// Kinds of the Prometheus operator, whose definitions are in no package.
const OPERATED: [&str; 2] = ["ServiceMonitor", "PrometheusRule"];

/// One text of values per combination, and everything at once.
pub(crate) fn matrix() -> Vec<String> {
    let mut combinations = vec![String::new()];
    for settings in CHOICES {
        combinations = combinations
            .iter()
            .flat_map(|so_far| settings.iter().map(move |one| format!("{so_far}{one}\n")))
            .collect();
    }
    combinations.push(EVERYTHING.to_owned());
    combinations
}

/// The oldest release that the chart installs on.
fn oldest() -> Result<String> {
    let text = fs::read_to_string(chart().join("Chart.yaml"))?;
    let chart: Value = serde_saphyr::from_str(&text)?;
    let version = chart["kubeVersion"].as_str().context("no kubeVersion")?;
    let release = version
        .strip_prefix(">=")
        .and_then(|v| v.strip_suffix(".0-0"))
        .with_context(|| format!("kubeVersion is {version}, not >=1.N.0-0"))?;
    Ok(release.to_owned())
}

#[test]
fn kubernetes_takes_every_render() -> Result<()> {
    if !HELM.or_skip()? || !KUBERNETES_SCHEMAS.or_skip()? {
        return Ok(());
    }
    let directory = KUBERNETES_SCHEMAS.find()?;
    let newest = Schemas::releases(&directory)?.pop().context("no release")?;
    let releases = [oldest()?, newest];
    let schemas = [
        Schemas::of_release(&directory, &releases[0])?,
        Schemas::of_release(&directory, &releases[1])?,
    ];
    let mut kinds = BTreeSet::new();
    for values in matrix() {
        for object in render(&values)? {
            let kind = object["kind"].as_str().context("no kind")?.to_owned();
            if !OPERATED.contains(&kind.as_str()) {
                for (release, schemas) in releases.iter().zip(&schemas) {
                    let faults = schemas.faults(&object)?;
                    ensure!(
                        faults.is_empty(),
                        "{release}: {faults:?}\n{values}\n{object}"
                    );
                }
            }
            kinds.insert(kind);
        }
    }
    for kind in [
        "StatefulSet",
        "NetworkPolicy",
        "ClusterRole",
        "Role",
        "ConfigMap",
    ] {
        ensure!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
    Ok(())
}

/// helm installs them as they are, before anything that it renders.
#[test]
fn kubernetes_takes_the_definitions() -> Result<()> {
    if !KUBERNETES_SCHEMAS.or_skip()? {
        return Ok(());
    }
    let schemas = Schemas::of_release(&KUBERNETES_SCHEMAS.find()?, &oldest()?)?;
    for entry in fs::read_dir(chart().join("crds"))? {
        let text = fs::read_to_string(entry?.path())?;
        let definitions: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        ensure!(!definitions.is_empty(), "no definition");
        for definition in definitions {
            ensure!(definition["kind"] == "CustomResourceDefinition");
            let faults = schemas.faults(&definition)?;
            ensure!(faults.is_empty(), "{faults:?}");
        }
    }
    Ok(())
}

#[test]
fn every_render_is_restricted_named_once_and_in_its_namespace() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    for values in matrix() {
        let objects = render(&values)?;
        let mut names = BTreeSet::new();
        for object in &objects {
            let kind = object["kind"].as_str().context("no kind")?;
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().context("no name")?;
            ensure!(
                name.len() <= 63,
                "{kind} {name}: longer than a label's value"
            );
            let namespace = metadata["namespace"].as_str();
            ensure!(
                names.insert((kind, namespace, name)),
                "{kind} {name}: twice"
            );
            let faults = security::faults(object);
            ensure!(faults.is_empty(), "{kind} {name}: {faults:?}\n{values}");
        }
    }
    Ok(())
}

#[test]
fn a_field_that_no_kubernetes_knows_is_found() -> Result<()> {
    if !HELM.or_skip()? || !KUBERNETES_SCHEMAS.or_skip()? {
        return Ok(());
    }
    let schemas = Schemas::of_release(&KUBERNETES_SCHEMAS.find()?, &oldest()?)?;
    for values in [
        "affinity: {nodeAffinities: {}}",
        "tolerations: [{operators: Exists}]",
        "topologySpreadConstraints: [{maxSkew: much, topologyKey: x, whenUnsatisfiable: DoNotSchedule}]",
    ] {
        let objects = render(values)?;
        let set = crate::helm::only(&objects, "StatefulSet");
        ensure!(!schemas.faults(set)?.is_empty(), "{values} passed");
    }
    Ok(())
}
