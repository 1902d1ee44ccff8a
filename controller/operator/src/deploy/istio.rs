//! An Istio gateway: a `WasmPlugin`. Its agent fetches the module; the controller's cluster is there by itself.

use serde_json::json;

use super::{Installation, Manifest, ManifestKind, Plan, Reason, Subject, module_awaited};
use crate::target::{GATEWAY_GROUP, Target};

pub(super) fn plan(home: &Installation, subject: &Subject<'_>) -> Plan {
    let Target::Gateway { namespace, name } = subject.target else {
        return Plan::not(
            Reason::Unsupported,
            "Istio's Ingresses take no filter; use a Gateway",
        );
    };
    let Some(module) = subject.module else {
        return module_awaited();
    };
    let port = &home.filters;
    let mut config = json!({
        "gateway": subject.gateway.as_str(),
        "cluster": format!(
            "outbound|{}||{}.{}.svc.{}",
            port.port, port.name, home.namespace, home.cluster_domain
        ),
    });
    if let Some(token) = subject.token {
        config["token"] = json!(token);
    }
    let body = json!({"spec": {
        "targetRefs": [{"group": GATEWAY_GROUP, "kind": "Gateway", "name": name}],
        "url": home.module_url(module),
        "sha256": module,
        "phase": "STATS",
        // Anything else lets the agent deny everything while it cannot fetch the module.
        "failStrategy": "FAIL_OPEN",
        "pluginName": "gaugeway",
        "pluginConfig": config,
    }});
    let plugin = Manifest::new(home, subject, ManifestKind::WasmPlugin, namespace, body);
    Plan::deployed(vec![plugin], Vec::new())
}
