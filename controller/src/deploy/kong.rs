//! Kong's data planes: which Pods they are, and whether these can load the filter.

use gaugeway_operator::{
    Target,
    deploy::{
        KONG_OPERATOR, PodSelector, Proof, RouteFacts, made_for, prove, published_by, publishing,
        selectors, vouches,
    },
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::{Cluster, Operator, policies::Attached};
use crate::source::kubernetes::Failure;

/// Why the Pods of a data plane are not known.
enum Unfound {
    /// What the cluster says is not enough, in words.
    Unclear(String),
    /// The API server did not say.
    Failed(Failure),
}

impl From<String> for Unfound {
    fn from(text: String) -> Self {
        Self::Unclear(text)
    }
}

impl From<Failure> for Unfound {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Operator {
    /// Whether every Pod that serves a gateway of Kong can load the filter.
    pub(super) async fn proof(
        &self,
        controller: &str,
        attached: &Attached<'_>,
        object: &Value,
        routes: &[RouteFacts],
    ) -> Result<Proof, Failure> {
        let home = &self.deploying.home.namespace;
        let mut strongest = attached.owners.iter().take(1);
        if attached.deploy.assume_wasm
            && strongest.any(|owner| vouches(&attached.target, &owner.id, home))
        {
            return Ok(Proof::Assumed);
        }
        let target = &attached.target;
        self.cluster.proof(controller, target, object, routes).await
    }
}

impl Cluster {
    /// What the Pods that serve a gateway of Kong say.
    pub(crate) async fn proof(
        &self,
        controller: &str,
        target: &Target,
        object: &Value,
        routes: &[RouteFacts],
    ) -> Result<Proof, Failure> {
        let found = match target {
            Target::Gateway { .. } => self.gateways_pods(controller, object).await,
            Target::IngressClass { name } => self.classes_pods(name, routes).await,
        };
        match found {
            Ok(pods) => Ok(prove(&pods)),
            Err(Unfound::Unclear(text)) => Ok(Proof::Unknown(format!(
                "the Pods of its data plane are not known: {text}"
            ))),
            Err(Unfound::Failed(failure)) if failure.is_forbidden() => {
                let text = failure.text();
                Ok(Proof::Unknown(format!(
                    "its data plane may not be looked at: {text}"
                )))
            }
            Err(Unfound::Failed(failure)) => Err(failure),
        }
    }

    async fn gateways_pods(&self, controller: &str, gateway: &Value) -> Result<Vec<Pod>, Unfound> {
        if controller == KONG_OPERATOR {
            let namespace = gateway["metadata"]["namespace"].as_str();
            let namespace = namespace.unwrap_or_default();
            let planes = self.data_planes(namespace).await?;
            let services = self.traffic_services(namespace).await?;
            let made = made_for(gateway, &planes, &services)?;
            return self.pods(&made).await;
        }
        let mut services = Vec::new();
        for (namespace, name) in published_by(gateway)? {
            let Some(service) = self.service(&namespace, &name).await? else {
                return Err(format!("there is no Service {namespace}/{name}").into());
            };
            services.push(service);
        }
        self.pods(&services.iter().collect::<Vec<_>>()).await
    }

    async fn classes_pods(&self, class: &str, routes: &[RouteFacts]) -> Result<Vec<Pod>, Unfound> {
        let services = self.services().await?;
        self.pods(&publishing(class, routes, &services)?).await
    }

    /// Behind some Services.
    async fn pods(&self, services: &[&Value]) -> Result<Vec<Pod>, Unfound> {
        let mut pods = Vec::new();
        for PodSelector { namespace, labels } in selectors(services)? {
            let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let found = self.pods_of(&namespace, &labels.join(",")).await?;
            // Not read as a Pod, it proves nothing: as if it were not there would be a lie.
            let read = found.into_iter().map(serde_json::from_value::<Pod>);
            let read: Result<Vec<_>, _> = read.collect();
            pods.extend(read.map_err(|e| format!("a Pod in {namespace} cannot be read: {e}"))?);
        }
        Ok(pods)
    }
}
