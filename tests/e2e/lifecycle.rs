//! Filters that come, are configured anew, are replaced and end.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use gaugeway_rig::{
    Client, Cluster, EnvoyOptions, FilterInstance, Gateway, GatewayConfig, Load, Route, Upstream,
    client::Request,
    controller,
    load::Running,
    wait::{PATIENCE, until},
};

use crate::{
    counts::Counts,
    manifests::{GATEWAY, Manifests, cluster_name},
    stage::{INTERVAL, Stage},
};

const SERVICE: &str = "backend";
const RATE: f64 = 200.0;
/// How often a configuration is replaced under load.
const REPLACEMENTS: u64 = 50;
/// Requests between two replacements.
const BETWEEN: u64 = 40;

struct Play {
    stage: Stage,
    gateway: Gateway,
    upstream: Upstream,
}

impl Play {
    async fn start(workers: u32) -> Result<Option<Self>> {
        let upstream = Upstream::instant().await?;
        let pods = [("backend-1", upstream.address())];
        let Some(stage) = Stage::start(|m: &Manifests| m.service(SERVICE, &pods)).await? else {
            return Ok(None);
        };
        let config = stage.with_filter(plain(&upstream));
        let options = EnvoyOptions {
            concurrency: workers,
            ..EnvoyOptions::default()
        };
        let gateway = Gateway::start(&config, &options).await?;
        Ok(Some(Self {
            stage,
            gateway,
            upstream,
        }))
    }

    fn load(&self, total: u64) -> Running {
        Load {
            client: Client::unpooled(self.gateway.address()),
            total,
            concurrency: 8,
            rate: Some(RATE),
            request: Arc::new(|_| Request::get("/")),
        }
        .start()
    }

    /// Replaces the filter's instance.
    async fn replace(
        &mut self,
        change: impl FnOnce(FilterInstance) -> FilterInstance,
    ) -> Result<()> {
        let mut config = self.stage.with_filter(plain(&self.upstream));
        config.filters = vec![change(self.stage.filter())];
        self.gateway.apply(&config).await
    }

    /// Requests counted once counts have come to rest.
    async fn counted(&self) -> Result<u64> {
        self.stage.quiesce().await?;
        let page = self.stage.controller.scrape().await?;
        Ok(Counts::of(&page, SERVICE).total())
    }
}

fn plain(upstream: &Upstream) -> GatewayConfig {
    GatewayConfig {
        clusters: vec![Cluster::new(&cluster_name(SERVICE), [upstream.address()])],
        routes: vec![Route::to("/", &cluster_name(SERVICE))],
        ..GatewayConfig::default()
    }
}

async fn past(load: &Running, count: u64) -> Result<()> {
    until("load under way", PATIENCE, || async {
        ensure!(load.done() >= count, "{} requests done", load.done());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_configuration_replaced_under_load_loses_nothing() -> Result<()> {
    let Some(mut play) = Play::start(2).await? else {
        return Ok(());
    };
    let total = (REPLACEMENTS + 1) * BETWEEN;
    let load = play.load(total);
    for change in 1..=REPLACEMENTS {
        past(&load, change * BETWEEN).await?;
        play.replace(|mut filter| {
            filter.configuration["authority"] = format!("gaugeway-{change}").into();
            filter
        })
        .await?;
    }
    let report = load.finish().await?;
    assert_eq!(
        (report.status(200), report.failed),
        (total, 0),
        "{report:?}"
    );
    play.stage
        .expect_all(&[(SERVICE, Counts::responses("2xx", total))])
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_replaced_vm_loses_at_most_its_last_interval() -> Result<()> {
    let Some(mut play) = Play::start(1).await? else {
        return Ok(());
    };
    let load = play.load(800);
    past(&load, 400).await?;
    play.replace(|filter| FilterInstance {
        vm_id: "another".into(),
        ..filter
    })
    .await?;
    let report = load.finish().await?;
    assert_eq!((report.status(200), report.failed), (800, 0), "{report:?}");
    // The new VM's reports alone may satisfy the wait: give the old one's flush its chance, too.
    within_bound("a replaced vm_id", 800, play.counted().await?)
}

#[tokio::test]
async fn a_terminated_envoy_loses_at_most_its_last_interval() -> Result<()> {
    let Some(mut play) = Play::start(2).await? else {
        return Ok(());
    };
    let load = play.load(600);
    let report = load.finish().await?;
    assert_eq!((report.status(200), report.failed), (600, 0), "{report:?}");
    play.gateway.stop(Duration::from_secs(10)).await?;
    let page = play.stage.controller.scrape().await?;
    within_bound(
        "a terminated Envoy",
        600,
        Counts::of(&page, SERVICE).total(),
    )
}

/// The filter's timer: a report leaves at the first tick after its interval.
const TICK: Duration = Duration::from_millis(100);

/// What may be lost: one interval, up to the tick that ends it, and a report that is under way (on loopback, less than
/// a tick).
fn within_bound(what: &str, sent: u64, counted: u64) -> Result<()> {
    let bound = RATE * (INTERVAL + 2 * TICK).as_secs_f64();
    let lost = sent.checked_sub(counted);
    println!("{what}: {lost:?} of {sent} requests lost, bound {bound}");
    ensure!(
        lost.is_some_and(|lost| lost as f64 <= bound),
        "{counted} counted of {sent}, at most {bound} may be lost"
    );
    Ok(())
}

#[tokio::test]
async fn two_roots_in_one_vm_report_for_two_gateways() -> Result<()> {
    let upstream = Upstream::instant().await?;
    let write = |m: &Manifests| {
        m.service(SERVICE, &[("backend-1", upstream.address())]);
        m.second_gateway("inner", SERVICE);
    };
    let Some(stage) = Stage::start_with(&["--dimensions", "pod,gateway"], write).await? else {
        return Ok(());
    };
    let mut config = stage.with_filter(plain(&upstream));
    let mut inner = stage.filter();
    inner.root_id = "inner".into();
    inner.configuration["gateway"] = "shop/inner".into();
    inner.configuration["token"] = controller::token("shop/inner").into();
    config.filters.push(inner);
    let gateway = Gateway::start(&config, &EnvoyOptions::default()).await?;
    for _ in 0..10 {
        gateway.client().send(Request::get("/")).await?;
    }
    let page = stage
        .expect_all(&[(SERVICE, Counts::responses("2xx", 20))])
        .await?;
    for name in [GATEWAY, "shop/inner"] {
        assert_eq!(
            Counts::read(&page, &[("gateway", name)]).total(),
            10,
            "{name}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn requests_before_the_controller_are_counted_once_it_is_there() -> Result<()> {
    let Some(mut play) = Play::start(2).await? else {
        return Ok(());
    };
    play.stage.controller.kill().await?;
    let report = play.load(200).finish().await?;
    assert_eq!((report.status(200), report.failed), (200, 0), "{report:?}");
    play.stage.controller.restart().await?;
    play.stage
        .expect_all(&[(SERVICE, Counts::responses("2xx", 200))])
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_filter_that_cannot_be_configured_changes_no_traffic() -> Result<()> {
    let Some(mut play) = Play::start(1).await? else {
        return Ok(());
    };
    play.replace(|mut filter| {
        filter.configuration = serde_json::json!({ "gateway": 7, "what": ["is", "this"] });
        filter
    })
    .await?;
    for n in 0..20 {
        let answer = play
            .gateway
            .client()
            .send(Request::get("/").id(&n.to_string()))
            .await?;
        assert_eq!(answer.status, 200);
    }
    Ok(())
}
