//! What is asked of the API server, each with a bound on the wait. What each round asks is asked once and then watched,
//! see [`Lists`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
    core::DynamicObject,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::source::kubernetes::{Discovery, Failure, Keep, Lists, Served, Which};

/// An API server that is slower than this is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);
/// Objects in one page.
const PAGE: u32 = 500;

const SERVICES: Served = core("Service", "services");
const PODS: Served = core("Pod", "pods");
const ENDPOINT_SLICES: Served = Served {
    group: "discovery.k8s.io",
    versions: &["v1"],
    kind: "EndpointSlice",
    plural: "endpointslices",
};
const GATEWAY_CLASSES: Served = Served {
    group: "gateway.networking.k8s.io",
    versions: &["v1"],
    kind: "GatewayClass",
    plural: "gatewayclasses",
};
const DATA_PLANES: Served = Served {
    group: "gateway-operator.konghq.com",
    versions: &["v1beta1"],
    kind: "DataPlane",
    plural: "dataplanes",
};

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// Only these; all if empty.
    pub(crate) namespaces: Vec<String>,
    /// Where the controller lives.
    pub(crate) own_namespace: String,
    /// `None` for who asks the API server itself each time.
    pub(crate) watched: Option<Watched>,
}

/// What is asked again and again.
#[derive(Clone)]
pub(crate) struct Watched {
    /// What of it there can be.
    pub(crate) discovery: Discovery,
    /// As JSON: read, it takes many times the room.
    pub(crate) objects: Lists<Arc<str>>,
    pub(crate) routes: Lists<RouteFacts>,
}

impl Cluster {
    /// As the API server says now.
    pub(super) fn unwatched(&self) -> Self {
        Self {
            watched: None,
            ..self.clone()
        }
    }

    /// What carries our labels. A kind that is not served has none.
    pub(crate) async fn ours(&self, kind: ManifestKind) -> Result<Vec<Value>, Failure> {
        // Grants stand in the controller's own namespace.
        let places = match kind {
            ManifestKind::ReferenceGrant => vec![Some(self.own_namespace.clone())],
            _ => self.places(),
        };
        let mut all = Vec::new();
        for place in places {
            all.extend(self.values(&self.which_ours(kind, place)).await?);
        }
        all.retain(|object| is_ours(object, &self.own_namespace));
        Ok(all)
    }

    fn which_ours(&self, kind: ManifestKind, namespace: Option<String>) -> Which {
        let labels = format!("{MANAGED_BY}={MANAGER},{INSTANCE}={}", self.own_namespace);
        Which {
            served: of_manifest(kind),
            namespace,
            // Of these all are looked at, see `extensions`.
            labels: (kind != ManifestKind::EnvoyExtensionPolicy).then_some(labels),
        }
    }

    /// All EnvoyExtensionPolicies.
    pub(super) async fn extensions(&self) -> Result<Vec<Value>, Failure> {
        self.everywhere(of_manifest(ManifestKind::EnvoyExtensionPolicy))
            .await
    }

    /// Of each GatewayClass its controller.
    pub(super) async fn gateway_classes(&self) -> Result<BTreeMap<String, String>, Failure> {
        let all = self.values(&Which::all(GATEWAY_CLASSES, None)).await?;
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
            for place in self.places() {
                routes.extend(self.routes_of(kind, place).await?);
            }
        }
        Ok(routes)
    }

    async fn routes_of(
        &self,
        kind: RouteKind,
        place: Option<String>,
    ) -> Result<Vec<RouteFacts>, Failure> {
        let which = Which::all(of_route(kind), place);
        let lists = self.watched.as_ref().map(|watched| &watched.routes);
        if let Some(routes) = lists.and_then(|lists| lists.all(&which)) {
            return Ok(routes);
        }
        let keep = self.keep_route(kind);
        let Some(listed) = self.list(&which).await? else {
            return Ok(Vec::new());
        };
        let routes = listed.iter().filter_map(&keep).collect();
        if let Some(lists) = lists {
            lists.follow(&which, keep);
        }
        Ok(routes)
    }

    fn keep_route(&self, kind: RouteKind) -> Keep<RouteFacts> {
        let own = self.own_namespace.clone();
        Box::new(move |object| (!is_ours(object, &own)).then(|| RouteFacts::of(kind, object)))
    }

    /// Changes a route's annotation as it is now: somebody else's edit meanwhile is met again. `route` is how it was seen.
    /// False if there was nothing to change.
    pub(super) async fn rename(
        &self,
        change: &Change,
        route: Option<&RouteFacts>,
        tries: u32,
    ) -> Result<bool, Failure> {
        let RouteId {
            kind,
            namespace,
            name,
        } = &change.route;
        let served = of_route(*kind);
        let api = self.api(served, namespace);
        let mut seen = route.cloned();
        for left in (0..tries).rev() {
            let Some(route) = &seen else {
                return Ok(false);
            };
            let value = match change.edit(route.plugins.as_deref()) {
                Edit::None => return Ok(false),
                Edit::Set(value) => json!(value),
                Edit::Remove => Value::Null,
            };
            let patch = json!({"metadata": {
                "resourceVersion": route.version, "annotations": {PLUGINS: value},
            }});
            let params = PatchParams::default();
            match patient(api.patch(name, &params, &Patch::Merge(&patch))).await {
                Err(failure) if failure.is_conflict() && left > 0 => {
                    let found = self.named(served, namespace, name).await?;
                    seen = found.map(|o| RouteFacts::of(*kind, &o));
                }
                Err(failure) if failure.is_not_found() => return Ok(false),
                done => {
                    self.note_route(*kind, &done?);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn note_route(&self, kind: RouteKind, object: &DynamicObject) {
        let kept = value(object).and_then(|object| self.keep_route(kind)(&object));
        if let Some(watched) = &self.watched {
            let place = object.namespace().filter(|_| !self.namespaces.is_empty());
            let which = Which::all(of_route(kind), place);
            watched.routes.note(&which, object, kept);
        }
    }

    pub(super) async fn service(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Failure> {
        self.named(SERVICES, namespace, name).await
    }

    pub(super) async fn services(&self) -> Result<Vec<Value>, Failure> {
        self.everywhere(SERVICES).await
    }

    /// Those that Kong's operator made for traffic.
    pub(super) async fn traffic_services(&self, namespace: &str) -> Result<Vec<Value>, Failure> {
        let labels = format!("{SERVICE_TYPE}={INGRESS_TYPE}");
        self.few(SERVICES, namespace, Some(labels)).await
    }

    pub(super) async fn data_planes(&self, namespace: &str) -> Result<Vec<Value>, Failure> {
        self.few(DATA_PLANES, namespace, None).await
    }

    pub(super) async fn pods_of(
        &self,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<Value>, Failure> {
        self.few(PODS, namespace, Some(labels.to_owned())).await
    }

    /// One object, by a list: who may list all need not be granted to get each.
    async fn named(
        &self,
        served: Served,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Failure> {
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        match patient(self.api(served, namespace).list(&params)).await {
            Err(failure) if failure.is_not_found() => Ok(None),
            found => Ok(found?.items.first().and_then(value)),
        }
    }

    /// Addresses of the ready endpoints of a Service of the controller's own.
    pub(super) async fn endpoints(&self, service: &str) -> Result<Vec<String>, Failure> {
        let which = Which {
            served: ENDPOINT_SLICES,
            namespace: Some(self.own_namespace.clone()),
            labels: Some(format!("kubernetes.io/service-name={service}")),
        };
        let slices = self.values(&which).await?;
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

    pub(super) async fn takes(&self, kind: ManifestKind) -> Result<bool, Failure> {
        self.serves(&of_manifest(kind)).await
    }

    /// The object of that name, whoever's it is.
    pub(super) async fn get(&self, manifest: &Manifest) -> Result<Option<Value>, Failure> {
        let api = self.api(of_manifest(manifest.kind), &manifest.namespace);
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
        let api = self.api(of_manifest(manifest.kind), &manifest.namespace);
        // What is ours is ours: who edited it by hand loses.
        let mut params = PatchParams::apply(MANAGER).force();
        params.dry_run = dry_run;
        let done = patient(api.patch(&manifest.name, &params, &Patch::Apply(&object))).await?;
        if !dry_run {
            self.note(manifest.kind, &done);
        }
        Ok(())
    }

    fn note(&self, kind: ManifestKind, object: &DynamicObject) {
        if let Some(watched) = &self.watched {
            let all = self.namespaces.is_empty() && kind != ManifestKind::ReferenceGrant;
            let which = self.which_ours(kind, object.namespace().filter(|_| !all));
            let kept = value(object).and_then(|object| keep(&object));
            watched.objects.note(&which, object, kept);
        }
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
        match patient(self.api(of_manifest(kind), namespace).delete(name, &params)).await {
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

    fn api(&self, served: Served, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &served.resource())
    }

    /// Each namespace, or `None` for all.
    fn places(&self) -> Vec<Option<String>> {
        match &*self.namespaces {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        }
    }

    async fn everywhere(&self, served: Served) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        for place in self.places() {
            all.extend(self.values(&Which::all(served, place)).await?);
        }
        Ok(all)
    }

    /// From a watch where there is one; else asked for, and watched from then on. A kind that is not served has none.
    async fn values(&self, which: &Which) -> Result<Vec<Value>, Failure> {
        let lists = self.watched.as_ref().map(|watched| &watched.objects);
        if let Some(texts) = lists.and_then(|lists| lists.all(which)) {
            let read = texts.iter().map(|text| serde_json::from_str(text));
            return Ok(read.filter_map(Result::ok).collect());
        }
        let Some(listed) = self.list(which).await? else {
            return Ok(Vec::new());
        };
        if let Some(lists) = lists {
            lists.follow(which, Box::new(keep));
        }
        Ok(listed)
    }

    /// Some of one namespace, by which there may be any number of questions: never watched.
    async fn few(
        &self,
        served: Served,
        namespace: &str,
        labels: Option<String>,
    ) -> Result<Vec<Value>, Failure> {
        let which = Which {
            served,
            namespace: Some(namespace.to_owned()),
            labels,
        };
        Ok(self.list(&which).await?.unwrap_or_default())
    }

    /// `None` where the kind is not served.
    async fn list(&self, which: &Which) -> Result<Option<Vec<Value>>, Failure> {
        if !self.serves(&which.served).await? {
            return Ok(None);
        }
        let (client, resource) = (self.client.clone(), which.served.resource());
        let api: Api<DynamicObject> = match &which.namespace {
            None => Api::all_with(client, &resource),
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        };
        let mut params = ListParams::default().limit(PAGE);
        params.label_selector.clone_from(&which.labels);
        let mut all = Vec::new();
        loop {
            let page = match patient(api.list(&params)).await {
                Err(failure) if failure.is_not_found() => {
                    self.forget().await;
                    return Ok(None);
                }
                page => page?,
            };
            all.extend(page.items.iter().filter_map(value));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(Some(all)),
            }
        }
    }

    /// Whether it is worth asking: who asks the API server itself each time hears it there.
    async fn serves(&self, served: &Served) -> Result<bool, Failure> {
        match &self.watched {
            Some(watched) if !served.group.is_empty() => {
                Ok(watched.discovery.find(served).await?.is_some())
            }
            _ => Ok(true),
        }
    }

    async fn forget(&self) {
        if let Some(watched) = &self.watched {
            watched.discovery.forget().await;
        }
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

fn keep(object: &Value) -> Option<Arc<str>> {
    Some(object.to_string().into())
}

const fn core(kind: &'static str, plural: &'static str) -> Served {
    Served {
        group: "",
        versions: &["v1"],
        kind,
        plural,
    }
}

fn of_route(kind: RouteKind) -> Served {
    Served {
        group: kind.group(),
        versions: &["v1"],
        kind: kind.as_str(),
        plural: kind.plural(),
    }
}

fn of_manifest(kind: ManifestKind) -> Served {
    Served {
        group: kind.group(),
        versions: kind.versions(),
        kind: kind.as_str(),
        plural: kind.plural(),
    }
}
