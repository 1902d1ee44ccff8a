//! Objects against the real CustomResourceDefinitions, which are data beside the repository: structure, names of members,
//! required ones, enumerations, lengths. Patterns and CEL rules are left to a real cluster.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use gaugeway_operator::deploy::{Manifest, ManifestKind};
use serde_json::Value;

/// Fails if the definition would not take it.
pub(crate) fn check(manifest: &Manifest) {
    // Not among them: its shape is small, and the index's tests read it.
    if manifest.kind != ManifestKind::ReferenceGrant {
        let kind = manifest.kind;
        check_object(kind.group(), kind.plural(), &manifest.object);
    }
}

/// The same of any object. Says so, loudly, where there are no definitions.
pub(crate) fn check_object(group: &str, plural: &str, object: &Value) {
    let directory: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "..",
        "..",
        "..",
        "shared",
        "crds",
    ]
    .iter()
    .collect();
    if !directory.is_dir() {
        eprintln!("SKIPPED: no definitions beside the repository; {plural} are not checked");
        return;
    }
    let definition = definition(&directory.join(format!("{group}_{plural}.yaml")));
    let versions = definition["spec"]["versions"].as_array().unwrap();
    let of_object = object["apiVersion"].as_str().unwrap();
    let version = versions
        .iter()
        .find(|v| of_object == format!("{group}/{}", v["name"].as_str().unwrap()))
        .unwrap();
    assert_eq!(version["served"], true);
    let mut faults = Vec::new();
    walk(
        "",
        &version["schema"]["openAPIV3Schema"],
        object,
        &mut faults,
    );
    assert!(faults.is_empty(), "{plural} {object}: {faults:?}");
}

/// Read once per test: some have two megabytes.
fn definition(file: &Path) -> Rc<Value> {
    thread_local! {
        static READ: RefCell<BTreeMap<PathBuf, Rc<Value>>> = const { RefCell::new(BTreeMap::new()) };
    }
    READ.with_borrow_mut(|read| {
        let found = read.entry(file.to_owned()).or_insert_with(|| {
            let text = fs::read_to_string(file).unwrap();
            Rc::new(serde_saphyr::from_str(&text).unwrap())
        });
        Rc::clone(found)
    })
}

fn walk(at: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
    let is = |flag: &str| schema[flag] == true;
    if schema["type"].is_null()
        && !is("x-kubernetes-int-or-string")
        && !is("x-kubernetes-preserve-unknown-fields")
    {
        return;
    }
    match (schema["type"].as_str(), value) {
        (Some("object"), Value::Object(members)) => {
            let required = schema["required"].as_array().into_iter().flatten();
            for name in required.filter_map(Value::as_str) {
                if !members.contains_key(name) {
                    faults.push(format!("{at}.{name} is required"));
                }
            }
            for (name, member) in members {
                let path = format!("{at}.{name}");
                let of = &schema["properties"][name];
                let more = &schema["additionalProperties"];
                if of.is_object() {
                    walk(&path, of, member, faults);
                } else if more.is_object() {
                    walk(&path, more, member, faults);
                } else if !is("x-kubernetes-preserve-unknown-fields") && !every_object_has(&path) {
                    faults.push(format!("{path} is unknown"));
                }
            }
        }
        (Some("array"), Value::Array(items)) => {
            bound(
                at,
                items.len(),
                &schema["minItems"],
                &schema["maxItems"],
                faults,
            );
            for (n, item) in items.iter().enumerate() {
                walk(&format!("{at}[{n}]"), &schema["items"], item, faults);
            }
        }
        (Some("string"), Value::String(text)) => {
            bound(
                at,
                text.len(),
                &schema["minLength"],
                &schema["maxLength"],
                faults,
            );
            let legal = schema["enum"].as_array();
            if legal.is_some_and(|legal| !legal.contains(value)) {
                faults.push(format!("{at} is none of {}", schema["enum"]));
            }
        }
        (Some("integer"), Value::Number(number)) if number.is_u64() => {
            let number = usize::try_from(number.as_u64().unwrap()).unwrap();
            bound(at, number, &schema["minimum"], &schema["maximum"], faults);
        }
        (Some("boolean"), Value::Bool(_)) | (None, _) => {}
        (kind, _) => faults.push(format!("{at} is no {kind:?}")),
    }
}

/// An API server adds these to a schema that leaves them out.
fn every_object_has(path: &str) -> bool {
    [".apiVersion", ".kind"].contains(&path) || path.starts_with(".metadata")
}

fn bound(at: &str, size: usize, least: &Value, most: &Value, faults: &mut Vec<String>) {
    let size = u64::try_from(size).unwrap();
    if least.as_u64().is_some_and(|least| size < least)
        || most.as_u64().is_some_and(|most| size > most)
    {
        faults.push(format!("{at} is out of its bounds"));
    }
}
