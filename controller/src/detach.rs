//! Takes the filter out of every gateway, through the controller that put it there: `gaugeway detach --all`.
//!
//! Each policy is annotated, which a running controller obeys; then this waits until nothing that it deployed is left and
//! no policy has a finalizer. Invariant: nothing is deleted here. Whoever deployed knows in which order things go.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use gaugeway_operator::{
    crd::LatencyPolicy,
    deploy::{DETACH, FINALIZER, ManifestKind},
};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    config,
    custom_metrics::Version,
    deploy,
    serving::{is_of, versions_of},
    source::kubernetes::{Failure, connect},
};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks in a row that must find nothing: a controller may have been in the middle of a round at the first.
const LOOKS: u32 = 3;

/// What is still there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Kind, namespace and name of each object that the controller deployed.
    pub objects: Vec<String>,
    /// Namespace and name of each policy that is held by a finalizer.
    pub held: Vec<String>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detached {
    /// Namespace and name of each policy, in their order.
    pub policies: Vec<String>,
}

impl Left {
    fn is_nothing(&self) -> bool {
        self.objects.is_empty() && self.held.is_empty()
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.iter().map(|p| format!("LatencyPolicy {p}"));
        let all: Vec<_> = self.objects.iter().cloned().chain(held).collect();
        f.write_str(&all.join(", "))
    }
}

/// Annotates every policy and waits until the controller has taken away what it deployed. `told` hears what is left
/// whenever that changes.
///
/// # Errors
/// When the cluster cannot be asked, or something is left after `patience`; the text says what, and what to do.
pub async fn detach_all(
    cluster: &config::Cluster,
    patience: Duration,
    mut told: impl FnMut(&Left),
) -> Result<Detached> {
    let client = connect(cluster).await?.client;
    let own_namespace = cluster.own_namespace.clone();
    let own_namespace = own_namespace
        .context("where does the controller live? Name its namespace with --own-namespace")?;
    let places = places(&client, &cluster.namespaces);
    let deployed = deploy::Cluster {
        client,
        namespaces: cluster.namespaces.clone(),
        own_namespace,
        watched: None,
    };
    let policies = policies(&places).await?;
    for policy in &policies {
        annotate(&deployed.client, policy).await?;
    }
    for of in registered(&deployed).await? {
        annotate_registration(&deployed.client, of).await?;
    }
    let ends = Instant::now() + patience;
    let mut said = None;
    let mut empty = 0;
    while empty < LOOKS {
        let left = left(&deployed, &places).await?;
        empty = if left.is_nothing() { empty + 1 } else { 0 };
        if Instant::now() >= ends && !left.is_nothing() {
            bail!(
                "still there after {} s: {left}. Only a running controller with --deploy (or --metrics-api) takes them away: look whether it \
                 runs, and at the policies' conditions; then try again",
                patience.as_secs()
            );
        }
        if said.as_ref() != Some(&left) {
            told(&left);
            said = Some(left);
        }
        sleep(PAUSE).await;
    }
    Ok(Detached {
        policies: policies.iter().map(named).collect(),
    })
}

fn places(client: &Client, namespaces: &[String]) -> Vec<Api<LatencyPolicy>> {
    match namespaces {
        [] => vec![Api::all(client.clone())],
        some => some
            .iter()
            .map(|n| Api::namespaced(client.clone(), n))
            .collect(),
    }
}

/// None where the definition is gone already.
async fn policies(places: &[Api<LatencyPolicy>]) -> Result<Vec<LatencyPolicy>> {
    let mut all = Vec::new();
    for api in places {
        match api.list(&ListParams::default()).await {
            Ok(list) => all.extend(list),
            Err(error) if Failure::of(&error).is_not_found() => {}
            Err(error) => {
                return Err(explained(&Failure::of(&error))).context("cannot list LatencyPolicies");
            }
        }
    }
    Ok(all)
}

async fn annotate(client: &Client, policy: &LatencyPolicy) -> Result<()> {
    if policy.annotations().contains_key(DETACH) {
        return Ok(());
    }
    let namespace = policy.namespace().unwrap_or_default();
    let api: Api<LatencyPolicy> = Api::namespaced(client.clone(), &namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {DETACH: ""}}}));
    let (name, params) = (policy.name_any(), PatchParams::default());
    match api.patch(&name, &params, &patch).await {
        Ok(_) => Ok(()),
        // It went meanwhile: what it had is looked for all the same.
        Err(error) if Failure::of(&error).is_not_found() => Ok(()),
        // A controller that does not deploy may not, and has put nothing anywhere.
        Err(error) if Failure::of(&error).is_forbidden() && !is_held(policy) => Ok(()),
        Err(error) => Err(explained(&Failure::of(&error)))
            .with_context(|| format!("cannot annotate the LatencyPolicy {}", named(policy))),
    }
}

fn is_held(policy: &LatencyPolicy) -> bool {
    policy.finalizers().iter().any(|f| f == FINALIZER)
}

/// The APIServices that a controller of this namespace registered. Who may not read them has registered none.
async fn registered(deployed: &deploy::Cluster) -> Result<Vec<APIService>> {
    let api: Api<APIService> = Api::all(deployed.client.clone());
    let mut ours = Vec::new();
    for version in Version::ALL {
        match api.get_opt(&versions_of(version)).await {
            Ok(found) => {
                let found = found.into_iter();
                ours.extend(found.filter(|of| is_of(of, &deployed.own_namespace)));
            }
            Err(error) if Failure::of(&error).is_forbidden() => {}
            Err(error) => return Err(explained(&Failure::of(&error))),
        }
    }
    Ok(ours)
}

async fn annotate_registration(client: &Client, mut of: APIService) -> Result<()> {
    let api: Api<APIService> = Api::all(client.clone());
    of.annotations_mut()
        .insert(DETACH.to_owned(), String::new());
    let (name, params) = (of.name_any(), PostParams::default());
    match api.replace(&name, &params, &of).await {
        Ok(_) => Ok(()),
        Err(error) if Failure::of(&error).is_not_found() => Ok(()),
        Err(error) => Err(explained(&Failure::of(&error)))
            .with_context(|| format!("cannot annotate the APIService {name}")),
    }
}

async fn left(deployed: &deploy::Cluster, places: &[Api<LatencyPolicy>]) -> Result<Left> {
    let mut left = Left::default();
    let policies = policies(places).await?;
    // One that does not deploy may not list what it would have deployed.
    let deploys = policies.iter().any(is_held);
    let registrations = registered(deployed).await?;
    let names = registrations
        .iter()
        .map(|of| format!("APIService {}", of.name_any()));
    left.objects.extend(names);
    for kind in ManifestKind::ALL {
        let ours = match deployed.ours(kind).await {
            // A controller that deploys into Kong may list its plugins, and one that did holds the policies.
            Err(failure)
                if failure.is_forbidden() && (kind == ManifestKind::KongPlugin || !deploys) =>
            {
                continue;
            }
            ours => ours.map_err(|failure| explained(&failure))?,
        };
        for object in ours {
            let meta = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
            let (namespace, name) = (meta("namespace"), meta("name"));
            left.objects
                .push(format!("{} {namespace}/{name}", kind.as_str()));
        }
    }
    let held = policies.iter().filter(|policy| is_held(policy));
    left.held.extend(held.map(named));
    Ok(left)
}

fn named(policy: &LatencyPolicy) -> String {
    let namespace = policy.namespace().unwrap_or_default();
    format!("{namespace}/{}", policy.name_any())
}

fn explained(failure: &Failure) -> anyhow::Error {
    anyhow!("{}", failure.text())
}
