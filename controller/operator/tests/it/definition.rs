//! The CustomResourceDefinition as it is installed.

use gaugeway_operator::crd::definitions;
use serde_json::Value;

fn definition() -> Value {
    let [definition] = definitions().try_into().unwrap();
    serde_json::to_value(definition).unwrap()
}

#[test]
fn it_says_what_kind_of_policy_it_is() {
    let definition = definition();
    assert_eq!(
        definition["metadata"]["name"],
        "latencypolicies.gaugeway.dev"
    );
    // GEP-713.
    let labels = &definition["metadata"]["labels"];
    assert_eq!(labels["gateway.networking.k8s.io/policy"], "Inherited");
    assert_eq!(definition["spec"]["scope"], "Namespaced");
    let version = &definition["spec"]["versions"][0];
    assert!(version["subresources"]["status"].is_object());
    assert!(
        version["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .len()
            >= 5
    );
    // Of several values API servers show the first alone.
    for column in version["additionalPrinterColumns"].as_array().unwrap() {
        let path = column["jsonPath"].as_str().unwrap();
        assert!(!path.contains('['), "{path}");
    }
}

/// An API server refuses rules whose cost it cannot bound: every list, map and string below a rule has a bound.
#[test]
fn everything_in_the_spec_is_bounded() {
    fn unbounded(path: &str, schema: &Value, found: &mut Vec<String>) {
        match schema["type"].as_str() {
            Some("array") => {
                if schema["maxItems"].is_null() {
                    found.push(path.to_owned());
                }
                unbounded(&format!("{path}[]"), &schema["items"], found);
            }
            Some("string") if schema["maxLength"].is_null() && schema["enum"].is_null() => {
                found.push(path.to_owned());
            }
            Some("object") => {
                let map = &schema["additionalProperties"];
                if map.is_object() && schema["maxProperties"].is_null() {
                    found.push(path.to_owned());
                }
                for (name, member) in schema["properties"].as_object().into_iter().flatten() {
                    unbounded(&format!("{path}.{name}"), member, found);
                }
            }
            _ => {}
        }
    }
    let definition = definition();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut found = Vec::new();
    unbounded("spec", &schema["properties"]["spec"], &mut found);
    assert!(found.is_empty(), "without a bound: {found:?}");
}
