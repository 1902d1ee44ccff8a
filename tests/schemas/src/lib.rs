//! What an API server would say to an object: the schemas of a Kubernetes release, and those of
//! CustomResourceDefinitions, both without room for fields that they do not name.
//!
//! Not checked: rules in CEL, and what admission adds.
#![forbid(unsafe_code)]

mod definitions;

use std::{cell::RefCell, collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use jsonschema::{Registry, Validator};
use serde_json::{Value, json};

/// Of an object: its `apiVersion` and `kind`.
type Kind = (String, String);

/// Where the schemas of a release refer to each other.
const RELEASE: &str = "https://kubernetes.io/api/_definitions.json";

/// Schemas by kind.
pub struct Schemas {
    schemas: BTreeMap<Kind, Value>,
    registry: Registry<'static>,
    /// Made when first asked for: a release has 700.
    validators: RefCell<BTreeMap<Kind, Validator>>,
}

impl Schemas {
    /// The built-in kinds of a release such as `1.34`, from the directory that `kubernetes-validate` carries.
    ///
    /// # Errors
    /// When the directory has no such release, or it does not read.
    pub fn of_release(directory: &Path, release: &str) -> Result<Self> {
        let file = directory
            .join(format!("v{release}.0-local-strict"))
            .join("_definitions.json");
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let all: Value = serde_json::from_slice(&text)?;
        let definitions = all["$defs"].as_object().context("no definitions")?;
        let schemas = definitions
            .iter()
            .flat_map(|(name, definition)| {
                let schema = json!({"$ref": format!("{RELEASE}#/$defs/{name}")});
                kinds(definition)
                    .into_iter()
                    .map(move |kind| (kind, schema.clone()))
            })
            .collect();
        Ok(Self {
            schemas,
            registry: Registry::new().add(RELEASE, all)?.prepare()?,
            validators: RefCell::default(),
        })
    }

    /// The releases that a directory has, oldest first.
    ///
    /// # Errors
    /// When the directory does not read.
    pub fn releases(directory: &Path) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let release = name
                .strip_prefix('v')
                .and_then(|n| n.strip_suffix(".0-local-strict"));
            let minor = release
                .and_then(|r| r.strip_prefix("1."))
                .and_then(|m| m.parse::<u32>().ok());
            found.extend(minor);
        }
        found.sort_unstable();
        Ok(found
            .into_iter()
            .map(|minor| format!("1.{minor}"))
            .collect())
    }

    /// The kinds that CustomResourceDefinitions in a directory's YAML files define.
    ///
    /// # Errors
    /// When a file does not read.
    pub fn of_definitions(directory: &Path) -> Result<Self> {
        let mut schemas = BTreeMap::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let text = fs::read_to_string(&path)?;
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
                .with_context(|| format!("cannot read {}", path.display()))?;
            for document in documents {
                schemas.extend(definitions::schemas(&document));
            }
        }
        Ok(Self {
            schemas,
            registry: Registry::new().prepare()?,
            validators: RefCell::default(),
        })
    }

    /// Whether there is a schema for this object.
    #[must_use]
    pub fn knows(&self, object: &Value) -> bool {
        kind(object).is_some_and(|kind| self.schemas.contains_key(&kind))
    }

    /// What is wrong with an object, each fault with its place.
    ///
    /// # Errors
    /// When there is no schema for it.
    pub fn faults(&self, object: &Value) -> Result<Vec<String>> {
        let kind = kind(object).context("an object without apiVersion and kind")?;
        let mut validators = self.validators.borrow_mut();
        if !validators.contains_key(&kind) {
            let Some(schema) = self.schemas.get(&kind) else {
                bail!("no schema for a {} of {}", kind.1, kind.0);
            };
            let validator = jsonschema::options()
                .offline()
                .with_registry(&self.registry)
                .build(schema)?;
            validators.insert(kind.clone(), validator);
        }
        let faults = validators[&kind].iter_errors(object);
        Ok(faults
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect())
    }
}

fn kind(object: &Value) -> Option<Kind> {
    let version = object["apiVersion"].as_str()?;
    Some((version.to_owned(), object["kind"].as_str()?.to_owned()))
}

/// The kinds that a built-in definition stands for: most stand for none.
fn kinds(definition: &Value) -> Vec<Kind> {
    let listed = definition["x-kubernetes-group-version-kind"].as_array();
    listed
        .into_iter()
        .flatten()
        .filter_map(|kind| {
            let version = kind["version"].as_str()?;
            let version = match kind["group"].as_str()? {
                "" => version.to_owned(),
                group => format!("{group}/{version}"),
            };
            Some((version, kind["kind"].as_str()?.to_owned()))
        })
        .collect()
}
