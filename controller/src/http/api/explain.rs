//! `/api/v1/explain/...`: why something is or is not measured.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path as Segments, RawQuery, State},
    http::{Response, StatusCode},
};
use gaugeway_wire::GatewayName;

use super::{
    super::refusal::{Reason, Refusal},
    Api,
};
use crate::explain::Asked;

/// What made Pods, as it is asked for and as it is called.
const WORKLOADS: [(&str, &str); 5] = [
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("replicaset", "ReplicaSet"),
    ("job", "Job"),
];

/// Of an object with a namespace.
pub(super) async fn object(
    State(api): State<Arc<Api>>,
    Segments((kind, namespace, name)): Segments<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    answer(
        &api,
        no_query(query.as_deref()).and_then(|()| namespaced(&kind, namespace, name)),
    )
    .await
}

/// Of an address, or of an IngressClass.
pub(super) async fn nameless(
    State(api): State<Arc<Api>>,
    Segments((kind, name)): Segments<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let asked = match kind.as_str() {
        "address" => address(name, query.as_deref()),
        "ingressclass" => no_query(query.as_deref())
            .and_then(|()| gateway(&format!("ingressclass:{name}")))
            .map(Asked::Gateway),
        _ => Err(no_kind(&kind)),
    };
    answer(&api, asked).await
}

async fn answer(api: &Api, asked: Result<Asked, Refusal>) -> Response<Body> {
    let explained = match asked {
        Ok(asked) => Ok(api.explainer.explain(&asked).await),
        Err(refusal) => Err(refusal),
    };
    api.conclude(explained)
}

fn namespaced(kind: &str, namespace: String, name: String) -> Result<Asked, Refusal> {
    match kind {
        "service" => Ok(Asked::Service { namespace, name }),
        "pod" => Ok(Asked::Pod { namespace, name }),
        "gateway" => gateway(&format!("{namespace}/{name}")).map(Asked::Gateway),
        "extension" => Ok(Asked::Extension { namespace, name }),
        _ => {
            let found = WORKLOADS.iter().find(|(word, _)| *word == kind);
            let (_, kind) = found.ok_or_else(|| no_kind(kind))?;
            Ok(Asked::Workload {
                kind: (*kind).to_owned(),
                namespace,
                name,
            })
        }
    }
}

fn address(address: String, query: Option<&str>) -> Result<Asked, Refusal> {
    if address.parse::<std::net::SocketAddr>().is_err() {
        return Err(bad(
            "the address is written IP:PORT, such as 10.0.0.1:8080 or [2001:db8::1]:8080",
        ));
    }
    let asked = match query.filter(|q| !q.is_empty()) {
        None => None,
        Some(query) => match query.split_once('=') {
            // A namespace and a name have no character that a query must escape but the slash.
            Some(("gateway", name)) => Some(gateway(&name.replace("%2F", "/"))?),
            _ => return Err(bad("an address takes ?gateway=NAMESPACE/NAME only")),
        },
    };
    Ok(Asked::Address {
        address,
        gateway: asked,
    })
}

fn gateway(name: &str) -> Result<GatewayName, Refusal> {
    GatewayName::try_new(name).map_err(|_| bad("this is no gateway's name; it is NAMESPACE/NAME"))
}

fn no_query(query: Option<&str>) -> Result<(), Refusal> {
    match query {
        None | Some("") => Ok(()),
        Some(_) => Err(bad("this path takes no query")),
    }
}

fn bad(text: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, Reason::Query, text)
}

fn no_kind(kind: &str) -> Refusal {
    let shown: String = kind.chars().take(64).collect();
    let text = format!(
        "{shown:?} cannot be explained; service, pod, deployment, statefulset, daemonset, replicaset, job, gateway and \
         extension can (KIND/NAMESPACE/NAME), ingressclass/NAME and address/IP:PORT"
    );
    Refusal::new(StatusCode::NOT_FOUND, Reason::UnknownPath, text)
}
