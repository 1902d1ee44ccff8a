//! The API's description, from the types of its answers.

use schemars::{Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{
    explain::Explanation,
    live::answer::{GatewayList, ServiceDetail, ServiceList, WorkloadDetail, WorkloadList},
};

/// The description of the JSON API, OpenAPI 3.0.
///
/// # Errors
/// When it cannot be written as JSON, which its construction excludes.
pub fn openapi() -> Result<String, serde_json::Error> {
    let mut schemas = SchemaSettings::openapi3().into_generator();
    let services = schemas.subschema_for::<ServiceList>();
    let service = schemas.subschema_for::<ServiceDetail>();
    let workloads = schemas.subschema_for::<WorkloadList>();
    let workload = schemas.subschema_for::<WorkloadDetail>();
    let gateways = schemas.subschema_for::<GatewayList>();
    let explanation = schemas.subschema_for::<Explanation>();
    let window = json!({
        "name": "window", "in": "query", "description": "How far back.",
        "schema": {"type": "string", "enum": ["15s", "30s", "60s", "5m"], "default": "60s"},
    });
    let namespace = json!({
        "name": "namespace", "in": "query", "description": "Only Services of this namespace.",
        "schema": {"type": "string"},
    });
    let segment = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    let one = [segment("namespace"), segment("name"), window.clone()];
    let mut its_namespace = namespace.clone();
    its_namespace["required"] = json!(true);
    its_namespace["description"] = json!("The namespace.");
    let its_workloads = [its_namespace, window.clone()];
    let one_workload = [
        segment("namespace"),
        segment("kind"),
        segment("name"),
        window.clone(),
    ];
    let kinds = json!({
        "name": "kind", "in": "path", "required": true,
        "schema": {"type": "string", "enum": [
            "service", "pod", "deployment", "statefulset", "daemonset", "replicaset", "job", "gateway", "extension",
        ]},
    });
    let object = [kinds, segment("namespace"), segment("name")];
    let gateway = json!({
        "name": "gateway", "in": "query", "description": "Only as this gateway sees it: NAMESPACE/NAME.",
        "schema": {"type": "string"},
    });
    let address = [segment("address"), gateway];
    let why = "Why something is or is not measured.";
    let description = json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Gaugeway",
            "version": "v1",
            "description": "Sliding windows over upstream latency, measured in the gateways. Idle has rates of 0; \
                what is unknown has no numbers and a reason.",
        },
        "paths": {
            "/api/v1/services": get("Services that a gateway routes to.", &[namespace, window.clone()], &services),
            "/api/v1/services/{namespace}/{name}": get("One Service with its Pods and gateways.", &one, &service),
            "/api/v1/workloads": get("Workloads of a namespace that have Pods.", &its_workloads, &workloads),
            "/api/v1/workloads/{namespace}/{kind}/{name}": get("One workload, such as a Deployment, with its Pods.", &one_workload, &workload),
            "/api/v1/gateways": get("Gateways that report.", &[window], &gateways),
            "/api/v1/explain/{kind}/{namespace}/{name}": get(why, &object, &explanation),
            "/api/v1/explain/ingressclass/{name}": get(why, &[segment("name")], &explanation),
            "/api/v1/explain/address/{address}": get(why, &address, &explanation),
        },
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "On the apis port: a token that the API server knows, such as a ServiceAccount's. It is \
                    asked whether the caller may get or list services, workloads, gateways or explanations of API group \
                    signals.gaugeway.dev. The loopback port asks nobody who they are.",
            }},
        },
        "security": [{"token": []}, {}],
    });
    serde_json::to_string_pretty(&description)
}

fn get(summary: &str, parameters: &[Value], answer: &Schema) -> Value {
    let status = |why: &str| {
        json!({"description": why, "content": {"application/json": {"schema": {
            "type": "object", "description": "A Status of Kubernetes.", "properties": {
                "kind": {"type": "string", "enum": ["Status"]}, "message": {"type": "string"},
                "reason": {"type": "string"}, "code": {"type": "integer"},
            },
        }}}})
    };
    let text = |why: &str| json!({"description": why, "content": {"text/plain": {"schema": {"type": "string"}}}});
    json!({"get": {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": answer}}},
            "400": text("The query asks for something that there is not."),
            "401": status("On the apis port: nobody that the API server knows."),
            "403": status("On the apis port: the API server does not allow it."),
            "404": text("There is no such object."),
            "503": text("Not ready, or too much at once; ask again after Retry-After."),
        },
    }})
}
