//! Stories of identity that the gateway itself carries, for when no mapping tells.

use gaugeway_wire::{Label, Nanos, Policy, Target, TargetKind, target::names};

use super::{
    controller::{special, target},
    host::Facts,
    kong,
    world::{World, ok},
};
use crate::identity::Metadata;

const SECOND: u64 = 1_000_000_000;
const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";

fn istio(address: &str, service: &str) -> Facts {
    let workload = format!("{service}-v1;demo;{service};v1;Kubernetes");
    Facts {
        metadata: Some((Metadata::Istio, workload.into_bytes())),
        ..ok(address)
    }
}

fn request(world: &mut World, facts: &Facts) {
    let context = world.start();
    world.headers(context, facts.clone(), false);
    world.end(context, facts.clone());
}

/// Of the Service in the namespace `demo`.
fn counted(world: &World, service: &str) -> u64 {
    world.controller.service(service).requests()
}

fn unreached() -> World {
    let mut world = World::new();
    world.controller.synced = false;
    world
}

#[test]
fn without_a_mapping_the_endpoints_metadata_decides_after_the_grace() {
    let mut world = unreached();
    for _ in 0..30 {
        request(&mut world, &istio(A, "s0"));
        request(&mut world, &ok(B));
        world.run(SECOND);
    }
    world.run(10 * SECOND);
    assert_eq!(counted(&world, "s0"), 30, "the first ones, too");
    assert_eq!(world.controller.requests(), 30, "the others are kept");
    let labels = [(names::NAMESPACE, "demo"), (names::SERVICE, "s0")].map(|(name, value)| Label {
        name: name.to_owned().into(),
        value: value.to_owned(),
    });
    let same = Target::try_new(TargetKind::Kubernetes, labels.to_vec()).unwrap();
    assert_eq!(
        same.fingerprint(),
        target("s0").fingerprint(),
        "the mapping's own target"
    );
    // Each address was asked about once: a request reads what every request reads.
    world.host.reads.clear();
    request(&mut world, &istio(A, "s0"));
    request(&mut world, &ok(B));
    assert!(!world.host.reads.contains(&"metadata"));
}

#[test]
fn a_mapping_that_comes_after_all_decides_from_then_on() {
    let mut world = unreached();
    world.controller.own(A, &["s1"], world.host.now);
    for _ in 0..20 {
        request(&mut world, &istio(A, "s0"));
        world.run(SECOND);
    }
    world.controller.synced = true;
    world.run(40 * SECOND);
    for _ in 0..5 {
        request(&mut world, &istio(A, "s0"));
    }
    // What was never asked about is waited for, as ever.
    request(&mut world, &istio(B, "s2"));
    world.run(40 * SECOND);
    assert_eq!((counted(&world, "s0"), counted(&world, "s1")), (20, 5));
    assert_eq!(counted(&world, "s2"), 0);
    assert_eq!(
        world.controller.of(special(TargetKind::Unknown)).requests(),
        1
    );
}

#[test]
fn a_controller_that_answers_is_believed_from_the_first_request_on() {
    let mut world = World::new();
    for _ in 0..20 {
        request(&mut world, &istio(A, "s0"));
        world.run(SECOND);
    }
    world.run(10 * SECOND);
    assert!(!world.host.reads.contains(&"metadata"));
    assert_eq!(
        world.controller.of(special(TargetKind::Unknown)).requests(),
        20
    );
}

#[test]
fn in_kong_the_configuration_tells_what_no_mapping_does() {
    let config = |service: &str| {
        format!(
            r#"{{"gateway":"g","controller":"10.0.0.9:7080","identity":{{"namespace":"demo","service":"{service}"}}}}"#
        )
    };
    for synced in [true, false] {
        let mut world = kong::World::with(&config("s0"));
        world.controller.synced = synced;
        world.controller.set_policy(Policy {
            unknown_grace: Nanos::from_millis(5_000),
            ..Policy::default()
        });
        let other = world.add_root(&config("s1"));
        let first = world.roots[0].context;
        for _ in 0..10 {
            for root in [first, other] {
                // Both go to an address that no Service owns.
                let told = kong::Told::ok("192.0.2.1:443", 3);
                let context = world.start_at(root, &told);
                world.headers(context, &told);
                world.log(context, &told);
                world.delete(context);
            }
            world.run_seconds(10);
        }
        world.run_seconds(120);
        let of = |service: &str| world.controller.service(service).requests();
        assert_eq!((of("s0"), of("s1")), (10, 10), "synced: {synced}");
        assert_eq!(world.controller.requests(), 20);
    }
}

#[test]
fn in_kong_a_mapping_wins_over_the_configuration() {
    let mut world = kong::World::with(
        r#"{"gateway":"g","controller":"10.0.0.9:7080","identity":{"namespace":"demo","service":"s0"}}"#,
    );
    world.controller.own(A, &["s1"], world.host.now);
    for _ in 0..10 {
        world.request(A, 1);
        world.run_seconds(10);
    }
    world.run_seconds(60);
    assert_eq!(world.controller.service("s1").requests(), 10);
}
