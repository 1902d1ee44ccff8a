//! Tests of `manifests`.
use gaugeway_index::RecordingPolicy;
use gaugeway_wire::{Label, Target, TargetKind, target::names};
use tempfile::TempDir;

use super::*;
use crate::mapping;

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: {name}, namespace: shop}}\n\
         spec: {{parentRefs: [{{name: edge}}], rules: [{{backendRefs: [{{name: {name}}}]}}]}}\n"
    )
}

fn target(service: &str) -> Target {
    let label = |name: &str, value: &str| Label {
        name: name.to_owned().into(),
        value: value.into(),
    };
    let labels = vec![
        label(names::NAMESPACE, "shop"),
        label(names::SERVICE, service),
    ];
    Target::try_new(TargetKind::Kubernetes, labels).unwrap()
}

/// Waits until that holds; the condition is cheap and nothing tells when it changes.
async fn until(holds: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < patience, "it never holds");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_follows_the_directory() {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("a.yaml", &service("a"));
    write("bad.yaml", "kind: Service\n");
    let telemetry = Telemetry::try_new("0.0.0").unwrap();
    let (handle, feed) =
        mapping::start(RecordingPolicy::default(), None, Arc::clone(&telemetry)).unwrap();
    let source = start(directory.path().to_owned(), feed, Arc::clone(&telemetry)).unwrap();
    handle.until_synced().await;
    let objects = handle.objects();
    assert!(objects.is_live(&target("a")));

    let changed = Instant::now();
    write("b.yaml", &service("b"));
    until(|| objects.is_live(&target("b"))).await;
    assert!(changed.elapsed() < POLL, "noticed, not polled");

    write("a.yaml", "nonsense: [\n");
    std::fs::remove_file(directory.path().join("b.yaml")).unwrap();
    until(|| !objects.is_live(&target("b"))).await;
    until(|| telemetry.source.files.with_label_values(&["stale"]).get() == 1).await;
    assert!(objects.is_live(&target("a")));
    assert_eq!(telemetry.source.files.with_label_values(&["bad"]).get(), 1);
    drop(source);
    handle.stop().await;
}

#[tokio::test]
async fn a_directory_must_exist() {
    let telemetry = Telemetry::try_new("0.0.0").unwrap();
    let (_, feed) =
        mapping::start(RecordingPolicy::default(), None, Arc::clone(&telemetry)).unwrap();
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");
    let error = start(missing, feed.clone(), Arc::clone(&telemetry)).unwrap_err();
    assert!(error.to_string().contains("--manifests"), "{error}");
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(start(file, feed, telemetry).is_err());
}
