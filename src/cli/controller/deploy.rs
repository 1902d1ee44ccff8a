//! The flags of a controller that puts the filter into gateways.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use clap::Args;
use gaugeway_controller::{
    cluster_domain,
    config::{Deploying, Installation, ServicePort},
};

use crate::embedded::ENVOY_MODULE_SHA256;

#[derive(Debug, Args)]
pub(super) struct DeployFlags {
    /// Put the filter into gateways that LatencyPolicies name, those of Envoy Gateway and Istio. Needs the names of the
    /// controller's Services in --own-namespace.
    #[arg(long, env = "GAUGEWAY_DEPLOY", requires_all = ["kubernetes", "own_namespace"])]
    deploy: bool,
    /// Into Kong as well, where a policy has `deploy.enabled: true`: writes KongPlugins, and their names into an annotation of
    /// routes and Ingresses. Kong's filter calls in plain HTTP.
    #[arg(
        long,
        env = "GAUGEWAY_DEPLOY_KONG",
        requires = "deploy",
        conflicts_with = "filters_tls_cert"
    )]
    deploy_kong: bool,
    /// Service of the filters port, 7080.
    #[arg(
        long,
        env = "GAUGEWAY_FILTERS_SERVICE",
        default_value = "gaugeway-filters",
        value_name = "NAME"
    )]
    filters_service: String,
    /// Service of the wasm port, 7081.
    #[arg(
        long,
        env = "GAUGEWAY_WASM_SERVICE",
        default_value = "gaugeway-wasm",
        value_name = "NAME"
    )]
    wasm_service: String,
    /// Domain of the cluster's names; as the resolver's search list says, else cluster.local.
    #[arg(long, env = "GAUGEWAY_CLUSTER_DOMAIN", value_name = "DOMAIN")]
    cluster_domain: Option<String>,
    /// Controllers of GatewayClasses and IngressClasses, where they may not be read (--namespaces): such as
    /// `istio=istio.io/gateway-controller`.
    #[arg(
        long,
        env = "GAUGEWAY_GATEWAY_CLASSES",
        value_name = "CLASS=CONTROLLER,…",
        value_delimiter = ','
    )]
    gateway_classes: Vec<String>,
}

impl DeployFlags {
    /// As it was given.
    pub(super) fn cluster_domain(&self) -> Option<String> {
        self.cluster_domain.clone()
    }

    /// `None` leaves gateways alone.
    pub(super) fn deploying(self, own_namespace: Option<&str>) -> Result<Option<Deploying>> {
        if !self.deploy {
            return Ok(None);
        }
        let port = |name, port| ServicePort { name, port };
        let domain = self.cluster_domain.or_else(cluster_domain);
        let class = |pair: &String| {
            let (class, controller) = pair.split_once('=')?;
            Some((class.to_owned(), controller.to_owned()))
        };
        let classes: Option<BTreeMap<_, _>> = self.gateway_classes.iter().map(class).collect();
        Ok(Some(Deploying {
            home: Installation {
                namespace: own_namespace
                    .context("--own-namespace is missing")?
                    .to_owned(),
                filters: port(self.filters_service, 7080),
                wasm: port(self.wasm_service, 7081),
                cluster_domain: domain.unwrap_or_else(|| "cluster.local".to_owned()),
            },
            module: ENVOY_MODULE_SHA256.to_owned(),
            kong: self.deploy_kong,
            classes: classes.context("--gateway-classes is a list of CLASS=CONTROLLER")?,
        }))
    }
}
