//! The double, asked by the client that real controllers use.
#![allow(clippy::unwrap_used, reason = "all of this is test code")]

use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use gaugeway_apiserver::{ApiServer, Effect, Fault, Verb, crd};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Client, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
        WatchEvent, WatchParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
    core::PartialObjectMeta,
};
use serde_json::json;

async fn connect(server: &ApiServer) -> Client {
    let file = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(file, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

fn service(name: &str) -> Service {
    let labels = json!({"app": name});
    let object =
        json!({"metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 80}]}});
    serde_json::from_value(object).unwrap()
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

#[tokio::test]
async fn objects_are_created_read_listed_in_pages_and_deleted() {
    let server = ApiServer::start().await.unwrap();
    let client = connect(&server).await;
    let services: Api<Service> = Api::namespaced(client.clone(), "shop");
    for n in 0..5 {
        let made = services
            .create(&PostParams::default(), &service(&format!("s{n}")))
            .await
            .unwrap();
        assert!(made.uid().is_some() && made.resource_version().is_some());
    }
    let twice = services
        .create(&PostParams::default(), &service("s0"))
        .await
        .unwrap_err();
    assert_eq!(code(&twice), 409);
    let page = services
        .list(&ListParams::default().limit(3))
        .await
        .unwrap();
    assert_eq!(page.items.len(), 3);
    let token = page.metadata.continue_.unwrap();
    let rest = services
        .list(&ListParams::default().limit(3).continue_token(&token))
        .await
        .unwrap();
    let names: Vec<_> = rest.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["s3", "s4"]);
    assert_eq!(rest.metadata.continue_, None);
    let one = ListParams::default().labels("app=s2");
    assert_eq!(
        Api::<Service>::all(client)
            .list(&one)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    services
        .delete("s2", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(code(&services.get("s2").await.unwrap_err()), 404);
}

#[tokio::test]
async fn a_write_from_an_old_state_conflicts() {
    let server = ApiServer::start().await.unwrap();
    let services: Api<Service> = Api::namespaced(connect(&server).await, "shop");
    let first = services
        .create(&PostParams::default(), &service("a"))
        .await
        .unwrap();
    let mut newer = first.clone();
    newer.labels_mut().insert("v".into(), "2".into());
    services
        .replace("a", &PostParams::default(), &newer)
        .await
        .unwrap();
    let mut older = first.clone();
    older.labels_mut().insert("v".into(), "3".into());
    let conflict = services
        .replace("a", &PostParams::default(), &older)
        .await
        .unwrap_err();
    assert_eq!(code(&conflict), 409);
    let version = first.resource_version().unwrap();
    let guarded = json!({"metadata": {"resourceVersion": version, "labels": {"v": "3"}}});
    let conflict = services
        .patch("a", &PatchParams::default(), &Patch::Merge(&guarded))
        .await;
    assert_eq!(code(&conflict.unwrap_err()), 409);
    let free = json!({"metadata": {"labels": {"v": null, "w": "1"}}});
    let merged = services
        .patch("a", &PatchParams::default(), &Patch::Merge(&free))
        .await
        .unwrap();
    assert_eq!(
        (merged.labels().get("v"), merged.labels()["w"].as_str()),
        (None, "1")
    );
}

#[tokio::test]
async fn status_is_written_apart_and_generations_count_specs() {
    let server = ApiServer::start().await.unwrap();
    let pods: Api<Pod> = Api::namespaced(connect(&server).await, "shop");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": {"phase": "Running"}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let made = pods.create(&PostParams::default(), &pod).await.unwrap();
    assert_eq!(made.status, None, "a create has no say in the status");
    let status = json!({"status": {"phase": "Running"}, "spec": {"nodeName": "n"}});
    let told = pods
        .patch_status("p", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    assert_eq!(told.status.unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(told.spec.unwrap().node_name, None);
    assert_eq!(told.metadata.generation, Some(1));
    let spec = json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}});
    let moved = pods
        .patch("p", &PatchParams::default(), &Patch::Merge(&spec))
        .await
        .unwrap();
    assert_eq!(moved.status.unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(moved.metadata.generation, Some(2));
}

#[tokio::test]
async fn watches_go_on_from_a_version_and_expire() {
    let server = ApiServer::start().await.unwrap();
    let services: Api<Service> = Api::namespaced(connect(&server).await, "shop");
    let from = services
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    services
        .create(&PostParams::default(), &service("a"))
        .await
        .unwrap();
    let params = WatchParams::default().timeout(60);
    let mut events = pin!(services.watch(&params, &from).await.unwrap());
    let added = events.next().await.unwrap().unwrap();
    assert!(matches!(added, WatchEvent::Added(s) if s.name_any() == "a"));
    services
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    let deleted = events.next().await.unwrap().unwrap();
    assert!(matches!(deleted, WatchEvent::Deleted(s) if s.name_any() == "a"));
    server.bookmark();
    let marked = events.next().await.unwrap().unwrap();
    assert!(matches!(marked, WatchEvent::Bookmark(b) if b.metadata.resource_version > from));
    server.expire();
    services
        .create(&PostParams::default(), &service("b"))
        .await
        .unwrap();
    let goes_on = events.next().await.unwrap().unwrap();
    assert!(
        matches!(goes_on, WatchEvent::Added(_)),
        "a running watch missed nothing"
    );
    let mut late = pin!(services.watch(&params, &from).await.unwrap());
    let gone = late.next().await.unwrap().unwrap();
    assert!(matches!(gone, WatchEvent::Error(s) if s.code == 410));
    server.drop_watches();
    assert!(events.next().await.is_none_or(|e| e.is_err()));
}

#[tokio::test]
async fn what_has_finalizers_is_marked_first() {
    let server = ApiServer::start().await.unwrap();
    let services: Api<Service> = Api::namespaced(connect(&server).await, "shop");
    let mut kept = service("a");
    kept.finalizers_mut().push("test/keep".into());
    services
        .create(&PostParams::default(), &kept)
        .await
        .unwrap();
    services
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    assert!(
        services
            .get("a")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let free = json!({"metadata": {"finalizers": null}});
    services
        .patch("a", &PatchParams::default(), &Patch::Merge(&free))
        .await
        .unwrap();
    assert_eq!(code(&services.get("a").await.unwrap_err()), 404);
}

#[tokio::test]
async fn definitions_bring_kinds_and_take_them_away() {
    let server = ApiServer::start().await.unwrap();
    let client = connect(&server).await;
    let group = "test.gaugeway.dev/v1";
    assert_eq!(
        code(&client.list_api_group_resources(group).await.unwrap_err()),
        404
    );
    let crds = ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
    ));
    let crds: Api<DynamicObject> = Api::all_with(client.clone(), &crds);
    let definition = crd("test.gaugeway.dev", &["v1"], "Thing", "things", true);
    let definition: DynamicObject = serde_json::from_value(definition).unwrap();
    crds.create(&PostParams::default(), &definition)
        .await
        .unwrap();
    let rows = client
        .list_api_group_resources(group)
        .await
        .unwrap()
        .resources;
    assert!(rows.iter().any(|r| r.name == "things" && r.namespaced));
    assert!(rows.iter().any(|r| r.name == "things/status"));
    let groups = client.list_api_groups().await.unwrap().groups;
    assert!(groups.iter().any(|g| g.name == "test.gaugeway.dev"));
    crds.delete("things.test.gaugeway.dev", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(
        code(&client.list_api_group_resources(group).await.unwrap_err()),
        404
    );
}

#[tokio::test]
async fn metadata_alone_applies_and_dry_runs() {
    let server = ApiServer::start().await.unwrap();
    let client = connect(&server).await;
    let services: Api<Service> = Api::namespaced(client.clone(), "shop");
    let apply = PatchParams::apply("test");
    let desired = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"type": "ClusterIP"}});
    let dry = PatchParams {
        dry_run: true,
        ..apply.clone()
    };
    services
        .patch("a", &dry, &Patch::Apply(&desired))
        .await
        .unwrap();
    assert_eq!(
        code(&services.get("a").await.unwrap_err()),
        404,
        "a dry run keeps nothing"
    );
    let made = services
        .patch("a", &apply, &Patch::Apply(&desired))
        .await
        .unwrap();
    let again = services
        .patch("a", &apply, &Patch::Apply(&desired))
        .await
        .unwrap();
    assert_eq!(
        made.resource_version(),
        again.resource_version(),
        "nothing changed"
    );
    let metas: Api<PartialObjectMeta<Service>> = Api::namespaced(client, "shop");
    let listed = metas.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items[0].name_any(), "a");
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .any(|r| r.verb == Verb::List && r.metadata_only)
    );
    assert!(
        requests
            .iter()
            .any(|r| r.verb == Verb::Patch && r.resource == "services")
    );
}

#[tokio::test]
async fn faults_are_laid_on_and_lifted() {
    let server = ApiServer::start().await.unwrap();
    let services: Api<Service> = Api::namespaced(connect(&server).await, "shop");
    server.fault(
        Fault::on("services", Effect::Status(403))
            .verbs(&[Verb::List])
            .times(1),
    );
    assert_eq!(
        code(&services.list(&ListParams::default()).await.unwrap_err()),
        403
    );
    services.list(&ListParams::default()).await.unwrap();
    server.fault(Fault::always(Effect::Hangup { done: true }).times(1));
    services
        .create(&PostParams::default(), &service("a"))
        .await
        .unwrap_err();
    services.get("a").await.unwrap();
    server.fault(Fault::always(Effect::Latency(Duration::from_millis(30))));
    let asked = std::time::Instant::now();
    services.get("a").await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(30));
    server.lift_faults();
    server.go_away();
    services.get("a").await.unwrap_err();
    server.come_back();
    services.get("a").await.unwrap();
}

#[tokio::test]
async fn what_is_put_without_a_request_is_watched_and_old_changes_are_forgotten() {
    let server = ApiServer::start().await.unwrap();
    let services: Api<Service> = Api::namespaced(connect(&server).await, "shop");
    let path = |n: usize| format!("/api/v1/namespaces/shop/services/s{n}");
    server.keep_changes(2);
    let put = |n: usize| {
        server.put(
            &path(n),
            serde_json::to_value(service(&format!("s{n}"))).unwrap(),
        )
    };
    put(0).unwrap();
    let listed = services.list(&ListParams::default()).await.unwrap();
    let version = listed.metadata.resource_version.unwrap();
    put(1).unwrap();
    server.remove(&path(1)).unwrap();
    assert!(server.remove(&path(1)).is_err());
    let mut watch = pin!(
        services
            .watch(&WatchParams::default(), &version)
            .await
            .unwrap()
    );
    for _ in 0..2 {
        let event = watch.next().await.unwrap().unwrap();
        let (WatchEvent::Added(seen) | WatchEvent::Deleted(seen)) = event else {
            panic!("{event:?}");
        };
        assert_eq!(seen.name_any(), "s1");
    }
    (2..8).for_each(|n| put(n).unwrap());
    let mut late = pin!(
        services
            .watch(&WatchParams::default(), &version)
            .await
            .unwrap()
    );
    let event = late.next().await.unwrap().unwrap();
    assert!(
        matches!(&event, WatchEvent::Error(status) if status.code == 410),
        "{event:?}"
    );
}
