//! A controller with two gateways, each with a Service of its own.

use std::{fs, future::Future, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use gaugeway_controller::{
    Config, Controller, Ports,
    auth::{Keys, new_key},
    config::{HttpLimits, RecordingPolicy, SeriesLimits, Source, Tokens},
};
use gaugeway_rig::{
    Client, Exposition,
    client::{Answer, Request},
    wait::{PATIENCE, until},
};
use gaugeway_wire::{
    CodeClass, GatewayName, Label, Layout, MappingRequest, Outcome, Policy, ReportCall,
    RequestClass, Target, TargetKind,
    mapping::MappingAnswer,
    report::{ReportWriter, SeriesCounts},
    target::{TargetDefinition, names},
    units::{Nanos, Seq, UnixNanos, VmId},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

/// Any bytes do: nothing here runs the module.
pub(crate) const MODULE: &[u8] = b"\0asm\x01\0\0\0";
pub(crate) const OTHER_MODULE: &[u8] = b"\0asm\x01\0\0\0\0\x02\x01x";
pub(crate) const GATEWAY: &str = "shop/edge";
pub(crate) const OTHER: &str = "bank/edge";
/// Endpoint of Service `shop/cart`, which only [`GATEWAY`] routes to.
pub(crate) const CART: &str = "10.0.0.1:8080";
pub(crate) const VM: VmId = VmId([7; 16]);

/// A running controller with its directory.
pub(crate) struct Scene {
    pub(crate) dir: TempDir,
    pub(crate) ports: Ports,
    keys: Keys,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<()>>,
}

impl Scene {
    /// With default limits, ready.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let scene = Self::launch(change).await;
        scene.ready().await;
        scene
    }

    /// Perhaps not ready yet.
    pub(crate) async fn launch(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = new_key().unwrap();
        let manifests = dir.path().join("manifests");
        fs::create_dir(&manifests).unwrap();
        fs::write(
            manifests.join("shop.yaml"),
            objects("shop", "cart", "10.0.0.1"),
        )
        .unwrap();
        fs::write(
            manifests.join("bank.yaml"),
            objects("bank", "vault", "10.0.0.2"),
        )
        .unwrap();
        fs::write(dir.path().join("key"), &key).unwrap();
        let mut config = config(manifests, dir.path().join("key"));
        change(&mut config);
        let controller = Controller::start(config).await.unwrap();
        let ports = controller.ports();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(controller.serve(async {
            let _ = stopped.await;
        }));
        Self {
            dir,
            ports,
            keys: Keys::parse(&key).unwrap(),
            stop: Some(stop),
            running,
        }
    }

    async fn ready(&self) {
        let client = Client::new(self.ports.metrics);
        until("ready", PATIENCE, || async {
            let answer = client.send(Request::get("/readyz")).await?;
            ensure!(answer.status == 200, "{}", answer.text());
            Ok(())
        })
        .await
        .unwrap();
    }

    /// A configuration like its own.
    pub(crate) fn config(&self) -> Config {
        config(
            self.dir.path().join("manifests"),
            self.dir.path().join("key"),
        )
    }

    /// Begins to stop.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(self) {
        let stopped = tokio::time::timeout(PATIENCE, self.running).await;
        stopped.unwrap().unwrap().unwrap();
    }

    pub(crate) fn token(&self, gateway: &str) -> String {
        let gateway = GatewayName::try_new(gateway).unwrap();
        self.keys.token(&gateway).as_str().to_owned()
    }

    /// A call of [`GATEWAY`] on a connection of its own.
    pub(crate) async fn call(&self, path: &str, body: Vec<u8>) -> Result<Answer> {
        self.call_as(GATEWAY, &self.token(GATEWAY), path, body)
            .await
    }

    pub(crate) async fn call_as(
        &self,
        gateway: &str,
        token: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Answer> {
        Client::unpooled(self.ports.filters)
            .send(post(gateway, token, path, body))
            .await
    }

    pub(crate) async fn metrics(&self) -> Exposition {
        let answer = Client::unpooled(self.ports.metrics)
            .send(Request::get("/metrics"))
            .await
            .unwrap();
        Exposition::parse(&answer.text()).unwrap()
    }

    pub(crate) async fn rejected(&self, path: &str, reason: &str) -> f64 {
        let labels = [("path", path), ("reason", reason)];
        self.metrics()
            .await
            .sum("gaugeway_rejected_calls_total", &labels)
    }

    /// Requests of a Service.
    pub(crate) async fn requests(&self, service: &str) -> f64 {
        let labels = [("kubernetes_service", service)];
        self.metrics()
            .await
            .sum("gaugeway_upstream_requests_total", &labels)
    }

    /// Waits for a value of a metric.
    pub(crate) async fn until_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        until(name, PATIENCE, || async {
            let seen = self.metrics().await.sum(name, labels);
            ensure!(seen.total_cmp(&value).is_eq(), "{seen}");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Raw bytes of a head of a call of [`GATEWAY`].
    pub(crate) fn head(&self, path: &str, more: &str) -> String {
        let token = self.token(GATEWAY);
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nx-gaugeway-gateway: {GATEWAY}\r\nauthorization: Bearer {token}\r\n{more}\r\n"
        )
    }
}

pub(crate) fn post(gateway: &str, token: &str, path: &str, body: Vec<u8>) -> Request {
    Request::post(path, body)
        .header("x-gaugeway-gateway", gateway)
        .header("authorization", &format!("Bearer {token}"))
        .header("content-type", "application/x-protobuf")
}

/// Writes raw bytes and reads to the end of the connection; a reset ends it too.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // The server may close before it has read all.
    let _ = stream.write_all(bytes).await;
    read_to_end(&mut stream).await
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Result<String> {
    let mut read = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await;
    match end.context("the connection stays open")? {
        Err(error) if read.is_empty() => bail!("no answer: {error}"),
        _ => Ok(String::from_utf8_lossy(&read).into_owned()),
    }
}

/// Holds a future to [`PATIENCE`].
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}

pub(crate) fn subscribe(vm: VmId, keys: &[&str]) -> MappingRequest {
    MappingRequest {
        subscribe: keys.iter().map(|&key| key.to_owned()).collect(),
        ..MappingRequest::new(vm)
    }
}

pub(crate) fn encoded(request: &MappingRequest) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out);
    out
}

/// The one definition of an answer.
pub(crate) fn definition(answer: &[u8]) -> TargetDefinition<'_> {
    let answer = MappingAnswer::decode(answer).unwrap();
    let mut targets = answer.targets();
    let first = targets.next().unwrap();
    assert!(targets.next().is_none());
    first
}

/// A target as the controller makes it, without asking.
pub(crate) fn target(namespace: &str, service: &str) -> Target {
    let label = |name: &str, value: &str| Label {
        name: name.to_owned().into(),
        value: value.to_owned(),
    };
    let labels = vec![
        label(names::NAMESPACE, namespace),
        label(names::SERVICE, service),
    ];
    Target::try_new(TargetKind::Kubernetes, labels).unwrap()
}

/// A report of `count` requests that took 3 ms each.
pub(crate) fn report(vm: VmId, seq: u64, target: &Target, count: u64) -> Vec<u8> {
    let layout: Layout = Policy::default().layout();
    let from = UnixNanos(1_700_000_000_000_000_000);
    let mut writer = ReportWriter::new(Vec::new(), vm, Seq(seq), from, &layout);
    let took = Nanos::from_millis(3);
    let class = RequestClass {
        outcome: Outcome::Response,
        code: CodeClass::Success,
    };
    let index = gaugeway_wire::histogram::bucket_index(layout.schema, took).unwrap();
    let written = writer.series(SeriesCounts {
        target: target.fingerprint(),
        route: "",
        requests: [(class, count)].into_iter(),
        native: [(index, count)].into_iter(),
        classic: [(layout.bounds.position(took), count)].into_iter(),
        zero_count: 0,
        sum: Nanos(took.0 * count),
        retries: 0,
        aborted: 0,
        latency_unknown: 0,
        cancelled_wait: Nanos(0),
    });
    assert!(written);
    writer.finish(from.plus(Nanos::from_millis(5000)))
}

/// A call with a report and the definition of its target.
pub(crate) fn report_call(
    report: &[u8],
    target: &Target,
    mapping: Option<&MappingRequest>,
) -> Vec<u8> {
    let encoded = target.encode();
    let definition = TargetDefinition {
        fingerprint: target.fingerprint(),
        target: &encoded,
    };
    let mut out = Vec::new();
    ReportCall::encode(report, [definition].into_iter(), mapping, &mut out);
    out
}

fn config(manifests: PathBuf, key: PathBuf) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        source: Source::Manifests(manifests),
        filters_listen: any,
        filters_tls: None,
        wasm_listen: any,
        metrics_listen: any,
        api_listen: any,
        apis: None,
        state_dir: None,
        election: None,
        final_scrape: Duration::ZERO,
        tokens: Tokens::KeyFile(key),
        key_poll: Duration::from_millis(10),
        recording: RecordingPolicy::default(),
        series: SeriesLimits {
            max: 1000,
            expiry: Duration::from_secs(300),
        },
        filter_modules: &[MODULE, OTHER_MODULE],
        kong_metric: false,
        version: "0.0.0",
        http: HttpLimits::default(),
    }
}

fn objects(namespace: &str, service: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {service}, namespace: {namespace}}}
spec: {{ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [{ip}], conditions: {{ready: true}}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {service}, namespace: {namespace}}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]
"
    )
}
