//! What the chart makes: objects that Kubernetes' types read to the last field, and a command line that the controller
//! takes.

use std::process::Command;

use anyhow::Result;
use gaugeway_rig::tools::HELM;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    batch::v1::Job,
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::helm::{EVERYTHING, only, render, text};

/// What a type does not know is lost on the way through it: so nothing may be.
fn assert_known<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    let back = serde_json::to_value(typed).unwrap();
    assert_eq!(&without_empty(&back), &without_empty(object));
}

/// Kubernetes' types leave out lists and maps without members.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), without_empty(value)))
            .filter(|(_, value)| !value.is_null())
            .collect(),
        Value::Array(items) => items.iter().map(without_empty).collect(),
        other => other.clone(),
    }
}

fn check(object: &Value) {
    match object["kind"].as_str().unwrap() {
        "StatefulSet" => assert_known::<StatefulSet>(object),
        "Job" => assert_known::<Job>(object),
        "Service" => assert_known::<Service>(object),
        "ServiceAccount" => assert_known::<ServiceAccount>(object),
        "ConfigMap" => assert_known::<ConfigMap>(object),
        "NetworkPolicy" => assert_known::<NetworkPolicy>(object),
        "PodDisruptionBudget" => assert_known::<PodDisruptionBudget>(object),
        "Role" => assert_known::<Role>(object),
        "RoleBinding" => assert_known::<RoleBinding>(object),
        "ClusterRole" => assert_known::<ClusterRole>(object),
        "ClusterRoleBinding" => assert_known::<ClusterRoleBinding>(object),
        // Of the Prometheus operator, whose types are in no crate of ours.
        "ServiceMonitor" | "PrometheusRule" => {
            assert_eq!(object["apiVersion"], "monitoring.coreos.com/v1");
        }
        other => panic!("no check for a {other}"),
    }
}

#[test]
fn every_object_is_one_that_kubernetes_knows() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    for values in ["", EVERYTHING] {
        let objects = render(values)?;
        assert!(objects.len() > 6, "{objects:?}");
        objects.iter().for_each(check);
        for object in &objects {
            let cluster_wide =
                ["ClusterRole", "ClusterRoleBinding"].contains(&object["kind"].as_str().unwrap());
            assert_eq!(object["metadata"]["namespace"].is_null(), cluster_wide);
            assert_ne!(object["kind"], "Secret", "a render must not change a key");
        }
    }
    Ok(())
}

#[test]
fn a_second_render_is_the_same_to_the_byte() -> Result<()> {
    if HELM.or_skip()? {
        for values in ["", EVERYTHING] {
            assert_eq!(text(values)?, text(values)?);
        }
    }
    Ok(())
}

#[test]
fn namespaces_need_no_cluster_wide_right() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    let everywhere = render("")?;
    let rules = only(&everywhere, "ClusterRole")["rules"]
        .as_array()
        .unwrap();
    // Classes have no namespace: no Role can grant them.
    let (rules, classes) = rules.split_at(rules.len() - 2);
    assert_eq!(classes[0]["resources"], json!(["ingressclasses"]));
    assert_eq!(classes[1]["resources"], json!(["gatewayclasses"]));
    let chosen = render("namespaces: [shop, data]")?;
    let watched = |o: &&Value| o["kind"] == "Role" && o["metadata"]["namespace"] != "metrics";
    let roles: Vec<&Value> = chosen.iter().filter(watched).collect();
    assert_eq!(roles.len(), 2);
    for role in roles {
        assert_eq!(role["rules"].as_array().unwrap(), rules);
    }
    assert!(chosen.iter().all(|o| o["kind"] != "ClusterRole"));
    assert!(chosen.iter().all(|o| o["kind"] != "ClusterRoleBinding"));
    Ok(())
}

/// One alone needs no leader, and goes on with its totals on a volume in another Pod; several elect one.
#[test]
fn several_replicas_elect_a_leader_and_one_does_not() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    let arguments = |objects: &[Value]| {
        let pod = &only(objects, "StatefulSet")["spec"]["template"]["spec"];
        pod["containers"][0]["args"].clone()
    };
    let elects = |objects: &[Value]| {
        let all = arguments(objects);
        all.as_array()
            .unwrap()
            .contains(&json!("--leader-election"))
    };
    let own = |objects: &[Value]| {
        let mine = |o: &&Value| o["metadata"]["name"] == "edge-gaugeway-own" && o["kind"] == "Role";
        objects.iter().find(mine).map(|role| role["rules"].clone())
    };
    let two = render("")?;
    assert!(elects(&two));
    assert_eq!(
        only(&two, "PodDisruptionBudget")["spec"]["maxUnavailable"],
        1
    );
    let rules = own(&two).unwrap().to_string();
    assert!(
        rules.contains("leases") && rules.contains("secrets"),
        "{rules}"
    );
    let one = render("replicas: 1")?;
    assert!(!elects(&one));
    assert!(one.iter().all(|o| o["kind"] != "PodDisruptionBudget"));
    assert!(!own(&one).unwrap().to_string().contains("leases"));
    // Nothing to grant.
    assert_eq!(
        own(&render(
            "replicas: 1\ntokenKey: {existingSecret: mine}\ndeploy: {enabled: false}"
        )?),
        None
    );
    Ok(())
}

/// The controller reads its command line before anything else; a wrong one is exit code 2.
#[test]
fn the_controller_takes_the_command_line() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    let nowhere = tempfile::tempdir()?;
    for (values, first) in [
        ("", "no cluster"),
        (
            "apis: {enabled: true, existingSecret: apis-tls}",
            "no cluster",
        ),
        (EVERYTHING, "/etc/gaugeway/token/token.key"),
    ] {
        let objects = render(values)?;
        let pod = &only(&objects, "StatefulSet")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let arguments = container["args"].as_array().unwrap();
        // What a kubelet puts there.
        let told = container["env"].as_array().unwrap().iter().map(|variable| {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"]
                .as_str()
                .unwrap()
            {
                "metadata.uid" => "0b2c5e0e-0000-4000-8000-000000000001",
                "status.podIP" => "10.1.2.3",
                other => panic!("{other}"),
            };
            (variable["name"].as_str().unwrap(), value)
        });
        let output = Command::new(env!("CARGO_BIN_EXE_gaugeway"))
            .args(arguments.iter().map(|argument| argument.as_str().unwrap()))
            .env_clear()
            .env("HOME", nowhere.path())
            .envs(told)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(first), "{said}");
    }
    Ok(())
}

/// The hook before an uninstall: the command line is one, and nothing but the cluster is missing.
#[test]
fn an_uninstall_takes_the_filter_out_first() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    for values in ["", EVERYTHING] {
        let objects = render(values)?;
        let job = only(&objects, "Job");
        assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-delete");
        let account = &only(&objects, "ServiceAccount")["metadata"]["name"];
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(&pod["serviceAccountName"], account);
        let arguments = pod["containers"][0]["args"].as_array().unwrap();
        let nowhere = tempfile::tempdir()?;
        let output = Command::new(env!("CARGO_BIN_EXE_gaugeway"))
            .args(arguments.iter().map(|argument| argument.as_str().unwrap()))
            .env_clear()
            .env("HOME", nowhere.path())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("no cluster"), "{said}");
    }
    let off = render("deploy: {enabled: false}")?;
    assert!(off.iter().all(|object| object["kind"] != "Job"));
    Ok(())
}
