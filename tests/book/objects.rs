//! Objects that the book shows or applies are what an API server takes: Kubernetes' own by the newest schemas, gateways'
//! by the definitions in `tests/crds/`, ours by the chart's.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use gaugeway_rig::tools::KUBERNETES_SCHEMAS;
use gaugeway_schemas::Schemas;
use serde_json::Value;

use crate::pages::root;

/// Kinds whose definitions we do not have.
const UNCHECKED: [&str; 2] = ["keda.sh/v1alpha1", "telemetry.istio.io/v1"];

pub(crate) struct Objects {
    definitions: [Schemas; 2],
    /// Missing where they were not fetched; `or_skip` has said so.
    builtin: Option<Schemas>,
}

impl Objects {
    pub(crate) fn read() -> Result<Self> {
        let definitions = |path: &str| Schemas::of_definitions(&root().join(path));
        let builtin = match KUBERNETES_SCHEMAS.or_skip()? {
            true => Some(newest(&KUBERNETES_SCHEMAS.find()?)?),
            false => None,
        };
        Ok(Self {
            definitions: [
                definitions("tests/crds")?,
                definitions("charts/gaugeway/crds")?,
            ],
            builtin,
        })
    }

    /// # Errors
    /// What is wrong with it, also where nobody knows its kind.
    pub(crate) fn check(&self, object: &Value) -> Result<()> {
        let mut all = self.definitions.iter().chain(&self.builtin);
        let Some(schemas) = all.find(|schemas| schemas.knows(object)) else {
            let version = object["apiVersion"].as_str().unwrap_or_default();
            let is_builtin =
                !version.trim_end_matches(".k8s.io").contains('.') || version.contains(".k8s.io/");
            if UNCHECKED.contains(&version) || (self.builtin.is_none() && is_builtin) {
                return Ok(());
            }
            bail!("nobody knows a {} of {version}", object["kind"]);
        };
        let faults = schemas.faults(object)?;
        ensure!(faults.is_empty(), "{}: {faults:?}", object["kind"]);
        Ok(())
    }
}

fn newest(directory: &Path) -> Result<Schemas> {
    let release = Schemas::releases(directory)?.pop().context("no release")?;
    Schemas::of_release(directory, &release)
}
