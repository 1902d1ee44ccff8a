//! Whether Kong's Pods can load the filter. A Kong that cannot, and is told to, may refuse its whole configuration: so
//! nothing is taken for granted that a Pod's own specification does not say.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use crate::{policy::PolicyId, target::Target};

/// What Pods say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// All that are ready can.
    Proven,
    /// Somebody vouches for it.
    Assumed,
    /// What is missing.
    Missing(Vec<String>),
    /// Nothing can be said now; what holds goes on.
    Unknown(String),
}

/// Whether the word of a gateway's strongest policy (`assumeWasm`) is enough. An IngressClass is everybody's, and a plugin
/// that its Kong cannot load may take the configuration of all of them down: only who runs the controller, in whose
/// namespace `home` is, can vouch for it.
#[must_use]
pub fn vouches(target: &Target, policy: &PolicyId, home: &str) -> bool {
    match target {
        Target::Gateway { .. } => true,
        Target::IngressClass { .. } => policy.namespace == home,
    }
}

/// Of the Pods of a data plane. It takes one that is ready to prove anything, and one that is there to disprove it: a new
/// Pod that cannot load the filter never becomes ready while it is told to.
#[must_use]
pub fn prove(pods: &[Pod]) -> Proof {
    let alive: Vec<&Pod> = pods.iter().filter(|pod| is_alive(pod)).collect();
    if !alive.iter().any(|pod| is_ready(pod)) {
        return Proof::Unknown("no Pod of the data plane is ready".to_owned());
    }
    let missing: Vec<String> = alive
        .iter()
        .flat_map(|pod| {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            missing(pod)
                .into_iter()
                .map(move |what| format!("Pod {name}: {what}"))
        })
        .collect();
    if missing.is_empty() {
        Proof::Proven
    } else {
        Proof::Missing(missing)
    }
}

/// Neither ending nor over.
fn is_alive(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let mut all = conditions.into_iter().flatten();
    all.any(|c| c.type_ == "Ready" && c.status == "True")
}

fn missing(pod: &Pod) -> Vec<String> {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice());
    let containers = containers.unwrap_or_default();
    let named = containers.iter().find(|c| c.name == "proxy");
    let kong = named.or_else(|| containers.iter().find(|c| repository(c).contains("kong")));
    let Some(kong) = kong else {
        return vec!["no container is Kong's".to_owned()];
    };
    let mut missing = Vec::new();
    let image = kong.image.as_deref().unwrap_or("none");
    match version(kong) {
        Some(9 | 10) => {}
        Some(4..=8) => missing.push(format!(
            "its image {image} takes filters, but not as plugins; gaugeway render kong prints filter chains for it"
        )),
        _ => missing.push(format!(
            "its image {image} is not by its tag Kong 3.9 or 3.10"
        )),
    }
    if value(kong, "KONG_WASM") != Some("on") {
        missing.push("KONG_WASM is not \"on\"".to_owned());
    }
    if let Some(filters) = value(kong, "KONG_WASM_FILTERS")
        && !filters
            .split(',')
            .any(|f| ["user", "gaugeway"].contains(&f.trim()))
    {
        missing.push(format!(
            "KONG_WASM_FILTERS is {filters:?}, without user or gaugeway"
        ));
    }
    match value(kong, "KONG_WASM_FILTERS_PATH") {
        None => missing.push("KONG_WASM_FILTERS_PATH is not set".to_owned()),
        Some(path) if !is_mounted(kong, path) => {
            missing.push(format!(
                "nothing is mounted at KONG_WASM_FILTERS_PATH, {path}"
            ));
        }
        Some(_) => {}
    }
    missing
}

/// The last part of an image's name, without registry, tag and digest.
fn repository(container: &Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let image = image.split('@').next().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

/// The minor version of a Kong 3, by its image's tag.
fn version(container: &Container) -> Option<u32> {
    let image = container.image.as_deref().unwrap_or_default();
    let image = image.split('@').next().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let (name, tag) = last.split_once(':')?;
    let mut parts = tag.split(['.', '-']);
    let is_kong_3 = name.contains("kong") && parts.next() == Some("3");
    parts.next().filter(|_| is_kong_3)?.parse().ok()
}

/// Of a variable whose value stands in the Pod itself. The last of a name wins, as in the container.
fn value<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    let all = container.env.iter().flatten();
    let of: Vec<&EnvVar> = all.filter(|e| e.name == name).collect();
    of.last().and_then(|e| e.value.as_deref())
}

fn is_mounted(container: &Container, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let below = |mount: &str| {
        let mount = mount.trim_end_matches('/');
        path.strip_prefix(mount)
            .is_some_and(|rest| !mount.is_empty() && (rest.is_empty() || rest.starts_with('/')))
    };
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts.any(|m| below(&m.mount_path))
}
