//! The controller dies, stalls and loses answers; every request is counted once all the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    Client, Cluster, EnvoyOptions, Fault, Gateway, GatewayConfig, Load, Relay, Route, Upstream,
    client::Request,
    load::Running,
    wait::{PATIENCE, until},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    counts::Counts,
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

const SERVICE: &str = "backend";
const REPORT: &str = "/v1/report";

struct Play {
    stage: Stage,
    gateway: Gateway,
    relay: Relay,
    _upstream: Upstream,
}

impl Play {
    /// Two workers, whose calls go through a relay.
    async fn start() -> Result<Option<Self>> {
        let upstream = Upstream::instant().await?;
        let pods = [("backend-1", upstream.address())];
        let Some(stage) = Stage::start(|m: &Manifests| m.service(SERVICE, &pods)).await? else {
            return Ok(None);
        };
        let relay = Relay::start(stage.controller.ports().filters).await?;
        let config = GatewayConfig {
            controller: Some(relay.address()),
            ..stage.with_filter(GatewayConfig {
                clusters: vec![Cluster::new(&cluster_name(SERVICE), [upstream.address()])],
                routes: vec![Route::to("/", &cluster_name(SERVICE))],
                ..GatewayConfig::default()
            })
        };
        let options = EnvoyOptions {
            concurrency: 2,
            ..EnvoyOptions::default()
        };
        let gateway = Gateway::start(&config, &options).await?;
        Ok(Some(Self {
            stage,
            gateway,
            relay,
            _upstream: upstream,
        }))
    }

    fn load(&self, total: u64, rate: f64) -> Running {
        Load {
            client: Client::unpooled(self.gateway.address()),
            total,
            concurrency: 8,
            rate: Some(rate),
            request: Arc::new(|_| Request::get("/")),
        }
        .start()
    }

    async fn expect(&self, total: u64) -> Result<()> {
        let expected = [(SERVICE, Counts::responses("2xx", total))];
        self.stage.expect_all(&expected).await.map(drop)
    }

    /// Requests counted now; `None` while nobody answers.
    async fn total(&self) -> Option<u64> {
        let page = self.stage.controller.scrape().await.ok()?;
        Some(Counts::of(&page, SERVICE).total())
    }
}

async fn past(load: &Running, count: u64) -> Result<()> {
    until("load under way", PATIENCE, || async {
        ensure!(load.done() >= count, "{} requests done", load.done());
        Ok(())
    })
    .await
}

async fn all_answered(load: Running, total: u64) -> Result<()> {
    let report = load.finish().await?;
    ensure!(
        report.status(200) == total && report.failed == 0,
        "{report:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_controller_killed_ten_times_under_load_counts_each_request_once() -> Result<()> {
    let Some(mut play) = Play::start().await? else {
        return Ok(());
    };
    const TOTAL: u64 = 3000;
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let load = play.load(TOTAL, 150.0);
    let mut highest = 0;
    for kill in 1..=10_u64 {
        past(
            &load,
            kill * TOTAL / 12 + random.random_range(0..TOTAL / 24),
        )
        .await?;
        play.stage.controller.kill().await?;
        play.stage.controller.restart().await?;
        let total = play.total().await.context("ready, but not scraped")?;
        ensure!(
            total >= highest,
            "{total} after kill {kill}, {highest} before"
        );
        highest = total;
    }
    all_answered(load, TOTAL).await?;
    play.expect(TOTAL).await
}

#[tokio::test]
async fn twenty_seconds_without_a_controller_lose_nothing() -> Result<()> {
    let Some(mut play) = Play::start().await? else {
        return Ok(());
    };
    const RATE: f64 = 40.0;
    let load = play.load(1000, RATE);
    past(&load, 100).await?;
    play.stage.controller.kill().await?;
    past(&load, 100 + 20 * 40).await?;
    play.stage.controller.restart().await?;
    all_answered(load, 1000).await?;
    play.expect(1000).await
}

#[tokio::test]
async fn a_paused_controller_loses_nothing() -> Result<()> {
    let Some(play) = Play::start().await? else {
        return Ok(());
    };
    play.relay
        .faults(|_, n| Fault::Delay(Duration::from_millis(if n % 4 == 3 { 1500 } else { 0 })));
    all_answered(play.load(600, 150.0), 600).await?;
    play.relay.heal();
    play.expect(600).await
}

/// Every third call is hit by one fault after the other, mapping and reports alike.
async fn hit_by(faults: &'static [Fault]) -> Result<()> {
    let Some(play) = Play::start().await? else {
        return Ok(());
    };
    play.relay.faults(move |_, n| {
        let turn = usize::try_from(n / 3).unwrap_or(0);
        match n % 3 {
            1 => faults.get(turn % faults.len()).copied().unwrap_or_default(),
            _ => Fault::None,
        }
    });
    all_answered(play.load(900, 150.0), 900).await?;
    until("enough faults", PATIENCE, || async {
        let faulted = play.relay.faulted();
        ensure!(faulted >= 6, "{faulted} faults");
        Ok(())
    })
    .await?;
    play.relay.heal();
    play.expect(900).await
}

#[tokio::test]
async fn lost_acknowledgements_count_nothing_twice() -> Result<()> {
    hit_by(&[Fault::LoseAnswer]).await
}

#[tokio::test]
async fn calls_delivered_twice_count_once() -> Result<()> {
    hit_by(&[Fault::Double]).await
}

#[tokio::test]
async fn refused_and_lost_calls_are_sent_again() -> Result<()> {
    hit_by(&[
        Fault::LoseCall,
        Fault::Refuse(503),
        Fault::Refuse(429),
        Fault::Refuse(401),
        Fault::Refuse(500),
    ])
    .await
}

#[tokio::test]
async fn a_report_refused_for_good_is_counted_as_dropped() -> Result<()> {
    let Some(play) = Play::start().await? else {
        return Ok(());
    };
    // One report with counts in it; a chunk of one series cannot be split.
    let armed = Arc::new(AtomicBool::new(false));
    let shot = Arc::clone(&armed);
    play.relay.faults(move |path, _| {
        if path == REPORT && shot.swap(false, Ordering::SeqCst) {
            Fault::Refuse(422)
        } else {
            Fault::None
        }
    });
    let load = play.load(600, 150.0);
    past(&load, 200).await?;
    armed.store(true, Ordering::SeqCst);
    all_answered(load, 600).await?;
    play.stage
        .controller
        .scraped("counted + dropped = sent", |page| {
            let counted = Counts::of(page, SERVICE).total();
            let dropped = page.sum(
                "gaugeway_filter_events_total",
                &[("event", "dropped_requests")],
            );
            let refused = page.sum(
                "gaugeway_filter_events_total",
                &[("event", "refused_reports")],
            );
            ensure!(
                counted as f64 + dropped == 600.0 && refused == 1.0,
                "{counted} counted, {dropped} dropped, {refused} reports refused"
            );
            Ok(())
        })
        .await
}
