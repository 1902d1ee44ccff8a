//! Gathers what the cluster says, and asks [`gaugeway_operator::deploy`] what is to be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gaugeway_operator::{
    Target,
    deploy::{
        Flavour, ManifestKind, Plan, Proof, Reason, RouteFacts, Subject, is_ours, module_to_name,
        plan,
    },
};
use gaugeway_wire::GatewayName;
use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::Value;

use super::{
    Cluster, Operator,
    policies::{Attached, attached, held},
    there::There,
};
use crate::{
    auth::Token,
    policies::Judged,
    source::kubernetes::{Failure, Kept},
};

/// What the cluster says, once per round.
pub(super) struct Facts {
    /// Of each GatewayClass its controller; in words why that is not known.
    classes: Result<BTreeMap<String, String>, String>,
    /// Of each IngressClass.
    ingress_classes: BTreeMap<String, String>,
    /// By namespace and name.
    gateways: BTreeMap<(String, String), Value>,
    extensions: Vec<Value>,
    pub(super) routes: Vec<RouteFacts>,
    /// Every replica serves the module.
    served: bool,
}

impl Facts {
    /// Null for an IngressClass.
    fn gateway(&self, target: &Target) -> &Value {
        let id = match target {
            Target::Gateway { namespace, name } => (namespace.clone(), name.clone()),
            Target::IngressClass { .. } => return &Value::Null,
        };
        self.gateways.get(&id).unwrap_or(&Value::Null)
    }

    fn controller(&self, target: &Target) -> Option<&str> {
        let controller = match target {
            Target::Gateway { .. } => {
                let gateway = self.gateway(target);
                let class = gateway["spec"]["gatewayClassName"].as_str()?;
                self.classes.as_ref().ok()?.get(class)
            }
            Target::IngressClass { name } => self.ingress_classes.get(name),
        };
        controller.map(String::as_str)
    }

    fn flavour(&self, target: &Target) -> Option<Flavour> {
        self.controller(target).and_then(Flavour::of)
    }

    /// Gateways of Kong: an annotation on a route speaks to all that took it.
    fn kongs(&self) -> BTreeSet<(String, String)> {
        let is_kong = |(namespace, name): &&(String, String)| {
            let target = Target::Gateway {
                namespace: namespace.clone(),
                name: name.clone(),
            };
            self.flavour(&target) == Some(Flavour::Kong)
        };
        self.gateways.keys().filter(is_kong).cloned().collect()
    }
}

fn by_id(gateways: &[Arc<DynamicObject>]) -> BTreeMap<(String, String), Value> {
    let one = |g: &Arc<DynamicObject>| {
        let id = (g.namespace().unwrap_or_default(), g.name_any());
        Some((id, serde_json::to_value(&**g).ok()?))
    };
    gateways.iter().filter_map(one).collect()
}

impl Operator {
    /// All that carries our labels.
    pub(super) async fn there(&self, cluster: &Cluster) -> Result<There, Failure> {
        let mut there = There::default();
        for kind in self.kinds() {
            match cluster.ours(kind).await {
                Ok(objects) => objects.into_iter().for_each(|o| there.take(kind, o)),
                // One right that is missing is no reason to leave the other gateways alone.
                Err(failure) if failure.is_forbidden() => {
                    there.unread.insert(kind, failure.text().to_owned());
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(there)
    }

    pub(super) async fn facts(&self, judged: &Judged, there: &There) -> Result<Facts, Failure> {
        let extensions = match there.unread.get(&ManifestKind::EnvoyExtensionPolicy) {
            Some(_) => Vec::new(),
            None => self.cluster.extensions().await?,
        };
        let module = &self.deploying.module;
        let mut facts = Facts {
            classes: self.classes().await?,
            ingress_classes: self.ingress_classes(),
            gateways: by_id(&self.store.all(Kept::Gateway)),
            extensions,
            routes: Vec::new(),
            served: self.replicas.serve(&self.cluster, module).await?,
        };
        let own = &self.deploying.home.namespace;
        if facts.extensions.iter().any(|policy| !is_ours(policy, own))
            || self.looks_at_kong(judged, there, &facts)
        {
            facts.routes = self.cluster.routes(self.deploying.kong).await?;
        }
        Ok(facts)
    }

    /// Whether a route may have, or is to have, a plugin of ours.
    fn looks_at_kong(&self, judged: &Judged, there: &There, facts: &Facts) -> bool {
        let wanted = |a: &Attached<'_>| {
            a.deploy.enabled == Some(true) && facts.flavour(&a.target) == Some(Flavour::Kong)
        };
        self.deploying.kong
            && (there.has(ManifestKind::KongPlugin)
                || held(judged).next().is_some()
                || attached(judged).any(|a| wanted(&a)))
    }

    /// Controllers of GatewayClasses; where they may not be read, as the command line says.
    async fn classes(&self) -> Result<Result<BTreeMap<String, String>, String>, Failure> {
        if !self.deploying.classes.is_empty() {
            return Ok(Ok(self.deploying.classes.clone()));
        }
        match self.cluster.gateway_classes().await {
            Err(failure) if failure.is_forbidden() => Ok(Err(failure.text().to_owned())),
            classes => classes.map(Ok),
        }
    }

    /// Likewise of IngressClasses.
    fn ingress_classes(&self) -> BTreeMap<String, String> {
        if !self.cluster.namespaces.is_empty() {
            return self.deploying.classes.clone();
        }
        let all = self.store.all(Kept::IngressClass);
        let controller = |o: &DynamicObject| {
            let controller = o.data["spec"]["controller"].as_str()?;
            Some((o.name_any(), controller.to_owned()))
        };
        all.iter().filter_map(|class| controller(class)).collect()
    }

    pub(super) async fn plans(
        &self,
        judged: &Judged,
        there: &There,
        facts: &Facts,
    ) -> Result<BTreeMap<GatewayName, Plan>, Failure> {
        let kongs = facts.kongs();
        let mut plans = BTreeMap::new();
        for attached in attached(judged) {
            let plan = match self.obstacle(&attached, there, facts) {
                Some(plan) => plan,
                None => self.plan(judged, &attached, there, facts, &kongs).await?,
            };
            plans.insert(attached.gateway.clone(), plan);
        }
        Ok(plans)
    }

    /// What keeps a gateway as it is, before anything is asked of it.
    fn obstacle(&self, attached: &Attached<'_>, there: &There, facts: &Facts) -> Option<Plan> {
        if let (Err(text), Target::Gateway { .. }) = (&facts.classes, &attached.target) {
            let text = format!("cannot list GatewayClasses: {text}");
            return Some(Plan::hold(Reason::ApplyFailed, text));
        }
        let flavour = facts.flavour(&attached.target)?;
        if let Some(text) = there.unknown(flavour.kinds()) {
            return Some(Plan::hold(Reason::ApplyFailed, text));
        }
        let unasked = flavour == Flavour::Kong
            && !self.deploying.kong
            && attached.deploy.enabled == Some(true);
        unasked.then(|| {
            Plan::hold(
                Reason::NotDeployed,
                "the controller may not write into Kong: start it with --deploy-kong (the chart's deploy.kong), or \
                 apply what gaugeway render kong prints",
            )
        })
    }

    async fn plan(
        &self,
        judged: &Judged,
        attached: &Attached<'_>,
        there: &There,
        facts: &Facts,
        kongs: &BTreeSet<(String, String)>,
    ) -> Result<Plan, Failure> {
        let gateway = attached.gateway;
        let object = facts.gateway(&attached.target);
        let controller = facts.controller(&attached.target);
        let token = self.verifier.token(gateway);
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let secret = self.verifier.secret(gateway);
        let extensions: Vec<&Value> = facts.extensions.iter().collect();
        let wanted = attached.deploy.enabled == Some(true) && !attached.detached;
        let proof = match controller {
            Some(controller) if wanted && Flavour::of(controller) == Some(Flavour::Kong) => {
                self.proof(controller, attached, object, &facts.routes)
                    .await?
            }
            _ => Proof::Unknown("nobody looked".to_owned()),
        };
        Ok(plan(
            &self.deploying.home,
            &Subject {
                gateway,
                target: &attached.target,
                owners: &attached.owners,
                deploy: attached.deploy,
                by_route: attached.by_route,
                detached: attached.detached,
                controller,
                token: token.as_ref().map(Token::as_str),
                // Where no tokens are asked for, there is nothing to keep.
                secret: secret.as_ref().map_or(uid, Token::as_str),
                module: module_to_name(
                    &self.deploying.module,
                    facts.served,
                    there.held_module(gateway),
                ),
                object,
                extensions: &extensions,
                patch: there.for_gateway(ManifestKind::EnvoyPatchPolicy, gateway),
                routes: &facts.routes,
                kongs,
                confined: judged.confined(gateway, &attached.target).as_ref(),
                proof: &proof,
            },
        ))
    }
}
