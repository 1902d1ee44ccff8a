//! Requests sent = requests counted, per Service and per Pod.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    AccessLine, Act, Backend, Client, Cluster, EnvoyOptions, Exposition, Gateway, GatewayConfig,
    Latency, Load, Route, Script, Upstream, client::Request, oracle::quantile,
};

use crate::{counts::Counts, manifests::cluster_name, stage::Stage};

const TOTAL: u64 = 1200;

/// `canary` and `stable` share the route `/split`, `alone` has `/alone`; `stable` has two Pods.
struct Shop {
    stage: Stage,
    pods: Vec<(&'static str, &'static str, Upstream)>,
}

impl Shop {
    async fn start() -> Result<Option<Self>> {
        let mut pods = Vec::new();
        for (n, (service, pod)) in [
            ("stable", "stable-1"),
            ("stable", "stable-2"),
            ("canary", "canary-1"),
            ("alone", "alone-1"),
        ]
        .into_iter()
        .enumerate()
        {
            let low = Duration::from_millis(1 + 4 * u64::try_from(n)?);
            let latency = Latency::Uniform(low, low * 2);
            pods.push((
                service,
                pod,
                Upstream::start(latency, u64::try_from(n)?).await?,
            ));
        }
        let addresses = |service: &str| -> Vec<(&str, SocketAddr)> {
            let of = pods.iter().filter(|(s, _, _)| *s == service);
            of.map(|(_, pod, upstream)| (*pod, upstream.address()))
                .collect()
        };
        let stage = Stage::start(|manifests| {
            for service in ["stable", "canary", "alone"] {
                manifests.service(service, &addresses(service));
            }
            manifests.route("split", &[("stable", 75), ("canary", 25)]);
        })
        .await?;
        Ok(stage.map(|stage| Self { stage, pods }))
    }

    async fn gateway(&self, concurrency: u32) -> Result<Gateway> {
        let cluster = |service| {
            let of = self.pods.iter().filter(move |(s, _, _)| *s == service);
            Cluster::new(
                &cluster_name(service),
                of.map(|(_, _, upstream)| upstream.address()),
            )
        };
        let split = vec![(cluster_name("stable"), 75), (cluster_name("canary"), 25)];
        let config = self.stage.with_filter(GatewayConfig {
            clusters: ["stable", "canary", "alone"].map(cluster).to_vec(),
            routes: vec![
                Route::new("/split", Backend::Weighted(split)),
                Route::to("/alone", &cluster_name("alone")),
            ],
            ..GatewayConfig::default()
        });
        let options = EnvoyOptions {
            concurrency,
            ..EnvoyOptions::default()
        };
        Gateway::start(&config, &options).await
    }

    /// Envoy's own log, as counts per Service.
    fn truth(&self, lines: &[AccessLine]) -> BTreeMap<&'static str, Counts> {
        let mut truth: BTreeMap<&str, Counts> = BTreeMap::new();
        for line in lines {
            let served = self
                .pods
                .iter()
                .find(|(_, _, up)| Some(up.address()) == line.upstream);
            let (service, _, _) = served.expect("every request has an upstream");
            let counts = truth.entry(service).or_default();
            let class = format!("{}xx", line.code / 100);
            *counts
                .requests
                .entry(("response".into(), class))
                .or_default() += 1;
            counts.latencies += 1;
        }
        truth
    }

    async fn expect(&self, lines: &[AccessLine]) -> Result<Exposition> {
        let truth: Vec<_> = self.truth(lines).into_iter().collect();
        let page = self.stage.expect_all(&truth).await?;
        for (_, pod, upstream) in &self.pods {
            let counted = Counts::read(&page, &[("kubernetes_pod", pod)]).total();
            assert_eq!(counted, upstream.requests(), "{pod}");
        }
        Ok(page)
    }
}

/// Two thirds to the split route; one in seven is a 404.
fn load(client: Client) -> Load {
    Load {
        client,
        total: TOTAL,
        concurrency: 16,
        rate: None,
        request: Arc::new(|n| {
            let request = Request::get(if n % 3 == 2 { "/alone" } else { "/split" });
            if n % 7 == 0 {
                request.script(&Script::act(Act::Status(404)))
            } else {
                request
            }
        }),
    }
}

#[tokio::test]
async fn every_request_is_counted_once_on_the_backend_that_served_it() -> Result<()> {
    let Some(shop) = Shop::start().await? else {
        return Ok(());
    };
    let gateway = shop.gateway(1).await?;
    let report = load(gateway.client()).run().await?;
    assert_eq!((report.sent, report.failed), (TOTAL, 0), "{report:?}");
    let lines = gateway
        .access_log()
        .exactly(usize::try_from(TOTAL)?)
        .await?;
    let page = shop.expect(&lines).await?;
    for service in ["stable", "canary", "alone"] {
        quantiles_agree(&shop, &page, &lines, service)?;
    }
    Ok(())
}

#[tokio::test]
async fn four_workers_count_together() -> Result<()> {
    let Some(shop) = Shop::start().await? else {
        return Ok(());
    };
    let gateway = shop.gateway(4).await?;
    let report = load(Client::unpooled(gateway.address())).run().await?;
    assert_eq!((report.sent, report.failed), (TOTAL, 0), "{report:?}");
    let lines = gateway
        .access_log()
        .exactly(usize::try_from(TOTAL)?)
        .await?;
    let page = shop.expect(&lines).await?;
    assert_eq!(page.sum("gaugeway_worker_vms", &[]), 4.0);
    Ok(())
}

/// Each quantile lies in the classic bucket of the very sample of Envoy's log, or in one next to it when that sample
/// is at a bound.
fn quantiles_agree(
    shop: &Shop,
    page: &Exposition,
    lines: &[AccessLine],
    service: &str,
) -> Result<()> {
    let of = shop.pods.iter().filter(|(s, _, _)| *s == service);
    let addresses: Vec<_> = of
        .map(|(_, _, upstream)| Some(upstream.address()))
        .collect();
    let of = lines
        .iter()
        .filter(|line| addresses.contains(&line.upstream));
    let mut samples: Vec<_> = of.filter_map(AccessLine::latency).collect();
    let labels = [("kubernetes_service", service)];
    let histogram = page
        .classic("gaugeway_upstream_latency_seconds", &labels)?
        .context("no histogram")?;
    for q in [0.5, 0.9, 0.99] {
        let truth = quantile(&mut samples, q)
            .context("no samples")?
            .as_secs_f64();
        let (lower, _, upper) = histogram.quantile(q).context("no quantile")?;
        let slack = 0.001;
        ensure!(
            truth > lower - slack && truth <= upper + slack,
            "{service} p{q}: Envoy {truth}, bucket {lower}..{upper}"
        );
    }
    Ok(())
}
