//! What dashboards ask of a controller in a cluster, and cannot ask elsewhere, has an answer.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use gaugeway_rig::{Prometheus, tools::PROMETHEUS};
use serde_json::{Value, json};

use crate::{
    cluster::story,
    deploying::{ISTIO, gateway_of, start},
    objects::policy,
};

/// Shown where the source is a cluster.
const OF_A_CLUSTER: [&str; 2] = ["gaugeway_source_watches", "gaugeway_gateway_deployment"];

fn questions() -> Vec<String> {
    let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/gaugeway");
    let mut found = Vec::new();
    for file in fs::read_dir(charts.join("files/dashboards")).unwrap() {
        let text = fs::read(file.unwrap().path()).unwrap();
        let dashboard: Value = serde_json::from_slice(&text).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().unwrap().iter();
            let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
            let of_a_cluster = |query: &String| OF_A_CLUSTER.iter().any(|of| query.contains(of));
            found.extend(queries.filter(of_a_cluster));
        }
    }
    found
}

#[tokio::test]
async fn what_is_asked_about_a_cluster_has_an_answer() {
    if !PROMETHEUS.or_skip().unwrap() {
        return;
    }
    story(async |cluster| {
        gateway_of(&cluster, ISTIO).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        let dir = tempfile::tempdir().unwrap();
        let every = Duration::from_millis(250);
        let prometheus = Prometheus::start(dir.path(), stage.metrics_address(), every, &[])
            .await
            .unwrap();
        let questions = questions();
        for of in OF_A_CLUSTER {
            assert!(questions.iter().any(|q| q.contains(of)), "{of}");
        }
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
