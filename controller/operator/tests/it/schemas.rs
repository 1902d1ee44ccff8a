//! Objects against the real CustomResourceDefinitions: those of the repository, and more that are data beside it. Rules in
//! CEL are left to a real cluster.

use std::path::{Path, PathBuf};

use gaugeway_operator::deploy::Manifest;
use gaugeway_schemas::Schemas;
use serde_json::Value;

/// What is known of kinds.
pub(crate) struct Definitions(Vec<Schemas>);

impl Definitions {
    /// Says so, loudly, where there are none beside the repository.
    pub(crate) fn read() -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let beside = ["..", "shared", "crds"].iter().collect::<PathBuf>();
        let beside = repository.join(beside);
        let mut all = vec![Schemas::of_definitions(&repository.join("tests/crds")).unwrap()];
        if beside.is_dir() {
            all.push(Schemas::of_definitions(&beside).unwrap());
        } else {
            eprintln!("SKIPPED in part: no definitions in {}", beside.display());
        }
        Self(all)
    }

    /// Fails if the definition would not take it. False where there is none.
    pub(crate) fn check(&self, manifest: &Manifest) -> bool {
        self.check_object(&manifest.object)
    }

    fn check_object(&self, object: &Value) -> bool {
        let Some(schemas) = self.0.iter().find(|schemas| schemas.knows(object)) else {
            eprintln!("SKIPPED: no definition of {}", object["kind"]);
            return false;
        };
        let faults = schemas.faults(object).unwrap();
        assert!(faults.is_empty(), "{object}: {faults:?}");
        true
    }
}

/// [`Definitions::check`] for any object. They are read once per test: some have two megabytes.
pub(crate) fn check_object(object: &Value) {
    thread_local! {
        static READ: Definitions = Definitions::read();
    }
    READ.with(|definitions| definitions.check_object(object));
}
