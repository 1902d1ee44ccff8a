//! What goes wrong during a soak, and how it is made to.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::{Result, ensure};
use gaugeway_rig::{
    Fault as CallFault, Upstream,
    process::Signal,
    wait::{PATIENCE, until},
};

use super::{MOVING, RATE, Scene};
use crate::{
    manifests::Manifests,
    stage::{Stage, gaugeway},
};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Killed,
    Paused,
    AnswersLost,
    Doubled,
    Churn,
    Moved,
    Reconfigured,
    DiskFull,
}

impl Fault {
    pub(super) const ALL: [Self; 8] = [
        Self::Killed,
        Self::Paused,
        Self::AnswersLost,
        Self::Doubled,
        Self::Churn,
        Self::Moved,
        Self::Reconfigured,
        Self::DiskFull,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Killed => "controller killed (SIGKILL) and restarted in place",
            Self::Paused => "controller stopped (SIGSTOP) for 600 requests",
            Self::AnswersLost => "every second answer of the controller lost",
            Self::Doubled => "every second call delivered twice",
            Self::Churn => "200 Services changed",
            Self::Moved => "a Pod moved to another Service",
            Self::Reconfigured => "filter configuration replaced",
            Self::DiskFull => "state disk full for 300 requests",
        }
    }

    /// Makes it happen, and ends it.
    pub(super) async fn happen(self, scene: &mut Scene) -> Result<()> {
        match self {
            Self::Killed => {
                scene.stage.controller.kill().await?;
                scene.more_load(RATE).await?;
                scene.stage.controller.restart().await
            }
            Self::Paused => {
                scene.stage.controller.process().signal(Signal::STOP)?;
                scene.more_load(4.0 * RATE).await?;
                scene.stage.controller.process().signal(Signal::CONT)
            }
            Self::AnswersLost => every_second_call(scene, CallFault::LoseAnswer).await,
            Self::Doubled => every_second_call(scene, CallFault::Double).await,
            Self::Churn => {
                scene.churn.change(&scene.stage.manifests);
                scene.more_load(RATE).await
            }
            Self::Moved => {
                let (manifests, churn) = (&scene.stage.manifests, &mut scene.churn);
                manifests.remove_service(MOVING[churn.at]);
                churn.at = 1 - churn.at;
                place(manifests, &scene.moving, MOVING[churn.at]);
                scene.more_load(RATE).await
            }
            Self::Reconfigured => scene.reconfigure().await,
            Self::DiskFull => disk_full(scene).await,
        }
    }
}

/// What changes in the manifests.
#[derive(Debug, Default)]
pub(super) struct Churn {
    changes: u8,
    /// Where the moving Pod is.
    at: usize,
}

impl Churn {
    /// Gives 200 Services, which nobody calls, other Pods.
    fn change(&mut self, manifests: &Manifests) {
        self.changes = self.changes.wrapping_add(1);
        for number in 0..200_u8 {
            let pod = ([10, 9, self.changes, number], 8080).into();
            let service = format!("churn-{number}");
            manifests.service(&service, &[(&service, pod)]);
        }
    }
}

/// Puts the moving Pod into a Service.
pub(super) fn place(manifests: &Manifests, pod: &Upstream, service: &str) {
    manifests.service(service, &[("moving", pod.address())]);
}

async fn every_second_call(scene: &Scene, fault: CallFault) -> Result<()> {
    scene
        .relay
        .faults(move |_, n| if n % 2 == 0 { fault } else { CallFault::None });
    scene.more_load(3.0 * RATE).await?;
    scene.relay.heal();
    Ok(())
}

/// Starts the controller anew such that a write beyond a limit is an error instead of the process's end (`SIGXFSZ`).
pub(super) async fn survive_file_limits(stage: &mut Stage) -> Result<()> {
    let script = stage.manifests.dir().with_file_name("gaugeway.sh");
    let text = format!(
        "#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n",
        gaugeway().display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    stage.controller.terminate(Duration::from_secs(10)).await?;
    stage.controller.options_mut().binary = script;
    stage.controller.restart().await
}

/// No file may grow; the ledger goes on in memory, says so, and is durable again when it may write.
async fn disk_full(scene: &Scene) -> Result<()> {
    let controller = &scene.stage.controller;
    let degraded = |expected: f64| {
        move |page: &gaugeway_rig::Exposition| {
            let now = page.sum("gaugeway_ledger_degraded", &[]);
            ensure!(
                (now - expected).abs() < 0.5,
                "gaugeway_ledger_degraded {now}"
            );
            Ok(())
        }
    };
    controller.process().limit_files(Some(1))?;
    controller
        .scraped("a degraded ledger", degraded(1.0))
        .await?;
    scene.more_load(2.0 * RATE).await?;
    controller.process().limit_files(None)?;
    // The ledger looks for room every half minute.
    until("a durable ledger", 2 * PATIENCE, || async {
        degraded(0.0)(&controller.scrape().await?)
    })
    .await
}
