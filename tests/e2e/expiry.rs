//! Series of what is gone go, others stay.

use anyhow::{Result, ensure};
use gaugeway_rig::{Cluster, GatewayConfig, Route, Upstream, client::Request};

use crate::{
    counts::Counts,
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

#[tokio::test]
async fn a_removed_backends_series_go_after_expiry() -> Result<()> {
    let (stays, goes) = (Upstream::instant().await?, Upstream::instant().await?);
    let write = |m: &Manifests| {
        m.service("stays", &[("stays-1", stays.address())]);
        m.service("goes", &[("goes-1", goes.address())]);
    };
    let Some(stage) = Stage::start_with(&["--series-expiry", "2s"], write).await? else {
        return Ok(());
    };
    let gateway = stage
        .gateway(GatewayConfig {
            clusters: vec![
                Cluster::new(&cluster_name("stays"), [stays.address()]),
                Cluster::new(&cluster_name("goes"), [goes.address()]),
            ],
            routes: vec![
                Route::to("/stays", &cluster_name("stays")),
                Route::to("/goes", &cluster_name("goes")),
            ],
            ..GatewayConfig::default()
        })
        .await?;
    for path in ["/stays", "/goes"] {
        gateway.client().send(Request::get(path)).await?;
    }
    let one = Counts::responses("2xx", 1);
    stage
        .expect_all(&[("stays", one.clone()), ("goes", one.clone())])
        .await?;
    stage.manifests.remove_service("goes");
    let page = stage
        .controller
        .scraped("its series gone", |page| {
            let left = page.iter().filter(|(s, _)| {
                s.labels
                    .get("kubernetes_service")
                    .is_some_and(|v| v == "goes")
            });
            let left = left.count();
            ensure!(left == 0, "{left} series left");
            Ok(())
        })
        .await;
    page?;
    stage.expect_all(&[("stays", one)]).await?;
    let page = stage.controller.scrape().await?;
    assert!(page.sum("gaugeway_series_expired_total", &[]) >= 1.0);
    Ok(())
}
