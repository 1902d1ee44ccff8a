//! A controller that watches a cluster, and questions to it as a filter and a scraper ask them.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Result, ensure};
use gaugeway_controller::{
    Config, Controller, Ports,
    config::{
        Cluster, Dimension, HttpLimits, Pace, RecordingPolicy, SeriesLimits, Services, Shown,
        Source, Tokens,
    },
};
use gaugeway_rig::{
    Client, Exposition,
    client::{Answer, Request},
    wait::{PATIENCE, until},
};
use gaugeway_wire::{
    CodeClass, Label, MappingRequest, Nanos, Outcome, Policy, ReportCall, RequestClass, Seq,
    Target, TargetDefinition, TargetKind, UnixNanos, VmId,
    histogram::{bucket_index, classic_position},
    mapping::MappingAnswer,
    report::{ReportWriter, SeriesCounts},
    target::names,
};
use tokio::{sync::oneshot, task::JoinHandle};

/// So many, until then, within 5 s.
#[derive(Clone, Copy)]
pub(crate) struct Requests {
    pub(crate) count: u64,
    pub(crate) took: Nanos,
    pub(crate) until: UnixNanos,
}

/// A running controller.
pub(crate) struct Stage {
    ports: Ports,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<()>>,
}

impl Stage {
    /// Ready.
    pub(crate) async fn start(kubeconfig: &Path) -> Self {
        let stage = Self::launch(kubeconfig, &[]).await;
        stage.ready().await;
        stage
    }

    /// Perhaps not ready yet.
    pub(crate) async fn launch(kubeconfig: &Path, namespaces: &[&str]) -> Self {
        Self::launch_with(kubeconfig, namespaces, |_| {}).await
    }

    pub(crate) async fn launch_with(
        kubeconfig: &Path,
        namespaces: &[&str],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let pace = Pace {
            discovery: Duration::from_millis(50),
            retry: Duration::from_millis(20),
            retry_most: Duration::from_millis(100),
            status: Duration::from_millis(50),
        };
        let source = Source::Kubernetes(Cluster {
            kubeconfig: Some(kubeconfig.to_owned()),
            namespaces: namespaces.iter().map(|n| (*n).to_owned()).collect(),
            own_namespace: None,
            cluster_domain: None,
            kong_extensions: false,
            deploying: None,
            pace,
        });
        let mut config = config(source);
        change(&mut config);
        let controller = Controller::start(config).await.unwrap();
        let ports = controller.ports();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(controller.serve(async {
            let _ = stopped.await;
        }));
        Self {
            ports,
            stop: Some(stop),
            running,
        }
    }

    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> Result<()> {
        tokio::time::timeout(PATIENCE, self.running).await??
    }

    pub(crate) async fn ready(&self) {
        until("ready", PATIENCE, || async {
            let (status, text) = self.readiness().await?;
            ensure!(status == 200, "{text}");
            Ok(())
        })
        .await
        .unwrap();
    }

    pub(crate) async fn readiness(&self) -> Result<(u16, String)> {
        let answer = Client::unpooled(self.ports.metrics)
            .send(Request::get("/readyz"))
            .await?;
        Ok((answer.status, answer.text()))
    }

    /// Where Prometheus scrapes.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.ports.metrics
    }

    pub(crate) async fn metrics(&self) -> Result<Exposition> {
        let request = Request::get("/metrics");
        Exposition::parse(
            &Client::unpooled(self.ports.metrics)
                .send(request)
                .await?
                .text(),
        )
    }

    /// Value of an own metric; 0 where it is not shown.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        Ok(self.metrics().await?.sum(name, labels))
    }

    /// Whose an upstream address (or `cluster:` name) is for a gateway: per candidate the labels' values in the order of
    /// their names.
    pub(crate) async fn owners(&self, gateway: &str, key: &str) -> Result<Vec<String>> {
        let mut request = MappingRequest::new(VmId(
            getrandom::u64()?
                .to_be_bytes()
                .repeat(2)
                .try_into()
                .unwrap(),
        ));
        request.subscribe = vec![key.to_owned()];
        request.no_wait = true;
        let mut body = Vec::new();
        request.encode(&mut body);
        let call = Request::post("/v1/mapping", body)
            .header("content-type", "application/x-protobuf")
            .header("x-gaugeway-gateway", gateway);
        let answer = Client::unpooled(self.ports.filters).send(call).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let answer = MappingAnswer::decode(&answer.body)?;
        let targets: Vec<_> = answer.targets().collect();
        let mut owners = Vec::new();
        for candidate in answer
            .entries()
            .flat_map(|e| e.candidates().collect::<Vec<_>>())
        {
            let target = targets
                .iter()
                .find(|t| t.fingerprint == candidate.target)
                .unwrap();
            let target = Target::decode(target.target)?;
            let values: Vec<_> = target.labels().iter().map(|l| l.value.as_str()).collect();
            owners.push(values.join(" "));
        }
        Ok(owners)
    }

    /// Reports a request of 3 ms to a Service.
    pub(crate) async fn report(&self, gateway: &str, namespace: &str, service: &str) -> Result<()> {
        let id = getrandom::u64()?.to_be_bytes().repeat(2);
        let vm = VmId(id.try_into().unwrap());
        let answer = self.report_as(vm, 1, gateway, namespace, service).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(())
    }

    /// The same, as report number `seq` of a worker VM, whatever the answer.
    pub(crate) async fn report_as(
        &self,
        vm: VmId,
        seq: u64,
        gateway: &str,
        namespace: &str,
        service: &str,
    ) -> Result<Answer> {
        let requests = Requests {
            count: 1,
            took: Nanos::from_millis(3),
            until: UnixNanos(1_700_000_005_000_000_000),
        };
        self.report_of(requests, (vm, seq), gateway, namespace, service)
            .await
    }

    /// The same of any requests.
    pub(crate) async fn report_of(
        &self,
        requests: Requests,
        of: (VmId, u64),
        gateway: &str,
        namespace: &str,
        service: &str,
    ) -> Result<Answer> {
        let target = target(namespace, service, None)?;
        self.report_on(requests, of, gateway, &[target]).await
    }

    /// The same, so many to each of these targets.
    pub(crate) async fn report_on(
        &self,
        Requests { count, took, until }: Requests,
        (vm, seq): (VmId, u64),
        gateway: &str,
        targets: &[Target],
    ) -> Result<Answer> {
        let layout = Policy::default().layout();
        let from = until.minus(Nanos::from_millis(5000));
        let class = RequestClass {
            outcome: Outcome::Response,
            code: CodeClass::Success,
        };
        let mut writer = ReportWriter::new(Vec::new(), vm, Seq(seq), from, &layout);
        for target in targets {
            let written = count == 0
                || writer.series(SeriesCounts {
                    target: target.fingerprint(),
                    route: "",
                    requests: [(class, count)].into_iter(),
                    native: bucket_index(layout.schema, took)
                        .map(|at| (at, count))
                        .into_iter(),
                    classic: [(classic_position(&layout.bounds, took), count)].into_iter(),
                    zero_count: 0,
                    sum: Nanos(took.0 * count),
                    retries: 0,
                    aborted: 0,
                    latency_unknown: 0,
                    cancelled_wait: Nanos(0),
                });
            ensure!(written);
        }
        let report = writer.finish(until);
        let encoded: Vec<_> = targets
            .iter()
            .map(|of| (of.fingerprint(), of.encode()))
            .collect();
        let definitions = encoded
            .iter()
            .map(|(fingerprint, target)| TargetDefinition {
                fingerprint: *fingerprint,
                target,
            });
        let mut body = Vec::new();
        ReportCall::encode(&report, definitions, None, &mut body);
        let call = Request::post("/v1/report", body)
            .header("content-type", "application/x-protobuf")
            .header("x-gaugeway-gateway", gateway);
        Client::unpooled(self.ports.filters).send(call).await
    }

    /// Waits until a key's owners are these.
    pub(crate) async fn until_owners(&self, gateway: &str, key: &str, expected: &[&str]) {
        until(
            &format!("{key} belongs to {expected:?}"),
            PATIENCE,
            || async {
                let owners = self.owners(gateway, key).await?;
                ensure!(owners == expected, "{owners:?}");
                Ok(())
            },
        )
        .await
        .unwrap();
    }

    /// As a SIGKILL: nothing is finished.
    pub(crate) async fn kill(self) {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        let stopped = tokio::time::timeout(PATIENCE, self.running).await;
        stopped.unwrap().unwrap().unwrap();
    }
}

/// A Service's requests, or those of one of its Pods.
pub(crate) fn target(namespace: &str, service: &str, pod: Option<&str>) -> Result<Target> {
    let label = |(name, value): (&str, &str)| Label {
        name: name.to_owned().into(),
        value: value.to_owned(),
    };
    let whole = [(names::NAMESPACE, namespace), (names::SERVICE, service)];
    let labels = whole.into_iter().chain(pod.map(|pod| (names::POD, pod)));
    Ok(Target::try_new(
        TargetKind::Kubernetes,
        labels.map(label).collect(),
    )?)
}

fn config(source: Source) -> Config {
    use Dimension::{Pod, Port, Workload};
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        source,
        filters_listen: any,
        filters_tls: None,
        wasm_listen: any,
        metrics_listen: any,
        api_listen: any,
        apis: None,
        state_dir: None,
        election: None,
        final_scrape: Duration::ZERO,
        tokens: Tokens::Insecure,
        key_poll: Duration::from_secs(1),
        recording: RecordingPolicy {
            services: Services::Every(Shown {
                dimensions: [Port, Pod, Workload].into_iter().collect(),
                ..Shown::default()
            }),
            ..RecordingPolicy::default()
        },
        series: SeriesLimits {
            max: 1000,
            expiry: Duration::from_secs(300),
        },
        filter_modules: &[b"\0asm\x01\0\0\0"],
        kong_metric: false,
        version: "0.0.0",
        http: HttpLimits::default(),
    }
}
