//! How fast the index takes changes, resolves and tells, and what a large cluster costs in memory: 10,000 Services,
//! 100,000 endpoints with a Pod each, 10,000 routes over 100 gateways, two worker VMs per gateway that hold every
//! endpoint of it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a bench"
)]

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gaugeway_index::{
    Hub, HubLimits, Index, Moment, Object, RecordingPolicy, Reply, Ticket,
    object::{BackendRef, ParentRef, Route, RouteRule},
};
use gaugeway_wire::{
    GatewayName, MappingAnswer, MappingEpoch, MappingRequest, Target, VmId,
    limits::KEYS_PER_REQUEST,
};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;
const GATEWAYS: usize = 100;
const VMS: usize = 2 * GATEWAYS;

fn at(millis: u64) -> Moment {
    Moment(millis * 1_000_000)
}

fn gateway(number: usize) -> GatewayName {
    GatewayName::try_new(&format!("tenant-{number}/edge")).unwrap()
}

fn namespace(service: usize) -> String {
    format!("tenant-{}", service % GATEWAYS)
}

fn address(service: usize, endpoint: usize) -> String {
    let n = service * ENDPOINTS + endpoint;
    format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255)
}

fn pod_name(service: usize, endpoint: usize, life: u64) -> String {
    format!("service-{service}-7d9f8b6c5-{endpoint:02}{life:03}")
}

fn meta(service: usize, name: String, labels: &[(&str, String)]) -> ObjectMeta {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
    ObjectMeta {
        namespace: Some(namespace(service)),
        name: Some(name),
        labels: Some(labels.collect()),
        ..ObjectMeta::default()
    }
}

fn service(number: usize) -> Object {
    let app = format!("service-{number}");
    let ip = format!("172.16.{}.{}", (number >> 8) & 255, number & 255);
    Object::Service(Box::new(Service {
        metadata: meta(number, app.clone(), &[("app.kubernetes.io/name", app)]),
        spec: Some(ServiceSpec {
            cluster_ips: Some(vec![ip]),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port: 80,
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }))
}

/// `lives` says how often each endpoint's Pod was replaced.
fn slice(number: usize, lives: &[u64; ENDPOINTS]) -> Object {
    let endpoint = |(n, life): (usize, &u64)| Endpoint {
        addresses: vec![address(number, n)],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            ..EndpointConditions::default()
        }),
        node_name: Some(format!("node-{}", n * 37 % 500)),
        zone: Some(format!("zone-{}", n % 3)),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            name: Some(pod_name(number, n, *life)),
            namespace: Some(namespace(number)),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    };
    let of = [("kubernetes.io/service-name", format!("service-{number}"))];
    Object::EndpointSlice(Box::new(EndpointSlice {
        metadata: meta(number, format!("service-{number}-x7k2p"), &of),
        address_type: "IPv4".into(),
        ports: Some(vec![EndpointPort {
            name: Some("http".into()),
            port: Some(8080),
            ..EndpointPort::default()
        }]),
        endpoints: Some(lives.iter().enumerate().map(endpoint).collect()),
    }))
}

fn pod(number: usize, endpoint: usize, life: u64) -> Object {
    let labels = [
        ("app.kubernetes.io/name", format!("service-{number}")),
        ("app.kubernetes.io/version", "1.2.3".to_owned()),
        ("pod-template-hash", "7d9f8b6c5".to_owned()),
    ];
    let owner = OwnerReference {
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        name: format!("service-{number}-7d9f8b6c5"),
        controller: Some(true),
        ..OwnerReference::default()
    };
    let meta = meta(number, pod_name(number, endpoint, life), &labels);
    Object::Pod(Box::new(ObjectMeta {
        owner_references: Some(vec![owner]),
        ..meta
    }))
}

fn route(number: usize) -> Object {
    let mut route = Route {
        metadata: meta(number, format!("route-{number}"), &[]),
        ..Route::default()
    };
    route.spec.parent_refs = vec![ParentRef {
        name: "edge".into(),
        ..ParentRef::default()
    }];
    route.spec.rules = vec![RouteRule {
        backend_refs: vec![BackendRef {
            name: format!("service-{number}"),
            port: Some(80),
            ..BackendRef::default()
        }],
    }];
    Object::HttpRoute(Box::new(route))
}

fn objects(number: usize) -> impl Iterator<Item = Object> {
    let pods = (0..ENDPOINTS).map(move |endpoint| pod(number, endpoint, 0));
    let others = [
        service(number),
        slice(number, &[0; ENDPOINTS]),
        route(number),
    ];
    others.into_iter().chain(pods)
}

fn cluster() -> Index {
    let mut index = Index::default();
    for object in (0..SERVICES).flat_map(objects) {
        let _ = index.apply(&object, at(0));
    }
    index
}

/// The VMs' side: each holds a call open, confirms what it is told and asks again.
struct Vms {
    hub: Hub,
    told: usize,
}

impl Vms {
    fn subscribe_to_everything(index: &Index) -> Self {
        let hub = Hub::new(MappingEpoch(1), HubLimits::default());
        let mut vms = Self { hub, told: 0 };
        for vm in 0..VMS {
            let of_gateway = (vm % GATEWAYS..SERVICES).step_by(GATEWAYS);
            let keys = of_gateway.flat_map(|s| (0..ENDPOINTS).map(move |e| (s, e)));
            let keys: Vec<_> = keys
                .map(|(s, e)| format!("{}:8080", address(s, e)))
                .collect();
            let mut request = MappingRequest::new(VmId([u8::try_from(vm).unwrap(); 16]));
            for keys in keys.chunks(KEYS_PER_REQUEST) {
                request.subscribe = keys.to_vec();
                vms.ask(index, vm, &request, at(1));
                request = vms.answer_all(index, at(1)).unwrap();
            }
        }
        vms
    }

    fn ask(&mut self, index: &Index, vm: usize, request: &MappingRequest, now: Moment) {
        let (ticket, name) = (Ticket(vm as u64), gateway(vm % GATEWAYS));
        self.hub.on_request(index, now, ticket, &name, request);
    }

    /// Takes answers and asks again, until nobody is told more. The last request made.
    fn answer_all(&mut self, index: &Index, now: Moment) -> Option<MappingRequest> {
        let mut last = None;
        loop {
            self.hub.advance(index, now);
            let replies = self.hub.take_replies();
            if replies.is_empty() {
                return last;
            }
            for reply in replies {
                let request = next(&reply);
                self.told += 1;
                self.ask(
                    index,
                    usize::try_from(reply.ticket.0).unwrap(),
                    &request,
                    now,
                );
                last = Some(request);
            }
        }
    }
}

fn next(reply: &Reply) -> MappingRequest {
    let vm = u8::try_from(reply.ticket.0).unwrap();
    let answer = MappingAnswer::decode(reply.answer.as_ref().unwrap()).unwrap();
    MappingRequest {
        mapping_epoch: answer.mapping_epoch,
        generation: answer.generation,
        received: answer.answer,
        ..MappingRequest::new(VmId([vm; 16]))
    }
}

/// Resident memory of this process in MiB; zero where the system does not say.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

fn memory(_: &mut Criterion) {
    let before = resident();
    let index = cluster();
    let held = resident();
    let vms = Vms::subscribe_to_everything(&index);
    let told = resident();
    let (counts, hub) = (index.counts(), vms.hub.counts());
    eprintln!(
        "memory: index {:.1} MiB for {} endpoints ({:.0} B each); hub {:.1} MiB for {} keys, {} \
         subscriptions of {} VMs",
        held - before,
        counts.endpoints,
        (held - before) * 1024.0 * 1024.0 / counts.endpoints as f64,
        told - held,
        hub.keys,
        hub.subscriptions,
        hub.vms,
    );
}

fn listing(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    let services = SERVICES / 10;
    let objects: Vec<_> = (0..services).flat_map(objects).collect();
    group.throughput(Throughput::Elements((services * ENDPOINTS) as u64));
    group.bench_function("first listing, per endpoint", |b| {
        b.iter_batched(
            Index::default,
            |mut index| {
                for object in &objects {
                    let _ = index.apply(object, at(0));
                }
                index
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// One endpoint gets another Pod: the new Pod and the slice are applied, both VMs that hold the address are told,
/// confirm and ask again.
fn churn(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    let mut index = cluster();
    let mut vms = Vms::subscribe_to_everything(&index);
    let mut lives: BTreeMap<usize, [u64; ENDPOINTS]> = BTreeMap::new();
    let (mut turn, before) = (0_usize, vms.told);
    group.bench_function("endpoint change, two VMs told", |b| {
        b.iter(|| {
            turn += 1;
            let now = at(1000 + turn as u64 * 10);
            let number = turn * 7919 % SERVICES;
            let endpoint = turn / SERVICES % ENDPOINTS;
            let lives = lives.entry(number).or_default();
            lives[endpoint] += 1;
            let mut changes = index.apply(&pod(number, endpoint, lives[endpoint]), now);
            changes.merge(index.apply(&slice(number, lives), now));
            changes.merge(index.advance(now));
            vms.hub.on_change(&index, &changes, now);
            vms.answer_all(&index, now);
        });
    });
    eprintln!(
        "told {:.2} VMs per change",
        (vms.told - before) as f64 / turn as f64
    );
    group.bench_function("making the objects of that change", |b| {
        b.iter(|| black_box((pod(7, 3, 1), slice(7, &[0; ENDPOINTS]))));
    });
    group.finish();
}

fn questions(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    let index = cluster();
    let (name, policy) = (gateway(7), RecordingPolicy::default());
    let key = format!("{}:8080", address(107, 3));
    group.bench_function("resolve an address", |b| {
        b.iter(|| index.resolve_text(&name, &policy, black_box(&key), at(1)));
    });
    let found = index.resolve_text(&name, &policy, &key, at(1));
    let target = Target::decode(&found.candidates[0].target.bytes).unwrap();
    group.bench_function("may a gateway report for a target", |b| {
        b.iter(|| index.may_report(&name, black_box(&target)));
    });
    group.bench_function("is a target live", |b| {
        b.iter(|| index.is_live(black_box(&target)));
    });
    group.finish();
}

criterion_group!(benches, memory, listing, churn, questions);
criterion_main!(benches);
