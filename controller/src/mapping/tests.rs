//! The mapping task, driven through its handle: calls that wait, leave and come again.
use gaugeway_index::{Object, object::Route};
use gaugeway_wire::{MappingAnswer, VmId};
use serde_json::json;

use super::*;

fn slice(service: &str, address: &str) -> Event {
    let slice = json!({
        "metadata": {"namespace": "shop", "name": "s",
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [address]}],
    });
    Event::Apply(Object::EndpointSlice(
        serde_json::from_value(slice).unwrap(),
    ))
}

fn route(service: &str) -> Event {
    let route = json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "rules": [{"backendRefs": [{"name": service}]}],
        },
    });
    let route: Route = serde_json::from_value(route).unwrap();
    Event::Apply(Object::HttpRoute(Box::new(route)))
}

fn edge() -> GatewayName {
    GatewayName::try_new("shop/edge").unwrap()
}

fn asks(keys: &[&str]) -> MappingRequest {
    MappingRequest {
        subscribe: keys.iter().map(|k| (*k).to_owned()).collect(),
        ..MappingRequest::new(VmId([1; 16]))
    }
}

fn holds(bytes: &[u8]) -> MappingRequest {
    let answer = MappingAnswer::decode(bytes).unwrap();
    MappingRequest {
        mapping_epoch: answer.mapping_epoch,
        generation: answer.generation,
        received: answer.answer,
        ..asks(&[])
    }
}

fn candidates(bytes: &[u8]) -> usize {
    let answer = MappingAnswer::decode(bytes).unwrap();
    answer.entries().map(|e| e.candidates().count()).sum()
}

fn started() -> (MappingHandle, Feed) {
    let telemetry = Telemetry::try_new("0.0.0").unwrap();
    start(RecordingPolicy::default(), None, telemetry).unwrap()
}

#[tokio::test]
async fn nobody_is_answered_before_the_source_has_synced() {
    let (mapping, feed) = started();
    let refused = mapping.poll(edge(), asks(&["10.0.0.1:80"])).await;
    assert_eq!(refused, Err(Unavailable::NotSynced));
    assert_eq!(mapping.objects().reach_generation(), None);
    feed.send(vec![route("a"), slice("a", "10.0.0.1"), Event::Synced])
        .await
        .unwrap();
    mapping.until_synced().await;
    assert!(mapping.objects().reach_generation().is_some());
    let answer = mapping.poll(edge(), asks(&["10.0.0.1:80"])).await.unwrap();
    assert_eq!(candidates(&answer), 1);
    mapping.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_held_poll_is_answered_by_a_change() {
    let (mapping, feed) = started();
    feed.send(vec![route("a"), Event::Synced]).await.unwrap();
    mapping.until_synced().await;
    let answer = mapping.poll(edge(), asks(&["10.0.0.1:80"])).await.unwrap();
    assert_eq!(candidates(&answer), 0);
    let held = mapping.poll(edge(), holds(&answer));
    let change = feed.send(vec![slice("a", "10.0.0.1")]);
    let (answer, sent) = tokio::join!(held, change);
    sent.unwrap();
    assert_eq!(candidates(&answer.unwrap()), 1);
    mapping.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_held_poll_ends_in_time_and_when_the_mapping_stops() {
    let (mapping, feed) = started();
    feed.send(vec![Event::Synced]).await.unwrap();
    mapping.until_synced().await;
    let answer = mapping.poll(edge(), asks(&["10.0.0.1:80"])).await.unwrap();
    let asked = tokio::time::Instant::now();
    let empty = mapping.poll(edge(), holds(&answer)).await.unwrap();
    assert_eq!(MappingAnswer::decode(&empty).unwrap().answer.0, 0);
    assert!(asked.elapsed() <= Duration::from_secs(25));
    assert!(asked.elapsed() >= Duration::from_secs(20));
    let now = mapping.poll_now(edge(), holds(&answer)).await.unwrap();
    assert_eq!(MappingAnswer::decode(&now).unwrap().answer.0, 0);

    let held = mapping.poll(edge(), holds(&answer));
    let (held, ()) = tokio::join!(held, mapping.stop());
    assert_eq!(held, Err(Unavailable::Stopping));
    let late = mapping.poll(edge(), holds(&answer)).await;
    assert_eq!(late, Err(Unavailable::Stopping));
    assert_eq!(feed.send(vec![Event::Synced]).await, Err(MappingStopped));
}
