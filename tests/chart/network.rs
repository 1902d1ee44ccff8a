//! Who reaches which port: each port is open to those who need it, and a Pod's other ports to nobody.

use std::collections::BTreeMap;

use anyhow::Result;
use gaugeway_rig::tools::HELM;
use serde_json::{Value, json};

use crate::helm::{only, render};

/// Who may call each of the Pod's ports by the only policy of a render, which must select the Pod.
fn callers(values: &str) -> Result<BTreeMap<String, Vec<Value>>> {
    let objects = render(values)?;
    let policy = &only(&objects, "NetworkPolicy")["spec"];
    let template = &only(&objects, "StatefulSet")["spec"]["template"];
    assert_eq!(policy["policyTypes"], json!(["Ingress"]));
    let selected = policy["podSelector"]["matchLabels"].as_object().unwrap();
    for (name, value) in selected {
        assert_eq!(&template["metadata"]["labels"][name], value);
    }
    let ports = template["spec"]["containers"][0]["ports"]
        .as_array()
        .unwrap();
    let mut callers: BTreeMap<String, Vec<Value>> = ports
        .iter()
        .map(|port| (port["name"].as_str().unwrap().to_owned(), Vec::new()))
        .collect();
    for rule in policy["ingress"].as_array().unwrap() {
        // A rule that names no port or no peer stands for all of them.
        let peers = rule["from"].as_array().unwrap();
        assert!(!peers.is_empty());
        for port in rule["ports"].as_array().unwrap() {
            let name = port["port"].as_str().unwrap();
            let known = callers.get_mut(name);
            known
                .unwrap_or_else(|| panic!("the Pod has no port {name}"))
                .extend(peers.iter().cloned());
        }
    }
    Ok(callers)
}

#[test]
fn by_default_the_cluster_reaches_the_ports_and_nobody_else_does() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    let callers = callers("")?;
    for port in ["filters", "wasm", "metrics"] {
        // Selectors match Pods only: nothing from outside of the cluster.
        assert_eq!(callers[port], [json!({"namespaceSelector": {}})], "{port}");
    }
    Ok(())
}

#[test]
fn each_port_is_for_those_who_need_it() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    let callers = callers(
        "networkPolicy:
  gateways: [{podSelector: {matchLabels: {role: gateway}}}]
  controlPlanes: [{podSelector: {matchLabels: {role: control}}}]
  prometheus: [{podSelector: {matchLabels: {role: prometheus}}}]",
    )?;
    let peer = |role: &str| json!({"podSelector": {"matchLabels": {"role": role}}});
    // And the controller's other replicas.
    let own = json!({"podSelector": {"matchLabels": {
        "app.kubernetes.io/name": "gaugeway", "app.kubernetes.io/instance": "edge",
    }}});
    assert_eq!(callers["filters"], [peer("gateway"), own]);
    assert_eq!(callers["wasm"], [peer("gateway"), peer("control")]);
    assert_eq!(callers["metrics"], [peer("prometheus")]);
    Ok(())
}

#[test]
fn the_apis_port_is_open_where_it_is_asked_for_to_anybody_or_those_named() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    let rule = |values: &str| -> Result<Option<Value>> {
        let objects = render(values)?;
        let rules = only(&objects, "NetworkPolicy")["spec"]["ingress"]
            .as_array()
            .cloned();
        let of = |rule: &Value| rule["ports"] == json!([{"port": "apis"}]);
        Ok(rules.unwrap_or_default().into_iter().find(of))
    };
    assert_eq!(rule("")?, None);
    let open = rule("apis: {enabled: true}")?.unwrap();
    assert!(open["from"].is_null(), "the API server is no Pod: {open}");
    let named = rule(
        "metricsAPI: {enabled: true}\nnetworkPolicy: {apis: [{ipBlock: {cidr: 10.0.0.1/32}}]}",
    )?;
    assert_eq!(
        named.unwrap()["from"],
        json!([{"ipBlock": {"cidr": "10.0.0.1/32"}}])
    );
    Ok(())
}

#[test]
fn each_service_leads_to_a_port_of_the_pod() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    let objects = render("prometheus: {scrapeAnnotations: true}\ndatadog: {enabled: true}")?;
    let template = &only(&objects, "StatefulSet")["spec"]["template"];
    let ports = template["spec"]["containers"][0]["ports"]
        .as_array()
        .unwrap();
    let number = |name: &Value| {
        let port = ports.iter().find(|port| &port["name"] == name);
        port.unwrap_or_else(|| panic!("no port {name}"))["containerPort"].clone()
    };
    let services: Vec<&Value> = objects.iter().filter(|o| o["kind"] == "Service").collect();
    assert!(services.len() >= 3);
    for service in services {
        for (name, value) in service["spec"]["selector"].as_object().unwrap() {
            assert_eq!(&template["metadata"]["labels"][name], value);
        }
        for port in service["spec"]["ports"].as_array().unwrap() {
            let to = number(&port["targetPort"]);
            let annotation = &service["metadata"]["annotations"]["prometheus.io/port"];
            if let Some(scraped) = annotation.as_str() {
                assert_eq!(to, scraped.parse::<u16>()?);
            }
        }
    }
    // What Datadog's agent reads of the Pod.
    let annotations = &template["metadata"]["annotations"];
    let checks: Value = serde_json::from_str(
        annotations["ad.datadoghq.com/controller.checks"]
            .as_str()
            .unwrap(),
    )?;
    let endpoint = &checks["openmetrics"]["instances"][0]["openmetrics_endpoint"];
    let metrics = number(&json!("metrics"));
    assert_eq!(
        endpoint,
        &json!(format!("http://%%host%%:{metrics}/metrics"))
    );
    assert_eq!(template["spec"]["containers"][0]["name"], "controller");
    Ok(())
}
