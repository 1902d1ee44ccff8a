//! A filters port that speaks TLS.

use std::{fs, sync::Arc};

use anyhow::{Result, ensure};
use gaugeway_rig::{
    Authority, Client, Cluster, EnvoyOptions, Gateway, GatewayConfig, Load, Route, SecureClient,
    Trust, Upstream,
    client::Request,
    wait::{PATIENCE, until},
};
use tempfile::TempDir;

use crate::{
    counts::{Counts, whole},
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

const SERVICE: &str = "backend";
const HOST: &str = "gaugeway.monitoring.svc";
const TOTAL: u64 = 600;

struct Play {
    stage: Stage,
    upstream: Upstream,
    files: TempDir,
}

impl Play {
    async fn start(by: &Authority) -> Result<Option<Self>> {
        let upstream = Upstream::instant().await?;
        let files = tempfile::tempdir()?;
        by.server(&[HOST])?.write(files.path())?;
        let file = |name| files.path().join(name).display().to_string();
        let (certificate, key) = (file("tls.crt"), file("tls.key"));
        let flags = [
            "--filters-tls-cert",
            &certificate,
            "--filters-tls-key",
            &key,
        ];
        let pods = [("backend-1", upstream.address())];
        let stage = Stage::start_with(&flags, |m: &Manifests| m.service(SERVICE, &pods)).await?;
        Ok(stage.map(|stage| Self {
            stage,
            upstream,
            files,
        }))
    }

    /// An Envoy that trusts these.
    async fn gateway(&self, authorities: &str) -> Result<Gateway> {
        let file = self.files.path().join("ca.crt");
        fs::write(&file, authorities)?;
        let config = GatewayConfig {
            clusters: vec![Cluster::new(
                &cluster_name(SERVICE),
                [self.upstream.address()],
            )],
            routes: vec![Route::to("/", &cluster_name(SERVICE))],
            controller_trust: Some(Trust {
                authorities: file,
                name: HOST.to_owned(),
            }),
            ..GatewayConfig::default()
        };
        Gateway::start(&self.stage.with_filter(config), &EnvoyOptions::default()).await
    }
}

#[tokio::test]
async fn a_certificate_that_changes_under_load_loses_nothing() -> Result<()> {
    let (first, second) = (Authority::new("first")?, Authority::new("second")?);
    let Some(mut play) = Play::start(&first).await? else {
        return Ok(());
    };
    let gateway = play.gateway(&(first.pem() + &second.pem())).await?;
    let load = Load {
        client: Client::unpooled(gateway.address()),
        total: TOTAL,
        concurrency: 8,
        rate: Some(100.0),
        request: Arc::new(|_| Request::get("/")),
    }
    .start();
    let counted = |page: &gaugeway_rig::Exposition| {
        let counted = Counts::of(page, SERVICE).total();
        ensure!(counted > 0);
        Ok(counted)
    };
    play.stage.controller.scraped("reports", counted).await?;
    second.server(&[HOST])?.write(play.files.path())?;
    let address = play.stage.controller.ports().filters;
    let client = SecureClient::try_new(address, HOST, &second.pem(), None)?;
    until("the new certificate is shown", PATIENCE, || async {
        client.connect().await.map(drop)
    })
    .await?;
    // Whoever is connected stays so: now Envoy has to look at the new one.
    play.stage.controller.kill().await?;
    play.stage.controller.restart().await?;
    let report = load.finish().await?;
    ensure!(
        report.failed == 0 && report.status(200) == TOTAL,
        "{report:?}"
    );
    let page = play
        .stage
        .expect_all(&[(SERVICE, Counts::responses("2xx", TOTAL))])
        .await?;
    let read = [("port", "filters"), ("result", "ok")];
    ensure!(whole(page.sum("gaugeway_certificate_reads_total", &read)) == 1);
    Ok(())
}

#[tokio::test]
async fn without_tls_or_without_trust_nothing_is_reported_and_traffic_flows() -> Result<()> {
    let (ours, foreign) = (Authority::new("ours")?, Authority::new("foreign")?);
    let Some(play) = Play::start(&ours).await? else {
        return Ok(());
    };
    let plain = Client::unpooled(play.stage.controller.ports().filters);
    let answer = plain.send(Request::post("/v1/report", "")).await?;
    ensure!(answer.status == 400, "{answer:?}");
    let gateway = play.gateway(&foreign.pem()).await?;
    let client = Client::unpooled(gateway.address());
    until("the filter says that its calls fail", PATIENCE, || async {
        let answer = client.send(Request::get("/")).await?;
        assert_eq!(answer.status, 200);
        let log = gateway.envoy.process().log()?;
        ensure!(log.contains("calls to the controller (gaugeway-controller) fail"));
        Ok(())
    })
    .await?;
    let page = play.stage.controller.scrape().await?;
    ensure!(Counts::read(&page, &[]).total() == 0);
    Ok(())
}
