//! Looks whether the data planes of extensions can load a filter: all current defaults of Kong's operator cannot.
//!
//! Only the leader looks, and seldom. Where the API server does not answer, what was found before stays.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gaugeway_operator::{Origin, Target, deploy::KONG_OPERATOR};
use gaugeway_wire::GatewayName;
use kube::ResourceExt as _;
use serde_json::Value;
use tokio::{sync::watch, time::sleep};
use tracing::debug;

use super::{Judged, Proofs};
use crate::{
    deploy::Cluster,
    role::Gate,
    source::kubernetes::{Failure, Kept, Store},
};

/// See the module's documentation.
pub(crate) struct Prover {
    pub(crate) cluster: Cluster,
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    pub(crate) judged: watch::Receiver<Option<Arc<Judged>>>,
    pub(crate) proofs: watch::Sender<Arc<Proofs>>,
    /// Between two looks.
    pub(crate) pause: Duration,
}

impl Prover {
    /// Until nobody judges policies any more.
    pub(crate) async fn run(mut self) {
        while self.judged.changed().await.is_ok() {
            let judged = self.judged.borrow_and_update().clone();
            let Some(judged) = judged.filter(|_| self.gate.is_open()) else {
                continue;
            };
            match self.look(&judged).await {
                Ok(proofs) => drop(self.proofs.send_replace(Arc::new(proofs))),
                Err(failure) => {
                    debug!("cannot look at Kong's data planes: {}", failure.text());
                }
            }
            sleep(self.pause).await;
        }
    }

    async fn look(&self, judged: &Judged) -> Result<Proofs, Failure> {
        let targets = targets(judged);
        let is_class = |target: &Target| matches!(target, Target::IngressClass { .. });
        let routes = if targets.values().any(is_class) {
            self.cluster.routes(true).await?
        } else {
            Vec::new()
        };
        let mut proofs = Proofs::new();
        for (gateway, target) in targets {
            let object = self.object(&target);
            // Who owns a ControlPlane is a Gateway of Kong's operator.
            let proof = self.cluster.proof(KONG_OPERATOR, &target, &object, &routes);
            proofs.insert(gateway, proof.await?);
        }
        Ok(proofs)
    }

    fn object(&self, target: &Target) -> Value {
        let Target::Gateway { namespace, name } = target else {
            return Value::Null;
        };
        let all = self.store.all(Kept::Gateway);
        let mut all = all.iter();
        let found =
            all.find(|g| g.namespace().as_ref() == Some(namespace) && g.name_any() == *name);
        let found = found.and_then(|g| serde_json::to_value(&**g).ok());
        found.unwrap_or_default()
    }
}

/// Where extensions are attached.
fn targets(judged: &Judged) -> BTreeMap<GatewayName, Target> {
    let policies = judged.policies.iter();
    let extensions = policies.filter(|p| p.origin == Origin::MetricsExtension);
    let targets = extensions.flat_map(|p| &p.targets);
    targets
        .filter_map(|target| {
            let gateway = target.gateway()?;
            let attached = judged.attached.contains_key(&gateway);
            attached.then(|| (gateway, target.clone()))
        })
        .collect()
}
