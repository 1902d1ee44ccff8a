//! Extensions of Kong's operator as policies. Every fixture is what the real definitions take.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_operator::{
    Known, Origin, Policy, Scene, Target,
    deploy::Proof,
    dropin::{Extensions, KongFacts, Measure, Standing, extensions, selected, standing},
    layouts, resolve,
};
use gaugeway_wire::GatewayName;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    kong_objects::{self, GROUP},
    make::policy,
    schemas,
};

/// Of ControlPlanes and GatewayConfigurations.
const VERSIONS: [&str; 2] = ["v1beta1", "v2beta1"];

/// What stands in the cluster. Everything is of namespace `shop`.
#[derive(Clone, Debug, Default)]
struct Kong {
    extensions: Vec<Value>,
    planes: Vec<Value>,
    configurations: Vec<Value>,
    classes: Vec<Value>,
    gateways: Vec<Value>,
}

impl Kong {
    fn facts(&self) -> KongFacts {
        KongFacts::of(
            &self.extensions,
            &self.planes,
            &self.configurations,
            &self.classes,
            &self.gateways,
        )
    }

    fn come_to(&self) -> Extensions {
        extensions(&self.facts(), &BTreeSet::new())
    }
}

fn extension(name: &str, created: i64, services: &[&str], latency: bool) -> Value {
    let time = k8s_openapi::jiff::Timestamp::from_second(created).unwrap();
    let mut object = kong_objects::extension(name, services, latency);
    object["metadata"]["creationTimestamp"] = json!(time.to_string());
    in_shop(object)
}

fn plane(version: &str, name: &str, of: &str, names: &[&str]) -> Value {
    let object = kong_objects::control_plane(version, name, of, names);
    in_shop(object)
}

fn configuration(version: &str, name: &str, member: &str, names: &[&str]) -> Value {
    let object = kong_objects::configuration(version, name, member, names);
    in_shop(object)
}

fn in_shop(mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!("shop");
    schemas::check_object(&object);
    object
}

fn class(name: &str, configuration: &str) -> Value {
    let object = kong_objects::class(name, "shop", configuration);
    schemas::check_object(&object);
    object
}

fn gateway(name: &str, class: &str) -> Value {
    let object = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"gatewayClassName": class, "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    });
    schemas::check_object(&object);
    object
}

fn edge() -> Target {
    Target::Gateway {
        namespace: "shop".to_owned(),
        name: "edge".to_owned(),
    }
}

fn pair(name: &str) -> (String, String) {
    ("shop".to_owned(), name.to_owned())
}

#[test]
fn an_extension_is_a_policy_where_a_control_plane_names_it() {
    for version in VERSIONS {
        let kong = Kong {
            extensions: vec![extension("e", 7, &["cart", "pay"], true)],
            planes: vec![plane(version, "cp", "Gateway/edge", &["e"])],
            ..Kong::default()
        };
        let found = kong.come_to();
        let [policy] = &found.policies[..] else {
            panic!("{found:?}");
        };
        assert_eq!(policy.targets, [edge()]);
        assert_eq!(policy.names, Some([pair("cart"), pair("pay")].into()));
        assert_eq!(policy.origin, Origin::MetricsExtension);
        assert_eq!(policy.kong_compatible, Some(true));
        assert!(policy.dimensions.is_empty(), "one series per Service");
        assert_eq!(
            (policy.created, policy.settings.deploy.enabled),
            (7, Some(false))
        );
        assert_eq!(found.known[0].control_planes, [pair("cp")]);
        assert_eq!(selected(&kong.facts()), [pair("cart"), pair("pay")].into());
    }
}

#[test]
fn where_a_control_plane_leads_decides_where_it_holds() {
    // (what the ControlPlane is of, where the extension holds)
    let kong = Target::IngressClass {
        name: "kong".to_owned(),
    };
    for (of, targets) in [
        ("Gateway/edge", vec![edge()]),
        ("kong", vec![kong]),
        ("Deployment/edge", vec![]),
        ("", vec![]),
    ] {
        let kong = Kong {
            extensions: vec![extension("e", 7, &["cart"], true)],
            planes: vec![plane("v2beta1", "cp", of, &["e"])],
            ..Kong::default()
        };
        let found = kong.come_to();
        let held: Vec<_> = found
            .policies
            .iter()
            .flat_map(|p| p.targets.clone())
            .collect();
        assert_eq!(held, targets, "{of}");
    }
}

#[test]
fn what_a_gateway_configuration_names_holds_for_the_gateways_of_its_class() {
    for (version, member) in [
        ("v1beta1", "extensions"),
        ("v1beta1", "controlPlaneOptions"),
        ("v2beta1", "extensions"),
    ] {
        let kong = Kong {
            extensions: vec![extension("e", 7, &["cart"], true)],
            planes: vec![
                plane(version, "cp", "Gateway/edge", &[]),
                plane(version, "other", "Gateway/side", &[]),
            ],
            configurations: vec![configuration(version, "conf", member, &["e"])],
            classes: vec![class("kong", "conf")],
            gateways: vec![gateway("edge", "kong"), gateway("side", "none")],
        };
        let found = kong.come_to();
        assert_eq!(
            found.known[0].control_planes,
            [pair("cp")],
            "{version} {member}"
        );
        assert_eq!(found.policies[0].targets, [edge()]);
        // A Gateway's own replaces its class's.
        let mut own = kong.clone();
        own.gateways[0]["spec"]["infrastructure"] = json!({"parametersRef": {
            "group": GROUP, "kind": "GatewayConfiguration", "name": "empty",
        }});
        assert!(own.come_to().policies.is_empty());
    }
}

#[test]
fn what_asks_for_nothing_or_is_named_by_nobody_measures_nothing() {
    let named = |latency, names: &[&str]| Kong {
        extensions: vec![extension("e", 7, &["cart"], latency)],
        planes: vec![plane("v2beta1", "cp", "Gateway/edge", names)],
        ..Kong::default()
    };
    assert!(named(false, &["e"]).come_to().policies.is_empty());
    assert!(named(true, &["other"]).come_to().policies.is_empty());
    let mut going = named(true, &["e"]);
    going.planes[0]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(going.come_to().policies.is_empty());
    let mut foreign = named(true, &["e"]);
    foreign.planes[0]["spec"]["extensions"][0] =
        json!({"kind": "KonnectExtension", "group": "konnect.konghq.com", "name": "e"});
    assert!(foreign.come_to().policies.is_empty());
}

#[test]
fn where_kongs_operator_may_scrape_its_metric_has_one_source() {
    let mut kong = Kong {
        extensions: vec![extension("e", 7, &["cart", "pay"], true)],
        planes: vec![plane("v2beta1", "cp", "Gateway/edge", &["e"])],
        ..Kong::default()
    };
    let left = extensions(&kong.facts(), &[pair("pay")].into());
    assert_eq!(left.policies[0].kong_compatible, Some(false));
    assert!(
        left.known[0]
            .scraped
            .as_ref()
            .unwrap()
            .contains("pay-metrics-prometheus")
    );
    let others = extensions(&kong.facts(), &[pair("stock")].into());
    assert_eq!(others.policies[0].kong_compatible, Some(true));
    kong.extensions[0]["status"] = json!({"controlPlaneRef": {"name": "cp"}});
    schemas::check_object(&kong.extensions[0]);
    let held = kong.come_to();
    assert_eq!(held.policies[0].kong_compatible, Some(false));
    assert!(held.known[0].scraped.as_ref().unwrap().contains("shop/cp"));
}

/// What becomes of extension `e` at Gateway `shop/edge`, which reaches `cart`.
struct Story {
    kong: Kong,
    ours: Vec<Policy>,
    there: bool,
    workers: usize,
    proof: Option<Proof>,
}

impl Story {
    fn new() -> Self {
        Self {
            kong: Kong {
                extensions: vec![extension("e", 7, &["cart", "gone"], true)],
                planes: vec![plane("v2beta1", "cp", "Gateway/edge", &["e"])],
                ..Kong::default()
            },
            ours: Vec::new(),
            there: true,
            workers: 0,
            proof: None,
        }
    }

    fn told(&self) -> Standing {
        let found = self.kong.come_to();
        let mut policies = self.ours.clone();
        policies.extend(found.policies.iter().cloned());
        let known = Known {
            gateways: self.there.then(|| pair("edge")).into_iter().collect(),
            ..Known::default()
        };
        let attached = resolve(&policies, &known);
        let refused = layouts(
            &gaugeway_wire::Policy::default().layout(),
            &policies,
            &attached,
        )
        .refused;
        let gateway = GatewayName::try_new("shop/edge").unwrap();
        let selecting = |order: &Vec<usize>| {
            let selects = |at: &usize| {
                let names = policies[*at].names.as_ref();
                names.is_none_or(|names| names.contains(&pair("cart")))
            };
            let places = order.iter().enumerate().filter(|(_, at)| selects(at));
            vec![places.map(|(place, _)| place).collect()]
        };
        let selections = attached
            .iter()
            .map(|(g, order)| (g.clone(), selecting(order)));
        let scene = Scene {
            policies: &policies,
            known: &known,
            attached: &attached,
            refused: &refused,
            selections: &selections.collect(),
            workers: &BTreeMap::from([(gateway.clone(), self.workers)]),
            deployments: &BTreeMap::new(),
            full: &BTreeSet::new(),
            scraped: &BTreeMap::new(),
        };
        let proofs = self.proof.clone().map(|proof| (gateway, proof));
        let proofs = proofs.into_iter().collect();
        standing(&found.known[0], &scene, self.ours.len(), &proofs)
    }
}

#[test]
fn each_end_is_said_in_a_word_and_in_words() {
    let missing = || {
        Some(Proof::Missing(vec![
            "Pod kong-1: KONG_WASM is not \"on\"".to_owned(),
        ]))
    };
    let some = |names: Value| {
        let spec = json!({"targetRefs": [crate::make::gateway("edge")], "serviceSelector": names});
        Policy::check(&crate::make::object("p", 99, &spec)).unwrap()
    };
    type Change = Box<dyn Fn(&mut Story)>;
    let cases: Vec<(Change, Measure, &str)> = vec![
        (Box::new(|s| s.workers = 2), Measure::Measured, "measured"),
        (
            Box::new(move |s| s.proof = missing()),
            Measure::NoWasm,
            "KONG_WASM",
        ),
        (
            Box::new(move |s| {
                s.proof = missing();
                s.workers = 1;
            }),
            Measure::Measured,
            "measured",
        ),
        (
            Box::new(|s| s.proof = Some(Proof::Proven)),
            Measure::NoWorkers,
            "attach it",
        ),
        (
            Box::new(|s| s.proof = Some(Proof::Unknown("no Pod is ready".to_owned()))),
            Measure::NoWorkers,
            "no Pod is ready",
        ),
        (Box::new(|_| {}), Measure::NoWorkers, "no filter has called"),
        (
            Box::new(|s| s.there = false),
            Measure::NoTarget,
            "not there",
        ),
        (
            Box::new(move |s| {
                s.workers = 1;
                s.ours = vec![policy("p", 99, &["edge"])];
            }),
            Measure::Overridden,
            "LatencyPolicy shop/p",
        ),
        (
            Box::new(move |s| {
                s.workers = 1;
                s.ours = vec![some(json!({"matchNames": [{"name": "pay"}]}))];
            }),
            Measure::Measured,
            "measured",
        ),
        (
            Box::new(|s| s.kong.extensions = vec![extension("e", 7, &["gone"], true)]),
            Measure::NoServices,
            "reach no Service",
        ),
        (
            Box::new(|s| s.kong.extensions = vec![extension("e", 7, &["cart"], false)]),
            Measure::Off,
            "config.latency",
        ),
        (
            Box::new(|s| s.kong.planes.clear()),
            Measure::Unattached,
            "no ControlPlane",
        ),
        (
            Box::new(|s| s.kong.planes = vec![plane("v2beta1", "cp", "", &["e"])]),
            Measure::NoTarget,
            "no spec.ingressClass",
        ),
    ];
    for (change, measure, word) in cases {
        let mut story = Story::new();
        change(&mut story);
        let told = story.told();
        assert_eq!(told.measure, measure, "{told:?}");
        assert!(told.places[0].text.contains(word), "{told:?}");
        assert_eq!(told.ignored, ["bandwidth", "upstreamHealth"]);
    }
}

#[derive(Clone, Debug)]
struct Drawn {
    extensions: Vec<(i64, BTreeSet<usize>, bool)>,
    /// What it is of, which extensions it names.
    planes: Vec<(usize, BTreeSet<usize>)>,
}

const SERVICES: [&str; 3] = ["cart", "pay", "stock"];
const OF: [&str; 4] = ["Gateway/edge", "Gateway/side", "kong", ""];

fn drawn() -> impl Strategy<Value = Drawn> {
    let services = prop::collection::btree_set(0..SERVICES.len(), 0..3);
    let extensions = prop::collection::vec((0..50_i64, services, any::<bool>()), 0..4);
    // The definition takes two at most.
    let named = prop::collection::btree_set(0..4_usize, 0..3);
    let planes = prop::collection::vec((0..OF.len(), named), 0..4);
    (extensions, planes).prop_map(|(extensions, planes)| Drawn { extensions, planes })
}

impl Drawn {
    fn kong(&self, version: &str) -> Kong {
        let names: Vec<String> = (0..4).map(|n| format!("e{n}")).collect();
        let one = |(n, (created, services, latency)): (usize, &(i64, BTreeSet<usize>, bool))| {
            let services: Vec<_> = services.iter().map(|s| SERVICES[*s]).collect();
            extension(&names[n], *created, &services, *latency)
        };
        let of = |(n, (of, named)): (usize, &(usize, BTreeSet<usize>))| {
            let named: Vec<_> = named.iter().map(|e| names[*e].as_str()).collect();
            plane(version, &format!("cp{n}"), OF[*of], &named)
        };
        Kong {
            extensions: self.extensions.iter().enumerate().map(one).collect(),
            planes: self.planes.iter().enumerate().map(of).collect(),
            ..Kong::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_selected_that_an_extension_with_latency_does_not_name(drawn in drawn()) {
        let kong = drawn.kong("v2beta1");
        let found = kong.come_to();
        for (n, extension) in found.known.iter().enumerate() {
            let (_, services, latency) = &drawn.extensions[n];
            let names: BTreeSet<_> = services.iter().map(|s| pair(SERVICES[*s])).collect();
            prop_assert!(*latency || extension.policies.is_empty());
            prop_assert!(!extension.control_planes.is_empty() || extension.policies.is_empty());
            for at in &extension.policies {
                let policy = &found.policies[*at];
                prop_assert_eq!(policy.names.as_ref(), Some(&names));
                prop_assert!(!policy.targets.is_empty());
            }
        }
    }

    #[test]
    fn the_order_of_objects_and_the_version_served_do_not_matter(drawn in drawn()) {
        let kong = drawn.kong("v2beta1");
        let mut reversed = drawn.kong("v1beta1");
        reversed.extensions.reverse();
        reversed.planes.reverse();
        let (one, other) = (kong.come_to(), reversed.come_to());
        prop_assert_eq!(one, other);
    }

    #[test]
    fn what_goes_measures_no_more_and_leaves_the_others_as_they_are(drawn in drawn(), gone: prop::sample::Index) {
        let mut kong = drawn.kong("v2beta1");
        let before = kong.come_to();
        if !kong.extensions.is_empty() {
            let at = gone.index(kong.extensions.len());
            let id = before.known[at].id.clone();
            kong.extensions.remove(at);
            let after = kong.come_to();
            let rest: Vec<_> = before.policies.into_iter().filter(|p| p.id != id).collect();
            prop_assert_eq!(after.policies, rest);
        }
    }

    #[test]
    fn a_latency_policy_comes_first_however_young(drawn in drawn(), created in 0..100_i64) {
        let mut policies = drawn.kong("v2beta1").come_to().policies;
        policies.push(policy("ours", created, &["edge"]));
        let known = Known {
            gateways: [pair("edge"), pair("side")].into(),
            ..Known::default()
        };
        let resolved = resolve(&policies, &known);
        let edge = &resolved[&GatewayName::try_new("shop/edge").unwrap()];
        prop_assert_eq!(policies[edge[0]].origin, Origin::LatencyPolicy);
    }
}
