//! Many faults under steady load, one after the other: four workers, and at the end every count matches exactly,
//! memory is flat, no VM trapped and none is stuck.
//!
//! The tests tell it once with each fault; `cargo xtask soak` goes on for as many minutes as it is told and writes its
//! report as a Markdown table.

mod faults;
mod report;

use std::{
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    Client, Cluster, EnvoyOptions, Gateway, GatewayConfig, Latency, Load, Relay, Route, Upstream,
    client::Request,
    load::Running,
    wait::{PATIENCE, until},
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use self::{
    faults::{Churn, Fault},
    report::{Memory, Report},
};
use crate::{
    counts::Counts,
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

/// Whose Pods stay.
const STEADY: [&str; 2] = ["steady-1", "steady-2"];
/// Whose one Pod moves from the first to the second and back.
const MOVING: [&str; 2] = ["here", "there"];
const WORKERS: u32 = 4;
/// Requests per second.
const RATE: f64 = 150.0;
/// The load between two faults.
const CALM: f64 = 2.0 * RATE;

/// Everything that runs.
pub(crate) struct Scene {
    stage: Stage,
    gateway: Gateway,
    relay: Relay,
    upstreams: Vec<Upstream>,
    moving: Upstream,
    churn: Churn,
    load: Running,
    /// How often the filter's configuration was replaced.
    configurations: u64,
}

#[tokio::test]
async fn every_fault_once_loses_nothing() -> Result<()> {
    let Some(report) = soak(Duration::ZERO).await? else {
        return Ok(());
    };
    println!("{report}");
    report.counts_must_match()
}

#[tokio::test]
#[ignore = "takes minutes: cargo xtask soak"]
async fn soak_for_minutes() -> Result<()> {
    let minutes: u64 = env::var("GAUGEWAY_SOAK_MINUTES")
        .context("GAUGEWAY_SOAK_MINUTES is not set: use cargo xtask soak")?
        .parse()
        .context("GAUGEWAY_SOAK_MINUTES")?;
    let Some(report) = soak(Duration::from_secs(60 * minutes)).await? else {
        return Ok(());
    };
    if let Some(path) = env::var_os("GAUGEWAY_SOAK_REPORT") {
        std::fs::write(path, report.to_string())?;
    }
    println!("{report}");
    report.counts_must_match()?;
    report.memory_must_be_flat()
}

/// All faults in random order, again and again until `time` has passed; at least once each.
async fn soak(time: Duration) -> Result<Option<Report>> {
    let Some(mut scene) = Scene::start().await? else {
        return Ok(None);
    };
    let seed = match env::var("GAUGEWAY_SOAK_SEED") {
        Ok(seed) => seed.parse().context("GAUGEWAY_SOAK_SEED")?,
        Err(_) => rand::random(),
    };
    println!("seed {seed} (again: GAUGEWAY_SOAK_SEED={seed})");
    let mut random = StdRng::seed_from_u64(seed);
    let begin = Instant::now();
    let mut report = Report::default();
    loop {
        let mut faults = Fault::ALL;
        faults.shuffle(&mut random);
        for fault in faults {
            fault.happen(&mut scene).await.context(fault.name())?;
            report.happened(fault);
            scene.more_load(CALM).await?;
            report.remember(scene.memory()?);
            println!(
                "{:>5.0} s  {:>8} requests  {}",
                begin.elapsed().as_secs_f64(),
                scene.load.done(),
                fault.name()
            );
        }
        if begin.elapsed() >= time {
            break;
        }
    }
    scene.end(report).await.map(Some)
}

impl Scene {
    async fn start() -> Result<Option<Self>> {
        let latency = Latency::UniformWithTail {
            low: Duration::from_millis(2),
            high: Duration::from_millis(10),
            slow: Duration::from_millis(80),
            slow_share: 0.02,
        };
        let mut upstreams = Vec::new();
        for seed in [1, 2] {
            upstreams.push(Upstream::start(latency, seed).await?);
        }
        let moving = Upstream::start(latency, 3).await?;
        let write = |manifests: &Manifests| {
            for (service, upstream) in STEADY.iter().zip(&upstreams) {
                manifests.service(service, &[(service, upstream.address())]);
            }
            faults::place(manifests, &moving, MOVING[0]);
        };
        // A Service that lost its Pod keeps its totals to the end.
        let Some(mut stage) = Stage::start_with(&["--series-expiry", "1d"], write).await? else {
            return Ok(None);
        };
        faults::survive_file_limits(&mut stage).await?;
        let relay = Relay::start(stage.controller.ports().filters).await?;
        let gateway = Gateway::start(
            &configuration(&stage, &relay, &upstreams, &moving, 0),
            &EnvoyOptions {
                concurrency: WORKERS,
                ..EnvoyOptions::default()
            },
        )
        .await?;
        let paths = [STEADY[0], STEADY[1], MOVING[0]].map(|service| format!("/{service}"));
        let load = Load {
            client: Client::unpooled(gateway.address()),
            total: u64::MAX,
            concurrency: 16,
            rate: Some(RATE),
            request: Arc::new(move |n| Request::get(&paths[usize::try_from(n % 3).unwrap()])),
        }
        .start();
        Ok(Some(Self {
            stage,
            gateway,
            relay,
            upstreams,
            moving,
            churn: Churn::default(),
            load,
            configurations: 0,
        }))
    }

    /// Waits for so many more requests.
    async fn more_load(&self, requests: f64) -> Result<()> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        let goal = self.load.done() + requests as u64;
        until("load under way", PATIENCE, || async {
            ensure!(self.load.done() >= goal, "{} of {goal}", self.load.done());
            Ok(())
        })
        .await
    }

    fn memory(&self) -> Result<Memory> {
        Ok(Memory {
            controller: self.stage.controller.process().resident_bytes()?,
            envoy: self.gateway.envoy.process().resident_bytes()?,
        })
    }

    /// Replaces the filter's configuration.
    async fn reconfigure(&mut self) -> Result<()> {
        self.configurations += 1;
        let Self {
            stage,
            relay,
            upstreams,
            moving,
            ..
        } = self;
        let config = configuration(stage, relay, upstreams, moving, self.configurations);
        self.gateway.apply(&config).await
    }

    /// Ends the load and compares everything.
    async fn end(self, mut report: Report) -> Result<Report> {
        self.relay.heal();
        self.load.stop();
        let load = self.load.finish().await?;
        ensure!(
            load.failed == 0 && load.status(200) == load.sent,
            "{load:?}"
        );
        report.sent = load.sent;
        let settled = |page: &gaugeway_rig::Exposition| {
            let counted = Counts::read(page, &[]).total();
            ensure!(counted >= load.sent, "{counted} of {} counted", load.sent);
            Ok(())
        };
        // What was counted too little is told by the report.
        let _ = self
            .stage
            .controller
            .scraped("every request counted", settled)
            .await;
        self.stage.quiesce().await?;
        let page = self.stage.controller.scrape().await?;
        report.counted = Counts::read(&page, &[]).total();
        for (service, upstream) in STEADY.iter().zip(&self.upstreams) {
            let counted = Counts::of(&page, service).total();
            report.service(service, upstream.requests(), counted);
        }
        let moved = MOVING.map(|service| Counts::of(&page, service).total());
        report.service(
            "the one that moves",
            self.moving.requests(),
            moved.iter().sum(),
        );
        report.workers = crate::counts::whole(page.sum("gaugeway_worker_vms", &[]));
        report.traps = self
            .gateway
            .envoy
            .process()
            .log()?
            .lines()
            .filter(|line| line.contains("Uncaught") || line.contains("wasm vm"))
            .map(str::to_owned)
            .collect();
        Ok(report)
    }
}

fn configuration(
    stage: &Stage,
    relay: &Relay,
    upstreams: &[Upstream],
    moving: &Upstream,
    number: u64,
) -> GatewayConfig {
    let all = || STEADY.iter().zip(upstreams).chain([(&MOVING[0], moving)]);
    let mut filter = stage.filter();
    filter.configuration["authority"] = format!("gaugeway-{number}").into();
    GatewayConfig {
        clusters: all()
            .map(|(service, upstream)| Cluster::new(&cluster_name(service), [upstream.address()]))
            .collect(),
        routes: all()
            .map(|(service, _)| Route::to(&format!("/{service}"), &cluster_name(service)))
            .collect(),
        filters: vec![filter],
        controller: Some(relay.address()),
        ..GatewayConfig::default()
    }
}
