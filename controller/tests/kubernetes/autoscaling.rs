//! The metrics API behind a real API server's aggregator, and what a real HorizontalPodAutoscaler makes of it.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use gaugeway_controller::config::Certificate;
use gaugeway_rig::wait::{PATIENCE, until};
use gaugeway_wire::{Nanos, UnixNanos, VmId};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, story_in_a_real_cluster},
    objects::{route, service},
    serving::{SERVICE, VERSIONS, change},
    stage::{Requests, Stage},
};

const METRIC: &str = "kong_upstream_latency_ms_60s_average";
const VM: VmId = VmId([3; 16]);
/// An autoscaler looks every 15 s; an idle one needs a whole window beside.
const LONG: Duration = Duration::from_secs(180);

/// Of Kong's guide, but that it scales down without its five minutes of patience.
fn autoscaler() -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "command"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "command"},
            "minReplicas": 1, "maxReplicas": 4,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            "metrics": [{"type": "Object", "object": {
                "metric": {"name": METRIC},
                "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "command"},
                "target": {"type": "Value", "value": "40"},
            }}],
        },
    })
}

fn deployment() -> Value {
    let labels = json!({"app": "command"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "command"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "none.invalid/none"}]},
        }},
    })
}

/// A controller that the aggregator finds under a name of this machine.
async fn registered(cluster: &Cluster) -> Stage {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let change = change(cluster);
    let stage = Stage::launch_with(&cluster.kubeconfig, &[], |config| {
        change(config);
        let apis = config.apis.as_mut().unwrap();
        apis.listen.set_port(port);
        if let Certificate::Made(made) = &mut apis.certificate {
            made.home.port = port;
        }
    })
    .await;
    stage.ready().await;
    let here = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    });
    cluster.apply(&here).await;
    stage
}

async fn raw(cluster: &Cluster, path: &str) -> Result<Value> {
    let path = format!("/apis/custom.metrics.k8s.io/{path}");
    let request = axum::http::Request::get(path).body(Vec::new())?;
    Ok(cluster.client.request(request).await?)
}

fn now() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap())
}

/// A gateway's worker: 70 s of slow requests, then every 5 s as many as `count` says.
async fn gateway(stage: &Stage, namespace: &str, count: &AtomicU64) {
    let edge = format!("{namespace}/edge");
    let tell = async |seq: u64, until: UnixNanos| {
        let requests = Requests {
            count: count.load(Ordering::Relaxed),
            took: Nanos::from_millis(80),
            until,
        };
        let answer = stage.report_of(requests, (VM, seq), &edge, namespace, "command");
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let start = now();
    for seq in 1..=14 {
        tell(seq, start.minus(Nanos::from_millis(5000 * (14 - seq)))).await;
    }
    let mut clock = tokio::time::interval(Duration::from_secs(5));
    clock.tick().await;
    for seq in 15.. {
        clock.tick().await;
        tell(seq, now()).await;
    }
}

/// What a kubelet would do: all Pods run and are ready.
async fn kubelet(cluster: &Cluster) {
    let pods: Api<k8s_openapi::api::core::v1::Pod> =
        Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut clock = tokio::time::interval(Duration::from_millis(500));
    loop {
        clock.tick().await;
        let all = pods.list(&ListParams::default()).await.unwrap();
        for pod in all.items {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            if phase == Some("Running") {
                continue;
            }
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let running = json!({"status": {
                "phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [ready],
            }});
            let name = pod.metadata.name.unwrap();
            // It may have gone since.
            let _ = pods
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(&running))
                .await;
        }
    }
}

async fn until_replicas(cluster: &Cluster, what: &str, fits: impl Fn(u64) -> bool) {
    until(what, LONG, || async {
        let deployment = cluster.get("Deployment", "command").await?;
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
        let autoscaler = cluster.get("HorizontalPodAutoscaler", "command").await?;
        ensure!(
            fits(replicas),
            "{replicas} replicas; {}",
            autoscaler["status"]
        );
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_autoscaler_made_for_kongs_operator_scales_up_and_down() {
    story_in_a_real_cluster(async |cluster| {
        if cluster.get("APIService", VERSIONS[0]).await.is_ok() {
            eprintln!("SKIPPED: another server has custom.metrics.k8s.io in this cluster");
            return;
        }
        cluster.define_routes().await;
        for object in [
            service("command"),
            route("HTTPRoute", "web", &["command"]),
            deployment(),
        ] {
            cluster.apply(&object).await;
        }
        let stage = registered(&cluster).await;
        let requests = Arc::new(AtomicU64::new(50));
        let told = async {
            let ns = &cluster.namespace;
            let value = format!("v1beta2/namespaces/{ns}/services/command/{METRIC}");
            until("the aggregator passes values on", PATIENCE, || async {
                let list = raw(&cluster, &value).await?;
                ensure!(list["kind"] == "MetricValueList", "{list}");
                ensure!(list["items"][0]["value"] == "80", "{list}");
                Ok(())
            })
            .await
            .unwrap();
            let old = raw(&cluster, &value.replace("v1beta2", "v1beta1"))
                .await
                .unwrap();
            assert_eq!(old["items"][0]["metricName"], METRIC, "{old}");
            for version in ["v1beta1", "v1beta2"] {
                let list = raw(&cluster, version).await.unwrap();
                assert_eq!(list["kind"], "APIResourceList");
            }
            let unknown = raw(&cluster, &value.replace("command", "nothing")).await;
            let Err(error) = unknown else { panic!() };
            let error = error.downcast::<kube::Error>().unwrap();
            assert!(matches!(error, kube::Error::Api(s) if s.code == 404));
            let pods = || async {
                let pods = cluster.list("Pod").await?;
                ensure!(!pods.is_empty());
                Ok(())
            };
            if until("a Pod", PATIENCE, pods).await.is_err() {
                eprintln!("SKIPPED in part: no controller-manager runs, so nothing scales");
                return;
            }
            cluster.apply(&autoscaler()).await;
            until_replicas(&cluster, "it scales up", |n| n > 1).await;
            requests.store(0, Ordering::Relaxed);
            until_replicas(&cluster, "it scales down when idle", |n| n == 1).await;
        };
        tokio::select! {
            () = told => {}
            () = gateway(&stage, &cluster.namespace, &requests) => {}
            () = kubelet(&cluster) => {}
        }
        stage.stop().await;
    })
    .await;
}
