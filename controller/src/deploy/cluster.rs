//! What is asked of the API server, each with a bound on the wait.

use std::{collections::BTreeMap, time::Duration};

use gaugeway_operator::{
    crd::LatencyPolicy,
    deploy::{
        FINALIZER, INSTANCE, MANAGED_BY, MANAGER, Manifest, ManifestKind, PLUGINS, Parent,
        RouteFacts, RouteId, RouteKind, is_ours,
    },
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
    core::{ApiResource, DynamicObject},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::source::kubernetes::Failure;

/// An API server that is slower than this is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);
/// Objects in one page.
const PAGE: u32 = 500;

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// Only these; all if empty.
    pub(crate) namespaces: Vec<String>,
    /// Where the controller lives.
    pub(crate) own_namespace: String,
}

impl Cluster {
    /// What carries our labels. A kind that is not served has none.
    pub(crate) async fn ours(&self, kind: ManifestKind) -> Result<Vec<Value>, Failure> {
        let labels = format!("{MANAGED_BY}={MANAGER},{INSTANCE}={}", self.own_namespace);
        let params = ListParams::default().labels(&labels);
        let resource = resource(kind.group(), kind.version(), kind.as_str(), kind.plural());
        // Grants stand in the controller's own namespace.
        let own = [self.own_namespace.clone()];
        let namespaces = if kind == ManifestKind::ReferenceGrant {
            &own[..]
        } else {
            &self.namespaces
        };
        self.list(&resource, namespaces, &params).await
    }

    /// All EnvoyExtensionPolicies.
    pub(super) async fn extensions(&self) -> Result<Vec<Value>, Failure> {
        let kind = ManifestKind::EnvoyExtensionPolicy;
        let resource = resource(kind.group(), kind.version(), kind.as_str(), kind.plural());
        self.list(&resource, &self.namespaces, &ListParams::default())
            .await
    }

    /// Of each GatewayClass its controller.
    pub(super) async fn gateway_classes(&self) -> Result<BTreeMap<String, String>, Failure> {
        let resource = resource(
            "gateway.networking.k8s.io",
            "v1",
            "GatewayClass",
            "gatewayclasses",
        );
        let all = self.list(&resource, &[], &ListParams::default()).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let each = all.iter().map(|c| {
            (
                text(&c["metadata"]["name"]),
                text(&c["spec"]["controllerName"]),
            )
        });
        Ok(each.collect())
    }

    /// All HTTPRoutes and GRPCRoutes.
    pub(super) async fn routes(&self) -> Result<Vec<RouteFacts>, Failure> {
        let mut routes = Vec::new();
        for kind in [RouteKind::HttpRoute, RouteKind::GrpcRoute] {
            let resource = resource(kind.group(), "v1", kind.as_str(), kind.plural());
            let all = self
                .list(&resource, &self.namespaces, &ListParams::default())
                .await?;
            routes.extend(
                all.iter()
                    .filter(|o| !is_ours(o, &self.own_namespace))
                    .map(|o| facts(kind, o)),
            );
        }
        Ok(routes)
    }

    /// Addresses of the ready endpoints of a Service of the controller's own.
    pub(super) async fn endpoints(&self, service: &str) -> Result<Vec<String>, Failure> {
        let resource = resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
        let labels = format!("kubernetes.io/service-name={service}");
        let own = [self.own_namespace.clone()];
        let slices = self
            .list(&resource, &own, &ListParams::default().labels(&labels))
            .await?;
        let mut found = Vec::new();
        for slice in &slices {
            let port = slice["ports"][0]["port"].as_u64().unwrap_or_default();
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                let ready = endpoint["conditions"]["ready"].as_bool().unwrap_or(true);
                let address = endpoint["addresses"][0].as_str().filter(|_| ready);
                found.extend(address.map(|a| match a.contains(':') {
                    true => format!("[{a}]:{port}"),
                    false => format!("{a}:{port}"),
                }));
            }
        }
        Ok(found)
    }

    /// Whether somebody has an object of that name.
    pub(super) async fn exists(&self, manifest: &Manifest) -> Result<bool, Failure> {
        let api = self.api(manifest.kind, &manifest.namespace);
        Ok(patient(api.get_opt(&manifest.name)).await?.is_some())
    }

    /// Server-side. Changes what is there only as it was seen.
    pub(super) async fn apply(
        &self,
        manifest: &Manifest,
        held: Option<&Value>,
    ) -> Result<(), Failure> {
        let mut object = manifest.object.clone();
        if let Some(held) = held {
            object["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"].clone();
        }
        let api = self.api(manifest.kind, &manifest.namespace);
        // What is ours is ours: who edited it by hand loses.
        let params = PatchParams::apply(MANAGER).force();
        let done = patient(api.patch(&manifest.name, &params, &Patch::Apply(&object))).await;
        done.map(|_| ())
    }

    /// That very object.
    pub(super) async fn delete(
        &self,
        kind: ManifestKind,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<(), Failure> {
        let uid = object["metadata"]["uid"].as_str().map(str::to_owned);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: None,
                uid,
            }),
            ..DeleteParams::default()
        };
        match patient(self.api(kind, namespace).delete(name, &params)).await {
            Err(failure) if failure.is_not_found() => Ok(()),
            done => done.map(|_| ()),
        }
    }

    /// Puts ours on a policy, or takes it off.
    pub(super) async fn finalizer(
        &self,
        policy: &LatencyPolicy,
        wanted: bool,
    ) -> Result<(), Failure> {
        let mut finalizers: Vec<&str> = policy.finalizers().iter().map(String::as_str).collect();
        finalizers.retain(|f| *f != FINALIZER);
        if wanted {
            finalizers.push(FINALIZER);
        }
        let patch = json!({"metadata": {
            "resourceVersion": policy.metadata.resource_version, "finalizers": finalizers,
        }});
        let namespace = policy.namespace().unwrap_or_default();
        let api: Api<LatencyPolicy> = Api::namespaced(self.client.clone(), &namespace);
        let (name, params) = (policy.name_any(), PatchParams::default());
        match patient(api.patch(&name, &params, &Patch::Merge(&patch))).await {
            Err(failure) if !wanted && failure.is_not_found() => Ok(()),
            done => done.map(|_| ()),
        }
    }

    fn api(&self, kind: ManifestKind, namespace: &str) -> Api<DynamicObject> {
        let resource = resource(kind.group(), kind.version(), kind.as_str(), kind.plural());
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    async fn list(
        &self,
        resource: &ApiResource,
        namespaces: &[String],
        params: &ListParams,
    ) -> Result<Vec<Value>, Failure> {
        let client = || self.client.clone();
        let apis: Vec<Api<DynamicObject>> = match namespaces {
            [] => vec![Api::all_with(client(), resource)],
            some => some
                .iter()
                .map(|n| Api::namespaced_with(client(), n, resource))
                .collect(),
        };
        let mut all = Vec::new();
        for api in apis {
            let mut params = params.clone().limit(PAGE);
            loop {
                let page = match patient(api.list(&params)).await {
                    Err(failure) if failure.is_not_found() => break,
                    page => page?,
                };
                all.extend(page.items.iter().filter_map(value));
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params.continue_token = Some(token),
                    None => break,
                }
            }
        }
        Ok(all)
    }
}

fn value(object: &(impl Serialize + DeserializeOwned)) -> Option<Value> {
    serde_json::to_value(object).ok()
}

async fn patient<T>(asked: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failure::of(&error)),
        Err(_) => Err(Failure::slow(PATIENCE)),
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn facts(kind: RouteKind, object: &Value) -> RouteFacts {
    let meta = &object["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = text(&meta["namespace"]);
    let labels = meta["labels"].as_object().into_iter().flatten();
    let parents = object["spec"]["parentRefs"]
        .as_array()
        .into_iter()
        .flatten();
    let accepted = |parent: &Value| {
        let mut all = object["status"]["parents"].as_array().into_iter().flatten();
        all.any(|status| {
            let mut conditions = status["conditions"].as_array().into_iter().flatten();
            status["parentRef"]["name"] == parent["name"]
                && conditions.any(|c| c["type"] == "Accepted" && c["status"] == "True")
        })
    };
    RouteFacts {
        version: text(&meta["resourceVersion"]),
        labels: labels
            .map(|(key, value)| (key.clone(), text(value)))
            .collect(),
        plugins: meta["annotations"][PLUGINS].as_str().map(str::to_owned),
        parents: parents
            .filter(|p| p["kind"].is_null() || p["kind"] == "Gateway")
            .map(|p| Parent {
                namespace: p["namespace"]
                    .as_str()
                    .map_or_else(|| namespace.clone(), str::to_owned),
                name: text(&p["name"]),
                accepted: accepted(p),
            })
            .collect(),
        class: None,
        id: RouteId {
            kind,
            name: text(&meta["name"]),
            namespace,
        },
    }
}
