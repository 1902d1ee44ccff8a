//! What a plan is made of, to be changed by each test.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_operator::{
    PolicyId, Target,
    deploy::{
        Deploy, Deployment, Installation, Manifest, ManifestKind, Owner, Parent, Plan, Proof,
        Reason, RouteFacts, RouteId, RouteKind, ServicePort, Subject, plan,
    },
};
use serde_json::{Value, json};

pub(crate) const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io/gatewayclass-controller";
pub(crate) const ISTIO: &str = "istio.io/gateway-controller";
pub(crate) const KONG: &str = "konghq.com/kic-gateway-controller";
pub(crate) const SHA: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// All that a plan is made of, with Gateway `shop/edge`.
pub(crate) struct Scene {
    pub(crate) controller: Option<&'static str>,
    pub(crate) deploy: Deploy,
    pub(crate) by_route: bool,
    pub(crate) detached: bool,
    pub(crate) module: Option<&'static str>,
    pub(crate) gateway: Value,
    pub(crate) extensions: Vec<Value>,
    pub(crate) patch: Value,
    pub(crate) routes: Vec<RouteFacts>,
    pub(crate) kongs: BTreeSet<(String, String)>,
    pub(crate) confined: Option<BTreeSet<String>>,
    pub(crate) proof: Proof,
    pub(crate) target: Target,
    pub(crate) domain: &'static str,
}

impl Scene {
    pub(crate) fn of(controller: &'static str) -> Self {
        Self {
            controller: Some(controller),
            deploy: Deploy {
                enabled: Some(true),
                assume_wasm: false,
            },
            by_route: false,
            detached: false,
            module: Some(SHA),
            gateway: json!({
                "metadata": {"namespace": "shop", "name": "edge", "labels": {"tier": "front"}},
                "spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
            }),
            extensions: Vec::new(),
            patch: taken("Accepted", "True"),
            routes: vec![
                route(RouteKind::HttpRoute, "shop", "web"),
                route(RouteKind::GrpcRoute, "bank", "pay"),
            ],
            kongs: BTreeSet::new(),
            confined: None,
            proof: Proof::Proven,
            target: Target::Gateway {
                namespace: "shop".to_owned(),
                name: "edge".to_owned(),
            },
            domain: "cluster.local",
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        let home = Installation {
            namespace: "gaugeway".to_owned(),
            filters: ServicePort {
                name: "gaugeway-filters".to_owned(),
                port: 7080,
            },
            wasm: ServicePort {
                name: "gaugeway-wasm".to_owned(),
                port: 7081,
            },
            cluster_domain: self.domain.to_owned(),
        };
        let gateway = self.target.gateway().unwrap();
        let owners = [Owner {
            id: PolicyId {
                namespace: "shop".to_owned(),
                name: "p".to_owned(),
            },
            uid: "1234".to_owned(),
        }];
        let extensions: Vec<&Value> = self.extensions.iter().collect();
        plan(
            &home,
            &Subject {
                gateway: &gateway,
                target: &self.target,
                owners: &owners,
                deploy: self.deploy,
                by_route: self.by_route,
                detached: self.detached,
                controller: self.controller,
                token: Some(SHA),
                secret: "unguessable",
                module: self.module,
                object: &self.gateway,
                extensions: &extensions,
                patch: &self.patch,
                routes: &self.routes,
                kongs: &self.kongs,
                confined: self.confined.as_ref(),
                proof: &self.proof,
            },
        )
    }
}

pub(crate) fn route(kind: RouteKind, namespace: &str, name: &str) -> RouteFacts {
    RouteFacts {
        id: RouteId {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        version: "1".to_owned(),
        labels: BTreeMap::new(),
        plugins: None,
        parents: vec![parent("shop", "edge")],
        service: None,
        class: None,
        addresses: BTreeSet::new(),
    }
}

pub(crate) fn parent(namespace: &str, name: &str) -> Parent {
    Parent {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        accepted: true,
    }
}

pub(crate) fn of_kind(plan: &Plan, kind: ManifestKind) -> Vec<&Manifest> {
    plan.objects.iter().filter(|m| m.kind == kind).collect()
}

pub(crate) fn only(plan: &Plan, kind: ManifestKind) -> &Value {
    let [manifest] = of_kind(plan, kind).try_into().unwrap();
    &manifest.object
}

/// The reason why not; `None` when it is deployed.
pub(crate) fn why_not(plan: &Plan) -> Option<Reason> {
    match &plan.deployment {
        Deployment::Not { reason, .. } => Some(*reason),
        _ => None,
    }
}

pub(crate) fn text(plan: &Plan) -> String {
    match &plan.deployment {
        Deployment::Not { text, .. } => text.clone(),
        Deployment::Deployed { partly, .. } => partly.join("; "),
        Deployment::Unmanaged => String::new(),
    }
}

/// A status with one condition.
pub(crate) fn taken(kind: &str, status: &str) -> Value {
    let condition =
        json!({"type": kind, "status": status, "reason": "Disabled", "message": "is off"});
    json!({"kind": "EnvoyPatchPolicy", "metadata": {"name": "x"},
        "status": {"ancestors": [{"conditions": [condition]}]}})
}

pub(crate) fn target(kind: &str, name: &str) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": kind, "name": name})
}
