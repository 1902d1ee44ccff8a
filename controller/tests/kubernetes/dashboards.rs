//! What dashboards ask of a controller in a cluster, and cannot ask elsewhere, has an answer.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use gaugeway_rig::{Prometheus, tools::PROMETHEUS};
use serde_json::Value;

use crate::{cluster::story, stage::Stage};

/// Shown where the source is a cluster.
const OF_A_CLUSTER: &str = "gaugeway_source_watches";

fn questions() -> Vec<String> {
    let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/gaugeway");
    let mut found = Vec::new();
    for file in fs::read_dir(charts.join("files/dashboards")).unwrap() {
        let text = fs::read(file.unwrap().path()).unwrap();
        let dashboard: Value = serde_json::from_slice(&text).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().unwrap().iter();
            let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
            found.extend(queries.filter(|query| query.contains(OF_A_CLUSTER)));
        }
    }
    found
}

#[tokio::test]
async fn what_is_asked_about_watches_has_an_answer() {
    if !PROMETHEUS.or_skip().unwrap() {
        return;
    }
    story(async |cluster| {
        let stage = Stage::start(&cluster.kubeconfig).await;
        let dir = tempfile::tempdir().unwrap();
        let every = Duration::from_millis(250);
        let prometheus = Prometheus::start(dir.path(), stage.metrics_address(), every, &[])
            .await
            .unwrap();
        let questions = questions();
        assert!(!questions.is_empty());
        for question in questions {
            let answer = prometheus.queried(&question, |samples| {
                let one = samples.first().context("no data")?;
                ensure!(one.value.is_finite(), "{one:?}");
                Ok(())
            });
            answer.await.unwrap();
        }
        stage.stop().await;
    })
    .await;
}
