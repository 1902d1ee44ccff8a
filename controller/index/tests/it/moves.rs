//! Addresses that change hands.

use gaugeway_index::{Index, Kind, Moment, Resolution};

use crate::objects::*;

const KEY: &str = "10.0.0.1:80";

fn two_services() -> Index {
    index(&[
        slice("shop", "a-1", "a", &["80"], &["10.0.0.1=a-0"]),
        slice("shop", "b-1", "b", &["80"], &["10.0.0.2=b-0"]),
        route("shop", "web", EDGE, &[&["a", "b"]]),
    ])
}

fn previous(found: &Resolution) -> Option<String> {
    found.previous.as_ref().map(|t| brief(&t.bytes))
}

fn since(found: &Resolution) -> Option<Moment> {
    found.since
}

#[test]
fn an_address_that_moves_says_since_when_and_whose_it_was() {
    let mut index = two_services();
    let _ = index.apply(&slice("shop", "a-1", "a", &["80"], &[]), at(10));
    let _ = index.apply(
        &slice("shop", "b-1", "b", &["80"], &["10.0.0.1=b-1"]),
        at(12),
    );
    let found = resolve(&index, KEY, at(13));
    assert_eq!(owners(&index, KEY, at(13)), ["shop b-1 b 80"]);
    assert_eq!(since(&found), Some(at(12)));
    assert_eq!(previous(&found).as_deref(), Some("shop a-0 a 80"));
}

#[test]
fn an_address_that_belongs_to_both_for_a_moment_left_the_former_owner() {
    let mut index = index(&[
        slice("shop", "b-1", "b", &["80"], &["10.0.0.1=b-0"]),
        route("shop", "web", EDGE, &[&["a", "b"]]),
    ]);
    let _ = index.apply(
        &slice("shop", "a-1", "a", &["80"], &["10.0.0.1=a-0"]),
        at(10),
    );
    let joined = resolve(&index, KEY, at(11));
    assert_eq!(joined.candidates.len(), 2);
    assert_eq!(previous(&joined).as_deref(), Some("shop b-0 b 80"));
    let _ = index.apply(&slice("shop", "b-1", "b", &["80"], &[]), at(12));
    let found = resolve(&index, KEY, at(13));
    assert_eq!(owners(&index, KEY, at(13)), ["shop a-0 a 80"]);
    assert_eq!(since(&found), Some(at(12)));
    assert_eq!(previous(&found).as_deref(), Some("shop b-0 b 80"));
}

#[test]
fn an_address_without_an_owner_lingers_for_a_minute() {
    let mut index = two_services();
    let _ = index.delete(&id(Kind::EndpointSlice, "shop", "a-1"), at(10));
    assert_eq!(owners(&index, KEY, at(69)), ["shop a-0 a 80"]);
    assert_eq!(since(&resolve(&index, KEY, at(69))), None);
    let changes = index.advance(at(70));
    assert!(!changes.is_empty());
    let found = resolve(&index, KEY, at(70));
    assert!(found.candidates.is_empty());
    assert_eq!(since(&found), Some(at(70)));
    assert_eq!(previous(&found).as_deref(), Some("shop a-0 a 80"));
}

#[test]
fn an_address_that_comes_back_never_left() {
    let mut index = two_services();
    let _ = index.delete(&id(Kind::EndpointSlice, "shop", "a-1"), at(10));
    let _ = index.apply(
        &slice("shop", "a-2", "a", &["80"], &["10.0.0.1=a-0"]),
        at(11),
    );
    let found = resolve(&index, KEY, at(12));
    assert_eq!(owners(&index, KEY, at(12)), ["shop a-0 a 80"]);
    assert_eq!((since(&found), previous(&found)), (None, None));
}

#[test]
fn a_change_is_forgotten_after_a_quarter_of_an_hour() {
    let mut index = two_services();
    let _ = index.apply(
        &slice("shop", "a-1", "a", &["80"], &["10.0.0.1=a-1"]),
        at(10),
    );
    assert_eq!(since(&resolve(&index, KEY, at(900))), Some(at(10)));
    let _ = index.advance(at(910));
    assert_eq!(since(&resolve(&index, KEY, at(910))), None);
    assert_eq!(index.counts().pasts, 0);
}

#[test]
fn a_new_address_has_no_past() {
    let mut index = two_services();
    let added = slice("shop", "a-2", "a", &["80"], &["10.0.0.3=a-1"]);
    let _ = index.apply(&added, at(10));
    let found = resolve(&index, "10.0.0.3:80", at(11));
    assert_eq!((since(&found), previous(&found)), (None, None));
}

#[test]
fn a_cluster_ip_changes_hands_too() {
    let mut index = index(&[
        service("shop", "a", &["10.96.0.1"], &["80"]),
        route("shop", "web", EDGE, &[&["a", "b"]]),
    ]);
    let _ = index.delete(&id(Kind::Service, "shop", "a"), at(5));
    let _ = index.apply(&service("shop", "b", &["10.96.0.1"], &["80"]), at(6));
    let found = resolve(&index, "10.96.0.1:80", at(7));
    assert_eq!(owners(&index, "10.96.0.1:80", at(7)), ["shop b 80"]);
    assert_eq!(previous(&found).as_deref(), Some("shop a 80"));
}

#[test]
fn a_pod_deleted_before_its_endpoint_keeps_its_labels() {
    let mut index = index(&[
        slice("shop", "a-1", "a", &["80"], &["10.0.0.1=a-0"]),
        pod("shop", "a-0", "StatefulSet/a", &["version=v1"]),
        route("shop", "web", EDGE, &[&["a"]]),
    ]);
    let full = |index: &Index, now| {
        let found = index.resolve_text(&gateway(EDGE), &every_dimension(), KEY, now);
        found.candidates[0].target.fingerprint
    };
    let before = full(&index, at(0));
    assert!(
        index
            .delete(&id(Kind::Pod, "shop", "a-0"), at(10))
            .is_empty()
    );
    assert_eq!(index.counts().pods, 0);
    assert_eq!(full(&index, at(20)), before);
    let _ = index.delete(&id(Kind::EndpointSlice, "shop", "a-1"), at(30));
    let _ = index.advance(at(80));
    assert_eq!(full(&index, at(80)), before);
}

#[test]
fn memory_of_changes_is_bounded() {
    let mut index = index(&[route("shop", "web", EDGE, &[&["a"]])]);
    let addresses: Vec<_> = (0..70_000_u32)
        .map(|n| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255))
        .collect();
    for (round, chunk) in addresses.chunks(1000).enumerate() {
        let name = format!("s{round}");
        let endpoints: Vec<_> = chunk.iter().map(String::as_str).collect();
        let full = slice("shop", &name, "a", &["80"], &endpoints);
        let _ = index.apply(&full, at(round as u64));
        let _ = index.apply(&slice("shop", &name, "a", &["80"], &[]), at(round as u64));
    }
    assert_eq!(index.counts().pasts, 65_536);
    assert_eq!(index.counts().forgotten, 70_000 - 65_536);
    let _ = index.advance(at(10_000));
    assert_eq!(index.counts().pasts, 0);
}
