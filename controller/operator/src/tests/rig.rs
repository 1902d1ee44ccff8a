//! Policies and gateways to tell stories with.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_wire::GatewayName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::{
    Known, Policy, Scene, Verdict, attachments,
    crd::{LatencyPolicy, LatencyPolicyStatus},
    layouts, resolve, status,
};

/// A policy of namespace `shop` for Gateway `edge`, created in that second, with these members of its spec beside.
pub(super) fn object(name: &str, created: i64, spec: &Value) -> LatencyPolicy {
    let mut whole = json!({"targetRefs": [gateway_ref("edge")]});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "gaugeway.dev/v1alpha1", "kind": "LatencyPolicy", "spec": whole,
        "metadata": {
            "name": name, "namespace": "shop", "generation": 1, "creationTimestamp": time(created),
        },
    }))
    .unwrap()
}

pub(super) fn gateway_ref(name: &str) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name})
}

pub(super) fn class_ref(name: &str) -> Value {
    json!({"group": "networking.k8s.io", "kind": "IngressClass", "name": name})
}

pub(super) fn policy(name: &str, created: i64, spec: &Value) -> Policy {
    Policy::check(&object(name, created, spec)).unwrap()
}

pub(super) fn gateway(name: &str) -> GatewayName {
    GatewayName::try_new(name).unwrap()
}

/// That second since 1970.
pub(super) fn time(second: i64) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
}

/// Gateway `shop/edge` with these Services (all of namespace `shop`) and so many workers.
pub(super) struct Shop {
    pub(super) known: Known,
    pub(super) services: Vec<&'static str>,
    pub(super) workers: usize,
    /// Policies that have as many series as they may.
    pub(super) full: BTreeSet<usize>,
    /// Per gateway places of policies with a Service that Kong's operator scrapes.
    pub(super) scraped: BTreeMap<GatewayName, BTreeSet<usize>>,
}

impl Default for Shop {
    fn default() -> Self {
        let edge = ("shop".to_owned(), "edge".to_owned());
        Self {
            known: Known {
                gateways: BTreeSet::from([edge]),
                ..Known::default()
            },
            services: vec!["cart", "pay"],
            workers: 2,
            full: BTreeSet::new(),
            scraped: BTreeMap::new(),
        }
    }
}

impl Shop {
    /// What becomes of each policy here.
    pub(super) fn verdicts(&self, policies: &[Policy]) -> Vec<Verdict> {
        let attached = resolve(policies, &self.known);
        let layouts = layouts(
            &gaugeway_wire::Policy::default().layout(),
            policies,
            &attached,
        );
        let selecting = |order: &Vec<usize>, service: &str| {
            let selects = |at: &usize| {
                let names = policies[*at].names.as_ref();
                names.is_none_or(|names| names.contains(&("shop".to_owned(), service.to_owned())))
            };
            let places = order.iter().enumerate().filter(|(_, at)| selects(at));
            places.map(|(place, _)| place).collect::<Vec<_>>()
        };
        let selections: BTreeMap<_, _> = attached
            .iter()
            .map(|(g, order)| {
                (
                    g.clone(),
                    self.services.iter().map(|s| selecting(order, s)).collect(),
                )
            })
            .collect();
        let workers = BTreeMap::from([(gateway("shop/edge"), self.workers)]);
        let scene = Scene {
            policies,
            known: &self.known,
            attached: &attached,
            refused: &layouts.refused,
            selections: &selections,
            workers: &workers,
            deployments: &BTreeMap::new(),
            full: &self.full,
            scraped: &self.scraped,
        };
        (0..policies.len())
            .map(|at| Verdict::Attached(attachments(&scene, at)))
            .collect()
    }

    /// The status of each object here.
    pub(super) fn statuses(&self, objects: &[LatencyPolicy], now: i64) -> Vec<LatencyPolicyStatus> {
        let policies: Vec<_> = objects.iter().map(|o| Policy::check(o).unwrap()).collect();
        let verdicts = self.verdicts(&policies);
        let pairs = objects.iter().zip(&verdicts);
        pairs.map(|(o, v)| status(o, v, &time(now))).collect()
    }
}

/// `Accepted/Reason Programmed/Reason` of the first target, with `!` before what does not hold.
pub(super) fn brief(status: &LatencyPolicyStatus) -> String {
    let Some(first) = status.ancestors.first() else {
        return String::new();
    };
    let text = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        let not = if c.status == "True" { "" } else { "!" };
        format!("{not}{}/{}", c.type_, c.reason)
    };
    first
        .conditions
        .iter()
        .map(text)
        .collect::<Vec<_>>()
        .join(" ")
}
