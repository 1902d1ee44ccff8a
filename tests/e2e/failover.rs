//! Two controllers, one Envoy that knows both as one cluster, and a leader that goes in every way there is.
//!
//! What counts is what Prometheus would have: the last page that was scraped of each process's life, summed. A leader that
//! ends in order loses nothing of that. One that is killed for good, or stopped for too long, takes with it what it
//! acknowledged after its last scrape; and what it had applied and not acknowledged is reported again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_apiserver::{ApiServer, crd};
use gaugeway_rig::{
    Client, Cluster, Controller, ControllerOptions, EnvoyOptions, Exposition, FilterInstance,
    Gateway, GatewayConfig, Load, Route, Upstream,
    client::Request,
    controller,
    load::Running,
    process::Signal,
    tools::ENVOY,
    wait::{PATIENCE, until},
};
use gaugeway_wire::{LedgerEpoch, ReportAnswer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    counts::Counts,
    manifests::{self, GATEWAY, NAMESPACE, cluster_name},
    stage::{INTERVAL, gaugeway, write_module},
};

const SERVICE: &str = "backend";
const RATE: f64 = 200.0;
/// Between two scrapes: longer than between two reports, so that a leader always has what was not scraped.
const SCRAPES: Duration = Duration::from_millis(400);
/// Of every replica.
const COMMON: [&str; 3] = [
    "--final-scrape=20s",
    "--own-namespace=gaugeway",
    "--leader-election",
];

/// How long a Lease lasts.
#[derive(Clone, Copy, Debug)]
enum Lease {
    /// So that one that runs out takes seconds.
    Short,
    /// As it is by default: 15 s.
    Default,
}

impl Lease {
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Short => &[
                "--lease-duration=3s",
                "--lease-renew-deadline=2s",
                "--lease-retry=300ms",
            ],
            Self::Default => &[],
        }
    }
}

/// What Prometheus has: of each process's life the requests that its last page showed.
#[derive(Clone, Default)]
struct Scraped(Arc<Mutex<BTreeMap<u64, u64>>>);

impl Scraped {
    fn total(&self) -> u64 {
        let lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lives.values().sum()
    }

    fn of(&self, life: u64) -> u64 {
        let lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lives.get(&life).copied().unwrap_or_default()
    }

    fn put(&self, life: u64, requests: u64) {
        let mut lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lives.insert(life, requests);
    }
}

/// A replica and who scrapes it.
struct Replica {
    controller: Controller,
    /// Changes with each Pod; names what it counted.
    life: Arc<AtomicU64>,
    lease: Lease,
    scraping: JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.scraping.abort();
    }
}

impl Replica {
    async fn start(
        dir: &Path,
        kubeconfig: &Path,
        life: u64,
        lease: Lease,
        scraped: &Scraped,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let options = ControllerOptions {
            binary: gaugeway(),
            manifests: PathBuf::new(),
            kubeconfig: Some(kubeconfig.to_owned()),
            keep_state: true,
            arguments: arguments(life, lease),
        };
        let controller = Controller::start(dir, options).await?;
        let (at, life) = (controller.ports().metrics, Arc::new(AtomicU64::new(life)));
        let scraping = tokio::spawn(scrape(at, Arc::clone(&life), scraped.clone()));
        Ok(Self {
            controller,
            life,
            lease,
            scraping,
        })
    }

    async fn page(&self) -> Result<Exposition> {
        self.controller.scrape().await
    }

    async fn metric(&self, name: &str) -> Result<f64> {
        Ok(self.page().await?.sum(name, &[]))
    }

    async fn until_leads(&self) -> Result<()> {
        until("it leads", PATIENCE, || async {
            let leads = self.metric("gaugeway_leader").await?;
            ensure!(leads > 0.5, "{}", self.controller.log_tail());
            Ok(())
        })
        .await
    }

    /// As another Pod: a new identity, an empty directory.
    async fn replaced(&mut self, life: u64) -> Result<()> {
        let _ = std::fs::remove_dir_all(self.controller.state_dir());
        self.life.store(life, Ordering::SeqCst);
        self.controller.options_mut().arguments = arguments(life, self.lease);
        self.controller.restart().await
    }
}

fn arguments(life: u64, lease: Lease) -> Vec<String> {
    let interval = format!("--report-interval={}ms", INTERVAL.as_millis());
    let identity = format!("--identity=pod-{life}");
    let own = [interval, identity, "--advertise=127.0.0.1".to_owned()];
    let common = COMMON.iter().chain(lease.arguments());
    let common = common.map(|&argument| argument.to_owned());
    common.chain(own).collect()
}

/// Scrapes as Prometheus does: whole pages, again and again. The controller takes the stories' own looks for the same
/// scraper's.
async fn scrape(at: std::net::SocketAddr, life: Arc<AtomicU64>, scraped: Scraped) {
    let client = Client::unpooled(at);
    loop {
        let of = life.load(Ordering::SeqCst);
        if let Ok(answer) = client.send(Request::get("/metrics")).await
            && answer.status == 200
            && let Ok(page) = Exposition::parse(&answer.text())
            && of == life.load(Ordering::SeqCst)
        {
            let requests = Counts::of(&page, SERVICE).total();
            // A replica that stands by shows no totals; what it showed before was its last page.
            if requests > 0 {
                scraped.put(of, requests);
            }
        }
        // Stimulus: the scrape interval.
        sleep(SCRAPES).await;
    }
}

struct Play {
    server: ApiServer,
    replicas: [Replica; 2],
    gateway: Gateway,
    scraped: Scraped,
    lives: u64,
    _upstream: Upstream,
    _dir: TempDir,
}

impl Play {
    /// The first leads. Leases are short.
    async fn start() -> Result<Option<Self>> {
        Self::start_with(Lease::Short).await
    }

    async fn start_with(lease: Lease) -> Result<Option<Self>> {
        if !ENVOY.or_skip()? {
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("gaugeway-ha-").tempdir()?;
        let upstream = Upstream::instant().await?;
        let server = ApiServer::start().await?;
        fill(&server, &upstream).await?;
        let scraped = Scraped::default();
        let kubeconfig = server.kubeconfig();
        let a = Replica::start(&dir.path().join("a"), &kubeconfig, 1, lease, &scraped).await?;
        a.until_leads().await?;
        let b = Replica::start(&dir.path().join("b"), &kubeconfig, 2, lease, &scraped).await?;
        let module = dir.path().join("gaugeway.wasm");
        write_module(&module).await?;
        let filter = FilterInstance::new(module, GATEWAY, &controller::token(GATEWAY))
            .policy(json!({"report_interval_ms": u64::try_from(INTERVAL.as_millis())?}));
        let both = [&a, &b].map(|replica| replica.controller.ports().filters);
        let config = GatewayConfig {
            clusters: vec![
                Cluster::new(&cluster_name(SERVICE), [upstream.address()]),
                Cluster::new(FilterInstance::CONTROLLER, both),
            ],
            routes: vec![Route::to("/", &cluster_name(SERVICE))],
            filters: vec![filter],
            ..GatewayConfig::default()
        };
        let options = EnvoyOptions {
            concurrency: 2,
            ..EnvoyOptions::default()
        };
        Ok(Some(Self {
            gateway: Gateway::start(&config, &options).await?,
            server,
            replicas: [a, b],
            scraped,
            lives: 2,
            _upstream: upstream,
            _dir: dir,
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

    /// Waits until everything that was sent was scraped, and it stays so while every worker reports twice more.
    async fn exactly(&self, sent: u64) -> Result<()> {
        let check = || {
            let seen = self.scraped.total();
            ensure!(seen == sent, "{seen} of {sent} requests were scraped");
            Ok(())
        };
        until("all were scraped", PATIENCE, || async { check() })
            .await
            .with_context(|| self.logs())?;
        let goal = self.reports().await? + 4.0;
        until("two more reports of each worker", PATIENCE, || async {
            let reports = self.reports().await?;
            ensure!(reports >= goal, "{reports} of {goal}");
            Ok(())
        })
        .await?;
        check().context("counts changed after they had been right")
    }

    /// What was scraped once it is about `sent` (a worker that was refused for long calls again late), and each worker has
    /// reported twice more.
    async fn settled(&self, sent: u64) -> Result<u64> {
        let settled = async {
            roughly(self, sent).await?;
            let goal = self.reports().await? + 4.0;
            until("two more reports of each worker", PATIENCE, || async {
                let reports = self.reports().await?;
                ensure!(reports >= goal, "{reports} of {goal}");
                Ok(())
            })
            .await?;
            roughly(self, sent).await
        };
        settled.await.with_context(|| self.logs())?;
        Ok(self.scraped.total())
    }

    /// Applied by whoever can be asked.
    async fn reports(&self) -> Result<f64> {
        let mut sum = 0.0;
        for replica in &self.replicas {
            sum += replica.metric("gaugeway_reports_total").await?;
        }
        Ok(sum)
    }

    fn logs(&self) -> String {
        let [a, b] = &self.replicas;
        format!("{}\n{}", a.controller.log_tail(), b.controller.log_tail())
    }

    /// Ends the leader in order under load and waits for the other's first report; then another Pod stands by. Says how
    /// long it took.
    async fn terminate(&mut self, leader: usize) -> Result<Duration> {
        let begun = Instant::now();
        let [a, b] = &mut self.replicas;
        let (old, new) = if leader == 0 { (a, b) } else { (b, a) };
        let took = async {
            until("the successor's first report", PATIENCE, || async {
                let reports = new.metric("gaugeway_reports_total").await?;
                ensure!(reports > 0.5, "{}", new.controller.log_tail());
                Ok(begun.elapsed())
            })
            .await
        };
        let (took, ended) = tokio::join!(took, old.controller.terminate(PATIENCE));
        ensure!(ended?.success(), "{}", old.controller.log_tail());
        self.lives += 1;
        old.replaced(self.lives).await?;
        took
    }
}

/// The objects of one Service behind the gateway.
async fn fill(server: &ApiServer, upstream: &Upstream) -> Result<()> {
    let group = "gateway.networking.k8s.io";
    let crds = [("Gateway", "gateways"), ("HTTPRoute", "httproutes")];
    for (kind, plural) in crds {
        let of = crd(group, &["v1"], kind, plural, true);
        create(
            server,
            "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &of,
        )
        .await?;
    }
    let pods = [("backend-1", upstream.address())];
    let mut objects = manifests::service(SERVICE, &pods);
    objects.push(manifests::gateway());
    objects.push(manifests::route(SERVICE, &[(SERVICE, 1)]));
    for object in &objects {
        let (of, plural) = match object["kind"].as_str().unwrap_or_default() {
            "Service" => ("api/v1", "services"),
            "Pod" => ("api/v1", "pods"),
            "EndpointSlice" => ("apis/discovery.k8s.io/v1", "endpointslices"),
            "Gateway" => ("apis/gateway.networking.k8s.io/v1", "gateways"),
            _ => ("apis/gateway.networking.k8s.io/v1", "httproutes"),
        };
        create(
            server,
            &format!("{of}/namespaces/{NAMESPACE}/{plural}"),
            object,
        )
        .await?;
    }
    Ok(())
}

async fn create(server: &ApiServer, path: &str, object: &Value) -> Result<()> {
    let address = server.url().trim_start_matches("http://").parse()?;
    let call = Request::post(&format!("/{path}"), object.to_string())
        .header("content-type", "application/json");
    let answer = Client::unpooled(address).send(call).await?;
    ensure!(answer.status == 201, "{path}: {}", answer.text());
    Ok(())
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

/// Leaders that end in order, one after the other; the times to their successors' first reports.
async fn terminations(rounds: u64) -> Result<Option<Vec<Duration>>> {
    let Some(mut play) = Play::start().await? else {
        return Ok(None);
    };
    let total = 400 * rounds + 200;
    let load = play.load(total);
    let mut times = Vec::new();
    for round in 0..rounds {
        past(&load, 400 * round + 200).await?;
        let leader = usize::try_from(round % 2)?;
        play.replicas[leader].until_leads().await?;
        times.push(play.terminate(leader).await?);
    }
    all_answered(load, total).await?;
    play.exactly(total).await?;
    Ok(Some(times))
}

#[tokio::test]
async fn leaders_that_end_in_order_hand_over_and_lose_nothing() -> Result<()> {
    if let Some(times) = terminations(3).await? {
        println!("from SIGTERM to the successor's first acknowledged report: {times:?}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "takes minutes: cargo xtask bench failover"]
async fn twenty_leaders_that_end_in_order() -> Result<()> {
    let Some(mut times) = terminations(20).await? else {
        return Ok(());
    };
    times.sort_unstable();
    println!(
        "| from SIGTERM of the leader to its successor's first acknowledged report, 20 runs | |\n|---|---|"
    );
    for (name, at) in [("median", 9), ("19th of 20", 18), ("longest", 19)] {
        println!("| {name} | {} ms |", times[at].as_millis());
    }
    println!("| requests counted | all, each once |");
    Ok(())
}

#[tokio::test]
async fn a_leader_killed_and_back_within_its_lease_goes_on() -> Result<()> {
    let Some(mut play) = Play::start().await? else {
        return Ok(());
    };
    let total = 1_000;
    let load = play.load(total);
    past(&load, 300).await?;
    let [a, b] = &mut play.replicas;
    a.controller.kill().await?;
    a.controller.restart().await?;
    // Whoever was faster; a slow machine may be late.
    until("one leads", PATIENCE, || async {
        let both = a.metric("gaugeway_leader").await? + b.metric("gaugeway_leader").await?;
        ensure!(both > 0.5, "{both}");
        Ok(())
    })
    .await?;
    let back = a.metric("gaugeway_leader").await? > 0.5;
    all_answered(load, total).await?;
    if back {
        play.exactly(total).await?;
        ensure!(play.scraped.of(1) == total, "the other counted a part");
    }
    Ok(())
}

/// What may differ when a leader goes without a word: at most one report of each worker counts twice (it was applied, and
/// its acknowledgement lost), and at most what was acknowledged since the last scrape is lost.
fn slack() -> u64 {
    let seconds = (INTERVAL + 2 * SCRAPES).as_secs_f64();
    crate::counts::whole((RATE * seconds).round())
}

async fn roughly(play: &Play, total: u64) -> Result<()> {
    until("about all were scraped", PATIENCE, || async {
        let seen = play.scraped.total();
        ensure!(seen.abs_diff(total) <= slack(), "{seen} of {total}");
        Ok(())
    })
    .await
    .with_context(|| play.logs())
}

#[tokio::test]
async fn a_leader_killed_for_good_is_replaced_when_its_lease_has_run_out() -> Result<()> {
    let Some(mut play) = Play::start().await? else {
        return Ok(());
    };
    let total = 1_600;
    let load = play.load(total);
    past(&load, 300).await?;
    let [a, b] = &mut play.replicas;
    a.controller.kill().await?;
    let begun = Instant::now();
    b.until_leads().await?;
    println!("from SIGKILL to the next leader: {:?}", begun.elapsed());
    all_answered(load, total).await?;
    roughly(&play, total).await
}

/// What became of leaders that were killed: how long until the next report was acknowledged, and how many requests more
/// (doubled) or fewer (lost) were scraped than sent.
#[derive(Default)]
struct Killed {
    times: Vec<Duration>,
    differences: Vec<i64>,
}

impl Killed {
    fn print(mut self, what: &str) {
        self.times.sort_unstable();
        self.differences.sort_unstable();
        let runs = self.times.len();
        println!("| {what}, {runs} runs, {RATE} requests a second | |\n|---|---|");
        for (name, at) in [("median", (runs - 1) / 2), ("longest", runs - 1)] {
            println!("| {name} | {} ms |", self.times[at].as_millis());
        }
        let (least, most) = (self.differences[0], self.differences[runs - 1]);
        println!("| requests more or fewer than sent, by run | {least} to {most} |");
    }
}

/// Leaders that are killed, one after the other, with the default Lease. `back` says whether the same Pod is back at once,
/// as its kubelet makes it, or another one when the next leads.
async fn kills(rounds: u64, back: bool) -> Result<Option<Killed>> {
    let Some(mut play) = Play::start_with(Lease::Default).await? else {
        return Ok(None);
    };
    let (mut killed, mut leader) = (Killed::default(), 0);
    // What was scraped of all runs before.
    let mut counted = 0;
    for round in 0..rounds {
        let total = if back { 1_000 } else { 5_000 };
        let load = play.load(total);
        // Another moment of the interval and of the Lease each time.
        past(&load, 200 + 37 * (round % 8)).await?;
        let heir = if back { leader } else { 1 - leader };
        let begun = Instant::now();
        play.replicas[leader].controller.kill().await?;
        if back {
            play.replicas[leader].controller.restart().await?;
        }
        until("a report is acknowledged", 2 * PATIENCE, || async {
            let reports = play.replicas[heir].metric("gaugeway_reports_total").await?;
            ensure!(reports > 0.5, "{}", play.logs());
            Ok(())
        })
        .await?;
        killed.times.push(begun.elapsed());
        if !back {
            play.lives += 1;
            let life = play.lives;
            play.replicas[leader].replaced(life).await?;
        }
        leader = heir;
        all_answered(load, total).await?;
        let scraped = play.settled(counted + total).await?;
        let difference = i64::try_from(scraped)? - i64::try_from(counted + total)?;
        killed.differences.push(difference);
        counted = scraped;
    }
    Ok(Some(killed))
}

#[tokio::test]
#[ignore = "takes minutes: cargo xtask bench failover"]
async fn leaders_killed_and_back_within_the_default_lease() -> Result<()> {
    if let Some(killed) = kills(10, true).await? {
        ensure!(
            killed.differences.iter().all(|d| *d == 0),
            "{:?}",
            killed.differences
        );
        killed.print("from SIGKILL of the leader, back at once, to its first acknowledged report");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "takes minutes: cargo xtask bench failover"]
async fn leaders_killed_for_good_with_the_default_lease() -> Result<()> {
    if let Some(killed) = kills(10, false).await? {
        let most = i64::try_from(slack())?;
        ensure!(
            killed.differences.iter().all(|d| d.abs() <= most),
            "{:?}",
            killed.differences
        );
        killed.print("from SIGKILL of the leader to its successor's first acknowledged report");
    }
    Ok(())
}

/// A report call without a report: what answers it 200 holds that ledger.
fn empty_call() -> Request {
    let token = controller::token(GATEWAY);
    Request::post("/v1/report", Vec::new())
        .header("x-gaugeway-gateway", GATEWAY)
        .header("authorization", &format!("Bearer {token}"))
}

/// Calls a replica again and again until it is gone; counts what the ledger `led` acknowledges after `resumed` has been
/// set. What it passes on to the next leader carries that one's epoch.
async fn hammer(
    at: std::net::SocketAddr,
    led: LedgerEpoch,
    resumed: Arc<AtomicU64>,
) -> Result<u64> {
    let client = Client::unpooled(at);
    let mut late = 0;
    while let Ok(Ok(answer)) = timeout(PATIENCE, client.send(empty_call())).await {
        if answer.status == 200 && ReportAnswer::decode(&answer.body)?.ledger_epoch == led {
            late += resumed.load(Ordering::SeqCst);
        }
    }
    Ok(late)
}

#[tokio::test]
async fn a_leader_stopped_past_its_lease_acknowledges_nothing_when_it_goes_on() -> Result<()> {
    let Some(mut play) = Play::start().await? else {
        return Ok(());
    };
    let total = 1_600;
    let load = play.load(total);
    past(&load, 300).await?;
    let resumed = Arc::new(AtomicU64::new(0));
    let at = play.replicas[0].controller.ports().filters;
    let first = Client::unpooled(at).send(empty_call()).await?;
    let led = ReportAnswer::decode(&first.body)?.ledger_epoch;
    let calls: Vec<_> = (0..16)
        .map(|_| tokio::spawn(hammer(at, led, Arc::clone(&resumed))))
        .collect();
    let [a, b] = &mut play.replicas;
    a.controller.process().signal(Signal::STOP)?;
    b.until_leads().await?;
    // Whatever that ledger acknowledges from here on was given by a replica that leads no more.
    resumed.store(1, Ordering::SeqCst);
    a.controller.process().signal(Signal::CONT)?;
    until("it ends", PATIENCE, || {
        let alive = a.controller.check_alive().is_ok();
        async move {
            ensure!(!alive);
            Ok(())
        }
    })
    .await?;
    ensure!(
        a.controller.log_tail().contains("is held by pod-2 now"),
        "{}",
        a.controller.log_tail()
    );
    for call in calls {
        ensure!(
            call.await?? == 0,
            "an acknowledgement after the Lease was another's"
        );
    }
    all_answered(load, total).await?;
    roughly(&play, total).await
}

/// The API server is away for so long, under load: reports are refused when the Lease has run out, and none is lost.
async fn outage(length: Duration) -> Result<()> {
    let Some(play) = Play::start().await? else {
        return Ok(());
    };
    let total = crate::counts::whole((RATE * (length.as_secs_f64() + 2.0)).round());
    let load = play.load(total);
    past(&load, 200).await?;
    play.server.go_away();
    let [a, b] = &play.replicas;
    until("what it shows is marked stale", PATIENCE, || async {
        ensure!(a.metric("gaugeway_stale").await? > 0.5);
        Ok(())
    })
    .await?;
    // Stimulus: the outage's length.
    sleep(length).await;
    ensure!(b.metric("gaugeway_leader").await? < 0.5, "it cannot know");
    play.server.come_back();
    a.until_leads().await?;
    all_answered(load, total).await?;
    play.exactly(total).await?;
    ensure!(play.scraped.of(1) == total, "the one that led went on");
    Ok(())
}

#[tokio::test]
async fn without_an_api_server_for_longer_than_the_lease_nothing_is_lost() -> Result<()> {
    outage(Duration::from_secs(3)).await
}

#[tokio::test]
#[ignore = "takes minutes: cargo xtask bench failover"]
async fn without_an_api_server_for_a_minute_nothing_is_lost() -> Result<()> {
    outage(Duration::from_secs(60)).await
}
