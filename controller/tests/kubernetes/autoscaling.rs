//! The metrics API behind a real API server's aggregator, and what a real HorizontalPodAutoscaler makes of it.

use std::{
    net::TcpListener,
    sync::{
        Arc, Mutex,
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
    objects::{route, service, slice},
    serving::{SERVICE, VERSIONS, change},
    stage::{Requests, Stage, target},
};

const METRIC: &str = "kong_upstream_latency_ms_60s_average";
const VM: VmId = VmId([3; 16]);
/// An autoscaler looks every 15 s; an idle one needs a whole window beside.
const LONG: Duration = Duration::from_secs(180);

/// Scales down without its five minutes of patience.
fn autoscaler(most: u64, metric: &Value) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "command"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "command"},
            "minReplicas": 1, "maxReplicas": most,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            "metrics": [metric],
        },
    })
}

/// Of Kong's guide.
fn on_the_service() -> Value {
    json!({"type": "Object", "object": {
        "metric": {"name": METRIC},
        "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "command"},
        "target": {"type": "Value", "value": "40"},
    }})
}

/// Of our guide: two requests at a time for each Pod.
fn on_pods() -> Value {
    json!({"type": "Pods", "pods": {
        "metric": {
            "name": "gaugeway_upstream_concurrency", "selector": {"matchLabels": {"window": "15s"}},
        },
        "target": {"type": "AverageValue", "averageValue": "2"},
    }})
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

/// The same with a Deployment behind a route; none where another server has the API.
async fn commanding(cluster: &Cluster) -> Option<Stage> {
    if cluster.get("APIService", VERSIONS[0]).await.is_ok() {
        eprintln!("SKIPPED: another server has custom.metrics.k8s.io in this cluster");
        return None;
    }
    cluster.define_routes().await;
    for object in [
        service("command"),
        route("HTTPRoute", "web", &["command"]),
        deployment(),
    ] {
        cluster.apply(&object).await;
    }
    Some(registered(cluster).await)
}

/// Whether somebody makes Deployments' Pods here, and so acts on autoscalers.
async fn scales(cluster: &Cluster) -> bool {
    let pods = || async {
        ensure!(!cluster.list("Pod").await?.is_empty());
        Ok(())
    };
    let some = until("a Pod", PATIENCE, pods).await.is_ok();
    if !some {
        eprintln!("SKIPPED in part: no controller-manager runs, so nothing scales");
    }
    some
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

/// A gateway's worker: 70 s of reports at once, then one every 5 s. Each has its number, and until when it tells.
async fn worker(report: impl AsyncFn(u64, UnixNanos)) {
    let start = now();
    for seq in 1..=14 {
        report(seq, start.minus(Nanos::from_millis(5000 * (14 - seq)))).await;
    }
    let mut clock = tokio::time::interval(Duration::from_secs(5));
    clock.tick().await;
    for seq in 15.. {
        clock.tick().await;
        report(seq, now()).await;
    }
}

/// Tells of so many slow requests to the Service.
async fn gateway(stage: &Stage, namespace: &str, count: &AtomicU64) {
    let edge = format!("{namespace}/edge");
    worker(async |seq, until| {
        let requests = Requests {
            count: count.load(Ordering::Relaxed),
            took: Nanos::from_millis(80),
            until,
        };
        let answer = stage.report_of(requests, (VM, seq), &edge, namespace, "command");
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    })
    .await;
}

/// Shares so many requests of half a second out among the Pods that run; says nothing where there is no number.
async fn balancer(stage: &Stage, cluster: &Cluster, count: &Mutex<Option<u64>>) {
    let ns = &cluster.namespace;
    let edge = format!("{ns}/edge");
    until("a Pod runs", LONG, || async {
        ensure!(!running(cluster).await?.is_empty());
        Ok(())
    })
    .await
    .unwrap();
    worker(async |seq, until| {
        let Some(count) = *count.lock().unwrap() else {
            return;
        };
        let pods = running(cluster).await.unwrap();
        let each = pods.iter().map(|pod| target(ns, "command", Some(pod)));
        let targets: Vec<_> = each.collect::<Result<_>>().unwrap();
        let requests = Requests {
            count: count / u64::try_from(pods.len()).unwrap(),
            took: Nanos::from_millis(500),
            until,
        };
        let answer = stage.report_on(requests, (VM, seq), &edge, &targets);
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    })
    .await;
}

async fn running(cluster: &Cluster) -> Result<Vec<String>> {
    let pods = cluster.list("Pod").await?.into_iter();
    let running = pods.filter(|pod| pod["status"]["phase"] == "Running");
    Ok(running
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect())
}

/// What finds a Service's endpoints: all Pods that run.
async fn endpoints(cluster: &Cluster) {
    let mut clock = tokio::time::interval(Duration::from_millis(500));
    let (mut all, mut written): (Vec<String>, _) = (Vec::new(), Vec::new());
    loop {
        clock.tick().await;
        let pods = running(cluster).await.unwrap();
        if pods == written {
            continue;
        }
        let mut endpoints = Vec::new();
        for pod in &pods {
            let known = all.iter().position(|known| known == pod);
            let at = known.unwrap_or_else(|| {
                all.push(pod.clone());
                all.len() - 1
            });
            endpoints.push(format!("10.9.8.{}={pod}", at + 1));
        }
        let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
        cluster
            .apply(&slice("command", "command", &endpoints))
            .await;
        written = pods;
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
        let (replicas, status) = scaled(cluster).await?;
        ensure!(fits(replicas), "{replicas} replicas; {status}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_autoscaler_made_for_kongs_operator_scales_up_and_down() {
    story_in_a_real_cluster(async |cluster| {
        let Some(stage) = commanding(&cluster).await else {
            return;
        };
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
            if !scales(&cluster).await {
                return;
            }
            cluster.apply(&autoscaler(4, &on_the_service())).await;
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

/// The Deployment's size, and the autoscaler's status.
async fn scaled(cluster: &Cluster) -> Result<(u64, Value)> {
    let deployment = cluster.get("Deployment", "command").await?;
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
    let autoscaler = cluster.get("HorizontalPodAutoscaler", "command").await?;
    Ok((replicas, autoscaler["status"].clone()))
}

/// Until three Pods share what one had, and the autoscaler has seen it. They were never more: new ones count as idle.
async fn until_three(cluster: &Cluster) {
    until("three Pods share what one had", LONG, || async {
        let (replicas, status) = scaled(cluster).await?;
        assert!(replicas <= 3, "{replicas} replicas; {status}");
        let average = &status["currentMetrics"][0]["pods"]["current"]["averageValue"];
        let settled = milli(average).is_some_and(|of| (1800..=2200).contains(&of));
        ensure!(replicas == 3 && settled, "{replicas} replicas; {status}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Until the autoscaler was told that nothing is known, and why. It keeps the size.
async fn until_untold(cluster: &Cluster) {
    let ns = &cluster.namespace;
    let selected = "labelSelector=app%3Dcommand&metricLabelSelector=window%3D15s";
    let pods = format!("v1beta2/namespaces/{ns}/pods/*/gaugeway_upstream_concurrency?{selected}");
    until("it is told why nothing is known", LONG, || async {
        let (replicas, status) = scaled(cluster).await?;
        assert_eq!(replicas, 3, "{status}");
        // Until then it goes on as it was last told.
        if let Ok(list) = raw(cluster, &pods).await {
            let each = list["items"].as_array().unwrap().iter();
            let all: u64 = each.filter_map(|of| milli(&of["value"])).sum();
            assert!((5400..=6600).contains(&all), "{list}");
        }
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let active = conditions.iter().find(|of| of["type"] == "ScalingActive");
        let (reason, message) = active.map_or((&Value::Null, ""), |of| {
            (&of["reason"], of["message"].as_str().unwrap_or_default())
        });
        ensure!(*reason == "FailedGetPodsMetric", "{status}");
        ensure!(message.contains("is unknown: "), "{message}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Thousandths.
fn milli(quantity: &Value) -> Option<u64> {
    let text = quantity.as_str()?;
    let number = text.trim_end_matches(['m', 'u']);
    let of: u64 = number.parse().ok()?;
    match text.strip_prefix(number)? {
        "u" => Some(of / 1000),
        "m" => Some(of),
        _ => Some(of * 1000),
    }
}

#[tokio::test]
async fn an_autoscaler_on_pods_settles_at_its_target_and_keeps_the_size_while_nothing_is_known() {
    story_in_a_real_cluster(async |cluster| {
        let Some(stage) = commanding(&cluster).await else {
            return;
        };
        // Six at a time, which is right for three Pods.
        let count = Mutex::new(Some(60));
        let told = async {
            if !scales(&cluster).await {
                return;
            }
            cluster.apply(&autoscaler(8, &on_pods())).await;
            until_three(&cluster).await;
            *count.lock().unwrap() = None;
            until_untold(&cluster).await;
            *count.lock().unwrap() = Some(0);
            until_replicas(&cluster, "it scales down when idle", |n| n == 1).await;
        };
        tokio::select! {
            () = told => {}
            () = Box::pin(balancer(&stage, &cluster, &count)) => {}
            () = Box::pin(endpoints(&cluster)) => {}
            () = kubelet(&cluster) => {}
        }
        stage.stop().await;
    })
    .await;
}
