//! Schemas out of CustomResourceDefinitions.

use serde_json::{Value, json};

use crate::Kind;

/// The kinds that a definition's versions define. Anything that is no definition defines none.
pub(crate) fn schemas(definition: &Value) -> Vec<(Kind, Value)> {
    let spec = &definition["spec"];
    let versions = spec["versions"].as_array().into_iter().flatten();
    versions
        .filter_map(|version| {
            let group = spec["group"].as_str()?;
            let name = version["name"].as_str()?;
            let kind = spec["names"]["kind"].as_str()?;
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            // An API server knows these of every object, whatever the definition says.
            for known in ["apiVersion", "kind"] {
                schema["properties"][known] = json!({"type": "string"});
            }
            close(&mut schema);
            schema["properties"]["metadata"] = json!({"type": "object"});
            Some(((format!("{group}/{name}"), kind.to_owned()), schema))
        })
        .collect()
}

/// Refuses fields that are not named: an API server drops them without a word, which is never what was meant. The
/// dialect's own words become JSON schema's.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let open = members.contains_key("additionalProperties")
                || members
                    .get("x-kubernetes-preserve-unknown-fields")
                    .is_some_and(|open| *open == true);
            if !open
                && members.get("properties").is_some_and(Value::is_object)
                && is_object(members)
            {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            if members
                .get("x-kubernetes-int-or-string")
                .is_some_and(|either| *either == true)
            {
                members.insert("type".to_owned(), json!(["integer", "string"]));
            }
            // Formats such as int64 are the dialect's own.
            if members.get("format").is_some_and(Value::is_string) {
                members.remove("format");
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Members of `anyOf` and its like name properties only to require them.
fn is_object(members: &serde_json::Map<String, Value>) -> bool {
    members.get("type").is_some_and(|kind| kind == "object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_a_definition_does_not_name_are_faults() {
        let definition = json!({"spec": {
            "group": "example.com",
            "names": {"kind": "Cup"},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": {"type": "object", "properties": {
                    "size": {"x-kubernetes-int-or-string": true},
                    "rest": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }}}],
        }});
        let [((version, kind), schema)] = &schemas(&definition)[..] else {
            panic!("one kind");
        };
        assert_eq!((version.as_str(), kind.as_str()), ("example.com/v1", "Cup"));
        let validator = jsonschema::validator_for(schema).unwrap();
        let cup = |spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {}, "spec": spec});
        assert!(validator.is_valid(&cup(json!({"size": "5", "rest": {"x": 1}}))));
        assert!(!validator.is_valid(&cup(json!({"size": true}))));
        assert!(!validator.is_valid(&cup(json!({"sizes": 5}))));
    }
}
