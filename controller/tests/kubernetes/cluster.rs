//! A cluster to write objects into: the double, or a real one.

use std::{
    env,
    future::Future,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    panic::AssertUnwindSafe,
    path::PathBuf,
};

use futures::FutureExt as _;
use gaugeway_apiserver::ApiServer;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

/// See the module's documentation.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) kubeconfig: PathBuf,
    /// Of this story alone.
    pub(crate) namespace: String,
    double: Option<ApiServer>,
}

/// A real cluster is one for all stories, and a story's controller acts on all of it: one story at a time.
static REAL: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Tells a story in a cluster, and cleans up after it however it ends.
pub(crate) async fn story<F: Future<Output = ()>>(tell: impl FnOnce(std::sync::Arc<Cluster>) -> F) {
    let _alone = match real() {
        Some(_) => Some(REAL.lock().await),
        None => None,
    };
    let cluster = std::sync::Arc::new(Cluster::open().await);
    let told = AssertUnwindSafe(tell(std::sync::Arc::clone(&cluster)))
        .catch_unwind()
        .await;
    cluster.clean_up().await;
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

/// As [`story`], with what only a double can do. Left out against a real cluster.
pub(crate) async fn story_with_faults<F: Future<Output = ()>>(
    tell: impl FnOnce(std::sync::Arc<Cluster>) -> F,
) {
    if real().is_some() {
        eprintln!("SKIPPED against a real cluster: it cannot be made to fail");
        return;
    }
    story(tell).await;
}

/// As [`story`], with what no double pretends to.
pub(crate) async fn story_in_a_real_cluster<F: Future<Output = ()>>(
    tell: impl FnOnce(std::sync::Arc<Cluster>) -> F,
) {
    if real().is_none() {
        eprintln!("SKIPPED: set GAUGEWAY_TEST_KUBECONFIG to tell this in a real cluster");
        return;
    }
    story(tell).await;
}

fn real() -> Option<PathBuf> {
    env::var_os("GAUGEWAY_TEST_KUBECONFIG").map(PathBuf::from)
}

impl Cluster {
    async fn open() -> Self {
        let (double, kubeconfig) = match real() {
            Some(file) => (None, file),
            None => {
                let server = ApiServer::start().await.unwrap();
                let file = server.kubeconfig();
                (Some(server), file)
            }
        };
        let file = Kubeconfig::read_from(&kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await;
        let cluster = Self {
            client: Client::try_from(config.unwrap()).unwrap(),
            kubeconfig,
            namespace: format!("gaugeway-test-{:08x}", getrandom::u32().unwrap()),
            double,
        };
        cluster.apply(&namespace(&cluster.namespace)).await;
        cluster
    }

    async fn clean_up(&self) {
        if self.double.is_some() {
            return;
        }
        for name in crate::serving::VERSIONS {
            let registered = self.get("APIService", name).await.unwrap_or_default();
            if registered["spec"]["service"]["namespace"] == *self.namespace {
                self.delete("APIService", name).await;
            }
        }
        self.delete("Namespace", &self.namespace).await;
    }

    /// The double; stories that need it are told with [`story_with_faults`].
    pub(crate) fn double(&self) -> &ApiServer {
        self.double.as_ref().unwrap()
    }

    /// Of this machine, as an endpoint may have it: real clusters take no loopback addresses.
    pub(crate) fn own_address(&self) -> IpAddr {
        if self.is_double() {
            return Ipv4Addr::LOCALHOST.into();
        }
        // Nothing is sent: this only asks which address is used outwards.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).unwrap();
        socket.local_addr().unwrap().ip()
    }

    pub(crate) fn is_double(&self) -> bool {
        self.double.is_some()
    }

    /// The Gateway API's kinds, where they are not served already.
    pub(crate) async fn define_routes(&self) {
        for (kind, plural) in [("HTTPRoute", "httproutes"), ("GRPCRoute", "grpcroutes")] {
            self.define(&gaugeway_apiserver::crd(
                GATEWAY,
                &["v1"],
                kind,
                plural,
                true,
            ))
            .await;
        }
        let grants = gaugeway_apiserver::crd(
            GATEWAY,
            &["v1beta1"],
            "ReferenceGrant",
            "referencegrants",
            true,
        );
        self.define(&grants).await;
    }

    /// LatencyPolicies, and Gateways to attach them to.
    pub(crate) async fn define_policies(&self) {
        let gateways = gaugeway_apiserver::crd(GATEWAY, &["v1"], "Gateway", "gateways", true);
        self.define(&gateways).await;
        let classes =
            gaugeway_apiserver::crd(GATEWAY, &["v1"], "GatewayClass", "gatewayclasses", false);
        self.define(&classes).await;
        for crd in gaugeway_operator::crd::definitions() {
            self.define(&serde_json::to_value(crd).unwrap()).await;
        }
    }

    /// A kind of somebody else's that takes everything.
    pub(crate) async fn define_kind(&self, group: &str, version: &str, kind: &str, plural: &str) {
        let crd = gaugeway_apiserver::crd(group, &[version], kind, plural, true);
        self.define(&crd).await;
    }

    /// All of a kind in the story's namespace.
    pub(crate) async fn list(&self, kind: &str) -> anyhow::Result<Vec<Value>> {
        self.list_in(&self.namespace, kind).await
    }

    /// The same in another namespace.
    pub(crate) async fn list_in(&self, namespace: &str, kind: &str) -> anyhow::Result<Vec<Value>> {
        let place = json!({"kind": kind, "metadata": {"name": "", "namespace": namespace}});
        let all = self
            .api(&place)
            .0
            .list(&kube::api::ListParams::default())
            .await?;
        let each = all.items.iter().map(serde_json::to_value);
        Ok(each.collect::<Result<_, _>>()?)
    }

    /// As the cluster has it now.
    pub(crate) async fn get(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        let (api, name) = self.api(&json!({"kind": kind, "metadata": {"name": name}}));
        Ok(serde_json::to_value(api.get(&name).await?)?)
    }

    /// A CustomResourceDefinition, unless there is one.
    pub(crate) async fn define(&self, crd: &Value) {
        let api: Api<DynamicObject> =
            Api::all_with(self.client.clone(), &resource("CustomResourceDefinition"));
        let object = serde_json::from_value(crd.clone()).unwrap();
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{error}"),
        }
        let served = &crd["spec"];
        let version = served["versions"][0]["name"].as_str().unwrap();
        let group_version = format!("{}/{version}", served["group"].as_str().unwrap());
        let plural = served["names"]["plural"].as_str().unwrap();
        gaugeway_rig::wait::until(
            "its kind is served",
            gaugeway_rig::wait::PATIENCE,
            || async {
                let list = self.client.list_api_group_resources(&group_version).await?;
                anyhow::ensure!(list.resources.iter().any(|r| r.name == plural));
                Ok(())
            },
        )
        .await
        .unwrap();
    }

    /// Creates it or merges into it; its status too. The namespace is the story's where it has none.
    pub(crate) async fn apply(&self, object: &Value) -> Value {
        let (api, name) = self.api(object);
        let sent: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let mut result = match api.create(&PostParams::default(), &sent).await {
            // A change alone is not valid by itself where the real definitions are installed.
            Err(kube::Error::Api(status)) if [409, 422].contains(&status.code) => {
                let mut change = object.clone();
                // Of a Pod hardly anything else may change.
                if object["kind"] == "Pod" {
                    change = json!({"metadata": object["metadata"]});
                }
                api.patch(&name, &PatchParams::default(), &Patch::Merge(&change))
                    .await
            }
            result => result,
        };
        if !object["status"].is_null() {
            let status = json!({"status": object["status"]});
            result = api
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
                .await;
        }
        serde_json::to_value(result.unwrap()).unwrap()
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        let object = json!({"kind": kind, "metadata": {"name": name}});
        let (api, name) = self.api(&object);
        let _ = api.delete(&name, &DeleteParams::default()).await.unwrap();
    }

    fn api(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let kind = object["kind"].as_str().unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or(&self.namespace);
        let (client, mut resource) = (self.client.clone(), resource(kind));
        // Of kinds with several versions an object says its own.
        if let Some(version) = object["apiVersion"].as_str() {
            version.clone_into(&mut resource.api_version);
            let version = version.rsplit('/').next().unwrap();
            version.clone_into(&mut resource.version);
        }
        let api = match kind {
            "Namespace"
            | "CustomResourceDefinition"
            | "IngressClass"
            | "GatewayClass"
            | "APIService" => Api::all_with(client, &resource),
            _ => Api::namespaced_with(client, namespace, &resource),
        };
        (api, name)
    }
}

const GATEWAY: &str = "gateway.networking.k8s.io";
const KONG: &str = crate::kong_objects::GROUP;

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "Namespace" => ("", "v1", "namespaces"),
        "Service" => ("", "v1", "services"),
        "Pod" => ("", "v1", "pods"),
        "Secret" => ("", "v1", "secrets"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        "Role" => ("rbac.authorization.k8s.io", "v1", "roles"),
        "RoleBinding" => ("rbac.authorization.k8s.io", "v1", "rolebindings"),
        "APIService" => ("apiregistration.k8s.io", "v1", "apiservices"),
        "Lease" => ("coordination.k8s.io", "v1", "leases"),
        "ReplicaSet" => ("apps", "v1", "replicasets"),
        "Deployment" => ("apps", "v1", "deployments"),
        "HorizontalPodAutoscaler" => ("autoscaling", "v2", "horizontalpodautoscalers"),
        "StatefulSet" => ("apps", "v1", "statefulsets"),
        "EndpointSlice" => ("discovery.k8s.io", "v1", "endpointslices"),
        "Ingress" => ("networking.k8s.io", "v1", "ingresses"),
        "IngressClass" => ("networking.k8s.io", "v1", "ingressclasses"),
        "DataPlaneMetricsExtension" => (KONG, "v1alpha1", "dataplanemetricsextensions"),
        "ControlPlane" => (KONG, "v2beta1", "controlplanes"),
        "GatewayConfiguration" => (KONG, "v2beta1", "gatewayconfigurations"),
        "LatencyPolicy" => ("gaugeway.dev", "v1alpha1", "latencypolicies"),
        "Gateway" => (GATEWAY, "v1", "gateways"),
        "GatewayClass" => (GATEWAY, "v1", "gatewayclasses"),
        "KongPlugin" => ("configuration.konghq.com", "v1", "kongplugins"),
        "DataPlane" => ("gateway-operator.konghq.com", "v1beta1", "dataplanes"),
        "WasmPlugin" => ("extensions.istio.io", "v1alpha1", "wasmplugins"),
        "EnvoyPatchPolicy" => ("gateway.envoyproxy.io", "v1alpha1", "envoypatchpolicies"),
        "EnvoyExtensionPolicy" => (
            "gateway.envoyproxy.io",
            "v1alpha1",
            "envoyextensionpolicies",
        ),
        "HTTPRoute" => (GATEWAY, "v1", "httproutes"),
        "GRPCRoute" => (GATEWAY, "v1", "grpcroutes"),
        "ReferenceGrant" => (GATEWAY, "v1beta1", "referencegrants"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
        other => panic!("{other}: which resource is that?"),
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        },
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}
