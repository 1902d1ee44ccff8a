//! Stopping, and peers that leave.

use gaugeway_rig::{
    Client,
    client::Request,
    wait::{PATIENCE, until},
};
use gaugeway_wire::{MappingRequest, mapping::MappingAnswer, units::VmId};

use crate::scene::{
    CART, GATEWAY, Scene, VM, encoded, post, report, report_call, soon, subscribe, target,
};

/// Asks once, so that there is no news, and returns the request that will then be held.
async fn poll_without_news(scene: &Scene) -> MappingRequest {
    let first = scene
        .call("/v1/mapping", encoded(&subscribe(VM, &[CART])))
        .await
        .unwrap();
    let answer = MappingAnswer::decode(&first.body).unwrap();
    MappingRequest {
        mapping_epoch: answer.mapping_epoch,
        generation: answer.generation,
        received: answer.answer,
        ..MappingRequest::new(VM)
    }
}

#[tokio::test]
async fn a_graceful_stop_answers_held_polls_and_keeps_the_totals() {
    let state = tempfile::tempdir().unwrap();
    let keep = |config: &mut gaugeway_controller::Config| {
        config.state_dir = Some(state.path().to_owned());
    };
    let mut scene = Scene::start_with(keep).await;
    let cart = target("shop", "cart");
    let body = report_call(&report(VM, 1, &cart, 42), &cart, None);
    assert_eq!(scene.call("/v1/report", body).await.unwrap().status, 200);
    let poll = encoded(&poll_without_news(&scene).await);
    let request = post(GATEWAY, &scene.token(GATEWAY), "/v1/mapping", poll);
    let client = Client::new(scene.ports.filters);
    let held = tokio::spawn(async move { client.send(request).await });
    scene
        .until_metric("gaugeway_mapping_held_polls", &[], 1.0)
        .await;
    scene.stop();
    let answer = soon(held).await.unwrap().unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.headers["retry-after"], "1");
    let ports = scene.ports;
    scene.stopped().await;
    let gone = Client::unpooled(ports.filters)
        .send(Request::get("/"))
        .await;
    assert!(gone.is_err());

    let again = Scene::start_with(keep).await;
    assert_eq!(again.requests("cart").await, 42.0);
}

#[tokio::test]
async fn a_filter_that_leaves_frees_its_connection_at_once() {
    let scene = Scene::start().await;
    let poll = encoded(&poll_without_news(&scene).await);
    let request = post(GATEWAY, &scene.token(GATEWAY), "/v1/mapping", poll);
    let client = Client::unpooled(scene.ports.filters);
    let held = tokio::spawn(async move { client.send(request).await });
    scene
        .until_metric("gaugeway_mapping_held_polls", &[], 1.0)
        .await;
    let open = ("gaugeway_connections", [("port", "filters")]);
    assert_eq!(scene.metrics().await.sum(open.0, &open.1), 1.0);
    held.abort();
    scene.until_metric(open.0, &open.1, 0.0).await;
}

#[tokio::test]
async fn until_the_source_is_read_filters_are_told_to_come_back() {
    let scene = Scene::launch(|config| {
        // Readable, but a first read of it takes the source some time: calls race it and both answers are right.
        config.http.calls = 8;
    })
    .await;
    let vm = VmId([3; 16]);
    until("synced", PATIENCE, || async {
        let answer = scene
            .call("/v1/mapping", encoded(&subscribe(vm, &[CART])))
            .await?;
        if answer.status == 503 {
            assert_eq!(answer.headers["retry-after"], "1");
            assert!(
                answer.text().contains("not read all objects"),
                "{}",
                answer.text()
            );
            anyhow::bail!("not synced");
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            MappingAnswer::decode(&answer.body)
                .unwrap()
                .entries()
                .count()
                == 1
        );
        Ok(())
    })
    .await
    .unwrap();
}
