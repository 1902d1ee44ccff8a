//! What is asked of the API server, each with a bound on the wait.

use std::{collections::BTreeMap, time::Duration};

use gaugeway_operator::{
    crd::LatencyPolicy,
    deploy::{
        Change, Edit, FINALIZER, INGRESS_TYPE, INSTANCE, MANAGED_BY, MANAGER, Manifest,
        ManifestKind, PLUGINS, RouteFacts, RouteId, RouteKind, SERVICE_TYPE, is_ours,
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

    /// All HTTPRoutes and GRPCRoutes, and if asked for Ingresses. Not the routes that are ours.
    pub(crate) async fn routes(&self, ingresses: bool) -> Result<Vec<RouteFacts>, Failure> {
        let mut routes = Vec::new();
        let kinds = [
            RouteKind::HttpRoute,
            RouteKind::GrpcRoute,
            RouteKind::Ingress,
        ];
        for kind in kinds {
            if kind == RouteKind::Ingress && !ingresses {
                continue;
            }
            let params = ListParams::default();
            let all = self
                .list(&of_route(kind), &self.namespaces, &params)
                .await?;
            let theirs = all.iter().filter(|o| !is_ours(o, &self.own_namespace));
            routes.extend(theirs.map(|o| RouteFacts::of(kind, o)));
        }
        Ok(routes)
    }

    /// Changes a route's annotation as it is now: somebody else's edit meanwhile is met again. `route` is how it was seen.
    pub(super) async fn rename(
        &self,
        change: &Change,
        route: Option<&RouteFacts>,
        tries: u32,
    ) -> Result<(), Failure> {
        let RouteId {
            kind,
            namespace,
            name,
        } = &change.route;
        let resource = of_route(*kind);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let mut seen = route.cloned();
        for left in (0..tries).rev() {
            let Some(route) = &seen else {
                return Ok(());
            };
            let value = match change.edit(route.plugins.as_deref()) {
                Edit::None => return Ok(()),
                Edit::Set(value) => json!(value),
                Edit::Remove => Value::Null,
            };
            let patch = json!({"metadata": {
                "resourceVersion": route.version, "annotations": {PLUGINS: value},
            }});
            let params = PatchParams::default();
            match patient(api.patch(name, &params, &Patch::Merge(&patch))).await {
                Err(failure) if failure.is_conflict() && left > 0 => {
                    let found = self.named(&resource, namespace, name).await?;
                    seen = found.map(|o| RouteFacts::of(*kind, &o));
                }
                Err(failure) if failure.is_not_found() => return Ok(()),
                done => return done.map(|_| ()),
            }
        }
        Ok(())
    }

    pub(super) async fn service(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Failure> {
        self.named(&core("Service", "services"), namespace, name)
            .await
    }

    pub(super) async fn services(&self) -> Result<Vec<Value>, Failure> {
        let resource = core("Service", "services");
        self.list(&resource, &self.namespaces, &ListParams::default())
            .await
    }

    /// Those that Kong's operator made for traffic.
    pub(super) async fn traffic_services(&self, namespace: &str) -> Result<Vec<Value>, Failure> {
        let labels = format!("{SERVICE_TYPE}={INGRESS_TYPE}");
        let params = ListParams::default().labels(&labels);
        self.list(
            &core("Service", "services"),
            &[namespace.to_owned()],
            &params,
        )
        .await
    }

    pub(super) async fn data_planes(&self, namespace: &str) -> Result<Vec<Value>, Failure> {
        let group = "gateway-operator.konghq.com";
        let resource = resource(group, "v1beta1", "DataPlane", "dataplanes");
        self.list(&resource, &[namespace.to_owned()], &ListParams::default())
            .await
    }

    pub(super) async fn pods_of(
        &self,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<Value>, Failure> {
        let params = ListParams::default().labels(labels);
        self.list(&core("Pod", "pods"), &[namespace.to_owned()], &params)
            .await
    }

    /// One object, by a list: who may list all need not be granted to get each.
    async fn named(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Failure> {
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = self
            .list(resource, &[namespace.to_owned()], &params)
            .await?;
        Ok(found.into_iter().next())
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

    /// The object of that name, whoever's it is.
    pub(super) async fn get(&self, manifest: &Manifest) -> Result<Option<Value>, Failure> {
        let api = self.api(manifest.kind, &manifest.namespace);
        let found = patient(api.get_opt(&manifest.name)).await?;
        Ok(found.as_ref().and_then(value))
    }

    /// Server-side. Changes what is there only as it was seen; with `dry_run` nothing.
    pub(super) async fn apply(
        &self,
        manifest: &Manifest,
        held: Option<&Value>,
        dry_run: bool,
    ) -> Result<(), Failure> {
        let mut object = manifest.object.clone();
        if let Some(held) = held {
            object["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"].clone();
        }
        let api = self.api(manifest.kind, &manifest.namespace);
        // What is ours is ours: who edited it by hand loses.
        let mut params = PatchParams::apply(MANAGER).force();
        params.dry_run = dry_run;
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

    /// Puts ours on a policy, or takes it off. Its status is written by others at the same time: then it is read again.
    pub(super) async fn finalizer(
        &self,
        policy: &LatencyPolicy,
        wanted: bool,
        tries: u32,
    ) -> Result<(), Failure> {
        let namespace = policy.namespace().unwrap_or_default();
        let api: Api<LatencyPolicy> = Api::namespaced(self.client.clone(), &namespace);
        let (name, params) = (policy.name_any(), PatchParams::default());
        let mut seen = policy.clone();
        for left in (0..tries).rev() {
            let patch = with_finalizer(&seen, wanted);
            match patient(api.patch(&name, &params, &Patch::Merge(&patch))).await {
                Err(failure) if !wanted && failure.is_not_found() => return Ok(()),
                Err(failure) if failure.is_conflict() && left > 0 => {
                    let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
                    let found = patient(api.list(&by_name)).await?.items.into_iter().next();
                    match found.filter(|o| o.metadata.uid == policy.metadata.uid) {
                        Some(found) => seen = found,
                        // Another one of that name is another matter.
                        None if wanted => return Err(failure),
                        None => return Ok(()),
                    }
                }
                done => return done.map(|_| ()),
            }
        }
        Ok(())
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

fn with_finalizer(policy: &LatencyPolicy, wanted: bool) -> Value {
    let mut finalizers: Vec<&str> = policy.finalizers().iter().map(String::as_str).collect();
    finalizers.retain(|f| *f != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER);
    }
    json!({"metadata": {
        "resourceVersion": policy.metadata.resource_version, "finalizers": finalizers,
    }})
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

fn of_route(kind: RouteKind) -> ApiResource {
    resource(kind.group(), "v1", kind.as_str(), kind.plural())
}

fn core(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        api_version: "v1".to_owned(),
        ..resource("", "v1", kind, plural)
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
