//! What there is beside what is in force: for people who ask why something is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gaugeway_operator::{PolicyId, Verdict, deploy::Deployment, dropin::Standing};
use gaugeway_wire::GatewayName;

use super::judge::Judged;
use crate::deploy::Told;

/// See the module's documentation. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// Names of all gateways; `None` while the controller reads some namespaces only.
    gateways: Option<Arc<BTreeSet<String>>>,
    /// Policies that want to be attached to a gateway and cannot be used, with why.
    unusable: Arc<BTreeMap<String, Vec<(String, String)>>>,
    /// How each gateway came to its filter; only a leader that deploys knows.
    deployments: Arc<Told>,
    /// What became of the extensions of Kong's operator; `None` where they are not read.
    pub(super) extensions: Option<Arc<Vec<Standing>>>,
}

impl News {
    /// `everywhere`: the controller reads all namespaces. What became of extensions is not known yet.
    pub(super) fn renew(&mut self, judged: &Judged, everywhere: bool, deployments: Arc<Told>) {
        let known = &judged.known;
        let classes = known.ingress_classes.iter().flatten();
        let classes = classes.map(|class| format!("ingressclass:{class}"));
        let gateways = known.gateways.iter();
        let gateways = gateways.map(|(namespace, name)| format!("{namespace}/{name}"));
        let mut unusable: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (object, verdict) in &judged.invalid {
            let Verdict::Invalid { targets, why } = verdict else {
                continue;
            };
            for target in targets {
                let gateway = match (target.kind.as_str(), &target.namespace) {
                    ("Gateway", Some(namespace)) => format!("{namespace}/{}", target.name),
                    _ => format!("ingressclass:{}", target.name),
                };
                let policy = format!("LatencyPolicy {}", PolicyId::of(object));
                unusable
                    .entry(gateway)
                    .or_default()
                    .push((policy, why.clone()));
            }
        }
        self.gateways = everywhere.then(|| Arc::new(gateways.chain(classes).collect()));
        self.unusable = Arc::new(unusable);
        self.deployments = deployments;
    }

    /// What became of the extensions of Kong's operator; `None` where they are not read.
    pub(crate) fn extensions(&self) -> Option<&[Standing]> {
        self.extensions.as_deref().map(Vec::as_slice)
    }

    /// Whether the cluster has it; `None` when that is not known.
    pub(crate) fn has(&self, gateway: &GatewayName) -> Option<bool> {
        let all = self.gateways.as_ref()?;
        Some(all.contains(gateway.as_str()))
    }

    /// How it came to its filter, as far as this replica knows.
    pub(crate) fn deployment(&self, gateway: &GatewayName) -> Deployment {
        self.deployments.get(gateway).cloned().unwrap_or_default()
    }

    /// Policies that want to be attached to it and cannot be used.
    pub(crate) fn unusable(&self, gateway: &GatewayName) -> Vec<(String, String)> {
        let found = self.unusable.get(gateway.as_str());
        found.cloned().unwrap_or_default()
    }
}
