//! The rig drives a real Prometheus.

use std::time::Duration;

use anyhow::{Result, ensure};
use gaugeway_rig::{Prometheus, ReservedPort, tools::PROMETHEUS};

#[tokio::test]
async fn prometheus_scrapes_and_answers() -> Result<()> {
    if !PROMETHEUS.or_skip()? {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let nobody = ReservedPort::new()?;
    let every = Duration::from_millis(200);
    let mut prometheus = Prometheus::start(dir.path(), nobody.address(), every, &[]).await?;
    let instance = nobody.address().to_string();
    prometheus
        .queried(r#"up{job="gaugeway"}"#, |samples| {
            let [up] = samples else {
                anyhow::bail!("{samples:?}")
            };
            ensure!(
                up.value == 0.0 && up.labels.get("instance") == Some(&instance),
                "{up:?}"
            );
            Ok(())
        })
        .await?;
    ensure!(
        prometheus.query("no(such").await.is_err(),
        "a bad expression is an error"
    );
    prometheus.stop(Duration::from_secs(5)).await
}
