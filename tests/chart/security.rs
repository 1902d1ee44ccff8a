//! What a cluster asks of Pods under the restricted standard, and what beside that is ours: a root file system that is
//! read only, requests, and a bound on memory.
//!
//! See <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.

use anyhow::Result;
use gaugeway_rig::tools::HELM;
use serde_json::{Value, json};

use crate::helm::{only, render};

/// Where a kind has its Pods.
fn pod(object: &Value) -> Option<&Value> {
    let spec = match object["kind"].as_str()? {
        "Pod" => &object["spec"],
        "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"]["spec"],
        _ => &object["spec"]["template"]["spec"],
    };
    spec["containers"].is_array().then_some(spec)
}

/// Volumes that the standard allows.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What an object's Pods do that they may not; an object without Pods does nothing.
pub(crate) fn faults(object: &Value) -> Vec<String> {
    let Some(pod) = pod(object) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    let mut ask = |holds: bool, what: &str| {
        if !holds {
            faults.push(what.to_owned());
        }
    };
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        ask(pod[host] != true, host);
    }
    ask(pod["securityContext"]["sysctls"].is_null(), "sysctls");
    for volume in array(&pod["volumes"]) {
        let kinds = volume.as_object().into_iter().flat_map(|v| v.keys());
        for kind in kinds.filter(|kind| *kind != "name") {
            ask(VOLUMES.contains(&kind.as_str()), kind);
        }
    }
    let all = ["initContainers", "containers"];
    for container in all.iter().flat_map(|kind| array(&pod[*kind])) {
        let own = &container["securityContext"];
        // A container's own setting wins over its Pod's.
        let of = |name: &str| match &own[name] {
            Value::Null => pod["securityContext"][name].clone(),
            set => set.clone(),
        };
        ask(of("runAsNonRoot") == true, "runAsNonRoot");
        ask(of("runAsUser") != 0, "runAsUser");
        let profile = of("seccompProfile")["type"].clone();
        ask(
            profile == "RuntimeDefault" || profile == "Localhost",
            "seccompProfile",
        );
        ask(own["privileged"] != true, "privileged");
        ask(
            own["allowPrivilegeEscalation"] == false,
            "allowPrivilegeEscalation",
        );
        ask(
            own["capabilities"]["drop"] == json!(["ALL"]),
            "capabilities",
        );
        ask(own["capabilities"]["add"].is_null(), "added capabilities");
        ask(own["procMount"].is_null(), "procMount");
        ask(of("seLinuxOptions").is_null(), "seLinuxOptions");
        for port in array(&container["ports"]) {
            ask(port["hostPort"].is_null(), "hostPort");
        }
        ask(
            own["readOnlyRootFilesystem"] == true,
            "readOnlyRootFilesystem",
        );
        let resources = &container["resources"];
        ask(resources["requests"]["cpu"].is_string(), "requests of CPU");
        ask(resources["limits"]["memory"].is_string(), "limit of memory");
    }
    faults
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn what_the_standard_forbids_is_found() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    let objects = render("")?;
    let set = only(&objects, "StatefulSet");
    assert_eq!(faults(set), Vec::<String>::new());
    for (place, value) in [
        ("/hostNetwork", json!(true)),
        ("/securityContext/runAsNonRoot", json!(false)),
        ("/securityContext/runAsUser", json!(0)),
        ("/securityContext/seccompProfile", Value::Null),
        (
            "/volumes/0",
            json!({"name": "x", "hostPath": {"path": "/"}}),
        ),
        (
            "/containers/0/securityContext/allowPrivilegeEscalation",
            json!(true),
        ),
        ("/containers/0/securityContext/privileged", json!(true)),
        ("/containers/0/securityContext/capabilities/drop", json!([])),
        (
            "/containers/0/securityContext/readOnlyRootFilesystem",
            json!(false),
        ),
        ("/containers/0/ports/0/hostPort", json!(80)),
        ("/containers/0/resources", json!({})),
    ] {
        let mut changed = set.clone();
        let pod = changed.pointer_mut("/spec/template/spec").unwrap();
        let (parent, member) = place.rsplit_once('/').unwrap();
        let parent = pod.pointer_mut(parent).unwrap();
        match member.parse::<usize>() {
            Ok(index) => parent[index] = value,
            Err(_) => parent[member] = value,
        }
        assert!(!faults(&changed).is_empty(), "{place} was not found");
    }
    Ok(())
}
