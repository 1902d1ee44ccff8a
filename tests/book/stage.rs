//! Where the commands of one page run: a directory of its own, our real `gaugeway`, the real helm that renders instead
//! of installing, and stand-ins for what is not ours.
//!
//! What would go on for ever (`controller`, `demo`) is stopped after its command line was read: an impossible log
//! filter, or an Envoy that is not there, ends it with 1; a wrong command line is 2. Any other program is missing, so a
//! page that names one fails.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use gaugeway_rig::tools::HELM;
use serde_json::Value;

use crate::pages::{pages, root};

const GAUGEWAY: &str = r#"case "$1" in
controller | demo)
  GAUGEWAY_LOG='=!' ENVOY_BIN=/nonexistent "$GAUGEWAY" "$@" >&2
  code=$?
  [ "$code" -le 1 ] || exit "$code" ;;
explain)
  # No controller runs here: whoever gets so far as to say so has understood the command line.
  said=$("$GAUGEWAY" "$@" 2>&1) && exit 0
  case "$said" in *"no controller answers"*) exit 0 ;; esac
  echo "$said" >&2
  exit 1 ;;
*) exec "$GAUGEWAY" "$@" ;;
esac"#;

/// Renders what it would install; without helm it lets everything pass (`or_skip` has said so).
const HELM_SCRIPT: &str = r#"[ -n "$HELM" ] || exit 0
case "$1" in
install | upgrade) shift; exec "$HELM" template "$@" ;;
template) exec "$HELM" "$@" ;;
*) echo "helm $1: not known here" >&2; exit 1 ;;
esac"#;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A program that is not run: what stands in for it, and why.
struct StandIn {
    program: &'static str,
    /// For whoever reads this list.
    why: &'static str,
    /// What of it can be checked, as a shell's script.
    script: &'static str,
}

/// The whole list of what the book names and the tests do not run. All take what is piped into them.
const STAND_INS: [StandIn; 5] = [
    StandIn {
        program: "kubectl",
        why: "needs a cluster; what it is to apply is kept, and read by Kubernetes' schemas and the definitions",
        script: r#"case "$*" in
*"get secret"*) printf %s "$KEY" | base64 -w0 ;;
*"-f -"*) input=$(cat); [ -n "$input" ] && printf '%s\n---\n' "$input" >> "$HOME/applied.yaml" ;;
esac"#,
    },
    StandIn {
        program: "crane",
        why: "needs a registry; what it is to push must be an image layout",
        script: r#"[ "$1" != push ] || [ -f "$2/index.json" ]"#,
    },
    StandIn {
        program: "curl",
        why: "calls a controller in a cluster; the API's answers have tests of their own",
        script: ":",
    },
    StandIn {
        program: "docker",
        why: "needs its daemon",
        script: ":",
    },
    StandIn {
        program: "cargo",
        why: "would build this very repository; `cargo xtask` must have the command",
        script: r#"[ "$1" != xtask ] || grep -qiE "^    $2( \{|,)" "$ROOT/xtask/src/main.rs""#,
    },
];

/// A directory in which the commands of one page run, one after the other.
pub(crate) struct Stage {
    directory: tempfile::TempDir,
    helm: String,
}

impl Stage {
    pub(crate) fn try_new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let programs = directory.path().join("programs");
        fs::create_dir(&programs)?;
        let ours = [("gaugeway", GAUGEWAY), ("helm", HELM_SCRIPT)];
        let others = STAND_INS.iter().map(|one| (one.program, one.script));
        for (name, script) in ours.into_iter().chain(others) {
            let path = programs.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let clone = directory.path().join("clone");
        fs::create_dir(&clone)?;
        for name in ["charts", "examples"] {
            symlink(root().join(name), clone.join(name))?;
        }
        symlink(root().join("examples/demo"), clone.join("manifests"))?;
        let helm = if HELM.or_skip()? {
            HELM.find()?.to_string_lossy().into_owned()
        } else {
            String::new()
        };
        Ok(Self { directory, helm })
    }

    /// Runs a script as a shell would that stops at the first failure, pipes included.
    pub(crate) fn run(&self, script: &str) -> Result<()> {
        let home = self.directory.path();
        let path = format!("{}:/usr/bin:/bin", home.join("programs").display());
        let output = Command::new("bash")
            .args(["-e", "-u", "-o", "pipefail", "-c", script])
            .current_dir(home.join("clone"))
            .env_clear()
            .env("PATH", path)
            .env("HOME", home)
            .env("GAUGEWAY", env!("CARGO_BIN_EXE_gaugeway"))
            .env("HELM", &self.helm)
            .env("KEY", KEY)
            .env("ROOT", root())
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "{script}\nended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Objects that were to be applied.
    pub(crate) fn applied(&self) -> Result<Vec<Value>> {
        match fs::read_to_string(self.directory.path().join("applied.yaml")) {
            Ok(text) => Ok(serde_saphyr::from_multiple(&text)?),
            Err(_) => Ok(Vec::new()),
        }
    }

    pub(crate) fn has(&self, name: &Path) -> bool {
        self.directory.path().join("clone").join(name).exists()
    }
}

/// A stand-in that nothing needs would hide a program that could be run.
#[test]
fn every_stand_in_is_named_in_the_book_and_says_why() -> Result<()> {
    let pages = pages()?;
    for StandIn { program, why, .. } in &STAND_INS {
        let mut blocks = pages
            .iter()
            .flat_map(|page| [page.blocks("sh"), page.blocks("console")].concat());
        let named = blocks.any(|block| {
            let mut words = block.lines.iter().flat_map(|l| l.split([' ', '(']));
            words.any(|word| word == *program)
        });
        assert!(named && !why.is_empty(), "{program} stands in for nothing");
    }
    Ok(())
}

#[test]
fn a_wrong_command_line_fails() -> Result<()> {
    let stage = Stage::try_new()?;
    for wrong in [
        "gaugeway controller --manifest ./manifests --insecure-no-token",
        "gaugeway controller --manifests ./manifests --insecure-no-token --dimensions pods",
        "gaugeway demo --kept",
        "gaugeway crdz | kubectl apply -f -",
        "gaugeway explain secret/token -n shop",
        "gaugeway token --gateway a/b --token-key-file gone",
        "true | nosuchprogram",
        "cargo xtask deploy",
        "crane push ./nothing registry.example.com/x:1",
        "true | kubectl apply -f -",
    ] {
        assert!(stage.run(wrong).is_err(), "{wrong}");
    }
    stage.run("gaugeway controller --manifests ./manifests --insecure-no-token")?;
    stage.run("gaugeway token --new-key > key")?;
    assert!(stage.has(Path::new("key")));
    Ok(())
}
