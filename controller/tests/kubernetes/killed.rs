//! A controller that is killed at each of its writes, before or after the server did it: whoever comes next brings it to
//! the same end.

use anyhow::{Result, ensure};
use gaugeway_apiserver::{Effect, Fault, Logged, Verb};
use gaugeway_rig::wait::{PATIENCE, until};

use crate::{
    cluster::{Cluster, story_with_faults},
    deploying::{ENVOY_GATEWAY, gateway_of, ours, start_in},
    kong::{annotation, kong},
    kong_faults::ask,
};

const WRITES: [Verb; 4] = [Verb::Create, Verb::Update, Verb::Patch, Verb::Delete];
/// The controller's own: what it writes there outlives its policies.
const HOME: &str = "gaugeway";

/// Of whoever deploys; a status is written by others.
fn deploys(request: &Logged) -> bool {
    request.subresource.is_empty() && request.resource != "endpointslices"
}

fn writes(cluster: &Cluster) -> usize {
    let log = cluster.double().requests();
    let written = |r: &&Logged| WRITES.contains(&r.verb) && deploys(r);
    log.iter().filter(written).count()
}

/// Which gateway, and how its end looks.
#[derive(Clone, Copy)]
enum At {
    Kong,
    EnvoyGateway,
}

impl At {
    /// Everything of ours is there, or nothing is, and no policy.
    async fn end(self, cluster: &Cluster, there: bool) -> Result<()> {
        let kinds: &[&str] = match self {
            Self::Kong => &["KongPlugin"],
            Self::EnvoyGateway => &["EnvoyExtensionPolicy", "HTTPRoute"],
        };
        for kind in kinds {
            ensure!(ours(cluster, kind).await?.is_some() == there, "{kind}");
        }
        let policies = cluster.list("LatencyPolicy").await?;
        ensure!(policies.len() == usize::from(there), "{policies:?}");
        match self {
            Self::EnvoyGateway => {
                let grants = cluster.list_in(HOME, "ReferenceGrant").await?;
                ensure!(grants.len() == usize::from(there), "{grants:?}");
            }
            Self::Kong => {
                let web = annotation(cluster, "HTTPRoute", "web").await;
                let web = web.unwrap_or_default();
                let api = annotation(cluster, "GRPCRoute", "api").await;
                ensure!(web.contains(",gaugeway-") == there, "{web}");
                ensure!(there || web == "rate, auth ", "{web}");
                ensure!(api.is_some() == there, "{api:?}");
            }
        }
        Ok(())
    }
}

/// Runs a controller that is killed at its write number `nth` (counted from 0), then another. False when the first came to
/// the end before that.
async fn killed_at(cluster: &Cluster, at: At, nth: u32, done: bool, there: bool) -> bool {
    let fault = |done| {
        Fault::always(Effect::Hangup { done })
            .verbs(&WRITES)
            .only(deploys)
    };
    let limit = writes(cluster) + usize::try_from(nth).unwrap();
    cluster.double().fault(fault(done).after(nth).times(1));
    cluster.double().fault(fault(false).after(nth));
    let stage = start_in(cluster, HOME).await;
    let killed = || writes(cluster) > limit;
    until("it is killed, or done", PATIENCE, || async {
        let end = at.end(cluster, there).await;
        ensure!(killed() || end.is_ok(), "{end:?}");
        Ok(())
    })
    .await
    .unwrap();
    let killed = killed();
    stage.kill().await;
    cluster.double().lift_faults();
    let stage = start_in(cluster, HOME).await;
    until("the next comes to the end", PATIENCE, || {
        at.end(cluster, there)
    })
    .await
    .unwrap();
    stage.stop().await;
    killed
}

/// How many writes there were to be killed at.
async fn killed_everywhere(cluster: &Cluster, at: At) -> u32 {
    for nth in 0.. {
        let mut killed = false;
        for done in [true, false] {
            ask(cluster).await;
            killed |= killed_at(cluster, at, nth, done, true).await;
            cluster.delete("LatencyPolicy", "p").await;
            killed |= killed_at(cluster, at, nth, done, false).await;
        }
        if !killed {
            return nth;
        }
    }
    0
}

#[tokio::test]
async fn what_kong_gets_is_finished_by_whoever_comes_next() {
    story_with_faults(async |cluster| {
        kong(&cluster).await;
        let writes = killed_everywhere(&cluster, At::Kong).await;
        // A finalizer, a dry run, a plugin, two routes.
        assert!(writes >= 5, "{writes} are too few to be all");
    })
    .await;
}

#[tokio::test]
async fn what_envoy_gateway_gets_is_finished_by_whoever_comes_next() {
    story_with_faults(async |cluster| {
        gateway_of(&cluster, ENVOY_GATEWAY).await;
        let group = "gateway.envoyproxy.io";
        let (kind, plural) = ("EnvoyExtensionPolicy", "envoyextensionpolicies");
        cluster.define_kind(group, "v1alpha1", kind, plural).await;
        let writes = killed_everywhere(&cluster, At::EnvoyGateway).await;
        // A finalizer, a grant, a route, a policy.
        assert!(writes >= 4, "{writes} are too few to be all");
    })
    .await;
}
